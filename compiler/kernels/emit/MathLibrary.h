//===- MathLibrary.h - Elementary functions on vectors ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Elementary functions as straight-line arith and fma operations, on scalars
// and vectors alike, so that no call is left in a kernel. A few ulp in f32 over
// the whole range; NaN, infinities and denormals as the functions demand.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_MATHLIBRARY_H
#define MARVER_COMPILER_KERNELS_EMIT_MATHLIBRARY_H

#include "compiler/ir/Target.h"
#include "marver/abi.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace marver {

/// What a `math` operation (or arith's) computes of f32 or f64 operands
/// (vectors or scalars), or null if the operation is better left as it is.
mlir::Value emitMath(mlir::ImplicitLocOpBuilder &builder, mlir::Operation *op,
                     mlir::ValueRange operands);

// The functions that emitters themselves need, f32 or f64, vector or scalar.
// `hasTables`: the target permutes 32 values in registers
// (`hasTables`).

/// Whether 32 values are looked up in registers in one step (AVX-512).
inline bool hasTables(const TargetInfo &target) {
  return target.arch == MV_ARCH_X86_64 && target.vectorRegisters == 32;
}

mlir::Value emitExp(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
/// 1 + e^x or, if `negated`, 1 + e^-x, f32 only: cheaper than the exponential,
/// because only what counts against 1 must be right. Infinity from 88.4 on.
mlir::Value emitOnePlusExp(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                           bool negated, bool hasTables);
/// 1 + erf(x), f32 only, as a Gaussian error linear unit needs it: absolute
/// error of 2e-7, and a better one where the result is near 0.
mlir::Value emitOnePlusErf(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                           bool hasTables);
/// e^x for x <= 88 as a softmax needs it: 0 below -88, NaN stays NaN, two ulp.
mlir::Value emitWeight(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                       bool hasTables);
mlir::Value emitLog(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
/// max and min that propagate NaN.
mlir::Value emitMaximum(mlir::ImplicitLocOpBuilder &builder, mlir::Value a,
                        mlir::Value c);
mlir::Value emitMinimum(mlir::ImplicitLocOpBuilder &builder, mlir::Value a,
                        mlir::Value c);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_MATHLIBRARY_H
