// RUN: marver-opt %s '--mv-emit-kernels=target-cpu=x86-64-v4' | FileCheck %s

// One element of a sum over a contiguous dim takes the vectors: four sets of
// accumulators, then a tree.

// CHECK-LABEL: func.func @row_sum(
// CHECK:         scf.for %{{.*}} iter_args(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-COUNT-4:   arith.addf {{.*}} : vector<16xf32>
// CHECK:         llvm.intr.masked.load
// CHECK:         arith.addf {{.*}} : vector<8xf32>
// CHECK:         arith.addf {{.*}} : vector<1xf32>
// CHECK:         llvm.store %{{.*}} : f32, !llvm.ptr
mv.kernel @row_sum "reduce" {} buffers [memref<6x100xf32>, memref<6xf32>] {
^bb0(%x: tensor<6x100xf32>):
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<6xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<6xf32>) -> tensor<6xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<6x100xf32>) outs(%f : tensor<6xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<6xf32>
  mv.yield %0 : tensor<6xf32>
}

// Over the outer dim the lanes are elements of the result.

// CHECK-LABEL: func.func @column_sum(
// CHECK:         scf.for %{{.*}} = %{{.*}} to %c96_i64 step %c16_i64
// CHECK:           scf.for %{{.*}} iter_args(%{{.*}}) -> (vector<16xf32>)
// CHECK:           llvm.store %{{.*}} : vector<16xf32>, !llvm.ptr
mv.kernel @column_sum "reduce" {} buffers [memref<6x100xf32>, memref<100xf32>] {
^bb0(%x: tensor<6x100xf32>):
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<100xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<100xf32>) -> tensor<100xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>], iterator_types = ["reduction", "parallel"]}
      ins(%x : tensor<6x100xf32>) outs(%f : tensor<100xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<100xf32>
  mv.yield %0 : tensor<100xf32>
}

// What a row shares is computed before the loop over it: the maximum and the sum
// of a softmax.

// CHECK-LABEL: func.func @softmax(
// CHECK:         scf.for
// CHECK:           arith.cmpf ogt, {{.*}} : vector<16xf32>
// CHECK:           scf.for %{{.*}} iter_args(%{{.*}}) -> (vector<16xf32>)
// CHECK:             math.fma {{.*}} : vector<16xf32>
// CHECK:           scf.for %{{[^ ]*}} = %{{[^ ]*}} to %c96_i64 step %c16_i64  : i64 {
// CHECK-NOT:         scf.for
// CHECK:             arith.divf
// CHECK:             llvm.store
mv.kernel @softmax "row" {} buffers [memref<6x100xf32>, memref<6x100xf32>] {
^bb0(%x: tensor<6x100xf32>):
  %0 = mv.softmax %x {dim = 1 : i64} : tensor<6x100xf32>
  mv.yield %0 : tensor<6x100xf32>
}
