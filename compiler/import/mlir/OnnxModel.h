//===- OnnxModel.h - torch.operator "onnx.*" --------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// iree-import-onnx prints each node of an ONNX model as
//
//   %3 = torch.operator "onnx.Gemm"(%0, %1, %2)
//          {torch.onnx.transB = 1 : si64} : (...) -> ...
//
// A function of these is turned back into an onnx::Model, which the ONNX
// importer builds. Absent operands are torch.constant.none; the graphs of Loop
// and If are regions, in the order of their attributes' names.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_ONNXMODEL_H
#define MARVER_COMPILER_IMPORT_MLIR_ONNXMODEL_H

#include "compiler/import/mlir/Resources.h"
#include "compiler/import/onnx/Model.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Allocator.h"

namespace marver {

struct OnnxModel {
  onnx::Model model;
  /// Owns the model's names.
  llvm::BumpPtrAllocator names;
};

/// Is the function made of ONNX's operators?
bool isOnnxFunction(mlir::func::FuncOp function);

/// Reads `function`; null after errors were reported, all that were found.
std::unique_ptr<OnnxModel> readOnnxModel(mlir::func::FuncOp function,
                                         Resources &resources);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_ONNXMODEL_H
