//===- Futex.h - Sleep until a word changes ---------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_FUTEX_H
#define MARVER_RUNTIME_FUTEX_H

#include <atomic>
#include <cstdint>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <pthread.h>
#endif

namespace marver {

#if defined(__linux__)

/// Sleeps while `word` is `value`; may return early.
inline void waitWhile(std::atomic<uint32_t> &word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

/// Wakes the thread that sleeps on `word`, after it was changed.
inline void wake(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

#else

// One condition for all words: who is woken in vain goes back to sleep.
inline pthread_mutex_t waitMutex = PTHREAD_MUTEX_INITIALIZER;
inline pthread_cond_t waitCondition = PTHREAD_COND_INITIALIZER;

inline void waitWhile(std::atomic<uint32_t> &word, uint32_t value) {
  pthread_mutex_lock(&waitMutex);
  if (word.load() == value)
    pthread_cond_wait(&waitCondition, &waitMutex);
  pthread_mutex_unlock(&waitMutex);
}

inline void wake(std::atomic<uint32_t> &) {
  pthread_mutex_lock(&waitMutex);
  pthread_cond_broadcast(&waitCondition);
  pthread_mutex_unlock(&waitMutex);
}

#endif

/// Tells the CPU that this thread spins.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}

} // namespace marver

#endif // MARVER_RUNTIME_FUTEX_H
