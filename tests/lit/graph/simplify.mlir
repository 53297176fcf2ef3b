// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-simplify-graph,canonicalize))' --split-input-file %s | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#t = affine_map<(d0, d1) -> (d1, d0)>
#n = affine_map<(d0, d1) -> (d1)>

// The splat becomes a scalar, the broadcast and both transposes are read through.
// CHECK-DAG: #[[$ID:.+]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$N:.+]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func @generics
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x4xf32>, %[[B:[a-z0-9]+]]: tensor<4xf32>
// CHECK-DAG: %[[TWO:.+]] = arith.constant 2.000000e+00 : f32
// CHECK: %[[R:.+]] = linalg.generic {indexing_maps = [#[[$ID]], #[[$N]], #[[$ID]]]{{.*}}} ins(%[[X]], %[[B]] : tensor<3x4xf32>, tensor<4xf32>)
// CHECK: arith.mulf %{{.+}}, %[[TWO]] : f32
// CHECK-NOT: linalg.generic
// CHECK: return %[[R]]
func.func @generics(%x: tensor<3x4xf32>, %b: tensor<4xf32>) -> tensor<3x4xf32> {
  %two = arith.constant dense<2.0> : tensor<3x4xf32>
  %e = tensor.empty() : tensor<3x4xf32>
  %et = tensor.empty() : tensor<4x3xf32>
  %t1 = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<3x4xf32>) outs(%et : tensor<4x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<4x3xf32>
  %t2 = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel"]} ins(%t1 : tensor<4x3xf32>) outs(%e : tensor<3x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<3x4xf32>
  %bb = linalg.generic {indexing_maps = [#n, #id], iterator_types = ["parallel", "parallel"]} ins(%b : tensor<4xf32>) outs(%e : tensor<3x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<3x4xf32>
  %r = linalg.generic {indexing_maps = [#id, #id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%t2, %two, %bb : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) outs(%e : tensor<3x4xf32>) {
  ^bb0(%a: f32, %s: f32, %c: f32, %o: f32):
    %p = arith.mulf %a, %s : f32
    %q = arith.addf %p, %c : f32
    linalg.yield %q : f32
  } -> tensor<3x4xf32>
  return %r : tensor<3x4xf32>
}

// -----

// CHECK-LABEL: func @pads
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x3x8x8xf32>
// CHECK: mv.conv %[[X]], %{{.+}} {{.*}}pads = array<i64: 1, 0, 2, 3>
// CHECK: %[[P:.+]] = tensor.pad %[[X]]
// CHECK: mv.conv %[[P]], %{{.+}} {{.*}}pads = array<i64: 1, 0, 1, 1>
func.func @pads(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> (tensor<1x4x9x9xf32>, tensor<1x4x8x9xf32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %p = tensor.pad %x low[0, 0, 0, 0] high[0, 0, 1, 2] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x3x8x8xf32> to tensor<1x3x9x10xf32>
  %y = mv.conv %p, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 0, 1, 1>, groups = 1 : i64} : (tensor<1x3x9x10xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x9x9xf32>
  // A border of ones is not the convolution's.
  %q = tensor.pad %x low[0, 0, 0, 0] high[0, 0, 0, 2] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %one : f32
  } : tensor<1x3x8x8xf32> to tensor<1x3x8x10xf32>
  %z = mv.conv %q, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 0, 1, 1>, groups = 1 : i64} : (tensor<1x3x8x10xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x9xf32>
  return %y, %z : tensor<1x4x9x9xf32>, tensor<1x4x8x9xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#t = affine_map<(d0, d1, d2) -> (d0, d2, d1)>

// CHECK-LABEL: func @matmul
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<2x3x4xf32>, %[[B:[a-z0-9]+]]: tensor<2x5x4xf32>
// CHECK: mv.matmul %[[A]], %[[B]] {transpose_rhs}
func.func @matmul(%a: tensor<2x3x4xf32>, %b: tensor<2x5x4xf32>) -> tensor<2x3x5xf32> {
  %e = tensor.empty() : tensor<2x4x5xf32>
  %t = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : tensor<2x5x4xf32>) outs(%e : tensor<2x4x5xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<2x4x5xf32>
  %r = mv.matmul %a, %t : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  return %r : tensor<2x3x5xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>

// A row of dim 1 is written where it is; the updates are brought in its order.
// CHECK-LABEL: func @scatter_transposed
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<2x3x4xf32>
// CHECK: %[[S:.*]] = mv.scatter %{{.*}} into %[[X]] at %{{.*}} {dim = 1 : i64} : (tensor<2x3x4xf32>, tensor<1xi64>, tensor<2x1x4xf32>)
// CHECK-NEXT: return %[[S]]
func.func @scatter_transposed(%x: tensor<2x3x4xf32>, %i: tensor<1xi64>, %u: tensor<1x2x4xf32>) -> tensor<2x3x4xf32> {
  %e = tensor.empty() : tensor<3x2x4xf32>
  %t = linalg.transpose ins(%x : tensor<2x3x4xf32>) outs(%e : tensor<3x2x4xf32>) permutation = [1, 0, 2]
  %s = mv.scatter %u into %t at %i {dim = 0 : i64} : (tensor<3x2x4xf32>, tensor<1xi64>, tensor<1x2x4xf32>) -> tensor<3x2x4xf32>
  %f = tensor.empty() : tensor<2x3x4xf32>
  %r = linalg.transpose ins(%s : tensor<3x2x4xf32>) outs(%f : tensor<2x3x4xf32>) permutation = [1, 0, 2]
  return %r : tensor<2x3x4xf32>
}
