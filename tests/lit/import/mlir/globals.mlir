// RUN: split-file %s %t
// RUN: marver-compile %t/read.mlir --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %t/write.mlir --compile-to=import -o - | FileCheck %s --check-prefix=WRITE
// RUN: marver-compile %t/torch.mlir --compile-to=import -o - | FileCheck %s --check-prefix=TORCH
// RUN: not marver-compile %t/inside.mlir -o %t/x.mv 2>&1 | FileCheck %s --check-prefix=INSIDE
// RUN: not marver-compile %t/type.mlir -o %t/x.mv 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: marver-compile %t/write.mlir -o %t/x.mv
// RUN: marver-run %t/x.mv --function=add --input=2xf32=1,2 --repeat=3 | FileCheck %s --check-prefix=THRICE
// RUN: not marver-compile %t/empty.mlir -o %t/x.mv 2>&1 | FileCheck %s --check-prefix=EMPTY

// Globals of ml_program that are only read are constants.

// CHECK-LABEL: func.func @main
// CHECK-DAG:   dense<[1.000000e+00, 2.000000e+00]>
// CHECK-DAG:   dense<[3.000000e+00, 4.000000e+00]>
// CHECK-NOT:   ml_program

// Those that are stored to are state of the functions that use them.

// WRITE: func.func @add(%[[X:[a-z0-9]+]]: tensor<2xf32>, %[[SUM:[a-z0-9]+]]: tensor<2xf32> {mv.initial = dense<[5.000000e+00, 6.000000e+00]> : tensor<2xf32>, mv.state = "sum"}, %[[LAST:[a-z0-9]+]]: tensor<2xf32> {mv.state = "last"}) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>)
// WRITE: %[[NEW:.*]] = linalg.generic {{.*}} ins(%[[SUM]], %[[X]]
// WRITE: return %[[NEW]], %[[NEW]], %[[X]]
// WRITE: func.func @get(%[[A:[a-z0-9]+]]: tensor<2xf32> {mv.initial = {{.*}}, mv.state = "sum"}, %[[B:[a-z0-9]+]]: tensor<2xf32> {mv.state = "last"})
// WRITE: return %[[A]], %[[B]], %[[A]], %[[B]]
// WRITE-NOT: util.global
// THRICE: result[0]: 2xf32=8 12

// TORCH: func.func @main(%[[X:[a-z0-9]+]]: tensor<2xf32> {mv{{.*}}}, %[[SUM:[a-z0-9]+]]: tensor<2xf32> {mv{{.*}}mv.initial = dense<[5.000000e+00, 6.000000e+00]> : tensor<2xf32>{{.*}}mv.state = "sum"})
// TORCH: %[[NEW:.*]] = linalg.generic {{.*}} ins(%[[SUM]], %[[X]]
// TORCH: return %[[NEW]], %[[NEW]]

// INSIDE: inside.mlir:6:5: error: a store to a global inside of a loop or a branch is not supported
// TYPE: type.mlir:3:3: error: the global @w has another type
// EMPTY: empty.mlir:3:8: error: the global @w has no value

//--- read.mlir
ml_program.global private mutable @global_seed(dense<0> : tensor<i64>) : tensor<i64>
ml_program.global private @w(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>
ml_program.global private mutable @v(dense<[3.0, 4.0]> : tensor<2xf32>) : tensor<2xf32>
func.func @main() -> (tensor<2xf32>, tensor<2xf32>) {
  %w = ml_program.global_load_const @w : tensor<2xf32>
  %v = ml_program.global_load @v : tensor<2xf32>
  return %w, %v : tensor<2xf32>, tensor<2xf32>
}
//--- write.mlir
util.global private mutable @sum = dense<[5.0, 6.0]> : tensor<2xf32>
ml_program.global private mutable @last : tensor<2xf32>
func.func @add(%x: tensor<2xf32>) -> tensor<2xf32> {
  %sum = util.global.load @sum : tensor<2xf32>
  %empty = tensor.empty() : tensor<2xf32>
  %new = linalg.add ins(%sum, %x : tensor<2xf32>, tensor<2xf32>) outs(%empty : tensor<2xf32>) -> tensor<2xf32>
  util.global.store %new, @sum : tensor<2xf32>
  ml_program.global_store @last = %x : tensor<2xf32>
  %again = util.global.load @sum : tensor<2xf32>
  return %again : tensor<2xf32>
}
func.func @get() -> (tensor<2xf32>, tensor<2xf32>) {
  %sum = util.global.load @sum : tensor<2xf32>
  %last = ml_program.global_load @last : tensor<2xf32>
  return %sum, %last : tensor<2xf32>, tensor<2xf32>
}
//--- torch.mlir
util.global private mutable @sum = dense<[5.0, 6.0]> : tensor<2xf32>
func.func @main(%x: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
  %one = torch.constant.int 1
  %b = util.global.load @sum : tensor<2xf32>
  %sum = torch_c.from_builtin_tensor %b : tensor<2xf32> -> !torch.vtensor<[2],f32>
  %new = torch.aten.add.Tensor %sum, %x, %one : !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.int -> !torch.vtensor<[2],f32>
  %c = torch_c.to_builtin_tensor %new : !torch.vtensor<[2],f32> -> tensor<2xf32>
  util.global.store %c, @sum : tensor<2xf32>
  return %new : !torch.vtensor<[2],f32>
}
//--- inside.mlir
ml_program.global private mutable @w(dense<0.0> : tensor<2xf32>) : tensor<2xf32>
func.func @main(%x: tensor<2xf32>, %c: tensor<i1>) -> tensor<2xf32> {
  %b = tensor.extract %c[] : tensor<i1>
  // A branch
  scf.if %b {
    ml_program.global_store @w = %x : tensor<2xf32>
  }
  return %x : tensor<2xf32>
}
//--- type.mlir
util.global private mutable @w = dense<0.0> : tensor<2xf32>
func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
  util.global.store %x, @w : tensor<3xf32>
  return %x : tensor<3xf32>
}
//--- empty.mlir
ml_program.global private mutable @w : tensor<2xf32>
func.func @main() -> tensor<2xf32> {
  %w = ml_program.global_load @w : tensor<2xf32>
  return %w : tensor<2xf32>
}
