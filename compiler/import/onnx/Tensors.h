//===- Tensors.h - Constant tensors of an ONNX model ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_ONNX_TENSORS_H
#define MARVER_COMPILER_IMPORT_ONNX_TENSORS_H

#include "compiler/import/Import.h"
#include "compiler/import/onnx/Node.h"

namespace marver::onnx {

/// Turns TensorProto messages into attributes that refer to the file's bytes,
/// or to those of a file of external data beside it.
class TensorReader {
public:
  TensorReader(mlir::MLIRContext *context, const ImportRequest &request)
      : context(context), request(request) {}

  /// Null, and the reason in `error`, for a tensor that cannot be used.
  mlir::ElementsAttr read(const Tensor &tensor, std::string &error);

private:
  std::shared_ptr<llvm::MemoryBuffer> openExternal(llvm::StringRef location,
                                                   std::string &error);
  bool findExternal(const Tensor &tensor, int64_t size, llvm::StringRef &bytes,
                    std::shared_ptr<void> &owner, std::string &error);

  mlir::MLIRContext *context;
  const ImportRequest &request;
  llvm::StringMap<std::shared_ptr<llvm::MemoryBuffer>> files;
};

} // namespace marver::onnx

#endif // MARVER_COMPILER_IMPORT_ONNX_TENSORS_H
