//===- Attention.cpp - Softmax of scores, times values --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A parallel index is one block of queries of one batch. Many queries are done
// by register tiles (AttentionTiles.cpp), the few of a decoder's step with
// vectors along their rows (AttentionRows.cpp).
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/AttentionRows.h"
#include "compiler/kernels/emit/AttentionTiles.h"
#include "compiler/kernels/emit/Families.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace marver;

static RankedTensorType typeOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType());
}

std::optional<AttentionShape> AttentionShape::match(mv::KernelOp kernel,
                                                    const TargetInfo &target) {
  AttentionShape shape;
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
  shape.lanes = target.lanes;
  shape.queries = query.getDimSize(shape.rank - 2);
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
  // With 32 registers 8 x 3 accumulators, with 16 registers 6 x 2.
  shape.vectors = target.vectorRegisters >= 32 ? 3 : 2;
  if (!ShapedType::isDynamic(shape.queries))
    shape.vectors = std::min<int64_t>(
        shape.vectors, llvm::divideCeil(shape.queries, target.lanes));
  shape.vectors = std::max<int64_t>(shape.vectors, 1);
  shape.tile = target.vectorRegisters >= 32 ? 8 : 6;
  return shape;
}

int64_t AttentionShape::scratchElements() const {
  int64_t rows = blockQueries();
  int64_t tiles =
      rows * (depth + std::max(AttentionEmitter::kKeys, paddedWidth()) +
              paddedWidth() + 3) +
      AttentionEmitter::kKeys * (paddedDepth() + paddedWidth());
  int64_t few = AttentionEmitter::kFewQueries;
  int64_t tokens = few * (AttentionEmitter::kKeys + lanes + paddedWidth());
  return std::max(tiles, tokens);
}

static OpFoldResult attentionExtent(OpBuilder &builder, Location loc,
                                    mv::KernelOp kernel, ValueRange inputs,
                                    ValueRange outs, const TargetInfo &target) {
  std::optional<AttentionShape> shape = AttentionShape::match(kernel, target);
  if (!shape)
    return pointwiseFamily.extent(builder, loc, kernel, inputs, outs, target);
  RankedTensorType query = typeOf(shape->op.getQuery());
  int64_t rows = shape->blockQueries();
  if (query.hasStaticShape()) {
    int64_t extent = llvm::divideCeil(shape->queries, rows);
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

AttentionEmitter::AttentionEmitter(KernelEmitter &emitter,
                                   const AttentionShape &shape)
    : e(emitter), b(emitter.builder()), shape(shape), op(shape.op),
      evaluator(emitter), writer(evaluator), lanes(shape.lanes),
      f32(b.getF32Type()),
      queryCount(evaluator.dim(op.getQuery(), shape.rank - 2)),
      keyCount(evaluator.dim(op.getKey(), shape.rank - 2)) {}

LogicalResult AttentionEmitter::emit() {
  evaluator.define(op.getResult(), [&](const Point &) { return current; });
  SmallVector<OpFoldResult> extents;
  Value total = e.constant(1);
  for (int64_t d = 0; d < shape.rank - 2; ++d) {
    extents.push_back(evaluator.dim(op.getQuery(), d));
    total = e.mul(total, evaluator.dim(op.getQuery(), d));
  }
  int64_t rows = shape.blockQueries();
  Value blocks = e.floorDiv(e.add(queryCount, rows - 1), e.constant(rows));
  extents.push_back(blocks);
  writer.fillBorders(e.mul(total, blocks));
  e.loop(e.begin(), e.end(), 1, [&](Value i) {
    SmallVector<Value> index = e.delinearize(i, extents);
    Value firstQuery = e.mul(index.pop_back_val(), rows);
    batchIndex = index;
    batch.clear();
    for (Value coordinate : index)
      batch.push_back(CoordinateMath(e, 0).of(coordinate));
    block(firstQuery);
  });
  return evaluator.result();
}

/// The last block may hold fewer queries, which are done with fewer vectors.
void AttentionEmitter::block(Value firstQuery) {
  auto tiles = [&](int64_t vectors) {
    Tiles(*this, firstQuery, vectors).run();
  };
  Value left = e.sub(queryCount, firstQuery);
  auto atMost = [&](int64_t count) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, left,
                                 e.constant(count));
  };
  if (std::optional<int64_t> known = e.constantValue(queryCount)) {
    if (*known <= kFewQueries)
      return Rows(*this, *known).run();
    int64_t rest = *known % shape.blockQueries();
    auto restVectors = int64_t(llvm::divideCeil(rest, lanes));
    if (rest == 0 || restVectors == shape.vectors)
      return tiles(shape.vectors);
    return e.ifThen(
        atMost(rest), [&] { tiles(restVectors); },
        [&] { tiles(shape.vectors); });
  }
  std::function<void(int64_t)> narrowest = [&](int64_t vectors) {
    if (vectors == shape.vectors)
      return tiles(vectors);
    e.ifThen(
        atMost(vectors * lanes), [&] { tiles(vectors); },
        [&] { narrowest(vectors + 1); });
  };
  auto isAll = [&](int64_t count) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sle, queryCount,
                                 e.constant(count));
  };
  e.ifThen(
      isAll(1), [&] { Rows(*this, 1).run(); },
      [&] {
        e.ifThen(
            isAll(kFewQueries), [&] { Rows(*this, kFewQueries).run(); },
            [&] { narrowest(1); });
      });
}

Value AttentionEmitter::elementOf(Value tensor, const Coordinate &row,
                                  const Coordinate &column, int64_t lanes,
                                  Value mask) {
  Coordinates point(batch);
  point.push_back(row);
  point.push_back(column);
  return evaluator.widen(evaluator.evaluate(tensor, Point(point, lanes, mask)));
}

Value AttentionEmitter::visibleKeys(Value firstQuery, Value lastQuery) {
  Value keys = keyCount;
  if (op.getCausal())
    keys = e.min(keys, lastQuery);
  if (!maskIsPosition())
    return keys;
  auto keysOf = [&](const Coordinate &query) {
    Value last = evaluator.evaluate(op.getMask(), maskPoint(query, 0, 0));
    last = e.max(last, e.constant(-1));
    return e.min(e.add(e.min(last, e.add(keyCount, -1)), 1), keys);
  };
  RankedTensorType type = typeOf(op.getMask());
  if (type.getRank() < 2 || type.getDimSize(type.getRank() - 2) == 1)
    return keysOf(firstQuery);
  return e.loop(firstQuery, lastQuery, 1, ValueRange(e.constant(0)),
                [&](Value query, ValueRange most) -> SmallVector<Value> {
                  return {e.max(most[0], keysOf(query))};
                })[0];
}

/// The mask's point for a query and a key: it broadcasts from the right.
Point AttentionEmitter::maskPoint(const Coordinate &query,
                                  const Coordinate &key, int64_t lanes,
                                  Value lanesThatExist) {
  RankedTensorType type = typeOf(op.getMask());
  Coordinates full(batch);
  full.push_back(query);
  full.push_back(key);
  Point point({}, lanes, lanesThatExist);
  for (int64_t d = 0; d < type.getRank(); ++d)
    point.at.push_back(type.getDimSize(d) == 1
                           ? Coordinate(0)
                           : full[shape.rank - type.getRank() + d]);
  return point;
}

Value AttentionEmitter::masked(Value score, const Coordinate &query,
                               const Coordinate &key, Value lanesThatExist) {
  CoordinateMath math(e, lanes);
  if (op.getMask()) {
    Value value = evaluator.evaluate(
        op.getMask(), maskPoint(query, key, lanes, lanesThatExist));
    if (maskIsPosition())
      value = arith::CmpIOp::create(b, arith::CmpIPredicate::sle,
                                    math.vector(key), value);
    if (maskType().isInteger())
      score = evaluator.laneSelect(value, score, infinite());
    else
      score = arith::AddFOp::create(b, score, evaluator.widen(value));
  }
  if (op.getCausal()) {
    Value sees = arith::CmpIOp::create(b, arith::CmpIPredicate::sle,
                                       math.vector(key), math.vector(query));
    score = evaluator.laneSelect(sees, score, infinite());
  }
  return score;
}

Value AttentionEmitter::shiftOf(Value largest) {
  Value isEmpty =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, largest, infinite());
  return evaluator.laneSelect(isEmpty, e.zero(f32, lanes), largest);
}

Value AttentionEmitter::reciprocal(Value sum) {
  Value result = arith::DivFOp::create(b, constant(1, lanes), sum);
  if (!op.getMask() || !maskType().isInteger())
    return result;
  Value zero = e.zero(f32, lanes);
  Value isEmpty =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum, zero);
  return evaluator.laneSelect(isEmpty, zero, result);
}

void AttentionEmitter::write(const Coordinate &query, int64_t column,
                             Value value) {
  current = evaluator.narrow(value, typeOf(op.getResult()).getElementType());
  Coordinates point(batch);
  point.push_back(query);
  point.emplace_back(column);
  point.back().stride = 1;
  writer.write(Point(point, lanes, tailMask(shape.width, column)));
}

static int64_t attentionScratch(mv::KernelOp kernel, const TargetInfo &target) {
  std::optional<AttentionShape> shape = AttentionShape::match(kernel, target);
  return shape ? 4 * shape->scratchElements() : 0;
}

static LogicalResult emitAttention(KernelEmitter &e) {
  std::optional<AttentionShape> shape =
      AttentionShape::match(e.kernel(), e.target());
  if (!shape)
    return pointwiseFamily.emit(e);
  return AttentionEmitter(e, *shape).emit();
}

const KernelFamily marver::attentionFamily = {"attention", attentionExtent,
                                              attentionScratch, emitAttention};
