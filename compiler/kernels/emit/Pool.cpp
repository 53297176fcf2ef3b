//===- Pool.cpp - Maximum and average over windows of blocked tensors -----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.pool on blocked tensors, in two passes over each row of outputs, so that a
// K x K window costs 2 K steps and not K * K: first the window's rows (and
// outer dims) are joined for every column of a chunk into scratch memory,
// padding included as the neutral element; then the columns of each window are
// joined from there.
//
// RowStrips.h says what a parallel index is.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/kernels/emit/ResultWriter.h"
#include "compiler/kernels/emit/RowStrips.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <limits>

using namespace mlir;

namespace marver {
namespace {

struct PoolSchedule {
  int64_t tilePixels, stripRows, chunk;

  explicit PoolSchedule(mv::KernelOp kernel) {
    DictionaryAttr schedule = kernel.getSchedule();
    auto pair = [&](StringRef name) {
      return cast<DenseI64ArrayAttr>(schedule.get(name)).asArrayRef();
    };
    tilePixels = pair("tile")[1];
    stripRows = pair("strip")[0];
    chunk = pair("strip")[1];
  }
};

mv::PoolOp findAnchor(mv::KernelOp kernel) {
  return *kernel.getBlock().getOps<mv::PoolOp>().begin();
}

/// Columns of the input that a chunk of outputs needs.
int64_t chunkColumns(mv::PoolOp pool, const PoolSchedule &schedule) {
  return (schedule.chunk - 1) * pool.getStrides().back() +
         (pool.getWindow().back() - 1) * pool.getDilations().back() + 1;
}

OpFoldResult poolExtent(OpBuilder &builder, Location loc, mv::KernelOp kernel,
                        ValueRange inputs, ValueRange outs,
                        const TargetInfo &target) {
  mv::PoolOp pool = findAnchor(kernel);
  Value input = inputs[cast<BlockArgument>(pool.getInput()).getArgNumber()];
  return rowStripsExtent(builder, loc, input,
                         {pool.getWindow(), pool.getStrides(),
                          pool.getDilations(), pool.getPads()},
                         PoolSchedule(kernel).stripRows);
}

int64_t poolScratchBytes(mv::KernelOp kernel, const TargetInfo &target) {
  return chunkColumns(findAnchor(kernel), PoolSchedule(kernel)) * target.lanes *
         4;
}

class PoolEmitter {
public:
  PoolEmitter(KernelEmitter &e, mv::PoolOp pool)
      : e(e), evaluator(e), writer(evaluator), pool(pool), schedule(e.kernel()),
        input(e.input(pool.getInput())), f32(e.builder().getF32Type()),
        lanes(e.target().lanes), spatial(pool.getWindow().size()),
        isMax(pool.getKind() == mv::PoolKind::Max),
        strips(e, evaluator.dims(pool.getResult()), schedule.stripRows) {
    double start = isMax ? -std::numeric_limits<double>::infinity() : 0.0;
    ImplicitLocOpBuilder &b = e.builder();
    neutral =
        e.splat(arith::ConstantOp::create(b, b.getF32FloatAttr(start)), lanes);
  }

  LogicalResult run() {
    writer.fillBorders(strips.extent());
    strips.forEach([&](const RowStrips::Strip &current) {
      strip = current;
      blockPointer = e.address(
          input.pointer, f32,
          e.add(e.mul(strip.image[0], e.materialize(input.strides[0])),
                e.mul(strip.block, e.materialize(input.strides[1]))));
      e.loop(strip.row, strip.rowEnd, 1, [&](Value y) {
        e.loop(e.constant(0), strips.width, schedule.chunk, [&](Value x) {
          chunk(y, x, e.min(e.add(x, schedule.chunk), strips.width));
        });
      });
    });
    return evaluator.result();
  }

private:
  Value ceilDiv(Value a, int64_t c) {
    return e.floorDiv(e.add(a, c - 1), e.constant(c));
  }

  /// Taps [first, second) of dim `d` that meet the input, for output `at`.
  std::pair<Value, Value> validTaps(int64_t d, Value at) {
    int64_t dilation = pool.getDilations()[d], window = pool.getWindow()[d];
    // Position of tap 0, and how far the input reaches beyond it.
    Value start = e.add(e.mul(at, pool.getStrides()[d]), -pool.getPads()[d]);
    Value left = e.sub(e.materialize(input.sizes[2 + d]), start);
    Value zero = e.constant(0);
    Value low = ceilDiv(e.max(e.sub(zero, start), zero), dilation);
    Value high =
        e.min(ceilDiv(e.max(left, zero), dilation), e.constant(window));
    return {low, e.max(low, high)};
  }

  Value join(Value a, Value x) {
    ImplicitLocOpBuilder &b = e.builder();
    if (!isMax)
      return arith::AddFOp::create(b, a, x);
    // One vmaxps, which lets a NaN of `a` through, and a select for one of `x`.
    Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, a);
    Value larger = arith::SelectOp::create(b, greater, x, a);
    Value nan = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
    return arith::SelectOp::create(b, nan, x, larger);
  }

  /// Outputs [x, xEnd) of row y.
  void chunk(Value y, Value x, Value xEnd) {
    // Scratch column c is column first + c of the input.
    Value first = e.add(e.mul(x, pool.getStrides()[spatial - 1]),
                        -pool.getPads()[spatial - 1]);
    int64_t reach =
        (pool.getWindow().back() - 1) * pool.getDilations().back() + 1;
    Value columns = e.add(
        e.mul(e.add(e.sub(xEnd, x), -1), pool.getStrides().back()), reach);
    Value inputWidth = e.materialize(input.sizes[spatial + 1]);
    Value zero = e.constant(0);
    Value low = e.min(e.max(e.sub(zero, first), zero), columns);
    Value high =
        e.max(e.min(e.max(e.sub(inputWidth, first), zero), columns), low);
    fill(zero, low);
    joinRows(y, first, low, high);
    fill(high, columns);
    forPieces(
        e, x, xEnd, schedule.tilePixels, std::nullopt,
        [&](Value pixel, int64_t length) { joinColumns(y, x, pixel, length); });
  }

  Value scratchAt(Value column) {
    return e.address(e.scratch(), f32, e.mul(column, lanes));
  }

  void fill(Value from, Value to) {
    e.loop(from, to, 1,
           [&](Value column) { e.store(neutral, scratchAt(column), f32); });
  }

  /// Joins all taps but the last dim's, for scratch columns [low, high).
  void joinRows(Value y, Value first, Value low, Value high) {
    Value pixelStride = e.materialize(input.strides[spatial + 1]);
    // Written out as a range per outer dim; without any it is a copy.
    SmallVector<std::pair<Value, Value>> ranges;
    Value origin = e.mul(first, pixelStride);
    SmallVector<Value> strides;
    for (int64_t d = 0; d < spatial - 1; ++d) {
      Value at = d + 2 == spatial ? y : strip.image[1 + d];
      ranges.push_back(validTaps(d, at));
      Value stride = e.materialize(input.strides[2 + d]);
      origin = e.add(origin, e.mul(e.add(e.mul(at, pool.getStrides()[d]),
                                         -pool.getPads()[d]),
                                   stride));
      strides.push_back(e.mul(stride, pool.getDilations()[d]));
    }
    auto columns = [&](Value column, int64_t count) {
      Value base = e.add(origin, e.mul(column, pixelStride));
      std::function<SmallVector<Value>(size_t, Value, SmallVector<Value>)>
          overTaps = [&](size_t d, Value offset, SmallVector<Value> state) {
            if (d == ranges.size()) {
              Value pointer = e.address(blockPointer, f32, offset);
              for (int64_t c = 0; c < count; ++c) {
                Value value = e.load(
                    e.address(pointer, f32, e.mul(pixelStride, c)), f32, lanes);
                state[c] = join(state[c], value);
              }
              return state;
            }
            return e.loop(ranges[d].first, ranges[d].second, 1, state,
                          [&](Value tap, ValueRange carried) {
                            return overTaps(
                                d + 1, e.add(offset, e.mul(tap, strides[d])),
                                SmallVector<Value>(carried));
                          });
          };
      SmallVector<Value> joined =
          overTaps(0, base, SmallVector<Value>(count, neutral));
      for (int64_t c = 0; c < count; ++c)
        e.store(joined[c], scratchAt(e.add(column, c)), f32);
    };
    forPieces(e, low, high, 4, std::nullopt, columns);
  }

  /// Outputs [pixel, pixel + length) of the chunk that starts at output x.
  void joinColumns(Value y, Value x, Value pixel, int64_t length) {
    int64_t stride = pool.getStrides().back();
    int64_t dilation = pool.getDilations().back();
    int64_t window = pool.getWindow().back();
    Value base = scratchAt(e.mul(e.sub(pixel, x), stride));
    auto tap = [&](Value k, SmallVector<Value> state) {
      Value pointer = e.address(base, f32, e.mul(e.mul(k, dilation), lanes));
      for (int64_t i = 0; i < length; ++i)
        state[i] =
            join(state[i],
                 e.load(e.address(pointer, f32, e.constant(i * stride * lanes)),
                        f32, lanes));
      return state;
    };
    SmallVector<Value> state(length, neutral);
    if (window * length <= 32)
      for (int64_t k = 0; k < window; ++k)
        state = tap(e.constant(k), std::move(state));
    else
      state = e.loop(e.constant(0), e.constant(window), 1, state,
                     [&](Value k, ValueRange carried) {
                       return tap(k, SmallVector<Value>(carried));
                     });
    for (int64_t i = 0; i < length; ++i)
      write(y, pixel, i, isMax ? state[i] : average(y, pixel, i, state[i]));
  }

  /// Sum divided by the number of values that count.
  Value average(Value y, Value pixel, int64_t i, Value sum) {
    ImplicitLocOpBuilder &b = e.builder();
    bool padded = llvm::any_of(pool.getPads(), [](int64_t p) { return p; });
    Value count = e.constant(1);
    for (int64_t d = 0; d < spatial; ++d) {
      if (pool.getCountIncludePad() || !padded) {
        count = e.mul(count, pool.getWindow()[d]);
        continue;
      }
      Value at = d + 1 == spatial   ? e.add(pixel, i)
                 : d + 2 == spatial ? y
                                    : strip.image[1 + d];
      auto [low, high] = validTaps(d, at);
      count = e.mul(count, e.sub(high, low));
    }
    Value divisor;
    if (std::optional<int64_t> known = e.constantValue(count))
      divisor = arith::ConstantOp::create(b, b.getF32FloatAttr(float(*known)));
    else
      divisor = arith::SIToFPOp::create(b, f32, count);
    return arith::DivFOp::create(b, sum, e.splat(divisor, lanes));
  }

  void write(Value y, Value pixel, int64_t i, Value value) {
    CoordinateMath math(e, lanes);
    Coordinate column = math.of(pixel);
    column.offset += i;
    evaluator.define(pool.getResult(),
                     [value](const Point &) { return value; });
    writer.write(strips.pointAt(strip, math.of(y), column));
  }

  KernelEmitter &e;
  Evaluator evaluator;
  ResultWriter writer;
  mv::PoolOp pool;
  const PoolSchedule schedule;
  const Buffer &input;
  const Type f32;
  const int64_t lanes;
  const int64_t spatial;
  const bool isMax;
  RowStrips strips;
  Value neutral;

  // Of the parallel index that is being emitted.
  RowStrips::Strip strip;
  Value blockPointer;
};

} // namespace

const KernelFamily poolFamily = {
    "pool", poolExtent, poolScratchBytes,
    [](KernelEmitter &emitter) -> LogicalResult {
      return PoolEmitter(emitter, findAnchor(emitter.kernel())).run();
    }};

} // namespace marver
