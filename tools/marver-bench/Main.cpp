//===- Main.cpp - marver-bench: times a function of a module --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Program.h"
#include "tools/marver-bench/Profile.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <iostream>
#include <sstream>

using namespace marver;

using Clock = std::chrono::steady_clock;

namespace {

struct Options : CommonOptions {
  std::string threads = "0";
  std::string timeUnit;
  bool profile = false;
  /// Of --benchmark_min_time=Nx, 0: by time.
  int64_t iterations = 0;
  bool json = false;
};

/// One number of threads: a session, and its first results to compare with.
struct Measurement {
  int threads;
  PoolPtr pool;
  SessionPtr session;
  double firstRunMs;
  double runMs; ///< of the second run: what to expect
};

class Bench {
public:
  Bench(const Options &options, const std::vector<int> &threads)
      : options(options), threadCounts(threads) {}

  int run(std::vector<std::string> benchmarkFlags);

private:
  bool prepare();
  bool prepareMeasurement(Measurement &measurement);
  void addContext();
  void registerBenchmarks();
  void measure(Measurement &measurement, benchmark::State &state);
  std::string checkResults(Measurement &measurement);
  std::vector<Tensor> results(const Measurement &measurement);
  void restoreInputs();

  const Options &options;
  std::vector<int> threadCounts;
  LoadedModule loaded;
  std::vector<Tensor> inputs;
  /// Inputs that runs update in place, and what they were.
  std::vector<uint32_t> changed;
  std::vector<Tensor> pristine;
  /// Runs depend on those before: each begins with the module's own state.
  bool keepsState = false;
  std::vector<Measurement> measurements;
  std::vector<Tensor> firstResults;
  std::string failure; ///< what went wrong in a benchmark
};

/// Passes whole lines on, but for Google Benchmark's warning that it was built
/// without NDEBUG: the distribution's always is, and what it times is not.
class WithoutDebugWarning : public std::stringbuf {
public:
  int sync() override {
    std::istringstream lines(str());
    for (std::string line; std::getline(lines, line);)
      if (line.find("Library was built as DEBUG") == std::string::npos)
        std::cerr << line << (lines.eof() ? "" : "\n") << std::flush;
    str("");
    return 0;
  }
};

} // namespace

static double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

static std::string threadsText(int threads) {
  return "threads:" + std::to_string(threads);
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

void Bench::restoreInputs() {
  for (size_t i = 0; i < changed.size(); ++i)
    memcpy(inputs[changed[i]].data(), pristine[i].data(), pristine[i].bytes());
}

std::vector<Tensor> Bench::results(const Measurement &measurement) {
  std::vector<Tensor> tensors;
  for (uint32_t i = 0; i < loaded.signature->output_count; ++i) {
    mv_tensor result;
    mv_session_output(measurement.session.get(), i, &result);
    Tensor &tensor = tensors.emplace_back();
    tensor.dtype = result.dtype;
    tensor.dims.assign(result.dims, result.dims + result.rank);
    std::string error;
    if (tensor.allocate(error) && result.bytes > 0)
      memcpy(tensor.data(), result.data, result.bytes);
  }
  return tensors;
}

/// The first two runs: the one that finds everything cold, and one that tells
/// how long a run is.
bool Bench::prepareMeasurement(Measurement &measurement) {
  measurement.session = createSession(loaded, measurement.pool.get(), inputs);
  if (!measurement.session)
    return false;
  keepsState = loaded.signature->state_count > 0;
  changed = bindAliases(loaded, measurement.session.get(), inputs);
  if (pristine.empty())
    for (uint32_t input : changed)
      pristine.push_back(inputs[input].clone());
  restoreInputs();
  auto start = Clock::now();
  if (!invoke(loaded, measurement.session.get()))
    return false;
  auto middle = Clock::now();
  std::vector<Tensor> first = results(measurement);
  if (measurements.empty())
    firstResults = std::move(first);
  else if (std::string difference = checkResults(measurement);
           !difference.empty()) {
    printError(difference);
    return false;
  }
  mv_session_reset(measurement.session.get());
  auto second = Clock::now();
  if (!invoke(loaded, measurement.session.get()))
    return false;
  measurement.firstRunMs = milliseconds(start, middle);
  measurement.runMs = milliseconds(second, Clock::now());
  return true;
}

bool Bench::prepare() {
  PoolPtr firstPool = createPool(threadCounts[0]);
  if (!firstPool || !loadModule(options, firstPool.get(), loaded) ||
      !chooseFunction(options, loaded))
    return false;
  InputReader reader;
  std::string error;
  if (!reader.read(options.inputs, inputTypes(*loaded.signature), "input",
                   loaded.inputNames, inputs, error)) {
    printError(error);
    return false;
  }
  for (size_t i = 0; i < threadCounts.size(); ++i) {
    Measurement measurement;
    measurement.pool =
        i == 0 ? std::move(firstPool) : createPool(threadCounts[i]);
    if (!measurement.pool)
      return false;
    measurement.threads = mv_pool_threads(measurement.pool.get());
    if (!prepareMeasurement(measurement))
      return false;
    measurements.push_back(std::move(measurement));
  }
  return true;
}

/// The processor's name, as the system gives it.
static std::string cpuName() {
  std::string name = "unknown";
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (!file)
    return name;
  char line[512];
  while (fgets(line, sizeof(line), file))
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
      name = strchr(line, ':') + 2;
      name.erase(name.find_last_not_of('\n') + 1);
      break;
    }
  fclose(file);
  return name;
}

void Bench::addContext() {
  mv_module_info info;
  mv_module_query(loaded.module.get(), &info);
  auto number = [](double value) {
    char text[32];
    snprintf(text, sizeof(text), "%.4f", value);
    return std::string(text);
  };
  benchmark::AddCustomContext("marver_version", mv_version());
  benchmark::AddCustomContext("cpu", cpuName());
  benchmark::AddCustomContext("module_bytes", std::to_string(info.file_bytes));
  double loadMs = static_cast<double>(info.load_ns) / 1e6;
  benchmark::AddCustomContext("load_ms", number(loadMs));
  benchmark::AddCustomContext("first_run_ms",
                              number(measurements[0].firstRunMs));
  benchmark::AddCustomContext("load_and_first_run_ms",
                              number(loadMs + measurements[0].firstRunMs));
  for (size_t i = 1; i < measurements.size(); ++i)
    benchmark::AddCustomContext("first_run_ms/" +
                                    threadsText(measurements[i].threads),
                                number(measurements[i].firstRunMs));
}

//===----------------------------------------------------------------------===//
// Measuring
//===----------------------------------------------------------------------===//

/// Empty, or how the results that are there now differ from the first ones.
std::string Bench::checkResults(Measurement &measurement) {
  std::vector<Tensor> now = results(measurement);
  for (size_t i = 0; i < now.size(); ++i)
    if (now[i].dims != firstResults[i].dims ||
        now[i].bytes() != firstResults[i].bytes() ||
        (now[i].bytes() > 0 &&
         memcmp(now[i].data(), firstResults[i].data(), now[i].bytes()) != 0))
      return "output " + std::to_string(i) + " with " +
             std::to_string(measurement.threads) +
             " threads differs from the first run's";
  return {};
}

static double percentile(const std::vector<double> &sorted, double share) {
  auto index = static_cast<size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(index, sorted.size() - 1)];
}

void Bench::measure(Measurement &measurement, benchmark::State &state) {
  // A look at the clock takes 25 ns: one for many runs of a small function.
  constexpr double smallestSampleMs = 0.02;
  auto batch = static_cast<int64_t>(std::clamp(
      smallestSampleMs / std::max(measurement.runMs, 1e-5), 1.0, 1000.0));
  if (options.iterations > 0 || keepsState)
    batch = 1;
  mv_session *session = measurement.session.get();
  restoreInputs();
  std::vector<double> samples;
  samples.reserve(static_cast<size_t>(
      std::min<int64_t>(static_cast<int64_t>(state.max_iterations) / batch + 2,
                        int64_t(1) << 22)));
  while (state.KeepRunningBatch(batch)) {
    if (keepsState) {
      state.PauseTiming();
      mv_session_reset(session);
      state.ResumeTiming();
    }
    auto start = Clock::now();
    for (int64_t i = 0; i < batch; ++i)
      if (mv_session_invoke(session) != MV_OK) {
        failure = mv_session_message(session);
        state.SkipWithError(failure.c_str());
        return;
      }
    double sample = milliseconds(start, Clock::now());
    if (samples.size() < samples.capacity())
      samples.push_back(sample / static_cast<double>(batch));
  }
  // State that was updated in place has moved on: once more from its start.
  if (!changed.empty()) {
    restoreInputs();
    mv_session_reset(session);
    if (mv_session_invoke(session) != MV_OK)
      failure = mv_session_message(session);
  }
  if (std::string difference = checkResults(measurement); !difference.empty())
    failure = difference;
  if (!failure.empty()) {
    state.SkipWithError(failure.c_str());
    return;
  }
  std::sort(samples.begin(), samples.end());
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
  state.counters["min_ms"] = samples.front();
  state.counters["p50_ms"] = percentile(samples, 0.5);
  state.counters["p95_ms"] = percentile(samples, 0.95);
}

void Bench::registerBenchmarks() {
  for (Measurement &measurement : measurements) {
    std::string name = loaded.function + "/" + threadsText(measurement.threads);
    auto *registered = benchmark::RegisterBenchmark(
        name.c_str(), [this, &measurement](benchmark::State &state) {
          measure(measurement, state);
        });
    registered->MeasureProcessCPUTime()->UseRealTime();
    std::string unit = options.timeUnit;
    if (unit.empty())
      unit = measurement.runMs < 0.1 ? "us" : "ms";
    registered->Unit(unit == "ms"   ? benchmark::kMillisecond
                     : unit == "us" ? benchmark::kMicrosecond
                                    : benchmark::kNanosecond);
    if (options.iterations > 0)
      registered->Iterations(options.iterations);
  }
}

int Bench::run(std::vector<std::string> benchmarkFlags) {
  if (!prepare())
    return BadInput;
  benchmarkFlags.insert(benchmarkFlags.begin(), "marver-bench");
  std::vector<char *> arguments;
  arguments.reserve(benchmarkFlags.size());
  for (std::string &flag : benchmarkFlags)
    arguments.push_back(flag.data());
  int count = static_cast<int>(arguments.size());
  addContext();
  benchmark::Initialize(&count, arguments.data());
  if (count > 1) {
    printError(std::string("unknown flag ") + arguments[1]);
    return BadUsage;
  }
  registerBenchmarks();
  WithoutDebugWarning buffer;
  std::ostream notes(&buffer);
  benchmark::BenchmarkReporter *reporter =
      benchmark::CreateDefaultDisplayReporter();
  reporter->SetErrorStream(&notes);
  benchmark::RunSpecifiedBenchmarks(reporter);
  notes.flush();
  benchmark::Shutdown();
  if (!failure.empty())
    printError(failure);
  // stdout is for the benchmark's own format if that is for programs.
  FILE *file = options.json ? stderr : stdout;
  if (options.profile && failure.empty())
    for (Measurement &measurement : measurements) {
      restoreInputs();
      if (!printProfile(loaded, measurement.session.get(), measurement.threads,
                        /*seconds=*/0.5, file))
        return BadInput;
    }
  if (options.statistics)
    printStatistics(loaded, measurements.back().session.get());
  return failure.empty() ? Success : BadInput;
}

//===----------------------------------------------------------------------===//
// Flags
//===----------------------------------------------------------------------===//

static void addOptions(CLI::App &app, Options &options) {
  addCommonOptions(app, options);
  app.add_option("--threads", options.threads,
                 "numbers of threads to measure, e.g. 1,2,4; 0 (default): as "
                 "many as affinity and cgroup allow")
      ->type_name("N[,N...]");
  app.add_flag("--profile", options.profile,
               "a row per kernel: time, share, barriers; with the module's "
               "sidecar also operator, shape and rates");
  app.add_option("--time-unit", options.timeUnit, "unit of the times")
      ->check(CLI::IsMember({"ns", "us", "ms"}));
  app.footer("Google Benchmark's flags are its own: --benchmark_format=json, "
             "--benchmark_min_time=SECONDS, --benchmark_repetitions=N, "
             "--benchmark_out=FILE, ...");
}

/// Flags of newer versions of Google Benchmark, for the one that is linked:
/// `--benchmark_min_time=0.5s` or `=100x`, `--benchmark_time_unit`.
static bool adaptBenchmarkFlags(std::vector<std::string> &flags,
                                Options &options) {
  std::vector<std::string> adapted;
  for (std::string &flag : flags) {
    static const std::string minTime = "--benchmark_min_time=",
                             timeUnit = "--benchmark_time_unit=",
                             format = "--benchmark_format=",
                             fileFormat = "--benchmark_out_format=";
    if (flag.starts_with(format) || flag.starts_with(fileFormat)) {
      std::string value = flag.substr(flag.find('=') + 1);
      if (value != "console" && value != "json" && value != "csv") {
        printError(flag + ": the format must be console, json or csv");
        return false;
      }
    }
    if (flag.starts_with(timeUnit)) {
      options.timeUnit = flag.substr(timeUnit.size());
      if (options.timeUnit != "ns" && options.timeUnit != "us" &&
          options.timeUnit != "ms") {
        printError(flag + ": the unit must be ns, us or ms");
        return false;
      }
      continue;
    }
    if (flag.starts_with(format))
      options.json = flag != format + "console";
    if (flag.starts_with(minTime)) {
      std::string value = flag.substr(minTime.size());
      char *end;
      double number = strtod(value.c_str(), &end);
      std::string suffix = end;
      if (value.empty() || !(number > 0) || number > 1e9 ||
          (!suffix.empty() && suffix != "s" && suffix != "x")) {
        printError(flag + ": must be seconds (0.5 or 0.5s) or a number of "
                          "iterations (100x)");
        return false;
      }
      if (suffix == "x") {
        options.iterations = std::max<int64_t>(1, static_cast<int64_t>(number));
        continue;
      }
      flag = minTime + value.substr(0, value.size() - suffix.size());
    }
    adapted.push_back(flag);
  }
  flags = adapted;
  return true;
}

static int program(int argc, char **argv) {
  CLI::App app("Times a function of a compiled module.", "marver-bench");
  Options options;
  addOptions(app, options);
  std::vector<std::string> benchmarkFlags;
  std::vector<std::string> arguments =
      prepareArguments(argc, argv, {"input"}, "benchmark-", benchmarkFlags);
  int exitCode = Success;
  if (!parseArguments(app, arguments, exitCode))
    return exitCode;
  if (options.module.empty()) {
    printError("no module is given (see marver-bench --help)");
    return BadUsage;
  }
  std::vector<int> threads;
  if (!parseThreadCounts(options.threads, threads)) {
    printError("--threads must be numbers like 1 or 1,2,4, not '" +
               options.threads + "'");
    return BadUsage;
  }
  if (!adaptBenchmarkFlags(benchmarkFlags, options))
    return BadUsage;
  return Bench(options, threads).run(benchmarkFlags);
}

int main(int argc, char **argv) {
  return runProgram("marver-bench", program, argc, argv);
}
