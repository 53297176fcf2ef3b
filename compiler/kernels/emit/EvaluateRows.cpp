//===- EvaluateRows.cpp - Operations on whole rows at an index ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace marver;

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
  Type type = getElementTypeOrSelf(op.getInput());
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
    maximum.inits = {negativeInfinity(rowType)};
    if (!row.lanes)
      maximum.neutral = {negativeInfinity(computed)};
    maximum.join = [&](ValueRange x, ValueRange y) -> SmallVector<Value> {
      return {emitMaximum(b, x[0], y[0])};
    };
    maximum.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                       ValueRange state) -> SmallVector<Value> {
      Value x = valueAt(row, at[0], lanes, mask);
      if (mask)
        x = laneSelect(mask, x, negativeInfinity(x.getType()));
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
  Type type = getElementTypeOrSelf(op.getInput());
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
  Type computed = sumType(getElementTypeOrSelf(op.getInput()));
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
  Type result = withLanes(getElementTypeOrSelf(op.getResult()), point.lanes);
  if (result != found.getType())
    found = arith::TruncIOp::create(b, result, found);
  return found;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Value Evaluator::attention(mv::AttentionOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Type type = getElementTypeOrSelf(op.getResult());
  Type computed = sumType(type);
  int64_t rank = int64_t(point.at.size());
  // The lanes of the query's row; along the result's last dim there are none.
  Point row = point;
  row.at[rank - 1] = Coordinate(0);
  if (row.isUniform())
    row = Point(row.at);
  Value keys = dim(op.getKey(), rank - 2);
  auto maskType = op.getMask() ? getElementTypeOrSelf(op.getMask()) : Type();
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
      return {multiplyAdd(evaluate(op.getQuery(), query),
                          evaluate(op.getKey(), key), sums[0])};
    };
    Value value = reduce({dim(op.getQuery(), rank - 1)}, dot, row.lanes,
                         row.lanes ? -1 : 0)[0];
    value = arith::MulFOp::create(
        b, value, number(op.getScale().convertToDouble(), rowType));
    Value lowest = negativeInfinity(rowType);
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
      if (maskType.isInteger(64)) {
        Value here = rowMath.scalar(s);
        if (isa<VectorType>(mask.getType()))
          here = e.splat(here, row.lanes);
        mask = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, here, mask);
      }
      if (maskType.isInteger())
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
    online.inits = {negativeInfinity(rowType), number(0, rowType)};
    online.step = [&](ArrayRef<Coordinate> at, int64_t, Value,
                      ValueRange state) -> SmallVector<Value> {
      Value x = score(at[0]);
      Value largest = emitMaximum(b, state[0], x);
      // A maximum of -inf has an empty sum; avoid inf - inf.
      Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                            largest, negativeInfinity(rowType));
      Value shift = laneSelect(isEmpty, number(0, rowType), largest);
      Value scale = emitExp(b, arith::SubFOp::create(b, state[0], shift));
      Value term = emitExp(b, arith::SubFOp::create(b, x, shift));
      return {largest, e.fma(state[1], scale, term)};
    };
    SmallVector<Value> state = reduce({keys}, online, row.lanes, -1);
    // All keys masked: PyTorch's i1 masks give zeros, a float mask NaN.
    if (maskType && maskType.isInteger()) {
      Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, state[0],
                                         negativeInfinity(rowType));
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
