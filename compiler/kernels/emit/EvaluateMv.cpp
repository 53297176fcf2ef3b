//===- EvaluateMv.cpp - Operations of the mv dialect at an index ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The plain meaning of each operation, one element (or vector) at a time. The
// kernel families that know better come first; this is what is right when none
// of them applies.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace marver;

static Type elementType(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getElementType();
}

static Type withLanes(Type element, int64_t lanes) {
  return lanes ? Type(VectorType::get(lanes, element)) : element;
}

/// The type in which sums of `type` are kept.
static Type sumType(Type type) {
  if (type.isF16() || type.isBF16())
    return Float32Type::get(type.getContext());
  return type;
}

static Value negativeInfinity(Evaluator &evaluator, Type type) {
  return evaluator.number(-std::numeric_limits<double>::infinity(), type);
}

//===----------------------------------------------------------------------===//
// Gathers
//===----------------------------------------------------------------------===//

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
  Type type = elementType(op.getInput());
  auto load = [&] { return evaluate(op.getInput(), source); };
  if (e.constantValue(size).value_or(0) > 0)
    return load();
  // An empty input has no element to read for the index that was reported.
  Value some = arith::CmpIOp::create(builder(), arith::CmpIPredicate::sgt, size,
                                     e.constant(0));
  return e.ifThenElse(some, withLanes(type, point.lanes), load,
                      [&] { return e.zero(type, point.lanes); });
}

Value Evaluator::gatherElements(mv::GatherElementsOp op, const Point &point) {
  auto d = int64_t(op.getDim());
  Coordinate index = coordinateFrom(op.getIndices(), point);
  Value size = dim(op.getInput(), d);
  Point source = point;
  source.at[d] = checkedIndex(index, size, point, op.getUnchecked(), op);
  Type type = elementType(op.getInput());
  auto load = [&] { return evaluate(op.getInput(), source); };
  if (e.constantValue(size).value_or(0) > 0)
    return load();
  Value some = arith::CmpIOp::create(builder(), arith::CmpIPredicate::sgt, size,
                                     e.constant(0));
  return e.ifThenElse(some, withLanes(type, point.lanes), load,
                      [&] { return e.zero(type, point.lanes); });
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

Value Evaluator::scatter(mv::ScatterOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  CoordinateMath math(e, point.lanes);
  auto d = int64_t(op.getDim());
  Type type = elementType(op.getInput());
  const Coordinate &c = point.at[d];
  Value wanted = math.value(c);
  bool perLane = isa<VectorType>(wanted.getType());
  // All positions in order; those that are not this element's change nothing.
  Reduction updates;
  updates.inits = {widen(evaluate(op.getInput(), point))};
  updates.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                     ValueRange state) -> SmallVector<Value> {
    Coordinate index =
        checkedIndex(coordinateFrom(op.getIndices(), Point(at)),
                     dim(op.getInput(), d), Point(at), /*unchecked=*/false, op);
    Value position = math.scalar(index);
    Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, wanted,
                                       perLane ? e.splat(position, point.lanes)
                                               : position);
    Point source = point;
    source.at[d] = at[0];
    Value update = widen(evaluate(op.getUpdates(), source));
    return {laneSelect(here, combineScatter(op.getKind(), state[0], update),
                       state[0])};
  };
  Value result = reduce({dim(op.getIndices(), 0)}, updates, point.lanes, -1)[0];
  return narrow(result, type);
}

//===----------------------------------------------------------------------===//
// Contractions
//===----------------------------------------------------------------------===//

/// accumulator + x * y, in the accumulator's type.
static Value multiplyAdd(Evaluator &evaluator, Value x, Value y,
                         Value accumulator) {
  KernelEmitter &e = evaluator.emitter();
  ImplicitLocOpBuilder &b = e.builder();
  Type type = accumulator.getType();
  x = evaluator.widen(x);
  y = evaluator.widen(y);
  if (isa<FloatType>(getElementTypeOrSelf(type)))
    return e.fma(x, y, accumulator);
  if (x.getType() != type) {
    x = arith::ExtSIOp::create(b, type, x);
    y = arith::ExtSIOp::create(b, type, y);
  }
  return arith::AddIOp::create(b, accumulator, arith::MulIOp::create(b, x, y));
}

Value Evaluator::matmul(mv::MatmulOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Type type = elementType(op.getResult());
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
    return {multiplyAdd(*this, x, y, sums[0])};
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
  Type type = elementType(op.getResult());
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
        point, source, inputDims, below, above, elementType(op.getInput()),
        [&](const Point &inside) { return evaluate(op.getInput(), inside); },
        [&](const Point &) {
          return e.zero(elementType(op.getInput()), point.lanes);
        });
    Value y = evaluate(op.getFilter(), point.with(filter));
    return {multiplyAdd(*this, x, y, sums[0])};
  };
  (void)b;
  Value sum = reduce(ArrayRef<Value>(filterDims).drop_front(), reduction,
                     point.lanes, -1)[0];
  return narrow(sum, type);
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

Value Evaluator::pool(mv::PoolOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  ImplicitLocOpBuilder &b = builder();
  Type type = elementType(op.getResult());
  Type computed = sumType(type);
  Type valueType = withLanes(computed, point.lanes);
  auto spatial = int64_t(op.getWindow().size());
  bool isMax = op.getKind() == mv::PoolKind::Max;
  bool isFloat = isa<FloatType>(computed);
  SmallVector<Value> inputDims = dims(op.getInput());
  SmallVector<Value> window;
  for (int64_t size : op.getWindow())
    window.push_back(e.constant(size));

  Value lowest;
  if (isMax) {
    lowest = isFloat ? negativeInfinity(*this, valueType) : [&]() -> Value {
      unsigned width = computed.getIntOrFloatBitWidth();
      TypedAttr least =
          IntegerAttr::get(computed, APInt::getSignedMinValue(width));
      if (point.lanes)
        least = DenseElementsAttr::get(cast<VectorType>(valueType),
                                       Attribute(least));
      return arith::ConstantOp::create(b, least);
    }();
  } else {
    lowest = number(0, valueType);
  }

  // The tap of window position `at`, and whether it lies inside the input.
  auto tap = [&](ArrayRef<Coordinate> at, SmallVector<bool> &below,
                 SmallVector<bool> &above) {
    Coordinates source(point.at);
    below.assign(source.size(), false);
    above.assign(source.size(), false);
    for (int64_t s = 0; s < spatial; ++s) {
      Coordinate c = math.mul(point.at[2 + s], Coordinate(op.getStrides()[s]));
      c = math.add(c, math.mul(at[s], Coordinate(op.getDilations()[s])));
      source[2 + s] = math.sub(c, Coordinate(op.getPads()[s]));
      below[2 + s] = op.getPads()[s] > 0;
      above[2 + s] = op.getPads()[spatial + s] > 0;
    }
    return source;
  };

  Reduction reduction;
  reduction.inits = {lowest};
  // An average over the taps inside counts them.
  bool counts = !isMax && !op.getCountIncludePad();
  if (counts)
    reduction.inits.push_back(number(0, valueType));
  reduction.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                       ValueRange state) -> SmallVector<Value> {
    SmallVector<bool> below, above;
    Coordinates source = tap(at, below, above);
    Type valueElement = elementType(op.getInput());
    Value x = widen(select(
        point, source, inputDims, below, above, valueElement,
        [&](const Point &inside) { return evaluate(op.getInput(), inside); },
        [&](const Point &) { return narrow(lowest, valueElement); }));
    if (isMax)
      return {isFloat ? emitMaximum(b, state[0], x)
                      : Value(arith::MaxSIOp::create(b, state[0], x))};
    Value sum = isFloat ? Value(arith::AddFOp::create(b, state[0], x))
                        : Value(arith::AddIOp::create(b, state[0], x));
    if (!counts)
      return {sum};
    Value one = number(1, valueType), zero = number(0, valueType);
    Value inside;
    for (size_t d = 0; d < source.size(); ++d) {
      for (Value test :
           {below[d] ? math.notNegative(source[d]) : Value(),
            above[d] ? math.lessThan(source[d], inputDims[d]) : Value()}) {
        if (!test)
          continue;
        if (!isa<VectorType>(test.getType()))
          test = e.splat(test, point.lanes);
        inside = inside ? Value(arith::AndIOp::create(b, inside, test)) : test;
      }
    }
    Value weight = inside ? laneSelect(inside, one, zero) : one;
    Value count = isFloat ? Value(arith::AddFOp::create(b, state[1], weight))
                          : Value(arith::AddIOp::create(b, state[1], weight));
    return {sum, count};
  };
  SmallVector<Value> state = reduce(window, reduction, point.lanes, -1);
  if (isMax)
    return narrow(state[0], type);

  Value count;
  if (counts) {
    count = state[1];
  } else {
    // Positions within the input and its declared pads.
    Value total = e.constant(1);
    Coordinate product(1);
    for (int64_t s = 0; s < spatial; ++s) {
      Coordinate first =
          math.mul(point.at[2 + s], Coordinate(op.getStrides()[s]));
      int64_t dilation = op.getDilations()[s];
      // Window positions that start before the padded end.
      Value end =
          e.add(inputDims[2 + s], op.getPads()[s] + op.getPads()[spatial + s]);
      auto lanesOf = [&](Value v, Value like) {
        return isa<VectorType>(like.getType()) ? e.splat(v, point.lanes) : v;
      };
      Value start = math.value(first);
      Value room = arith::SubIOp::create(b, lanesOf(end, start), start);
      room = arith::AddIOp::create(b, room,
                                   lanesOf(e.constant(dilation - 1), start));
      Value positions =
          arith::DivSIOp::create(b, room, lanesOf(e.constant(dilation), start));
      positions = arith::MinSIOp::create(
          b, positions, lanesOf(e.constant(op.getWindow()[s]), start));
      product = math.mul(product, math.fromValue(positions));
    }
    (void)total;
    Value positions = point.lanes ? math.vector(product) : math.scalar(product);
    if (isFloat)
      count = arith::SIToFPOp::create(b, valueType, positions);
    else if (computed.isInteger(64))
      count = positions;
    else
      count = arith::TruncIOp::create(b, valueType, positions);
  }
  Value mean = isFloat ? Value(arith::DivFOp::create(b, state[0], count))
                       : Value(arith::DivSIOp::create(b, state[0], count));
  return narrow(mean, type);
}

Value Evaluator::resize(mv::ResizeOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  ImplicitLocOpBuilder &b = builder();
  Type type = elementType(op.getResult());
  auto spatial = int64_t(op.getSteps().size());
  SmallVector<Value> inputDims = dims(op.getInput());

  // A tap of one dim: where, and its weight (null for 1).
  struct Tap {
    Coordinate at;
    Value weight;
  };
  SmallVector<SmallVector<Tap>> taps(spatial);
  Type i64 = b.getI64Type(), f64 = b.getF64Type();
  for (int64_t s = 0; s < spatial; ++s) {
    const Coordinate &c = point.at[2 + s];
    int64_t lanes = c.isUniform() ? 0 : point.lanes;
    Type indexType = withLanes(i64, lanes), realType = withLanes(f64, lanes);
    double step = op.getSteps()[s], offset = op.getOffsets()[s],
           shift = op.getShifts()[s];
    Value last = e.splat(e.add(inputDims[2 + s], -1), lanes);
    Value zero = number(0, indexType);
    auto clamped = [&](Value position) {
      position = arith::MaxSIOp::create(b, position, zero);
      return arith::MinSIOp::create(b, position, last);
    };
    bool isNearest = op.getMode() == mv::ResizeMode::Nearest;
    // Doubling by nearest neighbour and the like: integers suffice.
    double inverse = 1 / step;
    if (isNearest && offset == 0 && shift == 0 &&
        op.getNearestBias().convertToDouble() == 0 && inverse >= 1 &&
        inverse == double(int64_t(inverse)) && step * inverse == 1) {
      taps[s].push_back({math.floorDiv(c, Coordinate(int64_t(inverse))), {}});
      continue;
    }
    // Nearest neighbours are those of arithmetic in f32, as elsewhere: at exact
    // boundaries the rounding decides.
    if (isNearest && !type.isF64())
      realType = withLanes(b.getF32Type(), lanes);
    Value x = arith::SIToFPOp::create(b, realType, math.value(c));
    if (offset != 0)
      x = arith::AddFOp::create(b, x, number(offset, realType));
    x = arith::MulFOp::create(b, x, number(step, realType));
    if (shift != 0)
      x = arith::AddFOp::create(b, x, number(shift, realType));
    if (isNearest)
      x = arith::AddFOp::create(
          b, x, number(op.getNearestBias().convertToDouble(), realType));
    Value floor = math::FloorOp::create(b, x);
    Value index = arith::FPToSIOp::create(b, indexType, floor);
    if (isNearest) {
      taps[s].push_back({math.fromValue(clamped(index)), {}});
      continue;
    }
    Value t64 = arith::SubFOp::create(b, x, floor);
    Type weightElement = type.isF64() ? f64 : Type(b.getF32Type());
    Type weightType = withLanes(weightElement, lanes);
    Value t =
        type.isF64() ? t64 : Value(arith::TruncFOp::create(b, weightType, t64));
    auto constant = [&](double v) { return number(v, weightType); };
    auto mulF = [&](Value p, Value q) -> Value {
      return arith::MulFOp::create(b, p, q);
    };
    auto tapAt = [&](int64_t delta, Value weight) {
      Value position =
          arith::AddIOp::create(b, index, number(double(delta), indexType));
      taps[s].push_back(
          {math.fromValue(clamped(position)),
           lanes == point.lanes ? weight : e.splat(weight, point.lanes)});
    };
    if (op.getMode() == mv::ResizeMode::Linear) {
      tapAt(0, arith::SubFOp::create(b, constant(1), t));
      tapAt(1, t);
      continue;
    }
    // Keys' cubic convolution with a = -0.75.
    constexpr double a = -0.75;
    auto near = [&](Value d) -> Value { // |d| <= 1
      Value inner = e.fma(constant(a + 2), d, constant(-(a + 3)));
      return e.fma(mulF(inner, d), d, constant(1));
    };
    auto far = [&](Value d) -> Value { // 1 < |d| < 2
      Value inner = e.fma(constant(a), d, constant(-5 * a));
      inner = e.fma(inner, d, constant(8 * a));
      return e.fma(inner, d, constant(-4 * a));
    };
    Value rest = arith::SubFOp::create(b, constant(1), t);
    tapAt(-1, far(arith::AddFOp::create(b, t, constant(1))));
    tapAt(0, near(t));
    tapAt(1, near(rest));
    tapAt(2, far(arith::AddFOp::create(b, rest, constant(1))));
  }

  // The product of the dims' taps, inner dims first.
  std::function<Value(int64_t, Point)> at = [&](int64_t s, Point source) {
    if (s == spatial)
      return widen(evaluate(op.getInput(), source));
    Value sum;
    for (const Tap &tap : taps[s]) {
      source.at[2 + s] = tap.at;
      Value value = at(s + 1, source);
      if (!tap.weight)
        return value;
      sum = sum ? e.fma(value, tap.weight, sum)
                : Value(arith::MulFOp::create(b, value, tap.weight));
    }
    return sum;
  };
  if (!isa<FloatType>(type) && op.getMode() != mv::ResizeMode::Nearest)
    return fail(op, type, point, "it interpolates integers");
  return narrow(at(0, point), type);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// A point of the row through `point` along `d`: with the lanes that it has
/// across the row, and none along it.
static Point acrossRow(const Point &point, int64_t d) {
  Point row = point;
  row.at[d] = Coordinate(0);
  return row.isUniform() ? Point(row.at) : row;
}

Value Evaluator::softmax(mv::SoftmaxOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  auto d = int64_t(op.getDim());
  Type type = elementType(op.getInput());
  Type computed = sumType(type);
  Point row = acrossRow(point, d);
  auto valueAt = [&](const Point &at, const Coordinate &c, int64_t lanes,
                     Value mask) {
    Point here(at.at, lanes,
               mask                ? mask
               : lanes == at.lanes ? at.mask
                                   : Value());
    here.at[d] = c;
    return widen(evaluate(op.getInput(), here));
  };

  // The two numbers of a row, computed where the row is known.
  auto numbers = shared(op, row, [&]() -> SmallVector<Value, 2> {
    Type rowType = withLanes(computed, row.lanes);
    Reduction maximum;
    maximum.inits = {negativeInfinity(*this, rowType)};
    if (!row.lanes)
      maximum.neutral = {negativeInfinity(*this, computed)};
    maximum.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
      return {emitMaximum(b, x[0], y[0])};
    };
    maximum.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                       ValueRange state) -> SmallVector<Value> {
      Value x = valueAt(row, at[0], lanes, mask);
      if (mask)
        x = laneSelect(mask, x, negativeInfinity(*this, x.getType()));
      return {emitMaximum(b, state[0], x)};
    };
    int64_t vectorDim = row.lanes ? -1 : 0;
    Value size = dim(op.getInput(), d);
    Value largest = reduce({size}, maximum, row.lanes, vectorDim)[0];
    Reduction total;
    total.inits = {number(0, rowType)};
    if (!row.lanes)
      total.neutral = {number(0, computed)};
    total.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
      return {arith::AddFOp::create(b, x[0], y[0])};
    };
    total.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                     ValueRange state) -> SmallVector<Value> {
      Value x = valueAt(row, at[0], lanes, mask);
      Value shift = lanes == row.lanes ? largest : e.splat(largest, lanes);
      Value y = emitExp(b, arith::SubFOp::create(b, x, shift));
      if (mask)
        y = laneSelect(mask, y, number(0, y.getType()));
      return {arith::AddFOp::create(b, state[0], y)};
    };
    Value sum = reduce({size}, total, row.lanes, vectorDim)[0];
    if (op.getLog())
      sum = arith::AddFOp::create(b, largest, emitLog(b, sum));
    return {largest, sum};
  });
  Value largest = numbers[0], sum = numbers[1];
  Value x = valueAt(point, point.at[d], point.lanes, point.mask);
  if (row.lanes != point.lanes) {
    largest = e.splat(largest, point.lanes);
    sum = e.splat(sum, point.lanes);
  }
  if (op.getLog())
    return narrow(arith::SubFOp::create(b, x, sum), type);
  Value y = emitExp(b, arith::SubFOp::create(b, x, largest));
  return narrow(arith::DivFOp::create(b, y, sum), type);
}

Value Evaluator::layerNorm(mv::LayerNormOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Type type = elementType(op.getInput());
  Type computed = sumType(type);
  auto inputType = cast<RankedTensorType>(op.getInput().getType());
  int64_t rank = inputType.getRank();
  auto normalized = int64_t(op.getDims());
  int64_t outer = rank - normalized;
  Point row = point;
  for (int64_t d = outer; d < rank; ++d)
    row.at[d] = Coordinate(0);
  if (row.isUniform())
    row = Point(row.at);

  auto numbers = shared(op, row, [&]() -> SmallVector<Value, 2> {
    SmallVector<Value> sizes;
    Value count = e.constant(1);
    for (int64_t d = outer; d < rank; ++d) {
      sizes.push_back(dim(op.getInput(), d));
      count = e.mul(count, sizes.back());
    }
    // Several dims are one where they lie one after the other.
    int64_t last = rank - 1;
    bool flat = normalized > 1 && !variable.contains(op.getInput()) &&
                isFlattenable(e.kernel(), op.getInput(), outer, last);
    if (flat) {
      sizes = {count};
      last = lastNonUnitDim(inputType, outer, last);
    }
    int64_t vectorDim = row.lanes ? -1 : int64_t(sizes.size()) - 1;
    Type rowType = withLanes(computed, row.lanes);
    auto valueAt = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask) {
      Point here(row.at, lanes,
                 mask                 ? mask
                 : lanes == row.lanes ? row.mask
                                      : Value());
      if (flat)
        here.at[last] = at[0];
      else
        llvm::copy(at, here.at.begin() + outer);
      return widen(evaluate(op.getInput(), here));
    };
    Value elements = arith::SIToFPOp::create(b, computed, count);
    elements = e.splat(elements, row.lanes);
    auto mean = [&](llvm::function_ref<Value(Value, int64_t)> term) -> Value {
      Reduction sum;
      sum.inits = {number(0, rowType)};
      if (!row.lanes)
        sum.neutral = {number(0, computed)};
      sum.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
        return {arith::AddFOp::create(b, x[0], y[0])};
      };
      sum.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                     ValueRange state) -> SmallVector<Value> {
        Value x = term(valueAt(at, lanes, mask), lanes);
        if (mask)
          x = laneSelect(mask, x, number(0, x.getType()));
        return {arith::AddFOp::create(b, state[0], x)};
      };
      Value total = reduce(sizes, sum, row.lanes, vectorDim)[0];
      return arith::DivFOp::create(b, total, elements);
    };
    Value center;
    if (!op.getRms())
      center = mean([](Value x, int64_t) { return x; });
    Value variance = mean([&](Value x, int64_t lanes) -> Value {
      if (center) {
        Value shift = lanes == row.lanes ? center : e.splat(center, lanes);
        x = arith::SubFOp::create(b, x, shift);
      }
      return arith::MulFOp::create(b, x, x);
    });
    Value root = math::SqrtOp::create(
        b,
        arith::AddFOp::create(
            b, variance, number(op.getEpsilon().convertToDouble(), rowType)));
    Value scale = arith::DivFOp::create(b, number(1, rowType), root);
    if (!center)
      return {scale};
    return {center, scale};
  });

  auto lanesOf = [&](Value value) {
    return row.lanes == point.lanes ? value : e.splat(value, point.lanes);
  };
  Value x = widen(evaluate(op.getInput(), point));
  if (!op.getRms())
    x = arith::SubFOp::create(b, x, lanesOf(numbers[0]));
  x = arith::MulFOp::create(b, x, lanesOf(numbers.back()));
  Point inner = point.with(ArrayRef<Coordinate>(point.at).drop_front(outer));
  Value scale, bias;
  if (op.getScale())
    scale = widen(evaluate(op.getScale(), inner));
  if (op.getBias())
    bias = widen(evaluate(op.getBias(), inner));
  if (scale && bias)
    x = e.fma(x, scale, bias);
  else if (scale)
    x = arith::MulFOp::create(b, x, scale);
  else if (bias)
    x = arith::AddFOp::create(b, x, bias);
  return narrow(x, type);
}

Value Evaluator::argReduce(mv::ArgReduceOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  auto d = int64_t(op.getDim());
  Type computed = sumType(elementType(op.getInput()));
  bool isFloat = isa<FloatType>(computed);
  bool isMax = op.getKind() == mv::ArgKind::Max;
  bool isBool = computed.isInteger(1);
  int64_t rank = int64_t(point.at.size()) + 1;
  Type i64 = b.getI64Type();

  // Whether (x, i) comes before (y, j): a NaN before any number, and of equal
  // ones the first (or the last).
  auto isBetter = [&](Value x, Value i, Value y, Value j) -> Value {
    Value earlier = arith::CmpIOp::create(
        b, op.getLast() ? arith::CmpIPredicate::sgt : arith::CmpIPredicate::slt,
        i, j);
    auto both = [&](Value p, Value q) -> Value {
      return arith::AndIOp::create(b, p, q);
    };
    auto either = [&](Value p, Value q) -> Value {
      return arith::OrIOp::create(b, p, q);
    };
    if (!isFloat) {
      using P = arith::CmpIPredicate;
      P predicate =
          isMax ? (isBool ? P::ugt : P::sgt) : (isBool ? P::ult : P::slt);
      Value equal = arith::CmpIOp::create(b, P::eq, x, y);
      return either(arith::CmpIOp::create(b, predicate, x, y),
                    both(equal, earlier));
    }
    using P = arith::CmpFPredicate;
    Value nanX = arith::CmpFOp::create(b, P::UNO, x, x);
    Value numberY = arith::CmpFOp::create(b, P::ORD, y, y);
    Value better = arith::CmpFOp::create(b, isMax ? P::OGT : P::OLT, x, y);
    Value equal = arith::CmpFOp::create(b, P::OEQ, x, y);
    return either(either(better, both(equal, earlier)),
                  both(nanX, either(numberY, earlier)));
  };
  auto pick = [&](ValueRange a, ValueRange c) -> SmallVector<Value> {
    Value better = isBetter(a[0], a[1], c[0], c[1]);
    return {laneSelect(better, a[0], c[0]), laneSelect(better, a[1], c[1])};
  };

  // What every element is better than: the worst value at no position.
  unsigned width = computed.getIntOrFloatBitWidth();
  TypedAttr worst;
  if (isFloat)
    worst = FloatAttr::get(computed, isMax ? -INFINITY : INFINITY);
  else if (isBool)
    worst = IntegerAttr::get(computed, APInt(1, isMax ? 0 : 1));
  else
    worst = IntegerAttr::get(computed, isMax ? APInt::getSignedMinValue(width)
                                             : APInt::getSignedMaxValue(width));
  Value worstScalar = arith::ConstantOp::create(b, worst);
  Value nowhere =
      e.constant(op.getLast() ? -1 : std::numeric_limits<int64_t>::max());
  (void)i64;
  Reduction search;
  search.inits = {e.splat(worstScalar, point.lanes),
                  e.splat(nowhere, point.lanes)};
  bool vectorize = !point.lanes && d == rank - 1;
  if (vectorize)
    search.neutral = {worstScalar, nowhere};
  search.join = pick;
  search.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                    ValueRange best) -> SmallVector<Value> {
    Point source(point.at, lanes,
                 mask                   ? mask
                 : lanes == point.lanes ? point.mask
                                        : Value());
    source.at.insert(source.at.begin() + d, at[0]);
    Value x = widen(evaluate(op.getInput(), source));
    CoordinateMath math(e, lanes);
    Value position = lanes ? math.vector(at[0]) : math.scalar(at[0]);
    if (mask) {
      x = laneSelect(mask, x, e.splat(worstScalar, lanes));
      position = laneSelect(mask, position, e.splat(nowhere, lanes));
    }
    return pick({x, position}, best);
  };
  Value found = reduce({dim(op.getInput(), d)}, search, point.lanes,
                       vectorize ? 0 : -1)[1];
  Type result = withLanes(elementType(op.getResult()), point.lanes);
  if (result != found.getType())
    found = arith::TruncIOp::create(b, result, found);
  return found;
}

Value Evaluator::cumulativeSum(mv::CumulativeSumOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  CoordinateMath math(e, point.lanes);
  auto d = int64_t(op.getDim());
  Type type = elementType(op.getInput());
  Type computed = sumType(type);
  Type valueType = withLanes(computed, point.lanes);
  bool isFloat = isa<FloatType>(computed);
  const Coordinate &end = point.at[d];
  Value size = dim(op.getInput(), d);
  Value zero = number(0, valueType);

  // The sum over the row's elements before (and at) `end`; along the row the
  // lanes end at different places.
  Reduction sum;
  sum.inits = {zero};
  sum.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                 ValueRange state) -> SmallVector<Value> {
    Coordinate position = at[0];
    // In reverse the elements are added from the end.
    if (op.getReverse())
      position = math.sub(math.of(e.add(size, -1)), position);
    Point source = point;
    source.at[d] = position;
    Value x = widen(evaluate(op.getInput(), source));
    arith::CmpIPredicate predicate =
        op.getReverse() ? (op.getExclusive() ? arith::CmpIPredicate::sgt
                                             : arith::CmpIPredicate::sge)
                        : (op.getExclusive() ? arith::CmpIPredicate::slt
                                             : arith::CmpIPredicate::sle);
    Value here = math.scalar(position), limit = math.value(end);
    if (isa<VectorType>(limit.getType()))
      here = e.splat(here, point.lanes);
    Value counts = arith::CmpIOp::create(b, predicate, here, limit);
    Value next = isFloat ? Value(arith::AddFOp::create(b, state[0], x))
                         : Value(arith::AddIOp::create(b, state[0], x));
    return {laneSelect(counts, next, state[0])};
  };
  return narrow(reduce({size}, sum, point.lanes, -1)[0], type);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Value Evaluator::attention(mv::AttentionOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Type type = elementType(op.getResult());
  Type computed = sumType(type);
  int64_t rank = int64_t(point.at.size());
  // The lanes of the query's row; along the result's last dim there are none.
  Point row = point;
  row.at[rank - 1] = Coordinate(0);
  if (row.isUniform())
    row = Point(row.at);
  Value keys = dim(op.getKey(), rank - 2);
  auto maskType = op.getMask() ? elementType(op.getMask()) : Type();
  CoordinateMath rowMath(e, row.lanes);

  // score(s) for the row, s uniform.
  auto score = [&](const Coordinate &s) -> Value {
    Reduction dot;
    Type rowType = withLanes(computed, row.lanes);
    dot.inits = {number(0, rowType)};
    if (!row.lanes)
      dot.neutral = {number(0, computed)};
    dot.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
      return {arith::AddFOp::create(b, x[0], y[0])};
    };
    dot.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                   ValueRange sums) -> SmallVector<Value> {
      Value lanesMask = mask ? mask : lanes == row.lanes ? row.mask : Value();
      Point query(row.at, lanes, lanesMask), key(row.at, lanes, lanesMask);
      query.at[rank - 1] = at[0];
      key.at[rank - 1] = at[0];
      key.at[rank - 2] = s;
      return {multiplyAdd(*this, evaluate(op.getQuery(), query),
                          evaluate(op.getKey(), key), sums[0])};
    };
    Value value = reduce({dim(op.getQuery(), rank - 1)}, dot, row.lanes,
                         row.lanes ? -1 : 0)[0];
    value = arith::MulFOp::create(
        b, value, number(op.getScale().convertToDouble(), rowType));
    Value lowest = negativeInfinity(*this, rowType);
    if (op.getMask()) {
      // Broadcast from the right; dims of size 1 as well.
      auto type = cast<RankedTensorType>(op.getMask().getType());
      Point at = row.with({});
      Coordinates full(row.at);
      full[rank - 1] = s;
      for (int64_t d = 0; d < type.getRank(); ++d)
        at.at.push_back(type.getDimSize(d) == 1
                            ? Coordinate(0)
                            : full[rank - type.getRank() + d]);
      Value mask = evaluate(op.getMask(), at);
      if (maskType.isInteger(1))
        value = laneSelect(mask, value, lowest);
      else
        value = arith::AddFOp::create(b, value, widen(mask));
    }
    if (op.getCausal()) {
      Value limit = rowMath.value(row.at[rank - 2]);
      Value here = rowMath.scalar(s);
      bool perLane = isa<VectorType>(limit.getType());
      if (perLane)
        here = e.splat(here, row.lanes);
      Value sees =
          arith::CmpIOp::create(b, arith::CmpIPredicate::sle, here, limit);
      value = laneSelect(sees, value, lowest);
    }
    return value;
  };

  auto numbers = shared(op, row, [&]() -> SmallVector<Value, 2> {
    Type rowType = withLanes(computed, row.lanes);
    // Maximum and sum in one pass: the sum is rescaled when the maximum grows.
    Reduction online;
    online.inits = {negativeInfinity(*this, rowType), number(0, rowType)};
    online.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                      ValueRange state) -> SmallVector<Value> {
      Value x = score(at[0]);
      Value largest = emitMaximum(b, state[0], x);
      // A maximum of -inf has an empty sum; avoid inf - inf.
      Value isEmpty =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, largest,
                                negativeInfinity(*this, rowType));
      Value shift = laneSelect(isEmpty, number(0, rowType), largest);
      Value scale = emitExp(b, arith::SubFOp::create(b, state[0], shift));
      Value term = emitExp(b, arith::SubFOp::create(b, x, shift));
      return {largest, e.fma(state[1], scale, term)};
    };
    SmallVector<Value> state = reduce({keys}, online, row.lanes, -1);
    // All keys masked: PyTorch's i1 masks give zeros, a float mask NaN.
    if (maskType && maskType.isInteger(1)) {
      Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, state[0],
                                         negativeInfinity(*this, rowType));
      state[0] = laneSelect(none, number(0, rowType), state[0]);
      state[1] = laneSelect(none, number(1, rowType), state[1]);
    }
    return {state[0], state[1]};
  });
  Type valueType = withLanes(computed, point.lanes);
  Reduction sum;
  sum.inits = {number(0, valueType)};
  sum.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                 ValueRange sums) -> SmallVector<Value> {
    Value weight =
        emitExp(b, arith::SubFOp::create(b, score(at[0]), numbers[0]));
    Point value = point;
    value.at[rank - 2] = at[0];
    Value y = widen(evaluate(op.getValue(), value));
    if (row.lanes != point.lanes)
      weight = e.splat(weight, point.lanes);
    return {e.fma(weight, y, sums[0])};
  };
  Value total = reduce({keys}, sum, point.lanes, -1)[0];
  Value divisor =
      row.lanes == point.lanes ? numbers[1] : e.splat(numbers[1], point.lanes);
  return narrow(arith::DivFOp::create(b, total, divisor), type);
}
