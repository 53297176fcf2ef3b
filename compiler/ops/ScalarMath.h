//===- ScalarMath.h - Operators on single elements --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The bodies of elementwise operators: arith and math on scalars. A function
// returns null for an element type that the operator does not take.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_OPS_SCALARMATH_H
#define MARVER_COMPILER_OPS_SCALARMATH_H

#include "compiler/ops/Ops.h"

namespace marver {

/// Shorthands for arithmetic on scalars of one type, integers or floats.
class ScalarMath {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;

  ScalarMath(mlir::ImplicitLocOpBuilder &builder, bool isUnsigned = false)
      : b(builder), isUnsigned(isUnsigned) {}

  Value constant(double value, Type type);
  Value integer(int64_t value, Type type);
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value div(Value x, Value y); ///< bad integer divisions are checked in kernels
  Value max(Value x, Value y);
  Value min(Value x, Value y);
  Value neg(Value x);
  Value abs(Value x);
  Value exp(Value x);
  Value select(Value condition, Value x, Value y);
  Value compare(Compare kind, Value x, Value y);
  Value isNonZero(Value x);

  Value unary(Unary kind, Value x);
  Value binary(Binary kind, Value x, Value y);
  Value cast(Value x, Type to, bool toUnsigned);

  /// log(1 + exp(x)) without overflow.
  Value softplus(Value x);
  Value sigmoid(Value x);

private:
  Value unaryFloat(Unary kind, Value x);
  Value unaryInteger(Unary kind, Value x);
  Value integerPower(Value x, Value y);
  Value binaryFloat(Binary kind, Value x, Value y);
  Value binaryInteger(Binary kind, Value x, Value y);

  mlir::ImplicitLocOpBuilder &b;
  bool isUnsigned;
};

} // namespace marver

#endif // MARVER_COMPILER_OPS_SCALARMATH_H
