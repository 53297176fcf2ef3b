//===- CallBench.cpp - what a call of a module costs ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A module of one linear layer, called through the C interface, beside the same
// layer as a loop in this file. `call-bench MODULE [Google Benchmark's flags]`;
// the module takes f32 [1, m] and returns f32 [1, n].
//
//===----------------------------------------------------------------------===//

#include "marver/marver.h"

#include <benchmark/benchmark.h>
#include <cstdio>
#include <vector>

namespace {
mv_module *module = nullptr;
int64_t inputs = 0;
int64_t outputs = 0;
} // namespace

/// Weights by input, so that the compiler may keep the order of summation and
/// still use vectors: lanes are outputs.
__attribute__((noinline)) static void linear(const float *__restrict x,
                                             const float *__restrict weights,
                                             const float *__restrict bias,
                                             float *__restrict y) {
  for (int64_t o = 0; o < outputs; ++o)
    y[o] = bias[o];
  for (int64_t i = 0; i < inputs; ++i)
    for (int64_t o = 0; o < outputs; ++o)
      y[o] += x[i] * weights[i * outputs + o];
}

static void loopInC(benchmark::State &state) {
  auto m = static_cast<size_t>(inputs), n = static_cast<size_t>(outputs);
  std::vector<float> x(m, 1.0f), y(n), bias(n, 0.5f), weights(m * n, 0.25f);
  for (auto _ : state) {
    linear(x.data(), weights.data(), bias.data(), y.data());
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
}

static void call(benchmark::State &state) {
  mv_error error = {};
  mv_pool *pool = nullptr;
  mv_session *session = nullptr;
  std::vector<float> x(static_cast<size_t>(inputs), 1.0f);
  const int64_t dims[] = {1, inputs};
  if (mv_pool_create(static_cast<int>(state.range(0)), &pool, &error) ||
      mv_session_create(module, "main", pool, &session, &error) ||
      mv_session_set_input(session, 0, dims, x.data(), x.size() * 4)) {
    state.SkipWithError(session ? mv_session_message(session) : error.message);
  } else {
    for (auto _ : state)
      if (mv_session_invoke(session)) {
        state.SkipWithError(mv_session_message(session));
        break;
      }
  }
  mv_session_free(session);
  mv_pool_release(pool);
}

/// Reads the module; false unless it is a linear layer as said above.
static bool loadLayer(const char *path) {
  mv_error error = {};
  if (mv_module_load_file(path, nullptr, &module, &error)) {
    fprintf(stderr, "call-bench: %s\n", error.message);
    return false;
  }
  const mv_signature *signature = mv_module_signature(module, "main");
  if (!signature || signature->input_count != 1 ||
      signature->output_count != 1 || signature->symbol_count != 0 ||
      signature->inputs[0].rank != 2 || signature->outputs[0].rank != 2 ||
      signature->inputs[0].dtype != MV_DTYPE_F32 ||
      signature->outputs[0].dtype != MV_DTYPE_F32 ||
      signature->inputs[0].dims[0] != 1) {
    fprintf(stderr, "call-bench: %s is no linear layer f32 [1, m] -> [1, n]\n",
            path);
    return false;
  }
  inputs = signature->inputs[0].dims[1];
  outputs = signature->outputs[0].dims[1];
  return true;
}

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    fprintf(stderr, "usage: call-bench MODULE [Google Benchmark's flags]\n");
    return 2;
  }
  if (!loadLayer(argv[1]))
    return 1;
  benchmark::RegisterBenchmark("call", call)
      ->ArgName("threads")
      ->Arg(1)
      ->Arg(2);
  benchmark::RegisterBenchmark("loop in C", loopInC);
  benchmark::RunSpecifiedBenchmarks();
  mv_module_release(module);
  return 0;
}
