//===- Globals.h - Globals of textual models --------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// ml_program.global and util.global. What no function of the file stores to is
// a constant. The others are states of the functions that use them
// (compiler/ir/States.h), under the global's name.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_GLOBALS_H
#define MARVER_COMPILER_IMPORT_MLIR_GLOBALS_H

#include "compiler/import/mlir/TorchProgram.h"

namespace marver {

/// Replaces the loads of globals that are constants, in functions of upstream's
/// dialects.
mlir::LogicalResult lowerConstantGlobals(mlir::ModuleOp module,
                                         TorchWeights &weights);

/// Replaces loads and stores of the others by further arguments and results of
/// `model`, whose calls are inlined.
mlir::LogicalResult lowerMutableGlobals(mlir::func::FuncOp model,
                                        TorchWeights &weights);

/// Is the operation a global, a load or a store?
bool isGlobalOperation(mlir::Operation *op);

/// Drops the globals when nobody refers to them any more.
void eraseGlobals(mlir::ModuleOp module);

/// The global that a load or store names; null after an error was reported.
mlir::Operation *findGlobal(mlir::Operation *use);

/// The global's name, without `@`.
llvm::StringRef nameOfGlobal(mlir::Operation *global);

/// Whether some function of the file stores to it.
bool isStored(mlir::Operation *global);

/// Makes the global's first value known to `weights` under its name; a state
/// that says none begins with zeros of `stateType`.
llvm::Error addGlobal(TorchWeights &weights, mlir::Operation *global,
                      mlir::RankedTensorType stateType = nullptr);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_GLOBALS_H
