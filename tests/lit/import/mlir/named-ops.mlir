// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s --compile-to=import -o - < %s | FileCheck %s

// Whatever the file calls it, the entry point is main; private functions are
// inlined; products and convolutions become the mv dialect's, where adding to
// zeros is adding to nothing; other named operations are generalized.

// CHECK:      func.func @main(
// CHECK-NOT:  call
// CHECK:      mv.conv
// CHECK-NOT:  arith.addf
// CHECK:      mv.matmul
// CHECK:      linalg.generic
// CHECK:        arith.addf
// CHECK:      linalg.generic
// CHECK:        arith.maximumf
// CHECK-NOT:  func.func
func.func private @relu(%x: tensor<4x3xf32>) -> tensor<4x3xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x3xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<4x3xf32>) -> tensor<4x3xf32>
  %r = linalg.max ins(%x, %z : tensor<4x3xf32>, tensor<4x3xf32>) outs(%e : tensor<4x3xf32>) -> tensor<4x3xf32>
  return %r : tensor<4x3xf32>
}
func.func @model(%image: tensor<1x3x8x8xf32>, %filter: tensor<2x3x3x3xf32>,
                 %a: tensor<4x5xf32>, %b: tensor<5x3xf32>, %bias: tensor<4x3xf32>)
    -> (tensor<1x2x6x6xf32>, tensor<4x3xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x2x6x6xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
    ins(%image, %filter : tensor<1x3x8x8xf32>, tensor<2x3x3x3xf32>) outs(%z : tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %m = linalg.matmul ins(%a, %b : tensor<4x5xf32>, tensor<5x3xf32>) outs(%bias : tensor<4x3xf32>) -> tensor<4x3xf32>
  %r = call @relu(%m) : (tensor<4x3xf32>) -> tensor<4x3xf32>
  return %c, %r : tensor<1x2x6x6xf32>, tensor<4x3xf32>
}
