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

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#m = affine_map<(d0, d1, d2) -> (d1, d2)>
#k = affine_map<(d0, d1, d2) -> (0, d2)>

// A constant triangle is a causal attention; a finite mask leaves the guard
// nothing to do and is added as it is; one moderate number for all is no
// mask.
// CHECK-LABEL: func @masks
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} {causal, scale = 1.000000e+00 : f64}
// CHECK: %[[M:.+]] = linalg.generic
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} mask %[[M]] {scale = 1.000000e+00 : f64}
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} {scale = 1.000000e+00 : f64}
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} {causal, scale = 5.000000e-01 : f64}
func.func @masks(%q: tensor<6x3x4xf32>, %k: tensor<6x3x4xf32>, %v: tensor<6x3x4xf32>, %keep: tensor<1x3xi1>) -> (tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<6x3x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %low = arith.constant -3.4e38 : f32
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<6x3x3xf32>
  %s = mv.matmul %q, %k {transpose_rhs} : (tensor<6x3x4xf32>, tensor<6x3x4xf32>) -> tensor<6x3x3xf32>
  %triangle = arith.constant dense<[[0.0, 0xFF800000, 0xFF800000], [0.0, 0.0, 0xFF800000], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %a = linalg.generic {indexing_maps = [#id, #m, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%s, %triangle : tensor<6x3x3xf32>, tensor<3x3xf32>) outs(%e : tensor<6x3x3xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %r = arith.addf %x, %y : f32
    linalg.yield %r : f32
  } -> tensor<6x3x3xf32>
  %ap = mv.softmax %a {dim = 2 : i64} : tensor<6x3x3xf32>
  %ar = mv.matmul %ap, %v : (tensor<6x3x3xf32>, tensor<6x3x4xf32>) -> tensor<6x3x4xf32>

  %t = mv.matmul %q, %k {transpose_rhs} : (tensor<6x3x4xf32>, tensor<6x3x4xf32>) -> tensor<6x3x3xf32>
  %em = tensor.empty() : tensor<1x3xf32>
  %mask = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%keep : tensor<1x3xi1>) outs(%em : tensor<1x3xf32>) {
  ^bb0(%x: i1, %o: f32):
    %r = arith.select %x, %zero, %low : f32
    linalg.yield %r : f32
  } -> tensor<1x3xf32>
  %b = linalg.generic {indexing_maps = [#id, #k, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%t, %mask : tensor<6x3x3xf32>, tensor<1x3xf32>) outs(%e : tensor<6x3x3xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %r = arith.addf %x, %y : f32
    linalg.yield %r : f32
  } -> tensor<6x3x3xf32>
  %bp = mv.softmax %b {dim = 2 : i64} : tensor<6x3x3xf32>
  %bg = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%bp : tensor<6x3x3xf32>) outs(%e : tensor<6x3x3xf32>) {
  ^bb0(%x: f32, %o: f32):
    %n = arith.cmpf uno, %x, %x : f32
    %r = arith.select %n, %zero, %x : f32
    linalg.yield %r : f32
  } -> tensor<6x3x3xf32>
  %br = mv.matmul %bg, %v : (tensor<6x3x3xf32>, tensor<6x3x4xf32>) -> tensor<6x3x4xf32>

  %u = mv.matmul %k, %q {transpose_rhs} : (tensor<6x3x4xf32>, tensor<6x3x4xf32>) -> tensor<6x3x3xf32>
  %c = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%u : tensor<6x3x3xf32>) outs(%e : tensor<6x3x3xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %two : f32
    linalg.yield %r : f32
  } -> tensor<6x3x3xf32>
  %cp = mv.softmax %c {dim = 2 : i64} : tensor<6x3x3xf32>
  %cr = mv.matmul %cp, %v : (tensor<6x3x3xf32>, tensor<6x3x4xf32>) -> tensor<6x3x4xf32>

  %bits = arith.constant dense<[[true, false, false], [true, true, false], [true, true, true]]> : tensor<3x3xi1>
  %dr = mv.attention %q, %k, %v mask %bits {scale = 5.0e-01 : f64} : (tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<3x3xi1>) -> tensor<6x3x4xf32>
  return %ar, %br, %cr, %dr : tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<6x3x4xf32>, tensor<6x3x4xf32>
}
