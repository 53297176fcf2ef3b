//===- Normalization.cpp - Builders of normalizations ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"

using namespace mlir;
using namespace marver;

static Type wideOf(Type element) {
  return element.getIntOrFloatBitWidth() < 32
             ? Float32Type::get(element.getContext())
             : element;
}

/// A parameter per channel, shaped to multiply a tensor of `rank` along dim 1.
static Value perChannel(OpsBuilder &ops, Value parameter, int64_t rank) {
  if (!parameter)
    return nullptr;
  SmallVector<int64_t> behind;
  for (int64_t i = 2; i < rank; ++i)
    behind.push_back(i - 1);
  return ops.unsqueeze(parameter, behind);
}

static bool checkPerChannel(OpsBuilder &ops, Value x,
                            std::initializer_list<Value> parameters) {
  for (Value parameter : parameters) {
    if (!parameter)
      continue;
    if (OpsBuilder::rankOf(parameter) != 1) {
      ops.fail("needs parameters of rank 1");
      return false;
    }
    if (!ops.requireEqual(ops.dim(parameter, 0), ops.dim(x, 1),
                          "parameters per channel"))
      return false;
  }
  return true;
}

static Value normalize(OpsBuilder &ops, Value x, Value scale, Value bias,
                       int64_t count, double epsilon, bool rms) {
  if (!x)
    return nullptr;
  if (!OpsBuilder::isFloat(x))
    return ops.fail("takes tensors of floating-point type");
  int64_t rank = OpsBuilder::rankOf(x);
  if (count < 1 || count > rank)
    return ops.fail("cannot normalize " + Twine(count) +
                    " dims of a tensor of rank " + Twine(rank));
  Dims all = ops.dims(x);
  Dims normalized(ArrayRef<Dim>(all).take_back(count));
  for (Value *parameter : {&scale, &bias}) {
    if (!*parameter)
      continue;
    if (OpsBuilder::rankOf(*parameter) > count)
      return ops.fail("has a scale or bias of another shape");
    *parameter =
        ops.expand(ops.cast(*parameter, OpsBuilder::elementOf(x)), normalized);
    if (!*parameter)
      return nullptr;
  }
  return ops.withDims(mv::LayerNormOp::create(ops, x.getType(), x, scale, bias,
                                              uint64_t(count),
                                              llvm::APFloat(epsilon), rms),
                      all);
}

Value OpsBuilder::layerNorm(Value x, Value scale, Value bias, int64_t count,
                            double epsilon) {
  return normalize(*this, x, scale, bias, count, epsilon, /*rms=*/false);
}

Value OpsBuilder::rmsNorm(Value x, Value scale, int64_t count, double epsilon) {
  return normalize(*this, x, scale, nullptr, count, epsilon, /*rms=*/true);
}

Value OpsBuilder::groupNorm(Value x, Value scale, Value bias, int64_t groups,
                            double epsilon) {
  if (!x)
    return nullptr;
  if (rankOf(x) < 2)
    return fail("needs a tensor of rank 2 or more");
  Dims all = dims(x);
  auto channels = known(all[1]);
  if (groups < 1 || (channels && *channels % groups != 0))
    return fail("has " + Twine(groups) +
                " groups, which do not divide its channels");
  if (!checkPerChannel(*this, x, {scale, bias}))
    return nullptr;
  Dims grouped = {all[0], index(groups), floorDiv(all[1], index(groups))};
  grouped.append(all.begin() + 2, all.end());
  Dims rows = {all[0], index(groups),
               product(ArrayRef<Dim>(grouped).drop_front(2))};
  Value normalized = layerNorm(reshape(x, rows), nullptr, nullptr, 1, epsilon);
  Value result = reshape(normalized, all);
  Type element = elementOf(x);
  if (scale)
    result = mul(result, perChannel(*this, cast(scale, element), rankOf(x)));
  if (bias)
    result = add(result, perChannel(*this, cast(bias, element), rankOf(x)));
  return result;
}

Value OpsBuilder::instanceNorm(Value x, Value scale, Value bias,
                               double epsilon) {
  if (!x)
    return nullptr;
  if (rankOf(x) < 3)
    return fail("needs a tensor of rank 3 or more");
  if (!checkPerChannel(*this, x, {scale, bias}))
    return nullptr;
  Dims all = dims(x);
  Dims rows = {all[0], all[1], product(ArrayRef<Dim>(all).drop_front(2))};
  Value result =
      reshape(layerNorm(reshape(x, rows), nullptr, nullptr, 1, epsilon), all);
  Type element = elementOf(x);
  if (scale)
    result = mul(result, perChannel(*this, cast(scale, element), rankOf(x)));
  if (bias)
    result = add(result, perChannel(*this, cast(bias, element), rankOf(x)));
  return result;
}

Value OpsBuilder::batchNorm(Value x, Value scale, Value bias, Value mean,
                            Value variance, double epsilon) {
  if (!x || !mean || !variance)
    return nullptr;
  if (!isFloat(x))
    return fail("takes tensors of floating-point type");
  if (rankOf(x) < 2)
    return fail("needs a tensor of rank 2 or more");
  if (!checkPerChannel(*this, x, {scale, bias, mean, variance}))
    return nullptr;
  Type wide = wideOf(elementOf(variance));
  Value factor =
      unary(Unary::Rsqrt, add(cast(variance, wide), scalar(epsilon, wide)));
  if (scale)
    factor = mul(factor, cast(scale, wide));
  Value shift = unary(Unary::Neg, mul(cast(mean, wide), factor));
  if (bias)
    shift = add(shift, cast(bias, wide));
  // Compared with x, the parameters may be wider (f32 for f16).
  Type element = elementOf(x), compute = wideOf(element);
  auto shaped = [&](Value parameter) {
    return perChannel(*this, cast(parameter, compute), rankOf(x));
  };
  return map({x, shaped(factor), shaped(shift)}, element,
             [](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
               ScalarMath math(b);
               return math.add(math.mul(args[0], args[1]), args[2]);
             });
}

Value OpsBuilder::lpNormalize(Value x, double order, int64_t axis,
                              double epsilon) {
  if (!x)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  Value norm = vectorNorm(x, order, {*position}, /*keepDims=*/true);
  if (!norm)
    return nullptr;
  // Without an epsilon, zeros stay zeros.
  Type element = elementOf(x);
  Value zero = scalar(0, element), one = scalar(1, element);
  Value divisor = epsilon > 0
                      ? clamp(norm, epsilon, std::nullopt)
                      : where(compare(Compare::Eq, norm, zero), one, norm);
  return div(x, divisor);
}

Value OpsBuilder::localResponseNorm(Value x, int64_t size, double alpha,
                                    double beta, double bias) {
  if (!x)
    return nullptr;
  if (rankOf(x) < 3 || !isFloat(x))
    return fail("takes tensors of rank 3 or more and floating-point type");
  // The window runs over channels: an average over a plane of channels x rest.
  Dims all = dims(x);
  Dims plane = {all[0], index(1), all[1],
                product(ArrayRef<Dim>(all).drop_front(2))};
  PoolOptions window;
  window.window = {size, 1};
  window.pads = {(size - 1) / 2, 0, size / 2, 0};
  window.divisor = size;
  Value squares = reshape(unary(Unary::Square, x), plane);
  Value mean = reshape(averagePool(squares, window), all);
  Type element = elementOf(x);
  Value base = add(mul(mean, scalar(alpha, element)), scalar(bias, element));
  return div(x, binary(Binary::Pow, base, scalar(beta, element)));
}
