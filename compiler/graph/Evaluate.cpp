//===- Evaluate.cpp - Results of operations on constants ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// linalg.generic is evaluated by columns: some hundred points of its parallel
// iteration space at a time, each operation of the body over the whole column,
// with the reduction loops outside. So the cost of looking at an operation is
// spread over many elements, and weights of millions of elements fold in
// fractions of a second.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Evaluate.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Moving bytes
//===----------------------------------------------------------------------===//

SmallVector<int64_t> marver::rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

template <size_t Bytes>
static void copyRow(char *out, int64_t outStride, const char *in,
                    int64_t inStride, int64_t count) {
  if (outStride == 1 && inStride == 1) {
    memcpy(out, in, count * Bytes);
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    memcpy(out + i * outStride * Bytes, in + i * inStride * Bytes, Bytes);
}

void marver::copyStrided(char *out, ArrayRef<int64_t> outStrides,
                         const char *in, ArrayRef<int64_t> inStrides,
                         ArrayRef<int64_t> sizes, int64_t bytes) {
  if (llvm::is_contained(sizes, 0))
    return;
  if (sizes.empty()) {
    memcpy(out, in, bytes);
    return;
  }
  size_t inner = sizes.size() - 1;
  SmallVector<int64_t> index(sizes.size(), 0);
  while (true) {
    switch (bytes) {
    case 1:
      copyRow<1>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    case 2:
      copyRow<2>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    case 4:
      copyRow<4>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    default:
      copyRow<8>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    }
    int64_t dim = static_cast<int64_t>(inner) - 1;
    for (; dim >= 0; --dim) {
      out += outStrides[dim] * bytes;
      in += inStrides[dim] * bytes;
      if (++index[dim] < sizes[dim])
        break;
      out -= outStrides[dim] * sizes[dim] * bytes;
      in -= inStrides[dim] * sizes[dim] * bytes;
      index[dim] = 0;
    }
    if (dim < 0)
      return;
  }
}

ElementsAttr marver::makeSplat(RankedTensorType type, Attribute element) {
  return DenseElementsAttr::get(type, element);
}

/// Element `index` of `data` as an attribute of its type.
static Attribute elementAttr(const ConstantData &data, int64_t index) {
  Type type = data.type.getElementType();
  if (isa<FloatType>(type))
    return FloatAttr::get(type, data.getFloat(index));
  return IntegerAttr::get(type, data.getInt(index));
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

namespace {

/// Values of one scalar of the body at some points of the iteration space.
struct Column {
  SmallVector<double, 0> floats;
  SmallVector<int64_t, 0> ints; ///< sign-extended; i1 is 0 or 1

  void resize(bool isFloat, int64_t count) {
    if (isFloat)
      floats.resize(count);
    else
      ints.resize(count);
  }
};

/// A tensor operand: its data and where element 0 of a column's point is.
struct Operand {
  std::optional<ConstantData> data;
  Attribute fill; ///< every element, when there is no data
  AffineMap map;
  SmallVector<int64_t> strides;
};

} // namespace

static double roundTo(Type type, double value) {
  if (type.isF64())
    return value;
  if (type.isF32())
    return static_cast<float>(value);
  APFloat rounded(value);
  bool lost;
  rounded.convert(cast<FloatType>(type).getFloatSemantics(),
                  APFloat::rmNearestTiesToEven, &lost);
  return rounded.convertToDouble();
}

static int64_t wrapTo(Type type, int64_t value) {
  if (type.isIndex())
    return value;
  unsigned width = type.getIntOrFloatBitWidth();
  if (width == 1)
    return value & 1;
  return width >= 64 ? value : llvm::SignExtend64(value, width);
}

static uint64_t unsignedOf(Type type, int64_t value) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return width >= 64 ? value
                     : static_cast<uint64_t>(value) & ((1ull << width) - 1);
}

static int64_t signedOf(Type type, int64_t value) {
  return type.isInteger(1) ? -value : value;
}

static int64_t evaluateExpr(AffineExpr expr, ArrayRef<int64_t> dims) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t lhs = evaluateExpr(binary.getLHS(), dims);
  int64_t rhs = evaluateExpr(binary.getRHS(), dims);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return lhs + rhs;
  case AffineExprKind::Mul:
    return lhs * rhs;
  case AffineExprKind::Mod:
    return ((lhs % rhs) + rhs) % rhs;
  case AffineExprKind::FloorDiv:
    return llvm::divideFloorSigned(lhs, rhs);
  default:
    return llvm::divideCeilSigned(lhs, rhs);
  }
}

//===----------------------------------------------------------------------===//
// Scalar operations
//===----------------------------------------------------------------------===//

using Unary = double (*)(double);
using Binary = double (*)(double, double);

/// f64 function of a one-operand float operation.
static Unary unaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, Unary>(op)
      .Case<arith::NegFOp>([](auto) { return [](double x) { return -x; }; })
      .Case<arith::ExtFOp, arith::TruncFOp>(
          [](auto) { return [](double x) { return x; }; })
      .Case<math::AbsFOp>([](auto) { return [](double x) { return fabs(x); }; })
      .Case<math::ExpOp>([](auto) { return [](double x) { return exp(x); }; })
      .Case<math::Exp2Op>([](auto) { return [](double x) { return exp2(x); }; })
      .Case<math::ExpM1Op>(
          [](auto) { return [](double x) { return expm1(x); }; })
      .Case<math::LogOp>([](auto) { return [](double x) { return log(x); }; })
      .Case<math::Log2Op>([](auto) { return [](double x) { return log2(x); }; })
      .Case<math::Log10Op>(
          [](auto) { return [](double x) { return log10(x); }; })
      .Case<math::Log1pOp>(
          [](auto) { return [](double x) { return log1p(x); }; })
      .Case<math::SqrtOp>([](auto) { return [](double x) { return sqrt(x); }; })
      .Case<math::RsqrtOp>(
          [](auto) { return [](double x) { return 1 / sqrt(x); }; })
      .Case<math::CbrtOp>([](auto) { return [](double x) { return cbrt(x); }; })
      .Case<math::SinOp>([](auto) { return [](double x) { return sin(x); }; })
      .Case<math::CosOp>([](auto) { return [](double x) { return cos(x); }; })
      .Case<math::TanOp>([](auto) { return [](double x) { return tan(x); }; })
      .Case<math::SinhOp>([](auto) { return [](double x) { return sinh(x); }; })
      .Case<math::CoshOp>([](auto) { return [](double x) { return cosh(x); }; })
      .Case<math::TanhOp>([](auto) { return [](double x) { return tanh(x); }; })
      .Case<math::AsinOp>([](auto) { return [](double x) { return asin(x); }; })
      .Case<math::AcosOp>([](auto) { return [](double x) { return acos(x); }; })
      .Case<math::AtanOp>([](auto) { return [](double x) { return atan(x); }; })
      .Case<math::ErfOp>([](auto) { return [](double x) { return erf(x); }; })
      .Case<math::ErfcOp>([](auto) { return [](double x) { return erfc(x); }; })
      .Case<math::CeilOp>([](auto) { return [](double x) { return ceil(x); }; })
      .Case<math::FloorOp>(
          [](auto) { return [](double x) { return floor(x); }; })
      .Case<math::TruncOp>(
          [](auto) { return [](double x) { return trunc(x); }; })
      .Case<math::RoundOp>(
          [](auto) { return [](double x) { return round(x); }; })
      .Case<math::RoundEvenOp>(
          [](auto) { return [](double x) { return x - remainder(x, 1.0); }; })
      .Default([](Operation *) -> Unary { return nullptr; });
}

static Binary binaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, Binary>(op)
      .Case<arith::AddFOp>(
          [](auto) { return [](double a, double b) { return a + b; }; })
      .Case<arith::SubFOp>(
          [](auto) { return [](double a, double b) { return a - b; }; })
      .Case<arith::MulFOp>(
          [](auto) { return [](double a, double b) { return a * b; }; })
      .Case<arith::DivFOp>(
          [](auto) { return [](double a, double b) { return a / b; }; })
      .Case<arith::RemFOp>(
          [](auto) { return [](double a, double b) { return fmod(a, b); }; })
      .Case<arith::MaximumFOp>([](auto) {
        return [](double a, double b) {
          return std::isnan(a) ? a : std::isnan(b) ? b : fmax(a, b);
        };
      })
      .Case<arith::MinimumFOp>([](auto) {
        return [](double a, double b) {
          return std::isnan(a) ? a : std::isnan(b) ? b : fmin(a, b);
        };
      })
      .Case<arith::MaxNumFOp>(
          [](auto) { return [](double a, double b) { return fmax(a, b); }; })
      .Case<arith::MinNumFOp>(
          [](auto) { return [](double a, double b) { return fmin(a, b); }; })
      .Case<math::PowFOp>(
          [](auto) { return [](double a, double b) { return pow(a, b); }; })
      .Case<math::Atan2Op>(
          [](auto) { return [](double a, double b) { return atan2(a, b); }; })
      .Case<math::CopySignOp>([](auto) {
        return [](double a, double b) { return copysign(a, b); };
      })
      .Default([](Operation *) -> Binary { return nullptr; });
}

static bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::AlwaysTrue:
    return true;
  case P::ORD:
    return !unordered;
  case P::UNO:
    return unordered;
  case P::OEQ:
    return a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return unordered || a > b;
  case P::UGE:
    return unordered || a >= b;
  case P::ULT:
    return unordered || a < b;
  case P::ULE:
    return unordered || a <= b;
  case P::UNE:
    return unordered || a != b;
  }
  return false;
}

/// One integer operation; nothing if it is undefined or unknown.
static std::optional<int64_t> integerOp(Operation *op, Type type, int64_t a,
                                        int64_t b) {
  uint64_t ua = unsignedOf(type, a), ub = unsignedOf(type, b);
  // The wrapped value of i1 is 0 or 1; as a signed number it is 0 or -1.
  int64_t sa = signedOf(type, a), sb = signedOf(type, b);
  bool overflows = sb == -1 && sa == std::numeric_limits<int64_t>::min();
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  using Result = std::optional<int64_t>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<arith::AddIOp>([&](auto) { return Result(ua + ub); })
      .Case<arith::SubIOp>([&](auto) { return Result(ua - ub); })
      .Case<arith::MulIOp>([&](auto) { return Result(ua * ub); })
      .Case<arith::AndIOp>([&](auto) { return Result(a & b); })
      .Case<arith::OrIOp>([&](auto) { return Result(a | b); })
      .Case<arith::XOrIOp>([&](auto) { return Result(a ^ b); })
      .Case<arith::MaxSIOp>([&](auto) { return Result(sa > sb ? a : b); })
      .Case<arith::MinSIOp>([&](auto) { return Result(sa < sb ? a : b); })
      .Case<arith::MaxUIOp>([&](auto) { return Result(ua > ub ? a : b); })
      .Case<arith::MinUIOp>([&](auto) { return Result(ua < ub ? a : b); })
      .Case<arith::ShLIOp>(
          [&](auto) { return ub < width ? Result(ua << ub) : std::nullopt; })
      .Case<arith::ShRUIOp>(
          [&](auto) { return ub < width ? Result(ua >> ub) : std::nullopt; })
      .Case<arith::ShRSIOp>(
          [&](auto) { return ub < width ? Result(sa >> ub) : std::nullopt; })
      .Case<arith::DivUIOp>(
          [&](auto) { return ub ? Result(ua / ub) : std::nullopt; })
      .Case<arith::RemUIOp>(
          [&](auto) { return ub ? Result(ua % ub) : std::nullopt; })
      .Case<arith::DivSIOp>([&](auto) {
        return sb && !overflows ? Result(sa / sb) : std::nullopt;
      })
      .Case<arith::RemSIOp>([&](auto) {
        return sb && !overflows ? Result(sa % sb) : std::nullopt;
      })
      .Case<arith::FloorDivSIOp>([&](auto) {
        return sb && !overflows ? Result(llvm::divideFloorSigned(sa, sb))
                                : std::nullopt;
      })
      .Case<arith::CeilDivSIOp>([&](auto) {
        return sb && !overflows ? Result(llvm::divideCeilSigned(sa, sb))
                                : std::nullopt;
      })
      .Case<arith::CeilDivUIOp>([&](auto) {
        return ub ? Result(ua / ub + (ua % ub != 0)) : std::nullopt;
      })
      .Case<arith::CmpIOp>([&](arith::CmpIOp compare) -> Result {
        using P = arith::CmpIPredicate;
        switch (compare.getPredicate()) {
        case P::eq:
          return a == b;
        case P::ne:
          return a != b;
        case P::slt:
          return sa < sb;
        case P::sle:
          return sa <= sb;
        case P::sgt:
          return sa > sb;
        case P::sge:
          return sa >= sb;
        case P::ult:
          return ua < ub;
        case P::ule:
          return ua <= ub;
        case P::ugt:
          return ua > ub;
        case P::uge:
          return ua >= ub;
        }
        return std::nullopt;
      })
      .Default([](Operation *) { return std::nullopt; });
}

/// The integer that `value` truncates to, if `width` bits hold it.
static std::optional<int64_t> toInteger(double value, unsigned width,
                                        bool isSigned) {
  double truncated = trunc(value);
  double limit = ldexp(1.0, static_cast<int>(isSigned ? width - 1 : width));
  if (!(truncated < limit && truncated >= (isSigned ? -limit : 0.0)))
    return std::nullopt;
  if (isSigned)
    return static_cast<int64_t>(truncated);
  return static_cast<int64_t>(static_cast<uint64_t>(truncated));
}

//===----------------------------------------------------------------------===//
// linalg.generic
//===----------------------------------------------------------------------===//

namespace {

class GenericEvaluator {
public:
  explicit GenericEvaluator(linalg::GenericOp op) : op(op) {}

  std::optional<SmallVector<TypedAttr>> run(const EvaluateLimits &limits);

private:
  bool prepareOperand(OpOperand &operand);
  bool isUniform();
  std::optional<TypedAttr> moveBytes(int64_t resultBytes);
  bool runColumn(int64_t first, int64_t count);
  bool runBody(int64_t count);
  bool runOp(Operation *inner, int64_t count);
  void load(const Operand &operand, BlockArgument argument, int64_t count);
  int64_t offset(const Operand &operand, int64_t point, bool simple);
  Column &column(Value value, int64_t count) {
    Column &result = columns[value];
    result.resize(isa<FloatType>(value.getType()), count);
    return result;
  }
  const Column *read(Value value, int64_t count);

  linalg::GenericOp op;
  SmallVector<int64_t> ranges;
  SmallVector<unsigned> parallelDims, reductionDims;
  SmallVector<Operand> operands; ///< inputs, then outputs
  SmallVector<SmallVector<char, 0>> results;
  SmallVector<SmallVector<int64_t, 0>> coordinates; ///< per dim, of the points
  llvm::DenseMap<Value, Column> columns;
};

} // namespace

bool GenericEvaluator::prepareOperand(OpOperand &use) {
  Operand operand;
  operand.map = op.getMatchingIndexingMap(&use);
  Value value = use.get();
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type) { // a scalar operand
    if (!matchPattern(value, m_Constant(&operand.fill)) ||
        !isa<FloatAttr, IntegerAttr>(operand.fill))
      return false;
    operands.push_back(std::move(operand));
    return true;
  }
  if (!type.hasStaticShape() || !type.getElementType().isIntOrIndexOrFloat())
    return false;
  operand.strides = rowMajorStrides(type.getShape());
  bool isRead = op.getMatchingBlockArgument(&use).use_empty() == false;
  operand.data = getConstantData(value);
  if (operand.data) {
    if (operand.data->isSplat && elementCount(type) > 0)
      operand.fill = elementAttr(*operand.data, 0);
    operands.push_back(std::move(operand));
    return true;
  }
  if (!op.isDpsInit(&use))
    return false;
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    value = matchPattern(fill.getInputs()[0], m_Constant(&operand.fill))
                ? fill.getOutputs()[0]
                : Value();
  if (!value || (isRead && !operand.fill) ||
      (!operand.fill && !value.getDefiningOp<tensor::EmptyOp>()))
    return false;
  operands.push_back(std::move(operand));
  return true;
}

/// Whether every point of the iteration space computes the same.
bool GenericEvaluator::isUniform() {
  if (!reductionDims.empty() || op.hasIndexSemantics())
    return false;
  for (const Operand &operand : operands)
    if (operand.data && !operand.fill)
      return false;
  return true;
}

/// The result of a generic that only permutes or repeats its operand.
std::optional<TypedAttr> GenericEvaluator::moveBytes(int64_t resultBytes) {
  Block *body = op.getBody();
  auto argument = dyn_cast<BlockArgument>(body->getTerminator()->getOperand(0));
  if (op.getNumResults() != 1 || !argument || argument.getOwner() != body ||
      argument.getArgNumber() >= op.getNumDpsInputs() || !reductionDims.empty())
    return std::nullopt;
  const Operand &in = operands[argument.getArgNumber()];
  AffineMap outMap = operands.back().map;
  if (!in.data || in.data->isSplat || !outMap.isPermutation())
    return std::nullopt;
  SmallVector<int64_t> inStrides(ranges.size(), 0),
      outStrides(ranges.size(), 0);
  int64_t base = 0;
  for (auto [expr, stride] : llvm::zip_equal(in.map.getResults(), in.strides)) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      inStrides[dim.getPosition()] += stride;
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      base += constant.getValue() * stride;
    else
      return std::nullopt;
  }
  for (auto [expr, stride] :
       llvm::zip_equal(outMap.getResults(), operands.back().strides))
    outStrides[cast<AffineDimExpr>(expr).getPosition()] = stride;
  auto type = cast<RankedTensorType>(op.getResultTypes()[0]);
  int64_t bytes = elementBytes(type.getElementType());
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    copyStrided(out.data(), outStrides, in.data->bytes.data() + base * bytes,
                inStrides, ranges, bytes);
  }));
}

int64_t GenericEvaluator::offset(const Operand &operand, int64_t point,
                                 bool simple) {
  int64_t result = 0;
  if (simple) {
    for (auto [expr, stride] :
         llvm::zip_equal(operand.map.getResults(), operand.strides))
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        result += coordinates[dim.getPosition()][point] * stride;
      else
        result += cast<AffineConstantExpr>(expr).getValue() * stride;
    return result;
  }
  SmallVector<int64_t> dims;
  for (auto &coordinate : coordinates)
    dims.push_back(coordinate[point]);
  for (auto [expr, stride] :
       llvm::zip_equal(operand.map.getResults(), operand.strides))
    result += evaluateExpr(expr, dims) * stride;
  return result;
}

static bool isSimple(AffineMap map) {
  return llvm::all_of(map.getResults(), [](AffineExpr expr) {
    return isa<AffineDimExpr, AffineConstantExpr>(expr);
  });
}

void GenericEvaluator::load(const Operand &operand, BlockArgument argument,
                            int64_t count) {
  Column &out = column(argument, count);
  Type type = argument.getType();
  if (operand.fill) {
    if (auto value = dyn_cast<FloatAttr>(operand.fill))
      llvm::fill(out.floats, value.getValueAsDouble());
    else
      llvm::fill(out.ints,
                 wrapTo(type, cast<IntegerAttr>(operand.fill).getInt()));
    return;
  }
  if (!operand.data)
    return;
  bool simple = isSimple(operand.map);
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = offset(operand, i, simple);
    if (type.isF32()) {
      float value;
      memcpy(&value, operand.data->bytes.data() + at * 4, 4);
      out.floats[i] = value;
    } else if (isa<FloatType>(type)) {
      out.floats[i] = operand.data->getFloat(at);
    } else {
      out.ints[i] = operand.data->getInt(at);
    }
  }
}

const Column *GenericEvaluator::read(Value value, int64_t count) {
  auto found = columns.find(value);
  if (found != columns.end() &&
      std::max(found->second.floats.size(), found->second.ints.size()) ==
          static_cast<size_t>(count))
    return &found->second;
  // A scalar from outside the body: only constants are known.
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return nullptr;
  Column &out = column(value, count);
  if (auto number = dyn_cast<FloatAttr>(attribute))
    llvm::fill(out.floats, number.getValueAsDouble());
  else if (auto integer = dyn_cast<IntegerAttr>(attribute))
    llvm::fill(out.ints, value.getType().isInteger(1)
                             ? int64_t(!integer.getValue().isZero())
                             : integer.getInt());
  else
    return nullptr;
  return &out;
}

bool GenericEvaluator::runOp(Operation *inner, int64_t count) {
  if (inner->getNumResults() != 1 || inner->getNumRegions() != 0)
    return false;
  Value result = inner->getResult(0);
  Type type = result.getType();
  if (!type.isIntOrIndexOrFloat())
    return false;
  // Room for the operands' columns must exist before references are taken.
  SmallVector<Column, 3> in;
  if (!isa<linalg::IndexOp>(inner))
    for (Value operand : inner->getOperands()) {
      const Column *known = read(operand, count);
      if (!known)
        return false;
      in.push_back(*known);
    }
  Column &out = column(result, count);

  if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
    llvm::copy(ArrayRef(coordinates[index.getDim()]).take_front(count),
               out.ints.begin());
    return true;
  }
  if (inner->hasTrait<OpTrait::ConstantLike>())
    return read(result, count) != nullptr;
  if (Unary function = unaryOf(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.floats[i] = roundTo(type, function(in[0].floats[i]));
    return true;
  }
  if (Binary function = binaryOf(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.floats[i] = roundTo(type, function(in[0].floats[i], in[1].floats[i]));
    return true;
  }
  if (isa<math::FmaOp>(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.floats[i] = type.isF32()
                          ? fmaf(static_cast<float>(in[0].floats[i]),
                                 static_cast<float>(in[1].floats[i]),
                                 static_cast<float>(in[2].floats[i]))
                          : roundTo(type, fma(in[0].floats[i], in[1].floats[i],
                                              in[2].floats[i]));
    return true;
  }
  if (auto compare = dyn_cast<arith::CmpFOp>(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.ints[i] = compareFloats(compare.getPredicate(), in[0].floats[i],
                                  in[1].floats[i]);
    return true;
  }
  if (isa<arith::SelectOp>(inner)) {
    for (int64_t i = 0; i < count; ++i) {
      const Column &chosen = in[0].ints[i] ? in[1] : in[2];
      if (isa<FloatType>(type))
        out.floats[i] = chosen.floats[i];
      else
        out.ints[i] = chosen.ints[i];
    }
    return true;
  }
  Type inType = inner->getOperand(0).getType();
  if (isa<arith::SIToFPOp, arith::UIToFPOp>(inner)) {
    for (int64_t i = 0; i < count; ++i) {
      // Through long double: one rounding also from 64-bit integers to f32.
      int64_t value = in[0].ints[i];
      bool isSigned = isa<arith::SIToFPOp>(inner);
      if (type.isF32())
        out.floats[i] = isSigned
                            ? static_cast<float>(signedOf(inType, value))
                            : static_cast<float>(unsignedOf(inType, value));
      else
        out.floats[i] = roundTo(
            type, isSigned ? static_cast<double>(signedOf(inType, value))
                           : static_cast<double>(unsignedOf(inType, value)));
    }
    return true;
  }
  if (isa<arith::FPToSIOp, arith::FPToUIOp>(inner)) {
    for (int64_t i = 0; i < count; ++i) {
      std::optional<int64_t> value =
          toInteger(in[0].floats[i], type.getIntOrFloatBitWidth(),
                    isa<arith::FPToSIOp>(inner));
      if (!value)
        return false;
      out.ints[i] = wrapTo(type, *value);
    }
    return true;
  }
  if (isa<arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.ints[i] = wrapTo(type, signedOf(inType, in[0].ints[i]));
    return true;
  }
  if (isa<arith::ExtUIOp, arith::IndexCastUIOp>(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.ints[i] =
          wrapTo(type, static_cast<int64_t>(unsignedOf(inType, in[0].ints[i])));
    return true;
  }
  if (isa<math::AbsIOp>(inner)) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t value = in[0].ints[i];
      out.ints[i] =
          wrapTo(type, value < 0 ? 0 - static_cast<uint64_t>(value) : value);
    }
    return true;
  }
  if (in.size() != 2 || isa<FloatType>(inType))
    return false;
  for (int64_t i = 0; i < count; ++i) {
    std::optional<int64_t> value =
        integerOp(inner, inType, in[0].ints[i], in[1].ints[i]);
    if (!value)
      return false;
    out.ints[i] = wrapTo(type, *value);
  }
  return true;
}

bool GenericEvaluator::runBody(int64_t count) {
  for (Operation &inner : op.getBody()->without_terminator())
    if (!runOp(&inner, count))
      return false;
  return true;
}

/// Points [first, first + count) of the parallel space, all reduction points.
bool GenericEvaluator::runColumn(int64_t first, int64_t count) {
  coordinates.assign(ranges.size(), {});
  for (auto &coordinate : coordinates)
    coordinate.assign(count, 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = first + i;
    for (unsigned dim : llvm::reverse(parallelDims)) {
      coordinates[dim][i] = rest % ranges[dim];
      rest /= ranges[dim];
    }
  }
  Block *body = op.getBody();
  unsigned inputs = op.getNumDpsInputs();
  unsigned outputs = op.getNumDpsInits();
  for (unsigned i = 0; i < outputs; ++i)
    load(operands[inputs + i], body->getArgument(inputs + i), count);

  int64_t reductions = 1;
  for (unsigned dim : reductionDims)
    reductions *= ranges[dim];
  for (int64_t r = 0; r < reductions; ++r) {
    int64_t rest = r;
    for (unsigned dim : llvm::reverse(reductionDims)) {
      llvm::fill(coordinates[dim], rest % ranges[dim]);
      rest /= ranges[dim];
    }
    for (unsigned i = 0; i < inputs; ++i)
      if (!body->getArgument(i).use_empty())
        load(operands[i], body->getArgument(i), count);
    if (!runBody(count))
      return false;
    SmallVector<Column> yielded;
    for (Value value : body->getTerminator()->getOperands()) {
      const Column *known = read(value, count);
      if (!known)
        return false;
      yielded.push_back(*known);
    }
    for (unsigned i = 0; i < outputs; ++i)
      columns[body->getArgument(inputs + i)] = std::move(yielded[i]);
  }

  for (unsigned o = 0; o < outputs; ++o) {
    const Operand &operand = operands[inputs + o];
    const Column &values = columns[body->getArgument(inputs + o)];
    Type type = body->getArgument(inputs + o).getType();
    int64_t bytes = elementBytes(type);
    bool simple = isSimple(operand.map);
    for (int64_t i = 0; i < count; ++i) {
      char *to = results[o].data() + offset(operand, i, simple) * bytes;
      if (isa<FloatType>(type))
        storeFloat(to, type, values.floats[i]);
      else
        storeInt(to, type, values.ints[i]);
    }
  }
  return true;
}

std::optional<SmallVector<TypedAttr>>
GenericEvaluator::run(const EvaluateLimits &limits) {
  if (!op.hasPureTensorSemantics())
    return std::nullopt;
  for (Type type : op.getResultTypes())
    if (!cast<RankedTensorType>(type).hasStaticShape())
      return std::nullopt;
  int64_t inputBytes = 0;
  for (OpOperand &use : op->getOpOperands()) {
    if (!prepareOperand(use))
      return std::nullopt;
    if (operands.back().data)
      inputBytes += operands.back().data->bytes.size();
  }
  ranges = op.getStaticLoopRanges();
  int64_t points = 1, reductions = 1;
  for (auto [dim, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (ShapedType::isDynamic(ranges[dim]))
      return std::nullopt;
    bool isParallel = linalg::isParallelIterator(kind);
    (isParallel ? parallelDims : reductionDims).push_back(dim);
    (isParallel ? points : reductions) *= ranges[dim];
  }
  int64_t outputBytes = 0;
  for (unsigned i = 0; i < op.getNumDpsInits(); ++i) {
    AffineMap map = operands[op.getNumDpsInputs() + i].map;
    auto type = cast<RankedTensorType>(op.getResultTypes()[i]);
    if (!map.isProjectedPermutation(/*allowZeroInResults=*/true))
      return std::nullopt;
    for (unsigned dim : reductionDims)
      if (map.isFunctionOfDim(dim))
        return std::nullopt;
    for (unsigned dim : parallelDims)
      if (!map.isFunctionOfDim(dim) && ranges[dim] != 1)
        return std::nullopt;
    outputBytes += elementCount(type) * elementBytes(type.getElementType());
  }

  bool uniform = points > 0 && isUniform();
  if (!uniform) {
    int64_t work = points * std::max<int64_t>(reductions, 1) *
                   static_cast<int64_t>(op.getBody()->getOperations().size());
    if (outputBytes > inputBytes + limits.maxGrowth || work > limits.maxWork)
      return std::nullopt;
    if (std::optional<TypedAttr> moved = moveBytes(outputBytes))
      return SmallVector<TypedAttr>{*moved};
  }
  for (Type type : op.getResultTypes()) {
    auto shaped = cast<RankedTensorType>(type);
    // A uniform result is computed once, at the origin.
    int64_t count = uniform ? 1 : elementCount(shaped);
    results.emplace_back(count * elementBytes(shaped.getElementType()), 0);
  }
  constexpr int64_t columnLength = 256;
  int64_t last = uniform ? 1 : points;
  for (int64_t first = 0; first < last; first += columnLength)
    if (!runColumn(first, std::min(columnLength, last - first)))
      return std::nullopt;

  SmallVector<TypedAttr> attributes;
  for (auto [type, bytes] : llvm::zip_equal(op.getResultTypes(), results)) {
    auto shaped = cast<RankedTensorType>(type);
    if (uniform) {
      ConstantData element;
      element.type = RankedTensorType::get({}, shaped.getElementType());
      element.bytes = bytes;
      attributes.push_back(
          cast<TypedAttr>(makeSplat(shaped, elementAttr(element, 0))));
      continue;
    }
    attributes.push_back(
        cast<TypedAttr>(makeConstant(shaped, [&](MutableArrayRef<char> out) {
          memcpy(out.data(), bytes.data(), bytes.size());
        })));
  }
  return attributes;
}

//===----------------------------------------------------------------------===//
// Tensor operations
//===----------------------------------------------------------------------===//

/// `data` seen with another shape. The bytes are shared, not copied.
static TypedAttr reshaped(const ConstantData &data, RankedTensorType type) {
  if (data.isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(data, 0)));
  return cast<TypedAttr>(makeMappedConstant(type, data.bytes, data.storage));
}

static std::optional<TypedAttr> evaluateSlice(tensor::ExtractSliceOp op) {
  auto type = op.getType();
  std::optional<ConstantData> data = getConstantData(op.getSource());
  if (!data || !type.hasStaticShape() ||
      !llvm::none_of(op.getStaticOffsets(), ShapedType::isDynamic) ||
      !llvm::none_of(op.getStaticStrides(), ShapedType::isDynamic))
    return std::nullopt;
  if (data->isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(*data, 0)));
  SmallVector<int64_t> strides = rowMajorStrides(data->type.getShape());
  int64_t base = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    base += op.getStaticOffsets()[i] * strides[i];
    strides[i] *= op.getStaticStrides()[i];
  }
  // The sizes of the slice before unit dims are dropped.
  ArrayRef<int64_t> sizes = op.getStaticSizes();
  int64_t bytes = elementBytes(type.getElementType());
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    if (!out.empty())
      copyStrided(out.data(), rowMajorStrides(sizes),
                  data->bytes.data() + base * bytes, strides, sizes, bytes);
  }));
}

static std::optional<TypedAttr> evaluateConcat(tensor::ConcatOp op,
                                               const EvaluateLimits &limits) {
  auto type = op.getResultType();
  if (!type.hasStaticShape())
    return std::nullopt;
  SmallVector<ConstantData> parts;
  int64_t inputBytes = 0;
  for (Value input : op.getInputs()) {
    std::optional<ConstantData> data = getConstantData(input);
    if (!data)
      return std::nullopt;
    inputBytes += data->bytes.size();
    parts.push_back(std::move(*data));
  }
  int64_t bytes = elementBytes(type.getElementType());
  if (elementCount(type) * bytes > inputBytes + limits.maxGrowth)
    return std::nullopt;
  SmallVector<int64_t> strides = rowMajorStrides(type.getShape());
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    int64_t at = 0;
    for (const ConstantData &part : parts) {
      ArrayRef<int64_t> shape = part.type.getShape();
      SmallVector<int64_t> inStrides = rowMajorStrides(shape);
      if (part.isSplat)
        inStrides.assign(shape.size(), 0);
      if (elementCount(part.type) > 0)
        copyStrided(out.data() + at * strides[op.getDim()] * bytes, strides,
                    part.bytes.data(), inStrides, shape, bytes);
      at += shape[op.getDim()];
    }
  }));
}

static std::optional<TypedAttr> evaluatePad(tensor::PadOp op,
                                            const EvaluateLimits &limits) {
  RankedTensorType type = op.getResultType();
  std::optional<ConstantData> data = getConstantData(op.getSource());
  Attribute value;
  if (!data || !type.hasStaticShape() || !op.getConstantPaddingValue() ||
      !matchPattern(op.getConstantPaddingValue(), m_Constant(&value)) ||
      !llvm::all_of(op.getStaticLow(), [](int64_t low) { return low >= 0; }) ||
      !llvm::all_of(op.getStaticHigh(), [](int64_t high) { return high >= 0; }))
    return std::nullopt;
  int64_t bytes = elementBytes(type.getElementType());
  if (elementCount(type) * bytes >
      static_cast<int64_t>(data->bytes.size()) + limits.maxGrowth)
    return std::nullopt;
  SmallVector<int64_t> strides = rowMajorStrides(type.getShape());
  ArrayRef<int64_t> shape = data->type.getShape();
  SmallVector<int64_t> inStrides = rowMajorStrides(shape);
  if (data->isSplat)
    inStrides.assign(shape.size(), 0);
  int64_t base = 0;
  for (auto [low, stride] : llvm::zip_equal(op.getStaticLow(), strides))
    base += low * stride;
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    Type element = type.getElementType();
    for (size_t at = 0; at < out.size(); at += bytes)
      if (auto number = dyn_cast<FloatAttr>(value))
        storeFloat(out.data() + at, element, number.getValueAsDouble());
      else
        storeInt(out.data() + at, element, cast<IntegerAttr>(value).getInt());
    if (elementCount(data->type) > 0)
      copyStrided(out.data() + base * bytes, strides, data->bytes.data(),
                  inStrides, shape, bytes);
  }));
}

static std::optional<TypedAttr> evaluateGather(mv::GatherOp op,
                                               const EvaluateLimits &limits) {
  auto type = cast<RankedTensorType>(op.getType());
  std::optional<ConstantData> data = getConstantData(op.getInput());
  std::optional<SmallVector<int64_t>> indices =
      getConstantInts(op.getIndices());
  if (!data || !indices || !type.hasStaticShape())
    return std::nullopt;
  int64_t bytes = elementBytes(type.getElementType());
  int64_t resultBytes = elementCount(type) * bytes;
  if (resultBytes > static_cast<int64_t>(data->bytes.size()) + limits.maxGrowth)
    return std::nullopt;
  ArrayRef<int64_t> shape = data->type.getShape();
  auto dim = static_cast<size_t>(op.getDim());
  for (int64_t &index : *indices) {
    index += index < 0 ? shape[dim] : 0;
    if (index < 0 || index >= shape[dim])
      return std::nullopt;
  }
  if (data->isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(*data, 0)));
  int64_t outer = 1, inner = bytes;
  for (size_t i = 0; i < shape.size(); ++i)
    (i < dim ? outer : inner) *= i == dim ? 1 : shape[i];
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    char *to = out.data();
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t index : *indices) {
        memcpy(to, data->bytes.data() + (o * shape[dim] + index) * inner,
               inner);
        to += inner;
      }
  }));
}

/// Operations with one tensor result.
static std::optional<TypedAttr> evaluateTensorOp(Operation *op,
                                                 const EvaluateLimits &limits) {
  using Result = std::optional<TypedAttr>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
            tensor::ReshapeOp>([](auto reshape) -> Result {
        auto type = dyn_cast<RankedTensorType>(reshape->getResult(0).getType());
        std::optional<ConstantData> data =
            getConstantData(reshape->getOperand(0));
        if (!type || !data || !type.hasStaticShape() ||
            elementCount(type) != elementCount(data->type))
          return std::nullopt;
        return reshaped(*data, type);
      })
      .Case([](tensor::ExtractSliceOp slice) { return evaluateSlice(slice); })
      .Case([&](tensor::ConcatOp concat) {
        return evaluateConcat(concat, limits);
      })
      .Case([&](tensor::PadOp pad) { return evaluatePad(pad, limits); })
      .Case([&](mv::GatherOp gather) { return evaluateGather(gather, limits); })
      .Case<tensor::SplatOp, linalg::FillOp>([](Operation *fill) -> Result {
        auto type = dyn_cast<RankedTensorType>(fill->getResult(0).getType());
        Attribute value;
        if (!type || !type.hasStaticShape() ||
            !matchPattern(fill->getOperand(0), m_Constant(&value)) ||
            !isa<FloatAttr, IntegerAttr>(value))
          return std::nullopt;
        return cast<TypedAttr>(makeSplat(type, value));
      })
      .Case([](tensor::FromElementsOp elements) -> Result {
        auto type = elements.getType();
        SmallVector<Attribute> values;
        for (Value element : elements.getElements())
          if (Attribute value; matchPattern(element, m_Constant(&value)))
            values.push_back(value);
          else
            return std::nullopt;
        if (!type.hasStaticShape())
          return std::nullopt;
        return cast<TypedAttr>(
            ElementsAttr(DenseElementsAttr::get(type, values)));
      })
      .Case([](tensor::ExtractOp extract) -> Result {
        std::optional<ConstantData> data = getConstantData(extract.getTensor());
        if (!data)
          return std::nullopt;
        int64_t at = 0;
        for (auto [index, size] :
             llvm::zip_equal(extract.getIndices(), data->type.getShape())) {
          std::optional<int64_t> value = getConstantIntValue(index);
          if (!value || *value < 0 || *value >= size)
            return std::nullopt;
          at = at * size + *value;
        }
        return cast<TypedAttr>(elementAttr(*data, data->isSplat ? 0 : at));
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<SmallVector<TypedAttr>>
marver::evaluate(Operation *op, const EvaluateLimits &limits) {
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return GenericEvaluator(generic).run(limits);
  if (op->getNumResults() != 1)
    return std::nullopt;
  if (std::optional<TypedAttr> result = evaluateTensorOp(op, limits))
    return SmallVector<TypedAttr>{*result};
  return std::nullopt;
}
