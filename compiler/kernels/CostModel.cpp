//===- CostModel.cpp - What contractions cost on one core -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/CostModel.h"
#include <algorithm>

namespace marver {

double stepCycles(int64_t pixels, int64_t vectors, int64_t reduction,
                  const TargetInfo &target) {
  double fma = pixels * vectors / 2.0;
  double loads = (pixels + vectors) / 2.0;
  constexpr double latency = 4.0;
  // Weights come from the L1 cache only if a panel leaves room for the input.
  int64_t vectorBytes = target.lanes * 4;
  int64_t panelBytes = reduction * vectors * vectorBytes;
  double bytesPerCycle = panelBytes * 2 <= target.l1Bytes   ? 2.0 * vectorBytes
                         : panelBytes * 2 <= target.l2Bytes ? 32.0
                                                            : 16.0;
  double stream = vectors * vectorBytes / bytesPerCycle;
  return std::max({fma, loads, latency, stream});
}

int64_t mostPixels(int64_t vectors, int64_t pixelStrideBytes,
                   const TargetInfo &target) {
  int64_t pixels =
      (target.vectorRegisters - operandRegisters(target) - vectors) / vectors;
  // More broadcast streams than this gain nothing.
  pixels = std::min<int64_t>(pixels, 28);
  // Rows a multiple of half a page apart fall into one set of the L1 cache,
  // which has 8 to 12 ways, some of them taken by weights.
  if (pixelStrideBytes % 2048 == 0)
    pixels = std::min<int64_t>(pixels, 9);
  return pixels;
}

TileChoice bestTile(const ContractionShape &shape, int64_t vectors,
                    const TargetInfo &target) {
  int64_t limit = mostPixels(vectors, shape.pixelStrideBytes, target);
  int64_t reduction = guess(shape.reduction, 256);
  int64_t rows = guess(shape.rows, 64);
  auto cost = [&](int64_t pixels) {
    // The prologue and the epilogue of a tile: bias, activation, store.
    double overhead = 20 + 1.5 * pixels * vectors;
    return reduction * stepCycles(pixels, vectors, reduction, target) +
           overhead;
  };
  TileChoice best;
  best.cycles = -1;
  auto consider = [&](int64_t tileRows, int64_t pixels, double cycles) {
    // Of equal ones the larger: fewer passes over the weights.
    if (best.cycles < 0 || cycles <= best.cycles * 0.999 ||
        (cycles <= best.cycles * 1.001 &&
         tileRows * pixels > best.rows * best.pixels))
      best = {tileRows, pixels, cycles};
  };
  if (isDynamic(shape.width)) {
    int64_t width = 128;
    consider(1, limit, rows * (double(width) / limit) * cost(limit));
    return best;
  }
  int64_t width = std::max<int64_t>(shape.width, 1);
  for (int64_t pixels = 1; pixels <= std::min(limit, width); ++pixels) {
    double cycles = (width / pixels) * cost(pixels);
    if (width % pixels)
      cycles += cost(width % pixels);
    consider(1, pixels, rows * cycles);
  }
  // Short rows: several whole ones in a tile.
  for (int64_t tileRows = 2; tileRows <= rows && tileRows * width <= limit;
       ++tileRows) {
    double cycles = (rows / tileRows) * cost(tileRows * width);
    if (rows % tileRows)
      cycles +=
          isDynamic(shape.rows) ? cost(width) : cost(rows % tileRows * width);
    consider(tileRows, width, cycles);
  }
  return best;
}

double contractionCycles(const ContractionShape &shape, int64_t vectors,
                         const TargetInfo &target) {
  int64_t blocks = ceilDiv(shape.outputs, target.lanes);
  int64_t full = blocks / vectors, rest = blocks % vectors;
  double cycles = full * bestTile(shape, vectors, target).cycles;
  if (rest) {
    // The last panel computes only the vectors it has, with the same tile.
    TileChoice tile = bestTile(shape, vectors, target);
    int64_t reduction = guess(shape.reduction, 256);
    cycles += tile.cycles *
              stepCycles(tile.rows * tile.pixels, rest, reduction, target) /
              stepCycles(tile.rows * tile.pixels, vectors, reduction, target);
    // Its padding is stored and mapped.
    cycles *= 1.01;
  }
  return cycles;
}

} // namespace marver
