//===- KernelBench.cpp - Times of single kernels --------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each row is one kernel as the compiler schedules it, on one thread, for this
// machine's CPU (--cpu=NAME for another): `conv/C/F/H/W/K/stride`,
// `winograd/C/F/H/W/outputs of a tile/stride`, `depthwise/C/H/W/K/stride`,
// `matmul/M/N/K`, `pool/C/H/W/K/stride`, sizes of the result. Flags are Google
// Benchmark's; --schedules prints what was chosen.
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "benchmark/benchmark.h"
#include "compiler/kernels/Schedule.h"
#include <cstring>
#include <fstream>
#include <iostream>

using namespace marver;
using namespace marver::testing;

namespace {

struct Row {
  std::string name;
  KernelCase kernel;
  double flops;
};

std::string pairText(int64_t value) { return listText({value, value}); }

Row conv(const TargetInfo &target, int64_t c, int64_t f, int64_t h, int64_t w,
         int64_t k, int64_t s, bool blocked = true) {
  ContractionShape shape;
  shape.outputs = f;
  shape.reduction = c * k * k;
  shape.rows = h;
  shape.width = w;
  shape.pixelStrideBytes = s * 4 * (blocked ? target.lanes : 1);
  int64_t width = choosePanelWidth(shape, target);
  Row row;
  Shape in = {1, c, (h - 1) * s + k, (w - 1) * s + k}, out = {1, f, h, w};
  row.kernel.operands = {blocked ? blockedShape(in, target.lanes) : in,
                         {ceilDiv(f, width), k, k, c, width},
                         {ceilDiv(f, target.lanes) * target.lanes}};
  row.kernel.result = blockedShape(out, target.lanes);
  row.kernel.body =
      "%result = mv.packed_conv %0, %1 bias %2 {strides = " + pairText(s) +
      ", dilations = " + pairText(1) + ", in_channels = " + std::to_string(c) +
      ", out_channels = " + std::to_string(f) +
      (blocked ? ", input_blocked" : "") + "} : (" + row.kernel.type(0) + ", " +
      row.kernel.type(1) + ", " + row.kernel.type(2) + ") -> " +
      row.kernel.type(3);
  row.flops = 2.0 * c * f * h * w * k * k;
  row.name = "conv/" + std::to_string(c) + "/" + std::to_string(f) + "/" +
             std::to_string(h) + "/" + std::to_string(w) + "/" +
             std::to_string(k) + "/" + std::to_string(s);
  return row;
}

/// A 3x3 convolution by Winograd's algorithm with tiles of `outputs` per dim,
/// on weights that are transformed already. FLOPs are the definition's.
Row winograd(const TargetInfo &target, int64_t c, int64_t f, int64_t h,
             int64_t w, int64_t outputs, int64_t s) {
  int64_t inputs = (outputs - 1) * s + 3;
  int64_t width = std::min<int64_t>(ceilDiv(f, target.lanes), 2) * target.lanes;
  Row row;
  Shape in = {1, c, (h - 1) * s + 3, (w - 1) * s + 3}, out = {1, f, h, w};
  row.kernel.operands = {blockedShape(in, target.lanes),
                         {ceilDiv(f, width), inputs * inputs, c, width},
                         {ceilDiv(f, target.lanes) * target.lanes}};
  row.kernel.result = blockedShape(out, target.lanes);
  row.kernel.body = "%result = mv.winograd_conv %0, %1 bias %2 {outputs = " +
                    std::to_string(outputs) +
                    ", window = 3, stride = " + std::to_string(s) +
                    ", in_channels = " + std::to_string(c) +
                    ", out_channels = " + std::to_string(f) + "} : (" +
                    row.kernel.type(0) + ", " + row.kernel.type(1) + ", " +
                    row.kernel.type(2) + ") -> " + row.kernel.type(3);
  row.flops = 2.0 * c * f * h * w * 9;
  row.name = "winograd/" + std::to_string(c) + "/" + std::to_string(f) + "/" +
             std::to_string(h) + "/" + std::to_string(w) + "/" +
             std::to_string(outputs) + "/" + std::to_string(s);
  return row;
}

/// A 1x1 convolution in one spatial dim.
Row pointwise(const TargetInfo &target, int64_t c, int64_t f, int64_t t) {
  ContractionShape shape;
  shape.outputs = f;
  shape.reduction = c;
  shape.width = t;
  int64_t width = choosePanelWidth(shape, target);
  Row row;
  row.kernel.operands = {blockedShape({1, c, t}, target.lanes),
                         {ceilDiv(f, width), 1, c, width},
                         {ceilDiv(f, target.lanes) * target.lanes}};
  row.kernel.result = blockedShape({1, f, t}, target.lanes);
  row.kernel.body =
      "%result = mv.packed_conv %0, %1 bias %2 {strides = "
      "array<i64: 1>, dilations = array<i64: 1>, in_channels = " +
      std::to_string(c) + ", out_channels = " + std::to_string(f) +
      ", input_blocked} : (" + row.kernel.type(0) + ", " + row.kernel.type(1) +
      ", " + row.kernel.type(2) + ") -> " + row.kernel.type(3);
  row.flops = 2.0 * c * f * t;
  row.name = "pointwise/" + std::to_string(c) + "/" + std::to_string(f) + "/" +
             std::to_string(t);
  return row;
}

Row depthwise(const TargetInfo &target, int64_t c, int64_t h, int64_t w,
              int64_t k, int64_t s) {
  Row row;
  Shape in = {1, c, (h - 1) * s + k, (w - 1) * s + k}, out = {1, c, h, w};
  row.kernel.operands = {blockedShape(in, target.lanes),
                         {ceilDiv(c, target.lanes), k, k, target.lanes},
                         {ceilDiv(c, target.lanes) * target.lanes}};
  row.kernel.result = blockedShape(out, target.lanes);
  row.kernel.body =
      "%result = mv.depthwise_conv %0, %1 bias %2 {strides = " + pairText(s) +
      ", dilations = " + pairText(1) + "} : (" + row.kernel.type(0) + ", " +
      row.kernel.type(1) + ", " + row.kernel.type(2) + ") -> " +
      row.kernel.type(3);
  row.flops = 2.0 * c * h * w * k * k;
  row.name = "depthwise/" + std::to_string(c) + "/" + std::to_string(h) + "/" +
             std::to_string(w) + "/" + std::to_string(k) + "/" +
             std::to_string(s);
  return row;
}

Row depthwise1d(const TargetInfo &target, int64_t c, int64_t t, int64_t k,
                int64_t dilation) {
  Row row;
  row.kernel.operands = {
      blockedShape({1, c, t + (k - 1) * dilation}, target.lanes),
      {ceilDiv(c, target.lanes), k, target.lanes},
      {ceilDiv(c, target.lanes) * target.lanes}};
  row.kernel.result = blockedShape({1, c, t}, target.lanes);
  row.kernel.body = "%result = mv.depthwise_conv %0, %1 bias %2 {strides = "
                    "array<i64: 1>, dilations = " +
                    listText({dilation}) + "} : (" + row.kernel.type(0) + ", " +
                    row.kernel.type(1) + ", " + row.kernel.type(2) + ") -> " +
                    row.kernel.type(3);
  row.flops = 2.0 * c * t * k;
  row.name = "depthwise1d/" + std::to_string(c) + "/" + std::to_string(t) +
             "/" + std::to_string(k) + "/" + std::to_string(dilation);
  return row;
}

Row packedMatmul(const TargetInfo &target, int64_t m, int64_t n, int64_t k) {
  ContractionShape shape;
  shape.outputs = n;
  shape.reduction = k;
  shape.width = m;
  shape.pixelStrideBytes = k * 4;
  int64_t width = choosePanelWidth(shape, target);
  Row row;
  row.kernel.operands = {{m, k}, {ceilDiv(n, width), k, width}, {n}};
  row.kernel.result = {m, n};
  row.kernel.body = "%result = mv.packed_matmul %0, %1 bias %2 {columns = " +
                    std::to_string(n) + "} : (" + row.kernel.type(0) + ", " +
                    row.kernel.type(1) + ", " + row.kernel.type(2) + ") -> " +
                    row.kernel.type(3);
  row.flops = 2.0 * m * n * k;
  row.name = "packed_matmul/" + std::to_string(m) + "/" + std::to_string(n) +
             "/" + std::to_string(k);
  return row;
}

Row matmul(int64_t b, int64_t m, int64_t n, int64_t k, bool transposed) {
  Row row;
  row.kernel.operands = {{b, m, k},
                         {b, transposed ? n : k, transposed ? k : n}};
  row.kernel.result = {b, m, n};
  row.kernel.body = "%result = mv.matmul %0, %1" +
                    std::string(transposed ? " {transpose_rhs}" : "") + " : (" +
                    row.kernel.type(0) + ", " + row.kernel.type(1) + ") -> " +
                    row.kernel.type(2);
  row.flops = 2.0 * b * m * n * k;
  row.name = std::string("matmul") + (transposed ? "_transposed/" : "/") +
             std::to_string(b) + "/" + std::to_string(m) + "/" +
             std::to_string(n) + "/" + std::to_string(k);
  return row;
}

Row pool(const TargetInfo &target, int64_t c, int64_t h, int64_t w, int64_t k,
         int64_t s) {
  Row row;
  Shape in = {1, c, (h - 1) * s + 1, (w - 1) * s + 1};
  int64_t pad = k / 2;
  row.kernel.operands = {blockedShape(in, target.lanes)};
  row.kernel.result = blockedShape({1, c, h, w}, target.lanes);
  row.kernel.body =
      "%result = mv.pool max %0 {window = " + pairText(k) +
      ", strides = " + pairText(s) + ", dilations = " + pairText(1) +
      ", pads = " + listText({pad, pad, pad, pad}) + ", blocked} : (" +
      row.kernel.type(0) + ") -> " + row.kernel.type(1);
  row.flops = 1.0 * c * h * w * k * k;
  row.name = "pool/" + std::to_string(c) + "/" + std::to_string(h) + "/" +
             std::to_string(w) + "/" + std::to_string(k) + "/" +
             std::to_string(s);
  return row;
}

std::vector<Row> rows(const TargetInfo &t) {
  return {
      // MobileNetV2
      conv(t, 3, 32, 112, 112, 3, 2, /*blocked=*/false),
      conv(t, 32, 16, 112, 112, 1, 1), conv(t, 16, 96, 112, 112, 1, 1),
      conv(t, 96, 24, 56, 56, 1, 1), conv(t, 24, 144, 56, 56, 1, 1),
      conv(t, 144, 32, 28, 28, 1, 1), conv(t, 32, 192, 28, 28, 1, 1),
      conv(t, 384, 64, 14, 14, 1, 1), conv(t, 96, 576, 14, 14, 1, 1),
      conv(t, 576, 160, 7, 7, 1, 1), conv(t, 160, 960, 7, 7, 1, 1),
      conv(t, 320, 1280, 7, 7, 1, 1), packedMatmul(t, 1, 1001, 1280),
      depthwise(t, 32, 112, 112, 3, 1), depthwise(t, 96, 56, 56, 3, 2),
      depthwise(t, 192, 28, 28, 3, 1), depthwise(t, 384, 14, 14, 3, 1),
      depthwise(t, 960, 7, 7, 3, 1), depthwise(t, 240, 28, 28, 5, 1),
      // YOLOX-S
      conv(t, 12, 32, 320, 320, 3, 1), conv(t, 32, 64, 160, 160, 3, 2),
      conv(t, 32, 32, 160, 160, 3, 1), conv(t, 64, 128, 80, 80, 3, 2),
      conv(t, 64, 64, 80, 80, 3, 1), conv(t, 128, 256, 40, 40, 3, 2),
      conv(t, 128, 128, 40, 40, 3, 1), conv(t, 256, 256, 20, 20, 3, 1),
      conv(t, 128, 128, 80, 80, 3, 1), conv(t, 64, 32, 160, 160, 1, 1),
      conv(t, 256, 128, 40, 40, 1, 1), conv(t, 1024, 512, 20, 20, 1, 1),
      conv(t, 128, 80, 80, 80, 1, 1), pool(t, 256, 20, 20, 5, 1),
      pool(t, 256, 20, 20, 13, 1), pool(t, 64, 56, 56, 3, 2),
      winograd(t, 32, 32, 160, 160, 4, 1), winograd(t, 64, 64, 80, 80, 4, 1),
      winograd(t, 128, 128, 80, 80, 4, 1), winograd(t, 128, 128, 40, 40, 4, 1),
      winograd(t, 256, 256, 20, 20, 4, 1), winograd(t, 32, 64, 160, 160, 2, 2),
      winograd(t, 64, 128, 80, 80, 2, 2), winograd(t, 128, 256, 40, 40, 2, 2),
      winograd(t, 256, 512, 20, 20, 2, 2),
      // QuartzNet 15x5
      pointwise(t, 256, 256, 150), pointwise(t, 512, 512, 150),
      pointwise(t, 1024, 29, 150), depthwise1d(t, 256, 150, 33, 1),
      depthwise1d(t, 512, 150, 75, 1), depthwise1d(t, 512, 150, 87, 2),
      // Whisper tiny
      packedMatmul(t, 1500, 384, 384), packedMatmul(t, 1500, 1536, 384),
      packedMatmul(t, 1500, 384, 1536), packedMatmul(t, 1, 384, 384),
      packedMatmul(t, 1, 51865, 384), matmul(6, 1500, 1500, 64, true),
      matmul(6, 1500, 64, 1500, false), packedMatmul(t, 1024, 1024, 1024)};
}

void time(benchmark::State &state, const Row &row, const std::string &cpu,
          bool schedules) {
  CompiledKernel compiled(row.kernel, cpu);
  if (!compiled) {
    state.SkipWithError("does not compile");
    return;
  }
  if (schedules)
    std::cerr << row.name << " extent " << compiled.extent() << " "
              << compiled.schedule() << "\n";
  if (const char *file = std::getenv("KERNEL_ASSEMBLY"))
    std::ofstream(file) << compiled.assembly();
  // The same numbers in each run.
  // NOLINTNEXTLINE(bugprone-random-generator-seed)
  std::mt19937 random(1);
  std::vector<Tensor> tensors;
  std::vector<const Tensor *> operands;
  operands.reserve(row.kernel.operands.size());
  for (const Shape &shape : row.kernel.operands) {
    tensors.emplace_back(shape);
    tensors.back().fillRandom(random);
  }
  for (const Tensor &tensor : tensors)
    operands.push_back(&tensor);
  Tensor result(row.kernel.result);
  for (auto _ : state)
    compiled.run(operands, result);
  state.counters["GFLOP/s"] = benchmark::Counter(
      row.flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

} // namespace

int main(int argc, char **argv) {
  std::string cpu = "host";
  bool schedules = false;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (!std::strncmp(argv[i], "--cpu=", 6))
      cpu = argv[i] + 6;
    else if (!std::strcmp(argv[i], "--schedules"))
      schedules = true;
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 2;
  for (const Row &row : rows(targetOf(cpu)))
    benchmark::RegisterBenchmark(
        row.name.c_str(),
        [row, cpu, schedules](benchmark::State &state) {
          time(state, row, cpu, schedules);
        })
        ->Unit(benchmark::kMicrosecond);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
