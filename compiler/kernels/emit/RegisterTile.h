//===- RegisterTile.h - The inner kernel of contractions --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A register tile accumulates `pixels` x `vectors` registers over a nest of
// reduction loops:
//
//   acc[i][j] += splat(input[pixelOffsets[i] + r]) * weights[j * lanes + s]
//
// where the loops advance r and s. Weights are loaded once a step and input
// values broadcast from memory (of narrow types, groups of them), so a step
// takes pixels * vectors FMAs and pixels + vectors loads. Every accumulator
// sees the steps in the same order whatever the tile's size, which makes
// results independent of how work is cut.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_REGISTERTILE_H
#define MARVER_COMPILER_KERNELS_EMIT_REGISTERTILE_H

#include "compiler/kernels/emit/KernelEmitter.h"

namespace marver {

/// One loop of a reduction: `trip` steps, each `inputStride` elements further
/// in the input and `weightStride` further in the weights.
struct ReductionLoop {
  mlir::OpFoldResult trip;
  mlir::Value inputStride;
  mlir::Value weightStride;
};

/// Loops of a reduction, outermost first, followed by segments that run one
/// after the other inside them (full channel blocks, then the rest).
struct ReductionNest {
  llvm::SmallVector<ReductionLoop> loops;
  struct Segment {
    mlir::Value inputOffset, weightOffset;
    llvm::SmallVector<ReductionLoop> loops;
  };
  llvm::SmallVector<Segment> segments;
};

/// Steps of the whole nest; nullopt if a trip count is dynamic.
std::optional<int64_t> stepsOf(const ReductionNest &nest);

struct RegisterTile {
  int64_t vectors = 1; ///< registers of one panel
  /// Of the elements in memory; null for f32. A step takes a group of the input
  /// (reductionGroup) and, for each lane, one of the weights.
  mlir::Type inputType, weightType;
  /// Offset of each pixel from the tile's input pointer, in elements.
  llvm::SmallVector<mlir::Value> pixelOffsets;
  /// First weights of each panel that is read at the same time (one, but for
  /// matrix times vector), in elements from the weights' pointer.
  llvm::SmallVector<mlir::Value> panelOffsets;
  int64_t unroll = 1; ///< steps in the body of the innermost loop
  /// Distance in elements of weights to be prefetched; 0 for none.
  int64_t prefetch = 0;
  /// Where the next row of tiles reads, from where this one does, if that is to
  /// be prefetched: each step of an innermost loop asks for one line, at this
  /// distance and one pixel further than the step before. Null for none.
  mlir::Value rowDistance, pixelDistance;
  /// Memory to be asked for while the tile computes: `span` elements from
  /// `pointer` on, spread evenly over the steps of the reduction. (All at once,
  /// they would keep the weights waiting for a free miss buffer for as long as
  /// memory takes to answer.)
  struct Stream {
    mlir::Value pointer;
    int64_t span;
  };
  llvm::SmallVector<Stream> streams;
  /// Lanes of the last vector that may be read (vector of i1); null for all of
  /// them. Needed where the weights are not padded, which are f32 then.
  mlir::Value lastMask;

  /// Adds a stream if that takes few instructions a step: the reduction must
  /// have `steps` steps.
  void addStream(mlir::Value pointer, int64_t span, int64_t steps);

  int64_t pixels() const { return pixelOffsets.size(); }
  int64_t accumulators() const {
    return pixels() * vectors * panelOffsets.size();
  }
  /// Position of an accumulator: panel, then pixel, then vector.
  int64_t position(int64_t panel, int64_t pixel, int64_t vector) const {
    return (panel * pixels() + pixel) * vectors + vector;
  }

  /// Accumulates the nest on top of `accumulators` (see `position`). The
  /// vectors are f32 of the target's width.
  llvm::SmallVector<mlir::Value>
  accumulate(KernelEmitter &e, mlir::Value input, mlir::Value weights,
             const ReductionNest &nest,
             llvm::SmallVector<mlir::Value> accumulators) const;
};

/// Registers that a tile of these sizes needs at the same time.
inline int64_t registersOf(int64_t pixels, int64_t vectors, int64_t panels) {
  return (pixels + 1) * vectors * panels + 1;
}

/// for (i = lower; i < upper; i += step), without a loop where it is known that
/// the body runs once or not at all.
void loopOrOnce(KernelEmitter &e, mlir::Value lower, mlir::Value upper,
                int64_t step, llvm::function_ref<void(mlir::Value)> body);

/// Covers [lower, upper) with pieces: `piece` long ones, then what is left. If
/// the whole range [0, size) has a static size and `lower` is a multiple of
/// `piece`, the rest is one shorter piece; otherwise it is halved down to one.
void forPieces(
    KernelEmitter &e, mlir::Value lower, mlir::Value upper, int64_t piece,
    std::optional<int64_t> size,
    llvm::function_ref<void(mlir::Value begin, int64_t length)> body);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_REGISTERTILE_H
