//===- HostLoops.h - What iterations of host loops begin and end with *- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An iteration of a loop begins with a look whether the call was cancelled, and
// whether its loops may go on; and it ends with giving back the memory that
// grew in it, but for what the loop carries on:
//
//   scf.for ... iter_args(%m = %m0) {
//     %b = mv.buffer grown 3 sizes(%n) : memref<?xf32>
//     ...
//     scf.yield %b
//   }
// becomes
//   %mark = call->grown
//   scf.for ... iter_args(%m = %m0) {
//     mv.check call->status == 0, CANCELLED
//     mv.check call->trips_left-- != 0, TRIP_COUNT
//     %b = mv.buffer grown 3 sizes(%n) : memref<?xf32>
//     ...
//     call->services->sweep(call, %mark, {%b}, 1)
//     scf.yield %b
//   }
//
// What is older than the loop stays. What a loop carries is whole buffers
// (compiler/buffers/CarryLate.h), so that an address tells what to keep.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_HOSTLOOPS_H
#define MARVER_COMPILER_NATIVE_HOSTLOOPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// For all loops of a host function, which has the address of its mv_call in
/// `call`.
void controlLoops(mlir::func::FuncOp function, mlir::Value call);

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_HOSTLOOPS_H
