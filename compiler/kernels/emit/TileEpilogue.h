//===- TileEpilogue.h - What becomes of a tile's accumulators ---*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A tile's accumulators are the anchor's values at the points of a box; the
// epilogue (bias, activation, residual, ...) is evaluated there and stored. A
// short one is written out for every accumulator, straight from its register.
// A long one (an exponential, say) would be many times the size of the tile
// itself: the accumulators then go through scratch memory, which stays in the
// L1 cache, and one copy of the epilogue loops over them.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_TILEEPILOGUE_H
#define MARVER_COMPILER_KERNELS_EMIT_TILEEPILOGUE_H

#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/ResultWriter.h"

namespace marver {

class TileEpilogue {
public:
  using Value = mlir::Value;

  /// Evaluates and stores what follows the anchor at a point of its result.
  using Store = std::function<void(const Point &)>;

  /// `anchor`'s result is what tiles compute.
  TileEpilogue(KernelEmitter &emitter, Evaluator &evaluator,
               mlir::Operation *anchor, Store store);
  /// Stores the kernel's results.
  TileEpilogue(KernelEmitter &emitter, Evaluator &evaluator,
               ResultWriter &writer, mlir::Operation *anchor);

  /// Scratch bytes that a kernel with this anchor needs at the start of the
  /// thread's scratch memory; `limited` if write() is given limits.
  static int64_t scratchBytes(mv::KernelOp kernel, mlir::Operation *anchor,
                              const TargetInfo &target, bool limited = false);

  /// Stores `values`, the anchor's vectors in a box of `sizes`, last dim
  /// fastest. `pointOf` turns a position in the box into the anchor's point.
  /// With `limits`, only positions below them exist (one i64 value a dim, at
  /// most the size).
  void write(llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<Value> values,
             llvm::function_ref<Point(llvm::ArrayRef<Coordinate>)> pointOf,
             llvm::ArrayRef<Value> limits = {});

  /// Has `tile`, whose reduction takes `steps` steps, ask for what its epilogue
  /// reads beside the accumulators (a residual), if that is too large to be in
  /// the caches. `first` is the tile's first point, `rows` by `pixels` its
  /// points.
  void prefetch(RegisterTile &tile, const Point &first, int64_t rows,
                int64_t pixels, int64_t steps);

private:
  void writeOne(Value value, const Point &point);

  KernelEmitter &e;
  Evaluator &evaluator;
  Store store;
  mlir::Value result;
  const bool isLong;
  /// Large operands that the epilogue reads at the anchor's point.
  llvm::SmallVector<Value> residuals;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_TILEEPILOGUE_H
