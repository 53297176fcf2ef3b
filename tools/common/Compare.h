//===- Compare.h - Results against a reference ------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_COMPARE_H
#define MARVER_TOOLS_COMMON_COMPARE_H

#include "tools/common/Tensor.h"

namespace marver {

/// |got - expected| <= atol + rtol * |expected|; NaN equals NaN, infinities
/// equal themselves, integers are exact. Negative: the type's default.
struct Tolerance {
  double rtol = -1;
  double atol = -1;
};

struct Comparison {
  bool matches = false;
  /// One line: what differs and where, or how large the errors are.
  std::string report;
};

Comparison compare(const Tensor &expected, int dtype,
                   const std::vector<int64_t> &dims, const uint8_t *data,
                   Tolerance tolerance);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_COMPARE_H
