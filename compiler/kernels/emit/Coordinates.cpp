//===- Coordinates.cpp - Where a tensor is evaluated ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Coordinates.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace marver;

Coordinate CoordinateMath::of(Value value) const {
  if (std::optional<int64_t> known = e.constantValue(value))
    return Coordinate(*known);
  return Coordinate(value);
}

Coordinate CoordinateMath::of(OpFoldResult value) const {
  if (std::optional<int64_t> known = getConstantIntValue(value))
    return Coordinate(*known);
  return of(cast<Value>(value));
}

Value CoordinateMath::scalar(const Coordinate &c) const {
  if (!c.base)
    return e.constant(c.offset);
  return e.add(c.base, c.offset);
}

Value CoordinateMath::vector(const Coordinate &c) const {
  if (c.lanes)
    return c.lanes;
  ImplicitLocOpBuilder &b = e.builder();
  auto type = VectorType::get(lanes, b.getI64Type());
  auto constantLanes = [&](int64_t first) -> Value {
    SmallVector<int64_t> values;
    for (int64_t lane = 0; lane < lanes; ++lane)
      values.push_back(first + lane * c.stride);
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, ArrayRef(values)));
  };
  if (!c.base)
    return constantLanes(c.offset);
  if (c.stride == 0)
    return e.splat(scalar(c), lanes);
  return arith::AddIOp::create(b, e.splat(c.base, lanes),
                               constantLanes(c.offset));
}

Value CoordinateMath::value(const Coordinate &c) const {
  return c.isUniform() ? scalar(c) : vector(c);
}

Coordinate CoordinateMath::fromValue(Value value) const {
  if (!isa<VectorType>(value.getType()))
    return of(value);
  Coordinate c;
  c.lanes = value;
  return c;
}

Coordinate CoordinateMath::add(const Coordinate &a, const Coordinate &b) const {
  if (a.lanes || b.lanes) {
    Coordinate sum;
    sum.lanes = arith::AddIOp::create(e.builder(), vector(a), vector(b));
    return sum;
  }
  Coordinate sum = a;
  sum.offset += b.offset;
  sum.stride += b.stride;
  if (b.base) {
    sum.base = a.base ? e.add(a.base, b.base) : b.base;
    sum.multiple = std::gcd(a.multiple, b.multiple);
  }
  return sum;
}

Coordinate CoordinateMath::sub(const Coordinate &a, const Coordinate &b) const {
  if (a == b && !a.lanes)
    return Coordinate(0);
  return add(a, mul(b, Coordinate(-1)));
}

Coordinate CoordinateMath::mul(const Coordinate &a, const Coordinate &b) const {
  if (a.isConstant() && !b.isConstant())
    return mul(b, a);
  if (b.isConstant() && !a.lanes) {
    Coordinate product;
    product.offset = a.offset * b.offset;
    product.stride = a.stride * b.offset;
    if (a.base && b.offset != 0) {
      product.base = e.mul(a.base, b.offset);
      product.multiple = std::abs(a.multiple * b.offset);
    }
    return product;
  }
  if (a.isUniform() && b.isUniform()) {
    Coordinate product = of(e.mul(scalar(a), scalar(b)));
    if (product.base && a.offset == 0 && b.offset == 0)
      product.multiple = a.multiple * b.multiple;
    return product;
  }
  Coordinate product;
  product.lanes = arith::MulIOp::create(e.builder(), vector(a), vector(b));
  return product;
}

/// Whether all lanes of `c` have one quotient by `k`, base being a multiple.
static bool staysInBlock(const Coordinate &c, int64_t k, int64_t lanes) {
  int64_t first = llvm::mod(c.offset, k);
  int64_t last = first + c.stride * (lanes - 1);
  return last >= 0 && last < k;
}

static bool isMultiple(const Coordinate &c, int64_t k) {
  return !c.lanes && (!c.base || c.multiple % k == 0);
}

/// Whether the lanes have one quotient by `k` although `base` is a multiple of
/// a part of k only: 16 columns at a multiple of 16 lie in one head of 64.
static bool staysTogether(const Coordinate &c, int64_t k, int64_t lanes) {
  if (c.lanes || !c.base || c.stride == 0)
    return false;
  int64_t part = std::gcd(c.multiple, k);
  return part > 0 && staysInBlock(c, part, lanes);
}

Coordinate CoordinateMath::floorDiv(const Coordinate &a,
                                    const Coordinate &divisor) const {
  if (divisor.isConstant()) {
    int64_t k = divisor.offset;
    assert(k > 0 && "coordinates are divided by sizes");
    if (k == 1)
      return a;
    if (isMultiple(a, k)) {
      Coordinate base;
      if (a.base) {
        base.base = e.floorDiv(a.base, e.constant(k));
        base.multiple = a.multiple / k;
      }
      int64_t quotient = llvm::divideFloorSigned(a.offset, k);
      if (a.stride == 0 || staysInBlock(a, k, lanes))
        return add(base, Coordinate(quotient));
      if (a.stride % k == 0) {
        base.stride = a.stride / k;
        return add(base, Coordinate(quotient));
      }
      // The pattern over the lanes is a constant.
      SmallVector<int64_t> pattern;
      for (int64_t lane = 0; lane < lanes; ++lane)
        pattern.push_back(
            llvm::divideFloorSigned(a.offset + lane * a.stride, k));
      ImplicitLocOpBuilder &b = e.builder();
      auto type = VectorType::get(lanes, b.getI64Type());
      Coordinate result;
      result.lanes = arith::ConstantOp::create(
          b, DenseElementsAttr::get(type, ArrayRef(pattern)));
      return add(base, result);
    }
    if (staysTogether(a, k, lanes))
      return of(e.floorDiv(scalar(a), e.constant(k)));
  }
  if (a.isUniform() && divisor.isUniform())
    return of(e.floorDiv(scalar(a), scalar(divisor)));
  Coordinate result;
  result.lanes =
      arith::DivUIOp::create(e.builder(), vector(a), vector(divisor));
  return result;
}

Coordinate CoordinateMath::rem(const Coordinate &a,
                               const Coordinate &divisor) const {
  if (divisor.isConstant()) {
    int64_t k = divisor.offset;
    assert(k > 0 && "coordinates are divided by sizes");
    if (k == 1)
      return Coordinate(0);
    if (isMultiple(a, k)) {
      Coordinate result(int64_t(llvm::mod(a.offset, k)));
      if (a.stride % k == 0)
        return result;
      result.stride = a.stride;
      if (staysInBlock(a, k, lanes))
        return result;
      SmallVector<int64_t> pattern;
      for (int64_t lane = 0; lane < lanes; ++lane)
        pattern.push_back(llvm::mod(a.offset + lane * a.stride, k));
      ImplicitLocOpBuilder &b = e.builder();
      auto type = VectorType::get(lanes, b.getI64Type());
      Coordinate lanesResult;
      lanesResult.lanes = arith::ConstantOp::create(
          b, DenseElementsAttr::get(type, ArrayRef(pattern)));
      return lanesResult;
    }
    if (staysTogether(a, k, lanes)) {
      Coordinate result = of(e.rem(scalar(a), e.constant(k)));
      result.stride = a.stride;
      if (result.base)
        result.multiple = std::gcd(std::gcd(a.multiple, k), a.offset);
      return result;
    }
  }
  if (a.isUniform() && divisor.isUniform())
    return of(e.rem(scalar(a), scalar(divisor)));
  Coordinate result;
  result.lanes =
      arith::RemUIOp::create(e.builder(), vector(a), vector(divisor));
  return result;
}

Value CoordinateMath::lessThan(const Coordinate &c, Value bound) const {
  ImplicitLocOpBuilder &b = e.builder();
  if (c.isUniform()) {
    Value left = scalar(c);
    std::optional<int64_t> known = e.constantValue(left);
    std::optional<int64_t> limit = e.constantValue(bound);
    if (known && limit && *known < *limit)
      return nullptr;
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, left, bound);
  }
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, vector(c),
                               e.splat(bound, lanes));
}

Value CoordinateMath::notNegative(const Coordinate &c) const {
  ImplicitLocOpBuilder &b = e.builder();
  if (c.isConstant() && c.offset >= 0)
    return nullptr;
  Value zero = e.constant(0);
  if (c.isUniform())
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sge, scalar(c), zero);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::sge, vector(c),
                               e.splat(zero, lanes));
}

Coordinate CoordinateMath::linearize(ArrayRef<Coordinate> at,
                                     ArrayRef<Value> sizes) const {
  Coordinate linear(0);
  for (auto [c, size] : llvm::zip_equal(at, sizes))
    linear = add(mul(linear, of(size)), c);
  return linear;
}

Coordinates CoordinateMath::delinearize(const Coordinate &linear,
                                        ArrayRef<Value> sizes) const {
  Coordinates at(sizes.size());
  // Dims of size 1 take no part; the outermost other one needs no remainder.
  SmallVector<size_t> dims;
  for (size_t d = 0; d < sizes.size(); ++d)
    if (e.constantValue(sizes[d]) != 1)
      dims.push_back(d);
  Coordinate rest = linear;
  for (size_t i = dims.size(); i-- > 0;) {
    if (i == 0) {
      at[dims[0]] = rest;
      break;
    }
    Coordinate size = of(sizes[dims[i]]);
    // An empty tensor is never evaluated.
    if (size.isConstant() && size.offset == 0)
      break;
    at[dims[i]] = rem(rest, size);
    rest = floorDiv(rest, size);
  }
  return at;
}

Coordinate CoordinateMath::apply(AffineExpr expr,
                                 ArrayRef<Coordinate> at) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return Coordinate(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return at[dim.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Coordinate lhs = apply(binary.getLHS(), at);
  Coordinate rhs = apply(binary.getRHS(), at);
  switch (binary.getKind()) {
  case AffineExprKind::Add:
    return add(lhs, rhs);
  case AffineExprKind::Mul:
    return mul(lhs, rhs);
  case AffineExprKind::FloorDiv:
    return floorDiv(lhs, rhs);
  case AffineExprKind::Mod:
    return rem(lhs, rhs);
  case AffineExprKind::CeilDiv:
    return floorDiv(add(lhs, sub(rhs, Coordinate(1))), rhs);
  default:
    llvm_unreachable("not a binary affine expression");
  }
}
