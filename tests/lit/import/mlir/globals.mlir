// RUN: split-file %s %t
// RUN: marver-compile %t/read.mlir --compile-to=import -o - | FileCheck %s
// RUN: not marver-compile %t/write.mlir -o %t/x.mv 2>&1 | FileCheck %s --check-prefix=WRITE
// RUN: not marver-compile %t/empty.mlir -o %t/x.mv 2>&1 | FileCheck %s --check-prefix=EMPTY

// Globals of ml_program that are only read are constants.

// CHECK-LABEL: func.func @main
// CHECK-DAG:   dense<[1.000000e+00, 2.000000e+00]>
// CHECK-DAG:   dense<[3.000000e+00, 4.000000e+00]>
// CHECK-NOT:   ml_program
// WRITE: write.mlir:3:3: error: models with state are not supported yet
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
ml_program.global private mutable @w(dense<0.0> : tensor<2xf32>) : tensor<2xf32>
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  ml_program.global_store @w = %x : tensor<2xf32>
  return %x : tensor<2xf32>
}
//--- empty.mlir
ml_program.global private mutable @w : tensor<2xf32>
func.func @main() -> tensor<2xf32> {
  %w = ml_program.global_load @w : tensor<2xf32>
  return %w : tensor<2xf32>
}
