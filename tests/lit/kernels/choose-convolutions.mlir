// RUN: marver-opt %s --mv-stage-kernels --split-input-file | FileCheck %s

// Many channels at stride 1: tiles of 4x4 results from 36 products.

// CHECK-LABEL: func.func @stride1
// CHECK: %[[W:.*]] = mv.launch @k0(%arg1 : tensor<2x3x3x64x32xf32>) -> tensor<{{.*}}x36x64x{{.*}}xf32>
// CHECK: mv.launch @k1(%arg0, %[[W]], %arg2
// CHECK: mv.kernel @k0 "winograd_filter"
// CHECK: mv.winograd_filter %{{.*}} {outputs = 4 : i64, stride = 1 : i64}
// CHECK: mv.kernel @k1 "winograd" {reason = "Winograd of 4 outputs, stride 1: {{[0-9.]*}} million cycles
// CHECK: mv.winograd_conv %arg0, %arg1 bias %arg2
// CHECK-SAME: outputs = 4 : i64, stride = 1 : i64, window = 3 : i64
func.func @stride1(%x: tensor<1x4x42x42x16xf32>, %w: tensor<2x3x3x64x32xf32>, %b: tensor<64xf32>) -> tensor<1x4x40x40x16xf32> {
  %0 = mv.packed_conv %x, %w bias %b {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 64, out_channels = 64, input_blocked} : (tensor<1x4x42x42x16xf32>, tensor<2x3x3x64x32xf32>, tensor<64xf32>) -> tensor<1x4x40x40x16xf32>
  return %0 : tensor<1x4x40x40x16xf32>
}

// -----

// Sizes that are known when the model runs only.

// CHECK-LABEL: func.func @dynamic
// CHECK: mv.kernel @k1 "winograd"
// CHECK: mv.winograd_conv {{.*}} -> tensor<?x4x?x?x16xf32>
func.func @dynamic(%x: tensor<?x4x?x?x16xf32>, %w: tensor<2x3x3x64x32xf32>) -> tensor<?x4x?x?x16xf32> {
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 64, out_channels = 64, input_blocked} : (tensor<?x4x?x?x16xf32>, tensor<2x3x3x64x32xf32>) -> tensor<?x4x?x?x16xf32>
  return %0 : tensor<?x4x?x?x16xf32>
}

// -----

// Few channels, a 1x1 window, a dilated one: by the definition.

// CHECK-LABEL: func.func @direct
// CHECK-NOT: winograd
func.func @direct(%x: tensor<1x1x42x42x16xf32>, %w: tensor<1x3x3x4x16xf32>, %p: tensor<1x1x1x4x16xf32>, %d: tensor<1x1x44x44x16xf32>) -> (tensor<1x1x40x40x16xf32>, tensor<1x1x42x42x16xf32>, tensor<1x1x40x40x16xf32>) {
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 4, out_channels = 4, input_blocked} : (tensor<1x1x42x42x16xf32>, tensor<1x3x3x4x16xf32>) -> tensor<1x1x40x40x16xf32>
  %1 = mv.packed_conv %x, %p {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 4, out_channels = 4, input_blocked} : (tensor<1x1x42x42x16xf32>, tensor<1x1x1x4x16xf32>) -> tensor<1x1x42x42x16xf32>
  %2 = mv.packed_conv %d, %w {strides = array<i64: 1, 1>, dilations = array<i64: 2, 2>, in_channels = 4, out_channels = 4, input_blocked} : (tensor<1x1x44x44x16xf32>, tensor<1x3x3x4x16xf32>) -> tensor<1x1x40x40x16xf32>
  return %0, %1, %2 : tensor<1x1x40x40x16xf32>, tensor<1x1x42x42x16xf32>, tensor<1x1x40x40x16xf32>
}

// -----

// The image that a network begins with, three taps in each of two phases: the
// phases are added up like channels, and the kernel makes the border itself.

// CHECK-LABEL: func.func @image
// CHECK: %[[W:.*]] = mv.launch @k0(%arg1 : tensor<1x6x6x3x32xf32>) -> tensor<1x36x12x{{.*}}xf32>
// CHECK: %[[V:.*]] = tensor.expand_shape %arg0 {{.*}} into tensor<1x3x320x320x1xf32>
// CHECK: mv.launch @k1(%[[V]], %[[W]]
// CHECK: mv.kernel @k1 "winograd" {reason = "Winograd of 4 outputs, stride 2: {{[0-9.]*}} million cycles
// CHECK: tensor.pad %arg0 low[0, 0, 2, 2, 0] high[0, 0, 2, 2, 0]
// CHECK: mv.winograd_conv
func.func @image(%x: tensor<1x3x320x320xf32>, %w: tensor<1x6x6x3x32xf32>) -> tensor<1x2x160x160x16xf32> {
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 2, 2] high[0, 0, 2, 2] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x3x320x320xf32> to tensor<1x3x324x324xf32>
  %0 = mv.packed_conv %p, %w {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, in_channels = 3, out_channels = 32} : (tensor<1x3x324x324xf32>, tensor<1x6x6x3x32xf32>) -> tensor<1x2x160x160x16xf32>
  return %0 : tensor<1x2x160x160x16xf32>
}

// -----

// A number that is known only at run time surrounds the image: its border is a
// kernel of its own.

// CHECK-LABEL: func.func @border
// CHECK: %[[W:.*]] = mv.launch @k0
// CHECK: %[[P:.*]] = mv.launch @k1({{.*}}) -> tensor<1x3x324x324x1xf32>
// CHECK: mv.launch @k2(%[[P]], %[[W]]
// CHECK: mv.kernel @k1 "pointwise"
// CHECK: tensor.pad
// CHECK: mv.kernel @k2 "winograd"
// CHECK-NOT: tensor.pad
func.func @border(%x: tensor<1x3x320x320xf32>, %w: tensor<1x6x6x3x32xf32>, %n: tensor<f32>) -> tensor<1x2x160x160x16xf32> {
  %number = tensor.extract %n[] : tensor<f32>
  %p = tensor.pad %x low[0, 0, 2, 2] high[0, 0, 2, 2] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %number : f32
  } : tensor<1x3x320x320xf32> to tensor<1x3x324x324xf32>
  %0 = mv.packed_conv %p, %w {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, in_channels = 3, out_channels = 32} : (tensor<1x3x324x324xf32>, tensor<1x6x6x3x32xf32>) -> tensor<1x2x160x160x16xf32>
  return %0 : tensor<1x2x160x160x16xf32>
}
