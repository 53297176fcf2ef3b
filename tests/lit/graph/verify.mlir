// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-verify-graph))' --split-input-file --verify-diagnostics %s

func.func @named(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-error@+1 {{linalg.matmul must be a linalg.generic by now}}
  %r = linalg.matmul ins(%x, %x : tensor<4x4xf32>, tensor<4x4xf32>) outs(%x : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}

// -----

func.func @elementwise(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // expected-error@+1 {{arith.addf on tensors must be a linalg.generic by now}}
  %r = arith.addf %x, %x : tensor<4x4xf32>
  // expected-error@+1 {{math.exp on tensors must be a linalg.generic by now}}
  %s = math.exp %r : tensor<4x4xf32>
  return %s : tensor<4x4xf32>
}

// -----

func.func @memory(%n: index) {
  // expected-error@+1 {{memref.alloc has no kernel}}
  %m = memref.alloc(%n) : memref<?xf32>
  return
}
