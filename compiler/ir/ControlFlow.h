//===- ControlFlow.h - Loops and branches on tensors ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What several stages do with scf.if, scf.for and scf.while on tensors. What
// such an operation carries has a number, its *slot*: the number of the result,
// of the value that a block yields for it, and (loops) of the initial value and
// of the blocks' arguments. That all of these are one by one the same thing is
// a contract from the import stage on: an scf.while passes on in its condition
// exactly the arguments of its first block, in their order.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_CONTROLFLOW_H
#define MARVER_COMPILER_IR_CONTROLFLOW_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include <memory>
#include <optional>

namespace marver {

/// scf.if, scf.for or scf.while.
bool isControlFlow(mlir::Operation *op);

/// The operation and the slot that a value is the result of, or the argument in
/// one of the blocks; nullopt for all other values.
std::optional<std::pair<mlir::Operation *, unsigned>> slotOf(mlir::Value value);

/// The value of `slot` in `block`, which is one of the blocks of loop `op`.
mlir::Value argumentOfSlot(mlir::Operation *op, mlir::Block *block,
                           unsigned slot);

/// What a loop starts with for a slot; null for a branch.
mlir::Value initialOfSlot(mlir::Operation *op, unsigned slot);

/// What the blocks of `op` give for the slot at their ends: of loops one value,
/// of branches two.
llvm::SmallVector<mlir::Value> yieldsOfSlot(mlir::Operation *op, unsigned slot);

/// `op` (a loop with these initial values, a branch with these types) with more
/// slots behind its own; it replaces `op`, whose blocks it takes over. What the
/// blocks yield for the new slots is for the caller to append (appendYields).
mlir::Operation *addSlots(mlir::RewriterBase &rewriter, mlir::Operation *op,
                          mlir::ValueRange initial, mlir::TypeRange types);

/// Appends to what the blocks that end with a yield give; one list a block.
void appendYields(mlir::Operation *op,
                  llvm::ArrayRef<llvm::SmallVector<mlir::Value>> values);

/// Expresses every tensor.dim by dims of the function's arguments, sizes known
/// only at run time and what loops and branches carry: a dim that changes from
/// iteration to iteration is carried as an index beside its tensor.
mlir::LogicalResult resolveDims(mlir::Operation *function);

/// Canonicalization that keeps the contract above. Slots that no iteration
/// changes, or nobody reads, are dropped.
std::unique_ptr<mlir::Pass> createCleanUpPass();

} // namespace marver

#endif // MARVER_COMPILER_IR_CONTROLFLOW_H
