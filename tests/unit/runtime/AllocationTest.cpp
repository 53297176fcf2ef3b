//===- AllocationTest.cpp - When there is no memory -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The linker lets the runtime's calls for memory come here (--wrap), where each
// of them fails once. The status says so, nothing crashes, and the leak checker
// finds nothing left behind.
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include "gtest/gtest.h"

#include <cerrno>
#include <cstdlib>
#include <sys/mman.h>

using namespace marver;

/// Calls until one fails; negative: none does.
static int untilFailure = -1;
static bool failed = false;

static bool failNow() {
  if (untilFailure < 0)
    return false;
  --untilFailure;
  if (untilFailure >= 0)
    return false;
  failed = true;
  errno = ENOMEM;
  return true;
}

extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset);
int __real_mprotect(void *address, size_t size, int protection);

void *__wrap_malloc(size_t size) {
  return failNow() ? nullptr : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
  return failNow() ? nullptr : __real_calloc(count, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
  return failNow() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset) {
  return failNow() ? MAP_FAILED
                   : __real_mmap(address, size, protection, flags, fd, offset);
}
int __wrap_mprotect(void *address, size_t size, int protection) {
  return failNow() ? -1 : __real_mprotect(address, size, protection);
}
}

/// Everything that a program does, up to the first error.
static mv_status useEverything(const AlignedBytes &bytes) {
  mv_pool *pool = nullptr;
  mv_module *module = nullptr;
  mv_session *session = nullptr;
  static std::vector<float> in(1000, 1.0f);
  static const int64_t dims[] = {1000};
  mv_load_options options = {};
  mv_status status = mv_pool_create(2, &pool, nullptr);
  options.pool = pool;
  if (status == MV_OK)
    status = mv_module_load_memory(bytes.data() + 8, bytes.size() - 8, &options,
                                   &module, nullptr);
  if (status == MV_OK)
    status = mv_session_create(module, "nonzero", pool, &session, nullptr);
  if (status == MV_OK)
    status = mv_session_profile_start(session);
  if (status == MV_OK)
    status = mv_session_set_input(session, 0, dims, in.data(), 4000);
  if (status == MV_OK) {
    status = mv_session_invoke(session);
    // Memory that could not be had may be there the next time.
    if (status == MV_NO_MEMORY)
      EXPECT_EQ(mv_session_invoke(session), MV_OK);
  }
  mv_session *stateful = nullptr;
  if (status == MV_OK)
    status = mv_session_create(module, "sum", pool, &stateful, nullptr);
  mv_session_free(stateful);
  mv_session_free(session);
  mv_module_release(module);
  mv_pool_release(pool);
  return status;
}

TEST(Allocation, EachOneFailsOnce) {
  // Shifted, so that the constants are copied.
  std::vector<uint8_t> shifted(8);
  shifted.insert(shifted.end(), testBytes().data(),
                 testBytes().data() + testBytes().size());
  AlignedBytes bytes(shifted);
  int failures = 0;
  for (int n = 0;; ++n) {
    untilFailure = n;
    failed = false;
    mv_status status = useEverything(bytes);
    untilFailure = -1;
    if (!failed) {
      EXPECT_EQ(status, MV_OK);
      break;
    }
    EXPECT_TRUE(status == MV_NO_MEMORY || status == MV_IO_ERROR)
        << "failure " << n << ": " << mv_status_text(status);
    ++failures;
  }
  // Pool, module, session, arena, ...: if there were few, the linker would not
  // have brought the calls here.
  EXPECT_GT(failures, 12);
}
