//===- WinogradSchedule.cpp - Winograd's algorithm: whether and how -------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The cost model of mv.winograd_conv. Its parts: the products, as a contraction
// over channels for each position of a transformed tile; the two transforms,
// which are loads, additions and stores per position; and what the transformed
// weights, several times the original's size, cost to stream from the L3 cache
// once per block of tiles.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/MvDialect.h"
#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/CostModel.h"
#include "compiler/kernels/WinogradAlgorithm.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace marver {
namespace {

/// Sizes of a convolution by tiles.
struct TiledConv {
  WinogradAlgorithm algorithm;
  int64_t positions = 1; ///< of a transformed tile
  int64_t phases = 1;    ///< added up as channels are
  int64_t tiles = 1;     ///< of which blocks are made: an image's, or a row's
  int64_t runs = 1;      ///< of so many tiles
  int64_t channels, outputs;
  bool isPlain;

  int64_t steps() const { return phases * channels; } ///< of a product
};

TiledConv tiledConv(ArrayRef<int64_t> result, int64_t rank, int64_t channels,
                    int64_t outChannels, int64_t outputs, int64_t window,
                    int64_t stride, bool isPlain) {
  TiledConv conv;
  conv.algorithm = getWinograd(outputs, window, stride);
  conv.channels = channels;
  conv.outputs = outChannels;
  conv.isPlain = isPlain;
  conv.runs = std::max<int64_t>(guess(result[0], 1), 1);
  for (auto [d, size] : llvm::enumerate(result.slice(2, rank))) {
    conv.positions *= conv.algorithm.positions();
    conv.phases *= conv.algorithm.phases;
    bool isOuter = isPlain && int64_t(d) + 1 < rank;
    (isOuter ? conv.runs : conv.tiles) *= ceilDiv(guess(size, 40), outputs);
  }
  return conv;
}

/// Additions, loads and stores of the input's transform, cache misses included,
/// in a run (fitted to YOLOX-S's layers on a Zen 5 core, 2026-11-23).
double inputCycles(const TiledConv &conv, int64_t block,
                   const TargetInfo &target) {
  int64_t lanes = target.lanes;
  if (!conv.isPlain)
    return 5.0 * double(conv.tiles) * conv.positions * conv.phases *
           ceilDiv(conv.channels, lanes);
  // Vectors of tiles, as many as a block's.
  const WinogradAlgorithm &a = conv.algorithm;
  int64_t period = a.outputs * a.stride;
  int64_t vectors = conv.tiles / block * ceilDiv(block, lanes) +
                    ceilDiv(conv.tiles % block, lanes);
  double columns = 2.5 * double(a.inputs * period);
  double rows = double(a.inputs) * (2.5 * period + 2.5 * a.inputs);
  // Where a block begins, its rows come from memory.
  double begin = 100.0 * double(a.inputs * ceilDiv(conv.tiles, block));
  return conv.channels * (double(vectors) * (columns + rows) + begin);
}

struct WinogradTiling {
  int64_t gemmTiles = 1, blockTiles = 1;
  double cycles = -1;
};

/// The best register tile and block with panels of `vectors`.
WinogradTiling bestTiling(const TiledConv &conv, int64_t vectors,
                          const TargetInfo &target) {
  int64_t lanes = target.lanes;
  // What the products read of a tile.
  int64_t inputLanes =
      conv.isPlain ? conv.steps()
                   : (conv.phases * ceilDiv(conv.channels, lanes) + 1) * lanes;
  int64_t outputBlocks = ceilDiv(conv.outputs, lanes);
  int64_t panels = ceilDiv(outputBlocks, vectors);
  int64_t tileBytes = conv.positions * 4 * (inputLanes + vectors * lanes);
  double weightBytes =
      4.0 * conv.positions * conv.steps() * panels * vectors * lanes;
  // Bytes that one core gets from the L3 cache or memory in a cycle while it
  // computes.
  constexpr double l3Bytes = 6;
  WinogradTiling best;
  int64_t most = std::min(mostPixels(vectors, 64, target), conv.tiles);
  // Fewer accumulators hide the FMA's latency only in theory: 5 tiles by 2
  // vectors lose 10 %.
  int64_t least = std::min(most, ceilDiv(target.vectorRegisters / 2, vectors));
  for (int64_t gemm = least; gemm <= most; ++gemm) {
    // A register tile's own instructions: zeros, stores, the loop.
    double tileCycles =
        conv.steps() * stepCycles(gemm, vectors, conv.steps(), target) + 10 +
        gemm * vectors;
    for (int64_t block = gemm;; block += gemm) {
      int64_t blocks = ceilDiv(conv.tiles, block);
      if (block > gemm && (block * tileBytes > target.l2Bytes * 9 / 10 ||
                           block - gemm >= conv.tiles))
        break;
      int64_t last = conv.tiles - (blocks - 1) * block;
      double computed = (blocks - 1) * (block / gemm) + ceilDiv(last, gemm);
      double products = computed * panels * conv.positions * tileCycles;
      // What is streamed comes while the products are made, if slowly enough.
      double stream =
          weightBytes > target.l2Bytes / 4 ? blocks * weightBytes / l3Bytes : 0;
      double cycles = std::max(products, stream) + 0.1 * stream;
      // A short last block leaves some thread with less to do.
      cycles *= 0.5 + 0.5 * double(blocks * block) / conv.tiles;
      cycles += inputCycles(conv, block, target);
      if (best.cycles < 0 || cycles < best.cycles * 0.999)
        best = {gemm, block, cycles};
    }
  }
  best.cycles += 4.0 * double(conv.tiles) * conv.positions * outputBlocks;
  best.cycles *= conv.runs;
  return best;
}

} // namespace

std::optional<WinogradChoice> chooseWinograd(Operation *anchor,
                                             const TargetInfo &target) {
  auto op = dyn_cast<mv::PackedConvOp>(anchor);
  if (!op)
    return std::nullopt;
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  int64_t rank = op.getSpatialRank();
  ArrayRef<int64_t> taps = filter.getShape().slice(1, rank);
  int64_t stride = op.getStrides().front();
  auto isAll = [](ArrayRef<int64_t> values, int64_t wanted) {
    return llvm::all_of(values, [&](int64_t v) { return v == wanted; });
  };
  int64_t window = taps.front();
  // Windows of three taps, or of three in each phase: for plain inputs.
  bool isPlain = !op.getInputBlocked();
  if (rank > 2 || (isPlain && rank != 2) || !isAll(op.getStrides(), stride) ||
      !isAll(op.getDilations(), 1) || !isAll(taps, window) || stride > 2 ||
      window != (isPlain ? 3 * stride : 3) || reductionGroup(op) != 1 ||
      !isWeightType(filter.getElementType()) ||
      !hasVectorContraction(result.getElementType()) ||
      result.getShape().back() != target.lanes)
    return std::nullopt;
  std::optional<WinogradChoice> best;
  // Measured convolutions take this much longer than the model of their
  // register tiles, which knows nothing of the input's cache misses.
  constexpr double kDirect = 1.08;
  double direct =
      kDirect * contractionCycles(contractionShape(op, target),
                                  filter.getShape().back() / target.lanes,
                                  target);
  ContractionShape shape = contractionShape(op, target);
  direct *= std::max<int64_t>(guess(shape.batch, 1), 1);
  if (isDynamic(result.getShape()[1 + rank]))
    // The model of the definition took another width for granted.
    direct *= 40.0 / 128;
  static constexpr int64_t atEqualPhases[] = {4}, atOthers[] = {2};
  for (int64_t outputs :
       window % stride == 0 ? ArrayRef(atEqualPhases) : ArrayRef(atOthers))
    // Wider panels leave room for few tiles, which read the weights too often:
    // 5 tiles by 4 vectors are 7 % slower than 10 by 2.
    for (int64_t vectors = 1; vectors <= 2; ++vectors) {
      if (vectors > ceilDiv(op.getOutChannels(), target.lanes))
        break;
      TiledConv conv =
          tiledConv(result.getShape(), rank, op.getInChannels(),
                    op.getOutChannels(), outputs, window, stride, isPlain);
      double cycles = bestTiling(conv, vectors, target).cycles;
      if (!best || cycles < best->cycles)
        best = WinogradChoice{outputs, vectors * target.lanes, cycles, direct};
    }
  return best;
}

bool isInputPlain(mv::WinogradConvOp conv) {
  return cast<RankedTensorType>(conv.getInput().getType()).getShape().back() ==
         1;
}

KernelChoice scheduleWinograd(mv::WinogradConvOp op, const TargetInfo &target) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  TiledConv conv =
      tiledConv(result.getShape(), op.getSpatialRank(), op.getInChannels(),
                op.getOutChannels(), op.getOutputs(), op.getWindow(),
                op.getStride(), isInputPlain(op));
  int64_t vectors = filter.getShape().back() / target.lanes;
  WinogradTiling tiling = bestTiling(conv, vectors, target);
  Builder builder(op.getContext());
  std::string reason = llvm::formatv(
      "Winograd of {0} outputs, stride {1}: {2:F1} million cycles; {3} tiles "
      "by {4} vectors, blocks of {5}",
      op.getOutputs(), op.getStride(), tiling.cycles / 1e6, tiling.gemmTiles,
      vectors, tiling.blockTiles);
  return {"winograd",
          builder.getDictionaryAttr(
              {builder.getNamedAttr("tile",
                                    builder.getDenseI64ArrayAttr(
                                        {tiling.gemmTiles, tiling.blockTiles})),
               builder.getNamedAttr("reason", builder.getStringAttr(reason))})};
}

} // namespace marver
