//===- DepthwiseTiles.h - The inner kernel of depthwise convs ---*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows of one channel block of a depthwise convolution. A tile of outputs is
// accumulated in registers while the weights of a chunk of taps are in
// registers too; every input vector of the tile's window is loaded once a chunk
// and added to all outputs it belongs to.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_DEPTHWISETILES_H
#define MARVER_COMPILER_KERNELS_EMIT_DEPTHWISETILES_H

#include "compiler/kernels/emit/TileEpilogue.h"

namespace marver {

/// The schedule of a depthwise convolution, see Schedule.h.
struct DepthwiseSchedule {
  int64_t tileRows, tilePixels, stripRows, tapRows, tapPixels;

  explicit DepthwiseSchedule(mlir::DictionaryAttr schedule);
};

/// Sizes of the window.
llvm::ArrayRef<int64_t> tapsOf(mv::DepthwiseConvOp conv);

class DepthwiseTiles {
public:
  using Value = mlir::Value;
  /// The result's point at a row and a column.
  using PointAt =
      llvm::function_ref<Point(const Coordinate &, const Coordinate &)>;

  /// `input` holds the convolution's input, with its strides.
  DepthwiseTiles(KernelEmitter &emitter, TileEpilogue &epilogue,
                 mv::DepthwiseConvOp conv, const Buffer &input,
                 mlir::DictionaryAttr schedule);

  /// Rows of one channel block in one image.
  struct Region {
    Value block;
    Value input; ///< address of the window of row 0, column 0
    Value row, rowEnd;
  };
  /// Computes and stores the rows, all `width` columns of them. `height` is the
  /// number of rows of the result, if it is known and `row` is a multiple of
  /// the tile's rows.
  void compute(const Region &region, Value width, std::optional<int64_t> height,
               PointAt pointAt);

  /// Input elements from one output to the next.
  Value stepStride(int64_t d);

private:
  /// Input elements from one tap to the next.
  Value tapStride(int64_t d);
  void tile(const Region &region, Value weights, Value y, int64_t tileRows,
            Value x, int64_t tilePixels, PointAt pointAt);
  /// Loops over the taps of dims `d` and up, in chunks for the last two.
  llvm::SmallVector<Value> overTaps(int64_t d, Value pointer, Value weights,
                                    int64_t tileRows, int64_t tilePixels,
                                    llvm::SmallVector<Value> accumulators);
  /// All FMAs of one chunk of taps, whose weights are loaded first.
  llvm::SmallVector<Value> chunkOf(Value pointer, Value weights,
                                   int64_t tileRows, int64_t tilePixels,
                                   llvm::SmallVector<Value> accumulators);

  KernelEmitter &e;
  TileEpilogue &epilogue;
  mv::DepthwiseConvOp conv;
  const DepthwiseSchedule schedule;
  const Buffer input;
  const Buffer &filter;
  const mlir::Type f32;
  const int64_t lanes;
  const int64_t spatial;
  const llvm::ArrayRef<int64_t> taps;
  int64_t chunkLength[2] = {1, 1}; ///< taps in rows and pixels of a chunk
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_DEPTHWISETILES_H
