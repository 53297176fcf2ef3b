//===- IndexingOperators.cpp - Gathers and scatters of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"
#include "compiler/ops/Recurrent.h"

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
  n.integer("sorted", 1); // They always are.
  auto [values, positions] =
      n.ops.topk(n.in(0), *count, n.integer("axis", -1),
                 n.integer("largest", 1) != 0, n.isUnsigned(0));
  n.setLike(values);
  n.set(1, positions);
}

static void reverseSequences(NodeBuilder &n) {
  n.setLike(reverseSequence(n.ops, n.in(0), n.in(1), n.integer("batch_axis", 1),
                            n.integer("time_axis", 0)));
}

/// One row a dim; a scalar counts as a tensor of one element.
static void nonZero(NodeBuilder &n) {
  Value x = n.in(0);
  if (x && OpsBuilder::rankOf(x) == 0)
    x = n.ops.unsqueeze(x, {0});
  Value rows = n.ops.nonzero(x);
  if (rows)
    n.set(n.ops.transpose(rows, {1, 0}));
}

static void compress(NodeBuilder &n) {
  Value x = n.in(0), condition = n.in(1);
  if (!x || !condition)
    return;
  if (OpsBuilder::rankOf(condition) != 1)
    return n.fail("needs a condition of rank 1");
  int64_t axis = 0;
  if (n.hasAttribute("axis"))
    axis = n.integer("axis", 0);
  else
    x = n.ops.reshape(x, {n.ops.product(n.ops.dims(x))});
  n.setLike(n.ops.gather(x, n.ops.truePositions(condition), axis));
}

static void unique(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  OpsBuilder::UniqueOptions options;
  options.sorted = n.integer("sorted", 1) != 0;
  options.isUnsigned = n.isUnsigned(0);
  options.equalNan = true;
  if (n.hasAttribute("axis"))
    options.axis = n.integer("axis", 0);
  else
    x = n.ops.reshape(x, {n.ops.product(n.ops.dims(x))});
  OpsBuilder::UniqueResult result = n.ops.unique(x, options);
  n.setLike(result.values);
  n.set(1, result.first);
  n.set(2, result.inverse);
  n.set(3, result.counts);
}

static void nonMaxSuppression(NodeBuilder &n) {
  Value boxes = n.in(0), scores = n.in(1);
  if (!boxes || !scores)
    return;
  OpsBuilder &b = n.ops;
  if (n.integer("center_point_box", 0) != 0) {
    if (OpsBuilder::rankOf(boxes) != 3)
      return n.fail("needs boxes of rank 3");
    Value center = b.narrow(boxes, 2, b.index(0), b.index(2)),
          extent = b.narrow(boxes, 2, b.index(2), b.index(2));
    Value half = b.mul(extent, b.scalar(0.5, OpsBuilder::elementOf(extent)));
    boxes = b.concat({b.sub(center, half), b.add(center, half)}, 2);
  }
  // Without a limit nothing is chosen.
  Value count = n.optional(2), overlap = n.optional(3);
  if (!count)
    count = b.scalar(0, b.getI64Type());
  if (!overlap)
    overlap = b.scalar(0.0, b.getF32Type());
  n.set(b.nonMaxSuppression(boxes, scores, count, overlap, n.optional(4)));
}

llvm::ArrayRef<Operator> marver::onnx::indexingOperators() {
  static const Operator table[] = {
      {"Compress", compress},
      {"Gather", gather},
      {"GatherElements", gatherElements},
      {"GatherND", gatherNd},
      {"NonMaxSuppression", nonMaxSuppression},
      {"NonZero", nonZero},
      {"OneHot", oneHot},
      {"ReverseSequence", reverseSequences},
      {"Scatter", scatterElements},
      {"ScatterElements", scatterElements},
      {"ScatterND", scatterNd},
      {"TopK", topK},
      {"Unique", unique},
  };
  return table;
}
