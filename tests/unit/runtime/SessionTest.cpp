//===- SessionTest.cpp - Inputs, outputs, runs ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include <thread>

using namespace marver;

static std::vector<float> iota(size_t count, float start = 0) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = start + static_cast<float>(i);
  return values;
}

static mv_statistics statisticsOf(const SessionPtr &session) {
  mv_statistics statistics;
  mv_session_statistics(session.get(), &statistics);
  return statistics;
}

TEST(Session, RunsInTheCallersBuffer) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "main");
  std::vector<float> in = iota(8), out(8, -1);
  ASSERT_EQ(mv_session_set_input(session.get(), 0, nullptr, in.data(), 32),
            MV_OK);
  ASSERT_EQ(mv_session_set_output(session.get(), 0, out.data(), 32), MV_OK);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  for (size_t i = 0; i < 8; ++i)
    EXPECT_EQ(out[i], 2.25f * static_cast<float>(i));
  mv_tensor tensor;
  ASSERT_EQ(mv_session_output(session.get(), 0, &tensor), MV_OK);
  EXPECT_EQ(tensor.data, out.data());
  // And back to the session's own memory.
  out.assign(8, -1);
  ASSERT_EQ(mv_session_set_output(session.get(), 0, nullptr, 0), MV_OK);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  EXPECT_EQ(out[1], -1);
  EXPECT_EQ(output<float>(session, 0)[1], 2.25f);
}

TEST(Session, NothingIsAllocatedInSteadyState) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "add");
  std::vector<float> a = iota(400), b = iota(400, 1);
  for (int64_t rows : {100, 3, 100, 7}) {
    ASSERT_EQ(setInput(session, 0, a, {rows, 4}), MV_OK);
    ASSERT_EQ(setInput(session, 1, b, {rows, 4}), MV_OK);
    ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  }
  uint64_t allocations = statisticsOf(session).allocations;
  for (int64_t rows : {1, 100, 50}) {
    ASSERT_EQ(setInput(session, 0, a, {rows, 4}), MV_OK);
    ASSERT_EQ(setInput(session, 1, b, {rows, 4}), MV_OK);
    ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
    EXPECT_EQ(output<float>(session, 0).size(), static_cast<size_t>(rows) * 4);
  }
  EXPECT_EQ(statisticsOf(session).allocations, allocations);
  EXPECT_EQ(statisticsOf(session).invokes, 7u);
  EXPECT_EQ(statisticsOf(session).launches, 7u);
}

TEST(Session, SymbolicDims) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "add");
  std::vector<float> a = iota(4004), b = iota(4004, 1);
  int64_t dims[2];
  // Not all dims are known yet.
  ASSERT_EQ(setInput(session, 0, a, {5, 4}), MV_OK);
  EXPECT_EQ(mv_session_output_dims(session.get(), 0, dims), MV_NOT_READY);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_NOT_READY);
  // Two values for one symbol.
  ASSERT_EQ(setInput(session, 1, b, {6, 4}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_SHAPE_MISMATCH);
  EXPECT_STREQ(mv_session_message(session.get()),
               "input 1: dim 0 is 6, it must be 5 like an earlier one");
  // Out of its range.
  ASSERT_EQ(setInput(session, 0, a, {1001, 4}), MV_OK);
  EXPECT_EQ(mv_session_output_dims(session.get(), 0, dims), MV_SHAPE_MISMATCH);
  EXPECT_STREQ(mv_session_message(session.get()),
               "input 0: dim 0 is 1001, it must be in [1, 1000]");
  ASSERT_EQ(setInput(session, 0, a, {0, 4}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_SHAPE_MISMATCH);
  // A static dim, a negative one.
  EXPECT_EQ(setInput(session, 0, a, {5, 3}), MV_SHAPE_MISMATCH);
  EXPECT_EQ(setInput(session, 0, a, {-3, 4}), MV_SHAPE_MISMATCH);
  // And it still works.
  ASSERT_EQ(setInput(session, 0, a, {6, 4}), MV_OK);
  ASSERT_EQ(mv_session_output_dims(session.get(), 0, dims), MV_OK);
  EXPECT_EQ(dims[0], 6);
  EXPECT_EQ(dims[1], 4);
  size_t bytes;
  ASSERT_EQ(mv_session_output_bytes(session.get(), 0, &bytes), MV_OK);
  EXPECT_EQ(bytes, 96u);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  EXPECT_EQ(output<float>(session, 0)[23], 47);
}

TEST(Session, ShapeFunctionRefuses) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "add_computed");
  std::vector<float> a = iota(40);
  ASSERT_EQ(setInput(session, 0, a, {5, 4}), MV_OK);
  ASSERT_EQ(setInput(session, 1, a, {6, 4}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_SHAPE_MISMATCH);
  int code;
  int64_t place;
  mv_session_failure(session.get(), &code, &place);
  EXPECT_EQ(code, MV_FAILURE_SHAPE);
  EXPECT_EQ(place, 3);
  ASSERT_EQ(setInput(session, 1, a, {5, 4}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_OK);
}

TEST(Session, WrongBuffers) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "main");
  std::vector<float> in = iota(9), out(9);
  mv_session *s = session.get();
  EXPECT_EQ(mv_session_set_input(s, 1, nullptr, in.data(), 32),
            MV_INVALID_ARGUMENT);
  EXPECT_EQ(mv_session_set_input(s, 0, nullptr, in.data(), 31),
            MV_BUFFER_TOO_SMALL);
  EXPECT_STREQ(mv_session_message(s),
               "input 0: the buffer has 31 bytes, its dims need 32");
  EXPECT_EQ(mv_session_set_input(s, 0, nullptr, nullptr, 32),
            MV_BUFFER_TOO_SMALL);
  auto *odd = reinterpret_cast<uint8_t *>(in.data()) + 1;
  EXPECT_EQ(mv_session_set_input(s, 0, nullptr, odd, 32), MV_BUFFER_MISALIGNED);
  // Before shapes are known, a small buffer is noticed by invoke; afterwards
  // at once.
  ASSERT_EQ(mv_session_set_output(s, 0, out.data(), 28), MV_OK);
  EXPECT_EQ(mv_session_invoke(s), MV_NOT_READY);
  EXPECT_STREQ(mv_session_message(s), "input 0 is not set");
  // Any alignment of the element will do.
  ASSERT_EQ(mv_session_set_input(s, 0, nullptr, in.data() + 1, 32), MV_OK);
  EXPECT_EQ(mv_session_set_output(s, 1, out.data(), 32), MV_INVALID_ARGUMENT);
  EXPECT_EQ(mv_session_invoke(s), MV_BUFFER_TOO_SMALL);
  EXPECT_STREQ(mv_session_message(s),
               "output 0: the buffer has 28 bytes, it needs 32");
  EXPECT_EQ(mv_session_set_output(s, 0, out.data(), 28), MV_BUFFER_TOO_SMALL);
  ASSERT_EQ(mv_session_set_output(s, 0, out.data() + 1, 32), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_EQ(out[1], 2);
  EXPECT_EQ(out[0], 0);
  mv_tensor tensor;
  EXPECT_EQ(mv_session_output(s, 3, &tensor), MV_INVALID_ARGUMENT);
}

TEST(Session, Overlaps) {
  ModulePtr module = loadTestModule();
  std::vector<float> buffer = iota(32);
  SessionPtr main = makeSession(module.get(), "main");
  ASSERT_EQ(mv_session_set_input(main.get(), 0, nullptr, buffer.data(), 32),
            MV_OK);
  for (int offset : {0, 7}) {
    ASSERT_EQ(mv_session_set_output(main.get(), 0, buffer.data() + offset, 32),
              MV_OK);
    EXPECT_EQ(mv_session_invoke(main.get()), MV_BUFFER_OVERLAP);
  }
  ASSERT_EQ(mv_session_set_output(main.get(), 0, buffer.data() + 8, 32), MV_OK);
  EXPECT_EQ(mv_session_invoke(main.get()), MV_OK);

  // A pair that may alias: the whole buffer or nothing of it.
  SessionPtr update = makeSession(module.get(), "update");
  buffer = iota(32);
  ASSERT_EQ(mv_session_set_input(update.get(), 0, nullptr, buffer.data(), 64),
            MV_OK);
  ASSERT_EQ(mv_session_set_output(update.get(), 0, buffer.data() + 4, 64),
            MV_OK);
  EXPECT_EQ(mv_session_invoke(update.get()), MV_BUFFER_OVERLAP);
  ASSERT_EQ(mv_session_set_output(update.get(), 0, buffer.data(), 64), MV_OK);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(mv_session_invoke(update.get()), MV_OK);
  EXPECT_EQ(buffer[15], 18);
  EXPECT_EQ(buffer[16], 16);
}

TEST(Session, FailuresInsideKernels) {
  ModulePtr module = loadTestModule();
  PoolPtr pool = makePool(2);
  SessionPtr session = makeSession(module.get(), "gather", pool.get());
  std::vector<int64_t> good = {0, 7, 3}, bad = {0, 8, 3};
  ASSERT_EQ(setInput(session, 0, bad, {3}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_RUN_FAILED);
  EXPECT_STREQ(mv_session_message(session.get()),
               "an index is out of range (code 1 at place 7)");
  int code;
  int64_t place;
  mv_session_failure(session.get(), &code, &place);
  EXPECT_EQ(code, MV_FAILURE_INDEX);
  EXPECT_EQ(place, 7);
  mv_tensor tensor;
  EXPECT_EQ(mv_session_output(session.get(), 0, &tensor), MV_NOT_READY);
  // The session is as good as before.
  ASSERT_EQ(setInput(session, 0, good, {3}), MV_OK);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  EXPECT_EQ(output<float>(session, 0),
            (std::vector<float>{0, 7 * 0.25f, 3 * 0.25f}));
  mv_session_failure(session.get(), &code, &place);
  EXPECT_EQ(code, 0);
}

TEST(Session, DataDependentOutputs) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "nonzero");
  mv_session *s = session.get();
  std::vector<float> in = {0, 5, 0, 2, 0, 1};
  ASSERT_EQ(setInput(session, 0, in, {6}), MV_OK);
  int64_t dim;
  size_t bytes;
  ASSERT_EQ(mv_session_output_dims(s, 0, &dim), MV_OK);
  EXPECT_EQ(dim, MV_DIM_DATA_DEPENDENT);
  EXPECT_EQ(mv_session_output_bytes(s, 0, &bytes), MV_NOT_READY);
  ASSERT_EQ(mv_session_output_bytes(s, 1, &bytes), MV_OK);
  EXPECT_EQ(bytes, 24u);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_EQ(output<int64_t>(session, 0), (std::vector<int64_t>{1, 3, 5}));
  EXPECT_EQ(output<float>(session, 1)[1], 25);
  ASSERT_EQ(mv_session_output_dims(s, 0, &dim), MV_OK);
  EXPECT_EQ(dim, 3);
  EXPECT_GT(statisticsOf(session).grown_bytes, 0u);

  // Into a buffer: large enough, and not.
  std::vector<int64_t> buffer(3, -1);
  ASSERT_EQ(mv_session_set_output(s, 0, buffer.data(), 24), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_EQ(buffer, (std::vector<int64_t>{1, 3, 5}));
  EXPECT_EQ(statisticsOf(session).copies, 1u);
  ASSERT_EQ(mv_session_set_output(s, 0, buffer.data(), 23), MV_OK);
  EXPECT_EQ(mv_session_invoke(s), MV_BUFFER_TOO_SMALL);
  EXPECT_STREQ(mv_session_message(s),
               "output 0: the buffer has 23 bytes, the result 24");
  EXPECT_EQ(output<int64_t>(session, 0), (std::vector<int64_t>{1, 3, 5}));
  ASSERT_EQ(mv_session_output_bytes(s, 0, &bytes), MV_OK);
  EXPECT_EQ(bytes, 24u);

  // None at all, and an empty input.
  ASSERT_EQ(mv_session_set_output(s, 0, nullptr, 0), MV_OK);
  std::vector<float> zeros(6);
  ASSERT_EQ(setInput(session, 0, zeros, {6}), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_TRUE(output<int64_t>(session, 0).empty());
  ASSERT_EQ(mv_session_set_input(s, 0, &(dim = 0), nullptr, 0), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_TRUE(output<int64_t>(session, 0).empty());

  // Large sizes grow the memory, and then it is enough.
  std::vector<float> large = iota(100000, 1);
  ASSERT_EQ(setInput(session, 0, large, {100000}), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  uint64_t allocations = statisticsOf(session).allocations;
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  ASSERT_EQ(mv_session_invoke(s), MV_OK);
  EXPECT_EQ(statisticsOf(session).allocations, allocations);
  EXPECT_EQ(output<int64_t>(session, 0).size(), 100000u);
}

TEST(Session, EmptyAndScalarTensors) {
  ModulePtr module = loadTestModule();
  SessionPtr copy = makeSession(module.get(), "copy_f32");
  int64_t dims[2] = {0, 5};
  ASSERT_EQ(mv_session_set_input(copy.get(), 0, dims, nullptr, 0), MV_OK);
  ASSERT_EQ(mv_session_invoke(copy.get()), MV_OK);
  mv_tensor tensor;
  ASSERT_EQ(mv_session_output(copy.get(), 0, &tensor), MV_OK);
  EXPECT_EQ(tensor.bytes, 0u);
  EXPECT_EQ(tensor.dims[1], 5);
  // Dims whose product overflows but for a zero.
  int64_t huge[2] = {int64_t(1) << 62, 0};
  EXPECT_EQ(mv_session_set_input(copy.get(), 0, huge, nullptr, 0), MV_OK);
  huge[1] = 1 << 10;
  EXPECT_EQ(mv_session_set_input(copy.get(), 0, huge, nullptr, 0),
            MV_SHAPE_MISMATCH);

  SessionPtr scalar = makeSession(module.get(), "scalar");
  float value = 5;
  ASSERT_EQ(mv_session_set_input(scalar.get(), 0, nullptr, &value, 4), MV_OK);
  ASSERT_EQ(mv_session_invoke(scalar.get()), MV_OK);
  EXPECT_EQ(output<float>(scalar, 0), (std::vector<float>{-5}));
}

TEST(Session, AbsurdArenaIsRefused) {
  ModulePtr module = loadTestModule();
  SessionPtr session = makeSession(module.get(), "huge");
  std::vector<float> in = {1};
  ASSERT_EQ(setInput(session, 0, in, {1}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_NO_MEMORY);
}

TEST(Session, PreparedMemory) {
  for (int threads : {1, 3}) {
    PoolPtr pool = makePool(threads);
    ModulePtr module = loadTestModule(pool.get());
    SessionPtr session = makeSession(module.get(), "prepared");
    ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
    std::vector<float> out = output<float>(session, 0);
    for (size_t i = 0; i < 8; ++i)
      EXPECT_EQ(out[i], 0.75f * static_cast<float>(i));
  }
}

TEST(Session, UnknownEntry) {
  ModulePtr module = loadTestModule();
  mv_session *session;
  mv_error error = {};
  EXPECT_EQ(
      mv_session_create(module.get(), "nothing", nullptr, &session, &error),
      MV_NOT_FOUND);
  EXPECT_STREQ(error.message, "the module has no entry point 'nothing'");
}

TEST(Session, OutlivesTheReferencesOfOthers) {
  SessionPtr session;
  {
    PoolPtr pool = makePool(2);
    ModulePtr module = loadTestModule();
    session = makeSession(module.get(), "main", pool.get());
  }
  std::vector<float> in = iota(8);
  ASSERT_EQ(setInput(session, 0, in, {8}), MV_OK);
  EXPECT_EQ(mv_session_invoke(session.get()), MV_OK);
}

TEST(Session, SameBytesForAnyNumberOfThreads) {
  ModulePtr module = loadTestModule();
  std::vector<float> in(37 * 113);
  for (size_t i = 0; i < in.size(); ++i)
    in[i] = 1.0f / static_cast<float>(i + 1);
  std::vector<float> expected;
  for (int threads : {1, 2, 3, 5, 16}) {
    PoolPtr pool = makePool(threads);
    SessionPtr session = makeSession(module.get(), "sums", pool.get());
    ASSERT_EQ(setInput(session, 0, in, {37, 113}), MV_OK);
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
      if (expected.empty())
        expected = output<float>(session, 0);
      ASSERT_EQ(output<float>(session, 0), expected) << threads << " threads";
    }
  }
}

TEST(Session, ConcurrentSessionsOnOneModuleAndPool) {
  PoolPtr pool = makePool(3);
  ModulePtr module = loadTestModule(pool.get());
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      SessionPtr session = makeSession(module.get(), "add", pool.get());
      std::vector<float> a = iota(400, static_cast<float>(t)), b = iota(400);
      for (int i = 0; i < 200; ++i) {
        int64_t rows = i % 100 + 1;
        ASSERT_EQ(setInput(session, 0, a, {rows, 4}), MV_OK);
        ASSERT_EQ(setInput(session, 1, b, {rows, 4}), MV_OK);
        ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
        std::vector<float> out = output<float>(session, 0);
        for (size_t k = 0; k < out.size(); ++k)
          ASSERT_EQ(out[k], a[k] + b[k]);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Session, Profile) {
  ModulePtr module = loadTestModule();
  for (int threads : {1, 2}) {
    PoolPtr pool = makePool(threads);
    SessionPtr session = makeSession(module.get(), "main", pool.get());
    EXPECT_EQ(mv_session_profile(session.get()), nullptr);
    std::vector<float> in = iota(8);
    ASSERT_EQ(setInput(session, 0, in, {8}), MV_OK);
    ASSERT_EQ(mv_session_profile_start(session.get()), MV_OK);
    for (int i = 0; i < 10; ++i)
      ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
    mv_session_profile_stop(session.get());
    ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
    const mv_kernel_profile *profile = mv_session_profile(session.get());
    for (int kernel : {0, 1}) {
      EXPECT_EQ(profile[kernel].launches, 10u);
      EXPECT_EQ(profile[kernel].extent, 80u);
      EXPECT_EQ(profile[kernel].parallel_launches, threads > 1 ? 10u : 0u);
      EXPECT_GT(profile[kernel].ns, 0u);
    }
    EXPECT_EQ(profile[2].launches, 0u);
  }
}

TEST(Session, Texts) {
  for (mv_status status = MV_OK; status <= MV_RUN_FAILED; ++status)
    EXPECT_STRNE(mv_status_text(status), "unknown status");
  EXPECT_STREQ(mv_status_text(99), "unknown status");
  EXPECT_STREQ(mv_dtype_name(MV_DTYPE_BF16), "bf16");
  EXPECT_EQ(mv_dtype_size(MV_DTYPE_F64), 8u);
  EXPECT_EQ(mv_dtype_name(0), nullptr);
  EXPECT_EQ(mv_dtype_size(99), 0u);
}
