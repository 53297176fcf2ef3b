//===- AttentionTiles.h - Attention of many queries -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_ATTENTIONTILES_H
#define MARVER_COMPILER_KERNELS_EMIT_ATTENTIONTILES_H

#include "compiler/kernels/emit/Attention.h"
#include "compiler/kernels/emit/RegisterTile.h"

namespace marver {

/// One block of `vectors` vectors of queries, at the insertion point.
class AttentionEmitter::Tiles {
public:
  Tiles(AttentionEmitter &a, Value firstQuery, int64_t vectors);
  void run();

private:
  struct Matrix {
    Value pointer, rowStride, columnStride;
  };

  void forVectors(llvm::function_ref<void(int64_t offset)> body);
  void packQueries();
  Matrix matrix(Value tensor, Value packed, Value first, Value count);
  /// Products of `pixels` rows, `distance` elements apart, with one panel.
  RegisterTile tileOf(int64_t pixels, Value distance);
  void score(Value firstKey, Value count);
  void note(int64_t offset, llvm::ArrayRef<Value> values);
  void mask(Value firstKey, Value count);
  void weigh(Value count);
  void rescale(Value pointer, Value factor);
  void accumulate(Value firstKey, Value count);
  void store();

  AttentionEmitter &a;
  KernelEmitter &e;
  mlir::ImplicitLocOpBuilder &b;
  const AttentionShape &shape;
  const int64_t lanes, vectors;
  const int64_t stride; ///< queries of the block
  const mlir::Type f32;
  Value firstQuery;

  // Scratch memory, [...][query]:
  Value queries; ///< D x stride
  Value scores;  ///< keys x stride, then weights, then results by row
  Value results; ///< E x stride
  Value largest; ///< what weights are relative to
  Value found;   ///< the largest score of a block of keys
  Value sums;    ///< of weights
  Value packedKeys, packedValues;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_ATTENTIONTILES_H
