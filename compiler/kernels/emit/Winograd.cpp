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
// A parallel index is a block of tiles (in row-major order in an image) and a
// panel of outputs. A thread transforms the input of a block once, for all the
// panels that fall to it; then, panel by panel, makes the products of all
// positions and transforms them back, without leaving the L2 cache.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/MatrixTransform.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/TileEpilogue.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace marver {
namespace {

mv::WinogradConvOp findAnchor(mv::KernelOp kernel) {
  return *kernel.getBlock().getOps<mv::WinogradConvOp>().begin();
}

/// Schedule and static sizes.
struct Plan {
  mv::WinogradConvOp conv;
  WinogradAlgorithm rows, columns; ///< rows: the identity if there is one dim
  int64_t rank, lanes;
  int64_t gemmTiles;  ///< tiles of a register tile
  int64_t blockTiles; ///< tiles of a block, a multiple of gemmTiles
  int64_t channels, channelBlocks, outputBlocks;
  int64_t panelCount, panelWidth;
  int64_t positions;
  bool hasEdges; ///< tiles may reach beyond the result

  Plan(mv::KernelOp kernel, const TargetInfo &target)
      : conv(findAnchor(kernel)), lanes(target.lanes) {
    rank = conv.getSpatialRank();
    columns =
        getWinograd(conv.getOutputs(), conv.getWindow(), conv.getStride());
    rows = rank == 2 ? columns : getWinograd(1, 1, 1);
    positions = rows.inputs * columns.inputs;
    auto tile = cast<DenseI64ArrayAttr>(kernel.getSchedule().get("tile"));
    gemmTiles = tile[0];
    blockTiles = tile[1];
    ArrayRef<int64_t> filter =
        cast<RankedTensorType>(conv.getFilter().getType()).getShape();
    ArrayRef<int64_t> result =
        cast<RankedTensorType>(conv.getResult().getType()).getShape();
    channels = conv.getInChannels();
    channelBlocks = llvm::divideCeil(channels, lanes);
    outputBlocks = result[1];
    panelCount = filter.front();
    panelWidth = filter.back();
    hasEdges = llvm::any_of(result.slice(2, rank), [&](int64_t size) {
      return ShapedType::isDynamic(size) || size % columns.outputs;
    });
  }

  int64_t vectors() const { return panelWidth / lanes; }

  // Scratch memory, in elements, one part after the other.
  /// Channels of a tile, and a line more: rows a power of two apart would fall
  /// into one set of the L1 cache.
  int64_t inputStride() const { return channelBlocks * lanes + lanes; }
  int64_t inputSize() const { return positions * blockTiles * inputStride(); }
  int64_t productsSize() const { return positions * blockTiles * panelWidth; }
  /// A tile between the two passes of a transform.
  int64_t passSize() const { return positions * lanes; }
};

/// Tiles of an image along dim `d` of the result.
OpFoldResult tilesAlong(OpBuilder &builder, Location loc, const Plan &plan,
                        Value input, int64_t d) {
  AffineExpr size = builder.getAffineDimExpr(0);
  const WinogradAlgorithm &a = plan.columns;
  AffineExpr results = (size - a.window).floorDiv(a.stride) + 1;
  return affine::makeComposedFoldedAffineApply(
      builder, loc, results.ceilDiv(a.outputs),
      {memref::getMixedSize(builder, loc, input, 2 + d)});
}

OpFoldResult winogradExtent(OpBuilder &builder, Location loc,
                            mv::KernelOp kernel, ValueRange inputs,
                            ValueRange outs, const TargetInfo &target) {
  Plan plan(kernel, target);
  Value input =
      inputs[cast<BlockArgument>(plan.conv.getInput()).getArgNumber()];
  AffineExpr d0 = builder.getAffineDimExpr(0);
  AffineExpr s0 = builder.getAffineSymbolExpr(0);
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  OpFoldResult tiles = tilesAlong(builder, loc, plan, input, 0);
  if (plan.rank == 2)
    tiles = apply(d0 * s0, {tiles, tilesAlong(builder, loc, plan, input, 1)});
  OpFoldResult extent =
      apply(d0.ceilDiv(plan.blockTiles) * plan.panelCount, {tiles});
  return apply(d0 * s0, {extent, memref::getMixedSize(builder, loc, input, 0)});
}

int64_t winogradScratchBytes(mv::KernelOp kernel, const TargetInfo &target) {
  Plan plan(kernel, target);
  return TileEpilogue::scratchBytes(kernel, plan.conv, target, plan.hasEdges) +
         4 * (plan.inputSize() + plan.productsSize() + plan.passSize());
}

class WinogradEmitter {
public:
  explicit WinogradEmitter(KernelEmitter &e)
      : e(e), plan(e.kernel(), e.target()), evaluator(e), writer(evaluator),
        epilogue(e, evaluator, writer, plan.conv),
        input(e.input(plan.conv.getInput())),
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
    transformed = part(plan.inputSize());
    products = part(plan.productsSize());
    pass = part(plan.passSize());
    describe();
  }

  LogicalResult run() {
    OpFoldResult blocks = fold(ceilDiv(tiles, plan.blockTiles));
    Value panels = e.constant(plan.panelCount);
    writer.fillBorders(e.mul(
        e.mul(e.materialize(input.sizes[0]), e.materialize(blocks)), panels));
    Value last = ceilDiv(e.end(), plan.panelCount);
    e.loop(e.floorDiv(e.begin(), panels), last, 1, [&](Value unit) {
      Value firstIndex = e.mul(unit, plan.panelCount);
      Value panel = e.max(e.sub(e.begin(), firstIndex), e.constant(0));
      Value panelEnd = e.min(e.sub(e.end(), firstIndex), panels);
      SmallVector<Value> at = e.delinearize(unit, {input.sizes[0], blocks});
      image = at[0];
      Value first = e.mul(at[1], plan.blockTiles);
      Value count = e.min(e.sub(tiles, first), e.constant(plan.blockTiles));
      e.loop(e.constant(0), count, 1,
             [&](Value slot) { transformInput(e.add(first, slot), slot); });
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

  /// Sizes of the result and its tiles from those of the input.
  void describe() {
    const WinogradAlgorithm &a = plan.columns;
    auto results = [&](int64_t d) {
      return e.add(
          e.floorDiv(e.add(e.materialize(input.sizes[2 + d]), -a.window),
                     e.constant(a.stride)),
          1);
    };
    width = results(plan.rank - 1);
    height = plan.rank == 2 ? results(0) : e.constant(1);
    tileColumns = ceilDiv(width, a.outputs);
    tiles = e.mul(ceilDiv(height, plan.rows.outputs), tileColumns);
  }

  /// First row and column of a tile's results.
  std::pair<Value, Value> cornerOf(Value tile) {
    return {e.mul(e.floorDiv(tile, tileColumns), plan.rows.outputs),
            e.mul(e.rem(tile, tileColumns), plan.columns.outputs)};
  }

  //===--------------------------------------------------------------------===//
  // Transforms
  //===--------------------------------------------------------------------===//

  /// Whether both passes of a transform of `count` values fit into registers,
  /// or nearly so. If not, the values go through memory between the passes,
  /// and each pass is a loop.
  bool fitsRegisters(int64_t count) const {
    return count <= e.target().vectorRegisters;
  }

  Value at(Value base, int64_t row, int64_t column, int64_t columns) {
    return e.address(base, f32, e.constant((row * columns + column) * lanes));
  }

  /// left * values * right^T of a tile whose columns (all rows of one) are
  /// loaded by `load`; `store` takes the rows of the result.
  void
  transform(const Matrix &left, const Matrix &right,
            llvm::function_ref<SmallVector<Value>(Value column)> load,
            llvm::function_ref<void(Value row, ArrayRef<Value> values)> store) {
    if (fitsRegisters(left.rows * right.columns)) {
      SmallVector<SmallVector<Value>> columns;
      for (int64_t j = 0; j < right.columns; ++j)
        columns.push_back(multiplyMatrix(e, left, load(e.constant(j))));
      for (int64_t i = 0; i < left.rows; ++i) {
        SmallVector<Value> row;
        for (ArrayRef<Value> column : columns)
          row.push_back(column[i]);
        store(e.constant(i), multiplyMatrix(e, right, row));
      }
      return;
    }
    e.loop(e.constant(0), e.constant(right.columns), 1, [&](Value j) {
      Value target = e.address(pass, f32, e.mul(j, lanes));
      for (auto [i, value] : llvm::enumerate(multiplyMatrix(e, left, load(j))))
        e.store(value, at(target, i, 0, right.columns), f32);
    });
    e.loop(e.constant(0), e.constant(left.rows), 1, [&](Value i) {
      Value source = e.address(pass, f32, e.mul(i, right.columns * lanes));
      SmallVector<Value> row;
      for (int64_t j = 0; j < right.columns; ++j)
        row.push_back(e.load(at(source, 0, j, right.columns), f32, lanes));
      store(i, multiplyMatrix(e, right, row));
    });
  }

  /// transformed[position][slot][channel] of tile number `tile`.
  void transformInput(Value tile, Value slot) {
    auto [resultRow, resultColumn] = cornerOf(tile);
    bool isPlane = plan.rank == 2;
    const WinogradAlgorithm &a = plan.columns;
    Value y = e.mul(resultRow, isPlane ? a.stride : 1);
    Value x = e.mul(resultColumn, a.stride);
    Value blockStride = e.materialize(input.strides[1]);
    Value rowStride = isPlane ? e.materialize(input.strides[2]) : e.constant(0);
    Value pixelStride = e.materialize(input.strides[1 + plan.rank]);
    Value imagePointer = e.address(
        input.pointer, f32, e.mul(image, e.materialize(input.strides[0])));
    // Rows and columns beyond the input repeat its last one: they take part in
    // no output that is stored, and their size is that of the data.
    auto limited = [&](Value position, int64_t d) {
      return plan.hasEdges
                 ? e.min(position, e.add(e.materialize(input.sizes[2 + d]), -1))
                 : position;
    };
    SmallVector<Value> rowPointers;
    for (int64_t i = 0; i < plan.rows.inputs; ++i)
      rowPointers.push_back(e.address(
          imagePointer, f32,
          isPlane ? e.mul(limited(e.add(y, i), 0), rowStride) : e.constant(0)));
    auto columnOffset = [&](Value j) {
      return e.mul(limited(e.add(x, j), plan.rank - 1), pixelStride);
    };
    // Made here, they are found again inside the loop.
    if (fitsRegisters(plan.positions))
      for (int64_t j = 0; j < a.inputs; ++j)
        columnOffset(e.constant(j));
    Value target = e.address(transformed, f32, e.mul(slot, plan.inputStride()));
    Value position = e.constant(plan.blockTiles * plan.inputStride());
    e.loop(e.constant(0), e.constant(plan.channelBlocks), 1, [&](Value block) {
      Value blockOffset = e.mul(block, blockStride);
      Value blockTarget = e.address(target, f32, e.mul(block, lanes));
      transform(
          plan.rows.input, a.input,
          [&](Value j) {
            Value column = columnOffset(j);
            SmallVector<Value> values;
            for (Value pointer : rowPointers)
              values.push_back(e.load(
                  e.address(e.address(pointer, f32, blockOffset), f32, column),
                  f32, lanes));
            return values;
          },
          [&](Value i, ArrayRef<Value> values) {
            Value row = e.mul(i, a.inputs);
            for (auto [j, value] : llvm::enumerate(values))
              e.store(value,
                      e.address(blockTarget, f32,
                                e.mul(e.add(row, int64_t(j)), position)),
                      f32);
          });
    });
  }

  /// products[slot][position][output] of the block's first `count` tiles, and
  /// of as many more as fill the last register tile; nobody reads these.
  void multiply(Value count, Value panel) {
    int64_t plane = plan.channels * plan.panelWidth;
    int64_t position = plan.blockTiles * plan.inputStride();
    Value panelWeights =
        e.address(filter.pointer, f32, e.mul(panel, plan.positions * plane));
    ReductionNest nest;
    nest.segments.push_back({e.constant(0),
                             e.constant(0),
                             {{e.builder().getIndexAttr(plan.channels),
                               e.constant(1), e.constant(plan.panelWidth)}}});
    RegisterTile registers;
    registers.vectors = plan.vectors();
    for (int64_t i = 0; i < plan.gemmTiles; ++i)
      registers.pixelOffsets.push_back(e.constant(i * plan.inputStride()));
    registers.panelOffsets.push_back(e.constant(0));
    // The next position's weights; the last one asks for the next panel's.
    registers.prefetch = plane;
    e.loop(e.constant(0), e.constant(plan.positions), 1, [&](Value t) {
      Value source = e.address(transformed, f32, e.mul(t, position));
      Value weights = e.address(panelWeights, f32, e.mul(t, plane));
      Value target = e.address(products, f32, e.mul(t, plan.panelWidth));
      e.loop(e.constant(0), count, plan.gemmTiles, [&](Value slot) {
        SmallVector<Value> sum(registers.accumulators(), e.zero(f32, lanes));
        sum = registers.accumulate(
            e, e.address(source, f32, e.mul(slot, plan.inputStride())), weights,
            nest, std::move(sum));
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
      bool isWhole = fitsRegisters(sizes[0] * plan.columns.inputs);
      SmallVector<Value> all;
      transform(
          plan.rows.output, plan.columns.output,
          [&](Value j) {
            Value first = e.address(source, f32, e.mul(j, plan.panelWidth));
            SmallVector<Value> values;
            for (int64_t i = 0; i < plan.rows.inputs; ++i)
              values.push_back(
                  e.load(e.address(first, f32,
                                   e.constant(i * plan.columns.inputs *
                                              plan.panelWidth)),
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
  Plan plan;
  Evaluator evaluator;
  ResultWriter writer;
  TileEpilogue epilogue;
  const Buffer &input;
  const Buffer &filter;
  const Type f32;
  const int64_t lanes;
  Value transformed, products, pass;       ///< in scratch memory
  Value height, width, tileColumns, tiles; ///< of an image's result
  Value image;                             ///< the batch coordinate
};

} // namespace

const KernelFamily winogradFamily = {
    "winograd", winogradExtent, winogradScratchBytes,
    [](KernelEmitter &emitter) -> LogicalResult {
      return WinogradEmitter(emitter).run();
    }};

} // namespace marver
