//===- EvaluateScalars.cpp - Results of scalar operations -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/EvaluateScalars.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace marver;

double marver::roundTo(Type type, double value) {
  if (type.isF64())
    return value;
  if (type.isF32())
    return static_cast<float>(value);
  APFloat rounded(value);
  bool lost;
  rounded.convert(cast<FloatType>(type).getFloatSemantics(),
                  APFloat::rmNearestTiesToEven, &lost);
  return rounded.convertToDouble();
}

int64_t marver::wrapTo(Type type, int64_t value) {
  if (type.isIndex())
    return value;
  unsigned width = type.getIntOrFloatBitWidth();
  if (width == 1)
    return value & 1;
  return width >= 64 ? value : llvm::SignExtend64(value, width);
}

uint64_t marver::unsignedOf(Type type, int64_t value) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return width >= 64 ? value
                     : static_cast<uint64_t>(value) & ((1ull << width) - 1);
}

int64_t marver::signedOf(Type type, int64_t value) {
  return type.isInteger(1) ? -value : value;
}

F64Function1 marver::unaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, F64Function1>(op)
      .Case<arith::NegFOp>([](auto) { return [](double x) { return -x; }; })
      .Case<arith::ExtFOp, arith::TruncFOp>(
          [](auto) { return [](double x) { return x; }; })
      .Case<math::AbsFOp>([](auto) { return [](double x) { return fabs(x); }; })
      .Case<math::ExpOp>([](auto) { return [](double x) { return exp(x); }; })
      .Case<math::Exp2Op>([](auto) { return [](double x) { return exp2(x); }; })
      .Case<math::ExpM1Op>(
          [](auto) { return [](double x) { return expm1(x); }; })
      .Case<math::LogOp>([](auto) { return [](double x) { return log(x); }; })
      .Case<math::Log2Op>([](auto) { return [](double x) { return log2(x); }; })
      .Case<math::Log10Op>(
          [](auto) { return [](double x) { return log10(x); }; })
      .Case<math::Log1pOp>(
          [](auto) { return [](double x) { return log1p(x); }; })
      .Case<math::SqrtOp>([](auto) { return [](double x) { return sqrt(x); }; })
      .Case<math::RsqrtOp>(
          [](auto) { return [](double x) { return 1 / sqrt(x); }; })
      .Case<math::CbrtOp>([](auto) { return [](double x) { return cbrt(x); }; })
      .Case<math::SinOp>([](auto) { return [](double x) { return sin(x); }; })
      .Case<math::CosOp>([](auto) { return [](double x) { return cos(x); }; })
      .Case<math::TanOp>([](auto) { return [](double x) { return tan(x); }; })
      .Case<math::SinhOp>([](auto) { return [](double x) { return sinh(x); }; })
      .Case<math::CoshOp>([](auto) { return [](double x) { return cosh(x); }; })
      .Case<math::TanhOp>([](auto) { return [](double x) { return tanh(x); }; })
      .Case<math::AsinOp>([](auto) { return [](double x) { return asin(x); }; })
      .Case<math::AcosOp>([](auto) { return [](double x) { return acos(x); }; })
      .Case<math::AtanOp>([](auto) { return [](double x) { return atan(x); }; })
      .Case<math::ErfOp>([](auto) { return [](double x) { return erf(x); }; })
      .Case<math::ErfcOp>([](auto) { return [](double x) { return erfc(x); }; })
      .Case<math::CeilOp>([](auto) { return [](double x) { return ceil(x); }; })
      .Case<math::FloorOp>(
          [](auto) { return [](double x) { return floor(x); }; })
      .Case<math::TruncOp>(
          [](auto) { return [](double x) { return trunc(x); }; })
      .Case<math::RoundOp>(
          [](auto) { return [](double x) { return round(x); }; })
      .Case<math::RoundEvenOp>(
          [](auto) { return [](double x) { return x - remainder(x, 1.0); }; })
      .Default([](Operation *) -> F64Function1 { return nullptr; });
}

F64Function2 marver::binaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, F64Function2>(op)
      .Case<arith::AddFOp>(
          [](auto) { return [](double a, double b) { return a + b; }; })
      .Case<arith::SubFOp>(
          [](auto) { return [](double a, double b) { return a - b; }; })
      .Case<arith::MulFOp>(
          [](auto) { return [](double a, double b) { return a * b; }; })
      .Case<arith::DivFOp>(
          [](auto) { return [](double a, double b) { return a / b; }; })
      .Case<arith::RemFOp>(
          [](auto) { return [](double a, double b) { return fmod(a, b); }; })
      .Case<arith::MaximumFOp>([](auto) {
        return [](double a, double b) {
          return std::isnan(a) ? a : std::isnan(b) ? b : fmax(a, b);
        };
      })
      .Case<arith::MinimumFOp>([](auto) {
        return [](double a, double b) {
          return std::isnan(a) ? a : std::isnan(b) ? b : fmin(a, b);
        };
      })
      .Case<arith::MaxNumFOp>(
          [](auto) { return [](double a, double b) { return fmax(a, b); }; })
      .Case<arith::MinNumFOp>(
          [](auto) { return [](double a, double b) { return fmin(a, b); }; })
      .Case<math::PowFOp>(
          [](auto) { return [](double a, double b) { return pow(a, b); }; })
      .Case<math::Atan2Op>(
          [](auto) { return [](double a, double b) { return atan2(a, b); }; })
      .Case<math::CopySignOp>([](auto) {
        return [](double a, double b) { return copysign(a, b); };
      })
      .Default([](Operation *) -> F64Function2 { return nullptr; });
}

bool marver::compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::AlwaysTrue:
    return true;
  case P::ORD:
    return !unordered;
  case P::UNO:
    return unordered;
  case P::OEQ:
    return a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return unordered || a > b;
  case P::UGE:
    return unordered || a >= b;
  case P::ULT:
    return unordered || a < b;
  case P::ULE:
    return unordered || a <= b;
  case P::UNE:
    return unordered || a != b;
  }
  return false;
}

std::optional<int64_t> marver::integerOp(Operation *op, Type type, int64_t a,
                                         int64_t b) {
  uint64_t ua = unsignedOf(type, a), ub = unsignedOf(type, b);
  // The wrapped value of i1 is 0 or 1; as a signed number it is 0 or -1.
  int64_t sa = signedOf(type, a), sb = signedOf(type, b);
  bool overflows = sb == -1 && sa == std::numeric_limits<int64_t>::min();
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  using Result = std::optional<int64_t>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<arith::AddIOp>([&](auto) { return Result(ua + ub); })
      .Case<arith::SubIOp>([&](auto) { return Result(ua - ub); })
      .Case<arith::MulIOp>([&](auto) { return Result(ua * ub); })
      .Case<arith::AndIOp>([&](auto) { return Result(a & b); })
      .Case<arith::OrIOp>([&](auto) { return Result(a | b); })
      .Case<arith::XOrIOp>([&](auto) { return Result(a ^ b); })
      .Case<arith::MaxSIOp>([&](auto) { return Result(sa > sb ? a : b); })
      .Case<arith::MinSIOp>([&](auto) { return Result(sa < sb ? a : b); })
      .Case<arith::MaxUIOp>([&](auto) { return Result(ua > ub ? a : b); })
      .Case<arith::MinUIOp>([&](auto) { return Result(ua < ub ? a : b); })
      .Case<arith::ShLIOp>(
          [&](auto) { return ub < width ? Result(ua << ub) : std::nullopt; })
      .Case<arith::ShRUIOp>(
          [&](auto) { return ub < width ? Result(ua >> ub) : std::nullopt; })
      .Case<arith::ShRSIOp>(
          [&](auto) { return ub < width ? Result(sa >> ub) : std::nullopt; })
      .Case<arith::DivUIOp>(
          [&](auto) { return ub ? Result(ua / ub) : std::nullopt; })
      .Case<arith::RemUIOp>(
          [&](auto) { return ub ? Result(ua % ub) : std::nullopt; })
      .Case<arith::DivSIOp>([&](auto) {
        return sb && !overflows ? Result(sa / sb) : std::nullopt;
      })
      .Case<arith::RemSIOp>([&](auto) {
        return sb && !overflows ? Result(sa % sb) : std::nullopt;
      })
      .Case<arith::FloorDivSIOp>([&](auto) {
        return sb && !overflows ? Result(llvm::divideFloorSigned(sa, sb))
                                : std::nullopt;
      })
      .Case<arith::CeilDivSIOp>([&](auto) {
        return sb && !overflows ? Result(llvm::divideCeilSigned(sa, sb))
                                : std::nullopt;
      })
      .Case<arith::CeilDivUIOp>([&](auto) {
        return ub ? Result(ua / ub + (ua % ub != 0)) : std::nullopt;
      })
      .Case<arith::CmpIOp>([&](arith::CmpIOp compare) -> Result {
        using P = arith::CmpIPredicate;
        switch (compare.getPredicate()) {
        case P::eq:
          return a == b;
        case P::ne:
          return a != b;
        case P::slt:
          return sa < sb;
        case P::sle:
          return sa <= sb;
        case P::sgt:
          return sa > sb;
        case P::sge:
          return sa >= sb;
        case P::ult:
          return ua < ub;
        case P::ule:
          return ua <= ub;
        case P::ugt:
          return ua > ub;
        case P::uge:
          return ua >= ub;
        }
        return std::nullopt;
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<int64_t> marver::toInteger(double value, unsigned width,
                                         bool isSigned) {
  double truncated = trunc(value);
  double limit = ldexp(1.0, static_cast<int>(isSigned ? width - 1 : width));
  if (!(truncated < limit && truncated >= (isSigned ? -limit : 0.0)))
    return std::nullopt;
  if (isSigned)
    return static_cast<int64_t>(truncated);
  return static_cast<int64_t>(static_cast<uint64_t>(truncated));
}
