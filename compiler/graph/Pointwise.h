//===- Pointwise.h - What the passes ask of linalg.generic ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_POINTWISE_H
#define MARVER_COMPILER_GRAPH_POINTWISE_H

#include "compiler/ir/MvDialect.h"

namespace marver {

/// A generic without reductions on tensors, each of whose results is laid out
/// as its loops and does not read what the result's tensor held before.
bool isPointwise(mlir::linalg::GenericOp op);

/// A pointwise generic that only yields its input: a transpose, a broadcast.
bool isMove(mlir::linalg::GenericOp op);

/// Where loop dim `dim` is used by `map`: the result that is exactly this dim,
/// or nullopt if it is not used at all. `usable` is false if it is used in
/// another way (twice, or in an expression).
std::optional<unsigned> findDim(mlir::AffineMap map, unsigned dim,
                                bool &usable);

/// The permutation p of a transposing generic (result dim i is input dim p[i]),
/// if it is one.
std::optional<llvm::SmallVector<int64_t>>
getPermutation(mlir::linalg::GenericOp op);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_POINTWISE_H
