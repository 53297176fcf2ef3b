// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-layout{lanes=4},canonicalize,cse))' --split-input-file %s | FileCheck %s

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#c = affine_map<(d0, d1, d2, d3) -> (d1)>
#nc = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>

// A first layer reads its three channels where they are; what follows stays
// blocked without a conversion: bias of 6 in blocks of 4, clamp, depthwise
// (padded), 1x1, residual. One unpack for the result.
// CHECK-DAG: #[[$B:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3, d4)>
// CHECK-LABEL: func @chain
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x3x8x8xf32>
// CHECK: %[[P:.+]] = tensor.pad %[[X]] low[0, 0, 0, 0] high[0, 0, 1, 1]
// CHECK: %[[C1:.+]] = mv.packed_conv %[[P]], %{{.+}} bias %{{.+}} {dilations = array<i64: 1, 1>, in_channels = 3 : i64, out_channels = 6 : i64, strides = array<i64: 2, 2>} : (tensor<?x3x9x9xf32>, tensor<1x3x3x3x8xf32>, tensor<8xf32>) -> tensor<?x2x4x4x4xf32>
// CHECK: %[[R:.+]] = linalg.generic {indexing_maps = [#[[$B]], #[[$B]]]{{.*}} ins(%[[C1]] : tensor<?x2x4x4x4xf32>)
// CHECK: %[[DP:.+]] = tensor.pad %[[R]] low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
// CHECK: %[[D:.+]] = mv.depthwise_conv %[[DP]], %{{.+}} : (tensor<?x2x6x6x4xf32>, tensor<2x3x3x4xf32>) -> tensor<?x2x4x4x4xf32>
// CHECK: %[[C2:.+]] = mv.packed_conv %[[D]], %{{.+}}in_channels = 6 : i64, input_blocked, out_channels = 6
// CHECK: %[[A:.+]] = linalg.generic {{.*}} ins(%[[C2]], %[[R]] : tensor<?x2x4x4x4xf32>, tensor<?x2x4x4x4xf32>)
// CHECK-NOT: linalg.pack
// CHECK: %[[U:.+]] = linalg.unpack %[[A]]
// CHECK: return %[[U]]
func.func @chain(%x: tensor<?x3x8x8xf32>, %n: index) -> tensor<?x6x4x4xf32> {
  %w = arith.constant dense<0.5> : tensor<6x3x3x3xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>
  %wd = arith.constant dense<0.5> : tensor<6x1x3x3xf32>
  %w1 = arith.constant dense<0.5> : tensor<6x6x1x1xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%n) : tensor<?x6x4x4xf32>
  %y = mv.conv %x, %w bias %b {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 1, 1>, groups = 1 : i64} : (tensor<?x3x8x8xf32>, tensor<6x3x3x3xf32>, tensor<6xf32>) -> tensor<?x6x4x4xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y : tensor<?x6x4x4xf32>) outs(%e : tensor<?x6x4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.maximumf %a, %zero : f32
    linalg.yield %m : f32
  } -> tensor<?x6x4x4xf32>
  %d = mv.conv %r, %wd {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 6 : i64} : (tensor<?x6x4x4xf32>, tensor<6x1x3x3xf32>) -> tensor<?x6x4x4xf32>
  %p = mv.conv %d, %w1 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<?x6x4x4xf32>, tensor<6x6x1x1xf32>) -> tensor<?x6x4x4xf32>
  %s = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%p, %r : tensor<?x6x4x4xf32>, tensor<?x6x4x4xf32>) outs(%e : tensor<?x6x4x4xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %m = arith.addf %a, %c : f32
    linalg.yield %m : f32
  } -> tensor<?x6x4x4xf32>
  return %s : tensor<?x6x4x4xf32>
}

// -----

// The packed bytes: panel x tap x channel x 4, zero beyond 3 outputs; the
// depthwise filter in blocks of channels.
// CHECK-LABEL: func @weights
// CHECK-DAG: arith.constant dense<{{\[\[\[\[}}1.000000e+00, 5.000000e+00, 9.000000e+00, 0.000000e+00], [3.000000e+00, 7.000000e+00, 1.100000e+01, 0.000000e+00]], {{\[\[}}2.000000e+00, 6.000000e+00, 1.000000e+01, 0.000000e+00], [4.000000e+00, 8.000000e+00, 1.200000e+01, 0.000000e+00]]]]> : tensor<1x2x2x4xf32>
// CHECK-DAG: arith.constant dense<{{\[\[\[}}1.000000e+00, 3.000000e+00, 5.000000e+00, 0.000000e+00], [2.000000e+00, 4.000000e+00, 6.000000e+00, 0.000000e+00]]]> : tensor<1x2x4xf32>
func.func @weights(%x: tensor<1x2x5xf32>) -> tensor<1x3x3xf32> {
  %w = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]], [[9.0, 10.0], [11.0, 12.0]]]> : tensor<3x2x2xf32>
  %wd = arith.constant dense<[[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]> : tensor<3x1x2xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x5xf32>, tensor<3x2x2xf32>) -> tensor<1x3x4xf32>
  %z = mv.conv %y, %wd {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 3 : i64} : (tensor<1x3x4xf32>, tensor<3x1x2xf32>) -> tensor<1x3x3xf32>
  return %z : tensor<1x3x3xf32>
}

// -----

// Three groups of 4 -> 8 channels are three convolutions on block ranges; two
// groups of 2 -> 2 become one with block-diagonal weights.
// CHECK-LABEL: func @groups
// CHECK: %[[X:.+]] = linalg.pack
// CHECK: %[[S0:.+]] = tensor.extract_slice %[[X]][0, 0, 0, 0] [1, 1, 5, 4]
// CHECK: %[[P0:.+]] = mv.packed_conv %[[S0]], %{{.+}}in_channels = 4 : i64, input_blocked, out_channels = 8
// CHECK: %[[S1:.+]] = tensor.extract_slice %[[X]][0, 1, 0, 0] [1, 1, 5, 4]
// CHECK: %[[P1:.+]] = mv.packed_conv %[[S1]]
// CHECK: %[[P2:.+]] = mv.packed_conv
// CHECK: tensor.concat dim(1) %[[P0]], %[[P1]], %[[P2]] : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x6x5x4xf32>
func.func @groups(%x: tensor<1x12x5xf32>) -> tensor<1x24x5xf32> {
  %w = arith.constant dense<0.5> : tensor<24x4x1xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 3 : i64} : (tensor<1x12x5xf32>, tensor<24x4x1xf32>) -> tensor<1x24x5xf32>
  return %y : tensor<1x24x5xf32>
}

// CHECK-LABEL: func @joined_groups
// CHECK: arith.constant dense<{{\[\[\[\[}}1.000000e+00, 3.000000e+00, 0.000000e+00, 0.000000e+00], [2.000000e+00, 4.000000e+00, 0.000000e+00, 0.000000e+00], [0.000000e+00, 0.000000e+00, 5.000000e+00, 7.000000e+00], [0.000000e+00, 0.000000e+00, 6.000000e+00, 8.000000e+00]]]]> : tensor<1x1x4x4xf32>
// CHECK: mv.packed_conv
// CHECK-NOT: mv.packed_conv
func.func @joined_groups(%x: tensor<1x4x5xf32>) -> tensor<1x4x5xf32> {
  %w = arith.constant dense<[[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]], [[7.0], [8.0]]]> : tensor<4x2x1xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 2 : i64} : (tensor<1x4x5xf32>, tensor<4x2x1xf32>) -> tensor<1x4x5xf32>
  return %y : tensor<1x4x5xf32>
}

// -----

// What has no vector kernel stays.
// CHECK-LABEL: func @plain
// CHECK-COUNT-2: mv.conv
// CHECK-NOT: linalg.pack
func.func @plain(%x: tensor<1x4x5xf32>, %w: tensor<4x4x1xf32>, %i: tensor<1x4x5xf64>) -> (tensor<1x4x5xf32>, tensor<1x4x5xf64>) {
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x4x5xf32>, tensor<4x4x1xf32>) -> tensor<1x4x5xf32>
  %v = arith.constant dense<1.0> : tensor<4x4x1xf64>
  %z = mv.conv %i, %v {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x4x5xf64>, tensor<4x4x1xf64>) -> tensor<1x4x5xf64>
  return %y, %z : tensor<1x4x5xf32>, tensor<1x4x5xf64>
}
