/*===- conversion.c - Half floats and 128-bit integers --------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "math.h"

static inline float f32OfBits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}
static inline uint16_t bitsOfF16(_Float16 x) {
  uint16_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
}
static inline _Float16 f16OfBits(uint16_t bits) {
  _Float16 x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}
static inline uint16_t bitsOfBF16(__bf16 x) {
  uint16_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
}
static inline __bf16 bf16OfBits(uint16_t bits) {
  __bf16 x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

/* The number `x` with `mantissaBits` of mantissa and exponents from
 * `minExponent`, to nearest even, as bits without sign; `infinity` beyond. */
static uint16_t narrow(double x, int mantissaBits, int minExponent,
                       uint16_t infinity) {
  uint64_t bits = bitsOf(x) & 0x7fffffffffffffffu;
  if (bits >
      0x7ff0000000000000u) /* NaN: quiet, with what fits of its payload */
    return infinity | (uint16_t)(1u << (mantissaBits - 1)) |
           ((uint16_t)(bits >> (52 - mantissaBits)) &
            (uint16_t)((1u << mantissaBits) - 1));
  int exponent = (int)(bits >> 52) - 1023;
  if (exponent < minExponent - mantissaBits - 1)
    return 0;
  uint64_t mantissa = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  int drop = 52 - mantissaBits;
  uint64_t biased = (uint64_t)(exponent - minExponent);
  if (exponent < minExponent) {
    drop += minExponent - exponent;
    biased = 0;
  }
  uint64_t kept = mantissa >> drop;
  uint64_t rest = mantissa & ((UINT64_C(1) << drop) - 1);
  uint64_t half = UINT64_C(1) << (drop - 1);
  if (rest > half || (rest == half && (kept & 1)))
    ++kept;
  /* A normal number's leading bit adds one to the exponent field, a carry of
   * the rounding another one. */
  uint64_t result = (biased << mantissaBits) + kept;
  return result >= infinity ? infinity : (uint16_t)result;
}

static uint16_t signOf(double x) { return (uint16_t)(bitsOf(x) >> 63 << 15); }

_Float16 __truncdfhf2(double x) {
  return f16OfBits(narrow(x, 10, -14, 0x7c00) | signOf(x));
}
_Float16 __truncsfhf2(float x) { return __truncdfhf2((double)x); }
__bf16 __truncdfbf2(double x) {
  return bf16OfBits(narrow(x, 7, -126, 0x7f80) | signOf(x));
}
__bf16 __truncsfbf2(float x) { return __truncdfbf2((double)x); }
__bf16 __trunchfbf2(_Float16 x) { return __truncdfbf2((double)(float)x); }

float __extendhfsf2(_Float16 x) {
  uint16_t half = bitsOfF16(x);
  uint32_t sign = (uint32_t)(half >> 15) << 31;
  uint32_t exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
  if (exponent == 0x1f) /* infinity, NaN (made quiet) */
    return f32OfBits(sign | 0x7f800000 | mantissa << 13 |
                     (mantissa ? 0x400000 : 0));
  if (exponent == 0) {
    float value = (float)mantissa * 0x1p-24f;
    return sign ? -value : value;
  }
  return f32OfBits(sign | (exponent + 112) << 23 | mantissa << 13);
}
double __extendhfdf2(_Float16 x) { return __extendhfsf2(x); }
float __extendbfsf2(__bf16 x) {
  return f32OfBits((uint32_t)bitsOfBF16(x) << 16);
}

/* Division of 128-bit integers, one bit at a time where both are wide. */
static uint128 divide(uint128 numerator, uint128 denominator,
                      uint128 *remainder) {
  if (denominator >> 64 == 0 && numerator >> 64 == 0) {
    *remainder = (uint64_t)numerator % (uint64_t)denominator;
    return (uint64_t)numerator / (uint64_t)denominator;
  }
  uint128 quotient = 0, rest = 0;
  for (int bit = 127; bit >= 0; --bit) {
    int carry = (int)(rest >> 127);
    rest = rest << 1 | (numerator >> bit & 1);
    if (carry || rest >= denominator) {
      rest -= denominator;
      quotient |= (uint128)1 << bit;
    }
  }
  *remainder = rest;
  return quotient;
}

uint128 __udivti3(uint128 a, uint128 b) {
  uint128 rest;
  return divide(a, b, &rest);
}
uint128 __umodti3(uint128 a, uint128 b) {
  uint128 rest;
  divide(a, b, &rest);
  return rest;
}
int128 __divti3(int128 a, int128 b) {
  uint128 rest, quotient = divide(a < 0 ? -(uint128)a : (uint128)a,
                                  b < 0 ? -(uint128)b : (uint128)b, &rest);
  return (a < 0) != (b < 0) ? (int128)-quotient : (int128)quotient;
}
int128 __modti3(int128 a, int128 b) {
  uint128 rest;
  divide(a < 0 ? -(uint128)a : (uint128)a, b < 0 ? -(uint128)b : (uint128)b,
         &rest);
  return a < 0 ? (int128)-rest : (int128)rest;
}
