//===- Simplify.cpp - Small rewrites that later passes rely on ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One form for one thing, before anything is recognized:
//  - named linalg operations and arith on tensors become linalg.generic;
//  - an operand of a generic that is one number becomes a scalar of its body
//      linalg.generic ins(%x, dense<6.0>) { ^bb0(%a, %b): minimumf %a, %b }
//      -> linalg.generic ins(%x) { ^bb0(%a): minimumf %a, 6.0 }
//  - a broadcast is read through the indexing map of the generic that reads it;
//    two transposes in a row are one;
//  - a swap of the last two dims before mv.matmul's rhs becomes transpose_rhs,
//    also when the batch dims are merged for it and split again;
//  - a scatter into a transposed tensor becomes one into that tensor (a cache
//    that is updated in place stays so);
//  - zero padding of spatial dims before mv.conv goes to its pads;
//  - a power with a small constant exponent becomes products or a square root;
//  - a slice of a slice is one slice; a gather at evenly spaced constant
//  positions
//    is a slice;
//  - a generic that yields its operand unchanged is that operand.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace marver;

/// The generic `op` with other inputs and maps, and the same body.
static linalg::GenericOp rebuild(PatternRewriter &rewriter,
                                 linalg::GenericOp op, ValueRange inputs,
                                 ArrayRef<AffineMap> maps) {
  auto result = linalg::GenericOp::create(
      rewriter, op.getLoc(), op.getResultTypes(), inputs, op.getOutputs(), maps,
      op.getIteratorTypesArray());
  result.getRegion().takeBody(op.getRegion());
  rewriter.replaceOp(op, result.getResults());
  return result;
}

/// A transpose that makes `value`: dim i of its result is dim `permutation[i]`
/// of its source.
struct Transposition {
  Value source;
  SmallVector<int64_t> permutation;
};

static std::optional<Transposition> transpositionOf(Value value) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic)
    return std::nullopt;
  std::optional<SmallVector<int64_t>> permutation = getPermutation(generic);
  if (!permutation)
    return std::nullopt;
  return Transposition{generic.getInputs()[0], std::move(*permutation)};
}

/// `x` with its dims in another order: dim i of the result is dim
/// `permutation[i]`.
static Value transposed(PatternRewriter &rewriter, Location loc, Value x,
                        ArrayRef<int64_t> permutation) {
  SmallVector<OpFoldResult> dims = tensor::getMixedSizes(rewriter, loc, x);
  applyPermutationToVector(dims, permutation);
  Value empty = tensor::EmptyOp::create(rewriter, loc, dims,
                                        getElementTypeOrSelf(x.getType()));
  int64_t rank = permutation.size();
  auto direct = linalg::GenericOp::create(
      rewriter, loc, TypeRange{empty.getType()}, ValueRange{x},
      ValueRange{empty},
      ArrayRef<AffineMap>{
          AffineMap::getPermutationMap(invertPermutationVector(permutation),
                                       rewriter.getContext()),
          rewriter.getMultiDimIdentityMap(rank)},
      SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
      [](OpBuilder &b, Location loc, ValueRange args) {
        linalg::YieldOp::create(b, loc, args[0]);
      });
  return direct.getResult(0);
}

namespace {

/// A constant operand whose elements are all equal.
struct InlineScalars : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::GenericOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics())
      return failure();
    Block *body = op.getBody();
    SmallVector<Value> inputs;
    SmallVector<AffineMap> maps;
    SmallVector<std::pair<BlockArgument, TypedAttr>> scalars;
    for (OpOperand *use : op.getDpsInputOperands()) {
      if (std::optional<TypedAttr> scalar = scalarOf(use->get())) {
        scalars.push_back({op.getMatchingBlockArgument(use), *scalar});
        continue;
      }
      inputs.push_back(use->get());
      maps.push_back(op.getMatchingIndexingMap(use));
    }
    for (OpOperand &init : op.getDpsInitsMutable())
      maps.push_back(op.getMatchingIndexingMap(&init));
    // Every loop must still be bounded by an operand.
    if (scalars.empty() ||
        !inversePermutation(concatAffineMaps(maps, op.getContext())))
      return failure();
    for (auto [argument, scalar] : scalars) {
      rewriter.setInsertionPointToStart(body);
      Value constant = arith::ConstantOp::create(rewriter, op.getLoc(), scalar);
      rewriter.replaceAllUsesWith(argument, constant);
    }
    for (auto [argument, scalar] : llvm::reverse(scalars))
      body->eraseArgument(argument.getArgNumber());
    rewriter.setInsertionPoint(op);
    rebuild(rewriter, op, inputs, maps);
    return success();
  }

  static std::optional<TypedAttr> scalarOf(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type) {
      TypedAttr attribute;
      if (matchPattern(value, m_Constant(&attribute)) &&
          isa<FloatAttr, IntegerAttr>(attribute))
        return attribute;
      return std::nullopt;
    }
    std::optional<ConstantData> data = getConstantData(value);
    if (!data || elementCount(type) == 0 ||
        !(data->isSplat || elementCount(type) == 1))
      return std::nullopt;
    Type element = type.getElementType();
    if (isa<FloatType>(element))
      return TypedAttr(FloatAttr::get(element, data->getFloat(0)));
    return TypedAttr(IntegerAttr::get(element, data->getInt(0)));
  }
};

/// Reads through broadcasts, and transposes through transposes.
struct FoldMoves : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::GenericOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics())
      return failure();
    SmallVector<Value> inputs(op.getInputs());
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    bool changed = false;
    for (unsigned i = 0; i < inputs.size(); ++i) {
      auto move = inputs[i].getDefiningOp<linalg::GenericOp>();
      if (!move || !isMove(move) || move->getBlock() != op->getBlock())
        continue;
      Value source = move.getInputs()[0];
      auto from = dyn_cast<RankedTensorType>(source.getType());
      auto to = cast<RankedTensorType>(inputs[i].getType());
      if (!from || from.getElementType() != to.getElementType())
        continue;
      AffineMap inner = move.getIndexingMapsArray()[0];
      // A transpose stays an operation of its own, which the layout looks for;
      // only two in a row become one.
      bool broadcasts = !inner.isPermutation();
      if (!broadcasts && !isMove(op))
        continue;
      SmallVector<AffineMap> candidate = maps;
      candidate[i] = inner.compose(maps[i]);
      // Loops must remain bounded by the operands that are left.
      if (!inversePermutation(concatAffineMaps(candidate, op.getContext())))
        continue;
      maps = std::move(candidate);
      inputs[i] = source;
      changed = true;
    }
    if (!changed)
      return failure();
    rebuild(rewriter, op, inputs, maps);
    return success();
  }
};

/// A generic that yields its operand unchanged.
struct RemoveIdentity : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::GenericOp op,
                                PatternRewriter &rewriter) const override {
    if (!isMove(op) || !op.getIndexingMapsArray()[0].isIdentity() ||
        op.getInputs()[0].getType() != op.getResult(0).getType())
      return failure();
    rewriter.replaceOp(op, op.getInputs()[0]);
    return success();
  }
};

/// Powers that have an operation of their own. As PyTorch computes them: square
/// roots also where pow would differ (-0, -inf).
struct SimplifyPower : OpRewritePattern<math::PowFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::PowFOp op,
                                PatternRewriter &rewriter) const override {
    FloatAttr exponent;
    if (!matchPattern(op.getRhs(), m_Constant(&exponent)))
      return failure();
    Location loc = op.getLoc();
    Value x = op.getLhs();
    double value = exponent.getValueAsDouble();
    if (value != 1 && value != 2 && value != 3 && value != -1 && value != 0.5 &&
        value != -0.5)
      return failure();
    if (value == 2 || value == 3) {
      Value square = arith::MulFOp::create(rewriter, loc, x, x);
      x = value == 2 ? square : arith::MulFOp::create(rewriter, loc, square, x);
    } else if (value == 0.5 || value == -0.5) {
      x = math::SqrtOp::create(rewriter, loc, x);
    }
    if (value < 0) {
      Value one = arith::ConstantOp::create(
          rewriter, loc, rewriter.getFloatAttr(x.getType(), 1.0));
      x = arith::DivFOp::create(rewriter, loc, one, x);
    }
    rewriter.replaceOp(op, x);
    return success();
  }
};

/// linalg.fill stays: it says what a reduction starts from.
struct Generalize : OpInterfaceRewritePattern<linalg::LinalgOp> {
  using OpInterfaceRewritePattern::OpInterfaceRewritePattern;

  LogicalResult matchAndRewrite(linalg::LinalgOp op,
                                PatternRewriter &rewriter) const override {
    if (isa<linalg::GenericOp, linalg::FillOp>(op))
      return failure();
    return linalg::generalizeNamedOp(rewriter, op);
  }
};

struct FoldTransposeIntoMatmul : OpRewritePattern<mv::MatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(mv::MatmulOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<Transposition> transpose = transpositionOf(op.getRhs());
    if (!transpose)
      return failure();
    SmallVector<int64_t> permutation = transpose->permutation;
    size_t rank = permutation.size();
    std::swap(permutation[rank - 1], permutation[rank - 2]);
    if (!isIdentityPermutation(permutation))
      return failure();
    rewriter.replaceOpWithNewOp<mv::MatmulOp>(
        op, op.getType(), op.getLhs(), transpose->source,
        op.getTransposeRhs() ? UnitAttr() : rewriter.getUnitAttr());
    return success();
  }
};

/// A swap of the last two dims between a merge and the same split of the dims
/// before them (exporters write the transpose of a batched matrix so).
struct TransposeUnmerged : OpRewritePattern<tensor::ExpandShapeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::ExpandShapeOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<Transposition> transpose = transpositionOf(op.getSrc());
    if (!transpose || transpose->permutation != SmallVector<int64_t>{0, 2, 1})
      return failure();
    auto merge = transpose->source.getDefiningOp<tensor::CollapseShapeOp>();
    if (!merge ||
        merge.getReassociationIndices() != op.getReassociationIndices())
      return failure();
    RankedTensorType from = merge.getSrcType(), to = op.getResultType();
    int64_t rank = from.getRank();
    // Only the first group has several dims, and they are the same on both
    // sides: static, or one dynamic one, which the others determine.
    if (to.getRank() != rank ||
        merge.getReassociationIndices().back().size() != 1)
      return failure();
    ArrayRef<int64_t> batch = from.getShape().drop_back(2);
    if (batch != to.getShape().drop_back(2) ||
        llvm::count_if(batch, ShapedType::isDynamic) > 1 ||
        merge.getReassociationIndices()[0].size() != batch.size())
      return failure();
    SmallVector<int64_t> order = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    std::swap(order[rank - 1], order[rank - 2]);
    Value direct = transposed(rewriter, op.getLoc(), merge.getSrc(), order);
    if (direct.getType() != to)
      direct = tensor::CastOp::create(rewriter, op.getLoc(), to, direct);
    rewriter.replaceOp(op, direct);
    return success();
  }
};

/// scatter(transpose(x)) is transpose(scatter(x)).
struct ScatterIntoTransposed : OpRewritePattern<mv::ScatterOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(mv::ScatterOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<Transposition> transpose = transpositionOf(op.getInput());
    if (!transpose || isIdentityPermutation(transpose->permutation))
      return failure();
    ArrayRef<int64_t> permutation = transpose->permutation;
    Location loc = op.getLoc();
    Value updates = transposed(rewriter, loc, op.getUpdates(),
                               invertPermutationVector(permutation));
    Value input = transpose->source;
    auto scatter = mv::ScatterOp::create(
        rewriter, loc, input.getType(), input, op.getIndices(), updates,
        permutation[op.getDim()], op.getKind());
    Value result = transposed(rewriter, loc, scatter.getResult(), permutation);
    if (result.getType() != op.getType())
      result = tensor::CastOp::create(rewriter, loc, op.getType(), result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// A gather at constant positions first, first + step, ... is a slice.
struct GatherToSlice : OpRewritePattern<mv::GatherOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(mv::GatherOp op,
                                PatternRewriter &rewriter) const override {
    auto type = cast<RankedTensorType>(op.getInput().getType());
    auto indexType = cast<RankedTensorType>(op.getIndices().getType());
    auto dim = static_cast<int64_t>(op.getDim());
    if (indexType.getRank() != 1 || type.isDynamicDim(dim))
      return failure();
    std::optional<SmallVector<int64_t>> indices =
        getConstantInts(op.getIndices());
    if (!indices || indices->empty())
      return failure();
    for (int64_t &index : *indices)
      index += index < 0 ? type.getDimSize(dim) : 0;
    int64_t first = (*indices)[0];
    int64_t step = indices->size() > 1 ? (*indices)[1] - first : 1;
    if (step < 1)
      return failure();
    for (auto [i, index] : llvm::enumerate(*indices))
      if (index != first + static_cast<int64_t>(i) * step || index < 0 ||
          index >= type.getDimSize(dim))
        return failure();
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(rewriter, op.getLoc(), op.getInput());
    SmallVector<OpFoldResult> offsets(sizes.size(), rewriter.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sizes.size(), rewriter.getIndexAttr(1));
    offsets[dim] = rewriter.getIndexAttr(first);
    sizes[dim] = rewriter.getIndexAttr(indexType.getDimSize(0));
    strides[dim] = rewriter.getIndexAttr(step);
    rewriter.replaceOpWithNewOp<tensor::ExtractSliceOp>(
        op, cast<RankedTensorType>(op.getType()), op.getInput(), offsets, sizes,
        strides);
    return success();
  }
};

struct FoldPadIntoConv : OpRewritePattern<mv::ConvOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(mv::ConvOp op,
                                PatternRewriter &rewriter) const override {
    auto pad = op.getInput().getDefiningOp<tensor::PadOp>();
    if (!pad)
      return failure();
    Value value = pad.getConstantPaddingValue();
    if (!value || !(matchPattern(value, m_AnyZeroFloat()) ||
                    matchPattern(value, m_Zero())))
      return failure();
    ArrayRef<int64_t> low = pad.getStaticLow(), high = pad.getStaticHigh();
    SmallVector<int64_t> pads(op.getPads());
    int64_t spatial = op.getSpatialRank();
    for (int64_t i = 0; i < spatial + 2; ++i) {
      // kDynamic is negative.
      if (low[i] < 0 || high[i] < 0 || (i < 2 && (low[i] || high[i])))
        return failure();
      if (i < 2)
        continue;
      pads[i - 2] += low[i];
      pads[spatial + i - 2] += high[i];
    }
    rewriter.modifyOpInPlace(op, [&] {
      op.setPads(pads);
      op.getInputMutable().assign(pad.getSource());
    });
    return success();
  }
};

struct SimplifyGraph : PassWrapper<SimplifyGraph, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SimplifyGraph)
  StringRef getArgument() const override { return "mv-simplify-graph"; }
  StringRef getDescription() const override {
    return "Bring elementwise operations, pads and slices to one form";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    linalg::populateElementwiseToLinalgConversionPatterns(patterns);
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    tensor::populateMergeConsecutiveInsertExtractSlicePatterns(patterns);
    patterns.add<Generalize, InlineScalars, FoldMoves, RemoveIdentity,
                 FoldTransposeIntoMatmul, FoldPadIntoConv, TransposeUnmerged,
                 ScatterIntoTransposed, SimplifyPower, GatherToSlice>(context);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> marver::createSimplifyGraphPass() {
  return std::make_unique<SimplifyGraph>();
}
