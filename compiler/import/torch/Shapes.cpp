//===- Shapes.cpp - ATen operators that move elements ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Views are values like all others: memory formats and strides mean nothing.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"
#include <numeric>

using namespace llvm;

namespace marver::torch {
namespace {

/// To the dims that the file states.
Value reshapeToResult(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.reshape(x, c.resultDims()) : nullptr;
}

Value flatten(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.flatten(x, c.integer("start_dim", 0), c.integer("end_dim", -1))
           : nullptr;
}

/// Drops the dims of `dim` (without it: all) that are one.
Value squeeze(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  SmallVector<int64_t> wanted;
  if (c.has("dim")) {
    for (int64_t axis : c.ints("dim"))
      wanted.push_back(c.b.axis(axis, std::max<int64_t>(rank, 1)).value_or(0));
  } else {
    wanted.resize(rank);
    std::iota(wanted.begin(), wanted.end(), 0);
  }
  SmallVector<int64_t> axes;
  for (int64_t axis : wanted)
    if (axis < rank && c.b.known(c.b.dim(x, axis)) == 1)
      axes.push_back(axis);
  llvm::sort(axes);
  return axes.empty() ? x : c.b.squeeze(x, axes);
}

Value unsqueeze(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.unsqueeze(x, {c.axis("dim", c.b.rankOf(x) + 1)}) : nullptr;
}

Value expand(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.expand(x, c.resultDims()) : nullptr;
}

Value swap(Call &c, Value x, int64_t a, int64_t b) {
  if (!x || c.b.rankOf(x) == 0)
    return x;
  SmallVector<int64_t> order(c.b.rankOf(x));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[a], order[b]);
  return c.b.transpose(x, order);
}

template <const char *first, const char *second> Value transpose(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  return swap(c, x, c.axis(first, rank), c.axis(second, rank));
}
constexpr char dim0[] = "dim0", dim1[] = "dim1", axis0[] = "axis0",
               axis1[] = "axis1";

/// The last two dims; fewer dims stay.
Value transposeLast(Call &c) {
  Value x = c.tensor("self");
  if (!x || c.b.rankOf(x) < 2)
    return x;
  return swap(c, x, c.b.rankOf(x) - 2, c.b.rankOf(x) - 1);
}

Value permute(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  std::optional<SmallVector<int64_t>> order =
      c.b.axes(c.ints("dims"), c.b.rankOf(x));
  if (!order)
    return nullptr;
  return c.b.transpose(x, *order);
}

Value reverseDims(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  SmallVector<int64_t> order(c.b.rankOf(x));
  std::iota(order.rbegin(), order.rend(), 0);
  return c.b.transpose(x, order);
}

Value moveDims(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  std::optional<SmallVector<int64_t>> from = c.b.axes(c.ints("source"), rank);
  std::optional<SmallVector<int64_t>> to =
      c.b.axes(c.ints("destination"), rank);
  if (!from || !to)
    return nullptr;
  if (from->size() != to->size())
    return c.fail("source and destination differ in length");
  SmallVector<int64_t> order(rank, -1);
  for (auto [source, destination] : zip(*from, *to))
    order[destination] = source;
  int64_t next = 0;
  for (int64_t &entry : order) {
    if (entry >= 0)
      continue;
    while (is_contained(*from, next))
      ++next;
    if (next >= rank)
      return c.fail("a dim is named twice");
    entry = next++;
  }
  return c.b.transpose(x, order);
}

Value slice(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  return c.b.slice(x, axis, c.dim("start", c.b.index(0)),
                   c.dim("end", c.b.dim(x, axis)), c.dim("step", c.b.index(1)));
}

Value select(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.select(x, c.axis("dim", c.b.rankOf(x)),
                        c.dim("index", c.b.index(0)))
           : nullptr;
}

Value narrow(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  Dim start = c.dim("start", c.b.index(0));
  if (std::optional<int64_t> known = c.b.known(start); known && *known < 0)
    start = c.b.add(c.b.dim(x, axis), start);
  return c.b.slice(x, axis, start,
                   c.b.add(start, c.dim("length", c.b.index(0))), c.b.index(1));
}

/// Pieces along `dim`, as long as the file states.
Value split(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  if (rank == 0)
    return c.fail("a scalar cannot be split");
  const int64_t axis = c.axis("dim", rank);
  size_t count = 0;
  for (const Argument &output : c.node.outputs)
    count += output.kind == Argument::List ? output.list.size() : 1;
  Dims sizes;
  Dim sum = c.b.index(0);
  for (size_t i = 0; i < count; ++i) {
    Dims dims = c.resultDims(i);
    if (int64_t(dims.size()) != rank)
      return c.fail("the pieces have another rank");
    sizes.push_back(dims[axis]);
    sum = c.b.add(sum, dims[axis]);
  }
  if (!c.b.requireEqual(sum, c.b.dim(x, axis), "sizes of the pieces"))
    return nullptr;
  c.results = c.b.split(x, axis, sizes);
  return nullptr;
}

Value unbind(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  if (c.b.rankOf(x) == 0)
    return c.fail("a scalar has no dims");
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  std::optional<int64_t> count = c.b.known(c.b.dim(x, axis));
  if (!count)
    return c.fail("the number of results depends on a dynamic size");
  size_t wanted = 0;
  for (const Argument &output : c.node.outputs)
    wanted += output.kind == Argument::List ? output.list.size() : 1;
  if (int64_t(wanted) != *count)
    return c.fail("the file states another number of results");
  for (int64_t i = 0; i < *count; ++i)
    c.results.push_back(c.b.select(x, axis, c.b.index(i)));
  return nullptr;
}

/// Tensors cast to the result's dtype.
SmallVector<Value> promoted(Call &c) {
  SmallVector<Value> result;
  const Argument *argument = c.find("tensors");
  if (!argument || argument->kind != Argument::List) {
    c.fail("argument 'tensors' is not a list of tensors");
    return result;
  }
  for (const Argument &item : argument->list)
    result.push_back(c.operand(item, c.resultType()));
  return result;
}

Value concat(Call &c) {
  SmallVector<Value> xs = promoted(c);
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  // Empty tensors of one dim are left out, whatever the others' rank.
  if (any_of(xs, [&](Value x) { return c.b.rankOf(x) != 1; }))
    erase_if(xs, [&](Value x) {
      return c.b.rankOf(x) == 1 && c.b.known(c.b.dim(x, 0)) == 0;
    });
  if (xs.empty())
    return c.fail("there is nothing to concatenate");
  return c.b.concat(xs, c.axis("dim", c.b.rankOf(xs[0])));
}

Value stack(Call &c) {
  SmallVector<Value> xs = promoted(c);
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  if (xs.empty())
    return c.fail("there is nothing to stack");
  return c.b.stack(xs, c.axis("dim", c.b.rankOf(xs[0]) + 1));
}

/// atleast_2d and the like: dims of one in front; a vector that becomes
/// three-dimensional has its dim in the middle, and a matrix its one at the
/// end.
Value raiseRank(Call &c, Value x, int64_t rank) {
  if (!x || c.b.rankOf(x) >= rank)
    return x;
  SmallVector<int64_t> axes;
  if (rank == 3 && c.b.rankOf(x) == 2)
    axes = {2};
  else if (rank == 3 && c.b.rankOf(x) == 1)
    axes = {0, 2};
  else
    for (int64_t i = c.b.rankOf(x); i < rank; ++i)
      axes.push_back(i - c.b.rankOf(x));
  return c.b.unsqueeze(x, axes);
}

template <int rank> Value atLeast(Call &c) {
  return raiseRank(c, c.tensor("self"), rank);
}

/// vstack, hstack and dstack are a concatenation of such.
template <int rank, int axis> Value stackAlong(Call &c) {
  SmallVector<Value> xs = promoted(c);
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  if (xs.empty())
    return c.fail("there is nothing to stack");
  for (Value &x : xs)
    x = raiseRank(c, x, rank);
  if (is_contained(xs, nullptr))
    return nullptr;
  return c.b.concat(xs, std::min<int64_t>(axis, c.b.rankOf(xs[0]) - 1));
}

Value repeat(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  Dims repeats = c.dims(c.has("repeats") ? "repeats" : "dims");
  const int64_t rank = c.b.rankOf(x);
  // torch.tile takes fewer repeats than dims, Tensor.repeat more.
  while (int64_t(repeats.size()) < rank)
    repeats.insert(repeats.begin(), c.b.index(1));
  SmallVector<int64_t> added(repeats.size() - rank);
  std::iota(added.begin(), added.end(), 0);
  if (!added.empty())
    x = c.b.unsqueeze(x, added);
  return x ? c.b.tile(x, repeats) : nullptr;
}

Value repeatInterleave(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  if (!c.has("dim")) {
    x = rank == 0 ? c.b.unsqueeze(x, {0}) : c.b.flatten(x, 0, rank - 1);
    return x ? c.b.repeatInterleave(x, 0, c.dim("repeats", c.b.index(1)))
             : nullptr;
  }
  return c.b.repeatInterleave(x, c.axis("dim", rank),
                              c.dim("repeats", c.b.index(1)));
}

Value flip(Call &c) {
  Value x = c.tensor("self");
  if (!x || c.b.rankOf(x) == 0)
    return x;
  std::optional<SmallVector<int64_t>> axes =
      c.b.axes(c.ints("dims"), c.b.rankOf(x));
  return axes ? c.b.flip(x, *axes) : nullptr;
}

Value roll(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  SmallVector<int64_t> dims = c.ints("dims"), shifts = c.ints("shifts");
  if (dims.empty() && c.b.rankOf(x) > 0) { // over all elements in a row
    Value flat = c.b.flatten(x, 0, c.b.rankOf(x) - 1);
    Value rolled = flat ? c.b.roll(flat, {0}, shifts) : nullptr;
    return rolled ? c.b.reshape(rolled, c.b.dims(x)) : nullptr;
  }
  std::optional<SmallVector<int64_t>> axes = c.b.axes(dims, c.b.rankOf(x));
  if (!axes)
    return nullptr;
  if (axes->size() != shifts.size())
    return c.fail("shifts and dims differ in length");
  return c.b.roll(x, *axes, shifts);
}

template <bool upper> Value triangle(Call &c) {
  return c.b.tri(c.tensor("self"), c.dim("diagonal", c.b.index(0)), upper);
}

Value diagonal(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  return c.b.diagonal(x, c.integer("offset"), c.axis("dim1", rank, 0),
                      c.axis("dim2", rank, 1));
}

Value unfold(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.unfold(x, c.axis("dimension", c.b.rankOf(x)),
                        c.integer("size"), c.integer("step", 1))
           : nullptr;
}

Value padWith(Call &c, StringRef argument, PadMode mode, Value fill) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  // Pairs from the last dim on.
  Dims pads = c.dims(argument);
  const size_t rank = c.b.rankOf(x);
  if (pads.size() % 2 != 0 || pads.size() / 2 > rank)
    return c.fail("argument '" + argument + "' has " + Twine(pads.size()) +
                  " entries for a tensor of rank " + Twine(rank));
  Dims low(rank, c.b.index(0)), high(rank, c.b.index(0));
  for (size_t i = 0; i < pads.size() / 2; ++i) {
    low[rank - 1 - i] = pads[2 * i];
    high[rank - 1 - i] = pads[2 * i + 1];
  }
  return c.b.pad(x, low, high, mode, fill);
}

Value pad(Call &c) {
  StringRef mode = c.string("mode", "constant");
  if (mode == "reflect")
    return padWith(c, "pad", PadMode::Reflect, nullptr);
  if (mode == "replicate")
    return padWith(c, "pad", PadMode::Edge, nullptr);
  if (mode == "circular")
    return padWith(c, "pad", PadMode::Wrap, nullptr);
  if (mode != "constant")
    return c.fail("mode '" + mode + "' is not supported");
  Value fill = c.has("value") ? c.operand("value", c.resultType())
                              : c.b.scalar(0, c.resultElement());
  return padWith(c, "pad", PadMode::Constant, fill);
}

template <PadMode mode> Value padding(Call &c) {
  return padWith(c, "padding", mode, nullptr);
}

template <bool toSpace> Value shuffle(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  if (rank < 3)
    return c.fail("a tensor of rank 3 or more is needed");
  // Any number of leading dims counts as one batch.
  const Dims dims = c.b.dims(x);
  if (rank == 3)
    x = c.b.unsqueeze(x, {0});
  else if (rank > 4)
    x = c.b.flatten(x, 0, rank - 4);
  if (!x)
    return nullptr;
  Value result = toSpace
                     ? c.b.depthToSpace(x, c.integer("upscale_factor"), true)
                     : c.b.spaceToDepth(x, c.integer("downscale_factor"), true);
  if (!result || rank == 4)
    return result;
  return c.b.reshape(result, c.resultDims());
}

Value channelShuffle(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const Dims dims = c.b.dims(x);
  if (dims.size() < 3)
    return c.fail("a tensor of rank 3 or more is needed");
  Dim groups = c.dim("groups", c.b.index(1));
  Dims split = {dims[0], groups, c.b.floorDiv(dims[1], groups)};
  split.append(dims.begin() + 2, dims.end());
  Value parts = c.b.reshape(x, split);
  Value swapped = swap(c, parts, 1, 2);
  return swapped ? c.b.reshape(swapped, dims) : nullptr;
}

Value meshgrid(Call &c) {
  SmallVector<Value> xs = c.tensors("tensors");
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  StringRef indexing = c.string("indexing", "ij");
  const int64_t rank = xs.size();
  for (int64_t i = 0; i < rank; ++i) {
    // The first two dims are swapped with "xy".
    int64_t axis = i;
    if (indexing == "xy" && rank > 1 && i < 2)
      axis = 1 - i;
    SmallVector<int64_t> axes;
    for (int64_t d = 0; d < rank; ++d)
      if (d != axis)
        axes.push_back(d);
    Value x = c.b.rankOf(xs[i]) == 0 ? c.b.unsqueeze(xs[i], {0}) : xs[i];
    if (x && !axes.empty())
      x = c.b.unsqueeze(x, axes);
    c.results.push_back(x ? c.b.expand(x, c.resultDims(i)) : nullptr);
  }
  return nullptr;
}

Value broadcastTensors(Call &c) {
  SmallVector<Value> xs = c.tensors("tensors");
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  for (auto [i, x] : enumerate(xs))
    c.results.push_back(c.b.expand(x, c.resultDims(i)));
  return nullptr;
}

constexpr OpEntry entries[] = {
    {"aten.view.default", reshapeToResult},
    {"aten.view_copy.default", reshapeToResult},
    {"aten.reshape.default", reshapeToResult},
    {"aten._unsafe_view.default", reshapeToResult},
    {"aten._reshape_alias.default", reshapeToResult},
    {"aten.view_as.default", reshapeToResult},
    {"aten.reshape_as.default", reshapeToResult},
    {"aten.flatten.using_ints", flatten},
    {"aten.ravel.default", reshapeToResult},
    {"aten.unflatten.int", reshapeToResult},
    {"aten.squeeze.default", squeeze},
    {"aten.squeeze.dim", squeeze},
    {"aten.squeeze.dims", squeeze},
    {"aten.squeeze_copy.dims", squeeze},
    {"aten.unsqueeze.default", unsqueeze},
    {"aten.unsqueeze_copy.default", unsqueeze},
    {"aten.expand.default", expand},
    {"aten.expand_copy.default", expand},
    {"aten.expand_as.default", expand},
    {"aten.broadcast_to.default", expand},
    {"aten.broadcast_tensors.default", broadcastTensors},
    {"aten.transpose.int", transpose<dim0, dim1>},
    {"aten.transpose_copy.int", transpose<dim0, dim1>},
    {"aten.swapdims.default", transpose<dim0, dim1>},
    {"aten.swapaxes.default", transpose<axis0, axis1>},
    {"aten.t.default", transposeLast},
    {"aten.mT.default", transposeLast},
    {"aten.matrix_H.default", transposeLast},
    {"aten.numpy_T.default", reverseDims},
    {"aten.permute.default", permute},
    {"aten.permute_copy.default", permute},
    {"aten.movedim.int", moveDims},
    {"aten.movedim.intlist", moveDims},
    {"aten.moveaxis.int", moveDims},
    {"aten.slice.Tensor", slice},
    {"aten.slice_copy.Tensor", slice},
    {"aten.select.int", select},
    {"aten.select_copy.int", select},
    {"aten.narrow.default", narrow},
    {"aten.split.Tensor", split},
    {"aten.split.sizes", split},
    {"aten.split_with_sizes.default", split},
    {"aten.split_with_sizes_copy.default", split},
    {"aten.chunk.default", split},
    {"aten.unsafe_chunk.default", split},
    {"aten.unsafe_split.Tensor", split},
    {"aten.unsafe_split_with_sizes.default", split},
    {"aten.tensor_split.sections", split},
    {"aten.tensor_split.indices", split},
    {"aten.unbind.int", unbind},
    {"aten.cat.default", concat},
    {"aten.concat.default", concat},
    {"aten.concatenate.default", concat},
    {"aten.stack.default", stack},
    {"aten.hstack.default", stackAlong<1, 1>},
    {"aten.vstack.default", stackAlong<2, 0>},
    {"aten.dstack.default", stackAlong<3, 2>},
    {"aten.atleast_1d.default", atLeast<1>},
    {"aten.atleast_2d.default", atLeast<2>},
    {"aten.atleast_3d.default", atLeast<3>},
    {"aten.repeat.default", repeat},
    {"aten.tile.default", repeat},
    {"aten.repeat_interleave.self_int", repeatInterleave},
    {"aten.flip.default", flip},
    {"aten.roll.default", roll},
    {"aten.tril.default", triangle<false>},
    {"aten.triu.default", triangle<true>},
    {"aten.diagonal.default", diagonal},
    {"aten.diagonal_copy.default", diagonal},
    {"aten.unfold.default", unfold},
    {"aten.unfold_copy.default", unfold},
    {"aten.pad.default", pad},
    {"aten.constant_pad_nd.default", pad},
    {"aten.reflection_pad1d.default", padding<PadMode::Reflect>},
    {"aten.reflection_pad2d.default", padding<PadMode::Reflect>},
    {"aten.reflection_pad3d.default", padding<PadMode::Reflect>},
    {"aten.replication_pad1d.default", padding<PadMode::Edge>},
    {"aten.replication_pad2d.default", padding<PadMode::Edge>},
    {"aten.replication_pad3d.default", padding<PadMode::Edge>},
    {"aten.pixel_shuffle.default", shuffle<true>},
    {"aten.pixel_unshuffle.default", shuffle<false>},
    {"aten.channel_shuffle.default", channelShuffle},
    {"aten.native_channel_shuffle.default", channelShuffle},
    {"aten.meshgrid.default", meshgrid},
    {"aten.meshgrid.indexing", meshgrid},
};

} // namespace

void addShapes(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
