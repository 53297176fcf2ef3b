//===- Resources.h - The data of dense_resource constants -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model's weights are most of its text: hexadecimal strings in the section
// `{-# dialect_resources ... #-}` behind the module. MLIR's lexer takes a
// character at a time and its parser a copy at a time. So the parser is given
// the text with each long string replaced by a short one that holds its number,
// and the digits are decoded when the constant is made, into its own memory.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_RESOURCES_H
#define MARVER_COMPILER_IMPORT_MLIR_RESOURCES_H

#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"
#include <optional>
#include <string>
#include <vector>

namespace marver {

class Resources {
public:
  /// `text`, which must outlive this object, as the parser shall see it. Lines
  /// keep their numbers.
  std::string strip(llvm::StringRef text);

  /// The constant that `attribute` stands for, with signless elements: of a
  /// resource the decoded one, anything else as it is. Made once for each
  /// resource and type. The error says what is wrong and, with a line and
  /// column of the file, where.
  llvm::Expected<mlir::ElementsAttr> get(mlir::ElementsAttr attribute);

  /// Replaces all constants under `root` by what `get` makes of them; false
  /// after errors were reported at the operations that have them.
  bool replaceAll(mlir::Operation *root);

  /// The error that `get` would give, without decoding: what its digits are
  /// is not looked at.
  llvm::Error check(mlir::ElementsAttr attribute) const;

private:
  /// A constant's type with signless elements and, of a resource, its data:
  /// digits of the file, or bytes if the text was not stripped.
  struct Data {
    mlir::RankedTensorType type;
    std::optional<mlir::DenseResourceElementsHandle> resource;
    llvm::StringRef digits;
    llvm::ArrayRef<char> bytes;
  };
  llvm::Expected<Data> find(mlir::ElementsAttr attribute) const;
  llvm::Expected<mlir::ElementsAttr> decode(const Data &data);
  std::string place(const char *at) const;

  llvm::StringRef text;
  /// The digits, without 0x.
  std::vector<llvm::StringRef> strings;
  llvm::DenseMap<std::pair<mlir::Attribute, mlir::Type>, mlir::ElementsAttr>
      made;
};

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_RESOURCES_H
