//===- MathOperators.cpp - Elementwise operators of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

template <Unary kind> static void unary(NodeBuilder &n) {
  n.setLike(n.ops.unary(kind, n.in(0), n.isUnsigned(0)));
}

/// To bool.
template <Unary kind> static void test(NodeBuilder &n) {
  n.set(n.ops.unary(kind, n.in(0)));
}

template <Binary kind> static void binary(NodeBuilder &n) {
  n.setLike(n.ops.binary(kind, n.in(0), n.in(1), n.isUnsigned(0)));
}

template <Compare kind> static void compare(NodeBuilder &n) {
  n.set(n.ops.compare(kind, n.in(0), n.in(1), n.isUnsigned(0)));
}

/// Of any number of operands.
template <Binary kind> static void variadic(NodeBuilder &n) {
  Value result = n.in(0);
  for (size_t i = 1; i < n.inputCount(); ++i)
    result = n.ops.binary(kind, result, n.in(i), n.isUnsigned(0));
  n.setLike(result);
}

static void mean(NodeBuilder &n) {
  variadic<Binary::Add>(n);
  Value sum = n.made()[0].tensor;
  if (sum)
    n.set(n.ops.div(
        sum, n.ops.scalar(double(n.inputCount()), OpsBuilder::elementOf(sum))));
}

static void pow(NodeBuilder &n) {
  Value base = n.in(0), exponent = n.in(1);
  if (!base || !exponent)
    return;
  mlir::Type element = OpsBuilder::elementOf(base);
  // Of an integer to a real power in the exponent's type.
  if (!OpsBuilder::isFloat(base) && OpsBuilder::isFloat(exponent)) {
    mlir::Type real = OpsBuilder::elementOf(exponent);
    Value power = n.ops.binary(
        Binary::Pow, n.ops.cast(base, real, n.isUnsigned(0)), exponent);
    return n.setLike(n.ops.cast(power, element, false, n.isUnsigned(0)));
  }
  exponent = n.ops.cast(exponent, element, n.isUnsigned(1));
  n.setLike(n.ops.binary(Binary::Pow, base, exponent, n.isUnsigned(0)));
}

static void mod(NodeBuilder &n) {
  bool isC = n.integer("fmod", 0) != 0;
  if (isC)
    binary<Binary::Fmod>(n);
  else
    binary<Binary::Mod>(n);
}

static void bitShift(NodeBuilder &n) {
  if (n.text("direction", "") == "LEFT")
    binary<Binary::ShiftLeft>(n);
  else
    binary<Binary::ShiftRight>(n);
}

static void clip(NodeBuilder &n) {
  if (n.opset < 11) {
    std::optional<double> low, high;
    if (n.hasAttribute("min"))
      low = n.real("min", 0);
    if (n.hasAttribute("max"))
      high = n.real("max", 0);
    return n.set(n.ops.clamp(n.in(0), low, high));
  }
  n.setLike(
      n.ops.clamp(n.in(0), n.optional(1), n.optional(2), n.isUnsigned(0)));
}

static void cast(NodeBuilder &n) {
  auto type = n.dataType("to", DataType::Undefined);
  if (type)
    n.set(n.ops.cast(n.in(0), type->first, n.isUnsigned(0), type->second),
          type->second);
}

static void castLike(NodeBuilder &n) {
  if (!n.has(1))
    return n.fail("operand 1 is missing");
  n.set(n.ops.cast(n.in(0), n.elementOf(1), n.isUnsigned(0), n.isUnsigned(1)),
        n.isUnsigned(1));
}

static void where(NodeBuilder &n) {
  n.set(n.ops.where(n.in(0), n.in(1), n.in(2)), n.isUnsigned(1));
}

static void gelu(NodeBuilder &n) {
  if (n.text("approximate", "none") == "tanh")
    unary<Unary::GeluTanh>(n);
  else
    unary<Unary::Gelu>(n);
}

static void selu(NodeBuilder &n) {
  double alpha = n.real("alpha", 1.67326319217681884765625);
  n.set(n.ops.elu(n.in(0), alpha, n.real("gamma", 1.05070102214813232421875)));
}

static void swish(NodeBuilder &n) {
  double alpha = n.real("alpha", 1);
  Value x = n.in(0);
  if (alpha == 1)
    return n.set(n.ops.unary(Unary::Silu, x));
  if (!x)
    return;
  Value gate =
      n.ops.unary(Unary::Sigmoid,
                  n.ops.mul(x, n.ops.scalar(alpha, OpsBuilder::elementOf(x))));
  n.set(n.ops.mul(x, gate));
}

static void thresholdedRelu(NodeBuilder &n) {
  n.set(n.ops.threshold(n.in(0), n.real("alpha", 1), 0));
}

static void isInf(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  bool low = n.integer("detect_negative", 1),
       high = n.integer("detect_positive", 1);
  if (low && high)
    return n.set(n.ops.unary(Unary::IsInf, x));
  double wanted = low ? -INFINITY : high ? INFINITY : NAN;
  n.set(n.ops.compare(Compare::Eq, x,
                      n.ops.scalar(wanted, OpsBuilder::elementOf(x))));
}

static void prelu(NodeBuilder &n) { n.set(n.ops.prelu(n.in(0), n.in(1))); }

llvm::ArrayRef<Operator> marver::onnx::mathOperators() {
  static const Operator table[] = {
      {"Abs", unary<Unary::Abs>},
      {"Acos", unary<Unary::Acos>},
      {"Acosh", unary<Unary::Acosh>},
      {"Add", binary<Binary::Add>},
      {"And", binary<Binary::And>},
      {"Asin", unary<Unary::Asin>},
      {"Asinh", unary<Unary::Asinh>},
      {"Atan", unary<Unary::Atan>},
      {"Atanh", unary<Unary::Atanh>},
      {"BitShift", bitShift},
      {"BitwiseAnd", binary<Binary::BitAnd>},
      {"BitwiseNot", unary<Unary::BitNot>},
      {"BitwiseOr", binary<Binary::BitOr>},
      {"BitwiseXor", binary<Binary::BitXor>},
      {"Cast", cast},
      {"CastLike", castLike},
      {"Ceil", unary<Unary::Ceil>},
      {"Celu",
       [](NodeBuilder &n) { n.set(n.ops.celu(n.in(0), n.real("alpha", 1))); }},
      {"Clip", clip},
      {"Cos", unary<Unary::Cos>},
      {"Cosh", unary<Unary::Cosh>},
      {"Div", binary<Binary::Div>},
      {"Elu",
       [](NodeBuilder &n) { n.set(n.ops.elu(n.in(0), n.real("alpha", 1))); }},
      {"Equal", compare<Compare::Eq>},
      {"Erf", unary<Unary::Erf>},
      {"Exp", unary<Unary::Exp>},
      {"Floor", unary<Unary::Floor>},
      {"Gelu", gelu},
      {"Greater", compare<Compare::Gt>},
      {"GreaterOrEqual", compare<Compare::Ge>},
      {"HardSigmoid",
       [](NodeBuilder &n) {
         n.set(n.ops.hardSigmoid(n.in(0), n.real("alpha", 0.2),
                                 n.real("beta", 0.5)));
       }},
      {"HardSwish", unary<Unary::HardSwish>},
      {"IsInf", isInf},
      {"IsNaN", test<Unary::IsNan>},
      {"LeakyRelu",
       [](NodeBuilder &n) {
         n.set(n.ops.leakyRelu(n.in(0), n.real("alpha", 0.01)));
       }},
      {"Less", compare<Compare::Lt>},
      {"LessOrEqual", compare<Compare::Le>},
      {"Log", unary<Unary::Log>},
      {"Max", variadic<Binary::Max>},
      {"Mean", mean},
      {"Min", variadic<Binary::Min>},
      {"Mish", unary<Unary::Mish>},
      {"Mod", mod},
      {"Mul", binary<Binary::Mul>},
      {"Neg", unary<Unary::Neg>},
      {"Not", test<Unary::LogicalNot>},
      {"Or", binary<Binary::Or>},
      {"Pow", pow},
      {"PRelu", prelu},
      {"Reciprocal", unary<Unary::Reciprocal>},
      {"Relu", unary<Unary::Relu>},
      {"Round", unary<Unary::Round>},
      {"Selu", selu},
      {"Shrink",
       [](NodeBuilder &n) {
         n.setLike(n.ops.hardShrink(n.in(0), n.real("lambd", 0.5),
                                    n.real("bias", 0)));
       }},
      {"Sigmoid", unary<Unary::Sigmoid>},
      {"Sign", unary<Unary::Sign>},
      {"Sin", unary<Unary::Sin>},
      {"Sinh", unary<Unary::Sinh>},
      {"Softplus",
       [](NodeBuilder &n) { n.set(n.ops.softplus(n.in(0), 1, INFINITY)); }},
      {"Softsign", unary<Unary::Softsign>},
      {"Sqrt", unary<Unary::Sqrt>},
      {"Sub", binary<Binary::Sub>},
      {"Sum", variadic<Binary::Add>},
      {"Swish", swish},
      {"Tan", unary<Unary::Tan>},
      {"Tanh", unary<Unary::Tanh>},
      {"ThresholdedRelu", thresholdedRelu},
      {"Where", where},
      {"Xor", binary<Binary::Xor>},
  };
  return table;
}
