/*===- math.h - What the mathematical functions share ---------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

/* The functions aim at less than one unit in the last place and at every
 * special case of C's Annex F, not at speed: kernels use the polynomials of
 * kernels/emit/MathLibrary.h, and come here only where those do not reach. */

#ifndef MARVER_COMPILER_NATIVE_SUPPORT_MATH_H
#define MARVER_COMPILER_NATIVE_SUPPORT_MATH_H

#include <stdint.h>

typedef unsigned __int128 uint128;
typedef __int128 int128;

#define INFINITY_F64 __builtin_inf()
#define NAN_F64 __builtin_nan("")

static inline uint64_t bitsOf(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
}
static inline double ofBits(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}
static inline int isNaN(double x) { return x != x; }
static inline double absolute(double x) { return __builtin_fabs(x); }
static inline double copySign(double x, double sign) {
  return __builtin_copysign(x, sign);
}
static inline double fused(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}
/* coefficients[0] z^(count - 1) + ... + coefficients[count - 1] */
static inline double polynomial(const double *coefficients, int count,
                                double z) {
  double p = coefficients[0];
  for (int i = 1; i < count; ++i)
    p = fused(p, z, coefficients[i]);
  return p;
}
#define POLYNOMIAL(table, z)                                                   \
  polynomial(table, sizeof(table) / sizeof((table)[0]), z)
static inline double nearest(double x) { return __builtin_roundeven(x); }

/* 2^exponent, of a normal number. */
static inline double powerOfTwo(int exponent) {
  return ofBits((uint64_t)(exponent + 1023) << 52);
}
/* x * 2^exponent, rounded once, for any result of |exponent| < 2200. */
static inline double scale(double x, int exponent) {
  while (exponent > 1000) {
    x *= 0x1p1000;
    exponent -= 1000;
  }
  /* In two steps into the subnormals the first one must stay exact. */
  while (exponent < -960) {
    x *= 0x1p-900;
    exponent += 900;
    if (absolute(x) < 0x1p-900 && exponent < 0)
      return x * powerOfTwo(exponent < -1000 ? -1000 : exponent);
  }
  return x * powerOfTwo(exponent);
}

/* A number as the sum of two: some 106 bits. */
typedef struct {
  double high, low;
} wide;

static inline wide twoSum(double a, double b) {
  double sum = a + b;
  double part = sum - a;
  wide result = {sum, (a - (sum - part)) + (b - part)};
  return result;
}
/* The same for |a| >= |b|. */
static inline wide quickTwoSum(double a, double b) {
  double sum = a + b;
  wide result = {sum, b - (sum - a)};
  return result;
}
static inline wide twoProduct(double a, double b) {
  double product = a * b;
  wide result = {product, fused(a, b, -product)};
  return result;
}
static inline wide wideMul(wide a, wide b) {
  wide product = twoProduct(a.high, b.high);
  product.low += a.high * b.low + a.low * b.high;
  return quickTwoSum(product.high, product.low);
}
static inline wide wideAdd(wide a, wide b) {
  wide sum = twoSum(a.high, b.high);
  sum.low += a.low + b.low;
  return quickTwoSum(sum.high, sum.low);
}

/* e^(high + low), |low| small against high. */
double mvExpWide(double high, double low);
/* log(x) of a positive finite number to some 65 bits. */
wide mvLogWide(double x);

double exp(double x);
double expm1(double x);
double log(double x);
double log1p(double x);
double sqrt(double x);
double atan2(double y, double x);

/* The f32 function is the f64 function rounded: that is nearly always the
 * correctly rounded one. */
#define DEFINE_F32(name)                                                       \
  float name##f(float x) { return (float)name((double)x); }

#endif
