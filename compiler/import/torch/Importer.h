//===- Importer.h - From an exported program to a module ---------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_IMPORTER_H
#define MARVER_COMPILER_IMPORT_TORCH_IMPORTER_H

#include "compiler/import/Import.h"
#include "compiler/import/torch/Weights.h"

namespace marver::torch {

/// Builds the module of `program`, whatever file it was read from. Fixes the
/// symbols that the request gives values. Null after errors were reported.
mlir::OwningOpRef<mlir::ModuleOp> importProgram(mlir::MLIRContext *context,
                                                const ImportRequest &request,
                                                Program &program,
                                                WeightSource &weights);

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_IMPORTER_H
