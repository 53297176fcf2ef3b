//===- TorchModel.h - Models in torch-mlir's dialect ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_TORCHMODEL_H
#define MARVER_COMPILER_IMPORT_MLIR_TORCHMODEL_H

#include "compiler/import/Import.h"
#include "compiler/import/mlir/Resources.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Is the function in torch-mlir's dialect?
bool isTorchFunction(mlir::func::FuncOp function);

/// The module of one such function, built by the importer of .pt2 files or, if
/// its operators are ONNX's, of .onnx files. Null after errors were reported.
mlir::OwningOpRef<mlir::ModuleOp>
importTorchFunction(mlir::func::FuncOp function, const ImportRequest &request,
                    Resources &resources);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_TORCHMODEL_H
