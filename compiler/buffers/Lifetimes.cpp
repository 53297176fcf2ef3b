//===- Lifetimes.cpp - When the buffers of the arena are needed -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Lifetimes.h"
#include "compiler/kernels/form/Grouping.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace marver;

Lifetimes marver::lifetimes(func::FuncOp func, Homes &homes) {
  DenseMap<Operation *, std::pair<int64_t, int64_t>> span;
  int64_t next = 0;
  std::function<void(Operation *)> number = [&](Operation *op) {
    int64_t first = next++;
    if (!isa<linalg::LinalgOp, tensor::PadOp>(op))
      for (Region &region : op->getRegions())
        for (Operation &inner : region.getOps())
          number(&inner);
    span[op] = {first, next++};
  };
  number(func);
  Lifetimes lives;
  auto touch = [&](Value value, Operation *at, bool whole) {
    if (!isa<RankedTensorType>(value.getType()))
      return;
    Value root = homes.rootOf(value);
    if (!isDefinition(root) || homes.of(root).kind != Home::Own ||
        homes.isLate(root))
      return;
    Operation *def = root.getDefiningOp();
    auto [first, last] = span.lookup(at);
    if (!whole)
      last = first;
    for (Operation *loop = at->getParentOp(); loop != func;
         loop = loop->getParentOp())
      if (isa<scf::WhileOp, scf::ForOp>(loop) && !loop->isAncestor(def))
        last = std::max(last, span.lookup(loop).second);
    auto [life, isNew] = lives.try_emplace(root, first, last);
    if (!isNew)
      life->second = {std::min(life->second.first, first),
                      std::max(life->second.second, last)};
  };
  func.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<linalg::LinalgOp>(op))
      return WalkResult::skip();
    for (Value result : op->getResults())
      touch(result, op, /*whole=*/op->getNumRegions() > 0);
    if (classify(op) != Role::View) // who uses a view counts, not the view
      for (Value operand : op->getOperands())
        touch(operand, op, /*whole=*/false);
    return WalkResult::advance();
  });
  return lives;
}
