/*===- arithmetic.c - fmod, rounding, roots and scaling -------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "math.h"

#define MANTISSA_BITS 52
#define SIGN_BIT 0x8000000000000000u

/* mantissa * 2^exponent of a positive finite number. */
static uint64_t splitInteger(double x, int *exponent) {
  uint64_t bits = bitsOf(x);
  int e = (int)(bits >> MANTISSA_BITS);
  uint64_t mantissa = bits & 0xfffffffffffffu;
  if (e == 0) {
    *exponent = 1;
    return mantissa;
  }
  *exponent = e;
  return mantissa | 0x10000000000000u;
}

/* |x| modulo |y|, exact, and the last bit of the quotient. */
static double remainderOf(double x, double y, int *isOdd) {
  int ex, ey;
  uint64_t mx = splitInteger(x, &ex), my = splitInteger(y, &ey);
  *isOdd = 0;
  if (ex < ey)
    return x;
  /* Eleven bits of the quotient at a time. */
  while (ex > ey) {
    int step = ex - ey < 11 ? ex - ey : 11;
    *isOdd = 0; /* these bits are shifted up by what follows */
    mx = (mx % my) << step;
    ex -= step;
  }
  *isOdd = (int)(mx / my & 1);
  mx %= my;
  if (mx == 0)
    return 0.0;
  int shift = __builtin_clzll(mx) - (63 - MANTISSA_BITS);
  if (shift >= ex)
    shift = ex - 1;
  mx <<= shift;
  ex -= shift;
  if (mx >> MANTISSA_BITS)
    return ofBits((mx & 0xfffffffffffffu) | (uint64_t)ex << MANTISSA_BITS);
  return ofBits(mx); /* subnormal */
}

double fmod(double x, double y) {
  double ax = absolute(x), ay = absolute(y);
  if (isNaN(x) || isNaN(y) || ax == INFINITY_F64 || ay == 0)
    return NAN_F64;
  if (ay == INFINITY_F64 || ax < ay)
    return x;
  int isOdd;
  return copySign(remainderOf(ax, ay, &isOdd), x);
}

double remainder(double x, double y) {
  double ax = absolute(x), ay = absolute(y);
  if (isNaN(x) || isNaN(y) || ax == INFINITY_F64 || ay == 0)
    return NAN_F64;
  if (ay == INFINITY_F64)
    return x;
  int isOdd;
  double r = remainderOf(ax, ay, &isOdd);
  /* To the nearest multiple, the even one on a tie; r - y/2 without overflow.
   */
  double other = ay - r;
  if (r > other || (r == other && isOdd))
    r = -other;
  return bitsOf(x) & SIGN_BIT ? -r : r;
}

float fmodf(float x, float y) { return (float)fmod(x, y); }
float remainderf(float x, float y) { return (float)remainder(x, y); }

double round(double x) {
  double whole = __builtin_trunc(x);
  return absolute(x - whole) >= 0.5 ? whole + copySign(1.0, x) : whole;
}
double trunc(double x) { return __builtin_trunc(x); }
double floor(double x) { return __builtin_floor(x); }
double ceil(double x) { return __builtin_ceil(x); }
double roundeven(double x) { return __builtin_roundeven(x); }
double rint(double x) { return __builtin_rint(x); }
double nearbyint(double x) { return __builtin_nearbyint(x); }
double sqrt(double x) { return __builtin_sqrt(x); }
float sqrtf(float x) { return __builtin_sqrtf(x); }
double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

double ldexp(double x, int exponent) {
  if (exponent > 2200)
    exponent = 2200;
  if (exponent < -2200)
    exponent = -2200;
  return scale(x, exponent);
}
float ldexpf(float x, int exponent) { return (float)ldexp(x, exponent); }

double frexp(double x, int *exponent) {
  *exponent = 0;
  if (x == 0 || !(absolute(x) < INFINITY_F64))
    return x;
  if (absolute(x) < 0x1p-1022) {
    x *= 0x1p54;
    *exponent = -54;
  }
  uint64_t bits = bitsOf(x);
  *exponent += (int)(bits >> MANTISSA_BITS & 0x7ff) - 1022;
  return ofBits((bits & 0x800fffffffffffffu) | 0x3fe0000000000000u);
}
float frexpf(float x, int *exponent) { return (float)frexp(x, exponent); }

double cbrt(double x) {
  if (x == 0 || !(absolute(x) < INFINITY_F64))
    return x;
  int exponent;
  double m = frexp(absolute(x), &exponent); /* [1/2, 1) */
  int third = exponent / 3;
  m = scale(m, exponent - 3 * third); /* (1/8, 4) */
  double y = m < 1.0 ? 0.6 * m + 0.4 : 0.2 * m + 0.8;
  for (int i = 0; i < 5; ++i)
    y -= (y * y * y - m) / (3.0 * y * y);
  /* The last step with the cube to twice the bits. */
  wide square = twoProduct(y, y);
  wide cube = twoProduct(square.high, y);
  cube.low = fused(square.low, y, cube.low);
  y -= ((cube.high - m) + cube.low) / (3.0 * y * y);
  return copySign(scale(y, third), x);
}

DEFINE_F32(round)
DEFINE_F32(trunc)
DEFINE_F32(floor)
DEFINE_F32(ceil)
DEFINE_F32(roundeven)
DEFINE_F32(rint)
DEFINE_F32(nearbyint)
DEFINE_F32(cbrt)
