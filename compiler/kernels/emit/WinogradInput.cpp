//===- WinogradInput.cpp - Inputs of Winograd's algorithm -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// B^T d B of the tiles of a block. Where the input is blocked, lanes are
// channels, tile by tile. Where it is plain (the few channels of an image),
// lanes are tiles next to each other in a row:
//
//   1. B^T along the columns, on vectors of neighbouring pixels; this pass
//      reads the input and makes its border;
//   2. of each such row, what the tiles read at the same place of theirs:
//      every P-th pixel, P being what tiles are apart, by shuffles;
//   3. B^T along the rows.
//
// One vector of tiles after the other, so that the rows stay in the L1 cache.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/CostModel.h"
#include "compiler/kernels/emit/MatrixTransform.h"
#include "compiler/kernels/emit/WinogradPlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace marver {

WinogradPlan::WinogradPlan(mv::KernelOp kernel, const TargetInfo &target)
    : conv(*kernel.getBlock().getOps<mv::WinogradConvOp>().begin()),
      lanes(target.lanes) {
  rank = conv.getSpatialRank();
  columns = getWinograd(conv.getOutputs(), conv.getWindow(), conv.getStride());
  rows = rank == 2 ? columns : getWinograd(1, 1, 1);
  positions = rows.positions() * columns.positions();
  phases = rows.phases * columns.phases;
  isPlain = isInputPlain(conv);
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

namespace {

//===----------------------------------------------------------------------===//
// Blocked
//===----------------------------------------------------------------------===//

/// [position][slot][phase][channel]
class BlockedInput : public WinogradInput {
public:
  BlockedInput(KernelEmitter &e, const WinogradPlan &plan, Value scratch)
      : e(e), plan(plan),
        input(e.input(mv::WinogradConvOp(plan.conv).getInput())),
        f32(e.builder().getF32Type()), transformed(scratch),
        pass(e.address(scratch, f32, e.constant(transformedSize(plan)))) {}

  static int64_t slotSize(const WinogradPlan &plan) {
    // Channels of a tile, and a line more: rows a power of two apart would fall
    // into one set of the L1 cache.
    return (plan.phases * plan.channelBlocks + 1) * plan.lanes;
  }
  static int64_t transformedSize(const WinogradPlan &plan) {
    return plan.positions * plan.blockTiles * slotSize(plan);
  }
  static int64_t scratchSize(const WinogradPlan &plan) {
    return transformedSize(plan) +
           plan.rows.inputs * plan.columns.inputs * plan.lanes;
  }

  Value pointer() const override { return transformed; }
  int64_t positionStride() const override {
    return plan.blockTiles * slotStride();
  }
  int64_t slotStride() const override { return slotSize(plan); }
  int64_t phaseStride() const override {
    return plan.channelBlocks * plan.lanes;
  }
  int64_t channelStride() const override { return 1; }

  void transform(Value image, Value first, Value count,
                 Value tileColumns) override {
    e.loop(e.constant(0), count, 1, [&](Value slot) {
      Value tile = e.add(first, slot);
      transformTileAt(
          image, e.mul(e.floorDiv(tile, tileColumns), plan.rows.outputs),
          e.mul(e.rem(tile, tileColumns), plan.columns.outputs), slot);
    });
  }

private:
  /// The tile whose results begin at a row and a column.
  void transformTileAt(Value image, Value resultRow, Value resultColumn,
                       Value slot) {
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
    if (fitsRegisters(e, plan.rows.inputs * a.inputs))
      for (int64_t j = 0; j < a.inputs; ++j)
        columnOffset(e.constant(j));
    Value target = e.address(transformed, f32, e.mul(slot, slotStride()));
    e.loop(e.constant(0), e.constant(plan.channelBlocks), 1, [&](Value block) {
      Value blockOffset = e.mul(block, blockStride);
      Value blockTarget = e.address(target, f32, e.mul(block, plan.lanes));
      transformTile(
          e, plan.rows.input, a.input, pass,
          [&](Value j) {
            Value column = columnOffset(j);
            SmallVector<Value> values;
            for (Value pointer : rowPointers)
              values.push_back(e.load(
                  e.address(e.address(pointer, f32, blockOffset), f32, column),
                  f32, plan.lanes));
            return values;
          },
          [&](Value i, ArrayRef<Value> values) {
            Value row = rowOffset(i);
            for (auto [j, value] : llvm::enumerate(values))
              e.store(value,
                      e.address(blockTarget, f32, e.add(row, columnOf(j))),
                      f32);
          });
    });
  }

  /// Where products go whose number is `i` along the columns.
  Value rowOffset(Value i) {
    int64_t positions = plan.rows.positions();
    int64_t stride = plan.columns.positions() * positionStride();
    if (plan.rows.phases == 1)
      return e.mul(i, stride);
    return e.add(e.mul(e.rem(i, e.constant(positions)), stride),
                 e.mul(e.floorDiv(i, e.constant(positions)),
                       plan.columns.phases * phaseStride()));
  }
  /// The same along the rows.
  int64_t columnOf(int64_t j) const {
    int64_t positions = plan.columns.positions();
    return j % positions * positionStride() + j / positions * phaseStride();
  }

  KernelEmitter &e;
  const WinogradPlan &plan;
  const Buffer &input;
  const Type f32;
  const Value transformed, pass;
};

//===----------------------------------------------------------------------===//
// Plain
//===----------------------------------------------------------------------===//

/// [position][phase][channel][slot]
class PlainInput : public WinogradInput {
public:
  PlainInput(Evaluator &evaluator, const WinogradPlan &plan, Value scratch)
      : e(evaluator.emitter()), evaluator(evaluator), plan(plan),
        a(plan.columns), matrix(a.inputOfPhase()),
        f32(e.builder().getF32Type()), transformed(scratch),
        rows(e.address(scratch, f32, e.constant(transformedSize(plan)))) {}

  static int64_t slotCount(const WinogradPlan &plan) {
    return llvm::alignTo(plan.blockTiles, plan.lanes);
  }
  static int64_t channelSize(const WinogradPlan &plan) {
    // See BlockedInput.
    int64_t slots = slotCount(plan);
    return slots % 64 ? slots : slots + plan.lanes;
  }
  static int64_t transformedSize(const WinogradPlan &plan) {
    return plan.positions * plan.phases * plan.channels * channelSize(plan);
  }
  /// Pixels from one tile to the next.
  static int64_t period(const WinogradPlan &plan) {
    return plan.columns.outputs * plan.columns.stride;
  }
  /// Pixels that a vector of tiles reads in a row, in whole vectors.
  static int64_t rowSize(const WinogradPlan &plan) {
    return (period(plan) + 1) * plan.lanes;
  }
  static int64_t scratchSize(const WinogradPlan &plan) {
    return transformedSize(plan) + plan.rows.inputs * rowSize(plan);
  }

  Value pointer() const override { return transformed; }
  int64_t positionStride() const override {
    return plan.phases * phaseStride();
  }
  int64_t slotStride() const override { return 1; }
  int64_t phaseStride() const override {
    return plan.channels * channelStride();
  }
  int64_t channelStride() const override { return channelSize(plan); }

  void transform(Value image, Value first, Value count,
                 Value tileColumns) override {
    Value y = e.mul(e.floorDiv(first, tileColumns), period(plan));
    Value x = e.mul(e.rem(first, tileColumns), period(plan));
    Source source = getSource();
    e.loop(e.constant(0), e.constant(plan.channels), 1, [&](Value channel) {
      e.loop(e.constant(0), count, plan.lanes, [&](Value slot) {
        transformColumns(source, image, channel, y,
                         e.add(x, e.mul(slot, period(plan))),
                         e.min(e.sub(count, slot), e.constant(plan.lanes)));
        transformRows(channel, slot);
      });
    });
  }

private:
  Value isLess(Value a, Value b) {
    return arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::slt, a, b);
  }
  Value both(Value a, Value b) {
    return arith::AndIOp::create(e.builder(), a, b);
  }

  /// Whether a pad is one of rows and columns only, of known width.
  static bool isBorder(tensor::PadOp pad) {
    for (int64_t d = 0; d < 5; ++d) {
      int64_t low = pad.getStaticLow()[d], high = pad.getStaticHigh()[d];
      if (ShapedType::isDynamic(low) || ShapedType::isDynamic(high))
        return false;
      if (d != 2 && d != 3 && (low != 0 || high != 0))
        return false;
    }
    return true;
  }

  /// The input as the kernel reads it.
  struct Source {
    Value tensor;
    Value height, width;             ///< of it
    Value paddedHeight, paddedWidth; ///< with the border
    int64_t low[2] = {0, 0};         ///< border above and before
    Value border;                    ///< a vector of what it consists of
  };

  Source getSource() {
    mv::WinogradConvOp conv = plan.conv;
    Source source;
    source.tensor = conv.getInput();
    source.border = e.zero(f32, plan.lanes);
    source.paddedHeight = evaluator.dim(source.tensor, 2);
    source.paddedWidth = evaluator.dim(source.tensor, 3);
    auto pad = source.tensor.getDefiningOp<tensor::PadOp>();
    FloatAttr number;
    if (pad && isBorder(pad) &&
        matchPattern(pad.getConstantPaddingValue(), m_Constant(&number))) {
      source.tensor = pad.getSource();
      for (int64_t d = 0; d < 2; ++d)
        source.low[d] = pad.getStaticLow()[2 + d];
      source.border =
          e.splat(arith::ConstantOp::create(e.builder(), number), plan.lanes);
    }
    source.height = evaluator.dim(source.tensor, 2);
    source.width = evaluator.dim(source.tensor, 3);
    return source;
  }

  /// The first `count` lanes, which may be too few or too many.
  Value firstLanes(Value count) {
    return e.laneMask(
        e.max(e.min(count, e.constant(plan.lanes)), e.constant(0)), plan.lanes);
  }

  /// rows[phase][position][pixel], from the rows of the input at `y` and the
  /// pixels at `x` on.
  void transformColumns(const Source &source, Value image, Value channel,
                        Value y, Value x, Value count) {
    CoordinateMath math(e, plan.lanes);
    auto load = [&](Value row, Value column, Value mask) {
      Point point;
      point.lanes = plan.lanes;
      point.mask = mask;
      point.at = {math.of(image), math.of(channel), math.of(row),
                  Coordinate(column, /*multiple=*/1, /*stride=*/1),
                  Coordinate(0)};
      return evaluator.evaluate(source.tensor, point);
    };
    std::optional<Buffer> memory = evaluator.buffer(source.tensor);
    Value pixels = e.add(e.mul(count, period(plan)), a.window - a.stride);
    int64_t reach = (a.positions() - 1) * a.phases;
    e.loop(e.constant(0), e.constant(a.phases), 1, [&](Value phase) {
      Value row = e.add(e.add(y, phase), -source.low[0]);
      Value target =
          e.address(rows, f32, e.mul(phase, a.positions() * rowSize(plan)));
      Value rowsInside = both(isLess(e.constant(-1), row),
                              isLess(e.add(row, reach), source.height));
      e.loop(e.constant(0), pixels, plan.lanes, [&](Value pixel) {
        Value column = e.add(e.add(x, pixel), -source.low[1]);
        auto store = [&](llvm::function_ref<Value(Value row)> valueAt) {
          SmallVector<Value> values;
          for (int64_t i = 0; i < a.positions(); ++i)
            values.push_back(valueAt(e.add(row, i * a.phases)));
          values = multiplyMatrix(e, matrix, values);
          for (auto [i, value] : llvm::enumerate(values))
            e.store(value,
                    e.address(target, f32,
                              e.add(pixel, int64_t(i) * rowSize(plan))),
                    f32);
        };
        Value inside =
            both(rowsInside,
                 both(isLess(e.constant(-1), column),
                      isLess(e.add(column, plan.lanes - 1), source.width)));
        e.ifThen(
            inside,
            [&] {
              // What only the next row of tiles reads: a whole row of them is
              // time enough for it to arrive.
              for (int64_t i = 0; i < a.positions() && memory; ++i)
                if (i * a.phases + period(plan) >= a.inputs)
                  e.prefetch(e.address(*memory,
                                       {image, channel,
                                        e.add(row, i * a.phases + period(plan)),
                                        column, e.constant(0)}));
              store([&](Value row) { return load(row, column, nullptr); });
            },
            [&] {
              Value mask = arith::AndIOp::create(
                  e.builder(), firstLanes(e.sub(source.width, column)),
                  arith::XOrIOp::create(
                      e.builder(), firstLanes(e.sub(e.constant(0), column)),
                      firstLanes(e.constant(plan.lanes))));
              Value hasColumns = both(isLess(column, source.width),
                                      isLess(e.constant(-plan.lanes), column));
              // Beyond the border, zeros: they take part in no output that is
              // stored, and are no larger than the data.
              Value zero = e.zero(f32, plan.lanes);
              Value border = arith::SelectOp::create(
                  e.builder(),
                  firstLanes(
                      e.sub(source.paddedWidth, e.add(column, source.low[1]))),
                  source.border, zero);
              Type type = border.getType();
              store([&](Value row) {
                Value isInside =
                    both(hasColumns, both(isLess(e.constant(-1), row),
                                          isLess(row, source.height)));
                return e.ifThenElse(
                    isInside, type,
                    [&]() -> Value {
                      return arith::SelectOp::create(
                          e.builder(), mask, load(row, column, mask), border);
                    },
                    [&]() -> Value {
                      return arith::SelectOp::create(
                          e.builder(),
                          isLess(e.add(row, source.low[0]),
                                 source.paddedHeight),
                          border, zero);
                    });
              });
            });
      });
    });
  }

  /// Every `period`-th element of consecutive vectors, as many as the period,
  /// from each of the first elements.
  SmallVector<Value> deinterleave(ArrayRef<Value> vectors, int64_t period) {
    if (period == 1)
      return SmallVector<Value>(vectors);
    SmallVector<int64_t> even, odd;
    for (int64_t i = 0; i < plan.lanes; ++i) {
      even.push_back(2 * i);
      odd.push_back(2 * i + 1);
    }
    SmallVector<Value> evens, odds;
    for (size_t i = 0; i < vectors.size(); i += 2) {
      evens.push_back(shuffle(vectors[i], vectors[i + 1], even));
      odds.push_back(shuffle(vectors[i], vectors[i + 1], odd));
    }
    evens = deinterleave(evens, period / 2);
    odds = deinterleave(odds, period / 2);
    SmallVector<Value> result;
    for (auto [x, y] : llvm::zip_equal(evens, odds))
      llvm::append_values(result, x, y);
    return result;
  }

  Value shuffle(Value a, Value b, ArrayRef<int64_t> lanes) {
    return vector::ShuffleOp::create(e.builder(), a, b, lanes);
  }

  /// The transformed tiles of a channel from its `rows`, a vector of them.
  void transformRows(Value channel, Value slot) {
    int64_t lanes = plan.lanes;
    e.loop(e.constant(0), e.constant(a.inputs), 1, [&](Value row) {
      Value position = e.mul(e.rem(row, e.constant(a.positions())),
                             a.positions() * positionStride());
      Value phase = e.mul(e.floorDiv(row, e.constant(a.positions())),
                          a.phases * phaseStride());
      Value target = e.address(
          transformed, f32,
          e.add(e.add(position, phase), e.mul(channel, channelStride())));
      Value source = e.address(rows, f32, e.mul(row, rowSize(plan)));
      SmallVector<Value> vectors;
      for (int64_t i = 0; i <= period(plan); ++i)
        vectors.push_back(
            e.load(e.address(source, f32, e.constant(i * lanes)), f32, lanes));
      // What the tile after the last one of these begins with.
      Value next = vectors.pop_back_val();
      vectors = deinterleave(vectors, period(plan));
      // The last pixels of a tile are the first ones of the next.
      auto pixel = [&](int64_t i) {
        if (i < period(plan))
          return vectors[i];
        SmallVector<int64_t> shifted;
        for (int64_t lane = 1; lane < lanes; ++lane)
          shifted.push_back(lane);
        shifted.push_back(lanes + i - period(plan));
        return shuffle(vectors[i - period(plan)], next, shifted);
      };
      for (int64_t phase = 0; phase < a.phases; ++phase) {
        SmallVector<Value> values;
        for (int64_t i = 0; i < a.positions(); ++i)
          values.push_back(pixel(phase + i * a.phases));
        values = multiplyMatrix(e, matrix, values);
        for (auto [i, value] : llvm::enumerate(values))
          e.store(value,
                  e.address(target, f32,
                            e.add(slot, int64_t(i) * positionStride() +
                                            phase * phaseStride())),
                  f32);
      }
    });
  }

  KernelEmitter &e;
  Evaluator &evaluator;
  const WinogradPlan &plan;
  const WinogradAlgorithm &a;
  const Matrix matrix; ///< of one phase
  const Type f32;
  const Value transformed, rows;
};

} // namespace

int64_t WinogradInput::scratchSize(const WinogradPlan &plan) {
  return plan.isPlain ? PlainInput::scratchSize(plan)
                      : BlockedInput::scratchSize(plan);
}

std::unique_ptr<WinogradInput> WinogradInput::create(Evaluator &evaluator,
                                                     const WinogradPlan &plan,
                                                     Value scratch) {
  if (plan.isPlain)
    return std::make_unique<PlainInput>(evaluator, plan, scratch);
  return std::make_unique<BlockedInput>(evaluator.emitter(), plan, scratch);
}

} // namespace marver
