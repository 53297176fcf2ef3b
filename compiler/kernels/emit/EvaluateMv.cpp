//===- EvaluateMv.cpp - Operations of the mv dialect at an index ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The plain meaning of each operation, one element (or vector) at a time. The
// kernel families that know better come first; this is what is right when none
// of them applies. Pools and resizes are in EvaluateWindows.cpp, what needs a
// whole row of a tensor in EvaluateRows.cpp.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Gathers
//===----------------------------------------------------------------------===//

/// The element of `input` at `point`, whose indexed dim has `size`. An empty
/// input has no element to read for the index that was reported.
static Value gathered(Evaluator &evaluator, Value input, Value size,
                      const Point &point) {
  KernelEmitter &e = evaluator.emitter();
  auto load = [&] { return evaluator.evaluate(input, point); };
  if (e.constantValue(size).value_or(0) > 0)
    return load();
  Type type = getElementTypeOrSelf(input);
  Value some = arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::sgt,
                                     size, e.constant(0));
  return e.ifThenElse(some, withLanes(type, point.lanes), load,
                      [&] { return e.zero(type, point.lanes); });
}

Value Evaluator::gather(mv::GatherOp op, const Point &point) {
  auto d = int64_t(op.getDim());
  int64_t rank = cast<RankedTensorType>(op.getIndices().getType()).getRank();
  ArrayRef<Coordinate> at(point.at);
  Value size = dim(op.getInput(), d);
  // Checked where the index is known, not for each element of the slice.
  Point indexPoint = point.with(at.slice(d, rank));
  if (indexPoint.isUniform())
    indexPoint = Point(indexPoint.at);
  Value index = shared(op, indexPoint, [&] {
    Coordinate c = coordinateFrom(op.getIndices(), indexPoint);
    c = checkedIndex(c, size, indexPoint, op.getUnchecked(), op);
    return SmallVector<Value, 2>{CoordinateMath(e, indexPoint.lanes).value(c)};
  })[0];
  Point source = point.with(at.take_front(d));
  source.at.push_back(CoordinateMath(e, point.lanes).fromValue(index));
  source.at.append(at.begin() + d + rank, at.end());
  return gathered(*this, op.getInput(), size, source);
}

Value Evaluator::gatherElements(mv::GatherElementsOp op, const Point &point) {
  auto d = int64_t(op.getDim());
  Coordinate index = coordinateFrom(op.getIndices(), point);
  Value size = dim(op.getInput(), d);
  Point source = point;
  source.at[d] = checkedIndex(index, size, point, op.getUnchecked(), op);
  return gathered(*this, op.getInput(), size, source);
}

Value Evaluator::combineScatter(mv::ScatterKind kind, Value before,
                                Value update) {
  ImplicitLocOpBuilder &b = builder();
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(before.getType()));
  switch (kind) {
  case mv::ScatterKind::Replace:
    return update;
  case mv::ScatterKind::Add:
    return isFloat ? Value(arith::AddFOp::create(b, before, update))
                   : Value(arith::AddIOp::create(b, before, update));
  case mv::ScatterKind::Mul:
    return isFloat ? Value(arith::MulFOp::create(b, before, update))
                   : Value(arith::MulIOp::create(b, before, update));
  case mv::ScatterKind::Max:
    return isFloat ? emitMaximum(b, before, update)
                   : Value(arith::MaxSIOp::create(b, before, update));
  case mv::ScatterKind::Min:
    return isFloat ? emitMinimum(b, before, update)
                   : Value(arith::MinSIOp::create(b, before, update));
  }
  llvm_unreachable("unknown kind of scatter");
}

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

Value Evaluator::matmul(mv::MatmulOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Type type = getElementTypeOrSelf(op.getResult());
  auto lhsType = cast<RankedTensorType>(op.getLhs().getType());
  auto rhsType = cast<RankedTensorType>(op.getRhs().getType());
  int64_t rank = lhsType.getRank();
  Type accumulatorType = sumType(type);
  Reduction reduction;
  reduction.inits = {number(0, withLanes(accumulatorType, point.lanes))};
  // One element along a contiguous K runs in vectors.
  bool vectorize = !point.lanes && op.getTransposeRhs();
  if (vectorize)
    reduction.neutral = {number(0, accumulatorType)};
  reduction.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                       ValueRange sums) -> SmallVector<Value> {
    Value lanesMask = mask ? mask : lanes == point.lanes ? point.mask : Value();
    Coordinates lhs(point.at), rhs;
    if (rhsType.getRank() > 2)
      rhs.assign(point.at.begin(), point.at.end() - 2);
    lhs[rank - 1] = at[0];
    const Coordinate &column = point.at[rank - 1];
    rhs.push_back(op.getTransposeRhs() ? column : at[0]);
    rhs.push_back(op.getTransposeRhs() ? at[0] : column);
    Value x = evaluate(op.getLhs(), Point(lhs, lanes, lanesMask));
    Value y = evaluate(op.getRhs(), Point(rhs, lanes, lanesMask));
    return {multiplyAdd(x, y, sums[0])};
  };
  reduction.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
    if (isa<FloatType>(accumulatorType))
      return {arith::AddFOp::create(b, x[0], y[0])};
    return {arith::AddIOp::create(b, x[0], y[0])};
  };
  Value sum = reduce({dim(op.getLhs(), rank - 1)}, reduction, point.lanes,
                     vectorize ? 0 : -1)[0];
  return narrow(sum, type);
}

Value Evaluator::conv(mv::ConvOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  ImplicitLocOpBuilder &b = builder();
  Type type = getElementTypeOrSelf(op.getResult());
  Type accumulatorType = sumType(type);
  int64_t spatial = op.getSpatialRank();
  auto groups = int64_t(op.getGroups());
  Value filters = dim(op.getFilter(), 0);
  SmallVector<Value> filterDims = dims(op.getFilter());

  Coordinate channelStart(0);
  if (groups > 1) {
    Coordinate filtersPerGroup =
        math.of(e.floorDiv(filters, e.constant(groups)));
    channelStart = math.mul(math.floorDiv(point.at[1], filtersPerGroup),
                            math.of(filterDims[1]));
  }
  SmallVector<Value> inputDims = dims(op.getInput());
  Reduction reduction;
  Value bias = number(0, withLanes(accumulatorType, point.lanes));
  if (op.getBias())
    bias = widen(evaluate(op.getBias(), point.with(point.at[1])));
  reduction.inits = {bias};
  reduction.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                       ValueRange sums) -> SmallVector<Value> {
    Coordinates source{point.at[0], math.add(channelStart, at[0])};
    Coordinates filter{point.at[1], at[0]};
    SmallVector<bool> below{false, false}, above{false, false};
    for (int64_t s = 0; s < spatial; ++s) {
      Coordinate c = math.mul(point.at[2 + s], Coordinate(op.getStrides()[s]));
      c = math.add(c, math.mul(at[1 + s], Coordinate(op.getDilations()[s])));
      source.push_back(math.sub(c, Coordinate(op.getPads()[s])));
      filter.push_back(at[1 + s]);
      below.push_back(op.getPads()[s] > 0);
      above.push_back(op.getPads()[spatial + s] > 0);
    }
    Value x = select(
        point, source, inputDims, below, above,
        getElementTypeOrSelf(op.getInput()),
        [&](const Point &inside) { return evaluate(op.getInput(), inside); },
        [&](const Point &) {
          return e.zero(getElementTypeOrSelf(op.getInput()), point.lanes);
        });
    Value y = evaluate(op.getFilter(), point.with(filter));
    return {multiplyAdd(x, y, sums[0])};
  };
  (void)b;
  Value sum = reduce(ArrayRef<Value>(filterDims).drop_front(), reduction,
                     point.lanes, -1)[0];
  return narrow(sum, type);
}
