//===- TorchModel.cpp - Models in torch-mlir's dialect --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchModel.h"
#include "compiler/import/mlir/OnnxModel.h"
#include "compiler/import/mlir/TorchProgram.h"
#include "compiler/import/onnx/Importer.h"
#include "compiler/import/torch/Importer.h"

using namespace mlir;

namespace marver {

bool isTorchFunction(func::FuncOp function) {
  auto isTorch = [](Type type) {
    auto opaque = dyn_cast<OpaqueType>(type);
    return opaque && opaque.getDialectNamespace() == "torch";
  };
  if (llvm::any_of(function.getArgumentTypes(), isTorch) ||
      llvm::any_of(function.getResultTypes(), isTorch))
    return true;
  WalkResult walk = function.walk([](Operation *op) {
    return op->getName().getDialectNamespace() == "torch"
               ? WalkResult::interrupt()
               : WalkResult::advance();
  });
  return walk.wasInterrupted();
}

OwningOpRef<ModuleOp> importTorchFunction(func::FuncOp function,
                                          const ImportRequest &request,
                                          Resources &resources) {
  MLIRContext *context = function.getContext();
  if (isOnnxFunction(function)) {
    std::unique_ptr<OnnxModel> read = readOnnxModel(function, resources);
    if (!read)
      return nullptr;
    onnx::loadDialects(context);
    return onnx::Importer(context, request, read->model).run();
  }
  TorchWeights weights(resources, *request.parameters);
  std::unique_ptr<torch::Program> program = readTorchProgram(function, weights);
  if (!program)
    return nullptr;
  return torch::importProgram(context, request, *program, weights);
}

} // namespace marver
