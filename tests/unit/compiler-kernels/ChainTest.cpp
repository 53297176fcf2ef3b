//===- ChainTest.cpp - A convolution and a depthwise one in one kernel ----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "compiler/kernels/Schedule.h"
#include "gtest/gtest.h"

namespace marver::testing {
namespace {

struct ChainSizes {
  int64_t batch, channels, blocks; ///< blocks: of channels in between
  int64_t height, width;           ///< of the convolution's input
  Windows conv, depthwise;
  Shape pads; ///< above, left, below, right
  bool dynamic;
};

const char *const kMap = "affine_map<(a, b, c, d, e) -> (a, b, c, d, e)>";

/// max(x, -0.1): distinguishes what comes before the pad from what comes after.
std::string relu(const std::string &result, const std::string &operand,
                 const std::string &type) {
  std::string map = kMap;
  return "%" + result + " = linalg.generic {indexing_maps = [" + map + ", " +
         map +
         "], iterator_types = [\"parallel\", \"parallel\", \"parallel\", "
         "\"parallel\", \"parallel\"]} ins(%" +
         operand + " : " + type + ") outs(%" + operand + " : " + type +
         ") {\n^bb1(%a: f32, %o: f32):\n"
         "%low = arith.constant -0.1 : f32\n"
         "%m = arith.maximumf %a, %low : f32\nlinalg.yield %m : f32\n} -> " +
         type + "\n";
}

std::string typeText(const Shape &shape, bool dynamic) {
  std::string text = "tensor<";
  for (size_t d = 0; d < shape.size(); ++d)
    text +=
        (dynamic && (d == 0 || d == 2) ? "?" : std::to_string(shape[d])) + "x";
  return text + "f32>";
}

void checkChain(const ChainSizes &sizes, llvm::StringRef cpu,
                std::mt19937 &random) {
  TargetInfo target = targetOf(cpu);
  int64_t lanes = target.lanes, outputs = sizes.blocks * lanes;
  Tensor input({sizes.batch, sizes.channels, sizes.height, sizes.width});
  Tensor filter(
      {outputs, sizes.channels, sizes.conv.size[0], sizes.conv.size[1]});
  Tensor window({outputs, 1, sizes.depthwise.size[0], sizes.depthwise.size[1]});
  Tensor bias({outputs}), secondBias({outputs});
  for (const Tensor *tensor : {&input, &filter, &window, &bias, &secondBias})
    tensor->fillRandom(random);

  // The reference, in f64 but for the map between the two, which is rounded.
  auto limited = [](std::vector<double> values) {
    for (double &value : values)
      value = std::max(value, -0.1);
    return values;
  };
  Shape map = sizes.conv.outputs({sizes.height, sizes.width});
  std::vector<double> between =
      limited(convolve(input, filter, &bias, sizes.conv, 1));
  Shape padded = {sizes.batch, outputs, map[0] + sizes.pads[0] + sizes.pads[2],
                  map[1] + sizes.pads[1] + sizes.pads[3]};
  Tensor inside(padded);
  inside.fill(0);
  for (int64_t i = 0; i < int64_t(between.size()); ++i) {
    Shape at = coordinates(i, {sizes.batch, outputs, map[0], map[1]});
    inside.at({at[0], at[1], at[2] + sizes.pads[0], at[3] + sizes.pads[1]}) =
        float(between[i]);
  }
  Shape result = {sizes.batch, outputs};
  llvm::append_range(
      result, sizes.depthwise.outputs(llvm::ArrayRef(padded).drop_front(2)));
  std::vector<double> reference =
      limited(convolve(inside, window, &secondBias, sizes.depthwise, outputs));

  ContractionShape shape;
  shape.outputs = outputs;
  shape.reduction = sizes.channels * product(sizes.conv.size);
  shape.rows = map[0];
  shape.width = map[1];
  Tensor packed = packFilter(filter, choosePanelWidth(shape, target));
  Tensor blocked = toBlocked(input, lanes);
  Tensor image({1, outputs, sizes.depthwise.size[0], sizes.depthwise.size[1]});
  std::copy(window.data(), window.data() + window.size(), image.data());
  Tensor blockedImage = toBlocked(image, lanes);
  Shape windowShape(blockedImage.shape().begin() + 1,
                    blockedImage.shape().end());
  Tensor blockedWindow(windowShape);
  std::copy(blockedImage.data(), blockedImage.data() + blockedImage.size(),
            blockedWindow.data());

  KernelCase kernel;
  kernel.operands = {blocked.shape(), packed.shape(), bias.shape(),
                     blockedWindow.shape(), secondBias.shape()};
  kernel.result = blockedShape(result, lanes);
  if (sizes.dynamic)
    kernel.dynamic = {{0, 0}, {0, 2}, {5, 0}, {5, 2}};
  // Room for few rows, so that there are several stages.
  kernel.l2Bytes = pick(random, 200, 400) << 10;
  Shape mapShape = {sizes.batch, outputs, map[0], map[1]};
  std::string mapType = typeText(blockedShape(mapShape, lanes), sizes.dynamic);
  std::string paddedType = typeText(blockedShape(padded, lanes), sizes.dynamic);
  auto attributes = [](const Windows &windows) {
    return "{strides = " + listText(windows.strides) +
           ", dilations = " + listText(windows.dilations);
  };
  kernel.body = "%c = mv.packed_conv %0, %1 bias %2 " + attributes(sizes.conv) +
                ", in_channels = " + std::to_string(sizes.channels) +
                ", out_channels = " + std::to_string(outputs) +
                ", input_blocked} : (" + kernel.type(0) + ", " +
                kernel.type(1) + ", " + kernel.type(2) + ") -> " + mapType +
                "\n" + relu("r", "c", mapType);
  std::string source = "r";
  if (llvm::any_of(sizes.pads, [](int64_t pad) { return pad > 0; })) {
    source = "p";
    auto side = [&](int64_t d) { return std::to_string(sizes.pads[d]); };
    kernel.body += "%zero = arith.constant 0.0 : f32\n%p = tensor.pad %r "
                   "low[0, 0, " +
                   side(0) + ", " + side(1) + ", 0] high[0, 0, " + side(2) +
                   ", " + side(3) +
                   ", 0] {\n^bb1(%i: index, %j: index, %k: index, %l: index, "
                   "%m: index):\ntensor.yield %zero : f32\n} : " +
                   mapType + " to " + paddedType + "\n";
  }
  kernel.body += "%d = mv.depthwise_conv %" + source + ", %3 bias %4 " +
                 attributes(sizes.depthwise) + "} : (" + paddedType + ", " +
                 kernel.type(3) + ", " + kernel.type(4) + ") -> " +
                 kernel.type(5) + "\n" + relu("result", "d", kernel.type(5));
  CompiledKernel compiled(kernel, cpu);
  ASSERT_TRUE(compiled);
  EXPECT_NE(compiled.schedule().find("bands"), std::string::npos);
  expectResult(kernel, cpu,
               {&blocked, &packed, &bias, &blockedWindow, &secondBias},
               toBlocked(reference, result, lanes), 1e-5, random);
}

class Chain : public ::testing::TestWithParam<unsigned> {};

TEST_P(Chain, RandomSizes) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    ChainSizes sizes;
    sizes.batch = pick(random, 1, 2);
    sizes.channels = pick(random, 1, 40);
    sizes.blocks = pick(random, 1, 2) * 2;
    bool isWide = pick(random, 0, 2) == 0;
    int64_t side = isWide ? 3 : 1, strides = isWide ? pick(random, 1, 2) : 1;
    sizes.conv = {{side, side}, {strides, strides}, {1, 1}};
    int64_t taps = pick(random, 1, 2) * 2 + 1, step = pick(random, 1, 2);
    sizes.depthwise = {{taps, taps}, {step, step}, {1, pick(random, 1, 2)}};
    sizes.width = pick(random, 18, 22) * strides;
    sizes.height = pick(random, 3, 60) * strides + side + 2 * taps;
    for (int64_t d = 0; d < 4; ++d)
      sizes.pads.push_back(pick(random, 0, taps / 2 + 1));
    sizes.dynamic = pick(random, 0, 2) == 0;
    SCOPED_TRACE(cpu);
    checkChain(sizes, cpu, random);
    if (HasFailure())
      return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Chain, ::testing::Range(1u, 13u));

} // namespace
} // namespace marver::testing
