//===- EvaluateWindows.cpp - Pools and resizes at an index ----------------===//
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

Value Evaluator::pool(mv::PoolOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  ImplicitLocOpBuilder &b = builder();
  Type type = getElementTypeOrSelf(op.getResult());
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
    lowest = isFloat ? negativeInfinity(valueType) : [&]() -> Value {
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
    Type valueElement = getElementTypeOrSelf(op.getInput());
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
  Type type = getElementTypeOrSelf(op.getResult());
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
