//===- AttentionTiles.cpp - Attention of many queries ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The queries of a block are packed transposed, so that the lanes of a score
// are queries: the softmax needs no reduction over lanes, and both products are
// the register tile of matrix products, with keys and values read where they
// are, an element at a time:
//
//   scores[key][query]    = sum over d of key[key][d] * queries[d][query]
//   results[column][query] += sum over keys of value[key][column]
//                                              * weights[key][query]
//
// Weights are relative to the largest score so far. The sums are rescaled when
// a score exceeds that by so much that weights would grow large, which after
// the first block is rare (each query decides by itself, so that its result
// does not depend on its neighbours).
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/AttentionTiles.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace marver;

/// A score may exceed the one that weights are relative to by this much: they
/// stay below e^8.
static constexpr double kMostExcess = 8;
/// Steps in a register tile's loop: with short loops, more of them are left
/// where the processor expects it (17.1 against 16.3 ms for 1500 x 1500 x 64 x
/// 6; measured on a Zen 5).
static constexpr int64_t kUnroll = 4;

AttentionEmitter::Tiles::Tiles(AttentionEmitter &a, Value firstQuery,
                               int64_t vectors)
    : a(a), e(a.e), b(a.b), shape(a.shape), lanes(a.lanes), vectors(vectors),
      stride(vectors * a.lanes), f32(a.f32), firstQuery(firstQuery) {
  int64_t used = 0;
  auto region = [&](int64_t elements) {
    Value start = a.at(e.scratch(), e.constant(used));
    used += elements;
    return start;
  };
  int64_t width = shape.paddedWidth();
  queries = region(shape.depth * stride);
  scores = region(std::max(kKeys, width) * stride);
  results = region(width * stride);
  largest = region(stride);
  found = region(stride);
  sums = region(stride);
  packedKeys = region(kKeys * shape.paddedDepth());
  packedValues = region(kKeys * width);
  assert(used <= shape.scratchElements());
}

void AttentionEmitter::Tiles::run() {
  packQueries();
  Value zero = e.zero(f32, lanes);
  e.loop(e.constant(0), e.constant(shape.width * stride), lanes,
         [&](Value i) { e.store(zero, a.at(results, i), f32); });
  forVectors([&](int64_t offset) {
    e.store(a.infinite(), a.at(largest, e.constant(offset)), f32);
    e.store(zero, a.at(sums, e.constant(offset)), f32);
  });
  // Up to whole tiles: keys beyond the visible ones are masked one by one.
  Value keys =
      a.visibleKeys(firstQuery, e.min(e.add(firstQuery, stride), a.queryCount));
  if (keys != a.keyCount)
    keys = e.min(
        e.mul(e.floorDiv(e.add(keys, shape.tile - 1), e.constant(shape.tile)),
              shape.tile),
        a.keyCount);
  int64_t step = kKeys / shape.tile * shape.tile;
  loopOrOnce(e, e.constant(0), keys, step, [&](Value firstKey) {
    Value count = e.min(e.sub(keys, firstKey), e.constant(step));
    score(firstKey, count);
    weigh(count);
    accumulate(firstKey, count);
  });
  store();
}

void AttentionEmitter::Tiles::forVectors(
    llvm::function_ref<void(int64_t)> body) {
  for (int64_t v = 0; v < vectors; ++v)
    body(v * lanes);
}

/// queries[d][q] = scale * query[firstQuery + q][d], the last query repeated
/// where there is none.
void AttentionEmitter::Tiles::packQueries() {
  std::optional<int64_t> known = e.constantValue(a.queryCount);
  bool isWhole = known && *known % stride == 0;
  Value last = e.add(a.queryCount, -1);
  Value scale = a.constant(a.op.getScale().convertToDouble(), lanes);
  auto square = [&](Value q, const Coordinate &column, Value d, int64_t count) {
    SmallVector<Value> rows;
    for (int64_t i = 0; i < lanes; ++i) {
      Value row = e.add(e.add(firstQuery, q), i);
      if (!isWhole)
        row = e.min(row, last);
      Value mask =
          count < lanes ? e.laneMask(e.constant(count), lanes) : Value();
      rows.push_back(
          a.elementOf(a.op.getQuery(), Coordinate(row), column, lanes, mask));
    }
    e.transpose(rows);
    for (int64_t i = 0; i < count; ++i)
      e.store(arith::MulFOp::create(b, rows[i], scale),
              a.at(queries, e.add(e.mul(e.add(d, i), stride), q)), f32);
  };
  int64_t whole = shape.depth / lanes * lanes;
  e.loop(e.constant(0), e.constant(stride), lanes, [&](Value q) {
    loopOrOnce(e, e.constant(0), e.constant(whole), lanes,
               [&](Value d) { square(q, Coordinate(d, lanes, 1), d, lanes); });
    if (whole < shape.depth) {
      Coordinate column(whole);
      column.stride = 1;
      square(q, column, e.constant(whole), shape.depth - whole);
    }
  });
}

/// Rows [first, first + count) of keys or values: where they are, or converted
/// to f32 in scratch memory.
AttentionEmitter::Tiles::Matrix AttentionEmitter::Tiles::matrix(Value tensor,
                                                                Value packed,
                                                                Value first,
                                                                Value count) {
  auto type = cast<RankedTensorType>(tensor.getType());
  std::optional<Buffer> buffer = a.evaluator.buffer(tensor);
  if (buffer && type.getElementType().isF32()) {
    SmallVector<Value> index(a.batchIndex);
    index.append({first, e.constant(0)});
    return {e.address(*buffer, index),
            e.materialize(buffer->strides[shape.rank - 2]),
            e.materialize(buffer->strides[shape.rank - 1])};
  }
  int64_t columns = type.getDimSize(shape.rank - 1);
  auto stride = int64_t(llvm::alignTo(uint64_t(columns), uint64_t(lanes)));
  e.loop(e.constant(0), count, 1, [&](Value row) {
    for (int64_t column = 0; column < columns; column += lanes) {
      Coordinate c(column);
      c.stride = 1;
      Value value = a.elementOf(tensor, Coordinate(e.add(first, row)), c, lanes,
                                a.tailMask(columns, column));
      e.store(value, a.at(packed, e.mul(row, stride), column), f32);
    }
  });
  return {packed, e.constant(stride), e.constant(1)};
}

RegisterTile AttentionEmitter::Tiles::tileOf(int64_t pixels, Value distance) {
  RegisterTile tile;
  tile.vectors = vectors;
  for (int64_t i = 0; i < pixels; ++i)
    tile.pixelOffsets.push_back(e.mul(distance, i));
  tile.panelOffsets.push_back(e.constant(0));
  tile.unroll = kUnroll;
  return tile;
}

/// Fills scores[0, count) and found, the largest of them.
void AttentionEmitter::Tiles::score(Value firstKey, Value count) {
  Matrix keys = matrix(a.op.getKey(), packedKeys, firstKey, count);
  forVectors([&](int64_t offset) {
    e.store(a.infinite(), a.at(found, e.constant(offset)), f32);
  });
  ReductionNest nest;
  nest.segments.push_back(
      {e.constant(0),
       e.constant(0),
       {{b.getIndexAttr(shape.depth), keys.columnStride, e.constant(stride)}}});
  forPieces(
      e, e.constant(0), count, shape.tile, e.constantValue(a.keyCount),
      [&](Value key, int64_t tileKeys) {
        RegisterTile tile = tileOf(tileKeys, keys.rowStride);
        SmallVector<Value> sums(tile.accumulators(), e.zero(f32, lanes));
        sums =
            tile.accumulate(e, a.at(keys.pointer, e.mul(key, keys.rowStride)),
                            queries, nest, std::move(sums));
        for (int64_t v = 0; v < vectors; ++v) {
          SmallVector<Value> column;
          for (int64_t k = 0; k < tileKeys; ++k) {
            column.push_back(sums[tile.position(0, k, v)]);
            e.store(column.back(),
                    a.at(scores, e.mul(key, stride), k * stride + v * lanes),
                    f32);
          }
          if (!a.isMasked())
            note(v * lanes, column);
        }
      });
  if (a.isMasked())
    mask(firstKey, count);
}

/// Takes scores into account in found. A score that is not a number is left
/// out here and shows in its weight.
void AttentionEmitter::Tiles::note(int64_t offset, ArrayRef<Value> values) {
  Value pointer = a.at(found, e.constant(offset));
  Value most = e.load(pointer, f32, lanes);
  for (Value value : values)
    most = arith::SelectOp::create(
        b, arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, value, most),
        value, most);
  e.store(most, pointer, f32);
}

void AttentionEmitter::Tiles::mask(Value firstKey, Value count) {
  std::optional<int64_t> known = e.constantValue(a.queryCount);
  bool isWhole = known && *known % stride == 0;
  CoordinateMath math(e, lanes);
  e.loop(e.constant(0), count, 1, [&](Value key) {
    forVectors([&](int64_t offset) {
      Coordinate query(firstQuery, lanes, 1);
      query.offset = offset;
      if (a.op.getMask() && !isWhole) {
        // Lanes without a query repeat the last one.
        Coordinate clamped;
        clamped.lanes = arith::MinSIOp::create(
            b, math.vector(query), e.splat(e.add(a.queryCount, -1), lanes));
        query = clamped;
      }
      Value pointer = a.at(scores, e.mul(key, stride), offset);
      Value score = a.masked(e.load(pointer, f32, lanes), query,
                             Coordinate(e.add(firstKey, key)));
      e.store(score, pointer, f32);
      note(offset, score);
    });
  });
}

/// Turns scores into weights and adds these to the sums; moves what weights are
/// relative to where scores have outgrown it.
void AttentionEmitter::Tiles::weigh(Value count) {
  SmallVector<Value> grows;
  Value grown;
  forVectors([&](int64_t offset) {
    Value before = e.load(a.at(largest, e.constant(offset)), f32, lanes);
    Value most =
        arith::AddFOp::create(b, before, a.constant(kMostExcess, lanes));
    grows.push_back(arith::CmpFOp::create(
        b, arith::CmpFPredicate::OGT,
        e.load(a.at(found, e.constant(offset)), f32, lanes), most));
    grown = grown ? Value(arith::OrIOp::create(b, grown, grows.back()))
                  : grows.back();
  });
  e.ifThen(e.anyLane(grown), [&] {
    SmallVector<Value> factors;
    forVectors([&](int64_t offset) {
      Value pointer = a.at(largest, e.constant(offset));
      Value before = e.load(pointer, f32, lanes);
      Value next = arith::SelectOp::create(
          b, grows[offset / lanes],
          e.load(a.at(found, e.constant(offset)), f32, lanes), before);
      e.store(next, pointer, f32);
      Value factor =
          emitWeight(b, arith::SubFOp::create(b, before, a.shiftOf(next)),
                     hasTables(e.target()));
      factors.push_back(factor);
      rescale(a.at(sums, e.constant(offset)), factor);
    });
    e.loop(e.constant(0), e.constant(shape.width * stride), stride,
           [&](Value i) {
             forVectors([&](int64_t offset) {
               rescale(a.at(results, i, offset), factors[offset / lanes]);
             });
           });
  });
  SmallVector<Value> shifts, totals;
  forVectors([&](int64_t offset) {
    shifts.push_back(
        a.shiftOf(e.load(a.at(largest, e.constant(offset)), f32, lanes)));
    totals.push_back(e.load(a.at(sums, e.constant(offset)), f32, lanes));
  });
  totals =
      e.loop(e.constant(0), count, 1, totals,
             [&](Value key, ValueRange partial) -> SmallVector<Value> {
               SmallVector<Value> next;
               forVectors([&](int64_t offset) {
                 Value pointer = a.at(scores, e.mul(key, stride), offset);
                 Value x = e.load(pointer, f32, lanes);
                 Value weight = emitWeight(
                     b, arith::SubFOp::create(b, x, shifts[offset / lanes]),
                     hasTables(e.target()));
                 e.store(weight, pointer, f32);
                 next.push_back(
                     arith::AddFOp::create(b, partial[offset / lanes], weight));
               });
               return next;
             });
  forVectors([&](int64_t offset) {
    e.store(totals[offset / lanes], a.at(sums, e.constant(offset)), f32);
  });
}

void AttentionEmitter::Tiles::rescale(Value pointer, Value factor) {
  e.store(arith::MulFOp::create(b, e.load(pointer, f32, lanes), factor),
          pointer, f32);
}

/// results += value^T weights, for keys [firstKey, firstKey + count).
void AttentionEmitter::Tiles::accumulate(Value firstKey, Value count) {
  Matrix values = matrix(a.op.getValue(), packedValues, firstKey, count);
  ReductionNest nest;
  OpFoldResult trip = count;
  if (std::optional<int64_t> known = e.constantValue(count))
    trip = b.getIndexAttr(*known);
  nest.segments.push_back({e.constant(0),
                           e.constant(0),
                           {{trip, values.rowStride, e.constant(stride)}}});
  forPieces(
      e, e.constant(0), e.constant(shape.width), shape.tile, shape.width,
      [&](Value column, int64_t columns) {
        RegisterTile tile = tileOf(columns, values.columnStride);
        auto resultAt = [&](int64_t c, int64_t v) {
          return a.at(results, e.mul(column, stride), c * stride + v * lanes);
        };
        SmallVector<Value> sums(tile.accumulators());
        for (int64_t c = 0; c < columns; ++c)
          for (int64_t v = 0; v < vectors; ++v)
            sums[tile.position(0, c, v)] = e.load(resultAt(c, v), f32, lanes);
        sums = tile.accumulate(
            e, a.at(values.pointer, e.mul(column, values.columnStride)), scores,
            nest, std::move(sums));
        for (int64_t c = 0; c < columns; ++c)
          for (int64_t v = 0; v < vectors; ++v)
            e.store(sums[tile.position(0, c, v)], resultAt(c, v), f32);
      });
}

/// Divides by the sums and stores the queries that exist, row by row.
void AttentionEmitter::Tiles::store() {
  int64_t width = shape.paddedWidth();
  forVectors([&](int64_t offset) {
    Value sum = e.load(a.at(sums, e.constant(offset)), f32, lanes);
    e.store(a.reciprocal(sum), a.at(found, e.constant(offset)), f32);
  });
  e.loop(e.constant(0), e.constant(stride), lanes, [&](Value q) {
    Value factor = e.load(a.at(found, q), f32, lanes);
    e.loop(e.constant(0), e.constant(width), lanes, [&](Value column) {
      SmallVector<Value> rows;
      for (int64_t i = 0; i < lanes; ++i)
        rows.push_back(arith::MulFOp::create(
            b,
            e.load(a.at(results, e.add(e.mul(e.add(column, i), stride), q)),
                   f32, lanes),
            factor));
      e.transpose(rows);
      for (int64_t i = 0; i < lanes; ++i)
        e.store(rows[i], a.at(scores, e.add(e.mul(e.add(q, i), width), column)),
                f32);
    });
  });
  Value count = e.min(e.sub(a.queryCount, firstQuery), e.constant(stride));
  e.loop(e.constant(0), count, 1, [&](Value row) {
    Coordinate query(e.add(firstQuery, row));
    for (int64_t column = 0; column < shape.width; column += lanes)
      a.write(query, column,
              e.load(a.at(scores, e.mul(row, width), column), f32, lanes));
  });
}
