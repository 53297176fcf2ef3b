//===- CarryLate.h - Carried tensors of data-dependent size -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A slot of a loop or branch (compiler/ir/ControlFlow.h) is *late* if a dim of
// its tensor differs between iterations or branches, or is known only while the
// model runs. It has no fixed place: the operation carries its memory, as a
// memref in a further slot, and everything that flows into it is memory of its
// own that grows the arena.
//
//   scf.for ... iter_args(%v = %x) -> tensor<?xf32> { ... yield %w }
// becomes
//   %c = mv.launch @copy(%x) {mv.late}
//   %m = builtin.unrealized_conversion_cast %c : tensor<?xf32> to memref<?xf32>
//   scf.for ... iter_args(%v = %x, %vm = %m) {
//     ...
//     %wm = builtin.unrealized_conversion_cast %w
//     yield %w, %wm
//   } {mv.late = [0]}
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_CARRYLATE_H
#define MARVER_COMPILER_BUFFERS_CARRYLATE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include <functional>

namespace marver {

/// What the steps below ask of their user.
struct LateContext {
  mlir::func::FuncOp func;
  /// Whether an index value is known only while the model runs.
  std::function<bool(mlir::Value)> isLateSize;
  /// Whether a dim of a tensor is.
  std::function<bool(mlir::Value)> isLate;
  /// Sets the insertion point to where sizes that are not late are computed.
  std::function<void(mlir::OpBuilder &)> startPrologue;
  /// Makes a copy of a tensor at the insertion point.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Value)> copyOf;
};

/// Finds the late slots and marks them on their operations.
void markLateSlots(const LateContext &context);

/// Gives the late slots their memrefs: entries of the result are names of the
/// tensors in the slots with the memref that holds each.
llvm::DenseMap<mlir::Value, mlir::Value>
carryLateSlots(const LateContext &context);

/// A launch whose results have memory of their own, though their size is known.
void markLate(mlir::Operation *launch);
bool isMarkedLate(mlir::Operation *launch);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_CARRYLATE_H
