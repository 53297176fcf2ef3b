// RUN: marver-opt %s --mv-stage-kernels | FileCheck %s

// The pad of an argument is a kernel of its own; the pad behind the ReLU is
// stored by the convolution, whose plain result is then a slice of it; the
// residual addition is an epilogue.

// CHECK-LABEL: func.func @main
// CHECK: %[[X:.*]] = mv.launch @k0(%arg0
// CHECK: %[[HALO:.*]] = mv.launch @k1(%[[X]], %arg1 {{.*}} -> tensor<1x1x18x18x16xf32>
// CHECK: %[[PLAIN:.*]] = tensor.extract_slice %[[HALO]][0, 0, 1, 1, 0] [1, 1, 16, 16, 16]
// CHECK: %[[DW:.*]] = mv.launch @k2(%[[HALO]], %arg3
// CHECK: %[[OUT:.*]] = mv.launch @k3(%[[DW]], %arg2, %[[PLAIN]]
// CHECK: return %[[OUT]], %[[OUT]]
// CHECK: mv.kernel @k0 "pointwise"
// CHECK: mv.kernel @k1 "contraction"
// CHECK: mv.packed_conv
// CHECK: arith.maximumf
// CHECK: tensor.pad
// CHECK: mv.kernel @k2 "depthwise"
// CHECK: mv.kernel @k3 "contraction"
// CHECK: arith.addf

#id = affine_map<(d0,d1,d2,d3,d4)->(d0,d1,d2,d3,d4)>
func.func @main(%x: tensor<1x3x32x32xf32>, %w: tensor<1x3x3x3x16xf32>, %w2: tensor<1x1x1x16x16xf32>, %dw: tensor<1x3x3x16xf32>) -> (tensor<1x1x16x16x16xf32>, tensor<1x1x16x16x16xf32>) {
  %c0 = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0,0,1,1] high[0,0,1,1] {
    ^bb0(%a: index, %b: index, %c: index, %d: index): tensor.yield %c0 : f32
  } : tensor<1x3x32x32xf32> to tensor<1x3x34x34xf32>
  %0 = mv.packed_conv %p, %w {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, in_channels = 3, out_channels = 16} : (tensor<1x3x34x34xf32>, tensor<1x3x3x3x16xf32>) -> tensor<1x1x16x16x16xf32>
  %e = tensor.empty() : tensor<1x1x16x16x16xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%0 : tensor<1x1x16x16x16xf32>) outs(%e : tensor<1x1x16x16x16xf32>) {
   ^bb0(%a: f32, %o: f32):
     %m = arith.maximumf %a, %c0 : f32
     linalg.yield %m : f32
  } -> tensor<1x1x16x16x16xf32>
  %p2 = tensor.pad %1 low[0,0,1,1,0] high[0,0,1,1,0] {
    ^bb0(%a: index, %b: index, %c: index, %d: index, %f: index): tensor.yield %c0 : f32
  } : tensor<1x1x16x16x16xf32> to tensor<1x1x18x18x16xf32>
  %2 = mv.depthwise_conv %p2, %dw {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x1x18x18x16xf32>, tensor<1x3x3x16xf32>) -> tensor<1x1x16x16x16xf32>
  %3 = mv.packed_conv %2, %w2 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 16, out_channels = 16, input_blocked} : (tensor<1x1x16x16x16xf32>, tensor<1x1x1x16x16xf32>) -> tensor<1x1x16x16x16xf32>
  %4 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel","parallel","parallel","parallel","parallel"]} ins(%3, %1 : tensor<1x1x16x16x16xf32>, tensor<1x1x16x16x16xf32>) outs(%e : tensor<1x1x16x16x16xf32>) {
   ^bb0(%a: f32, %b: f32, %o: f32):
     %m = arith.addf %a, %b : f32
     linalg.yield %m : f32
  } -> tensor<1x1x16x16x16xf32>
  return %4, %4 : tensor<1x1x16x16x16xf32>, tensor<1x1x16x16x16xf32>
}
