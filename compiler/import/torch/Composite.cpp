//===- Composite.cpp - ATen operators made of others ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operators that PyTorch itself defines by others, and that a program keeps
// whole unless it was decomposed; and a few that no builder has, because they
// are a formula over those that there are.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

//===----------------------------------------------------------------------===//
// Distances and losses
//===----------------------------------------------------------------------===//

Value cosineSimilarity(Call &c) {
  ScalarType type = c.resultType();
  Value a = c.operand("x1", type), b = c.operand("x2", type);
  if (!a || !b)
    return nullptr;
  const int64_t axis = c.axis("dim", std::max(c.b.rankOf(a), c.b.rankOf(b)), 1);
  Value product = c.b.mul(a, b);
  if (!product)
    return nullptr;
  // Each norm is at least eps.
  Value least = c.b.scalar(c.number("eps", 1e-8), c.resultElement());
  auto norm = [&](Value x) -> Value {
    x = c.b.expand(x, c.b.dims(product));
    return x ? c.b.binary(Binary::Max,
                          c.b.vectorNorm(x, 2, {axis}, /*keepDims=*/false),
                          least)
             : nullptr;
  };
  return c.b.div(c.b.reduce(Reduce::Sum, product, {axis}, /*keepDims=*/false),
                 c.b.mul(norm(a), norm(b)));
}

Value pairwiseDistance(Call &c) {
  ScalarType type = c.resultType();
  Value difference = c.b.sub(c.operand("x1", type), c.operand("x2", type));
  difference =
      c.b.add(difference, c.b.scalar(c.number("eps", 1e-6), c.resultElement()));
  if (!difference || c.b.rankOf(difference) == 0)
    return nullptr;
  return c.b.vectorNorm(difference, c.number("p", 2),
                        {c.b.rankOf(difference) - 1}, c.boolean("keepdim"));
}

/// Norm of the difference of every row of x1 and every row of x2.
Value distances(Call &c) {
  Value a = c.tensor("x1"), b = c.tensor("x2");
  if (!a || !b)
    return nullptr;
  const int64_t rank = c.b.rankOf(a);
  if (rank < 2 || c.b.rankOf(b) < 2)
    return c.fail("matrices are needed");
  Value difference = c.b.sub(c.b.unsqueeze(a, {rank - 1}),
                             c.b.unsqueeze(b, {c.b.rankOf(b) - 2}));
  return difference ? c.b.vectorNorm(difference, c.number("p", 2),
                                     {c.b.rankOf(difference) - 1},
                                     /*keepDims=*/false)
                    : nullptr;
}

/// reduction: 0 none, 1 mean, 2 sum.
template <Unary kind> Value loss(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.b.unary(
      kind, c.b.sub(c.operand("self", type), c.operand("target", type)));
  const int64_t reduction = c.integer("reduction", 1);
  if (!x || reduction == 0)
    return x;
  return c.b.reduce(reduction == 1 ? Reduce::Mean : Reduce::Sum, x, {},
                    /*keepDims=*/false);
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

/// Where one operand is NaN, the other counts.
template <Binary kind> Value ignoringNan(Call &c) {
  ScalarType type = c.resultType();
  Value a = c.operand("self", type), b = c.operand("other", type);
  Value result = c.b.binary(kind, a, b, isUnsigned(type));
  if (!isFloating(type))
    return result;
  result = c.b.where(c.b.unary(Unary::IsNan, a), b, result);
  return c.b.where(c.b.unary(Unary::IsNan, b), a, result);
}

/// log(exp(a) + exp(b)) without overflow.
Value logAddExp(Call &c) {
  ScalarType type = c.resultType();
  Value a = c.operand("self", type), b = c.operand("other", type);
  Value high = c.b.binary(Binary::Max, a, b);
  Value distance = c.b.unary(Unary::Neg, c.b.unary(Unary::Abs, c.b.sub(a, b)));
  Value sum =
      c.b.add(high, c.b.unary(Unary::Log1p, c.b.unary(Unary::Exp, distance)));
  // Of two equal infinities the difference is NaN.
  return c.b.where(c.b.compare(Compare::Eq, a, b),
                   c.b.add(a, c.b.scalar(std::log(2.0), c.resultElement())),
                   sum);
}

/// x log y, which is 0 for x = 0 whatever y, but for NaN.
Value xLogY(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.operand("self", type), y = c.operand("other", type);
  Value zero = c.b.scalar(0.0, c.resultElement());
  Value product = c.b.mul(x, c.b.unary(Unary::Log, y));
  Value result = c.b.where(c.b.compare(Compare::Eq, x, zero), zero, product);
  return c.b.where(c.b.unary(Unary::IsNan, y), y, result);
}

Value logit(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.operand("self", type);
  if (std::optional<double> eps = c.optionalNumber("eps"))
    x = c.b.clamp(x, eps, 1 - *eps);
  Value one = c.b.scalar(1.0, c.resultElement());
  return c.b.unary(Unary::Log, c.b.div(x, c.b.sub(one, x)));
}

/// Outside training the slope is the middle of its range.
Value randomizedLeakyRelu(Call &c) {
  if (c.boolean("training"))
    return c.fail("it is in training mode; call eval() before the export");
  return c.b.leakyRelu(c.tensor("self"),
                       (c.number("lower", 0.125) + c.number("upper", 1.0 / 3)) /
                           2);
}

//===----------------------------------------------------------------------===//
// Reductions and searches
//===----------------------------------------------------------------------===//

SmallVector<int64_t> axesOf(Call &c, Value x) {
  SmallVector<int64_t> result;
  if (c.b.rankOf(x) > 0)
    for (int64_t axis : c.ints("dim"))
      result.push_back(c.b.axis(axis, c.b.rankOf(x)).value_or(0));
  return result;
}

Value countNonZero(Call &c) {
  Value isSet = c.operand("self", ScalarType::Bool);
  Value ones = c.cast(isSet, ScalarType::Bool, ScalarType::Long);
  return ones ? c.b.reduce(Reduce::Sum, ones, axesOf(c, ones),
                           /*keepDims=*/false)
              : nullptr;
}

/// Sum or mean of what is not NaN.
template <bool mean> Value nanReduce(Call &c) {
  Value x = c.operand("self", c.resultType());
  if (!x)
    return nullptr;
  mlir::Type element = c.resultElement();
  Value isNan = c.b.unary(Unary::IsNan, x);
  const bool keepDims = c.boolean("keepdim");
  Value sum =
      c.b.reduce(Reduce::Sum, c.b.where(isNan, c.b.scalar(0.0, element), x),
                 axesOf(c, x), keepDims);
  if (!mean)
    return sum;
  Value counted = c.cast(c.b.unary(Unary::LogicalNot, isNan), ScalarType::Bool,
                         c.resultType());
  return c.b.div(sum, c.b.reduce(Reduce::Sum, counted, axesOf(c, x), keepDims));
}

Value trace(Call &c) {
  Value x = c.tensor("self");
  if (!x || c.b.rankOf(x) != 2)
    return x ? c.fail("a matrix is needed") : nullptr;
  Value diagonal = c.b.diagonal(x, 0, 0, 1);
  return c.cast(diagonal ? c.b.reduce(Reduce::Sum, diagonal, {0},
                                      /*keepDims=*/false)
                         : nullptr,
                c.typeOf("self"), c.resultType());
}

/// Position of each value in a sorted row: how many of the row are below.
Value search(Call &c, StringRef valuesName, StringRef rowName) {
  ScalarType type = c.promote({valuesName, rowName});
  Value values = c.operand(valuesName, type), row = c.operand(rowName, type);
  if (!values || !row)
    return nullptr;
  if (c.has("sorter"))
    return c.fail("a sorter is not supported");
  if (c.b.rankOf(row) != 1 && c.b.rankOf(row) != c.b.rankOf(values))
    return c.fail("the tensors differ in rank");
  const bool right = c.boolean("right") || c.string("side", "left") == "right";
  // values[..., v, 1] against row[..., 1, r].
  const int64_t rank = c.b.rankOf(values);
  values = c.b.unsqueeze(values, {rank});
  if (c.b.rankOf(row) > 1)
    row = c.b.unsqueeze(row, {rank - 1});
  Value below = c.b.compare(right ? Compare::Le : Compare::Lt, row, values,
                            isUnsigned(type));
  Value ones = c.cast(below, ScalarType::Bool, c.resultType());
  return ones ? c.b.reduce(Reduce::Sum, ones, {rank}, /*keepDims=*/false)
              : nullptr;
}

Value bucketize(Call &c) { return search(c, "self", "boundaries"); }
Value searchSorted(Call &c) { return search(c, "self", "sorted_sequence"); }

Value isIn(Call &c) {
  ScalarType type = c.promote({"elements", "test_elements"});
  Value x = c.operand("elements", type), set = c.operand("test_elements", type);
  if (!x || !set)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  set = c.b.reshape(set, {c.b.product(c.b.dims(set))});
  Value equal = c.b.compare(Compare::Eq, c.b.unsqueeze(x, {rank}), set);
  Value found = equal ? c.b.reduce(Reduce::Any, equal, {rank},
                                   /*keepDims=*/false)
                      : nullptr;
  return c.boolean("invert") ? c.b.unary(Unary::LogicalNot, found) : found;
}

/// Differences of neighbours, `n` times.
Value difference(Call &c) {
  ScalarType type = c.resultType();
  Value x = c.operand("self", type);
  if (!x || c.b.rankOf(x) == 0)
    return x ? c.fail("a scalar has no neighbours") : nullptr;
  const int64_t axis = c.axis("dim", c.b.rankOf(x), -1);
  SmallVector<Value> parts;
  if (c.has("prepend"))
    parts.push_back(c.operand("prepend", type));
  parts.push_back(x);
  if (c.has("append"))
    parts.push_back(c.operand("append", type));
  if (is_contained(parts, nullptr))
    return nullptr;
  x = parts.size() > 1 ? c.b.concat(parts, axis) : x;
  const int64_t count = c.integer("n", 1);
  if (count < 0 || count > 64)
    return c.fail("a difference of order " + Twine(count) +
                  " is not supported");
  for (int64_t i = 0; i < count && x; ++i) {
    Dim length = c.b.sub(c.b.dim(x, axis), c.b.index(1));
    Value next = c.b.narrow(x, axis, c.b.index(1), length);
    Value before = c.b.narrow(x, axis, c.b.index(0), length);
    x = type == ScalarType::Bool ? c.b.binary(Binary::Xor, next, before)
                                 : c.b.sub(next, before);
  }
  return x;
}

/// v g / |v|, the norm over all dims but one.
Value weightNorm(Call &c) {
  Value v = c.tensor("v"), g = c.tensor("g");
  if (!v || !g)
    return nullptr;
  const int64_t rank = c.b.rankOf(v), kept = c.integer("dim");
  SmallVector<int64_t> axes;
  for (int64_t i = 0; i < rank; ++i)
    if (kept == -1 || i != kept)
      axes.push_back(i);
  Value norm = c.b.vectorNorm(v, 2, axes, /*keepDims=*/kept != -1);
  return c.b.mul(v, c.b.div(g, norm));
}

Value weightNormWithNorm(Call &c) {
  c.results = {weightNorm(c)};
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Dims of both tensors are summed over: as a product of matrices.
Value tensorDot(Call &c) {
  Value a = c.tensor("self"), b = c.tensor("other");
  if (!a || !b)
    return nullptr;
  std::optional<SmallVector<int64_t>> axesA =
      c.b.axes(c.ints("dims_self"), c.b.rankOf(a));
  std::optional<SmallVector<int64_t>> axesB =
      c.b.axes(c.ints("dims_other"), c.b.rankOf(b));
  if (!axesA || !axesB)
    return nullptr;
  auto rest = [&](Value x, ArrayRef<int64_t> axes) {
    SmallVector<int64_t> result;
    for (int64_t i = 0; i < c.b.rankOf(x); ++i)
      if (!is_contained(axes, i))
        result.push_back(i);
    return result;
  };
  auto pick = [&](Value x, ArrayRef<int64_t> axes) {
    Dims result;
    for (int64_t axis : axes)
      result.push_back(c.b.dim(x, axis));
    return result;
  };
  SmallVector<int64_t> freeA = rest(a, *axesA), freeB = rest(b, *axesB);
  Dims dims = pick(a, freeA);
  dims.append(pick(b, freeB));
  Dim summed = c.b.product(pick(a, *axesA));
  Dim rows = c.b.product(pick(a, freeA)), columns = c.b.product(pick(b, freeB));
  SmallVector<int64_t> orderA = freeA, orderB = *axesB;
  orderA.append(*axesA);
  orderB.append(freeB);
  Value left = c.b.reshape(c.b.transpose(a, orderA), {rows, summed});
  Value right = c.b.reshape(c.b.transpose(b, orderB), {summed, columns});
  Value product = c.b.matmul(left, right);
  return product ? c.b.reshape(product, dims) : nullptr;
}

/// x1 weight x2^T + bias for every output.
Value bilinear(Call &c) {
  Value a = c.tensor("input1"), b = c.tensor("input2"),
        weight = c.tensor("weight");
  if (!a || !b || !weight)
    return nullptr;
  Value result = c.b.einsum("...i,oij,...j->...o", {a, weight, b});
  return c.has("bias") ? c.b.add(result, c.tensor("bias")) : result;
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

struct Windows {
  SmallVector<int64_t> size, dilation, padding, stride;
};

Windows windowsOf(Call &c) {
  return {c.ints("kernel_size", 2, 1), c.ints("dilation", 2, 1),
          c.ints("padding", 2, 0), c.ints("stride", 2, 1)};
}

/// F.unfold: N x C x H x W to N x C*taps x positions.
Value imageToColumns(Call &c) {
  Value x = c.tensor("self");
  Windows windows = windowsOf(c);
  Dims dims = c.resultDims();
  if (!x || c.b.failed())
    return nullptr;
  if (c.b.rankOf(x) != 4)
    return c.fail("an input of rank 4 is needed");
  Dims pads = {c.b.index(0), c.b.index(0), c.b.index(windows.padding[0]),
               c.b.index(windows.padding[1])};
  x = c.b.pad(x, pads, pads, PadMode::Constant,
              c.b.scalar(0, c.resultElement()));
  if (!x)
    return nullptr;
  SmallVector<Value> taps;
  for (int64_t i = 0; i < windows.size[0]; ++i)
    for (int64_t j = 0; j < windows.size[1]; ++j) {
      Value tap = x;
      const int64_t offsets[] = {i * windows.dilation[0],
                                 j * windows.dilation[1]};
      for (int64_t d = 0; d < 2 && tap; ++d) {
        // The last window begins where it still fits.
        Dim last = c.b.sub(c.b.dim(x, 2 + d), c.b.index(windows.dilation[d] *
                                                        (windows.size[d] - 1)));
        tap = c.b.slice(tap, 2 + d, c.b.index(offsets[d]),
                        c.b.add(last, c.b.index(offsets[d])),
                        c.b.index(windows.stride[d]));
      }
      if (!tap)
        return nullptr;
      taps.push_back(tap);
    }
  Value all = c.b.stack(taps, 2);
  return all ? c.b.reshape(all, dims) : nullptr;
}

/// F.fold: overlapping windows are summed, which is a transposed convolution
/// with one tap a channel.
Value columnsToImage(Call &c) {
  Value x = c.tensor("self");
  Windows windows = windowsOf(c);
  SmallVector<int64_t> size = c.ints("output_size", 2, 1);
  if (!x || c.b.failed())
    return nullptr;
  if (c.b.rankOf(x) != 3)
    return c.fail("an input of rank 3 is needed");
  std::optional<int64_t> channels = c.b.known(c.b.dim(x, 1));
  const int64_t taps = windows.size[0] * windows.size[1];
  if (!channels || taps < 1 || *channels % taps != 0)
    return c.fail("the number of channels has to be a multiple of the window");
  SmallVector<int64_t> counts, outputPadding;
  ConvOptions options;
  options.strides = windows.stride;
  options.dilations = windows.dilation;
  options.pads = windows.padding;
  options.pads.append(windows.padding);
  options.groups = *channels / taps;
  for (int64_t d = 0; d < 2; ++d) {
    if (windows.stride[d] < 1)
      return c.fail("a stride is not positive");
    const int64_t span = windows.dilation[d] * (windows.size[d] - 1) + 1;
    const int64_t room = size[d] + 2 * windows.padding[d] - span;
    if (room < 0)
      return c.fail("the window is larger than the image");
    counts.push_back(room / windows.stride[d] + 1);
    outputPadding.push_back(room % windows.stride[d]);
  }
  mlir::Type element = c.resultElement();
  // filter[channel * taps + t, 0, i, j] = 1 where t is tap (i, j).
  Value filter =
      c.b.reshape(c.b.eye(c.b.index(taps), c.b.index(taps), 0, element),
                  c.b.indices({taps, 1, windows.size[0], windows.size[1]}));
  if (filter)
    filter = c.b.tile(filter, c.b.indices({options.groups, 1, 1, 1}));
  Value image = c.b.reshape(x, {c.b.dim(x, 0), c.b.index(*channels),
                                c.b.index(counts[0]), c.b.index(counts[1])});
  return c.b.convTranspose(image, filter, nullptr, options, outputPadding);
}

/// Elements of the flat tensor at offset + sum of position * stride.
Value asStrided(Call &c) {
  const Argument *argument = c.find("self");
  Value x = c.tensor("self");
  Dims dims = c.resultDims(), strides = c.dims("stride");
  if (!x || c.b.failed())
    return nullptr;
  const TensorMeta *meta = c.graph.meta(argument->text);
  if (!meta || !meta->isContiguous)
    return c.fail("of a tensor that is not contiguous is not supported");
  if (dims.size() != strides.size())
    return c.fail("sizes and strides differ in length");
  SmallVector<Value> strideValues;
  for (Dim stride : strides)
    strideValues.push_back(c.b.indexValue(stride));
  Value offset = c.b.indexValue(c.dim("storage_offset", c.b.index(0)));
  Value indices = c.b.generate(
      dims, c.b.getI64Type(),
      [&](mlir::ImplicitLocOpBuilder &b, mlir::ValueRange at) -> Value {
        Value sum = offset;
        for (auto [position, stride] : zip(at, strideValues))
          sum = mlir::arith::AddIOp::create(
              b, sum, mlir::arith::MulIOp::create(b, position, stride));
        return mlir::arith::IndexCastOp::create(b, b.getI64Type(), sum);
      });
  return c.b.gather(c.b.reshape(x, {c.b.product(c.b.dims(x))}), indices, 0);
}

//===----------------------------------------------------------------------===//
// Sampling
//===----------------------------------------------------------------------===//

/// One coordinate of the grid as a position in the input.
struct Sampling {
  Call &c;
  mlir::Type element;
  bool alignCorners;
  int64_t padding; ///< 0 zeros, 1 border, 2 reflection

  Value number(double value) { return c.b.scalar(value, element); }

  /// [-1, 1] to positions of an axis of `size`.
  Value position(Value x, Value size) {
    if (alignCorners) // (x + 1) / 2 * (size - 1)
      x = c.b.mul(c.b.mul(c.b.add(x, number(1)), number(0.5)),
                  c.b.sub(size, number(1)));
    else // ((x + 1) * size - 1) / 2
      x = c.b.mul(c.b.sub(c.b.mul(c.b.add(x, number(1)), size), number(1)),
                  number(0.5));
    Value last = c.b.sub(size, number(1));
    if (padding == 2)
      x = reflect(x, size);
    return padding == 0 ? x : c.b.clamp(x, number(0), last);
  }

  /// Between the centers of the border's pixels, or between their edges.
  Value reflect(Value x, Value size) {
    Value low = number(alignCorners ? 0 : -0.5);
    Value span = alignCorners ? c.b.sub(size, number(1)) : size;
    Value distance = c.b.unary(Unary::Abs, c.b.sub(x, low));
    Value rest = c.b.binary(Binary::Fmod, distance, span);
    Value flips = c.b.unary(Unary::Floor, c.b.div(distance, span));
    Value isEven = c.b.compare(
        Compare::Eq, c.b.binary(Binary::Fmod, flips, number(2)), number(0));
    Value reflected =
        c.b.add(low, c.b.where(isEven, rest, c.b.sub(span, rest)));
    // An axis of one element has no span.
    return c.b.where(c.b.compare(Compare::Gt, span, number(0)), reflected,
                     number(0));
  }
};

/// theta (N x 2 x 3) applied to [x, y, 1] of every pixel.
Value affineGrid(Call &c) {
  Value theta = c.tensor("theta");
  Dims size = c.dims("size");
  if (!theta || c.b.failed())
    return nullptr;
  if (size.size() != 4)
    return c.fail("only images (sizes of four entries) are supported");
  mlir::Type element = c.resultElement();
  const bool alignCorners = c.boolean("align_corners");
  auto number = [&](double value) { return c.b.scalar(value, element); };
  auto coordinates = [&](Dim count, int64_t axis) -> Value {
    Value i = c.b.arange(c.b.index(0), c.b.index(1), count, element);
    Value length = c.b.cast(
        c.b.dimsToTensor(count, c.b.getI64Type(), /*scalar=*/true), element);
    Value at;
    if (alignCorners) { // of one pixel: the first end
      length = c.b.binary(Binary::Max, c.b.sub(length, number(1)), number(1));
      at = c.b.sub(c.b.div(c.b.mul(i, number(2)), length), number(1));
    } else {
      at = c.b.sub(c.b.div(c.b.add(c.b.mul(i, number(2)), number(1)), length),
                   number(1));
    }
    SmallVector<int64_t> axes = {axis == 0 ? 1 : 0};
    at = c.b.unsqueeze(at, axes);
    return at ? c.b.expand(at, {size[2], size[3]}) : nullptr;
  };
  Value x = coordinates(size[3], 1), y = coordinates(size[2], 0);
  Value ones = c.b.full({size[2], size[3]}, 1.0, element);
  if (!x || !y)
    return nullptr;
  Dim points = c.b.mul(size[2], size[3]);
  Value base = c.b.reshape(c.b.stack({x, y, ones}, 2), {points, c.b.index(3)});
  Value grid = c.b.matmul(base, c.b.transpose(theta, {0, 2, 1}));
  return grid ? c.b.reshape(grid, {size[0], size[2], size[3], c.b.index(2)})
              : nullptr;
}

Value gridSample(Call &c) {
  Value x = c.tensor("input"), grid = c.tensor("grid");
  if (!x || !grid)
    return nullptr;
  if (c.b.rankOf(x) != 4 || c.b.rankOf(grid) != 4)
    return c.fail("only images (tensors of rank 4) are supported");
  const int64_t mode = c.integer("interpolation_mode");
  if (mode != 0 && mode != 1)
    return c.fail("bicubic interpolation is not supported");
  mlir::Type element = c.b.elementOf(grid);
  Sampling sampling{c, element, c.boolean("align_corners"),
                    c.integer("padding_mode")};
  const Dims dims = c.b.dims(x), gridDims = c.b.dims(grid);
  Dim points = c.b.mul(gridDims[1], gridDims[2]);
  Value flat = c.b.reshape(x, {dims[0], dims[1], c.b.mul(dims[2], dims[3])});
  auto sizeOf = [&](Dim dim) {
    Value size = c.b.dimsToTensor(dim, c.b.getI64Type(), /*scalar=*/true);
    return c.b.cast(size, element);
  };
  Value width = sizeOf(dims[3]), height = sizeOf(dims[2]);
  Value column = sampling.position(c.b.select(grid, 3, c.b.index(0)), width);
  Value row = sampling.position(c.b.select(grid, 3, c.b.index(1)), height);

  // input[n, :, row, column], zero outside.
  auto fetch = [&](Value atRow, Value atColumn, Value weight) -> Value {
    Value zero = sampling.number(0);
    auto inside = [&](Value at, Value size) {
      return c.b.binary(Binary::And, c.b.compare(Compare::Ge, at, zero),
                        c.b.compare(Compare::Lt, at, size));
    };
    Value valid =
        c.b.binary(Binary::And, inside(atRow, height), inside(atColumn, width));
    // What is outside (or NaN) reads element 0 and counts nothing.
    auto whole = [&](Value at) {
      return c.b.cast(c.b.where(valid, at, zero), c.b.getI64Type());
    };
    Value stride = c.b.dimsToTensor(dims[3], c.b.getI64Type(), true);
    Value index = c.b.add(c.b.mul(whole(atRow), stride), whole(atColumn));
    index = c.b.reshape(index, {dims[0], c.b.index(1), points});
    index = index ? c.b.expand(index, {dims[0], dims[1], points}) : nullptr;
    Value values = c.b.gatherElements(flat, index, 2);
    values = values ? c.b.reshape(values,
                                  {dims[0], dims[1], gridDims[1], gridDims[2]})
                    : nullptr;
    Value factor = c.b.where(valid, weight ? weight : sampling.number(1), zero);
    return c.b.mul(values, factor ? c.b.unsqueeze(factor, {1}) : nullptr);
  };
  if (mode == 1)
    return fetch(c.b.unary(Unary::Round, row), c.b.unary(Unary::Round, column),
                 nullptr);
  Value top = c.b.unary(Unary::Floor, row);
  Value left = c.b.unary(Unary::Floor, column);
  Value one = sampling.number(1);
  Value bottom = c.b.add(top, one), right = c.b.add(left, one);
  Value down = c.b.sub(row, top), across = c.b.sub(column, left);
  Value up = c.b.sub(one, down), back = c.b.sub(one, across);
  Value upper = c.b.add(fetch(top, left, c.b.mul(up, back)),
                        fetch(top, right, c.b.mul(up, across)));
  Value lower = c.b.add(fetch(bottom, left, c.b.mul(down, back)),
                        fetch(bottom, right, c.b.mul(down, across)));
  return c.b.add(upper, lower);
}

constexpr OpEntry entries[] = {
    {"aten.cosine_similarity.default", cosineSimilarity},
    {"aten.pairwise_distance.default", pairwiseDistance},
    {"aten.cdist.default", distances},
    {"aten._cdist_forward.default", distances},
    {"aten.mse_loss.default", loss<Unary::Square>},
    {"aten.l1_loss.default", loss<Unary::Abs>},
    {"aten.fmax.default", ignoringNan<Binary::Max>},
    {"aten.fmin.default", ignoringNan<Binary::Min>},
    {"aten.logaddexp.default", logAddExp},
    {"aten.xlogy.Tensor", xLogY},
    {"aten.special_xlogy.default", xLogY},
    {"aten.logit.default", logit},
    {"aten.rrelu.default", randomizedLeakyRelu},
    {"aten.count_nonzero.default", countNonZero},
    {"aten.count_nonzero.dim_IntList", countNonZero},
    {"aten.nansum.default", nanReduce<false>},
    {"aten.nanmean.default", nanReduce<true>},
    {"aten.trace.default", trace},
    {"aten.bucketize.Tensor", bucketize},
    {"aten.searchsorted.Tensor", searchSorted},
    {"aten.isin.Tensor_Tensor", isIn},
    {"aten.diff.default", difference},
    {"aten._weight_norm.default", weightNorm},
    {"aten._weight_norm_interface.default", weightNormWithNorm},
    {"aten.tensordot.default", tensorDot},
    {"aten.bilinear.default", bilinear},
    {"aten.im2col.default", imageToColumns},
    {"aten.col2im.default", columnsToImage},
    {"aten.as_strided.default", asStrided},
    {"aten.as_strided_copy.default", asStrided},
    {"aten.affine_grid_generator.default", affineGrid},
    {"aten.grid_sampler.default", gridSample},
    {"aten.grid_sampler_2d.default", gridSample},
};

} // namespace

void addComposite(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
