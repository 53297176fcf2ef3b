//===- BodyEmitter.cpp - The scalar body of a linalg op on vectors --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/BodyEmitter.h"

#include "compiler/kernels/emit/MathLibrary.h"
#include "marver/abi.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

static bool isNarrowFloat(Type type) { return type.isF16() || type.isBF16(); }

/// The type that a scalar of the body is computed in.
static Type computeType(Type type) {
  if (type.isIndex())
    return IntegerType::get(type.getContext(), 64);
  if (isNarrowFloat(type))
    return Float32Type::get(type.getContext());
  return type;
}

Type BodyEmitter::registerType(Type type) {
  return withLanes(computeType(type), lanes);
}

Value BodyEmitter::get(Value value) {
  auto it = values.find(value);
  if (it != values.end())
    return it->second;
  Value result;
  if (auto blockArgument = dyn_cast<BlockArgument>(value)) {
    result = argument ? argument(blockArgument) : nullptr;
    // A scalar operand of the kernel.
    if (!result)
      result = e.splat(evaluator.scalar(value), lanes);
  } else {
    emit(value.getDefiningOp());
    result = values.lookup(value);
  }
  assert(result && "every value of a body has a translation");
  values[value] = result;
  return result;
}

/// The argument of the function in 1 + function(x), if `op` is that.
template <typename Function> static Value onePlus(Operation *op) {
  auto add = dyn_cast<arith::AddFOp>(op);
  if (!add)
    return nullptr;
  for (auto [one, other] : {std::make_pair(add.getLhs(), add.getRhs()),
                            std::make_pair(add.getRhs(), add.getLhs())})
    if (auto function = other.getDefiningOp<Function>())
      if (matchPattern(one, m_OneFloat()))
        return function.getOperand();
  return nullptr;
}

void BodyEmitter::emit(Operation *op) {
  ImplicitLocOpBuilder &b = builder();
  auto done = [&](Value result) { values[op->getResult(0)] = result; };
  Type resultType = op->getResult(0).getType();

  if (auto constantOp = dyn_cast<arith::ConstantOp>(op))
    return done(constant(constantOp));
  if (auto index = dyn_cast<linalg::IndexOp>(op)) {
    CoordinateMath math(e, lanes);
    const Coordinate &c = loops[index.getDim()];
    return done(lanes ? math.vector(c) : math.scalar(c));
  }
  if (auto extractOp = dyn_cast<tensor::ExtractOp>(op))
    return done(extract(extractOp));
  if (isa<tensor::DimOp, affine::AffineApplyOp>(op) &&
      llvm::all_of(op->getOperands(), [&](Value operand) {
        return !operand.getParentRegion()->getParentOp() ||
               !isa<linalg::LinalgOp>(operand.getParentRegion()->getParentOp());
      }))
    return done(e.splat(evaluator.scalar(op->getResult(0)), lanes));
  if (auto apply = dyn_cast<affine::AffineApplyOp>(op)) {
    CoordinateMath math(e, lanes);
    Coordinates operands;
    for (Value operand : apply.getMapOperands())
      operands.push_back(math.fromValue(get(operand)));
    AffineMap map = apply.getAffineMap();
    // Symbols are operands like dims here.
    SmallVector<AffineExpr> symbols;
    for (unsigned s = 0; s < map.getNumSymbols(); ++s)
      symbols.push_back(b.getAffineDimExpr(map.getNumDims() + s));
    AffineExpr expr = map.getResult(0).replaceSymbols(symbols);
    Coordinate result = math.apply(expr, operands);
    return done(lanes ? math.vector(result) : math.scalar(result));
  }

  // Conversions between types that registers do not tell apart, or hold wider.
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op)) {
    Value in = get(op->getOperand(0));
    Type to = registerType(resultType);
    unsigned from = getElementTypeOrSelf(in.getType()).getIntOrFloatBitWidth();
    unsigned wanted = getElementTypeOrSelf(to).getIntOrFloatBitWidth();
    if (from == wanted)
      return done(in);
    if (from > wanted)
      return done(arith::TruncIOp::create(b, to, in));
    if (isa<arith::IndexCastUIOp>(op))
      return done(arith::ExtUIOp::create(b, to, in));
    return done(arith::ExtSIOp::create(b, to, in));
  }
  if (isa<arith::ExtFOp, arith::TruncFOp>(op)) {
    Value in = get(op->getOperand(0));
    Type to = registerType(resultType);
    if (getElementTypeOrSelf(in.getType()).isF64() && !resultType.isF64())
      in = arith::TruncFOp::create(b, withLanes(b.getF32Type(), lanes), in);
    if (isNarrowFloat(resultType))
      in = evaluator.widen(evaluator.narrow(in, resultType));
    if (in.getType() != to)
      in = arith::ExtFOp::create(b, to, in);
    return done(in);
  }
  if (auto cast = dyn_cast<arith::BitcastOp>(op)) {
    Value in = get(cast.getIn());
    if (isNarrowFloat(cast.getIn().getType()))
      in = evaluator.narrow(in, cast.getIn().getType());
    Value out = arith::BitcastOp::create(b, withLanes(resultType, lanes), in);
    return done(evaluator.widen(out));
  }
  if (isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp,
          arith::FloorDivSIOp, arith::CeilDivSIOp, arith::CeilDivUIOp>(op))
    return done(integerDivision(op));

  if (computeType(resultType).isF32()) {
    if (Value x = onePlus<math::ExpOp>(op)) {
      auto negation = x.getDefiningOp<arith::NegFOp>();
      return done(emitOnePlusExp(b, get(negation ? negation.getOperand() : x),
                                 /*negated=*/bool(negation),
                                 hasTables(e.target())));
    }
    if (Value x = onePlus<math::ErfOp>(op))
      return done(emitOnePlusErf(b, get(x), hasTables(e.target())));
  }
  if (op->getNumRegions() == 0 && op->getNumResults() == 1 &&
      OpTrait::hasElementwiseMappableTraits(op)) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(get(operand));
    if (Value result = emitMath(b, op, operands))
      return done(result);
    OperationState state(b.getLoc(), op->getName());
    state.addOperands(operands);
    state.addAttributes(op->getAttrs());
    state.addTypes(registerType(resultType));
    return done(b.create(state)->getResult(0));
  }
  laneByLane(op);
}

Value BodyEmitter::constant(arith::ConstantOp op) {
  ImplicitLocOpBuilder &b = builder();
  Type type = registerType(op.getType());
  TypedAttr attribute = op.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(attribute)) {
    attribute = IntegerAttr::get(computeType(op.getType()), integer.getValue());
  } else if (auto number = dyn_cast<FloatAttr>(attribute)) {
    APFloat value = number.getValue();
    auto floatType = cast<FloatType>(computeType(op.getType()));
    bool loses;
    value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &loses);
    attribute = FloatAttr::get(floatType, value);
  }
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, Attribute(attribute));
  return arith::ConstantOp::create(b, attribute);
}

/// Where `value` is known: the elements of a scalar or splat integer constant.
static std::optional<APInt> splatInteger(Value value) {
  APInt integer;
  if (matchPattern(value, m_ConstantInt(&integer)))
    return integer;
  return std::nullopt;
}

Value BodyEmitter::integerDivision(Operation *op) {
  ImplicitLocOpBuilder &b = builder();
  Value a = get(op->getOperand(0)), divisor = get(op->getOperand(1));
  Type type = a.getType();
  bool isSigned = isa<arith::DivSIOp, arith::RemSIOp, arith::FloorDivSIOp,
                      arith::CeilDivSIOp>(op);
  auto constantOf = [&](const APInt &value) -> Value {
    TypedAttr attribute = IntegerAttr::get(getElementTypeOrSelf(type), value);
    if (auto vector = dyn_cast<VectorType>(type))
      attribute = DenseElementsAttr::get(vector, Attribute(attribute));
    return arith::ConstantOp::create(b, attribute);
  };
  unsigned width = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
  Value zero = constantOf(APInt(width, 0)), one = constantOf(APInt(width, 1));
  auto equal = [&](Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
  };

  std::optional<APInt> known = splatInteger(divisor);
  if (!known || known->isZero() || (isSigned && known->isAllOnes())) {
    Value bad = equal(divisor, zero);
    Value replaced = bad;
    if (isSigned) {
      Value minusOne = equal(divisor, constantOf(APInt::getAllOnes(width)));
      Value overflow = arith::AndIOp::create(
          b, minusOne, equal(a, constantOf(APInt::getSignedMinValue(width))));
      if (isa<arith::RemSIOp>(op)) {
        // The remainder by -1 is 0, but the instruction would trap.
        replaced = arith::OrIOp::create(b, bad, overflow);
      } else {
        bad = arith::OrIOp::create(b, bad, overflow);
        replaced = bad;
      }
    }
    Value reported = mask ? Value(arith::AndIOp::create(b, bad, mask)) : bad;
    e.reportFailureIf(reported, MV_FAILURE_DIVISION, op);
    divisor = evaluator.laneSelect(replaced, one, divisor);
  }

  if (isa<arith::DivUIOp>(op))
    return arith::DivUIOp::create(b, a, divisor);
  if (isa<arith::RemUIOp>(op))
    return arith::RemUIOp::create(b, a, divisor);
  if (isa<arith::DivSIOp>(op))
    return arith::DivSIOp::create(b, a, divisor);
  if (isa<arith::RemSIOp>(op))
    return arith::RemSIOp::create(b, a, divisor);

  // The quotient toward zero, moved by one where it was rounded the wrong way.
  Value quotient = isSigned ? Value(arith::DivSIOp::create(b, a, divisor))
                            : Value(arith::DivUIOp::create(b, a, divisor));
  Value rest =
      arith::SubIOp::create(b, a, arith::MulIOp::create(b, quotient, divisor));
  Value inexact =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, rest, zero);
  Value moved = inexact;
  if (isSigned) {
    auto predicate = isa<arith::FloorDivSIOp>(op) ? arith::CmpIPredicate::slt
                                                  : arith::CmpIPredicate::sge;
    Value signs = arith::XOrIOp::create(b, rest, divisor);
    moved = arith::AndIOp::create(
        b, inexact, arith::CmpIOp::create(b, predicate, signs, zero));
  }
  Value other = isa<arith::FloorDivSIOp>(op)
                    ? Value(arith::SubIOp::create(b, quotient, one))
                    : Value(arith::AddIOp::create(b, quotient, one));
  return evaluator.laneSelect(moved, other, quotient);
}

Value BodyEmitter::extract(tensor::ExtractOp op) {
  CoordinateMath math(e, lanes);
  Point point({}, lanes, mask);
  for (auto [d, index] : llvm::enumerate(op.getIndices())) {
    // A loop's own index is valid, and keeps its stride; anything else is
    // checked lane by lane.
    if (auto loop = index.getDefiningOp<linalg::IndexOp>())
      point.at.push_back(loops[loop.getDim()]);
    else
      point.at.push_back(evaluator.checkedIndex(
          math.fromValue(get(index)), evaluator.dim(op.getTensor(), d), point,
          /*unchecked=*/false, op));
  }
  return evaluator.widen(evaluator.evaluate(op.getTensor(), point));
}

void BodyEmitter::laneByLane(Operation *op) {
  ImplicitLocOpBuilder &b = builder();
  // Values that the operation (or its regions) takes from outside of it.
  llvm::SetVector<Value> captured;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (!op->isAncestor(operand.getParentRegion()->getParentOp()))
        captured.insert(operand);
  });
  SmallVector<SmallVector<Value>> results(op->getNumResults());
  for (int64_t lane = 0; lane < std::max<int64_t>(lanes, 1); ++lane) {
    IRMapping mapping;
    for (Value value : captured) {
      Value element = get(value);
      if (lanes)
        element = vector::ExtractOp::create(b, element, lane);
      Type original = value.getType();
      if (original.isIndex())
        element = arith::IndexCastOp::create(b, original, element);
      else if (isNarrowFloat(original))
        element = evaluator.narrow(element, original);
      mapping.map(value, element);
    }
    Operation *clone = b.clone(*op, mapping);
    for (auto [list, result] : llvm::zip_equal(results, clone->getResults())) {
      Value element = result;
      if (element.getType().isIndex())
        element = arith::IndexCastOp::create(b, b.getI64Type(), element);
      list.push_back(evaluator.widen(element));
    }
  }
  for (auto [result, list] : llvm::zip_equal(op->getResults(), results))
    values[result] =
        lanes ? Value(vector::FromElementsOp::create(
                    b, cast<VectorType>(registerType(result.getType())), list))
              : list[0];
}
