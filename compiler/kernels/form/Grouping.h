//===- Grouping.h - Which operations make a kernel --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The decisions of kernel formation, apart from its mechanics: what part an
// operation can play in a kernel, and which operations become one kernel.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_FORM_GROUPING_H
#define MARVER_COMPILER_KERNELS_FORM_GROUPING_H

#include "compiler/kernels/Passes.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

namespace marver {

enum class Role {
  Host,      ///< stays on the host: scalars, dims, control flow
  View,      ///< only another look at its operand's memory
  Concat,    ///< operands become parts of one buffer
  Constant,  ///< a tensor constant
  Pointwise, ///< evaluated at an index, fused freely
  Anchor     ///< a computation with a kernel family of its own
};

Role classify(mlir::Operation *op);

/// The family that emits an anchor and its schedule; "pointwise" for what has
/// none of its own.
KernelChoice chooseFamily(mlir::Operation *anchor, const TargetInfo &target);

/// A linalg.generic that only permutes its operand's dims and keeps the last
/// one last: a strided view. Fills `permutation` (result dim -> source dim).
bool isPermutedView(mlir::Operation *op,
                    llvm::SmallVectorImpl<int64_t> &permutation);

/// Whether the operand is read from memory; the others are evaluated at an
/// index, so that pointwise producers can become part of the kernel.
bool readsMemory(mlir::OpOperand &operand);

/// An operation that costs nothing (an empty or filled tensor) and that no one
/// reads from memory: every kernel that uses it has its own copy.
bool isRepeated(mlir::Operation *op);

/// Operations that become one kernel.
struct Group {
  /// The operation with the family; null for a purely pointwise kernel.
  mlir::Operation *anchor = nullptr;
  KernelChoice choice;
  llvm::SetVector<mlir::Operation *> ops; ///< in no particular order
  /// The operation whose results the kernel yields.
  mlir::Operation *root = nullptr;
  /// A pad of root's result that the kernel stores (halo written by the
  /// producer); users of the unpadded result then read its interior.
  mlir::Operation *halo = nullptr;
};

/// Groups of all tensor operations of `block`, in program order of their roots.
llvm::SmallVector<Group> formGroups(mlir::Block &block,
                                    const TargetInfo &target,
                                    const FormKernelsOptions &options);

/// Whether pad `a` holds pad `b` of the same value: the same constant, static
/// borders at least as wide.
bool covers(mlir::tensor::PadOp a, mlir::tensor::PadOp b);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_FORM_GROUPING_H
