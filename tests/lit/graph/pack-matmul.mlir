// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-pack-matmul{lanes=4},canonicalize,cse))' %s | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#n = affine_map<(d0, d1) -> (d1)>

// Columns beyond N are zero; a scale goes to the weights, the shift is the bias.
// CHECK-LABEL: func @bias
// CHECK-DAG: %[[W:.+]] = arith.constant dense<{{\[\[\[}}2.000000e+00, 4.000000e+00, 6.000000e+00, 0.000000e+00], [8.000000e+00, 1.000000e+01, 1.200000e+01, 0.000000e+00]]]> : tensor<1x2x4xf32>
// CHECK-DAG: %[[B:.+]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
// CHECK: %[[R:.+]] = mv.packed_matmul %{{.+}}, %[[W]] bias %[[B]] {columns = 3 : i64} : (tensor<?x2xf32>, tensor<1x2x4xf32>, tensor<3xf32>) -> tensor<?x3xf32>
// CHECK-NEXT: return %[[R]]
func.func @bias(%x: tensor<?x2xf32>, %rows: index) -> tensor<?x3xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %two = arith.constant 2.0 : f32
  %p = mv.matmul %x, %w : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %e = tensor.empty(%rows) : tensor<?x3xf32>
  %r = linalg.generic {indexing_maps = [#id, #n, #id], iterator_types = ["parallel", "parallel"]} ins(%p, %b : tensor<?x3xf32>, tensor<3xf32>) outs(%e : tensor<?x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %s = arith.mulf %a, %two : f32
    %t = arith.addf %s, %c : f32
    linalg.yield %t : f32
  } -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}

// CHECK-LABEL: func @transposed
// CHECK: arith.constant dense<{{\[\[\[}}1.000000e+00, 3.000000e+00, 5.000000e+00, 0.000000e+00], [2.000000e+00, 4.000000e+00, 6.000000e+00, 0.000000e+00]]]> : tensor<1x2x4xf32>
// CHECK: mv.packed_matmul {{.*}} {columns = 3 : i64} : (tensor<5x7x2xf32>, tensor<1x2x4xf32>) -> tensor<5x7x3xf32>
func.func @transposed(%x: tensor<5x7x2xf32>) -> tensor<5x7x3xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %p = mv.matmul %x, %w {transpose_rhs} : (tensor<5x7x2xf32>, tensor<3x2xf32>) -> tensor<5x7x3xf32>
  return %p : tensor<5x7x3xf32>
}

// CHECK-LABEL: func @integers
// CHECK: mv.matmul
func.func @integers(%x: tensor<5x2xi32>) -> tensor<5x3xi32> {
  %w = arith.constant dense<[[1, 2], [3, 4], [5, 6]]> : tensor<3x2xi32>
  %p = mv.matmul %x, %w {transpose_rhs} : (tensor<5x2xi32>, tensor<3x2xi32>) -> tensor<5x3xi32>
  return %p : tensor<5x3xi32>
}

// One packed copy for two products.
// CHECK-LABEL: func @shared
// CHECK: %[[W:.+]] = arith.constant dense{{.*}} : tensor<1x2x4xf32>
// CHECK-NOT: arith.constant
// CHECK: mv.packed_matmul %{{.+}}, %[[W]]
// CHECK: mv.packed_matmul %{{.+}}, %[[W]]
func.func @shared(%x: tensor<5x2xf32>, %y: tensor<9x2xf32>) -> (tensor<5x3xf32>, tensor<9x3xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %p = mv.matmul %x, %w {transpose_rhs} : (tensor<5x2xf32>, tensor<3x2xf32>) -> tensor<5x3xf32>
  %q = mv.matmul %y, %w {transpose_rhs} : (tensor<9x2xf32>, tensor<3x2xf32>) -> tensor<9x3xf32>
  return %p, %q : tensor<5x3xf32>, tensor<9x3xf32>
}

// A large table that is also gathered from is kept packed only.
// CHECK-LABEL: func @tied
// CHECK: %[[W:.+]] = arith.constant dense{{.*}} : tensor<{{[0-9]+}}x64x{{[0-9]+}}xf32>
// CHECK-NOT: arith.constant
// CHECK: %[[U:.+]] = linalg.unpack %[[W]] inner_dims_pos = [0] inner_tiles = [{{[0-9]+}}] into %{{.+}} -> tensor<5001x64xf32>
// CHECK: mv.gather %[[U]] at
// CHECK: mv.packed_matmul %{{.+}}, %[[W]] {columns = 5001 : i64}
func.func @tied(%x: tensor<1x64xf32>, %i: tensor<1xi64>) -> (tensor<1x64xf32>, tensor<1x5001xf32>) {
  %w = arith.constant dense<1.0> : tensor<5001x64xf32>
  %e = mv.gather %w at %i {dim = 0 : i64} : (tensor<5001x64xf32>, tensor<1xi64>) -> tensor<1x64xf32>
  %p = mv.matmul %x, %w {transpose_rhs} : (tensor<1x64xf32>, tensor<5001x64xf32>) -> tensor<1x5001xf32>
  return %e, %p : tensor<1x64xf32>, tensor<1x5001xf32>
}
