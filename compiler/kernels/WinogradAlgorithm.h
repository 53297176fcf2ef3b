//===- WinogradAlgorithm.h - Minimal convolution of one dim -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `outputs` neighbouring results of a convolution by a window of `window` taps
// at `stride`, as
//
//   y = A^T [ (G g) . (B^T d) ]        d: `inputs` values, g: the window
//
// with `inputs` products (Winograd, "Arithmetic Complexity of Computations",
// 1980; the matrices by Toom and Cook's interpolation). In two dims it is
// nested: Y = A^T [ (G g G^T) . (B^T d B) ] A.
//
// At stride s the window is split by its taps' remainders modulo s (polyphase):
// each part is a convolution at stride 1 of every s-th input, and the parts'
// products lie one after the other. The number of products equals that of
// inputs, (outputs - 1) * stride + window, for every stride.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_WINOGRADALGORITHM_H
#define MARVER_COMPILER_KERNELS_WINOGRADALGORITHM_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace marver {

struct Matrix {
  int64_t rows = 0, columns = 0;
  llvm::SmallVector<double, 0> values; ///< row-major

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns)
      : rows(rows), columns(columns), values(rows * columns) {}
  double &at(int64_t r, int64_t c) { return values[r * columns + c]; }
  double at(int64_t r, int64_t c) const { return values[r * columns + c]; }
};

struct WinogradAlgorithm {
  int64_t outputs = 1, inputs = 1, stride = 1, window = 1;
  Matrix input;  ///< B^T: products x inputs
  Matrix filter; ///< G: products x taps
  Matrix output; ///< A^T: outputs x products
};

/// The algorithm for `outputs` results at a time; at most 6 finite points are
/// known, so `outputs` + the taps of a phase is at most 8. With one output of a
/// window of one tap, the identity.
WinogradAlgorithm getWinograd(int64_t outputs, int64_t window, int64_t stride);

/// G g G^T in f64, rounded once: transforms the packed window
/// [panel][taps...][channel][lane] to [panel][position][channel][lane] with
/// panels of another width, as mv.winograd_filter does. `spatialRank` is 1 or
/// 2; outputs beyond the source's are zero.
struct WinogradFilterShape {
  int64_t spatialRank, sourcePanels, sourceWidth, channels, panels, width;
};
void transformWinogradFilter(const WinogradAlgorithm &algorithm,
                             const WinogradFilterShape &shape, int64_t panel,
                             const char *source, float *result);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_WINOGRADALGORITHM_H
