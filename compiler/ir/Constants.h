//===- Constants.h - Reading and making constant tensors --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Constant tensors come in two forms (DenseElementsAttr for small ones and
// splats, DenseResourceElementsAttr for weights), the second possibly mapped
// straight from a model file at any alignment. Everything that looks into a
// constant goes through here.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_CONSTANTS_H
#define MARVER_COMPILER_IR_CONSTANTS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include <memory>
#include <optional>

namespace marver {

/// Bytes that one element of `type` takes in memory (i1 takes one).
int64_t elementBytes(mlir::Type type);

/// Number of elements of a static shape.
int64_t elementCount(mlir::ShapedType type);

/// A constant tensor's elements as bytes, row-major, little-endian, i1 as one
/// byte; possibly unaligned. A splat's elements are not repeated: there is one.
struct ConstantData {
  mlir::RankedTensorType type;
  llvm::ArrayRef<char> bytes;
  bool isSplat = false;
  /// Owns `bytes` when they had to be made (i1 is packed in MLIR's attributes).
  std::shared_ptr<llvm::SmallVector<char, 0>> storage = nullptr;

  /// Element `index` of a float constant (f16, bf16, f32, f64), widened.
  double getFloat(int64_t index) const;
  /// Element `index` of an integer constant, sign-extended (i1: 0 or 1).
  int64_t getInt(int64_t index) const;
  /// All elements repeated as needed into `out` (elementCount * elementBytes).
  void copyTo(llvm::MutableArrayRef<char> out) const;
};

/// The data of a constant attribute, or nullopt if it holds none that can be
/// read (another attribute kind, a resource that was elided).
std::optional<ConstantData> getConstantData(mlir::Attribute attribute);

/// The data of `value` if an arith.constant of a tensor type defines it.
std::optional<ConstantData> getConstantData(mlir::Value value);

/// All elements of an integer or index tensor constant.
std::optional<llvm::SmallVector<int64_t>> getConstantInts(mlir::Value value);

/// Attribute for a tensor of `type`: fills `bytes` through `fill` (row-major,
/// i1 as one byte). Small ones become DenseElementsAttr, larger ones a resource
/// that the context owns.
mlir::ElementsAttr
makeConstant(mlir::RankedTensorType type,
             llvm::function_ref<void(llvm::MutableArrayRef<char>)> fill);

/// Attribute that refers to `bytes` of mapped memory without copying them;
/// `owner` is kept until the context dies. Small tensors are copied.
mlir::ElementsAttr makeMappedConstant(mlir::RankedTensorType type,
                                      llvm::ArrayRef<char> bytes,
                                      std::shared_ptr<void> owner);

/// Stores `value` as an element of `type` at `out`.
void storeFloat(char *out, mlir::Type type, double value);
void storeInt(char *out, mlir::Type type, int64_t value);

} // namespace marver

#endif // MARVER_COMPILER_IR_CONSTANTS_H
