//===- LayoutGeneric.cpp - Blocked elementwise ops and reductions ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/LayoutRewriter.h"
#include "compiler/graph/Pointwise.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

using Dims = SmallVector<OpFoldResult>;

/// Operations whose result on garbage is garbage and nothing worse.
static bool isHarmlessOnGarbage(Block *body) {
  return llvm::all_of(body->getOperations(), [](Operation &op) {
    return op.getNumRegions() == 0 &&
           !isa<tensor::ExtractOp, arith::DivSIOp, arith::DivUIOp,
                arith::RemSIOp, arith::RemUIOp, arith::FloorDivSIOp,
                arith::CeilDivSIOp, arith::CeilDivUIOp>(op) &&
           (isPure(&op) || isa<linalg::YieldOp>(op));
  });
}

/// The number that a reduction starts from, or null.
Value LayoutRewriter::startOf(Value init) {
  if (auto fill = init.getDefiningOp<linalg::FillOp>())
    return fill.getInputs()[0];
  DenseElementsAttr splat;
  if (!matchPattern(init, m_Constant(&splat)) || !splat.isSplat())
    return {};
  return arith::ConstantOp::create(
      builder, init.getLoc(),
      cast<TypedAttr>(splat.getSplatValue<Attribute>()));
}

/// The operand as a generic on blocked loops (the old ones, the second of them
/// counting blocks, and the lane) reads it. False if it cannot.
bool LayoutRewriter::blockOperand(linalg::GenericOp op, OpOperand *use,
                                  Value &value, AffineMap &map) {
  unsigned loops = op.getNumLoops();
  AffineMap old = op.getMatchingIndexingMap(use);
  SmallVector<AffineExpr> exprs(old.getResults());
  value = use->get();
  bool usable;
  std::optional<unsigned> position = findDim(old, 1, usable);
  if (!usable)
    return false;
  if (position) {
    value = *position == 1 && typeOf(value).getRank() >= 2
                ? getBlocked(value)
                : blockOf(value, *position);
    exprs.push_back(builder.getAffineDimExpr(loops));
  }
  map = AffineMap::get(loops + 1, 0, exprs, builder.getContext());
  return true;
}

/// `blocked` (N x Cb x S... x B, C channels) in row-major order of
/// N x `order of S` x C: whole blocks move, and no unpacking is needed.
///   N x Cb x T x B -> N x T x Cb x B -> N x T x (Cb * B) -> N x T x C
/// `order` lists the dims of the result but for the last, as dims of blocked.
Value LayoutRewriter::channelsLast(Location loc, Value blocked,
                                   ArrayRef<int64_t> order, int64_t channels) {
  Dims from = tensor::getMixedSizes(builder, loc, blocked), dims;
  int64_t last = order.size();
  SmallVector<AffineExpr> exprs(from.size());
  SmallVector<ReassociationIndices> groups;
  for (auto [i, dim] : llvm::enumerate(order)) {
    dims.push_back(from[dim]);
    exprs[dim] = builder.getAffineDimExpr(i);
    groups.push_back({static_cast<int64_t>(i)});
  }
  dims.append({from[1], from.back()});
  exprs[1] = builder.getAffineDimExpr(last);
  exprs[last + 1] = builder.getAffineDimExpr(last + 1);
  groups.push_back({last, last + 1});
  Value empty = tensor::EmptyOp::create(builder, loc, dims,
                                        typeOf(blocked).getElementType());
  unsigned loops = last + 2;
  Value moved = linalg::GenericOp::create(
                    builder, loc, TypeRange{empty.getType()},
                    ValueRange{blocked}, ValueRange{empty},
                    ArrayRef<AffineMap>{
                        AffineMap::get(loops, 0, exprs, builder.getContext()),
                        builder.getMultiDimIdentityMap(loops)},
                    SmallVector<utils::IteratorType>(
                        loops, utils::IteratorType::parallel),
                    [](OpBuilder &b, Location loc, ValueRange args) {
                      linalg::YieldOp::create(b, loc, args[0]);
                    })
                    .getResult(0);
  Value rows = tensor::CollapseShapeOp::create(builder, loc, moved, groups);
  if (typeOf(rows).getDimSize(last) == channels)
    return rows;
  Dims sizes = tensor::getMixedSizes(builder, loc, rows);
  sizes[last] = builder.getIndexAttr(channels);
  Dims offsets(sizes.size(), builder.getIndexAttr(0));
  Dims strides(sizes.size(), builder.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(builder, loc, rows, offsets, sizes,
                                        strides);
}

/// Permutations that bring the channels of a blocked value last; also of a
/// channel concat of blocked values that is plain because its parts are not
/// whole blocks: then the parts move, each to its place in the result, possibly
/// with their spatial dims merged in between.
bool LayoutRewriter::rewriteTranspose(linalg::GenericOp op) {
  std::optional<SmallVector<int64_t>> permutation = getPermutation(op);
  RankedTensorType type = typeOf(op.getResult(0));
  int64_t last = type.getRank() - 1;
  if (!permutation || last < 2 || (*permutation)[last] != 1 ||
      type.isDynamicDim(last))
    return false;
  Location loc = op.getLoc();
  ArrayRef<int64_t> order = ArrayRef(*permutation).drop_back();
  Value input = op.getInputs()[0], result;
  if (isBlocked(input)) {
    result = channelsLast(loc, getBlocked(input), order, type.getDimSize(last));
  } else {
    auto merge = input.getDefiningOp<tensor::CollapseShapeOp>();
    if (merge && (!merge->hasOneUse() ||
                  merge.getReassociationIndices()[0].size() != 1 ||
                  merge.getReassociationIndices()[1].size() != 1))
      return false;
    auto concat =
        (merge ? merge.getSrc() : input).getDefiningOp<tensor::ConcatOp>();
    if (!concat || concat.getDim() != 1 || !concat->hasOneUse() ||
        !llvm::all_of(concat.getInputs(),
                      [&](Value part) { return isBlocked(part); }))
      return false;
    SmallVector<Value> parts;
    for (Value part : concat.getInputs()) {
      Value blocked = getBlocked(part);
      if (merge) {
        SmallVector<ReassociationIndices> groups =
            merge.getReassociationIndices();
        groups.push_back({typeOf(part).getRank()});
        blocked =
            tensor::CollapseShapeOp::create(builder, loc, blocked, groups);
      }
      parts.push_back(
          channelsLast(loc, blocked, order, typeOf(part).getDimSize(1)));
    }
    result = tensor::ConcatOp::create(builder, loc, type, last, parts);
  }
  if (result.getType() != type)
    result = tensor::CastOp::create(builder, loc, type, result);
  op.getResult(0).replaceAllUsesWith(result);
  op.erase();
  return true;
}

/// Elementwise operations and reductions over spatial dims.
bool LayoutRewriter::rewriteGeneric(linalg::GenericOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumLoops() < 2 ||
      op.getNumDpsInits() == 0)
    return false;
  if (rewriteTranspose(op))
    return true;
  unsigned loops = op.getNumLoops();
  bool reduces = op.getNumReductionLoops() != 0;
  if (!reduces && !isPointwise(op))
    return false;
  if (!linalg::isParallelIterator(op.getIteratorTypesArray()[1]))
    return keep(op, "it mixes channels");

  // Channels are dim 1 of every result, and what is read along them is blocked.
  for (OpOperand &init : op.getDpsInitsMutable()) {
    bool usable;
    std::optional<unsigned> position =
        findDim(op.getMatchingIndexingMap(&init), 1, usable);
    auto type = dyn_cast<RankedTensorType>(init.get().getType());
    if (!usable || position != 1u || !type || type.isDynamicDim(1))
      return false;
    if (reduces && !startOf(init.get()))
      return keep(op, "its start is not one number");
  }
  bool hasAnchor = false;
  for (OpOperand *use : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(use);
    bool usable;
    std::optional<unsigned> position = findDim(map, 1, usable);
    if (!usable)
      return false;
    if (!position)
      continue;
    auto type = dyn_cast<RankedTensorType>(use->get().getType());
    if (!type || type.isDynamicDim(*position))
      return false;
    // What decides is a blocked operand that is as large as the loops.
    if (position == 1u && isBlocked(use->get()) &&
        (map.isPermutation() || isVector(typeOf(op.getResult(0)))))
      hasAnchor = true;
  }
  if (!hasAnchor)
    return false;
  if (!isHarmlessOnGarbage(op.getBody()))
    return keep(op, "what it computes could trap beyond the last channel");

  SmallVector<Value> inputs, inits;
  SmallVector<AffineMap> maps;
  for (OpOperand *use : op.getDpsInputOperands()) {
    Value value;
    AffineMap map;
    if (!blockOperand(op, use, value, map))
      return false;
    inputs.push_back(value);
    maps.push_back(map);
  }
  Location loc = op.getLoc();
  for (OpOperand &init : op.getDpsInitsMutable()) {
    RankedTensorType type = typeOf(init.get());
    Dims dims = tensor::getMixedSizes(builder, loc, init.get());
    dims[1] =
        builder.getIndexAttr(llvm::divideCeilSigned(type.getDimSize(1), lanes));
    dims.push_back(builder.getIndexAttr(lanes));
    Value value =
        tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
    if (reduces)
      value = linalg::FillOp::create(builder, loc, startOf(init.get()), value)
                  .getResult(0);
    inits.push_back(value);
    SmallVector<AffineExpr> exprs(
        op.getMatchingIndexingMap(&init).getResults());
    exprs.push_back(builder.getAffineDimExpr(loops));
    maps.push_back(AffineMap::get(loops + 1, 0, exprs, builder.getContext()));
  }
  SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
  iterators.push_back(utils::IteratorType::parallel);
  auto blocked =
      linalg::GenericOp::create(builder, loc, ValueRange(inits).getTypes(),
                                inputs, inits, maps, iterators);
  blocked.getRegion().takeBody(op.getRegion());
  SmallVector<linalg::IndexOp> indices;
  blocked.getBody()->walk([&](linalg::IndexOp index) {
    if (index.getDim() == 1)
      indices.push_back(index);
  });
  for (linalg::IndexOp index : indices) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfter(index);
    Value lane = linalg::IndexOp::create(builder, loc, loops);
    Value size = arith::ConstantIndexOp::create(builder, loc, lanes);
    Value first = arith::MulIOp::create(builder, loc, index, size);
    Value channel = arith::AddIOp::create(builder, loc, first, lane);
    index.getResult().replaceAllUsesExcept(channel, first.getDefiningOp());
  }
  for (auto [plain, result] :
       llvm::zip_equal(op.getResults(), blocked.getResults()))
    setBlocked(plain, result);
  op.erase();
  return true;
}
