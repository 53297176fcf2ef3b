// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-narrow-weights{weights=int8},canonicalize,cse))' %s | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-narrow-weights{weights=bf16},canonicalize,cse))' %s | FileCheck %s --check-prefixes=CHECK,BF16

// A scale for each output and the bias follow the product; bf16 needs neither.
// CHECK-LABEL: func @product
// INT8-SAME: mv.narrowed = [{bytes = 32 : i64, error = {{.+}}, name = "", narrow = 24 : i64}]
// INT8-DAG: %[[Q:.+]] = arith.constant dense<{{\[\[\[}}127, -127, 127, 0], [64, 64, -42, 0]]]> : tensor<1x2x4xi8>
// INT8-DAG: %[[S:.+]] = arith.constant dense<[0.00787401571, 0.0157480314, 0.0236220472]> : tensor<3xf32>
// INT8-DAG: %[[B:.+]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
// INT8: %[[P:.+]] = mv.packed_matmul %{{.+}}, %[[Q]] {columns = 3 : i64}
// INT8: linalg.generic {{.*}} ins(%[[P]], %[[S]], %[[B]] :
// INT8: arith.mulf
// INT8: arith.addf
// BF16-SAME: narrow = 16 : i64
// BF16: %[[Q:.+]] = arith.constant {{.*}} : tensor<1x2x4xbf16>
// BF16: mv.packed_matmul %{{.+}}, %[[Q]] bias %{{.+}} {columns = 3 : i64}
// BF16-NEXT: return
func.func @product(%x: tensor<?x2xf32>) -> tensor<?x3xf32> {
  %w = arith.constant dense<[[[1.0, -2.0, 3.0, 0.0], [0.5, 1.0, -1.0, 0.0]]]> : tensor<1x2x4xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %p = mv.packed_matmul %x, %w bias %b {columns = 3 : i64} : (tensor<?x2xf32>, tensor<1x2x4xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  return %p : tensor<?x3xf32>
}

// Blocked: scales by channel block and lane.
// CHECK-LABEL: func @convolution
// INT8-DAG: arith.constant dense<{{\[\[}}0.00787401571, 0.0157480314, 0.0236220472, 7.87401571E-4], [0.00787401571, 0.0157480314, 1.000000e+00, 1.000000e+00]]> : tensor<2x4xf32>
// INT8-DAG: arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00, 0.000000e+00, 0.000000e+00]]> : tensor<2x4xf32>
// INT8: mv.packed_conv {{.*}} : (tensor<1x1x5x4xf32>, tensor<1x1x1x8xi8>) -> tensor<1x2x5x4xf32>
// BF16: mv.packed_conv {{.*}} : (tensor<1x1x5x4xf32>, tensor<1x1x1x8xbf16>, tensor<8xf32>) -> tensor<1x2x5x4xf32>
func.func @convolution(%x: tensor<1x1x5x4xf32>) -> tensor<1x2x5x4xf32> {
  %w = arith.constant dense<[[[[1.0, -2.0, 3.0, 0.1, 1.0, 2.0, 0.0, 0.0]]]]> : tensor<1x1x1x8xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]> : tensor<8xf32>
  %p = mv.packed_conv %x, %w bias %b {strides = array<i64: 1>, dilations = array<i64: 1>, in_channels = 1 : i64, out_channels = 6 : i64, input_blocked} : (tensor<1x1x5x4xf32>, tensor<1x1x1x8xf32>, tensor<8xf32>) -> tensor<1x2x5x4xf32>
  return %p : tensor<1x2x5x4xf32>
}

// A tied table is narrowed once, for the product and for the gather.
// CHECK-LABEL: func @tied
// CHECK-NOT: tensor<1x2x4xf32>
// INT8: %[[G:.+]] = mv.gather %{{.+}} at %{{.+}} {dim = 0 : i64} : (tensor<3x2xi8>, tensor<7xi64>) -> tensor<7x2xi8>
// INT8: %[[S:.+]] = mv.gather %{{.+}} at %{{.+}} {dim = 0 : i64} : (tensor<3xf32>, tensor<7xi64>) -> tensor<7xf32>
// INT8: linalg.generic {{.*}} ins(%[[G]], %[[S]] :
// INT8: arith.sitofp
// INT8: arith.mulf
// BF16: mv.gather {{.*}} -> tensor<7x2xbf16>
// BF16: arith.extf
func.func @tied(%x: tensor<5x2xf32>, %i: tensor<7xi64>) -> (tensor<5x3xf32>, tensor<7x2xf32>) {
  %w = arith.constant dense<[[[1.0, -2.0, 3.0, 0.0], [0.5, 1.0, -1.0, 0.0]]]> : tensor<1x2x4xf32>
  %p = mv.packed_matmul %x, %w {columns = 3 : i64} : (tensor<5x2xf32>, tensor<1x2x4xf32>) -> tensor<5x3xf32>
  %e = tensor.empty() : tensor<3x2xf32>
  %u = linalg.unpack %w inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<1x2x4xf32> -> tensor<3x2xf32>
  %g = mv.gather %u at %i {dim = 0 : i64} : (tensor<3x2xf32>, tensor<7xi64>) -> tensor<7x2xf32>
  return %p, %g : tensor<5x3xf32>, tensor<7x2xf32>
}

// No scale fits weights that are not finite: they stay as they are.
// CHECK-LABEL: func @infinite
// CHECK-SAME: mv.narrowed = []
// CHECK: mv.packed_matmul {{.*}} tensor<1x2x4xf32>
func.func @infinite(%x: tensor<5x2xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<[[[1.0, 0x7F800000, 3.0, 0.0], [0.5, 1.0, -1.0, 0.0]]]> : tensor<1x2x4xf32>
  %p = mv.packed_matmul %x, %w {columns = 3 : i64} : (tensor<5x2xf32>, tensor<1x2x4xf32>) -> tensor<5x3xf32>
  return %p : tensor<5x3xf32>
}
