//===- MathLibrary.cpp - Elementary functions on vectors ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Coefficients are Chebyshev interpolants computed with 60 digits; the comment
// of each gives its largest relative error on the interval. Arguments are
// reduced in the ways of Cody and Waite. The functions that models rarely use
// are computed in f64 for f32, too: exact rounding for twice the time.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/MathLibrary.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/ADT/bit.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace marver;

namespace {

/// Arithmetic on values of one float type (a scalar or a vector).
class Float {
public:
  Float(ImplicitLocOpBuilder &b, Type type)
      : b(b), type(type), element(getElementTypeOrSelf(type)) {}

  bool isDouble() const { return element.isF64(); }
  Type withElement(Type other) const {
    if (auto shaped = dyn_cast<ShapedType>(type))
      return shaped.clone(other);
    return other;
  }
  Type bitsType() const {
    return withElement(b.getIntegerType(element.getIntOrFloatBitWidth()));
  }

  Value constant(double value) const {
    return splat(FloatAttr::get(element, value), type);
  }
  Value integer(int64_t value) const {
    Type bits = bitsType();
    return splat(
        IntegerAttr::get(getElementTypeOrSelf(bits),
                         APInt(element.getIntOrFloatBitWidth(), uint64_t(value),
                               /*isSigned=*/false, /*implicitTrunc=*/true)),
        bits);
  }
  Value add(Value x, Value y) const { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) const { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) const { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) const { return arith::DivFOp::create(b, x, y); }
  Value fma(Value x, Value y, Value z) const {
    return math::FmaOp::create(b, x, y, z);
  }
  Value neg(Value x) const { return arith::NegFOp::create(b, x); }
  Value abs(Value x) const { return math::AbsFOp::create(b, x); }
  Value copySign(Value x, Value sign) const {
    return math::CopySignOp::create(b, x, sign);
  }
  Value less(Value x, Value y) const { return compare("olt", x, y); }
  Value compare(StringRef predicate, Value x, Value y) const {
    return arith::CmpFOp::create(b, *arith::symbolizeCmpFPredicate(predicate),
                                 x, y);
  }
  Value select(Value condition, Value yes, Value no) const {
    return arith::SelectOp::create(b, condition, yes, no);
  }
  Value bits(Value x) const {
    return arith::BitcastOp::create(b, bitsType(), x);
  }
  Value fromBits(Value x) const { return arith::BitcastOp::create(b, type, x); }
  /// x limited to [low, high]; NaN stays NaN.
  Value clamp(Value x, double low, double high) const {
    Value l = constant(low), h = constant(high);
    x = select(compare("ogt", x, h), h, x);
    return select(compare("olt", x, l), l, x);
  }
  /// The polynomial with these coefficients, lowest first.
  Value polynomial(Value x, ArrayRef<double> coefficients) const {
    Value sum = constant(coefficients.back());
    for (double c : llvm::reverse(coefficients.drop_back()))
      sum = fma(sum, x, constant(c));
    return sum;
  }

  /// The same in fewer steps that wait for each other, for one product more a
  /// level: what limits a function of many vectors is how many of them the
  /// processor's window holds.
  Value shallowPolynomial(Value x, ArrayRef<double> coefficients) const {
    SmallVector<Value> sums;
    for (size_t i = 0; i < coefficients.size(); i += 2) {
      Value c = constant(coefficients[i]);
      sums.push_back(i + 1 < coefficients.size()
                         ? fma(x, constant(coefficients[i + 1]), c)
                         : c);
    }
    while (sums.size() > 1) {
      x = mul(x, x);
      for (size_t i = 0; i < sums.size(); i += 2)
        sums[i / 2] =
            i + 1 < sums.size() ? fma(x, sums[i + 1], sums[i]) : sums[i];
      sums.resize((sums.size() + 1) / 2);
    }
    return sums.front();
  }

  ImplicitLocOpBuilder &b;
  Type type;
  Type element;

private:
  Value splat(TypedAttr attribute, Type as) const {
    if (auto shaped = dyn_cast<ShapedType>(as))
      attribute = DenseElementsAttr::get(shaped, Attribute(attribute));
    return arith::ConstantOp::create(b, attribute);
  }
};

} // namespace

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kPi = 3.14159265358979323846;
constexpr double kLn2 = 0.69314718055994530942;

//===----------------------------------------------------------------------===//
// exp, expm1
//===----------------------------------------------------------------------===//

namespace {
/// x = n ln2 + rest, with n as an integer and what e^rest is above 1.
struct ExpParts {
  Value n;       ///< integer
  Value restExp; ///< e^rest - 1
};
} // namespace

static ExpParts reduceExp(const Float &f, Value x) {
  // Adding this rounds to an integer, which is then in the low bits.
  double magic = f.isDouble() ? 6755399441055744.0 : 12582912.0;
  Value shifted = f.fma(x, f.constant(1 / kLn2), f.constant(magic));
  Value rounded = f.sub(shifted, f.constant(magic));
  Value n =
      arith::SubIOp::create(f.b, f.bits(shifted), f.bits(f.constant(magic)));
  // ln2 in two parts; the products are exact in the fma.
  double high = f.isDouble() ? 0x1.62e42fefa39efp-1 : double(float(kLn2));
  double low = f.isDouble() ? 0x1.abc9e3b39803fp-56 : kLn2 - high;
  Value rest = f.fma(rounded, f.constant(-high), x);
  rest = f.fma(rounded, f.constant(-low), rest);
  // e^r = 1 + r + r^2 q(r) for |r| <= ln2 / 2: 1.0e-8 and 1.8e-17.
  static const double single[] = {0.5, 0.16666575985420823,
                                  0.041666553362644264, 0.0083633458109871103,
                                  0.0013926391896140632};
  static const double precise[] = {0.5,
                                   0.16666666666666669,
                                   0.041666666666623171,
                                   0.0083333333333299887,
                                   0.0013888888917690603,
                                   0.00019841269863420349,
                                   2.4801520557017829e-05,
                                   2.755726789174553e-06,
                                   2.7620438948634417e-07,
                                   2.510065503606659e-08};
  Value q =
      f.isDouble() ? f.polynomial(rest, precise) : f.polynomial(rest, single);
  return {n, f.fma(f.mul(rest, rest), q, rest)};
}

/// 2^n for an n whose result is a normal number.
static Value powerOfTwo(const Float &f, Value n) {
  int64_t bias = f.isDouble() ? 1023 : 127, mantissa = f.isDouble() ? 52 : 23;
  Value biased = arith::AddIOp::create(f.b, n, f.integer(bias));
  return f.fromBits(arith::ShLIOp::create(f.b, biased, f.integer(mantissa)));
}

static Value emitExp(const Float &f, Value x) {
  // Beyond these the result is infinity or rounds to 0.
  x = f.isDouble() ? f.clamp(x, -746, 710) : f.clamp(x, -104, 89);
  ExpParts parts = reduceExp(f, x);
  Value result = f.add(parts.restExp, f.constant(1));
  // In two steps, for denormal and infinite results.
  Value half = arith::ShRSIOp::create(f.b, parts.n, f.integer(1));
  Value other = arith::SubIOp::create(f.b, parts.n, half);
  return f.mul(f.mul(result, powerOfTwo(f, half)), powerOfTwo(f, other));
}

/// Whether f's vectors may be looked up in tables of 32 values.
static bool isTableVector(const Float &f, bool hasTables) {
  auto vector = dyn_cast<VectorType>(f.type);
  return hasTables && vector && vector.getNumElements() == 16;
}

/// 2^(z / 32) for integers z in the low bits of `shifted`, whose higher bits
/// (the number that rounded it) leave by the shift: 32 values in two registers.
/// If `isBiased`, z / 32 is 127 too large, the exponent's bias: 0 gives 0.
static Value powerByTable(const Float &f, Value shifted, bool isBiased) {
  constexpr int steps = 32, bitsOfSteps = 18; // 2^23 / 32
  SmallVector<int32_t> table;
  for (int j = 0; j < steps; ++j) {
    auto value = llvm::bit_cast<uint32_t>(float(std::exp2(double(j) / steps)));
    if (isBiased)
      value -= 127U << 23;
    // The shift below adds j to the mantissa as well.
    table.push_back(int32_t(value - (uint32_t(j) << bitsOfSteps)));
  }
  auto bits = cast<VectorType>(f.bitsType());
  auto half = [&](int first) -> Value {
    return arith::ConstantOp::create(
        f.b,
        DenseElementsAttr::get(bits, ArrayRef(table).slice(first, steps / 2)));
  };
  Value index = f.bits(shifted);
  Value value =
      LLVM::CallIntrinsicOp::create(
          f.b, bits, f.b.getStringAttr("llvm.x86.avx512.vpermi2var.d.512"),
          ValueRange{half(0), index, half(steps / 2)})
          .getResult(0);
  Value exponent = arith::ShLIOp::create(f.b, index, f.integer(bitsOfSteps));
  return f.fromBits(arith::AddIOp::create(f.b, value, exponent));
}

/// 1 + e^x, or 1 + e^-x: the denominator of a logistic function, which needs
/// less than the exponential itself, as e^x counts only against 1: within the
/// limits 2^n is a normal number or, at the upper one exactly, infinity.
static Value emitOnePlusExp(const Float &f, Value x, bool negated,
                            bool hasTables) {
  constexpr double low = -87.3, high = 128 * kLn2;
  x = negated ? f.clamp(x, -high, -low) : f.clamp(x, low, high);
  bool byTable = isTableVector(f, hasTables);
  constexpr double magic = 12582912.0;
  double steps = byTable ? 32 : 1;
  Value scale = f.constant((negated ? -1 : 1) * steps / kLn2);
  Value shifted = f.fma(x, scale, f.constant(magic));
  Value rounded = f.sub(shifted, f.constant(magic));
  Value rest = f.fma(x, scale, f.neg(rounded));
  // 2^r and 2^(r / 32) for |r| <= 1/2: 1.0e-7 and 5.3e-8.
  static const double power[] = {1.0000000754548972,  0.6931471880262288,
                                 0.2402210748530834,  0.05550357114219078,
                                 0.00967603191832205, 0.00133908633646712};
  static const double powerOfStep[] = {1, 0.021661166979, 0.00023459620};
  Value whole;
  if (byTable) {
    whole = powerByTable(f, shifted, /*isBiased=*/false);
  } else {
    // The low bits of `shifted` are n; all others leave by the shift, which
    // makes room for the mantissa.
    Value exponent = arith::ShLIOp::create(f.b, f.bits(shifted), f.integer(23));
    whole =
        f.fromBits(arith::AddIOp::create(f.b, exponent, f.bits(f.constant(1))));
  }
  Value part =
      byTable ? f.polynomial(rest, powerOfStep) : f.polynomial(rest, power);
  return f.fma(part, whole, f.constant(1));
}

/// e^x for x <= 88 without the cases that a softmax does not have (f32 only).
static Value emitWeight(const Float &f, Value x, bool hasTables) {
  // Adding `magic` rounds to an integer n and leaves n + 127 in the low bits:
  // 2^n once they are moved to the exponent. -127 makes that 0.
  bool byTable = isTableVector(f, hasTables);
  double steps = byTable ? 32 : 1;
  double magic = 12582912.0 + 127 * steps, lowest = -127 * kLn2;
  x = f.select(f.less(x, f.constant(lowest)), f.constant(lowest), x);
  Value shifted = f.fma(x, f.constant(steps / kLn2), f.constant(magic));
  Value n = f.sub(shifted, f.constant(magic));
  // ln2 in f32 is nearly exact, and so is what is taken off.
  Value rest = f.fma(n, f.constant(-kLn2 / steps), x);
  // e^r: 1.0e-7 for |r| <= ln2 / 2, 5.3e-8 for |r| <= ln2 / 64.
  static const double q[] = {1,
                             1,
                             0.4999923030098898,
                             0.16667115390146117,
                             0.04189033275319698,
                             0.008312501577517749};
  static const double ofStep[] = {1, 1.0000146617750743, 0.5000000038315906};
  if (byTable)
    return f.mul(f.polynomial(rest, ofStep),
                 powerByTable(f, shifted, /*isBiased=*/true));
  Value scale =
      f.fromBits(arith::ShLIOp::create(f.b, f.bits(shifted), f.integer(23)));
  return f.mul(f.polynomial(rest, q), scale);
}

static Value emitExpm1(const Float &f, Value x) {
  x = f.isDouble() ? f.clamp(x, -40, 710) : f.clamp(x, -20, 89);
  ExpParts parts = reduceExp(f, x);
  // 2^(n - 1) twice, so that the largest n does not overflow before the end.
  Value less = arith::SubIOp::create(f.b, parts.n, f.integer(1));
  Value scale = powerOfTwo(f, less);
  Value half = f.sub(scale, f.constant(0.5));
  return f.mul(f.fma(parts.restExp, scale, half), f.constant(2));
}

//===----------------------------------------------------------------------===//
// log, log1p
//===----------------------------------------------------------------------===//

static Value emitLog(const Float &f, Value x) {
  ImplicitLocOpBuilder &b = f.b;
  int64_t mantissa = f.isDouble() ? 52 : 23;
  double smallest = f.isDouble() ? 0x1p-1022 : 0x1p-126;
  // Denormals are scaled up.
  Value isTiny = f.less(x, f.constant(smallest));
  Value scaled = f.mul(x, f.constant(f.isDouble() ? 0x1p54 : 0x1p25));
  Value v = f.select(isTiny, scaled, x);
  // v = m 2^k with m in [sqrt(1/2), sqrt(2)).
  int64_t half = f.isDouble() ? 0x3fe6a09e667f3bcd : 0x3f3504f3;
  Value relative = arith::SubIOp::create(b, f.bits(v), f.integer(half));
  Value exponent = arith::ShRSIOp::create(b, relative, f.integer(mantissa));
  Value mantissaBits = arith::SubIOp::create(
      b, f.bits(v), arith::ShLIOp::create(b, exponent, f.integer(mantissa)));
  Value m = f.fromBits(mantissaBits);
  Value k = arith::SIToFPOp::create(b, f.type, exponent);
  k = f.select(isTiny, f.sub(k, f.constant(f.isDouble() ? 54 : 25)), k);
  Value y = f.sub(m, f.constant(1));

  double high = f.isDouble() ? 0x1.62e42fefa3800p-1 : 0x1.62e4p-1;
  double low = f.isDouble() ? 0x1.ef35793c76730p-45 : kLn2 - high;
  Value result;
  if (f.isDouble()) {
    // With s = y / (2 + y): log(1 + y) = 2s + s^3 w(s^2), 3.0e-20.
    static const double w[] = {0.66666666666666663, 0.40000000000000879,
                               0.28571428570802404, 0.22222222391987728,
                               0.18181795610879042, 0.15386241293734357,
                               0.13268730539100895, 0.1308707158006738};
    Value s = f.div(y, f.add(y, f.constant(2)));
    Value z = f.mul(s, s);
    Value tail =
        f.fma(f.mul(s, z), f.polynomial(z, w), f.mul(k, f.constant(low)));
    // 2s = y - s y, with y exact.
    result = f.sub(tail, f.mul(s, y));
    result = f.add(result, y);
  } else {
    // log(1 + y) = y - y^2 / 2 + y^3 q(y), 3.2e-9.
    static const double q[] = {
        0.33333331180030046,  -0.24999996957950882, 0.20000715748892101,
        -0.16667802319501254, 0.1424905764569748,   -0.12425687331451106,
        0.1168541992348674,   -0.11479733846637635, 0.069716114714511779};
    Value z = f.mul(y, y);
    Value tail =
        f.fma(f.mul(z, y), f.polynomial(y, q), f.mul(k, f.constant(low)));
    tail = f.fma(z, f.constant(-0.5), tail);
    result = f.add(y, tail);
  }
  result = f.fma(k, f.constant(high), result);
  // inf and NaN are themselves, log(0) = -inf, below that NaN.
  result = f.select(f.less(x, f.constant(kInfinity)), result, x);
  result = f.select(f.compare("oeq", x, f.constant(0)), f.constant(-kInfinity),
                    result);
  return f.select(f.less(x, f.constant(0)), f.constant(kNaN), result);
}

static Value emitLog1p(const Float &f, Value x) {
  // log(u) + (x - (u - 1)) / u: what rounding 1 + x to u lost.
  Value one = f.constant(1);
  Value u = f.add(x, one);
  Value lost = f.sub(x, f.sub(u, one));
  Value isFinite = f.less(f.abs(u), f.constant(kInfinity));
  Value isZero = f.compare("oeq", u, f.constant(0));
  Value correction = f.div(lost, f.select(isZero, one, u));
  correction = f.select(isFinite, correction, f.constant(0));
  Value result = f.add(emitLog(f, u), correction);
  // The sign of zero, and tiny arguments exactly.
  Value isTiny = f.less(f.abs(x), f.constant(f.isDouble() ? 0x1p-54 : 0x1p-25));
  return f.select(isTiny, x, result);
}

//===----------------------------------------------------------------------===//
// tanh, erf
//===----------------------------------------------------------------------===//

static Value emitTanh(const Float &f, Value x) {
  // t / (t + 2) with t = e^2|x| - 1.
  double limit = f.isDouble() ? 22 : 10;
  Value magnitude = f.abs(x);
  Value limited = f.select(f.compare("ogt", magnitude, f.constant(limit)),
                           f.constant(limit), magnitude);
  Value t = emitExpm1(f, f.add(limited, limited));
  return f.copySign(f.div(t, f.add(t, f.constant(2))), x);
}

static Value emitErf(const Float &f, Value x) {
  Value a = f.abs(x);
  Value z = f.mul(x, x);
  Value small, large;
  if (f.isDouble()) {
    // x p(x^2) up to 1, 8.1e-18.
    static const double p[] = {1.1283791670955126,     -0.37612638903183543,
                               0.11283791670945006,    -0.02686617064323777,
                               0.0052239776071164225,  -0.00085483259753896918,
                               0.00012055294904839707, -1.4924736907419661e-05,
                               1.6447424703317362e-06, -1.6208483801871705e-07,
                               1.3720064546777686e-08, -7.7958988270021425e-10};
    // erfc(x) e^(x^2) as a polynomial of (x - 4) / (x + 4) from 1 to
    // 28, 1.7e-17.
    static const double q[] = {0.13699945762506138,     -0.25906804876017164,
                               0.21871967891826474,     -0.16425781669731063,
                               0.10896317739891784,     -0.063107815639669301,
                               0.031299056518262626,    -0.01284394603271379,
                               0.0040602636312413948,   -0.00079912679900940491,
                               -2.1761795045113936e-05, 7.8983092021427383e-05,
                               -2.2555578665748579e-05, -1.9029116790411628e-06,
                               2.9427852216095186e-06,  -4.0913139568627969e-07,
                               -2.7995898723597957e-07, 9.5734381847899933e-08,
                               1.9892098400001014e-08,  -1.3180148711888002e-08,
                               8.8267640388846303e-10};
    small = f.mul(x, f.polynomial(z, p));
    Value limited =
        f.select(f.compare("ogt", a, f.constant(28)), f.constant(28), a);
    Value t =
        f.div(f.sub(limited, f.constant(4)), f.add(limited, f.constant(4)));
    Value tail =
        f.mul(emitExp(f, f.neg(f.mul(limited, limited))), f.polynomial(t, q));
    large = f.sub(f.constant(1), tail);
  } else {
    // x p(x^2) up to 1, 1.3e-9.
    static const double p[] = {1.1283791658483509,    -0.37612626666720334,
                               0.11283594715160218,   -0.026854212010626412,
                               0.0051890874234339739, -0.00080168642871658699,
                               7.8758750626854883e-05};
    // log(erfc(x)) from 1 to 4, where erf is 1 - 1.5e-8; erf to 5.7e-10.
    static const double q[] = {0.00032013804967769883, -1.130233434841994,
                               -0.63182605155916305,   -0.11008008294882024,
                               0.026421136005663898,   -0.0047595962932662651,
                               0.00059680562566077975, -4.6058042689189781e-05,
                               1.6371514145936436e-06};
    small = f.mul(x, f.polynomial(z, p));
    Value limited =
        f.select(f.compare("ogt", a, f.constant(4)), f.constant(4), a);
    large = f.sub(f.constant(1), emitExp(f, f.polynomial(limited, q)));
  }
  return f.select(f.less(a, f.constant(1)), small, f.copySign(large, x));
}

/// 1 + erf(x) is erfc(|x|) or what it is short of 2 (f32 only).
static Value emitOnePlusErf(const Float &f, Value x, bool hasTables) {
  // log(erfc(y)) = y p(y): erfc to 1.8e-8. At 12, where its parts are still
  // small numbers, it has fallen below what rounds to 0.
  static const double p[] = {-1.1283803932078873,    -0.6365951746406231,
                             -0.10293447572260368,   0.019623046915675044,
                             -0.0005896260258636106, -0.000994866737301842,
                             0.0002954419465616637,  -2.9578564784360763e-05};
  Value y = f.abs(x);
  Value logarithm;
  if (isTableVector(f, hasTables)) {
    y = f.select(f.compare("ogt", y, f.constant(12)), f.constant(12), y);
    logarithm = f.shallowPolynomial(y, p);
  } else {
    // Without a limit it falls on, and NEON has no register to spare for one.
    logarithm = f.polynomial(y, p);
  }
  Value tail = emitWeight(f, f.mul(y, logarithm), hasTables);
  return f.select(f.less(x, f.constant(0)), tail, f.sub(f.constant(2), tail));
}

/// 1 - erf(x), also where it is tiny (f64 only).
static Value emitErfc(const Float &f, Value x) {
  static const double q[] = {
      0.13699945762506138,     -0.25906804876017164,    0.21871967891826474,
      -0.16425781669731063,    0.10896317739891784,     -0.063107815639669301,
      0.031299056518262626,    -0.01284394603271379,    0.0040602636312413948,
      -0.00079912679900940491, -2.1761795045113936e-05, 7.8983092021427383e-05,
      -2.2555578665748579e-05, -1.9029116790411628e-06, 2.9427852216095186e-06,
      -4.0913139568627969e-07, -2.7995898723597957e-07, 9.5734381847899933e-08,
      1.9892098400001014e-08,  -1.3180148711888002e-08, 8.8267640388846303e-10};
  Value direct = f.sub(f.constant(1), emitErf(f, x));
  Value limited = f.clamp(x, 1, 28);
  Value t = f.div(f.sub(limited, f.constant(4)), f.add(limited, f.constant(4)));
  Value square = f.mul(limited, limited);
  // x^2 is rounded; e^-x^2 needs what was lost.
  Value lost = f.fma(limited, limited, f.neg(square));
  Value tail = f.mul(emitExp(f, f.neg(square)), f.polynomial(t, q));
  tail = f.fma(tail, f.neg(lost), tail);
  return f.select(f.compare("ogt", x, f.constant(1)), tail, direct);
}

//===----------------------------------------------------------------------===//
// Functions that are computed in f64
//===----------------------------------------------------------------------===//

namespace {
struct SineParts {
  Value sine, cosine; ///< of the argument less whole quarter turns
  Value quadrant;     ///< integer
};
} // namespace

static SineParts reduceSine(const Float &f, Value x) {
  ImplicitLocOpBuilder &b = f.b;
  constexpr double magic = 6755399441055744.0;
  Value shifted = f.fma(x, f.constant(2 / kPi), f.constant(magic));
  Value n = f.sub(shifted, f.constant(magic));
  // pi / 2 in three parts.
  Value r = f.fma(n, f.constant(-0x1.921fb54442d18p+0), x);
  r = f.fma(n, f.constant(-0x1.1a62633145c07p-54), r);
  r = f.fma(n, f.constant(0x1.f1976b7ed8fbcp-110), r);
  // sin r = r + r^3 p(r^2), cos r = 1 - r^2 / 2 + r^4 q(r^2): 1.4e-17, 7e-19.
  static const double p[] = {-0.16666666666666666,    0.0083333333333309185,
                             -0.00019841269836712495, 2.755731607868067e-06,
                             -2.5051126876085338e-08, 1.5917771759341917e-10};
  static const double q[] = {0.041666666666666664,   -0.0013888888888887378,
                             2.4801587298736863e-05, -2.7557317256796041e-07,
                             2.0876143159909441e-09, -1.1382408754153254e-11};
  Value z = f.mul(r, r);
  Value sine = f.fma(f.mul(z, r), f.polynomial(z, p), r);
  Value cosine = f.fma(f.mul(z, z), f.polynomial(z, q),
                       f.fma(z, f.constant(-0.5), f.constant(1)));
  (void)b;
  return {sine, cosine, f.bits(shifted)};
}

/// sin(x + quarters * pi / 2).
static Value emitSine(const Float &f, Value x, int64_t quarters) {
  ImplicitLocOpBuilder &b = f.b;
  SineParts parts = reduceSine(f, x);
  Value quadrant =
      arith::AddIOp::create(b, parts.quadrant, f.integer(quarters));
  auto bit = [&](int64_t mask) -> Value {
    return arith::CmpIOp::create(
        b, arith::CmpIPredicate::ne,
        arith::AndIOp::create(b, quadrant, f.integer(mask)), f.integer(0));
  };
  Value result = f.select(bit(1), parts.cosine, parts.sine);
  result = f.select(bit(2), f.neg(result), result);
  // Infinite arguments have no sine.
  return f.select(f.compare("oeq", f.abs(x), f.constant(kInfinity)),
                  f.constant(kNaN), result);
}

static Value emitAtan(const Float &f, Value x) {
  // Up to tan(pi / 8) by a polynomial (1.4e-16); above by
  // atan(a) = pi/4 + atan((a - 1) / (a + 1)) and pi/2 - atan(1 / a).
  static const double p[] = {-0.33333333333333248,  0.19999999999898407,
                             -0.14285714266096619,  0.11111109636534361,
                             -0.09090852557176049,  0.076910551583931494,
                             -0.066496136952916687, 0.057363321659076427,
                             -0.044833346222728859, 0.022750526993361671};
  Value a = f.abs(x);
  Value one = f.constant(1);
  Value isLarge = f.compare("ogt", a, f.constant(2.414213562373095));
  Value isMiddle = f.compare("ogt", a, f.constant(0.41421356237309503));
  Value reduced = f.select(isMiddle, f.div(f.sub(a, one), f.add(a, one)), a);
  reduced = f.select(isLarge, f.div(f.constant(-1), a), reduced);
  Value start = f.select(isMiddle, f.constant(kPi / 4), f.constant(0));
  start = f.select(isLarge, f.constant(kPi / 2), start);
  Value z = f.mul(reduced, reduced);
  Value y = f.fma(f.mul(z, reduced), f.polynomial(z, p), reduced);
  return f.copySign(f.add(start, y), x);
}

static Value emitAtan2(const Float &f, Value y, Value x) {
  Value ay = f.abs(y), ax = f.abs(x);
  Value isSteep = f.compare("ogt", ay, ax);
  Value high = f.select(isSteep, ay, ax), low = f.select(isSteep, ax, ay);
  // 0 / 0 and inf / inf stand for 0 and 1.
  Value ratio = f.div(low, high);
  ratio = f.select(f.compare("oeq", high, f.constant(0)), f.constant(0), ratio);
  ratio = f.select(f.compare("oeq", low, f.constant(kInfinity)), f.constant(1),
                   ratio);
  Value angle = emitAtan(f, ratio);
  angle = f.select(isSteep, f.sub(f.constant(kPi / 2), angle), angle);
  // The sign bit of x counts, also that of -0.
  Value sign = f.copySign(f.constant(1), x);
  angle = f.select(f.less(sign, f.constant(0)), f.sub(f.constant(kPi), angle),
                   angle);
  angle = f.copySign(angle, y);
  Value isNaN = f.compare("uno", x, y);
  return f.select(isNaN, f.constant(kNaN), angle);
}

static Value emitAsin(const Float &f, Value x) {
  Value one = f.constant(1);
  Value root = math::SqrtOp::create(f.b, f.mul(f.sub(one, x), f.add(one, x)));
  return emitAtan2(f, x, root);
}

static Value emitAcos(const Float &f, Value x) {
  Value one = f.constant(1);
  Value root = math::SqrtOp::create(f.b, f.mul(f.sub(one, x), f.add(one, x)));
  return emitAtan2(f, root, x);
}

static Value emitPow(const Float &f, Value x, Value y) {
  Value one = f.constant(1), zero = f.constant(0);
  Value ax = f.abs(x);
  Value result = emitExp(f, f.mul(y, emitLog(f, ax)));
  // log is 0 at 1 and infinite at 0 and inf: 0 * inf needs care.
  result = f.select(f.compare("oeq", ax, one), one, result);
  // Whole exponents, and odd ones.
  Value floor = math::FloorOp::create(f.b, y);
  Value isWhole = f.compare("oeq", floor, y);
  Value half = f.mul(y, f.constant(0.5));
  Value isOdd = arith::AndIOp::create(
      f.b, isWhole, f.compare("one", math::FloorOp::create(f.b, half), half));
  Value isNegative = f.less(f.copySign(one, x), zero);
  Value flips = arith::AndIOp::create(f.b, isNegative, isOdd);
  result = f.select(flips, f.neg(result), result);
  // A negative number to a broken power.
  Value hasNone = arith::AndIOp::create(
      f.b,
      arith::AndIOp::create(f.b, f.less(x, zero), f.compare("ogt", ax, zero)),
      f.compare("one", floor, y));
  hasNone =
      arith::AndIOp::create(f.b, hasNone, f.less(ax, f.constant(kInfinity)));
  result = f.select(hasNone, f.constant(kNaN), result);
  result = f.select(f.compare("uno", x, y), f.constant(kNaN), result);
  // x^0 and 1^y are 1, even of NaN.
  result = f.select(f.compare("oeq", y, zero), one, result);
  return f.select(f.compare("oeq", x, one), one, result);
}

static Value emitSinh(const Float &f, Value x) {
  // (t + t / (t + 1)) / 2 with t = e^|x| - 1.
  Value t = emitExpm1(f, f.abs(x));
  Value one = f.constant(1);
  Value quotient = f.div(t, f.add(t, one));
  quotient = f.select(f.less(t, f.constant(kInfinity)), quotient, one);
  return f.copySign(f.mul(f.add(t, quotient), f.constant(0.5)), x);
}

static Value emitCosh(const Float &f, Value x) {
  Value t = emitExp(f, f.abs(x));
  return f.mul(f.add(t, f.div(f.constant(1), t)), f.constant(0.5));
}

static Value emitAsinh(const Float &f, Value x) {
  // log1p(a + a^2 / (1 + sqrt(a^2 + 1))); large a: log(a) + ln2.
  Value a = f.abs(x), one = f.constant(1);
  Value isLarge = f.compare("ogt", a, f.constant(1e9));
  Value z = f.mul(a, a);
  Value root = math::SqrtOp::create(f.b, f.add(z, one));
  Value small = emitLog1p(f, f.add(a, f.div(z, f.add(one, root))));
  Value large = f.add(emitLog(f, a), f.constant(kLn2));
  return f.copySign(f.select(isLarge, large, small), x);
}

static Value emitAcosh(const Float &f, Value x) {
  Value one = f.constant(1);
  Value t = f.sub(x, one);
  Value isLarge = f.compare("ogt", x, f.constant(1e9));
  Value root = math::SqrtOp::create(f.b, f.mul(t, f.add(x, one)));
  Value small = emitLog1p(f, f.add(t, root));
  Value large = f.add(emitLog(f, x), f.constant(kLn2));
  Value result = f.select(isLarge, large, small);
  return f.select(f.less(x, one), f.constant(kNaN), result);
}

static Value emitAtanh(const Float &f, Value x) {
  // log1p(2a / (1 - a)) / 2.
  Value a = f.abs(x), one = f.constant(1);
  Value t = f.div(f.add(a, a), f.sub(one, a));
  Value result = f.mul(emitLog1p(f, t), f.constant(0.5));
  result = f.select(f.compare("ogt", a, one), f.constant(kNaN), result);
  return f.copySign(result, x);
}

static Value emitCbrt(const Float &f, Value x) {
  Value a = f.abs(x);
  Value y = emitExp(f, f.mul(emitLog(f, a), f.constant(1.0 / 3)));
  // One Newton step mends what the logarithm lost.
  Value square = f.mul(y, y);
  Value step = f.div(f.sub(y, f.div(a, square)), f.constant(3));
  Value isPlain = arith::AndIOp::create(f.b, f.compare("ogt", a, f.constant(0)),
                                        f.less(a, f.constant(kInfinity)));
  y = f.select(isPlain, f.sub(y, step), y);
  return f.copySign(y, x);
}

/// Half away from zero.
static Value emitRound(const Float &f, Value x) {
  // What is just below one half must not be rounded up by the addition.
  double half = f.isDouble() ? 0x1.fffffffffffffp-2 : 0x1.fffffep-2;
  Value moved = f.add(x, f.copySign(f.constant(half), x));
  return math::TruncOp::create(f.b, moved);
}

//===----------------------------------------------------------------------===//
// Maximum and minimum
//===----------------------------------------------------------------------===//

static bool isNumberConstant(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return false;
  if (auto number = dyn_cast<FloatAttr>(attribute))
    return !number.getValue().isNaN();
  if (auto splat = dyn_cast<SplatElementsAttr>(attribute))
    return !splat.getSplatValue<APFloat>().isNaN();
  return false;
}

static Value emitExtremum(ImplicitLocOpBuilder &b, Value x, Value y,
                          arith::CmpFPredicate keeps) {
  // keeps(x, y) ? x : y gives y for a NaN in y, or for one in x: the latter is
  // wanted, too. One instruction when one side is a number for sure.
  Float f(b, x.getType());
  if (isNumberConstant(y))
    std::swap(x, y);
  Value result = f.select(arith::CmpFOp::create(b, keeps, x, y), x, y);
  if (isNumberConstant(x))
    return result;
  return f.select(f.compare("uno", x, x), x, result);
}

Value marver::emitMaximum(ImplicitLocOpBuilder &b, Value a, Value c) {
  return emitExtremum(b, a, c, arith::CmpFPredicate::OGT);
}

Value marver::emitMinimum(ImplicitLocOpBuilder &b, Value a, Value c) {
  return emitExtremum(b, a, c, arith::CmpFPredicate::OLT);
}

//===----------------------------------------------------------------------===//
// The operations
//===----------------------------------------------------------------------===//

Value marver::emitExp(ImplicitLocOpBuilder &b, Value x) {
  return ::emitExp(Float(b, x.getType()), x);
}

Value marver::emitOnePlusExp(ImplicitLocOpBuilder &b, Value x, bool negated,
                             bool hasTables) {
  return ::emitOnePlusExp(Float(b, x.getType()), x, negated, hasTables);
}

Value marver::emitOnePlusErf(ImplicitLocOpBuilder &b, Value x, bool hasTables) {
  return ::emitOnePlusErf(Float(b, x.getType()), x, hasTables);
}

Value marver::emitWeight(ImplicitLocOpBuilder &b, Value x, bool hasTables) {
  Float f(b, x.getType());
  return f.isDouble() ? ::emitExp(f, x) : ::emitWeight(f, x, hasTables);
}

Value marver::emitLog(ImplicitLocOpBuilder &b, Value x) {
  return ::emitLog(Float(b, x.getType()), x);
}

Value marver::emitMath(ImplicitLocOpBuilder &b, Operation *op,
                       ValueRange operands) {
  if (operands.empty())
    return nullptr;
  Value x = operands[0];
  Type element = getElementTypeOrSelf(x.getType());
  if (!element.isF32() && !element.isF64())
    return nullptr;
  Float f(b, x.getType());

  // In the type itself.
  Value result =
      TypeSwitch<Operation *, Value>(op)
          .Case([&](math::ExpOp) { return ::emitExp(f, x); })
          .Case([&](math::ExpM1Op) { return emitExpm1(f, x); })
          .Case([&](math::LogOp) { return ::emitLog(f, x); })
          .Case([&](math::Log1pOp) { return emitLog1p(f, x); })
          .Case([&](math::TanhOp) { return emitTanh(f, x); })
          .Case([&](math::ErfOp) { return emitErf(f, x); })
          .Case([&](math::RoundOp) { return emitRound(f, x); })
          .Case([&](math::RsqrtOp) {
            return f.div(f.constant(1), math::SqrtOp::create(b, x));
          })
          .Case(
              [&](arith::MaximumFOp) { return emitMaximum(b, x, operands[1]); })
          .Case(
              [&](arith::MinimumFOp) { return emitMinimum(b, x, operands[1]); })
          .Case([&](math::ClampFOp) {
            return emitMinimum(b, emitMaximum(b, x, operands[1]), operands[2]);
          })
          .Case([&](math::IsNaNOp) { return f.compare("uno", x, x); })
          .Case([&](math::IsInfOp) {
            return f.compare("oeq", f.abs(x), f.constant(kInfinity));
          })
          .Case([&](math::IsFiniteOp) {
            return f.less(f.abs(x), f.constant(kInfinity));
          })
          .Default([](Operation *) { return Value(); });
  if (result)
    return result;

  // In f64.
  if (!isa<math::SinOp, math::CosOp, math::TanOp, math::AtanOp, math::Atan2Op,
           math::AsinOp, math::AcosOp, math::SinhOp, math::CoshOp,
           math::AsinhOp, math::AcoshOp, math::AtanhOp, math::PowFOp,
           math::FPowIOp, math::CbrtOp, math::Exp2Op, math::Log2Op,
           math::Log10Op, math::ErfcOp, arith::RemFOp>(op))
    return nullptr;
  if (isa<arith::RemFOp>(op))
    return nullptr; // a call of the support library
  Type original = x.getType();
  Type wide = f.withElement(b.getF64Type());
  Float d(b, wide);
  auto widen = [&](Value value) -> Value {
    if (getElementTypeOrSelf(value.getType()).isInteger())
      return arith::SIToFPOp::create(b, wide, value);
    return value.getType() == wide
               ? value
               : Value(arith::ExtFOp::create(b, wide, value));
  };
  x = widen(x);
  Value y = operands.size() > 1 ? widen(operands[1]) : Value();
  result =
      TypeSwitch<Operation *, Value>(op)
          .Case([&](math::SinOp) { return emitSine(d, x, 0); })
          .Case([&](math::CosOp) { return emitSine(d, x, 1); })
          .Case([&](math::TanOp) {
            return d.div(emitSine(d, x, 0), emitSine(d, x, 1));
          })
          .Case([&](math::AtanOp) { return emitAtan(d, x); })
          .Case([&](math::Atan2Op) { return emitAtan2(d, x, y); })
          .Case([&](math::AsinOp) { return emitAsin(d, x); })
          .Case([&](math::AcosOp) { return emitAcos(d, x); })
          .Case([&](math::SinhOp) { return emitSinh(d, x); })
          .Case([&](math::CoshOp) { return emitCosh(d, x); })
          .Case([&](math::AsinhOp) { return emitAsinh(d, x); })
          .Case([&](math::AcoshOp) { return emitAcosh(d, x); })
          .Case([&](math::AtanhOp) { return emitAtanh(d, x); })
          .Case<math::PowFOp, math::FPowIOp>(
              [&](auto) { return emitPow(d, x, y); })
          .Case([&](math::CbrtOp) { return emitCbrt(d, x); })
          .Case([&](math::Exp2Op) {
            return ::emitExp(d, d.mul(x, d.constant(kLn2)));
          })
          .Case([&](math::Log2Op) {
            return d.mul(::emitLog(d, x), d.constant(1 / kLn2));
          })
          .Case([&](math::Log10Op) {
            return d.mul(::emitLog(d, x), d.constant(0.43429448190325182765));
          })
          .Case([&](math::ErfcOp) { return emitErfc(d, x); })
          .Default([](Operation *) { return Value(); });
  if (result && original != wide)
    result = arith::TruncFOp::create(b, original, result);
  return result;
}
