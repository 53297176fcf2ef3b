//===- Indexing.cpp - ATen operators with index tensors -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// Indices of an operator that does not count negative ones from the end: they
/// become such as are out of range in any case. The few constant ones were seen
/// by the exporter.
Value positions(Call &c, StringRef name) {
  Value index = c.tensor(name);
  if (!index || matchPattern(index, mlir::m_Constant()))
    return index;
  mlir::Type type = mlir::getElementTypeOrSelf(index);
  if (!type.isInteger(32) && !type.isInteger(64))
    return index; // refused where it is used
  Value lowest = c.b.scalar(llvm::minIntN(type.getIntOrFloatBitWidth()), type);
  Value isNegative = c.b.compare(Compare::Lt, index, c.b.scalar(0, type));
  return c.b.where(isNegative, lowest, index);
}

Value embedding(Call &c) {
  return c.b.gather(c.tensor("weight"), positions(c, "indices"), 0);
}

/// A scalar counts as a tensor of one element.
Value atLeastOneDim(Call &c, Value x) {
  return x && c.b.rankOf(x) == 0 ? c.b.unsqueeze(x, {0}) : x;
}

Value indexSelect(Call &c) {
  Value x = c.tensor("self"), index = atLeastOneDim(c, positions(c, "index"));
  if (!x || !index)
    return nullptr;
  const bool isScalar = c.b.rankOf(x) == 0;
  Value result =
      c.b.gather(atLeastOneDim(c, x), index, c.axis("dim", c.b.rankOf(x)));
  return isScalar && result ? c.b.squeeze(result, {0}) : result;
}

Value gatherElements(Call &c) {
  Value x = c.tensor("self"), index = positions(c, "index");
  if (!x || !index)
    return nullptr;
  const bool isScalar = c.b.rankOf(index) == 0;
  Value result =
      c.b.gatherElements(atLeastOneDim(c, x), atLeastOneDim(c, index),
                         c.axis("dim", c.b.rankOf(x)));
  return isScalar && result ? c.b.squeeze(result, {0}) : result;
}

Value takeAlongDim(Call &c) {
  Value x = c.tensor("self"), index = c.tensor("indices");
  if (!x || !index)
    return nullptr;
  if (!c.has("dim")) { // of all elements in a row
    if (c.b.rankOf(x) != 1)
      x = c.b.reshape(x, {c.b.product(c.b.dims(x))});
    if (c.b.rankOf(index) != 1)
      index = c.b.reshape(index, {c.b.product(c.b.dims(index))});
    return c.b.gatherElements(x, index, 0);
  }
  // All other dims broadcast.
  const int64_t rank = c.b.rankOf(x);
  if (c.b.rankOf(index) != rank)
    return c.fail("the tensor and the indices differ in rank");
  const int64_t axis = c.axis("dim", rank);
  Dims xDims = c.b.dims(x), indexDims = c.b.dims(index);
  xDims[axis] = indexDims[axis] = c.b.index(1);
  std::optional<Dims> dims = c.b.broadcastDims({xDims, indexDims});
  if (!dims)
    return nullptr;
  Dims target = *dims;
  target[axis] = c.b.dim(x, axis);
  x = c.b.expand(x, target);
  target[axis] = c.b.dim(index, axis);
  return c.b.gatherElements(x, c.b.expand(index, target), axis);
}

/// The index tensors; masks are tensors of i1.
std::optional<SmallVector<Value>> indicesOf(Call &c) {
  SmallVector<Value> indices = c.tensors("indices");
  if (c.b.failed())
    return std::nullopt;
  const Argument &list = *c.find("indices");
  for (auto [value, argument] : zip(indices, list.list)) {
    if (argument.kind == Argument::None)
      continue;
    if (!value)
      return std::nullopt;
    if (c.typeOf(argument) == ScalarType::Byte)
      value = c.cast(value, ScalarType::Byte, ScalarType::Bool);
  }
  return indices;
}

Value index(Call &c) {
  Value x = c.tensor("self");
  std::optional<SmallVector<Value>> indices = indicesOf(c);
  return x && indices ? c.b.indexMasks(x, *indices) : nullptr;
}

Value indexPut(Call &c) {
  Value x = c.tensor("self");
  const bool accumulate = c.boolean("accumulate");
  // x[mask] = number is a choice for every element.
  const Argument *list = c.find("indices");
  if (list && list->list.size() == 1 && !accumulate &&
      list->list[0].kind == Argument::Tensor &&
      c.typeOf(list->list[0]) == ScalarType::Bool) {
    Value mask = c.operand(list->list[0], ScalarType::Bool);
    Value value = c.operand("values", c.resultType());
    if (!x || !mask || !value)
      return nullptr;
    std::optional<int64_t> count =
        c.b.rankOf(value) == 1 ? c.b.known(c.b.dim(value, 0)) : std::nullopt;
    if (c.b.rankOf(value) == 0 || count == 1) {
      if (count == 1)
        value = c.b.squeeze(value, {0});
      SmallVector<int64_t> added;
      for (int64_t i = c.b.rankOf(mask); i < c.b.rankOf(x); ++i)
        added.push_back(i);
      if (!added.empty())
        mask = c.b.unsqueeze(mask, added);
      return c.b.where(mask, value, x);
    }
  }
  std::optional<SmallVector<Value>> indices = indicesOf(c);
  Value values = c.operand("values", c.resultType());
  if (!x || !indices || !values)
    return nullptr;
  return c.b.indexPutMasks(x, *indices, values,
                           accumulate ? ScatterKind::Add
                                      : ScatterKind::Replace);
}

Value indexCopy(Call &c) {
  Value x = c.tensor("self");
  Value index = atLeastOneDim(c, positions(c, "index"));
  Value source = c.tensor("source");
  if (!x || !index || !source)
    return nullptr;
  return c.b.indexCopy(x, index, source, c.axis("dim", c.b.rankOf(x)));
}

/// x[..., index, ...] = value (or += source), index along one dim.
template <bool adds> Value indexInto(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.tensor("self");
  Value index =
      atLeastOneDim(c, adds ? positions(c, "index") : c.tensor("index"));
  Value source = c.operand(adds ? "source" : "value", type);
  if (!x || !index || !source)
    return nullptr;
  if (adds && c.has("alpha") && c.number("alpha") != 1)
    source = c.b.mul(source, c.operand("alpha", type));
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  Dims dims = c.b.dims(x);
  if (axis >= int64_t(dims.size()))
    return c.fail("of a scalar is not supported");
  dims[axis] = c.b.dim(index, 0);
  source = c.b.expand(source, dims);
  if (!source)
    return nullptr;
  if (!adds)
    return c.b.indexCopy(x, index, source, axis);
  SmallVector<Value> indices(axis, nullptr);
  indices.push_back(index);
  return c.b.indexPut(x, indices, source, ScatterKind::Add);
}

Value scatterOf(Call &c, StringRef sourceName, ScatterKind kind) {
  Value x = c.tensor("self"), index = positions(c, "index");
  Value source = c.operand(sourceName, c.resultType());
  if (!x || !index || !source)
    return nullptr;
  const bool isScalar = c.b.rankOf(x) == 0;
  index = atLeastOneDim(c, index);
  if (c.b.rankOf(source) == 0) {
    source = c.b.expand(source, c.b.dims(index));
  } else {
    // The source may be larger than the index: its corner counts.
    for (int64_t i = 0; source && i < c.b.rankOf(source); ++i)
      if (!c.b.same(c.b.dim(source, i), c.b.dim(index, i)))
        source = c.b.narrow(source, i, c.b.index(0), c.b.dim(index, i));
  }
  Value result = c.b.scatterElements(atLeastOneDim(c, x), index, source,
                                     c.axis("dim", c.b.rankOf(x)), kind);
  return isScalar && result ? c.b.squeeze(result, {0}) : result;
}

Value scatter(Call &c) {
  return scatterOf(c, c.has("src") ? "src" : "value", ScatterKind::Replace);
}
Value scatterAdd(Call &c) { return scatterOf(c, "src", ScatterKind::Add); }

Value scatterReduce(Call &c) {
  StringRef reduce = c.string("reduce");
  if (!c.boolean("include_self", true))
    return c.fail("include_self=False is not supported");
  ScatterKind kind;
  if (reduce == "sum" || reduce == "add")
    kind = ScatterKind::Add;
  else if (reduce == "prod" || reduce == "multiply")
    kind = ScatterKind::Mul;
  else if (reduce == "amax")
    kind = ScatterKind::Max;
  else if (reduce == "amin")
    kind = ScatterKind::Min;
  else
    return c.fail("reduce='" + reduce + "' is not supported");
  return scatterOf(c, c.has("src") ? "src" : "value", kind);
}

/// A position clamped to [0, size] after counting from the end.
Dim normalized(Call &c, Dim position, Dim size) {
  std::optional<int64_t> known = c.b.known(position);
  if (!known) // sizes are not negative
    return c.b.min(position, size);
  if (*known < 0)
    return c.b.max(c.b.add(size, position), c.b.index(0));
  return *known == 0 ? position : c.b.min(position, size);
}

Value sliceScatter(Call &c) {
  Value x = c.tensor("self"), source = c.operand("src", c.resultType());
  if (!x || !source)
    return nullptr;
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  Dim start = normalized(c, c.dim("start", c.b.index(0)), c.b.dim(x, axis));
  return c.b.sliceScatter(x, source, axis, start, c.dim("step", c.b.index(1)));
}

Value selectScatter(Call &c) {
  Value x = c.tensor("self"), source = c.operand("src", c.resultType());
  if (!x || !source)
    return nullptr;
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  Dim position = c.dim("index", c.b.index(0));
  if (std::optional<int64_t> known = c.b.known(position); known && *known < 0)
    position = c.b.add(c.b.dim(x, axis), position);
  return c.b.sliceScatter(x, c.b.unsqueeze(source, {axis}), axis, position,
                          c.b.index(1));
}

constexpr OpEntry entries[] = {
    {"aten.embedding.default", embedding},
    {"aten.index_select.default", indexSelect},
    {"aten.gather.default", gatherElements},
    {"aten.take_along_dim.default", takeAlongDim},
    {"aten.index.Tensor", index},
    {"aten._unsafe_index.Tensor", index},
    {"aten.index_put.default", indexPut},
    {"aten._unsafe_index_put.default", indexPut},
    {"aten.index_copy.default", indexCopy},
    {"aten.index_fill.int_Scalar", indexInto<false>},
    {"aten.index_fill.int_Tensor", indexInto<false>},
    {"aten.index_add.default", indexInto<true>},
    {"aten.scatter.src", scatter},
    {"aten.scatter.value", scatter},
    {"aten.scatter.reduce", scatterReduce},
    {"aten.scatter.value_reduce", scatterReduce},
    {"aten.scatter_add.default", scatterAdd},
    {"aten.scatter_reduce.two", scatterReduce},
    {"aten.slice_scatter.default", sliceScatter},
    {"aten.select_scatter.default", selectScatter},
};

} // namespace

void addIndexing(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
