//===- Harness.h - What the runtime's tests share ---------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_RUNTIME_HARNESS_H
#define MARVER_TESTS_UNIT_RUNTIME_HARNESS_H

#include "TestModule.h"

#include "marver/marver.h"

#include "gtest/gtest.h"

#include <cstring>
#include <memory>

namespace marver {

struct Release {
  void operator()(mv_module *module) const { mv_module_release(module); }
  void operator()(mv_pool *pool) const { mv_pool_release(pool); }
  void operator()(mv_session *session) const { mv_session_free(session); }
};
using ModulePtr = std::unique_ptr<mv_module, Release>;
using PoolPtr = std::unique_ptr<mv_pool, Release>;
using SessionPtr = std::unique_ptr<mv_session, Release>;

/// Bytes at an address of the alignment that a mapped file has.
class AlignedBytes {
public:
  AlignedBytes(const std::vector<uint8_t> &bytes) : count(bytes.size()) {
    memory = static_cast<uint8_t *>(
        aligned_alloc(4096, (bytes.size() / 4096 + 1) * 4096));
    if (!bytes.empty())
      memcpy(memory, bytes.data(), bytes.size());
  }
  ~AlignedBytes() { free(memory); }
  AlignedBytes(const AlignedBytes &) = delete;

  uint8_t *data() const { return memory; }
  size_t size() const { return count; }

private:
  uint8_t *memory;
  size_t count;
};

inline std::vector<uint8_t> moduleBytes(const ModuleContents &contents) {
  std::vector<uint8_t> bytes;
  BuildId buildId;
  std::string error;
  EXPECT_TRUE(writeModule(contents, bytes, buildId, error)) << error;
  return bytes;
}

/// The test module as it comes out of the writer; made once.
inline const AlignedBytes &testBytes() {
  static const AlignedBytes bytes(moduleBytes(testContents(MARVER_TEST_IMAGE)));
  return bytes;
}

inline ModulePtr loadTestModule(mv_pool *pool = nullptr) {
  mv_module *module = nullptr;
  mv_error error = {};
  mv_load_options options = {};
  options.pool = pool;
  EXPECT_EQ(mv_module_load_memory(testBytes().data(), testBytes().size(),
                                  &options, &module, &error),
            MV_OK)
      << error.message;
  return ModulePtr(module);
}

inline PoolPtr makePool(int threads) {
  mv_pool *pool = nullptr;
  mv_error error = {};
  EXPECT_EQ(mv_pool_create(threads, &pool, &error), MV_OK) << error.message;
  return PoolPtr(pool);
}

inline SessionPtr makeSession(mv_module *module, const char *entry,
                              mv_pool *pool = nullptr) {
  mv_session *session = nullptr;
  mv_error error = {};
  EXPECT_EQ(mv_session_create(module, entry, pool, &session, &error), MV_OK)
      << error.message;
  return SessionPtr(session);
}

template <typename T>
mv_status setInput(const SessionPtr &session, uint32_t index,
                   const std::vector<T> &values, std::vector<int64_t> dims) {
  return mv_session_set_input(session.get(), index, dims.data(), values.data(),
                              values.size() * sizeof(T));
}

template <typename T>
std::vector<T> output(const SessionPtr &session, uint32_t index) {
  mv_tensor tensor;
  EXPECT_EQ(mv_session_output(session.get(), index, &tensor), MV_OK);
  std::vector<T> values(tensor.bytes / sizeof(T));
  if (!values.empty())
    memcpy(values.data(), tensor.data, tensor.bytes);
  return values;
}

} // namespace marver

#endif // MARVER_TESTS_UNIT_RUNTIME_HARNESS_H
