//===- Windows.h - Sliding windows of convolutions and pools ----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_OPS_WINDOWS_H
#define MARVER_COMPILER_OPS_WINDOWS_H

#include "compiler/ops/Ops.h"

namespace marver {

/// Checked sizes of windows, one entry a spatial dim (pads: two).
struct Windows {
  llvm::SmallVector<int64_t> kernel, strides, dilations, pads;

  /// Fills in defaults; false (and an error) for sizes that make no sense.
  bool fill(OpsBuilder &ops, llvm::ArrayRef<int64_t> sizes,
            llvm::ArrayRef<int64_t> givenStrides,
            llvm::ArrayRef<int64_t> givenDilations,
            llvm::ArrayRef<int64_t> givenPads, bool allowNegativePads = false);

  int64_t rank() const { return kernel.size(); }
  /// Elements from a window's first to its last.
  int64_t reach(int64_t i) const { return dilations[i] * (kernel[i] - 1) + 1; }
  /// Number of windows over spatial dim `i` of `size` elements.
  std::optional<Dim> count(OpsBuilder &ops, int64_t i, Dim size) const;
};

} // namespace marver

#endif // MARVER_COMPILER_OPS_WINDOWS_H
