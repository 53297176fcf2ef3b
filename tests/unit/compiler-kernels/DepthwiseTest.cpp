//===- DepthwiseTest.cpp - Depthwise convolutions -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "gtest/gtest.h"

namespace marver::testing {
namespace {

struct DepthwiseSizes {
  int64_t batch, channels;
  Shape spatial; ///< of the result
  Windows windows;
  bool bias, unknown;
};

void checkDepthwise(const DepthwiseSizes &sizes, llvm::StringRef cpu,
                    std::mt19937 &random) {
  int64_t lanes = targetOf(cpu).lanes, rank = sizes.spatial.size();
  Shape inShape = {sizes.batch, sizes.channels};
  Shape outShape = inShape;
  Shape filterShape = {sizes.channels, 1};
  for (int64_t d = 0; d < rank; ++d) {
    inShape.push_back((sizes.spatial[d] - 1) * sizes.windows.strides[d] +
                      sizes.windows.reach(d) +
                      pick(random, 0, sizes.windows.strides[d] - 1));
    outShape.push_back(sizes.spatial[d]);
    filterShape.push_back(sizes.windows.size[d]);
  }
  Tensor input(inShape), filter(filterShape), bias({sizes.channels});
  input.fillRandom(random);
  filter.fillRandom(random);
  bias.fillRandom(random);
  Tensor blockedInput = toBlocked(input, lanes);
  // Cb x K... x B is the filter seen as one image of `channels` channels.
  Shape asImage = {1, sizes.channels};
  asImage.insert(asImage.end(), sizes.windows.size.begin(),
                 sizes.windows.size.end());
  Tensor image(asImage);
  std::copy(filter.data(), filter.data() + filter.size(), image.data());
  Tensor blockedImage = toBlocked(image, lanes);
  Shape packedShape = blockedImage.shape();
  packedShape.erase(packedShape.begin());
  Tensor packed(packedShape);
  std::copy(blockedImage.data(), blockedImage.data() + blockedImage.size(),
            packed.data());
  Tensor blockedBias({ceilDiv(sizes.channels, lanes) * lanes});
  std::copy(bias.data(), bias.data() + sizes.channels, blockedBias.data());

  KernelCase kernel;
  kernel.operands = {blockedInput.shape(), packed.shape(), blockedBias.shape()};
  kernel.result = blockedShape(outShape, lanes);
  if (sizes.unknown)
    for (int64_t operand : {0, 3})
      for (int64_t d = 0; d < rank + 2; ++d)
        if (d != 1)
          kernel.dynamic.push_back({operand, d});
  kernel.body = "%result = mv.depthwise_conv %0, %1" +
                std::string(sizes.bias ? " bias %2" : "") +
                " {strides = " + listText(sizes.windows.strides) +
                ", dilations = " + listText(sizes.windows.dilations) + "} : (" +
                kernel.type(0) + ", " + kernel.type(1) +
                (sizes.bias ? ", " + kernel.type(2) : "") + ") -> " +
                kernel.type(3);
  expectResult(kernel, cpu, {&blockedInput, &packed, &blockedBias},
               toBlocked(convolve(input, filter, sizes.bias ? &bias : nullptr,
                                  sizes.windows, sizes.channels),
                         outShape, lanes),
               3e-6, random);
}

class Depthwise : public ::testing::TestWithParam<unsigned> {};

TEST_P(Depthwise, RandomSizes) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    DepthwiseSizes sizes;
    int64_t rank = pick(random, 1, 3);
    sizes.batch = pick(random, 1, 2);
    sizes.channels = pick(random, 1, 40);
    for (int64_t d = 0; d < rank; ++d) {
      sizes.spatial.push_back(
          pick(random, 1, rank == 1 ? 90 : (rank == 2 ? 32 : 7)));
      sizes.windows.size.push_back(
          pick(random, 1, rank == 1 ? 35 : (rank == 2 ? 6 : 3)));
      sizes.windows.strides.push_back(pick(random, 1, 3));
      sizes.windows.dilations.push_back(pick(random, 1, 2));
    }
    sizes.bias = pick(random, 0, 1);
    sizes.unknown = pick(random, 0, 2) == 0;
    checkDepthwise(sizes, cpu, random);
    if (HasFailure())
      return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Depthwise, ::testing::Range(1u, 17u));

} // namespace
} // namespace marver::testing
