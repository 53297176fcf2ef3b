//===- Reductions.cpp - Builders of reductions ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <limits>

using namespace mlir;
using namespace marver;

namespace {

/// The four ways that elements are combined.
enum class Combine { Sum, Product, Max, Min, Or, And };

TypedAttr startOf(OpBuilder &b, Combine combine, Type element,
                  bool isUnsigned) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (auto floatType = dyn_cast<FloatType>(element)) {
    double start = combine == Combine::Product ? 1
                   : combine == Combine::Max   ? -infinity
                   : combine == Combine::Min   ? infinity
                                               : 0;
    return b.getFloatAttr(floatType, start);
  }
  unsigned width = element.getIntOrFloatBitWidth();
  bool asUnsigned = isUnsigned || width == 1;
  switch (combine) {
  case Combine::Sum:
  case Combine::Or:
    return b.getIntegerAttr(element, 0);
  case Combine::Product:
    return b.getIntegerAttr(element, 1);
  case Combine::Max:
    return b.getIntegerAttr(element, asUnsigned
                                         ? APInt::getMinValue(width)
                                         : APInt::getSignedMinValue(width));
  case Combine::Min:
  case Combine::And:
    return b.getIntegerAttr(element, asUnsigned || combine == Combine::And
                                         ? APInt::getMaxValue(width)
                                         : APInt::getSignedMaxValue(width));
  }
  llvm_unreachable("all cases return");
}

} // namespace

/// Combines `x` over `axes`; the result lacks them and has element type
/// `element` (x is converted to it first).
static Value combine(OpsBuilder &ops, Combine kind, Value x,
                     ArrayRef<int64_t> axes, Type element, bool isUnsigned) {
  Dims all = ops.dims(x), kept;
  int64_t rank = all.size();
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  SmallVector<AffineExpr> out;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (llvm::is_contained(axes, axis)) {
      iterators[axis] = utils::IteratorType::reduction;
      continue;
    }
    kept.push_back(all[axis]);
    out.push_back(ops.getAffineDimExpr(axis));
  }
  Value start =
      arith::ConstantOp::create(ops, startOf(ops, kind, element, isUnsigned));
  Value init =
      linalg::FillOp::create(ops, start, ops.empty(kept, element)).getResult(0);
  AffineMap maps[] = {ops.getMultiDimIdentityMap(rank),
                      AffineMap::get(rank, 0, out, ops.getContext())};
  auto op = linalg::GenericOp::create(
      ops, init.getType(), x, init, maps, iterators,
      [&](OpBuilder &nested, Location loc, mlir::ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        ScalarMath math(b, isUnsigned);
        Value value = math.cast(args[0], element, isUnsigned), result;
        switch (kind) {
        case Combine::Sum:
          result = math.add(args[1], value);
          break;
        case Combine::Product:
          result = math.mul(args[1], value);
          break;
        case Combine::Max:
          result = math.max(args[1], value);
          break;
        case Combine::Min:
          result = math.min(args[1], value);
          break;
        case Combine::Or:
          result = arith::OrIOp::create(b, args[1], value);
          break;
        case Combine::And:
          result = arith::AndIOp::create(b, args[1], value);
          break;
        }
        linalg::YieldOp::create(b, result);
      });
  return ops.withDims(op.getResult(0), kept);
}

/// Number of elements that `axes` of x have together, as a tensor of rank 0.
static Value countOf(OpsBuilder &ops, Value x, ArrayRef<int64_t> axes,
                     Type element) {
  Dims sizes;
  for (int64_t axis : axes)
    sizes.push_back(ops.dim(x, axis));
  return ops.dimsToTensor({ops.product(sizes)}, element, /*scalar=*/true);
}

Value OpsBuilder::reduce(Reduce kind, Value x, ArrayRef<int64_t> axes,
                         bool keepDims, bool isUnsigned, bool noneMeansAll) {
  if (!x)
    return nullptr;
  auto positions = this->axes(axes, rankOf(x));
  if (!positions)
    return nullptr;
  if (axes.empty() && noneMeansAll)
    positions = llvm::to_vector(llvm::seq<int64_t>(rankOf(x)));
  Type element = elementOf(x);
  bool isReal = isa<FloatType>(element);
  Type wide = isReal && element.getIntOrFloatBitWidth() < 32
                  ? Type(getF32Type())
                  : element;
  auto sum = [&](Value values) {
    return combine(*this, Combine::Sum, values, *positions, wide, isUnsigned);
  };

  Value result;
  switch (kind) {
  case Reduce::Sum:
    result = sum(x);
    break;
  case Reduce::Mean:
    result = binary(Binary::Div, sum(x), countOf(*this, x, *positions, wide),
                    isUnsigned);
    break;
  case Reduce::Max:
  case Reduce::Min:
    result = combine(*this, kind == Reduce::Max ? Combine::Max : Combine::Min,
                     x, *positions, element, isUnsigned);
    break;
  case Reduce::Prod:
    result = combine(*this, Combine::Product, x, *positions, wide, isUnsigned);
    break;
  case Reduce::Any:
    result =
        combine(*this, Combine::Or, x, *positions, getI1Type(), isUnsigned);
    break;
  case Reduce::All:
    result =
        combine(*this, Combine::And, x, *positions, getI1Type(), isUnsigned);
    break;
  case Reduce::SumSquare:
    result = sum(unary(Unary::Square, cast(x, wide)));
    break;
  case Reduce::L1:
    result = sum(unary(Unary::Abs, x, isUnsigned));
    break;
  case Reduce::L2: {
    Value squares = sum(unary(Unary::Square, cast(x, wide)));
    if (isReal)
      result = unary(Unary::Sqrt, squares);
    else
      result = cast(unary(Unary::Sqrt, cast(squares, getF64Type(), isUnsigned)),
                    wide, false, isUnsigned);
    break;
  }
  case Reduce::LogSum:
  case Reduce::LogSumExp: {
    if (!isReal)
      return fail("takes tensors of floating-point type");
    if (kind == Reduce::LogSum) {
      result = unary(Unary::Log, sum(x));
      break;
    }
    // Shifted by the maximum, unless that is infinite.
    Value values = cast(x, wide);
    Value largest = reduce(Reduce::Max, values, *positions, /*keepDims=*/true,
                           isUnsigned, /*noneMeansAll=*/false);
    Value shift =
        where(unary(Unary::IsFinite, largest), largest, scalar(0, wide));
    Value total = sum(unary(Unary::Exp, sub(values, shift)));
    result = add(unary(Unary::Log, total), reshape(shift, dims(total)));
    break;
  }
  }
  if (!result)
    return nullptr;
  Type final =
      kind == Reduce::Any || kind == Reduce::All ? Type(getI1Type()) : element;
  result = cast(result, final);
  if (!keepDims)
    return result;
  Dims target = dims(x);
  for (int64_t axis : *positions)
    target[axis] = index(1);
  return reshape(result, target);
}

Value OpsBuilder::variance(Value x, ArrayRef<int64_t> axes, double correction,
                           bool keepDims) {
  if (!x)
    return nullptr;
  if (!isFloat(x))
    return fail("takes tensors of floating-point type");
  auto positions = this->axes(axes, rankOf(x));
  if (!positions)
    return nullptr;
  if (axes.empty())
    positions = llvm::to_vector(llvm::seq<int64_t>(rankOf(x)));
  Type element = elementOf(x);
  Type wide =
      element.getIntOrFloatBitWidth() < 32 ? Type(getF32Type()) : element;
  Value values = cast(x, wide);
  Value mean =
      reduce(Reduce::Mean, values, *positions, /*keepDims=*/true, false,
             /*noneMeansAll=*/false);
  Value squares = unary(Unary::Square, sub(values, mean));
  Value total = reduce(Reduce::Sum, squares, *positions, keepDims, false,
                       /*noneMeansAll=*/false);
  // A count below the correction gives 0 / 0, as in PyTorch.
  Value count =
      clamp(sub(countOf(*this, x, *positions, wide), scalar(correction, wide)),
            0.0, std::nullopt);
  return cast(div(total, count), element);
}

Value OpsBuilder::argReduce(mv::ArgKind kind, Value x, int64_t axis,
                            bool keepDims, bool last, Type element) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  Dims kept = dims(x);
  kept.erase(kept.begin() + *position);
  Type made = element.isInteger(32) ? element : Type(getI64Type());
  Value result = mv::ArgReduceOp::create(*this, typeFor(kept, made), x, kind,
                                         uint64_t(*position), last);
  result = cast(withDims(result, kept), element);
  return keepDims ? unsqueeze(result, {*position}) : result;
}

Value OpsBuilder::cumulativeSum(Value x, int64_t axis, bool exclusive,
                                bool reverse) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  return withDims(mv::CumulativeSumOp::create(*this, x.getType(), x,
                                              uint64_t(*position), exclusive,
                                              reverse),
                  dims(x));
}

Value OpsBuilder::softmax(Value x, int64_t axis, bool log) {
  if (!x)
    return nullptr;
  if (!isFloat(x))
    return fail("takes tensors of floating-point type");
  // Of a single number: 1, or its logarithm (NaN stays).
  if (rankOf(x) == 0)
    return reshape(softmax(unsqueeze(x, {0}), 0, log), {});
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  return withDims(
      mv::SoftmaxOp::create(*this, x.getType(), x, uint64_t(*position), log),
      dims(x));
}

Value OpsBuilder::vectorNorm(Value x, double order, ArrayRef<int64_t> axes,
                             bool keepDims) {
  if (!x)
    return nullptr;
  if (!isFloat(x))
    return fail("takes tensors of floating-point type");
  Value magnitude = unary(Unary::Abs, x);
  if (std::isinf(order))
    return reduce(order > 0 ? Reduce::Max : Reduce::Min, magnitude, axes,
                  keepDims);
  if (order == 1)
    return reduce(Reduce::L1, x, axes, keepDims);
  if (order == 2)
    return reduce(Reduce::L2, x, axes, keepDims);
  Type element = elementOf(x);
  if (order == 0) {
    Value count = cast(compare(Compare::Ne, x, scalar(0, element)), element);
    return reduce(Reduce::Sum, count, axes, keepDims);
  }
  Value powers = binary(Binary::Pow, magnitude, scalar(order, element));
  return binary(Binary::Pow, reduce(Reduce::Sum, powers, axes, keepDims),
                scalar(1 / order, element));
}
