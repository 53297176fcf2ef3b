//===- Shapes.cpp - Builders that rearrange tensors -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ops/Ops.h"
#include "marver/abi.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Reshape
//===----------------------------------------------------------------------===//

namespace {

/// A run of source dims that holds the same elements as a run of result dims.
struct Group {
  SmallVector<int64_t, 2> source, result;
};

} // namespace

/// Cuts both shapes into the shortest runs of equal products; nullopt when
/// their products are not known to be equal.
static std::optional<SmallVector<Group>>
groupDims(OpsBuilder &ops, ArrayRef<Dim> source, ArrayRef<Dim> result) {
  if (!OpsBuilder::same(ops.product(source), ops.product(result)))
    return std::nullopt;
  SmallVector<Group> groups;
  size_t i = 0, j = 0;
  while (i < source.size() && j < result.size()) {
    size_t best = source.size() + result.size() + 1, endI = 0, endJ = 0;
    for (size_t m = i + 1; m <= source.size(); ++m)
      for (size_t n = j + 1; n <= result.size(); ++n)
        if (m - i + n - j < best &&
            OpsBuilder::same(ops.product(source.slice(i, m - i)),
                             ops.product(result.slice(j, n - j)))) {
          best = m - i + n - j;
          endI = m;
          endJ = n;
        }
    assert(endI && "whole rests are equal");
    Group &group = groups.emplace_back();
    llvm::append_range(group.source, llvm::seq<int64_t>(i, endI));
    llvm::append_range(group.result, llvm::seq<int64_t>(j, endJ));
    i = endI;
    j = endJ;
  }
  // What is left on one side are ones.
  if (groups.empty())
    groups.emplace_back();
  llvm::append_range(groups.back().source,
                     llvm::seq<int64_t>(i, source.size()));
  llvm::append_range(groups.back().result,
                     llvm::seq<int64_t>(j, result.size()));
  return groups;
}

/// Fills in the one -1 of a reshape's target.
static bool inferDim(OpsBuilder &ops, Value x, Dims &target) {
  std::optional<size_t> unknown;
  Dims others;
  for (auto [position, dim] : llvm::enumerate(target)) {
    auto number = OpsBuilder::known(dim);
    if (number && *number < -1) {
      ops.fail("a dim of the new shape is " + Twine(*number));
      return false;
    }
    if (number != -1) {
      others.push_back(dim);
      continue;
    }
    if (unknown) {
      ops.fail("two dims of the new shape are -1");
      return false;
    }
    unknown = position;
  }
  if (!unknown)
    return true;
  Dims source = ops.dims(x);
  Dim total = ops.product(source), rest = ops.product(others);
  auto totalNumber = OpsBuilder::known(total),
       restNumber = OpsBuilder::known(rest);
  if (restNumber == 0) {
    ops.fail("a dim of -1 beside one of 0 cannot be inferred");
    return false;
  }
  if (totalNumber && restNumber && *totalNumber % *restNumber != 0) {
    ops.fail("cannot divide " + Twine(*totalNumber) + " elements by " +
             Twine(*restNumber));
    return false;
  }
  target[*unknown] = ops.quotient(source, others);
  return true;
}

Value OpsBuilder::reshape(Value x, ArrayRef<Dim> wanted) {
  if (!x)
    return nullptr;
  Dims target(wanted), source = dims(x);
  if (!inferDim(*this, x, target))
    return nullptr;
  if (source.size() == target.size() &&
      llvm::all_of(llvm::zip(source, target), [](auto pair) {
        return same(std::get<0>(pair), std::get<1>(pair));
      }))
    return x;
  Type element = elementOf(x);
  RankedTensorType type = typeFor(target, element);
  Dim from = product(source), to = product(target);
  if (failed())
    return nullptr;
  auto fromNumber = known(from), toNumber = known(to);
  if (fromNumber && toNumber && *fromNumber != *toNumber)
    return fail("cannot reshape " + Twine(*fromNumber) + " elements to " +
                Twine(*toNumber));
  if (toNumber == 0)
    return empty(target, element);
  DenseElementsAttr constantValue;
  if (type.hasStaticShape() && matchPattern(x, m_Constant(&constantValue)))
    return constant(constantValue.reshape(type));

  auto groups = groupDims(*this, source, target);
  if (!groups) {
    // The number of elements is only known when the model runs.
    if (!requireEqual(from, to, "number of elements of a reshape"))
      return nullptr;
    // All dims to one and back: no shape has to be computed for that.
    using Groups = SmallVector<ReassociationIndices>;
    auto all = [](size_t rank) {
      return rank == 0 ? Groups{}
                       : Groups{llvm::to_vector_of<int64_t, 2>(
                             llvm::seq<int64_t>(rank))};
    };
    auto flatType = [&](std::optional<int64_t> size) {
      return RankedTensorType::get({size.value_or(ShapedType::kDynamic)},
                                   element);
    };
    Value flat = x;
    if (source.empty())
      flat = tensor::ExpandShapeOp::create(*this, flatType(1), x, all(0),
                                           Dims{index(1)});
    else if (source.size() > 1)
      flat = tensor::CollapseShapeOp::create(*this, flatType(fromNumber), x,
                                             all(source.size()));
    RankedTensorType wantedType =
        flatType(type.hasStaticShape() ? toNumber : std::nullopt);
    if (flat.getType() != wantedType)
      flat = tensor::CastOp::create(*this, wantedType, flat);
    if (target.empty())
      flat = tensor::CollapseShapeOp::create(*this, type, flat, all(0));
    else if (target.size() > 1)
      flat = tensor::ExpandShapeOp::create(*this, type, flat,
                                           all(target.size()), target);
    return withDims(flat, target);
  }
  bool collapses = false, expands = false;
  Dims middle;
  SmallVector<ReassociationIndices> collapse, expandTo;
  for (const Group &group : *groups) {
    collapses |= group.source.size() != 1;
    expands |= group.result.size() != 1;
    collapse.push_back(group.source);
    expandTo.push_back(group.result);
    middle.push_back(product(ArrayRef<Dim>(source).slice(
        group.source.empty() ? 0 : group.source.front(), group.source.size())));
  }
  // A tensor of rank 0 on either side has no groups.
  if (source.empty() || target.empty()) {
    if (source.empty())
      return withDims(
          tensor::ExpandShapeOp::create(
              *this, type, x, ArrayRef<ReassociationIndices>{}, target),
          target);
    return withDims(tensor::CollapseShapeOp::create(
                        *this, type, x, ArrayRef<ReassociationIndices>{}),
                    target);
  }
  Value result = x;
  if (collapses)
    result = tensor::CollapseShapeOp::create(*this, typeFor(middle, element),
                                             result, collapse);
  if (expands)
    result =
        tensor::ExpandShapeOp::create(*this, type, result, expandTo, target);
  return withDims(result, target);
}

Value OpsBuilder::flatten(Value x, int64_t first, int64_t last) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x);
  if (rank == 0)
    return reshape(x, {index(1)});
  auto from = axis(first, rank), to = axis(last, rank);
  if (!from || !to)
    return nullptr;
  if (*from > *to)
    return fail("cannot flatten from axis " + Twine(*from) + " to " +
                Twine(*to));
  Dims all = dims(x);
  Dims target(all.begin(), all.begin() + *from);
  target.push_back(product(ArrayRef<Dim>(all).slice(*from, *to - *from + 1)));
  target.append(all.begin() + *to + 1, all.end());
  return reshape(x, target);
}

Value OpsBuilder::squeeze(Value x, ArrayRef<int64_t> axes) {
  if (!x)
    return nullptr;
  auto dropped = this->axes(axes, rankOf(x));
  if (!dropped)
    return nullptr;
  Dims target;
  for (auto [axis, dim] : llvm::enumerate(dims(x))) {
    if (!llvm::is_contained(*dropped, int64_t(axis))) {
      target.push_back(dim);
      continue;
    }
    if (!requireEqual(dim, index(1), "a squeezed dim must be 1"))
      return nullptr;
  }
  return reshape(x, target);
}

Value OpsBuilder::unsqueeze(Value x, ArrayRef<int64_t> axes) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x) + axes.size();
  auto added = this->axes(axes, rank);
  if (!added)
    return nullptr;
  Dims target, source = dims(x);
  auto next = source.begin();
  for (int64_t axis = 0; axis < rank; ++axis)
    target.push_back(llvm::is_contained(*added, axis) ? index(1) : *next++);
  return reshape(x, target);
}

//===----------------------------------------------------------------------===//
// Repeat and permute
//===----------------------------------------------------------------------===//

/// A tensor of `dims` whose element at i is x[map(i)].
static Value readThrough(OpsBuilder &ops, Value x, ArrayRef<Dim> dims,
                         AffineMap map) {
  unsigned rank = dims.size();
  Value init = ops.empty(dims, OpsBuilder::elementOf(x));
  AffineMap maps[] = {map, ops.getMultiDimIdentityMap(rank)};
  auto op = linalg::GenericOp::create(
      ops, init.getType(), x, init, maps,
      SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
      [](OpBuilder &nested, Location loc, mlir::ValueRange args) {
        linalg::YieldOp::create(nested, loc, args[0]);
      });
  return ops.withDims(op.getResult(0), dims);
}

Value OpsBuilder::expand(Value x, ArrayRef<Dim> target) {
  if (!x)
    return nullptr;
  Dims source = dims(x);
  auto result = broadcastDims({source, Dims(target)});
  if (!result)
    return nullptr;
  int64_t first = result->size() - source.size();
  DenseElementsAttr constantValue;
  RankedTensorType type = typeFor(*result, elementOf(x));
  if (type.hasStaticShape() && matchPattern(x, m_Constant(&constantValue)) &&
      constantValue.isSplat())
    return constant(constantValue.resizeSplat(type));
  bool repeats = false;
  SmallVector<AffineExpr> exprs;
  for (auto [axis, dim] : llvm::enumerate(*result)) {
    bool isNew = int64_t(axis) < first;
    bool fromOne =
        !isNew && known(source[axis - first]) == 1 && known(dim) != 1;
    repeats |= fromOne || (isNew && known(dim) != 1);
    if (!isNew)
      exprs.push_back(fromOne ? getAffineConstantExpr(0)
                              : getAffineDimExpr(axis));
  }
  if (!repeats)
    return reshape(x, *result);
  return readThrough(*this, x, *result,
                     AffineMap::get(result->size(), 0, exprs, getContext()));
}

Value OpsBuilder::transpose(Value x, ArrayRef<int64_t> permutation) {
  if (!x)
    return nullptr;
  auto order = axes(permutation, rankOf(x));
  if (!order)
    return nullptr;
  if (int64_t(order->size()) != rankOf(x))
    return fail("a permutation of " + Twine(order->size()) +
                " axes for a tensor of rank " + Twine(rankOf(x)));
  Dims source = dims(x), target;
  for (int64_t axis : *order)
    target.push_back(source[axis]);
  // Where only ones move, no element does.
  SmallVector<int64_t> moving;
  for (int64_t axis : *order)
    if (known(source[axis]) != 1)
      moving.push_back(axis);
  if (llvm::is_sorted(moving))
    return reshape(x, target);
  SmallVector<AffineExpr> exprs(order->size());
  for (auto [position, axis] : llvm::enumerate(*order))
    exprs[axis] = getAffineDimExpr(position);
  return readThrough(*this, x, target,
                     AffineMap::get(order->size(), 0, exprs, getContext()));
}

Value OpsBuilder::moveAxis(Value x, int64_t from, int64_t to) {
  if (!x)
    return nullptr;
  auto source = axis(from, rankOf(x)), target = axis(to, rankOf(x));
  if (!source || !target)
    return nullptr;
  auto order = llvm::to_vector(llvm::seq<int64_t>(rankOf(x)));
  order.erase(order.begin() + *source);
  order.insert(order.begin() + *target, *source);
  return transpose(x, order);
}

Value OpsBuilder::tile(Value x, ArrayRef<Dim> repeats) {
  if (!x)
    return nullptr;
  // As many dims as repeats or more.
  int64_t rank = std::max<int64_t>(rankOf(x), repeats.size());
  Dims counts(rank - repeats.size(), index(1));
  llvm::append_range(counts, repeats);
  Dims source(rank - rankOf(x), index(1));
  llvm::append_range(source, dims(x));
  // [d] -> [1, d] -> [r, d] -> [r * d]
  Dims split, wide, target;
  for (auto [count, dim] : llvm::zip(counts, source)) {
    if (auto number = known(count); number && *number < 0)
      return fail("cannot repeat a tensor " + Twine(*number) + " times");
    target.push_back(mul(count, dim));
    if (known(count) != 1) {
      split.push_back(index(1));
      wide.push_back(count);
    }
    split.push_back(dim);
    wide.push_back(dim);
  }
  return reshape(expand(reshape(x, split), wide), target);
}

Value OpsBuilder::repeatInterleave(Value x, int64_t axis, Dim count) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  Dims split = dims(x), wide = dims(x), target = dims(x);
  split.insert(split.begin() + *position + 1, index(1));
  wide.insert(wide.begin() + *position + 1, count);
  target[*position] = mul(target[*position], count);
  return reshape(expand(reshape(x, split), wide), target);
}

Value OpsBuilder::flip(Value x, ArrayRef<int64_t> axes) {
  if (!x)
    return nullptr;
  auto flipped = this->axes(axes, rankOf(x));
  if (!flipped)
    return nullptr;
  Dims all = dims(x);
  SmallVector<AffineExpr> exprs;
  SmallVector<int64_t> dynamic;
  bool changes = false;
  for (auto [axis, dim] : llvm::enumerate(all)) {
    AffineExpr expr = getAffineDimExpr(axis);
    if (llvm::is_contained(*flipped, int64_t(axis))) {
      auto size = known(dim);
      if (!size) {
        dynamic.push_back(axis);
      } else {
        expr = *size - 1 - expr;
        changes |= *size > 1;
      }
    }
    exprs.push_back(expr);
  }
  Value result = x;
  if (changes)
    result = readThrough(*this, x, all,
                         AffineMap::get(all.size(), 0, exprs, getContext()));
  for (int64_t axis : dynamic) {
    Dim last = sub(all[axis], index(1));
    Value order = arange(last, index(-1), all[axis], getI64Type());
    result = withDims(mv::GatherOp::create(*this, typeFor(all, elementOf(x)),
                                           result, order, uint64_t(axis),
                                           /*unchecked=*/true),
                      all);
  }
  return result;
}

Value OpsBuilder::roll(Value x, ArrayRef<int64_t> axes,
                       ArrayRef<int64_t> shifts) {
  if (!x)
    return nullptr;
  // Without axes the flattened tensor is rolled.
  if (axes.empty()) {
    if (shifts.size() != 1)
      return fail("needs one shift");
    Value flat = roll(reshape(x, {product(dims(x))}), {0}, shifts);
    return reshape(flat, dims(x));
  }
  if (axes.size() != shifts.size())
    return fail("needs as many shifts as axes");
  Value result = x;
  for (auto [entry, shift] : llvm::zip(axes, shifts)) {
    auto position = axis(entry, rankOf(x));
    if (!position)
      return nullptr;
    Dim size = dim(x, *position);
    if (known(size) == 0)
      continue;
    Dim amount = mod(index(shift), size);
    if (known(amount) == 0)
      continue;
    Dim rest = sub(size, amount);
    Value tail = narrow(result, *position, rest, amount);
    Value head = narrow(result, *position, index(0), rest);
    result = concat({tail, head}, *position);
  }
  return result;
}

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

Value OpsBuilder::unfold(Value x, int64_t axis, int64_t size, int64_t step) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  Dims target = dims(x);
  auto length = known(target[*position]);
  if (size < 0 || step <= 0 || (length && size > *length))
    return fail("windows of size " + Twine(size) + " and step " + Twine(step) +
                " do not fit");
  target[*position] =
      add(floorDiv(sub(target[*position], index(size)), index(step)), index(1));
  target.push_back(index(size));
  SmallVector<AffineExpr> exprs;
  for (int64_t i = 0; i < rankOf(x); ++i)
    exprs.push_back(getAffineDimExpr(i));
  exprs[*position] =
      exprs[*position] * step + getAffineDimExpr(target.size() - 1);
  return readThrough(*this, x, target,
                     AffineMap::get(target.size(), 0, exprs, getContext()));
}

Value OpsBuilder::diagonal(Value x, int64_t offset, int64_t axis1,
                           int64_t axis2) {
  if (!x)
    return nullptr;
  auto positions = axes({axis1, axis2}, rankOf(x));
  if (!positions)
    return nullptr;
  int64_t row = (*positions)[0], column = (*positions)[1];
  Dim firstRow = index(std::max<int64_t>(0, -offset));
  Dim firstColumn = index(std::max<int64_t>(0, offset));
  Dim count = max(index(0), min(sub(dim(x, row), firstRow),
                                sub(dim(x, column), firstColumn)));
  Value window =
      narrow(narrow(x, row, firstRow, count), column, firstColumn, count);
  Dims target;
  SmallVector<AffineExpr> exprs(rankOf(x));
  for (int64_t i = 0; i < rankOf(x); ++i) {
    if (i == row || i == column)
      continue;
    exprs[i] = getAffineDimExpr(target.size());
    target.push_back(dim(x, i));
  }
  exprs[row] = exprs[column] = getAffineDimExpr(target.size());
  target.push_back(count);
  return readThrough(*this, window, target,
                     AffineMap::get(target.size(), 0, exprs, getContext()));
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

//===----------------------------------------------------------------------===//
// Depth and space
//===----------------------------------------------------------------------===//

Value OpsBuilder::depthToSpace(Value x, int64_t block, bool channelsFirst) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x);
  if (rank < 3 || block <= 0)
    return fail("needs a tensor of rank 3 or more and a positive block");
  int64_t c = rank - 3;
  Dims all = dims(x);
  if (auto channels = known(all[c]);
      channels && *channels % (block * block) != 0)
    return fail(Twine(*channels) + " channels cannot be cut into blocks of " +
                Twine(block) + " x " + Twine(block));
  Dim depth = floorDiv(all[c], index(block * block)), size = index(block);
  Dims split(all.begin(), all.begin() + c), target = split;
  if (channelsFirst)
    split.append({depth, size, size, all[c + 1], all[c + 2]});
  else
    split.append({size, size, depth, all[c + 1], all[c + 2]});
  auto order = llvm::to_vector(llvm::seq<int64_t>(c));
  if (channelsFirst)
    order.append({c, c + 3, c + 1, c + 4, c + 2});
  else
    order.append({c + 2, c + 3, c, c + 4, c + 1});
  target.append({depth, mul(all[c + 1], size), mul(all[c + 2], size)});
  return reshape(transpose(reshape(x, split), order), target);
}

Value OpsBuilder::spaceToDepth(Value x, int64_t block, bool channelsFirst) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x);
  if (rank < 3 || block <= 0)
    return fail("needs a tensor of rank 3 or more and a positive block");
  int64_t c = rank - 3;
  Dims all = dims(x);
  for (int64_t axis : {c + 1, c + 2})
    if (auto number = known(all[axis]); number && *number % block != 0)
      return fail("a dim of " + Twine(*number) +
                  " cannot be cut into blocks of " + Twine(block));
  Dim size = index(block);
  Dim height = floorDiv(all[c + 1], size), width = floorDiv(all[c + 2], size);
  Dims split(all.begin(), all.begin() + c), target = split;
  split.append({all[c], height, size, width, size});
  auto order = llvm::to_vector(llvm::seq<int64_t>(c));
  if (channelsFirst)
    order.append({c, c + 2, c + 4, c + 1, c + 3});
  else
    order.append({c + 2, c + 4, c, c + 1, c + 3});
  target.append({mul(all[c], index(block * block)), height, width});
  return reshape(transpose(reshape(x, split), order), target);
}
