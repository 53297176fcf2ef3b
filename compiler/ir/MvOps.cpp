//===- MvOps.cpp - Verification and shapes of the mv operations -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/OpShapes.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace marver::mv;

#define GET_OP_CLASSES
#include "compiler/ir/MvOps.cpp.inc"

//===----------------------------------------------------------------------===//
// ConvOp
//===----------------------------------------------------------------------===//

LogicalResult ConvOp::verify() {
  int64_t spatial = getSpatialRank();
  if (rankOf(getFilter()) != spatial + 2)
    return emitOpError("filter and input differ in rank");
  ArrayRef<int64_t> in = shapeOf(getInput()), filter = shapeOf(getFilter());
  if (failed(verifyWindow(*this, spatial, filter.drop_front(2), getStrides(),
                          getDilations())) ||
      failed(verifyPads(*this, spatial, getPads())))
    return failure();
  if (llvm::any_of(filter, ShapedType::isDynamic))
    return emitOpError("filter must be of static shape");
  int64_t groups = getGroups();
  if (groups < 1 || filter[0] % groups)
    return emitOpError("groups do not divide the output channels");
  if (differs(in[1], filter[1] * groups))
    return emitOpError("input has ")
           << in[1] << " channels, the filter needs " << filter[1] * groups;
  if (getBias() &&
      (rankOf(getBias()) != 1 || differs(shapeOf(getBias())[0], filter[0])))
    return emitOpError("bias must have one element per output channel");
  SmallVector<int64_t> expected = {in[0], filter[0]};
  for (int64_t i = 0; i < spatial; ++i)
    expected.push_back(
        windowDim(in[2 + i], getPads()[i] + getPads()[spatial + i],
                  filter[2 + i], getDilations()[i], getStrides()[i]));
  return verifyShape(*this, getResult(), expected);
}

LogicalResult ConvOp::reifyResultShapes(OpBuilder &b,
                                        ReifiedRankedShapedTypeDims &reified) {
  int64_t spatial = getSpatialRank();
  Dims dims = dimsOf(b, getLoc(), getInput());
  ArrayRef<int64_t> filter = shapeOf(getFilter());
  dims[1] = b.getIndexAttr(filter[0]);
  for (int64_t i = 0; i < spatial; ++i)
    dims[2 + i] = windowDim(b, getLoc(), dims[2 + i],
                            getPads()[i] + getPads()[spatial + i],
                            filter[2 + i], getDilations()[i], getStrides()[i]);
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// MatmulOp
//===----------------------------------------------------------------------===//

LogicalResult MatmulOp::verify() {
  int64_t rank = rankOf(getLhs()), rhsRank = rankOf(getRhs());
  if (rank < 2 || (rhsRank != 2 && rhsRank != rank))
    return emitOpError("rhs must have rank 2 or the lhs's rank, which must be "
                       "2 or more");
  ArrayRef<int64_t> lhs = shapeOf(getLhs()), rhs = shapeOf(getRhs());
  int64_t k = rhs[rhsRank - (getTransposeRhs() ? 1 : 2)];
  int64_t n = rhs[rhsRank - (getTransposeRhs() ? 2 : 1)];
  if (differs(lhs[rank - 1], k))
    return emitOpError("contracts ") << lhs[rank - 1] << " with " << k;
  if (rhsRank == rank)
    for (int64_t i = 0; i < rank - 2; ++i)
      if (differs(lhs[i], rhs[i]))
        return emitOpError("batch dims differ");
  SmallVector<int64_t> expected(lhs);
  expected.back() = n;
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
MatmulOp::reifyResultShapes(OpBuilder &b,
                            ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getLhs());
  int64_t rhsRank = rankOf(getRhs());
  dims.back() = tensor::getMixedSize(b, getLoc(), getRhs(),
                                     rhsRank - (getTransposeRhs() ? 2 : 1));
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// PoolOp
//===----------------------------------------------------------------------===//

LogicalResult PoolOp::verify() {
  int64_t spatial = rankOf(getInput()) - (getBlocked() ? 3 : 2);
  if (failed(verifyWindow(*this, spatial, getWindow(), getStrides(),
                          getDilations())) ||
      failed(verifyPads(*this, spatial, getPads())))
    return failure();
  SmallVector<int64_t> expected(shapeOf(getInput()));
  for (int64_t i = 0; i < spatial; ++i)
    expected[2 + i] =
        windowDim(expected[2 + i], getPads()[i] + getPads()[spatial + i],
                  getWindow()[i], getDilations()[i], getStrides()[i]);
  return verifyShape(*this, getResult(), expected);
}

LogicalResult PoolOp::reifyResultShapes(OpBuilder &b,
                                        ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getInput());
  int64_t spatial = getWindow().size();
  for (int64_t i = 0; i < spatial; ++i)
    dims[2 + i] = windowDim(b, getLoc(), dims[2 + i],
                            getPads()[i] + getPads()[spatial + i],
                            getWindow()[i], getDilations()[i], getStrides()[i]);
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// ResizeOp
//===----------------------------------------------------------------------===//

LogicalResult ResizeOp::verify() {
  int64_t spatial = rankOf(getInput()) - (getBlocked() ? 3 : 2);
  if (spatial < 1 || static_cast<int64_t>(getSteps().size()) != spatial ||
      static_cast<int64_t>(getOffsets().size()) != spatial ||
      static_cast<int64_t>(getShifts().size()) != spatial)
    return emitOpError("needs one step, offset and shift per spatial dim");
  SmallVector<int64_t> expected(shapeOf(getInput()));
  int64_t dynamic = 0;
  for (int64_t i = 0; i < spatial && rankOf(getResult()) == rankOf(getInput());
       ++i) {
    expected[2 + i] = shapeOf(getResult())[2 + i];
    dynamic += ShapedType::isDynamic(expected[2 + i]);
  }
  if (dynamic != static_cast<int64_t>(getSizes().size()))
    return emitOpError("needs one size per dynamic spatial dim of the result");
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
ResizeOp::reifyResultShapes(OpBuilder &b,
                            ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getInput());
  auto size = getSizes().begin();
  for (size_t i = 0; i < getSteps().size(); ++i)
    if (ShapedType::isDynamic(shapeOf(getResult())[2 + i]))
      dims[2 + i] = Value(*size++);
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// SoftmaxOp, LayerNormOp, CumulativeSumOp
//===----------------------------------------------------------------------===//

LogicalResult SoftmaxOp::verify() {
  return verifyDim(*this, getDim(), rankOf(getInput()));
}

LogicalResult
SoftmaxOp::reifyResultShapes(OpBuilder &b,
                             ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getInput(), reified);
}

LogicalResult LayerNormOp::verify() {
  int64_t rank = rankOf(getInput()), dims = getDims();
  if (dims < 1 || dims > rank)
    return emitOpError("normalizes ") << dims << " dims of " << rank;
  for (Value affine : {getScale(), getBias()}) {
    if (!affine)
      continue;
    if (rankOf(affine) != dims)
      return emitOpError("scale and bias must have the normalized dims");
    for (int64_t i = 0; i < dims; ++i)
      if (differs(shapeOf(affine)[i], shapeOf(getInput())[rank - dims + i]))
        return emitOpError("scale and bias must have the normalized dims");
  }
  return success();
}

LogicalResult
LayerNormOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getInput(), reified);
}

LogicalResult CumulativeSumOp::verify() {
  return verifyDim(*this, getDim(), rankOf(getInput()));
}

LogicalResult
CumulativeSumOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getInput(), reified);
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

LogicalResult AttentionOp::verify() {
  int64_t rank = rankOf(getQuery());
  if (rank < 2 || rankOf(getKey()) != rank || rankOf(getValue()) != rank)
    return emitOpError("query, key and value must have one rank, 2 or more");
  ArrayRef<int64_t> q = shapeOf(getQuery()), k = shapeOf(getKey()),
                    v = shapeOf(getValue());
  for (int64_t i = 0; i < rank - 2; ++i)
    if (differs(q[i], k[i]) || differs(q[i], v[i]))
      return emitOpError("batch dims differ");
  if (differs(q[rank - 1], k[rank - 1]) || differs(k[rank - 2], v[rank - 2]))
    return emitOpError("query and key, or key and value, do not fit");
  if (getMask() && rankOf(getMask()) > rank)
    return emitOpError("mask has too many dims");
  if (getMask()) {
    Type element = elementOf(getMask());
    bool isPosition = element.isInteger(64);
    if (!isPosition && !element.isInteger(1) && !isa<FloatType>(element))
      return emitOpError("mask must be of i1, i64 or floats");
    if (isPosition &&
        (rankOf(getMask()) == 0 || shapeOf(getMask()).back() != 1))
      return emitOpError("positions must have a last dim of 1");
  }
  SmallVector<int64_t> expected(q);
  expected.back() = v.back();
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
AttentionOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getQuery());
  dims.back() =
      tensor::getMixedSize(b, getLoc(), getValue(), rankOf(getValue()) - 1);
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// Gathers and scatters
//===----------------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  int64_t rank = rankOf(getInput());
  if (failed(verifyDim(*this, getDim(), rank)))
    return failure();
  if (!elementOf(getIndices()).isIntOrIndex())
    return emitOpError("indices must be integers");
  ArrayRef<int64_t> in = shapeOf(getInput());
  SmallVector<int64_t> expected(in.take_front(getDim()));
  llvm::append_range(expected, shapeOf(getIndices()));
  llvm::append_range(expected, in.drop_front(getDim() + 1));
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
GatherOp::reifyResultShapes(OpBuilder &b,
                            ReifiedRankedShapedTypeDims &reified) {
  Dims in = dimsOf(b, getLoc(), getInput());
  Dims dims(in.begin(), in.begin() + getDim());
  llvm::append_range(dims, dimsOf(b, getLoc(), getIndices()));
  dims.append(in.begin() + getDim() + 1, in.end());
  setDims(b, getResult(), dims, reified);
  return success();
}

LogicalResult GatherElementsOp::verify() {
  int64_t rank = rankOf(getInput());
  if (failed(verifyDim(*this, getDim(), rank)))
    return failure();
  if (rankOf(getIndices()) != rank || !elementOf(getIndices()).isIntOrIndex())
    return emitOpError("indices must be integers of the input's rank");
  return verifyShape(*this, getResult(), shapeOf(getIndices()));
}

LogicalResult
GatherElementsOp::reifyResultShapes(OpBuilder &b,
                                    ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getIndices(), reified);
}

LogicalResult ScatterOp::verify() {
  int64_t rank = rankOf(getInput());
  if (failed(verifyDim(*this, getDim(), rank)))
    return failure();
  if (rankOf(getIndices()) != 1 || !elementOf(getIndices()).isIntOrIndex())
    return emitOpError("indices must be one dim of integers");
  if (rankOf(getUpdates()) != rank)
    return emitOpError("updates must have the input's rank");
  for (int64_t i = 0; i < rank; ++i) {
    int64_t want = i == static_cast<int64_t>(getDim())
                       ? shapeOf(getIndices())[0]
                       : shapeOf(getInput())[i];
    if (differs(shapeOf(getUpdates())[i], want))
      return emitOpError("updates dim ") << i << " must be " << want;
  }
  return success();
}

LogicalResult
ScatterOp::reifyResultShapes(OpBuilder &b,
                             ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getInput(), reified);
}

LogicalResult ArgReduceOp::verify() {
  int64_t rank = rankOf(getInput());
  if (failed(verifyDim(*this, getDim(), rank)))
    return failure();
  Type element = elementOf(getResult());
  if (!element.isInteger(64) && !element.isInteger(32))
    return emitOpError("result must be i64 or i32");
  SmallVector<int64_t> expected(shapeOf(getInput()));
  expected.erase(expected.begin() + getDim());
  return verifyShape(*this, getResult(), expected);
}

LogicalResult
ArgReduceOp::reifyResultShapes(OpBuilder &b,
                               ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getInput());
  dims.erase(dims.begin() + getDim());
  setDims(b, getResult(), dims, reified);
  return success();
}

//===----------------------------------------------------------------------===//
// TopKOp, TruePositionsOp, SuppressOp
//===----------------------------------------------------------------------===//

LogicalResult TopKOp::verify() {
  if (getBatchRank() < 0)
    return emitOpError("input has too few dims");
  if (!elementOf(getResult()).isInteger(64))
    return emitOpError("result must be i64");
  SmallVector<int64_t> expected(shapeOf(getInput()).take_front(getBatchRank()));
  expected.push_back(ShapedType::kDynamic);
  if (failed(verifyShape(*this, getResult(), expected)))
    return failure();
  if (ShapedType::isDynamic(shapeOf(getResult()).back()) && !getCount())
    return emitOpError("needs a count where the type does not say it");
  return success();
}

LogicalResult TopKOp::reifyResultShapes(OpBuilder &b,
                                        ReifiedRankedShapedTypeDims &reified) {
  Dims dims = dimsOf(b, getLoc(), getInput());
  dims.truncate(getBatchRank());
  dims.push_back(getCount() ? OpFoldResult(getCount()) : b.getIndexAttr(0));
  setDims(b, getResult(), dims, reified);
  return success();
}

LogicalResult TruePositionsOp::verify() {
  if (rankOf(getMask()) != 1 || !elementOf(getMask()).isInteger(1))
    return emitOpError("mask must be one dim of i1");
  if (rankOf(getResult()) != 1 || !elementOf(getResult()).isInteger(64))
    return emitOpError("result must be one dim of i64");
  if (ShapedType::isDynamic(shapeOf(getResult())[0]) && !getCount())
    return emitOpError("needs a count where the type does not say it");
  return success();
}

LogicalResult
TruePositionsOp::reifyResultShapes(OpBuilder &b,
                                   ReifiedRankedShapedTypeDims &reified) {
  setDims(b, getResult(),
          {getCount() ? OpFoldResult(getCount()) : b.getIndexAttr(0)}, reified);
  return success();
}

LogicalResult SuppressOp::verify() {
  if (rankOf(getBoxes()) != 3 || rankOf(getScores()) != 3 ||
      shapeOf(getBoxes())[2] != 4)
    return emitOpError("boxes must be B x N x 4, scores B x C x N");
  if (differs(shapeOf(getBoxes())[0], shapeOf(getScores())[0]) ||
      differs(shapeOf(getBoxes())[1], shapeOf(getScores())[2]))
    return emitOpError("boxes and scores do not fit");
  Type type = elementOf(getScores());
  if (!type.isF32() && !type.isF64())
    return emitOpError("scores must be f32 or f64");
  for (Value value : {getBoxes(), getOverlapLimit(), getScoreLimit()})
    if (elementOf(value) != type)
      return emitOpError("boxes, scores and their limits must have one type");
  for (Value limit : {getCountLimit(), getOverlapLimit(), getScoreLimit()})
    if (rankOf(limit) != 0)
      return emitOpError("limits must be scalars");
  if (!elementOf(getCountLimit()).isInteger(64) ||
      !elementOf(getResult()).isInteger(64))
    return emitOpError("the count's limit and the result must be i64");
  return verifyShape(*this, getResult(), shapeOf(getScores()));
}

LogicalResult
SuppressOp::reifyResultShapes(OpBuilder &b,
                              ReifiedRankedShapedTypeDims &reified) {
  return sameShapeReify(b, *this, getScores(), reified);
}

//===----------------------------------------------------------------------===//
// KernelOp, LaunchOp
//===----------------------------------------------------------------------===//

LogicalResult KernelOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getTerminator());
  if (!yield)
    return emitOpError("must end in mv.yield");
  int64_t tensors = yield.getNumOperands();
  for (BlockArgument argument : getBlock().getArguments()) {
    if (isa<RankedTensorType>(argument.getType()))
      ++tensors;
    else if (!argument.getType().isIndex())
      return emitOpError("operands must be tensors or index scalars");
  }
  if (getBuffers() && static_cast<int64_t>(getBuffers()->size()) != tensors)
    return emitOpError("needs one buffer type per tensor operand and result");
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto kernel =
      tables.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("launches no kernel: ") << getKernel();
  if (kernel.getBlock().getNumArguments() != getInputs().size())
    return emitOpError("operands differ in number from the kernel's");
  size_t results = getOuts().empty() ? getNumResults() : getOuts().size();
  if (kernel.getTerminator()->getNumOperands() != results)
    return emitOpError("results differ in number from the kernel's");
  return success();
}

void LaunchOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &input : getInputsMutable())
    if (isa<MemRefType>(input.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &input,
                           SideEffects::DefaultResource::get());
  for (OpOperand &out : getOutsMutable())
    effects.emplace_back(MemoryEffects::Write::get(), &out,
                         SideEffects::DefaultResource::get());
}

LogicalResult
LaunchOp::reifyResultShapes(OpBuilder &b,
                            ReifiedRankedShapedTypeDims &reified) {
  auto dynamic = getResultDims().begin();
  for (Value result : getResults()) {
    Dims dims;
    for (int64_t size : shapeOf(result)) {
      if (ShapedType::isDynamic(size))
        dims.push_back(Value(*dynamic++));
      else
        dims.push_back(b.getIndexAttr(size));
    }
    reified.push_back(std::move(dims));
  }
  return success();
}
