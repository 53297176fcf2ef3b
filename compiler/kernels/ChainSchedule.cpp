//===- ChainSchedule.cpp - Whether two convolutions are one kernel --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A map that goes from one kernel to the next costs a store and a load of each
// of its elements. While it stays in the L2 cache these hide behind the
// arithmetic; a larger one makes a depthwise convolution two to three times as
// slow as its arithmetic. Against that stand the rows at the edges of bands,
// which are computed twice, and rows moved inside the scratch memory.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/Schedule.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace marver {

/// Bytes a cycle between a core and the L3 cache, beyond what the arithmetic of
/// the two kernels hides.
static constexpr double kBytesPerCycle = 48;
/// Share of the convolution that may be computed twice (more than two bands).
static constexpr double kMostRepeated = 0.02;

static int64_t typicalIfDynamic(int64_t size, int64_t typical) {
  return ShapedType::isDynamic(size) ? typical : size;
}

std::optional<KernelChoice> chooseConvDepthwise(
    mv::PackedConvOp conv, const KernelChoice &convChoice, tensor::PadOp pad,
    mv::DepthwiseConvOp depthwise, const KernelChoice &depthwiseChoice,
    const TargetInfo &target, std::string &refusal, bool mustPay) {
  auto refuse = [&](const llvm::Twine &why) -> std::optional<KernelChoice> {
    refusal = ("not one kernel with the convolution before it: " + why).str();
    return std::nullopt;
  };
  if (convChoice.family != "contraction" ||
      depthwiseChoice.family != "depthwise")
    return refuse("that is " + convChoice.family);
  if (conv.getSpatialRank() != 2)
    return refuse("only maps of rows and columns are cut into rows");
  auto map = cast<RankedTensorType>(conv.getResult().getType());
  auto padded = cast<RankedTensorType>(depthwise.getInput().getType());
  auto filter = cast<RankedTensorType>(conv.getFilter().getType());
  if (padded.isDynamicDim(3))
    return refuse("the width is known only at run time");
  auto isNumber = [](int64_t value) { return !ShapedType::isDynamic(value); };
  auto isZero = [](int64_t value) { return value == 0; };
  if (pad) {
    SmallVector<int64_t> sides(pad.getStaticLow());
    llvm::append_range(sides, pad.getStaticHigh());
    int64_t rank = padded.getRank();
    auto aside = [&](int64_t d) {
      return isZero(sides[d]) && isZero(sides[rank + d]);
    };
    if (!llvm::all_of(sides, isNumber) || !aside(0) || !aside(1) || !aside(4) ||
        !pad.getConstantPaddingValue())
      return refuse("the pad between them is not a border of rows and columns");
  }
  DictionaryAttr convSchedule = convChoice.schedule;
  auto tile = cast<DenseI64ArrayAttr>(convSchedule.get("tile")).asArrayRef();
  auto depthwiseTile =
      cast<DenseI64ArrayAttr>(depthwiseChoice.schedule.get("tile"))
          .asArrayRef();
  int64_t lanes = target.lanes;
  int64_t vectors = panelWidth(conv) / lanes;
  int64_t panels = filter.getShape().front();
  int64_t blocks = map.getShape()[1];
  if (tile[0] != 1 ||
      cast<IntegerAttr>(convSchedule.get("streams")).getInt() != 1)
    return refuse("its tiles hold several rows");
  if (panels * vectors != blocks)
    return refuse("its last panel of weights is narrower than the others");

  int64_t mapRows = typicalIfDynamic(map.getShape()[2], 64);
  int64_t width = padded.getShape()[3];
  int64_t rowBytes = width * lanes * 4;
  int64_t mapBytes = mapRows * rowBytes * blocks;
  if (mustPay && mapBytes <= target.l2Bytes)
    return refuse(llvm::formatv("its result of {0} kB stays in the L2 cache",
                                mapBytes >> 10)
                      .str());

  int64_t stride = depthwise.getStrides()[0];
  int64_t taps =
      cast<RankedTensorType>(depthwise.getFilter().getType()).getDimSize(1);
  int64_t reach = depthwise.getDilations()[0] * (taps - 1) + 1;
  int64_t shared = std::max<int64_t>(reach - stride, 0);
  // As many rows as an eighth of the L2 cache holds between the two.
  int64_t fitting = target.l2Bytes / 8 / (rowBytes * vectors);
  int64_t step = depthwiseTile[0];
  int64_t rows = (fitting - reach) / stride + 1;
  int64_t resultRows = typicalIfDynamic(
      cast<RankedTensorType>(depthwise.getResult().getType()).getDimSize(2),
      64);
  rows = std::min(rows, resultRows) / step * step;
  if (fitting < reach || rows < step)
    return refuse("the rows of one window do not fit into the L2 cache");

  // Cycles: what is saved, and what is done twice or moved.
  double saved = 2 * double(mapBytes) / kBytesPerCycle;
  double convCycles =
      0.5 * double(conv.getInChannels()) * blocks * mapRows * width;
  for (int64_t size : filter.getShape().slice(1, 2))
    convCycles *= double(size);
  int64_t bands = 1;
  if (shared)
    bands += int64_t(kMostRepeated * double(mapRows) / double(shared));
  // An even number of them, for two threads and for four.
  bands = std::clamp<int64_t>(llvm::bit_floor(uint64_t(bands)), 2, 8);
  bands = std::min<int64_t>(bands, llvm::divideCeil(resultRows, rows));
  double repeated = double((bands - 1) * shared) / double(mapRows) * convCycles;
  double moved = double(shared) / double(rows * stride) * double(mapBytes) /
                 double(lanes * 4) * 2;
  if (mustPay && repeated + moved > 0.7 * saved)
    return refuse(
        llvm::formatv("{0:F2} million cycles of memory traffic saved, {1:F2} "
                      "of repeated rows added",
                      saved / 1e6, (repeated + moved) / 1e6)
            .str());
  Builder builder(conv.getContext());
  std::string reason = llvm::formatv(
      "{0} rows at a time, {1} kB between the two instead of {2}; {3:F2} "
      "million cycles of memory traffic saved, {4:F2} of repeated rows added",
      rows, ((rows - 1) * stride + reach) * rowBytes * vectors >> 10,
      mapBytes >> 10, saved / 1e6, (repeated + moved) / 1e6);
  auto number = [&](StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  };
  return KernelChoice{
      "conv_depthwise",
      builder.getDictionaryAttr(
          {number("rows", rows), number("bands", bands),
           builder.getNamedAttr("conv", convSchedule),
           builder.getNamedAttr("depthwise", depthwiseChoice.schedule),
           builder.getNamedAttr("reason", builder.getStringAttr(reason))})};
}

} // namespace marver
