//===- Memory.cpp - Aligned memory ----------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Memory.h"

#include "marver/abi.h"

#include <cstdlib>
#include <sys/mman.h>

using namespace marver;

/// From this size on, huge pages are worth their rounding: fewer page faults
/// at the first touch and fewer TLB misses afterwards.
static constexpr uint64_t hugePage = uint64_t(2) << 20;
static constexpr uint64_t hugeThreshold = 2 * hugePage;

bool Block::reserve(uint64_t bytes, uint64_t &allocated) {
  if (bytes <= capacity)
    return true;
  // Beyond this, rounding up could overflow; no machine has as much.
  if (bytes > uint64_t(1) << 60)
    return false;
  uint64_t alignment = bytes >= hugeThreshold ? hugePage : MV_ALIGNMENT;
  uint64_t rounded = alignTo(bytes, alignment);
  void *fresh;
  if (posix_memalign(&fresh, alignment, rounded) != 0)
    return false;
#ifdef MADV_HUGEPAGE
  if (alignment == hugePage)
    madvise(fresh, rounded, MADV_HUGEPAGE);
#endif
  ++allocated;
  release();
  memory = static_cast<uint8_t *>(fresh);
  capacity = rounded;
  return true;
}

void Block::release() {
  free(memory);
  memory = nullptr;
  capacity = 0;
}
