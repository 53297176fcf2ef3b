//===- Import.h - From a model file to a module of tensors ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the importers have in common. An importer turns one file into a module
// with one public func.func, named by the request, on ranked tensors (see
// "Values and types" in docs/architecture.md). It reports errors through
// MLIR's diagnostics, on locations in the user's model: for a bad file one
// error, for operators that are not supported one error for each of them.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_IMPORT_H
#define MARVER_COMPILER_IMPORT_IMPORT_H

#include "compiler/import/Parameters.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <string>

namespace marver {

/// `--shape=NAME:1x3x224x224` gives all dims of an input (by name or, where no
/// input is called so, by number), `--shape=NAME=300` the value of a named dim.
struct ShapeOverride {
  std::string name;
  bool isDim = false;
  llvm::SmallVector<int64_t> dims; ///< one value if `isDim`
  /// Set by the importer that applied it; the driver refuses what is left.
  mutable bool used = false;
};

struct ImportRequest {
  /// Where the bytes are from: for locations and for external data beside it.
  /// `-` for standard input (which has no folder).
  std::string path;
  /// The file, mapped where possible. Constants may refer to it: pass it as
  /// the owner to makeMappedConstant.
  std::shared_ptr<llvm::MemoryBuffer> data;
  /// Name of the function to make, whatever the file calls it.
  std::string entry = "main";
  llvm::SmallVector<ShapeOverride> shapes;
  /// Files of weights that the model names; never null.
  std::shared_ptr<const ParameterFiles> parameters =
      std::make_shared<ParameterFiles>();
  /// Only the function's type and argument attributes are wanted: it may be a
  /// declaration, and unsupported operators do not matter.
  bool signatureOnly = false;
};

/// A format that models come in. To add one: write the two functions and add
/// a line to the table in Import.cpp.
struct ModelFormat {
  llvm::StringRef name;      ///< for messages
  llvm::StringRef extension; ///< with the dot
  /// Whether the bytes look like this format; decides where the file's
  /// extension does not.
  bool (*recognize)(llvm::StringRef bytes);
  /// Null after errors were reported.
  mlir::OwningOpRef<mlir::ModuleOp> (*import)(mlir::MLIRContext *context,
                                              const ImportRequest &request);
};

/// Imports a model of any format: chosen by content where that is certain, else
/// by the file's extension.
mlir::OwningOpRef<mlir::ModuleOp> importModel(mlir::MLIRContext *context,
                                              const ImportRequest &request);

// The importers, each in a folder of its own.
bool isMlir(llvm::StringRef bytes);
mlir::OwningOpRef<mlir::ModuleOp> importMlir(mlir::MLIRContext *context,
                                             const ImportRequest &request);
bool isOnnx(llvm::StringRef bytes);
mlir::OwningOpRef<mlir::ModuleOp> importOnnx(mlir::MLIRContext *context,
                                             const ImportRequest &request);
bool isTorch(llvm::StringRef bytes);
mlir::OwningOpRef<mlir::ModuleOp> importTorch(mlir::MLIRContext *context,
                                              const ImportRequest &request);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_IMPORT_H
