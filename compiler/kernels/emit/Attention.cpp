//===- Attention.cpp - Softmax of scores, times values --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A parallel index is one block of queries of one batch. Its queries are packed
// transposed, so that the lanes of a score are queries: keys are read where
// they are, an element at a time, and the softmax needs no reduction over
// lanes. Keys are gone through in blocks; maximum and sum follow them, and the
// results so far are rescaled when the maximum grows.
//
//   scratch: queries  D x R        scores  kKeys x R
//            results  R x E        factors R
//
// Few queries (decoding a token) would leave most lanes empty: they are done
// one at a time, with lanes along D for the scores and along E for the result.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "compiler/kernels/emit/ResultWriter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace marver;

/// Keys of a block: its scores and values stay in the caches.
constexpr int64_t kKeys = 128;
/// Up to this many queries are done one at a time.
constexpr int64_t kFewQueries = 4;

namespace {

/// What is known of a kernel before it is emitted.
struct Shape {
  mv::AttentionOp op;
  int64_t rank = 0;
  int64_t depth = 0;   ///< D, static
  int64_t width = 0;   ///< E, static
  int64_t vectors = 2; ///< of queries in a block
  int64_t rows(const TargetInfo &target) const {
    return vectors * target.lanes;
  }
};

} // namespace

static RankedTensorType typeOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType());
}

/// Null where the emitter below does not apply and the evaluator computes it.
static std::optional<Shape> matchAttention(mv::KernelOp kernel,
                                           const TargetInfo &target) {
  Shape shape;
  for (Operation &op : kernel.getBlock())
    if (auto attention = dyn_cast<mv::AttentionOp>(op)) {
      if (shape.op)
        return std::nullopt;
      shape.op = attention;
    }
  if (!shape.op)
    return std::nullopt;
  RankedTensorType query = typeOf(shape.op.getQuery());
  shape.rank = query.getRank();
  shape.depth = query.getDimSize(shape.rank - 1);
  shape.width = typeOf(shape.op.getValue()).getDimSize(shape.rank - 1);
  if (ShapedType::isDynamic(shape.depth) || ShapedType::isDynamic(shape.width))
    return std::nullopt;
  if (shape.depth == 0 || shape.width == 0 || shape.depth > 1024 ||
      shape.width > 1024)
    return std::nullopt;
  if (query.getElementType().isF64() || !isa<FloatType>(query.getElementType()))
    return std::nullopt;
  // The host computes the extent from the queries.
  if (!query.hasStaticShape() && !isa<BlockArgument>(shape.op.getQuery()))
    return std::nullopt;
  for (Value result : kernel.getTerminator()->getOperands())
    if (typeOf(storedSource(result)).getShape() !=
        typeOf(shape.op.getResult()).getShape())
      return std::nullopt;
  int64_t queries = query.getDimSize(shape.rank - 2);
  if (!ShapedType::isDynamic(queries) && queries <= target.lanes)
    shape.vectors = 1;
  return shape;
}

static OpFoldResult attentionExtent(OpBuilder &builder, Location loc,
                                    mv::KernelOp kernel, ValueRange inputs,
                                    ValueRange outs, const TargetInfo &target) {
  std::optional<Shape> shape = matchAttention(kernel, target);
  if (!shape)
    return pointwiseFamily.extent(builder, loc, kernel, inputs, outs, target);
  RankedTensorType query = typeOf(shape->op.getQuery());
  int64_t rows = shape->rows(target);
  if (query.hasStaticShape()) {
    int64_t extent = llvm::divideCeil(query.getDimSize(shape->rank - 2), rows);
    for (int64_t size : query.getShape().drop_back(2))
      extent *= size;
    return builder.getIndexAttr(extent);
  }
  Value memory =
      inputs[cast<BlockArgument>(shape->op.getQuery()).getArgNumber()];
  Value extent;
  for (int64_t d = 0; d < shape->rank - 1; ++d) {
    Value size = memref::DimOp::create(builder, loc, memory, d);
    if (d == shape->rank - 2)
      size = arith::CeilDivUIOp::create(
          builder, loc, size,
          arith::ConstantIndexOp::create(builder, loc, rows));
    extent = extent ? Value(arith::MulIOp::create(builder, loc, extent, size))
                    : size;
  }
  return extent;
}

static int64_t paddedWidth(const Shape &shape, const TargetInfo &target) {
  return int64_t(llvm::alignTo(uint64_t(shape.width), uint64_t(target.lanes)));
}

static int64_t attentionScratch(mv::KernelOp kernel, const TargetInfo &target) {
  std::optional<Shape> shape = matchAttention(kernel, target);
  if (!shape)
    return 0;
  int64_t rows = shape->rows(target);
  return 4 * (shape->depth * rows + kKeys * rows +
              rows * paddedWidth(*shape, target) + rows);
}

namespace {

class AttentionEmitter {
public:
  AttentionEmitter(KernelEmitter &e, const Shape &shape)
      : e(e), b(e.builder()), shape(shape), op(shape.op), evaluator(e),
        lanes(e.target().lanes), rows(shape.rows(e.target())),
        width(paddedWidth(shape, e.target())), f32(b.getF32Type()),
        queryCount(evaluator.dim(op.getQuery(), shape.rank - 2)),
        keyCount(evaluator.dim(op.getKey(), shape.rank - 2)) {
    auto region = [&](int64_t elements) {
      Value start = e.address(e.scratch(), f32, e.constant(used));
      used += elements;
      return start;
    };
    queries = region(shape.depth * rows);
    scores = region(kKeys * rows);
    results = region(rows * width);
    factors = region(rows);
  }

  LogicalResult emit();

private:
  void block(Value firstQuery);
  void packQueries(Value firstQuery);
  SmallVector<Value> scoreBlock(Value firstQuery, Value firstKey, Value count,
                                ArrayRef<Value> largest);
  void accumulate(Value firstKey, Value count);
  void storeRows(Value firstQuery);

  void oneQuery(Value query);

  /// score of key `key` for the queries of `point`, masked.
  Value masked(Value score, const Coordinate &query, const Coordinate &key,
               int64_t lanes, Value mask);

  Value constant(double value, int64_t lanes) {
    return evaluator.number(value,
                            lanes ? Type(VectorType::get(lanes, f32)) : f32);
  }
  Value at(Value base, Value offset) { return e.address(base, f32, offset); }
  Value at(Value base, Value offset, int64_t more) {
    return e.address(e.address(base, f32, offset), f32, e.constant(more));
  }
  Value elementOf(Value tensor, const Coordinate &row, const Coordinate &column,
                  int64_t lanes, Value mask) {
    Coordinates point(batch);
    point.push_back(row);
    point.push_back(column);
    return evaluator.widen(
        evaluator.evaluate(tensor, Point(point, lanes, mask)));
  }
  /// Lanes of vector `v` of a row of `size` elements, null for all.
  Value tailMask(int64_t size, int64_t v) {
    if ((v + 1) * lanes <= size)
      return nullptr;
    return e.laneMask(e.constant(size - v * lanes), lanes);
  }
  /// The empty sum of a row whose keys are all masked.
  Value reciprocal(Value sum, int64_t lanes);

  KernelEmitter &e;
  ImplicitLocOpBuilder &b;
  const Shape &shape;
  mv::AttentionOp op;
  Evaluator evaluator;
  int64_t lanes, rows, width;
  Type f32;
  Value queryCount, keyCount;
  int64_t used = 0;
  Value queries, scores, results, factors;
  Coordinates batch;
  ResultWriter *writer = nullptr;
  Value current; ///< the attention's value at the point that is written
};

} // namespace

LogicalResult AttentionEmitter::emit() {
  evaluator.define(op.getResult(), [&](const Point &) { return current; });
  ResultWriter resultWriter(evaluator);
  writer = &resultWriter;
  SmallVector<OpFoldResult> extents;
  Value total = e.constant(1);
  for (int64_t d = 0; d < shape.rank - 2; ++d) {
    extents.push_back(evaluator.dim(op.getQuery(), d));
    total = e.mul(total, evaluator.dim(op.getQuery(), d));
  }
  Value blocks = e.floorDiv(e.add(queryCount, rows - 1), e.constant(rows));
  extents.push_back(blocks);
  resultWriter.fillBorders(e.mul(total, blocks));
  e.loop(e.begin(), e.end(), 1, [&](Value i) {
    SmallVector<Value> index = e.delinearize(i, extents);
    batch.clear();
    for (Value coordinate : ArrayRef<Value>(index).drop_back())
      batch.push_back(CoordinateMath(e, 0).of(coordinate));
    block(e.mul(index.back(), rows));
  });
  return evaluator.result();
}

void AttentionEmitter::block(Value firstQuery) {
  auto many = [&] {
    packQueries(firstQuery);
    e.loop(e.constant(0), e.constant(rows * width), lanes,
           [&](Value i) { e.store(e.zero(f32, lanes), at(results, i), f32); });
    Value keys = keyCount;
    if (op.getCausal())
      keys = e.min(keys, e.add(firstQuery, rows));
    // Per vector of queries: the maximum so far, then the sum.
    SmallVector<Value> state;
    for (int64_t v = 0; v < shape.vectors; ++v)
      state.push_back(
          constant(-std::numeric_limits<double>::infinity(), lanes));
    for (int64_t v = 0; v < shape.vectors; ++v)
      state.push_back(e.zero(f32, lanes));
    state = e.loop(
        e.constant(0), keys, kKeys, state,
        [&](Value firstKey, ValueRange carried) -> SmallVector<Value> {
          Value count = e.min(e.sub(keys, firstKey), e.constant(kKeys));
          SmallVector<Value> before(carried.take_front(shape.vectors));
          SmallVector<Value> largest =
              scoreBlock(firstQuery, firstKey, count, before);
          SmallVector<Value> shifts, sums;
          for (int64_t v = 0; v < shape.vectors; ++v) {
            // Nothing but masked keys so far: avoid inf - inf.
            Value infinite =
                constant(-std::numeric_limits<double>::infinity(), lanes);
            Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                                  largest[v], infinite);
            Value shift =
                evaluator.laneSelect(isEmpty, e.zero(f32, lanes), largest[v]);
            Value factor =
                emitExp(b, arith::SubFOp::create(b, before[v], shift));
            e.store(factor, at(factors, e.constant(v * lanes)), f32);
            shifts.push_back(shift);
            sums.push_back(
                arith::MulFOp::create(b, carried[shape.vectors + v], factor));
          }
          sums = e.loop(
              e.constant(0), count, 1, sums,
              [&](Value key, ValueRange partial) -> SmallVector<Value> {
                SmallVector<Value> next;
                Value row = e.mul(key, rows);
                for (int64_t v = 0; v < shape.vectors; ++v) {
                  Value address = at(scores, row, v * lanes);
                  Value x = e.load(address, f32, lanes);
                  Value weight =
                      emitExp(b, arith::SubFOp::create(b, x, shifts[v]));
                  e.store(weight, address, f32);
                  next.push_back(arith::AddFOp::create(b, partial[v], weight));
                }
                return next;
              });
          accumulate(firstKey, count);
          largest.append(sums);
          return largest;
        });
    for (int64_t v = 0; v < shape.vectors; ++v)
      e.store(reciprocal(state[shape.vectors + v], lanes),
              at(factors, e.constant(v * lanes)), f32);
    storeRows(firstQuery);
  };
  auto few = [&] {
    Value last = e.min(e.add(firstQuery, rows), queryCount);
    e.loop(firstQuery, last, 1, [&](Value query) { oneQuery(query); });
  };
  if (std::optional<int64_t> known = e.constantValue(queryCount)) {
    if (*known <= kFewQueries)
      few();
    else
      many();
    return;
  }
  Value isFew = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, queryCount,
                                      e.constant(kFewQueries));
  e.ifThen(isFew, few, many);
}

Value AttentionEmitter::reciprocal(Value sum, int64_t lanes) {
  Value result = arith::DivFOp::create(b, constant(1, lanes), sum);
  // Without any key an i1 mask gives zeros, a float mask NaN.
  if (!op.getMask() || !typeOf(op.getMask()).getElementType().isInteger(1))
    return result;
  Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum,
                                        constant(0, lanes));
  return evaluator.laneSelect(isEmpty, constant(0, lanes), result);
}

void AttentionEmitter::packQueries(Value firstQuery) {
  // Lanes beyond the last query are zero.
  SmallVector<Value> masks(shape.vectors);
  for (int64_t v = 0; v < shape.vectors; ++v) {
    std::optional<int64_t> known = e.constantValue(queryCount);
    if (known && *known % rows == 0)
      continue;
    Value rest = e.sub(queryCount, e.add(firstQuery, v * lanes));
    masks[v] =
        e.laneMask(e.max(e.min(rest, e.constant(lanes)), e.constant(0)), lanes);
  }
  Value scale = constant(op.getScale().convertToDouble(), lanes);
  e.loop(e.constant(0), e.constant(shape.depth), 1, [&](Value d) {
    for (int64_t v = 0; v < shape.vectors; ++v) {
      Coordinate query(firstQuery, lanes, 1);
      query.offset = v * lanes;
      Value address = at(queries, e.mul(d, rows), v * lanes);
      auto pack = [&] {
        Value x =
            elementOf(op.getQuery(), query, Coordinate(d), lanes, masks[v]);
        e.store(arith::MulFOp::create(b, x, scale), address, f32);
      };
      // A point has at least one lane; the first vector always has.
      if (v == 0 || !masks[v])
        pack();
      else
        e.ifThen(e.anyLane(masks[v]), pack,
                 [&] { e.store(e.zero(f32, lanes), address, f32); });
    }
  });
}

Value AttentionEmitter::masked(Value score, const Coordinate &query,
                               const Coordinate &key, int64_t lanes,
                               Value mask) {
  Value lowest = constant(-std::numeric_limits<double>::infinity(), lanes);
  if (op.getMask()) {
    // Broadcast from the right.
    RankedTensorType type = typeOf(op.getMask());
    Coordinates full(batch);
    full.push_back(query);
    full.push_back(key);
    Coordinates point;
    for (int64_t d = 0; d < type.getRank(); ++d)
      point.push_back(type.getDimSize(d) == 1
                          ? Coordinate(0)
                          : full[shape.rank - type.getRank() + d]);
    Value value = evaluator.evaluate(op.getMask(), Point(point, lanes, mask));
    if (type.getElementType().isInteger(1))
      score = evaluator.laneSelect(value, score, lowest);
    else
      score = arith::AddFOp::create(b, score, evaluator.widen(value));
  }
  if (op.getCausal()) {
    CoordinateMath math(e, lanes);
    Value sees =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sle,
                              lanes ? math.vector(key) : math.scalar(key),
                              lanes ? math.vector(query) : math.scalar(query));
    score = evaluator.laneSelect(sees, score, lowest);
  }
  return score;
}

SmallVector<Value> AttentionEmitter::scoreBlock(Value firstQuery,
                                                Value firstKey, Value count,
                                                ArrayRef<Value> largest) {
  int64_t tile = std::min<int64_t>(
      (e.target().vectorRegisters - shape.vectors - 2) / shape.vectors, 12);
  // Queries beyond the last one read the last one's mask.
  SmallVector<Value> masks(shape.vectors);
  std::optional<int64_t> known = e.constantValue(queryCount);
  bool isWhole = known && *known % rows == 0;
  auto scoreTile = [&](Value key, int64_t keys, ValueRange state) {
    SmallVector<Value> accumulators(keys * shape.vectors, e.zero(f32, lanes));
    Value first = e.add(firstKey, key);
    accumulators = e.loop(
        e.constant(0), e.constant(shape.depth), 1, accumulators,
        [&](Value d, ValueRange sums) {
          SmallVector<Value> next;
          SmallVector<Value> q;
          Value row = e.mul(d, rows);
          for (int64_t v = 0; v < shape.vectors; ++v)
            q.push_back(e.load(at(queries, row, v * lanes), f32, lanes));
          for (int64_t k = 0; k < keys; ++k) {
            Coordinate position(first);
            position.offset = k;
            Value element = e.splat(
                elementOf(op.getKey(), position, Coordinate(d), 0, nullptr),
                lanes);
            for (int64_t v = 0; v < shape.vectors; ++v)
              next.push_back(e.fma(q[v], element, sums[k * shape.vectors + v]));
          }
          return next;
        });
    SmallVector<Value> next(state);
    for (int64_t k = 0; k < keys; ++k)
      for (int64_t v = 0; v < shape.vectors; ++v) {
        Value score = accumulators[k * shape.vectors + v];
        if (op.getMask() || op.getCausal()) {
          Coordinate position(first);
          position.offset = k;
          Coordinate query(firstQuery, lanes, 1);
          query.offset = v * lanes;
          Value laneMask;
          if (op.getMask() && !isWhole) {
            // Lanes without a query repeat the last one.
            CoordinateMath math(e, lanes);
            Coordinate clamped;
            clamped.lanes = arith::MinSIOp::create(
                b, math.vector(query), e.splat(e.add(queryCount, -1), lanes));
            query = clamped;
          }
          score = masked(score, query, position, lanes, laneMask);
        }
        e.store(score, at(scores, e.mul(key, rows), k * rows + v * lanes), f32);
        next[v] = emitMaximum(b, next[v], score);
      }
    return next;
  };
  SmallVector<Value> state(largest);
  Value whole = e.mul(e.floorDiv(count, e.constant(tile)), tile);
  state = e.loop(e.constant(0), whole, tile, state,
                 [&](Value key, ValueRange carried) {
                   return scoreTile(key, tile, carried);
                 });
  return e.loop(whole, count, 1, state, [&](Value key, ValueRange carried) {
    return scoreTile(key, 1, carried);
  });
}

void AttentionEmitter::accumulate(Value firstKey, Value count) {
  int64_t vectors = width / lanes;
  int64_t tileRows = 4;
  int64_t tileVectors = std::min<int64_t>(
      vectors, (e.target().vectorRegisters - 2) / (tileRows + 1));
  for (int64_t start = 0; start < vectors; start += tileVectors) {
    int64_t some = std::min(tileVectors, vectors - start);
    e.loop(e.constant(0), e.constant(rows), tileRows, [&](Value row) {
      SmallVector<Value> sums;
      auto resultAt = [&](int64_t r, int64_t v) {
        return at(results, e.mul(row, width), r * width + (start + v) * lanes);
      };
      for (int64_t r = 0; r < tileRows; ++r) {
        Value factor = e.splat(e.load(at(factors, row, r), f32, 0), lanes);
        for (int64_t v = 0; v < some; ++v)
          sums.push_back(arith::MulFOp::create(
              b, e.load(resultAt(r, v), f32, lanes), factor));
      }
      sums = e.loop(
          e.constant(0), count, 1, sums,
          [&](Value key, ValueRange carried) -> SmallVector<Value> {
            SmallVector<Value> values, next;
            for (int64_t v = 0; v < some; ++v) {
              Coordinate column((start + v) * lanes);
              column.stride = 1;
              values.push_back(
                  elementOf(op.getValue(), Coordinate(e.add(firstKey, key)),
                            column, lanes, tailMask(shape.width, start + v)));
            }
            Value weights = e.add(e.mul(key, rows), row);
            for (int64_t r = 0; r < tileRows; ++r) {
              Value weight =
                  e.splat(e.load(at(scores, weights, r), f32, 0), lanes);
              for (int64_t v = 0; v < some; ++v)
                next.push_back(e.fma(weight, values[v], carried[r * some + v]));
            }
            return next;
          });
      for (int64_t r = 0; r < tileRows; ++r)
        for (int64_t v = 0; v < some; ++v)
          e.store(sums[r * some + v], resultAt(r, v), f32);
    });
  }
}

void AttentionEmitter::storeRows(Value firstQuery) {
  Value count = e.min(e.sub(queryCount, firstQuery), e.constant(rows));
  Type type = typeOf(op.getResult()).getElementType();
  e.loop(e.constant(0), count, 1, [&](Value row) {
    Value factor = e.splat(e.load(at(factors, row), f32, 0), lanes);
    Coordinates point(batch);
    point.push_back(Coordinate(e.add(firstQuery, row)));
    point.emplace_back();
    for (int64_t v = 0; v * lanes < shape.width; ++v) {
      Value value =
          e.load(at(results, e.mul(row, width), v * lanes), f32, lanes);
      current = evaluator.narrow(arith::MulFOp::create(b, value, factor), type);
      point.back() = Coordinate(v * lanes);
      point.back().stride = 1;
      writer->write(Point(point, lanes, tailMask(shape.width, v)));
    }
  });
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

void AttentionEmitter::oneQuery(Value query) {
  int64_t depthVectors = int64_t(llvm::divideCeil(shape.depth, lanes));
  int64_t widthVectors = width / lanes;
  Coordinate row(query);
  auto vectorAt = [&](Value tensor, const Coordinate &r, int64_t size,
                      int64_t v) {
    Coordinate column(v * lanes);
    column.stride = 1;
    return elementOf(tensor, r, column, lanes, tailMask(size, v));
  };
  SmallVector<Value> q;
  Value scale = constant(op.getScale().convertToDouble(), lanes);
  for (int64_t v = 0; v < depthVectors; ++v)
    q.push_back(arith::MulFOp::create(
        b, vectorAt(op.getQuery(), row, shape.depth, v), scale));
  Value keys = keyCount;
  if (op.getCausal())
    keys = e.min(keys, e.add(query, 1));

  auto dot = [&](const Coordinate &key) {
    Value sum = e.zero(f32, lanes);
    for (int64_t v = 0; v < depthVectors; ++v)
      sum = e.fma(q[v], vectorAt(op.getKey(), key, shape.depth, v), sum);
    return sum;
  };
  /// Scores of `lanes` keys from `key`; all of them exist.
  auto scoresOf = [&](Value key) {
    SmallVector<Value> sums;
    for (int64_t k = 0; k < lanes; ++k) {
      Coordinate c(key);
      c.offset = k;
      sums.push_back(dot(c));
    }
    return sumLanes(b, sums);
  };
  Value lowest = constant(-std::numeric_limits<double>::infinity(), lanes);
  Value lowestScalar = constant(-std::numeric_limits<double>::infinity(), 0);

  // Carried: maximum, sum, the result's vectors.
  SmallVector<Value> state{lowestScalar, constant(0, 0)};
  for (int64_t v = 0; v < widthVectors; ++v)
    state.push_back(e.zero(f32, lanes));
  state = e.loop(
      e.constant(0), keys, kKeys, state,
      [&](Value firstKey, ValueRange carried) -> SmallVector<Value> {
        Value count = e.min(e.sub(keys, firstKey), e.constant(kKeys));
        Value whole = e.mul(e.floorDiv(count, e.constant(lanes)), lanes);
        // Scores, in vectors; those of keys that do not exist are -inf.
        SmallVector<Value> largest =
            e.loop(e.constant(0), whole, lanes, ValueRange(lowest),
                   [&](Value i, ValueRange found) -> SmallVector<Value> {
                     Value first = e.add(firstKey, i);
                     Coordinate key(first, 1, 1);
                     Value score =
                         masked(scoresOf(first), row, key, lanes, nullptr);
                     e.store(score, at(scores, i), f32);
                     return {emitMaximum(b, found[0], score)};
                   });
        Value rest = e.sub(count, whole);
        Value hasRest = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt,
                                              rest, e.constant(0));
        Value top = e.ifThenElse(
            hasRest, lowest.getType(),
            [&]() -> Value {
              Value last = e.add(keys, -1);
              SmallVector<Value> sums;
              for (int64_t k = 0; k < lanes; ++k)
                // Repeats the last key where there is none.
                sums.push_back(dot(
                    Coordinate(e.min(e.add(e.add(firstKey, whole), k), last))));
              Value exists = e.laneMask(rest, lanes);
              Coordinate key(e.add(firstKey, whole), 1, 1);
              Value score = masked(sumLanes(b, sums), row, key, lanes, exists);
              score = evaluator.laneSelect(exists, score, lowest);
              e.store(score, at(scores, whole), f32);
              return emitMaximum(b, largest[0], score);
            },
            [&] { return largest[0]; });
        SmallVector<Value> halves{top};
        for (int64_t half = lanes / 2; half > 0; half /= 2)
          halves = {emitMaximum(
              b,
              vector::ShuffleOp::create(
                  b, halves[0], halves[0],
                  llvm::to_vector(llvm::seq<int64_t>(0, half))),
              vector::ShuffleOp::create(
                  b, halves[0], halves[0],
                  llvm::to_vector(llvm::seq<int64_t>(half, 2 * half))))};
        Value maximum = emitMaximum(b, carried[0],
                                    vector::ExtractOp::create(b, halves[0], 0));
        Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                              maximum, lowestScalar);
        Value shift = evaluator.laneSelect(isEmpty, constant(0, 0), maximum);
        Value factor = emitExp(b, arith::SubFOp::create(b, carried[0], shift));
        Value vectorShift = e.splat(shift, lanes);
        // -inf of the missing keys becomes 0.
        SmallVector<Value> sum =
            e.loop(e.constant(0), count, lanes, ValueRange(e.zero(f32, lanes)),
                   [&](Value i, ValueRange partial) -> SmallVector<Value> {
                     Value x = e.load(at(scores, i), f32, lanes);
                     Value weight =
                         emitExp(b, arith::SubFOp::create(b, x, vectorShift));
                     e.store(weight, at(scores, i), f32);
                     return {arith::AddFOp::create(b, partial[0], weight)};
                   });
        Value total = sum[0];
        for (int64_t half = lanes / 2; half > 0; half /= 2)
          total = arith::AddFOp::create(
              b,
              vector::ShuffleOp::create(
                  b, total, total,
                  llvm::to_vector(llvm::seq<int64_t>(0, half))),
              vector::ShuffleOp::create(
                  b, total, total,
                  llvm::to_vector(llvm::seq<int64_t>(half, 2 * half))));
        Value newSum =
            e.fma(carried[1], factor, vector::ExtractOp::create(b, total, 0));
        SmallVector<Value> outputs;
        Value vectorFactor = e.splat(factor, lanes);
        for (int64_t v = 0; v < widthVectors; ++v)
          outputs.push_back(
              arith::MulFOp::create(b, carried[2 + v], vectorFactor));
        outputs = e.loop(
            e.constant(0), count, 1, outputs, [&](Value i, ValueRange sums) {
              Value weight = e.splat(e.load(at(scores, i), f32, 0), lanes);
              Coordinate key(e.add(firstKey, i));
              SmallVector<Value> next;
              for (int64_t v = 0; v < widthVectors; ++v)
                next.push_back(
                    e.fma(weight, vectorAt(op.getValue(), key, shape.width, v),
                          sums[v]));
              return next;
            });
        SmallVector<Value> all{maximum, newSum};
        all.append(outputs);
        return all;
      });

  Value factor = e.splat(reciprocal(state[1], 0), lanes);
  Type type = typeOf(op.getResult()).getElementType();
  Coordinates point(batch);
  point.push_back(row);
  point.emplace_back();
  for (int64_t v = 0; v < widthVectors; ++v) {
    current =
        evaluator.narrow(arith::MulFOp::create(b, state[2 + v], factor), type);
    point.back() = Coordinate(v * lanes);
    point.back().stride = 1;
    writer->write(Point(point, lanes, tailMask(shape.width, v)));
  }
}

static LogicalResult emitAttention(KernelEmitter &e) {
  std::optional<Shape> shape = matchAttention(e.kernel(), e.target());
  if (!shape)
    return pointwiseFamily.emit(e);
  return AttentionEmitter(e, *shape).emit();
}

const KernelFamily marver::attentionFamily = {"attention", attentionExtent,
                                              attentionScratch, emitAttention};
