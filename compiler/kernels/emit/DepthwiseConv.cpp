//===- DepthwiseConv.cpp - Depthwise convolution on blocked tensors -------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.depthwise_conv: one vector holds a channel block, so there is nothing to
// broadcast. A tile of outputs is accumulated in registers while the weights of
// a chunk of taps are in registers too; every input vector of the tile's window
// is loaded once a chunk and added to all outputs it belongs to.
//
// RowStrips.h says what a parallel index is.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/RowStrips.h"
#include "compiler/kernels/emit/TileEpilogue.h"
#include <map>

using namespace mlir;

namespace marver {
namespace {

struct DepthwiseSchedule {
  int64_t tileRows, tilePixels, stripRows, tapRows, tapPixels;

  explicit DepthwiseSchedule(mv::KernelOp kernel) {
    DictionaryAttr schedule = kernel.getSchedule();
    auto pair = [&](StringRef name) {
      return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
    };
    tileRows = pair("tile")[0];
    tilePixels = pair("tile")[1];
    stripRows = pair("strip")[0];
    tapRows = pair("taps")[0];
    tapPixels = pair("taps")[1];
  }
};

mv::DepthwiseConvOp findAnchor(mv::KernelOp kernel) {
  return *kernel.getBlock().getOps<mv::DepthwiseConvOp>().begin();
}

/// Sizes of the window.
ArrayRef<int64_t> tapsOf(mv::DepthwiseConvOp conv) {
  return cast<RankedTensorType>(conv.getFilter().getType())
      .getShape()
      .slice(1, conv.getSpatialRank());
}

OpFoldResult depthwiseExtent(OpBuilder &builder, Location loc,
                             mv::KernelOp kernel, ValueRange inputs,
                             ValueRange outs, const TargetInfo &target) {
  mv::DepthwiseConvOp conv = findAnchor(kernel);
  Value input = inputs[cast<BlockArgument>(conv.getInput()).getArgNumber()];
  return rowStripsExtent(
      builder, loc, input,
      {tapsOf(conv), conv.getStrides(), conv.getDilations(), /*pads=*/{}},
      DepthwiseSchedule(kernel).stripRows);
}

class DepthwiseEmitter {
public:
  DepthwiseEmitter(KernelEmitter &e, mv::DepthwiseConvOp conv)
      : e(e), evaluator(e), writer(evaluator),
        epilogue(e, evaluator, writer, conv), conv(conv), schedule(e.kernel()),
        input(e.input(conv.getInput())), filter(e.input(conv.getFilter())),
        f32(e.builder().getF32Type()), lanes(e.target().lanes),
        spatial(conv.getSpatialRank()), taps(tapsOf(conv)),
        strips(e, evaluator.dims(conv.getResult()), schedule.stripRows) {}

  LogicalResult run() {
    writer.fillBorders(strips.extent());
    strips.forEach([&](const RowStrips::Strip &current) {
      strip = current;
      Value offset =
          e.add(e.mul(strip.image[0], e.materialize(input.strides[0])),
                e.mul(strip.block, e.materialize(input.strides[1])));
      for (int64_t d = 0; d < spatial - 2; ++d)
        offset = e.add(offset, e.mul(strip.image[1 + d], stepStride(d)));
      blockPointer = e.address(input.pointer, f32, offset);
      blockWeights =
          e.address(filter.pointer, f32,
                    e.mul(strip.block, e.materialize(filter.strides[0])));
      forPieces(e, strip.row, strip.rowEnd, schedule.tileRows,
                e.constantValue(strips.rows), [&](Value y, int64_t tileRows) {
                  forPieces(e, e.constant(0), strips.width, schedule.tilePixels,
                            e.constantValue(strips.width),
                            [&](Value x, int64_t tilePixels) {
                              tile(y, tileRows, x, tilePixels);
                            });
                });
    });
    return evaluator.result();
  }

private:
  /// Input elements from one output to the next, and from one tap to the next.
  Value stepStride(int64_t d) {
    return e.mul(e.materialize(input.strides[2 + d]), conv.getStrides()[d]);
  }
  Value tapStride(int64_t d) {
    return e.mul(e.materialize(input.strides[2 + d]), conv.getDilations()[d]);
  }

  void tile(Value y, int64_t tileRows, Value x, int64_t tilePixels) {
    Value start = e.zero(f32, lanes);
    if (conv.getBias())
      start =
          e.load(e.address(e.input(conv.getBias()), e.mul(strip.block, lanes)),
                 f32, lanes);
    SmallVector<Value> accumulators(tileRows * tilePixels, start);
    Value offset = e.mul(x, stepStride(spatial - 1));
    if (spatial > 1)
      offset = e.add(offset, e.mul(y, stepStride(spatial - 2)));
    accumulators =
        overTaps(0, e.address(blockPointer, f32, offset), blockWeights,
                 tileRows, tilePixels, std::move(accumulators));
    epilogue.write(
        {tileRows, tilePixels}, accumulators,
        [&](ArrayRef<Coordinate> at) { return pointAt(y, at[0], x, at[1]); });
  }

  /// Loops over the taps of dims `d` and up, in chunks for the last two.
  SmallVector<Value> overTaps(int64_t d, Value pointer, Value weights,
                              int64_t tileRows, int64_t tilePixels,
                              SmallVector<Value> accumulators) {
    int64_t chunk = d + 1 == spatial   ? schedule.tapPixels
                    : d + 2 == spatial ? schedule.tapRows
                                       : 1;
    Value weightStride = e.materialize(filter.strides[1 + d]);
    auto inside = [&](Value tap, int64_t length, SmallVector<Value> state) {
      chunkLength[d >= spatial - 2 ? d - (spatial - 2) : 0] = length;
      Value at = e.address(pointer, f32, e.mul(tap, tapStride(d)));
      Value weightsAt = e.address(weights, f32, e.mul(tap, weightStride));
      if (d + 1 == spatial)
        return chunkOf(at, weightsAt, tileRows, tilePixels, std::move(state));
      return overTaps(d + 1, at, weightsAt, tileRows, tilePixels,
                      std::move(state));
    };
    int64_t whole = taps[d] / chunk * chunk;
    if (whole == chunk)
      accumulators = inside(e.constant(0), chunk, std::move(accumulators));
    else
      accumulators =
          e.loop(e.constant(0), e.constant(whole), chunk, accumulators,
                 [&](Value tap, ValueRange state) {
                   return inside(tap, chunk, SmallVector<Value>(state));
                 });
    if (whole < taps[d])
      accumulators =
          inside(e.constant(whole), taps[d] - whole, std::move(accumulators));
    return accumulators;
  }

  /// All FMAs of one chunk of taps, whose weights are loaded first.
  SmallVector<Value> chunkOf(Value pointer, Value weights, int64_t tileRows,
                             int64_t tilePixels,
                             SmallVector<Value> accumulators) {
    int64_t tapRows = spatial > 1 ? chunkLength[0] : 1;
    int64_t tapPixels = chunkLength[1];
    int64_t strideW = conv.getStrides()[spatial - 1];
    int64_t dilationW = conv.getDilations()[spatial - 1];
    int64_t strideH = spatial > 1 ? conv.getStrides()[spatial - 2] : 1;
    int64_t dilationH = spatial > 1 ? conv.getDilations()[spatial - 2] : 1;
    Value rowStride =
        spatial > 1 ? e.materialize(input.strides[spatial]) : e.constant(0);
    Value pixelStride = e.materialize(input.strides[spatial + 1]);
    SmallVector<Value> loaded;
    for (int64_t r = 0; r < tapRows; ++r)
      for (int64_t p = 0; p < tapPixels; ++p) {
        Value offset = e.mul(e.materialize(filter.strides[spatial]), p);
        if (spatial > 1)
          offset = e.add(offset,
                         e.mul(e.materialize(filter.strides[spatial - 1]), r));
        loaded.push_back(e.load(e.address(weights, f32, offset), f32, lanes));
      }
    // What each input vector is used for. In this order every output meets its
    // taps row by row and left to right, whatever the tile's size.
    struct Use {
      int64_t accumulator, weight;
    };
    std::map<std::pair<int64_t, int64_t>, SmallVector<Use>> uses;
    for (int64_t y = 0; y < tileRows; ++y)
      for (int64_t x = 0; x < tilePixels; ++x)
        for (int64_t r = 0; r < tapRows; ++r)
          for (int64_t p = 0; p < tapPixels; ++p)
            uses[{y * strideH + r * dilationH, x * strideW + p * dilationW}]
                .push_back({y * tilePixels + x, r * tapPixels + p});
    for (const auto &[position, list] : uses) {
      Value offset = e.add(e.mul(rowStride, position.first),
                           e.mul(pixelStride, position.second));
      Value value = e.load(e.address(pointer, f32, offset), f32, lanes);
      for (const Use &use : list)
        accumulators[use.accumulator] =
            e.fma(value, loaded[use.weight], accumulators[use.accumulator]);
    }
    return accumulators;
  }

  Point pointAt(Value y, Coordinate row, Value x, Coordinate pixel) {
    CoordinateMath math(e, lanes);
    return strips.pointAt(strip, math.add(math.of(y), row),
                          math.add(math.of(x), pixel));
  }

  KernelEmitter &e;
  Evaluator evaluator;
  ResultWriter writer;
  TileEpilogue epilogue;
  mv::DepthwiseConvOp conv;
  const DepthwiseSchedule schedule;
  const Buffer &input;
  const Buffer &filter;
  const Type f32;
  const int64_t lanes;
  const int64_t spatial;
  const ArrayRef<int64_t> taps;
  RowStrips strips;

  // Of the parallel index and the chunk that are being emitted.
  RowStrips::Strip strip;
  Value blockPointer, blockWeights;
  int64_t chunkLength[2] = {1, 1}; ///< taps in rows and pixels
};

} // namespace

const KernelFamily depthwiseFamily = {
    "depthwise", depthwiseExtent,
    [](mv::KernelOp kernel, const TargetInfo &target) -> int64_t {
      return TileEpilogue::scratchBytes(kernel, findAnchor(kernel), target);
    },
    [](KernelEmitter &emitter) -> LogicalResult {
      return DepthwiseEmitter(emitter, findAnchor(emitter.kernel())).run();
    }};

} // namespace marver
