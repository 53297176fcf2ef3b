// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers | FileCheck %s

// What a loop carries has one memory: the results' output buffers here. The
// initial values are copied there once. A next value that is made element by
// element takes the old one's place; one that reads other elements (a
// transpose) is made apart and copied at the end of the body.

// CHECK-LABEL: func.func @main()
// CHECK-DAG: %[[VALUE:.*]] = mv.buffer output 0 : memref<8xf32>
// CHECK-DAG: %[[TURNED:.*]] = mv.buffer output 1 : memref<4x4xf32>
// CHECK-DAG: %[[COUNT:.*]] = mv.buffer output 2 : memref<i64>
// CHECK-DAG: %[[NEXT:.*]] = mv.buffer arena 0 at %{{.*}} : memref<4x4xf32>
// CHECK: scf.while : () -> () {
// CHECK: memref.load %[[COUNT]][] : memref<i64>
// CHECK: scf.condition
// CHECK: } do {
// CHECK-DAG: mv.launch @{{.*}}(%[[VALUE]] : memref<8xf32>) outs(%[[VALUE]] : memref<8xf32>)
// CHECK-DAG: mv.launch @{{.*}}(%[[TURNED]] : memref<4x4xf32>) outs(%[[NEXT]] : memref<4x4xf32>)
// CHECK-DAG: mv.launch @{{.*}}(%[[COUNT]] : memref<i64>) outs(%[[COUNT]] : memref<i64>)
// CHECK: mv.launch @{{.*}}(%[[NEXT]] : memref<4x4xf32>) outs(%[[TURNED]] : memref<4x4xf32>)
// CHECK: scf.yield
#id = affine_map<(d0)->(d0)>
#id2 = affine_map<(d0, d1)->(d0, d1)>
#turn = affine_map<(d0, d1)->(d1, d0)>
func.func @main(%x: tensor<8xf32>, %y: tensor<4x4xf32>, %n: tensor<i64>) -> (tensor<8xf32>, tensor<4x4xf32>, tensor<i64>) attributes {mv.entry} {
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %i0 = arith.constant dense<0> : tensor<i64>
  %r:3 = scf.while (%i = %i0, %v = %x, %t = %y) : (tensor<i64>, tensor<8xf32>, tensor<4x4xf32>) -> (tensor<i64>, tensor<8xf32>, tensor<4x4xf32>) {
    %a = tensor.extract %i[] : tensor<i64>
    %b = tensor.extract %n[] : tensor<i64>
    %c = arith.cmpi slt, %a, %b : i64
    scf.condition(%c) %i, %v, %t : tensor<i64>, tensor<8xf32>, tensor<4x4xf32>
  } do {
  ^bb0(%i: tensor<i64>, %v: tensor<8xf32>, %t: tensor<4x4xf32>):
    %e = tensor.empty() : tensor<8xf32>
    %w = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%v : tensor<8xf32>) outs(%e : tensor<8xf32>) {
     ^bb0(%p: f32, %o: f32):
       %q = arith.addf %p, %p : f32
       linalg.yield %q : f32
    } -> tensor<8xf32>
    %e1 = tensor.empty() : tensor<4x4xf32>
    %u = linalg.generic {indexing_maps = [#turn, #id2], iterator_types = ["parallel", "parallel"]} ins(%t : tensor<4x4xf32>) outs(%e1 : tensor<4x4xf32>) {
     ^bb0(%p: f32, %o: f32):
       linalg.yield %p : f32
    } -> tensor<4x4xf32>
    %e2 = tensor.empty() : tensor<i64>
    %j = linalg.generic {indexing_maps = [affine_map<()->()>, affine_map<()->()>], iterator_types = []} ins(%i : tensor<i64>) outs(%e2 : tensor<i64>) {
     ^bb0(%p: i64, %o: i64):
       %q = arith.addi %p, %c1 : i64
       linalg.yield %q : i64
    } -> tensor<i64>
    scf.yield %j, %w, %u : tensor<i64>, tensor<8xf32>, tensor<4x4xf32>
  }
  return %r#1, %r#2, %r#0 : tensor<8xf32>, tensor<4x4xf32>, tensor<i64>
}
