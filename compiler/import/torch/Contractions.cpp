//===- Contractions.cpp - ATen's matrix products and convolutions ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

Value linear(Call &c) {
  return c.b.linear(c.tensor("input"), c.tensor("weight"),
                    c.optionalTensor("bias"));
}

template <const char *other> Value matmul(Call &c) {
  return c.b.matmul(c.tensor("self"), c.tensor(other));
}
constexpr char mat2[] = "mat2", otherName[] = "other", vec[] = "vec",
               tensorName[] = "tensor", batch1[] = "batch1",
               batch2[] = "batch2", mat1[] = "mat1";

/// beta * self + alpha * (a b)
template <const char *first, const char *second> Value addMatmul(Call &c) {
  ScalarType type = c.resultType();
  Value product = c.b.matmul(c.tensor(first), c.tensor(second));
  auto isOne = [&](StringRef name) {
    return !c.has(name) ||
           (c.find(name)->kind != Argument::SymFloat &&
            c.find(name)->kind != Argument::SymInt && c.number(name) == 1);
  };
  if (!isOne("alpha"))
    product = c.b.mul(product, c.operand("alpha", type));
  // With beta 0 nothing of self counts, not even NaN.
  if (c.has("beta") && !isOne("beta") &&
      c.find("beta")->kind != Argument::SymFloat && c.number("beta") == 0)
    return product;
  Value self = c.tensor("self");
  if (!isOne("beta"))
    self = c.b.mul(self, c.operand("beta", type));
  return c.b.add(product, self);
}

Value outer(Call &c) {
  ScalarType type = c.resultType();
  Value a = c.operand("self", type), b = c.operand("vec2", type);
  return a && b ? c.b.mul(c.b.unsqueeze(a, {1}), c.b.unsqueeze(b, {0}))
                : nullptr;
}

Value einsum(Call &c) {
  SmallVector<Value> xs = c.tensors("tensors");
  if (c.b.failed() || is_contained(xs, nullptr))
    return nullptr;
  return c.b.einsum(c.string("equation"), xs);
}

/// Convolution of x, which may lack the batch dim.
Value convolve(Call &c, StringRef inputName, bool isTransposed) {
  Value x = c.tensor(inputName), weight = c.tensor("weight");
  Value bias = c.optionalTensor("bias");
  if (!x || !weight || (c.has("bias") && !bias))
    return nullptr;
  const int64_t spatial = c.b.rankOf(weight) - 2;
  if (spatial < 1)
    return c.fail("the weight has rank " + Twine(c.b.rankOf(weight)));
  const bool isBatched = c.b.rankOf(x) == spatial + 2;
  if (!isBatched && c.b.rankOf(x) != spatial + 1)
    return c.fail("the input has rank " + Twine(c.b.rankOf(x)) +
                  " and the weight " + Twine(c.b.rankOf(weight)));

  ConvOptions options;
  options.strides = c.ints("stride", spatial, 1);
  options.dilations = c.ints("dilation", spatial, 1);
  options.groups = c.integer("groups", 1);
  const Argument *padding = c.find("padding");
  if (padding && padding->kind == Argument::String) {
    options.pads.assign(2 * spatial, 0);
    if (padding->text == "same") {
      // An odd total has its larger half on the high side.
      for (int64_t i = 0; i < spatial; ++i) {
        std::optional<int64_t> taps = c.b.known(c.b.dim(weight, i + 2));
        if (!taps)
          return c.fail("the weight's size has to be known");
        const int64_t total = options.dilations[i] * (*taps - 1);
        options.pads[i] = total / 2;
        options.pads[spatial + i] = total - total / 2;
      }
    } else if (padding->text != "valid") {
      return c.fail("padding '" + padding->text + "' is not supported");
    }
  } else {
    options.pads = c.ints("padding", spatial, 0);
    options.pads.append(options.pads.begin(), options.pads.begin() + spatial);
  }
  SmallVector<int64_t> outputPadding = c.ints("output_padding", spatial, 0);
  if (c.b.failed())
    return nullptr;
  if (!isBatched)
    x = c.b.unsqueeze(x, {0});
  Value result =
      isTransposed ? c.b.convTranspose(x, weight, bias, options, outputPadding)
                   : c.b.conv(x, weight, bias, options);
  return isBatched || !result ? result : c.b.squeeze(result, {0});
}

Value conv(Call &c) { return convolve(c, "input", c.boolean("transposed")); }
Value convTranspose(Call &c) { return convolve(c, "input", true); }

Value attention(Call &c) {
  if (c.number("dropout_p") != 0)
    return c.fail("it has dropout; call eval() before the export");
  Value mask = c.optionalTensor("attn_mask");
  if (c.has("attn_mask") && !mask)
    return nullptr;
  return c.b.attention(c.tensor("query"), c.tensor("key"), c.tensor("value"),
                       mask, c.optionalNumber("scale"), c.boolean("is_causal"),
                       c.boolean("enable_gqa"));
}

/// With results that only training uses.
Value attentionWithStatistics(Call &c) {
  c.results = {attention(c)};
  return nullptr;
}

constexpr OpEntry entries[] = {
    {"aten.linear.default", linear},
    {"aten.mm.default", matmul<mat2>},
    {"aten.bmm.default", matmul<mat2>},
    {"aten.matmul.default", matmul<otherName>},
    {"aten.__matmul__.default", matmul<otherName>},
    {"aten.mv.default", matmul<vec>},
    {"aten.dot.default", matmul<tensorName>},
    {"aten.vdot.default", matmul<otherName>},
    {"aten.inner.default",
     [](Call &c) -> Value {
       Value a = c.tensor("self"), b = c.tensor("other");
       if (!a || !b)
         return nullptr;
       if (c.b.rankOf(a) != 1 || c.b.rankOf(b) != 1)
         return c.fail("only of vectors");
       return c.b.matmul(a, b);
     }},
    {"aten.addmm.default", addMatmul<mat1, mat2>},
    {"aten.baddbmm.default", addMatmul<batch1, batch2>},
    {"aten.outer.default", outer},
    {"aten.einsum.default", einsum},
    {"aten.conv1d.default", conv},
    {"aten.conv2d.default", conv},
    {"aten.conv3d.default", conv},
    {"aten.conv1d.padding", conv},
    {"aten.conv2d.padding", conv},
    {"aten.conv3d.padding", conv},
    {"aten.convolution.default", conv},
    {"aten._convolution.default", conv},
    {"aten.conv_transpose1d.default", convTranspose},
    {"aten.conv_transpose2d.input", convTranspose},
    {"aten.conv_transpose3d.input", convTranspose},
    {"aten.scaled_dot_product_attention.default", attention},
    {"aten._scaled_dot_product_flash_attention_for_cpu.default",
     attentionWithStatistics},
};

} // namespace

void addContractions(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
