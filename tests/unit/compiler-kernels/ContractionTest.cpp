//===- ContractionTest.cpp - Packed convolutions and matrix products ------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "compiler/kernels/Schedule.h"
#include "compiler/kernels/WinogradAlgorithm.h"
#include "gtest/gtest.h"
#include <cmath>

namespace marver::testing {

std::vector<double> convolve(const Tensor &input, const Tensor &filter,
                             const Tensor *bias, const Windows &windows,
                             int64_t groups) {
  llvm::ArrayRef<int64_t> in = input.shape();
  int64_t batch = in[0], channels = in[1];
  int64_t outputs = filter.shape()[0], depth = filter.shape()[1];
  Shape out = windows.outputs(in.drop_front(2));
  int64_t pixels = product(out), taps = product(windows.size);
  int64_t inPixels = product(in.drop_front(2));
  std::vector<double> result(batch * outputs * pixels);
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t f = 0; f < outputs; ++f)
      for (int64_t p = 0; p < pixels; ++p) {
        Shape at = coordinates(p, out);
        double sum = bias ? (*bias)[f] : 0;
        for (int64_t t = 0; t < taps; ++t) {
          Shape tap = coordinates(t, windows.size);
          int64_t position = 0;
          for (size_t d = 0; d < at.size(); ++d)
            position = position * in[2 + d] + at[d] * windows.strides[d] +
                       tap[d] * windows.dilations[d];
          for (int64_t c = 0; c < depth; ++c) {
            int64_t channel = f / (outputs / groups) * depth + c;
            sum +=
                double(input[(n * channels + channel) * inPixels + position]) *
                filter[(f * depth + c) * taps + t];
          }
        }
        result[(n * outputs + f) * pixels + p] = sum;
      }
  return result;
}

Tensor packFilter(const Tensor &filter, int64_t width) {
  llvm::ArrayRef<int64_t> shape = filter.shape();
  int64_t outputs = shape[0], channels = shape[1];
  int64_t taps = product(shape.drop_front(2));
  Shape packedShape = {ceilDiv(outputs, width)};
  packedShape.insert(packedShape.end(), shape.begin() + 2, shape.end());
  packedShape.push_back(channels);
  packedShape.push_back(width);
  Tensor packed(packedShape);
  for (int64_t f = 0; f < outputs; ++f)
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t c = 0; c < channels; ++c)
        packed[((f / width * taps + t) * channels + c) * width + f % width] =
            filter[(f * channels + c) * taps + t];
  return packed;
}

namespace {

struct ConvSizes {
  int64_t batch, channels, outputs;
  Shape spatial; ///< of the result
  Windows windows;
  bool blocked, bias;
  int64_t epilogue; ///< 0: none, 1: short (relu, residual), 2: long (silu, too)
  bool dynamicBatch, dynamicSpatial;
  int64_t winograd = 0; ///< outputs of a tile per dim; 0: by the definition
  /// What the kernel itself pads: rows above, columns before, rows below,
  /// columns behind.
  std::array<int64_t, 4> border = {0, 0, 0, 0};
};

/// The packed weights as mv.winograd_filter makes them, with panels of another
/// width.
Tensor winogradFilter(const Tensor &packed, int64_t rank,
                      const ConvSizes &sizes, int64_t width) {
  WinogradAlgorithm algorithm = getWinograd(
      sizes.winograd, sizes.windows.size[0], sizes.windows.strides[0]);
  WinogradFilterShape shape{
      rank,           packed.shape().front(),        packed.shape().back(),
      sizes.channels, ceilDiv(sizes.outputs, width), width};
  int64_t positions = algorithm.positions(), phases = algorithm.phases;
  if (rank == 2) {
    positions *= positions;
    phases *= phases;
  }
  Tensor result({shape.panels, positions, phases * sizes.channels, width});
  for (int64_t panel = 0; panel < shape.panels; ++panel)
    transformWinogradFilter(algorithm, shape, panel,
                            reinterpret_cast<const char *>(packed.data()),
                            result.data());
  return result;
}

void checkConv(const ConvSizes &sizes, llvm::StringRef cpu,
               std::mt19937 &random) {
  TargetInfo target = targetOf(cpu);
  int64_t lanes = target.lanes, rank = sizes.spatial.size();
  Shape inShape = {sizes.batch, sizes.channels};
  for (int64_t d = 0; d < rank; ++d)
    inShape.push_back((sizes.spatial[d] - 1) * sizes.windows.strides[d] +
                      sizes.windows.reach(d) +
                      pick(random, 0, sizes.windows.strides[d] - 1));
  Shape filterShape = {sizes.outputs, sizes.channels};
  filterShape.insert(filterShape.end(), sizes.windows.size.begin(),
                     sizes.windows.size.end());
  Shape outShape = {sizes.batch, sizes.outputs};
  outShape.insert(outShape.end(), sizes.spatial.begin(), sizes.spatial.end());

  Tensor input(inShape), filter(filterShape);
  input.fillRandom(random);
  filter.fillRandom(random);
  Shape insideShape = inShape;
  bool hasBorder = llvm::any_of(sizes.border, [](int64_t b) { return b != 0; });
  if (hasBorder)
    for (int64_t d = 0; d < 2; ++d)
      insideShape[2 + d] -= sizes.border[d] + sizes.border[2 + d];
  Tensor inside(insideShape);
  for (int64_t i = 0; i < int64_t(input.size()) && hasBorder; ++i) {
    Shape at = coordinates(i, inShape), from = at;
    bool isInside = true;
    for (int64_t d = 2; d < 4; ++d) {
      from[d] -= sizes.border[d - 2];
      isInside &= from[d] >= 0 && from[d] < insideShape[d];
    }
    if (isInside)
      inside.at(from) = input.at(at);
    else
      input.at(at) = 0.25f;
  }
  ContractionShape shape;
  shape.outputs = sizes.outputs;
  shape.reduction = sizes.channels * product(sizes.windows.size);
  shape.width =
      sizes.dynamicSpatial ? mlir::ShapedType::kDynamic : sizes.spatial.back();
  shape.rows = rank < 2               ? 1
               : sizes.dynamicSpatial ? mlir::ShapedType::kDynamic
                                      : sizes.spatial[rank - 2];
  shape.batch = sizes.batch;
  int64_t width = choosePanelWidth(shape, target);
  Tensor packed = packFilter(filter, width);
  if (sizes.winograd)
    packed = winogradFilter(packed, rank, sizes, pick(random, 1, 4) * lanes);
  Tensor blocked;
  if (sizes.blocked)
    blocked = toBlocked(input, lanes);
  const Tensor &plain = hasBorder ? inside : input;
  Tensor single; // blocks of one channel
  if (sizes.winograd && !sizes.blocked) {
    Shape singleShape = plain.shape();
    singleShape.push_back(1);
    single = Tensor(singleShape);
    std::copy(plain.data(), plain.data() + plain.size(), single.data());
  }
  const Tensor &operand = sizes.blocked    ? blocked
                          : sizes.winograd ? single
                                           : plain;

  Tensor bias({ceilDiv(sizes.outputs, lanes) * lanes});
  bias.fillRandom(random);
  Tensor residual(blockedShape(outShape, lanes));
  residual.fillRandom(random);

  KernelCase kernel;
  kernel.operands = {operand.shape(), packed.shape(), bias.shape(),
                     residual.shape()};
  kernel.result = residual.shape();
  for (int64_t operand : {0, 3, 4}) {
    if (sizes.dynamicBatch)
      kernel.dynamic.push_back({operand, 0});
    if (sizes.dynamicSpatial)
      for (int64_t d = 0; d < rank; ++d)
        kernel.dynamic.push_back({operand, 2 + d});
  }
  std::string attributes =
      (sizes.winograd
           ? " {outputs = " + std::to_string(sizes.winograd) +
                 ", window = " + std::to_string(sizes.windows.size[0]) +
                 ", stride = " + std::to_string(sizes.windows.strides[0])
           : " {strides = " + listText(sizes.windows.strides) +
                 ", dilations = " + listText(sizes.windows.dilations)) +
      ", in_channels = " + std::to_string(sizes.channels) +
      ", out_channels = " + std::to_string(sizes.outputs) +
      (sizes.blocked && !sizes.winograd ? ", input_blocked" : "") + "}";
  std::string inputName = "%0", inputType = kernel.type(0);
  if (hasBorder) {
    auto text = [](int64_t a, int64_t b) {
      return "[0, 0, " + std::to_string(a) + ", " + std::to_string(b) + ", 0]";
    };
    inputName = "%padded";
    inputType = "tensor<";
    for (int64_t d = 0; d < 4; ++d)
      inputType += (d == 0 ? sizes.dynamicBatch : d > 1 && sizes.dynamicSpatial)
                       ? "?x"
                       : std::to_string(inShape[d]) + "x";
    inputType += "1xf32>";
    kernel.body = "%padded = tensor.pad %0 low" +
                  text(sizes.border[0], sizes.border[1]) + " high" +
                  text(sizes.border[2], sizes.border[3]) +
                  " {\n^bb0(%i: index, %j: index, %k: index, %l: index, "
                  "%m: index):\n%quarter = arith.constant 0.25 : f32\n"
                  "tensor.yield %quarter : f32\n} : " +
                  kernel.type(0) + " to " + inputType + "\n";
  }
  kernel.body +=
      "%conv = mv." +
      std::string(sizes.winograd ? "winograd_conv" : "packed_conv") + " " +
      inputName + ", %1" + std::string(sizes.bias ? " bias %2" : "") +
      attributes + " : (" + inputType + ", " + kernel.type(1) +
      (sizes.bias ? ", " + kernel.type(2) : "") + ") -> " + kernel.type(4);
  if (sizes.epilogue) {
    std::string map = "affine_map<(";
    for (int64_t d = 0; d < rank + 3; ++d)
      map += (d ? ", d" : "d") + std::to_string(d);
    map += ") -> (";
    for (int64_t d = 0; d < rank + 3; ++d)
      map += (d ? ", d" : "d") + std::to_string(d);
    map += ")>";
    std::string iterators;
    for (int64_t d = 0; d < rank + 3; ++d)
      iterators += d ? ", \"parallel\"" : "\"parallel\"";
    kernel.body +=
        "\n%result = linalg.generic {indexing_maps = [" + map + ", " + map +
        ", " + map + "], iterator_types = [" + iterators +
        "]} ins(%conv, %3 : " + kernel.type(4) + ", " + kernel.type(3) +
        ") outs(%conv : " + kernel.type(4) +
        ") {\n^bb1(%a: f32, %b: f32, %o: f32):\n"
        "%z = arith.constant 0.0 : f32\n%one = arith.constant 1.0 : f32\n" +
        (sizes.epilogue == 1 ? "%m = arith.maximumf %a, %z : f32\n"
                             : "%n = arith.negf %a : f32\n"
                               "%e = math.exp %n : f32\n"
                               "%d = arith.addf %e, %one : f32\n"
                               "%m = arith.divf %a, %d : f32\n") +
        "%s = arith.addf %m, %b : f32\nlinalg.yield %s : f32\n} -> " +
        kernel.type(4);
  } else {
    size_t name = kernel.body.find("%conv");
    kernel.body.replace(name, 5, "%result");
  }
  std::vector<double> expected = toBlocked(
      convolve(input, filter, sizes.bias ? &bias : nullptr, sizes.windows, 1),
      outShape, lanes);
  if (sizes.epilogue)
    for (size_t i = 0; i < expected.size(); ++i)
      if (expected[i] != kAny)
        expected[i] =
            (sizes.epilogue == 1 ? std::max(expected[i], 0.0)
                                 : expected[i] / (1 + std::exp(-expected[i]))) +
            residual[i];
  expectResult(kernel, cpu, {&operand, &packed, &bias, &residual}, expected,
               6e-6, random);
}

class Contraction : public ::testing::TestWithParam<unsigned> {};

TEST_P(Contraction, RandomConvolutions) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    ConvSizes sizes;
    int64_t rank = pick(random, 1, 3);
    sizes.batch = pick(random, 1, 3);
    sizes.channels = pick(random, 1, 40);
    sizes.outputs = pick(random, 1, 70);
    for (int64_t d = 0; d < rank; ++d) {
      sizes.spatial.push_back(
          pick(random, 1, rank == 1 ? 70 : (rank == 2 ? 24 : 8)));
      sizes.windows.size.push_back(pick(random, 1, 4));
      sizes.windows.strides.push_back(pick(random, 1, 3));
      sizes.windows.dilations.push_back(pick(random, 1, 2));
    }
    sizes.blocked = pick(random, 0, 3) != 0;
    sizes.bias = pick(random, 0, 1);
    sizes.epilogue = pick(random, 0, 2);
    sizes.dynamicBatch = pick(random, 0, 2) == 0;
    sizes.dynamicSpatial = pick(random, 0, 2) == 0;
    checkConv(sizes, cpu, random);
    if (HasFailure())
      return;
  }
}

/// The 1-D algorithms against the definition, in f64.
TEST(Winograd, AlgorithmsComputeConvolutions) {
  std::mt19937 random(1);
  for (int64_t stride : {1, 2, 3})
    for (int64_t window = stride; window <= 6; ++window)
      for (int64_t outputs = 1; outputs + ceilDiv(window, stride) <= 8;
           ++outputs) {
        WinogradAlgorithm a = getWinograd(outputs, window, stride);
        ASSERT_EQ(a.inputs, (outputs - 1) * stride + window);
        Tensor in({a.inputs}), taps({window});
        in.fillRandom(random);
        taps.fillRandom(random);
        for (int64_t i = 0; i < outputs; ++i) {
          double wanted = 0, sum = 0;
          for (int64_t k = 0; k < window; ++k)
            wanted += double(in[i * stride + k]) * taps[k];
          for (int64_t j = 0; j < a.inputs; ++j) {
            double g = 0, d = 0;
            for (int64_t k = 0; k < window; ++k)
              g += a.filter.at(j, k) * taps[k];
            for (int64_t k = 0; k < a.inputs; ++k)
              d += a.input.at(j, k) * in[k];
            sum += a.output.at(i, j) * g * d;
          }
          EXPECT_NEAR(sum, wanted, 1e-10)
              << outputs << " outputs of " << window << " taps at " << stride;
        }
      }
}

/// The kernel that transforms weights gives the bits of the compiler's own
/// transform.
TEST(Winograd, FiltersAreTransformedExactly) {
  std::mt19937 random(1);
  for (const std::string &cpu : runnableCpus()) {
    int64_t lanes = targetOf(cpu).lanes;
    for (int64_t rank : {1, 2})
      for (auto [outputs, window, stride] : {std::array<int64_t, 3>{4, 3, 1},
                                             {2, 3, 1},
                                             {2, 3, 2},
                                             {3, 3, 2},
                                             {2, 4, 2},
                                             {4, 6, 2}})
        for (int64_t vectors : {1, 3}) {
          ConvSizes sizes = {};
          sizes.winograd = outputs;
          sizes.channels = 5;
          sizes.outputs = 2 * lanes + 3;
          sizes.windows.size.assign(rank, window);
          sizes.windows.strides.assign(rank, stride);
          Shape shape = {sizes.outputs, sizes.channels};
          shape.insert(shape.end(), rank, window);
          Tensor filter(shape);
          filter.fillRandom(random);
          Tensor packed = packFilter(filter, 2 * lanes);
          Tensor wanted = winogradFilter(packed, rank, sizes, vectors * lanes);
          KernelCase kernel;
          kernel.operands = {packed.shape()};
          kernel.result = wanted.shape();
          kernel.body = "%result = mv.winograd_filter %0 {outputs = " +
                        std::to_string(outputs) +
                        ", stride = " + std::to_string(stride) + "} : (" +
                        kernel.type(0) + ") -> " + kernel.type(1);
          CompiledKernel compiled(kernel, cpu);
          ASSERT_TRUE(compiled);
          Tensor result(wanted.shape());
          result.fill(7);
          compiled.run({&packed}, result);
          EXPECT_EQ(memcmp(result.data(), wanted.data(), wanted.size() * 4), 0)
              << kernel.body;
        }
  }
}

/// The few channels of an image, with a border that the kernel adds or without,
/// windows of three taps or of three in each of two phases.
TEST_P(Contraction, RandomWinogradOfPlainInputs) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    ConvSizes sizes;
    sizes.batch = pick(random, 1, 3);
    sizes.channels = pick(random, 1, 5);
    sizes.outputs = pick(random, 1, 70);
    int64_t stride = pick(random, 1, 2);
    sizes.winograd = 2 * pick(random, 1, 2);
    sizes.spatial = {pick(random, 1, 20), pick(random, 1, 150)};
    sizes.windows.size.assign(2, 3 * stride);
    sizes.windows.strides.assign(2, stride);
    sizes.windows.dilations.assign(2, 1);
    sizes.blocked = false;
    sizes.bias = pick(random, 0, 1);
    sizes.epilogue = pick(random, 0, 2);
    sizes.dynamicBatch = pick(random, 0, 2) == 0;
    sizes.dynamicSpatial = pick(random, 0, 2) == 0;
    if (pick(random, 0, 2))
      for (int64_t &border : sizes.border)
        border = pick(random, 0, stride);
    checkConv(sizes, cpu, random);
    if (HasFailure())
      return;
  }
}

/// Tiles that reach beyond the result, several images and blocks, one dim and
/// two, sizes unknown to the kernel.
TEST_P(Contraction, RandomWinograd) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    ConvSizes sizes;
    int64_t rank = pick(random, 0, 3) ? 2 : 1;
    bool large = pick(random, 0, 3) == 0;
    sizes.batch = pick(random, 1, 3);
    sizes.channels = large ? pick(random, 300, 330) : pick(random, 1, 70);
    sizes.outputs = large ? pick(random, 130, 150) : pick(random, 1, 100);
    int64_t stride = pick(random, 1, 2);
    sizes.winograd = stride == 1 ? 2 * pick(random, 1, 2) : pick(random, 2, 3);
    for (int64_t d = 0; d < rank; ++d)
      sizes.spatial.push_back(
          pick(random, 1, large ? 9 : (rank == 1 ? 150 : 28)));
    // Also windows whose phases have equally many taps.
    bool isEven = stride == 2 && !large && pick(random, 0, 2) == 0;
    sizes.windows.size.assign(rank, isEven ? 4 : 3);
    sizes.windows.strides.assign(rank, stride);
    sizes.windows.dilations.assign(rank, 1);
    sizes.blocked = true;
    sizes.bias = pick(random, 0, 1);
    sizes.epilogue = pick(random, 0, 2);
    sizes.dynamicBatch = pick(random, 0, 2) == 0;
    sizes.dynamicSpatial = pick(random, 0, 1);
    checkConv(sizes, cpu, random);
    if (HasFailure())
      return;
  }
}

TEST_P(Contraction, RandomMatrixProducts) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    TargetInfo target = targetOf(cpu);
    int64_t batch = pick(random, 1, 3);
    int64_t rows = pick(random, 0, 2) ? pick(random, 1, 90) : 1;
    int64_t depth = pick(random, 1, 150), columns = pick(random, 1, 300);
    bool unknown = pick(random, 0, 2) == 0, hasBias = pick(random, 0, 1);
    Tensor lhs({batch, rows, depth}), rhs({columns, depth}), bias({columns});
    lhs.fillRandom(random);
    rhs.fillRandom(random);
    bias.fillRandom(random);
    ContractionShape shape;
    shape.outputs = columns;
    shape.reduction = depth;
    shape.width = unknown ? mlir::ShapedType::kDynamic : rows;
    shape.pixelStrideBytes = depth * 4;
    Tensor packed = packFilter(rhs, choosePanelWidth(shape, target));
    KernelCase kernel;
    kernel.operands = {lhs.shape(), packed.shape(), bias.shape()};
    kernel.result = {batch, rows, columns};
    if (unknown)
      kernel.dynamic = {{0, 0}, {0, 1}, {3, 0}, {3, 1}};
    kernel.body = "%result = mv.packed_matmul %0, %1" +
                  std::string(hasBias ? " bias %2" : "") +
                  " {columns = " + std::to_string(columns) + "} : (" +
                  kernel.type(0) + ", " + kernel.type(1) +
                  (hasBias ? ", " + kernel.type(2) : "") + ") -> " +
                  kernel.type(3);
    std::vector<double> expected;
    for (int64_t m = 0; m < batch * rows; ++m)
      for (int64_t n = 0; n < columns; ++n) {
        double sum = hasBias ? bias[n] : 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += double(lhs[m * depth + k]) * rhs[n * depth + k];
        expected.push_back(sum);
      }
    expectResult(kernel, cpu, {&lhs, &packed, &bias}, expected, 3e-6, random);
    if (HasFailure())
      return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Contraction, ::testing::Range(1u, 25u));

} // namespace
} // namespace marver::testing
