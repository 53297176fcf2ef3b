//===- Memory.h - Aligned memory --------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_MEMORY_H
#define MARVER_RUNTIME_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace marver {

inline uint64_t alignTo(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// Bytes aligned to MV_ALIGNMENT that only grow: reserve() keeps nothing of
/// what was there. Zero-initialized storage is a valid empty block.
class Block {
public:
  /// Makes room for `bytes`; true if there is. `allocated` counts how often
  /// memory had to be asked for.
  bool reserve(uint64_t bytes, uint64_t &allocated);
  void release();

  uint8_t *data() const { return memory; }
  uint64_t size() const { return capacity; }

private:
  uint8_t *memory;
  uint64_t capacity;
};

} // namespace marver

#endif // MARVER_RUNTIME_MEMORY_H
