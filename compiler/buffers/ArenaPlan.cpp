//===- ArenaPlan.cpp - Offsets of buffers in the arena --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/ArenaPlan.h"
#include "marver/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace llvm;

namespace marver {

static bool meet(const ArenaItem &a, const ArenaItem &b) {
  return a.first <= b.last && b.first <= a.last;
}

/// Item numbers, the largest first; equal sizes by first use, then number.
static SmallVector<int64_t> bySize(ArrayRef<ArenaItem> items) {
  SmallVector<int64_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int64_t a, int64_t b) {
    return std::tuple(-items[a].bytes, items[a].first, a) <
           std::tuple(-items[b].bytes, items[b].first, b);
  });
  return order;
}

/// Places the items in this order, each at the lowest free offset.
static ArenaOffsets place(ArrayRef<ArenaItem> items, ArrayRef<int64_t> order) {
  ArenaOffsets plan;
  plan.offsets.resize(items.size());
  SmallVector<int64_t> placed; // by offset
  for (int64_t number : order) {
    int64_t bytes = alignTo(items[number].bytes, MV_ALIGNMENT);
    int64_t offset = 0;
    for (int64_t other : placed) {
      if (!meet(items[number], items[other]))
        continue;
      if (offset + bytes <= plan.offsets[other])
        break;
      offset = std::max<int64_t>(offset,
                                 plan.offsets[other] +
                                     alignTo(items[other].bytes, MV_ALIGNMENT));
    }
    plan.offsets[number] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    placed.insert(llvm::upper_bound(placed, offset,
                                    [&](int64_t value, int64_t other) {
                                      return value < plan.offsets[other];
                                    }),
                  number);
  }
  return plan;
}

ArenaOffsets planOffsets(ArrayRef<ArenaItem> items) {
  SmallVector<int64_t> order = bySize(items);
  ArenaOffsets best = place(items, order), plan = best;
  int64_t bound = lowerBound(items);
  // Rounds that a graph of thousands of buffers can afford.
  auto count = int64_t(items.size());
  int64_t rounds =
      std::min<int64_t>(200, (20 << 20) / std::max<int64_t>(count * count, 1));
  for (; rounds > 0 && best.bytes > bound; --rounds) {
    // Whatever ends at the top was placed too late: it goes first.
    auto top = llvm::find_if(order, [&](int64_t number) {
      return plan.offsets[number] +
                 int64_t(alignTo(items[number].bytes, MV_ALIGNMENT)) ==
             plan.bytes;
    });
    std::rotate(order.begin(), top, std::next(top));
    plan = place(items, order);
    if (plan.bytes < best.bytes)
      best = plan;
  }
  return best;
}

SmallVector<int64_t> planSlots(ArrayRef<ArenaItem> items) {
  SmallVector<int64_t> slots(items.size());
  SmallVector<SmallVector<int64_t>> members;
  for (int64_t number : bySize(items)) {
    auto free = llvm::find_if(members, [&](ArrayRef<int64_t> slot) {
      return llvm::none_of(slot, [&](int64_t other) {
        return meet(items[number], items[other]);
      });
    });
    slots[number] = free - members.begin();
    if (free == members.end())
      members.emplace_back();
    members[slots[number]].push_back(number);
  }
  return slots;
}

int64_t lowerBound(ArrayRef<ArenaItem> items) {
  int64_t most = 0;
  for (const ArenaItem &at : items) {
    int64_t alive = 0;
    for (const ArenaItem &item : items)
      if (item.first <= at.first && at.first <= item.last)
        alive += alignTo(item.bytes, MV_ALIGNMENT);
    most = std::max(most, alive);
  }
  return most;
}

} // namespace marver
