//===- Parameters.h - Weights in files of their own -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model may name its weights instead of holding them: "l.weight" of the scope
// "model". The files that hold them are given on the command line. Formats, by
// content: IREE's parameter archives (.irpa), .safetensors, and .gguf with
// tensors that are not quantized. The files are mapped, not copied.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_PARAMETERS_H
#define MARVER_COMPILER_IMPORT_PARAMETERS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>

namespace marver {

/// One entry of a file.
struct Parameter {
  llvm::StringRef bytes;
  /// Bytes of an element that is repeated instead, for `repeated` bytes in all.
  uint64_t repeated = 0;
  /// The element type where the file says it, as in MLIR (f32, i8, ...); "ui8"
  /// also for unsigned ones.
  std::string element;
};

using ParameterTable = llvm::StringMap<Parameter>;

/// Adds the entries of a file to `table`; they refer to its bytes. An entry
/// that leaves the file is an error, one of a type that is not supported has
/// its name as `element`.
llvm::Error readParameters(llvm::StringRef file, ParameterTable &table);

class ParameterFiles {
public:
  /// Maps the file at `path`. Several files of a scope are joined.
  llvm::Error open(llvm::StringRef scope, llvm::StringRef path);

  /// The parameter as a constant of `type` (signless, static).
  llvm::Expected<mlir::ElementsAttr> get(llvm::StringRef scope,
                                         llvm::StringRef key,
                                         mlir::RankedTensorType type) const;

private:
  struct Scope {
    ParameterTable table;
    llvm::StringMap<std::shared_ptr<llvm::MemoryBuffer>> owners;
  };
  llvm::StringMap<Scope> scopes;
};

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_PARAMETERS_H
