//===- Slices.cpp - Builders that take and join parts of tensors ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "marver/abi.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

Value OpsBuilder::narrow(Value x, int64_t axis, Dim offset, Dim size) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  return strided(x, *position, offset, size, index(1));
}

/// Elements offset, offset + step, ... of an axis; step is positive and all are
/// in range.
Value OpsBuilder::strided(Value x, int64_t axis, Dim offset, Dim size,
                          Dim step) {
  Dims all = dims(x);
  if (same(all[axis], size) && known(offset) == 0 && known(step) == 1)
    return x;
  if (known(all[axis]) == 0) // whatever is taken of nothing
    return x;
  Dims offsets(all.size(), index(0)), steps(all.size(), index(1));
  offsets[axis] = offset;
  steps[axis] = step;
  all[axis] = size;
  if (known(size) == 0) // its offset may be the end, which no slice takes
    return empty(all, elementOf(x));
  return withDims(tensor::ExtractSliceOp::create(*this,
                                                 typeFor(all, elementOf(x)), x,
                                                 offsets, all, steps),
                  all);
}

Value OpsBuilder::slice(Value x, int64_t axis, Dim start, Dim end, Dim step) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  auto stride = known(step);
  if (!stride)
    return fail("a slice whose step is only known when the model runs");
  if (*stride == 0)
    return fail("a slice with step 0");
  Dim size = dim(x, *position);
  // Python's rules: negative positions count from the end, then clamp.
  bool backward = *stride < 0;
  Dim lowest = index(backward ? -1 : 0);
  Dim highest = backward ? sub(size, index(1)) : size;
  auto normalize = [&](Dim at) -> Dim {
    auto number = known(at);
    if (number == std::numeric_limits<int64_t>::max())
      return highest;
    if (number && *number <= std::numeric_limits<int64_t>::min() + 1)
      return lowest;
    Dim fromEnd = add(at, size);
    if (number)
      return max(lowest, min(highest, *number < 0 ? fromEnd : at));
    Value negative = compare(arith::CmpIPredicate::slt, at, index(0));
    return max(lowest, min(highest, select(negative, fromEnd, at)));
  };
  Dim first = normalize(start), last = normalize(end);
  if (!backward) {
    Dim count = max(index(0), ceilDiv(sub(last, first), step));
    if (known(count) == 0)
      first = index(0);
    return strided(x, *position, first, count, step);
  }
  int64_t magnitude = -*stride;
  Dim count = max(index(0), ceilDiv(sub(first, last), index(magnitude)));
  // Read forwards from the last element taken, then turned round.
  Dim offset = sub(first, mul(sub(count, index(1)), index(magnitude)));
  if (known(count) == 0)
    offset = index(0);
  else if (!known(count))
    offset = max(index(0), min(offset, sub(size, index(1))));
  return flip(strided(x, *position, offset, count, index(magnitude)),
              {*position});
}

Value OpsBuilder::select(Value x, int64_t axis, Dim position) {
  if (!x)
    return nullptr;
  auto at = this->axis(axis, rankOf(x));
  if (!at)
    return nullptr;
  Dim size = dim(x, *at);
  auto number = known(position), length = known(size);
  if (number && length && (*number < -*length || *number >= *length))
    return fail("position " + Twine(*number) +
                " is out of range for a dim of " + Twine(*length));
  if (number) {
    if (*number < 0)
      position = add(position, size);
    if (!length)
      check(compare(arith::CmpIPredicate::slt,
                    index(*number < 0 ? -*number - 1 : *number), size),
            MV_FAILURE_INDEX, "a position is out of range");
  } else {
    Value negative = compare(arith::CmpIPredicate::slt, position, index(0));
    position = select(negative, add(position, size), position);
    check(compare(arith::CmpIPredicate::sge, position, index(0)),
          MV_FAILURE_INDEX, "a position is out of range");
    check(compare(arith::CmpIPredicate::slt, position, size), MV_FAILURE_INDEX,
          "a position is out of range");
  }
  return squeeze(narrow(x, *at, position, index(1)), {*at});
}

llvm::SmallVector<Value> OpsBuilder::split(Value x, int64_t axis,
                                           ArrayRef<Dim> sizes) {
  if (!x)
    return {};
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return {};
  SmallVector<Value> parts;
  Dim offset = index(0);
  for (Dim size : sizes) {
    if (auto number = known(size); number && *number < 0) {
      fail("a part of a split has size " + Twine(*number));
      return {};
    }
    parts.push_back(narrow(x, *position, offset, size));
    offset = add(offset, size);
  }
  if (!requireEqual(offset, dim(x, *position), "the sizes of a split"))
    return {};
  return parts;
}

//===----------------------------------------------------------------------===//
// Concatenation and padding
//===----------------------------------------------------------------------===//

Value OpsBuilder::concat(Values xs, int64_t axis) {
  if (xs.empty())
    return fail("nothing to concatenate");
  for (Value x : xs)
    if (!x)
      return nullptr;
  int64_t rank = rankOf(xs[0]);
  if (rank == 0)
    return fail("cannot concatenate tensors of rank 0");
  auto position = this->axis(axis, rank);
  if (!position)
    return nullptr;
  Dims target = dims(xs[0]);
  target[*position] = index(0);
  SmallVector<Value> parts;
  for (Value x : xs) {
    if (elementOf(x) != elementOf(xs[0]))
      return fail("operands have different element types");
    if (rankOf(x) != rank)
      return fail("operands have different ranks: " + Twine(rank) + " and " +
                  Twine(rankOf(x)));
    Dims own = dims(x);
    for (int64_t i = 0; i < rank; ++i) {
      if (i == *position) {
        target[i] = add(target[i], own[i]);
        continue;
      }
      if (!requireEqual(target[i], own[i], "dims beside the concatenated one"))
        return nullptr;
      if (known(own[i]))
        target[i] = own[i];
    }
    if (known(own[*position]) != 0)
      parts.push_back(x);
  }
  if (parts.empty())
    return empty(target, elementOf(xs[0]));
  if (parts.size() == 1)
    return parts[0];
  return withDims(tensor::ConcatOp::create(*this,
                                           typeFor(target, elementOf(xs[0])),
                                           uint64_t(*position), parts),
                  target);
}

Value OpsBuilder::stack(Values xs, int64_t axis) {
  SmallVector<Value> parts;
  for (Value x : xs) {
    if (!x)
      return nullptr;
    auto position = this->axis(axis, rankOf(x) + 1);
    if (!position)
      return nullptr;
    parts.push_back(unsqueeze(x, {*position}));
  }
  if (parts.empty())
    return fail("nothing to stack");
  return parts.back() ? concat(parts, *this->axis(axis, rankOf(parts[0])))
                      : nullptr;
}

Value OpsBuilder::pad(Value x, ArrayRef<Dim> low, ArrayRef<Dim> high,
                      PadMode mode, Value fill) {
  if (!x)
    return nullptr;
  if (int64_t(low.size()) != rankOf(x) || int64_t(high.size()) != rankOf(x))
    return fail("needs a low and a high pad for each of " + Twine(rankOf(x)) +
                " dims");
  // Sums of larger ones would wrap.
  constexpr int64_t largest = int64_t(1) << 48;
  for (ArrayRef<Dim> pads : {low, high})
    for (Dim dim : pads)
      if (auto number = known(dim);
          number && (*number > largest || *number < -largest))
        return fail("has a pad of " + Twine(*number));
  // Negative pads crop.
  Dims before, after;
  Value source = x;
  for (int64_t axis = 0; axis < rankOf(x); ++axis) {
    Dim zero = index(0);
    Dim dropped = max(zero, sub(zero, low[axis]));
    Dim dropLast = max(zero, sub(zero, high[axis]));
    before.push_back(max(zero, low[axis]));
    after.push_back(max(zero, high[axis]));
    Dim size = sub(dim(source, axis), add(dropped, dropLast));
    if (auto number = known(size); number && *number < 0)
      return fail("pads crop more than a dim holds");
    source = narrow(source, axis, dropped, size);
  }
  auto isZero = [](Dim dim) { return known(dim) == 0; };
  if (llvm::all_of(before, isZero) && llvm::all_of(after, isZero))
    return source;
  if (mode != PadMode::Constant)
    return padByGather(source, before, after, mode);

  Type element = elementOf(x);
  if (!fill)
    fill = scalar(0, element);
  if (elementOf(fill) != element)
    return fail("the padding value has another element type");
  Dims target = dims(source);
  for (auto [axis, dim] : llvm::enumerate(target))
    dim = add(dim, add(before[axis], after[axis]));
  Value number;
  DenseElementsAttr constantFill;
  if (matchPattern(fill, m_Constant(&constantFill)) && constantFill.isSplat())
    number = arith::ConstantOp::create(
        *this, cast<TypedAttr>(constantFill.getSplatValue<Attribute>()));
  else
    number = tensor::ExtractOp::create(
        *this, fill,
        SmallVector<Value>(rankOf(fill),
                           rankOf(fill) ? indexValue(index(0)) : nullptr));
  return withDims(tensor::PadOp::create(*this, typeFor(target, element), source,
                                        before, after, number),
                  target);
}

/// Pads that repeat elements: each axis is gathered through a list of
/// positions.
Value OpsBuilder::padByGather(Value x, ArrayRef<Dim> low, ArrayRef<Dim> high,
                              PadMode mode) {
  Value result = x;
  for (int64_t axis = 0; axis < rankOf(x); ++axis) {
    if (known(low[axis]) == 0 && known(high[axis]) == 0)
      continue;
    Dim size = dim(x, axis);
    Dim before = low[axis];
    Dim total = add(size, add(before, high[axis]));
    if (auto number = known(size); number && *number == 0)
      return fail("cannot pad an empty dim with its own elements");
    Value sizeValue = indexValue(size), beforeValue = indexValue(before);
    Value positions = generate(
        {total}, getI64Type(),
        [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
          Value zero = arith::ConstantIndexOp::create(b, 0);
          Value one = arith::ConstantIndexOp::create(b, 1);
          Value i = arith::SubIOp::create(b, at[0], beforeValue);
          Value last = arith::SubIOp::create(b, sizeValue, one);
          // A remainder of the divisor's sign.
          auto wrap = [&](Value value, Value period) -> Value {
            Value rest = arith::RemSIOp::create(b, value, period);
            Value negative =
                arith::CmpIOp::create(b, arith::CmpIPredicate::slt, rest, zero);
            return arith::SelectOp::create(
                b, negative, arith::AddIOp::create(b, rest, period), rest);
          };
          if (mode == PadMode::Edge) {
            i = arith::MinSIOp::create(b, arith::MaxSIOp::create(b, i, zero),
                                       last);
          } else if (mode == PadMode::Wrap) {
            i = wrap(i, sizeValue);
          } else {
            // ... 2 1 0 1 2 ... n-2 n-1 n-2 ... with period 2 (n - 1).
            Value two = arith::ConstantIndexOp::create(b, 2);
            Value period = arith::MaxSIOp::create(
                b, one, arith::MulIOp::create(b, two, last));
            Value rest = wrap(i, period);
            i = arith::MinSIOp::create(b, rest,
                                       arith::SubIOp::create(b, period, rest));
            i = arith::MinSIOp::create(b, i, last);
          }
          return arith::IndexCastOp::create(b, b.getI64Type(), i).getResult();
        });
    Dims target = dims(result);
    target[axis] = total;
    result = withDims(mv::GatherOp::create(*this, typeFor(target, elementOf(x)),
                                           result, positions, uint64_t(axis),
                                           /*unchecked=*/true),
                      target);
  }
  return result;
}
