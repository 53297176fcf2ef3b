//===- Evaluate.h - Results of operations on constants ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A small interpreter of tensor operations whose operands are constants. Floats
// are computed in f64 and rounded to the operation's type after each operation,
// which for + - * / sqrt is the same as computing in that type. What is
// undefined at run time (division by zero, a float out of an integer's range)
// is not evaluated: it is left to the run, where it is checked.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_EVALUATE_H
#define MARVER_COMPILER_GRAPH_EVALUATE_H

#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace marver {

/// Limits of what is evaluated.
struct EvaluateLimits {
  /// A result may be larger than all of the operation's constants together by
  /// so many bytes: a causal mask from two iotas is cheaper to compute in the
  /// kernel that reads it than to store.
  int64_t maxGrowth = 256 << 10;
  /// Scalar operations spent on one tensor operation.
  int64_t maxWork = int64_t(1) << 28;
};

/// The constant values of all results of `op`, or nothing if an operand is not
/// constant, the operation is not known here, or a limit is exceeded.
std::optional<llvm::SmallVector<mlir::TypedAttr>>
evaluate(mlir::Operation *op, const EvaluateLimits &limits = {});

/// The same for a linalg.generic.
std::optional<llvm::SmallVector<mlir::TypedAttr>>
evaluateGeneric(mlir::linalg::GenericOp op, const EvaluateLimits &limits);

/// Copies a strided array: out[i * outStrides] = in[i * inStrides] for all
/// coordinates i < sizes; strides in elements, elements of `bytes` bytes.
void copyStrided(char *out, llvm::ArrayRef<int64_t> outStrides, const char *in,
                 llvm::ArrayRef<int64_t> inStrides,
                 llvm::ArrayRef<int64_t> sizes, int64_t bytes);

/// Row-major strides of `shape`.
llvm::SmallVector<int64_t> rowMajorStrides(llvm::ArrayRef<int64_t> shape);

/// A constant of `type` with every element equal to `element`.
mlir::ElementsAttr makeSplat(mlir::RankedTensorType type,
                             mlir::Attribute element);

/// Element `index` of `data` as an attribute of its type.
mlir::Attribute elementAttr(const ConstantData &data, int64_t index);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_EVALUATE_H
