//===- EvaluateGeneric.cpp - linalg.generic on constants ------------------===//
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
#include "compiler/graph/EvaluateScalars.h"
#include "mlir/IR/Matchers.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace marver;

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
  if (F64Function1 function = unaryOf(inner)) {
    for (int64_t i = 0; i < count; ++i)
      out.floats[i] = roundTo(type, function(in[0].floats[i]));
    return true;
  }
  if (F64Function2 function = binaryOf(inner)) {
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

std::optional<SmallVector<TypedAttr>>
marver::evaluateGeneric(linalg::GenericOp op, const EvaluateLimits &limits) {
  return GenericEvaluator(op).run(limits);
}
