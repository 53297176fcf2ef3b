//===- Compare.cpp - Results against a reference --------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace marver;

/// By precision: what reordering sums of some thousand terms may change.
static double defaultTolerance(int dtype) {
  switch (dtype) {
  case MV_DTYPE_F16:
    return 1e-2;
  case MV_DTYPE_BF16:
    return 5e-2;
  case MV_DTYPE_F32:
    return 1e-4;
  case MV_DTYPE_F64:
    return 1e-8;
  default:
    return 0;
  }
}

static std::string number(double value) {
  char text[32];
  snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

/// "[0, 3, 17]" for the element with that offset.
static std::string indexText(size_t offset, const std::vector<int64_t> &dims) {
  std::string text;
  for (size_t i = dims.size(); i-- > 0;) {
    auto dim = static_cast<size_t>(dims[i]);
    text.insert(0, std::to_string(offset % dim) + (text.empty() ? "" : ", "));
    offset /= dim;
  }
  return "[" + text + "]";
}

Comparison marver::compare(const Tensor &expected, int dtype,
                           const std::vector<int64_t> &dims,
                           const uint8_t *data, Tolerance tolerance) {
  Comparison result;
  if (expected.dtype != dtype || expected.dims != dims) {
    result.report = "is " + typeText(dtype, dims) + ", expected " +
                    typeText(expected.dtype, expected.dims);
    return result;
  }
  double rtol = tolerance.rtol, atol = tolerance.atol;
  if (!isFloat(dtype))
    rtol = atol = 0;
  if (rtol < 0)
    rtol = defaultTolerance(dtype);
  if (atol < 0)
    atol = defaultTolerance(dtype);

  size_t size = mv_dtype_size(dtype), count = expected.count();
  size_t different = 0, first = 0;
  double maxAbsolute = 0, maxRelative = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t *want = expected.data() + i * size, *got = data + i * size;
    if (memcmp(want, got, size) == 0)
      continue;
    double a = loadDouble(dtype, want), b = loadDouble(dtype, got);
    bool same = std::isnan(a) && std::isnan(b);
    if (!same && isFloat(dtype) && a == b)
      same = true; // 0 and -0
    if (!same) {
      double difference = std::fabs(a - b);
      // Not a finite difference: one is NaN or infinite and the other is not.
      if (!std::isfinite(difference))
        difference = INFINITY;
      maxAbsolute = std::max(maxAbsolute, difference);
      maxRelative = std::max(maxRelative, a != 0 && std::isfinite(a)
                                              ? difference / std::fabs(a)
                                              : INFINITY);
      same = isFloat(dtype) && difference <= atol + rtol * std::fabs(a) &&
             std::isfinite(difference);
    }
    if (!same && different++ == 0)
      first = i;
  }
  std::string errors = "max abs error " + number(maxAbsolute) +
                       ", max rel error " + number(maxRelative);
  result.matches = different == 0;
  if (result.matches) {
    result.report =
        "matches: " + std::to_string(count) + " elements, " + errors;
    return result;
  }
  result.report = "differs at " + indexText(first, dims) + ": " +
                  elementText(dtype, data + first * size) + ", expected " +
                  elementText(dtype, expected.data() + first * size) + "; " +
                  std::to_string(different) + " of " + std::to_string(count) +
                  " elements differ, " + errors + " (rtol " + number(rtol) +
                  ", atol " + number(atol) + ")";
  return result;
}
