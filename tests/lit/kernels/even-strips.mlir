// RUN: marver-opt %s --mv-stage-kernels | FileCheck %s

// 14 rows by 3 panels: two strips of 7 rows make 6 equal units, three for each of
// two threads. (Strips of 5, 5 and 4 left one of them waiting for a sixth of the
// time.)

// CHECK: mv.kernel @k0 "contraction"
// CHECK-SAME: panels = 1 : i64
// CHECK-SAME: strip = array<i64: 7, 0>
func.func @narrow(%x: tensor<1x36x14x14x16xf32>, %w: tensor<3x1x1x576x32xf32>) -> tensor<1x6x14x14x16xf32> {
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 576, out_channels = 96, input_blocked} : (tensor<1x36x14x14x16xf32>, tensor<3x1x1x576x32xf32>) -> tensor<1x6x14x14x16xf32>
  return %0 : tensor<1x6x14x14x16xf32>
}
