// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s --list-inputs | FileCheck %s --check-prefix=LIST

// A function of torch-mlir's dialect as torch-mlir and iree-turbine print it:
// the operators are those of the .pt2 importer, constants come from globals,
// literals and the resources behind the module, and no trace is left of the
// dialect.

// LIST: input[0]: arg0: 1x3x8x8xf32
// LIST: input[1]: arg1: 2x4xi64

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[X:.*]]: tensor<1x3x8x8xf32> {mv.dims = [1, 3, 8, 8], mv.name = "arg0"}
// CHECK-SAME:    %[[IDS:.*]]: tensor<2x4xi64>
// CHECK-SAME:    -> (tensor<1x2x8x8xf32> {{.*}}, tensor<2x4xf32> {{.*}}, tensor<2x2xi64> {{.*}}, tensor<2x4xi1> {{.*}}, tensor<2xf32>
// CHECK-DAG:   dense<[1.000000e+00, -2.000000e+00]> : tensor<2xf32>
// CHECK-DAG:   dense<[{{.*}}1, 2], [3, -4]]> : tensor<2x2xi64>
// CHECK-DAG:   dense<2.500000e-01> : tensor<2x3x3x3xf32>
// CHECK-DAG:   mv.conv
// CHECK-NOT:   torch
// CHECK-NOT:   util

#loc1 = loc("model.py":3:1)
module @module {
  util.global private @bias = dense_resource<bias> : tensor<2xf32>
  util.global private @filter {noinline} = dense<0.25> : tensor<2x3x3x3xf32>
  func.func @model(%arg0: !torch.vtensor<[1,3,8,8],f32>, %arg1: !torch.vtensor<[2,4],si64>) -> (!torch.vtensor<[1,2,8,8],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,2],si64>, !torch.vtensor<[2,4],i1>, !torch.vtensor<[2],f32>) attributes {torch.assume_strict_symbolic_shapes} {
    %bias = util.global.load @bias : tensor<2xf32>
    %0 = torch_c.from_builtin_tensor %bias : tensor<2xf32> -> !torch.vtensor<[2],f32>
    %filter = util.global.load immutable @filter : tensor<2x3x3x3xf32>
    %1 = torch_c.from_builtin_tensor %filter : tensor<2x3x3x3xf32> -> !torch.vtensor<[2,3,3,3],f32> loc(#loc1)
    %int1 = torch.constant.int 1
    %int1_0 = torch.constant.int 1 loc(#loc1)
    %2 = torch.prim.ListConstruct %int1, %int1_0 : (!torch.int, !torch.int) -> !torch.list<int>
    %str = torch.constant.str "same"
    %3 = torch.aten.conv2d.padding %arg0, %1, %0, %2, %str, %2, %int1 : !torch.vtensor<[1,3,8,8],f32>, !torch.vtensor<[2,3,3,3],f32>, !torch.vtensor<[2],f32>, !torch.list<int>, !torch.str, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,8,8],f32> loc(#loc1)
    %none = torch.constant.none
    %false = torch.constant.bool false
    %int6 = torch.constant.int 6
    %4 = torch.aten.to.dtype %arg1, %int6, %false, %false, %none : !torch.vtensor<[2,4],si64>, !torch.int, !torch.bool, !torch.bool, !torch.none -> !torch.vtensor<[2,4],f32>
    %float = torch.constant.float 0x7FF0000000000000
    %float1 = torch.constant.float -1.500000e+00
    %5 = torch.aten.clamp %4, %float1, %float : !torch.vtensor<[2,4],f32>, !torch.float, !torch.float -> !torch.vtensor<[2,4],f32>
    %6 = torch.vtensor.literal(dense<[[1, 2], [3, -4]]> : tensor<2x2xsi64>) : !torch.vtensor<[2,2],si64>
    %int0 = torch.constant.int 0
    %7 = torch.operator "torch.aten.lt.Scalar"(%arg1, %int0) : (!torch.vtensor<[2,4],si64>, !torch.int) -> !torch.vtensor<[2,4],i1>
    %8 = torch.copy.to_tensor %0 : !torch.tensor<[2],f32>
    %9 = torch.copy.to_vtensor %8 : !torch.vtensor<[2],f32>
    %10 = torch.tensor_static_info_cast %9 : !torch.vtensor<[2],f32> to !torch.vtensor<[2],f32>
    %cpu = torch.constant.device "cpu"
    return %3, %5, %6, %7, %10 : !torch.vtensor<[1,2,8,8],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,2],si64>, !torch.vtensor<[2,4],i1>, !torch.vtensor<[2],f32>
  } loc(#loc1)
}

{-#
  dialect_resources: {
    builtin: {
      bias: "0x040000000000803F000000C0"
    }
  }
#-}
