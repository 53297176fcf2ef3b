// RUN: marver-opt %s '--mv-emit-kernels=target-cpu=x86-64-v4' | FileCheck %s

// An index is checked once a row; one out of range is reported with the place of
// the operation (7) and the code (1), and replaced.

// CHECK-LABEL: func.func @embedding(
// CHECK-DAG:     %[[STATUS:.*]] = arith.constant 1793 : i64
// CHECK:         %[[INDEX:.*]] = llvm.load %{{.*}} : !llvm.ptr -> i64
// CHECK:         %[[BAD:.*]] = arith.cmpi uge
// CHECK:         scf.if %[[BAD]]
// CHECK:           llvm.cmpxchg %{{.*}}, %{{.*}}, %[[STATUS]] monotonic monotonic
// CHECK:         arith.select %[[BAD]]
// CHECK:         scf.for
// CHECK-NOT:       arith.cmpi
// CHECK:           llvm.store %{{.*}} : vector<16xf32>, !llvm.ptr
mv.kernel @embedding "pointwise" {} buffers [memref<1000x64xf32>, memref<5xi64>, memref<5x64xf32>] {
^bb0(%table: tensor<1000x64xf32>, %indices: tensor<5xi64>):
  %0 = mv.gather %table at %indices {dim = 0 : i64, mv.place = 7 : i64} : (tensor<1000x64xf32>, tensor<5xi64>) -> tensor<5x64xf32>
  mv.yield %0 : tensor<5x64xf32>
}

// Lanes at a distance are gathered.

// CHECK-LABEL: func.func @step(
// CHECK:         llvm.intr.masked.gather
mv.kernel @step "pointwise" {} buffers [memref<64xf32>, memref<32xf32>] {
^bb0(%x: tensor<64xf32>):
  %s = tensor.extract_slice %x[1] [32] [2] : tensor<64xf32> to tensor<32xf32>
  mv.yield %s : tensor<32xf32>
}
