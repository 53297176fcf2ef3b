//===- PassWatch.cpp - Which pass runs, for how long ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/PassWatch.h"

#include "mlir/Pass/Pass.h"
#include <atomic>

using namespace mlir;

namespace marver {

static std::atomic<const char *> runningName{"start-up"};

const char *PassWatch::current() { return runningName; }
void PassWatch::setCurrent(StringRef name) {
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): of a literal
  runningName = name.data();
}

/// Names of passes live as long as the program: they are string literals.
static StringRef nameOf(Pass *pass) {
  StringRef argument = pass->getArgument();
  return argument.empty() ? pass->getName() : argument;
}

static bool isAdaptor(Pass *pass) {
  return pass->getName().contains("OpToOpPassAdaptor");
}

void PassWatch::runBeforePass(Pass *pass, Operation *op) {
  if (isAdaptor(pass))
    return;
  setCurrent(nameOf(pass));
  if (nameOf(pass) == crashIn)
    LLVM_BUILTIN_TRAP;
  starts[{pass, op}] = Clock::now();
}

void PassWatch::runAfterPass(Pass *pass, Operation *op) {
  if (isAdaptor(pass))
    return;
  record.seconds[nameOf(pass)] +=
      std::chrono::duration<double>(Clock::now() - starts.lookup({pass, op}))
          .count();
}

void PassWatch::runAfterPassFailed(Pass *pass, Operation *op) {
  if (record.failed.empty() && !isAdaptor(pass))
    record.failed = nameOf(pass).str();
}

} // namespace marver
