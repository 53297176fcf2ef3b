//===- RowStrips.h - Windows of blocked tensors, by strips ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How the depthwise and pooling families divide their work: a parallel index is
// one image (batch and outer spatial dims), one strip of rows and one channel
// block of a result N x Cb x S... x B. With one spatial dim, or strips of 0
// rows, the rows are not divided.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_ROWSTRIPS_H
#define MARVER_COMPILER_KERNELS_EMIT_ROWSTRIPS_H

#include "compiler/kernels/emit/Coordinates.h"

namespace marver {

/// Windows of a convolution or pool; one entry a spatial dim.
struct Windows {
  llvm::ArrayRef<int64_t> taps, strides, dilations;
  /// Those before the first dim's row, ..., then those after; empty for none.
  llvm::ArrayRef<int64_t> pads;
};

/// The number of parallel indices for the blocked memref `input`.
mlir::OpFoldResult rowStripsExtent(mlir::OpBuilder &builder, mlir::Location loc,
                                   mlir::Value input, const Windows &windows,
                                   int64_t stripRows);

/// The division inside of a kernel.
class RowStrips {
public:
  /// `sizes` are those of the result.
  RowStrips(KernelEmitter &e, llvm::ArrayRef<mlir::Value> sizes,
            int64_t stripRows);

  /// What one parallel index stands for.
  struct Strip {
    llvm::SmallVector<mlir::Value> image; ///< batch, outer spatial dims
    mlir::Value block;                    ///< of channels
    mlir::Value row, rowEnd;
  };

  /// Emits the loop over the parallel indices of the call.
  void forEach(llvm::function_ref<void(const Strip &)> body);

  /// All parallel indices.
  mlir::Value extent();

  /// The vector of channels at a row and column of the strip's result.
  Point pointAt(const Strip &strip, const Coordinate &row,
                const Coordinate &column);

  mlir::Value rows, width;

private:
  KernelEmitter &e;
  bool hasRows;
  int64_t stripRows;
  llvm::SmallVector<mlir::OpFoldResult> extents;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_ROWSTRIPS_H
