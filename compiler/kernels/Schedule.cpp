//===- Schedule.cpp - Choice of algorithm and tiles per kernel ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Register tiles and algorithms are chosen by the cost model of CostModel.h.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/Schedule.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/CostModel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace marver {
namespace {

/// Parallel indices that a kernel should have at least, where its work allows:
/// 16 threads get one each, 2 threads get 8 and balance well.
constexpr int64_t kWantedUnits = 16;

/// Pixels that a strip must keep so that a panel of weights is used often
/// enough each time it is brought into the L1 cache.
constexpr int64_t kLeastStripPixels = 56;

//===----------------------------------------------------------------------===//
// Splitting into parallel indices
//===----------------------------------------------------------------------===//

struct Split {
  int64_t stripRows = 0; ///< 0: all
  int64_t stripPixels = 0;
  int64_t panels = 1; ///< per parallel index
};

struct ContractionBytes {
  int64_t weights;
  int64_t inputRow;   ///< of one output row's new input rows, all channels
  int64_t passes = 1; ///< over parts of the reduction
};

/// Groups of panels that strips are split into, so that there are enough units.
int64_t panelsPerGroup(int64_t panelCount, int64_t strips) {
  int64_t groups =
      std::min(panelCount, std::max<int64_t>(ceilDiv(kWantedUnits, strips), 1));
  return ceilDiv(panelCount, groups);
}

/// How much longer two threads (and, with half the weight, four) take than if
/// all did the same, where `length` is cut into strips: each thread does a
/// range of the units, which are a strip and a group of panels.
double imbalance(int64_t length, int64_t strip, int64_t batch,
                 int64_t panelCount) {
  int64_t strips = ceilDiv(length, strip);
  int64_t panels = panelsPerGroup(panelCount, strips * batch);
  int64_t groups = ceilDiv(panelCount, panels);
  int64_t units = batch * strips * groups;
  if (units > 64) // no matter
    return 1;
  auto part = [](int64_t number, int64_t size, int64_t all) {
    return std::min(size, all - number * size);
  };
  double result = 0;
  for (int64_t threads : {2, 4}) {
    int64_t longest = 0;
    for (int64_t t = 0; t < threads; ++t) {
      // As the runtime does it: the first ones are one unit longer.
      int64_t size = units / threads, rest = units % threads;
      int64_t first = size * t + std::min(t, rest);
      int64_t work = 0;
      for (int64_t unit = first; unit < first + size + (t < rest); ++unit)
        work += part(unit / groups % strips, strip, length) *
                part(unit % groups, panels, panelCount);
      longest = std::max(longest, work);
    }
    result += (threads == 2 ? 2.0 : 1.0) / 3 * double(longest * threads) /
              double(length * panelCount * batch);
  }
  return result;
}

/// A multiple of `step` near `strip` that keeps threads busy for equally long,
/// as nearly as possible.
int64_t evenStrip(int64_t length, int64_t strip, int64_t step, int64_t batch,
                  int64_t panelCount) {
  if (strip >= length)
    return strip;
  int64_t best = strip;
  double least = imbalance(length, strip, batch, panelCount);
  for (int64_t s = roundUp(ceilDiv(strip * 2, 3), step);
       s <= std::min(strip * 2, length); s += step) {
    double cost = imbalance(length, s, batch, panelCount);
    if (cost < least - 0.01 ||
        (cost < least + 0.01 && std::abs(s - strip) < std::abs(best - strip))) {
      best = s;
      least = std::min(cost, least);
    }
  }
  return best;
}

/// How the pixels and the panels of a contraction are dealt out. Rows (or, with
/// one row, pixels) come first, because neighbouring layers then leave each
/// thread's data in its own cache; panels are split where the rows do not
/// suffice or where there is more to read of weights than of input.
Split splitContraction(const ContractionShape &shape, const TileChoice &tile,
                       int64_t panelCount, const ContractionBytes &bytes,
                       const TargetInfo &target, std::string &reason) {
  Split split;
  int64_t batch = guess(shape.batch, 1);
  int64_t rows = guess(shape.rows, 32);
  int64_t width = guess(shape.width, 256);
  // What is split: rows, or the pixels of the only row.
  bool alongRow = !isDynamic(shape.rows) && rows == 1;
  int64_t length = alongRow ? width : rows;
  int64_t step = alongRow ? tile.pixels : tile.rows;
  int64_t pixelsPerStep = alongRow ? 1 : width;
  int64_t bytesPerStep = std::max<int64_t>(
      alongRow ? bytes.inputRow / std::max<int64_t>(width, 1) : bytes.inputRow,
      1);
  int64_t inputBytes = bytesPerStep * length * batch;

  int64_t strip = length;
  // A strip's input stays in the L2 cache while the panels pass over it.
  strip = std::min(
      strip, std::max<int64_t>(target.l2Bytes / 2 * bytes.passes / bytesPerStep,
                               step));
  bool weightsLead = bytes.weights > inputBytes &&
                     panelCount * ceilDiv(length, strip) * batch >= 4;
  if (!weightsLead) {
    int64_t wanted = ceilDiv(kWantedUnits, batch);
    int64_t least = ceilDiv(kLeastStripPixels, pixelsPerStep);
    strip = std::min(strip, std::max(ceilDiv(length, wanted), least));
  }
  strip = std::max(roundUp(strip, step), step);
  if (!isDynamic(alongRow ? shape.width : shape.rows))
    strip = evenStrip(length, strip, step, batch, panelCount);
  bool whole =
      strip >= length && !isDynamic(alongRow ? shape.width : shape.rows);
  int64_t strips = whole ? 1 : ceilDiv(length, strip);
  (alongRow ? split.stripPixels : split.stripRows) = whole ? 0 : strip;

  // A pass goes over several panels, or the strip's input would be read anew
  // for each.
  split.panels =
      weightsLead && bytes.passes == 1
          ? ceilDiv(panelCount, std::min<int64_t>(panelCount, 4 * kWantedUnits))
          : panelsPerGroup(panelCount, strips * batch);
  reason +=
      llvm::formatv("; split by {0}: {1} B of weights, {2} B of input",
                    weightsLead ? "panels" : (alongRow ? "pixels" : "rows"),
                    bytes.weights, inputBytes);
  return split;
}

NamedAttribute intAttr(Builder &builder, StringRef name, int64_t value) {
  return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
}

NamedAttribute pairAttr(Builder &builder, StringRef name, int64_t a,
                        int64_t b) {
  return builder.getNamedAttr(name, builder.getDenseI64ArrayAttr({a, b}));
}

/// Distant panels that a matrix-times-vector product reads side by side: one
/// core reaches the memory's bandwidth only with several streams.
int64_t chooseStreams(const ContractionShape &shape, int64_t vectors,
                      int64_t panelCount, const TargetInfo &target) {
  if (isDynamic(shape.width) || isDynamic(shape.rows) ||
      shape.width * shape.rows != 1)
    return 1;
  int64_t streams = std::min<int64_t>(4, panelCount);
  while (streams > 1 && streams * vectors * 2 + operandRegisters(target) >
                            target.vectorRegisters)
    --streams;
  return streams;
}

/// Reduction steps that a matrix product does for all panels of a parallel
/// index before the next ones; 0 for all. Panels that fill much of the L2 cache
/// push the strip's input out of it and are pushed out by it.
int64_t chooseChunk(const ContractionShape &shape, const TileChoice &tile,
                    int64_t panelWidth, const TargetInfo &target) {
  if (isDynamic(shape.reduction) || guess(shape.width, 256) <= 2 * tile.pixels)
    return 0;
  int64_t panelBytes = shape.reduction * panelWidth * 4;
  if (panelBytes <= target.l2Bytes / 4)
    return 0;
  int64_t passes = ceilDiv(panelBytes, target.l2Bytes / 8);
  return roundUp(ceilDiv(shape.reduction, passes), 16);
}

/// Small bodies are unrolled until the loop's own instructions do not count,
/// if the weights of all steps fit into registers too: LLVM loads them early.
int64_t chooseUnroll(int64_t pixels, int64_t vectors, int64_t most,
                     const TargetInfo &target) {
  int64_t unroll = 1;
  while (unroll * 2 <= most && unroll * pixels * vectors < 24 &&
         (pixels + unroll * 2) * vectors + operandRegisters(target) + 1 <=
             target.vectorRegisters)
    unroll *= 2;
  return unroll;
}

/// Schedule of a contraction whose weights are packed in panels of
/// `panelWidth`.
DictionaryAttr scheduleContraction(MLIRContext *context,
                                   const ContractionShape &shape,
                                   int64_t panelWidth, int64_t panelCount,
                                   ContractionBytes bytes, int64_t bodySteps,
                                   bool prefetchRows, bool mayPass,
                                   const TargetInfo &target) {
  Builder builder(context);
  int64_t vectors = panelWidth / target.lanes;
  TileChoice tile = bestTile(shape, vectors, target);
  std::string reason = llvm::formatv("{0}x{1} pixels by {2} vectors", tile.rows,
                                     tile.pixels, vectors);
  int64_t streams = chooseStreams(shape, vectors, panelCount, target);
  int64_t chunk = mayPass && streams == 1
                      ? chooseChunk(shape, tile, panelWidth, target)
                      : 0;
  if (chunk) {
    bytes.passes = ceilDiv(shape.reduction, chunk);
    reason += llvm::formatv("; {0} passes of {1} steps", bytes.passes, chunk);
  }
  Split split;
  if (streams > 1) {
    split.panels = streams;
    reason += llvm::formatv("; one pixel: {0} streams of weights", streams);
  } else {
    split = splitContraction(shape, tile, panelCount, bytes, target, reason);
  }
  int64_t unroll = chooseUnroll(tile.rows * tile.pixels, vectors * streams,
                                bodySteps, target);
  // Weights that no cache holds arrive in time only if asked for in time: where
  // a panel is used by few tiles, the hardware's prefetcher is too late.
  int64_t pixels = guess(shape.rows, 1) * guess(shape.width, 64);
  bool prefetch = streams == 1 && bytes.weights > target.l1Bytes &&
                  pixels > 1 && pixels <= 512;
  if (prefetchRows)
    reason += "; input prefetched";
  if (prefetch)
    reason += "; few pixels for many weights: next panel prefetched";
  return builder.getDictionaryAttr(
      {pairAttr(builder, "tile", tile.rows, tile.pixels),
       pairAttr(builder, "strip", split.stripRows, split.stripPixels),
       intAttr(builder, "panels", split.panels),
       intAttr(builder, "streams", streams), intAttr(builder, "unroll", unroll),
       intAttr(builder, "chunk", chunk),
       builder.getNamedAttr("prefetch", builder.getBoolAttr(prefetch)),
       builder.getNamedAttr("prefetch_rows", builder.getBoolAttr(prefetchRows)),
       builder.getNamedAttr("reason", builder.getStringAttr(reason))});
}

int64_t product(ArrayRef<int64_t> sizes) {
  int64_t result = 1;
  for (int64_t size : sizes) {
    if (isDynamic(size))
      return ShapedType::kDynamic;
    result *= size;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Families
//===----------------------------------------------------------------------===//

bool haveVectorContraction(std::initializer_list<RankedTensorType> types) {
  return llvm::all_of(types, [](RankedTensorType type) {
    return hasVectorContraction(type.getElementType());
  });
}

/// Whether there are vector kernels for packed weights and an input and a
/// result of these types (see mv.packed_conv).
bool havePackedContraction(RankedTensorType input, RankedTensorType weights,
                           RankedTensorType result) {
  Type element = weights.getElementType();
  switch (reductionGroup(input.getElementType())) {
  case 2:
    return element.isBF16() && result.getElementType().isF32();
  case 4:
    return element.isInteger(8) && result.getElementType().isInteger(32);
  default:
    return haveVectorContraction({input, result}) && isWeightType(element);
  }
}

std::optional<KernelChoice> chooseConv(mv::PackedConvOp op,
                                       const TargetInfo &target) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  if (!havePackedContraction(input, filter, result) ||
      !filter.hasStaticShape() || result.getShape().back() != target.lanes ||
      panelWidth(op) % target.lanes != 0)
    return std::nullopt;
  ContractionShape shape = contractionShape(op, target);
  int64_t spatial = op.getSpatialRank();
  int64_t strideH = spatial > 1 ? op.getStrides()[spatial - 2] : 1;
  ContractionBytes bytes;
  bytes.weights = elementCount(filter) * elementBytes(filter.getElementType());
  int64_t inChannels =
      op.getInputBlocked()
          ? ceilDiv(op.getInChannels(), target.lanes) * target.lanes
          : op.getInChannels();
  bytes.inputRow = guess(shape.width, 256) * op.getStrides().back() * strideH *
                   inChannels * elementBytes(input.getElementType());
  // The rows of a window and the blocks of its channels are far apart: of a map
  // that the L2 cache does not hold, the hardware fetches them too late.
  bool prefetchRows =
      op.getInputBlocked() &&
      bytes.inputRow * guess(shape.rows, 64) > target.l2Bytes / 2;
  return KernelChoice{
      "contraction",
      scheduleContraction(
          op.getContext(), shape, panelWidth(op), filter.getShape().front(),
          bytes,
          op.getInputBlocked()
              ? std::min<int64_t>(op.getInChannels(), target.lanes) /
                    reductionGroup(op)
              : int64_t(op.getInChannels()),
          prefetchRows, /*mayPass=*/false, target)};
}

std::optional<KernelChoice> choosePackedMatmul(mv::PackedMatmulOp op,
                                               const TargetInfo &target) {
  auto lhs = cast<RankedTensorType>(op.getLhs().getType());
  auto rhs = cast<RankedTensorType>(op.getRhs().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  if (!havePackedContraction(lhs, rhs, result) || !rhs.hasStaticShape() ||
      panelWidth(op) % target.lanes != 0)
    return std::nullopt;
  ContractionShape shape;
  shape.outputs = op.getColumns();
  shape.reduction = rhs.getShape()[1];
  shape.width = lhs.getRank() > 1 ? lhs.getShape()[lhs.getRank() - 2] : 1;
  shape.batch =
      product(lhs.getShape().drop_back(std::min<int64_t>(lhs.getRank(), 2)));
  shape.pixelStrideBytes =
      shape.reduction * reductionGroup(op) * elementBytes(lhs.getElementType());
  ContractionBytes bytes;
  bytes.weights = elementCount(rhs) * elementBytes(rhs.getElementType());
  bytes.inputRow = guess(shape.width, 256) * shape.pixelStrideBytes;
  // Tiles read short pieces of many rows, which the hardware follows badly.
  bool prefetchRows =
      bytes.inputRow * guess(shape.batch, 1) > target.l2Bytes / 2;
  return KernelChoice{
      "contraction",
      scheduleContraction(op.getContext(), shape, panelWidth(op),
                          rhs.getShape().front(), bytes, shape.reduction,
                          prefetchRows,
                          /*mayPass=*/lhs.getElementType().isF32(), target)};
}

/// Accumulators and taps of a depthwise tile: as many accumulators as hide the
/// FMA's latency, the rest of the registers for weights.
std::optional<KernelChoice> chooseDepthwise(mv::DepthwiseConvOp op,
                                            const TargetInfo &target) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  if (!haveVectorContraction({input, filter, result}) ||
      !filter.hasStaticShape() || result.getShape().back() != target.lanes)
    return std::nullopt;
  int64_t spatial = op.getSpatialRank();
  ArrayRef<int64_t> taps = filter.getShape().slice(1, spatial);
  int64_t height = spatial > 1 ? result.getShape()[spatial] : 1;
  int64_t width = result.getShape()[spatial + 1];
  int64_t registers = target.vectorRegisters;

  // All taps of the last two dims at once if a third of the registers holds
  // them, otherwise a row of them, otherwise short pieces of a row. (Two pieces
  // without a loop would share input values and keep them in registers.)
  int64_t tapsW = taps.back();
  int64_t tapsH = spatial > 1 ? taps[spatial - 2] : 1;
  int64_t chunkH = 1, chunkW = tapsW;
  if (tapsH * tapsW <= registers / 3)
    chunkH = tapsH;
  else if (tapsW > std::max<int64_t>(registers / 3, 7))
    chunkW = registers < 32 ? 3 : 5;
  int64_t accumulators =
      registers - operandRegisters(target) - 1 - chunkH * chunkW;
  // Where inputs take registers of their own, loads are moved up into them.
  bool hasRoom = registers == 32 && operandRegisters(target) == 1;
  accumulators = std::min<int64_t>(accumulators, hasRoom ? 15 : 10);

  int64_t tileW = std::min<int64_t>(
      accumulators,
      isDynamic(width) ? accumulators : std::max<int64_t>(width, 1));
  // Columns that divide the row best.
  if (!isDynamic(width) && width > 0) {
    int64_t pieces = ceilDiv(width, tileW);
    tileW = ceilDiv(width, pieces);
  }
  int64_t tileH = 1;
  if (spatial > 1) {
    // Two rows share the input rows between them (3x3 at stride 1).
    bool shares =
        chunkH > 1 && op.getStrides()[spatial - 2] <
                          op.getDilations()[spatial - 2] * (tapsH - 1) + 1;
    if (shares && accumulators >= 8 && tileW > accumulators / 2 &&
        (isDynamic(height) || height >= 2)) {
      tileW = accumulators / 2;
      if (!isDynamic(width) && width > 0)
        tileW = ceilDiv(width, ceilDiv(width, tileW));
    }
    tileH = std::max<int64_t>(accumulators / tileW, 1);
    tileH = std::min<int64_t>(tileH, shares ? 2 : tileH);
    if (!isDynamic(height))
      tileH = std::min(tileH, std::max<int64_t>(height, 1));
  }

  // Strips of rows of one channel block; small maps are one strip.
  int64_t stripRows = 0;
  if (spatial > 1) {
    int64_t rowPixels = guess(width, 56);
    int64_t wanted = std::max<int64_t>(ceilDiv(256, rowPixels), 1);
    stripRows = std::max(roundUp(wanted, tileH), tileH);
    if (!isDynamic(height) && stripRows >= height)
      stripRows = 0;
  }
  Builder builder(op.getContext());
  std::string reason = llvm::formatv("{0}x{1} outputs, {2}x{3} weights in "
                                     "registers of {4}",
                                     tileH, tileW, chunkH, chunkW, registers);
  return KernelChoice{
      "depthwise",
      builder.getDictionaryAttr(
          {pairAttr(builder, "tile", tileH, tileW),
           pairAttr(builder, "strip", stripRows, 0),
           pairAttr(builder, "taps", chunkH, chunkW),
           builder.getNamedAttr("reason", builder.getStringAttr(reason))})};
}

std::optional<KernelChoice> choosePool(mv::PoolOp op,
                                       const TargetInfo &target) {
  auto result = cast<RankedTensorType>(op.getResult().getType());
  if (!op.getBlocked() || !result.getElementType().isF32() ||
      result.getShape().back() != target.lanes)
    return std::nullopt;
  Builder builder(op.getContext());
  int64_t spatial = op.getWindow().size();
  int64_t width = guess(result.getShape()[spatial + 1], 64);
  int64_t chunk = std::clamp<int64_t>(width, 1, 64);
  // The window's columns of a chunk go through scratch memory.
  int64_t columns = (chunk - 1) * op.getStrides().back() +
                    (op.getWindow().back() - 1) * op.getDilations().back() + 1;
  if (columns * target.lanes * 4 > target.l2Bytes)
    return std::nullopt;
  int64_t stripRows =
      spatial > 1 ? ceilDiv(64, std::max<int64_t>(width, 1)) : 0;
  std::string reason =
      llvm::formatv("rows, then columns, {0} outputs at a time", chunk);
  return KernelChoice{
      "pool",
      builder.getDictionaryAttr(
          {pairAttr(builder, "tile", 1, std::min<int64_t>(chunk, 4)),
           pairAttr(builder, "strip", stripRows, chunk),
           builder.getNamedAttr("reason", builder.getStringAttr(reason))})};
}

std::optional<KernelChoice> chooseMatmul(mv::MatmulOp op,
                                         const TargetInfo &target) {
  auto lhs = cast<RankedTensorType>(op.getLhs().getType());
  auto rhs = cast<RankedTensorType>(op.getRhs().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  if (!haveVectorContraction({lhs, rhs, result}))
    return std::nullopt;
  ContractionShape shape;
  shape.outputs = guess(result.getShape().back(), 256);
  shape.reduction = lhs.getShape().back();
  shape.width = lhs.getShape()[lhs.getRank() - 2];
  shape.batch = product(lhs.getShape().drop_back(2));
  shape.pixelStrideBytes =
      isDynamic(shape.reduction) ? 4096 : shape.reduction * 4;
  int64_t panelWidth = choosePanelWidth(shape, target);
  int64_t vectors = panelWidth / target.lanes;
  TileChoice tile = bestTile(shape, vectors, target);
  // A panel may be packed first: enough rows to make up for it, few enough for
  // their sums, where they must wait, to stay in the L1 cache.
  int64_t most = 128;
  if (!isDynamic(shape.reduction) && shape.reduction <= 512)
    most = std::clamp<int64_t>(target.l2Bytes / 2 /
                                   std::max<int64_t>(shape.reduction * 4, 1),
                               128, 512);
  int64_t strip = std::min<int64_t>(guess(shape.width, 128), most);
  strip = roundUp(std::max<int64_t>(strip, 1), tile.pixels);
  Builder builder(op.getContext());
  std::string reason = llvm::formatv("{0} rows by {1} vectors, strips of {2}",
                                     tile.pixels, vectors, strip);
  return KernelChoice{
      "matmul",
      builder.getDictionaryAttr(
          {pairAttr(builder, "tile", 1, tile.pixels),
           pairAttr(builder, "strip", 0, strip), intAttr(builder, "panels", 1),
           intAttr(builder, "columns", panelWidth),
           intAttr(builder, "unroll",
                   chooseUnroll(tile.pixels, vectors, 4, target)),
           builder.getNamedAttr("reason", builder.getStringAttr(reason))})};
}

} // namespace

bool hasVectorContraction(Type elementType) { return elementType.isF32(); }

bool isWeightType(Type elementType) {
  return elementType.isF32() || elementType.isBF16() ||
         elementType.isInteger(8);
}

ContractionShape contractionShape(mv::PackedConvOp op,
                                  const TargetInfo &target) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  int64_t spatial = op.getSpatialRank();
  ArrayRef<int64_t> out = result.getShape().slice(2, spatial);
  ArrayRef<int64_t> taps = filter.getShape().slice(1, spatial);
  ContractionShape shape;
  shape.outputs = op.getOutChannels();
  shape.reduction =
      product(taps) * ceilDiv(op.getInChannels(), reductionGroup(op));
  shape.width = out.back();
  shape.rows = spatial > 1 ? out[spatial - 2] : 1;
  shape.batch = product(out.drop_back(std::min<int64_t>(spatial, 2)));
  int64_t batch = result.getShape().front();
  shape.batch = isDynamic(batch) || isDynamic(shape.batch)
                    ? ShapedType::kDynamic
                    : shape.batch * batch;
  shape.pixelStrideBytes =
      op.getStrides().back() *
      elementBytes(
          cast<RankedTensorType>(op.getInput().getType()).getElementType()) *
      (op.getInputBlocked() ? target.lanes : 1);
  return shape;
}

int64_t choosePanelWidth(const ContractionShape &shape,
                         const TargetInfo &target) {
  int64_t blocks = std::max<int64_t>(ceilDiv(shape.outputs, target.lanes), 1);
  int64_t best = 1;
  double bestCycles = -1;
  for (int64_t vectors = 1;
       vectors <= std::min<int64_t>(blocks, 8) &&
       mostPixels(vectors, shape.pixelStrideBytes, target) >= 1;
       ++vectors) {
    double cycles = contractionCycles(shape, vectors, target);
    if (bestCycles < 0 || cycles < bestCycles * 0.995) {
      best = vectors;
      bestCycles = cycles;
    }
  }
  return best * target.lanes;
}

std::optional<KernelChoice> chooseKernel(Operation *anchor,
                                         const TargetInfo &target) {
  if (auto op = dyn_cast<mv::PackedConvOp>(anchor))
    return chooseConv(op, target);
  if (auto op = dyn_cast<mv::WinogradConvOp>(anchor))
    return scheduleWinograd(op, target);
  if (auto op = dyn_cast<mv::WinogradFilterOp>(anchor))
    return KernelChoice{"winograd_filter",
                        DictionaryAttr::get(op.getContext())};
  if (auto op = dyn_cast<mv::PackedMatmulOp>(anchor))
    return choosePackedMatmul(op, target);
  if (auto op = dyn_cast<mv::DepthwiseConvOp>(anchor))
    return chooseDepthwise(op, target);
  if (auto op = dyn_cast<mv::PoolOp>(anchor))
    return choosePool(op, target);
  if (auto op = dyn_cast<mv::MatmulOp>(anchor))
    return chooseMatmul(op, target);
  return std::nullopt;
}

} // namespace marver
