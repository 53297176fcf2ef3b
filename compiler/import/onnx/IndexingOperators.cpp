//===- IndexingOperators.cpp - Gathers and scatters of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

static void gather(NodeBuilder &n) {
  n.setLike(n.ops.gather(n.in(0), n.in(1), n.integer("axis", 0)));
}

static void gatherElements(NodeBuilder &n) {
  n.setLike(n.ops.gatherElements(n.in(0), n.in(1), n.integer("axis", 0)));
}

static void gatherNd(NodeBuilder &n) {
  n.setLike(n.ops.gatherNd(n.in(0), n.in(1), n.integer("batch_dims", 0)));
}

static std::optional<ScatterKind> scatterKind(NodeBuilder &n) {
  StringRef kind = n.text("reduction", "none");
  if (kind == "none")
    return ScatterKind::Replace;
  if (n.isUnsigned(0)) {
    n.fail("a reduction of unsigned integers is not supported");
    return std::nullopt;
  }
  if (kind == "add")
    return ScatterKind::Add;
  if (kind == "mul")
    return ScatterKind::Mul;
  if (kind == "max")
    return ScatterKind::Max;
  if (kind == "min")
    return ScatterKind::Min;
  n.fail("reduction '" + printable(kind) + "' is not supported");
  return std::nullopt;
}

static void scatterElements(NodeBuilder &n) {
  if (auto kind = scatterKind(n))
    n.setLike(n.ops.scatterElements(n.in(0), n.in(1), n.in(2),
                                    n.integer("axis", 0), *kind));
}

static void scatterNd(NodeBuilder &n) {
  if (auto kind = scatterKind(n))
    n.setLike(n.ops.scatterNd(n.in(0), n.in(1), n.in(2), *kind));
}

static void oneHot(NodeBuilder &n) {
  Value indices = n.in(0), values = n.in(2);
  if (!indices || !values)
    return;
  std::optional<Dim> depth;
  if (n.has(1) && isa<FloatType>(n.elementOf(1))) {
    auto number = n.real(1);
    if (!number)
      return;
    depth = n.ops.index(int64_t(std::clamp(*number, 0.0, 1e12)));
  } else {
    depth = n.dim(1);
  }
  if (!depth)
    return;
  if (OpsBuilder::rankOf(values) != 1)
    return n.fail("needs two values");
  Value off = n.ops.select(values, 0, n.ops.index(0));
  Value on = n.ops.select(values, 0, n.ops.index(1));
  n.set(n.ops.oneHot(indices, *depth, on, off, n.integer("axis", -1)),
        n.isUnsigned(2));
}

static void topK(NodeBuilder &n) {
  std::optional<Dim> count;
  if (n.opset < 10)
    count = n.ops.index(n.integer("k", 0));
  else
    count = n.dim(1);
  if (!count)
    return;
  if (n.isUnsigned(0))
    return n.fail("is not supported for unsigned integers");
  auto [values, positions] =
      n.ops.topk(n.in(0), *count, n.integer("axis", -1),
                 n.integer("largest", 1) != 0, n.integer("sorted", 1) != 0);
  n.set(0, values);
  n.set(1, positions);
}

/// The first `lengths[b]` elements of each row in the opposite order.
static void reverseSequence(NodeBuilder &n) {
  Value x = n.in(0), lengths = n.in(1);
  if (!x || !lengths)
    return;
  int64_t batch = n.integer("batch_axis", 1), time = n.integer("time_axis", 0);
  if (OpsBuilder::rankOf(x) < 2 || batch + time != 1 || batch * time != 0 ||
      OpsBuilder::rankOf(lengths) != 1 ||
      !OpsBuilder::elementOf(lengths).isInteger(64))
    return n.fail(
        "needs batch and time as the first two dims, and int64 lengths");
  Dims all = n.ops.dims(x);
  // Position of each result: length - 1 - t within the length, else t.
  Value t = n.ops.arange(n.ops.index(0), n.ops.index(1), all[time],
                         n.ops.getI64Type());
  Value steps = time == 0 ? n.ops.unsqueeze(t, {1}) : t;
  Value limits = time == 0 ? lengths : n.ops.unsqueeze(lengths, {1});
  Value turned =
      n.ops.sub(n.ops.sub(limits, n.ops.scalar(1, n.ops.getI64Type())), steps);
  Value at =
      n.ops.where(n.ops.compare(Compare::Lt, steps, limits), turned, steps);
  SmallVector<int64_t> behind;
  for (int64_t i = 2; i < OpsBuilder::rankOf(x); ++i)
    behind.push_back(i);
  n.setLike(n.ops.gatherElements(
      x, n.ops.expand(n.ops.unsqueeze(at, behind), all), time));
}

llvm::ArrayRef<Operator> marver::onnx::indexingOperators() {
  static const Operator table[] = {
      {"Gather", gather},
      {"GatherElements", gatherElements},
      {"GatherND", gatherNd},
      {"OneHot", oneHot},
      {"ReverseSequence", reverseSequence},
      {"Scatter", scatterElements},
      {"ScatterElements", scatterElements},
      {"ScatterND", scatterNd},
      {"TopK", topK},
  };
  return table;
}
