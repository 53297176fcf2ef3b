//===- Selection.cpp - Builders of results whose size depends on data -----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All are made of three operations, each of which makes a list of positions:
// mv.top_k, mv.true_positions (whose length is read from a count of the true
// elements) and mv.suppress. What is at these positions is then gathered.
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "marver/abi.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace marver;

/// The operand that says a size which the type does not.
static Value sizeOperand(OpsBuilder &b, Dim size) {
  return OpsBuilder::known(size) ? Value() : b.indexValue(size);
}

/// The first `count` of the last dim (rows: the last but one), in order.
static Value firstInOrder(OpsBuilder &b, Value x, Dim count, bool largest,
                          bool rows, bool isUnsigned) {
  Dims dims = b.dims(x);
  dims.pop_back_n(rows ? 2 : 1);
  dims.push_back(count);
  auto op =
      mv::TopKOp::create(b, b.typeFor(dims, b.getI64Type()), x,
                         sizeOperand(b, count), largest, rows, isUnsigned);
  return b.withDims(op.getResult(), dims);
}

/// What is at `positions` of the last dim, which are in range.
static Value takeLast(OpsBuilder &b, Value x, Value positions) {
  Dims dims = b.dims(positions);
  auto op = mv::GatherElementsOp::create(
      b, b.typeFor(dims, OpsBuilder::elementOf(x)), x, positions,
      dims.size() - 1, /*unchecked=*/true);
  return b.withDims(op.getResult(), dims);
}

std::pair<Value, Value> OpsBuilder::topk(Value x, Dim k, int64_t axis,
                                         bool largest, bool isUnsigned) {
  std::pair<Value, Value> none;
  if (!x)
    return none;
  if (rankOf(x) == 0)
    return {x, scalar(0, getI64Type())};
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return none;
  Dim size = dim(x, *position);
  auto wanted = known(k), length = known(size);
  if (wanted && (*wanted < 0 || (length && *wanted > *length))) {
    fail("asks for " + Twine(*wanted) + " of " + Twine(length.value_or(-1)) +
         " elements");
    return none;
  }
  if (!same(k, size) && (!wanted || !length))
    check(compare(arith::CmpIPredicate::sle, k, size), MV_FAILURE_SHAPE,
          "fewer elements than are asked for");
  int64_t last = rankOf(x) - 1;
  Value rows = moveAxis(x, *position, last);
  Value positions =
      firstInOrder(*this, rows, k, largest, /*rows=*/false, isUnsigned);
  Value values = takeLast(*this, rows, positions);
  return {moveAxis(values, last, *position),
          moveAxis(positions, last, *position)};
}

Value OpsBuilder::truePositions(Value mask) {
  if (!mask)
    return nullptr;
  Value flat = reshape(mask, {product(dims(mask))});
  Value total = reduce(Reduce::Sum, cast(flat, getI64Type(), true), {0},
                       /*keepDims=*/false);
  auto size = tensorToDims(total);
  if (!size)
    return nullptr;
  Dim count = size->front();
  if (auto value = dyn_cast<Value>(count))
    setRange(value, 0, rangeOf(dim(flat, 0)).second);
  auto op = mv::TruePositionsOp::create(*this, typeFor({count}, getI64Type()),
                                        flat, sizeOperand(*this, count));
  return withDims(op.getResult(), {count});
}

Value OpsBuilder::nonzero(Value x) {
  if (!x)
    return nullptr;
  Value positions = truePositions(cast(x, getI1Type()));
  if (!positions)
    return nullptr;
  Dim count = dim(positions, 0);
  Dims sizes = dims(x);
  if (sizes.empty())
    return empty({count, index(0)}, getI64Type());
  // Coordinates of a position in a row-major box, from the last.
  SmallVector<Value> columns(sizes.size());
  for (size_t axis = sizes.size(); axis-- > 0;) {
    columns[axis] = positions;
    if (axis == 0)
      break;
    Value size = dimsToTensor(sizes[axis], getI64Type(), /*scalar=*/true);
    columns[axis] = binary(Binary::Mod, positions, size);
    positions = binary(Binary::DivTrunc, positions, size);
  }
  return stack(columns, 1);
}

/// `x` with the dims that a mask stands for merged, and the positions of its
/// true elements in its place.
static bool resolveMasks(OpsBuilder &b, Value &x,
                         SmallVectorImpl<Value> &indices) {
  int64_t axis = 0;
  for (Value &entry : indices) {
    if (entry && OpsBuilder::elementOf(entry).isInteger(1)) {
      int64_t rank = OpsBuilder::rankOf(entry);
      if (axis + rank > OpsBuilder::rankOf(x)) {
        b.fail("has a mask of more dims than there are");
        return false;
      }
      for (int64_t d = 0; d < rank; ++d)
        if (!b.requireEqual(b.dim(entry, d), b.dim(x, axis + d),
                            "dims of a mask and of what it indexes"))
          return false;
      x = rank ? b.flatten(x, axis, axis + rank - 1) : b.unsqueeze(x, {axis});
      entry = b.truePositions(entry);
    }
    ++axis;
  }
  return x && !b.failed();
}

Value OpsBuilder::indexMasks(Value x, Values indices) {
  SmallVector<Value> resolved(indices);
  if (!x || !resolveMasks(*this, x, resolved))
    return nullptr;
  return indexTensors(x, resolved);
}

Value OpsBuilder::indexPutMasks(Value x, Values indices, Value values,
                                ScatterKind kind) {
  if (!x)
    return nullptr;
  Dims all = dims(x);
  SmallVector<Value> resolved(indices);
  if (!resolveMasks(*this, x, resolved))
    return nullptr;
  Value result = indexPut(x, resolved, values, kind);
  return result ? reshape(result, all) : nullptr;
}

/// For every row of x (rank 2) but the first: whether it differs from the one
/// before it. The first one always does.
static Value startsOfRuns(OpsBuilder &b, Value x, bool equalNan) {
  Dim size = b.dim(x, 0);
  Dim zero = b.index(0), one = b.index(1);
  Dim room = b.max(b.sub(size, one), zero);
  Value before = b.narrow(x, 0, zero, room),
        here = b.narrow(x, 0, b.sub(size, room), room);
  Value differs = b.compare(Compare::Ne, here, before);
  if (equalNan && OpsBuilder::isFloat(x)) {
    Value bothNan = b.binary(Binary::And, b.unary(Unary::IsNan, here),
                             b.unary(Unary::IsNan, before));
    differs =
        b.binary(Binary::And, differs, b.unary(Unary::LogicalNot, bothNan));
  }
  differs = b.reduce(Reduce::Any, differs, {1}, /*keepDims=*/false);
  Value first = b.full({b.min(size, one)}, 1, b.getI1Type());
  return b.concat({first, differs}, 0);
}

OpsBuilder::UniqueResult OpsBuilder::unique(Value x,
                                            const UniqueOptions &options) {
  UniqueResult none;
  if (!x)
    return none;
  int64_t axis = 0;
  if (options.axis) {
    auto position = this->axis(*options.axis, rankOf(x));
    if (!position)
      return none;
    axis = *position;
  } else if (rankOf(x) != 1) {
    fail("is not of rank 1");
    return none;
  }
  Type i64 = getI64Type();
  // Rows to compare: N x W.
  Value slices = moveAxis(x, axis, 0);
  Dim size = dim(slices, 0);
  Dims rest = dims(slices);
  rest.erase(rest.begin());
  Value rows = reshape(slices, {size, product(rest)});
  if (!rows)
    return none;

  Value order; // of the rows; null if they stay as they are
  Value sorted = rows;
  if (!options.consecutive) {
    bool single = known(product(rest)) == 1;
    order =
        firstInOrder(*this, single ? reshape(rows, {size}) : rows, size,
                     /*largest=*/false, /*rows=*/!single, options.isUnsigned);
    sorted = gather(rows, order, 0);
  }
  Value isStart = startsOfRuns(*this, sorted, options.equalNan);
  Value starts = truePositions(isStart);
  if (!starts)
    return none;
  Dim count = dim(starts, 0);
  // Ends of the runs: the next start, and the end of all.
  Value end = dimsToTensor(size, i64);
  Value ends = concat({starts, end}, 0);
  Value counts = sub(narrow(ends, 0, index(1), count), starts);
  // Which run each element belongs to, in sorted order and then in x's.
  Value run = sub(cumulativeSum(cast(isStart, i64, true), 0, false, false),
                  scalar(1, i64));
  Value inverse = run, first = starts;
  if (order) {
    first = gather(order, starts, 0);
    inverse = indexCopy(full({size}, 0.0, i64), order, run, 0);
  }
  if (order && !options.sorted) {
    // The runs by where they come first.
    Value byFirst = firstInOrder(*this, first, count, false, false, false);
    first = gather(first, byFirst, 0);
    counts = gather(counts, byFirst, 0);
    Value place = indexCopy(full({count}, 0.0, i64), byFirst,
                            arange(index(0), index(1), count, i64), 0);
    inverse = gather(place, inverse, 0);
  }
  Value values = moveAxis(gather(slices, first, 0), 0, axis);
  return {values, first, inverse, counts};
}

Value OpsBuilder::nonMaxSuppression(Value boxes, Value scores, Value countLimit,
                                    Value overlapLimit, Value scoreLimit) {
  if (!boxes || !scores || !countLimit || !overlapLimit)
    return nullptr;
  if (rankOf(boxes) != 3 || rankOf(scores) != 3 ||
      known(dim(boxes, 2)).value_or(4) != 4)
    return fail("needs boxes of batch x box x 4 and scores of batch x class x "
                "box");
  if (!requireEqual(dim(boxes, 0), dim(scores, 0),
                    "batches of boxes and scores") ||
      !requireEqual(dim(boxes, 1), dim(scores, 2),
                    "numbers of boxes and scores") ||
      !requireEqual(dim(boxes, 2), index(4), "numbers in a box"))
    return nullptr;
  Type type = elementOf(scores).isF64() ? Type(getF64Type()) : getF32Type();
  Value a = narrow(boxes, 2, index(0), index(2)),
        b = narrow(boxes, 2, index(2), index(2));
  Value corners = cast(
      concat({binary(Binary::Min, a, b), binary(Binary::Max, a, b)}, 2), type);
  auto limit = [&](Value value, Type wanted) {
    return reshape(cast(value, wanted), {});
  };
  Value least = scoreLimit
                    ? limit(scoreLimit, type)
                    : scalar(-std::numeric_limits<double>::infinity(), type);
  Value count = limit(countLimit, getI64Type());
  Value overlap = limit(overlapLimit, type);
  scores = cast(scores, type);
  if (failed())
    return nullptr;
  Dims all = dims(scores);
  auto op = mv::SuppressOp::create(*this, typeFor(all, getI64Type()), corners,
                                   scores, count, overlap, least);
  Value chosen = withDims(op.getResult(), all);
  Value places = nonzero(compare(Compare::Ge, chosen, scalar(0, getI64Type())));
  Value box = gatherNd(chosen, places, 0);
  return concat({narrow(places, 1, index(0), index(2)), unsqueeze(box, {1})},
                1);
}
