// RUN: marver-opt %s --mv-number-places | FileCheck %s

// What can fail while the model runs gets a number, from 1; what has one keeps
// it; what is proved or divides by a constant needs none.

// CHECK-LABEL: @f
func.func @f(%t: tensor<10x4xf32>, %i: tensor<3xi64>, %n: index) {
  %c3 = arith.constant 3 : index
  // CHECK: mv.gather {{.*}}mv.place = 8
  %0 = mv.gather %t at %i {dim = 0 : i64} : (tensor<10x4xf32>, tensor<3xi64>) -> tensor<3x4xf32>
  // CHECK: mv.gather
  // CHECK-NOT: mv.place
  %1 = mv.gather %t at %i {dim = 0 : i64, unchecked} : (tensor<10x4xf32>, tensor<3xi64>) -> tensor<3x4xf32>
  // CHECK: arith.divsi
  // CHECK-NOT: mv.place
  %2 = arith.divsi %n, %c3 : index
  // CHECK: arith.remui {{.*}}mv.place = 7
  %3 = arith.remui %2, %n {mv.place = 7 : i64} : index
  // CHECK: arith.divsi {{.*}}mv.place = 9
  %4 = arith.divsi %3, %n : index
  %ok = arith.cmpi eq, %4, %c3 : index
  // CHECK: mv.check {{.*}}mv.place = 10
  mv.check %ok, 3, "holds"
  return
}
