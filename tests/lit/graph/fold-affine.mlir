// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-fold-affine,canonicalize))' --split-input-file %s | FileCheck %s

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#c = affine_map<(d0, d1, d2) -> (d1)>
#c3 = affine_map<(d0, d1, d2) -> (0, d1, 0)>

// (conv * [2, -1] + [10, 20]) / 2, bias [1, 2]: weights * [1, -0.5], bias
// [1, 2] * [1, -0.5] + [5, 10]. The scale has singleton dims.
// CHECK-LABEL: func @chain
// CHECK-DAG: %[[W:.+]] = arith.constant dense<{{\[\[\[}}3.000000e+00]], {{\[\[}}-2.000000e+00]]]> : tensor<2x1x1xf32>
// CHECK-DAG: %[[B:.+]] = arith.constant dense<[6.000000e+00, 9.000000e+00]> : tensor<2xf32>
// CHECK: %[[R:.+]] = mv.conv %{{.+}}, %[[W]] bias %[[B]]
// CHECK-NEXT: return %[[R]]
func.func @chain(%x: tensor<1x1x4xf32>) -> tensor<1x2x4xf32> {
  %w = arith.constant dense<[[[3.0]], [[4.0]]]> : tensor<2x1x1xf32>
  %b = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %scale = arith.constant dense<[[[2.0], [-1.0]]]> : tensor<1x2x1xf32>
  %shift = arith.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %half = arith.constant 2.0 : f32
  %y = mv.conv %x, %w bias %b {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x1x4xf32>, tensor<2x1x1xf32>, tensor<2xf32>) -> tensor<1x2x4xf32>
  %e = tensor.empty() : tensor<1x2x4xf32>
  %n = linalg.generic {indexing_maps = [#id, #c3, #c, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y, %scale, %shift : tensor<1x2x4xf32>, tensor<1x2x1xf32>, tensor<2xf32>) outs(%e : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %s: f32, %t: f32, %o: f32):
    %p = arith.mulf %a, %s : f32
    %q = arith.addf %p, %t : f32
    linalg.yield %q : f32
  } -> tensor<1x2x4xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%n : tensor<1x2x4xf32>) outs(%e : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.divf %a, %half : f32
    linalg.yield %p : f32
  } -> tensor<1x2x4xf32>
  return %r : tensor<1x2x4xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#w = affine_map<(d0, d1, d2) -> (d2)>

// Not folded: a scale along another dim, a second user, a non-linear operation.
// CHECK-LABEL: func @not_affine
// CHECK: %[[Y:.+]] = mv.conv %{{.+}}, %{{.+}} {
// CHECK: %[[N:.+]] = linalg.generic {{.*}} ins(%[[Y]], %{{.+}} : tensor<1x2x4xf32>, tensor<4xf32>)
// CHECK: %[[Z:.+]] = mv.conv
// CHECK: linalg.generic {{.*}} ins(%[[Z]] : tensor<1x2x4xf32>)
// CHECK: %[[V:.+]] = mv.conv
// CHECK: linalg.generic {{.*}} ins(%[[V]] : tensor<1x2x4xf32>)
func.func @not_affine(%x: tensor<1x1x4xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %w = arith.constant dense<[[[3.0]], [[4.0]]]> : tensor<2x1x1xf32>
  %s = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<1x2x4xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x1x4xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4xf32>
  %n = linalg.generic {indexing_maps = [#id, #w, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y, %s : tensor<1x2x4xf32>, tensor<4xf32>) outs(%e : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %p = arith.mulf %a, %b : f32
    linalg.yield %p : f32
  } -> tensor<1x2x4xf32>
  %z = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x1x4xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4xf32>
  %m = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%z : tensor<1x2x4xf32>) outs(%e : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.mulf %a, %two : f32
    linalg.yield %p : f32
  } -> tensor<1x2x4xf32>
  %v = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x1x4xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4xf32>
  %q = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%v : tensor<1x2x4xf32>) outs(%e : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %p = arith.mulf %a, %a : f32
    linalg.yield %p : f32
  } -> tensor<1x2x4xf32>
  return %n, %z, %m, %q : tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
}
