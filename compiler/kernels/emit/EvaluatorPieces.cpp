//===- EvaluatorPieces.cpp - What the files of the evaluator share --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "marver/abi.h"

using namespace mlir;
using namespace marver;

Value Evaluator::laneSelect(Value condition, Value yes, Value no) {
  return arith::SelectOp::create(builder(), condition, yes, no);
}

Value Evaluator::number(double value, Type type) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attribute;
  if (auto floatType = dyn_cast<FloatType>(element))
    attribute = FloatAttr::get(floatType, value);
  else
    attribute = IntegerAttr::get(element, int64_t(value));
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, Attribute(attribute));
  return arith::ConstantOp::create(builder(), attribute);
}

Value Evaluator::negativeInfinity(Type type) {
  return number(-std::numeric_limits<double>::infinity(), type);
}

Value Evaluator::widen(Value value) {
  ImplicitLocOpBuilder &b = builder();
  Type element = getElementTypeOrSelf(value.getType());
  auto vector = dyn_cast<VectorType>(value.getType());
  auto typed = [&](Type t) { return vector ? Type(vector.clone(t)) : t; };
  if (element.isF16())
    return arith::ExtFOp::create(b, typed(b.getF32Type()), value);
  if (!element.isBF16())
    return value;
  // bf16 is the upper half of f32; no CPU feature is needed for that.
  Value bits = arith::BitcastOp::create(b, typed(b.getIntegerType(16)), value);
  Type i32 = typed(b.getI32Type());
  Value wide = arith::ExtUIOp::create(b, i32, bits);
  Value shifted = arith::ShLIOp::create(b, wide, number(16, i32));
  return arith::BitcastOp::create(b, typed(b.getF32Type()), shifted);
}

Value Evaluator::narrow(Value value, Type elementType) {
  ImplicitLocOpBuilder &b = builder();
  if (getElementTypeOrSelf(value.getType()) == elementType)
    return value;
  auto vector = dyn_cast<VectorType>(value.getType());
  auto typed = [&](Type t) { return vector ? Type(vector.clone(t)) : t; };
  if (elementType.isF16())
    return arith::TruncFOp::create(b, typed(elementType), value);
  if (!elementType.isBF16())
    return value;
  // Round to nearest even on the bits; a NaN stays one. (The instruction that
  // does this flushes denormals.)
  Type i32 = typed(b.getI32Type());
  Value bits = arith::BitcastOp::create(b, i32, value);
  Value upper = arith::ShRUIOp::create(b, bits, number(16, i32));
  Value odd = arith::AndIOp::create(b, upper, number(1, i32));
  Value rounding = arith::AddIOp::create(b, odd, number(0x7fff, i32));
  Value rounded = arith::ShRUIOp::create(
      b, arith::AddIOp::create(b, bits, rounding), number(16, i32));
  Value isNan =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  Value quiet = arith::OrIOp::create(b, upper, number(0x40, i32));
  Value chosen = laneSelect(isNan, quiet, rounded);
  Value half = arith::TruncIOp::create(b, typed(b.getIntegerType(16)), chosen);
  return arith::BitcastOp::create(b, typed(elementType), half);
}

Value Evaluator::multiplyAdd(Value x, Value y, Value accumulator) {
  ImplicitLocOpBuilder &b = builder();
  Type type = accumulator.getType();
  x = widen(x);
  y = widen(y);
  if (isa<FloatType>(getElementTypeOrSelf(type)))
    return e.fma(x, y, accumulator);
  if (x.getType() != type) {
    x = arith::ExtSIOp::create(b, type, x);
    y = arith::ExtSIOp::create(b, type, y);
  }
  return arith::AddIOp::create(b, accumulator, arith::MulIOp::create(b, x, y));
}

Value Evaluator::select(const Point &point, ArrayRef<Coordinate> source,
                        ArrayRef<Value> sizes, ArrayRef<bool> mayBeBelow,
                        ArrayRef<bool> mayBeAbove, Type elementType,
                        llvm::function_ref<Value(const Point &)> inside,
                        llvm::function_ref<Value(const Point &)> outside,
                        ArrayRef<Value> tests) {
  ImplicitLocOpBuilder &b = builder();
  CoordinateMath math(e, point.lanes);
  Value scalarTest, laneTest;
  auto join = [&](Value test) {
    if (!test)
      return;
    Value &all = isa<VectorType>(test.getType()) ? laneTest : scalarTest;
    all = all ? Value(arith::AndIOp::create(b, all, test)) : test;
  };
  for (Value test : tests)
    join(test);
  for (auto [d, c] : llvm::enumerate(source)) {
    if (mayBeBelow[d])
      join(math.notNegative(c));
    if (mayBeAbove[d])
      join(math.lessThan(c, sizes[d]));
  }
  Type type = withLanes(elementType, point.lanes);
  auto perLane = [&]() -> Value {
    Point narrowed = point.with(source);
    if (!laneTest)
      return inside(narrowed);
    narrowed.mask = point.mask
                        ? Value(arith::AndIOp::create(b, point.mask, laneTest))
                        : laneTest;
    // A point has at least one lane.
    Value value = e.ifThenElse(
        e.anyLane(narrowed.mask), type, [&] { return inside(narrowed); },
        [&] { return e.zero(elementType, point.lanes); });
    return laneSelect(laneTest, value, outside(point));
  };
  if (!scalarTest)
    return perLane();
  return e.ifThenElse(scalarTest, type, perLane,
                      [&] { return outside(point); });
}

Coordinate Evaluator::coordinateFrom(Value tensor, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  Point at = point.isUniform() ? Point(point.at) : point;
  Value value = evaluate(tensor, at);
  Type type = withLanes(b.getI64Type(), at.lanes);
  if (value.getType() != type)
    value = arith::ExtSIOp::create(b, type, value);
  return CoordinateMath(e, point.lanes).fromValue(value);
}

Coordinate Evaluator::checkedIndex(const Coordinate &index, Value size,
                                   const Point &point, bool unchecked,
                                   Operation *op) {
  ImplicitLocOpBuilder &b = builder();
  CoordinateMath math(e, point.lanes);
  Value value = math.value(index);
  int64_t lanes = isa<VectorType>(value.getType()) ? point.lanes : 0;
  Value zero = e.splat(e.constant(0), lanes);
  Value limit = e.splat(size, lanes);
  Value negative =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, value, zero);
  value = laneSelect(negative, arith::AddIOp::create(b, value, limit), value);
  if (unchecked)
    return math.fromValue(value);
  // One unsigned comparison for both ends.
  Value bad = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, value, limit);
  Value reported = bad;
  if (lanes && point.mask)
    reported = arith::AndIOp::create(b, bad, point.mask);
  e.reportFailureIf(reported, MV_FAILURE_INDEX, op);
  return math.fromValue(laneSelect(bad, zero, value));
}

SmallVector<Value> Evaluator::reduce(ArrayRef<Value> sizes,
                                     const Reduction &reduction, int64_t lanes,
                                     int64_t vectorDim) {
  ImplicitLocOpBuilder &b = builder();
  Coordinates at(sizes.size());
  int64_t width = e.target().lanes;

  // Loops over all dims but `vectorDim`, outermost first.
  using Leaf = llvm::function_ref<SmallVector<Value>(ValueRange)>;
  std::function<SmallVector<Value>(size_t, ValueRange, Leaf)> nest =
      [&](size_t d, ValueRange accumulators, Leaf leaf) -> SmallVector<Value> {
    if (d == sizes.size())
      return leaf(accumulators);
    if (int64_t(d) == vectorDim)
      return nest(d + 1, accumulators, leaf);
    if (e.constantValue(sizes[d]) == 1) {
      at[d] = Coordinate(0);
      return nest(d + 1, accumulators, leaf);
    }
    return e.loop(e.constant(0), sizes[d], 1, accumulators,
                  [&](Value i, ValueRange carried) {
                    at[d] = Coordinate(i);
                    return nest(d + 1, carried, leaf);
                  });
  };
  if (vectorDim < 0)
    return nest(0, reduction.inits, [&](ValueRange accumulators) {
      return reduction.step(at, lanes, nullptr, accumulators);
    });

  // Vectors along `vectorDim`, which is the innermost loop: `unroll` sets of
  // accumulators hide the latency. Their number depends on the type only.
  Value length = sizes[vectorDim];
  std::optional<int64_t> known = e.constantValue(length);
  int64_t unroll = known && *known < 4 * width ? 1 : 4;
  SmallVector<Value> neutral;
  for (int64_t u = 0; u < unroll; ++u)
    for (Value value : reduction.neutral)
      neutral.push_back(e.splat(value, width));
  size_t count = reduction.neutral.size();

  auto row = [&](ValueRange accumulators) -> SmallVector<Value> {
    Value zero = e.constant(0);
    Value done = zero;
    SmallVector<Value> state(accumulators);
    if (unroll > 1) {
      Value chunk = e.constant(unroll * width);
      done = e.mul(e.floorDiv(length, chunk), chunk);
      state = e.loop(
          zero, done, unroll * width, state, [&](Value i, ValueRange carried) {
            SmallVector<Value> next;
            for (int64_t u = 0; u < unroll; ++u) {
              Coordinate c(i, width, 1);
              c.offset = u * width;
              at[vectorDim] = c;
              llvm::append_range(
                  next, reduction.step(at, width, nullptr,
                                       carried.slice(u * count, count)));
            }
            return next;
          });
    }
    // Whole vectors that are left, then a partial one, on the first set.
    Value whole = e.mul(e.floorDiv(length, e.constant(width)), width);
    SmallVector<Value> first(ArrayRef<Value>(state).take_front(count));
    if (e.constantValue(whole) != e.constantValue(done) ||
        !e.constantValue(whole))
      first =
          e.loop(done, whole, width, first, [&](Value i, ValueRange carried) {
            at[vectorDim] = Coordinate(i, width, 1);
            return reduction.step(at, width, nullptr, carried);
          });
    Value rest = e.sub(length, whole);
    if (e.constantValue(rest) != 0) {
      auto tail = [&] {
        Coordinate c = CoordinateMath(e, width).of(whole);
        if (c.base)
          c.multiple = width;
        c.stride = 1;
        at[vectorDim] = c;
        return reduction.step(at, width, e.laneMask(rest, width), first);
      };
      if (e.constantValue(rest)) {
        first = tail();
      } else {
        Value some =
            arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, rest, zero);
        auto op = scf::IfOp::create(b, ValueRange(first).getTypes(), some,
                                    /*addThenBlock=*/true,
                                    /*addElseBlock=*/true);
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToEnd(op.elseBlock());
        scf::YieldOp::create(b, first);
        b.setInsertionPointToEnd(op.thenBlock());
        scf::YieldOp::create(b, tail());
        first.assign(op.result_begin(), op.result_end());
      }
    }
    llvm::copy(first, state.begin());
    return state;
  };
  SmallVector<Value> state = nest(0, neutral, row);

  // Join the sets, then the lanes, as trees.
  for (int64_t half = unroll / 2; half > 0; half /= 2)
    for (int64_t u = 0; u < half; ++u) {
      ArrayRef<Value> all(state);
      SmallVector<Value> joined = reduction.join(
          all.slice(u * count, count), all.slice((u + half) * count, count));
      llvm::copy(joined, state.begin() + u * count);
    }
  state.resize(count);
  for (int64_t half = width / 2; half > 0; half /= 2) {
    SmallVector<Value> low, high;
    for (Value value : state) {
      low.push_back(vector::ShuffleOp::create(
          b, value, value, llvm::to_vector(llvm::seq<int64_t>(0, half))));
      high.push_back(vector::ShuffleOp::create(
          b, value, value,
          llvm::to_vector(llvm::seq<int64_t>(half, 2 * half))));
    }
    state = reduction.join(low, high);
  }
  SmallVector<Value> scalars;
  for (Value value : state)
    scalars.push_back(vector::ExtractOp::create(b, value, 0));
  return reduction.join(reduction.inits, scalars);
}
