//===- Peak.h - What the machine can do at most -----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_MARVERBENCH_PEAK_H
#define MARVER_TOOLS_MARVERBENCH_PEAK_H

namespace marver {

/// Measured rates of `threads` threads together.
struct Peak {
  double gflops = 0; ///< f32 fused multiply-adds, counted as two
  double gbytes = 0; ///< read from memory, per second
};

Peak measurePeak(int threads);

} // namespace marver

#endif // MARVER_TOOLS_MARVERBENCH_PEAK_H
