//===- Elementwise.cpp - ATen operators on single elements ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"
#include "llvm/ADT/APFloat.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// On the result's dtype: exp of an integer tensor is computed in float.
template <Unary kind> Value unary(Call &c) {
  ScalarType type = c.resultType();
  return c.b.unary(kind, c.operand("self", type), isUnsigned(type));
}

/// floor, round, ...: integers are as they are.
template <Unary kind> Value rounding(Call &c) {
  Value x = c.tensor("self");
  return isFloating(c.typeOf("self")) ? c.b.unary(kind, x) : x;
}

/// To bool.
template <Unary kind> Value predicate(Call &c) {
  Value x = c.tensor("self");
  if (!isFloating(c.typeOf("self")) && kind != Unary::LogicalNot) {
    // An integer is finite and never NaN.
    ScalarType type = c.typeOf("self");
    Value zero = c.operand("self", type);
    return c.b.compare(kind == Unary::IsFinite ? Compare::Eq : Compare::Ne,
                       zero, zero);
  }
  return c.b.unary(kind, x);
}

Value bitNot(Call &c) {
  return c.b.unary(c.resultType() == ScalarType::Bool ? Unary::LogicalNot
                                                      : Unary::BitNot,
                   c.tensor("self"));
}

/// Of NaN it is 0.
Value sign(Call &c) {
  Value x = c.tensor("self");
  Value result = c.b.unary(Unary::Sign, x, isUnsigned(c.typeOf("self")));
  if (!isFloating(c.typeOf("self")))
    return result;
  return c.b.where(c.b.unary(Unary::IsNan, x),
                   c.b.scalar(0.0, c.resultElement()), result);
}

/// Operands in the result's dtype. Sums of bools are an or, products an and.
Value combine(Call &c, Binary kind, Value a, Value b) {
  ScalarType type = c.resultType();
  if (type == ScalarType::Bool) {
    if (kind == Binary::Add || kind == Binary::Max)
      kind = Binary::Or;
    else if (kind == Binary::Mul || kind == Binary::Min)
      kind = Binary::And;
  }
  return c.b.binary(kind, a, b, isUnsigned(type));
}

template <Binary kind> Value binary(Call &c) {
  ScalarType type = c.resultType();
  return combine(c, kind, c.operand("self", type), c.operand("other", type));
}

/// other * alpha, in the result's dtype.
Value scaled(Call &c, StringRef name) {
  ScalarType type = c.resultType();
  Value value = c.operand(name, type);
  const Argument *alpha = c.find("alpha");
  if (!alpha || (alpha->kind == Argument::Int && alpha->integer == 1) ||
      (alpha->kind == Argument::Float && alpha->number == 1))
    return value;
  return c.b.mul(value, c.operand("alpha", type));
}

Value add(Call &c) {
  return combine(c, Binary::Add, c.operand("self", c.resultType()),
                 scaled(c, "other"));
}
Value sub(Call &c) {
  return c.b.sub(c.operand("self", c.resultType()), scaled(c, "other"));
}
Value rsub(Call &c) {
  return c.b.sub(c.operand("other", c.resultType()), scaled(c, "self"));
}

Value divide(Call &c) {
  StringRef mode = c.string("rounding_mode");
  if (mode == "floor")
    return binary<Binary::DivFloor>(c);
  if (mode == "trunc")
    return binary<Binary::DivTrunc>(c);
  return binary<Binary::Div>(c);
}

Value power(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.operand("self", type);
  const Argument *exponent = c.find("exponent");
  if (exponent && isFloating(type) &&
      (exponent->kind == Argument::Int || exponent->kind == Argument::Float)) {
    double e = c.number("exponent");
    if (e == 0.5)
      return c.b.unary(Unary::Sqrt, x);
    if (e == -0.5)
      return c.b.unary(Unary::Rsqrt, x);
    if (e == 1)
      return x;
    if (e == -1)
      return c.b.unary(Unary::Reciprocal, x);
    if (e == 2)
      return c.b.unary(Unary::Square, x);
    if (e == 3)
      return c.b.mul(c.b.unary(Unary::Square, x), x);
  }
  return c.b.binary(Binary::Pow, x, c.operand("exponent", type),
                    isUnsigned(type));
}

template <Binary kind> Value logical(Call &c) {
  return c.b.binary(kind, c.operand("self", ScalarType::Bool),
                    c.operand("other", ScalarType::Bool));
}

template <Compare kind> Value comparison(Call &c) {
  ScalarType type = c.promote({"self", "other"});
  return c.b.compare(kind, c.operand("self", type), c.operand("other", type),
                     isUnsigned(type));
}

Value where(Call &c) {
  ScalarType type = c.resultType();
  return c.b.where(c.operand("condition", ScalarType::Bool),
                   c.operand("self", type), c.operand("other", type));
}

Value maskedFill(Call &c) {
  ScalarType type = c.resultType();
  return c.b.where(c.operand("mask", ScalarType::Bool),
                   c.operand("value", type), c.operand("self", type));
}

template <const char *low, const char *high> Value clampTo(Call &c) {
  ScalarType type = c.resultType();
  auto bound = [&](StringRef name) {
    return !name.empty() && c.has(name) ? c.operand(name, type) : Value();
  };
  return c.b.clamp(c.operand("self", type), bound(low), bound(high),
                   isUnsigned(type));
}
constexpr char noName[] = "", minName[] = "min", maxName[] = "max";

Value hardtanh(Call &c) {
  return c.b.clamp(c.tensor("self"),
                   std::optional<double>(c.number("min_val", -1)),
                   std::optional<double>(c.number("max_val", 1)));
}

Value gelu(Call &c) {
  return c.b.unary(c.string("approximate", "none") == "tanh" ? Unary::GeluTanh
                                                             : Unary::Gelu,
                   c.tensor("self"));
}

Value prelu(Call &c) {
  Value x = c.tensor("self"), slope = c.tensor("weight");
  if (!x || !slope)
    return nullptr;
  // One slope a channel (dim 1), or one for all.
  if (c.b.rankOf(slope) == 1 && c.b.rankOf(x) > 1 &&
      c.b.known(c.b.dim(slope, 0)) != 1) {
    SmallVector<int64_t> axes;
    for (int64_t i = 2; i < c.b.rankOf(x); ++i)
      axes.push_back(i - 1);
    slope = axes.empty() ? slope : c.b.unsqueeze(slope, axes);
  }
  return c.b.prelu(x, slope);
}

Value glu(Call &c) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  int64_t axis = c.axis("dim", c.b.rankOf(x), -1);
  Dim half = c.b.floorDiv(c.b.dim(x, axis), c.b.index(2));
  SmallVector<Value> parts = c.b.split(x, axis, {half, half});
  if (parts.size() != 2)
    return nullptr;
  return c.b.mul(parts[0], c.b.unary(Unary::Sigmoid, parts[1]));
}

/// self + value * tensor1 (* or /) tensor2
template <Binary kind> Value addProduct(Call &c) {
  ScalarType type = c.resultType();
  Value product =
      c.b.binary(kind, c.operand("tensor1", type), c.operand("tensor2", type));
  if (c.has("value"))
    product = c.b.mul(product, c.operand("value", type));
  return c.b.add(c.operand("self", type), product);
}

Value lerp(Call &c) {
  ScalarType type = c.resultType();
  return c.b.lerp(c.operand("self", type), c.operand("end", type),
                  c.operand("weight", type));
}

Value nanToNum(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.tensor("self");
  if (!x || !isFloating(type))
    return x;
  mlir::Type element = c.resultElement();
  const fltSemantics &semantics =
      mlir::cast<mlir::FloatType>(element).getFloatSemantics();
  APFloat largest = APFloat::getLargest(semantics);
  bool ignored;
  largest.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &ignored);
  double limit = largest.convertToDouble();
  Value finite =
      c.b.clamp(x, c.b.scalar(-limit, element), c.b.scalar(limit, element));
  if (c.has("posinf"))
    finite =
        c.b.where(c.b.compare(Compare::Eq, x, c.b.scalar(HUGE_VAL, element)),
                  c.operand("posinf", type), finite);
  if (c.has("neginf"))
    finite =
        c.b.where(c.b.compare(Compare::Eq, x, c.b.scalar(-HUGE_VAL, element)),
                  c.operand("neginf", type), finite);
  Value nan = c.b.scalar(c.number("nan"), element);
  return c.b.where(c.b.unary(Unary::IsNan, x), nan, finite);
}

Value fraction(Call &c) {
  Value x = c.tensor("self");
  return c.b.sub(x, c.b.unary(Unary::Trunc, x));
}

/// A cast to the result's dtype; layout, device and memory format mean nothing
/// here.
Value convert(Call &c) {
  return c.cast(c.tensor("self"), c.typeOf("self"), c.resultType());
}

Value copy(Call &c) {
  ScalarType type = c.resultType();
  Value source = c.operand("src", type), self = c.tensor("self");
  return source && self ? c.b.expand(source, c.b.dims(self)) : nullptr;
}

Value identity(Call &c) { return c.tensor(c.has("input") ? "input" : "self"); }

Value dropout(Call &c) {
  if (c.boolean("train"))
    return c.fail("it is in training mode; call eval() before the export");
  return identity(c);
}

Value nativeDropout(Call &c) {
  Value x = dropout(c);
  if (x)
    c.results = {x, c.b.full(c.b.dims(x), 1.0, c.resultElement(1))};
  return nullptr;
}

constexpr OpEntry entries[] = {
    {"aten.abs.default", unary<Unary::Abs>},
    {"aten.neg.default", unary<Unary::Neg>},
    {"aten.negative.default", unary<Unary::Neg>},
    {"aten.sign.default", sign},
    {"aten.sgn.default", sign},
    {"aten.reciprocal.default", unary<Unary::Reciprocal>},
    {"aten.square.default", unary<Unary::Square>},
    {"aten.sqrt.default", unary<Unary::Sqrt>},
    {"aten.rsqrt.default", unary<Unary::Rsqrt>},
    {"aten.exp.default", unary<Unary::Exp>},
    {"aten.exp2.default", unary<Unary::Exp2>},
    {"aten.expm1.default", unary<Unary::Expm1>},
    {"aten.log.default", unary<Unary::Log>},
    {"aten.log2.default", unary<Unary::Log2>},
    {"aten.log10.default", unary<Unary::Log10>},
    {"aten.log1p.default", unary<Unary::Log1p>},
    {"aten.sin.default", unary<Unary::Sin>},
    {"aten.cos.default", unary<Unary::Cos>},
    {"aten.tan.default", unary<Unary::Tan>},
    {"aten.asin.default", unary<Unary::Asin>},
    {"aten.acos.default", unary<Unary::Acos>},
    {"aten.atan.default", unary<Unary::Atan>},
    {"aten.sinh.default", unary<Unary::Sinh>},
    {"aten.cosh.default", unary<Unary::Cosh>},
    {"aten.tanh.default", unary<Unary::Tanh>},
    {"aten.asinh.default", unary<Unary::Asinh>},
    {"aten.acosh.default", unary<Unary::Acosh>},
    {"aten.atanh.default", unary<Unary::Atanh>},
    {"aten.arcsin.default", unary<Unary::Asin>},
    {"aten.arccos.default", unary<Unary::Acos>},
    {"aten.arctan.default", unary<Unary::Atan>},
    {"aten.absolute.default", unary<Unary::Abs>},
    {"aten.special_expit.default", unary<Unary::Sigmoid>},
    {"aten.special_expm1.default", unary<Unary::Expm1>},
    {"aten.special_log1p.default", unary<Unary::Log1p>},
    {"aten.erf.default", unary<Unary::Erf>},
    {"aten.special_erf.default", unary<Unary::Erf>},
    {"aten.erfc.default", unary<Unary::Erfc>},
    {"aten.sigmoid.default", unary<Unary::Sigmoid>},
    {"aten.log_sigmoid.default", unary<Unary::LogSigmoid>},
    {"aten.relu.default", unary<Unary::Relu>},
    {"aten.relu6.default", unary<Unary::Relu6>},
    {"aten.silu.default", unary<Unary::Silu>},
    {"aten.mish.default", unary<Unary::Mish>},
    {"aten.selu.default", unary<Unary::Selu>},
    {"aten.softsign.default", unary<Unary::Softsign>},
    {"aten.hardswish.default", unary<Unary::HardSwish>},
    {"aten.hardsigmoid.default", unary<Unary::HardSigmoid>},
    {"aten.gelu.default", gelu},
    {"aten.hardtanh.default", hardtanh},
    {"aten.leaky_relu.default",
     [](Call &c) {
       return c.b.leakyRelu(c.tensor("self"), c.number("negative_slope", 0.01));
     }},
    {"aten.elu.default",
     [](Call &c) {
       return c.b.elu(c.tensor("self"), c.number("alpha", 1),
                      c.number("scale", 1), c.number("input_scale", 1));
     }},
    {"aten.celu.default",
     [](Call &c) { return c.b.celu(c.tensor("self"), c.number("alpha", 1)); }},
    {"aten.softplus.default",
     [](Call &c) {
       return c.b.softplus(c.tensor("self"), c.number("beta", 1),
                           c.number("threshold", 20));
     }},
    {"aten.hardshrink.default",
     [](Call &c) {
       return c.b.hardShrink(c.tensor("self"), c.number("lambd", 0.5));
     }},
    {"aten.softshrink.default",
     [](Call &c) {
       return c.b.softShrink(c.tensor("self"), c.number("lambd", 0.5));
     }},
    {"aten.threshold.default",
     [](Call &c) {
       return c.b.threshold(c.tensor("self"), c.number("threshold"),
                            c.number("value"));
     }},
    {"aten.prelu.default", prelu},
    {"aten._prelu_kernel.default", prelu},
    {"aten.glu.default", glu},

    {"aten.floor.default", rounding<Unary::Floor>},
    {"aten.ceil.default", rounding<Unary::Ceil>},
    {"aten.trunc.default", rounding<Unary::Trunc>},
    {"aten.fix.default", rounding<Unary::Trunc>},
    {"aten.round.default", rounding<Unary::Round>},
    {"aten.round.decimals",
     [](Call &c) {
       return c.b.round(c.tensor("self"), c.integer("decimals"));
     }},
    {"aten.frac.default", fraction},
    {"aten.isnan.default", predicate<Unary::IsNan>},
    {"aten.isinf.default", predicate<Unary::IsInf>},
    {"aten.isfinite.default", predicate<Unary::IsFinite>},
    {"aten.logical_not.default", predicate<Unary::LogicalNot>},
    {"aten.bitwise_not.default", bitNot},
    {"aten.nan_to_num.default", nanToNum},

    {"aten.add.Tensor", add},
    {"aten.add.Scalar", add},
    {"aten.sub.Tensor", sub},
    {"aten.sub.Scalar", sub},
    {"aten.subtract.Tensor", sub},
    {"aten.rsub.Tensor", rsub},
    {"aten.rsub.Scalar", rsub},
    {"aten.mul.Tensor", binary<Binary::Mul>},
    {"aten.mul.Scalar", binary<Binary::Mul>},
    {"aten.multiply.Tensor", binary<Binary::Mul>},
    {"aten.div.Tensor", divide},
    {"aten.div.Scalar", divide},
    {"aten.div.Tensor_mode", divide},
    {"aten.div.Scalar_mode", divide},
    {"aten.divide.Tensor", divide},
    {"aten.true_divide.Tensor", divide},
    {"aten.floor_divide.default", binary<Binary::DivFloor>},
    {"aten.floor_divide.Scalar", binary<Binary::DivFloor>},
    {"aten.remainder.Tensor", binary<Binary::Mod>},
    {"aten.remainder.Scalar", binary<Binary::Mod>},
    {"aten.remainder.Scalar_Tensor", binary<Binary::Mod>},
    {"aten.fmod.Tensor", binary<Binary::Fmod>},
    {"aten.fmod.Scalar", binary<Binary::Fmod>},
    {"aten.pow.Tensor_Tensor", power},
    {"aten.pow.Tensor_Scalar", power},
    {"aten.pow.Scalar", power},
    {"aten.maximum.default", binary<Binary::Max>},
    {"aten.max.other", binary<Binary::Max>},
    {"aten.minimum.default", binary<Binary::Min>},
    {"aten.min.other", binary<Binary::Min>},
    {"aten.arctan2.default", binary<Binary::Atan2>},
    {"aten.float_power.Tensor_Scalar", power},
    {"aten.float_power.Tensor_Tensor", power},
    {"aten.greater.Tensor", comparison<Compare::Gt>},
    {"aten.less.Tensor", comparison<Compare::Lt>},
    {"aten.greater_equal.Tensor", comparison<Compare::Ge>},
    {"aten.less_equal.Tensor", comparison<Compare::Le>},
    {"aten.clip.Tensor", clampTo<minName, maxName>},
    {"aten.atan2.default", binary<Binary::Atan2>},
    {"aten.hypot.default", binary<Binary::Hypot>},
    {"aten.copysign.Tensor", binary<Binary::CopySign>},
    {"aten.copysign.Scalar", binary<Binary::CopySign>},
    {"aten.bitwise_and.Tensor", binary<Binary::BitAnd>},
    {"aten.bitwise_and.Scalar", binary<Binary::BitAnd>},
    {"aten.bitwise_or.Tensor", binary<Binary::BitOr>},
    {"aten.bitwise_or.Scalar", binary<Binary::BitOr>},
    {"aten.bitwise_xor.Tensor", binary<Binary::BitXor>},
    {"aten.bitwise_xor.Scalar", binary<Binary::BitXor>},
    {"aten.__and__.Tensor", binary<Binary::BitAnd>},
    {"aten.__and__.Scalar", binary<Binary::BitAnd>},
    {"aten.__or__.Tensor", binary<Binary::BitOr>},
    {"aten.__or__.Scalar", binary<Binary::BitOr>},
    {"aten.__xor__.Tensor", binary<Binary::BitXor>},
    {"aten.bitwise_left_shift.Tensor", binary<Binary::ShiftLeft>},
    {"aten.bitwise_left_shift.Tensor_Scalar", binary<Binary::ShiftLeft>},
    {"aten.__lshift__.Tensor", binary<Binary::ShiftLeft>},
    {"aten.__lshift__.Scalar", binary<Binary::ShiftLeft>},
    {"aten.bitwise_right_shift.Tensor", binary<Binary::ShiftRight>},
    {"aten.bitwise_right_shift.Tensor_Scalar", binary<Binary::ShiftRight>},
    {"aten.__rshift__.Tensor", binary<Binary::ShiftRight>},
    {"aten.__rshift__.Scalar", binary<Binary::ShiftRight>},
    {"aten.logical_and.default", logical<Binary::And>},
    {"aten.logical_or.default", logical<Binary::Or>},
    {"aten.logical_xor.default", logical<Binary::Xor>},
    {"aten.eq.Tensor", comparison<Compare::Eq>},
    {"aten.eq.Scalar", comparison<Compare::Eq>},
    {"aten.ne.Tensor", comparison<Compare::Ne>},
    {"aten.ne.Scalar", comparison<Compare::Ne>},
    {"aten.not_equal.Tensor", comparison<Compare::Ne>},
    {"aten.lt.Tensor", comparison<Compare::Lt>},
    {"aten.lt.Scalar", comparison<Compare::Lt>},
    {"aten.le.Tensor", comparison<Compare::Le>},
    {"aten.le.Scalar", comparison<Compare::Le>},
    {"aten.gt.Tensor", comparison<Compare::Gt>},
    {"aten.gt.Scalar", comparison<Compare::Gt>},
    {"aten.ge.Tensor", comparison<Compare::Ge>},
    {"aten.ge.Scalar", comparison<Compare::Ge>},
    {"aten.where.self", where},
    {"aten.where.ScalarSelf", where},
    {"aten.where.ScalarOther", where},
    {"aten.where.Scalar", where},
    {"aten.masked_fill.Scalar", maskedFill},
    {"aten.masked_fill.Tensor", maskedFill},
    {"aten.clamp.default", clampTo<minName, maxName>},
    {"aten.clamp.Tensor", clampTo<minName, maxName>},
    {"aten.clip.default", clampTo<minName, maxName>},
    {"aten.clamp_min.default", clampTo<minName, noName>},
    {"aten.clamp_min.Tensor", clampTo<minName, noName>},
    {"aten.clamp_max.default", clampTo<noName, maxName>},
    {"aten.clamp_max.Tensor", clampTo<noName, maxName>},
    {"aten.addcmul.default", addProduct<Binary::Mul>},
    {"aten.addcdiv.default", addProduct<Binary::Div>},
    {"aten.lerp.Scalar", lerp},
    {"aten.lerp.Tensor", lerp},

    {"aten.to.dtype", convert},
    {"aten.to.dtype_layout", convert},
    {"aten.to.device", convert},
    {"aten.to.other", convert},
    {"aten.to.prim_Device", convert},
    {"aten._to_copy.default", convert},
    {"aten.type_as.default", convert},
    {"aten.float.default", convert},
    {"aten.copy.default", copy},
    {"aten.alias.default", identity},
    {"aten.alias_copy.default", identity},
    {"aten.clone.default", identity},
    {"aten.contiguous.default", identity},
    {"aten.detach.default", identity},
    {"aten.detach_.default", identity},
    {"aten.lift_fresh.default", identity},
    {"aten.lift_fresh_copy.default", identity},
    {"aten.positive.default", identity},
    {"aten.dropout.default", dropout},
    {"aten.feature_dropout.default", dropout},
    {"aten.alpha_dropout.default", dropout},
    {"aten.native_dropout.default", nativeDropout},
};

} // namespace

void addElementwise(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
