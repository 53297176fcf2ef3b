//===- Quantization.cpp - Quantized models of PT2E ------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// quantized_decomposed.*: what PyTorch's export-based quantization leaves in a
// graph. Written with the operators' reference implementations in mind, each
// rounding where they round.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// A parameter shaped to go with `x`: a number, or one for each element of the
/// operator's `axis`.
Value alongAxis(Call &c, Value parameter, Value x) {
  if (!parameter || !x || !c.find("axis"))
    return parameter;
  int64_t rank = OpsBuilder::rankOf(x);
  int64_t axis = c.axis("axis", rank);
  SmallVector<int64_t> behind;
  for (int64_t i = 1; i < rank - axis; ++i)
    behind.push_back(i);
  return c.b.unsqueeze(parameter, behind);
}

Value number(Call &c, StringRef name) {
  return alongAxis(c, c.operand(*c.find(name), ScalarType::Float),
                   c.tensor("input"));
}

/// clamp(round(x * (1 / scale)) + zero_point, quant_min, quant_max)
template <bool perChannel> Value quantize(Call &c) {
  StringRef scaleName = perChannel ? "scales" : "scale";
  StringRef zeroName = perChannel ? "zero_points" : "zero_point";
  Value x = c.operand("input", ScalarType::Float);
  if (!x || !c.find(scaleName) || !c.find(zeroName))
    return c.fail("lacks an argument");
  Value inverse;
  if (c.isTensor(scaleName))
    inverse = c.b.div(c.b.scalar(1.0, c.element(ScalarType::Float)),
                      number(c, scaleName));
  else
    inverse =
        c.b.scalar(1.0 / c.number(scaleName), c.element(ScalarType::Float));
  Value rounded = c.b.unary(Unary::Round, c.b.mul(x, inverse));
  Value shifted = c.b.add(rounded, number(c, zeroName));
  Value clamped;
  if (c.isTensor("quant_min"))
    clamped = c.b.binary(
        Binary::Min, c.b.binary(Binary::Max, shifted, number(c, "quant_min")),
        number(c, "quant_max"));
  else
    clamped = c.b.clamp(shifted, c.number("quant_min"), c.number("quant_max"));
  return c.cast(clamped, ScalarType::Float, c.resultType());
}

/// (x - zero_point) * scale
template <bool perChannel> Value dequantize(Call &c) {
  StringRef scaleName = perChannel ? "scales" : "scale";
  StringRef zeroName = perChannel ? "zero_points" : "zero_point";
  Value x = c.operand("input", ScalarType::Float);
  if (!x || !c.find(scaleName))
    return c.fail("lacks an argument");
  if (c.has(zeroName))
    x = c.b.sub(x, number(c, zeroName));
  return c.cast(c.b.mul(x, number(c, scaleName)), ScalarType::Float,
                c.resultType());
}

/// Scale and zero point of the range of a tensor's values, zero included.
Value chooseParameters(Call &c) {
  Value x = c.operand("input", ScalarType::Float);
  if (!x)
    return nullptr;
  OpsBuilder &b = c.b;
  const StringRef minName = c.find("qmin") ? "qmin" : "quant_min";
  const StringRef maxName = c.find("qmax") ? "qmax" : "quant_max";
  double least = c.number(minName), most = c.number(maxName);
  Value zero = b.scalar(0.0, c.element(ScalarType::Float));
  Value low = b.binary(Binary::Min, b.reduce(Reduce::Min, x, {}, false), zero);
  Value high = b.binary(Binary::Max, b.reduce(Reduce::Max, x, {}, false), zero);
  Value steps = b.scalar(most - least, c.element(ScalarType::Float));
  Value scale = b.div(b.sub(high, low), steps);
  scale = b.binary(Binary::Max, scale,
                   b.scalar(c.number("eps"), c.element(ScalarType::Float)));
  Value point = b.sub(b.scalar(least, c.element(ScalarType::Float)),
                      b.unary(Unary::Round, b.div(low, scale)));
  point = b.clamp(point, least, most);
  // PyTorch states numbers, or vectors of one.
  c.results = {b.reshape(c.cast(scale, ScalarType::Float, c.resultType(0)),
                         c.resultDims(0)),
               b.reshape(c.cast(point, ScalarType::Float, c.resultType(1)),
                         c.resultDims(1))};
  return nullptr;
}

const OpEntry entries[] = {
    {"quantized_decomposed.quantize_per_tensor.default", quantize<false>},
    {"quantized_decomposed.quantize_per_tensor.tensor", quantize<false>},
    {"quantized_decomposed.quantize_per_tensor.tensor2", quantize<false>},
    {"quantized_decomposed.quantize_per_channel.default", quantize<true>},
    {"quantized_decomposed.dequantize_per_tensor.default", dequantize<false>},
    {"quantized_decomposed.dequantize_per_tensor.tensor", dequantize<false>},
    {"quantized_decomposed.dequantize_per_tensor.tensor2", dequantize<false>},
    {"quantized_decomposed.dequantize_per_channel.default", dequantize<true>},
    {"quantized_decomposed.choose_qparams.tensor", chooseParameters},
};

} // namespace

void addQuantization(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
