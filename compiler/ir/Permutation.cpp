//===- Permutation.cpp - Operations that reorder dims ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Permutation.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;

bool marver::isPermutation(Operation *op,
                           SmallVectorImpl<int64_t> &permutation) {
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 ||
      generic.getNumDpsInits() != 1 || !generic.isAllParallelLoops())
    return false;
  auto yield = cast<linalg::YieldOp>(generic.getBody()->getTerminator());
  if (yield.getOperand(0) != generic.getBody()->getArgument(0) ||
      generic.getBody()->getOperations().size() != 1)
    return false;
  AffineMap in = generic.getIndexingMapsArray()[0];
  AffineMap out = generic.getIndexingMapsArray()[1];
  if (!in.isPermutation() || !out.isPermutation())
    return false;
  // Result dim r is loop out(r), which is source dim in^-1(out(r)).
  AffineMap sourceOfLoop = inversePermutation(in);
  permutation.clear();
  for (unsigned r = 0; r < out.getNumResults(); ++r) {
    unsigned loop = out.getDimPosition(r);
    permutation.push_back(sourceOfLoop.getDimPosition(loop));
  }
  return !permutation.empty();
}
