// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s -o %t.mv

// StableHLO as JAX and torch-mlir print it is built with the shared operators;
// numbers are checked against JAX in tests/e2e/stablehlo.py.

// CHECK-LABEL: func.func @network(
// CHECK:         mv.conv
// CHECK:         arith.maximum
// CHECK:         mv.pool max
// CHECK:         mv.matmul
// CHECK-NOT:     stablehlo
func.func @network(%x: tensor<1x8x8x3xf32>, %w: tensor<3x3x3x4xf32>, %m: tensor<64x5xf32>) -> tensor<1x5xf32> {
  %0 = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [1, 1], pad = [[1, 1], [1, 1]], lhs_dilate = [1, 1], rhs_dilate = [1, 1], reverse = [false, false]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64, precision_config = [#stablehlo<precision DEFAULT>, #stablehlo<precision DEFAULT>]} : (tensor<1x8x8x3xf32>, tensor<3x3x3x4xf32>) -> tensor<1x8x8x4xf32>
  %1 = call @relu(%0) : (tensor<1x8x8x4xf32>) -> tensor<1x8x8x4xf32>
  %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %2 = "stablehlo.reduce_window"(%1, %low) <{window_dimensions = array<i64: 1, 2, 2, 1>, window_strides = array<i64: 1, 2, 2, 1>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %3 = stablehlo.maximum %a, %b : tensor<f32>
    stablehlo.return %3 : tensor<f32>
  }) : (tensor<1x8x8x4xf32>, tensor<f32>) -> tensor<1x4x4x4xf32>
  %4 = stablehlo.reshape %2 : (tensor<1x4x4x4xf32>) -> tensor<1x64xf32>
  %5 = stablehlo.dot_general %4, %m, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<1x64xf32>, tensor<64x5xf32>) -> tensor<1x5xf32>
  return %5 : tensor<1x5xf32>
}
func.func private @relu(%x: tensor<1x8x8x4xf32>) -> tensor<1x8x8x4xf32> {
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<1x8x8x4xf32>
  %1 = stablehlo.maximum %x, %0 : tensor<1x8x8x4xf32>
  return %1 : tensor<1x8x8x4xf32>
}

// Sizes come from the shape dialect, as torch-mlir has them.
// CHECK-LABEL: func.func @dynamic(
// CHECK:         tensor.dim
// CHECK-NOT:     mv.check
// CHECK-NOT:     shape.
func.func @dynamic(%x: tensor<?x4xf32>, %c: tensor<4xf32>) -> tensor<?x4xf32> {
  %0 = shape.shape_of %x : tensor<?x4xf32> -> tensor<2xindex>
  %1 = shape.const_shape [4] : tensor<1xindex>
  %2 = shape.cstr_broadcastable %0, %1 : tensor<2xindex>, tensor<1xindex>
  %3 = shape.assuming %2 -> (tensor<?x4xf32>) {
    %4 = shape.broadcast %0, %1 : tensor<2xindex>, tensor<1xindex> -> tensor<2xindex>
    %5 = stablehlo.dynamic_broadcast_in_dim %c, %4, dims = [1] : (tensor<4xf32>, tensor<2xindex>) -> tensor<?x4xf32>
    %6 = stablehlo.add %x, %5 : tensor<?x4xf32>
    shape.assuming_yield %6 : tensor<?x4xf32>
  }
  return %3 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @count(
// CHECK:         scf.while
// CHECK:         scf.if
func.func @count(%n: tensor<i32>, %p: tensor<i1>) -> (tensor<i32>, tensor<i32>) {
  %c0 = stablehlo.constant dense<0> : tensor<i32>
  %c1 = stablehlo.constant dense<1> : tensor<i32>
  %0 = stablehlo.while(%i = %c0) : tensor<i32>
  cond {
    %2 = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %2 : tensor<i1>
  } do {
    %2 = stablehlo.add %i, %c1 : tensor<i32>
    stablehlo.return %2 : tensor<i32>
  }
  %1 = "stablehlo.if"(%p) ({
    stablehlo.return %0 : tensor<i32>
  }, {
    stablehlo.return %n : tensor<i32>
  }) : (tensor<i1>) -> tensor<i32>
  return %0, %1 : tensor<i32>, tensor<i32>
}

// Unsigned elements are signless in the module and marked in the signature.
// CHECK-LABEL: func.func @unsigned(
// CHECK-SAME:    tensor<3xi8> {mv.unsigned}
// CHECK:         arith.maxui
func.func @unsigned(%x: tensor<3xui8>, %y: tensor<3xui8>) -> tensor<3xui8> {
  %0 = stablehlo.maximum %x, %y : tensor<3xui8>
  return %0 : tensor<3xui8>
}
