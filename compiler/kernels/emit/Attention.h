//===- Attention.h - The attention family's emitter -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the two ways to compute an attention share: AttentionTiles.cpp for many
// queries, AttentionRows.cpp for a few. Both go through the keys in blocks and
// keep, per query, the largest score so far, the sum of weights relative to it
// and the sum of weighted values.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_ATTENTION_H
#define MARVER_COMPILER_KERNELS_EMIT_ATTENTION_H

#include "compiler/kernels/emit/ResultWriter.h"

namespace marver {

/// What is known of a kernel before it is emitted.
struct AttentionShape {
  mv::AttentionOp op;
  int64_t rank = 0;
  int64_t depth = 0;   ///< D, static
  int64_t width = 0;   ///< E, static
  int64_t queries = 0; ///< T, may be dynamic
  int64_t lanes = 0;
  int64_t vectors = 1; ///< vectors of queries in a block
  int64_t tile = 1;    ///< keys, or columns of the result, of a register tile

  int64_t blockQueries() const { return vectors * lanes; }
  int64_t paddedDepth() const {
    return int64_t(llvm::alignTo(uint64_t(depth), uint64_t(lanes)));
  }
  int64_t paddedWidth() const {
    return int64_t(llvm::alignTo(uint64_t(width), uint64_t(lanes)));
  }
  /// Scratch memory in elements.
  int64_t scratchElements() const;

  /// Nothing where the emitter does not apply and the evaluator computes it.
  static std::optional<AttentionShape> match(mv::KernelOp kernel,
                                             const TargetInfo &target);
};

class AttentionEmitter {
public:
  using Value = mlir::Value;

  AttentionEmitter(KernelEmitter &emitter, const AttentionShape &shape);

  llvm::LogicalResult emit();

  /// Keys of a block: its scores and values stay in the caches.
  static constexpr int64_t kKeys = 128;
  /// Up to this many queries are done with lanes along D and E.
  static constexpr int64_t kFewQueries = 4;

private:
  /// Queries [first, first + vectors * lanes), by register tiles.
  class Tiles;
  /// Queries [first, first + count), with lanes along D and E.
  class Rows;

  void block(Value firstQuery);

  /// score of keys for queries, masked. Vectors of `lanes`.
  Value masked(Value score, const Coordinate &query, const Coordinate &key,
               Value lanesThatExist = nullptr);
  bool isMasked() { return op.getMask() || op.getCausal(); }
  /// Keys that any of the queries [first, last) sees: none follow them.
  Value visibleKeys(Value firstQuery, Value lastQuery);
  Point maskPoint(const Coordinate &query, const Coordinate &key, int64_t lanes,
                  Value lanesThatExist = nullptr);
  mlir::Type maskType() {
    return mlir::getElementTypeOrSelf(op.getMask().getType());
  }
  bool maskIsPosition() { return op.getMask() && maskType().isInteger(64); }
  /// What a maximum so far is subtracted as: 0 while all keys were masked,
  /// because inf - inf is not a number.
  Value shiftOf(Value largest);
  /// 1 / sum of weights; without any key, an integer mask gives 0, a float mask
  /// NaN.
  Value reciprocal(Value sum);
  /// Stores `value`, columns [column, column + lanes) of a query's result.
  void write(const Coordinate &query, int64_t column, Value value);

  Value constant(double value, int64_t lanes) {
    return evaluator.number(
        value, lanes ? mlir::Type(mlir::VectorType::get(lanes, f32)) : f32);
  }
  Value infinite() {
    return constant(-std::numeric_limits<double>::infinity(), lanes);
  }
  Value at(Value base, Value offset, int64_t more = 0) {
    return e.address(base, f32, e.add(offset, more));
  }
  Value elementOf(Value tensor, const Coordinate &row, const Coordinate &column,
                  int64_t lanes, Value mask);
  /// Lanes of the vector from `column` on that a row of `size` has, null for
  /// all.
  Value tailMask(int64_t size, int64_t column) {
    if (column + lanes <= size)
      return nullptr;
    return e.laneMask(e.constant(size - column), lanes);
  }

  KernelEmitter &e;
  mlir::ImplicitLocOpBuilder &b;
  const AttentionShape &shape;
  mv::AttentionOp op;
  Evaluator evaluator;
  ResultWriter writer;
  const int64_t lanes;
  const mlir::Type f32;
  Value queryCount, keyCount;
  llvm::SmallVector<Value> batchIndex;
  Coordinates batch; ///< the same
  Value current;     ///< the attention's value at the point that is written
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_ATTENTION_H
