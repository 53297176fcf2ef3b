// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s

// ONNX operators as iree-import-onnx prints them: attributes of every kind, an
// absent operand, a dynamic dim, constants inline and as resources.

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    tensor<?x3xf32> {mv.dims = [affine_map<()[s0] -> (s0)>, 3], mv.name = "arg0"}
// CHECK-SAME:    tensor<1x1x4x4xf32>
// CHECK-DAG:   dense<[{{.*}}1.000000e+00, -2.000000e+00]> : tensor<2xf32>
// CHECK-DAG:   arith.constant 6.000000e+00 : f32
// CHECK-DAG:   mv.pool
// CHECK-NOT:   torch
module {
  func.func @main_graph(%arg0: !torch.vtensor<[?,3],f32>, %arg1: !torch.vtensor<[1,1,4,4],f32>) -> (!torch.vtensor<[?,2],f32>, !torch.vtensor<[1,1,2,2],f32>) attributes {torch.onnx_meta.ir_version = 10 : si64, torch.onnx_meta.opset_version = 20 : si64, torch.onnx_meta.producer_name = "pytorch", torch.onnx_meta.producer_version = "2.13.0+cpu"} {
    %0 = torch.operator "onnx.Constant"() {torch.onnx.value = dense<0.5> : tensor<2x3xf32>} : () -> !torch.vtensor<[2,3],f32>
    %1 = torch.operator "onnx.Constant"() {torch.onnx.value = dense_resource<_bias> : tensor<2xf32>} : () -> !torch.vtensor<[2],f32>
    %none = torch.constant.none
    %2 = torch.operator "onnx.Gemm"(%arg0, %0, %1) {torch.onnx.alpha = 1.000000e+00 : f32, torch.onnx.transB = 1 : si64} : (!torch.vtensor<[?,3],f32>, !torch.vtensor<[2,3],f32>, !torch.vtensor<[2],f32>) -> !torch.vtensor<[?,2],f32>
    %3 = torch.operator "onnx.Constant"() {torch.onnx.value = dense<6.0> : tensor<f32>} : () -> !torch.vtensor<[],f32>
    %4 = torch.operator "onnx.Clip"(%2, %none, %3) : (!torch.vtensor<[?,2],f32>, !torch.none, !torch.vtensor<[],f32>) -> !torch.vtensor<[?,2],f32>
    %5 = torch.operator "onnx.MaxPool"(%arg1) {torch.onnx.auto_pad = "NOTSET", torch.onnx.kernel_shape = [2 : si64, 2 : si64], torch.onnx.strides = [2 : si64, 2 : si64]} : (!torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,1,2,2],f32>
    return %4, %5 : !torch.vtensor<[?,2],f32>, !torch.vtensor<[1,1,2,2],f32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      _bias: "0x080000000000803F000000C0"
    }
  }
#-}
