//===- DepthwiseTiles.cpp - The inner kernel of depthwise convolutions ----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/DepthwiseTiles.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include <map>

using namespace mlir;
using namespace marver;

DepthwiseSchedule::DepthwiseSchedule(DictionaryAttr schedule) {
  auto pair = [&](StringRef name) {
    return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
  };
  tileRows = pair("tile")[0];
  tilePixels = pair("tile")[1];
  stripRows = pair("strip")[0];
  tapRows = pair("taps")[0];
  tapPixels = pair("taps")[1];
}

ArrayRef<int64_t> marver::tapsOf(mv::DepthwiseConvOp conv) {
  return cast<RankedTensorType>(conv.getFilter().getType())
      .getShape()
      .slice(1, conv.getSpatialRank());
}

DepthwiseTiles::DepthwiseTiles(KernelEmitter &e, TileEpilogue &epilogue,
                               mv::DepthwiseConvOp conv, const Buffer &input,
                               DictionaryAttr schedule)
    : e(e), epilogue(epilogue), conv(conv), schedule(schedule), input(input),
      filter(e.input(conv.getFilter())), f32(e.builder().getF32Type()),
      lanes(e.target().lanes), spatial(conv.getSpatialRank()),
      taps(tapsOf(conv)) {}

Value DepthwiseTiles::stepStride(int64_t d) {
  return e.mul(e.materialize(input.strides[2 + d]), conv.getStrides()[d]);
}

Value DepthwiseTiles::tapStride(int64_t d) {
  return e.mul(e.materialize(input.strides[2 + d]), conv.getDilations()[d]);
}

void DepthwiseTiles::compute(const Region &region, Value width,
                             std::optional<int64_t> height, PointAt pointAt) {
  Value weights =
      e.address(filter.pointer, f32,
                e.mul(region.block, e.materialize(filter.strides[0])));
  forPieces(e, region.row, region.rowEnd, schedule.tileRows, height,
            [&](Value y, int64_t tileRows) {
              forPieces(
                  e, e.constant(0), width, schedule.tilePixels,
                  e.constantValue(width), [&](Value x, int64_t tilePixels) {
                    tile(region, weights, y, tileRows, x, tilePixels, pointAt);
                  });
            });
}

void DepthwiseTiles::tile(const Region &region, Value weights, Value y,
                          int64_t tileRows, Value x, int64_t tilePixels,
                          PointAt pointAt) {
  Value start = e.zero(f32, lanes);
  if (conv.getBias())
    start =
        e.load(e.address(e.input(conv.getBias()), e.mul(region.block, lanes)),
               f32, lanes);
  SmallVector<Value> accumulators(tileRows * tilePixels, start);
  Value offset = e.mul(x, stepStride(spatial - 1));
  if (spatial > 1)
    offset = e.add(offset, e.mul(y, stepStride(spatial - 2)));
  accumulators = overTaps(0, e.address(region.input, f32, offset), weights,
                          tileRows, tilePixels, std::move(accumulators));
  epilogue.write({tileRows, tilePixels}, accumulators,
                 [&](ArrayRef<Coordinate> at) {
                   CoordinateMath math(e, lanes);
                   return pointAt(math.add(math.of(y), at[0]),
                                  math.add(math.of(x), at[1]));
                 });
}

SmallVector<Value> DepthwiseTiles::overTaps(int64_t d, Value pointer,
                                            Value weights, int64_t tileRows,
                                            int64_t tilePixels,
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

SmallVector<Value> DepthwiseTiles::chunkOf(Value pointer, Value weights,
                                           int64_t tileRows, int64_t tilePixels,
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
        offset =
            e.add(offset, e.mul(e.materialize(filter.strides[spatial - 1]), r));
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
