//===- Tosa.h - Models in TOSA ----------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_TOSA_H
#define MARVER_COMPILER_IMPORT_MLIR_TOSA_H

#include "mlir/IR/BuiltinOps.h"

namespace marver {

/// Loads the dialect, so that files that use it parse.
void loadTosa(mlir::MLIRContext *context);

/// TOSA -> linalg, tensor, arith and scf, by upstream's conversions. Does
/// nothing to a module without TOSA.
mlir::LogicalResult lowerTosa(mlir::ModuleOp module);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_TOSA_H
