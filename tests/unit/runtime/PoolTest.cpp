//===- PoolTest.cpp - Threads ---------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"
#include "runtime/src/Cpu.h"
#include "runtime/src/ThreadPool.h"

#include <atomic>
#include <ctime>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#endif

using namespace marver;

namespace {

/// What a kernel saw, for each index of its extent.
struct Record {
  std::atomic<int> *visits;
  std::atomic<int> *calls;
  std::atomic<uint64_t> *control;
  uint64_t spin; ///< ns to spend on each call
};

} // namespace

static void recordKernel(const int64_t *slots, int64_t begin, int64_t end,
                         void *scratch) {
  const auto *record = reinterpret_cast<const Record *>(slots);
  if (record->spin)
    for (uint64_t start = now(); now() - start < record->spin;)
      ;
  for (int64_t i = begin; i < end; ++i)
    record->visits[i].fetch_add(1, std::memory_order_relaxed);
  record->calls->fetch_add(1, std::memory_order_relaxed);
  if (record->control)
    record->control->fetch_or(floatControl(), std::memory_order_relaxed);
  // Each part has its own scratch: the sanitizers see a shared one.
  memset(scratch, 1, 64);
}

/// Launches over `extent` and expects each index once; returns the parts.
static int launchOnce(mv_pool *pool, int64_t extent, uint64_t spin = 0,
                      int maxParts = 64) {
  std::vector<std::atomic<int>> visits(static_cast<size_t>(extent));
  std::atomic<int> calls = 0;
  Record record = {visits.data(), &calls, nullptr, spin};
  std::vector<uint8_t> scratch(128 * 64);
  Launch launch{recordKernel,
                reinterpret_cast<const int64_t *>(&record),
                extent,
                scratch.data(),
                128,
                maxParts,
                /*busy=*/nullptr};
  int parts = runLaunch(pool, launch);
  EXPECT_EQ(calls, parts);
  for (int64_t i = 0; i < extent; ++i)
    EXPECT_EQ(visits[static_cast<size_t>(i)], 1)
        << "index " << i << " of " << extent;
  return parts;
}

TEST(Pool, EachIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    PoolPtr pool = makePool(threads);
    EXPECT_EQ(mv_pool_threads(pool.get()), threads);
    for (int64_t extent : {1, 2, 3, 4, 7, 8, 9, 64, 1000})
      EXPECT_EQ(launchOnce(pool.get(), extent),
                std::min<int64_t>(threads, extent));
    EXPECT_EQ(launchOnce(pool.get(), 100, 0, /*maxParts=*/2),
              std::min(threads, 2));
  }
  EXPECT_EQ(launchOnce(nullptr, 10), 1);
}

TEST(Pool, PartsAreContiguousAndEven) {
  Launch launch{};
  launch.extent = INT64_MAX;
  launch.parts = 7;
  static std::vector<std::pair<int64_t, int64_t>> ranges;
  ranges.clear();
  launch.kernel = [](const int64_t *, int64_t begin, int64_t end, void *) {
    ranges.push_back({begin, end});
  };
  for (int i = 0; i < 7; ++i)
    launch.runPart(i);
  EXPECT_EQ(ranges.front().first, 0);
  EXPECT_EQ(ranges.back().second, INT64_MAX);
  for (size_t i = 1; i < 7; ++i)
    EXPECT_EQ(ranges[i].first, ranges[i - 1].second);
  for (auto [begin, end] : ranges)
    EXPECT_LE(end - begin - INT64_MAX / 7, 1);
}

TEST(Pool, ManyLaunches) {
  PoolPtr pool = makePool(4);
  for (int i = 0; i < 2000; ++i)
    launchOnce(pool.get(), i % 9 + 1);
}

TEST(Pool, WorkersSleepAndWakeAgain) {
  PoolPtr pool = makePool(2);
  for (int i = 0; i < 5; ++i) {
    launchOnce(pool.get(), 8, /*spin=*/500 * 1000);
    // Longer than a worker spins.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST(Pool, NoCpuWhenIdle) {
  PoolPtr pool = makePool(3);
  launchOnce(pool.get(), 8);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double ms = static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 +
              static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e6;
  EXPECT_LT(ms, 20);
}

TEST(Pool, SharedByManyThreads) {
  PoolPtr pool = makePool(3);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i)
        launchOnce(pool.get(), i % 7 + 1);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Pool, WorkersUseTheCallersFloatControl) {
#if defined(__x86_64__)
  PoolPtr pool = makePool(2);
  uint64_t before = floatControl();
  for (uint64_t control : {before, before | 0x8040 /* FTZ, DAZ */, before}) {
    setFloatControl(control);
    std::vector<std::atomic<int>> visits(64);
    std::atomic<int> calls = 0;
    std::atomic<uint64_t> seen = 0;
    // Long enough for the worker to do its own part.
    Record record = {visits.data(), &calls, &seen, 2000 * 1000};
    std::vector<uint8_t> scratch(256);
    Launch launch{recordKernel,
                  reinterpret_cast<const int64_t *>(&record),
                  64,
                  scratch.data(),
                  128,
                  2,
                  /*busy=*/nullptr};
    runLaunch(pool.get(), launch);
    setFloatControl(before);
    EXPECT_EQ(seen, control);
  }
#endif
}

TEST(Pool, External) {
  struct Context {
    int jobs = 0;
  } context;
  mv_pool *pool;
  ASSERT_EQ(
      mv_pool_create_external(
          3,
          [](void *context, mv_task_fn task, void *argument, int64_t count) {
            ++static_cast<Context *>(context)->jobs;
            std::vector<std::thread> threads;
            threads.reserve(static_cast<size_t>(count));
            for (int64_t i = 0; i < count; ++i)
              threads.emplace_back([=] { task(argument, i); });
            for (std::thread &thread : threads)
              thread.join();
          },
          &context, &pool, nullptr),
      MV_OK);
  PoolPtr owner(pool);
  EXPECT_EQ(launchOnce(pool, 10), 3);
  EXPECT_EQ(launchOnce(pool, 2), 2);
  EXPECT_EQ(context.jobs, 2);
  EXPECT_EQ(launchOnce(pool, 1), 1);
  EXPECT_EQ(context.jobs, 2);
}

TEST(Pool, WrongCounts) {
  mv_pool *pool;
  mv_error error = {};
  EXPECT_EQ(mv_pool_create(-1, &pool, &error), MV_INVALID_ARGUMENT);
  EXPECT_EQ(mv_pool_create(1 << 20, &pool, &error), MV_INVALID_ARGUMENT);
  EXPECT_EQ(mv_pool_create_external(2, nullptr, nullptr, &pool, &error),
            MV_INVALID_ARGUMENT);
}

TEST(Pool, AutomaticCountFollowsAffinity) {
  EXPECT_GE(availableThreads(), 1);
#if defined(__linux__)
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(availableThreads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_LE(availableThreads(), CPU_COUNT(&before));
#endif
}
