//===- Resize.cpp - Builder of resizes ------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All coordinate modes are (o + offset) * step + shift. mv.resize takes these
// numbers for the spatial dims of N x C x S...; what it cannot express (other
// axes, sizes and steps that are only known when the model runs, rounding modes
// of nearest that matter on a tie) is done one axis after the other by
// gathering taps and weighing them.
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"

using namespace mlir;
using namespace marver;

namespace {

/// Coordinate of output o in the input: (o + offset) * step + shift.
struct Mapping {
  double step = 1, offset = 0, shift = 0;
};

} // namespace

/// The mapping of an axis of `in` elements to `out`; `scale` is out / in unless
/// the model states another.
static Mapping mappingOf(const ResizeOptions &options, double in, double out,
                         double scale) {
  Mapping mapping;
  mapping.step = 1 / scale;
  switch (options.coordinates) {
  case ResizeOptions::Asymmetric:
    break;
  case ResizeOptions::AlignCorners:
    mapping.step = out > 1 ? (in - 1) / (out - 1) : 0;
    break;
  case ResizeOptions::PytorchHalfPixel:
    if (out <= 1) {
      mapping.step = 0;
      break;
    }
    [[fallthrough]];
  case ResizeOptions::HalfPixel:
    mapping.offset = 0.5;
    mapping.shift = -0.5;
    break;
  case ResizeOptions::HalfPixelSymmetric: {
    double adjustment = out / (scale * in);
    mapping.offset = 0.5;
    mapping.shift = in / 2 * (1 - adjustment) - 0.5;
    break;
  }
  }
  return mapping;
}

/// Added before floor to round as the model asks, or nullopt if on some
/// position of `out` that is not the same.
static std::optional<double> biasOf(const ResizeOptions &options,
                                    const Mapping &mapping, int64_t out) {
  switch (options.nearest) {
  case ResizeOptions::Floor:
    return 0;
  case ResizeOptions::RoundPreferCeil:
    return 0.5;
  case ResizeOptions::Ceil:
    return std::nullopt;
  case ResizeOptions::RoundPreferFloor:
    for (int64_t o = 0; o < out; ++o) {
      double x = (double(o) + mapping.offset) * mapping.step + mapping.shift;
      if (x - std::floor(x) == 0.5)
        return std::nullopt;
    }
    return 0.5;
  }
  llvm_unreachable("all cases return");
}

/// One axis, by gathering taps.
Value OpsBuilder::resizeAxis(Value x, int64_t axis, Dim size,
                             std::optional<double> scale,
                             const ResizeOptions &options) {
  Dim source = dim(x, axis);
  Type f64 = getF64Type();
  // The mapping's numbers: known, or computed when the model runs.
  auto in = known(source), out = known(size);
  std::optional<Mapping> mapping;
  bool sizeMatters = options.coordinates == ResizeOptions::AlignCorners ||
                     options.coordinates == ResizeOptions::PytorchHalfPixel ||
                     options.coordinates == ResizeOptions::HalfPixelSymmetric;
  if (in && out)
    mapping = mappingOf(options, double(*in), double(*out),
                        scale.value_or(double(*out) / double(*in)));
  else if (scale && !sizeMatters)
    mapping = mappingOf(options, 2, 2, *scale);
  Value sourceSize = indexValue(source), targetSize = indexValue(size);

  // One list of positions (and weights) per tap, out of the coordinate.
  auto coordinate = [&](ImplicitLocOpBuilder &b, Value position) -> Value {
    ScalarMath math(b);
    auto c = [&](double value) { return math.constant(value, f64); };
    auto real = [&](Value index) {
      return math.cast(arith::IndexCastOp::create(b, b.getI64Type(), index),
                       f64, false);
    };
    Value o = real(position);
    if (mapping)
      return math.add(
          math.mul(math.add(o, c(mapping->offset)), c(mapping->step)),
          c(mapping->shift));
    Value n = real(sourceSize), m = real(targetSize);
    Value ratio = scale ? c(1 / *scale) : math.div(n, m);
    Value half = math.sub(math.mul(math.add(o, c(0.5)), ratio), c(0.5));
    Value many = math.compare(Compare::Gt, m, c(1));
    switch (options.coordinates) {
    case ResizeOptions::Asymmetric:
      return math.mul(o, ratio);
    case ResizeOptions::AlignCorners: {
      Value steps = math.max(math.sub(m, c(1)), c(1));
      return math.select(many, math.mul(o, math.div(math.sub(n, c(1)), steps)),
                         c(0));
    }
    case ResizeOptions::PytorchHalfPixel:
      return math.select(many, half, c(0));
    case ResizeOptions::HalfPixel:
      return half;
    case ResizeOptions::HalfPixelSymmetric: {
      Value adjustment = math.mul(math.div(m, n), ratio);
      Value centre = math.mul(math.div(n, c(2)), math.sub(c(1), adjustment));
      return math.add(centre, half);
    }
    }
    llvm_unreachable("all cases return");
  };
  auto clampToSource = [&](ImplicitLocOpBuilder &b, Value position) -> Value {
    ScalarMath math(b);
    Value whole = math.cast(position, b.getI64Type(), false);
    Value zero = math.integer(0, b.getI64Type());
    Value length = arith::IndexCastOp::create(b, b.getI64Type(), sourceSize);
    Value last = math.sub(length, math.integer(1, b.getI64Type()));
    return math.min(math.max(whole, zero), last);
  };
  auto take = [&](Value positions) -> Value {
    Dims target = dims(x);
    target[axis] = size;
    return withDims(mv::GatherOp::create(*this, typeFor(target, elementOf(x)),
                                         x, positions, uint64_t(axis),
                                         /*unchecked=*/true),
                    target);
  };

  if (options.mode == mv::ResizeMode::Nearest)
    return take(generate({size}, getI64Type(),
                         [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
                           ScalarMath math(b);
                           Value at0 = coordinate(b, at[0]),
                                 half = math.constant(0.5, f64), rounded;
                           switch (options.nearest) {
                           case ResizeOptions::Floor:
                             rounded = math.unary(Unary::Floor, at0);
                             break;
                           case ResizeOptions::Ceil:
                             rounded = math.unary(Unary::Ceil, at0);
                             break;
                           case ResizeOptions::RoundPreferCeil:
                             rounded =
                                 math.unary(Unary::Floor, math.add(at0, half));
                             break;
                           case ResizeOptions::RoundPreferFloor:
                             rounded =
                                 math.unary(Unary::Ceil, math.sub(at0, half));
                             break;
                           }
                           return clampToSource(b, rounded);
                         }));

  bool cubic = options.mode == mv::ResizeMode::Cubic;
  Type element = elementOf(x);
  Type compute =
      element.getIntOrFloatBitWidth() < 32 ? Type(getF32Type()) : element;
  SmallVector<int64_t> behind;
  for (int64_t i = axis + 1; i < rankOf(x); ++i)
    behind.push_back(i - axis);
  Value result;
  for (int tap = cubic ? -1 : 0; tap <= (cubic ? 2 : 1); ++tap) {
    Value positions = generate(
        {size}, getI64Type(),
        [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
          ScalarMath math(b);
          Value whole = math.unary(Unary::Floor, coordinate(b, at[0]));
          return clampToSource(b, math.add(whole, math.constant(tap, f64)));
        });
    Value weights = generate(
        {size}, compute, [&](ImplicitLocOpBuilder &b, mlir::ValueRange at) {
          ScalarMath math(b);
          auto c = [&](double value) { return math.constant(value, f64); };
          Value x0 = coordinate(b, at[0]);
          Value t = math.sub(x0, math.unary(Unary::Floor, x0));
          Value distance = math.abs(math.sub(t, c(tap)));
          Value weight;
          if (!cubic) {
            weight = math.sub(c(1), distance);
          } else {
            double a = options.cubicCoefficient;
            Value d = distance;
            Value d2 = math.mul(d, d), d3 = math.mul(d2, d);
            if (tap == 0 || tap == 1) // (a + 2) d^3 - (a + 3) d^2 + 1
              weight = math.add(
                  math.sub(math.mul(c(a + 2), d3), math.mul(c(a + 3), d2)),
                  c(1));
            else // a d^3 - 5a d^2 + 8a d - 4a
              weight = math.mul(
                  c(a), math.sub(math.add(math.sub(d3, math.mul(c(5), d2)),
                                          math.mul(c(8), d)),
                                 c(4)));
          }
          return math.cast(weight, compute, false);
        });
    Value term =
        mul(cast(take(positions), compute), unsqueeze(weights, behind));
    result = result ? add(result, term) : term;
  }
  return cast(result, element);
}

Value OpsBuilder::resize(Value x, ArrayRef<int64_t> axes, ArrayRef<Dim> sizes,
                         const ResizeOptions &options) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x);
  auto positions = this->axes(axes, rank);
  if (!positions)
    return nullptr;
  if (sizes.size() != axes.size() ||
      (!options.scales.empty() && options.scales.size() != axes.size()))
    return fail("needs a size for each axis");
  if (!isFloat(x) && options.mode != mv::ResizeMode::Nearest)
    return fail("takes tensors of floating-point type");
  auto scaleOf = [&](size_t i) -> std::optional<double> {
    if (options.scales.empty())
      return std::nullopt;
    return options.scales[i];
  };
  for (size_t i = 0; i < sizes.size(); ++i) {
    auto in = known(dim(x, (*positions)[i])), out = known(sizes[i]);
    if (out && *out < 0)
      return fail("has an output size of " + Twine(*out));
    if (in && out && *in == 0 && *out != 0)
      return fail("cannot resize an empty dim");
    if (scaleOf(i) && !(*scaleOf(i) > 0))
      return fail("has a scale that is not positive");
  }

  // The spatial dims of N x C x S... in one operation where it can be said so.
  bool whole = rank >= 3;
  SmallVector<double> steps(rank - 2 > 0 ? rank - 2 : 0, 1), offsets = steps,
                                                             shifts = steps;
  std::fill(offsets.begin(), offsets.end(), 0);
  std::fill(shifts.begin(), shifts.end(), 0);
  Dims target = dims(x);
  std::optional<double> bias;
  bool biasesAgree = true;
  for (auto [i, axis] : llvm::enumerate(*positions)) {
    auto in = known(target[axis]), out = known(sizes[i]);
    bool stays = same(target[axis], sizes[i]) && scaleOf(i).value_or(1) == 1;
    bool sizeMatters = options.coordinates != ResizeOptions::Asymmetric &&
                       options.coordinates != ResizeOptions::HalfPixel;
    if (stays)
      continue;
    if (axis < 2 || !whole || (!(in && out) && (!scaleOf(i) || sizeMatters))) {
      whole = false;
      break;
    }
    Mapping mapping =
        in && out ? mappingOf(options, double(*in), double(*out),
                              scaleOf(i).value_or(double(*out) / double(*in)))
                  : mappingOf(options, 2, 2, *scaleOf(i));
    steps[axis - 2] = mapping.step;
    offsets[axis - 2] = mapping.offset;
    shifts[axis - 2] = mapping.shift;
    if (options.mode == mv::ResizeMode::Nearest) {
      auto own = biasOf(options, mapping, out.value_or(1 << 12));
      biasesAgree &= own.has_value() && (!bias || bias == own);
      bias = own;
    }
    target[axis] = sizes[i];
  }
  whole &= biasesAgree;
  whole &= options.mode != mv::ResizeMode::Cubic ||
           options.cubicCoefficient == -0.75;
  if (whole) {
    if (llvm::equal(target, dims(x), [](Dim a, Dim b) { return same(a, b); }) &&
        llvm::all_of(steps, [](double step) { return step == 1; }))
      return x;
    SmallVector<Value> dynamic;
    for (Dim size : ArrayRef<Dim>(target).drop_front(2))
      if (!known(size))
        dynamic.push_back(indexValue(size));
    return withDims(mv::ResizeOp::create(*this, typeFor(target, elementOf(x)),
                                         x, dynamic, options.mode, steps,
                                         offsets, shifts,
                                         llvm::APFloat(bias.value_or(0)),
                                         /*blocked=*/false),
                    target);
  }
  Value result = x;
  for (auto [i, axis] : llvm::enumerate(*positions)) {
    if (!result)
      return nullptr;
    if (same(dim(x, axis), sizes[i]) && scaleOf(i).value_or(1) == 1)
      continue;
    result = resizeAxis(result, axis, sizes[i], scaleOf(i), options);
  }
  return result;
}
