// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-widen-contractions,mv-fold-constants,canonicalize))' --split-input-file %s | FileCheck %s

// The weights are converted at compile time, operand and result by conversions
// around the product; a mask of bits stays.
// CHECK-LABEL: func @matmul
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x2xbf16>
// CHECK-DAG: %[[W:.+]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// CHECK: %[[XW:.+]] = linalg.generic {{.*}} ins(%[[X]] : tensor<?x2xbf16>)
// CHECK: arith.extf %{{.+}} : bf16 to f32
// CHECK: %[[Y:.+]] = mv.matmul %[[XW]], %[[W]] : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
// CHECK: %[[R:.+]] = linalg.generic {{.*}} ins(%[[Y]] : tensor<?x2xf32>) outs(%{{.+}} : tensor<?x2xbf16>)
// CHECK: arith.truncf %{{.+}} : f32 to bf16
// CHECK: return %[[R]]
func.func @matmul(%x: tensor<?x2xbf16>) -> tensor<?x2xbf16> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xbf16>
  %y = mv.matmul %x, %w : (tensor<?x2xbf16>, tensor<2x2xbf16>) -> tensor<?x2xbf16>
  return %y : tensor<?x2xbf16>
}

// CHECK-LABEL: func @attention
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} mask %{{.+}} {scale = 1.000000e+00 : f64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<3x3xi1>) -> tensor<2x3x4xf32>
func.func @attention(%q: tensor<2x3x4xf16>, %mask: tensor<3x3xi1>) -> tensor<2x3x4xf16> {
  %r = mv.attention %q, %q, %q mask %mask {scale = 1.0 : f64} : (tensor<2x3x4xf16>, tensor<2x3x4xf16>, tensor<2x3x4xf16>, tensor<3x3xi1>) -> tensor<2x3x4xf16>
  return %r : tensor<2x3x4xf16>
}

// A convolution whose weights are computed stays as it is.
// CHECK-LABEL: func @dynamic_weights
// CHECK-NEXT: mv.conv {{.*}} -> tensor<1x4x4xf16>
func.func @dynamic_weights(%x: tensor<1x2x6xf16>, %w: tensor<4x2x3xf16>) -> tensor<1x4x4xf16> {
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x6xf16>, tensor<4x2x3xf16>) -> tensor<1x4x4xf16>
  return %y : tensor<1x4x4xf16>
}
