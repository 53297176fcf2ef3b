//===- StableHloIndexing.cpp - Gather and scatter -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"

using namespace mlir;

namespace marver::hlo {
namespace {

/// What both operations say of the axes of the operand, the indices and the
/// windows (the slices that are read or written).
struct Numbers {
  SmallVector<int64_t> windowAxes; ///< of the result, or of the updates
  SmallVector<int64_t> dropped;    ///< axes of the operand without one of those
  SmallVector<int64_t> batch, indexBatch;
  SmallVector<int64_t> map; ///< the operand's axis for each part of an index
  int64_t vectorAxis;
};

bool check(Call &c, const Numbers &n, Value x, Value indices, int64_t other) {
  auto isGood = [](ArrayRef<int64_t> axes, int64_t rank) {
    return llvm::all_of(axes, [&](int64_t axis) {
      return axis >= 0 && axis < rank && llvm::count(axes, axis) == 1;
    });
  };
  const int64_t rank = OpsBuilder::rankOf(x);
  SmallVector<int64_t> gone(n.dropped);
  gone.append(n.batch);
  SmallVector<int64_t> used(n.map);
  used.append(n.batch);
  if (isGood(n.windowAxes, other) && isGood(gone, rank) && isGood(used, rank) &&
      isGood(n.indexBatch, OpsBuilder::rankOf(indices)) &&
      n.batch.size() == n.indexBatch.size() && n.vectorAxis >= 0 &&
      n.vectorAxis <= OpsBuilder::rankOf(indices) &&
      !llvm::is_contained(n.indexBatch, n.vectorAxis) && !n.map.empty() &&
      int64_t(n.windowAxes.size() + gone.size()) == rank)
    return true;
  c.b.fail("its dimension numbers do not fit its operands");
  return false;
}

/// Indices of the operand's elements, as i64 tensors that broadcast to the
/// indices' dims followed by those of the windows' axes in `windowed`: one for
/// each of `n.batch` and `n.map`.
struct Positions {
  SmallVector<Value> parts;
  SmallVector<int64_t> axes; ///< of the operand
  Dims batchDims;
};

std::optional<Positions> positionsOf(Call &c, const Numbers &n, Value x,
                                     Value indices, ArrayRef<Dim> sizes,
                                     ArrayRef<int64_t> windowed, bool clamps) {
  OpsBuilder &b = c.b;
  indices = b.cast(
      indices, b.getI64Type(),
      getElementTypeOrSelf(c.op->getOperand(1).getType()).isUnsignedInteger());
  if (!indices)
    return std::nullopt;
  if (n.vectorAxis == OpsBuilder::rankOf(indices))
    indices = b.unsqueeze(indices, {n.vectorAxis});
  else
    indices =
        b.moveAxis(indices, n.vectorAxis, OpsBuilder::rankOf(indices) - 1);
  const int64_t rank = OpsBuilder::rankOf(indices) - 1, count = windowed.size();
  if (!b.requireEqual(b.dim(indices, rank), b.index(n.map.size()),
                      "length of index tuples"))
    return std::nullopt;
  Positions result;
  Dims all = b.dims(indices);
  result.batchDims.assign(all.begin(), all.end() - 1);
  // `x` along one axis of `rank + count`.
  auto along = [&](Value values, int64_t axis) {
    SmallVector<int64_t> others;
    for (int64_t i = 0; i < rank + count; ++i)
      if (i != axis)
        others.push_back(i);
    return others.empty() ? values : b.unsqueeze(values, others);
  };
  auto upTo = [&](Dim size) {
    return b.arange(b.index(0), b.index(1), size, b.getI64Type());
  };
  for (auto [axis, at] : llvm::zip(n.batch, n.indexBatch)) {
    const int64_t own = at > n.vectorAxis ? at - 1 : at;
    result.parts.push_back(along(upTo(result.batchDims[own]), own));
    result.axes.push_back(axis);
  }
  SmallVector<int64_t> behind;
  for (int64_t i = 0; i < count; ++i)
    behind.push_back(rank + i);
  for (auto [i, axis] : llvm::enumerate(n.map)) {
    Value part = b.squeeze(
        b.narrow(indices, rank, b.index(int64_t(i)), b.index(1)), {rank});
    if (clamps) {
      Dim room = b.sub(b.dim(x, axis), sizes[axis]);
      part = b.clamp(part, b.scalar(0, b.getI64Type()),
                     b.dimsToTensor({room}, b.getI64Type(), /*scalar=*/true));
    }
    if (!behind.empty())
      part = b.unsqueeze(part, behind);
    if (auto found = llvm::find(windowed, axis); found != windowed.end())
      part = b.add(part,
                   along(upTo(sizes[axis]), rank + (found - windowed.begin())));
    result.parts.push_back(part);
    result.axes.push_back(axis);
  }
  return b.failed() ? std::nullopt : std::optional(result);
}

Value stacked(OpsBuilder &b, ArrayRef<Value> parts, ArrayRef<Dim> dims) {
  SmallVector<Value> wide;
  for (Value part : parts)
    wide.push_back(b.expand(part, dims));
  return b.stack(wide, dims.size());
}

Results gather(Call &c) {
  OpsBuilder &b = c.b;
  Value x = c.operand(0), indices = c.operand(1);
  if (!x || !indices)
    return {};
  constexpr StringLiteral text = "dimension_numbers";
  SmallVector<int64_t> vector = c.listIn(text, "index_vector_dim");
  Numbers n{c.listIn(text, "offset_dims"),
            c.listIn(text, "collapsed_slice_dims"),
            c.listIn(text, "operand_batching_dims"),
            c.listIn(text, "start_indices_batching_dims"),
            c.listIn(text, "start_index_map"),
            vector.empty() ? 0 : vector[0]};
  Dims sizes;
  if (c.operands.size() > 2) { // dynamic_gather
    if (auto dims = b.tensorToDims(c.operands[2]))
      sizes = *dims;
  } else {
    sizes = b.indices(c.ints({"slice_sizes"}));
  }
  const int64_t rank = OpsBuilder::rankOf(x);
  RankedTensorType type = c.resultType();
  if (!type || int64_t(sizes.size()) != rank ||
      !check(c, n, x, indices, type.getRank()))
    return {b.fail("its slice sizes do not fit its operand")};
  auto isOne = [&](int64_t axis) {
    return OpsBuilder::known(sizes[axis]) == std::optional<int64_t>(1);
  };
  // Axes that are indexed: the window's part of those longer than 1 comes from
  // more indices. Axes that are not are cut, and follow.
  SmallVector<int64_t> windowed, rest, front(n.batch);
  front.append(n.map);
  for (int64_t axis : n.map)
    if (!isOne(axis))
      windowed.push_back(axis);
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(front, axis)) {
      rest.push_back(axis);
      if (!OpsBuilder::same(sizes[axis], b.dim(x, axis)))
        x = b.narrow(x, axis, b.index(0), sizes[axis]);
    }
  auto positions =
      positionsOf(c, n, x, indices, sizes, windowed, /*clamps=*/true);
  if (!positions)
    return {};
  Dims dims = positions->batchDims;
  for (int64_t axis : windowed)
    dims.push_back(sizes[axis]);
  // The axis of the operand that each axis of `made` is of; -1: the indices'.
  SmallVector<int64_t> owners(positions->batchDims.size(), -1);
  owners.append(windowed);
  Value made;
  if (front.size() == 1) {
    made = b.gather(x, positions->parts[0], front[0]);
    owners.insert(owners.begin(), rest.begin(),
                  llvm::lower_bound(rest, front[0]));
    owners.append(llvm::lower_bound(rest, front[0]), rest.end());
  } else {
    SmallVector<int64_t> order(front);
    order.append(rest);
    made = b.gatherNd(permute(b, x, order), stacked(b, positions->parts, dims),
                      /*batchDims=*/0);
    owners.append(rest);
  }
  if (!made)
    return {};
  // Axes of 1 that were indexed but stay.
  SmallVector<int64_t> kept, added;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(n.dropped, axis) &&
        !llvm::is_contained(n.batch, axis)) {
      kept.push_back(axis);
      if (!llvm::is_contained(owners, axis)) {
        added.push_back(owners.size());
        owners.push_back(axis);
      }
    }
  if (!added.empty())
    made = b.unsqueeze(made, added);
  if (int64_t(owners.size()) != type.getRank() ||
      kept.size() != n.windowAxes.size())
    return {b.fail("its dimension numbers do not fit its result")};
  SmallVector<int64_t> order;
  int64_t batch = 0, window = 0;
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    if (llvm::is_contained(n.windowAxes, axis)) {
      order.push_back(llvm::find(owners, kept[window++]) - owners.begin());
      continue;
    }
    int64_t at = -1;
    for (int64_t i = 0, seen = 0; i < int64_t(owners.size()); ++i)
      if (owners[i] == -1 && seen++ == batch)
        at = i;
    ++batch;
    if (at < 0)
      return {b.fail("its dimension numbers do not fit its result")};
    order.push_back(at);
  }
  return {permute(b, made, order)};
}

std::optional<ScatterKind> scatterKind(Operation *op) {
  if (op->getNumRegions() != 1 || !llvm::hasSingleElement(op->getRegion(0)))
    return std::nullopt;
  Block &body = op->getRegion(0).front();
  if (body.getNumArguments() != 2 || body.empty() ||
      body.back().getNumOperands() != 1)
    return std::nullopt;
  Value result = body.back().getOperand(0);
  if (result == body.getArgument(1))
    return ScatterKind::Replace;
  Operation *made = result.getDefiningOp();
  if (!made || made->getNumOperands() != 2 ||
      body.getOperations().size() != 2 ||
      !llvm::is_contained(made->getOperands(), body.getArgument(0)) ||
      !llvm::is_contained(made->getOperands(), body.getArgument(1)))
    return std::nullopt;
  StringRef name = made->getName().getStringRef();
  if (name == "stablehlo.add")
    return ScatterKind::Add;
  if (name == "stablehlo.multiply")
    return ScatterKind::Mul;
  if (name == "stablehlo.maximum")
    return ScatterKind::Max;
  if (name == "stablehlo.minimum")
    return ScatterKind::Min;
  return std::nullopt;
}

/// Updates whose index is outside are left out: they go to rows that are added
/// behind the operand and cut off again.
Results scatter(Call &c) {
  OpsBuilder &b = c.b;
  if (c.operands.size() != 3)
    return {b.fail("of several operands at once is not supported")};
  Value x = c.operands[0], indices = c.operands[1], updates = c.operands[2];
  constexpr StringLiteral text = "scatter_dimension_numbers";
  SmallVector<int64_t> vector = c.listIn(text, "index_vector_dim");
  Numbers n{c.listIn(text, "update_window_dims"),
            c.listIn(text, "inserted_window_dims"),
            c.listIn(text, "input_batching_dims"),
            c.listIn(text, "scatter_indices_batching_dims"),
            c.listIn(text, "scatter_dims_to_operand_dims"),
            vector.empty() ? 0 : vector[0]};
  std::optional<ScatterKind> kind = scatterKind(c.op);
  if (!kind)
    return {b.fail("the scatter's body is not supported; a replacement, sum, "
                   "product, maximum and minimum are")};
  const int64_t rank = OpsBuilder::rankOf(x);
  if (!check(c, n, x, indices, OpsBuilder::rankOf(updates)))
    return {};
  // The operand's axis of each window axis of the updates, and its size.
  Dims sizes(rank, b.index(1));
  SmallVector<int64_t> owners(OpsBuilder::rankOf(updates), -1), windowed, rest,
      front(n.batch);
  front.append(n.map);
  int64_t window = 0;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(n.dropped, axis) &&
        !llvm::is_contained(n.batch, axis)) {
      const int64_t at = n.windowAxes[window++];
      owners[at] = axis;
      sizes[axis] = b.dim(updates, at);
    }
  for (int64_t axis : n.map)
    if (llvm::is_contained(owners, axis))
      windowed.push_back(axis);
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(front, axis)) {
      rest.push_back(axis);
      if (!b.requireEqual(sizes[axis], b.dim(x, axis),
                          "sizes of updates and operand"))
        return {};
    }
  auto positions =
      positionsOf(c, n, x, indices, sizes, windowed, /*clamps=*/false);
  if (!positions)
    return {};
  Dims dims = positions->batchDims;
  for (int64_t axis : windowed)
    dims.push_back(sizes[axis]);
  // Updates as: the indices' axes, those of windows that are indexed, the rest.
  SmallVector<int64_t> order;
  for (auto [at, owner] : llvm::enumerate(owners))
    if (owner == -1)
      order.push_back(at);
  for (ArrayRef<int64_t> axes : {ArrayRef(windowed), ArrayRef(rest)})
    for (int64_t axis : axes)
      order.push_back(llvm::find(owners, axis) - owners.begin());
  updates = permute(b, updates, order);
  // One row more along the first indexed axis, for what is outside.
  SmallVector<int64_t> operandOrder(front), none(rank, 0), one(rank, 0);
  operandOrder.append(rest);
  one[0] = 1;
  Value moved = permute(b, x, operandOrder);
  Dim length = b.dim(moved, 0);
  moved = b.pad(moved, b.indices(none), b.indices(one), PadMode::Constant,
                b.scalar(0, OpsBuilder::elementOf(x)));
  Type i64 = b.getI64Type();
  auto number = [&](Dim dim) {
    return b.dimsToTensor({dim}, i64, /*scalar=*/true);
  };
  Value zero = b.scalar(0, i64), inside;
  for (auto [part, axis] : llvm::zip(positions->parts, front)) {
    Value fits = b.binary(Binary::And, b.compare(Compare::Ge, part, zero),
                          b.compare(Compare::Lt, part, number(b.dim(x, axis))));
    inside = inside ? b.binary(Binary::And, inside, fits) : fits;
  }
  for (auto [i, part] : llvm::enumerate(positions->parts))
    part = b.where(inside, part, i == 0 ? number(length) : zero);
  Value made =
      b.scatterNd(moved, stacked(b, positions->parts, dims), updates, *kind);
  if (!made)
    return {};
  made = b.narrow(made, 0, b.index(0), length);
  SmallVector<int64_t> back(rank);
  for (auto [at, axis] : llvm::enumerate(operandOrder))
    back[axis] = at;
  return {permute(b, made, back)};
}

} // namespace

void addIndexing(Table &table) {
  table["gather"] = gather;
  table["dynamic_gather"] = gather;
  table["scatter"] = scatter;
}

} // namespace marver::hlo
