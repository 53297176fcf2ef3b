// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers | FileCheck %s
// RUN: marver-compile %s -o %t.mv && marver-run %t.mv --input=2x3xf32="0 1 2 3 4 5" --input=i64=2 | FileCheck %s --check-prefix=RESULT

// A tensor that grows from iteration to iteration: the loop carries its memory.
// The initial value is copied there, as its own memory may be used again.

// CHECK-LABEL: func.func @main()
// CHECK: %[[X:.*]] = mv.buffer input 0 : memref<2x3xf32>
// CHECK: %[[FIRST:.*]] = mv.buffer grown {{[0-9]+}} {{.*}}: memref<2x3xf32>
// CHECK: mv.launch @{{.*}}(%[[X]] : memref<2x3xf32>) outs(%[[FIRST]]
// CHECK: %[[INIT:.*]] = memref.cast %[[FIRST]]
// CHECK: %[[R:.*]] = scf.for {{.*}} iter_args(%[[V:.*]] = %[[INIT]]) -> (memref<?x3xf32>)
// CHECK: %[[D:.*]] = memref.dim %[[V]]
// CHECK: %[[NEXT:.*]] = mv.buffer grown {{[0-9]+}} sizes(%{{.*}}) {{.*}}: memref<?x3xf32>
// CHECK: scf.yield %[[NEXT]] : memref<?x3xf32>
// CHECK: mv.set_output 0

// RESULT: result[0]: 6x3xf32=[0 1 2][3 4 5][0 1 2][3 4 5][0 1 2][3 4 5]
func.func @main(%x: tensor<2x3xf32>, %n: tensor<i64>) -> tensor<?x3xf32> attributes {mv.entry} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = tensor.extract %n[] : tensor<i64>
  %m = arith.index_cast %a : i64 to index
  %z = tensor.cast %x : tensor<2x3xf32> to tensor<?x3xf32>
  %r = scf.for %i = %c0 to %m step %c1 iter_args(%v = %z) -> tensor<?x3xf32> {
    %w = tensor.concat dim(0) %v, %x : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
    scf.yield %w : tensor<?x3xf32>
  }
  return %r : tensor<?x3xf32>
}
