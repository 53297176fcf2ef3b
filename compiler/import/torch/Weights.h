//===- Weights.h - Weights of an archive as constants ------------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_WEIGHTS_H
#define MARVER_COMPILER_IMPORT_TORCH_WEIGHTS_H

#include "compiler/import/torch/Program.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <memory>

namespace marver::torch {

/// Where the elements of a program's weights, buffers and constants are.
class WeightSource {
public:
  virtual ~WeightSource() = default;
  /// The value of an input of kind Parameter, Buffer or Constant.
  virtual llvm::Expected<mlir::ElementsAttr> get(const InputSpec &spec) = 0;
};

/// The tensors of an archive's files. A tensor that lies contiguous in its file
/// is used in place; others are copied. Two names for the same elements
/// (tied weights) are one attribute.
class Weights : public WeightSource {
public:
  Weights(const Package &package, const Program &program,
          std::shared_ptr<void> owner, mlir::MLIRContext *context)
      : package(package), program(program), owner(std::move(owner)),
        context(context) {}

  llvm::Expected<mlir::ElementsAttr> get(const InputSpec &spec) override;

private:
  llvm::Expected<mlir::ElementsAttr> get(const Payload &payload);
  llvm::Expected<mlir::ElementsAttr> make(const Payload &payload,
                                          mlir::RankedTensorType type,
                                          llvm::ArrayRef<char> bytes);

  const Package &package;
  const Program &program;
  std::shared_ptr<void> owner;
  mlir::MLIRContext *context;
  /// Files whose checksum was found right.
  llvm::StringMap<llvm::ArrayRef<char>> files;
  std::map<std::string, mlir::ElementsAttr> made;
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_WEIGHTS_H
