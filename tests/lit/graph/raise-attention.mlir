// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-simplify-graph,canonicalize,mv-raise-attention,canonicalize,cse))' --split-input-file %s | FileCheck %s

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#id3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#t3 = affine_map<(d0, d1, d2) -> (d0, d2, d1)>
#m = affine_map<(d0, d1, d2, d3) -> (0, 0, 0, d3)>

// The root of the scale on each side, the key transposed with its batch dims
// merged, a mask of 0 and -inf, the guard against NaN.
// CHECK-LABEL: func @guarded
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<1x6x5x4xf32>, %[[K:[a-z0-9]+]]: tensor<1x6x7x4xf32>, %[[V:[a-z0-9]+]]: tensor<1x6x7x4xf32>, %[[KEEP:[a-z0-9]+]]: tensor<1x1x1x7xi1>
// CHECK-NEXT: %[[R:.+]] = mv.attention %[[Q]], %[[K]], %[[V]] mask %[[KEEP]] {scale = 2.500000e-01 : f64}
// CHECK-NEXT: return %[[R]]
func.func @guarded(%q: tensor<1x6x5x4xf32>, %k: tensor<1x6x7x4xf32>, %v: tensor<1x6x7x4xf32>, %keep: tensor<1x1x1x7xi1>) -> tensor<1x6x5x4xf32> {
  %root = arith.constant 0.5 : f32
  %zero = arith.constant 0.0 : f32
  %inf = arith.constant 0xFF800000 : f32
  %km = tensor.collapse_shape %k [[0, 1], [2], [3]] : tensor<1x6x7x4xf32> into tensor<6x7x4xf32>
  %e3 = tensor.empty() : tensor<6x4x7xf32>
  %kt = linalg.generic {indexing_maps = [#t3, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%km : tensor<6x7x4xf32>) outs(%e3 : tensor<6x4x7xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<6x4x7xf32>
  %kx = tensor.expand_shape %kt [[0, 1], [2], [3]] output_shape [1, 6, 4, 7] : tensor<6x4x7xf32> into tensor<1x6x4x7xf32>
  %eq = tensor.empty() : tensor<1x6x5x4xf32>
  %qs = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%q : tensor<1x6x5x4xf32>) outs(%eq : tensor<1x6x5x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %root : f32
    linalg.yield %r : f32
  } -> tensor<1x6x5x4xf32>
  %ek = tensor.empty() : tensor<1x6x4x7xf32>
  %ks = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%kx : tensor<1x6x4x7xf32>) outs(%ek : tensor<1x6x4x7xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %root : f32
    linalg.yield %r : f32
  } -> tensor<1x6x4x7xf32>
  %s = mv.matmul %qs, %ks : (tensor<1x6x5x4xf32>, tensor<1x6x4x7xf32>) -> tensor<1x6x5x7xf32>
  %em = tensor.empty() : tensor<1x1x1x7xf32>
  %mask = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%keep : tensor<1x1x1x7xi1>) outs(%em : tensor<1x1x1x7xf32>) {
  ^bb0(%a: i1, %o: f32):
    %r = arith.select %a, %zero, %inf : f32
    linalg.yield %r : f32
  } -> tensor<1x1x1x7xf32>
  %es = tensor.empty() : tensor<1x6x5x7xf32>
  %sm = linalg.generic {indexing_maps = [#id, #m, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s, %mask : tensor<1x6x5x7xf32>, tensor<1x1x1x7xf32>) outs(%es : tensor<1x6x5x7xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %r = arith.addf %a, %b : f32
    linalg.yield %r : f32
  } -> tensor<1x6x5x7xf32>
  %p = mv.softmax %sm {dim = 3 : i64} : tensor<1x6x5x7xf32>
  %en = tensor.empty() : tensor<1x6x5x7xi1>
  %nan = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%p : tensor<1x6x5x7xf32>) outs(%en : tensor<1x6x5x7xi1>) {
  ^bb0(%a: f32, %o: i1):
    %r = arith.cmpf uno, %a, %a : f32
    linalg.yield %r : i1
  } -> tensor<1x6x5x7xi1>
  %g = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%nan, %p : tensor<1x6x5x7xi1>, tensor<1x6x5x7xf32>) outs(%es : tensor<1x6x5x7xf32>) {
  ^bb0(%c: i1, %a: f32, %o: f32):
    %r = arith.select %c, %zero, %a : f32
    linalg.yield %r : f32
  } -> tensor<1x6x5x7xf32>
  %r = mv.matmul %g, %v : (tensor<1x6x5x7xf32>, tensor<1x6x7x4xf32>) -> tensor<1x6x5x4xf32>
  return %r : tensor<1x6x5x4xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#m = affine_map<(d0, d1, d2) -> (d1, d2)>

// A float mask without a guard is added; the scale is after the product.
// CHECK-LABEL: func @added_mask
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} mask %{{.+}} {scale = 5.000000e-01 : f64} : (tensor<6x5x4xf32>, tensor<6x7x4xf32>, tensor<6x7x3xf32>, tensor<5x7xf32>) -> tensor<6x5x3xf32>
func.func @added_mask(%q: tensor<6x5x4xf32>, %k: tensor<6x7x4xf32>, %v: tensor<6x7x3xf32>, %mask: tensor<5x7xf32>) -> tensor<6x5x3xf32> {
  %two = arith.constant 2.0 : f32
  %s = mv.matmul %q, %k {transpose_rhs} : (tensor<6x5x4xf32>, tensor<6x7x4xf32>) -> tensor<6x5x7xf32>
  %e = tensor.empty() : tensor<6x5x7xf32>
  %t = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%s : tensor<6x5x7xf32>) outs(%e : tensor<6x5x7xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.divf %a, %two : f32
    linalg.yield %r : f32
  } -> tensor<6x5x7xf32>
  %u = linalg.generic {indexing_maps = [#id, #m, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%t, %mask : tensor<6x5x7xf32>, tensor<5x7xf32>) outs(%e : tensor<6x5x7xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %r = arith.addf %b, %a : f32
    linalg.yield %r : f32
  } -> tensor<6x5x7xf32>
  %p = mv.softmax %u {dim = 2 : i64} : tensor<6x5x7xf32>
  %r = mv.matmul %p, %v : (tensor<6x5x7xf32>, tensor<6x7x3xf32>) -> tensor<6x5x3xf32>
  return %r : tensor<6x5x3xf32>
}

// -----

// The weights are a result of their own: they must be computed anyway.
// CHECK-LABEL: func @weights_needed
// CHECK-NOT: mv.attention
func.func @weights_needed(%q: tensor<6x5x4xf32>, %k: tensor<6x7x4xf32>, %v: tensor<6x7x3xf32>) -> (tensor<6x5x3xf32>, tensor<6x5x7xf32>) {
  %s = mv.matmul %q, %k {transpose_rhs} : (tensor<6x5x4xf32>, tensor<6x7x4xf32>) -> tensor<6x5x7xf32>
  %p = mv.softmax %s {dim = 2 : i64} : tensor<6x5x7xf32>
  %r = mv.matmul %p, %v : (tensor<6x5x7xf32>, tensor<6x7x3xf32>) -> tensor<6x5x3xf32>
  return %r, %p : tensor<6x5x3xf32>, tensor<6x5x7xf32>
}
