//===- Selection.cpp - ATen operators whose result's size depends on data -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"
#include "marver/abi.h"

using namespace llvm;

namespace marver::torch {
namespace {

Value nonzero(Call &c) { return c.b.nonzero(c.tensor("self")); }

/// One index tensor a dim; a scalar counts as a tensor of one element.
template <const char *name> Value nonzeroColumns(Call &c) {
  Value x = c.tensor(name);
  if (!x)
    return nullptr;
  if (c.b.rankOf(x) == 0)
    x = c.b.unsqueeze(x, {0});
  Value rows = c.b.nonzero(x);
  for (int64_t i = 0; rows && i < c.b.rankOf(x); ++i)
    c.results.push_back(c.b.select(rows, 1, c.b.index(i)));
  return nullptr;
}
constexpr char selfName[] = "self", conditionName[] = "condition";

Value maskedSelect(Call &c) {
  Value x = c.tensor("self"), mask = c.tensor("mask");
  if (!x || !mask)
    return nullptr;
  std::optional<Dims> dims = c.b.broadcastDims({c.b.dims(x), c.b.dims(mask)});
  if (!dims)
    return nullptr;
  return c.b.indexMasks(c.b.expand(x, *dims), {c.b.expand(mask, *dims)});
}

/// `repeats[i]` times the number i, for every i in order: how many of the
/// numbers' ranges end at or before each place.
Value repeated(Call &c) {
  OpsBuilder &b = c.b;
  Value repeats = c.tensor("repeats");
  if (!repeats)
    return nullptr;
  if (b.rankOf(repeats) != 1)
    return c.fail("needs a list of counts");
  Type i64 = b.getI64Type();
  repeats = b.cast(repeats, i64);
  Value none = b.compare(Compare::Lt, repeats, b.scalar(0, i64));
  b.check(b.truth(b.unary(Unary::LogicalNot,
                          b.reduce(Reduce::Any, none, {0}, false))),
          MV_FAILURE_SHAPE, "a number of repeats is negative");
  Value ends = b.cumulativeSum(repeats, 0, false, false);
  std::optional<Dims> total =
      b.tensorToDims(b.reduce(Reduce::Sum, repeats, {0}, false));
  if (!total)
    return nullptr;
  Dim size = total->front();
  Value marks = b.full({b.add(size, b.index(1))}, 0.0, i64);
  Value ones = b.full(b.dims(ends), 1.0, i64);
  marks = b.indexPut(marks, {ends}, ones, ScatterKind::Add);
  return b.narrow(b.cumulativeSum(marks, 0, false, false), 0, b.index(0), size);
}

Value repeatInterleave(Call &c) {
  Value x = c.tensor("self"), at = repeated(c);
  if (!x || !at)
    return nullptr;
  if (!c.has("dim"))
    return c.b.gather(c.b.reshape(x, {c.b.product(c.b.dims(x))}), at, 0);
  return c.b.gather(x, at, c.axis("dim", c.b.rankOf(x)));
}

/// Sets the results: values, inverse, counts, the latter two where asked for.
Value setUnique(Call &c, const OpsBuilder::UniqueResult &result,
                ArrayRef<Dim> inverseDims) {
  c.results.assign(3, nullptr);
  c.results[0] = result.values;
  if (c.boolean("return_inverse") && result.inverse)
    c.results[1] = c.b.reshape(result.inverse, inverseDims);
  if (c.boolean("return_counts"))
    c.results[2] = result.counts;
  return nullptr;
}

/// Of elements, or of slices along `dim`. PyTorch sorts whether asked to or
/// not.
template <bool consecutive> Value unique(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  OpsBuilder::UniqueOptions options;
  options.consecutive = consecutive;
  options.isUnsigned = isUnsigned(c.typeOf("self"));
  Dims inverseDims = c.b.dims(x);
  if (c.has("dim")) {
    options.axis = c.axis("dim", c.b.rankOf(x));
    if (*options.axis < int64_t(inverseDims.size()))
      inverseDims = {inverseDims[*options.axis]};
  } else {
    x = c.b.reshape(x, {c.b.product(inverseDims)});
  }
  return setUnique(c, c.b.unique(x, options), inverseDims);
}

/// torchvision::nms: boxes N x 4 as x, y, x, y; the kept ones by score.
Value nonMaxSuppression(Call &c) {
  Value boxes = c.tensor("dets"), scores = c.tensor("scores");
  if (!boxes || !scores)
    return nullptr;
  Value count = c.b.dimsToTensor(c.b.dim(scores, 0), c.b.getI64Type(),
                                 /*scalar=*/true);
  Value limit = c.b.scalar(c.number("iou_threshold"), c.b.elementOf(scores));
  Value rows = c.b.nonMaxSuppression(c.b.unsqueeze(boxes, {0}),
                                     c.b.unsqueeze(scores, {0, 1}), count,
                                     limit, nullptr);
  return rows ? c.b.select(rows, 1, c.b.index(2)) : nullptr;
}

constexpr OpEntry entries[] = {
    {"aten.nonzero.default", nonzero},
    {"aten.argwhere.default", nonzero},
    {"aten.nonzero_numpy.default", nonzeroColumns<selfName>},
    {"aten.where.default", nonzeroColumns<conditionName>},
    {"aten.masked_select.default", maskedSelect},
    {"aten.repeat_interleave.Tensor", repeated},
    {"aten.repeat_interleave.self_Tensor", repeatInterleave},
    {"aten._unique2.default", unique<false>},
    {"aten.unique_dim.default", unique<false>},
    {"aten.unique_consecutive.default", unique<true>},
    {"aten.unique_dim_consecutive.default", unique<true>},
    {"torchvision.nms.default", nonMaxSuppression},
};

} // namespace

void addSelection(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
