/*===- special.c - The error function -------------------------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "math.h"

#define TWO_OVER_SQRT_PI 0x1.20dd750429b6dp+0

/* e^(-x^2) with the rounding of the square taken into account. */
static double gauss(double x) {
  wide square = twoProduct(x, x);
  return mvExpWide(-square.high, -square.low);
}

/* erf(x) = 2/sqrt(pi) x e^(-x^2) sum of (2 x^2)^n / (1 3 5 ... (2n+1)): all
 * terms are positive, so nothing cancels. For 0 <= x < 1. */
static double erfSeries(double x) {
  double square = 2.0 * x * x, term = 1.0, sum = 0.0;
  for (int n = 1; term > 0x1p-60 * (1.0 + sum); ++n) {
    term *= square / (2 * n + 1);
    sum += term;
  }
  double factor = TWO_OVER_SQRT_PI * x * gauss(x);
  return fused(factor, sum, factor);
}

/* erfc(x) by its continued fraction x/(x^2 + 1/2 - ...), from the last term
 * backwards; the number of terms for 53 bits falls with x. For x >= 0.5. */
static double erfcFraction(double x) {
  int terms = (int)(200.0 / (x * x)) + 16;
  double t = x;
  for (int n = terms; n > 0; --n)
    t = x + 0.5 * n / t;
  return gauss(x) * (0.5 * TWO_OVER_SQRT_PI) / t;
}

double erf(double x) {
  double magnitude = absolute(x);
  if (isNaN(x))
    return x;
  if (magnitude < 0x1p-500) /* the product below would lose bits */
    return x * 0x1.20dd750429b6dp+0;
  if (magnitude > 6.0)
    return copySign(1.0, x);
  double value =
      magnitude < 1.0 ? erfSeries(magnitude) : 1.0 - erfcFraction(magnitude);
  return copySign(value, x);
}

double erfc(double x) {
  if (isNaN(x))
    return x;
  if (x < 0.5)
    return 1.0 - erf(x);
  if (x > 27.3)
    return 0.0;
  return erfcFraction(x);
}

DEFINE_F32(erf)
DEFINE_F32(erfc)
