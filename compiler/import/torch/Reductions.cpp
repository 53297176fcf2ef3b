//===- Reductions.cpp - ATen operators over whole dims --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// The dims of argument `dim`, from the front; all where it is absent or empty.
SmallVector<int64_t> axesOf(Call &c, Value x) {
  SmallVector<int64_t> result;
  const int64_t rank = c.b.rankOf(x);
  if (rank == 0)
    return result;
  for (int64_t axis : c.ints("dim"))
    result.push_back(c.b.axis(axis, rank).value_or(0));
  if (result.empty())
    for (int64_t i = 0; i < rank; ++i)
      result.push_back(i);
  return result;
}

template <Reduce kind> Value reduce(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.operand("self", type);
  if (!x)
    return nullptr;
  return c.b.reduce(kind, x, axesOf(c, x), c.boolean("keepdim"),
                    isUnsigned(type));
}

template <mv::ArgKind kind> Value argExtremum(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  mlir::Type element = c.resultElement();
  if (c.b.rankOf(x) == 0)
    return c.b.scalar(int64_t(0), element);
  const bool keepDims = c.boolean("keepdim");
  if (c.has("dim"))
    return c.b.argReduce(kind, x, c.axis("dim", c.b.rankOf(x)), keepDims,
                         /*last=*/false, element);
  const int64_t rank = c.b.rankOf(x);
  Value flat = c.b.flatten(x, 0, rank - 1);
  Value result = c.b.argReduce(kind, flat, 0, /*keepDims=*/false,
                               /*last=*/false, element);
  return keepDims && result
             ? c.b.reshape(result, SmallVector<Dim>(rank, c.b.index(1)))
             : result;
}

/// Values and positions.
template <mv::ArgKind kind> Value extremum(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  mlir::Type indexElement = c.resultElement(1);
  if (c.b.rankOf(x) == 0) {
    c.results = {x, c.b.scalar(int64_t(0), indexElement)};
    return nullptr;
  }
  const int64_t axis = c.axis("dim", c.b.rankOf(x));
  const bool keepDims = c.boolean("keepdim");
  c.results = {
      c.b.reduce(kind == mv::ArgKind::Max ? Reduce::Max : Reduce::Min, x,
                 {axis}, keepDims, isUnsigned(c.typeOf("self"))),
      c.b.argReduce(kind, x, axis, keepDims, /*last=*/false, indexElement)};
  return nullptr;
}

double correctionOf(Call &c) {
  if (c.has("unbiased"))
    return c.boolean("unbiased") ? 1 : 0;
  return c.number("correction", 1);
}

Value variance(Call &c) {
  Value x = c.tensor("self");
  return x ? c.b.variance(x, axesOf(c, x), correctionOf(c),
                          c.boolean("keepdim"))
           : nullptr;
}

Value deviation(Call &c) { return c.b.unary(Unary::Sqrt, variance(c)); }

template <bool root> Value withMean(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  Value spread = root ? deviation(c) : variance(c);
  c.results = {spread,
               c.b.reduce(Reduce::Mean, x, axesOf(c, x), c.boolean("keepdim"))};
  return nullptr;
}

template <bool log> Value softmax(Call &c) {
  Value x = c.operand("self", c.resultType());
  if (!x)
    return nullptr;
  if (c.b.rankOf(x) == 0)
    return c.b.scalar(log ? 0.0 : 1.0, c.resultElement());
  return c.b.softmax(x, c.axis("dim", c.b.rankOf(x)), log);
}

Value cumulativeSum(Call &c) {
  Value x = c.operand("self", c.resultType());
  if (!x || c.b.rankOf(x) == 0)
    return x;
  return c.b.cumulativeSum(x, c.axis("dim", c.b.rankOf(x)),
                           /*exclusive=*/false, /*reverse=*/false);
}

/// aten.diff: differences of neighbours, `n` times over; what `prepend` and
/// `append` add comes first.
Value difference(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  int64_t rank = c.b.rankOf(x), axis = c.axis("dim", rank, -1);
  SmallVector<Value> parts;
  if (c.has("prepend"))
    parts.push_back(c.tensor("prepend"));
  parts.push_back(x);
  if (c.has("append"))
    parts.push_back(c.tensor("append"));
  if (llvm::is_contained(parts, nullptr) || c.b.failed())
    return nullptr;
  x = parts.size() > 1 ? c.b.concat(parts, axis) : x;
  bool isBoolean = c.b.elementOf(x).isInteger(1);
  for (int64_t i = 0, n = c.integer("n", 1); i < n && x; ++i) {
    Dim size = c.b.dim(x, axis), one = c.b.index(1);
    Value next = c.b.slice(x, axis, one, size, one);
    Value previous = c.b.slice(x, axis, c.b.index(0), c.b.sub(size, one), one);
    x = isBoolean ? c.b.compare(Compare::Ne, next, previous)
                  : c.b.sub(next, previous);
  }
  return x;
}

Value norm(Call &c) {
  Value x = c.operand("self", c.resultType());
  double order = c.number(c.has("p") ? "p" : "ord", 2);
  return x ? c.b.vectorNorm(x, order, axesOf(c, x), c.boolean("keepdim"))
           : nullptr;
}

Value topk(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  if (c.b.rankOf(x) == 0)
    return c.fail("of a scalar is not supported");
  auto [values, indices] =
      c.b.topk(x, c.dim("k", c.b.index(1)), c.axis("dim", c.b.rankOf(x), -1),
               c.boolean("largest", true), isUnsigned(c.typeOf("self")));
  c.results = {values, indices};
  return nullptr;
}

/// A sort is the largest (smallest) of all.
void sortInto(Call &c, SmallVector<Value> &results) {
  Value x = c.tensor("self");
  if (!x)
    return;
  if (c.b.rankOf(x) == 0) {
    results = {x, c.b.scalar(int64_t(0), c.b.getI64Type())};
    return;
  }
  const int64_t axis = c.axis("dim", c.b.rankOf(x), -1);
  auto [values, indices] =
      c.b.topk(x, c.b.dim(x, axis), axis, c.boolean("descending"),
               isUnsigned(c.typeOf("self")));
  results = {values, indices};
}

Value sort(Call &c) {
  sortInto(c, c.results);
  return nullptr;
}

Value argSort(Call &c) {
  SmallVector<Value> results;
  sortInto(c, results);
  return results.size() == 2 ? results[1] : nullptr;
}

constexpr OpEntry entries[] = {
    {"aten.sum.default", reduce<Reduce::Sum>},
    {"aten.sum.dim_IntList", reduce<Reduce::Sum>},
    {"aten.mean.default", reduce<Reduce::Mean>},
    {"aten.mean.dim", reduce<Reduce::Mean>},
    {"aten.prod.default", reduce<Reduce::Prod>},
    {"aten.prod.dim_int", reduce<Reduce::Prod>},
    {"aten.amax.default", reduce<Reduce::Max>},
    {"aten.amin.default", reduce<Reduce::Min>},
    {"aten.max.default", reduce<Reduce::Max>},
    {"aten.min.default", reduce<Reduce::Min>},
    {"aten.any.default", reduce<Reduce::Any>},
    {"aten.any.dim", reduce<Reduce::Any>},
    {"aten.any.dims", reduce<Reduce::Any>},
    {"aten.all.default", reduce<Reduce::All>},
    {"aten.all.dim", reduce<Reduce::All>},
    {"aten.all.dims", reduce<Reduce::All>},
    {"aten.logsumexp.default", reduce<Reduce::LogSumExp>},
    {"aten.argmax.default", argExtremum<mv::ArgKind::Max>},
    {"aten.argmin.default", argExtremum<mv::ArgKind::Min>},
    {"aten.max.dim", extremum<mv::ArgKind::Max>},
    {"aten.min.dim", extremum<mv::ArgKind::Min>},
    {"aten.var.default", variance},
    {"aten.var.dim", variance},
    {"aten.var.correction", variance},
    {"aten.std.default", deviation},
    {"aten.std.dim", deviation},
    {"aten.std.correction", deviation},
    {"aten.var_mean.default", withMean<false>},
    {"aten.var_mean.dim", withMean<false>},
    {"aten.var_mean.correction", withMean<false>},
    {"aten.std_mean.default", withMean<true>},
    {"aten.std_mean.dim", withMean<true>},
    {"aten.std_mean.correction", withMean<true>},
    {"aten.softmax.int", softmax<false>},
    {"aten._softmax.default", softmax<false>},
    {"aten.log_softmax.int", softmax<true>},
    {"aten._log_softmax.default", softmax<true>},
    {"aten.cumsum.default", cumulativeSum},
    {"aten.diff.default", difference},
    {"aten.linalg_vector_norm.default", norm},
    {"aten.norm.Scalar", norm},
    {"aten.norm.ScalarOpt_dim", norm},
    {"aten.norm.ScalarOpt_dim_dtype", norm},
    {"aten.topk.default", topk},
    {"aten.sort.default", sort},
    {"aten.sort.stable", sort},
    {"aten.argsort.default", argSort},
    {"aten.argsort.stable", argSort},
};

} // namespace

void addReductions(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
