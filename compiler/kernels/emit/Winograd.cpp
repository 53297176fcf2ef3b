//===- Winograd.cpp - Convolutions by Winograd's minimal algorithms -------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.winograd_conv: tiles of `outputs` results per dim from fewer products than
// the definition has (kernels/WinogradAlgorithm.h):
//
//   Y = A^T [ W . (B^T d B) ] A          W: the filter, already transformed
//
// For each position of the transformed tile, the products over channels are a
// matrix product of tiles x channels by channels x outputs.
//
// A parallel index is a block of tiles (in row-major order in an image; of one
// row of tiles where the input is plain) and a panel of outputs. A thread
// transforms the input of a block once (WinogradInput.cpp), for all the panels
// that fall to it; then, panel by panel, makes the products of all positions
// and transforms them back, without leaving the L2 cache.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/MatrixTransform.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/TileEpilogue.h"
#include "compiler/kernels/emit/WinogradPlan.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace marver {
namespace {

/// Tiles of an image along dim `d` of the result; `border` is what the kernel
/// itself adds to the input.
OpFoldResult tilesAlong(OpBuilder &builder, Location loc,
                        const WinogradPlan &plan, Value input, int64_t border,
                        int64_t d) {
  AffineExpr size = builder.getAffineDimExpr(0) + border;
  const WinogradAlgorithm &a = plan.columns;
  AffineExpr results = (size - a.window).floorDiv(a.stride) + 1;
  return affine::makeComposedFoldedAffineApply(
      builder, loc, results.ceilDiv(a.outputs),
      {memref::getMixedSize(builder, loc, input, 2 + d)});
}

OpFoldResult winogradExtent(OpBuilder &builder, Location loc,
                            mv::KernelOp kernel, ValueRange inputs,
                            ValueRange outs, const TargetInfo &target) {
  WinogradPlan plan(kernel, target);
  Value operand = plan.conv.getInput();
  auto pad = operand.getDefiningOp<tensor::PadOp>();
  if (pad)
    operand = pad.getSource();
  Value input = inputs[cast<BlockArgument>(operand).getArgNumber()];
  AffineExpr d0 = builder.getAffineDimExpr(0);
  AffineExpr s0 = builder.getAffineSymbolExpr(0);
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  auto along = [&](int64_t d) {
    int64_t border =
        pad ? pad.getStaticLow()[2 + d] + pad.getStaticHigh()[2 + d] : 0;
    return tilesAlong(builder, loc, plan, input, border, d);
  };
  OpFoldResult inRow = along(plan.rank - 1);
  OpFoldResult extent = apply(d0.ceilDiv(plan.blockTiles), {inRow});
  if (plan.isPlain)
    extent = apply(d0 * s0, {extent, along(0)});
  else if (plan.rank == 2)
    extent = apply((d0 * s0).ceilDiv(plan.blockTiles), {inRow, along(0)});
  extent = apply(d0 * plan.panelCount, {extent});
  return apply(d0 * s0, {extent, memref::getMixedSize(builder, loc, input, 0)});
}

/// Elements between the two passes of the results' transform.
int64_t passSize(const WinogradPlan &plan) {
  return plan.rows.outputs * plan.columns.positions() * plan.lanes;
}

int64_t winogradScratchBytes(mv::KernelOp kernel, const TargetInfo &target) {
  WinogradPlan plan(kernel, target);
  return TileEpilogue::scratchBytes(kernel, plan.conv, target, plan.hasEdges) +
         4 * (WinogradInput::scratchSize(plan) + plan.productsSize() +
              passSize(plan));
}

class WinogradEmitter {
public:
  explicit WinogradEmitter(KernelEmitter &e)
      : e(e), plan(e.kernel(), e.target()), evaluator(e), writer(evaluator),
        epilogue(e, evaluator, writer, plan.conv),
        filter(e.input(plan.conv.getFilter())), f32(e.builder().getF32Type()),
        lanes(plan.lanes) {
    int64_t base = TileEpilogue::scratchBytes(e.kernel(), plan.conv, e.target(),
                                              plan.hasEdges) /
                   4;
    auto part = [&](int64_t size) {
      Value pointer = e.address(e.scratch(), f32, e.constant(base));
      base += size;
      return pointer;
    };
    input = WinogradInput::create(evaluator, plan,
                                  part(WinogradInput::scratchSize(plan)));
    products = part(plan.productsSize());
    pass = part(passSize(plan));
    describe();
  }

  LogicalResult run() {
    // Blocks of an image, or of a row of tiles.
    OpFoldResult rows = e.builder().getIndexAttr(1);
    Value tiles = e.mul(tileRows, tileColumns);
    if (plan.isPlain) {
      rows = fold(tileRows);
      tiles = tileColumns;
    }
    OpFoldResult blocks = fold(ceilDiv(tiles, plan.blockTiles));
    OpFoldResult images = fold(evaluator.dim(plan.conv.getResult(), 0));
    Value panels = e.constant(plan.panelCount);
    Value units = e.mul(e.mul(e.materialize(images), e.materialize(rows)),
                        e.materialize(blocks));
    writer.fillBorders(e.mul(units, panels));
    Value last = ceilDiv(e.end(), plan.panelCount);
    e.loop(e.floorDiv(e.begin(), panels), last, 1, [&](Value unit) {
      Value firstIndex = e.mul(unit, plan.panelCount);
      Value panel = e.max(e.sub(e.begin(), firstIndex), e.constant(0));
      Value panelEnd = e.min(e.sub(e.end(), firstIndex), panels);
      SmallVector<Value> at = e.delinearize(unit, {images, rows, blocks});
      image = at[0];
      Value inRow = e.mul(at[2], plan.blockTiles);
      Value first = e.add(e.mul(at[1], tiles), inRow);
      Value count = e.min(e.sub(tiles, inRow), e.constant(plan.blockTiles));
      input->transform(image, first, count, tileColumns);
      e.loop(panel, panelEnd, 1, [&](Value panel) {
        multiply(count, panel);
        e.loop(e.constant(0), count, 1, [&](Value slot) {
          transformOutput(e.add(first, slot), slot, panel);
        });
      });
    });
    return evaluator.result();
  }

private:
  Value ceilDiv(Value a, int64_t c) {
    return e.floorDiv(e.add(a, c - 1), e.constant(c));
  }
  OpFoldResult fold(Value value) {
    if (std::optional<int64_t> known = e.constantValue(value))
      return e.builder().getIndexAttr(*known);
    return value;
  }

  /// Sizes of the result and its tiles.
  void describe() {
    SmallVector<Value> sizes = evaluator.dims(plan.conv.getResult());
    width = sizes[1 + plan.rank];
    height = plan.rank == 2 ? sizes[2] : e.constant(1);
    tileColumns = ceilDiv(width, plan.columns.outputs);
    tileRows = ceilDiv(height, plan.rows.outputs);
  }

  /// First row and column of a tile's results.
  std::pair<Value, Value> cornerOf(Value tile) {
    return {e.mul(e.floorDiv(tile, tileColumns), plan.rows.outputs),
            e.mul(e.rem(tile, tileColumns), plan.columns.outputs)};
  }

  /// products[slot][position][output] of the block's first `count` tiles, and
  /// of as many more as fill the last register tile; nobody reads these.
  void multiply(Value count, Value panel) {
    int64_t plane = plan.phases * plan.channels * plan.panelWidth;
    Value panelWeights =
        e.address(filter.pointer, f32, e.mul(panel, plan.positions * plane));
    ReductionNest nest;
    int64_t channels = plan.channels;
    if (input->phaseStride() == channels * input->channelStride())
      channels *= plan.phases;
    else if (plan.phases > 1)
      nest.loops.push_back({e.builder().getIndexAttr(plan.phases),
                            e.constant(input->phaseStride()),
                            e.constant(channels * plan.panelWidth)});
    nest.segments.push_back(
        {e.constant(0),
         e.constant(0),
         {{e.builder().getIndexAttr(channels),
           e.constant(input->channelStride()), e.constant(plan.panelWidth)}}});
    RegisterTile registers;
    registers.vectors = plan.vectors();
    for (int64_t i = 0; i < plan.gemmTiles; ++i)
      registers.pixelOffsets.push_back(e.constant(i * input->slotStride()));
    registers.panelOffsets.push_back(e.constant(0));
    // The next position's weights; the last one asks for the next panel's.
    registers.prefetch = plane;
    e.loop(e.constant(0), e.constant(plan.positions), 1, [&](Value t) {
      Value source =
          e.address(input->pointer(), f32, e.mul(t, input->positionStride()));
      Value weights = e.address(panelWeights, f32, e.mul(t, plane));
      Value target = e.address(products, f32, e.mul(t, plan.panelWidth));
      e.loop(e.constant(0), count, plan.gemmTiles, [&](Value slot) {
        SmallVector<Value> sum(registers.accumulators(), e.zero(f32, lanes));
        sum = registers.accumulate(
            e, e.address(source, f32, e.mul(slot, input->slotStride())),
            weights, nest, std::move(sum));
        int64_t tileProducts = plan.positions * plan.panelWidth;
        Value out = e.address(target, f32, e.mul(slot, tileProducts));
        for (int64_t i = 0; i < plan.gemmTiles; ++i)
          for (int64_t j = 0; j < plan.vectors(); ++j)
            e.store(
                sum[registers.position(0, i, j)],
                e.address(out, f32, e.constant(i * tileProducts + j * lanes)),
                f32);
      });
    });
  }

  /// Results of tile number `tile` whose products are in `slot`.
  void transformOutput(Value tile, Value slot, Value panel) {
    auto [y, x] = cornerOf(tile);
    Value block = e.mul(panel, plan.vectors());
    Value blockEnd =
        e.min(e.add(block, plan.vectors()), e.constant(plan.outputBlocks));
    SmallVector<int64_t> sizes = {plan.rows.outputs, plan.columns.outputs};
    SmallVector<Value> limits;
    if (plan.hasEdges)
      limits = {e.min(e.sub(height, y), e.constant(sizes[0])),
                e.min(e.sub(width, x), e.constant(sizes[1]))};
    Value row = y, column = x;
    e.loop(block, blockEnd, 1, [&](Value outputBlock) {
      Value source =
          e.address(products, f32,
                    e.add(e.mul(slot, plan.positions * plan.panelWidth),
                          e.mul(e.sub(outputBlock, block), lanes)));
      Value bias;
      if (plan.conv.getBias())
        bias = e.load(
            e.address(e.input(plan.conv.getBias()), e.mul(outputBlock, lanes)),
            f32, lanes);
      auto write = [&](ArrayRef<int64_t> sizes, ArrayRef<Value> results,
                       Value row, ArrayRef<Value> limits) {
        epilogue.write(
            sizes, results,
            [&](ArrayRef<Coordinate> at) {
              CoordinateMath math(e, lanes);
              Point point;
              point.lanes = lanes;
              point.at = {math.of(image), math.of(outputBlock)};
              if (plan.rank == 2)
                point.at.push_back(math.add(math.of(row), at[0]));
              point.at.push_back(math.add(math.of(column), at[1]));
              point.at.push_back(Coordinate(Value(), 0, /*stride=*/1));
              return point;
            },
            limits);
      };
      // All results at once where they stay in registers, or row by row.
      int64_t columns = plan.columns.positions();
      bool isWhole = fitsRegisters(e, sizes[0] * columns);
      SmallVector<Value> all;
      transformTile(
          e, plan.rows.outputOfSums(), plan.columns.outputOfSums(), pass,
          [&](Value j) {
            Value first = e.address(source, f32, e.mul(j, plan.panelWidth));
            SmallVector<Value> values;
            for (int64_t i = 0; i < plan.rows.positions(); ++i)
              values.push_back(
                  e.load(e.address(first, f32,
                                   e.constant(i * columns * plan.panelWidth)),
                         f32, lanes));
            return values;
          },
          [&](Value i, ArrayRef<Value> values) {
            SmallVector<Value> results(values);
            if (bias)
              for (Value &value : results)
                value = arith::AddFOp::create(e.builder(), value, bias);
            if (isWhole) {
              llvm::append_range(all, results);
              return;
            }
            SmallVector<Value> rowLimits(limits);
            if (!limits.empty())
              rowLimits[0] = e.min(e.max(e.sub(limits[0], i), e.constant(0)),
                                   e.constant(1));
            write({1, sizes[1]}, results, e.add(row, i), rowLimits);
          });
      if (isWhole)
        write(sizes, all, row, limits);
    });
  }

  KernelEmitter &e;
  WinogradPlan plan;
  Evaluator evaluator;
  ResultWriter writer;
  TileEpilogue epilogue;
  std::unique_ptr<WinogradInput> input;
  const Buffer &filter;
  const Type f32;
  const int64_t lanes;
  Value products, pass;                       ///< in scratch memory
  Value height, width, tileRows, tileColumns; ///< of an image's result
  Value image;                                ///< the batch coordinate
};

} // namespace

const KernelFamily winogradFamily = {
    "winograd", winogradExtent, winogradScratchBytes,
    [](KernelEmitter &emitter) -> LogicalResult {
      return WinogradEmitter(emitter).run();
    }};

} // namespace marver
