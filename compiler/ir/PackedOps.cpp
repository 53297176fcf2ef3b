//===- PackedOps.cpp - Operations on packed weights -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Verification and shapes of the convolutions and products that the graph stage
// has packed: PackedConvOp, Winograd's two, DepthwiseConvOp, PackedMatmulOp.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/OpShapes.h"
#include "compiler/ir/PackedWeights.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace marver::mv;

/// Lanes of a blocked tensor: its last dim.
static int64_t lanesOf(Value blocked) { return shapeOf(blocked).back(); }

/// Element types of a contraction with packed weights, and the groups of its
/// reduction.
static LogicalResult verifyPacked(Operation *op, int64_t group,
                                  RankedTensorType weights) {
  Type element = weights.getElementType();
  Type input =
      cast<RankedTensorType>(op->getOperand(0).getType()).getElementType();
  Type result =
      cast<RankedTensorType>(op->getResult(0).getType()).getElementType();
  if (group == 1)
    return success();
  if (element != input || (group == 2 && !result.isF32()) ||
      (group == 4 && !result.isInteger(32)))
    return op->emitOpError("multiplies bf16 to f32 or i8 to i32, not ")
           << input << " and " << element << " to " << result;
  if (weights.getShape().back() != group)
    return op->emitOpError("weights must be in groups of ") << group;
  return success();
}

LogicalResult PackedConvOp::verify() {
  int64_t spatial = getSpatialRank(), group = reductionGroup(*this);
  ArrayRef<int64_t> in = shapeOf(getInput()), filter = shapeOf(getFilter());
  if (static_cast<int64_t>(filter.size()) != spatial + 3 + (group > 1))
    return emitOpError("filter must be panel x taps x channel x lane");
  if (failed(verifyPacked(*this, group,
                          cast<RankedTensorType>(getFilter().getType()))))
    return failure();
  if (group > 1 && (!getInputBlocked() || lanesOf(getInput()) % group))
    return emitOpError("groups of channels need a blocked input");
  if (failed(verifyWindow(*this, spatial, filter.slice(1, spatial),
                          getStrides(), getDilations())))
    return failure();
  if (rankOf(getResult()) != spatial + 3)
    return emitOpError("result must be blocked");
  int64_t lanes = lanesOf(getResult());
  int64_t inChannels = getInChannels(), outChannels = getOutChannels();
  if (filter[spatial + 1] != llvm::divideCeilSigned(inChannels, group))
    return emitOpError("filter holds ")
           << filter[spatial + 1] * group << " channels, not " << inChannels;
  if (panelWidth(*this) % lanes)
    return emitOpError("panels must be whole blocks of ") << lanes;
  if (filter[0] * panelWidth(*this) < outChannels)
    return emitOpError("panels hold too few outputs");
  int64_t wantChannels = getInputBlocked()
                             ? llvm::divideCeil(inChannels, lanesOf(getInput()))
                             : inChannels;
  if (differs(in[1], wantChannels))
    return emitOpError("input has ")
           << in[1] << " channel blocks, must have " << wantChannels;
  int64_t blocks = llvm::divideCeil(outChannels, lanes);
  if (getBias() && (rankOf(getBias()) != 1 ||
                    differs(shapeOf(getBias())[0], blocks * lanes)))
    return emitOpError("bias must have whole blocks of elements");
  SmallVector<int64_t> expected = {in[0], blocks};
  for (int64_t i = 0; i < spatial; ++i)
    expected.push_back(windowDim(in[2 + i], 0, filter[1 + i], getDilations()[i],
                                 getStrides()[i]));
  expected.push_back(lanes);
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
PackedConvOp::reifyResultShapes(OpBuilder &b,
                                ReifiedRankedShapedTypeDims &reified) {
  int64_t spatial = getSpatialRank();
  Dims in = dimsOf(b, getLoc(), getInput());
  ArrayRef<int64_t> filter = shapeOf(getFilter());
  Dims dims = {in[0], b.getIndexAttr(shapeOf(getResult())[1])};
  for (int64_t i = 0; i < spatial; ++i)
    dims.push_back(windowDim(b, getLoc(), in[2 + i], 0, filter[1 + i],
                             getDilations()[i], getStrides()[i]));
  dims.push_back(b.getIndexAttr(lanesOf(getResult())));
  setDims(b, getResult(), dims, reified);
  return success();
}

namespace {
/// Dims of transformed weights. There are as many products along a dim as
/// inputs that its outputs read; those of phases of equal length are added up
/// as those of channels are.
struct WinogradDims {
  int64_t positions, channels;

  WinogradDims(int64_t spatial, int64_t outputs, int64_t window, int64_t stride,
               int64_t inChannels)
      : channels(inChannels) {
    int64_t inputs = (outputs - 1) * stride + window;
    int64_t phases = window % stride ? 1 : stride;
    positions = inputs / phases;
    channels *= phases;
    if (spatial == 2) {
      positions *= positions;
      channels *= phases;
    }
  }
};
} // namespace

static LogicalResult verifyWinograd(Operation *op, int64_t spatial,
                                    int64_t outputs, int64_t window,
                                    int64_t stride) {
  if (spatial != 1 && spatial != 2)
    return op->emitOpError("needs one or two spatial dims");
  if (outputs < 1 || stride < 1 || window < stride)
    return op->emitOpError("needs outputs, a stride and a window at least as "
                           "large");
  // As many points of interpolation as are known.
  if (outputs + llvm::divideCeil(window, stride) > 8)
    return op->emitOpError("has no algorithm for so many outputs");
  return success();
}

LogicalResult WinogradFilterOp::verify() {
  int64_t spatial = getSpatialRank();
  ArrayRef<int64_t> filter = shapeOf(getFilter()),
                    result = shapeOf(getResult());
  if (failed(
          verifyWinograd(*this, spatial, getOutputs(), filter[1], getStride())))
    return failure();
  if (spatial == 2 && filter[1] != filter[2])
    return emitOpError("needs equal window dims");
  if (result.size() != 4)
    return emitOpError("result must be panel x position x channel x lane");
  WinogradDims dims(spatial, getOutputs(), filter[1], getStride(),
                    filter[spatial + 1]);
  return verifyShape(*this, getResult(),
                     {result[0], dims.positions, dims.channels, result[3]});
}

LogicalResult
WinogradFilterOp::reifyResultShapes(OpBuilder &b,
                                    ReifiedRankedShapedTypeDims &reified) {
  Dims dims;
  for (int64_t size : shapeOf(getResult()))
    dims.push_back(b.getIndexAttr(size));
  reified.push_back(dims);
  return success();
}

LogicalResult WinogradConvOp::verify() {
  int64_t spatial = getSpatialRank();
  ArrayRef<int64_t> in = shapeOf(getInput()), filter = shapeOf(getFilter());
  if (failed(verifyWinograd(*this, spatial, getOutputs(), getWindow(),
                            getStride())))
    return failure();
  if (filter.size() != 4 || rankOf(getResult()) != spatial + 3)
    return emitOpError("filter must be panel x position x channel x lane and "
                       "the result blocked");
  int64_t lanes = lanesOf(getResult());
  // Blocks of one channel: vectors run along the rows.
  if (lanesOf(getInput()) == 1 && lanes > 1) {
    int64_t apart = getOutputs() * getStride();
    int64_t shared = getWindow() - getStride();
    if (spatial != 2 || getWindow() % getStride() ||
        !llvm::isPowerOf2_64(apart) || shared > std::min(apart, lanes))
      return emitOpError("blocks of one channel need two spatial dims, phases "
                         "of equal length, and tiles that are a power of two "
                         "apart and share no more than that");
  }
  WinogradDims dims(spatial, getOutputs(), getWindow(), getStride(),
                    getInChannels());
  if (filter[1] != dims.positions || filter[2] != dims.channels)
    return emitOpError("filter is of another algorithm or has other channels");
  if (filter[3] % lanes ||
      filter[0] * filter[3] < static_cast<int64_t>(getOutChannels()))
    return emitOpError("panels must be whole blocks that hold all outputs");
  if (differs(in[1], llvm::divideCeil(getInChannels(), lanesOf(getInput()))))
    return emitOpError("input has ") << in[1] << " channel blocks";
  int64_t blocks = llvm::divideCeil(getOutChannels(), lanes);
  if (getBias() && (rankOf(getBias()) != 1 ||
                    differs(shapeOf(getBias())[0], blocks * lanes)))
    return emitOpError("bias must have whole blocks of elements");
  SmallVector<int64_t> expected = {in[0], blocks};
  for (int64_t i = 0; i < spatial; ++i)
    expected.push_back(windowDim(in[2 + i], 0, getWindow(), 1, getStride()));
  expected.push_back(lanes);
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
WinogradConvOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &reified) {
  Dims in = dimsOf(b, getLoc(), getInput());
  Dims dims = {in[0], b.getIndexAttr(shapeOf(getResult())[1])};
  for (int64_t i = 0; i < getSpatialRank(); ++i)
    dims.push_back(
        windowDim(b, getLoc(), in[2 + i], 0, getWindow(), 1, getStride()));
  dims.push_back(b.getIndexAttr(lanesOf(getResult())));
  setDims(b, getResult(), dims, reified);
  return success();
}

LogicalResult DepthwiseConvOp::verify() {
  int64_t spatial = getSpatialRank();
  ArrayRef<int64_t> in = shapeOf(getInput()), filter = shapeOf(getFilter());
  if (static_cast<int64_t>(filter.size()) != spatial + 2)
    return emitOpError("filter must be block x taps x lane");
  if (failed(verifyWindow(*this, spatial, filter.slice(1, spatial),
                          getStrides(), getDilations())))
    return failure();
  if (differs(in[1], filter[0]) || in.back() != filter.back())
    return emitOpError("filter and input differ in channels");
  if (getBias() && (rankOf(getBias()) != 1 ||
                    differs(shapeOf(getBias())[0], filter[0] * filter.back())))
    return emitOpError("bias must have one element per channel");
  SmallVector<int64_t> expected(in);
  for (int64_t i = 0; i < spatial; ++i)
    expected[2 + i] = windowDim(in[2 + i], 0, filter[1 + i], getDilations()[i],
                                getStrides()[i]);
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
DepthwiseConvOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getInput());
  ArrayRef<int64_t> filter = shapeOf(getFilter());
  for (int64_t i = 0, e = getSpatialRank(); i < e; ++i)
    dims[2 + i] = windowDim(b, getLoc(), dims[2 + i], 0, filter[1 + i],
                            getDilations()[i], getStrides()[i]);
  setDims(b, getResult(), dims, reified);
  return success();
}

LogicalResult PackedMatmulOp::verify() {
  int64_t rank = rankOf(getLhs());
  ArrayRef<int64_t> lhs = shapeOf(getLhs()), rhs = shapeOf(getRhs());
  int64_t group = reductionGroup(*this);
  if (rank < 2 || rhs.size() != (group > 1 ? 4U : 3U))
    return emitOpError("lhs must have rank 2 or more, rhs be panel x K x lane");
  if (failed(verifyPacked(*this, group,
                          cast<RankedTensorType>(getRhs().getType()))))
    return failure();
  if (differs(lhs[rank - 1], rhs[1] * group))
    return emitOpError("contracts ")
           << lhs[rank - 1] << " with " << rhs[1] * group;
  int64_t columns = getColumns();
  if (rhs[0] * panelWidth(*this) < columns)
    return emitOpError("panels hold too few columns");
  if (getBias() &&
      (rankOf(getBias()) != 1 || differs(shapeOf(getBias())[0], columns)))
    return emitOpError("bias must have one element per column");
  SmallVector<int64_t> expected(lhs);
  expected.back() = columns;
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
PackedMatmulOp::reifyResultShapes(OpBuilder &b,
                                  ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getLhs());
  dims.back() = b.getIndexAttr(getColumns());
  setDims(b, getResult(), dims, reified);
  return success();
}
