//===- StableHloElementwise.cpp - Elementwise StableHLO -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace marver::hlo {
namespace {

bool isBool(Value value) { return OpsBuilder::elementOf(value).isInteger(1); }

template <Unary kind> Results unary(Call &c) {
  return {c.b.unary(kind, c.operand(0), c.isUnsigned())};
}

/// Numpy's broadcasting, which chlo.broadcast_* has by default.
template <Binary kind, Binary forBool = kind> Results binary(Call &c) {
  Value x = c.operand(0), y = c.operand(1);
  if (!x || !y)
    return {};
  return {c.b.binary(isBool(x) ? forBool : kind, x, y, c.isUnsigned())};
}

template <Unary kind, Unary forBool> Results unaryOrBool(Call &c) {
  Value x = c.operand(0);
  return {x ? c.b.unary(isBool(x) ? forBool : kind, x) : x};
}

Results logicalShift(Call &c) {
  return {c.b.binary(Binary::ShiftRight, c.operand(0), c.operand(1),
                     /*isUnsigned=*/true)};
}

Results compare(Call &c) {
  auto kind = llvm::StringSwitch<std::optional<Compare>>(
                  c.word({"comparison_direction", "word0"}))
                  .Case("EQ", Compare::Eq)
                  .Case("NE", Compare::Ne)
                  .Case("LT", Compare::Lt)
                  .Case("LE", Compare::Le)
                  .Case("GT", Compare::Gt)
                  .Case("GE", Compare::Ge)
                  .Default(std::nullopt);
  Value x = c.operand(0), y = c.operand(1);
  if (!x || !y)
    return {};
  if (!kind)
    return {c.b.fail("the comparison's direction is not known")};
  if (c.word({"compare_type", "word1"}) == "TOTALORDER")
    return {
        c.b.fail("a comparison by total order is supported in a sort only")};
  if (isBool(x)) {
    x = c.b.cast(x, c.b.getI8Type());
    y = c.b.cast(y, c.b.getI8Type());
  }
  return {c.b.compare(*kind, x, y, c.isUnsigned())};
}

Results select(Call &c) {
  return {c.b.where(c.operand(0), c.operand(1), c.operand(2))};
}

Results clamp(Call &c) {
  return {c.b.clamp(c.operand(1), c.operand(0), c.operand(2), c.isUnsigned())};
}

Results convert(Call &c) {
  Value x = c.operand(0);
  RankedTensorType type = c.resultType();
  if (!x || !type)
    return {};
  return {c.b.cast(
      x, type.getElementType(), c.isUnsigned(),
      getElementTypeOrSelf(c.op->getResult(0).getType()).isUnsignedInteger())};
}

Results bitcast(Call &c) {
  Value x = c.operand(0);
  RankedTensorType type = c.resultType();
  if (!x || !type)
    return {};
  Type from = OpsBuilder::elementOf(x), to = type.getElementType();
  if (!from.isIntOrFloat() || !to.isIntOrFloat() ||
      from.getIntOrFloatBitWidth() != to.getIntOrFloatBitWidth())
    return {c.b.fail("types of different widths are not supported")};
  if (from == to)
    return {x};
  return {c.b.map(
      {x}, to,
      [&](ImplicitLocOpBuilder &b, ValueRange values) -> Value {
        return arith::BitcastOp::create(b, to, values[0]);
      },
      /*widen=*/false)};
}

/// Rounds to a narrower type and back; those that MLIR has.
Results reducePrecision(Call &c) {
  Value x = c.operand(0);
  if (!x)
    return {};
  int64_t exponent = c.integer({"exponent_bits"}, 0);
  int64_t mantissa = c.integer({"mantissa_bits"}, 0);
  StringRef format = c.word({"format"});
  if (format.consume_front("e")) {
    auto [left, right] = format.split('m');
    if (left.getAsInteger(10, exponent) || right.getAsInteger(10, mantissa))
      return {c.b.fail("the format is not known")};
  }
  Type own = OpsBuilder::elementOf(x);
  Type narrow = exponent == 5 && mantissa == 10   ? Type(c.b.getF16Type())
                : exponent == 8 && mantissa == 7  ? Type(c.b.getBF16Type())
                : exponent == 8 && mantissa == 23 ? Type(c.b.getF32Type())
                                                  : Type();
  if (!narrow)
    return {c.b.fail("precisions other than those of f16, bf16 and f32 are "
                     "not supported")};
  if (narrow.getIntOrFloatBitWidth() >= own.getIntOrFloatBitWidth())
    return {x};
  return {c.b.cast(c.b.cast(x, narrow), own)};
}

/// To the nearest integer, halves away from zero.
Results roundAway(Call &c) {
  Value x = c.operand(0);
  if (!x)
    return {};
  OpsBuilder &b = c.b;
  Type element = OpsBuilder::elementOf(x);
  Value whole = b.unary(Unary::Trunc, x);
  Value rest = b.unary(Unary::Abs, b.sub(x, whole));
  Value isUp = b.compare(Compare::Ge, rest, b.scalar(0.5, element));
  return {b.where(isUp, b.add(whole, b.unary(Unary::Sign, x)), whole)};
}

template <typename Op> Results bits(Call &c) {
  Value x = c.operand(0);
  if (!x)
    return {};
  return {c.b.map({x}, OpsBuilder::elementOf(x),
                  [](ImplicitLocOpBuilder &b, ValueRange values) -> Value {
                    return Op::create(b, values[0]);
                  })};
}

Results square(Call &c) {
  Value x = c.operand(0);
  return {c.b.mul(x, x)};
}

/// Keeps operands as they are.
Results same(Call &c) { return c.operands; }

Results constant(Call &c) {
  auto value = dyn_cast_or_null<ElementsAttr>(c.attribute({"value"}));
  RankedTensorType type = c.resultType();
  if (!value || !type)
    return {c.b.fail("the constant has no value that is supported")};
  if (auto dense = dyn_cast<DenseElementsAttr>(value);
      dense && dense.getType() != type)
    value = dense.bitcast(type.getElementType());
  return {c.b.constant(value)};
}

Results customCall(Call &c) {
  StringRef target = c.word({"call_target_name"});
  if ((target == "Sharding" || target == "SPMDFullToShardShape" ||
       target == "SPMDShardToFullShape") &&
      c.operands.size() == 1)
    return c.operands;
  return {c.b.fail("the custom call of '" + target +
                   "' is known to its framework only")};
}

struct Entry {
  StringLiteral name;
  Handler handler;
};

constexpr Entry entries[] = {
    {"abs", unary<Unary::Abs>},
    {"negate", unary<Unary::Neg>},
    {"sign", unary<Unary::Sign>},
    {"sqrt", unary<Unary::Sqrt>},
    {"rsqrt", unary<Unary::Rsqrt>},
    {"cbrt", unary<Unary::Cbrt>},
    {"exponential", unary<Unary::Exp>},
    {"exponential_minus_one", unary<Unary::Expm1>},
    {"log", unary<Unary::Log>},
    {"log_plus_one", unary<Unary::Log1p>},
    {"sine", unary<Unary::Sin>},
    {"cosine", unary<Unary::Cos>},
    {"tan", unary<Unary::Tan>},
    {"tanh", unary<Unary::Tanh>},
    {"asin", unary<Unary::Asin>},
    {"acos", unary<Unary::Acos>},
    {"atan", unary<Unary::Atan>},
    {"sinh", unary<Unary::Sinh>},
    {"cosh", unary<Unary::Cosh>},
    {"asinh", unary<Unary::Asinh>},
    {"acosh", unary<Unary::Acosh>},
    {"atanh", unary<Unary::Atanh>},
    {"erf", unary<Unary::Erf>},
    {"erfc", unary<Unary::Erfc>},
    {"logistic", unary<Unary::Sigmoid>},
    {"floor", unary<Unary::Floor>},
    {"ceil", unary<Unary::Ceil>},
    {"round_nearest_even", unary<Unary::Round>},
    {"round_nearest_afz", roundAway},
    {"is_finite", unary<Unary::IsFinite>},
    {"is_inf", unary<Unary::IsInf>},
    {"is_nan", unary<Unary::IsNan>},
    {"not", unaryOrBool<Unary::BitNot, Unary::LogicalNot>},
    {"popcnt", bits<math::CtPopOp>},
    {"count_leading_zeros", bits<math::CountLeadingZerosOp>},
    {"square", square},
    {"add", binary<Binary::Add, Binary::Or>},
    {"subtract", binary<Binary::Sub>},
    {"multiply", binary<Binary::Mul, Binary::And>},
    {"divide", binary<Binary::Div>},
    {"remainder", binary<Binary::Fmod>},
    {"power", binary<Binary::Pow>},
    {"maximum", binary<Binary::Max, Binary::Or>},
    {"minimum", binary<Binary::Min, Binary::And>},
    {"atan2", binary<Binary::Atan2>},
    {"and", binary<Binary::BitAnd, Binary::And>},
    {"or", binary<Binary::BitOr, Binary::Or>},
    {"xor", binary<Binary::BitXor, Binary::Xor>},
    {"shift_left", binary<Binary::ShiftLeft>},
    {"shift_right_arithmetic", binary<Binary::ShiftRight>},
    {"shift_right_logical", logicalShift},
    {"compare", compare},
    {"select", select},
    {"clamp", clamp},
    {"convert", convert},
    {"bitcast_convert", bitcast},
    {"reduce_precision", reducePrecision},
    {"constant", constant},
    {"optimization_barrier", same},
    {"custom_call", customCall},
};

} // namespace

void addElementwise(Table &table) {
  for (const Entry &entry : entries)
    table[entry.name] = entry.handler;
  for (StringRef name :
       {"add", "subtract", "multiply", "divide", "remainder", "power",
        "maximum", "minimum", "and", "or", "xor", "compare", "select"})
    table[("broadcast_" + name).str()] = table[name];
}

} // namespace marver::hlo
