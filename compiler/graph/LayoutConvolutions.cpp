//===- LayoutConvolutions.cpp - Blocked convolutions and windows ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/LayoutRewriter.h"
#include "compiler/graph/Packing.h"
#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/Schedule.h"
#include <numeric>

using namespace mlir;
using namespace marver;

using Dims = SmallVector<OpFoldResult>;

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
  shape.reduction = llvm::divideCeilSigned(
      inputs, reductionGroup(typeOf(op.getInput()).getElementType()));
  for (int64_t taps : filter.drop_front(2))
    shape.reduction *= taps;
  shape.batch = result[0];
  shape.width = result.back();
  for (int64_t size : result.drop_front(2).drop_back())
    shape.rows =
        ShapedType::isDynamic(size) || ShapedType::isDynamic(shape.rows)
            ? ShapedType::kDynamic
            : shape.rows * size;
  shape.pixelStrideBytes = (inputBlocked ? lanes : 1) * op.getStrides().back() *
                           elementBytes(typeOf(op.getInput()).getElementType());
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
  ElementsAttr panels = packFilter(filter, width);
  if (int64_t group = reductionGroup(typeOf(input).getElementType()); group > 1)
    panels = groupPacked(*getConstantData(panels), group);
  Value packed = constant(op.getFilter().getLoc(), panels);
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
  Type element = inType.getElementType();
  Type resultElement = typeOf(op.getResult()).getElementType();
  const bool isQuantized = element.isInteger(8) &&
                           resultElement.isInteger(32) && op.getGroups() == 1 &&
                           inType.getDimSize(1) >= lanes;
  if ((!isQuantized &&
       (!hasVectorContraction(element) || resultElement != element)) ||
      typeOf(op.getFilter()).getElementType() != element)
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
