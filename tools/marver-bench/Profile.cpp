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
#include <cmath>
#include <limits>

using namespace marver;

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A number of threads that few machines at hand have, to tell how far the
/// parallel extents would carry.
static constexpr int manyThreads = 16;

/// How many times faster than on one thread `kernel` can be on `manyThreads`:
/// they get equal contiguous ranges of its parallel indices, of equal cost, and
/// the longest range counts.
static double reachableSpeedup(const mv_kernel_profile &kernel) {
  double extent =
      static_cast<double>(kernel.extent) / static_cast<double>(kernel.launches);
  return extent > 0 ? extent / std::ceil(extent / manyThreads) : 1;
}

namespace {

/// A kernel in all runs; its time is that of its fastest run, which other
/// programs disturbed least.
struct Row {
  uint32_t kernel;
  mv_kernel_profile profile;
  double seconds;
};

/// Prints the table: what the module itself says, and with a sidecar what the
/// kernels are.
class ProfilePrinter {
public:
  ProfilePrinter(const LoadedModule &loaded, int threads, int runs, FILE *file)
      : loaded(loaded), threads(threads), runs(runs), file(file) {
    named = !loaded.sidecar.kernels.empty();
    if (named)
      peak = measurePeak(threads);
  }

  /// `runSeconds` is the time of the fastest run.
  void print(const std::vector<Row> &rows, double runSeconds) {
    fprintf(file, "%s, %d thread%s, fastest of %d runs: %.3f ms\n",
            loaded.function.c_str(), threads, threads == 1 ? "" : "s", runs,
            runSeconds * 1e3);
    if (named)
      fprintf(file, "measured peak: %.0f GFLOP/s (f32), %.0f GB/s\n",
              peak.gflops, peak.gbytes);
    fprintf(file, "%6s %10s %6s %8s %8s %8s %8s %6s", "kernel", "us", "%",
            "launches", "barriers", "busy %", "extent", "of 16");
    if (named)
      fprintf(file, " %8s %6s %7s %6s  what", "GFLOP/s", "peak %", "GB/s",
              "peak %");
    fprintf(file, "\n");

    double kernels = 0, barriers = 0, flops = 0, onOne = 0, onMany = 0;
    for (const Row &row : rows) {
      printRow(row, runSeconds);
      flops += flopsOfARun(row);
      kernels += row.seconds;
      onOne += static_cast<double>(row.profile.busy_ns);
      onMany += static_cast<double>(row.profile.busy_ns) /
                reachableSpeedup(row.profile);
      barriers += static_cast<double>(row.profile.parallel_launches) / runs;
    }
    // Each kernel's fastest run is not the same, so this can be a little less
    // than nothing.
    double rest = std::max(0.0, runSeconds - kernels);
    fprintf(file, "%6s %10.1f %6.1f %8s %8.0f\n", "rest", rest * 1e6,
            100 * rest / runSeconds, "", barriers);
    if (named)
      fprintf(
          file,
          "arithmetic of a run: %.6g GFLOP, %.1f GFLOP/s, %.1f %% of peak\n",
          flops / 1e9, flops / runSeconds / 1e9,
          100 * flops / runSeconds / 1e9 / peak.gflops);
    // Of the kernels' own time: barriers and shared memory are not in it.
    fprintf(file,
            "parallel slack: the extents allow %d threads to be %.1f "
            "times as fast as one\n",
            manyThreads, onMany > 0 ? onOne / onMany : 1.0);
  }

private:
  /// As the operators define it, whatever the algorithm; what is not known
  /// counts as none.
  double flopsOfARun(const Row &row) const {
    if (row.kernel >= loaded.sidecar.kernels.size())
      return 0;
    double launches = static_cast<double>(row.profile.launches) / runs;
    return launches * static_cast<double>(std::max<int64_t>(
                          loaded.sidecar.kernels[row.kernel].flops, 0));
  }

  void printRow(const Row &row, double runSeconds) {
    const mv_kernel_profile &profile = row.profile;
    double busy = 100 * static_cast<double>(profile.busy_ns) /
                  std::max(static_cast<double>(profile.ns) * threads, 1.0);
    double launches = static_cast<double>(profile.launches) / runs;
    double extent = static_cast<double>(profile.extent) /
                    static_cast<double>(profile.launches);
    fprintf(file, "%6u %10.1f %6.1f %8.1f %8.1f %8.0f %8.0f %6.1f", row.kernel,
            row.seconds * 1e6, 100 * row.seconds / runSeconds, launches,
            static_cast<double>(profile.parallel_launches) / runs, busy, extent,
            reachableSpeedup(profile));
    if (named)
      printNames(row, row.seconds / launches);
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
  int runs;
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
  mv_module_info info;
  mv_module_query(loaded.module.get(), &info);
  const mv_kernel_profile *profile = mv_session_profile(session);
  std::vector<uint64_t> before(info.kernel_count);
  std::vector<uint64_t> fastest(info.kernel_count, UINT64_MAX);
  double fastestRun = std::numeric_limits<double>::infinity();
  auto start = Clock::now();
  int runs = 0;
  for (; runs < 3 || secondsSince(start) < seconds; ++runs) {
    for (uint32_t i = 0; i < info.kernel_count; ++i)
      before[i] = profile[i].ns;
    auto runStart = Clock::now();
    mv_session_reset(session);
    if (!invoke(loaded, session))
      return false;
    fastestRun = std::min(fastestRun, secondsSince(runStart));
    for (uint32_t i = 0; i < info.kernel_count; ++i)
      fastest[i] = std::min(fastest[i], profile[i].ns - before[i]);
  }
  mv_session_profile_stop(session);

  std::vector<Row> rows;
  for (uint32_t i = 0; i < info.kernel_count; ++i)
    if (profile[i].launches > 0)
      rows.push_back({i, profile[i], static_cast<double>(fastest[i]) / 1e9});
  std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.kernel < b.kernel;
  });
  ProfilePrinter(loaded, threads, runs, file).print(rows, fastestRun);
  return true;
}
