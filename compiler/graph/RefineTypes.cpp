//===- RefineTypes.cpp - Static dims where they are known -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters compute sizes with tensors of integers; once these are folded,
// types are more dynamic than what is known. Matches
//  - an mv operation that reads a tensor.cast which only forgets dims: it reads
//    the cast's source;
//  - an mv operation with a dynamic result dim whose size
//    (ReifyRankedShapedTypeOpInterface) is a number: the result gets it;
//  - tensor.reshape to a constant shape: it becomes tensor.collapse_shape and
//    tensor.expand_shape over the dims that agree;
//  - results of the function that are such casts: the function's type gets
//  them;
//  - mv.check of a condition that is known to hold: it goes.
// The casts that this leaves are folded into other operations by their own
// canonicalization.
//
//   %c = tensor.cast %x : tensor<1x3x8x8xf32> to tensor<?x3x?x?xf32>
//   %y = mv.conv %c, %w ... -> tensor<?x4x?x?xf32>
// becomes
//   %y = mv.conv %x, %w ... -> tensor<1x4x6x6xf32>
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace marver;

/// The source of a cast that only forgets dims, or null.
static Value moreStatic(Value value) {
  auto cast = value.getDefiningOp<tensor::CastOp>();
  if (!cast || !tensor::canFoldIntoConsumerOp(cast))
    return {};
  return cast.getSource();
}

static bool isTensorOp(Operation *op) {
  return isa_and_nonnull<mv::MvDialect>(op->getDialect()) &&
         !isa<mv::KernelOp, mv::YieldOp, mv::LaunchOp, mv::BufferOp>(op);
}

/// Result types of `op` with the dims that are numbers; empty if nothing new is
/// known.
static SmallVector<Type> refinedTypes(Operation *op) {
  auto reifiable = dyn_cast<ReifyRankedShapedTypeOpInterface>(op);
  if (!reifiable || llvm::all_of(op->getResultTypes(), [](Type type) {
        auto shaped = dyn_cast<RankedTensorType>(type);
        return !shaped || shaped.hasStaticShape();
      }))
    return {};
  // The operations that reifying creates are dropped again.
  OpBuilder builder(op);
  Operation *before = op->getPrevNode();
  ReifiedRankedShapedTypeDims dims;
  SmallVector<Type> types;
  if (succeeded(reifiable.reifyResultShapes(builder, dims)))
    for (auto [type, sizes] : llvm::zip_equal(op->getResultTypes(), dims)) {
      auto shaped = cast<RankedTensorType>(type);
      SmallVector<int64_t> shape(shaped.getShape());
      for (auto [dim, size] : llvm::zip_equal(shape, sizes))
        if (ShapedType::isDynamic(dim))
          if (std::optional<int64_t> known = getConstantIntValue(size))
            if (*known >= 0)
              dim = *known;
      types.push_back(RankedTensorType::get(shape, shaped.getElementType()));
    }
  while (op->getPrevNode() != before) {
    Operation *made = op->getPrevNode();
    if (!made->use_empty())
      break;
    made->erase();
  }
  if (TypeRange(types) == op->getResultTypes())
    types.clear();
  return types;
}

static void refine(Operation *op) {
  for (OpOperand &operand : op->getOpOperands())
    if (Value source = moreStatic(operand.get()))
      operand.set(source);
  SmallVector<Type> types = refinedTypes(op);
  if (types.empty())
    return;
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfter(op);
  if (auto resize = dyn_cast<mv::ResizeOp>(op)) {
    // Sizes are operands for the dims that are dynamic in the type.
    auto oldType = cast<RankedTensorType>(resize.getType());
    auto newType = cast<RankedTensorType>(types[0]);
    SmallVector<Value> sizes;
    auto size = resize.getSizes().begin();
    for (size_t i = 0; i < resize.getSteps().size(); ++i) {
      if (!oldType.isDynamicDim(2 + i))
        continue;
      Value value = *size++;
      if (newType.isDynamicDim(2 + i))
        sizes.push_back(value);
    }
    resize.getSizesMutable().assign(sizes);
  }
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types)) {
    Type old = result.getType();
    if (old == type)
      continue;
    result.setType(cast<RankedTensorType>(type));
    auto forget = tensor::CastOp::create(builder, op->getLoc(), old, result);
    result.replaceAllUsesExcept(forget, forget);
  }
}

/// The finest common merge of two shapes of equally many elements: dims of each
/// that make up each merged dim. Nothing if it cannot be told (a size of 0).
static bool commonGroups(ArrayRef<int64_t> from, ArrayRef<int64_t> to,
                         SmallVector<ReassociationIndices> &fromGroups,
                         SmallVector<ReassociationIndices> &toGroups) {
  size_t i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    ReassociationIndices a = {static_cast<int64_t>(i)},
                         b = {static_cast<int64_t>(j)};
    int64_t left = from[i++], right = to[j++];
    while (left != right) {
      if (left == 0 || right == 0)
        return false;
      bool growLeft = left < right;
      if (growLeft ? i == from.size() : j == to.size())
        return false;
      (growLeft ? left : right) *= growLeft ? from[i] : to[j];
      if (growLeft)
        a.push_back(static_cast<int64_t>(i++));
      else
        b.push_back(static_cast<int64_t>(j++));
    }
    fromGroups.push_back(std::move(a));
    toGroups.push_back(std::move(b));
  }
  if (fromGroups.empty())
    return false;
  // What is left are ones.
  for (; i < from.size(); ++i)
    fromGroups.back().push_back(static_cast<int64_t>(i));
  for (; j < to.size(); ++j)
    toGroups.back().push_back(static_cast<int64_t>(j));
  return true;
}

/// A reshape between static shapes, one of them given by a constant.
static bool replaceReshape(tensor::ReshapeOp op) {
  Value source = op.getSource();
  if (Value known = moreStatic(source))
    source = known;
  auto from = dyn_cast<RankedTensorType>(source.getType());
  auto to = dyn_cast<RankedTensorType>(op.getType());
  if (!from || !to || !from.hasStaticShape())
    return false;
  SmallVector<int64_t> shape(to.getShape());
  if (std::optional<SmallVector<int64_t>> sizes =
          getConstantInts(op.getShape()))
    shape = *sizes;
  auto type = RankedTensorType::get(shape, to.getElementType());
  if (!type.hasStaticShape() ||
      llvm::any_of(shape, [](int64_t size) { return size < 0; }) ||
      type.getNumElements() != from.getNumElements())
    return false;
  SmallVector<ReassociationIndices> fromGroups, toGroups;
  if (!commonGroups(from.getShape(), shape, fromGroups, toGroups))
    return false;
  OpBuilder builder(op);
  Location loc = op.getLoc();
  SmallVector<int64_t> merged;
  for (const ReassociationIndices &group : fromGroups) {
    int64_t size = 1;
    for (int64_t dim : group)
      size *= from.getDimSize(dim);
    merged.push_back(size);
  }
  Value value = source;
  auto middle = RankedTensorType::get(merged, to.getElementType());
  if (middle != from)
    value = tensor::CollapseShapeOp::create(builder, loc, middle, value,
                                            fromGroups);
  if (middle != type)
    value = tensor::ExpandShapeOp::create(builder, loc, type, value, toGroups);
  if (type != to)
    value = tensor::CastOp::create(builder, loc, to, value);
  op.getResult().replaceAllUsesWith(value);
  op.erase();
  return true;
}

/// The function returns what the casts before its return come from.
static void refineResults(func::FuncOp function) {
  // Functions that are called keep their type.
  if (!function->hasAttr("mv.entry") ||
      !llvm::hasSingleElement(function.getBody()))
    return;
  Operation *ret = function.getBody().front().getTerminator();
  for (OpOperand &operand : ret->getOpOperands())
    if (Value source = moreStatic(operand.get()))
      operand.set(source);
  function.setType(FunctionType::get(function.getContext(),
                                     function.getArgumentTypes(),
                                     ret->getOperandTypes()));
}

namespace {

struct RefineTypes : PassWrapper<RefineTypes, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RefineTypes)
  StringRef getArgument() const override { return "mv-refine-types"; }
  StringRef getDescription() const override {
    return "Make dims static that are known";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
    registerGraphInterfaces(registry);
  }

  void runOnOperation() override {
    // Each round carries static dims over the operations between two mv ones.
    // A chain that needs many rounds is rare; what is left stays dynamic.
    constexpr int maxRounds = 8;
    for (int round = 0; round < maxRounds; ++round) {
      bool changed = false;
      SmallVector<Operation *> ops;
      getOperation().walk([&](Operation *op) { ops.push_back(op); });
      for (Operation *op : ops) {
        if (auto check = dyn_cast<mv::CheckOp>(op);
            check && matchPattern(check.getCondition(), m_One())) {
          check.erase();
          continue;
        }
        if (auto reshape = dyn_cast<tensor::ReshapeOp>(op)) {
          changed |= replaceReshape(reshape);
          continue;
        }
        if (!isTensorOp(op))
          continue;
        SmallVector<Type> before(op->getResultTypes());
        refine(op);
        changed |= TypeRange(before) != op->getResultTypes();
      }
      if (!changed)
        break;
      // Only now do the operations in between see the casts.
      RewritePatternSet patterns(&getContext());
      for (Dialect *dialect : getContext().getLoadedDialects())
        dialect->getCanonicalizationPatterns(patterns);
      for (RegisteredOperationName name :
           getContext().getRegisteredOperations())
        if (isa<tensor::TensorDialect, linalg::LinalgDialect,
                arith::ArithDialect>(name.getDialect()))
          name.getCanonicalizationPatterns(patterns, &getContext());
      if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
        return signalPassFailure();
    }
    refineResults(getOperation());
  }
};

} // namespace

std::unique_ptr<Pass> marver::createRefineTypesPass() {
  return std::make_unique<RefineTypes>();
}
