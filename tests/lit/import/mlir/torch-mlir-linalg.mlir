// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s

// What torch-mlir's linalg-on-tensors form has beyond plain linalg: depthwise
// convolutions, and assertions, on elements and on the host.

// CHECK-LABEL: func.func @main(
// CHECK-DAG:     mv.check %{{.*}}, {{[0-9]+}}, "a message"
// CHECK-DAG:     mv.conv {{.*}}groups = 3 : i64
// CHECK-NOT:     cf.assert
#map = affine_map<(d0) -> (d0)>
func.func @main(%x: tensor<1x3x8x8xf32>, %w: tensor<3x2x2xf32>, %v: tensor<?xf32>) -> (tensor<1x3x4x4xf32>, tensor<?xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x3x4x4xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32>
  %y = linalg.depthwise_conv_2d_nchw_chw {dilations = dense<1> : vector<2xi64>, strides = dense<2> : vector<2xi64>} ins(%x, %w : tensor<1x3x8x8xf32>, tensor<3x2x2xf32>) outs(%z : tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32>
  %c0 = arith.constant 0 : index
  %c7 = arith.constant 7 : index
  %n = tensor.dim %v, %c0 : tensor<?xf32>
  %small = arith.cmpi slt, %n, %c7 : index
  cf.assert %small, "a message"
  %r = linalg.generic {indexing_maps = [#map], iterator_types = ["parallel"]} outs(%v : tensor<?xf32>) {
  ^bb0(%out: f32):
    %one = arith.cmpf one, %out, %zero : f32
    cf.assert %one, "an element is zero"
    %s = arith.divf %zero, %out : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  return %y, %r : tensor<1x3x4x4xf32>, tensor<?xf32>
}
