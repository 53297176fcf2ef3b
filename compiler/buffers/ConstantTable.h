//===- ConstantTable.h - The constants of a module, equal ones once *- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_CONSTANTTABLE_H
#define MARVER_COMPILER_BUFFERS_CONSTANTTABLE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"

namespace marver {

/// Numbers the constants of a module; those of equal bytes are one.
class ConstantTable {
public:
  explicit ConstantTable(mlir::ModuleOp module) : module(module) {}

  /// The number of `attribute`, which `constant` holds.
  mlir::FailureOr<int64_t> add(mlir::Operation *constant,
                               mlir::ElementsAttr attribute);

  /// Lists the constants in the module's attribute `mv.constants`.
  void finish();

private:
  mlir::ModuleOp module;
  llvm::SmallVector<mlir::Attribute> attributes;
  llvm::DenseMap<mlir::Attribute, int64_t> byAttribute;
  llvm::StringMap<int64_t> byContent;
};

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_CONSTANTTABLE_H
