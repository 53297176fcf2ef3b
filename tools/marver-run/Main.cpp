//===- Main.cpp - marver-run: calls a function of a module ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Compare.h"
#include "tools/common/Program.h"

#include <CLI/CLI.hpp>

#include <csignal>

using namespace marver;

namespace {

struct Options : CommonOptions {
  std::vector<std::string> outputs;
  std::vector<std::string> expected;
  Tolerance tolerance;
  std::string threads = "0";
  bool signature = false;
  uint64_t maxElements = 1024;
  uint64_t repeat = 1;
  uint64_t maxTrips = 0;
};

} // namespace

static void addOptions(CLI::App &app, Options &options) {
  addCommonOptions(app, options);
  addTextOption(app, "--output", options.outputs,
                "where a result goes, in order: - (print) | @f.npy | +f.npy "
                "(append) | @f.bin | nothing (drop); all are printed if none "
                "is given");
  addTextOption(app, "--expected-output", options.expected,
                "what a result must be, in order, like --input; '(ignored)' is "
                "not compared");
  app.add_option("--rtol", options.tolerance.rtol,
                 "relative tolerance (default: by type, f32 1e-4)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--atol", options.tolerance.atol,
                 "absolute tolerance (default: by type, f32 1e-4)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--threads", options.threads,
                 "threads; 0 (default): as many as affinity and cgroup allow")
      ->type_name("N");
  app.add_flag("--signature", options.signature,
               "print inputs and outputs, and end");
  app.add_option("--output-max-element-count", options.maxElements,
                 "elements printed of each result (default: 1024)");
  app.add_option("--repeat", options.repeat,
                 "runs, which go on from the state that the one before left; "
                 "the results are those of the last (default: 1)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-trips", options.maxTrips,
                 "iterations that all loops of a run may make together; beyond "
                 "that it fails (default: any number)")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
}

/// Results in the words of `outputs`; false if one cannot be written.
static bool writeOutputs(const Options &options, mv_session *session,
                         uint32_t count) {
  OutputWriter writer;
  for (uint32_t i = 0; i < count; ++i) {
    std::string spec;
    if (i < options.outputs.size())
      spec = options.outputs[i];
    else if (options.outputs.empty() && options.expected.empty())
      spec = "-";
    mv_tensor tensor;
    mv_session_output(session, i, &tensor);
    std::string error;
    if (!writer.write(spec, i, tensor.dtype,
                      {tensor.dims, tensor.dims + tensor.rank},
                      static_cast<const uint8_t *>(tensor.data), tensor.bytes,
                      options.maxElements, error)) {
      printError("output " + std::to_string(i) + ": " + error);
      return false;
    }
  }
  return true;
}

static constexpr char ignored[] = "(ignored)";

/// Reads what is expected; one tensor without a type for each "(ignored)".
static bool readExpected(const Options &options, const LoadedModule &loaded,
                         mv_session *session, std::vector<Tensor> &expected) {
  InputReader reader;
  const mv_signature &signature = *loaded.signature;
  auto tooMany = [&] {
    printError("too many --expected-output: the function has " +
               std::to_string(signature.output_count) + " outputs");
    return false;
  };
  for (const std::string &spec : options.expected) {
    auto index = static_cast<uint32_t>(expected.size());
    if (index >= signature.output_count)
      return tooMany();
    if (spec == ignored) {
      expected.emplace_back();
      continue;
    }
    // The type of the result says how to read a text without one, and bf16
    // from npy. That it is the expected one is for the comparison to say.
    mv_tensor tensor;
    mv_session_output(session, index, &tensor);
    WantedType wanted = {tensor.dtype,
                         {tensor.dims, tensor.dims + tensor.rank}};
    std::string error;
    if (!reader.readAny(spec, wanted, expected, error)) {
      printError("expected output " + std::to_string(index) + ": " + error);
      return false;
    }
  }
  return expected.size() <= signature.output_count || tooMany();
}

static bool compareOutputs(const Options &options, const LoadedModule &loaded,
                           mv_session *session) {
  std::vector<Tensor> expected;
  if (!readExpected(options, loaded, session, expected))
    return false;
  bool matches = true;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!expected[i].dtype)
      continue;
    mv_tensor tensor;
    mv_session_output(session, static_cast<uint32_t>(i), &tensor);
    Comparison comparison = compare(
        expected[i], tensor.dtype, {tensor.dims, tensor.dims + tensor.rank},
        static_cast<const uint8_t *>(tensor.data), options.tolerance);
    fprintf(stderr, "output[%zu] %s\n", i, comparison.report.c_str());
    matches &= comparison.matches;
  }
  return matches;
}

/// The session that SIGINT cancels.
static mv_session *volatile interruptible;
static volatile sig_atomic_t isInterrupted;

/// Once: a second SIGINT ends the process.
static void cancelOnInterrupt(mv_session *session) {
  interruptible = session;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    isInterrupted = 1;
    mv_session_cancel(interruptible);
  };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

static int run(const Options &options, int threads) {
  PoolPtr pool = createPool(threads);
  LoadedModule loaded;
  if (!pool || !loadModule(options, pool.get(), loaded))
    return BadInput;
  bool all = options.signature && !options.functionGiven;
  if (!all && !chooseFunction(options, loaded))
    return BadInput;
  if (options.signature) {
    printSignatures(loaded, all);
    return Success;
  }
  const mv_signature &signature = *loaded.signature;
  if (options.outputs.size() > signature.output_count) {
    printError("too many --output: the function has " +
               std::to_string(signature.output_count) + " outputs");
    return BadInput;
  }

  std::vector<Tensor> inputs;
  InputReader reader;
  std::string error;
  if (!reader.read(options.inputs, inputTypes(signature), "input",
                   loaded.inputNames, inputs, error)) {
    printError(error);
    return BadInput;
  }
  SessionPtr session = createSession(loaded, pool.get(), inputs);
  if (!session)
    return BadInput;

  mv_session_set_trip_limit(session.get(), options.maxTrips);
  cancelOnInterrupt(session.get());

  // Inputs that a run updates in place start anew before the run that counts.
  std::vector<uint32_t> changed = bindAliases(loaded, session.get(), inputs);
  std::vector<Tensor> pristine;
  if (options.repeat > 1)
    for (uint32_t input : changed)
      pristine.push_back(inputs[input].clone());
  for (uint64_t i = 0; i < options.repeat; ++i) {
    if (i + 1 == options.repeat)
      for (size_t k = 0; k < pristine.size(); ++k)
        memcpy(inputs[changed[k]].data(), pristine[k].data(),
               pristine[k].bytes());
    if (isInterrupted || !invoke(loaded, session.get()))
      return isInterrupted ? Interrupted : BadInput;
  }
  signal(SIGINT, SIG_DFL);

  if (!writeOutputs(options, session.get(), signature.output_count))
    return BadInput;
  bool matches = options.expected.empty() ||
                 compareOutputs(options, loaded, session.get());
  if (options.statistics)
    printStatistics(loaded, session.get());
  if (fflush(stdout) != 0) {
    printError("cannot write the results");
    return BadInput;
  }
  return matches ? Success : BadInput;
}

static int program(int argc, char **argv) {
  CLI::App app("Runs a function of a compiled module and prints, stores or "
               "compares its results.",
               "marver-run");
  Options options;
  addOptions(app, options);
  std::vector<std::string> passed;
  std::vector<std::string> arguments = prepareArguments(
      argc, argv, {"input", "output", "expected-output"}, "", passed);
  int exitCode = Success;
  if (!parseArguments(app, arguments, exitCode))
    return exitCode;
  std::vector<int> threads;
  if (options.module.empty()) {
    printError("no module is given (see marver-run --help)");
    return BadUsage;
  }
  if (!parseThreadCounts(options.threads, threads) || threads.size() != 1) {
    printError("--threads must be a number, not '" + options.threads + "'");
    return BadUsage;
  }
  return run(options, threads[0]);
}

int main(int argc, char **argv) {
  return runProgram("marver-run", program, argc, argv);
}
