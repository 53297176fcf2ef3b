//===- SpillTest.cpp - Tiles stay in registers ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A tile that does not fit into registers is right, but half as fast: looks at
// the assembly of inner loops for vectors that go to the stack and for products
// that are not fused.
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "compiler/kernels/Schedule.h"
#include "gtest/gtest.h"

namespace marver::testing {
namespace {

const char *const kCpus[] = {"x86-64-v3", "znver5", "neoverse-n1"};
/// AArch64's scheduler moves loads up and costs some direct convolutions a
/// register or two; products and Winograd's tiles have room for that.
const char *const kX86Cpus[] = {"x86-64-v3", "znver5"};

void expectTight(const KernelCase &kernel, llvm::StringRef cpu) {
  CompiledKernel compiled(kernel, cpu);
  ASSERT_TRUE(compiled);
  SCOPED_TRACE(cpu.str() + " " + compiled.schedule() + "\n" + kernel.body);
  llvm::StringRef text = compiled.assembly();
  EXPECT_GE(text.count("\tvfmadd") + text.count("\tfmla\t"), 6u);
  for (const std::string &line : spillsInInnerLoops(text))
    ADD_FAILURE() << "spill: " << line;
}

KernelCase conv(const TargetInfo &target, int64_t channels, int64_t outputs,
                int64_t size, int64_t kernelSize, int64_t stride) {
  ContractionShape shape;
  shape.outputs = outputs;
  shape.reduction = channels * kernelSize * kernelSize;
  shape.rows = shape.width = size;
  shape.pixelStrideBytes = stride * 4 * target.lanes;
  int64_t width = choosePanelWidth(shape, target);
  int64_t in = (size - 1) * stride + kernelSize;
  KernelCase kernel;
  kernel.operands = {
      blockedShape({1, channels, in, in}, target.lanes),
      {ceilDiv(outputs, width), kernelSize, kernelSize, channels, width}};
  kernel.result = blockedShape({1, outputs, size, size}, target.lanes);
  kernel.body = "%result = mv.packed_conv %0, %1 {strides = " +
                listText({stride, stride}) +
                ", dilations = array<i64: 1, 1>, in_channels = " +
                std::to_string(channels) +
                ", out_channels = " + std::to_string(outputs) +
                ", input_blocked} : (" + kernel.type(0) + ", " +
                kernel.type(1) + ") -> " + kernel.type(2);
  return kernel;
}

/// Follows the kernel by a GELU: a long epilogue with many constants.
void appendGelu(KernelCase &kernel) {
  size_t name = kernel.body.find("%result");
  kernel.body.replace(name, 7, "%conv");
  std::string type = kernel.type(2);
  std::string map = "affine_map<(a, b, c, d, e) -> (a, b, c, d, e)>";
  kernel.body +=
      "\n%result = linalg.generic {indexing_maps = [" + map + ", " + map +
      "], iterator_types = [\"parallel\", \"parallel\", \"parallel\", "
      "\"parallel\", \"parallel\"]} ins(%conv : " +
      type + ") outs(%conv : " + type +
      ") {\n^bb1(%a: f32, %o: f32):\n"
      "%half = arith.constant 0.5 : f32\n%one = arith.constant 1.0 : f32\n"
      "%root = arith.constant 0.70710678 : f32\n"
      "%x = arith.mulf %a, %root : f32\n%e = math.erf %x : f32\n"
      "%p = arith.addf %e, %one : f32\n%h = arith.mulf %a, %half : f32\n"
      "%g = arith.mulf %h, %p : f32\nlinalg.yield %g : f32\n} -> " +
      type;
}

TEST(Spills, Convolutions) {
  for (const char *cpu : kX86Cpus) {
    TargetInfo target = targetOf(cpu);
    for (int64_t outputs : {16, 24, 32, 64, 80, 96, 112})
      for (int64_t size : {7, 10, 13, 28}) {
        expectTight(conv(target, 64, outputs, size, 1, 1), cpu);
        expectTight(conv(target, 32, outputs, size, 3, 2), cpu);
      }
  }
}

/// The constants of a long epilogue must not take the registers of the tile (of
/// a convolution by its definition).
TEST(Spills, Epilogues) {
  for (const char *cpu : kX86Cpus) {
    TargetInfo target = targetOf(cpu);
    for (int64_t outputs : {32, 96}) {
      KernelCase kernel = conv(target, 64, outputs, 28, 5, 1);
      appendGelu(kernel);
      expectTight(kernel, cpu);
    }
  }
}

/// Neither the transforms nor the products spill; with 32 registers, nor does a
/// long epilogue behind them.
TEST(Spills, Winograd) {
  for (const char *cpu : kCpus) {
    TargetInfo target = targetOf(cpu);
    for (auto [outputs, stride] :
         {std::pair<int64_t, int64_t>{4, 1}, {2, 2}, {3, 2}})
      for (int64_t channels : {64, 200}) {
        int64_t size = 24, in = (size - 1) * stride + 3;
        int64_t inputs = (outputs - 1) * stride + 3;
        KernelCase kernel;
        kernel.operands = {blockedShape({1, channels, in, in}, target.lanes),
                           {ceilDiv(64, 2 * target.lanes), inputs * inputs,
                            channels, 2 * target.lanes}};
        kernel.result = blockedShape({1, 64, size, size}, target.lanes);
        kernel.body = "%result = mv.winograd_conv %0, %1 {outputs = " +
                      std::to_string(outputs) +
                      ", window = 3, stride = " + std::to_string(stride) +
                      ", in_channels = " + std::to_string(channels) +
                      ", out_channels = 64} : (" + kernel.type(0) + ", " +
                      kernel.type(1) + ") -> " + kernel.type(2);
        if (target.vectorRegisters >= 32)
          appendGelu(kernel);
        expectTight(kernel, cpu);
      }
  }
}

/// The same of a first layer, whose input is plain. (16 registers are too few
/// for the shuffles of 8 vectors that stride 2 needs, and AArch64's are moved
/// apart by the scheduler.)
TEST(Spills, WinogradOfPlainInputs) {
  for (const char *cpu : kX86Cpus) {
    TargetInfo target = targetOf(cpu);
    for (int64_t stride : {1, 2}) {
      if (stride == 2 && target.vectorRegisters < 32)
        continue;
      int64_t size = 48, in = (size - 1) * stride + 3 * stride;
      KernelCase kernel;
      kernel.operands = {{1, 3, in, in, 1},
                         {ceilDiv(32, 2 * target.lanes), 36,
                          3 * stride * stride, 2 * target.lanes}};
      kernel.result = blockedShape({1, 32, size, size}, target.lanes);
      kernel.body =
          "%result = mv.winograd_conv %0, %1 {outputs = 4, window = " +
          std::to_string(3 * stride) + ", stride = " + std::to_string(stride) +
          ", in_channels = 3, out_channels = 32} : (" + kernel.type(0) + ", " +
          kernel.type(1) + ") -> " + kernel.type(2);
      if (target.vectorRegisters >= 32)
        appendGelu(kernel);
      expectTight(kernel, cpu);
    }
  }
}

TEST(Spills, MatrixProducts) {
  for (const char *cpu : kCpus) {
    TargetInfo target = targetOf(cpu);
    for (int64_t columns : {64, 100, 384, 1536})
      for (int64_t rows : {1, 4, 50, 1500}) {
        int64_t depth = 384;
        ContractionShape shape;
        shape.outputs = columns;
        shape.reduction = depth;
        shape.width = rows;
        shape.pixelStrideBytes = depth * 4;
        int64_t width = choosePanelWidth(shape, target);
        KernelCase kernel;
        kernel.operands = {{rows, depth},
                           {ceilDiv(columns, width), depth, width}};
        kernel.result = {rows, columns};
        kernel.body = "%result = mv.packed_matmul %0, %1 {columns = " +
                      std::to_string(columns) + "} : (" + kernel.type(0) +
                      ", " + kernel.type(1) + ") -> " + kernel.type(2);
        expectTight(kernel, cpu);
      }
  }
}

TEST(Spills, Depthwise) {
  for (const char *cpu : kX86Cpus) {
    int64_t lanes = targetOf(cpu).lanes;
    for (int64_t size : {7, 14, 28})
      for (int64_t taps : {3, 5, 7})
        for (int64_t stride : {1, 2}) {
          int64_t in = (size - 1) * stride + taps;
          KernelCase kernel;
          kernel.operands = {blockedShape({1, 32, in, in}, lanes),
                             {32 / lanes, taps, taps, lanes}};
          kernel.result = blockedShape({1, 32, size, size}, lanes);
          kernel.body = "%result = mv.depthwise_conv %0, %1 {strides = " +
                        listText({stride, stride}) +
                        ", dilations = array<i64: 1, 1>} : (" + kernel.type(0) +
                        ", " + kernel.type(1) + ") -> " + kernel.type(2);
          expectTight(kernel, cpu);
        }
  }
}

} // namespace
} // namespace marver::testing
