//===- EvaluateLinalg.cpp - Structured operations at an index -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/BodyEmitter.h"
#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;
using namespace marver;

namespace {

/// The one operation that folds a new term into an accumulator.
struct Combiner {
  Operation *op = nullptr;
  Value term;
};

} // namespace

/// The combiner of accumulator `number` of a reduction: its argument is used
/// once, by an associative operation whose result is yielded.
static Combiner findCombiner(linalg::LinalgOp op, unsigned number) {
  Block *body = op.getBlock();
  Value accumulator = body->getArgument(op.getNumDpsInputs() + number);
  if (!accumulator.hasOneUse())
    return {};
  Operation *user = *accumulator.user_begin();
  if (user->getNumResults() != 1 || !user->getResult(0).hasOneUse() ||
      body->getTerminator()->getOperand(number) != user->getResult(0))
    return {};
  if (!isa<arith::AddFOp, arith::MulFOp, arith::MaximumFOp, arith::MinimumFOp,
           arith::MaxNumFOp, arith::MinNumFOp, arith::AddIOp, arith::MulIOp,
           arith::MaxSIOp, arith::MinSIOp, arith::MaxUIOp, arith::MinUIOp,
           arith::AndIOp, arith::OrIOp, arith::XOrIOp>(user))
    return {};
  Value other = user->getOperand(0) == accumulator ? user->getOperand(1)
                                                   : user->getOperand(0);
  return {user, other};
}

/// The element that changes nothing, in the type that is computed in.
static Value neutralElement(Evaluator &evaluator, Operation *combiner,
                            Type type) {
  ImplicitLocOpBuilder &b = evaluator.emitter().builder();
  TypedAttr element = arith::getNeutralElement(combiner).value_or(nullptr);
  if (!element)
    return nullptr;
  if (auto number = dyn_cast<FloatAttr>(element)) {
    APFloat value = number.getValue();
    // Adding -0 changes nothing at all, but an empty sum is +0.
    bool loses;
    value.convert(cast<FloatType>(type).getFloatSemantics(),
                  APFloat::rmNearestTiesToEven, &loses);
    element = FloatAttr::get(type, value);
  }
  return arith::ConstantOp::create(b, element);
}

/// Clones `combiner` for `a` and `c`.
static Value combine(Evaluator &evaluator, Operation *combiner, Value a,
                     Value c) {
  ImplicitLocOpBuilder &b = evaluator.emitter().builder();
  if (Value result = emitMath(b, combiner, {a, c}))
    return result;
  OperationState state(b.getLoc(), combiner->getName());
  state.addOperands({a, c});
  state.addAttributes(combiner->getAttrs());
  state.addTypes(a.getType());
  return b.create(state)->getResult(0);
}

/// The size of loop `d`, from an operand that has it as a dim.
static Value loopSize(Evaluator &evaluator, linalg::LinalgOp op, unsigned d) {
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    // A scalar's map has no results.
    for (auto [position, expr] : llvm::enumerate(map.getResults()))
      if (expr == getAffineDimExpr(d, op.getContext()))
        return evaluator.dim(operand.get(), int64_t(position));
  }
  return nullptr;
}

/// Which reduction loop vectors should run along when one element is wanted:
/// one that is the last dim of an operand and whose step there is 1.
static int64_t findVectorLoop(linalg::LinalgOp op, ArrayRef<unsigned> loops) {
  for (OpOperand *operand : op.getDpsInputOperands()) {
    AffineMap map = op.getMatchingIndexingMap(operand);
    if (map.getNumResults() == 0)
      continue;
    auto type = cast<RankedTensorType>(operand->get().getType());
    int64_t last = lastNonUnitDim(type, 0, type.getRank() - 1);
    AffineExpr expr = map.getResult(last);
    for (auto [i, loop] : llvm::enumerate(loops))
      if (expr == getAffineDimExpr(loop, op.getContext()))
        return int64_t(i);
  }
  return -1;
}

Value Evaluator::generic(linalg::LinalgOp op, unsigned result,
                         const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  auto resultType = cast<RankedTensorType>(op->getResult(result).getType());
  Type elementType = resultType.getElementType();
  if (elementType.isIndex())
    elementType = b.getI64Type();
  if (!op.hasPureTensorSemantics())
    return fail(op, elementType, point, "it does not work on tensors");
  unsigned inputs = op.getNumDpsInputs();
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  Block *body = op.getBlock();
  Value yielded = body->getTerminator()->getOperand(result);

  // The parallel loops' indices, from the point.
  Coordinates loops(op.getNumLoops());
  llvm::SmallBitVector isKnown(op.getNumLoops());
  for (auto [position, expr] :
       llvm::enumerate(maps[inputs + result].getResults())) {
    if (auto loop = dyn_cast<AffineDimExpr>(expr)) {
      loops[loop.getPosition()] = point.at[position];
      isKnown.set(loop.getPosition());
    } else if (!isa<AffineConstantExpr>(expr)) {
      return fail(op, elementType, point, "its result is not indexed by loops");
    }
  }
  SmallVector<unsigned> reduced;
  for (auto [loop, type] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (type == utils::IteratorType::reduction)
      reduced.push_back(unsigned(loop));
    else if (!isKnown.test(loop))
      return fail(op, elementType, point,
                  "a parallel loop does not index the result");
  }

  // Operand `number` where the loops are, widened.
  auto operandAt = [&](unsigned number, const Point &at) {
    // A fill's value is a scalar.
    if (!isa<RankedTensorType>(op->getOperand(number).getType())) {
      BodyEmitter scalarEmitter(*this, {}, 0, nullptr, nullptr);
      return e.splat(scalarEmitter.get(op->getOperand(number)), at.lanes);
    }
    CoordinateMath math(e, at.lanes);
    Point operandPoint = at.with({});
    for (AffineExpr expr : maps[number].getResults())
      operandPoint.at.push_back(math.apply(expr, at.at));
    return widen(evaluate(op->getOperand(number), operandPoint));
  };

  if (reduced.empty()) {
    Point at = point.with(loops);
    BodyEmitter emitter(*this, loops, point.lanes, point.mask,
                        [&](BlockArgument argument) -> Value {
                          if (argument.getOwner() != body)
                            return nullptr;
                          return operandAt(argument.getArgNumber(), at);
                        });
    return narrow(emitter.get(yielded), elementType);
  }

  SmallVector<Value> sizes;
  for (unsigned loop : reduced) {
    sizes.push_back(loopSize(*this, op, loop));
    if (!sizes.back())
      return fail(op, elementType, point, "the size of a loop is not known");
  }

  // All accumulators take part when the wanted one depends on others.
  Combiner combiner = findCombiner(op, result);
  SmallVector<unsigned> results{result};
  if (!combiner.op) {
    results.clear();
    for (unsigned r = 0; r < op.getNumDpsInits(); ++r) {
      if (maps[inputs + r] != maps[inputs + result])
        return fail(op, elementType, point,
                    "results that depend on each other have unequal shapes");
      results.push_back(r);
    }
  }
  unsigned wanted = combiner.op ? 0 : result;

  int64_t vectorLoop = -1;
  Reduction reduction;
  for (unsigned r : results)
    reduction.inits.push_back(operandAt(inputs + r, point.with(loops)));
  if (combiner.op && !point.lanes) {
    vectorLoop = findVectorLoop(op, reduced);
    if (vectorLoop >= 0) {
      Value neutral =
          neutralElement(*this, combiner.op, reduction.inits[0].getType());
      if (neutral)
        reduction.neutral.push_back(neutral);
      else
        vectorLoop = -1;
    }
  }

  // When the combiner is known, the term is computed and then combined: masked
  // lanes take the neutral element, and a product that is added is one fma.
  reduction.step = [&](ArrayRef<Coordinate> at, int64_t lanes, Value mask,
                       ValueRange accumulators) -> SmallVector<Value> {
    Coordinates all(loops);
    for (auto [loop, c] : llvm::zip_equal(reduced, at))
      all[loop] = c;
    Value lanesMask = lanes == point.lanes ? point.mask : Value();
    if (mask)
      lanesMask = mask;
    Point here(all, lanes, lanesMask);
    BodyEmitter emitter(
        *this, all, lanes, lanesMask, [&](BlockArgument argument) -> Value {
          if (argument.getOwner() != body)
            return nullptr;
          unsigned number = argument.getArgNumber();
          if (number < inputs)
            return operandAt(number, here);
          auto *position = llvm::find(results, number - inputs);
          assert(position != results.end() && "the accumulator is carried");
          return accumulators[position - results.begin()];
        });
    if (!combiner.op) {
      SmallVector<Value> next;
      for (unsigned r : results)
        next.push_back(emitter.get(body->getTerminator()->getOperand(r)));
      return next;
    }
    Value accumulator = accumulators[0];
    auto product = combiner.term.getDefiningOp<arith::MulFOp>();
    if (isa<arith::AddFOp>(combiner.op) && product &&
        product->getBlock() == body) {
      Value x = emitter.get(product.getLhs()),
            y = emitter.get(product.getRhs());
      if (mask)
        x = laneSelect(mask, x,
                       e.zero(getElementTypeOrSelf(x.getType()), lanes));
      if (mask)
        y = laneSelect(mask, y,
                       e.zero(getElementTypeOrSelf(y.getType()), lanes));
      return {e.fma(x, y, accumulator)};
    }
    Value term = emitter.get(combiner.term);
    if (mask)
      term = laneSelect(mask, term, e.splat(reduction.neutral[0], lanes));
    return {combine(*this, combiner.op, accumulator, term)};
  };
  reduction.join = [&](ValueRange a, ValueRange c) -> SmallVector<Value> {
    return {combine(*this, combiner.op, a[0], c[0])};
  };
  SmallVector<Value> values = reduce(sizes, reduction, point.lanes, vectorLoop);
  return narrow(values[wanted], elementType);
}

//===----------------------------------------------------------------------===//
// Blocked layouts
//===----------------------------------------------------------------------===//

Value Evaluator::pack(linalg::PackOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  auto sourceType = cast<RankedTensorType>(op.getSource().getType());
  int64_t rank = sourceType.getRank();
  Coordinates source(rank);
  for (int64_t d = 0; d < rank; ++d) {
    int64_t from = op.getOuterDimsPerm().empty() ? d : op.getOuterDimsPerm()[d];
    source[from] = point.at[d];
  }
  SmallVector<bool> below(rank, false), above(rank, false);
  for (auto [i, d, tile] :
       llvm::enumerate(op.getInnerDimsPos(), op.getMixedTiles())) {
    Coordinate size = math.of(scalar(tile));
    source[d] = math.add(math.mul(source[d], size), point.at[rank + i]);
    above[d] = !size.isConstant() || sourceType.isDynamicDim(d) ||
               sourceType.getDimSize(d) % size.offset != 0;
  }
  Type type = sourceType.getElementType();
  return select(
      point, source, dims(op.getSource()), below, above, type,
      [&](const Point &inside) { return evaluate(op.getSource(), inside); },
      [&](const Point &outside) -> Value {
        if (!op.getPaddingValue())
          return e.zero(type, outside.lanes);
        BodyEmitter body(*this, {}, 0, nullptr, nullptr);
        return e.splat(narrow(body.get(op.getPaddingValue()), type),
                       outside.lanes);
      });
}

Value Evaluator::unpack(linalg::UnPackOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  int64_t rank = cast<RankedTensorType>(op.getDest().getType()).getRank();
  Coordinates outer(point.at);
  Coordinates inner;
  for (auto [d, tile] :
       llvm::zip_equal(op.getInnerDimsPos(), op.getMixedTiles())) {
    Coordinate size = math.of(scalar(tile));
    inner.push_back(math.rem(outer[d], size));
    outer[d] = math.floorDiv(outer[d], size);
  }
  Point source = point.with({});
  for (int64_t d = 0; d < rank; ++d)
    source.at.push_back(
        outer[op.getOuterDimsPerm().empty() ? d : op.getOuterDimsPerm()[d]]);
  source.at.append(inner);
  return evaluate(op.getSource(), source);
}
