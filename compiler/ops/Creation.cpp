//===- Creation.cpp - Builders of constants and filled tensors ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace marver;

Value OpsBuilder::constant(ElementsAttr attribute) {
  // Once for all iterations of a loop, and for what comes after it.
  InsertionGuard guard(*this);
  hoist({});
  return arith::ConstantOp::create(*this, attribute);
}

Value OpsBuilder::constantInts(ArrayRef<int64_t> values, Type element) {
  return dimsToTensor(indices(values), element);
}

static Value splat(OpsBuilder &b, double value, int64_t integer,
                   RankedTensorType type) {
  Type element = type.getElementType();
  Attribute scalar;
  if (auto floatType = dyn_cast<FloatType>(element))
    scalar = b.getFloatAttr(floatType, value);
  else
    scalar = b.getIntegerAttr(
        element,
        APInt(64, uint64_t(integer)).trunc(element.getIntOrFloatBitWidth()));
  return b.constant(DenseElementsAttr::get(type, scalar));
}

Value OpsBuilder::scalar(double value, Type element) {
  // Infinities and NaN have no integer; a float type does not ask for one.
  int64_t integer = isa<FloatType>(element) ? 0 : int64_t(value);
  return splat(*this, value, integer, RankedTensorType::get({}, element));
}

Value OpsBuilder::scalar(int64_t value, Type element) {
  return splat(*this, double(value), value, RankedTensorType::get({}, element));
}

Value OpsBuilder::full(ArrayRef<Dim> dims, double value, Type element) {
  RankedTensorType type = typeFor(dims, element);
  if (type.hasStaticShape())
    return splat(*this, value, int64_t(value), type);
  return expand(scalar(value, element), dims);
}

Value OpsBuilder::full(ArrayRef<Dim> dims, Value scalar) {
  if (!scalar)
    return nullptr;
  DenseElementsAttr constantScalar;
  RankedTensorType type = typeFor(dims, elementOf(scalar));
  if (type.hasStaticShape() &&
      matchPattern(scalar, m_Constant(&constantScalar)) &&
      constantScalar.isSplat())
    return constant(constantScalar.resizeSplat(type));
  return expand(scalar, dims);
}

Value OpsBuilder::empty(ArrayRef<Dim> dims, Type element) {
  return withDims(tensor::EmptyOp::create(*this, dims, element), dims);
}

Value OpsBuilder::generate(ArrayRef<Dim> dims, Type element, ScalarBody body) {
  Value init = empty(dims, element);
  unsigned rank = dims.size();
  auto op = linalg::GenericOp::create(
      *this, init.getType(), mlir::ValueRange{}, init,
      AffineMap::getMultiDimIdentityMap(rank, getContext()),
      SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, mlir::ValueRange) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> positions;
        for (unsigned axis = 0; axis < rank; ++axis)
          positions.push_back(linalg::IndexOp::create(b, axis));
        linalg::YieldOp::create(b, body(b, positions));
      });
  return withDims(op.getResult(0), dims);
}

/// An index value as an element of `element`.
static Value fromIndex(ImplicitLocOpBuilder &b, Value position, Type element) {
  Value wide = arith::IndexCastOp::create(b, b.getI64Type(), position);
  return ScalarMath(b).cast(wide, element, false);
}

Value OpsBuilder::arange(Dim start, Dim step, Dim count, Type element) {
  auto first = known(start), stride = known(step), length = known(count);
  if (first && stride && length && *length <= 1 << 20) {
    auto type = RankedTensorType::get({*length}, element);
    return constant(makeConstant(type, [&](MutableArrayRef<char> bytes) {
      int64_t width = elementBytes(element);
      for (int64_t i = 0; i < *length; ++i) {
        int64_t value = *first + i * *stride;
        if (isa<FloatType>(element))
          storeFloat(bytes.data() + i * width, element, double(value));
        else
          storeInt(bytes.data() + i * width, element, value);
      }
    }));
  }
  Value startValue = indexValue(start), stepValue = indexValue(step);
  return generate(
      {count}, element, [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
        Value offset = arith::MulIOp::create(b, at[0], stepValue);
        return fromIndex(b, arith::AddIOp::create(b, startValue, offset),
                         element);
      });
}

Value OpsBuilder::arange(Value start, Value step, Dim count) {
  if (!start || !step)
    return nullptr;
  // start + i * step in the element's own type (f32 for smaller floats).
  Type element = elementOf(start);
  Type compute = isa<FloatType>(element) && element.getIntOrFloatBitWidth() < 32
                     ? Type(getF32Type())
                     : element;
  Value positions = arange(index(0), index(1), count, compute);
  return map({positions, start, step}, element,
             [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
               ScalarMath math(b);
               return math.add(args[1], math.mul(args[0], args[2]));
             });
}

Value OpsBuilder::eye(Dim rows, Dim columns, int64_t diagonal, Type element) {
  return generate({rows, columns}, element,
                  [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
                    Value offset = arith::ConstantIndexOp::create(b, diagonal);
                    Value column = arith::AddIOp::create(b, at[0], offset);
                    Value hit = arith::CmpIOp::create(
                        b, arith::CmpIPredicate::eq, column, at[1]);
                    return ScalarMath(b).cast(hit, element, false);
                  });
}

Value OpsBuilder::tri(Value x, Dim diagonal, bool upper) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x);
  if (rank < 2)
    return fail("a triangle needs a tensor of rank 2 or more");
  Value offset = indexValue(diagonal);
  Dims all = dims(x);
  Dims matrix = {all[rank - 2], all[rank - 1]};
  Value keep =
      generate(matrix, getI1Type(),
               [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) -> Value {
                 Value bound = arith::AddIOp::create(b, at[0], offset);
                 auto predicate = upper ? arith::CmpIPredicate::sge
                                        : arith::CmpIPredicate::sle;
                 return arith::CmpIOp::create(b, predicate, at[1], bound);
               });
  return where(keep, x, scalar(0, elementOf(x)));
}

Value OpsBuilder::oneHot(Value positions, Dim depth, Value on, Value off,
                         int64_t axis) {
  if (!positions || !on || !off)
    return nullptr;
  auto at = this->axis(axis, rankOf(positions) + 1);
  if (!at)
    return nullptr;
  // Negative positions count from the end; what is out of range is all `off`.
  Type element = elementOf(positions);
  Value size = dimsToTensor({depth}, element, /*scalar=*/true);
  Value normalized =
      map({positions, size}, element,
          [](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
            ScalarMath math(b);
            Value zero = math.constant(0, args[0].getType());
            return math.select(math.compare(Compare::Lt, args[0], zero),
                               math.add(args[0], args[1]), args[0]);
          });
  Value classes = arange(index(0), index(1), depth, element);
  SmallVector<int64_t> behind;
  for (int64_t i = 0; i < rankOf(positions) - *at; ++i)
    behind.push_back(i + 1);
  Value hit = compare(Compare::Eq, unsqueeze(normalized, {*at}),
                      unsqueeze(classes, behind));
  return where(hit, on, off);
}
