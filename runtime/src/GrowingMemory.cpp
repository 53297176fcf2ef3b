//===- GrowingMemory.cpp - Memory of data-dependent size ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GrowingMemory.h"

#include "marver/abi.h"

#include <cstdlib>

using namespace marver;

/// The header of a piece; its memory follows.
struct alignas(MV_ALIGNMENT) GrowingMemory::Piece {
  uint64_t size; ///< with the header
  int64_t serial;
  bool isFree;

  void *memory() { return this + 1; }
  Piece *next() {
    return reinterpret_cast<Piece *>(reinterpret_cast<uint8_t *>(this) + size);
  }
};

struct GrowingMemory::Chunk {
  Chunk *next;
  Block memory;

  Piece *first() { return reinterpret_cast<Piece *>(memory.data()); }
  Piece *end() {
    return reinterpret_cast<Piece *>(memory.data() + memory.size());
  }
  void clear() { *first() = {memory.size(), 0, true}; }
  /// A free piece of `size`, joined from its neighbours where need be.
  Piece *find(uint64_t size) {
    for (Piece *piece = first(); piece != end(); piece = piece->next()) {
      if (!piece->isFree)
        continue;
      while (piece->next() != end() && piece->next()->isFree)
        piece->size += piece->next()->size;
      if (piece->size >= size)
        return piece;
    }
    return nullptr;
  }
};

GrowingMemory::Chunk *GrowingMemory::addChunk(uint64_t bytes,
                                              uint64_t &allocated) {
  auto *chunk = static_cast<Chunk *>(calloc(1, sizeof(Chunk)));
  if (!chunk)
    return nullptr;
  if (!chunk->memory.reserve(bytes, allocated)) {
    free(chunk);
    return nullptr;
  }
  chunk->clear();
  chunk->next = chunks;
  chunks = chunk;
  return chunk;
}

void GrowingMemory::freeEmptyChunks() {
  Chunk **link = &chunks;
  while (Chunk *chunk = *link) {
    if (!chunk->find(chunk->memory.size())) {
      link = &chunk->next;
      continue;
    }
    *link = chunk->next;
    chunk->memory.release();
    free(chunk);
  }
}

void *GrowingMemory::allocate(uint64_t bytes, int64_t serial,
                              uint64_t &allocated) {
  constexpr uint64_t smallestChunk = 64 * 1024;
  if (bytes > uint64_t(1) << 60)
    return nullptr;
  // An empty tensor has an address as well.
  uint64_t size = alignTo(bytes ? bytes : 1, MV_ALIGNMENT) + sizeof(Piece);
  Piece *piece = nullptr;
  for (Chunk *chunk = chunks; chunk && !piece; chunk = chunk->next)
    piece = chunk->find(size);
  if (!piece) {
    freeEmptyChunks();
    // What a loop asks for beyond what it has swept it soon asks more of.
    uint64_t wanted = sweeps ? 2 * size : size;
    Chunk *chunk =
        addChunk(wanted > smallestChunk ? wanted : smallestChunk, allocated);
    if (!chunk)
      return nullptr;
    piece = chunk->first();
  }
  if (piece->size > size + sizeof(Piece)) {
    uint64_t rest = piece->size - size;
    piece->size = size;
    *piece->next() = {rest, 0, true};
  }
  piece->isFree = false;
  piece->serial = serial;
  inUse += piece->size - sizeof(Piece);
  if (inUse > most)
    most = inUse;
  return piece->memory();
}

void GrowingMemory::sweep(int64_t first, void *const *kept, int64_t count) {
  for (Chunk *chunk = chunks; chunk; chunk = chunk->next)
    for (Piece *piece = chunk->first(); piece != chunk->end();
         piece = piece->next()) {
      if (piece->isFree || piece->serial < first)
        continue;
      int64_t i = 0;
      while (i < count && kept[i] != piece->memory())
        ++i;
      if (i < count)
        continue;
      piece->isFree = true;
      inUse -= piece->size - sizeof(Piece);
      sweeps = true;
    }
}

void GrowingMemory::reset(uint64_t &allocated) {
  inUse = 0;
  most = 0;
  sweeps = false;
  if (chunks && chunks->next) {
    uint64_t size = 0;
    for (Chunk *chunk = chunks; chunk; chunk = chunk->next)
      size += chunk->memory.size();
    release();
    // If there is no memory for it now, allocate() tries again.
    addChunk(size, allocated);
  }
  if (chunks)
    chunks->clear();
}

void GrowingMemory::release() {
  while (Chunk *chunk = chunks) {
    chunks = chunk->next;
    chunk->memory.release();
    free(chunk);
  }
  inUse = 0;
  most = 0;
}
