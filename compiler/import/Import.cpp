//===- Import.cpp - Which importer reads a file ---------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Import.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace marver {

static constexpr ModelFormat kFormats[] = {
    {"PyTorch", ".pt2", isTorch, importTorch},
    {"MLIR", ".mlir", isMlir, importMlir},
    // Last: an ONNX file has no magic, its content is only plausible.
    {"ONNX", ".onnx", isOnnx, importOnnx},
};

OwningOpRef<ModuleOp> importModel(MLIRContext *context,
                                  const ImportRequest &request) {
  Location file =
      FileLineColLoc::get(context, request.path, /*line=*/0, /*column=*/0);
  StringRef bytes = request.data->getBuffer();
  if (bytes.empty()) {
    emitError(file) << "the file is empty";
    return nullptr;
  }
  auto recognized = llvm::find_if(kFormats, [&](const ModelFormat &format) {
    return format.recognize(bytes);
  });
  auto named = llvm::find_if(kFormats, [&](const ModelFormat &format) {
    return StringRef(request.path).ends_with_insensitive(format.extension);
  });
  // The name decides unless the content is surely something else: then the
  // importer that was asked for says what is wrong with the file.
  const ModelFormat *chosen = named;
  if (named == std::end(kFormats) ||
      (recognized != std::end(kFormats) && !named->recognize(bytes)))
    chosen = recognized;
  if (chosen == std::end(kFormats)) {
    emitError(file) << "this is no model that can be read: a .pt2 archive of "
                       "torch.export, an .onnx file or .mlir text is expected";
    return nullptr;
  }
  return chosen->import(context, request);
}

} // namespace marver
