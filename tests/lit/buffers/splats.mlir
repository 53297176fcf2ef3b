// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers | FileCheck %s

// A constant of one number takes no place among the module's constants where it
// is only copied from: kernels write it. The scatter into zeros makes them, and
// so do a part of a concat, a result, and the start of a loop.

// CHECK: mv.constants = []
// CHECK-LABEL: func.func @main()
// CHECK: mv.launch @[[SCATTER:.*]](%{{[^,]*}}, %{{[^,]*}} : memref<2xi64>, memref<2x8xf32>) outs
// CHECK: mv.launch @[[PART:.*]]() outs(%{{.*}} : memref<3x8xf32
// CHECK: mv.launch @[[START:.*]]() outs(%{{.*}} : memref<64x8xf32>)
// CHECK: scf.while
// CHECK: mv.launch @[[RESULT:.*]]() outs(%{{.*}} : memref<100x8xf32>)
// CHECK: mv.kernel @[[SCATTER]] "scatter"
// CHECK: arith.constant dense<0.000000e+00> : tensor<64x8xf32>
// CHECK: mv.scatter
func.func @main(%at: tensor<2xi64>, %x: tensor<2x8xf32>, %n: tensor<i64>) -> (tensor<64x8xf32>, tensor<5x8xf32>, tensor<100x8xf32>, tensor<64x8xf32>) attributes {mv.entry} {
  %zeros = arith.constant dense<0.0> : tensor<64x8xf32>
  %ones = arith.constant dense<1.0> : tensor<3x8xf32>
  %twos = arith.constant dense<2.0> : tensor<100x8xf32>
  %c1 = arith.constant 1 : i64
  %0 = mv.scatter %x into %zeros at %at {dim = 0} : (tensor<64x8xf32>, tensor<2xi64>, tensor<2x8xf32>) -> tensor<64x8xf32>
  %1 = tensor.concat dim(0) %x, %ones : (tensor<2x8xf32>, tensor<3x8xf32>) -> tensor<5x8xf32>
  %r:2 = scf.while (%i = %n, %v = %zeros) : (tensor<i64>, tensor<64x8xf32>) -> (tensor<i64>, tensor<64x8xf32>) {
    %a = tensor.extract %i[] : tensor<i64>
    %c = arith.cmpi slt, %a, %c1 : i64
    scf.condition(%c) %i, %v : tensor<i64>, tensor<64x8xf32>
  } do {
  ^bb0(%i: tensor<i64>, %v: tensor<64x8xf32>):
    %e = tensor.empty() : tensor<i64>
    %j = linalg.generic {indexing_maps = [affine_map<()->()>, affine_map<()->()>], iterator_types = []} ins(%i : tensor<i64>) outs(%e : tensor<i64>) {
     ^bb0(%p: i64, %o: i64):
       %q = arith.addi %p, %c1 : i64
       linalg.yield %q : i64
    } -> tensor<i64>
    %w = mv.scatter %x into %v at %at {dim = 0} : (tensor<64x8xf32>, tensor<2xi64>, tensor<2x8xf32>) -> tensor<64x8xf32>
    scf.yield %j, %w : tensor<i64>, tensor<64x8xf32>
  }
  return %0, %1, %twos, %r#1 : tensor<64x8xf32>, tensor<5x8xf32>, tensor<100x8xf32>, tensor<64x8xf32>
}
