/*===- exponential.c - exp, log, pow and hyperbolic functions -------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "math.h"

#define LN2_HIGH 0x1.62e42fefa39efp-1
#define LN2_LOW 0x1.abc9e3b39803fp-56
static const wide kLog2E = {0x1.71547652b82fep+0, 0x1.777d0ffda0d24p-56};
static const wide kLog10E = {0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57};
static const wide kLn10 = {0x1.26bb1bbb55516p+1, -0x1.f48ad494ea3e9p-53};

/* (e^r - 1 - r) / r^2 for |r| < 0.35: its Taylor series. */
static double expTail(double r) {
  double p = 1.0 / 6227020800.0;
  p = fused(p, r, 1.0 / 479001600.0);
  p = fused(p, r, 1.0 / 39916800.0);
  p = fused(p, r, 1.0 / 3628800.0);
  p = fused(p, r, 1.0 / 362880.0);
  p = fused(p, r, 1.0 / 40320.0);
  p = fused(p, r, 1.0 / 5040.0);
  p = fused(p, r, 1.0 / 720.0);
  p = fused(p, r, 1.0 / 120.0);
  p = fused(p, r, 1.0 / 24.0);
  p = fused(p, r, 1.0 / 6.0);
  return fused(p, r, 0.5);
}

double mvExpWide(double high, double low) {
  if (!(high < 710.0))
    return isNaN(high) ? high : INFINITY_F64;
  if (high < -746.0)
    return 0.0;
  double k = nearest(high * kLog2E.high);
  wide r = twoSum(fused(-k, LN2_HIGH, high), -k * LN2_LOW);
  r = quickTwoSum(r.high, r.low + low);
  double tail = fused(r.high * r.high, expTail(r.high), r.low);
  wide sum = quickTwoSum(1.0, r.high);
  return scale(sum.high + (sum.low + tail), (int)k);
}

double exp(double x) { return mvExpWide(x, 0.0); }

double exp2(double x) {
  if (!(absolute(x) < 1100.0))
    return isNaN(x) ? x : x > 0 ? INFINITY_F64 : 0.0;
  double k = nearest(x);
  wide r = twoProduct(x - k, LN2_HIGH);
  r.low = fused(x - k, LN2_LOW, r.low);
  return scale(mvExpWide(r.high, r.low), (int)k);
}

double exp10(double x) {
  if (!(absolute(x) < 400.0))
    return isNaN(x) ? x : x > 0 ? INFINITY_F64 : 0.0;
  wide r = twoProduct(x, kLn10.high);
  return mvExpWide(r.high, fused(x, kLn10.low, r.low));
}

double expm1(double x) {
  if (absolute(x) < 0x1p-54)
    return x;
  if (absolute(x) < 0.35)
    return fused(x * x, expTail(x), x);
  if (x < -40.0)
    return isNaN(x) ? x : -1.0;
  if (x > 60.0)
    return exp(x);
  /* 2^k (e^r - 1) + (2^k - 1), the first part to more than 53 bits. */
  double k = nearest(x * kLog2E.high);
  wide r = twoSum(fused(-k, LN2_HIGH, x), -k * LN2_LOW);
  double factor = powerOfTwo((int)k);
  double tail = fused(r.high * r.high, expTail(r.high), r.low);
  wide sum = twoSum(factor - 1.0, factor * r.high);
  if (absolute(k) >= 53)
    sum = twoSum(factor * (1.0 + r.high), -1.0);
  return sum.high + fused(factor, tail, sum.low);
}

/* x = 2^exponent * mantissa with a mantissa in [sqrt(1/2), sqrt(2)). */
static double splitMantissa(double x, int *exponent) {
  int shift = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    shift = -54;
  }
  uint64_t bits = bitsOf(x);
  int e = (int)(bits >> 52) - 1023;
  double mantissa = ofBits((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (mantissa > 0x1.6a09e667f3bcdp+0) {
    mantissa *= 0.5;
    ++e;
  }
  *exponent = e + shift;
  return mantissa;
}

/* log((1 + s) / (1 - s)) = 2 s + 2 s^3/3 + ... with s as a wide number. */
static wide logSeries(wide s) {
  double z = s.high * s.high;
  double p = 2.0 / 25.0;
  p = fused(p, z, 2.0 / 23.0);
  p = fused(p, z, 2.0 / 21.0);
  p = fused(p, z, 2.0 / 19.0);
  p = fused(p, z, 2.0 / 17.0);
  p = fused(p, z, 2.0 / 15.0);
  p = fused(p, z, 2.0 / 13.0);
  p = fused(p, z, 2.0 / 11.0);
  p = fused(p, z, 2.0 / 9.0);
  p = fused(p, z, 2.0 / 7.0);
  p = fused(p, z, 2.0 / 5.0);
  /* The s^3 term needs more bits than the rest. */
  const wide twoThirds = {2.0 / 3.0, 0x1.5555555555555p-55};
  wide cube = wideMul(wideMul(s, s), s);
  wide third = wideMul(cube, twoThirds);
  third.low = fused(cube.high * z, p, third.low);
  wide twice = {2 * s.high, 2 * s.low};
  return wideAdd(twice, third);
}

/* numerator / denominator of wide numbers. */
static wide wideDivide(wide numerator, wide denominator) {
  double quotient = numerator.high / denominator.high;
  double rest = fused(-quotient, denominator.high, numerator.high) +
                numerator.low - quotient * denominator.low;
  return quickTwoSum(quotient, rest / denominator.high);
}

/* log(1 + f) + k * ln 2 for 1 + f in [sqrt(1/2), sqrt(2)). */
static wide logOfParts(wide f, int k) {
  wide two = {2.0, 0.0};
  wide result = logSeries(wideDivide(f, wideAdd(two, f)));
  if (k == 0)
    return result;
  wide shift = twoProduct(k, LN2_HIGH);
  shift.low = fused(k, LN2_LOW, shift.low);
  return wideAdd(quickTwoSum(shift.high, shift.low), result);
}

wide mvLogWide(double x) {
  int k;
  wide f = {splitMantissa(x, &k) - 1.0, 0.0};
  return logOfParts(f, k);
}

/* Whether log(x) is a special case, and which. */
static int logSpecial(double x, double *result) {
  if (x > 0 && x < INFINITY_F64)
    return 0;
  *result = x == 0 ? -INFINITY_F64 : x < 0 ? NAN_F64 : x;
  return 1;
}

double log(double x) {
  double special;
  if (logSpecial(x, &special))
    return special;
  wide result = mvLogWide(x);
  return result.high + result.low;
}

double log2(double x) {
  double special;
  if (logSpecial(x, &special))
    return special;
  int k;
  wide f = {splitMantissa(x, &k) - 1.0, 0.0};
  wide result = wideMul(logOfParts(f, 0), kLog2E);
  wide exponent = {k, 0.0};
  result = wideAdd(exponent, result);
  return result.high + result.low;
}

double log10(double x) {
  double special;
  if (logSpecial(x, &special))
    return special;
  wide result = wideMul(mvLogWide(x), kLog10E);
  return result.high + result.low;
}

double log1p(double x) {
  if (absolute(x) < 0x1p-54)
    return x;
  double special;
  if (logSpecial(1.0 + x, &special))
    return special;
  if (x > -0.29 && x < 0.41) {
    wide f = {x, 0.0};
    wide result = logOfParts(f, 0);
    return result.high + result.low;
  }
  /* 1 + x without rounding, scaled to its mantissa. */
  wide sum = twoSum(1.0, x);
  int k;
  wide f;
  f.high = splitMantissa(sum.high, &k) - 1.0;
  f.low = k < -1000 || k > 1000 ? 0.0 : sum.low * powerOfTwo(-k);
  wide result = logOfParts(quickTwoSum(f.high, f.low), k);
  return result.high + result.low;
}

double pow(double x, double y) {
  if (y == 0 || x == 1.0)
    return 1.0;
  if (isNaN(x) || isNaN(y))
    return x + y;
  double magnitude = absolute(x);
  if (absolute(y) == INFINITY_F64) {
    if (magnitude == 1.0)
      return 1.0;
    return (magnitude > 1.0) == (y > 0) ? INFINITY_F64 : 0.0;
  }
  int isInteger = nearest(y) == y;
  int isOdd = isInteger && absolute(y) < 0x1p53 && nearest(y * 0.5) != y * 0.5;
  double sign = bitsOf(x) >> 63 && isOdd ? -1.0 : 1.0;
  if (magnitude == 0 || magnitude == INFINITY_F64)
    return sign * ((magnitude == 0) == (y > 0) ? 0.0 : INFINITY_F64);
  if (x < 0 && !isInteger)
    return NAN_F64;
  if (absolute(y) > 0x1p65) /* beyond any finite result but 1 */
    return magnitude == 1.0               ? sign
           : (magnitude > 1.0) == (y > 0) ? sign * INFINITY_F64
                                          : sign * 0.0;
  wide logarithm = mvLogWide(magnitude);
  wide product = twoProduct(y, logarithm.high);
  product.low = fused(y, logarithm.low, product.low);
  if (absolute(product.high) > 800.0)
    return sign * (product.high > 0 ? INFINITY_F64 : 0.0);
  return sign * mvExpWide(product.high, product.low);
}

double __powidf2(double x, int n) { return pow(x, n); }
float __powisf2(float x, int n) { return (float)pow(x, n); }
float powf(float x, float y) { return (float)pow(x, y); }

double sinh(double x) {
  double magnitude = absolute(x);
  if (magnitude > 709.0) /* e^x / 2 where e^x overflows */
    return copySign(exp(magnitude * 0.5) * 0.5 * exp(magnitude * 0.5), x);
  double u = expm1(magnitude);
  return copySign(0.5 * (u + u / (u + 1.0)), x);
}

double cosh(double x) {
  double magnitude = absolute(x);
  if (magnitude > 709.0)
    return exp(magnitude * 0.5) * 0.5 * exp(magnitude * 0.5);
  double e = exp(magnitude);
  return 0.5 * e + 0.5 / e;
}

double tanh(double x) {
  double magnitude = absolute(x);
  if (magnitude > 22.0)
    return isNaN(x) ? x : copySign(1.0, x);
  double u = expm1(2.0 * magnitude);
  return copySign(u / (u + 2.0), x);
}

double asinh(double x) {
  double magnitude = absolute(x);
  if (magnitude > 0x1p28)
    return copySign(log(magnitude) + LN2_HIGH, x);
  double square = magnitude * magnitude;
  return copySign(
      log1p(magnitude + square / (1.0 + __builtin_sqrt(square + 1.0))), x);
}

double acosh(double x) {
  if (x < 1.0)
    return NAN_F64;
  if (x > 0x1p28)
    return log(x) + LN2_HIGH;
  double t = x - 1.0;
  return log1p(t + __builtin_sqrt(2.0 * t + t * t));
}

double atanh(double x) {
  double magnitude = absolute(x);
  return copySign(0.5 * log1p(2.0 * magnitude / (1.0 - magnitude)), x);
}

DEFINE_F32(exp)
DEFINE_F32(exp2)
DEFINE_F32(exp10)
DEFINE_F32(expm1)
DEFINE_F32(log)
DEFINE_F32(log2)
DEFINE_F32(log10)
DEFINE_F32(log1p)
DEFINE_F32(sinh)
DEFINE_F32(cosh)
DEFINE_F32(tanh)
DEFINE_F32(asinh)
DEFINE_F32(acosh)
DEFINE_F32(atanh)
