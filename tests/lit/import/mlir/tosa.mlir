// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s

// TOSA goes through upstream's conversions to linalg.

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    tensor<1x3xf32>
// CHECK:         mv.matmul
// CHECK:         linalg.generic
// CHECK-NOT:     tosa
func.func @main(%x: tensor<1x3xf32>) -> tensor<1x2xf32> {
  %zero = "tosa.const"() <{values = dense<0.0> : tensor<1xf32>}> : () -> tensor<1xf32>
  %w = "tosa.const"() <{values = dense_resource<w> : tensor<1x3x2xf32>}> : () -> tensor<1x3x2xf32>
  %s3 = tosa.const_shape {values = dense<[1, 1, 3]> : tensor<3xindex>} : () -> !tosa.shape<3>
  %s2 = tosa.const_shape {values = dense<[1, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %a = tosa.reshape %x, %s3 : (tensor<1x3xf32>, !tosa.shape<3>) -> tensor<1x1x3xf32>
  %b = tosa.matmul %a, %w, %zero, %zero : (tensor<1x1x3xf32>, tensor<1x3x2xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x2xf32>
  %c = tosa.reshape %b, %s2 : (tensor<1x1x2xf32>, !tosa.shape<2>) -> tensor<1x2xf32>
  %d = tosa.add %c, %c : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  return %d : tensor<1x2xf32>
}
{-#
  dialect_resources: { builtin: {
    w: "0x040000000000803F000000C00000803F000000C00000803F000000C0"
  } }
#-}
