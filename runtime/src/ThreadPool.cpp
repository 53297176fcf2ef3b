//===- ThreadPool.cpp - Runs a kernel on several threads ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include "Cpu.h"
#include "Error.h"
#include "Futex.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <sched.h>

using namespace marver;

namespace {
enum State : uint32_t {
  Idle,
  Sleeping,
  Posted,
  Running,
  Awaited, ///< Running, and the launching thread sleeps until it is done
  Stopped
};
} // namespace

/// How long a worker spins for its next part before it sleeps: between two
/// launches of a run, and after its end in case another run follows.
static constexpr uint64_t spinInRun = 1000 * 1000;
static constexpr uint64_t spinAfterRun = 50 * 1000;
/// How long the launching thread spins for a worker's part.
static constexpr uint64_t spinForPart = 200 * 1000;
/// Looking at the clock takes as long as a few spins.
static constexpr unsigned spinsPerLook = 64;

/// A thread cannot make use of more, and counts from a caller end here.
static constexpr int maxThreads = 1024;

uint64_t marver::now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1000000000 + uint64_t(time.tv_nsec);
}

void Launch::runPart(int part) const {
  // The first `rest` parts are one longer; no product that could overflow.
  int64_t size = extent / parts, rest = extent % parts;
  int64_t begin = size * part + (part < rest ? part : rest);
  int64_t end = begin + size + (part < rest ? 1 : 0);
  uint64_t start = busy ? now() : 0;
  kernel(slots, begin, end,
         scratch + scratchStride * static_cast<uint64_t>(part));
  if (busy)
    busy[part] += now() - start;
}

//===----------------------------------------------------------------------===//
// Workers
//===----------------------------------------------------------------------===//

static void spin(const Worker &worker) {
  if (worker.pool->crowded)
    sched_yield();
  else
    relax();
}

/// Returns when a part is posted or the pool stops, with that state.
static uint32_t awaitPart(Worker &worker) {
  uint64_t start = 0;
  for (unsigned spins = 1;; ++spins) {
    uint32_t state = worker.state.load(std::memory_order_acquire);
    if (state != Idle)
      return state;
    spin(worker);
    if (spins % spinsPerLook != 0)
      continue;
    uint64_t time = now();
    if (start == 0)
      start = time;
    bool inRun = worker.pool->active.load(std::memory_order_relaxed) > 0;
    if (time - start < (inRun ? spinInRun : spinAfterRun))
      continue;
    uint32_t expected = Idle;
    if (!worker.state.compare_exchange_strong(expected, Sleeping,
                                              std::memory_order_acquire))
      return expected;
    do {
      waitWhile(worker.state, Sleeping);
      state = worker.state.load(std::memory_order_acquire);
    } while (state == Sleeping);
    // Taken back meanwhile, most likely because of the time to wake up: the
    // next one comes soon.
    if (state != Idle)
      return state;
    start = 0;
  }
}

static void *workerMain(void *argument) {
  Worker &worker = *static_cast<Worker *>(argument);
  uint64_t control = floatControl();
  for (;;) {
    if (awaitPart(worker) == Stopped)
      return nullptr;
    uint32_t expected = Posted;
    if (!worker.state.compare_exchange_strong(expected, Running,
                                              std::memory_order_acquire))
      continue;
    const Launch &launch = *worker.launch;
    if (launch.floatControl != control) {
      control = launch.floatControl;
      setFloatControl(control);
    }
    launch.runPart(worker.part);
    // From here on the launch may be gone.
    if (worker.state.exchange(Idle, std::memory_order_acq_rel) == Awaited)
      wake(worker.state);
  }
}

static void post(Worker &worker, const Launch &launch, int part) {
  worker.launch = &launch;
  worker.part = part;
  if (worker.state.exchange(Posted, std::memory_order_acq_rel) == Sleeping)
    wake(worker.state);
}

static bool takeBack(Worker &worker) {
  uint32_t expected = Posted;
  return worker.state.compare_exchange_strong(expected, Idle,
                                              std::memory_order_acquire);
}

static void awaitDone(Worker &worker) {
  uint64_t start = 0;
  for (unsigned spins = 1;; ++spins) {
    // Idle, or Sleeping if it went on from there already.
    uint32_t state = worker.state.load(std::memory_order_acquire);
    if (state != Running && state != Awaited)
      return;
    spin(worker);
    if (spins % spinsPerLook != 0)
      continue;
    uint64_t time = now();
    if (start == 0)
      start = time;
    if (time - start < spinForPart)
      continue;
    uint32_t expected = Running;
    worker.state.compare_exchange_strong(expected, Awaited,
                                         std::memory_order_acquire);
    while (worker.state.load(std::memory_order_acquire) == Awaited)
      waitWhile(worker.state, Awaited);
  }
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static void runExternalPart(void *argument, int64_t index) {
  const Launch &launch = *static_cast<const Launch *>(argument);
  uint64_t control = floatControl();
  if (control != launch.floatControl)
    setFloatControl(launch.floatControl);
  launch.runPart(static_cast<int>(index));
  if (control != launch.floatControl)
    setFloatControl(control);
}

int marver::runLaunch(mv_pool *pool, Launch &launch) {
  int64_t parts = pool ? pool->threads : 1;
  if (parts > launch.maxParts)
    parts = launch.maxParts;
  if (parts > launch.extent)
    parts = launch.extent;
  if (pool && parts > 1) {
    launch.parts = static_cast<int>(parts);
    launch.floatControl = floatControl();
    if (pool->parallel) {
      pool->parallel(pool->context, runExternalPart, &launch, parts);
      return launch.parts;
    }
    if (!pool->busy.exchange(true, std::memory_order_acquire)) {
      for (int i = 1; i < launch.parts; ++i)
        post(pool->workers[i - 1], launch, i);
      launch.runPart(0);
      uint64_t taken = 0;
      for (int i = 1; i < launch.parts; ++i)
        if (takeBack(pool->workers[i - 1])) {
          launch.runPart(i);
          ++taken;
        }
      if (taken + 1 < static_cast<uint64_t>(launch.parts))
        for (int i = 1; i < launch.parts; ++i)
          awaitDone(pool->workers[i - 1]);
      pool->busy.store(false, std::memory_order_release);
      return launch.parts;
    }
  }
  launch.parts = 1;
  launch.runPart(0);
  return 1;
}

RunScope::RunScope(mv_pool *pool) : pool(pool) {
  if (pool)
    pool->active.fetch_add(1, std::memory_order_relaxed);
}

RunScope::~RunScope() {
  if (pool)
    pool->active.fetch_sub(1, std::memory_order_relaxed);
}

//===----------------------------------------------------------------------===//
// Creation
//===----------------------------------------------------------------------===//

static void destroy(mv_pool *pool) {
  for (int i = 0; i < pool->started; ++i) {
    Worker &worker = pool->workers[i];
    if (worker.state.exchange(Stopped, std::memory_order_acq_rel) == Sleeping)
      wake(worker.state);
    pthread_join(worker.thread, nullptr);
  }
  free(pool->workers);
  free(pool);
}

static void *allocate(size_t count, size_t size) {
  void *memory;
  if (posix_memalign(&memory, 128, count * size) != 0)
    return nullptr;
  return memset(memory, 0, count * size);
}

/// Starts the workers, with all signals blocked: handlers belong to the
/// program's own threads.
static bool start(mv_pool *pool) {
  int count = pool->threads - 1;
  pool->workers = static_cast<Worker *>(
      allocate(static_cast<size_t>(count), sizeof(Worker)));
  if (!pool->workers)
    return false;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool->started < count) {
    Worker *worker = new (&pool->workers[pool->started]) Worker{};
    worker->pool = pool;
    if (pthread_create(&worker->thread, nullptr, workerMain, worker) != 0)
      break;
    ++pool->started;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return pool->started == count;
}

static mv_status create(int threads, mv_parallel_fn parallel, void *context,
                        mv_pool **result, mv_error *error) {
  if (!result)
    return fail(error, MV_INVALID_ARGUMENT, "no place for the pool");
  *result = nullptr;
  if (threads < 0 || threads > maxThreads)
    return fail(error, MV_INVALID_ARGUMENT,
                "number of threads is %d; it can be 0 (automatic) to %d",
                threads, maxThreads);
  void *memory = allocate(1, sizeof(mv_pool));
  if (!memory)
    return fail(error, MV_NO_MEMORY, "no memory for a thread pool");
  auto *pool = new (memory) mv_pool{};
  pool->references = 1;
  pool->threads = threads > 0 ? threads : availableThreads();
  pool->parallel = parallel;
  pool->context = context;
  pool->crowded = pool->threads > availableThreads();
  if (!parallel && pool->threads > 1 && !start(pool)) {
    int wanted = pool->threads;
    destroy(pool);
    return fail(error, MV_NO_MEMORY, "cannot start %d threads", wanted);
  }
  *result = pool;
  return MV_OK;
}

mv_status mv_pool_create(int threads, mv_pool **pool, mv_error *error) {
  return create(threads, nullptr, nullptr, pool, error);
}

mv_status mv_pool_create_external(int threads, mv_parallel_fn parallel,
                                  void *context, mv_pool **pool,
                                  mv_error *error) {
  if (!parallel)
    return fail(error, MV_INVALID_ARGUMENT, "no function to run in parallel");
  return create(threads, parallel, context, pool, error);
}

int mv_pool_threads(const mv_pool *pool) { return pool ? pool->threads : 1; }

void marver::retain(mv_pool *pool) {
  if (pool)
    pool->references.fetch_add(1, std::memory_order_relaxed);
}

void mv_pool_release(mv_pool *pool) {
  if (pool && pool->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    destroy(pool);
}
