//===- ControlFlow.cpp - Loops and branches on tensors --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/ControlFlow.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace marver {

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

bool isControlFlow(Operation *op) {
  return isa_and_nonnull<scf::IfOp, scf::ForOp, scf::WhileOp>(op);
}

/// Arguments of a loop's blocks before those of the slots: an scf.for's
/// iteration.
static unsigned leadingArguments(Operation *op) { return isa<scf::ForOp>(op); }

std::optional<std::pair<Operation *, unsigned>> slotOf(Value value) {
  if (auto result = dyn_cast<OpResult>(value)) {
    if (!isControlFlow(result.getOwner()))
      return std::nullopt;
    return std::pair(result.getOwner(), result.getResultNumber());
  }
  auto argument = cast<BlockArgument>(value);
  Operation *op = argument.getOwner()->getParentOp();
  if (!isa_and_nonnull<scf::ForOp, scf::WhileOp>(op) ||
      argument.getArgNumber() < leadingArguments(op))
    return std::nullopt;
  return std::pair(op, argument.getArgNumber() - leadingArguments(op));
}

Value argumentOfSlot(Operation *op, Block *block, unsigned slot) {
  return block->getArgument(leadingArguments(op) + slot);
}

Value initialOfSlot(Operation *op, unsigned slot) {
  auto loop = dyn_cast<LoopLikeOpInterface>(op);
  return loop ? loop.getInits()[slot] : Value();
}

static SmallVector<Operation *> yieldsOf(Operation *op) {
  SmallVector<Operation *> yields;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      if (isa<scf::YieldOp>(block.getTerminator()))
        yields.push_back(block.getTerminator());
  return yields;
}

SmallVector<Value> yieldsOfSlot(Operation *op, unsigned slot) {
  return llvm::map_to_vector(
      yieldsOf(op), [&](Operation *yield) { return yield->getOperand(slot); });
}

Operation *addSlots(RewriterBase &rewriter, Operation *op, ValueRange initial,
                    TypeRange types) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  const unsigned oldSlots = op->getNumResults();
  OperationState state(op->getLoc(), op->getName());
  state.addOperands(op->getOperands());
  state.addOperands(initial);
  state.addTypes(op->getResultTypes());
  state.addTypes(types);
  state.addAttributes(op->getAttrs());
  for (unsigned i = 0; i < op->getNumRegions(); ++i)
    state.addRegion();
  Operation *extended = rewriter.create(state);
  for (auto [from, to] :
       llvm::zip_equal(op->getRegions(), extended->getRegions()))
    rewriter.inlineRegionBefore(from, to, to.end());
  for (Region &region : extended->getRegions())
    for (Block &block : region)
      if (!isa<scf::IfOp>(extended))
        for (Type type : types)
          block.addArgument(type, op->getLoc());
  if (auto loop = dyn_cast<scf::WhileOp>(extended))
    rewriter.modifyOpInPlace(loop.getConditionOp(), [&] {
      loop.getConditionOp().getArgsMutable().assign(loop.getBeforeArguments());
    });
  rewriter.replaceOp(op, extended->getResults().take_front(oldSlots));
  return extended;
}

void appendYields(Operation *op, ArrayRef<SmallVector<Value>> values) {
  for (auto [yield, more] : llvm::zip_equal(yieldsOf(op), values))
    yield->insertOperands(yield->getNumOperands(), more);
}

//===----------------------------------------------------------------------===//
// Dims
//===----------------------------------------------------------------------===//

namespace {

/// A dim of a slot's tensor: slot and dim.
using SlotDim = std::pair<unsigned, int64_t>;
/// The slots that carry the dims.
using DimSlots = llvm::DenseMap<SlotDim, unsigned>;

} // namespace

/// The function's tensor.dims of what is carried, by operation.
static llvm::MapVector<Operation *,
                       llvm::MapVector<SlotDim, SmallVector<tensor::DimOp>>>
carriedDims(Operation *function) {
  llvm::MapVector<Operation *,
                  llvm::MapVector<SlotDim, SmallVector<tensor::DimOp>>>
      found;
  function->walk([&](tensor::DimOp dim) {
    auto slot = slotOf(dim.getSource());
    std::optional<int64_t> number = dim.getConstantIndex();
    if (slot && number)
      found[slot->first][{slot->second, *number}].push_back(dim);
  });
  return found;
}

static LogicalResult reifyDims(Operation *function) {
  RewritePatternSet patterns(function->getContext());
  memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
  tensor::DimOp::getCanonicalizationPatterns(patterns, function->getContext());
  affine::AffineApplyOp::getCanonicalizationPatterns(patterns,
                                                     function->getContext());
  return applyPatternsGreedily(function, std::move(patterns));
}

LogicalResult resolveDims(Operation *function) {
  IRRewriter rewriter(function->getContext());
  DenseMap<Operation *, DimSlots> known;
  while (true) {
    if (failed(reifyDims(function)))
      return failure();
    auto found = carriedDims(function);
    if (found.empty())
      return success();
    for (auto &[old, queries] : found) {
      Operation *op = old;
      DimSlots slots = known.lookup(op);
      SmallVector<SlotDim> missing;
      for (auto &[query, dims] : queries)
        if (slots.try_emplace(query, op->getNumResults() + missing.size())
                .second)
          missing.push_back(query);
      if (!missing.empty()) {
        auto dimsOf = [&](function_ref<Value(unsigned)> tensorOf) {
          SmallVector<Value> dims;
          for (auto [slot, dim] : missing)
            dims.push_back(rewriter.createOrFold<tensor::DimOp>(
                op->getLoc(), tensorOf(slot), dim));
          return dims;
        };
        SmallVector<Value> initial;
        rewriter.setInsertionPoint(op);
        if (auto loop = dyn_cast<LoopLikeOpInterface>(op))
          initial =
              dimsOf([&](unsigned slot) { return loop.getInits()[slot]; });
        known.erase(op);
        op = addSlots(
            rewriter, op, initial,
            SmallVector<Type>(missing.size(), rewriter.getIndexType()));
        SmallVector<SmallVector<Value>> yields;
        for (Operation *yield : yieldsOf(op)) {
          rewriter.setInsertionPoint(yield);
          yields.push_back(
              dimsOf([&](unsigned slot) { return yield->getOperand(slot); }));
        }
        appendYields(op, yields);
        known[op] = slots;
      }
      for (auto &[query, dims] : queries)
        for (tensor::DimOp dim : dims) {
          Value source = dim.getSource();
          unsigned slot = slots.lookup(query);
          Value size = isa<OpResult>(source)
                           ? Value(op->getResult(slot))
                           : argumentOfSlot(op, source.getParentBlock(), slot);
          rewriter.replaceOp(dim, size);
        }
    }
  }
}

//===----------------------------------------------------------------------===//
// Cleaning up
//===----------------------------------------------------------------------===//

namespace {

/// A slot that no iteration changes: everyone reads the initial value.
struct ForwardInvariant : OpRewritePattern<scf::WhileOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(scf::WhileOp op,
                                PatternRewriter &rewriter) const override {
    bool isChanged = false;
    for (auto [slot, initial] : llvm::enumerate(op.getInits())) {
      Value after = op.getAfterArguments()[slot];
      Value next = op.getYieldedValues()[slot];
      if (next != after && next != initial)
        continue;
      for (Value name : {after, Value(op.getBeforeArguments()[slot]),
                         Value(op.getResult(slot))}) {
        bool isRead = llvm::any_of(name.getUses(), [](OpOperand &use) {
          return !isa<scf::ConditionOp>(use.getOwner());
        });
        if (!isRead)
          continue;
        rewriter.replaceUsesWithIf(name, initial, [](OpOperand &use) {
          return !isa<scf::ConditionOp>(use.getOwner());
        });
        isChanged = true;
      }
    }
    return success(isChanged);
  }
};

/// Slots that nobody reads.
struct DropUnused : OpRewritePattern<scf::WhileOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(scf::WhileOp op,
                                PatternRewriter &rewriter) const override {
    llvm::BitVector isUnused(op.getNumResults());
    for (unsigned slot = 0; slot < op.getNumResults(); ++slot) {
      Value after = op.getAfterArguments()[slot];
      isUnused[slot] = op.getResult(slot).use_empty() &&
                       op.getBeforeArguments()[slot].hasOneUse() &&
                       llvm::all_of(after.getUses(), [&](OpOperand &use) {
                         return use.getOwner() == op.getYieldOp() &&
                                use.getOperandNumber() == slot;
                       });
    }
    if (isUnused.none())
      return failure();
    SmallVector<Value> initial;
    SmallVector<Type> types;
    for (unsigned slot = 0; slot < op.getNumResults(); ++slot)
      if (!isUnused[slot]) {
        initial.push_back(op.getInits()[slot]);
        types.push_back(op.getResult(slot).getType());
      }
    auto kept = scf::WhileOp::create(rewriter, op.getLoc(), types, initial);
    rewriter.inlineRegionBefore(op.getBefore(), kept.getBefore(),
                                kept.getBefore().end());
    rewriter.inlineRegionBefore(op.getAfter(), kept.getAfter(),
                                kept.getAfter().end());
    rewriter.modifyOpInPlace(
        kept.getYieldOp(), [&] { kept.getYieldOp()->eraseOperands(isUnused); });
    llvm::BitVector ofCondition(1);
    for (unsigned slot = 0; slot < isUnused.size(); ++slot)
      ofCondition.push_back(isUnused[slot]);
    rewriter.modifyOpInPlace(kept.getConditionOp(), [&] {
      kept.getConditionOp()->eraseOperands(ofCondition);
    });
    kept.getBeforeBody()->eraseArguments(isUnused);
    kept.getAfterBody()->eraseArguments(isUnused);
    unsigned position = 0;
    for (unsigned slot = 0; slot < isUnused.size(); ++slot)
      if (!isUnused[slot])
        rewriter.replaceAllUsesWith(op.getResult(slot),
                                    kept.getResult(position++));
    rewriter.eraseOp(op);
    return success();
  }
};

struct CleanUp : PassWrapper<CleanUp, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CleanUp)
  StringRef getArgument() const override { return "mv-clean-up"; }
  StringRef getDescription() const override {
    return "Canonicalize, keeping what loops carry in order";
  }

  LogicalResult initialize(MLIRContext *context) override {
    RewritePatternSet all(context);
    for (Dialect *dialect : context->getLoadedDialects())
      dialect->getCanonicalizationPatterns(all);
    // Upstream's patterns for scf.while give its two blocks different
    // arguments.
    for (RegisteredOperationName name : context->getRegisteredOperations())
      if (name.getStringRef() != scf::WhileOp::getOperationName())
        name.getCanonicalizationPatterns(all, context);
    // And this one gives what is carried the type that it starts with.
    llvm::erase_if(all.getNativePatterns(), [](auto &pattern) {
      return pattern->getDebugName().contains("ForOpTensorCastFolder");
    });
    all.add<ForwardInvariant, DropUnused>(context);
    patterns = std::move(all);
    return success();
  }

  void runOnOperation() override {
    // Like the canonicalizer, best effort: not to converge is no error.
    (void)applyPatternsGreedily(getOperation(), patterns);
  }

  FrozenRewritePatternSet patterns;
};

} // namespace

std::unique_ptr<Pass> createCleanUpPass() {
  return std::make_unique<CleanUp>();
}

} // namespace marver
