//===- ShapeOverrides.h - --shape on a program ------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_SHAPEOVERRIDES_H
#define MARVER_COMPILER_IMPORT_TORCH_SHAPEOVERRIDES_H

#include "compiler/import/Import.h"
#include "compiler/import/torch/Program.h"

namespace marver::torch {

/// Fixes the symbols that `shapes` give, by name or by the dims of an input, in
/// all sizes of the program. Errors are reported at `loc`.
mlir::LogicalResult applyShapes(Program &program,
                                llvm::ArrayRef<const InputSpec *> inputs,
                                llvm::ArrayRef<ShapeOverride> shapes,
                                mlir::Location loc);

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_SHAPEOVERRIDES_H
