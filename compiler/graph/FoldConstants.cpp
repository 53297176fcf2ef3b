//===- FoldConstants.cpp - Evaluate what is known at compile time ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches operations whose operands are constants, in the order of the
// function, so that a chain folds in one walk. Makes an arith.constant.
//
//   %s = linalg.generic ins(%scale, %variance) { ... }   // both constant
// becomes
//   %s = arith.constant dense_resource<w> : tensor<32xf32>
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Evaluate.h"
#include "compiler/graph/Passes.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace marver;

/// What a reduction starts from stays a linalg.fill: a number, not a tensor.
static bool isStart(OpOperand &use) {
  auto owner = dyn_cast<linalg::LinalgOp>(use.getOwner());
  return owner && owner.isDpsInit(&use) &&
         use.get().getDefiningOp<linalg::FillOp>();
}

/// What exporters compute sizes with.
static bool isSize(Type type) {
  auto shaped = dyn_cast<RankedTensorType>(type);
  constexpr int64_t maxElements = 64;
  return getElementTypeOrSelf(type).isIntOrIndex() &&
         (!shaped ||
          (shaped.hasStaticShape() && shaped.getNumElements() <= maxElements));
}

/// Whether a contraction reads `op`'s result as its weights, possibly through
/// other operations. Weights are worth their size: kernels for them need
/// constants, and a dequantization that is undone (RaiseQuantized.cpp) costs
/// nothing in the end.
static bool makesWeights(Operation *op) {
  constexpr int kMostSteps = 16;
  for (int step = 0; step < kMostSteps; ++step) {
    if (op->getNumResults() != 1 || !op->hasOneUse())
      return false;
    OpOperand &use = *op->use_begin();
    op = use.getOwner();
    if (isa<mv::ConvOp, mv::MatmulOp>(op))
      return use.getOperandNumber() == 1;
  }
  return false;
}

namespace {

struct FoldConstants : PassWrapper<FoldConstants, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FoldConstants)
  FoldConstants() = default;
  FoldConstants(const FoldConstants &other) : PassWrapper(other) {}
  explicit FoldConstants(bool sizes) { sizesOnly = sizes; }

  Option<bool> sizesOnly{*this, "sizes-only", llvm::cl::init(false),
                         llvm::cl::desc("only small tensors of integers")};

  StringRef getArgument() const override { return "mv-fold-constants"; }
  StringRef getDescription() const override {
    return "Evaluate operations whose operands are constants";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
  }

  void runOnOperation() override {
    OpBuilder builder(&getContext());
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      // The bodies of structured operations are evaluated with their owner.
      if (isa<linalg::LinalgOp, tensor::PadOp>(op->getParentOp()))
        return WalkResult::advance();
      if (op->use_empty() || op->hasTrait<OpTrait::ConstantLike>())
        return WalkResult::advance();
      if (sizesOnly && !llvm::all_of(op->getResultTypes(), isSize))
        return WalkResult::advance();
      EvaluateLimits limits;
      if (makesWeights(op))
        limits.maxGrowth = int64_t(1) << 40;
      std::optional<SmallVector<TypedAttr>> values = evaluate(op, limits);
      if (!values)
        return WalkResult::advance();
      builder.setInsertionPoint(op);
      for (auto [result, value] : llvm::zip_equal(op->getResults(), *values)) {
        if (llvm::all_of(result.getUses(), isStart))
          continue;
        Value constant =
            arith::ConstantOp::create(builder, op->getLoc(), value);
        result.replaceUsesWithIf(constant,
                                 [&](OpOperand &use) { return !isStart(use); });
      }
      if (op->use_empty())
        op->erase();
      return WalkResult::skip();
    });
  }
};

} // namespace

std::unique_ptr<Pass> marver::createFoldConstantsPass(bool sizesOnly) {
  return std::make_unique<FoldConstants>(sizesOnly);
}
