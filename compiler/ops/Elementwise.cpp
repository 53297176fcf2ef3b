//===- Elementwise.cpp - Builders of elementwise operators ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

/// The single element of a constant splat, as an attribute of its type.
static TypedAttr splatElement(Value value) {
  DenseElementsAttr constant;
  if (!matchPattern(value, m_Constant(&constant)) || !constant.isSplat())
    return nullptr;
  return cast<TypedAttr>(constant.getSplatValue<Attribute>());
}

/// How an operand of `type` is read by a loop nest of `rank`: aligned to the
/// last dims, a size of 1 repeated.
static AffineMap broadcastMap(RankedTensorType type, ArrayRef<Dim> result,
                              MLIRContext *context) {
  SmallVector<AffineExpr> exprs;
  int64_t first = result.size() - type.getRank();
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    bool repeats = type.getDimSize(axis) == 1 &&
                   OpsBuilder::known(result[first + axis]) != 1;
    exprs.push_back(repeats ? getAffineConstantExpr(0, context)
                            : getAffineDimExpr(first + axis, context));
  }
  return AffineMap::get(result.size(), 0, exprs, context);
}

Value OpsBuilder::map(Values operands, Type element, ScalarBody body,
                      bool widen) {
  SmallVector<Dims> shapes;
  for (Value operand : operands) {
    if (!operand)
      return nullptr;
    shapes.push_back(dims(operand));
  }
  auto result = broadcastDims(shapes);
  if (!result)
    return nullptr;
  // Splats are read in the body, not from memory.
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  SmallVector<TypedAttr> splats;
  for (Value operand : operands) {
    splats.push_back(splatElement(operand));
    if (splats.back())
      continue;
    inputs.push_back(operand);
    maps.push_back(broadcastMap(typeOf(operand), *result, getContext()));
  }
  unsigned rank = result->size();
  maps.push_back(getMultiDimIdentityMap(rank));
  Value init = empty(*result, element);
  bool refused = false;
  auto op = linalg::GenericOp::create(
      *this, init.getType(), inputs, init, maps,
      SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, mlir::ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        SmallVector<Value> elements;
        unsigned next = 0;
        for (TypedAttr constant : splats) {
          Value value = constant
                            ? arith::ConstantOp::create(b, constant).getResult()
                            : args[next++];
          Type type = value.getType();
          if (widen && isa<FloatType>(type) &&
              type.getIntOrFloatBitWidth() < 32)
            value = arith::ExtFOp::create(b, b.getF32Type(), value);
          elements.push_back(value);
        }
        Value value = body(b, elements);
        if (!value) {
          refused = true;
          value = arith::ConstantOp::create(b, b.getZeroAttr(element));
        }
        if (value.getType() != element && isa<FloatType>(element))
          value = ScalarMath(b).cast(value, element, false);
        linalg::YieldOp::create(b, value);
      });
  if (refused) {
    op.erase();
    std::string name;
    llvm::raw_string_ostream(name) << elementOf(operands[0]);
    return fail("is not defined for elements of type " + name);
  }
  return withDims(op.getResult(0), *result);
}

static bool givesBool(Unary kind) {
  return kind == Unary::LogicalNot || kind == Unary::IsNan ||
         kind == Unary::IsInf || kind == Unary::IsFinite;
}

Value OpsBuilder::unary(Unary kind, Value x, bool isUnsigned) {
  if (!x)
    return nullptr;
  Type element = givesBool(kind) ? getI1Type() : elementOf(x);
  return map(x, element, [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
    return ScalarMath(b, isUnsigned).unary(kind, args[0]);
  });
}

/// x to a power that multiplications or a root give exactly.
static Value powerOf(ScalarMath &math, Value x, double exponent) {
  Type type = x.getType();
  if (exponent == 1)
    return x;
  if (exponent == 2)
    return math.mul(x, x);
  if (exponent == 3)
    return math.mul(math.mul(x, x), x);
  if (!isa<FloatType>(type))
    return nullptr;
  if (exponent == 0)
    return math.constant(1, type);
  if (exponent == 0.5)
    return math.unary(Unary::Sqrt, x);
  if (exponent == -0.5)
    return math.unary(Unary::Rsqrt, x);
  if (exponent == -1)
    return math.unary(Unary::Reciprocal, x);
  if (exponent == -2)
    return math.unary(Unary::Reciprocal, math.mul(x, x));
  return nullptr;
}

Value OpsBuilder::binary(Binary kind, Value a, Value b, bool isUnsigned) {
  if (!a || !b)
    return nullptr;
  if (elementOf(a) != elementOf(b))
    return fail("operands have different element types");
  bool isLogic =
      kind == Binary::And || kind == Binary::Or || kind == Binary::Xor;
  Type element = isLogic ? getI1Type() : elementOf(a);
  std::optional<double> exponent;
  if (kind == Binary::Pow)
    if (auto constant = getConstantData(b); constant && constant->isSplat)
      exponent =
          isFloat(b) ? constant->getFloat(0) : double(constant->getInt(0));
  return map({a, b}, element,
             [&](ImplicitLocOpBuilder &builder, mlir::ValueRange args) {
               ScalarMath math(builder, isUnsigned);
               if (exponent)
                 if (Value power = powerOf(math, args[0], *exponent))
                   return power;
               return math.binary(kind, args[0], args[1]);
             });
}

Value OpsBuilder::compare(Compare kind, Value a, Value b, bool isUnsigned) {
  if (!a || !b)
    return nullptr;
  if (elementOf(a) != elementOf(b))
    return fail("operands have different element types");
  return map(
      {a, b}, getI1Type(),
      [&](ImplicitLocOpBuilder &builder, mlir::ValueRange args) {
        return ScalarMath(builder, isUnsigned).compare(kind, args[0], args[1]);
      });
}

Value OpsBuilder::where(Value condition, Value a, Value b) {
  if (!condition || !a || !b)
    return nullptr;
  if (!elementOf(condition).isInteger(1))
    return fail("the condition must be of type bool");
  if (elementOf(a) != elementOf(b))
    return fail("operands have different element types");
  return map(
      {condition, a, b}, elementOf(a),
      [](ImplicitLocOpBuilder &builder, mlir::ValueRange args) -> Value {
        return arith::SelectOp::create(builder, args[0], args[1], args[2]);
      },
      /*widen=*/false);
}

Value OpsBuilder::cast(Value x, Type element, bool fromUnsigned,
                       bool toUnsigned) {
  if (!x || elementOf(x) == element)
    return x;
  return map(
      x, element,
      [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
        return ScalarMath(b, fromUnsigned).cast(args[0], element, toUnsigned);
      },
      /*widen=*/false);
}

Value OpsBuilder::clamp(Value x, Value low, Value high, bool isUnsigned) {
  if (!x)
    return nullptr;
  SmallVector<Value> operands = {x};
  for (Value bound : {low, high})
    if (bound)
      operands.push_back(bound);
  for (Value operand : operands)
    if (elementOf(operand) != elementOf(x))
      return fail("bounds have another element type");
  if (operands.size() == 1)
    return x;
  return map(operands, elementOf(x),
             [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
               ScalarMath math(b, isUnsigned);
               Value result = args[0];
               if (low)
                 result = math.max(result, args[1]);
               if (high)
                 result = math.min(result, args.back());
               return result;
             });
}

Value OpsBuilder::clamp(Value x, std::optional<double> low,
                        std::optional<double> high) {
  if (!x)
    return nullptr;
  Type element = elementOf(x);
  return clamp(x, low ? scalar(*low, element) : nullptr,
               high ? scalar(*high, element) : nullptr);
}

/// An elementwise operator of one float tensor.
static Value floatMap(
    OpsBuilder &ops, Value x,
    function_ref<Value(ScalarMath &, ImplicitLocOpBuilder &, Value)> body) {
  if (!x)
    return nullptr;
  if (!OpsBuilder::isFloat(x))
    return ops.fail("takes tensors of floating-point type");
  return ops.map(x, OpsBuilder::elementOf(x),
                 [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
                   ScalarMath math(b);
                   return body(math, b, args[0]);
                 });
}

Value OpsBuilder::leakyRelu(Value x, double slope) {
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &, Value v) {
        Value zero = math.constant(0, v.getType());
        Value scaled = math.mul(v, math.constant(slope, v.getType()));
        return math.select(math.compare(Compare::Gt, v, zero), v, scaled);
      });
}

Value OpsBuilder::prelu(Value x, Value slope) {
  if (!x || !slope)
    return nullptr;
  if (elementOf(x) != elementOf(slope))
    return fail("operands have different element types");
  return map({x, slope}, elementOf(x),
             [](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
               ScalarMath math(b);
               Value zero = math.constant(0, args[0].getType());
               return math.select(math.compare(Compare::Gt, args[0], zero),
                                  args[0], math.mul(args[0], args[1]));
             });
}

Value OpsBuilder::elu(Value x, double alpha, double scale, double inputScale) {
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &b, Value v) {
        Type type = v.getType();
        Value inner =
            inputScale == 1 ? v : math.mul(v, math.constant(inputScale, type));
        Value negative = math.mul(math.constant(alpha * scale, type),
                                  math::ExpM1Op::create(b, inner));
        Value positive =
            scale == 1 ? v : math.mul(v, math.constant(scale, type));
        return math.select(math.compare(Compare::Gt, v, math.constant(0, type)),
                           positive, negative);
      });
}

Value OpsBuilder::celu(Value x, double alpha) {
  return elu(x, alpha, 1, 1 / alpha);
}

Value OpsBuilder::hardSigmoid(Value x, double alpha, double beta) {
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &, Value v) {
        Type type = v.getType();
        Value line = math.add(math.mul(v, math.constant(alpha, type)),
                              math.constant(beta, type));
        return math.min(math.max(line, math.constant(0, type)),
                        math.constant(1, type));
      });
}

Value OpsBuilder::softplus(Value x, double beta, double threshold) {
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &, Value v) {
        Type type = v.getType();
        Value scaled = beta == 1 ? v : math.mul(v, math.constant(beta, type));
        Value soft = math.softplus(scaled);
        if (beta != 1)
          soft = math.div(soft, math.constant(beta, type));
        if (std::isinf(threshold))
          return soft;
        Value linear =
            math.compare(Compare::Gt, scaled, math.constant(threshold, type));
        return math.select(linear, v, soft);
      });
}

Value OpsBuilder::hardShrink(Value x, double lambda, double bias) {
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &, Value v) {
        Type type = v.getType();
        auto c = [&](double value) { return math.constant(value, type); };
        // Written so that NaN stays.
        Value below = math.select(math.compare(Compare::Lt, v, c(-lambda)),
                                  bias == 0 ? v : math.add(v, c(bias)), c(0));
        Value above = math.select(math.compare(Compare::Gt, v, c(lambda)),
                                  bias == 0 ? v : math.sub(v, c(bias)), below);
        return math.select(math.unary(Unary::IsNan, v), v, above);
      });
}

Value OpsBuilder::softShrink(Value x, double lambda) {
  return hardShrink(x, lambda, lambda);
}

Value OpsBuilder::threshold(Value x, double threshold, double value) {
  if (!x)
    return nullptr;
  return map(x, elementOf(x),
             [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
               ScalarMath math(b);
               Type type = args[0].getType();
               return math.select(math.compare(Compare::Le, args[0],
                                               math.constant(threshold, type)),
                                  math.constant(value, type), args[0]);
             });
}

Value OpsBuilder::round(Value x, int64_t decimals) {
  if (!x || !isFloat(x))
    return x;
  double factor = std::pow(10.0, double(std::abs(decimals)));
  return floatMap(
      *this, x, [&](ScalarMath &math, ImplicitLocOpBuilder &, Value v) {
        if (decimals == 0)
          return math.unary(Unary::Round, v);
        Value scale = math.constant(factor, v.getType());
        if (decimals > 0)
          return math.div(math.unary(Unary::Round, math.mul(v, scale)), scale);
        return math.mul(math.unary(Unary::Round, math.div(v, scale)), scale);
      });
}

Value OpsBuilder::lerp(Value a, Value b, Value weight) {
  if (!a || !b || !weight)
    return nullptr;
  return map({a, b, weight}, elementOf(a),
             [](ImplicitLocOpBuilder &builder, mlir::ValueRange args) {
               ScalarMath math(builder);
               return math.add(args[0],
                               math.mul(args[2], math.sub(args[1], args[0])));
             });
}
