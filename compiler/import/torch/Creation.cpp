//===- Creation.cpp - ATen operators that make tensors --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"
#include "compiler/ir/Constants.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// The size and the dtype are those that the file states. Uninitialized tensors
/// are zero: a result never depends on what was in memory.
template <int value> Value filled(Call &c) {
  Value scalar = c.b.scalar(int64_t(value), c.resultElement());
  return c.b.full(c.resultDims(), scalar);
}

template <const char *name> Value full(Call &c) {
  return c.b.full(c.resultDims(), c.operand(name, c.resultType()));
}
constexpr char fillValue[] = "fill_value", valueName[] = "value";

Value scalarTensor(Call &c) { return c.operand("s", c.resultType()); }

Value arange(Call &c) {
  ScalarType type = c.resultType();
  Dims dims = c.resultDims();
  if (dims.size() != 1)
    return c.fail("the result has to be of rank 1");
  auto isInteger = [&](StringRef name) {
    const Argument *argument = c.find(name);
    return !argument || argument->kind == Argument::Int ||
           argument->kind == Argument::SymInt;
  };
  if (isInteger("start") && isInteger("step"))
    return c.b.arange(c.dim("start", c.b.index(0)), c.dim("step", c.b.index(1)),
                      dims[0], c.element(type));
  auto scalar = [&](StringRef name, int64_t absent) {
    return c.has(name) ? c.operand(name, type)
                       : c.b.scalar(absent, c.element(type));
  };
  return c.b.arange(scalar("start", 0), scalar("step", 1), dims[0]);
}

/// Computed now, from both ends, as PyTorch does.
Value linspace(Call &c) {
  mlir::Type element = c.resultElement();
  std::optional<int64_t> count = c.b.known(c.dim("steps", c.b.index(0)));
  const double start = c.number("start"), end = c.number("end");
  if (!count || *count < 0 || *count > (int64_t(1) << 30))
    return c.fail("the number of steps has to be known");
  auto type = mlir::RankedTensorType::get({*count}, element);
  const int64_t width = elementBytes(element);
  const bool isSingle = c.resultType() != ScalarType::Double;
  return c.b.constant(makeConstant(type, [&](MutableArrayRef<char> out) {
    double step = *count > 1 ? (end - start) / double(*count - 1) : 0;
    if (isSingle)
      step = float(step);
    for (int64_t i = 0; i < *count; ++i) {
      double value = i < *count / 2 ? start + step * double(i)
                                    : end - step * double(*count - 1 - i);
      if (*count == 1)
        value = start;
      char *at = out.data() + i * width;
      if (isFloating(c.resultType()))
        storeFloat(at, element, value);
      else
        storeInt(at, element, static_cast<int64_t>(value));
    }
  }));
}

Value eye(Call &c) {
  Dim rows = c.dim("n", c.b.index(0));
  return c.b.eye(rows, c.dim("m", rows), 0, c.resultElement());
}

Value oneHot(Call &c) {
  Value x = c.tensor("self");
  Dims dims = c.resultDims();
  if (!x || dims.empty())
    return nullptr;
  mlir::Type element = c.resultElement();
  return c.b.oneHot(x, dims.back(), c.b.scalar(1, element),
                    c.b.scalar(0, element), -1);
}

constexpr OpEntry entries[] = {
    {"aten.full.default", full<fillValue>},
    {"aten.full_like.default", full<fillValue>},
    {"aten.new_full.default", full<fillValue>},
    {"aten.fill.Scalar", full<valueName>},
    {"aten.fill.Tensor", full<valueName>},
    {"aten.zeros.default", filled<0>},
    {"aten.zeros_like.default", filled<0>},
    {"aten.new_zeros.default", filled<0>},
    {"aten.zero.default", filled<0>},
    {"aten.empty.memory_format", filled<0>},
    {"aten.empty_like.default", filled<0>},
    {"aten.empty_permuted.default", filled<0>},
    {"aten.empty_strided.default", filled<0>},
    {"aten.new_empty.default", filled<0>},
    {"aten.new_empty_strided.default", filled<0>},
    {"aten.ones.default", filled<1>},
    {"aten.ones_like.default", filled<1>},
    {"aten.new_ones.default", filled<1>},
    {"aten.scalar_tensor.default", scalarTensor},
    {"aten.arange.default", arange},
    {"aten.arange.start", arange},
    {"aten.arange.start_step", arange},
    {"aten.linspace.default", linspace},
    {"aten.eye.default", eye},
    {"aten.eye.m", eye},
    {"aten.one_hot.default", oneHot},
};

} // namespace

void addCreation(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
