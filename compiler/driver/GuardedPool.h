//===- GuardedPool.h - Threads whose crashes are reported -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_GUARDEDPOOL_H
#define MARVER_COMPILER_DRIVER_GUARDEDPOOL_H

#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/ThreadPool.h"
#include <functional>

namespace marver {

/// A thread pool that calls `onCrash` on the thread whose task crashed, outside
/// of the signal handler. It must not return: what the task held is lost, so
/// nobody may wait for it.
class GuardedPool : public llvm::ThreadPoolInterface {
public:
  GuardedPool(llvm::ThreadPoolStrategy strategy, std::function<void()> onCrash)
      : onCrash(std::move(onCrash)), pool(strategy) {}

  void wait() override { pool.wait(); }
  void wait(llvm::ThreadPoolTaskGroup &group) override { pool.wait(group); }
  unsigned getMaxConcurrency() const override {
    return pool.getMaxConcurrency();
  }

private:
  void asyncEnqueue(llvm::unique_function<void()> task,
                    llvm::ThreadPoolTaskGroup *group) override {
    auto guarded = [this, task = std::move(task)]() mutable {
      llvm::CrashRecoveryContext recovery;
      if (!recovery.RunSafely(task))
        onCrash();
    };
    if (group)
      pool.async(*group, std::move(guarded));
    else
      pool.async(std::move(guarded));
  }

  std::function<void()> onCrash;
  llvm::DefaultThreadPool pool;
};

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_GUARDEDPOOL_H
