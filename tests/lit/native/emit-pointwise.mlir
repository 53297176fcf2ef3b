// RUN: marver-opt %s '--mv-emit-kernels=target-cpu=x86-64-v4' | FileCheck %s
// RUN: marver-opt %s '--mv-emit-kernels=target-cpu=x86-64-v3' | FileCheck %s --check-prefix=V3
// RUN: marver-opt %s '--mv-emit-kernels=target-cpu=neoverse-n1' | FileCheck %s --check-prefix=NEON

#id = affine_map<(i, j) -> (i, j)>

// Whole vectors in a loop, the rest of a row under a mask; a maximum with a
// number is one comparison.

// CHECK-LABEL: func.func @bias_relu(
// CHECK:         scf.for %[[ROW:.*]] =
// CHECK:           scf.for %[[COLUMN:.*]] = %{{.*}} to %c32_i64 step %c16_i64
// CHECK:             llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> vector<16xf32>
// CHECK:             %[[SUM:.*]] = arith.addf {{.*}} : vector<16xf32>
// CHECK:             %[[IS:.*]] = arith.cmpf ogt, %{{.*}}, %[[SUM]]
// CHECK:             arith.select %[[IS]], %{{.*}}, %[[SUM]]
// CHECK:             llvm.store
// CHECK:           llvm.intr.masked.load
// CHECK:           llvm.intr.masked.store
// V3-LABEL:    func.func @bias_relu(
// V3:            to %c40_i64 step %c8_i64
// V3-NOT:        masked
// V3-LABEL:    func.func @flat(
// NEON-LABEL:  func.func @bias_relu(
// NEON:          to %c40_i64 step %c4_i64
// NEON:            llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
// NEON-NOT:      masked
// NEON-LABEL:  func.func @flat(
mv.kernel @bias_relu "pointwise" {} buffers [memref<4x40xf32>, memref<40xf32>, memref<4x40xf32>] {
^bb0(%x: tensor<4x40xf32>, %b: tensor<40xf32>):
  %e = tensor.empty() : tensor<4x40xf32>
  %0 = linalg.generic {indexing_maps = [#id, affine_map<(i, j) -> (j)>, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x, %b : tensor<4x40xf32>, tensor<40xf32>) outs(%e : tensor<4x40xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    %z = arith.constant 0.0 : f32
    %m = arith.maximumf %s, %z : f32
    linalg.yield %m : f32
  } -> tensor<4x40xf32>
  mv.yield %0 : tensor<4x40xf32>
}

// Dims that lie one after the other in all buffers are swept as one; the element
// of a scalar operand is read once, before the loops.

// CHECK-LABEL: func.func @flat(
// CHECK:         %[[SCALE:.*]] = llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> f32
// CHECK:         scf.for
// CHECK:           scf.for %{{.*}} = %{{.*}} to %c1488_i64 step %c16_i64
// CHECK-NOT:         scf.for
// CHECK:           llvm.intr.masked.store
mv.kernel @flat "pointwise" {} buffers [memref<3x7x71xf32>, memref<f32>, memref<3x7x71xf32>] {
^bb0(%x: tensor<3x7x71xf32>, %s: tensor<f32>):
  %e = tensor.empty() : tensor<3x7x71xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> ()>, affine_map<(i, j, k) -> (i, j, k)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %s : tensor<3x7x71xf32>, tensor<f32>) outs(%e : tensor<3x7x71xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %m = arith.mulf %p, %q : f32
    linalg.yield %m : f32
  } -> tensor<3x7x71xf32>
  mv.yield %0 : tensor<3x7x71xf32>
}

// bf16 is computed in f32 by shifts, whatever the CPU has.

// CHECK-LABEL: func.func @half(
// CHECK:         llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<16xbf16>
// CHECK:         arith.shli
// CHECK:         arith.mulf %{{.*}} : vector<16xf32>
// CHECK-NOT:     arith.truncf
mv.kernel @half "pointwise" {} buffers [memref<32xbf16>, memref<32xbf16>] {
^bb0(%x: tensor<32xbf16>):
  %e = tensor.empty() : tensor<32xbf16>
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<32xbf16>) outs(%e : tensor<32xbf16>) {
  ^bb0(%p: bf16, %o: bf16):
    %m = arith.mulf %p, %p : bf16
    linalg.yield %m : bf16
  } -> tensor<32xbf16>
  mv.yield %0 : tensor<32xbf16>
}

// Reads and writes that lie crosswise: tiles are read along the one, transposed
// in registers and written along the other. No gather.

// CHECK-LABEL: func.func @transpose(
// CHECK-NOT:     masked.gather
// CHECK:         llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK-COUNT-64: vector.shuffle
// CHECK-NOT:     masked.gather
// CHECK:         return
mv.kernel @transpose "pointwise" {} buffers [memref<64x32xf32>, memref<32x64xf32>] {
^bb0(%x: tensor<64x32xf32>):
  %e = tensor.empty() : tensor<32x64xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j, i)>, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<64x32xf32>) outs(%e : tensor<32x64xf32>) {
  ^bb0(%p: f32, %o: f32):
    linalg.yield %p : f32
  } -> tensor<32x64xf32>
  mv.yield %0 : tensor<32x64xf32>
}

// The border of a result is written apart from its inside, which is not tested
// for it.

// CHECK-LABEL: func.func @halo(
// CHECK:         arith.cmpi sge
// CHECK:         scf.if
// CHECK:         scf.for
// CHECK:           scf.for
// CHECK-NOT:         scf.if
// CHECK:             llvm.store %{{.*}} : vector<16xf32>, !llvm.ptr
// CHECK:         return
mv.kernel @halo "pointwise" {} buffers [memref<8x16xf32>, memref<10x18xf32>] {
^bb0(%x: tensor<8x16xf32>):
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %z : f32
  } : tensor<8x16xf32> to tensor<10x18xf32>
  mv.yield %p : tensor<10x18xf32>
}
