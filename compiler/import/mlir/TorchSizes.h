//===- TorchSizes.h - Result sizes that a file leaves open ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An exported program states the sizes of every result as expressions of its
// symbols; torch-mlir's types only have `?`. The operators whose results have
// the sizes of an argument take them from what the program states. For these,
// the sizes are found again here. Of all other operators the sizes of the
// results follow from the operands when they are built.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_TORCHSIZES_H
#define MARVER_COMPILER_IMPORT_MLIR_TORCHSIZES_H

#include "compiler/import/torch/Program.h"

namespace marver {

/// Size `axis` of `rank` sizes of a result of `node`, or nullopt if it is not
/// an expression of the arguments' sizes that is known here.
std::optional<torch::SymExpr> inferSize(torch::Program &program,
                                        const torch::Node &node, int64_t axis,
                                        int64_t rank);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_TORCHSIZES_H
