// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-raise-quantized,canonicalize,cse))' %s | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#none = affine_map<(d0, d1) -> ()>

// Weights of step 0.5 (first column) and 0.25; the zero point's share of a column
// is 3 times the sum of its integers.
// CHECK-LABEL: func @product
// CHECK-DAG: %[[W:.+]] = arith.constant dense<{{.+}}> : tensor<1x1x8x4xi8>
// CHECK-DAG: %[[Z:.+]] = arith.constant dense<[15, -9]> : tensor<2xi32>
// CHECK-DAG: %[[S:.+]] = arith.constant dense<[1.000000e+00, 5.000000e-01]> : tensor<2xf32>
// CHECK: %[[P:.+]] = mv.packed_matmul %arg0, %[[W]] {columns = 2 : i64} : (tensor<5x4xi8>, tensor<1x1x8x4xi8>) -> tensor<5x2xi32>
// CHECK: linalg.generic {{.*}} ins(%[[P]], %[[Z]], %[[S]] :
// CHECK: arith.subi
// CHECK: arith.sitofp
// CHECK: arith.mulf
func.func @product(%q: tensor<5x4xi8>) -> tensor<5x2xf32> {
  %scale = arith.constant 2.0 : f32
  %zero = arith.constant dense<3> : tensor<i32>
  %w = arith.constant dense<[[0.5, 0.25], [1.0, -0.5], [-0.5, -1.0], [1.5, 0.5]]> : tensor<4x2xf32>
  %i = tensor.empty() : tensor<5x4xi32>
  %f = tensor.empty() : tensor<5x4xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%q : tensor<5x4xi8>) outs(%i : tensor<5x4xi32>) {
  ^bb0(%a: i8, %o: i32):
    %r = arith.extui %a : i8 to i32
    linalg.yield %r : i32
  } -> tensor<5x4xi32>
  %1 = linalg.generic {indexing_maps = [#id, #none, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %zero : tensor<5x4xi32>, tensor<i32>) outs(%i : tensor<5x4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %r = arith.subi %a, %b : i32
    linalg.yield %r : i32
  } -> tensor<5x4xi32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<5x4xi32>) outs(%f : tensor<5x4xf32>) {
  ^bb0(%a: i32, %o: f32):
    %r = arith.sitofp %a : i32 to f32
    linalg.yield %r : f32
  } -> tensor<5x4xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%2 : tensor<5x4xf32>) outs(%f : tensor<5x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %scale : f32
    linalg.yield %r : f32
  } -> tensor<5x4xf32>
  %y = mv.matmul %3, %w : (tensor<5x4xf32>, tensor<4x2xf32>) -> tensor<5x2xf32>
  return %y : tensor<5x2xf32>
}

// Signed bytes become unsigned ones, a zero point of the run's stays a factor, and
// the reduction is filled to a group.
// CHECK-LABEL: func @integers
// CHECK-SAME: %[[Q:.+]]: tensor<5x3xi8>, %[[ZERO:.+]]: tensor<i32>
// CHECK-DAG: %[[SUMS:.+]] = arith.constant dense<[6, 15]> : tensor<2xi32>
// CHECK-DAG: %[[SHIFT:.+]] = arith.constant dense<[768, 1920]> : tensor<2xi32>
// CHECK: arith.xori
// CHECK: tensor.pad {{.*}} low[0, 0] high[0, 1]
// CHECK: %[[P:.+]] = mv.packed_matmul
// CHECK: linalg.generic {{.*}} ins(%[[P]], %[[SHIFT]], %[[SUMS]], %[[ZERO]] :
// CHECK: arith.muli
// CHECK: arith.subi
func.func @integers(%q: tensor<5x3xi8>, %zero: tensor<i32>) -> tensor<5x2xi32> {
  %w = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi32>
  %i = tensor.empty() : tensor<5x3xi32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%q : tensor<5x3xi8>) outs(%i : tensor<5x3xi32>) {
  ^bb0(%a: i8, %o: i32):
    %r = arith.extsi %a : i8 to i32
    linalg.yield %r : i32
  } -> tensor<5x3xi32>
  %1 = linalg.generic {indexing_maps = [#id, #none, #id], iterator_types = ["parallel", "parallel"]} ins(%0, %zero : tensor<5x3xi32>, tensor<i32>) outs(%i : tensor<5x3xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %r = arith.subi %a, %b : i32
    linalg.yield %r : i32
  } -> tensor<5x3xi32>
  %y = mv.matmul %1, %w {transpose_rhs} : (tensor<5x3xi32>, tensor<2x3xi32>) -> tensor<5x2xi32>
  return %y : tensor<5x2xi32>
}

// Weights that are no multiples of 8-bit integers stay floats.
// CHECK-LABEL: func @real
// CHECK: mv.matmul
func.func @real(%q: tensor<5x3xi8>) -> tensor<5x1xf32> {
  %w = arith.constant dense<[[1.0], [0.3141], [0.7182]]> : tensor<3x1xf32>
  %f = tensor.empty() : tensor<5x3xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%q : tensor<5x3xi8>) outs(%f : tensor<5x3xf32>) {
  ^bb0(%a: i8, %o: f32):
    %r = arith.uitofp %a : i8 to f32
    linalg.yield %r : f32
  } -> tensor<5x3xf32>
  %y = mv.matmul %0, %w : (tensor<5x3xf32>, tensor<3x1xf32>) -> tensor<5x1xf32>
  return %y : tensor<5x1xf32>
}
