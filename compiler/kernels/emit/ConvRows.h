//===- ConvRows.h - Rows of a convolution, for a chain ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tiles of a packed convolution with two spatial dims, for kernels in which
// something else follows before a result is stored: the tile's epilogue says
// where they go. Implemented by the contraction family.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_CONVROWS_H
#define MARVER_COMPILER_KERNELS_EMIT_CONVROWS_H

#include "compiler/kernels/emit/TileEpilogue.h"
#include <memory>

namespace marver {

class ConvRows {
public:
  virtual ~ConvRows() = default;

  /// Computes rows [row, rowEnd) of one panel of an image's result, all
  /// columns. The panel has to be a whole one.
  virtual void compute(mlir::Value batchIndex, mlir::Value panel,
                       mlir::Value row, mlir::Value rowEnd) = 0;
};

/// The rows of the mv.packed_conv of the emitter's kernel, by a schedule of the
/// contraction family.
std::unique_ptr<ConvRows> createConvRows(KernelEmitter &emitter,
                                         TileEpilogue &epilogue,
                                         mlir::DictionaryAttr schedule);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_CONVROWS_H
