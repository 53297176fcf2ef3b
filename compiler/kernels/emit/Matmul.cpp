//===- Matmul.cpp - Products whose right-hand side is not constant --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.matmul of two values, as attention and its kin have it. A right-hand side
// whose columns are neighbours in memory is read where it is. Any other (a
// transposed one, above all) is brought into a panel [k][columns] in scratch
// memory first, `kChunk` steps of k at a time; a longer sum is kept in scratch
// between the chunks.
//
// A parallel index is one matrix of the batch, one strip of rows and one group
// of column panels.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/ResultWriter.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace marver {
namespace {

/// Steps of k that a packed panel in scratch memory holds: a multiple of every
/// target's lanes.
constexpr int64_t kChunk = 512;

struct MatmulSchedule {
  int64_t tilePixels, stripPixels, panels, unroll, columns;

  explicit MatmulSchedule(mv::KernelOp kernel) {
    DictionaryAttr schedule = kernel.getSchedule();
    auto pair = [&](StringRef name) {
      return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
    };
    auto number = [&](StringRef name) {
      return cast<IntegerAttr>(schedule.get(name)).getInt();
    };
    tilePixels = pair("tile")[1];
    stripPixels = pair("strip")[1];
    panels = number("panels");
    unroll = number("unroll");
    columns = number("columns");
  }
};

mv::MatmulOp findAnchor(mv::KernelOp kernel) {
  for (Operation &op : kernel.getBlock())
    if (auto matmul = dyn_cast<mv::MatmulOp>(op))
      return matmul;
  return nullptr;
}

MemRefType bufferType(mv::KernelOp kernel, Value argument) {
  // Scalars have no buffer.
  int64_t position = 0;
  for (BlockArgument other : kernel.getBlock().getArguments()) {
    if (other == argument)
      break;
    position += isa<TensorType>(other.getType());
  }
  return cast<MemRefType>(
      cast<TypeAttr>((*kernel.getBuffers())[position]).getValue());
}

/// Whether the columns of the right-hand side are neighbours in memory.
bool readsInPlace(mv::KernelOp kernel) {
  mv::MatmulOp op = findAnchor(kernel);
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(
          bufferType(kernel, op.getRhs()).getStridesAndOffset(strides, offset)))
    return false;
  return strides[strides.size() - (op.getTransposeRhs() ? 2 : 1)] == 1;
}

/// Whether sums are longer than a chunk, or may be.
bool keepsSums(mv::KernelOp kernel) {
  if (readsInPlace(kernel))
    return false;
  int64_t reduction =
      cast<RankedTensorType>(findAnchor(kernel).getLhs().getType())
          .getShape()
          .back();
  return ShapedType::isDynamic(reduction) || reduction > kChunk;
}

int64_t matmulScratchBytes(mv::KernelOp kernel, const TargetInfo &target) {
  if (readsInPlace(kernel))
    return 0;
  MatmulSchedule schedule(kernel);
  int64_t bytes = kChunk * schedule.columns * 4;
  if (keepsSums(kernel))
    bytes += schedule.stripPixels * schedule.columns * 4;
  return bytes;
}

OpFoldResult matmulExtent(OpBuilder &builder, Location loc, mv::KernelOp kernel,
                          ValueRange inputs, ValueRange outs,
                          const TargetInfo &target) {
  mv::MatmulOp op = findAnchor(kernel);
  MatmulSchedule schedule(kernel);
  Value lhs = inputs[cast<BlockArgument>(op.getLhs()).getArgNumber()];
  Value rhs = inputs[cast<BlockArgument>(op.getRhs()).getArgNumber()];
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  int64_t rank = cast<MemRefType>(lhs.getType()).getRank();
  int64_t rhsRank = cast<MemRefType>(rhs.getType()).getRank();
  auto size = [&](Value value, int64_t dim) -> OpFoldResult {
    return memref::getMixedSize(builder, loc, value, dim);
  };
  OpFoldResult extent =
      apply(d0.ceilDiv(schedule.columns * schedule.panels),
            {size(rhs, rhsRank - (op.getTransposeRhs() ? 2 : 1))});
  for (int64_t d = 0; d < rank - 2; ++d)
    extent = apply(d0 * d1, {extent, size(lhs, d)});
  OpFoldResult strips =
      apply(d0.ceilDiv(schedule.stripPixels), {size(lhs, rank - 2)});
  return apply(d0 * d1, {extent, strips});
}

class MatmulEmitter {
public:
  MatmulEmitter(KernelEmitter &e, mv::MatmulOp op)
      : e(e), evaluator(e), writer(evaluator), op(op), schedule(e.kernel()),
        lhs(e.input(op.getLhs())), rhs(e.input(op.getRhs())),
        f32(e.builder().getF32Type()), lanes(e.target().lanes),
        inPlace(readsInPlace(e.kernel())), sums(keepsSums(e.kernel())) {
    int64_t rank = lhs.sizes.size(), rhsRank = rhs.sizes.size();
    batchRank = rank - 2;
    rows = e.materialize(lhs.sizes[rank - 2]);
    reduction = e.materialize(lhs.sizes[rank - 1]);
    rowStride = e.materialize(lhs.strides[rank - 2]);
    stepStride = e.materialize(lhs.strides[rank - 1]);
    int64_t columnDim = rhsRank - (op.getTransposeRhs() ? 2 : 1);
    int64_t stepDim = rhsRank - (op.getTransposeRhs() ? 1 : 2);
    columns = e.materialize(rhs.sizes[columnDim]);
    rhsColumnStride = e.materialize(rhs.strides[columnDim]);
    rhsStepStride = e.materialize(rhs.strides[stepDim]);
    rhsBatched = rhsRank > 2;
  }

  LogicalResult run() {
    SmallVector<OpFoldResult> extents(lhs.sizes.begin(),
                                      lhs.sizes.begin() + batchRank);
    extents.push_back(e.floorDiv(e.add(rows, schedule.stripPixels - 1),
                                 e.constant(schedule.stripPixels)));
    int64_t groupColumns = schedule.columns * schedule.panels;
    extents.push_back(
        e.floorDiv(e.add(columns, groupColumns - 1), e.constant(groupColumns)));
    Value extent = e.constant(1);
    for (OpFoldResult size : extents)
      extent = e.mul(extent, e.materialize(size));
    writer.fillBorders(extent);
    e.loop(e.begin(), e.end(), 1, [&](Value index) {
      SmallVector<Value> at = e.delinearize(index, extents);
      Value group = at.pop_back_val();
      Value strip = at.pop_back_val();
      image = at;
      Value lhsOffset = e.constant(0), rhsOffset = e.constant(0);
      for (int64_t d = 0; d < batchRank; ++d) {
        lhsOffset =
            e.add(lhsOffset, e.mul(image[d], e.materialize(lhs.strides[d])));
        if (rhsBatched)
          rhsOffset =
              e.add(rhsOffset, e.mul(image[d], e.materialize(rhs.strides[d])));
      }
      lhsMatrix = e.address(lhs.pointer, f32, lhsOffset);
      rhsMatrix = e.address(rhs.pointer, f32, rhsOffset);
      row = e.mul(strip, schedule.stripPixels);
      rowEnd = e.min(e.add(row, schedule.stripPixels), rows);
      Value column = e.mul(group, groupColumns);
      Value columnEnd = e.min(e.add(column, groupColumns), columns);
      panels(column, columnEnd);
    });
    return evaluator.result();
  }

private:
  /// Full panels, then what is left: with a static size as one narrower panel,
  /// otherwise vector by vector.
  void panels(Value column, Value columnEnd) {
    Value whole = e.add(column, e.mul(e.floorDiv(e.sub(columnEnd, column),
                                                 e.constant(schedule.columns)),
                                      schedule.columns));
    loopOrOnce(e, column, whole, schedule.columns, [&](Value first) {
      panel(first, schedule.columns / lanes, Value());
    });
    if (std::optional<int64_t> size = e.constantValue(columns)) {
      int64_t rest = *size % schedule.columns;
      if (rest)
        loopOrOnce(e, whole, columnEnd, rest, [&](Value first) {
          panel(first, llvm::divideCeil(rest, lanes),
                rest % lanes ? e.constant(rest % lanes) : Value());
        });
      return;
    }
    loopOrOnce(e, whole, columnEnd, lanes, [&](Value first) {
      panel(first, 1, e.min(e.sub(columnEnd, first), e.constant(lanes)));
    });
  }

  /// Columns [first, first + vectors * lanes) of the strip; `lastLanes` tells
  /// the lanes of the last vector that exist, null for all.
  void panel(Value first, int64_t vectors, Value lastLanes) {
    Value mask = lastLanes ? e.laneMask(lastLanes, lanes) : Value();
    if (inPlace) {
      ReductionNest nest = nestOf(reduction, rhsStepStride);
      Value weights = e.address(rhsMatrix, f32, first);
      forTiles([&](Value y, int64_t count) {
        SmallVector<Value> sum(count * vectors, e.zero(f32, lanes));
        sum = accumulate(y, count, vectors, e.constant(0), weights, nest, mask,
                         std::move(sum));
        write(y, count, first, vectors, mask, sum);
      });
      return;
    }
    int64_t width = vectors * lanes;
    if (!sums) {
      pack(first, vectors, e.constant(0), reduction, lastLanes);
      ReductionNest nest = nestOf(reduction, e.constant(width));
      forTiles([&](Value y, int64_t count) {
        SmallVector<Value> sum(count * vectors, e.zero(f32, lanes));
        sum = accumulate(y, count, vectors, e.constant(0), e.scratch(), nest,
                         Value(), std::move(sum));
        write(y, count, first, vectors, mask, sum);
      });
      return;
    }
    auto sumAt = [&](Value y, int64_t i, int64_t j) {
      Value offset = e.mul(e.add(e.sub(y, row), i), width);
      return e.address(e.scratch(), f32,
                       e.add(offset, kChunk * schedule.columns + j * lanes));
    };
    auto loadSums = [&](Value y, int64_t count) {
      SmallVector<Value> sum;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < vectors; ++j)
          sum.push_back(e.load(sumAt(y, i, j), f32, lanes));
      return sum;
    };
    auto storeSums = [&](Value y, int64_t count, ArrayRef<Value> sum) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < vectors; ++j)
          e.store(sum[i * vectors + j], sumAt(y, i, j), f32);
    };
    e.loop(row, rowEnd, 1, [&](Value y) {
      storeSums(y, 1, SmallVector<Value>(vectors, e.zero(f32, lanes)));
    });
    e.loop(e.constant(0), reduction, kChunk, [&](Value step) {
      Value steps = e.min(e.sub(reduction, step), e.constant(kChunk));
      pack(first, vectors, step, steps, lastLanes);
      ReductionNest nest = nestOf(steps, e.constant(width));
      forTiles([&](Value y, int64_t count) {
        storeSums(y, count,
                  accumulate(y, count, vectors, step, e.scratch(), nest,
                             Value(), loadSums(y, count)));
      });
    });
    e.loop(row, rowEnd, 1,
           [&](Value y) { write(y, 1, first, vectors, mask, loadSums(y, 1)); });
  }

  ReductionNest nestOf(Value steps, Value weightStride) {
    OpFoldResult trip = steps;
    if (std::optional<int64_t> known = e.constantValue(steps))
      trip = e.builder().getIndexAttr(*known);
    ReductionNest nest;
    nest.segments.push_back(
        {e.constant(0), e.constant(0), {{trip, stepStride, weightStride}}});
    return nest;
  }

  void forTiles(llvm::function_ref<void(Value, int64_t)> body) {
    forPieces(e, row, rowEnd, schedule.tilePixels, e.constantValue(rows), body);
  }

  SmallVector<Value> accumulate(Value y, int64_t count, int64_t vectors,
                                Value step, Value weights,
                                const ReductionNest &nest, Value mask,
                                SmallVector<Value> sum) {
    RegisterTile tile;
    tile.vectors = vectors;
    tile.unroll = schedule.unroll;
    tile.lastMask = mask;
    for (int64_t i = 0; i < count; ++i)
      tile.pixelOffsets.push_back(e.mul(rowStride, i));
    tile.panelOffsets.push_back(e.constant(0));
    Value offset = e.add(e.mul(y, rowStride), e.mul(step, stepStride));
    return tile.accumulate(e, e.address(lhsMatrix, f32, offset), weights, nest,
                           std::move(sum));
  }

  //===--------------------------------------------------------------------===//
  // Packing
  //===--------------------------------------------------------------------===//

  /// scratch[k][c] = rhs[step + k][first + c] for k < steps. Columns that do
  /// not exist repeat the last one that does.
  void pack(Value first, int64_t vectors, Value step, Value steps,
            Value lastLanes) {
    int64_t width = vectors * lanes;
    if (e.constantValue(rhsStepStride) != 1) {
      e.loop(e.constant(0), steps, 1, [&](Value k) {
        for (int64_t c = 0; c < width; ++c) {
          Value source =
              e.address(rhsMatrix, f32,
                        e.add(e.mul(e.add(step, k), rhsStepStride),
                              e.mul(columnAt(first, c, vectors, lastLanes),
                                    rhsColumnStride)));
          e.store(e.load(source, f32, 0),
                  e.address(e.scratch(), f32, e.add(e.mul(k, width), c)), f32);
        }
      });
      return;
    }
    for (int64_t j = 0; j < vectors; ++j) {
      SmallVector<Value> sources;
      for (int64_t c = 0; c < lanes; ++c)
        sources.push_back(e.address(
            rhsMatrix, f32,
            e.add(e.mul(columnAt(first, j * lanes + c, vectors, lastLanes),
                        rhsColumnStride),
                  step)));
      auto square = [&](Value k, Value count) {
        SmallVector<Value> square;
        for (Value source : sources) {
          Value pointer = e.address(source, f32, k);
          square.push_back(count ? e.loadPartial(pointer, f32, lanes, count)
                                 : e.load(pointer, f32, lanes));
        }
        e.transpose(square);
        for (int64_t i = 0; i < lanes; ++i)
          e.store(square[i],
                  e.address(e.scratch(), f32,
                            e.add(e.mul(e.add(k, i), width), j * lanes)),
                  f32);
      };
      Value whole = e.mul(e.floorDiv(steps, e.constant(lanes)), lanes);
      loopOrOnce(e, e.constant(0), whole, lanes,
                 [&](Value k) { square(k, Value()); });
      // The rest of the last square's rows is zero and never read.
      loopOrOnce(e, whole, steps, lanes,
                 [&](Value k) { square(k, e.sub(steps, k)); });
    }
  }

  Value columnAt(Value first, int64_t c, int64_t vectors, Value lastLanes) {
    int64_t lane = c - (vectors - 1) * lanes;
    if (!lastLanes || lane <= 0)
      return e.add(first, c);
    // first + the smaller of c and the last column that exists.
    return e.add(first, e.min(e.add(lastLanes, (vectors - 1) * lanes - 1),
                              e.constant(c)));
  }

  void write(Value y, int64_t count, Value first, int64_t vectors, Value mask,
             ArrayRef<Value> sum) {
    CoordinateMath math(e, lanes);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < vectors; ++j) {
        Point point;
        point.lanes = lanes;
        if (j + 1 == vectors)
          point.mask = mask;
        for (Value coordinate : image)
          point.at.push_back(math.of(coordinate));
        Coordinate at = math.of(y);
        at.offset += i;
        point.at.push_back(at);
        Coordinate column = math.of(first);
        column.offset += j * lanes;
        column.stride = 1;
        point.at.push_back(column);
        Value value = sum[i * vectors + j];
        evaluator.define(op.getResult(),
                         [value](const Point &) { return value; });
        writer.write(point);
      }
  }

  KernelEmitter &e;
  Evaluator evaluator;
  ResultWriter writer;
  mv::MatmulOp op;
  const MatmulSchedule schedule;
  const Buffer &lhs;
  const Buffer &rhs;
  const Type f32;
  const int64_t lanes;
  const bool inPlace, sums;
  int64_t batchRank;
  bool rhsBatched;
  Value rows, columns, reduction;
  Value rowStride, stepStride, rhsStepStride, rhsColumnStride;

  // Of the parallel index that is being emitted.
  SmallVector<Value> image;
  Value lhsMatrix, rhsMatrix, row, rowEnd;
};

} // namespace

const KernelFamily matmulFamily = {
    "matmul", matmulExtent, matmulScratchBytes,
    [](KernelEmitter &emitter) -> LogicalResult {
      return MatmulEmitter(emitter, findAnchor(emitter.kernel())).run();
    }};

} // namespace marver
