//===- Pointwise.cpp - What the passes ask of linalg.generic --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Pointwise.h"

using namespace mlir;
using namespace marver;

bool marver::isPointwise(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumReductionLoops() != 0)
    return false;
  for (OpOperand &init : op.getDpsInitsMutable())
    if (!op.getMatchingIndexingMap(&init).isIdentity() ||
        !op.getMatchingBlockArgument(&init).use_empty())
      return false;
  return true;
}

bool marver::isMove(linalg::GenericOp op) {
  if (!isPointwise(op) || op.getNumResults() != 1)
    return false;
  Operation *yield = op.getBody()->getTerminator();
  auto argument = dyn_cast<BlockArgument>(yield->getOperand(0));
  return op.getNumDpsInputs() == 1 && argument &&
         argument.getOwner() == op.getBody() && argument.getArgNumber() == 0;
}

std::optional<unsigned> marver::findDim(AffineMap map, unsigned dim,
                                        bool &usable) {
  std::optional<unsigned> found;
  usable = true;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (!expr.isFunctionOfDim(dim))
      continue;
    if (found || !isa<AffineDimExpr>(expr))
      usable = false;
    found = i;
  }
  return found;
}

std::optional<SmallVector<int64_t>>
marver::getPermutation(linalg::GenericOp op) {
  if (!isMove(op))
    return std::nullopt;
  AffineMap map = op.getIndexingMapsArray()[0];
  if (!map.isPermutation())
    return std::nullopt;
  // Input dim i is loop (result) dim map[i].
  SmallVector<int64_t> permutation(map.getNumResults());
  for (auto [i, expr] : llvm::enumerate(map.getResults()))
    permutation[cast<AffineDimExpr>(expr).getPosition()] = i;
  return permutation;
}
