//===- RaiseQuantized.cpp - Quantized contractions on integers ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches mv.matmul and mv.conv with constant weights whose input is made of
// 8-bit integers, x = (q - z) * s or, on i32, x = q - z, and whose weights are
// 8-bit multiples of a step for each output: what is left of QuantizeLinear and
// DequantizeLinear pairs, MatMulInteger, ConvInteger, the operators of
// PyTorch's PT2E quantization, whatever has been folded before. Weights are
// recognized by their values: their step is the largest magnitude divided by
// the smallest integer that makes all of the output's weights integers.
//
// Makes the product of bytes, unsigned times signed, summed in i32, and behind
// it the share of the zero point and the scales:
//
//   %f = linalg.generic ins(%q) { extui, subi 117, sitofp, mulf 0.02 }
//   %y = mv.matmul %f, %w                            // %w[k][n] = 0.01 *
//   v[k][n]
// becomes
//   %a = mv.packed_matmul %q, %v                     // i8 to i32
//   %y = linalg.generic ins(%a, %c, %s) { subi, sitofp, mulf }
//                      // %c[n] = 117 * sum over k of v[k][n], %s[n] = 0.02 *
//                      0.01
//
// Sums are exact where f32 rounds. Divisions before a rounding become products
// with the reciprocal: where a value lies at the middle between two integers,
// the result may be the other one.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Packing.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/graph/PrecisionPasses.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace marver;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

namespace {

/// (bytes - zero - zeroValue) * scale
struct Quantized {
  Value bytes;
  bool isUnsigned = false;
  int64_t zero = 0;
  Value zeroValue; ///< rank 0, i32; null for none
  double scale = 1;
};

/// v[n] * scale[n], outputs as the source has them.
struct IntegerWeights {
  ElementsAttr values; ///< i8
  SmallVector<double> scales;
  SmallVector<int64_t> sums; ///< of each output's values
};

/// A body of one operation on an element of a tensor and a number.
struct Step {
  Operation *op = nullptr;
  Value input;                  ///< the tensor
  bool isFirst = true;          ///< operand of `op`
  std::optional<double> number; ///< the other operand, or
  Value numberTensor;           ///< of rank 0
};

} // namespace

//===----------------------------------------------------------------------===//
// What an input is made of
//===----------------------------------------------------------------------===//

static std::optional<double> numberOf(Attribute attribute) {
  if (auto value = dyn_cast<FloatAttr>(attribute))
    return value.getValueAsDouble();
  if (auto value = dyn_cast<IntegerAttr>(attribute))
    return double(value.getInt());
  std::optional<ConstantData> data = getConstantData(attribute);
  if (!data || elementCount(data->type) != 1)
    return std::nullopt;
  return data->type.getElementType().isInteger() ? double(data->getInt(0))
                                                 : data->getFloat(0);
}

static std::optional<Step> matchStep(Value value) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic || !isPointwise(generic) || generic.getNumResults() != 1 ||
      llvm::range_size(*generic.getBody()) != 2)
    return std::nullopt;
  Operation &op = generic.getBody()->front();
  if (op.getNumResults() != 1 || op.getNumOperands() > 2 ||
      generic.getBody()->getTerminator()->getOperand(0) != op.getResult(0))
    return std::nullopt;
  Step step;
  step.op = &op;
  for (auto [number, operand] : llvm::enumerate(op.getOperands())) {
    auto argument = dyn_cast<BlockArgument>(operand);
    Attribute constant;
    if (!argument || argument.getOwner() != generic.getBody()) {
      if (!matchPattern(operand, m_Constant(&constant)))
        return std::nullopt;
      step.number = numberOf(constant);
      if (!step.number)
        return std::nullopt;
      continue;
    }
    OpOperand &tensor = generic->getOpOperand(argument.getArgNumber());
    if (typeOf(tensor.get()).getRank() == 0) {
      if (matchPattern(tensor.get(), m_Constant(&constant)))
        step.number = numberOf(constant);
      else
        step.numberTensor = tensor.get();
    } else if (!step.input &&
               generic.getMatchingIndexingMap(&tensor).isIdentity()) {
      step.input = tensor.get();
      step.isFirst = number == 0;
    } else {
      return std::nullopt;
    }
  }
  if (!step.input ||
      (op.getNumOperands() == 2 && !step.number && !step.numberTensor))
    return std::nullopt;
  return step;
}

static std::optional<Quantized> matchQuantized(Value value) {
  std::optional<Step> step = matchStep(value);
  if (!step)
    return std::nullopt;
  bool isConversion =
      isa<arith::ExtUIOp, arith::ExtSIOp, arith::UIToFPOp, arith::SIToFPOp>(
          step->op);
  if (isConversion && typeOf(step->input).getElementType().isInteger(8)) {
    Quantized result;
    result.bytes = step->input;
    result.isUnsigned = isa<arith::ExtUIOp, arith::UIToFPOp>(step->op);
    return result;
  }
  std::optional<Quantized> inner = matchQuantized(step->input);
  if (!inner)
    return std::nullopt;
  if (isa<arith::SIToFPOp>(step->op) && !inner->zeroValue)
    return inner;
  if (isa<arith::MulFOp>(step->op) && step->number) {
    inner->scale *= *step->number;
    return inner;
  }
  if (inner->scale != 1 || !step->isFirst)
    return std::nullopt;
  bool subtracts = isa<arith::SubIOp, arith::SubFOp>(step->op);
  if (!subtracts && !isa<arith::AddIOp, arith::AddFOp>(step->op))
    return std::nullopt;
  if (step->number) {
    double zero = subtracts ? *step->number : -*step->number;
    // No byte, and sums might not fit.
    const double least = inner->isUnsigned ? 0 : -128;
    zero += double(inner->zero);
    if (zero != std::nearbyint(zero) || zero < least || zero > least + 255)
      return std::nullopt;
    inner->zero = int64_t(zero);
    return inner;
  }
  if (!subtracts || inner->zeroValue ||
      !typeOf(step->numberTensor).getElementType().isInteger(32))
    return std::nullopt;
  inner->zeroValue = step->numberTensor;
  return inner;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The step whose multiples all of `values` are, as 8-bit integers `q`.
static std::optional<double> findStep(ArrayRef<double> values,
                                      MutableArrayRef<int8_t> q) {
  double most = 0;
  for (double value : values)
    most = std::max(most, std::fabs(value));
  if (most == 0) {
    llvm::fill(q, 0);
    return 1.0;
  }
  if (!std::isfinite(most))
    return std::nullopt;
  // Each weight was rounded to f32 once, and so was the largest.
  constexpr double kTolerance = 1e-4;
  for (int64_t m = 1; m <= 128; ++m) {
    double step = most / double(m);
    bool fits = llvm::all_of(values, [&](double value) {
      double ratio = value / step;
      return std::fabs(ratio - std::nearbyint(ratio)) <= kTolerance &&
             ratio < 127.5;
    });
    if (!fits)
      continue;
    for (auto [to, value] : llvm::zip_equal(q, values))
      to = int8_t(std::nearbyint(value / step));
    return step;
  }
  return std::nullopt;
}

/// `weights` with `outputs` along dim `dim`, which is the first or the last.
static std::optional<IntegerWeights> findIntegers(const ConstantData &weights,
                                                  bool outputsFirst) {
  RankedTensorType type = weights.type;
  Type element = type.getElementType();
  if (!element.isF32() && !element.isInteger(32))
    return std::nullopt;
  int64_t outputs = type.getDimSize(outputsFirst ? 0 : type.getRank() - 1);
  int64_t count = elementCount(type);
  if (count == 0)
    return std::nullopt;
  int64_t each = count / outputs;
  IntegerWeights result;
  SmallVector<int8_t, 0> bytes(count);
  SmallVector<double, 0> values(each);
  SmallVector<int8_t, 0> q(each);
  for (int64_t n = 0; n < outputs; ++n) {
    auto position = [&](int64_t i) {
      return outputsFirst ? n * each + i : i * outputs + n;
    };
    for (int64_t i = 0; i < each; ++i)
      values[i] = element.isF32() ? weights.getFloat(position(i))
                                  : double(weights.getInt(position(i)));
    if (element.isF32()) {
      std::optional<double> step = findStep(values, q);
      if (!step)
        return std::nullopt;
      result.scales.push_back(*step);
    } else {
      for (auto [to, value] : llvm::zip_equal(q, values)) {
        if (value < -128 || value > 127)
          return std::nullopt;
        to = int8_t(value);
      }
      result.scales.push_back(1);
    }
    int64_t sum = 0;
    for (int64_t i = 0; i < each; ++i) {
      bytes[position(i)] = q[i];
      sum += q[i];
    }
    result.sums.push_back(sum);
  }
  auto narrow = RankedTensorType::get(
      type.getShape(), IntegerType::get(element.getContext(), 8));
  result.values = makeConstant(narrow, [&](MutableArrayRef<char> out) {
    memcpy(out.data(), bytes.data(), bytes.size());
  });
  return result;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {

struct RaiseQuantized
    : PassWrapper<RaiseQuantized, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RaiseQuantized)
  RaiseQuantized() = default;
  RaiseQuantized(const RaiseQuantized &other) : PassWrapper(other) {
    target = other.target;
  }
  explicit RaiseQuantized(const TargetInfo &target) : target(target) {}

  StringRef getArgument() const override { return "mv-raise-quantized"; }
  StringRef getDescription() const override {
    return "Multiply 8-bit integers where contractions are quantized";
  }

  void runOnOperation() override {
    SmallVector<Operation *> contractions, divisions;
    getOperation().walk([&](Operation *op) {
      if (isa<mv::MatmulOp, mv::ConvOp>(op))
        contractions.push_back(op);
      else if (isa<linalg::GenericOp>(op))
        divisions.push_back(op);
    });
    bool found = false;
    for (Operation *op : contractions) {
      if (auto matmul = dyn_cast<mv::MatmulOp>(op))
        found |= raise(matmul);
      else
        found |= raise(cast<mv::ConvOp>(op));
    }
    if (found)
      for (Operation *op : divisions)
        multiplyInstead(cast<linalg::GenericOp>(op));
  }

private:
  bool raise(mv::MatmulOp op);
  bool raise(mv::ConvOp op);
  Value unsignedBytes(OpBuilder &b, Location loc, Quantized &input) const;
  Value finish(OpBuilder &b, Operation *op, Value sum, unsigned dim,
               const Quantized &input, const IntegerWeights &weights,
               Value bias) const;
  static void multiplyInstead(linalg::GenericOp op);

  TargetInfo target;
};

} // namespace

/// The bytes as unsigned ones: signed ones are shifted, and so is their zero.
Value RaiseQuantized::unsignedBytes(OpBuilder &b, Location loc,
                                    Quantized &input) const {
  if (input.isUnsigned)
    return input.bytes;
  input.zero += 128;
  RankedTensorType type = typeOf(input.bytes);
  Value empty = tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, input.bytes), b.getI8Type());
  AffineMap identity = b.getMultiDimIdentityMap(type.getRank());
  return linalg::GenericOp::create(
             b, loc, TypeRange{empty.getType()}, ValueRange{input.bytes},
             ValueRange{empty}, ArrayRef<AffineMap>{identity, identity},
             SmallVector<utils::IteratorType>(type.getRank(),
                                              utils::IteratorType::parallel),
             [](OpBuilder &b, Location loc, ValueRange args) {
               Value top = arith::ConstantOp::create(
                   b, loc, b.getIntegerAttr(b.getI8Type(), -128));
               Value result = arith::XOrIOp::create(b, loc, args[0], top);
               linalg::YieldOp::create(b, loc, result);
             })
      .getResult(0);
}

/// What `op` was, of the i32 sums of products: less the zero point's share,
/// scaled, plus the bias; outputs are dim `dim`.
Value RaiseQuantized::finish(OpBuilder &b, Operation *op, Value sum,
                             unsigned dim, const Quantized &input,
                             const IntegerWeights &weights, Value bias) const {
  Location loc = op->getLoc();
  RankedTensorType type = typeOf(op->getResult(0));
  int64_t rank = type.getRank();
  bool isReal = type.getElementType().isF32();
  auto outputs = int64_t(weights.sums.size());
  AffineMap along =
      AffineMap::getMultiDimMapWithTargets(rank, {dim}, b.getContext());
  SmallVector<Value> inputs = {sum};
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(rank)};
  auto add = [&](Value value, AffineMap map) {
    inputs.push_back(value);
    maps.push_back(map);
  };
  auto integers = [&](int64_t factor) {
    auto vector = RankedTensorType::get({outputs}, b.getI32Type());
    return arith::ConstantOp::create(
        b, loc, makeConstant(vector, [&](MutableArrayRef<char> out) {
          for (auto [n, total] : llvm::enumerate(weights.sums))
            storeInt(out.data() + n * 4, b.getI32Type(), total * factor);
        }));
  };
  bool hasZero = input.zero != 0, hasZeroValue = bool(input.zeroValue);
  if (hasZero)
    add(integers(input.zero), along);
  if (hasZeroValue) {
    add(integers(1), along);
    add(input.zeroValue, AffineMap::get(rank, 0, b.getContext()));
  }
  if (isReal) {
    auto vector = RankedTensorType::get({outputs}, b.getF32Type());
    add(arith::ConstantOp::create(
            b, loc,
            makeConstant(vector,
                         [&](MutableArrayRef<char> out) {
                           for (auto [n, scale] :
                                llvm::enumerate(weights.scales))
                             storeFloat(out.data() + n * 4, b.getF32Type(),
                                        scale * input.scale);
                         })),
        along);
  }
  if (bias)
    add(bias, along);
  maps.push_back(maps.front());
  Value empty = tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, sum), type.getElementType());
  return linalg::GenericOp::create(
             b, loc, TypeRange{empty.getType()}, inputs, ValueRange{empty},
             maps,
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               size_t next = 1;
               Value value = args[0];
               if (hasZero)
                 value = arith::SubIOp::create(b, loc, value, args[next++]);
               if (hasZeroValue) {
                 Value share =
                     arith::MulIOp::create(b, loc, args[next], args[next + 1]);
                 value = arith::SubIOp::create(b, loc, value, share);
                 next += 2;
               }
               if (isReal) {
                 value = arith::SIToFPOp::create(b, loc, b.getF32Type(), value);
                 value = arith::MulFOp::create(b, loc, value, args[next++]);
               }
               if (bias)
                 value = isReal
                             ? arith::AddFOp::create(b, loc, value, args[next])
                                   .getResult()
                             : arith::AddIOp::create(b, loc, value, args[next])
                                   .getResult();
               linalg::YieldOp::create(b, loc, value);
             })
      .getResult(0);
}

/// Sums of `products` products of bytes that fit 32 bits.
static bool fitsSums(int64_t products) {
  return products <= (int64_t(1) << 31) / (255 * 128) - 1;
}

bool RaiseQuantized::raise(mv::MatmulOp op) {
  RankedTensorType lhs = typeOf(op.getLhs()), rhs = typeOf(op.getRhs());
  Type element = typeOf(op.getResult()).getElementType();
  bool transposed = op.getTransposeRhs();
  if (rhs.getRank() != 2 || !(element.isF32() || element.isInteger(32)))
    return false;
  std::optional<ConstantData> matrix = getConstantData(op.getRhs());
  if (!matrix)
    return false;
  int64_t reduction = rhs.getDimSize(transposed ? 1 : 0);
  int64_t columns = rhs.getDimSize(transposed ? 0 : 1);
  std::optional<Quantized> input = matchQuantized(op.getLhs());
  if (!input || !fitsSums(reduction) || (element.isF32() && input->zeroValue))
    return false;
  std::optional<IntegerWeights> weights = findIntegers(*matrix, transposed);
  if (!weights)
    return false;

  constexpr int64_t group = 4;
  OpBuilder b(op);
  Location loc = op.getLoc();
  Value bytes = unsignedBytes(b, loc, *input);
  if (int64_t rest = reduction % group) {
    SmallVector<OpFoldResult> low(lhs.getRank(), b.getIndexAttr(0)), high = low;
    high.back() = b.getIndexAttr(group - rest);
    Value zero =
        arith::ConstantOp::create(b, loc, b.getIntegerAttr(b.getI8Type(), 0));
    bytes = tensor::PadOp::create(b, loc, Type(), bytes, low, high, zero);
  }
  ContractionShape shape;
  shape.outputs = columns;
  shape.reduction = llvm::divideCeilSigned(reduction, group);
  shape.width = lhs.getDimSize(lhs.getRank() - 2);
  shape.pixelStrideBytes = shape.reduction * group;
  int64_t width = choosePanelWidth(shape, target);
  ElementsAttr panels =
      packMatrix(*getConstantData(weights->values), transposed, width, {});
  Value packed = arith::ConstantOp::create(
      b, op.getRhs().getLoc(), groupPacked(*getConstantData(panels), group));
  auto sumType =
      RankedTensorType::get(typeOf(op.getResult()).getShape(), b.getI32Type());
  Value sum = mv::PackedMatmulOp::create(b, loc, sumType, bytes, packed,
                                         Value(), b.getI64IntegerAttr(columns));
  op.replaceAllUsesWith(
      finish(b, op, sum, sumType.getRank() - 1, *input, *weights, Value()));
  op.erase();
  return true;
}

bool RaiseQuantized::raise(mv::ConvOp op) {
  RankedTensorType in = typeOf(op.getInput());
  Type element = typeOf(op.getResult()).getElementType();
  std::optional<ConstantData> filter = getConstantData(op.getFilter());
  if (!filter || op.getGroups() != 1 ||
      !(element.isF32() || element.isInteger(32)) ||
      (op.getBias() && !getConstantData(op.getBias())))
    return false;
  // A first layer's few channels are not blocked, see LayoutConvolutions.cpp.
  ArrayRef<int64_t> shape = filter->type.getShape();
  if (in.isDynamicDim(1) || shape[1] < target.lanes)
    return false;
  std::optional<Quantized> input = matchQuantized(op.getInput());
  bool isPadded = llvm::any_of(op.getPads(), [](int64_t p) { return p != 0; });
  if (!input || !fitsSums(elementCount(filter->type) / shape[0]) ||
      (input->zeroValue && (isPadded || element.isF32())))
    return false;
  std::optional<IntegerWeights> weights =
      findIntegers(*filter, /*outputsFirst=*/true);
  if (!weights)
    return false;

  OpBuilder b(op);
  Location loc = op.getLoc();
  Value bytes = unsignedBytes(b, loc, *input);
  if (isPadded) {
    int64_t rank = in.getRank(), spatial = rank - 2;
    SmallVector<OpFoldResult> low(rank, b.getIndexAttr(0)), high = low;
    for (int64_t i = 0; i < spatial; ++i) {
      low[2 + i] = b.getIndexAttr(op.getPads()[i]);
      high[2 + i] = b.getIndexAttr(op.getPads()[spatial + i]);
    }
    Value zero = arith::ConstantOp::create(
        b, loc, b.getIntegerAttr(b.getI8Type(), int8_t(input->zero)));
    bytes = tensor::PadOp::create(b, loc, Type(), bytes, low, high, zero);
  }
  Value packed =
      arith::ConstantOp::create(b, op.getFilter().getLoc(), weights->values);
  auto sumType =
      RankedTensorType::get(typeOf(op.getResult()).getShape(), b.getI32Type());
  SmallVector<int64_t> noPads(op.getPads().size(), 0);
  Value sum =
      mv::ConvOp::create(b, loc, sumType, bytes, packed, Value(),
                         op.getStridesAttr(), op.getDilationsAttr(),
                         b.getDenseI64ArrayAttr(noPads), op.getGroupsAttr());
  op.replaceAllUsesWith(
      finish(b, op, sum, /*dim=*/1, *input, *weights, op.getBias()));
  op.erase();
  return true;
}

/// x / s before a rounding: a product takes a tenth of a division's time.
void RaiseQuantized::multiplyInstead(linalg::GenericOp op) {
  if (op.getNumResults() != 1 || !op.getResult(0).hasOneUse())
    return;
  std::optional<Step> division = matchStep(op.getResult(0));
  auto user = dyn_cast<linalg::GenericOp>(*op.getResult(0).user_begin());
  if (!division || !isa<arith::DivFOp>(division->op) || !division->isFirst ||
      !division->number || !user ||
      !isa<math::RoundEvenOp>(user.getBody()->front()))
    return;
  double reciprocal = 1 / *division->number;
  if (!std::isnormal(float(reciprocal)))
    return;
  OpBuilder b(division->op);
  Type type = division->op->getResult(0).getType();
  Value factor = arith::ConstantOp::create(b, op.getLoc(),
                                           b.getFloatAttr(type, reciprocal));
  Value product = arith::MulFOp::create(b, op.getLoc(),
                                        division->op->getOperand(0), factor);
  division->op->getResult(0).replaceAllUsesWith(product);
  division->op->erase();
}

std::unique_ptr<Pass>
marver::createRaiseQuantizedPass(const TargetInfo &target) {
  return std::make_unique<RaiseQuantized>(target);
}
