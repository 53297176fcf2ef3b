// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s -o %t.mv
// RUN: marver-run %t.mv --function=loop --input=i64=2 --input=3xf32="1 2 3" --threads=1 | FileCheck %s --check-prefix=LOOP
// RUN: marver-run %t.mv --function=choose --input=3xf32="1 2 3" --threads=1 | FileCheck %s --check-prefix=THEN
// RUN: marver-run %t.mv --function=choose --input=3xf32="-1 2 -3" --threads=1 | FileCheck %s --check-prefix=ELSE

// What torch-mlir makes of torch.while_loop, and loops and branches as
// TorchScript has them, with numbers that are carried and values from outside.

// CHECK-LABEL: func.func @loop(
// CHECK:         scf.while
// LOOP: 5
// LOOP: 8 16 24
func.func private @again(%i: !torch.vtensor<[],si64>) -> !torch.vtensor<[],i1> {
  %int5 = torch.constant.int 5
  %0 = torch.aten.lt.Scalar %i, %int5 : !torch.vtensor<[],si64>, !torch.int -> !torch.vtensor<[],i1>
  return %0 : !torch.vtensor<[],i1>
}
func.func @loop(%i: !torch.vtensor<[],si64>, %x: !torch.vtensor<[3],f32>) -> (!torch.vtensor<[],si64>, !torch.vtensor<[3],f32>) {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %0 = call @again(%i) : (!torch.vtensor<[],si64>) -> !torch.vtensor<[],i1>
  %1 = torch.aten.Bool.Tensor %0 : !torch.vtensor<[],i1> -> !torch.bool
  %max = torch.constant.int 9223372036854775807
  %2:2 = torch.prim.Loop %max, %1, init(%i, %x) {
  ^bb0(%n: !torch.int, %a: !torch.vtensor<[],si64>, %b: !torch.vtensor<[3],f32>):
    %3 = torch.aten.add.Scalar %a, %int1, %int1 : !torch.vtensor<[],si64>, !torch.int, !torch.int -> !torch.vtensor<[],si64>
    %4 = torch.aten.mul.Scalar %b, %int2 : !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[3],f32>
    %5 = func.call @again(%3) : (!torch.vtensor<[],si64>) -> !torch.vtensor<[],i1>
    %6 = torch.aten.Bool.Tensor %5 : !torch.vtensor<[],i1> -> !torch.bool
    torch.prim.Loop.condition %6, iter(%3, %4 : !torch.vtensor<[],si64>, !torch.vtensor<[3],f32>)
  } : (!torch.int, !torch.bool, !torch.vtensor<[],si64>, !torch.vtensor<[3],f32>) -> (!torch.vtensor<[],si64>, !torch.vtensor<[3],f32>)
  return %2#0, %2#1 : !torch.vtensor<[],si64>, !torch.vtensor<[3],f32>
}

// CHECK-LABEL: func.func @choose(
// CHECK:         scf.if
// THEN: 7 8 9
// ELSE: 1 -2 3
func.func @choose(%x: !torch.vtensor<[3],f32>) -> !torch.vtensor<[3],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int3 = torch.constant.int 3
  %true = torch.constant.bool true
  %none = torch.constant.none
  %0 = torch.aten.sum %x, %none : !torch.vtensor<[3],f32>, !torch.none -> !torch.vtensor<[],f32>
  %1 = torch.aten.gt.Scalar %0, %int0 : !torch.vtensor<[],f32>, !torch.int -> !torch.vtensor<[],i1>
  %2 = torch.aten.Bool.Tensor %1 : !torch.vtensor<[],i1> -> !torch.bool
  %3 = torch.prim.If %2 -> (!torch.vtensor<[3],f32>) {
    %4 = torch.prim.Loop %int3, %true, init(%x) {
    ^bb0(%n: !torch.int, %b: !torch.vtensor<[3],f32>):
      %5 = torch.aten.add.Scalar %b, %int1, %int1 : !torch.vtensor<[3],f32>, !torch.int, !torch.int -> !torch.vtensor<[3],f32>
      %6 = torch.aten.add.Scalar %5, %n, %int1 : !torch.vtensor<[3],f32>, !torch.int, !torch.int -> !torch.vtensor<[3],f32>
      torch.prim.Loop.condition %true, iter(%6 : !torch.vtensor<[3],f32>)
    } : (!torch.int, !torch.bool, !torch.vtensor<[3],f32>) -> !torch.vtensor<[3],f32>
    torch.prim.If.yield %4 : !torch.vtensor<[3],f32>
  } else {
    %4 = torch.aten.neg %x : !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
    torch.prim.If.yield %4 : !torch.vtensor<[3],f32>
  }
  return %3 : !torch.vtensor<[3],f32>
}
