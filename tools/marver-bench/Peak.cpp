//===- Peak.cpp - What the machine can do at most -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/marver-bench/Peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

using namespace marver;

namespace {
using Clock = std::chrono::steady_clock;

template <int Lanes> struct VectorOf {
  typedef float Type __attribute__((vector_size(Lanes * sizeof(float))));
};
} // namespace

/// Keeps a vector alive without storing it.
#if defined(__x86_64__)
#define KEEP(vector) __asm__ volatile("" : "+v"(vector))
#else
#define KEEP(vector) __asm__ volatile("" : "+w"(vector))
#endif

/// Independent chains of fused multiply-adds, enough to hide their latency.
/// Returns the operations done.
#define FMA_LOOP(lanes)                                                        \
  {                                                                            \
    typedef VectorOf<lanes>::Type Vector;                                      \
    constexpr int chains = 12;                                                 \
    Vector sums[chains];                                                       \
    for (int i = 0; i < chains; ++i)                                           \
      sums[i] = Vector{} + static_cast<float>(i);                              \
    Vector a = Vector{} + 0.999f, b = Vector{} + 0.001f;                       \
    for (int64_t n = 0; n < rounds; ++n) {                                     \
      for (int i = 0; i < chains; ++i)                                         \
        sums[i] = __builtin_elementwise_fma(sums[i], a, b);                    \
      for (int i = 0; i < chains; ++i)                                         \
        KEEP(sums[i]);                                                         \
    }                                                                          \
    return static_cast<double>(rounds) * chains * (lanes) * 2;                 \
  }

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double
fmaWide(int64_t rounds) FMA_LOOP(16)
    __attribute__((target("avx2,fma"))) static double fmaMiddle(int64_t rounds)
        FMA_LOOP(8)
#endif
            static double fmaNarrow(int64_t rounds) FMA_LOOP(4)

                static double runFma(int64_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return fmaWide(rounds);
  if (__builtin_cpu_supports("fma"))
    return fmaMiddle(rounds);
#endif
  return fmaNarrow(rounds);
}

/// Reads the buffer in four streams, as one stream alone does not keep enough
/// cache misses under way.
static uint64_t readStreams(const std::vector<uint64_t> &buffer) {
  size_t quarter = buffer.size() / 4;
  const uint64_t *a = buffer.data(), *b = a + quarter, *c = b + quarter,
                 *d = c + quarter;
  uint64_t sum = 0;
  for (size_t i = 0; i < quarter; ++i)
    sum += a[i] ^ b[i] ^ c[i] ^ d[i];
  return sum;
}

/// Runs `work` (returning an amount) on all threads, several times; the best
/// rate in amounts per second.
template <typename Work> static double bestRate(int threads, Work work) {
  double best = 0;
  for (int attempt = 0; attempt < 8; ++attempt) {
    std::vector<double> amounts(static_cast<size_t>(threads));
    std::vector<std::thread> others;
    auto start = Clock::now();
    for (int i = 1; i < threads; ++i)
      others.emplace_back(
          [&, i] { amounts[static_cast<size_t>(i)] = work(i); });
    amounts[0] = work(0);
    for (std::thread &thread : others)
      thread.join();
    double seconds =
        std::chrono::duration<double>(Clock::now() - start).count();
    double amount = 0;
    for (double part : amounts)
      amount += part;
    best = std::max(best, amount / seconds);
  }
  return best;
}

Peak marver::measurePeak(int threads) {
  Peak peak;
  peak.gflops =
      bestRate(threads, [](int) { return runFma(2 * 1000 * 1000); }) / 1e9;
  // More than the caches of one core complex hold.
  constexpr size_t bytes = size_t(96) << 20;
  std::vector<std::vector<uint64_t>> buffers(
      static_cast<size_t>(threads),
      std::vector<uint64_t>(bytes / sizeof(uint64_t) /
                                static_cast<size_t>(std::min(threads, 4)),
                            1));
  peak.gbytes =
      bestRate(threads,
               [&](int i) {
                 const auto &buffer = buffers[static_cast<size_t>(i)];
                 uint64_t sum = readStreams(buffer);
                 __asm__ volatile("" : : "r"(sum)); // not optimized away
                 return static_cast<double>(buffer.size() * sizeof(uint64_t));
               }) /
      1e9;
  return peak;
}
