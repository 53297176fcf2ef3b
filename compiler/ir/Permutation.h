//===- Permutation.h - Operations that reorder dims -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_PERMUTATION_H
#define MARVER_COMPILER_IR_PERMUTATION_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallVector.h"

namespace marver {

/// Whether `op` (may be null) is a linalg.generic that only permutes its
/// operand's dims. Fills `permutation` (result dim -> source dim).
bool isPermutation(mlir::Operation *op,
                   llvm::SmallVectorImpl<int64_t> &permutation);

} // namespace marver

#endif // MARVER_COMPILER_IR_PERMUTATION_H
