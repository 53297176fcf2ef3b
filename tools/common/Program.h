//===- Program.h - What marver-run and marver-bench share -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_PROGRAM_H
#define MARVER_TOOLS_COMMON_PROGRAM_H

#include "tools/common/Inputs.h"
#include "tools/common/Sidecar.h"

#include "marver/marver.h"

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
} // namespace CLI

namespace marver {

/// Exit codes of all tools.
enum ExitCode {
  Success = 0,
  BadInput = 1,
  BadUsage = 2,
  Internal = 70,
  Interrupted = 130 ///< by SIGINT, as shells have it
};

struct Release {
  void operator()(mv_module *module) const { mv_module_release(module); }
  void operator()(mv_pool *pool) const { mv_pool_release(pool); }
  void operator()(mv_session *session) const { mv_session_free(session); }
};
using ModulePtr = std::unique_ptr<mv_module, Release>;
using PoolPtr = std::unique_ptr<mv_pool, Release>;
using SessionPtr = std::unique_ptr<mv_session, Release>;

/// Runs a program's main function under its name. What it throws nonetheless
/// (no memory) is an error as well, and not a crash.
int runProgram(const char *name, int (*program)(int argc, char **argv),
               int argc, char **argv);

/// "PROGRAM: error: ..." and "PROGRAM: warning: ..." on stderr.
void printError(const std::string &message);
void printWarning(const std::string &message);

/// Options that both programs have.
struct CommonOptions {
  std::string module;
  std::string function = "main";
  bool functionGiven = false;
  std::vector<std::string> inputs;
  bool verify = false;
  std::string publicKey; ///< a file, or 64 hexadecimal digits
  bool statistics = false;
};

/// Declares them.
void addCommonOptions(CLI::App &app, CommonOptions &options);

/// Repeatable text options, whose values may be anything, even nothing. Values
/// arrive with a mark in front, see prepareArguments().
void addTextOption(CLI::App &app, const std::string &name,
                   std::vector<std::string> &values, const std::string &help);

/// Makes arguments ready for CLI11: `-` for `_` in flags; text options of the
/// form --name=value in two arguments with a mark before the value; flags that
/// only IREE's tools have translated, or left out with a warning. Flags that
/// begin with `passPrefix` go to `passed` as they are.
std::vector<std::string> prepareArguments(
    int argc, char **argv, const std::vector<std::string> &textOptions,
    const std::string &passPrefix, std::vector<std::string> &passed);

/// Parses what prepareArguments() gave. Returns true to go on; otherwise the
/// program ends with `exitCode` (help, version, or bad usage).
bool parseArguments(CLI::App &app, std::vector<std::string> arguments,
                    int &exitCode);

/// "1,2,4" or "0"; false if it is no such list.
bool parseThreadCounts(const std::string &text, std::vector<int> &counts);

/// A module, its sidecar, and the function to call.
struct LoadedModule {
  ModulePtr module;
  Sidecar sidecar;
  std::string function;
  const mv_signature *signature = nullptr;
  std::vector<std::string> inputNames, outputNames, symbolNames;
};

/// Loads the module of `options`. Prints what went wrong.
bool loadModule(const CommonOptions &options, mv_pool *pool,
                LoadedModule &loaded);

/// Chooses the function to call; false, with a message, if there is none of
/// that name.
bool chooseFunction(const CommonOptions &options, LoadedModule &loaded);

/// The signature of the chosen function, or of all.
void printSignatures(const LoadedModule &loaded, bool all);

PoolPtr createPool(int threads);

/// A session of the chosen function with all inputs set.
SessionPtr createSession(const LoadedModule &loaded, mv_pool *pool,
                         const std::vector<Tensor> &inputs);

/// Binds outputs that may alias an input to that input's buffer. `inputs` are
/// then changed by a run; the indices of those that are come back.
std::vector<uint32_t> bindAliases(const LoadedModule &loaded,
                                  mv_session *session,
                                  const std::vector<Tensor> &inputs);

/// Runs once; says why it failed in the words of the sidecar.
bool invoke(const LoadedModule &loaded, mv_session *session);

/// Counters of module and session, on stderr.
void printStatistics(const LoadedModule &loaded, const mv_session *session);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_PROGRAM_H
