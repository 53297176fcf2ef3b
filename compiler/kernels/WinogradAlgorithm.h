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
// Where all phases have equally many taps (6 taps at stride 2, say) they have
// the same output matrix, so their products may be added up before it, as those
// of channels are: `phases` times as many channels and as many fewer positions.
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
  int64_t phases = 1; ///< whose products are added up; 1 if there are none
  Matrix input;       ///< B^T: products x inputs
  Matrix filter;      ///< G: products x taps
  Matrix output;      ///< A^T: outputs x products

  /// Products of one phase: positions of a transformed tile in one dim.
  int64_t positions() const { return inputs / phases; }
  /// The output matrix for the phases' sums.
  Matrix outputOfSums() const;
  /// The input matrix of one phase, for every `phases`-th input.
  Matrix inputOfPhase() const;
  /// The filter matrix of one phase, for every `phases`-th tap.
  Matrix filterOfPhase() const;
};

/// The algorithm for `outputs` results at a time; at most 6 finite points are
/// known, so `outputs` + the taps of a phase is at most 8. With one output of a
/// window of one tap, the identity.
WinogradAlgorithm getWinograd(int64_t outputs, int64_t window, int64_t stride);

/// Where a product of number (row, column) goes in such weights: its position,
/// and which of the phases it is of, both in row-major order.
struct WinogradPlace {
  int64_t position, phase;
};
WinogradPlace placeOf(const WinogradAlgorithm &algorithm, int64_t row,
                      int64_t column);

/// G g G^T in f64, rounded once: transforms the packed window
/// [panel][taps...][channel][lane] to [panel][position][phase][channel][lane]
/// with panels of another width, as mv.winograd_filter does. `spatialRank` is 1
/// or 2; outputs beyond the source's are zero.
struct WinogradFilterShape {
  int64_t spatialRank, sourcePanels, sourceWidth, channels, panels, width;
};
void transformWinogradFilter(const WinogradAlgorithm &algorithm,
                             const WinogradFilterShape &shape, int64_t panel,
                             const char *source, float *result);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_WINOGRADALGORITHM_H
