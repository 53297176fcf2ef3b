//===- ResultWriter.h - Storing a kernel's results --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Results are stored where the computation is, not where they end up: the shape
// ops that a kernel ends with (a pad that makes the halo of the next
// convolution, an unpack, a reshape, a cast) are undone at the store.
//
//   %c = <anchor>                       write(result, point of %c) evaluates %e
//   %e = linalg.generic %c, %residual   there and stores it inside of the
//   padded %p = tensor.pad %e                  buffer; fillBorder() writes the
//   rest mv.yield %p
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_RESULTWRITER_H
#define MARVER_COMPILER_KERNELS_EMIT_RESULTWRITER_H

#include "compiler/kernels/emit/Evaluator.h"

namespace marver {

class ResultWriter {
public:
  using Value = mlir::Value;

  /// With `throughShapes` false only a final pad is undone at the store.
  explicit ResultWriter(Evaluator &evaluator, bool throughShapes = true);

  /// The tensor that result `number` is stored from: the yielded value before
  /// the shape ops that end the kernel. write() takes points of it.
  Value source(unsigned number) const { return chains[number].source; }
  unsigned resultCount() const { return unsigned(chains.size()); }

  /// Evaluates source(number) at `point` and stores it.
  void write(unsigned number, const Point &point);
  /// The same for all results whose source has as many dims as the point.
  void write(const Point &point);
  /// Stores a value that is there already.
  void store(unsigned number, const Point &point, Value value);

  /// Writes the parallel indices' share of all borders, when the kernel's
  /// extent is `extent`: to be called once, outside of the family's loops.
  void fillBorders(Value extent);

private:
  struct Chain {
    Value source;
    llvm::SmallVector<mlir::Operation *> ops; ///< from the source to the yield
  };
  void fillBorder(unsigned number, mlir::tensor::PadOp pad, Value extent);

  Evaluator &evaluator;
  KernelEmitter &e;
  llvm::SmallVector<Chain> chains;
};

/// The value that a kernel's result is stored from (see ResultWriter::source).
mlir::Value storedSource(mlir::Value yielded, bool throughShapes = true);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_RESULTWRITER_H
