//===- ReductionOperators.cpp - Reductions of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

template <Reduce kind> static void reduce(NodeBuilder &n) {
  auto axes = n.axes("axes", 1);
  if (!axes || !n.has(0))
    return;
  bool keepDims = n.integer("keepdims", 1) != 0;
  bool noneMeansAll = n.integer("noop_with_empty_axes", 0) == 0;
  Reduce actual = kind;
  if (n.elementOf(0).isInteger(1)) {
    actual = kind == Reduce::Max   ? Reduce::Any
             : kind == Reduce::Min ? Reduce::All
                                   : kind;
    if (actual == kind)
      return n.fail("is not defined for elements of type bool");
  }
  n.setLike(n.ops.reduce(actual, n.in(0), *axes, keepDims, n.isUnsigned(0),
                         noneMeansAll));
}

template <mv::ArgKind kind> static void argReduce(NodeBuilder &n) {
  n.set(n.ops.argReduce(
      kind, n.in(0), n.integer("axis", 0), n.integer("keepdims", 1) != 0,
      n.integer("select_last_index", 0) != 0, n.ops.getI64Type()));
}

static void cumulativeSum(NodeBuilder &n) {
  auto axis = n.integers(1);
  if (!axis)
    return;
  if (axis->size() != 1)
    return n.fail("needs one axis");
  n.setLike(n.ops.cumulativeSum(n.in(0), axis->front(),
                                n.integer("exclusive", 0) != 0,
                                n.integer("reverse", 0) != 0));
}

/// Before operator set 13 all dims from `axis` on were one.
template <typename Build> static void alongAxis(NodeBuilder &n, Build build) {
  Value x = n.in(0);
  if (!x)
    return;
  if (n.opset >= 13)
    return n.set(build(x, n.integer("axis", -1)));
  int64_t rank = OpsBuilder::rankOf(x);
  auto axis = n.ops.axis(n.integer("axis", 1), std::max<int64_t>(rank, 1));
  if (!axis)
    return;
  if (*axis == rank - 1)
    return n.set(build(x, *axis));
  Dims all = n.ops.dims(x);
  ArrayRef<Dim> dims(all);
  Value flat = n.ops.reshape(x, {n.ops.product(dims.take_front(*axis)),
                                 n.ops.product(dims.drop_front(*axis))});
  n.set(n.ops.reshape(build(flat, 1), all));
}

template <bool log> static void softmax(NodeBuilder &n) {
  alongAxis(n,
            [&](Value x, int64_t axis) { return n.ops.softmax(x, axis, log); });
}

/// 1 at the first largest element, else 0.
static void hardmax(NodeBuilder &n) {
  alongAxis(n, [&](Value x, int64_t axis) -> Value {
    auto position = n.ops.axis(axis, OpsBuilder::rankOf(x));
    if (!position)
      return nullptr;
    Value best = n.ops.argReduce(mv::ArgKind::Max, x, *position, false, false,
                                 n.ops.getI64Type());
    mlir::Type element = OpsBuilder::elementOf(x);
    return n.ops.oneHot(best, n.ops.dim(x, *position), n.ops.scalar(1, element),
                        n.ops.scalar(0, element), *position);
  });
}

llvm::ArrayRef<Operator> marver::onnx::reductionOperators() {
  static const Operator table[] = {
      {"ArgMax", argReduce<mv::ArgKind::Max>},
      {"ArgMin", argReduce<mv::ArgKind::Min>},
      {"CumSum", cumulativeSum},
      {"Hardmax", hardmax},
      {"LogSoftmax", softmax<true>},
      {"ReduceL1", reduce<Reduce::L1>},
      {"ReduceL2", reduce<Reduce::L2>},
      {"ReduceLogSum", reduce<Reduce::LogSum>},
      {"ReduceLogSumExp", reduce<Reduce::LogSumExp>},
      {"ReduceMax", reduce<Reduce::Max>},
      {"ReduceMean", reduce<Reduce::Mean>},
      {"ReduceMin", reduce<Reduce::Min>},
      {"ReduceProd", reduce<Reduce::Prod>},
      {"ReduceSum", reduce<Reduce::Sum>},
      {"ReduceSumSquare", reduce<Reduce::SumSquare>},
      {"Softmax", softmax<false>},
  };
  return table;
}
