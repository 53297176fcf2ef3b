// RUN: not marver-opt %s --mv-emit-kernels 2>&1 | FileCheck %s

// CHECK: error: is of an unknown family: poitwise
mv.kernel @k0 "poitwise" {} buffers [memref<4xf32>, memref<4xf32>] {
^bb0(%x: tensor<4xf32>):
  mv.yield %x : tensor<4xf32>
}
