//===- ScalarMath.cpp - Operators on single elements ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/ScalarMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <numbers>

using namespace mlir;
using namespace marver;

static bool isFloat(Value x) { return isa<FloatType>(x.getType()); }

Value ScalarMath::constant(double value, Type type) {
  if (auto floatType = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(floatType, value));
  return integer(int64_t(value), type);
}

Value ScalarMath::integer(int64_t value, Type type) {
  if (isa<FloatType>(type))
    return constant(double(value), type);
  unsigned width = type.getIntOrFloatBitWidth();
  APInt number(64, uint64_t(value));
  return arith::ConstantOp::create(b,
                                   b.getIntegerAttr(type, number.trunc(width)));
}

Value ScalarMath::add(Value x, Value y) {
  if (isFloat(x))
    return arith::AddFOp::create(b, x, y);
  if (x.getType().isInteger(1))
    return arith::OrIOp::create(b, x, y);
  return arith::AddIOp::create(b, x, y);
}

Value ScalarMath::sub(Value x, Value y) {
  if (isFloat(x))
    return arith::SubFOp::create(b, x, y);
  return arith::SubIOp::create(b, x, y);
}

Value ScalarMath::mul(Value x, Value y) {
  if (isFloat(x))
    return arith::MulFOp::create(b, x, y);
  if (x.getType().isInteger(1))
    return arith::AndIOp::create(b, x, y);
  return arith::MulIOp::create(b, x, y);
}

Value ScalarMath::div(Value x, Value y) {
  if (isFloat(x))
    return arith::DivFOp::create(b, x, y);
  if (isUnsigned)
    return arith::DivUIOp::create(b, x, y);
  return arith::DivSIOp::create(b, x, y);
}

Value ScalarMath::max(Value x, Value y) {
  if (isFloat(x))
    return arith::MaximumFOp::create(b, x, y);
  if (isUnsigned || x.getType().isInteger(1))
    return arith::MaxUIOp::create(b, x, y);
  return arith::MaxSIOp::create(b, x, y);
}

Value ScalarMath::min(Value x, Value y) {
  if (isFloat(x))
    return arith::MinimumFOp::create(b, x, y);
  if (isUnsigned || x.getType().isInteger(1))
    return arith::MinUIOp::create(b, x, y);
  return arith::MinSIOp::create(b, x, y);
}

Value ScalarMath::neg(Value x) {
  if (isFloat(x))
    return arith::NegFOp::create(b, x);
  return arith::SubIOp::create(b, integer(0, x.getType()), x);
}

Value ScalarMath::abs(Value x) {
  if (isFloat(x))
    return math::AbsFOp::create(b, x);
  if (isUnsigned || x.getType().isInteger(1))
    return x;
  return math::AbsIOp::create(b, x);
}

Value ScalarMath::exp(Value x) { return math::ExpOp::create(b, x); }

Value ScalarMath::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, condition, x, y);
}

Value ScalarMath::compare(Compare kind, Value x, Value y) {
  if (isFloat(x)) {
    // Ordered, so that NaN compares false; only `!=` holds for it.
    static constexpr arith::CmpFPredicate predicates[] = {
        arith::CmpFPredicate::OEQ, arith::CmpFPredicate::UNE,
        arith::CmpFPredicate::OLT, arith::CmpFPredicate::OLE,
        arith::CmpFPredicate::OGT, arith::CmpFPredicate::OGE};
    return arith::CmpFOp::create(b, predicates[int(kind)], x, y);
  }
  static constexpr arith::CmpIPredicate signedOnes[] = {
      arith::CmpIPredicate::eq,  arith::CmpIPredicate::ne,
      arith::CmpIPredicate::slt, arith::CmpIPredicate::sle,
      arith::CmpIPredicate::sgt, arith::CmpIPredicate::sge};
  static constexpr arith::CmpIPredicate unsignedOnes[] = {
      arith::CmpIPredicate::eq,  arith::CmpIPredicate::ne,
      arith::CmpIPredicate::ult, arith::CmpIPredicate::ule,
      arith::CmpIPredicate::ugt, arith::CmpIPredicate::uge};
  bool asUnsigned = isUnsigned || x.getType().isInteger(1);
  return arith::CmpIOp::create(
      b, asUnsigned ? unsignedOnes[int(kind)] : signedOnes[int(kind)], x, y);
}

Value ScalarMath::isNonZero(Value x) {
  if (x.getType().isInteger(1))
    return x;
  return compare(Compare::Ne, x, constant(0, x.getType()));
}

Value ScalarMath::sigmoid(Value x) {
  Value one = constant(1, x.getType());
  return div(one, add(one, exp(neg(x))));
}

Value ScalarMath::softplus(Value x) {
  Value zero = constant(0, x.getType());
  return add(max(x, zero), math::Log1pOp::create(b, exp(neg(abs(x)))));
}

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

Value ScalarMath::unary(Unary kind, Value x) {
  if (kind == Unary::LogicalNot) {
    Value one = integer(1, b.getI1Type());
    return arith::XOrIOp::create(b, isNonZero(x), one);
  }
  return isFloat(x) ? unaryFloat(kind, x) : unaryInteger(kind, x);
}

Value ScalarMath::unaryInteger(Unary kind, Value x) {
  Type type = x.getType();
  Value zero = integer(0, type);
  switch (kind) {
  case Unary::Abs:
    return abs(x);
  case Unary::Neg:
    return neg(x);
  case Unary::Sign: {
    if (type.isInteger(1))
      return x;
    Value one = integer(1, type);
    Value negative = select(compare(Compare::Lt, x, zero), neg(one), zero);
    return select(compare(Compare::Gt, x, zero), one, negative);
  }
  case Unary::Square:
    return mul(x, x);
  case Unary::Relu:
    return max(x, zero);
  case Unary::Relu6:
    return min(max(x, zero), integer(6, type));
  case Unary::Floor:
  case Unary::Ceil:
  case Unary::Trunc:
  case Unary::Round:
    return x;
  case Unary::BitNot:
    return arith::XOrIOp::create(b, x, integer(-1, type));
  case Unary::IsNan:
  case Unary::IsInf:
    return integer(0, b.getI1Type());
  case Unary::IsFinite:
    return integer(1, b.getI1Type());
  default:
    return nullptr;
  }
}

Value ScalarMath::unaryFloat(Unary kind, Value x) {
  Type type = x.getType();
  auto c = [&](double value) { return constant(value, type); };
  switch (kind) {
  case Unary::Abs:
    return abs(x);
  case Unary::Neg:
    return neg(x);
  case Unary::Sign: {
    // A zero of x's sign and NaN are their own signs.
    Value sign = math::CopySignOp::create(b, c(1), x);
    Value nonZero =
        arith::CmpFOp::create(b, arith::CmpFPredicate::ONE, x, c(0));
    return select(nonZero, sign, x);
  }
  case Unary::Reciprocal:
    return div(c(1), x);
  case Unary::Square:
    return mul(x, x);
  case Unary::Sqrt:
    return math::SqrtOp::create(b, x);
  case Unary::Rsqrt:
    return div(c(1), math::SqrtOp::create(b, x));
  case Unary::Cbrt:
    return math::CbrtOp::create(b, x);
  case Unary::Exp:
    return exp(x);
  case Unary::Exp2:
    return math::Exp2Op::create(b, x);
  case Unary::Expm1:
    return math::ExpM1Op::create(b, x);
  case Unary::Log:
    return math::LogOp::create(b, x);
  case Unary::Log2:
    return math::Log2Op::create(b, x);
  case Unary::Log10:
    return math::Log10Op::create(b, x);
  case Unary::Log1p:
    return math::Log1pOp::create(b, x);
  case Unary::Sin:
    return math::SinOp::create(b, x);
  case Unary::Cos:
    return math::CosOp::create(b, x);
  case Unary::Tan:
    return math::TanOp::create(b, x);
  case Unary::Asin:
    return math::AsinOp::create(b, x);
  case Unary::Acos:
    return math::AcosOp::create(b, x);
  case Unary::Atan:
    return math::AtanOp::create(b, x);
  case Unary::Sinh:
    return math::SinhOp::create(b, x);
  case Unary::Cosh:
    return math::CoshOp::create(b, x);
  case Unary::Tanh:
    return math::TanhOp::create(b, x);
  case Unary::Asinh:
    return math::AsinhOp::create(b, x);
  case Unary::Acosh:
    return math::AcoshOp::create(b, x);
  case Unary::Atanh:
    return math::AtanhOp::create(b, x);
  case Unary::Erf:
    return math::ErfOp::create(b, x);
  case Unary::Erfc:
    return math::ErfcOp::create(b, x);
  case Unary::Floor:
    return math::FloorOp::create(b, x);
  case Unary::Ceil:
    return math::CeilOp::create(b, x);
  case Unary::Trunc:
    return math::TruncOp::create(b, x);
  case Unary::Round:
    return math::RoundEvenOp::create(b, x);
  case Unary::Relu:
    return max(x, c(0));
  case Unary::Relu6:
    return min(max(x, c(0)), c(6));
  case Unary::Sigmoid:
    return sigmoid(x);
  case Unary::LogSigmoid:
    return neg(softplus(neg(x)));
  case Unary::Silu:
    return div(x, add(c(1), exp(neg(x))));
  case Unary::Gelu: {
    Value erf = math::ErfOp::create(b, mul(x, c(std::numbers::sqrt2 / 2)));
    return mul(mul(x, c(0.5)), add(c(1), erf));
  }
  case Unary::GeluTanh: {
    Value cube = mul(mul(x, x), x);
    Value inner = mul(c(std::numbers::sqrt2 * std::numbers::inv_sqrtpi),
                      add(x, mul(c(0.044715), cube)));
    return mul(mul(x, c(0.5)), add(c(1), math::TanhOp::create(b, inner)));
  }
  case Unary::HardSwish: {
    Value gate = min(max(add(x, c(3)), c(0)), c(6));
    return div(mul(x, gate), c(6));
  }
  case Unary::HardSigmoid:
    return div(min(max(add(x, c(3)), c(0)), c(6)), c(6));
  case Unary::Mish:
    return mul(x, math::TanhOp::create(b, softplus(x)));
  case Unary::Softsign:
    return div(x, add(c(1), abs(x)));
  case Unary::Selu: {
    constexpr double alpha = 1.6732632423543772848170429916717;
    constexpr double scale = 1.0507009873554804934193349852946;
    Value negative = mul(c(scale * alpha), math::ExpM1Op::create(b, x));
    return select(compare(Compare::Gt, x, c(0)), mul(c(scale), x), negative);
  }
  case Unary::IsNan:
    return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
  case Unary::IsInf:
    return compare(Compare::Eq, abs(x), c(INFINITY));
  case Unary::IsFinite:
    return compare(Compare::Lt, abs(x), c(INFINITY));
  default:
    return nullptr;
  }
}

//===----------------------------------------------------------------------===//
// Two operands
//===----------------------------------------------------------------------===//

Value ScalarMath::binary(Binary kind, Value x, Value y) {
  switch (kind) {
  case Binary::Add:
    return add(x, y);
  case Binary::Sub:
    return x.getType().isInteger(1) ? nullptr : sub(x, y);
  case Binary::Mul:
    return mul(x, y);
  case Binary::Max:
    return max(x, y);
  case Binary::Min:
    return min(x, y);
  case Binary::And:
    return arith::AndIOp::create(b, isNonZero(x), isNonZero(y));
  case Binary::Or:
    return arith::OrIOp::create(b, isNonZero(x), isNonZero(y));
  case Binary::Xor:
    return arith::XOrIOp::create(b, isNonZero(x), isNonZero(y));
  default:
    return isFloat(x) ? binaryFloat(kind, x, y) : binaryInteger(kind, x, y);
  }
}

Value ScalarMath::binaryFloat(Binary kind, Value x, Value y) {
  Type type = x.getType();
  switch (kind) {
  case Binary::Div:
    return div(x, y);
  case Binary::DivTrunc:
    return math::TruncOp::create(b, div(x, y));
  case Binary::DivFloor:
    return math::FloorOp::create(b, div(x, y));
  case Binary::Fmod:
    return arith::RemFOp::create(b, x, y);
  case Binary::Mod: {
    Value zero = constant(0, type);
    Value rest = arith::RemFOp::create(b, x, y);
    Value differ = arith::XOrIOp::create(b, compare(Compare::Lt, rest, zero),
                                         compare(Compare::Lt, y, zero));
    Value adjust = arith::AndIOp::create(b, isNonZero(rest), differ);
    return select(adjust, add(rest, y), rest);
  }
  case Binary::Pow:
    return math::PowFOp::create(b, x, y);
  case Binary::Atan2:
    return math::Atan2Op::create(b, x, y);
  case Binary::Hypot: {
    // Scaled by the larger one, so that no square overflows.
    Value large = max(abs(x), abs(y)), small = min(abs(x), abs(y));
    Value ratio = div(small, large);
    Value root =
        math::SqrtOp::create(b, add(constant(1, type), mul(ratio, ratio)));
    Value plain = arith::OrIOp::create(
        b, compare(Compare::Eq, large, constant(0, type)),
        compare(Compare::Eq, large, constant(INFINITY, type)));
    return select(plain, large, mul(large, root));
  }
  case Binary::CopySign:
    return math::CopySignOp::create(b, x, y);
  default:
    return nullptr;
  }
}

/// By squaring, over all bits that an exponent may sensibly have; the product
/// wraps as repeated multiplication would.
Value ScalarMath::integerPower(Value x, Value y) {
  Type type = x.getType();
  Value zero = integer(0, type), one = integer(1, type);
  Value result = one, square = x, rest = y;
  unsigned bits = std::min(type.getIntOrFloatBitWidth(), 32u);
  for (unsigned bit = 0; bit < bits; ++bit) {
    Value isSet = isNonZero(arith::AndIOp::create(b, rest, one));
    result = select(isSet, mul(result, square), result);
    if (bit + 1 == bits)
      break;
    square = mul(square, square);
    rest = arith::ShRUIOp::create(b, rest, one);
  }
  if (isUnsigned)
    return result;
  // One over a power is zero but for 1 and -1.
  Value minusOne = integer(-1, type);
  Value isOdd = isNonZero(arith::AndIOp::create(b, y, one));
  Value inverse = select(compare(Compare::Eq, x, one), one, zero);
  inverse = select(compare(Compare::Eq, x, minusOne),
                   select(isOdd, minusOne, one), inverse);
  return select(compare(Compare::Lt, y, zero), inverse, result);
}

Value ScalarMath::binaryInteger(Binary kind, Value x, Value y) {
  Type type = x.getType();
  auto remainder = [&]() -> Value {
    if (isUnsigned)
      return arith::RemUIOp::create(b, x, y);
    return arith::RemSIOp::create(b, x, y);
  };
  // Whether a truncated quotient has to be corrected to be rounded down.
  auto roundsUp = [&](Value rest) -> Value {
    Value zero = integer(0, type);
    Value differ = arith::XOrIOp::create(b, compare(Compare::Lt, rest, zero),
                                         compare(Compare::Lt, y, zero));
    return arith::AndIOp::create(b, isNonZero(rest), differ);
  };
  switch (kind) {
  case Binary::Div:
  case Binary::DivTrunc:
    return div(x, y);
  case Binary::DivFloor: {
    Value quotient = div(x, y);
    if (isUnsigned)
      return quotient;
    return select(roundsUp(remainder()), sub(quotient, integer(1, type)),
                  quotient);
  }
  case Binary::Fmod:
    return remainder();
  case Binary::Mod: {
    Value rest = remainder();
    return isUnsigned ? rest : select(roundsUp(rest), add(rest, y), rest);
  }
  case Binary::Pow:
    return integerPower(x, y);
  case Binary::BitAnd:
    return arith::AndIOp::create(b, x, y);
  case Binary::BitOr:
    return arith::OrIOp::create(b, x, y);
  case Binary::BitXor:
    return arith::XOrIOp::create(b, x, y);
  case Binary::ShiftLeft:
  case Binary::ShiftRight: {
    // A shift by the width or more (or by a negative number) is no operation of
    // the machine: everything is shifted out.
    Value width = integer(type.getIntOrFloatBitWidth(), type);
    Value inRange =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, y, width);
    Value last = integer(type.getIntOrFloatBitWidth() - 1, type);
    Value amount = select(inRange, y, last);
    if (kind == Binary::ShiftRight && !isUnsigned)
      return arith::ShRSIOp::create(b, x, amount);
    Value shifted = kind == Binary::ShiftLeft
                        ? arith::ShLIOp::create(b, x, amount).getResult()
                        : arith::ShRUIOp::create(b, x, amount).getResult();
    return select(inRange, shifted, integer(0, type));
  }
  default:
    return nullptr;
  }
}

//===----------------------------------------------------------------------===//
// Casts
//===----------------------------------------------------------------------===//

Value ScalarMath::cast(Value x, Type to, bool toUnsigned) {
  Type from = x.getType();
  if (from == to)
    return x;
  if (to.isInteger(1))
    return isNonZero(x);
  bool fromUnsigned = isUnsigned || from.isInteger(1);
  unsigned toWidth = to.getIntOrFloatBitWidth();
  if (isa<FloatType>(from)) {
    if (isa<FloatType>(to)) {
      unsigned fromWidth = from.getIntOrFloatBitWidth();
      if (fromWidth == toWidth) // f16 and bf16
        return arith::TruncFOp::create(
            b, to, arith::ExtFOp::create(b, b.getF32Type(), x));
      if (fromWidth < toWidth)
        return arith::ExtFOp::create(b, to, x);
      return arith::TruncFOp::create(b, to, x);
    }
    // Narrow integers wrap, so they go through a wider one; 32-bit unsigned
    // too, because a conversion of a negative number to unsigned is undefined.
    if (toWidth < 32)
      return arith::TruncIOp::create(
          b, to, arith::FPToSIOp::create(b, b.getI32Type(), x));
    if (toUnsigned && toWidth == 32)
      return arith::TruncIOp::create(
          b, to, arith::FPToSIOp::create(b, b.getI64Type(), x));
    if (toUnsigned)
      return arith::FPToUIOp::create(b, to, x);
    return arith::FPToSIOp::create(b, to, x);
  }
  if (isa<FloatType>(to)) {
    if (fromUnsigned)
      return arith::UIToFPOp::create(b, to, x);
    return arith::SIToFPOp::create(b, to, x);
  }
  unsigned fromWidth = from.getIntOrFloatBitWidth();
  if (fromWidth > toWidth)
    return arith::TruncIOp::create(b, to, x);
  if (fromWidth == toWidth)
    return x;
  if (fromUnsigned)
    return arith::ExtUIOp::create(b, to, x);
  return arith::ExtSIOp::create(b, to, x);
}
