//===- TorchTypes.h - Types of torch-mlir's dialect -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_TORCHTYPES_H
#define MARVER_COMPILER_IMPORT_MLIR_TORCHTYPES_H

#include "compiler/import/torch/Program.h"
#include "mlir/IR/Types.h"
#include <optional>

namespace marver {

/// What is known of the type of a value, read from its text.
struct TorchType {
  enum Kind { Tensor, Int, Float, Bool, String, None, List, Other };
  Kind kind = Other;
  /// Of a Tensor. Dynamic sizes are ShapedType::kDynamic; nullopt if not even
  /// the rank is known.
  std::optional<llvm::SmallVector<int64_t>> sizes;
  torch::ScalarType element = torch::ScalarType::Unknown;
};

/// The meaning of `!torch.vtensor<[1,?],f32>`, `!torch.int`, ..., and of the
/// builtin types that torch_c casts from and to.
TorchType readTorchType(mlir::Type type);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_TORCHTYPES_H
