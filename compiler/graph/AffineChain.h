//===- AffineChain.h - Scales and shifts of channels ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Batch norms, biases and scales come as chains of elementwise operations with
// constants. A chain of which every operation computes `scale[c] * x +
// shift[c]` of one dim c is one such function, found here and used by the
// passes that own the weights before it.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_AFFINECHAIN_H
#define MARVER_COMPILER_GRAPH_AFFINECHAIN_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

namespace marver {

/// scale[c] * x + shift[c] for c along one dim of x, in f64.
struct AffineChain {
  mlir::Value end; ///< the chain's last value; the start's, if it is empty
  llvm::SmallVector<double, 0> scale, shift;
  llvm::SmallVector<mlir::Operation *> ops; ///< from first to last

  bool empty() const { return ops.empty(); }
  bool scales() const {
    return llvm::any_of(scale, [](double value) { return value != 1.0; });
  }
  bool shifts() const {
    return llvm::any_of(shift, [](double value) { return value != 0.0; });
  }
};

/// The longest chain of affine operations of dim `dim` that starts at `start`
/// (of a float type and static in that dim), each the only user of the value
/// before it.
AffineChain findAffineChain(mlir::Value start, int64_t dim);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_AFFINECHAIN_H
