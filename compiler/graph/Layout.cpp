//===- Layout.cpp - The blocked activation layout -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Convolutions read and write N x C x S... as N x ceil(C/B) x S... x B, B being
// the target's f32 lanes (docs/architecture.md, "Layout"). This pass walks each
// function once, in order. A convolution with constant weights always has a
// blocked result; pools, resizes, elementwise operations, channel concats and
// slices, pads and spatial reductions follow when what they read is blocked
// already. So the layout spreads from the convolutions down to where something
// needs the plain order, and nothing is converted twice: every blocked value
// has at most one plain copy, made by linalg.unpack (or a reshape, where no
// element moves), and every plain value at most one blocked copy.
//
//   %c = mv.conv %x, %w bias %b {pads = [1, 1, 1, 1], ...}
//          : tensor<1x32x56x56xf32> ...
//   %r = linalg.generic ins(%c) { maximumf 0 }
// becomes
//   %p = tensor.pad %x_blocked low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
//   %c = mv.packed_conv %p, %w1 bias %b1 {in_channels = 32, ...}
//          : tensor<1x2x58x58x16xf32> ...
//   %r = linalg.generic ins(%c) { maximumf 0 }   // on tensor<1x4x56x56x16xf32>
//
// Lanes beyond C hold anything. Hence what mixes channels (a reduction over
// them, a softmax) or could trap on garbage (integer division, an indexed load)
// reads the plain value.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Evaluate.h"
#include "compiler/graph/Packing.h"
#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
using namespace marver;

using Dims = SmallVector<OpFoldResult>;

namespace {

class LayoutRewriter {
public:
  LayoutRewriter(func::FuncOp function, const TargetInfo &target, bool explain)
      : function(function), target(target), lanes(target.lanes),
        explain(explain), builder(function.getContext()) {}

  void run();

private:
  // Each returns true if it replaced the operation.
  bool rewrite(Operation *op);
  bool rewriteConv(mv::ConvOp op);
  bool rewritePool(mv::PoolOp op);
  bool rewriteResize(mv::ResizeOp op);
  bool rewriteGeneric(linalg::GenericOp op);
  bool rewriteTranspose(linalg::GenericOp op);
  Value channelsLast(Location loc, Value blocked, ArrayRef<int64_t> order,
                     int64_t channels);
  bool rewriteConcat(tensor::ConcatOp op);
  bool rewriteSlice(tensor::ExtractSliceOp op);
  bool rewritePad(tensor::PadOp op);
  bool rewriteReshape(Operation *op, ArrayRef<ReassociationIndices> groups,
                      bool collapses);

  Value makeDepthwise(mv::ConvOp op, const ConstantData &filter);
  Value makeDense(mv::ConvOp op, const ConstantData &filter);
  Value makeGrouped(mv::ConvOp op, const ConstantData &filter);
  Value paddedInput(mv::ConvOp op, bool blocked);
  Value makeBias(mv::ConvOp op, int64_t first, int64_t count);
  int64_t panelWidth(mv::ConvOp op, int64_t outputs, int64_t inputs,
                     bool inputBlocked);
  bool blockOperand(linalg::GenericOp op, OpOperand *use, Value &value,
                    AffineMap &map);

  Value startOf(Value init);
  bool isBlocked(Value value) const { return blockedOf.contains(value); }
  Value getBlocked(Value value);
  Value blockOf(Value value, int64_t dim);
  void setBlocked(Value plain, Value blocked);
  Value makePlain(Value blocked, RankedTensorType type);
  RankedTensorType blockedType(RankedTensorType type, int64_t dim = 1) const;
  Value zero(Type type);
  Value constant(Location loc, ElementsAttr value) {
    return arith::ConstantOp::create(builder, loc, value);
  }
  bool keep(Operation *op, const Twine &reason);

  func::FuncOp function;
  const TargetInfo &target;
  int64_t lanes;
  bool explain;
  OpBuilder builder;
  llvm::DenseMap<Value, Value> blockedOf; ///< plain value -> its blocked form
};

} // namespace

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

bool LayoutRewriter::keep(Operation *op, const Twine &reason) {
  if (explain)
    op->emitRemark() << "stays plain: " << reason;
  return false;
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

RankedTensorType LayoutRewriter::blockedType(RankedTensorType type,
                                             int64_t dim) const {
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = llvm::divideCeilSigned(shape[dim], lanes);
  shape.push_back(lanes);
  return RankedTensorType::get(shape, type.getElementType());
}

Value LayoutRewriter::zero(Type type) {
  return arith::ConstantOp::create(builder, builder.getUnknownLoc(),
                                   builder.getZeroAttr(type));
}

/// All dims after the channels are 1: blocked and plain hold the same bytes,
/// but for the tail.
static bool isVector(RankedTensorType type) {
  return llvm::all_of(type.getShape().drop_front(2),
                      [](int64_t size) { return size == 1; });
}

/// [0], [1 .. rank): the groups between N x (C ...) and N x C.
static SmallVector<ReassociationIndices> vectorGroups(int64_t rank) {
  SmallVector<ReassociationIndices> groups = {{0}, {}};
  for (int64_t i = 1; i < rank; ++i)
    groups[1].push_back(i);
  return groups;
}

Value LayoutRewriter::makePlain(Value blocked, RankedTensorType type) {
  Location loc = blocked.getLoc();
  int64_t rank = type.getRank();
  Dims dims = tensor::getMixedSizes(builder, loc, blocked);
  dims.pop_back();
  dims[1] = builder.getIndexAttr(type.getDimSize(1));
  if (type.getDimSize(1) % lanes == 0 && isVector(type)) {
    auto matrix = RankedTensorType::get(type.getShape().take_front(2),
                                        type.getElementType());
    Value flat = tensor::CollapseShapeOp::create(builder, loc, matrix, blocked,
                                                 vectorGroups(rank + 1));
    if (rank == 2)
      return flat;
    return tensor::ExpandShapeOp::create(builder, loc, type, flat,
                                         vectorGroups(rank), dims);
  }
  Value empty =
      tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
  return linalg::UnPackOp::create(
             builder, loc, blocked, empty, ArrayRef<int64_t>{1},
             ArrayRef<OpFoldResult>{builder.getIndexAttr(lanes)})
      .getResult();
}

/// `value` with dim `dim` in blocks, computed where the builder stands.
Value LayoutRewriter::blockOf(Value value, int64_t dim) {
  RankedTensorType type = typeOf(value);
  Location loc = value.getLoc();
  if (std::optional<ConstantData> data = getConstantData(value))
    return constant(loc, blockConstant(*data, dim, lanes));
  Dims dims = tensor::getMixedSizes(builder, loc, value);
  dims[dim] =
      builder.getIndexAttr(llvm::divideCeilSigned(type.getDimSize(dim), lanes));
  dims.push_back(builder.getIndexAttr(lanes));
  bool isWhole = type.getDimSize(dim) % lanes == 0;
  if (dim == 1 && isWhole && isVector(type)) {
    Value flat = value;
    int64_t rank = type.getRank();
    if (rank > 2)
      flat = tensor::CollapseShapeOp::create(
          builder, loc,
          RankedTensorType::get(type.getShape().take_front(2),
                                type.getElementType()),
          value, vectorGroups(rank));
    return tensor::ExpandShapeOp::create(builder, loc, blockedType(type), flat,
                                         vectorGroups(rank + 1), dims);
  }
  // Row-major tokens made channels-first: whole blocks move, no element leaves
  // its block.
  auto transpose = value.getDefiningOp<linalg::GenericOp>();
  std::optional<SmallVector<int64_t>> permutation;
  if (transpose && dim == 1 && isWhole && transpose->hasOneUse())
    permutation = getPermutation(transpose);
  if (permutation && (*permutation)[1] == type.getRank() - 1) {
    Value source = transpose.getInputs()[0];
    int64_t last = type.getRank() - 1;
    Dims split = tensor::getMixedSizes(builder, loc, source);
    split[last] = dims[1];
    split.push_back(dims.back());
    SmallVector<ReassociationIndices> groups;
    for (int64_t i = 0; i < last; ++i)
      groups.push_back({i});
    groups.push_back({last, last + 1});
    Value blocks = tensor::ExpandShapeOp::create(
        builder, loc, blockedType(typeOf(source), last), source, groups, split);
    AffineMap oldMap = transpose.getIndexingMapsArray()[0];
    SmallVector<AffineExpr> exprs(oldMap.getResults());
    exprs.push_back(builder.getAffineDimExpr(last + 1));
    unsigned loops = last + 2;
    Value empty =
        tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
    return linalg::GenericOp::create(
               builder, loc, TypeRange{empty.getType()}, ValueRange{blocks},
               ValueRange{empty},
               ArrayRef<AffineMap>{
                   AffineMap::get(loops, 0, exprs, builder.getContext()),
                   builder.getMultiDimIdentityMap(loops)},
               SmallVector<utils::IteratorType>(loops,
                                                utils::IteratorType::parallel),
               [](OpBuilder &b, Location loc, ValueRange args) {
                 linalg::YieldOp::create(b, loc, args[0]);
               })
        .getResult(0);
  }
  Value empty =
      tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
  std::optional<Value> padding;
  if (!isWhole)
    padding = zero(type.getElementType());
  return linalg::PackOp::create(
             builder, loc, value, empty, ArrayRef<int64_t>{dim},
             ArrayRef<OpFoldResult>{builder.getIndexAttr(lanes)}, padding)
      .getResult();
}

Value LayoutRewriter::getBlocked(Value value) {
  Value &blocked = blockedOf[value];
  if (!blocked) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    Value made = blockOf(value, 1);
    return blockedOf[value] = made;
  }
  return blocked;
}

/// `blocked` takes the place of `plain`: users that cannot read it so get one
/// conversion, which disappears if there are none.
void LayoutRewriter::setBlocked(Value plain, Value blocked) {
  Value copy = makePlain(blocked, typeOf(plain));
  plain.replaceAllUsesWith(copy);
  blockedOf[copy] = blocked;
}

//===----------------------------------------------------------------------===//
// Convolutions
//===----------------------------------------------------------------------===//

/// The input with its padding made explicit.
Value LayoutRewriter::paddedInput(mv::ConvOp op, bool blocked) {
  Value input = blocked ? getBlocked(op.getInput()) : op.getInput();
  ArrayRef<int64_t> pads = op.getPads();
  if (llvm::all_of(pads, [](int64_t pad) { return pad == 0; }))
    return input;
  int64_t rank = typeOf(input).getRank(), spatial = op.getSpatialRank();
  Dims low(rank, builder.getIndexAttr(0)), high = low;
  for (int64_t i = 0; i < spatial; ++i) {
    low[2 + i] = builder.getIndexAttr(pads[i]);
    high[2 + i] = builder.getIndexAttr(pads[spatial + i]);
  }
  Value value = zero(typeOf(input).getElementType());
  return tensor::PadOp::create(builder, op.getLoc(), Type(), input, low, high,
                               value);
}

/// Elements [first, first + count) of the bias as whole blocks.
Value LayoutRewriter::makeBias(mv::ConvOp op, int64_t first, int64_t count) {
  if (!op.getBias())
    return {};
  return constant(op.getBias().getLoc(),
                  padVector(*getConstantData(op.getBias()), first, count,
                            llvm::alignTo(count, lanes)));
}

int64_t LayoutRewriter::panelWidth(mv::ConvOp op, int64_t outputs,
                                   int64_t inputs, bool inputBlocked) {
  ArrayRef<int64_t> result = typeOf(op.getResult()).getShape();
  ArrayRef<int64_t> filter = typeOf(op.getFilter()).getShape();
  ContractionShape shape;
  shape.outputs = outputs;
  shape.reduction = inputs;
  for (int64_t taps : filter.drop_front(2))
    shape.reduction *= taps;
  shape.batch = result[0];
  shape.width = result.back();
  for (int64_t size : result.drop_front(2).drop_back())
    shape.rows =
        ShapedType::isDynamic(size) || ShapedType::isDynamic(shape.rows)
            ? ShapedType::kDynamic
            : shape.rows * size;
  shape.pixelStrideBytes =
      (inputBlocked ? lanes : 1) * 4 * op.getStrides().back();
  return choosePanelWidth(shape, target);
}

Value LayoutRewriter::makeDense(mv::ConvOp op, const ConstantData &filter) {
  ArrayRef<int64_t> shape = filter.type.getShape();
  int64_t outputs = shape[0], inputs = shape[1];
  // A first layer's few channels are read where they are: packing them would
  // move, and then read, B / C times the bytes.
  bool inputBlocked = isBlocked(op.getInput()) || inputs >= lanes;
  Value input = paddedInput(op, inputBlocked);
  int64_t width = panelWidth(op, outputs, inputs, inputBlocked);
  Value packed = constant(op.getFilter().getLoc(), packFilter(filter, width));
  if (explain)
    op.emitRemark() << "blocked: dense convolution, input "
                    << (inputBlocked ? "blocked" : "plain (few channels)")
                    << ", panels of " << width;
  return mv::PackedConvOp::create(
      builder, op.getLoc(), blockedType(typeOf(op.getResult())), input, packed,
      makeBias(op, 0, outputs), op.getStridesAttr(), op.getDilationsAttr(),
      builder.getI64IntegerAttr(inputs), builder.getI64IntegerAttr(outputs),
      inputBlocked ? builder.getUnitAttr() : UnitAttr());
}

Value LayoutRewriter::makeDepthwise(mv::ConvOp op, const ConstantData &filter) {
  Value input = paddedInput(op, /*blocked=*/true);
  Value packed =
      constant(op.getFilter().getLoc(), packDepthwiseFilter(filter, lanes));
  if (explain)
    op.emitRemark() << "blocked: depthwise convolution";
  return mv::DepthwiseConvOp::create(
      builder, op.getLoc(), blockedType(typeOf(op.getResult())), input, packed,
      makeBias(op, 0, filter.type.getDimSize(0)), op.getStridesAttr(),
      op.getDilationsAttr());
}

/// Groups are joined until their channels are whole blocks; the joined weights
/// are block-diagonal. Null if that would be more work than it saves.
Value LayoutRewriter::makeGrouped(mv::ConvOp op, const ConstantData &filter) {
  auto groups = static_cast<int64_t>(op.getGroups());
  ArrayRef<int64_t> shape = filter.type.getShape();
  int64_t groupOutputs = shape[0] / groups, groupInputs = shape[1];
  int64_t joined = std::lcm(lanes / std::gcd(groupInputs, lanes),
                            lanes / std::gcd(groupOutputs, lanes));
  // One dense convolution over all groups needs no whole blocks.
  constexpr int64_t maxDenseGroups = 16, maxConvolutions = 64;
  if (groups % joined != 0 && groups <= maxDenseGroups)
    joined = groups;
  if (groups % joined != 0 || groups / joined > maxConvolutions)
    return {};

  int64_t inputs = joined * groupInputs, outputs = joined * groupOutputs;
  Value input = paddedInput(op, /*blocked=*/true);
  int64_t width = panelWidth(op, outputs, inputs, true);
  SmallVector<Value> parts;
  for (int64_t first = 0; first < groups; first += joined) {
    Value part = input;
    if (joined != groups) {
      Dims sizes = tensor::getMixedSizes(builder, op.getLoc(), input);
      Dims offsets(sizes.size(), builder.getIndexAttr(0));
      Dims strides(sizes.size(), builder.getIndexAttr(1));
      offsets[1] = builder.getIndexAttr(first * groupInputs / lanes);
      sizes[1] = builder.getIndexAttr(inputs / lanes);
      part = tensor::ExtractSliceOp::create(builder, op.getLoc(), input,
                                            offsets, sizes, strides);
    }
    Value packed = constant(op.getFilter().getLoc(),
                            packGroupedFilter(filter, first * groupOutputs,
                                              joined, groupOutputs, width));
    SmallVector<int64_t> result(typeOf(op.getResult()).getShape());
    result[1] = outputs;
    auto type = RankedTensorType::get(result, filter.type.getElementType());
    parts.push_back(mv::PackedConvOp::create(
        builder, op.getLoc(), blockedType(type), part, packed,
        makeBias(op, first * groupOutputs, outputs), op.getStridesAttr(),
        op.getDilationsAttr(), builder.getI64IntegerAttr(inputs),
        builder.getI64IntegerAttr(outputs), builder.getUnitAttr()));
  }
  if (explain)
    op.emitRemark() << "blocked: " << groups << " groups as " << parts.size()
                    << " dense convolutions";
  if (parts.size() == 1)
    return parts[0];
  return tensor::ConcatOp::create(builder, op.getLoc(),
                                  blockedType(typeOf(op.getResult())),
                                  /*dim=*/1, parts);
}

bool LayoutRewriter::rewriteConv(mv::ConvOp op) {
  RankedTensorType inType = typeOf(op.getInput());
  if (!hasVectorContraction(inType.getElementType()) ||
      typeOf(op.getFilter()).getElementType() != inType.getElementType() ||
      typeOf(op.getResult()).getElementType() != inType.getElementType())
    return keep(op, "no vector kernels for this element type");
  std::optional<ConstantData> filter = getConstantData(op.getFilter());
  if (!filter || (op.getBias() && !getConstantData(op.getBias())))
    return keep(op, "weights are not constant");
  if (inType.isDynamicDim(1) || filter->type.getNumElements() == 0)
    return keep(op, "the number of channels is not known");
  ArrayRef<int64_t> shape = filter->type.getShape();
  auto groups = static_cast<int64_t>(op.getGroups());
  Value result;
  if (groups == 1)
    result = makeDense(op, *filter);
  else if (groups == inType.getDimSize(1) && groups == shape[0])
    result = makeDepthwise(op, *filter);
  else
    result = makeGrouped(op, *filter);
  if (!result)
    return keep(op, "its groups do not make whole blocks of channels");
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

bool LayoutRewriter::rewritePool(mv::PoolOp op) {
  if (!isBlocked(op.getInput()))
    return keep(op, "its input is plain");
  auto result = mv::PoolOp::create(
      builder, op.getLoc(), blockedType(typeOf(op.getResult())),
      getBlocked(op.getInput()), op.getKindAttr(), op.getWindowAttr(),
      op.getStridesAttr(), op.getDilationsAttr(), op.getPadsAttr(),
      op.getCountIncludePadAttr(), builder.getUnitAttr());
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

bool LayoutRewriter::rewriteResize(mv::ResizeOp op) {
  if (!isBlocked(op.getInput()))
    return keep(op, "its input is plain");
  auto result = mv::ResizeOp::create(
      builder, op.getLoc(), blockedType(typeOf(op.getResult())),
      getBlocked(op.getInput()), op.getSizes(), op.getModeAttr(),
      op.getStepsAttr(), op.getOffsetsAttr(), op.getShiftsAttr(),
      op.getNearestBiasAttr(), builder.getUnitAttr());
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

//===----------------------------------------------------------------------===//
// Elementwise operations and reductions
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

bool LayoutRewriter::rewriteConcat(tensor::ConcatOp op) {
  RankedTensorType type = op.getResultType();
  if (type.getRank() < 3 || type.isDynamicDim(1))
    return false;
  int64_t blocked = 0, plain = 0;
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    int64_t channels = typeOf(input).getDimSize(1);
    if (ShapedType::isDynamic(channels))
      return false;
    (isBlocked(input) ? blocked : plain) += channels;
    // The last part's tail is the tail of the whole.
    if (op.getDim() == 1 && channels % lanes != 0 &&
        i + 1 != op.getInputs().size())
      return keep(op, "its parts are not whole blocks of channels");
  }
  if (blocked <= plain)
    return keep(op, "most of what it reads is plain");
  SmallVector<Value> parts;
  for (Value input : op.getInputs())
    parts.push_back(getBlocked(input));
  auto result = tensor::ConcatOp::create(builder, op.getLoc(),
                                         blockedType(type), op.getDim(), parts);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

bool LayoutRewriter::rewriteSlice(tensor::ExtractSliceOp op) {
  RankedTensorType type = op.getType(), source = op.getSourceType();
  if (!isBlocked(op.getSource()) || type.getRank() != source.getRank())
    return false;
  Dims offsets = op.getMixedOffsets(), sizes = op.getMixedSizes(),
       strides = op.getMixedStrides();
  std::optional<int64_t> offset = getConstantIntValue(offsets[1]);
  std::optional<int64_t> size = getConstantIntValue(sizes[1]);
  if (!offset || !size || *offset % lanes != 0 ||
      (getConstantIntValue(strides[1]) != 1 && *size != 1))
    return keep(op, "it does not start at a block of channels");
  offsets[1] = builder.getIndexAttr(*offset / lanes);
  sizes[1] = builder.getIndexAttr(llvm::divideCeilSigned(*size, lanes));
  strides[1] = builder.getIndexAttr(1);
  offsets.push_back(builder.getIndexAttr(0));
  sizes.push_back(builder.getIndexAttr(lanes));
  strides.push_back(builder.getIndexAttr(1));
  auto result = tensor::ExtractSliceOp::create(
      builder, op.getLoc(), blockedType(type), getBlocked(op.getSource()),
      offsets, sizes, strides);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

bool LayoutRewriter::rewritePad(tensor::PadOp op) {
  if (!isBlocked(op.getSource()))
    return false;
  Value value = op.getConstantPaddingValue();
  Dims low = op.getMixedLowPad(), high = op.getMixedHighPad();
  if (!value || getConstantIntValue(low[1]) != 0 ||
      getConstantIntValue(high[1]) != 0)
    return keep(op, "it pads channels");
  low.push_back(builder.getIndexAttr(0));
  high.push_back(builder.getIndexAttr(0));
  auto result = tensor::PadOp::create(
      builder, op.getLoc(), blockedType(op.getResultType()),
      getBlocked(op.getSource()), low, high, value);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

/// expand_shape and collapse_shape that leave N and C where they are: only
/// spatial dims are split, merged, added or dropped. `groups` are those of the
/// side with more dims.
bool LayoutRewriter::rewriteReshape(Operation *op,
                                    ArrayRef<ReassociationIndices> groups,
                                    bool collapses) {
  Value source = op->getOperand(0), plain = op->getResult(0);
  if (!isBlocked(source) || typeOf(plain).getRank() < 2 ||
      typeOf(source).getRank() < 2)
    return false;
  RankedTensorType large = typeOf(collapses ? source : plain);
  if (groups.size() < 2 || groups[0].size() != 1 || groups[1][0] != 1)
    return keep(op, "it splits or merges channels");
  for (int64_t dim : ArrayRef(groups[1]).drop_front())
    if (large.getDimSize(dim) != 1)
      return keep(op, "it merges channels with other dims");
  SmallVector<ReassociationIndices> blockedGroups(groups);
  blockedGroups.push_back({large.getRank()});
  RankedTensorType type = blockedType(typeOf(plain));
  Value result;
  if (collapses) {
    result = tensor::CollapseShapeOp::create(builder, op->getLoc(), type,
                                             getBlocked(source), blockedGroups);
  } else {
    Dims dims = cast<tensor::ExpandShapeOp>(op).getMixedOutputShape();
    dims[1] = builder.getIndexAttr(type.getDimSize(1));
    dims.push_back(builder.getIndexAttr(lanes));
    result = tensor::ExpandShapeOp::create(
        builder, op->getLoc(), type, getBlocked(source), blockedGroups, dims);
  }
  setBlocked(plain, result);
  op->erase();
  return true;
}

//===----------------------------------------------------------------------===//
// The walk
//===----------------------------------------------------------------------===//

bool LayoutRewriter::rewrite(Operation *op) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](mv::ConvOp conv) { return rewriteConv(conv); })
      .Case([&](mv::PoolOp pool) { return rewritePool(pool); })
      .Case([&](mv::ResizeOp resize) { return rewriteResize(resize); })
      .Case([&](linalg::GenericOp generic) { return rewriteGeneric(generic); })
      .Case([&](tensor::ConcatOp concat) { return rewriteConcat(concat); })
      .Case([&](tensor::ExtractSliceOp slice) { return rewriteSlice(slice); })
      .Case([&](tensor::PadOp pad) { return rewritePad(pad); })
      .Case([&](tensor::ExpandShapeOp reshape) {
        return rewriteReshape(op, reshape.getReassociationIndices(), false);
      })
      .Case([&](tensor::CollapseShapeOp reshape) {
        return rewriteReshape(op, reshape.getReassociationIndices(), true);
      })
      .Default([](Operation *) { return false; });
}

void LayoutRewriter::run() {
  SmallVector<Operation *> ops;
  function.walk<WalkOrder::PreOrder>([&](Operation *op) {
    ops.push_back(op);
    return isa<linalg::LinalgOp>(op) ? WalkResult::skip()
                                     : WalkResult::advance();
  });
  for (Operation *op : ops) {
    builder.setInsertionPoint(op);
    rewrite(op);
  }
}

namespace {

struct Layout : PassWrapper<Layout, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Layout)
  Layout() = default;
  Layout(const Layout &other) : PassWrapper(other) { target = other.target; }
  Layout(const TargetInfo &info, bool explainIt) : target(info) {
    explain = explainIt;
  }

  StringRef getArgument() const override { return "mv-layout"; }
  StringRef getDescription() const override {
    return "Choose the blocked layout and pack convolution weights";
  }

  Option<int64_t> lanes{*this, "lanes", llvm::cl::init(0),
                        llvm::cl::desc("f32 values in a vector register")};
  Option<bool> explain{*this, "explain", llvm::cl::init(false),
                       llvm::cl::desc("say why a value is blocked or is not")};

  void runOnOperation() override {
    if (lanes > 0)
      target.lanes = lanes;
    LayoutRewriter(getOperation(), target, explain).run();
  }

  TargetInfo target;
};

} // namespace

std::unique_ptr<Pass> marver::createLayoutPass(const TargetInfo &target,
                                               bool explain) {
  return std::make_unique<Layout>(target, explain);
}
