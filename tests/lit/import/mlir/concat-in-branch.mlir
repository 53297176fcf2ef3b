// RUN: marver-compile %s -o %t.mv
// RUN: marver-run %t.mv --input=2x2xf32="1 2 3 4" --input=i1=1 | FileCheck %s --check-prefix=TAKEN
// RUN: marver-run %t.mv --input=2x2xf32="1 2 3 4" --input=i1=0 | FileCheck %s --check-prefix=LEFT

// An argument of unknown size is joined with itself within a branch only.

// TAKEN: result[0]: 4x2xf32=[1 2][3 4][1 2][3 4]
// LEFT: result[0]: 2x2xf32=[1 2][3 4]
func.func @main(%x: tensor<?x2xf32>, %c: tensor<i1>) -> tensor<?x2xf32> {
  %go = tensor.extract %c[] : tensor<i1>
  %r = scf.if %go -> (tensor<?x2xf32>) {
    %both = tensor.concat dim(0) %x, %x : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
    scf.yield %both : tensor<?x2xf32>
  } else {
    scf.yield %x : tensor<?x2xf32>
  }
  return %r : tensor<?x2xf32>
}
