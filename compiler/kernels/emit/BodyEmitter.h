//===- BodyEmitter.h - The scalar body of a linalg op on vectors -*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Clones the scalar operations of a region onto vectors of lanes (or scalars):
// index becomes i64, f16 and bf16 are computed in f32, elementary functions
// come from the math library, integer division is checked, and an operation
// with no vector form is done lane by lane.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_BODYEMITTER_H
#define MARVER_COMPILER_KERNELS_EMIT_BODYEMITTER_H

#include "compiler/kernels/emit/Evaluator.h"

namespace marver {

class BodyEmitter {
public:
  using Value = mlir::Value;

  /// `loops` are the coordinates that linalg.index reads; `argument` gives the
  /// (widened) value of a block argument when it is first used.
  BodyEmitter(Evaluator &evaluator, llvm::ArrayRef<Coordinate> loops,
              int64_t lanes, Value mask,
              std::function<Value(mlir::BlockArgument)> argument)
      : evaluator(evaluator), e(evaluator.emitter()), loops(loops),
        lanes(lanes), mask(mask), argument(std::move(argument)) {}

  /// What `value` (of the body, or a scalar from outside it) becomes.
  Value get(Value value);
  /// From now on `value` becomes `replacement`.
  void set(Value value, Value replacement) { values[value] = replacement; }

private:
  mlir::ImplicitLocOpBuilder &builder() { return e.builder(); }
  mlir::Type registerType(mlir::Type type);
  void emit(mlir::Operation *op);
  Value constant(mlir::arith::ConstantOp op);
  Value integerDivision(mlir::Operation *op);
  Value extract(mlir::tensor::ExtractOp op);
  void laneByLane(mlir::Operation *op);

  Evaluator &evaluator;
  KernelEmitter &e;
  llvm::ArrayRef<Coordinate> loops;
  int64_t lanes;
  Value mask;
  std::function<Value(mlir::BlockArgument)> argument;
  llvm::DenseMap<Value, Value> values;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_BODYEMITTER_H
