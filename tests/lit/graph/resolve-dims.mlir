// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-resolve-dims))' %s | FileCheck %s

// CHECK-DAG: #[[$MAP:.+]] = affine_map<()[s0] -> ((s0 - 1) floordiv 2 + 1)>
// CHECK-LABEL: func @conv
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x3x?xf32>
// CHECK-DAG: %[[W:.+]] = tensor.dim %[[X]], %c2
// CHECK-DAG: %[[R:.+]] = affine.apply #[[$MAP]]()[%[[W]]]
// CHECK-NOT: mv.conv
// CHECK: return %[[R]]
func.func @conv(%x: tensor<?x3x?xf32>, %w: tensor<4x3x3xf32>) -> index {
  %c2 = arith.constant 2 : index
  %y = mv.conv %x, %w {strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 1>, groups = 1 : i64} : (tensor<?x3x?xf32>, tensor<4x3x3xf32>) -> tensor<?x4x?xf32>
  %d = tensor.dim %y, %c2 : tensor<?x4x?xf32>
  return %d : index
}
