//===- ThreadPool.h - Runs a kernel on several threads ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A launch is cut into one contiguous part per thread, always in the same way,
// so that a thread finds in its cache what it left there. Each worker has one
// word of state, over which it and the launching thread agree:
//
//     Idle --launch--> Posted --worker--> Running --worker--> Idle
//                      Posted --launching thread takes it back--> Idle
//     Idle --worker, after spinning--> Sleeping --launch--> Posted
//
// The launching thread takes back parts that no worker has begun by the time
// its own is done. So a launch never waits for a thread to wake up: a tiny
// kernel costs what it costs on one thread, and so does any kernel while other
// programs occupy the CPUs.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_THREADPOOL_H
#define MARVER_RUNTIME_THREADPOOL_H

#include "marver/marver.h"

#include <atomic>
#include <pthread.h>

namespace marver {

/// Nanoseconds of a clock that only moves forward.
uint64_t now();

/// Threads that the process may use: affinity mask, cgroup quota.
int availableThreads();

/// A kernel over an extent, to be done by at most `maxParts` threads.
struct Launch {
  mv_kernel_fn kernel;
  const int64_t *slots;
  int64_t extent; ///< > 0
  uint8_t *scratch;
  uint64_t scratchStride; ///< from the scratch of one part to the next
  int maxParts;
  uint64_t *busy; ///< time of each part is added here, or NULL

  // Filled by runLaunch().
  int parts = 1;
  uint64_t floatControl = 0;

  /// Does one part on the calling thread.
  void runPart(int part) const;
};

/// Runs the launch on `pool` (NULL: on the calling thread) to its end; returns
/// the number of parts that it was cut into.
int runLaunch(mv_pool *pool, Launch &launch);

void retain(mv_pool *pool);

/// Keeps the pool's workers spinning between launches while it lives.
class RunScope {
public:
  explicit RunScope(mv_pool *pool);
  ~RunScope();
  RunScope(const RunScope &) = delete;
  RunScope &operator=(const RunScope &) = delete;

private:
  mv_pool *pool;
};

/// A thread of a pool. On its own cache lines: the next worker's state changes
/// as often.
struct alignas(128) Worker {
  std::atomic<uint32_t> state;
  const Launch *launch; ///< written before Posted, read after Running
  int part;
  mv_pool *pool;
  pthread_t thread;
};

} // namespace marver

struct mv_pool {
  std::atomic<uint32_t> references;
  int threads;
  mv_parallel_fn parallel; ///< of an external pool, else NULL
  void *context;
  marver::Worker *workers; ///< threads - 1 of them
  int started;
  /// More threads than CPUs: who spins lets others run.
  bool crowded;
  /// Taken by a launch; others meanwhile run on their own thread.
  alignas(128) std::atomic<bool> busy;
  /// Invokes in progress.
  alignas(128) std::atomic<int> active;
};

#endif // MARVER_RUNTIME_THREADPOOL_H
