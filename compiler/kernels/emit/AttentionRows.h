//===- AttentionRows.h - Attention of a few queries -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_ATTENTIONROWS_H
#define MARVER_COMPILER_KERNELS_EMIT_ATTENTIONROWS_H

#include "compiler/kernels/emit/Attention.h"

namespace marver {

/// All queries of a batch, at most `most` of them, at the insertion point.
class AttentionEmitter::Rows {
public:
  Rows(AttentionEmitter &a, int64_t most);
  void run();

private:
  Value vectorOf(Value tensor, const Coordinate &row, int64_t column,
                 int64_t size);
  Value resultOf(int64_t query, Value column);
  Value larger(Value x, Value y);
  Value overKeys(Value vector, llvm::function_ref<Value(Value, Value)> combine);
  Value ofQuery(Value vector, int64_t query);
  Value products(Value firstKey, bool isWhole);
  Value mask(Value score, Value firstKey, Value exists);
  Value score(Value firstKey, Value count);
  Value weigh(Value count, Value shift, Value sum);
  void accumulate(Value firstKey, Value count, Value factor);
  void prefetchRow(Value tensor, Value row);

  AttentionEmitter &a;
  KernelEmitter &e;
  mlir::ImplicitLocOpBuilder &b;
  const AttentionShape &shape;
  const int64_t lanes;
  const int64_t most;  ///< queries
  const int64_t group; ///< the same as a power of two: lanes of one key
  const mlir::Type f32;
  llvm::SmallVector<Value> rows; ///< of the queries, the last one repeated
  llvm::SmallVector<llvm::SmallVector<Value>> queries; ///< scaled vectors
  Value lastKey;

  // Scratch memory:
  Value scores;  ///< keys x group, then weights
  Value results; ///< queries x E
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_ATTENTIONROWS_H
