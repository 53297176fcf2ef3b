//===- PackedWeights.h - Weights of narrow contractions ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.packed_matmul and mv.packed_conv with inputs narrower than f32: bf16 times
// bf16, summed in f32, or i8 (unsigned) times i8 (signed), summed in i32. Their
// weights lie in groups of neighbouring steps of the reduction, as instructions
// take them: [panel][K...][ceil(c / group)][NR][group], zero beyond c. The
// input of such a convolution is blocked.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_PACKEDWEIGHTS_H
#define MARVER_COMPILER_IR_PACKEDWEIGHTS_H

#include "compiler/ir/MvDialect.h"

namespace marver {

/// Steps of the reduction in a group: 2 for an input of bf16, 4 for i8, 1
/// otherwise.
inline int64_t reductionGroup(mlir::Type inputElement) {
  return inputElement.isBF16() ? 2 : inputElement.isInteger(8) ? 4 : 1;
}

/// The same of mv.packed_matmul or mv.packed_conv.
inline int64_t reductionGroup(mlir::Operation *contraction) {
  return reductionGroup(
      mlir::cast<mlir::RankedTensorType>(contraction->getOperand(0).getType())
          .getElementType());
}

/// NR: outputs in a panel of an mv.packed_matmul's or mv.packed_conv's weights.
inline int64_t panelWidth(mlir::Operation *contraction) {
  auto weights =
      mlir::cast<mlir::RankedTensorType>(contraction->getOperand(1).getType());
  return weights.getShape().drop_back(reductionGroup(contraction) > 1).back();
}

} // namespace marver

#endif // MARVER_COMPILER_IR_PACKEDWEIGHTS_H
