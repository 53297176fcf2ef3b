//===- GrowingMemory.h - Memory of data-dependent size ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Memory for tensors whose size is known only during a run: pieces of chunks.
// A loop gives back at the end of an iteration what it does not carry on; all
// else goes at the next invoke. So the memory of a list that grows in a loop is
// a multiple of the list, not of the square of its length.
//
// A chunk is a sequence of pieces without gaps, each behind a header with its
// size. Neighbours that are free become one when a place is searched.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_GROWINGMEMORY_H
#define MARVER_RUNTIME_GROWINGMEMORY_H

#include "Memory.h"

namespace marver {

class GrowingMemory {
public:
  /// NULL if there is no memory. `serial` is for sweep().
  void *allocate(uint64_t bytes, int64_t serial, uint64_t &allocated);
  /// Gives back the pieces whose serial is `first` or more, but for those in
  /// `kept`.
  void sweep(int64_t first, void *const *kept, int64_t count);
  /// Gives back all pieces. Several chunks become one of their total size, so
  /// that runs of like size end up with one chunk and no allocation.
  void reset(uint64_t &allocated);
  /// Frees everything.
  void release();
  /// Bytes of the pieces that were in use at once since the last reset.
  uint64_t peak() const { return most; }

private:
  struct Piece;
  struct Chunk;
  Chunk *addChunk(uint64_t bytes, uint64_t &allocated);
  void freeEmptyChunks();

  Chunk *chunks;
  uint64_t inUse;
  uint64_t most;
  bool sweeps; ///< something was swept since the last reset
};

} // namespace marver

#endif // MARVER_RUNTIME_GROWINGMEMORY_H
