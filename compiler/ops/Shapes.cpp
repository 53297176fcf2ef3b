//===- Shapes.cpp - Builders that rearrange tensors -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
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
// Repeat, permute and overlap
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
