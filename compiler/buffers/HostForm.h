//===- HostForm.h - The host function around its launches -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the assignment of buffers asks of a host function and does to it that is
// not about memory.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_HOSTFORM_H
#define MARVER_COMPILER_BUFFERS_HOSTFORM_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Reports what the buffers stage does not take: several blocks, regions with
/// tensors other than those of scf loops and branches, loops whose condition
/// changes what they carry.
llvm::LogicalResult checkHostForm(mlir::func::FuncOp func);

/// Moves arithmetic on dims to the function's start, so that every size can be
/// used wherever a buffer is made. Returns the first operation behind it.
mlir::Operation *hoistScalars(mlir::func::FuncOp func);

inline bool isScalar(mlir::Value value) {
  return !llvm::isa<mlir::RankedTensorType>(value.getType());
}

/// Replaces a loop or branch by one that carries scalars only.
void dropTensors(mlir::Operation *op);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_HOSTFORM_H
