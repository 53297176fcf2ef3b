// RUN: marver-opt %s --mv-stage-kernels | FileCheck %s

// A map that no cache holds does not leave the kernel that makes it, if only a
// depthwise convolution reads it.

// CHECK-LABEL: func.func @joined
// CHECK: %[[OUT:.*]] = mv.launch @k0(%arg0, %arg1, %arg2
// CHECK-NOT: mv.launch
// CHECK: return %[[OUT]]

// A small one does: it stays in the L2 cache.
// CHECK-LABEL: func.func @small
// CHECK-COUNT-2: mv.launch
// CHECK: return

// So does one that has another reader.
// CHECK-LABEL: func.func @read_twice
// CHECK-COUNT-3: mv.launch
// CHECK: return

// CHECK: mv.kernel @k0 "conv_depthwise"
// CHECK-SAME: reason = "{{.*}} rows at a time
// CHECK: mv.packed_conv
// CHECK: arith.maximumf
// CHECK: tensor.pad
// CHECK: mv.depthwise_conv
// CHECK: arith.minimumf
// CHECK: mv.kernel @k1 "contraction"
// CHECK: mv.kernel @k2 "depthwise"
// CHECK: mv.kernel @k3 "contraction"
// CHECK: mv.kernel @k5 "depthwise"

#id = affine_map<(d0,d1,d2,d3,d4)->(d0,d1,d2,d3,d4)>
func.func @joined(%x: tensor<1x1x112x112x16xf32>, %w: tensor<2x1x1x16x32xf32>, %dw: tensor<4x3x3x16xf32>) -> tensor<1x4x56x56x16xf32> {
  %c0 = arith.constant 0.0 : f32
  %c6 = arith.constant 6.0 : f32
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 16, out_channels = 64, input_blocked} : (tensor<1x1x112x112x16xf32>, tensor<2x1x1x16x32xf32>) -> tensor<1x4x112x112x16xf32>
  %e = tensor.empty() : tensor<1x4x112x112x16xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%0 : tensor<1x4x112x112x16xf32>) outs(%e : tensor<1x4x112x112x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.maximumf %a, %c0 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x112x112x16xf32>
  %p = tensor.pad %1 low[0,0,1,1,0] high[0,0,1,1,0] {
    ^bb0(%a: index, %b: index, %c: index, %d: index, %f: index): tensor.yield %c0 : f32
  } : tensor<1x4x112x112x16xf32> to tensor<1x4x114x114x16xf32>
  %2 = mv.depthwise_conv %p, %dw {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>} : (tensor<1x4x114x114x16xf32>, tensor<4x3x3x16xf32>) -> tensor<1x4x56x56x16xf32>
  %e2 = tensor.empty() : tensor<1x4x56x56x16xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%2 : tensor<1x4x56x56x16xf32>) outs(%e2 : tensor<1x4x56x56x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.minimumf %a, %c6 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x56x56x16xf32>
  return %3 : tensor<1x4x56x56x16xf32>
}
func.func @small(%x: tensor<1x1x28x28x16xf32>, %w: tensor<2x1x1x16x32xf32>, %dw: tensor<4x3x3x16xf32>) -> tensor<1x4x14x14x16xf32> {
  %c0 = arith.constant 0.0 : f32
  %c6 = arith.constant 6.0 : f32
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 16, out_channels = 64, input_blocked} : (tensor<1x1x28x28x16xf32>, tensor<2x1x1x16x32xf32>) -> tensor<1x4x28x28x16xf32>
  %e = tensor.empty() : tensor<1x4x28x28x16xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%0 : tensor<1x4x28x28x16xf32>) outs(%e : tensor<1x4x28x28x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.maximumf %a, %c0 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x28x28x16xf32>
  %p = tensor.pad %1 low[0,0,1,1,0] high[0,0,1,1,0] {
    ^bb0(%a: index, %b: index, %c: index, %d: index, %f: index): tensor.yield %c0 : f32
  } : tensor<1x4x28x28x16xf32> to tensor<1x4x30x30x16xf32>
  %2 = mv.depthwise_conv %p, %dw {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>} : (tensor<1x4x30x30x16xf32>, tensor<4x3x3x16xf32>) -> tensor<1x4x14x14x16xf32>
  %e2 = tensor.empty() : tensor<1x4x14x14x16xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%2 : tensor<1x4x14x14x16xf32>) outs(%e2 : tensor<1x4x14x14x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.minimumf %a, %c6 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x14x14x16xf32>
  return %3 : tensor<1x4x14x14x16xf32>
}
func.func @read_twice(%x: tensor<1x1x112x112x16xf32>, %w: tensor<2x1x1x16x32xf32>, %dw: tensor<4x3x3x16xf32>) -> (tensor<1x4x56x56x16xf32>, tensor<1x4x112x112x16xf32>) {
  %c0 = arith.constant 0.0 : f32
  %c6 = arith.constant 6.0 : f32
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 16, out_channels = 64, input_blocked} : (tensor<1x1x112x112x16xf32>, tensor<2x1x1x16x32xf32>) -> tensor<1x4x112x112x16xf32>
  %e = tensor.empty() : tensor<1x4x112x112x16xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%0 : tensor<1x4x112x112x16xf32>) outs(%e : tensor<1x4x112x112x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.maximumf %a, %c0 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x112x112x16xf32>
  %p = tensor.pad %1 low[0,0,1,1,0] high[0,0,1,1,0] {
    ^bb0(%a: index, %b: index, %c: index, %d: index, %f: index): tensor.yield %c0 : f32
  } : tensor<1x4x112x112x16xf32> to tensor<1x4x114x114x16xf32>
  %2 = mv.depthwise_conv %p, %dw {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>} : (tensor<1x4x114x114x16xf32>, tensor<4x3x3x16xf32>) -> tensor<1x4x56x56x16xf32>
  %e2 = tensor.empty() : tensor<1x4x56x56x16xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%2 : tensor<1x4x56x56x16xf32>) outs(%e2 : tensor<1x4x56x56x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.minimumf %a, %c6 : f32
     linalg.yield %m : f32
  } -> tensor<1x4x56x56x16xf32>
  return %3, %1 : tensor<1x4x56x56x16xf32>, tensor<1x4x112x112x16xf32>
}
