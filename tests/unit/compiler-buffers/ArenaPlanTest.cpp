//===- ArenaPlanTest.cpp - Tests of the arena's plan ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/ArenaPlan.h"
#include "gtest/gtest.h"
#include <random>

using namespace marver;

namespace {

bool meet(const ArenaItem &a, const ArenaItem &b) {
  return a.first <= b.last && b.first <= a.last;
}

/// A chain in which item i lives from operation i to i + 1.
llvm::SmallVector<ArenaItem> chain(std::initializer_list<int64_t> sizes) {
  llvm::SmallVector<ArenaItem> items;
  for (int64_t size : sizes) {
    int64_t at = items.size();
    items.push_back({at, at + 1, size});
  }
  return items;
}

TEST(ArenaPlan, ChainNeedsTwoBuffers) {
  auto items = chain({640, 640, 640, 640, 640});
  EXPECT_EQ(planOffsets(items).bytes, 1280);
  EXPECT_EQ(lowerBound(items), 1280);
}

TEST(ArenaPlan, SizesAreAligned) {
  auto plan = planOffsets(chain({1, 1}));
  EXPECT_EQ(plan.bytes, 128);
  for (int64_t offset : plan.offsets)
    EXPECT_EQ(offset % 64, 0);
}

TEST(ArenaPlan, EmptyAndZeroSized) {
  EXPECT_EQ(planOffsets({}).bytes, 0);
  EXPECT_EQ(planOffsets(chain({0, 64, 0})).bytes, 64);
}

TEST(ArenaPlan, SlotsAreSharedOnlyByStrangers) {
  auto items = chain({100, 100, 100});
  auto slots = planSlots(items);
  EXPECT_NE(slots[0], slots[1]);
  EXPECT_NE(slots[1], slots[2]);
  EXPECT_EQ(slots[0], slots[2]);
}

TEST(ArenaPlan, StaysNearTheBound) {
  // Buffers of a network: short lives, a few long ones (skips).
  std::mt19937 random(1);
  int64_t planned = 0, needed = 0;
  for (int round = 0; round < 100; ++round) {
    llvm::SmallVector<ArenaItem> items;
    for (int64_t i = 0; i < 40; ++i)
      items.push_back({i, i + 1 + int64_t(random() % 8 ? 0 : random() % 20),
                       64 * int64_t(1 + random() % 100)});
    planned += planOffsets(items).bytes;
    needed += lowerBound(items);
  }
  EXPECT_LE(planned, needed * 1.02);
}

TEST(ArenaPlan, RandomItemsNeverOverlap) {
  unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    llvm::SmallVector<ArenaItem> items;
    for (int i = 0, n = random() % 40; i < n; ++i) {
      int64_t first = random() % 30;
      items.push_back(
          {first, first + int64_t(random() % 6), int64_t(random() % 5000)});
    }
    ArenaOffsets plan = planOffsets(items);
    auto slots = planSlots(items);
    EXPECT_GE(plan.bytes, lowerBound(items));
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_LE(plan.offsets[i] + items[i].bytes, plan.bytes);
      for (size_t j = 0; j < i; ++j) {
        if (!meet(items[i], items[j]))
          continue;
        EXPECT_NE(slots[i], slots[j]);
        EXPECT_TRUE(plan.offsets[i] + items[i].bytes <= plan.offsets[j] ||
                    plan.offsets[j] + items[j].bytes <= plan.offsets[i])
            << i << " and " << j << " in round " << round;
      }
    }
  }
}

} // namespace
