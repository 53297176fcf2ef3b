// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-pair-contractions,canonicalize,cse))' %s | FileCheck %s

// Pairs of the reduction lie together: k = 0 and 1, then 2 and 3, for each lane.
// CHECK-LABEL: func @product
// CHECK: %[[W:.+]] = arith.constant dense<{{\[\[\[\[}}1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00]], {{\[\[}}5.000000e+00, 7.000000e+00], [6.000000e+00, 8.000000e+00]]]]> : tensor<1x2x2x2xbf16>
// CHECK: %[[N:.+]] = linalg.generic {{.*}} ins(%{{.+}} : tensor<?x4xf32>) outs(%{{.+}} : tensor<?x4xbf16>)
// CHECK: arith.truncf
// CHECK: mv.packed_matmul %[[N]], %[[W]] {columns = 2 : i64} : (tensor<?x4xbf16>, tensor<1x2x2x2xbf16>) -> tensor<?x2xf32>
func.func @product(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]]> : tensor<1x4x2xbf16>
  %p = mv.packed_matmul %x, %w {columns = 2 : i64} : (tensor<?x4xf32>, tensor<1x4x2xbf16>) -> tensor<?x2xf32>
  return %p : tensor<?x2xf32>
}

// The border is made of the rounded interior; one rounding for two users.
// CHECK-LABEL: func @padded
// CHECK: %[[N:.+]] = linalg.generic {{.*}} outs(%{{.+}} : tensor<1x1x5x4xbf16>)
// CHECK: %[[P:.+]] = tensor.pad %[[N]]
// CHECK-NOT: tensor.pad
// CHECK: mv.packed_conv %[[P]]
// CHECK: mv.packed_conv %[[P]]
func.func @padded(%x: tensor<1x1x5x4xf32>) -> (tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %v = arith.constant dense<1.0> : tensor<1x3x2x4xbf16>
  %w = arith.constant dense<2.0> : tensor<1x3x2x4xbf16>
  %p = tensor.pad %x low[0, 0, 1, 0] high[0, 0, 1, 0] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x1x5x4xf32> to tensor<1x1x7x4xf32>
  %y = mv.packed_conv %p, %v {strides = array<i64: 1>, dilations = array<i64: 1>, in_channels = 2 : i64, out_channels = 4 : i64, input_blocked} : (tensor<1x1x7x4xf32>, tensor<1x3x2x4xbf16>) -> tensor<1x1x5x4xf32>
  %z = mv.packed_conv %p, %w {strides = array<i64: 1>, dilations = array<i64: 1>, in_channels = 2 : i64, out_channels = 4 : i64, input_blocked} : (tensor<1x1x7x4xf32>, tensor<1x3x2x4xbf16>) -> tensor<1x1x5x4xf32>
  return %y, %z : tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>
}

// The lane beyond the third channel holds anything.
// CHECK-LABEL: func @odd
// CHECK: mv.packed_conv {{.*}} : (tensor<1x1x5x4xf32>, tensor<1x1x3x4xbf16>)
// CHECK: mv.packed_matmul {{.*}} : (tensor<5x3xf32>, tensor<1x3x2xbf16>)
func.func @odd(%x: tensor<1x1x5x4xf32>, %m: tensor<5x3xf32>) -> (tensor<1x1x5x4xf32>, tensor<5x2xf32>) {
  %w = arith.constant dense<1.0> : tensor<1x1x3x4xbf16>
  %v = arith.constant dense<1.0> : tensor<1x3x2xbf16>
  %y = mv.packed_conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, in_channels = 3 : i64, out_channels = 4 : i64, input_blocked} : (tensor<1x1x5x4xf32>, tensor<1x1x3x4xbf16>) -> tensor<1x1x5x4xf32>
  %p = mv.packed_matmul %m, %v {columns = 2 : i64} : (tensor<5x3xf32>, tensor<1x3x2xbf16>) -> tensor<5x2xf32>
  return %y, %p : tensor<1x1x5x4xf32>, tensor<5x2xf32>
}
