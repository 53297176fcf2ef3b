//===- Contraction.cpp - Convolutions and products with packed weights ----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.packed_conv of any spatial rank and mv.packed_matmul as one thing, an
// implicit matrix product:
//
//   out[pixel][output] = bias[output]
//       + sum over taps and channels of input[pixel + tap][channel]
//                                       * weights[panel][tap][channel][output]
//
// A parallel index is one image (batch and outer spatial dims), one strip of
// rows and pixels, and one group of panels. Inside it, panels are outermost: a
// panel's weights stay in cache while the strip's tiles pass over them.
//
// A matrix product whose panels are large is done in passes over parts of the
// reduction: all panels of the parallel index, then the next part. What lies in
// the L2 cache is then a part of the strip's input and of one panel; the sums
// wait in scratch memory.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/emit/ConvRows.h"
#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/TileEpilogue.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace marver {
namespace {

/// The kernel's schedule, see Schedule.h.
struct ContractionSchedule {
  int64_t tileRows, tilePixels, stripRows, stripPixels;
  int64_t panels, streams, unroll;
  int64_t chunk; ///< reduction steps of a pass; 0: all
  bool prefetch, prefetchRows;

  explicit ContractionSchedule(DictionaryAttr schedule) {
    auto pair = [&](StringRef name) {
      return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
    };
    auto number = [&](StringRef name) {
      return cast<IntegerAttr>(schedule.get(name)).getInt();
    };
    tileRows = pair("tile")[0];
    tilePixels = pair("tile")[1];
    stripRows = pair("strip")[0];
    stripPixels = pair("strip")[1];
    panels = number("panels");
    streams = number("streams");
    unroll = number("unroll");
    chunk = number("chunk");
    prefetch = cast<BoolAttr>(schedule.get("prefetch")).getValue();
    prefetchRows = cast<BoolAttr>(schedule.get("prefetch_rows")).getValue();
  }
};

/// What both sides, the host's extent and the kernel, must know of the anchor.
struct Shape {
  mv::PackedConvOp conv; ///< or
  mv::PackedMatmulOp matmul;
  Operation *op;
  BlockArgument input, filter, bias; ///< bias may be null
  int64_t spatialRank = 1;
  int64_t lanes;
  int64_t panelCount, panelWidth;
  int64_t group;   ///< elements of the reduction in a step, see reductionGroup
  int64_t outputs; ///< real channels or columns

  /// Vectors of the panels that are not the last, and of the last one.
  int64_t vectors() const { return panelWidth / lanes; }
  int64_t lastVectors() const {
    int64_t rest = outputs - (panelCount - 1) * panelWidth;
    return llvm::divideCeil(rest, lanes);
  }
  /// Panels that are computed in full; the last one may be narrower, or end
  /// within a vector of a row-major result.
  int64_t fullPanels() const {
    bool partial = matmul && outputs % lanes != 0;
    return lastVectors() == vectors() && !partial ? panelCount : panelCount - 1;
  }
};

FailureOr<Shape> getShape(mv::KernelOp kernel, const TargetInfo &target) {
  Shape shape;
  for (Operation &op : kernel.getBlock()) {
    if (isa<mv::PackedConvOp, mv::PackedMatmulOp>(op)) {
      shape.op = &op;
      shape.conv = dyn_cast<mv::PackedConvOp>(op);
      shape.matmul = dyn_cast<mv::PackedMatmulOp>(op);
    }
  }
  if (!shape.op)
    return failure();
  shape.input = dyn_cast<BlockArgument>(shape.op->getOperand(0));
  shape.filter = dyn_cast<BlockArgument>(shape.op->getOperand(1));
  if (!shape.input || !shape.filter)
    return failure();
  if (shape.op->getNumOperands() > 2) {
    shape.bias = dyn_cast<BlockArgument>(shape.op->getOperand(2));
    if (!shape.bias)
      return failure();
  }
  if (shape.conv)
    shape.spatialRank = shape.conv.getSpatialRank();
  shape.lanes = target.lanes;
  ArrayRef<int64_t> filter =
      cast<RankedTensorType>(shape.filter.getType()).getShape();
  shape.panelCount = filter.front();
  shape.group = reductionGroup(shape.op);
  shape.panelWidth = panelWidth(shape.op);
  shape.outputs =
      shape.conv ? shape.conv.getOutChannels() : shape.matmul.getColumns();
  return shape;
}

/// Parallel indices of a product of one pixel: groups of `streams` panels, then
/// the panels that are left one by one.
struct StreamSplit {
  int64_t groups, count;
  StreamSplit(const Shape &shape, int64_t streams)
      : groups(shape.fullPanels() / streams),
        count(groups + shape.panelCount - groups * streams) {}
};

/// Elements of scratch memory in front of the sums that wait for a pass.
int64_t sumsOffset(mv::KernelOp kernel, const Shape &shape,
                   const TargetInfo &target) {
  return TileEpilogue::scratchBytes(kernel, shape.op, target) / 4;
}

int64_t contractionScratch(mv::KernelOp kernel, const TargetInfo &target) {
  FailureOr<Shape> shape = getShape(kernel, target);
  if (failed(shape))
    return 0;
  int64_t elements = sumsOffset(kernel, *shape, target);
  ContractionSchedule schedule(kernel.getSchedule());
  if (schedule.chunk) {
    int64_t pixels = schedule.stripPixels;
    if (!pixels)
      pixels = cast<RankedTensorType>(shape->input.getType())
                   .getShape()
                   .drop_back()
                   .back();
    elements += pixels * schedule.panels * shape->panelWidth;
  }
  return elements * 4;
}

//===----------------------------------------------------------------------===//
// Host side
//===----------------------------------------------------------------------===//

OpFoldResult contractionExtent(OpBuilder &builder, Location loc,
                               mv::KernelOp kernel, ValueRange inputs,
                               ValueRange outs, const TargetInfo &target) {
  FailureOr<Shape> shape = getShape(kernel, target);
  assert(succeeded(shape) && "formation made the kernel for this family");
  ContractionSchedule schedule(kernel.getSchedule());
  Value input = inputs[shape->input.getArgNumber()];
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  auto size = [&](int64_t dim) -> OpFoldResult {
    return memref::getMixedSize(builder, loc, input, dim);
  };
  OpFoldResult extent = builder.getIndexAttr(1);
  auto times = [&](OpFoldResult factor) {
    extent = apply(d0 * d1, {extent, factor});
  };
  auto strips = [&](OpFoldResult length, int64_t strip) {
    if (strip)
      times(apply(d0.ceilDiv(strip), {length}));
  };
  if (shape->matmul) {
    int64_t rank = cast<MemRefType>(input.getType()).getRank();
    for (int64_t d = 0; d < rank - 2; ++d)
      times(size(d));
    strips(rank > 1 ? size(rank - 2) : builder.getIndexAttr(1),
           schedule.stripPixels);
  } else {
    mv::PackedConvOp conv = shape->conv;
    ArrayRef<int64_t> taps =
        cast<RankedTensorType>(shape->filter.getType()).getShape().drop_front();
    times(size(0));
    for (int64_t d = 0; d < shape->spatialRank; ++d) {
      int64_t reach = conv.getDilations()[d] * (taps[d] - 1) + 1;
      OpFoldResult length =
          apply((d0 - reach).floorDiv(conv.getStrides()[d]) + 1, {size(2 + d)});
      if (d + 1 == shape->spatialRank)
        strips(length, schedule.stripPixels);
      else if (d + 2 == shape->spatialRank)
        strips(length, schedule.stripRows);
      else
        times(length);
    }
  }
  times(builder.getIndexAttr(
      schedule.streams > 1
          ? StreamSplit(*shape, schedule.streams).count
          : llvm::divideCeil(shape->panelCount, schedule.panels)));
  return extent;
}

//===----------------------------------------------------------------------===//
// Kernel side
//===----------------------------------------------------------------------===//

class ContractionEmitter : public ConvRows {
public:
  ContractionEmitter(KernelEmitter &e, TileEpilogue &epilogue,
                     const Shape &shape, DictionaryAttr schedule)
      : e(e), epilogue(epilogue), shape(shape), schedule(schedule),
        input(e.input(shape.input)), filter(e.input(shape.filter)),
        inputType(input.elementType),
        sumType(cast<RankedTensorType>(shape.op->getResult(0).getType())
                    .getElementType()),
        lanes(shape.lanes), panelSize(*getConstantIntValue(filter.strides[0])) {
    if (shape.matmul)
      describeMatmul();
    else
      describeConv();
  }

  /// Everything: all parallel indices of the call, and their share of the
  /// result's border.
  void run(ResultWriter &writer) {
    if (schedule.streams > 1)
      streamIndices(writer);
    else
      stripIndices(writer);
  }

  void compute(Value batchIndex, Value panel, Value row,
               Value rowEnd) override {
    setImage(batchIndex);
    tiles({row, rowEnd, constant(0), width}, panel, shape.vectors(),
          /*partial=*/false);
  }

private:
  struct Strip {
    Value row, rowEnd, pixel, pixelEnd;
  };

  Value constant(int64_t value) { return e.constant(value); }
  Value equal(Value a, Value b) {
    return arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::eq, a, b);
  }
  Value lessThan(Value a, Value b) {
    return arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::slt, a, b);
  }
  std::optional<int64_t> known(Value value) { return e.constantValue(value); }

  bool hasWindow() const {
    return shape.spatialRank > 1 &&
           cast<RankedTensorType>(shape.filter.getType())
                   .getShape()[shape.spatialRank - 1] > 1;
  }

  void describeMatmul() {
    int64_t rank = input.sizes.size();
    for (int64_t d = 0; d < rank - 2; ++d) {
      batch.push_back(input.sizes[d]);
      batchStrides.push_back(e.materialize(input.strides[d]));
    }
    rows = constant(1);
    rowStride = constant(0);
    width = rank > 1 ? e.materialize(input.sizes[rank - 2]) : constant(1);
    pixelStride =
        rank > 1 ? e.materialize(input.strides[rank - 2]) : constant(0);
    ReductionNest::Segment segment;
    segment.inputOffset = segment.weightOffset = constant(0);
    Value stride = e.materialize(input.strides[rank - 1]);
    assert((shape.group == 1 || known(stride) == 1) &&
           "rows are contiguous in every buffer");
    segment.loops.push_back({filter.sizes[1], e.mul(stride, shape.group),
                             constant(shape.panelWidth * shape.group)});
    nest.segments.push_back(segment);
  }

  void describeConv() {
    mv::PackedConvOp conv = shape.conv;
    int64_t spatial = shape.spatialRank;
    ArrayRef<int64_t> taps =
        cast<RankedTensorType>(shape.filter.getType()).getShape().drop_front();
    batch.push_back(input.sizes[0]);
    batchStrides.push_back(e.materialize(input.strides[0]));
    rows = constant(1);
    rowStride = constant(0);
    int64_t group = shape.group;
    int64_t weightStride = llvm::divideCeil(conv.getInChannels(), group) *
                           group * shape.panelWidth;
    SmallVector<int64_t> tapWeights(spatial);
    for (int64_t d = spatial; d-- > 0;) {
      tapWeights[d] = weightStride;
      weightStride *= taps[d];
    }
    for (int64_t d = 0; d < spatial; ++d) {
      Value stride = e.materialize(input.strides[2 + d]);
      int64_t reach = conv.getDilations()[d] * (taps[d] - 1) + 1;
      Value length =
          e.add(e.floorDiv(e.add(e.materialize(input.sizes[2 + d]), -reach),
                           constant(conv.getStrides()[d])),
                1);
      Value step = e.mul(stride, conv.getStrides()[d]);
      if (d + 1 == spatial) {
        width = length;
        pixelStride = step;
      } else if (d + 2 == spatial) {
        rows = length;
        rowStride = step;
      } else {
        if (std::optional<int64_t> size = known(length))
          batch.push_back(e.builder().getIndexAttr(*size));
        else
          batch.push_back(length);
        batchStrides.push_back(step);
      }
      if (taps[d] > 1)
        nest.loops.push_back({e.builder().getIndexAttr(taps[d]),
                              e.mul(stride, conv.getDilations()[d]),
                              constant(tapWeights[d])});
    }
    Value channelStride = e.materialize(input.strides[1]);
    int64_t channels = conv.getInChannels();
    auto index = [&](int64_t value) { return e.builder().getIndexAttr(value); };
    Value weightStep = constant(shape.panelWidth * group);
    if (!conv.getInputBlocked()) {
      nest.segments.push_back({constant(0),
                               constant(0),
                               {{index(channels), channelStride, weightStep}}});
      return;
    }
    int64_t block =
        cast<RankedTensorType>(shape.input.getType()).getShape().back();
    int64_t blocks = channels / block, rest = channels % block;
    if (blocks)
      nest.segments.push_back(
          {constant(0),
           constant(0),
           {{index(blocks), channelStride, e.mul(weightStep, block / group)},
            {index(block / group), constant(group), weightStep}}});
    if (rest)
      nest.segments.push_back({e.mul(channelStride, blocks),
                               e.mul(weightStep, blocks * block / group),
                               {{index(llvm::divideCeil(rest, group)),
                                 constant(group), weightStep}}});
  }

  //===--------------------------------------------------------------------===//
  // Parallel indices
  //===--------------------------------------------------------------------===//

  void setImage(ArrayRef<Value> coordinates) {
    image.assign(coordinates.begin(), coordinates.end());
    Value offset = constant(0);
    for (auto [coordinate, stride] : llvm::zip_equal(image, batchStrides))
      offset = e.add(offset, e.mul(coordinate, stride));
    imagePointer = e.address(input.pointer, inputType, offset);
  }

  void fillBorders(ResultWriter &writer, ArrayRef<OpFoldResult> extents) {
    Value extent = constant(1);
    for (OpFoldResult size : extents)
      extent = e.mul(extent, e.materialize(size));
    writer.fillBorders(extent);
  }

  OpFoldResult stripCount(Value length, int64_t strip) {
    if (!strip)
      return e.builder().getIndexAttr(1);
    Value count = e.floorDiv(e.add(length, strip - 1), constant(strip));
    if (std::optional<int64_t> value = known(count))
      return e.builder().getIndexAttr(*value);
    return count;
  }

  void stripIndices(ResultWriter &writer) {
    int64_t groups = llvm::divideCeil(shape.panelCount, schedule.panels);
    SmallVector<OpFoldResult> sizes(batch);
    sizes.push_back(stripCount(rows, schedule.stripRows));
    sizes.push_back(stripCount(width, schedule.stripPixels));
    sizes.push_back(e.builder().getIndexAttr(groups));
    fillBorders(writer, sizes);
    e.loop(e.begin(), e.end(), 1, [&](Value index) {
      SmallVector<Value> at = e.delinearize(index, sizes);
      Value group = at.pop_back_val();
      Value pixelStrip = at.pop_back_val();
      Value rowStrip = at.pop_back_val();
      setImage(at);
      auto range = [&](Value strip, int64_t length, Value all) {
        if (!length)
          return std::make_pair(constant(0), all);
        Value from = e.mul(strip, length);
        return std::make_pair(from, e.min(e.add(from, length), all));
      };
      auto [row, rowEnd] = range(rowStrip, schedule.stripRows, rows);
      auto [pixel, pixelEnd] = range(pixelStrip, schedule.stripPixels, width);
      Strip strip{row, rowEnd, pixel, pixelEnd};
      auto forPanels = [&](auto body) {
        int64_t full = shape.fullPanels();
        auto rest = [&] {
          body(constant(full), shape.lastVectors(), /*partial=*/true);
        };
        auto whole = [&](Value panel) {
          body(panel, shape.vectors(), /*partial=*/false);
        };
        if (groups == 1) {
          loopOrOnce(e, constant(0), constant(full), 1, whole);
          if (full < shape.panelCount)
            rest();
          return;
        }
        Value first = e.mul(group, schedule.panels);
        e.loop(first, e.min(e.add(first, schedule.panels), constant(full)), 1,
               whole);
        if (full < shape.panelCount)
          e.ifThen(equal(group, constant(groups - 1)), rest);
      };
      auto products = [&] {
        forPanels([&](Value panel, int64_t vectors, bool partial) {
          tiles(strip, panel, vectors, partial);
        });
      };
      if (!schedule.chunk)
        return products();
      firstPanel = e.mul(group, schedule.panels);
      firstPixel = pixel;
      forPanels([&](Value panel, int64_t vectors, bool partial) {
        startSums(strip, panel, vectors, partial);
      });
      int64_t steps = *getConstantIntValue(filter.sizes[1]);
      int64_t before = (steps - 1) / schedule.chunk * schedule.chunk;
      loopOrOnce(e, constant(0), constant(before), schedule.chunk,
                 [&](Value step) {
                   pass = Pass{step, schedule.chunk, /*isLast=*/false};
                   products();
                 });
      pass = Pass{constant(before), steps - before, /*isLast=*/true};
      products();
      pass.reset();
    });
  }

  /// Stores what the sums of a panel start from.
  void startSums(const Strip &strip, Value panel, int64_t vectors,
                 bool partial) {
    Value lastLanes = lastLanesOf(partial);
    SmallVector<Value> starts;
    for (int64_t j = 0; j < vectors; ++j)
      starts.push_back(bias(panel, j, j + 1 == vectors ? lastLanes : Value()));
    e.loop(strip.pixel, strip.pixelEnd, 1, [&](Value pixel) {
      for (int64_t j = 0; j < vectors; ++j)
        e.store(starts[j], sumAt(panel, pixel, 0, j), sumType);
    });
  }

  /// Where the sum of a pixel and a vector waits for the next pass.
  Value sumAt(Value panel, Value pixel, int64_t i, int64_t j) {
    int64_t pixels =
        schedule.stripPixels ? schedule.stripPixels : known(width).value_or(0);
    Value row = e.add(e.mul(e.sub(panel, firstPanel), pixels),
                      e.sub(pixel, firstPixel));
    Value base = e.address(e.scratch(), sumType,
                           constant(sumsOffset(e.kernel(), shape, e.target())));
    return e.address(e.address(base, sumType, e.mul(row, shape.panelWidth)),
                     sumType, constant(i * shape.panelWidth + j * lanes));
  }

  /// Lanes of the last panel's last vector if only some exist, or null.
  Value lastLanesOf(bool partial) {
    return partial && shape.matmul && shape.outputs % lanes
               ? constant(shape.outputs % lanes)
               : Value();
  }

  void streamIndices(ResultWriter &writer) {
    StreamSplit split(shape, schedule.streams);
    SmallVector<OpFoldResult> sizes(batch);
    sizes.push_back(e.builder().getIndexAttr(split.count));
    fillBorders(writer, sizes);
    Strip strip{constant(0), constant(1), constant(0), constant(1)};
    e.loop(e.begin(), e.end(), 1, [&](Value index) {
      SmallVector<Value> at = e.delinearize(index, sizes);
      Value number = at.pop_back_val();
      setImage(at);
      auto together = [&] {
        SmallVector<Value> panels;
        for (int64_t s = 0; s < schedule.streams; ++s)
          panels.push_back(e.add(number, s * split.groups));
        tile(strip.row, 1, strip.pixel, 1, panels, shape.vectors(),
             /*partial=*/false);
      };
      int64_t taken = split.groups * schedule.streams;
      int64_t alone = shape.panelCount - taken;
      if (!alone)
        return together();
      e.ifThen(lessThan(number, constant(split.groups)), together, [&] {
        Value panel = e.add(number, taken - split.groups);
        int64_t full = shape.fullPanels();
        if (full > taken) {
          auto whole = [&] {
            tile(strip.row, 1, strip.pixel, 1, panel, shape.vectors(),
                 /*partial=*/false);
          };
          if (full == shape.panelCount)
            return whole();
          e.ifThen(lessThan(panel, constant(full)), whole);
        }
        auto rest = [&] {
          tile(strip.row, 1, strip.pixel, 1, constant(full),
               shape.lastVectors(), /*partial=*/true);
        };
        if (full == taken)
          return rest();
        e.ifThen(equal(panel, constant(full)), rest);
      });
    });
  }

  //===--------------------------------------------------------------------===//
  // Tiles
  //===--------------------------------------------------------------------===//

  void tiles(const Strip &strip, Value panel, int64_t vectors, bool partial) {
    forPieces(e, strip.row, strip.rowEnd, schedule.tileRows, known(rows),
              [&](Value row, int64_t tileRows) {
                forPieces(e, strip.pixel, strip.pixelEnd, schedule.tilePixels,
                          known(width), [&](Value pixel, int64_t tilePixels) {
                            tile(row, tileRows, pixel, tilePixels, panel,
                                 vectors, partial);
                          });
              });
  }

  /// One register tile. `partial` is the last panel's, whose last vector may
  /// end within a row-major result.
  void tile(Value row, int64_t tileRows, Value pixel, int64_t tilePixels,
            ArrayRef<Value> panels, int64_t vectors, bool partial) {
    RegisterTile tile;
    tile.inputType = inputType;
    tile.weightType = filter.elementType;
    tile.vectors = vectors;
    tile.unroll = schedule.unroll;
    for (int64_t y = 0; y < tileRows; ++y)
      for (int64_t x = 0; x < tilePixels; ++x)
        tile.pixelOffsets.push_back(
            e.add(e.mul(rowStride, y), e.mul(pixelStride, x)));
    for (Value panel : panels)
      tile.panelOffsets.push_back(
          e.mul(e.sub(panel, panels.front()), panelSize));
    tile.prefetch = schedule.prefetch ? panelSize : 0;
    if (schedule.prefetchRows && shape.conv) {
      // A window's next rows; without a window, the next tile of the row.
      tile.rowDistance = hasWindow() ? e.mul(rowStride, tileRows)
                                     : e.mul(pixelStride, tilePixels);
      tile.pixelDistance = pixelStride;
    }
    assert(registersOf(tile.pixels(), vectors, panels.size()) <=
               e.target().vectorRegisters &&
           "the tile would not fit into registers");

    Value lastLanes = lastLanesOf(partial);
    SmallVector<Value> accumulators(tile.accumulators());
    for (auto [number, panel] : llvm::enumerate(panels))
      for (int64_t j = 0; j < vectors; ++j) {
        if (pass) {
          for (int64_t i = 0; i < tile.pixels(); ++i)
            accumulators[tile.position(number, i, j)] =
                e.load(sumAt(panel, pixel, i, j), sumType, lanes);
          continue;
        }
        Value start = bias(panel, j, j + 1 == vectors ? lastLanes : Value());
        for (int64_t i = 0; i < tile.pixels(); ++i)
          accumulators[tile.position(number, i, j)] = start;
      }
    Value first =
        e.address(imagePointer, inputType,
                  e.add(e.mul(row, rowStride), e.mul(pixel, pixelStride)));
    Value weights = e.address(filter.pointer, filter.elementType,
                              e.mul(panels.front(), panelSize));
    ReductionNest part = nest;
    if (pass) {
      ReductionLoop &loop = part.segments.front().loops.front();
      loop.trip = e.builder().getIndexAttr(pass->steps);
      first = e.address(first, inputType, e.mul(pass->first, loop.inputStride));
      weights = e.address(weights, filter.elementType,
                          e.mul(pass->first, loop.weightStride));
    }
    std::optional<int64_t> steps = stepsOf(part);
    if (schedule.streams == 1 && steps && (!pass || pass->isLast))
      epilogue.prefetch(tile,
                        pointAt(row, Coordinate(0), pixel, Coordinate(0),
                                panels.front(), Coordinate(0), Value()),
                        tileRows, tilePixels, *steps);
    if (schedule.prefetchRows && shape.matmul && steps && !pass)
      if (std::optional<int64_t> stride = known(pixelStride))
        tile.addStream(
            e.address(first, inputType, e.mul(pixelStride, tilePixels)),
            *stride * tilePixels, *steps);
    accumulators =
        tile.accumulate(e, first, weights, part, std::move(accumulators));
    if (pass && !pass->isLast) {
      for (int64_t i = 0; i < tile.pixels(); ++i)
        for (int64_t j = 0; j < vectors; ++j)
          e.store(accumulators[tile.position(0, i, j)],
                  sumAt(panels.front(), pixel, i, j), sumType);
      return;
    }
    for (auto [number, panel] : llvm::enumerate(panels)) {
      SmallVector<Value> values;
      for (int64_t j = 0; j < vectors; ++j)
        for (int64_t i = 0; i < tile.pixels(); ++i)
          values.push_back(accumulators[tile.position(number, i, j)]);
      ArrayRef<Value> whole(values);
      int64_t partialVectors = lastLanes ? 1 : 0;
      whole = whole.drop_back(partialVectors * tile.pixels());
      if (!whole.empty())
        epilogue.write({vectors - partialVectors, tileRows, tilePixels}, whole,
                       [&](ArrayRef<Coordinate> at) {
                         return pointAt(row, at[1], pixel, at[2], panel, at[0],
                                        Value());
                       });
      if (lastLanes)
        epilogue.write({tileRows, tilePixels},
                       ArrayRef(values).take_back(tile.pixels()),
                       [&](ArrayRef<Coordinate> at) {
                         return pointAt(row, at[0], pixel, at[1], panel,
                                        Coordinate(vectors - 1), lastLanes);
                       });
    }
  }

  /// First output of vector `j` of `panel`.
  Value output(Value panel, int64_t j) {
    return e.add(e.mul(panel, shape.panelWidth), j * lanes);
  }

  Value bias(Value panel, int64_t j, Value lastLanes) {
    if (!shape.bias)
      return e.zero(sumType, lanes);
    const Buffer &buffer = e.input(shape.bias);
    Value pointer = e.address(buffer, output(panel, j));
    return lastLanes ? e.loadPartial(pointer, sumType, lanes, lastLanes)
                     : e.load(pointer, sumType, lanes);
  }

  /// The anchor's point at a pixel and a vector of a panel.
  Point pointAt(Value row, Coordinate y, Value pixel, Coordinate x, Value panel,
                Coordinate j, Value lastLanes) {
    CoordinateMath math(e, lanes);
    Point point;
    point.lanes = lanes;
    if (lastLanes)
      point.mask = e.laneMask(lastLanes, lanes);
    Coordinate vector = math.add(math.of(e.mul(panel, shape.vectors())), j);
    if (shape.matmul) {
      for (Value coordinate : image)
        point.at.push_back(math.of(coordinate));
      if (input.sizes.size() > 1)
        point.at.push_back(math.add(math.of(pixel), x));
      Coordinate column = math.mul(vector, Coordinate(lanes));
      column.stride = 1;
      point.at.push_back(column);
      return point;
    }
    // image is the batch and the outer spatial dims.
    point.at.push_back(math.of(image.front()));
    point.at.push_back(vector);
    for (Value coordinate : ArrayRef(image).drop_front())
      point.at.push_back(math.of(coordinate));
    if (shape.spatialRank > 1)
      point.at.push_back(math.add(math.of(row), y));
    point.at.push_back(math.add(math.of(pixel), x));
    point.at.push_back(Coordinate(Value(), 0, /*stride=*/1));
    return point;
  }

  KernelEmitter &e;
  TileEpilogue &epilogue;
  const Shape shape;
  const ContractionSchedule schedule;
  const Buffer &input;
  const Buffer &filter;
  const Type inputType, sumType; ///< of the accumulators
  const int64_t lanes;
  const int64_t panelSize; ///< elements of a panel of weights

  SmallVector<OpFoldResult> batch; ///< sizes of the image coordinates
  SmallVector<Value> batchStrides;
  Value rows, width;
  Value rowStride, pixelStride; ///< input elements per output row and pixel
  ReductionNest nest;

  // Of the parallel index that is being emitted.
  SmallVector<Value> image;
  Value imagePointer;
  Value firstPanel, firstPixel; ///< of the sums that wait, with passes

  /// The part of the reduction that is being emitted, null for all of it.
  struct Pass {
    Value first;
    int64_t steps;
    bool isLast;
  };
  std::optional<Pass> pass;
};

} // namespace

std::unique_ptr<ConvRows> createConvRows(KernelEmitter &emitter,
                                         TileEpilogue &epilogue,
                                         DictionaryAttr schedule) {
  FailureOr<Shape> shape = getShape(emitter.kernel(), emitter.target());
  assert(succeeded(shape) && "formation made the kernel for this");
  return std::make_unique<ContractionEmitter>(emitter, epilogue, *shape,
                                              schedule);
}

const KernelFamily contractionFamily = {
    "contraction", contractionExtent, contractionScratch,
    [](KernelEmitter &emitter) -> LogicalResult {
      FailureOr<Shape> shape = getShape(emitter.kernel(), emitter.target());
      if (failed(shape))
        return emitter.kernel().emitError(
            "contraction: operands are not the kernel's own");
      Evaluator evaluator(emitter);
      ResultWriter writer(evaluator);
      TileEpilogue epilogue(emitter, evaluator, writer, shape->op);
      ContractionEmitter(emitter, epilogue, *shape,
                         emitter.kernel().getSchedule())
          .run(writer);
      return evaluator.result();
    }};

} // namespace marver
