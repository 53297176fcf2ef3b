//===- ShapeFunction.cpp - From input dims to output dims -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/ShapeFunction.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/States.h"
#include "marver/abi.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace marver {
namespace {

/// factor * symbol + offset
struct Linear {
  unsigned symbol;
  int64_t factor = 1, offset = 0;
};

std::optional<Linear> asLinear(AffineExpr expr) {
  Linear linear;
  if (auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
      sum && sum.getKind() == AffineExprKind::Add) {
    auto constant = dyn_cast<AffineConstantExpr>(sum.getRHS());
    if (!constant)
      return std::nullopt;
    linear.offset = constant.getValue();
    expr = sum.getLHS();
  }
  if (auto product = dyn_cast<AffineBinaryOpExpr>(expr);
      product && product.getKind() == AffineExprKind::Mul) {
    auto constant = dyn_cast<AffineConstantExpr>(product.getRHS());
    if (!constant || constant.getValue() <= 0)
      return std::nullopt;
    linear.factor = constant.getValue();
    expr = product.getLHS();
  }
  auto symbol = dyn_cast<AffineSymbolExpr>(expr);
  if (!symbol)
    return std::nullopt;
  linear.symbol = symbol.getPosition();
  return linear;
}

/// Types of the arguments that a caller passes: all but the states.
ArrayRef<Type> inputTypes(func::FuncOp func) {
  return func.getArgumentTypes().drop_back(countStates(func));
}

/// Checks what the arguments' `mv.dims` say of their dims: a symbol's value
/// follows from the first dim that is linear in it alone; every dim must then
/// be what its expression gives, every symbol within its range.
void checkSymbols(func::FuncOp func, OpBuilder &inner, Block *block) {
  Location loc = func.getLoc();
  auto symbolList = func->getAttrOfType<ArrayAttr>("mv.symbols");
  unsigned count = symbolList ? symbolList.size() : 0;
  SmallVector<OpFoldResult> symbolValues(count);
  SmallVector<std::pair<AffineExpr, Value>> dims;
  unsigned flat = 0;
  for (auto [i, type] : llvm::enumerate(inputTypes(func))) {
    auto expressions = func.getArgAttrOfType<ArrayAttr>(i, "mv.dims");
    unsigned rank = cast<RankedTensorType>(type).getRank();
    for (unsigned d = 0; d < rank; ++d, ++flat) {
      auto map = expressions && expressions.size() == rank
                     ? dyn_cast<AffineMapAttr>(expressions[d])
                     : AffineMapAttr();
      if (map && map.getValue().getNumSymbols() <= count)
        dims.push_back({map.getValue().getResult(0), block->getArgument(flat)});
    }
  }
  auto check = [&](Value condition, StringRef message) {
    mv::CheckOp::create(inner, loc, condition, MV_FAILURE_SHAPE, message);
  };
  for (auto [expr, dim] : dims)
    if (std::optional<Linear> linear = asLinear(expr);
        linear && !symbolValues[linear->symbol])
      symbolValues[linear->symbol] = affine::makeComposedFoldedAffineApply(
          inner, loc,
          (inner.getAffineDimExpr(0) - linear->offset).floorDiv(linear->factor),
          {dim});
  for (auto [expr, dim] : dims) {
    bool known = true;
    expr.walk([&](AffineExpr part) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
        known &= bool(symbolValues[symbol.getPosition()]);
    });
    if (!known)
      continue;
    SmallVector<OpFoldResult> operands;
    for (OpFoldResult value : symbolValues)
      operands.push_back(value ? value : inner.getIndexAttr(0));
    Value expected = getValueOrCreateConstantIndexOp(
        inner, loc,
        affine::makeComposedFoldedAffineApply(
            inner, loc, AffineMap::get(0, count, expr), operands));
    if (expected != dim)
      check(arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::eq, dim,
                                  expected),
            "the dims of the inputs do not fit together");
  }
  for (unsigned i = 0; i < count; ++i) {
    if (!symbolValues[i])
      continue;
    auto symbol = cast<DictionaryAttr>(symbolList[i]);
    Value value = getValueOrCreateConstantIndexOp(inner, loc, symbolValues[i]);
    auto bound = [&](StringRef name, arith::CmpIPredicate predicate) {
      if (auto limit = symbol.getAs<IntegerAttr>(name))
        check(arith::CmpIOp::create(
                  inner, loc, predicate, value,
                  arith::ConstantIndexOp::create(inner, loc, limit.getInt())),
              "a dim of the inputs is out of its range");
    };
    bound("min", arith::CmpIPredicate::sge);
    bound("max", arith::CmpIPredicate::sle);
  }
}

/// Clones a scalar computation; dims of arguments become arguments.
Value cloneScalar(func::FuncOp func, OpBuilder &inner, Value value,
                  IRMapping &mapping, Block *block) {
  if (Value known = mapping.lookupOrNull(value))
    return known;
  Operation *def = value.getDefiningOp();
  if (auto dim = dyn_cast<tensor::DimOp>(def)) {
    auto argument = cast<BlockArgument>(dim.getSource());
    unsigned flat = *dim.getConstantIndex();
    for (unsigned i = 0; i < argument.getArgNumber(); ++i)
      flat += cast<RankedTensorType>(func.getArgumentTypes()[i]).getRank();
    mapping.map(value, block->getArgument(flat));
    return block->getArgument(flat);
  }
  for (Value operand : def->getOperands())
    cloneScalar(func, inner, operand, mapping, block);
  inner.clone(*def, mapping);
  return mapping.lookup(value);
}

} // namespace

void makeShapeFunction(func::FuncOp func, ArrayRef<OpFoldResult> wanted) {
  OpBuilder outer(func);
  Type index = outer.getIndexType();
  SmallVector<Type> arguments, results(wanted.size(), index);
  for (Type type : inputTypes(func))
    arguments.append(cast<RankedTensorType>(type).getRank(), index);
  auto shape = func::FuncOp::create(
      outer, func.getLoc(), (func.getSymName() + "__shape").str(),
      FunctionType::get(func.getContext(), arguments, results));
  shape.setPrivate();
  Block *block = shape.addEntryBlock();
  OpBuilder inner = OpBuilder::atBlockEnd(block);
  checkSymbols(func, inner, block);
  IRMapping mapping;
  SmallVector<Value> values;
  for (OpFoldResult item : wanted) {
    if (auto value = dyn_cast<Value>(item))
      values.push_back(cloneScalar(func, inner, value, mapping, block));
    else
      values.push_back(
          getValueOrCreateConstantIndexOp(inner, func.getLoc(), item));
  }
  func::ReturnOp::create(inner, func.getLoc(), values);
  func->setAttr("mv.shape", FlatSymbolRefAttr::get(shape));
}

} // namespace marver
