//===- ArenaPlan.h - Offsets of buffers in the arena ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_ARENAPLAN_H
#define MARVER_COMPILER_BUFFERS_ARENAPLAN_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace marver {

/// A buffer that lives from operation `first` to operation `last`, both
/// included. `bytes` is its size, or an estimate where it is known only at run
/// time (then only planSlots may take it).
struct ArenaItem {
  int64_t first;
  int64_t last;
  int64_t bytes;
};

struct ArenaOffsets {
  llvm::SmallVector<int64_t> offsets; ///< one per item, aligned to 64
  int64_t bytes = 0;                  ///< size of the arena
};

/// Places items of known sizes: the largest first, each at the lowest offset
/// that no item alive at the same time occupies (greedy by size, as in
/// Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
/// Inference", 2020); while that needs more than the lower bound, the item at
/// the top is placed first and all others again, for a limited number of rounds
/// ("squeaky wheel" optimization, Joslin and Clements, 1999).
ArenaOffsets planOffsets(llvm::ArrayRef<ArenaItem> items);

/// Shares slots between items whose lifetimes do not meet; the slot of each
/// item. A slot is as large as its largest item. For sizes known at run time.
llvm::SmallVector<int64_t> planSlots(llvm::ArrayRef<ArenaItem> items);

/// The least that any plan needs: the largest sum of sizes alive at once.
int64_t lowerBound(llvm::ArrayRef<ArenaItem> items);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_ARENAPLAN_H
