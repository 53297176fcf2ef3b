//===- EvaluateScalars.h - Results of scalar operations ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The arith and math operations of the evaluator's bodies. Floats are f64, to
// be rounded to the operation's type after each step; integers are
// sign-extended to 64 bits, but for i1, which is 0 or 1.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_EVALUATESCALARS_H
#define MARVER_COMPILER_GRAPH_EVALUATESCALARS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include <optional>

namespace marver {

/// `value` rounded to the float type `type`, to nearest even.
double roundTo(mlir::Type type, double value);

/// The bits of `value` that `type` holds, in the form that columns have.
int64_t wrapTo(mlir::Type type, int64_t value);

/// A value in that form as the unsigned, or the signed, number it stands for.
uint64_t unsignedOf(mlir::Type type, int64_t value);
int64_t signedOf(mlir::Type type, int64_t value);

using F64Function1 = double (*)(double);
using F64Function2 = double (*)(double, double);

/// The function of a float operation with one operand, or two, or null if it is
/// none that is known.
F64Function1 unaryOf(mlir::Operation *op);
F64Function2 binaryOf(mlir::Operation *op);

bool compareFloats(mlir::arith::CmpFPredicate predicate, double a, double b);

/// One integer operation on operands of `type`; nothing if it is undefined for
/// these values, or unknown. The result is not wrapped yet.
std::optional<int64_t> integerOp(mlir::Operation *op, mlir::Type type,
                                 int64_t a, int64_t b);

/// The integer that `value` truncates to, if `width` bits hold it.
std::optional<int64_t> toInteger(double value, unsigned width, bool isSigned);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_EVALUATESCALARS_H
