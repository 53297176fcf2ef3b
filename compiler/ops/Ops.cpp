//===- Ops.cpp - Dims, checks and errors of the operator builders ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Arithmetic on dims keeps one value for one expression: linear expressions are
// single affine.apply operations over atoms (dims of arguments, products of two
// unknowns, ...) whose operands are in order of first use, and every operation
// made here is looked up before it is made again. So "the same dim" is "the
// same value".
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "compiler/ir/Constants.h"
#include "marver/abi.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include <limits>
#include <numeric>

using namespace mlir;
using namespace marver;

/// Elements of a tensor: 2^48 at most.
static constexpr int64_t elementLimit = int64_t(1) << 48;

Value OpsBuilder::fail(const Twine &message) {
  if (error.empty())
    error = message.str();
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Dims of values
//===----------------------------------------------------------------------===//

std::optional<int64_t> OpsBuilder::known(Dim dim) {
  return getConstantIntValue(dim);
}

std::optional<SmallVector<int64_t>> OpsBuilder::known(ArrayRef<Dim> dims) {
  return getConstantIntValues(dims);
}

SmallVector<Dim> OpsBuilder::indices(ArrayRef<int64_t> values) {
  return getAsIndexOpFoldResult(getContext(), values);
}

Value OpsBuilder::indexValue(Dim dim) {
  if (auto value = dyn_cast<Value>(dim))
    return value;
  return arith::ConstantIndexOp::create(*this, *known(dim));
}

RankedTensorType OpsBuilder::typeFor(ArrayRef<Dim> dims, Type element) {
  requireSizes(dims);
  SmallVector<int64_t> sizes;
  int64_t elements = 1;
  for (Dim dim : dims) {
    int64_t size = known(dim).value_or(ShapedType::kDynamic);
    sizes.push_back(size);
    if (size == ShapedType::kDynamic || size == 0)
      continue;
    // Arithmetic on senseless numbers may have wrapped; no type has them.
    if (size < 0 || llvm::MulOverflow(elements, size, elements) ||
        elements > elementLimit) {
      fail("makes a tensor with more elements than any memory holds");
      sizes.back() = elements = 1;
    }
  }
  return RankedTensorType::get(sizes, element);
}

void OpsBuilder::setDims(Value value, ArrayRef<Dim> dims) {
  knownDims[value] = Dims(dims);
}

void OpsBuilder::setRange(Value value, int64_t low, int64_t high) {
  knownRanges[value] = {low, high};
}

Dims OpsBuilder::dims(Value value) {
  auto found = knownDims.find(value);
  if (found != knownDims.end() && llvm::all_of(found->second, [&](Dim dim) {
        auto dynamic = dyn_cast<Value>(dim);
        return !dynamic || isVisible(dynamic);
      }))
    return found->second;
  Dims result;
  RankedTensorType type = typeOf(value);
  for (auto [axis, size] : llvm::enumerate(type.getShape())) {
    if (!ShapedType::isDynamic(size)) {
      result.push_back(index(size));
      continue;
    }
    // Next to the tensor: good wherever the tensor is.
    InsertionGuard guard(*this);
    if (value.getParentBlock() != getInsertionBlock())
      setInsertionPointAfterValue(value);
    Value dim = tensor::DimOp::create(*this, value, int64_t(axis));
    knownRanges[dim] = {0, std::numeric_limits<int64_t>::max()};
    result.push_back(dim);
  }
  knownDims[value] = result;
  return result;
}

Dim OpsBuilder::dim(Value value, int64_t axis) {
  int64_t size = typeOf(value).getDimSize(axis);
  return ShapedType::isDynamic(size) ? dims(value)[axis] : index(size);
}

Value OpsBuilder::withDims(Value value, ArrayRef<Dim> dims) {
  if (!typeOf(value).hasStaticShape())
    knownDims[value] = Dims(dims);
  return value;
}

//===----------------------------------------------------------------------===//
// Arithmetic on dims
//===----------------------------------------------------------------------===//

/// Position of an atom in the order of first use.
unsigned OpsBuilder::serialOf(Value value) {
  return serials.try_emplace(value, serials.size()).first->second;
}

Dim OpsBuilder::affine(AffineExpr expr, ArrayRef<Dim> operands) {
  // Constants into the expression, the rest composed down to atoms.
  SmallVector<AffineExpr> replacements;
  SmallVector<Value> atoms;
  for (Dim operand : operands) {
    if (auto constant = known(operand)) {
      replacements.push_back(getAffineConstantExpr(*constant));
      continue;
    }
    replacements.push_back(getAffineSymbolExpr(atoms.size()));
    atoms.push_back(cast<Value>(operand));
  }
  AffineMap map =
      AffineMap::get(0, atoms.size(), expr.replaceSymbols(replacements));
  affine::fullyComposeAffineMapAndOperands(&map, &atoms);
  affine::canonicalizeMapAndOperands(&map, &atoms);

  // Everything is a symbol, in order of first use.
  SmallVector<unsigned> order(
      llvm::to_vector(llvm::seq<unsigned>(atoms.size())));
  llvm::sort(order, [&](unsigned a, unsigned b) {
    return serialOf(atoms[a]) < serialOf(atoms[b]);
  });
  SmallVector<AffineExpr> renamed(atoms.size());
  SmallVector<Value> sorted;
  for (auto [position, old] : llvm::enumerate(order)) {
    renamed[old] = getAffineSymbolExpr(position);
    sorted.push_back(atoms[old]);
  }
  ArrayRef<AffineExpr> all(renamed);
  map = AffineMap::get(
      0, sorted.size(),
      map.getResult(0).replaceDimsAndSymbols(all.take_front(map.getNumDims()),
                                             all.drop_front(map.getNumDims())));
  map = simplifyAffineMap(map);
  affine::canonicalizeMapAndOperands(&map, &sorted);
  AffineExpr result = map.getResult(0);
  if (auto constant = dyn_cast<AffineConstantExpr>(result))
    return index(constant.getValue());
  if (isa<AffineDimExpr, AffineSymbolExpr>(result)) {
    unsigned position =
        isa<AffineDimExpr>(result)
            ? cast<AffineDimExpr>(result).getPosition()
            : cast<AffineSymbolExpr>(result).getPosition() + map.getNumDims();
    return sorted[position];
  }
  return remember(
      map.getAsOpaquePointer(), sorted,
      [&]() -> Value {
        return affine::AffineApplyOp::create(*this, map, sorted);
      },
      /*isSpeculatable=*/true);
}

/// Whether a value made before can be used at the insertion point: it is not of
/// a region that is complete.
bool OpsBuilder::isVisible(Value value) {
  return value.getParentRegion()->isAncestor(getInsertionBlock()->getParent());
}

/// Moves the insertion point out of all regions that none of the operands is
/// made in, but not out of the function.
void OpsBuilder::hoist(ArrayRef<Value> operands) {
  Operation *parent = getInsertionBlock()->getParentOp();
  while (parent && !parent->hasTrait<OpTrait::IsIsolatedFromAbove>() &&
         llvm::none_of(operands, [&](Value operand) {
           return parent->isAncestor(operand.getParentRegion()->getParentOp());
         })) {
    setInsertionPoint(parent);
    parent = parent->getParentOp();
  }
}

/// The value made for `key` and `operands` before, or what `make` makes now:
/// where its operands are known if it may be computed in vain, so that the same
/// expression is the same value in all regions.
Value OpsBuilder::remember(const void *key, ArrayRef<Value> operands,
                           function_ref<Value()> make, bool isSpeculatable) {
  for (auto &[known, value] : dimCache[key])
    if (ArrayRef<Value>(known) == operands && isVisible(value))
      return value;
  InsertionGuard guard(*this);
  if (isSpeculatable)
    hoist(operands);
  Value value = make();
  dimCache[key].emplace_back(SmallVector<Value>(operands), value);
  serialOf(value);
  return value;
}

Dim OpsBuilder::add(Dim a, Dim b) {
  return affine(getAffineSymbolExpr(0) + getAffineSymbolExpr(1), {a, b});
}

Dim OpsBuilder::sub(Dim a, Dim b) {
  return affine(getAffineSymbolExpr(0) - getAffineSymbolExpr(1), {a, b});
}

template <typename OpTy> Dim OpsBuilder::indexOp(Dim a, Dim b) {
  // Constants are made anew each time: the key holds their number.
  auto key = [&](Dim dim) -> Attribute {
    if (auto constant = known(dim))
      return getIndexAttr(*constant);
    return UnitAttr::get(getContext());
  };
  SmallVector<Value> operands;
  for (Dim dim : {a, b})
    if (!known(dim))
      operands.push_back(cast<Value>(dim));
  Attribute name =
      getArrayAttr({getStringAttr(OpTy::getOperationName()), key(a), key(b)});
  return remember(
      name.getAsOpaquePointer(), operands,
      [&]() -> Value {
        Value left = indexValue(a), right = indexValue(b);
        return OpTy::create(*this, left, right);
      },
      /*isSpeculatable=*/!std::is_same_v<OpTy, arith::FloorDivSIOp>);
}

Dim OpsBuilder::mul(Dim a, Dim b) {
  if (known(a) || known(b))
    return affine(getAffineSymbolExpr(0) * getAffineSymbolExpr(1), {a, b});
  if (serialOf(cast<Value>(b)) < serialOf(cast<Value>(a)))
    std::swap(a, b);
  return indexOp<arith::MulIOp>(a, b);
}

Dim OpsBuilder::floorDiv(Dim a, Dim b) {
  auto divisor = known(b);
  if (divisor && *divisor > 0)
    return affine(getAffineSymbolExpr(0).floorDiv(*divisor), {a});
  if (divisor && *divisor < 0)
    return floorDiv(sub(index(0), a), index(-*divisor));
  return indexOp<arith::FloorDivSIOp>(a, b);
}

Dim OpsBuilder::ceilDiv(Dim a, Dim b) {
  auto divisor = known(b);
  if (divisor && *divisor > 0)
    return affine(getAffineSymbolExpr(0).ceilDiv(*divisor), {a});
  return sub(index(0), floorDiv(sub(index(0), a), b));
}

Dim OpsBuilder::mod(Dim a, Dim b) {
  auto divisor = known(b);
  if (divisor && *divisor > 0)
    return affine(getAffineSymbolExpr(0) % *divisor, {a});
  return sub(a, mul(floorDiv(a, b), b));
}

Dim OpsBuilder::scale(Dim a, double factor) {
  if (std::optional<int64_t> number = known(a))
    return index(int64_t(std::floor(double(*number) * factor)));
  // A whole factor, or one over a whole number, stays affine.
  if (factor == std::trunc(factor))
    return mul(a, index(int64_t(factor)));
  if (1 / factor == std::trunc(1 / factor))
    return floorDiv(a, index(int64_t(1 / factor)));
  Attribute key =
      getArrayAttr({getStringAttr("mv.scale"), getF64FloatAttr(factor)});
  return remember(key.getAsOpaquePointer(), {cast<Value>(a)}, [&]() -> Value {
    Value real = cast(dimsToTensor({a}, getI64Type()), getF64Type());
    Value scaled = unary(Unary::Floor, mul(real, scalar(factor, getF64Type())));
    return indexValue(tensorToDims(cast(scaled, getI64Type()))->front());
  });
}

Dim OpsBuilder::product(ArrayRef<Dim> dims) {
  int64_t constant = 1;
  std::optional<Dim> unknown;
  SmallVector<Value> atoms;
  // Atoms in order, whatever the order of the dims: one value for one product.
  for (Dim dim : dims)
    if (!factorize(dim, constant, atoms))
      return index(0);
  llvm::sort(atoms,
             [&](Value a, Value b) { return serialOf(a) < serialOf(b); });
  for (Value atom : atoms)
    unknown = unknown ? mul(*unknown, atom) : Dim(atom);
  return unknown ? mul(*unknown, index(constant)) : index(constant);
}

Dim OpsBuilder::quotient(ArrayRef<Dim> dims, ArrayRef<Dim> divisors) {
  int64_t above = 1, below = 1;
  SmallVector<Value> atoms, divisorAtoms;
  for (Dim dim : divisors)
    if (!factorize(dim, below, divisorAtoms))
      return index(0);
  for (Dim dim : dims)
    if (!factorize(dim, above, atoms))
      return index(0);
  Dims rest, restBelow;
  for (Value divisor : divisorAtoms) {
    auto match = llvm::find(atoms, divisor);
    if (match != atoms.end())
      atoms.erase(match);
    else
      restBelow.push_back(divisor);
  }
  int64_t common = std::gcd(above, below);
  rest.assign(atoms.begin(), atoms.end());
  rest.push_back(index(above / common));
  restBelow.push_back(index(below / common));
  Dim divisor = product(restBelow);
  return known(divisor) == 1 ? product(rest) : floorDiv(product(rest), divisor);
}

/// Splits a dim into a constant and atoms; false when it is zero.
bool OpsBuilder::factorize(Dim dim, int64_t &constant,
                           SmallVector<Value> &atoms) {
  if (auto number = known(dim)) {
    if (*number == 0)
      return false;
    if (llvm::MulOverflow(constant, *number, constant))
      fail("a tensor of this model has more than 2^63 elements");
    return true;
  }
  Value value = cast<Value>(dim);
  if (auto product = value.getDefiningOp<arith::MulIOp>())
    return factorize(product.getLhs(), constant, atoms) &&
           factorize(product.getRhs(), constant, atoms);
  if (auto apply = value.getDefiningOp<affine::AffineApplyOp>()) {
    AffineMap map = apply.getAffineMap();
    auto expr = dyn_cast<AffineBinaryOpExpr>(map.getResult(0));
    if (expr && expr.getKind() == AffineExprKind::Mul && map.getNumDims() == 0)
      if (auto factor = dyn_cast<AffineConstantExpr>(expr.getRHS()))
        return factorize(index(factor.getValue()), constant, atoms) &&
               factorize(affine(expr.getLHS(), llvm::to_vector_of<Dim>(
                                                   apply.getMapOperands())),
                         constant, atoms);
  }
  atoms.push_back(value);
  return true;
}

//===----------------------------------------------------------------------===//
// Ranges of dims
//===----------------------------------------------------------------------===//

namespace {

/// An interval of integers; the ends saturate.
struct Interval {
  static constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
  static constexpr int64_t highest = std::numeric_limits<int64_t>::max();
  int64_t low = lowest, high = highest;

  static int64_t add(int64_t a, int64_t b) {
    if (a == lowest || b == lowest)
      return lowest;
    if (a == highest || b == highest)
      return highest;
    int64_t sum;
    if (llvm::AddOverflow(a, b, sum))
      return a < 0 ? lowest : highest;
    return sum;
  }
  static int64_t mul(int64_t a, int64_t b) {
    int64_t product;
    if (a != 0 && b != 0 &&
        (a == lowest || b == lowest || a == highest || b == highest ||
         llvm::MulOverflow(a, b, product)))
      return (a < 0) == (b < 0) ? highest : lowest;
    return a * b;
  }
};

Interval intervalOf(AffineExpr expr, ArrayRef<Interval> operands,
                    unsigned numDims) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return {constant.getValue(), constant.getValue()};
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return operands[numDims + symbol.getPosition()];
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return operands[dim.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Interval a = intervalOf(binary.getLHS(), operands, numDims);
  Interval b = intervalOf(binary.getRHS(), operands, numDims);
  switch (binary.getKind()) {
  case AffineExprKind::Add:
    return {Interval::add(a.low, b.low), Interval::add(a.high, b.high)};
  case AffineExprKind::Mul: {
    int64_t ends[] = {Interval::mul(a.low, b.low), Interval::mul(a.low, b.high),
                      Interval::mul(a.high, b.low),
                      Interval::mul(a.high, b.high)};
    return {*llvm::min_element(ends), *llvm::max_element(ends)};
  }
  case AffineExprKind::Mod:
    return b.low == b.high && b.low > 0 ? Interval{0, b.low - 1} : Interval{};
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv: {
    if (b.low != b.high || b.low <= 0)
      return {};
    bool floor = binary.getKind() == AffineExprKind::FloorDiv;
    auto divide = [&](int64_t x) {
      if (x == Interval::lowest || x == Interval::highest)
        return x;
      return floor ? llvm::divideFloorSigned(x, b.low)
                   : llvm::divideCeilSigned(x, b.low);
    };
    return {divide(a.low), divide(a.high)};
  }
  default:
    return {};
  }
}

} // namespace

std::pair<int64_t, int64_t> OpsBuilder::rangeOf(Dim dim) {
  if (auto constant = known(dim))
    return {*constant, *constant};
  Value value = cast<Value>(dim);
  auto found = knownRanges.find(value);
  if (found != knownRanges.end())
    return found->second;
  Interval range;
  auto operandRange = [&](Value operand) {
    auto [low, high] = rangeOf(operand);
    return Interval{low, high};
  };
  if (auto apply = value.getDefiningOp<affine::AffineApplyOp>()) {
    SmallVector<Interval> operands;
    for (Value operand : apply.getMapOperands())
      operands.push_back(operandRange(operand));
    range = intervalOf(apply.getAffineMap().getResult(0), operands,
                       apply.getAffineMap().getNumDims());
  } else if (auto product = value.getDefiningOp<arith::MulIOp>()) {
    Interval a = operandRange(product.getLhs()),
             b = operandRange(product.getRhs());
    if (a.low >= 0 && b.low >= 0)
      range = {Interval::mul(a.low, b.low), Interval::mul(a.high, b.high)};
  } else if (auto maximum = value.getDefiningOp<arith::MaxSIOp>()) {
    Interval a = operandRange(maximum.getLhs()),
             b = operandRange(maximum.getRhs());
    range = {std::max(a.low, b.low), std::max(a.high, b.high)};
  } else if (auto minimum = value.getDefiningOp<arith::MinSIOp>()) {
    Interval a = operandRange(minimum.getLhs()),
             b = operandRange(minimum.getRhs());
    range = {std::min(a.low, b.low), std::min(a.high, b.high)};
  } else if (auto choice = value.getDefiningOp<arith::SelectOp>()) {
    Interval a = operandRange(choice.getTrueValue());
    Interval b = operandRange(choice.getFalseValue());
    range = {std::min(a.low, b.low), std::max(a.high, b.high)};
  } else if (auto constant = value.getDefiningOp<arith::ConstantIndexOp>()) {
    range = {constant.value(), constant.value()};
  }
  knownRanges[value] = {range.low, range.high};
  return {range.low, range.high};
}

Dim OpsBuilder::max(Dim a, Dim b) {
  auto [low, high] = rangeOf(sub(a, b));
  if (low >= 0)
    return a;
  if (high <= 0)
    return b;
  return indexOp<arith::MaxSIOp>(a, b);
}

Dim OpsBuilder::min(Dim a, Dim b) {
  auto [low, high] = rangeOf(sub(a, b));
  if (high <= 0)
    return a;
  if (low >= 0)
    return b;
  return indexOp<arith::MinSIOp>(a, b);
}

Value OpsBuilder::compare(arith::CmpIPredicate predicate, Dim a, Dim b) {
  auto [low, high] = rangeOf(sub(a, b));
  auto constant = [&](bool value) -> Value {
    return arith::ConstantOp::create(*this, getBoolAttr(value));
  };
  // Decided by the range of a - b.
  switch (predicate) {
  case arith::CmpIPredicate::eq:
  case arith::CmpIPredicate::ne:
    if (low == 0 && high == 0)
      return constant(predicate == arith::CmpIPredicate::eq);
    if (low > 0 || high < 0)
      return constant(predicate == arith::CmpIPredicate::ne);
    break;
  case arith::CmpIPredicate::slt:
    if (high < 0 || low >= 0)
      return constant(high < 0);
    break;
  case arith::CmpIPredicate::sle:
    if (high <= 0 || low > 0)
      return constant(high <= 0);
    break;
  case arith::CmpIPredicate::sgt:
    if (low > 0 || high <= 0)
      return constant(low > 0);
    break;
  case arith::CmpIPredicate::sge:
    if (low >= 0 || high < 0)
      return constant(low >= 0);
    break;
  default:
    break;
  }
  return arith::CmpIOp::create(*this, predicate, indexValue(a), indexValue(b));
}

Dim OpsBuilder::select(Value condition, Dim a, Dim b) {
  if (same(a, b))
    return a;
  if (auto constant = getConstantIntValue(condition))
    return *constant ? a : b;
  return arith::SelectOp::create(*this, condition, indexValue(a), indexValue(b))
      .getResult();
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

void OpsBuilder::check(Value condition, int code, const Twine &message) {
  if (getConstantIntValue(condition) == 1)
    return;
  mv::CheckOp::create(*this, condition, code, message.str());
}

/// A size that comes out of data, or of a window larger than its input, may be
/// negative: nothing may be computed on it.
void OpsBuilder::requireSizes(ArrayRef<Dim> dims) {
  for (Dim dim : dims) {
    if (known(dim) || isNonNegative(dim))
      continue;
    Value value = cast<Value>(dim);
    Attribute key = getStringAttr("size");
    remember(key.getAsOpaquePointer(), {value}, [&]() -> Value {
      Value good = compare(arith::CmpIPredicate::sge, dim, index(0));
      check(good, MV_FAILURE_SHAPE, "a size is negative");
      return good;
    });
  }
}

bool OpsBuilder::requireEqual(Dim a, Dim b, const Twine &what) {
  if (same(a, b))
    return true;
  auto [low, high] = rangeOf(sub(a, b));
  if (low == 0 && high == 0)
    return true;
  if (low > 0 || high < 0) {
    auto text = [](Dim dim) {
      auto number = known(dim);
      return number ? std::to_string(*number) : std::string("a dynamic dim");
    };
    fail(what + ": " + text(a) + " and " + text(b) + " differ");
    return false;
  }
  // Once for each pair.
  SmallVector<Value> operands;
  int64_t constant = -1;
  for (Dim dim : {a, b}) {
    if (auto number = known(dim))
      constant = *number;
    else
      operands.push_back(cast<Value>(dim));
  }
  if (operands.size() == 2 && serialOf(operands[1]) < serialOf(operands[0]))
    std::swap(operands[0], operands[1]);
  Attribute key =
      getArrayAttr({getStringAttr("check"), getI64IntegerAttr(constant)});
  remember(key.getAsOpaquePointer(), operands, [&]() -> Value {
    Value equal = compare(arith::CmpIPredicate::eq, a, b);
    check(equal, MV_FAILURE_SHAPE, what + ": dims differ");
    return equal;
  });
  return true;
}

std::optional<int64_t> OpsBuilder::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    fail("axis " + Twine(axis) + " is out of range for a tensor of rank " +
         Twine(rank));
    return std::nullopt;
  }
  return axis < 0 ? axis + rank : axis;
}

std::optional<SmallVector<int64_t>> OpsBuilder::axes(ArrayRef<int64_t> axes,
                                                     int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t entry : axes) {
    auto position = axis(entry, rank);
    if (!position)
      return std::nullopt;
    if (llvm::is_contained(result, *position)) {
      fail("axis " + Twine(entry) + " is given twice");
      return std::nullopt;
    }
    result.push_back(*position);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Between dims and tensors
//===----------------------------------------------------------------------===//

Value OpsBuilder::dimsToTensor(ArrayRef<Dim> dims, Type element, bool scalar) {
  SmallVector<int64_t> shape;
  if (!scalar)
    shape.push_back(dims.size());
  auto type = RankedTensorType::get(shape, element);
  if (auto numbers = known(dims))
    return constant(makeConstant(type, [&](MutableArrayRef<char> bytes) {
      int64_t width = elementBytes(element);
      for (auto [position, number] : llvm::enumerate(*numbers)) {
        if (isa<FloatType>(element))
          storeFloat(bytes.data() + position * width, element, double(number));
        else
          storeInt(bytes.data() + position * width, element, number);
      }
    }));
  SmallVector<Value> elements;
  for (Dim dim : dims) {
    Value value = indexValue(dim);
    if (isa<FloatType>(element)) {
      value = arith::IndexCastOp::create(*this, getI64Type(), value);
      value = arith::SIToFPOp::create(*this, element, value);
    } else if (element != value.getType()) {
      value = arith::IndexCastOp::create(*this, element, value);
    }
    elements.push_back(value);
  }
  return tensor::FromElementsOp::create(*this, type, elements);
}

std::optional<Dims> OpsBuilder::tensorToDims(Value tensor) {
  if (!tensor)
    return std::nullopt;
  RankedTensorType type = typeOf(tensor);
  if (!type.hasStaticShape() || type.getRank() > 1 ||
      !type.getElementType().isIntOrIndex() || type.getNumElements() > 64) {
    fail("a tensor that gives dims must be a short list of integers");
    return std::nullopt;
  }
  if (auto numbers = getConstantInts(tensor))
    return indices(*numbers);
  Dims result;
  // The dims that a list was made of are those that it gives.
  auto list = tensor.getDefiningOp<tensor::FromElementsOp>();
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    SmallVector<Value> position;
    if (type.getRank() == 1 && !list)
      position.push_back(arith::ConstantIndexOp::create(*this, i));
    Value element = list ? Value(list.getElements()[i])
                         : tensor::ExtractOp::create(*this, tensor, position);
    if (auto cast = element.getDefiningOp<arith::IndexCastOp>();
        cast && cast.getIn().getType().isIndex())
      element = cast.getIn();
    if (!element.getType().isIndex())
      element = arith::IndexCastOp::create(*this, getIndexType(), element);
    std::optional<int64_t> number = getConstantIntValue(element);
    result.push_back(number ? index(*number) : Dim(element));
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Broadcasting
//===----------------------------------------------------------------------===//

std::optional<Dims> OpsBuilder::broadcastDims(ArrayRef<Dims> shapes) {
  size_t rank = 0;
  for (const Dims &shape : shapes)
    rank = std::max(rank, shape.size());
  Dims result(rank, index(1));
  for (const Dims &shape : shapes) {
    for (auto [position, dim] : llvm::enumerate(shape)) {
      Dim &target = result[rank - shape.size() + position];
      if (known(dim) == 1)
        continue;
      if (known(target) == 1) {
        target = dim;
        continue;
      }
      if (!requireEqual(target, dim, "operands do not broadcast"))
        return std::nullopt;
      // Prefer the number: it is what the check makes sure of.
      if (known(dim))
        target = dim;
    }
  }
  return result;
}
