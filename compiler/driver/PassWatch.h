//===- PassWatch.h - Which pass runs, for how long --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_PASSWATCH_H
#define MARVER_COMPILER_DRIVER_PASSWATCH_H

#include "mlir/Pass/PassInstrumentation.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include <chrono>
#include <string>

namespace marver {

/// Records times of passes and the name of the pass that failed or, after a
/// crash, that was running.
class PassWatch : public mlir::PassInstrumentation {
public:
  struct Record {
    std::string failed; ///< the pass that failed, or empty
    llvm::MapVector<llvm::StringRef, double> seconds; ///< by pass
  };

  /// `crashIn` names a pass that is to crash, or none.
  PassWatch(Record &record, llvm::StringRef crashIn)
      : record(record), crashIn(crashIn) {}

  /// For a signal handler: the pass or stage that runs now.
  static const char *current();
  /// `name` is a literal: it is kept, and ends with a zero.
  static void setCurrent(llvm::StringRef name);

  void runBeforePass(mlir::Pass *pass, mlir::Operation *op) override;
  void runAfterPass(mlir::Pass *pass, mlir::Operation *op) override;
  void runAfterPassFailed(mlir::Pass *pass, mlir::Operation *op) override;

private:
  using Clock = std::chrono::steady_clock;
  Record &record;
  llvm::StringRef crashIn;
  llvm::DenseMap<std::pair<mlir::Pass *, mlir::Operation *>, Clock::time_point>
      starts;
};

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_PASSWATCH_H
