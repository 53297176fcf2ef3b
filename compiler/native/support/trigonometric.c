/*===- trigonometric.c - sin, cos, tan and their inverses -----------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "math.h"

#define PI_2_HIGH 0x1.921fb54442d18p+0
#define PI_2_MIDDLE 0x1.1a62633145c07p-54
#define PI_2_LOW -0x1.f1976b7ed8fbcp-110

/* Bits of 2/pi behind the point. */
static const uint64_t kTwoOverPi[20] = {
    0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c,
    0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
    0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab, 0xf0cfbc209af4361d};

/* 64 bits of 2/pi from bit `first` on (bit 0 is worth 1/2; zeros before it). */
static uint64_t twoOverPiBits(int first) {
  if (first <= -64)
    return 0;
  if (first < 0)
    return kTwoOverPi[0] >> -first;
  int word = first / 64, shift = first % 64;
  uint64_t bits = kTwoOverPi[word] << shift;
  if (shift && word + 1 < 20)
    bits |= kTwoOverPi[word + 1] >> (64 - shift);
  return bits;
}

/* Quadrant and remainder of |x| >= 2^20 modulo pi/2, by fixed-point arithmetic
 * (Payne and Hanek): only the bits of 2/pi that matter to x modulo 4 are
 * multiplied. */
static int reduceLarge(double x, wide *remainder) {
  uint64_t bits = bitsOf(x);
  int exponent =
      (int)(bits >> 52 & 0x7ff) - 1075; /* x = mantissa * 2^exponent */
  uint64_t mantissa = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  /* A window of 256 bits of 2/pi whose first bit weighs, times 2^exponent,
   * 2^63: everything above is a multiple of 4 once multiplied. Of the product's
   * fraction 128 bits are kept; no double is closer than 2^-62 to a multiple of
   * pi/2, so that enough of them matter. */
  int first = exponent - 64;
  uint64_t w0 = twoOverPiBits(first), w1 = twoOverPiBits(first + 64),
           w2 = twoOverPiBits(first + 128), w3 = twoOverPiBits(first + 192);
  uint128 low =
      (uint128)mantissa * w2 + (uint64_t)((uint128)mantissa * w3 >> 64);
  uint128 middle = (uint128)mantissa * w1 + (uint64_t)(low >> 64);
  uint64_t high = mantissa * w0 + (uint64_t)(middle >> 64);
  /* The product is high.middle.low with the point after high's last bit: `high`
   * counts quarters of the circle. */
  uint128 fraction = (uint128)(uint64_t)middle << 64 | (uint64_t)low;
  int quadrant = (int)(high & 3);
  int isNegative = 0;
  if (fraction >> 127) { /* to [-1/2, 1/2) */
    fraction = -fraction;
    isNegative = 1;
    ++quadrant;
  }
  double upper = (double)(uint64_t)(fraction >> 64);
  /* The conversion may have rounded; what it lost goes to the second part. */
  uint128 rounded = upper >= 0x1p64 ? 0 : (uint128)(uint64_t)upper << 64;
  uint128 rest = fraction - rounded;
  double lower =
      (double)(int64_t)(rest >> 64) * 0x1p64 + (double)(uint64_t)rest;
  wide turn = quickTwoSum(upper * 0x1p-64, lower * 0x1p-128);
  const wide halfPi = {PI_2_HIGH, PI_2_MIDDLE};
  wide angle = wideMul(turn, halfPi);
  if (isNegative) {
    angle.high = -angle.high;
    angle.low = -angle.low;
  }
  *remainder = angle;
  return quadrant;
}

/* x = quadrant * pi/2 + remainder, |remainder| <= pi/4 and a little. */
static int reduce(double x, wide *remainder) {
  double magnitude = absolute(x);
  if (magnitude <= 0x1.921fb54442d18p-1) {
    remainder->high = x;
    remainder->low = 0.0;
    return 0;
  }
  int quadrant;
  if (magnitude < 0x1p20) {
    double k = nearest(magnitude * 0x1.45f306dc9c883p-1);
    double first = fused(-k, PI_2_HIGH, magnitude); /* exact */
    wide product = twoProduct(k, PI_2_MIDDLE);
    wide r = twoSum(first, -product.high);
    r.low -= product.low;
    r.low = fused(-k, PI_2_LOW, r.low);
    *remainder = quickTwoSum(r.high, r.low);
    quadrant = (int)k;
  } else {
    quadrant = reduceLarge(magnitude, remainder);
  }
  if (x < 0) {
    remainder->high = -remainder->high;
    remainder->low = -remainder->low;
    quadrant = -quadrant;
  }
  return quadrant & 3;
}

static double sinSeries(wide r) {
  double z = r.high * r.high;
  static const double coefficients[] = {1.0 / 355687428096000.0,
                                        -1.0 / 1307674368000.0,
                                        1.0 / 6227020800.0,
                                        -1.0 / 39916800.0,
                                        1.0 / 362880.0,
                                        -1.0 / 5040.0,
                                        1.0 / 120.0,
                                        -1.0 / 6.0};
  double p = POLYNOMIAL(coefficients, z);
  /* sin(high + low) = sin(high) + low cos(high) */
  double rest = fused(r.low, 1.0 - 0.5 * z, r.high * z * p);
  return r.high + rest;
}

static double cosSeries(wide r) {
  double z = r.high * r.high;
  static const double coefficients[] = {-1.0 / 6402373705728000.0,
                                        1.0 / 20922789888000.0,
                                        -1.0 / 87178291200.0,
                                        1.0 / 479001600.0,
                                        -1.0 / 3628800.0,
                                        1.0 / 40320.0,
                                        -1.0 / 720.0,
                                        1.0 / 24.0};
  double p = POLYNOMIAL(coefficients, z);
  wide sum = quickTwoSum(1.0, -0.5 * z);
  double zError = fused(r.high, r.high, -z);
  double rest = fused(z * z, p, sum.low - 0.5 * zError - r.high * r.low);
  return sum.high + rest;
}

double sin(double x) {
  if (absolute(x) < 0x1p-27)
    return x;
  if (!(absolute(x) < INFINITY_F64))
    return x - x;
  wide r;
  int quadrant = reduce(x, &r);
  double value = quadrant & 1 ? cosSeries(r) : sinSeries(r);
  return quadrant & 2 ? -value : value;
}

double cos(double x) {
  if (!(absolute(x) < INFINITY_F64))
    return x - x;
  wide r;
  int quadrant = reduce(x, &r);
  double value = quadrant & 1 ? sinSeries(r) : cosSeries(r);
  return (quadrant + 1) & 2 ? -value : value;
}

double tan(double x) {
  if (absolute(x) < 0x1p-27)
    return x;
  if (!(absolute(x) < INFINITY_F64))
    return x - x;
  wide r;
  int quadrant = reduce(x, &r);
  double s = sinSeries(r), c = cosSeries(r);
  return quadrant & 1 ? -c / s : s / c;
}

void sincos(double x, double *s, double *c) {
  *s = sin(x);
  *c = cos(x);
}
void sincosf(float x, float *s, float *c) {
  *s = (float)sin(x);
  *c = (float)cos(x);
}

/* atan(y / x) for 0 <= y <= x, x > 0, as a wide number. */
static wide atanOfQuotient(double y, double x) {
  /* The angle is measured from 0, pi/8 or pi/4, whichever is nearest; the rest
   * is atan(u) with |u| < tan(pi/16) and some. */
  static const wide centers[3] = {
      {0.0, 0.0},
      {0x1.921fb54442d18p-2,
       0x1.c398861b78b55p-59}, /* of tan(pi/8) as a double */
      {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55}};
  static const double tangents[3] = {0.0, 0x1.a827999fcef32p-2, 1.0};
  int center = y < 0.19891236737965800 * x   ? 0
               : y < 0.66817863791929892 * x ? 1
                                             : 2;
  double c = tangents[center];
  /* u = (y - c x) / (x + c y) */
  wide cx = twoProduct(c, x), cy = twoProduct(c, y);
  wide numerator = twoSum(y, -cx.high);
  numerator.low -= cx.low;
  wide denominator = twoSum(x, cy.high);
  denominator.low += cy.low;
  double u = numerator.high / denominator.high;
  double error = (fused(-u, denominator.high, numerator.high) + numerator.low -
                  u * denominator.low) /
                 denominator.high;
  double z = u * u;
  static const double coefficients[] = {
      -1.0 / 27.0, 1.0 / 25.0,  -1.0 / 23.0, 1.0 / 21.0,  -1.0 / 19.0,
      1.0 / 17.0,  -1.0 / 15.0, 1.0 / 13.0,  -1.0 / 11.0, 1.0 / 9.0,
      -1.0 / 7.0,  1.0 / 5.0,   -1.0 / 3.0};
  double p = POLYNOMIAL(coefficients, z);
  wide result = twoSum(centers[center].high, u);
  result.low += fused(u * z, p, error + centers[center].low);
  return quickTwoSum(result.high, result.low);
}

/* atan2 for y, x >= 0, not both zero, not both infinite. */
static wide atan2Positive(double y, double x) {
  /* Scaled away from overflow of the products; exact. */
  double larger = y > x ? y : x;
  double factor = larger > 0x1p500    ? 0x1p-600
                  : larger < 0x1p-500 ? 0x1p500
                                      : 1.0;
  y *= factor;
  x *= factor;
  if (y <= x)
    return atanOfQuotient(y, x);
  wide halfPi = {PI_2_HIGH, PI_2_MIDDLE};
  wide other = atanOfQuotient(x, y);
  other.high = -other.high;
  other.low = -other.low;
  return wideAdd(halfPi, other);
}

double atan2(double y, double x) {
  if (isNaN(x) || isNaN(y))
    return x + y;
  double ay = absolute(y), ax = absolute(x);
  int isNegative = bitsOf(x) >> 63 != 0;
  wide pi = {2 * PI_2_HIGH, 2 * PI_2_MIDDLE};
  if (ay == 0)
    return copySign(isNegative ? pi.high : 0.0, y);
  if (ax == INFINITY_F64 && ay == INFINITY_F64)
    return copySign(isNegative ? 1.5 * PI_2_HIGH : 0.5 * PI_2_HIGH, y);
  if (ax == INFINITY_F64)
    return copySign(isNegative ? pi.high : 0.0, y);
  if (ay == INFINITY_F64 || ax == 0)
    return copySign(PI_2_HIGH, y);
  /* Results near or below the smallest normal number. */
  if (!isNegative && ay < ax * 0x1p-60)
    return copySign(ay / ax, y);
  wide angle = atan2Positive(ay, ax);
  if (isNegative) {
    angle.high = -angle.high;
    angle.low = -angle.low;
    angle = wideAdd(pi, angle);
  }
  return copySign(angle.high + angle.low, y);
}

double atan(double x) {
  if (isNaN(x))
    return x;
  double magnitude = absolute(x);
  if (magnitude < 0x1p-27)
    return x;
  if (magnitude == INFINITY_F64)
    return copySign(PI_2_HIGH, x);
  wide angle = atan2Positive(magnitude, 1.0);
  return copySign(angle.high + angle.low, x);
}

double asin(double x) {
  if (!(absolute(x) <= 1.0))
    return NAN_F64;
  if (absolute(x) < 0x1p-27)
    return x;
  return atan2(x, __builtin_sqrt((1.0 - x) * (1.0 + x)));
}

double acos(double x) {
  if (!(absolute(x) <= 1.0))
    return NAN_F64;
  return atan2(__builtin_sqrt((1.0 - x) * (1.0 + x)), x);
}

float atan2f(float y, float x) { return (float)atan2(y, x); }

DEFINE_F32(sin)
DEFINE_F32(cos)
DEFINE_F32(tan)
DEFINE_F32(asin)
DEFINE_F32(acos)
DEFINE_F32(atan)
