//===- HoistInvariants.cpp - Compute before a loop what it does not change ===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Moves an operation before the scf.for or scf.while that it is in if its
// operands are the same in all iterations. What stays are elementwise
// operations that would only make a large tensor of a smaller one, or of
// constants: the kernels that read them evaluate them where they are used.
//
//   scf.for ... { %k = mv.matmul %x, %w ... mv.attention %q, %k, ... }
// becomes
//   %k = mv.matmul %x, %w
//   scf.for ... { mv.attention %q, %k, ... }
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/LoopInvariantCodeMotionUtils.h"

using namespace mlir;
using namespace marver;

/// Evaluated by the kernels that read it, element by element.
static bool isPointwise(Operation *op) {
  if (auto linalg = dyn_cast<linalg::LinalgOp>(op))
    return linalg.getNumReductionLoops() == 0;
  return isa<linalg::PackOp, linalg::UnPackOp, tensor::PadOp, mv::GatherOp,
             mv::GatherElementsOp, mv::ResizeOp>(op);
}

/// Whether a pointwise operation reads less than it makes.
static bool isExpansion(Operation *op) {
  auto elements = [](Value value) -> int64_t {
    auto type = cast<RankedTensorType>(value.getType());
    return type.hasStaticShape() ? type.getNumElements() : ShapedType::kDynamic;
  };
  bool hasInput = false, isCovered = false;
  int64_t made = elements(op->getResult(0));
  for (Value operand : op->getOperands()) {
    if (!isa<RankedTensorType>(operand.getType()) ||
        operand.getDefiningOp<tensor::EmptyOp>() ||
        matchPattern(operand, m_Constant()))
      continue;
    hasInput = true;
    int64_t read = elements(operand);
    isCovered |= ShapedType::isDynamic(read) || ShapedType::isDynamic(made) ||
                 read >= made;
  }
  return !hasInput || !isCovered;
}

static bool isWorthMoving(Operation *op) {
  return isMemoryEffectFree(op) && isSpeculatable(op) &&
         !(isPointwise(op) && isExpansion(op));
}

namespace {

struct HoistInvariants : PassWrapper<HoistInvariants, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(HoistInvariants)
  StringRef getArgument() const override { return "mv-hoist-invariants"; }
  StringRef getDescription() const override {
    return "Compute before a loop what is the same in all iterations";
  }

  void runOnOperation() override {
    // Inner loops first: what leaves one may leave the next as well.
    getOperation()->walk([](Operation *op) {
      if (!isa<scf::ForOp, scf::WhileOp>(op))
        return;
      auto loop = cast<LoopLikeOpInterface>(op);
      moveLoopInvariantCode(
          loop.getLoopRegions(),
          [&](Value value, Region *) {
            return loop.isDefinedOutsideOfLoop(value);
          },
          [](Operation *inner, Region *) { return isWorthMoving(inner); },
          [&](Operation *inner, Region *) { loop.moveOutOfLoop(inner); });
    });
  }
};

} // namespace

std::unique_ptr<Pass> marver::createHoistInvariantsPass() {
  return std::make_unique<HoistInvariants>();
}
