// RUN: marver-opt %s --mv-lower-host | FileCheck %s
// RUN: marver-opt %s --mv-lower-host --mv-lower-to-llvm | FileCheck %s --check-prefix=LLVM

// A constant, a view and a scalar operand; sizes and strides are slots only
// where the kernel's own types leave them open.

module attributes {mv.constants = [dense<1.0> : tensor<5xf32>, dense<2.0> : tensor<64xf32>]} {
  mv.kernel @k0 "pointwise" {} buffers [memref<?x64xf32, strided<[?, 1], offset: ?>>, memref<64xf32>, memref<?x64xf32>] {
  ^bb0(%a: tensor<?x64xf32>, %w: tensor<64xf32>, %n: index):
    mv.yield %a : tensor<?x64xf32>
  }
  func.func @main() attributes {mv.shape = @main__shape,
      mv.inputs = [{type = tensor<4xf32>}, {type = tensor<?x128xf32>}],
      mv.outputs = [{type = tensor<?x64xf32>}]} {
    %d = mv.input_dim 1 0
    %in = mv.buffer input 1 sizes(%d) : memref<?x128xf32>
    %half = memref.subview %in[0, 64] [%d, 64] [1, 1] : memref<?x128xf32> to memref<?x64xf32, strided<[128, 1], offset: 64>>
    %w = mv.buffer constant 1 : memref<64xf32>
    %out = mv.buffer output 0 sizes(%d) : memref<?x64xf32>
    %c3 = arith.constant 3 : index
    %ok = arith.cmpi sle, %d, %c3 : index
    mv.check %ok, 4, "too many rows" {mv.place = 2 : i64}
    mv.launch @k0(%half, %w, %d : memref<?x64xf32, strided<[128, 1], offset: 64>>, memref<64xf32>, index) outs(%out : memref<?x64xf32>) extent %d {number = 3 : i64}
    return
  }
  func.func private @main__shape(%d0: index, %d1: index, %d2: index) -> (index, index, index) {
    %c64 = arith.constant 64 : index
    %bytes = arith.muli %d1, %c64 : index
    return %d1, %c64, %bytes : index, index, index
  }
}

// CHECK-LABEL: func.func @run0(
// CHECK-SAME:      %[[CALL:.*]]: !llvm.ptr) -> i64
// 3 slots of the view (address, rows, stride of rows), 1 of the constant, 1 of
// the scalar, 2 of the result, and the call.
// CHECK:         %[[COUNT:.*]] = arith.constant 8 : i64
// CHECK:         llvm.alloca %[[COUNT]] x i64
// Input 0 has one dim, so dim 0 of input 1 is the second one.
// CHECK:         %[[DIMS:.*]] = llvm.getelementptr %[[CALL]][48]
// CHECK:         llvm.load %[[DIMS]]
// CHECK:         llvm.getelementptr %{{.*}}[8]
// Constant 0 takes 20 bytes, so constant 1 is at 64.
// CHECK:         arith.constant 64 : i64
// CHECK:         cf.cond_br %{{.*}}, ^[[LEAVE:.*]], ^
// CHECK:         llvm.mlir.addressof @k0
// CHECK:         %[[NUMBER:.*]] = arith.constant 3 : i64
// CHECK:         llvm.call %{{.*}}(%[[CALL]], %{{.*}}, %{{.*}}, %{{.*}}, %[[NUMBER]])
// CHECK:         ^[[LEAVE]]:
// place 2, code 4
// CHECK:         arith.constant 516 : i64

// CHECK-LABEL: func.func @shape0(
// CHECK-SAME:      !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr) -> i64

// CHECK:         llvm.func @k0(!llvm.ptr, i64, i64, !llvm.ptr)
// CHECK-NOT:     mv.kernel

// LLVM-NOT: {{memref|builtin|unrealized}}
