//===- CancelTest.cpp - Runs that are ended, and memory of loops ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include <atomic>
#include <thread>

using namespace marver;

static void expectFailure(const SessionPtr &session, int code, int64_t place) {
  int foundCode;
  int64_t foundPlace;
  mv_session_failure(session.get(), &foundCode, &foundPlace);
  EXPECT_EQ(foundCode, code);
  EXPECT_EQ(foundPlace, place);
}

TEST(Cancel, EndsALoopFromAnotherThread) {
  ModulePtr module = loadTestModule();
  for (int threads : {1, 2}) {
    PoolPtr pool = makePool(threads);
    SessionPtr session = makeSession(module.get(), "spin", pool.get());
    for (int round = 0; round < 20; ++round) {
      std::atomic<bool> done = false;
      std::thread other([&] {
        // A cancel before the run has no effect.
        while (!done) {
          mv_session_cancel(session.get());
          std::this_thread::yield();
        }
      });
      EXPECT_EQ(mv_session_invoke(session.get()), MV_CANCELLED);
      done = true;
      other.join();
      EXPECT_STREQ(mv_session_message(session.get()), "the run was cancelled");
      expectFailure(session, MV_FAILURE_CANCELLED, 0);
      mv_tensor tensor;
      EXPECT_EQ(mv_session_output(session.get(), 0, &tensor), MV_NOT_READY);
    }
  }
}

TEST(Cancel, LeavesTheNextRunAlone) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "main");
  std::vector<float> in(8, 1);
  ASSERT_EQ(setInput(session, 0, in, {8}), MV_OK);
  mv_session_cancel(session.get());
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  mv_session_cancel(session.get());
  EXPECT_EQ(output<float>(session, 0)[1], 2.25f);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  expectFailure(session, MV_FAILURE_NONE, 0);
}

TEST(TripLimit, EndsALoop) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "spin");
  for (uint64_t limit : {uint64_t(1), uint64_t(1000)}) {
    mv_session_set_trip_limit(session.get(), limit);
    mv_statistics before, after;
    mv_session_statistics(session.get(), &before);
    EXPECT_EQ(mv_session_invoke(session.get()), MV_RUN_FAILED);
    mv_session_statistics(session.get(), &after);
    EXPECT_EQ(after.launches - before.launches, limit);
    expectFailure(session, MV_FAILURE_TRIP_COUNT, 3);
    EXPECT_STREQ(mv_session_message(session.get()),
                 "a loop exceeds the limit of iterations (code 5 at place 3)");
  }
}

TEST(GrowingMemory, OfALoopIsUsedAgain) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "list");
  constexpr size_t length = 100000;
  std::vector<float> in(length);
  for (size_t i = 0; i < length; ++i)
    in[i] = static_cast<float>(i);
  ASSERT_EQ(setInput(session, 0, in, {5000}), MV_OK);
  uint64_t allocations = 0;
  for (int round = 0; round < 4; ++round) {
    ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
    std::vector<float> list = output<float>(session, 0);
    EXPECT_TRUE(std::equal(list.begin(), list.end(), in.begin()));
    EXPECT_EQ(list.size(), 5000u);
    mv_statistics statistics;
    mv_session_statistics(session.get(), &statistics);
    // The list and the one before it, each rounded up.
    EXPECT_LE(statistics.grown_bytes, 2 * (5000 * sizeof(float) + 64) + 64);
    EXPECT_GT(statistics.grown_bytes, 5000 * sizeof(float));
    if (round > 1)
      EXPECT_EQ(statistics.allocations, allocations);
    allocations = statistics.allocations;
  }
}
