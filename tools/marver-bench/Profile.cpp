//===- Profile.cpp - Time by kernel ---------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/marver-bench/Profile.h"

#include "tools/marver-bench/Peak.h"

#include <algorithm>
#include <chrono>

using namespace marver;

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

namespace {

struct Row {
  uint32_t kernel;
  mv_kernel_profile profile;
};

/// Prints the table: what the module itself says, and with a sidecar what the
/// kernels are.
class ProfilePrinter {
public:
  ProfilePrinter(const LoadedModule &loaded, int threads, double runs,
                 FILE *file)
      : loaded(loaded), threads(threads), runs(runs), file(file) {
    named = !loaded.sidecar.kernels.empty();
    if (named)
      peak = measurePeak(threads);
  }

  void print(const std::vector<Row> &rows, double runSeconds) {
    fprintf(file, "%s, %d thread%s, %.0f runs, %.3f ms each\n",
            loaded.function.c_str(), threads, threads == 1 ? "" : "s", runs,
            runSeconds * 1e3);
    if (named)
      fprintf(file, "measured peak: %.0f GFLOP/s (f32), %.0f GB/s\n",
              peak.gflops, peak.gbytes);
    fprintf(file, "%6s %10s %6s %8s %8s %8s", "kernel", "us", "%", "launches",
            "barriers", "busy %");
    if (named)
      fprintf(file, " %8s %6s %7s %6s  what", "GFLOP/s", "peak %", "GB/s",
              "peak %");
    fprintf(file, "\n");

    double kernels = 0, barriers = 0;
    for (const Row &row : rows) {
      printRow(row, runSeconds);
      kernels += static_cast<double>(row.profile.ns) / 1e9 / runs;
      barriers += static_cast<double>(row.profile.parallel_launches) / runs;
    }
    double rest = std::max(0.0, runSeconds - kernels);
    fprintf(file, "%6s %10.1f %6.1f %8s %8.0f\n", "rest", rest * 1e6,
            100 * rest / runSeconds, "", barriers);
  }

private:
  void printRow(const Row &row, double runSeconds) {
    const mv_kernel_profile &profile = row.profile;
    double seconds = static_cast<double>(profile.ns) / 1e9;
    double busy = 100 * static_cast<double>(profile.busy_ns) / 1e9 /
                  std::max(seconds * threads, 1e-12);
    fprintf(file, "%6u %10.1f %6.1f %8.1f %8.1f %8.0f", row.kernel,
            seconds / runs * 1e6, 100 * seconds / runs / runSeconds,
            static_cast<double>(profile.launches) / runs,
            static_cast<double>(profile.parallel_launches) / runs, busy);
    if (named)
      printNames(row, seconds / static_cast<double>(profile.launches));
    fprintf(file, "\n");
  }

  /// A rate and its share of the peak, or nothing if the amount is not known.
  void printRate(int64_t amount, double seconds, double limit, int width) {
    if (amount < 0 || limit <= 0) {
      fprintf(file, " %*s %6s", width, "", "");
      return;
    }
    double rate = static_cast<double>(amount) / seconds / 1e9;
    fprintf(file, " %*.1f %6.1f", width, rate, 100 * rate / limit);
  }

  void printNames(const Row &row, double secondsPerLaunch) {
    static const Sidecar::Kernel unknown;
    const Sidecar::Kernel &kernel = row.kernel < loaded.sidecar.kernels.size()
                                        ? loaded.sidecar.kernels[row.kernel]
                                        : unknown;
    printRate(kernel.flops, secondsPerLaunch, peak.gflops, 8);
    printRate(kernel.bytes, secondsPerLaunch, peak.gbytes, 7);
    fputc(' ', file);
    for (const std::string *text :
         {&kernel.family, &kernel.operation, &kernel.shapes, &kernel.location})
      if (!text->empty())
        fprintf(file, " %s", text->c_str());
  }

  const LoadedModule &loaded;
  int threads;
  double runs;
  FILE *file;
  bool named;
  Peak peak;
};

} // namespace

bool marver::printProfile(const LoadedModule &loaded, mv_session *session,
                          int threads, double seconds, FILE *file) {
  if (mv_session_profile_start(session) != MV_OK) {
    printError(mv_session_message(session));
    return false;
  }
  auto start = Clock::now();
  int runs = 0;
  for (; runs < 3 || secondsSince(start) < seconds; ++runs)
    if (!invoke(loaded, session))
      return false;
  double runSeconds = secondsSince(start) / runs;
  mv_session_profile_stop(session);

  mv_module_info info;
  mv_module_query(loaded.module.get(), &info);
  const mv_kernel_profile *profile = mv_session_profile(session);
  std::vector<Row> rows;
  for (uint32_t i = 0; i < info.kernel_count; ++i)
    if (profile[i].launches > 0)
      rows.push_back({i, profile[i]});
  std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    return a.profile.ns != b.profile.ns ? a.profile.ns > b.profile.ns
                                        : a.kernel < b.kernel;
  });
  ProfilePrinter(loaded, threads, runs, file).print(rows, runSeconds);
  return true;
}
