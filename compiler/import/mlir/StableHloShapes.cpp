//===- StableHloShapes.cpp - StableHLO that moves elements ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"
#include "compiler/ir/Constants.h"

using namespace mlir;

namespace marver::hlo {

/// Every element gets `count` fills behind it in an axis of their own; those
/// behind the last one are cut off.
Value interiorPad(OpsBuilder &b, Value x, ArrayRef<int64_t> counts,
                  Value fill) {
  for (auto [axis, count] : llvm::enumerate(counts)) {
    if (count == 0 || !x)
      continue;
    if (count < 0)
      return b.fail("has a negative padding between elements");
    const int64_t rank = OpsBuilder::rankOf(x), inner = int64_t(axis) + 1;
    Dims target = b.dims(x);
    Dim size = target[axis];
    Value wide = b.unsqueeze(x, {inner});
    SmallVector<int64_t> none(rank + 1, 0), behind = none;
    behind[inner] = count;
    wide = b.pad(wide, b.indices(none), b.indices(behind), PadMode::Constant,
                 fill);
    target[axis] = b.mul(size, b.index(count + 1));
    Dim wanted = b.max(b.sub(target[axis], b.index(count)), b.index(0));
    x = b.narrow(b.reshape(wide, target), axis, b.index(0), wanted);
  }
  return x;
}

namespace {

/// x with its axes put at `positions` of `target`, repeated where it has one
/// element and the target more.
Value broadcastIn(Call &c, Value x, ArrayRef<int64_t> positions, Dims target) {
  OpsBuilder &b = c.b;
  if (!x)
    return nullptr;
  const int64_t rank = target.size();
  if (int64_t(positions.size()) != OpsBuilder::rankOf(x))
    return b.fail("needs a position for each axis");
  SmallVector<int64_t> order(positions.size());
  for (auto [i, position] : llvm::enumerate(positions)) {
    if (position < 0 || position >= rank ||
        llvm::count(positions, position) != 1)
      return b.fail("has a position that is none of the result");
    order[i] = i;
  }
  llvm::sort(order,
             [&](int64_t i, int64_t k) { return positions[i] < positions[k]; });
  x = permute(b, x, order);
  SmallVector<int64_t> added;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(positions, axis))
      added.push_back(axis);
  if (!added.empty())
    x = b.unsqueeze(x, added);
  return x ? b.expand(x, target) : x;
}

Results broadcast(Call &c) {
  RankedTensorType type = c.resultType();
  if (!type || !type.hasStaticShape())
    return {c.b.fail("needs a result of static shape")};
  return {broadcastIn(c, c.operand(0), c.ints({"broadcast_dimensions", "dims"}),
                      c.b.indices(type.getShape()))};
}

/// Dims that operand `number` gives; where the result's type knows them, those.
std::optional<Dims> dimsOf(Call &c, unsigned number) {
  std::optional<Dims> dims = c.b.tensorToDims(c.operand(number));
  RankedTensorType type = c.resultType();
  if (!dims || !type || int64_t(dims->size()) != type.getRank()) {
    c.b.fail("needs one number per axis of the result");
    return std::nullopt;
  }
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (!ShapedType::isDynamic(size)) {
      if (!c.b.requireEqual((*dims)[i], c.b.index(size), "sizes of the result"))
        return std::nullopt;
      (*dims)[i] = c.b.index(size);
    }
  return dims;
}

Results dynamicBroadcast(Call &c) {
  std::optional<Dims> target = dimsOf(c, 1);
  if (!target)
    return {};
  return {broadcastIn(c, c.operand(0), c.ints({"broadcast_dimensions", "dims"}),
                      *target)};
}

Results reshape(Call &c) {
  RankedTensorType type = c.resultType();
  Value x = c.operand(0);
  if (!x || !type || !type.hasStaticShape())
    return {c.b.fail("needs a result of static shape")};
  return {c.b.reshape(x, c.b.indices(type.getShape()))};
}

Results dynamicReshape(Call &c) {
  std::optional<Dims> target = dimsOf(c, 1);
  Value x = c.operand(0);
  return {target && x ? c.b.reshape(x, *target) : Value()};
}

Results transpose(Call &c) {
  Value x = c.operand(0);
  SmallVector<int64_t> order = c.ints({"permutation", "dims"});
  if (x && int64_t(order.size()) != OpsBuilder::rankOf(x))
    return {c.b.fail("needs a position for each axis")};
  return {x ? permute(c.b, x, order) : x};
}

Results reverse(Call &c) {
  Value x = c.operand(0);
  SmallVector<int64_t> axes = c.ints({"dimensions", "dims"});
  return {x && !axes.empty() ? c.b.flip(x, axes) : x};
}

Value iotaOf(Call &c, Dims target) {
  OpsBuilder &b = c.b;
  RankedTensorType type = c.resultType();
  const int64_t axis = c.integer({"iota_dimension", "dim"}, 0);
  if (!type || axis < 0 || axis >= int64_t(target.size()))
    return b.fail("has no such axis");
  Value x =
      b.arange(b.index(0), b.index(1), target[axis], type.getElementType());
  return broadcastIn(c, x, {axis}, target);
}

Results iota(Call &c) {
  RankedTensorType type = c.resultType();
  if (!type || !type.hasStaticShape())
    return {c.b.fail("needs a result of static shape")};
  return {iotaOf(c, c.b.indices(type.getShape()))};
}

Results dynamicIota(Call &c) {
  std::optional<Dims> target = dimsOf(c, 0);
  return {target ? iotaOf(c, *target) : Value()};
}

Results concatenate(Call &c) {
  for (Value x : c.operands)
    if (OpsBuilder::rankOf(x) == 0)
      return {c.b.fail("cannot join tensors of rank 0")};
  if (c.operands.empty())
    return {c.b.fail("needs an operand")};
  return {c.b.concat(c.operands, c.integer({"dimension", "dim"}, -1))};
}

Value padded(Call &c, ArrayRef<Dim> low, ArrayRef<Dim> high,
             ArrayRef<int64_t> interior) {
  Value x = c.operand(0), fill = c.operand(1);
  if (!x || !fill)
    return nullptr;
  const size_t rank = OpsBuilder::rankOf(x);
  if (low.size() != rank || high.size() != rank || interior.size() != rank)
    return c.b.fail("needs a padding for each axis");
  x = interiorPad(c.b, x, interior, fill);
  return x ? c.b.pad(x, low, high, PadMode::Constant, fill) : x;
}

Results pad(Call &c) {
  return {padded(c, c.b.indices(c.ints({"edge_padding_low", "low"})),
                 c.b.indices(c.ints({"edge_padding_high", "high"})),
                 c.ints({"interior_padding", "interior"}))};
}

Results dynamicPad(Call &c) {
  std::optional<Dims> low = c.b.tensorToDims(c.operand(2));
  std::optional<Dims> high = c.b.tensorToDims(c.operand(3));
  std::optional<Dims> interior = c.b.tensorToDims(c.operand(4));
  if (!low || !high || !interior)
    return {};
  auto known = OpsBuilder::known(*interior);
  if (!known)
    return {c.b.fail("needs known paddings between elements")};
  return {padded(c, *low, *high, *known)};
}

Results slice(Call &c) {
  OpsBuilder &b = c.b;
  Value x = c.operand(0);
  SmallVector<int64_t> starts = c.ints({"start_indices"}),
                       limits = c.ints({"limit_indices"}),
                       strides = c.ints({"strides"});
  if (!x)
    return {};
  const size_t rank = OpsBuilder::rankOf(x);
  if (starts.size() != rank || limits.size() != rank || strides.size() != rank)
    return {b.fail("needs a range for each axis")};
  for (size_t i = 0; i < rank && x; ++i) {
    if (starts[i] < 0 || limits[i] < starts[i] || strides[i] < 1)
      return {b.fail("has a range that is none")};
    if (starts[i] || strides[i] != 1 ||
        OpsBuilder::known(b.dim(x, i)) != std::optional<int64_t>(limits[i]))
      x = b.slice(x, i, b.index(starts[i]), b.index(limits[i]),
                  b.index(strides[i]));
  }
  return {x};
}

Results realDynamicSlice(Call &c) {
  Value x = c.operand(0);
  std::optional<Dims> starts = c.b.tensorToDims(c.operand(1));
  std::optional<Dims> limits = c.b.tensorToDims(c.operand(2));
  std::optional<Dims> strides = c.b.tensorToDims(c.operand(3));
  if (!x || !starts || !limits || !strides)
    return {};
  const size_t rank = OpsBuilder::rankOf(x);
  if (starts->size() != rank || limits->size() != rank ||
      strides->size() != rank)
    return {c.b.fail("needs a range for each axis")};
  for (size_t i = 0; i < rank && x; ++i)
    x = c.b.slice(x, i, (*starts)[i], (*limits)[i], (*strides)[i]);
  return {x};
}

/// Where a slice of `sizes` starts, moved so that it lies inside of `x`.
std::optional<Dims> clampedStarts(Call &c, Value x, unsigned first,
                                  ArrayRef<Dim> sizes) {
  OpsBuilder &b = c.b;
  const size_t rank = OpsBuilder::rankOf(x);
  Dims starts;
  if (c.operands.size() != first + rank || sizes.size() != rank) {
    b.fail("needs a start for each axis");
    return std::nullopt;
  }
  for (size_t i = 0; i < rank; ++i) {
    std::optional<Dims> start = b.tensorToDims(c.operand(first + i));
    if (!start || start->size() != 1)
      return std::nullopt;
    Dim room = b.sub(b.dim(x, i), sizes[i]);
    starts.push_back(b.max(b.min((*start)[0], room), b.index(0)));
  }
  return starts;
}

Results dynamicSlice(Call &c) {
  Value x = c.operand(0);
  if (!x)
    return {};
  Dims sizes = c.b.indices(c.ints({"slice_sizes", "sizes"}));
  std::optional<Dims> starts = clampedStarts(c, x, 1, sizes);
  for (size_t i = 0; starts && x && i < sizes.size(); ++i)
    if (!OpsBuilder::same(sizes[i], c.b.dim(x, i)))
      x = c.b.narrow(x, i, (*starts)[i], sizes[i]);
  return {starts ? x : Value()};
}

/// One axis at a time: what is inside of it is updated, and replaces it.
Value updateSlice(OpsBuilder &b, Value x, Value update, ArrayRef<Dim> starts,
                  int64_t axis) {
  while (axis < OpsBuilder::rankOf(x) &&
         OpsBuilder::same(b.dim(x, axis), b.dim(update, axis)))
    ++axis;
  if (axis == OpsBuilder::rankOf(x))
    return update;
  Value inner = b.narrow(x, axis, starts[axis], b.dim(update, axis));
  inner = inner ? updateSlice(b, inner, update, starts, axis + 1) : inner;
  return b.sliceScatter(x, inner, axis, starts[axis], b.index(1));
}

Results dynamicUpdateSlice(Call &c) {
  Value x = c.operand(0), update = c.operand(1);
  if (!x || !update)
    return {};
  if (OpsBuilder::rankOf(update) != OpsBuilder::rankOf(x))
    return {c.b.fail("needs an update of the operand's rank")};
  std::optional<Dims> starts = clampedStarts(c, x, 2, c.b.dims(update));
  return {starts ? updateSlice(c.b, x, update, *starts, 0) : Value()};
}

Results dimensionSize(Call &c) {
  Value x = c.operand(0);
  const int64_t axis = c.integer({"dimension", "dim"}, -1);
  if (!x || axis < 0 || axis >= OpsBuilder::rankOf(x))
    return {c.b.fail("has no such axis")};
  return {c.b.dimsToTensor({c.b.dim(x, axis)}, c.b.getI32Type(),
                           /*scalar=*/true)};
}

struct Entry {
  StringLiteral name;
  Handler handler;
};

constexpr Entry entries[] = {
    {"broadcast_in_dim", broadcast},
    {"dynamic_broadcast_in_dim", dynamicBroadcast},
    {"reshape", reshape},
    {"dynamic_reshape", dynamicReshape},
    {"transpose", transpose},
    {"reverse", reverse},
    {"iota", iota},
    {"dynamic_iota", dynamicIota},
    {"concatenate", concatenate},
    {"pad", pad},
    {"dynamic_pad", dynamicPad},
    {"slice", slice},
    {"real_dynamic_slice", realDynamicSlice},
    {"dynamic_slice", dynamicSlice},
    {"dynamic_update_slice", dynamicUpdateSlice},
    {"get_dimension_size", dimensionSize},
};

} // namespace

void addShapes(Table &table) {
  for (const Entry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::hlo
