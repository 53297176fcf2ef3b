//===- Winograd.cpp - 3x3 convolutions by Winograd's F(4x4, 3x3) ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.packed_conv with 3x3 windows at stride 1, four output rows and columns at
// a time, with 36 products where the definition has 144:
//
//   Y = A^T [ (G g G^T) . (B^T d B) ] A     d 6x6 inputs, g 3x3 weights
//
// Interpolation at 0, +-3/4, +-3/2 and infinity: exact in binary, and less
// error than the usual 0, +-1, +-2. For each of the 36 positions the products
// over channels are a matrix product of tiles x channels by channels x outputs.
//
// By strips (small weights): a parallel index is one image's strip of tile
// rows; each thread transforms all weights first, then goes through its tiles
// in blocks whose transformed input and products stay in the L2 cache, panel by
// panel. By panels (large weights, small maps): a parallel index is one panel;
// the thread transforms the input of all tiles, then for each of its panels the
// weights.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/TileEpilogue.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace marver {
namespace {

constexpr int64_t kOut = 4; ///< outputs of a tile, per dim
constexpr int64_t kIn = 6;  ///< inputs of a tile, per dim
constexpr int64_t kPositions = kIn * kIn;
constexpr double kNear = 0.75; ///< interpolation points, with both signs
constexpr double kFar = 1.5;

mv::PackedConvOp findAnchor(mv::KernelOp kernel) {
  for (Operation &op : kernel.getBlock())
    if (auto conv = dyn_cast<mv::PackedConvOp>(op))
      return conv;
  return nullptr;
}

/// Schedule and sizes; all but the batch are static.
struct Plan {
  mv::PackedConvOp conv;
  bool byPanels;
  int64_t gemmTiles;  ///< tiles of a register tile
  int64_t blockTiles; ///< tiles whose products are made at a time
  int64_t stripRows;  ///< rows of tiles that a parallel index does
  int64_t lanes, channels, channelBlocks, outputBlocks;
  int64_t height, width, tileRows, tileColumns;
  int64_t panelCount, panelWidth;

  Plan(mv::KernelOp kernel, const TargetInfo &target)
      : conv(findAnchor(kernel)), lanes(target.lanes) {
    DictionaryAttr schedule = kernel.getSchedule();
    auto pair = [&](StringRef name) {
      return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
    };
    byPanels = cast<BoolAttr>(schedule.get("by_panels")).getValue();
    gemmTiles = pair("tile")[0];
    blockTiles = pair("tile")[1];
    stripRows = pair("strip")[0];
    ArrayRef<int64_t> filter =
        cast<RankedTensorType>(conv.getFilter().getType()).getShape();
    ArrayRef<int64_t> result =
        cast<RankedTensorType>(conv.getResult().getType()).getShape();
    channels = conv.getInChannels();
    channelBlocks = llvm::divideCeil(channels, lanes);
    outputBlocks = result[1];
    height = result[2];
    width = result[3];
    tileRows = llvm::divideCeil(height, kOut);
    tileColumns = llvm::divideCeil(width, kOut);
    panelCount = filter.front();
    panelWidth = filter.back();
  }

  int64_t vectors() const { return panelWidth / lanes; }
  /// Whether tiles reach beyond the result.
  bool hasEdges() const { return height % kOut || width % kOut; }
  int64_t tiles() const { return tileRows * tileColumns; }

  // Scratch memory, in elements, one part after the other.
  /// Weights of a position, and a line more: 36 stores a power of two apart
  /// would fall into one set of the caches.
  int64_t weightPlane() const { return channels * panelWidth + lanes; }
  int64_t weightsOfPanel() const { return kPositions * weightPlane(); }
  int64_t weightsSize() const {
    return weightsOfPanel() * (byPanels ? 1 : panelCount);
  }
  /// Tiles of transformed input that are kept.
  int64_t inputTiles() const { return byPanels ? tiles() : blockTiles; }
  /// Channels of a tile, and a line more: rows a power of two apart would fall
  /// into one set of the L1 cache.
  int64_t inputStride() const { return channelBlocks * lanes + lanes; }
  int64_t inputSize() const {
    return kPositions * inputTiles() * inputStride();
  }
  int64_t productsSize() const { return kPositions * blockTiles * panelWidth; }
};

OpFoldResult winogradExtent(OpBuilder &builder, Location loc,
                            mv::KernelOp kernel, ValueRange inputs,
                            ValueRange outs, const TargetInfo &target) {
  Plan plan(kernel, target);
  if (plan.byPanels)
    return builder.getIndexAttr(plan.panelCount);
  Value input =
      inputs[cast<BlockArgument>(plan.conv.getInput()).getArgNumber()];
  int64_t strips = llvm::divideCeil(plan.tileRows, plan.stripRows);
  return affine::makeComposedFoldedAffineApply(
      builder, loc, builder.getAffineDimExpr(0) * strips,
      {memref::getMixedSize(builder, loc, input, 0)});
}

int64_t winogradScratchBytes(mv::KernelOp kernel, const TargetInfo &target) {
  Plan plan(kernel, target);
  return TileEpilogue::scratchBytes(kernel, plan.conv, target,
                                    plan.hasEdges()) +
         4 * (plan.weightsSize() + plan.inputSize() + plan.productsSize());
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
                                              plan.hasEdges()) /
                   4;
    auto part = [&](int64_t size) {
      Value pointer = e.address(e.scratch(), f32, e.constant(base));
      base += size;
      return pointer;
    };
    weights = part(plan.weightsSize());
    transformed = part(plan.inputSize());
    products = part(plan.productsSize());
  }

  LogicalResult run() {
    Value batch = e.materialize(input.sizes[0]);
    int64_t strips = llvm::divideCeil(plan.tileRows, plan.stripRows);
    if (plan.byPanels) {
      writer.fillBorders(e.constant(plan.panelCount));
      e.loop(e.constant(0), batch, 1, [&](Value n) {
        image = n;
        e.loop(e.constant(0), e.constant(plan.tiles()), 1,
               [&](Value tile) { transformInput(tile, tile); });
        e.loop(e.begin(), e.end(), 1, [&](Value panel) {
          transformWeights(panel, weights);
          e.loop(e.constant(0), e.constant(plan.tiles()), plan.blockTiles,
                 [&](Value first) {
                   Value end = e.min(e.add(first, plan.blockTiles),
                                     e.constant(plan.tiles()));
                   multiply(first, e.sub(end, first), weights);
                   transformOutput(first, e.sub(end, first), panel);
                 });
        });
      });
      return evaluator.result();
    }
    writer.fillBorders(e.mul(batch, strips));
    ImplicitLocOpBuilder &b = e.builder();
    Value any =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, e.begin(), e.end());
    e.ifThen(any, [&] {
      e.loop(e.constant(0), e.constant(plan.panelCount), 1, [&](Value panel) {
        transformWeights(panel, panelWeights(panel));
      });
    });
    e.loop(e.begin(), e.end(), 1, [&](Value index) {
      SmallVector<Value> at =
          e.delinearize(index, {input.sizes[0], b.getIndexAttr(strips)});
      image = at[0];
      Value row = e.mul(at[1], plan.stripRows);
      Value rowEnd =
          e.min(e.add(row, plan.stripRows), e.constant(plan.tileRows));
      Value last = e.mul(rowEnd, plan.tileColumns);
      e.loop(e.mul(row, plan.tileColumns), last, plan.blockTiles,
             [&](Value first) {
               Value end = e.min(e.add(first, plan.blockTiles), last);
               Value count = e.sub(end, first);
               e.loop(first, end, 1, [&](Value tile) {
                 transformInput(tile, e.sub(tile, first));
               });
               e.loop(e.constant(0), e.constant(plan.panelCount), 1,
                      [&](Value panel) {
                        multiply(e.constant(0), count, panelWeights(panel));
                        transformOutput(first, count, panel);
                      });
             });
    });
    return evaluator.result();
  }

private:
  //===--------------------------------------------------------------------===//
  // Arithmetic
  //===--------------------------------------------------------------------===//

  Value number(double value) {
    return e.splat(arith::ConstantOp::create(
                       e.builder(), e.builder().getF32FloatAttr(float(value))),
                   lanes);
  }
  Value add(Value a, Value c) {
    return arith::AddFOp::create(e.builder(), a, c);
  }
  Value sub(Value a, Value c) {
    return arith::SubFOp::create(e.builder(), a, c);
  }
  Value scaled(double factor, Value a) {
    return arith::MulFOp::create(e.builder(), number(factor), a);
  }
  /// factor * a + c
  Value scaledAdd(double factor, Value a, Value c) {
    return e.fma(number(factor), a, c);
  }

  /// B^T d: the coefficients of each point's Lagrange numerator.
  SmallVector<Value> inputRow(ArrayRef<Value> d) {
    constexpr double p2 = kNear * kNear, q2 = kFar * kFar;
    auto pair = [&](double point, double other2, SmallVector<Value> &out) {
      Value even = scaledAdd(-other2, d[2], d[4]);
      Value odd = scaledAdd(-other2, d[1], d[3]);
      out.push_back(scaledAdd(point, odd, even));
      out.push_back(scaledAdd(-point, odd, even));
    };
    SmallVector<Value> out;
    out.push_back(scaledAdd(p2 * q2, d[0], scaledAdd(-(p2 + q2), d[2], d[4])));
    pair(kNear, q2, out);
    pair(kFar, p2, out);
    out.push_back(scaledAdd(p2 * q2, d[1], scaledAdd(-(p2 + q2), d[3], d[5])));
    return out;
  }

  /// G g: the filter's polynomial at each point, over the Lagrange denominator.
  SmallVector<Value> weightRow(ArrayRef<Value> g) {
    constexpr double p2 = kNear * kNear, q2 = kFar * kFar;
    SmallVector<Value> out;
    out.push_back(scaled(1 / (p2 * q2), g[0]));
    auto pair = [&](double point, double denominator) {
      Value even = scaledAdd(point * point / denominator, g[2],
                             scaled(1 / denominator, g[0]));
      out.push_back(scaledAdd(point / denominator, g[1], even));
      out.push_back(scaledAdd(-point / denominator, g[1], even));
    };
    pair(kNear, 2 * p2 * (p2 - q2));
    pair(kFar, 2 * q2 * (q2 - p2));
    out.push_back(g[2]);
    return out;
  }

  /// A^T m: the powers of each point.
  SmallVector<Value> outputRow(ArrayRef<Value> m) {
    constexpr double p2 = kNear * kNear, q2 = kFar * kFar;
    Value nearSum = add(m[1], m[2]), nearDifference = sub(m[1], m[2]);
    Value farSum = add(m[3], m[4]), farDifference = sub(m[3], m[4]);
    return {add(add(m[0], nearSum), farSum),
            scaledAdd(kFar, farDifference, scaled(kNear, nearDifference)),
            scaledAdd(q2, farSum, scaled(p2, nearSum)),
            scaledAdd(q2 * kFar, farDifference,
                      scaledAdd(p2 * kNear, nearDifference, m[5]))};
  }

  //===--------------------------------------------------------------------===//
  // Transforms
  //===--------------------------------------------------------------------===//

  Value panelWeights(Value panel) {
    return e.address(weights, f32, e.mul(panel, plan.weightsOfPanel()));
  }

  /// target[position][channel][output] of one panel.
  void transformWeights(Value panel, Value target) {
    int64_t plane = plan.channels * plan.panelWidth;
    Value source = e.address(filter.pointer, f32, e.mul(panel, 9 * plane));
    e.loop(e.constant(0), e.constant(plane), lanes, [&](Value at) {
      SmallVector<SmallVector<Value>> columns;
      for (int64_t x = 0; x < 3; ++x) {
        SmallVector<Value> g;
        for (int64_t y = 0; y < 3; ++y)
          g.push_back(e.load(e.address(e.address(source, f32, at), f32,
                                       e.constant((y * 3 + x) * plane)),
                             f32, lanes));
        columns.push_back(weightRow(g));
      }
      for (int64_t y = 0; y < kIn; ++y) {
        SmallVector<Value> row =
            weightRow({columns[0][y], columns[1][y], columns[2][y]});
        for (int64_t x = 0; x < kIn; ++x)
          e.store(row[x],
                  e.address(e.address(target, f32, at), f32,
                            e.constant((y * kIn + x) * plan.weightPlane())),
                  f32);
      }
    });
  }

  /// transformed[position][slot][channel] of tile number `tile`.
  void transformInput(Value tile, Value slot) {
    Value tileY = e.floorDiv(tile, e.constant(plan.tileColumns));
    Value tileX = e.rem(tile, e.constant(plan.tileColumns));
    Value y = e.mul(tileY, kOut), x = e.mul(tileX, kOut);
    Value rowStride = e.materialize(input.strides[2]);
    Value pixelStride = e.materialize(input.strides[3]);
    Value imagePointer = e.address(
        input.pointer, f32, e.mul(image, e.materialize(input.strides[0])));
    // Rows and columns beyond the input repeat its last one: they take part in
    // no output that is stored, and their size is that of the data.
    SmallVector<Value> rowPointers, columnOffsets;
    bool wholeRows = plan.height % kOut == 0;
    bool wholeColumns = plan.width % kOut == 0;
    for (int64_t i = 0; i < kIn; ++i) {
      Value row = e.add(y, i);
      if (!wholeRows && i > 2)
        row = e.min(row, e.constant(plan.height + 1));
      Value offset = e.mul(row, rowStride);
      if (wholeColumns) {
        offset = e.add(offset, e.mul(x, pixelStride));
        columnOffsets.push_back(e.mul(pixelStride, i));
      } else {
        Value column = e.add(x, i);
        if (i > 2)
          column = e.min(column, e.constant(plan.width + 1));
        columnOffsets.push_back(e.mul(column, pixelStride));
      }
      rowPointers.push_back(e.address(imagePointer, f32, offset));
    }
    Value target = e.address(transformed, f32, e.mul(slot, plan.inputStride()));
    int64_t position = plan.inputTiles() * plan.inputStride();
    Value blockStride = e.materialize(input.strides[1]);
    e.loop(e.constant(0), e.constant(plan.channelBlocks), 1, [&](Value block) {
      Value blockOffset = e.mul(block, blockStride);
      SmallVector<SmallVector<Value>> columns;
      for (int64_t j = 0; j < kIn; ++j) {
        SmallVector<Value> d;
        for (int64_t i = 0; i < kIn; ++i)
          d.push_back(
              e.load(e.address(e.address(rowPointers[i], f32, blockOffset), f32,
                               columnOffsets[j]),
                     f32, lanes));
        columns.push_back(inputRow(d));
      }
      Value blockTarget = e.address(target, f32, e.mul(block, lanes));
      for (int64_t i = 0; i < kIn; ++i) {
        SmallVector<Value> d;
        for (int64_t j = 0; j < kIn; ++j)
          d.push_back(columns[j][i]);
        SmallVector<Value> row = inputRow(d);
        for (int64_t j = 0; j < kIn; ++j)
          e.store(
              row[j],
              e.address(blockTarget, f32, e.constant((i * kIn + j) * position)),
              f32);
      }
    });
  }

  /// products[tile][position][output] of `count` tiles from slot `first`.
  void multiply(Value first, Value count, Value panel) {
    int64_t plane = plan.weightPlane();
    int64_t position = plan.inputTiles() * plan.inputStride();
    ReductionNest nest;
    nest.segments.push_back({e.constant(0),
                             e.constant(0),
                             {{e.builder().getIndexAttr(plan.channels),
                               e.constant(1), e.constant(plan.panelWidth)}}});
    e.loop(e.constant(0), e.constant(kPositions), 1, [&](Value t) {
      Value source = e.address(
          transformed, f32,
          e.add(e.mul(t, position), e.mul(first, plan.inputStride())));
      Value weightsOfPosition = e.address(panel, f32, e.mul(t, plane));
      Value target = e.address(products, f32, e.mul(t, plan.panelWidth));
      forPieces(
          e, e.constant(0), count, plan.gemmTiles, std::nullopt,
          [&](Value tile, int64_t length) {
            RegisterTile registers;
            registers.vectors = plan.vectors();
            for (int64_t i = 0; i < length; ++i)
              registers.pixelOffsets.push_back(
                  e.constant(i * plan.inputStride()));
            registers.panelOffsets.push_back(e.constant(0));
            // The next position's weights; the last one asks for the next
            // panel's.
            registers.prefetch = plane;
            SmallVector<Value> sum(registers.accumulators(),
                                   e.zero(f32, lanes));
            sum = registers.accumulate(
                e, e.address(source, f32, e.mul(tile, plan.inputStride())),
                weightsOfPosition, nest, std::move(sum));
            Value out = e.address(target, f32,
                                  e.mul(tile, kPositions * plan.panelWidth));
            for (int64_t i = 0; i < length; ++i)
              for (int64_t j = 0; j < plan.vectors(); ++j)
                e.store(sum[registers.position(0, i, j)],
                        e.address(out, f32,
                                  e.constant(i * kPositions * plan.panelWidth +
                                             j * lanes)),
                        f32);
          });
    });
  }

  /// Outputs of `count` tiles from tile number `first`.
  void transformOutput(Value first, Value count, Value panel) {
    Value block = e.mul(panel, plan.vectors());
    Value blockEnd =
        e.min(e.add(block, plan.vectors()), e.constant(plan.outputBlocks));
    e.loop(e.constant(0), count, 1, [&](Value i) {
      Value tile = e.add(first, i);
      Value y = e.mul(e.floorDiv(tile, e.constant(plan.tileColumns)), kOut);
      Value x = e.mul(e.rem(tile, e.constant(plan.tileColumns)), kOut);
      e.loop(block, blockEnd, 1, [&](Value outputBlock) {
        Value source =
            e.address(products, f32,
                      e.add(e.mul(i, kPositions * plan.panelWidth),
                            e.mul(e.sub(outputBlock, block), lanes)));
        SmallVector<SmallVector<Value>> columns;
        for (int64_t c = 0; c < kIn; ++c) {
          SmallVector<Value> m;
          for (int64_t r = 0; r < kIn; ++r)
            m.push_back(
                e.load(e.address(source, f32,
                                 e.constant((r * kIn + c) * plan.panelWidth)),
                       f32, lanes));
          columns.push_back(outputRow(m));
        }
        SmallVector<Value> values;
        for (int64_t r = 0; r < kOut; ++r) {
          SmallVector<Value> m;
          for (int64_t c = 0; c < kIn; ++c)
            m.push_back(columns[c][r]);
          llvm::append_range(values, outputRow(m));
        }
        if (plan.conv.getBias()) {
          Value bias = e.load(e.address(e.input(plan.conv.getBias()),
                                        e.mul(outputBlock, lanes)),
                              f32, lanes);
          for (Value &value : values)
            value = add(value, bias);
        }
        SmallVector<Value> limits;
        if (plan.hasEdges())
          limits = {e.min(e.sub(e.constant(plan.height), y), e.constant(kOut)),
                    e.min(e.sub(e.constant(plan.width), x), e.constant(kOut))};
        epilogue.write(
            {kOut, kOut}, values,
            [&](ArrayRef<Coordinate> at) {
              CoordinateMath math(e, lanes);
              Point point;
              point.lanes = lanes;
              point.at = {math.of(image), math.of(outputBlock),
                          math.add(math.of(y), at[0]),
                          math.add(math.of(x), at[1]),
                          Coordinate(Value(), 0, /*stride=*/1)};
              return point;
            },
            limits);
      });
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
  Value weights, transformed, products; ///< in scratch memory
  Value image;                          ///< the batch coordinate
};

} // namespace

const KernelFamily winogradFamily = {
    "winograd", winogradExtent, winogradScratchBytes,
    [](KernelEmitter &emitter) -> LogicalResult {
      return WinogradEmitter(emitter).run();
    }};

} // namespace marver
