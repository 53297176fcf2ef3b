// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s --compile-to=import --shape=s0=6 -o - | FileCheck %s --check-prefix=FIXED

// Sizes: stated by torch.bind_symbolic_shape, found again where the types only
// have `?`, and computed by operators on numbers; lists taken apart.

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    tensor<?x4xf32> {mv.dims = [affine_map<()[s0] -> (s0 * 2)>, 4], mv.name = "arg0"}
// CHECK-SAME:    -> (tensor<?x2xf32> {{.*}}, tensor<?x8xf32> {{.*}}, tensor<?xi64> {{.*}}, tensor<i64>
// CHECK-SAME:    mv.symbols = [{max = 9 : i64, min = 1 : i64, name = "s0"}]
// CHECK-NOT:   torch
// FIXED-LABEL: func.func @main(
// FIXED-SAME:    tensor<12x4xf32>
// FIXED-SAME:    -> (tensor<12x2xf32> {{.*}}, tensor<6x8xf32> {{.*}}, tensor<11xi64> {{.*}}, tensor<i64>
// FIXED:         dense<14> : tensor<i64>
func.func @main(%arg0: !torch.vtensor<[?,4],f32>) -> (!torch.vtensor<[?,2],f32>, !torch.vtensor<[?,8],f32>, !torch.vtensor<[?],si64>, !torch.int) {
  %s = torch.symbolic_int "s0" {min_val = 1, max_val = 9} : !torch.int
  torch.bind_symbolic_shape %arg0, [%s], affine_map<()[s0] -> (s0 * 2, 4)> : !torch.vtensor<[?,4],f32>
  %int2 = torch.constant.int 2
  %int1 = torch.constant.int 1
  %0 = torch.aten.split.Tensor %arg0, %int2, %int1 : !torch.vtensor<[?,4],f32>, !torch.int, !torch.int -> !torch.list<vtensor<[?,2],f32>>
  %1:2 = torch.prim.ListUnpack %0 : !torch.list<vtensor<[?,2],f32>> -> !torch.vtensor<[?,2],f32>, !torch.vtensor<[?,2],f32>
  %2 = torch.aten.add.Tensor %1#0, %1#1, %int1 : !torch.vtensor<[?,2],f32>, !torch.vtensor<[?,2],f32>, !torch.int -> !torch.vtensor<[?,2],f32>
  torch.bind_symbolic_shape %2, [%s], affine_map<()[s0] -> (s0 * 2, 2)> : !torch.vtensor<[?,2],f32>
  %int-1 = torch.constant.int -1
  %int8 = torch.constant.int 8
  %3 = torch.prim.ListConstruct %int-1, %int8 : (!torch.int, !torch.int) -> !torch.list<int>
  %4 = torch.aten.view %arg0, %3 : !torch.vtensor<[?,4],f32>, !torch.list<int> -> !torch.vtensor<[?,8],f32>
  %int0 = torch.constant.int 0
  %5 = torch.aten.size.int %arg0, %int0 : !torch.vtensor<[?,4],f32>, !torch.int -> !torch.int
  %6 = torch.aten.sub.int %5, %int1 : !torch.int, !torch.int -> !torch.int
  %none = torch.constant.none
  %7 = torch.aten.arange %6, %none, %none, %none, %none : !torch.int, !torch.none, !torch.none, !torch.none, !torch.none -> !torch.vtensor<[?],si64>
  %8 = torch.aten.add.int %5, %int2 : !torch.int, !torch.int -> !torch.int
  return %2, %4, %7, %8 : !torch.vtensor<[?,2],f32>, !torch.vtensor<[?,8],f32>, !torch.vtensor<[?],si64>, !torch.int
}
