//===- ConvDepthwise.cpp - A convolution and a depthwise one, by rows -----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The first half of an inverted residual, and every other
//
//   %c = mv.packed_conv %x, %w       (1x1 or with a window)
//   %a = linalg.generic ... %c       what follows it
//   %p = tensor.pad %a               perhaps
//   %d = mv.depthwise_conv %p, %v
//   %e = linalg.generic ... %d
//
// as one kernel whose intermediate rows stay in the thread's scratch memory,
// and with it in the L1 or L2 cache. Stored and read again, a map that is
// larger than the caches costs more than the depthwise convolution itself.
//
// A parallel index is one image, one panel of channels and `rows` rows of the
// result; `bands` of rows come first, so that threads have rows of their own:
//
//   image, band, panel, stage of rows
//
// The rows that one stage and the next both need are moved to the front of the
// scratch memory. Where a call or a band begins, they are computed: the same
// tiles make the same bits, so results do not depend on the division.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/emit/ConvRows.h"
#include "compiler/kernels/emit/DepthwiseTiles.h"
#include "compiler/kernels/emit/Families.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace marver {
namespace {

/// What is known of a kernel when compiling.
struct Chain {
  mv::PackedConvOp conv;
  tensor::PadOp pad; ///< may be null
  mv::DepthwiseConvOp depthwise;
  DictionaryAttr convSchedule, depthwiseSchedule;
  int64_t stageRows, bands;
  int64_t lanes, panels;
  int64_t vectors; ///< channel blocks of a panel
  int64_t paddedWidth;
  int64_t low[2] = {0, 0}, high[2] = {0, 0}; ///< pads of rows and columns
  int64_t stride, reach; ///< rows from one window to the next, and in a window

  Chain(mv::KernelOp kernel, const TargetInfo &target) {
    Block &block = kernel.getBlock();
    conv = *block.getOps<mv::PackedConvOp>().begin();
    depthwise = *block.getOps<mv::DepthwiseConvOp>().begin();
    pad = depthwise.getInput().getDefiningOp<tensor::PadOp>();
    DictionaryAttr schedule = kernel.getSchedule();
    convSchedule = cast<DictionaryAttr>(schedule.get("conv"));
    depthwiseSchedule = cast<DictionaryAttr>(schedule.get("depthwise"));
    stageRows = cast<IntegerAttr>(schedule.get("rows")).getInt();
    bands = cast<IntegerAttr>(schedule.get("bands")).getInt();
    lanes = target.lanes;
    auto filter = cast<RankedTensorType>(conv.getFilter().getType()).getShape();
    panels = filter.front();
    vectors = panelWidth(conv) / lanes;
    paddedWidth =
        cast<RankedTensorType>(depthwise.getInput().getType()).getDimSize(3);
    if (pad)
      for (int64_t d = 0; d < 2; ++d) {
        low[d] = pad.getStaticLow()[2 + d];
        high[d] = pad.getStaticHigh()[2 + d];
      }
    stride = depthwise.getStrides()[0];
    reach = depthwise.getDilations()[0] * (tapsOf(depthwise)[0] - 1) + 1;
  }

  /// The convolution's result with all that follows it, before the pad.
  Value source() { return pad ? pad.getSource() : depthwise.getInput(); }
  int64_t scratchRows() const { return (stageRows - 1) * stride + reach; }
  /// Rows that a stage shares with the one before it.
  int64_t sharedRows() const { return std::max<int64_t>(reach - stride, 0); }
  int64_t rowElements() const { return paddedWidth * lanes; }
  int64_t planeElements() const { return scratchRows() * rowElements(); }
  int64_t epilogueBytes(mv::KernelOp kernel, const TargetInfo &target) {
    return std::max(TileEpilogue::scratchBytes(kernel, conv, target),
                    TileEpilogue::scratchBytes(kernel, depthwise, target));
  }
};

OpFoldResult chainExtent(OpBuilder &builder, Location loc, mv::KernelOp kernel,
                         ValueRange inputs, ValueRange outs,
                         const TargetInfo &target) {
  Chain chain(kernel, target);
  Value input =
      inputs[cast<BlockArgument>(chain.conv.getInput()).getArgNumber()];
  int64_t taps =
      cast<RankedTensorType>(chain.conv.getFilter().getType()).getDimSize(1);
  int64_t reach = chain.conv.getDilations()[0] * (taps - 1) + 1;
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  AffineExpr rows = (d1 - reach).floorDiv(chain.conv.getStrides()[0]) + 1 +
                    (chain.low[0] + chain.high[0] - chain.reach);
  rows = rows.floorDiv(chain.stride) + 1;
  AffineExpr stages = rows.ceilDiv(chain.stageRows).ceilDiv(chain.bands);
  return affine::makeComposedFoldedAffineApply(
      builder, loc, d0 * stages * (chain.bands * chain.panels),
      {memref::getMixedSize(builder, loc, input, 0),
       memref::getMixedSize(builder, loc, input, 2)});
}

class ChainEmitter {
public:
  explicit ChainEmitter(KernelEmitter &e)
      : e(e), chain(e.kernel(), e.target()), evaluator(e), writer(evaluator),
        first(e, evaluator, chain.conv,
              [this](const Point &point) { keep(point); }),
        second(e, evaluator, writer, chain.depthwise),
        f32(e.builder().getF32Type()) {}

  LogicalResult run() {
    OpBuilder &b = e.builder();
    auto index = [&](int64_t value) -> OpFoldResult {
      return b.getIndexAttr(value);
    };
    ring.pointer =
        e.address(e.scratch(), e.builder().getI8Type(),
                  e.constant(chain.epilogueBytes(e.kernel(), e.target())));
    ring.elementType = f32;
    ring.sizes = {index(1), index(chain.vectors), index(chain.scratchRows()),
                  index(chain.paddedWidth), index(chain.lanes)};
    ring.strides = {index(chain.planeElements() * chain.vectors),
                    index(chain.planeElements()), index(chain.rowElements()),
                    index(chain.lanes), index(1)};
    conv = createConvRows(e, first, chain.convSchedule);
    DepthwiseTiles tiles(e, second, chain.depthwise, ring,
                         chain.depthwiseSchedule);

    SmallVector<Value> sizes = evaluator.dims(chain.depthwise.getResult());
    Value rows = sizes[2], width = sizes[3];
    convRows = evaluator.dims(chain.source())[2];
    Value stages = e.floorDiv(e.add(rows, chain.stageRows - 1),
                              e.constant(chain.stageRows));
    stages =
        e.floorDiv(e.add(stages, chain.bands - 1), e.constant(chain.bands));
    SmallVector<OpFoldResult> extents = {sizes[0], index(chain.bands),
                                         index(chain.panels), stages};
    writer.fillBorders(
        e.mul(e.mul(sizes[0], stages), chain.bands * chain.panels));
    fillColumns();
    e.loop(e.begin(), e.end(), 1, [&](Value number) {
      SmallVector<Value> at = e.delinearize(number, extents);
      image = at[0];
      panel = at[2];
      Value strip = e.add(e.mul(at[1], stages), at[3]);
      Value row = e.mul(strip, chain.stageRows);
      Value rowEnd = e.min(e.add(row, chain.stageRows), rows);
      // The last bands may be shorter.
      e.ifThen(compare(arith::CmpIPredicate::slt, row, rowEnd), [&] {
        begin = e.mul(row, chain.stride);
        Value end = e.add(e.mul(e.add(rowEnd, -1), chain.stride), chain.reach);
        fillRows(firstNewRow(number, at[3]), end);
        blockLoop([&](Value j) {
          Value block = e.add(e.mul(panel, chain.vectors), j);
          Value input = e.address(ring.pointer, f32,
                                  e.sub(e.mul(j, chain.planeElements()),
                                        e.mul(begin, chain.rowElements())));
          tiles.compute({block, input, row, rowEnd}, width,
                        e.constantValue(rows),
                        [&](const Coordinate &y, const Coordinate &x) {
                          return pointAt(block, y, x);
                        });
        });
      });
    });
    return evaluator.result();
  }

private:
  Value compare(arith::CmpIPredicate predicate, Value a, Value b) {
    return arith::CmpIOp::create(e.builder(), predicate, a, b);
  }
  void blockLoop(llvm::function_ref<void(Value)> body) {
    e.loop(e.constant(0), e.constant(chain.vectors), 1, body);
  }

  Point pointAt(Value block, const Coordinate &y, const Coordinate &x) {
    CoordinateMath math(e, chain.lanes);
    Point point;
    point.lanes = chain.lanes;
    point.at = {math.of(image), math.of(block), y, x,
                Coordinate(Value(), 0, /*stride=*/1)};
    return point;
  }

  /// Stores what follows the convolution in the scratch memory.
  void keep(const Point &point) {
    CoordinateMath math(e, chain.lanes);
    Value value = evaluator.evaluate(chain.source(), point);
    auto moved = [&](int64_t d, Value by) {
      return math.add(point.at[d], math.of(e.sub(e.constant(0), by)));
    };
    Coordinate offset = math.mul(moved(1, e.mul(panel, chain.vectors)),
                                 Coordinate(chain.planeElements()));
    offset = math.add(offset, math.mul(moved(2, e.add(begin, -chain.low[0])),
                                       Coordinate(chain.rowElements())));
    offset = math.add(offset,
                      math.mul(math.add(point.at[3], Coordinate(chain.low[1])),
                               Coordinate(chain.lanes)));
    Value base =
        e.address(ring.pointer, f32, offset.base ? offset.base : e.constant(0));
    e.store(value, e.address(base, f32, e.constant(offset.offset)), f32);
  }

  /// The number that surrounds the map.
  Value border() {
    FloatAttr value = e.builder().getF32FloatAttr(0);
    if (chain.pad)
      matchPattern(chain.pad.getConstantPaddingValue(), m_Constant(&value));
    Value scalar = arith::ConstantOp::create(e.builder(), value);
    return e.splat(scalar, chain.lanes);
  }

  void fill(Value row, Value from, Value to) {
    Value value = border();
    blockLoop([&](Value j) {
      Value start = e.address(ring.pointer, f32,
                              e.add(e.mul(j, chain.planeElements()),
                                    e.mul(row, chain.rowElements())));
      e.loop(from, to, 1, [&](Value column) {
        e.store(value, e.address(start, f32, e.mul(column, chain.lanes)), f32);
      });
    });
  }

  /// The borders' columns, which nothing writes afterwards.
  void fillColumns() {
    if (!chain.low[1] && !chain.high[1])
      return;
    e.loop(e.constant(0), e.constant(chain.scratchRows()), 1, [&](Value row) {
      fill(row, e.constant(0), e.constant(chain.low[1]));
      fill(row, e.constant(chain.paddedWidth - chain.high[1]),
           e.constant(chain.paddedWidth));
    });
  }

  /// The first row of the stage that is not there from the stage before; those
  /// that are, are moved to where this stage looks for them.
  Value firstNewRow(Value number, Value stage) {
    int64_t shared = chain.sharedRows();
    if (!shared)
      return begin;
    Value isFirst = arith::OrIOp::create(
        e.builder(), compare(arith::CmpIPredicate::eq, number, e.begin()),
        compare(arith::CmpIPredicate::eq, stage, e.constant(0)));
    return e.ifThenElse(
        isFirst, e.builder().getI64Type(), [&] { return begin; },
        [&] {
          blockLoop([&](Value j) {
            Value to =
                e.address(ring.pointer, f32, e.mul(j, chain.planeElements()));
            Value from = e.address(to, f32,
                                   e.constant(chain.stageRows * chain.stride *
                                              chain.rowElements()));
            e.loop(e.constant(0), e.constant(shared * chain.rowElements()),
                   chain.lanes, [&](Value i) {
                     e.store(e.load(e.address(from, f32, i), f32, chain.lanes),
                             e.address(to, f32, i), f32);
                   });
          });
          return e.add(begin, shared);
        });
  }

  /// Rows [from, to) of the padded map: the border's and the convolution's.
  void fillRows(Value from, Value to) {
    Value low = e.constant(chain.low[0]);
    Value inside = e.max(from, low);
    Value insideEnd = e.min(to, e.add(convRows, chain.low[0]));
    auto borderRows = [&](Value begins, Value ends) {
      e.loop(begins, ends, 1, [&](Value row) {
        fill(e.sub(row, begin), e.constant(0), e.constant(chain.paddedWidth));
      });
    };
    if (chain.low[0])
      borderRows(from, e.min(to, low));
    if (chain.high[0])
      borderRows(e.max(from, insideEnd), to);
    conv->compute(image, panel, e.sub(inside, low), e.sub(insideEnd, low));
  }

  KernelEmitter &e;
  Chain chain;
  Evaluator evaluator;
  ResultWriter writer;
  TileEpilogue first, second;
  const Type f32;
  std::unique_ptr<ConvRows> conv;
  Buffer ring; ///< rows of the padded map between the two
  Value convRows;

  // Of the parallel index that is being emitted.
  Value image, panel;
  Value begin; ///< the row of the padded map that the scratch begins with
};

} // namespace

const KernelFamily convDepthwiseFamily = {
    "conv_depthwise", chainExtent,
    [](mv::KernelOp kernel, const TargetInfo &target) -> int64_t {
      Chain chain(kernel, target);
      return chain.epilogueBytes(kernel, target) +
             chain.planeElements() * chain.vectors * 4;
    },
    [](KernelEmitter &emitter) -> LogicalResult {
      return ChainEmitter(emitter).run();
    }};

} // namespace marver
