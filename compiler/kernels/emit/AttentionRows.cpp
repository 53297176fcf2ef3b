//===- AttentionRows.cpp - Attention of a few queries ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Decoding a token reads all keys and values for a handful of products with
// each, so all queries are done in one pass over them, and while the keys of a
// block are used its values are fetched, then the next block's keys: one core
// reaches the memory's bandwidth only with several streams.
//
// Scores are products along D, reduced over lanes sixteen (as many as lanes) at
// once; the queries of one key lie next to each other in a vector of scores.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/AttentionRows.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "compiler/kernels/emit/RegisterTile.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace marver;

AttentionEmitter::Rows::Rows(AttentionEmitter &a, int64_t most)
    : a(a), e(a.e), b(a.b), shape(a.shape), lanes(a.lanes), most(most),
      group(int64_t(llvm::PowerOf2Ceil(uint64_t(most)))), f32(a.f32) {
  scores = e.scratch();
  results = a.at(scores, e.constant(kKeys * group + lanes));
  Value last = e.add(a.queryCount, -1);
  for (int64_t q = 0; q < most; ++q)
    rows.push_back(e.constantValue(last) ? e.constant(q)
                                         : e.min(e.constant(q), last));
}

void AttentionEmitter::Rows::run() {
  Value scale = a.constant(a.op.getScale().convertToDouble(), lanes);
  for (Value row : rows) {
    SmallVector<Value> &vectors = queries.emplace_back();
    for (int64_t d = 0; d < shape.depth; d += lanes)
      vectors.push_back(arith::MulFOp::create(
          b, vectorOf(a.op.getQuery(), Coordinate(row), d, shape.depth),
          scale));
  }
  Value zero = e.zero(f32, lanes);
  e.loop(e.constant(0), e.constant(most * shape.paddedWidth()), lanes,
         [&](Value i) { e.store(zero, a.at(results, i), f32); });
  Value keys = a.visibleKeys(e.constant(0), a.queryCount);
  lastKey = e.add(keys, -1);

  // Carried: the largest score so far of each lane's query, and sums of weights
  // lane by lane.
  SmallVector<Value> state =
      e.loop(e.constant(0), keys, kKeys, {a.infinite(), zero},
             [&](Value firstKey, ValueRange carried) -> SmallVector<Value> {
               Value count = e.min(e.sub(keys, firstKey), e.constant(kKeys));
               Value largest = larger(carried[0], score(firstKey, count));
               Value shift = a.shiftOf(largest);
               Value factor =
                   emitWeight(b, arith::SubFOp::create(b, carried[0], shift),
                              hasTables(e.target()));
               Value sum = weigh(count, shift,
                                 arith::MulFOp::create(b, carried[1], factor));
               accumulate(firstKey, count, factor);
               return {largest, sum};
             });

  Value total = overKeys(state[1], [&](Value x, Value y) -> Value {
    return arith::AddFOp::create(b, x, y);
  });
  Value factor = a.reciprocal(total);
  for (int64_t q = 0; q < most; ++q) {
    auto store = [&] {
      for (int64_t column = 0; column < shape.width; column += lanes) {
        Value sum = e.load(resultOf(q, e.constant(column)), f32, lanes);
        a.write(Coordinate(rows[q]), column,
                arith::MulFOp::create(b, sum, ofQuery(factor, q)));
      }
    };
    if (q == 0 || e.constantValue(a.queryCount))
      store();
    else
      e.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, a.queryCount,
                                     e.constant(q)),
               store);
  }
}

Value AttentionEmitter::Rows::vectorOf(Value tensor, const Coordinate &row,
                                       int64_t column, int64_t size) {
  Coordinate c(column);
  c.stride = 1;
  return a.elementOf(tensor, row, c, lanes, a.tailMask(size, column));
}

Value AttentionEmitter::Rows::resultOf(int64_t query, Value column) {
  return a.at(results, column, query * shape.paddedWidth());
}

/// x, or y where x is not larger (or not a number).
Value AttentionEmitter::Rows::larger(Value x, Value y) {
  return arith::SelectOp::create(
      b, arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y), x, y);
}

/// Combines the lanes of each query; all of its lanes are the result.
Value AttentionEmitter::Rows::overKeys(
    Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t half = lanes / 2; half >= group; half /= 2) {
    SmallVector<int64_t> other;
    for (int64_t lane = 0; lane < lanes; ++lane)
      other.push_back(lane ^ half);
    vector =
        combine(vector, vector::ShuffleOp::create(b, vector, vector, other));
  }
  return vector;
}

Value AttentionEmitter::Rows::ofQuery(Value vector, int64_t query) {
  return e.splat(vector::ExtractOp::create(b, vector, query), lanes);
}

/// The sums of the lanes of each of `vectors` (as many as lanes), as one
/// vector.
static Value sumLanes(ImplicitLocOpBuilder &b, SmallVector<Value> vectors) {
  auto lanes = int64_t(vectors.size());
  // Each round adds halves: two vectors become one that holds both.
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t start = 0; start < lanes; start += 2 * half)
      for (int64_t source : {int64_t(0), lanes})
        for (int64_t i = 0; i < half; ++i) {
          low.push_back(source + start + i);
          high.push_back(source + start + half + i);
        }
    SmallVector<Value> next;
    auto count = int64_t(vectors.size());
    for (int64_t v = 0; v < count / 2; ++v) {
      Value x = vectors[v], y = vectors[v + count / 2];
      next.push_back(
          arith::AddFOp::create(b, vector::ShuffleOp::create(b, x, y, low),
                                vector::ShuffleOp::create(b, x, y, high)));
    }
    vectors = std::move(next);
  }
  return vectors[0];
}

/// Scores of the keys of one vector, from `firstKey` on; keys that do not exist
/// repeat the last one unless `isWhole`.
Value AttentionEmitter::Rows::products(Value firstKey, bool isWhole) {
  SmallVector<Value> sums;
  for (int64_t k = 0; k < lanes / group; ++k) {
    Value key = e.add(firstKey, k);
    Coordinate row(isWhole ? key : e.min(key, lastKey));
    SmallVector<Value> totals(group, e.zero(f32, lanes));
    for (int64_t d = 0; d < shape.depth; d += lanes) {
      Value vector = vectorOf(a.op.getKey(), row, d, shape.depth);
      for (int64_t q = 0; q < most; ++q)
        totals[q] = e.fma(queries[q][d / lanes], vector, totals[q]);
    }
    sums.append(totals);
  }
  return sumLanes(b, std::move(sums));
}

Value AttentionEmitter::Rows::mask(Value score, Value firstKey, Value exists) {
  if (!a.isMasked())
    return score;
  if (group == 1)
    return a.masked(score, Coordinate(rows[0]), Coordinate(firstKey, 1, 1),
                    exists);
  Value numbers = e.laneNumbers(lanes);
  auto number = [&](int64_t value) {
    return e.splat(e.constant(value), lanes);
  };
  Coordinate query, key;
  query.lanes = arith::MinSIOp::create(
      b, arith::AndIOp::create(b, numbers, number(group - 1)),
      e.splat(e.add(a.queryCount, -1), lanes));
  key.lanes = arith::AddIOp::create(
      b,
      arith::ShRUIOp::create(b, numbers,
                             number(llvm::Log2_64(uint64_t(group)))),
      e.splat(firstKey, lanes));
  return a.masked(score, query, key, exists);
}

/// Fills scores[0, count); the largest of each query in all of its lanes.
Value AttentionEmitter::Rows::score(Value firstKey, Value count) {
  int64_t step = lanes / group;
  auto scoreAt = [&](Value key) { return a.at(scores, e.mul(key, group)); };
  Value whole = e.mul(e.floorDiv(count, e.constant(step)), step);
  SmallVector<Value> largest =
      e.loop(e.constant(0), whole, step, ValueRange(a.infinite()),
             [&](Value key, ValueRange found) -> SmallVector<Value> {
               Value first = e.add(firstKey, key);
               for (int64_t k = 0; k < step; ++k)
                 prefetchRow(a.op.getValue(), e.add(first, k));
               Value score = mask(products(first, true), first, nullptr);
               e.store(score, scoreAt(key), f32);
               return {larger(score, found[0])};
             });
  Value rest = e.sub(count, whole);
  Value found = e.ifThenElse(
      arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, rest, e.constant(0)),
      largest[0].getType(),
      [&]() -> Value {
        Value first = e.add(firstKey, whole);
        Value exists = e.laneMask(e.mul(rest, group), lanes);
        Value score = mask(products(first, false), first, exists);
        score = a.evaluator.laneSelect(exists, score, a.infinite());
        e.store(score, scoreAt(whole), f32);
        return larger(score, largest[0]);
      },
      [&] { return largest[0]; });
  return overKeys(found, [&](Value x, Value y) { return larger(x, y); });
}

/// Turns scores into weights; their sums lane by lane, on top of `sum`.
Value AttentionEmitter::Rows::weigh(Value count, Value shift, Value sum) {
  // -inf of the keys that do not exist becomes 0.
  return e.loop(e.constant(0), e.mul(count, group), lanes, ValueRange(sum),
                [&](Value i, ValueRange partial) -> SmallVector<Value> {
                  Value x = e.load(a.at(scores, i), f32, lanes);
                  Value weight =
                      emitWeight(b, arith::SubFOp::create(b, x, shift),
                                 hasTables(e.target()));
                  e.store(weight, a.at(scores, i), f32);
                  return {arith::AddFOp::create(b, partial[0], weight)};
                })[0];
}

/// results = results * factor + weights * values.
void AttentionEmitter::Rows::accumulate(Value firstKey, Value count,
                                        Value factor) {
  int64_t vectors = shape.paddedWidth() / lanes;
  int64_t most = std::clamp<int64_t>(
      (e.target().vectorRegisters - 2) / (this->most + 1), 1, vectors);
  for (int64_t start = 0; start < vectors; start += most) {
    int64_t some = std::min(most, vectors - start);
    auto resultAt = [&](int64_t q, int64_t v) {
      return resultOf(q, e.constant((start + v) * lanes));
    };
    SmallVector<Value> sums;
    for (int64_t q = 0; q < this->most; ++q)
      for (int64_t v = 0; v < some; ++v)
        sums.push_back(arith::MulFOp::create(
            b, e.load(resultAt(q, v), f32, lanes), ofQuery(factor, q)));
    sums = e.loop(
        e.constant(0), count, 1, sums,
        [&](Value k, ValueRange carried) -> SmallVector<Value> {
          Value key = e.add(firstKey, k);
          if (start == 0)
            prefetchRow(a.op.getKey(), e.add(key, kKeys));
          SmallVector<Value> values, next;
          for (int64_t v = 0; v < some; ++v)
            values.push_back(vectorOf(a.op.getValue(), Coordinate(key),
                                      (start + v) * lanes, shape.width));
          for (int64_t q = 0; q < this->most; ++q) {
            Value weight = e.splat(
                e.load(a.at(scores, e.mul(k, group), q), f32, 0), lanes);
            for (int64_t v = 0; v < some; ++v)
              next.push_back(e.fma(weight, values[v], carried[q * some + v]));
          }
          return next;
        });
    for (int64_t q = 0; q < this->most; ++q)
      for (int64_t v = 0; v < some; ++v)
        e.store(sums[q * some + v], resultAt(q, v), f32);
  }
}

/// Asks for a row of keys or values, which may lie beyond the last one.
void AttentionEmitter::Rows::prefetchRow(Value tensor, Value row) {
  std::optional<Buffer> buffer = a.evaluator.buffer(tensor);
  if (!buffer || getConstantIntValue(buffer->strides.back()) != 1)
    return;
  SmallVector<Value> index(a.batchIndex);
  index.append({row, e.constant(0)});
  Value pointer = e.address(*buffer, index);
  constexpr int64_t kLineBytes = 64;
  int64_t size = cast<RankedTensorType>(tensor.getType()).getShape().back();
  int64_t bytes = buffer->elementType.getIntOrFloatBitWidth() / 8;
  for (int64_t i = 0; i < size; i += kLineBytes / bytes)
    e.prefetch(e.address(pointer, buffer->elementType, e.constant(i)),
               /*write=*/false, /*locality=*/3);
}
