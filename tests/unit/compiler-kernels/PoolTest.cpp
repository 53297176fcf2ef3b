//===- PoolTest.cpp - Maximum and average pools ---------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "gtest/gtest.h"
#include <cmath>

namespace marver::testing {
namespace {

class Pool : public ::testing::TestWithParam<unsigned> {};

TEST_P(Pool, RandomSizes) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    int64_t lanes = targetOf(cpu).lanes;
    int64_t rank = pick(random, 1, 3);
    Shape in = {pick(random, 1, 2), pick(random, 1, 40)}, out = in;
    Shape window, strides, dilations, pads(2 * rank);
    for (int64_t d = 0; d < rank; ++d) {
      window.push_back(pick(random, 1, rank == 3 ? 3 : 13));
      strides.push_back(pick(random, 1, 3));
      dilations.push_back(pick(random, 1, 2));
      pads[d] = pick(random, 0, window[d] / 2);
      pads[rank + d] = pick(random, 0, window[d] / 2);
      int64_t reach = (window[d] - 1) * dilations[d] + 1;
      int64_t least = std::max<int64_t>(reach - pads[d] - pads[rank + d], 1);
      in.push_back(least + pick(random, 0, rank == 1 ? 200 : 20));
      out.push_back(
          (in.back() + pads[d] + pads[rank + d] - reach) / strides[d] + 1);
    }
    bool isMax = pick(random, 0, 1), countPad = pick(random, 0, 1);
    bool unknown = pick(random, 0, 2) == 0;
    Tensor input(in);
    input.fillRandom(random);
    if (isMax)
      for (int i = 0; i < 3; ++i)
        input[pick(random, 0, input.size() - 1)] = NAN;
    int64_t inPixels = product(llvm::ArrayRef(in).drop_front(2));
    llvm::ArrayRef<int64_t> outSpatial = llvm::ArrayRef(out).drop_front(2);
    std::vector<double> expected;
    for (int64_t nc = 0; nc < in[0] * in[1]; ++nc)
      for (int64_t p = 0; p < product(outSpatial); ++p) {
        Shape at = coordinates(p, outSpatial);
        double value = isMax ? -INFINITY : 0;
        int64_t count = 0;
        for (int64_t t = 0; t < product(window); ++t) {
          Shape tap = coordinates(t, window);
          int64_t position = 0;
          bool inside = true;
          for (int64_t d = 0; d < rank; ++d) {
            int64_t x = at[d] * strides[d] + tap[d] * dilations[d] - pads[d];
            inside &= x >= 0 && x < in[2 + d];
            position = position * in[2 + d] + x;
          }
          count += inside || countPad;
          if (!inside)
            continue;
          double x = input[nc * inPixels + position];
          if (isMax)
            value = std::isnan(x) || x > value ? x : value;
          else
            value += x;
        }
        expected.push_back(isMax ? value : value / count);
      }
    Tensor blocked = toBlocked(input, lanes);
    KernelCase kernel;
    kernel.operands = {blocked.shape()};
    kernel.result = blockedShape(out, lanes);
    if (unknown)
      for (int64_t operand : {0, 1})
        for (int64_t d = 0; d < rank + 2; ++d)
          if (d != 1)
            kernel.dynamic.push_back({operand, d});
    kernel.body =
        "%result = mv.pool " + std::string(isMax ? "max" : "average") +
        " %0 {window = " + listText(window) +
        ", strides = " + listText(strides) +
        ", dilations = " + listText(dilations) + ", pads = " + listText(pads) +
        (countPad ? ", count_include_pad" : "") + ", blocked} : (" +
        kernel.type(0) + ") -> " + kernel.type(1);
    expectResult(kernel, cpu, {&blocked}, toBlocked(expected, out, lanes), 1e-6,
                 random);
    if (HasFailure())
      return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Pool, ::testing::Range(1u, 17u));

} // namespace
} // namespace marver::testing
