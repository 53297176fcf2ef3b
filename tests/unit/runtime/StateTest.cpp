//===- StateTest.cpp - What sessions keep between invokes -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include <thread>

using namespace marver;

using Floats = std::vector<float>;

/// The first constants: what the state begins with.
static const Floats initial = {0, 0.25, 0.5, 0.75};

static Floats plus(const Floats &values, float more) {
  Floats result;
  for (float value : values)
    result.push_back(value + more);
  return result;
}

static Floats state(const SessionPtr &session, uint32_t index) {
  mv_tensor tensor;
  EXPECT_EQ(mv_session_state(session.get(), index, &tensor), MV_OK);
  auto *data = static_cast<const float *>(tensor.data);
  const size_t count = tensor.bytes / sizeof(float);
  return Floats(data, data + count);
}

static Floats invoke(const SessionPtr &session) {
  EXPECT_EQ(mv_session_invoke(session.get()), MV_OK)
      << mv_session_message(session.get());
  return output<float>(session, 0);
}

TEST(State, IsKeptAndReset) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "sum");
  const mv_signature *signature = mv_module_signature(module.get(), "sum");
  ASSERT_EQ(signature->state_count, 2u);
  EXPECT_EQ(signature->input_count, 1u);
  EXPECT_EQ(signature->output_count, 1u);
  EXPECT_EQ(signature->states[0].rank, 1);
  EXPECT_EQ(signature->states[0].dims[0], 4);
  EXPECT_EQ(signature->states[1].rank, 0);
  mv_statistics statistics;
  mv_session_statistics(session.get(), &statistics);
  EXPECT_EQ(statistics.state_bytes, 20u);
  EXPECT_EQ(state(session, 0), initial);
  EXPECT_EQ(state(session, 1), Floats{0});

  Floats ones(4, 1);
  ASSERT_EQ(setInput(session, 0, ones, {4}), MV_OK);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(invoke(session), plus(initial, 1));
    EXPECT_EQ(invoke(session), plus(initial, 2));
    EXPECT_EQ(state(session, 1), Floats{2});
    ASSERT_EQ(mv_session_reset(session.get()), MV_OK);
    EXPECT_EQ(state(session, 0), initial);
    EXPECT_EQ(state(session, 1), Floats{0});
  }
  // A caller may put back what it has saved.
  mv_tensor tensor;
  ASSERT_EQ(mv_session_state(session.get(), 0, &tensor), MV_OK);
  memset(tensor.data, 0, tensor.bytes);
  EXPECT_EQ(invoke(session), ones);

  EXPECT_EQ(mv_session_state(session.get(), 2, &tensor), MV_INVALID_ARGUMENT);
}

TEST(State, BelongsToOneSession) {
  ModulePtr module = loadTestModule();
  Floats ones(4, 1);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      SessionPtr session = makeSession(module.get(), "sum");
      EXPECT_EQ(setInput(session, 0, ones, {4}), MV_OK);
      for (int round = 1; round <= 100; ++round)
        EXPECT_EQ(invoke(session), plus(initial, static_cast<float>(round)));
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(State, IsSharedBetweenEntryPoints) {
  ModulePtr module = loadTestModule();
  SessionPtr sum = makeSession(module.get(), "sum");
  SessionPtr peek = makeSession(module.get(), "peek");
  Floats ones(4, 1);
  ASSERT_EQ(setInput(sum, 0, ones, {4}), MV_OK);
  invoke(sum);
  EXPECT_EQ(invoke(peek), initial);
  ASSERT_EQ(mv_session_share_state(peek.get(), sum.get()), MV_OK);
  EXPECT_EQ(invoke(peek), plus(initial, 1));
  invoke(sum);
  EXPECT_EQ(invoke(peek), plus(initial, 2));
  ASSERT_EQ(mv_session_reset(peek.get()), MV_OK);
  EXPECT_EQ(invoke(sum), plus(initial, 1));
  EXPECT_EQ(state(sum, 1), Floats{3}); // not a state of `peek`
  // With itself nothing changes; the other session may go.
  ASSERT_EQ(mv_session_share_state(peek.get(), peek.get()), MV_OK);
  sum.reset();
  EXPECT_EQ(invoke(peek), plus(initial, 1));

  SessionPtr other = makeSession(module.get(), "main");
  EXPECT_EQ(mv_session_share_state(peek.get(), other.get()),
            MV_INVALID_ARGUMENT);
  EXPECT_STREQ(mv_session_message(peek.get()),
               "the entry points have no state in common");
  ModulePtr again = loadTestModule();
  SessionPtr foreign = makeSession(again.get(), "sum");
  EXPECT_EQ(mv_session_share_state(peek.get(), foreign.get()),
            MV_INVALID_ARGUMENT);
  EXPECT_EQ(mv_session_share_state(peek.get(), nullptr), MV_INVALID_ARGUMENT);
  EXPECT_EQ(invoke(peek), plus(initial, 1));
}
