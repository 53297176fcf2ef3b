//===- StableHloContractions.cpp - Products and convolutions --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"

using namespace mlir;

namespace marver::hlo {
namespace {

/// What an operand's axes are to a product.
struct Axes {
  SmallVector<int64_t> batch, contracted, rest;
};

std::optional<Axes> axesOf(Call &c, Value x, SmallVector<int64_t> batch,
                           SmallVector<int64_t> contracted) {
  Axes axes{batch, contracted, {}};
  SmallVector<int64_t> used(batch);
  used.append(contracted);
  const int64_t rank = OpsBuilder::rankOf(x);
  for (int64_t axis : used)
    if (axis < 0 || axis >= rank || llvm::count(used, axis) != 1) {
      c.b.fail("names axis " + Twine(axis) + ", which does not fit");
      return std::nullopt;
    }
  for (int64_t axis = 0; axis < rank; ++axis)
    if (!llvm::is_contained(used, axis))
      axes.rest.push_back(axis);
  return axes;
}

Dims dimsAt(OpsBuilder &b, Value x, ArrayRef<int64_t> axes) {
  Dims dims;
  for (int64_t axis : axes)
    dims.push_back(b.dim(x, axis));
  return dims;
}

/// lhs as batch x rest x contracted, rhs as batch x contracted x rest.
Value product(Call &c, Value lhs, Value rhs, const Axes &left,
              const Axes &right) {
  OpsBuilder &b = c.b;
  if (left.batch.size() != right.batch.size() ||
      left.contracted.size() != right.contracted.size())
    return b.fail("its operands have different numbers of axes in common");
  RankedTensorType type = c.resultType();
  if (!type)
    return b.fail("a result of this type is not supported");
  lhs = b.cast(lhs, type.getElementType(), c.isUnsigned());
  rhs = b.cast(rhs, type.getElementType(), c.isUnsigned());
  Dims batch = dimsAt(b, lhs, left.batch), rows = dimsAt(b, lhs, left.rest),
       columns = dimsAt(b, rhs, right.rest),
       inner = dimsAt(b, lhs, left.contracted), result = batch;
  result.append(rows);
  result.append(columns);
  auto join = [&](ArrayRef<ArrayRef<int64_t>> parts) {
    SmallVector<int64_t> order;
    for (ArrayRef<int64_t> part : parts)
      order.append(part.begin(), part.end());
    return order;
  };
  lhs = permute(b, lhs, join({left.batch, left.rest, left.contracted}));
  rhs = permute(b, rhs, join({right.batch, right.contracted, right.rest}));
  // Rows stay axes of their own where numpy's product allows it.
  const bool keepsRows = batch.empty() && !rows.empty();
  Dims leftDims = batch, rightDims = batch;
  if (keepsRows)
    leftDims = rows;
  else
    leftDims.push_back(b.product(rows));
  leftDims.push_back(b.product(inner));
  rightDims.push_back(b.product(inner));
  rightDims.push_back(b.product(columns));
  auto shaped = [&](Value x, const Dims &dims) {
    Dims own = b.dims(x);
    const bool isSame =
        own.size() == dims.size() &&
        llvm::all_of(llvm::zip(own, dims), [](auto pair) {
          return OpsBuilder::same(std::get<0>(pair), std::get<1>(pair));
        });
    return isSame ? x : b.reshape(x, dims);
  };
  Value made = b.matmul(shaped(lhs, leftDims), shaped(rhs, rightDims));
  return made ? shaped(made, result) : made;
}

Results dotGeneral(Call &c) {
  Value lhs = c.operand(0), rhs = c.operand(1);
  if (!lhs || !rhs)
    return {};
  constexpr StringLiteral text = "dot_dimension_numbers";
  const bool isText = c.op->hasAttr(text);
  auto axes = [&](StringRef side, StringRef kind, StringRef pretty) {
    return isText ? c.listIn(text, (side + kind).str()) : c.ints({pretty});
  };
  std::optional<Axes> left =
      axesOf(c, lhs, axes("lhs", "_batching_dimensions", "batching_dims"),
             axes("lhs", "_contracting_dimensions", "contracting_dims"));
  std::optional<Axes> right =
      axesOf(c, rhs, axes("rhs", "_batching_dimensions", "batching_dims.rhs"),
             axes("rhs", "_contracting_dimensions", "contracting_dims.rhs"));
  return {left && right ? product(c, lhs, rhs, *left, *right) : Value()};
}

/// The last axis of the first and the first of the second.
Results dot(Call &c) {
  Value lhs = c.operand(0), rhs = c.operand(1);
  if (!lhs || !rhs)
    return {};
  std::optional<Axes> left = axesOf(c, lhs, {}, {OpsBuilder::rankOf(lhs) - 1});
  std::optional<Axes> right = axesOf(c, rhs, {}, {0});
  return {left && right ? product(c, lhs, rhs, *left, *right) : Value()};
}

/// Where batch (-1), features (-2) and the spatial axes of each operand and of
/// the result stand: `[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]`.
struct ConvolutionAxes {
  SmallVector<int64_t> input, filter, output;
};

/// `[b, 0, 1, f]` at the start of `text`, behind any other characters.
SmallVector<int64_t> takeAxes(StringRef &text) {
  SmallVector<int64_t> axes;
  auto [before, after] = text.split('[');
  auto [list, rest] = after.split(']');
  text = rest;
  SmallVector<StringRef> items;
  list.split(items, ',', -1, /*KeepEmpty=*/false);
  for (StringRef item : items) {
    item = item.trim();
    int64_t number = INT64_MIN;
    if (item == "b" || item == "o")
      number = -1;
    else if (item == "f" || item == "i")
      number = -2;
    else if (item.getAsInteger(10, number))
      number = INT64_MIN;
    axes.push_back(number);
  }
  return axes;
}

ConvolutionAxes convolutionAxes(Call &c) {
  if (auto opaque =
          dyn_cast_or_null<OpaqueAttr>(c.attribute({"dimension_numbers"}))) {
    StringRef text = opaque.getAttrData();
    ConvolutionAxes axes;
    axes.input = takeAxes(text);
    axes.filter = takeAxes(text);
    axes.output = takeAxes(text);
    return axes;
  }
  return {c.ints({"dim_numbers"}), c.ints({"dim_numbers.rhs"}),
          c.ints({"dim_numbers.result"})};
}

/// The order that brings axes to first (batch, features, spatial ...) or, with
/// `inverse`, from there.
std::optional<SmallVector<int64_t>> orderOf(ArrayRef<int64_t> axes,
                                            bool inverse) {
  SmallVector<int64_t> order(axes.size(), -1), back(axes.size());
  for (auto [at, axis] : llvm::enumerate(axes)) {
    const int64_t place = axis < 0 ? -1 - axis : axis + 2;
    if (place < 0 || place >= int64_t(axes.size()) || order[place] >= 0)
      return std::nullopt;
    order[place] = at;
    back[at] = place;
  }
  return inverse ? back : order;
}

Results convolution(Call &c) {
  OpsBuilder &b = c.b;
  Value x = c.operand(0), filter = c.operand(1);
  RankedTensorType type = c.resultType();
  if (!x || !filter || !type)
    return {};
  ConvolutionAxes axes = convolutionAxes(c);
  auto input = orderOf(axes.input, false),
       weights = orderOf(axes.filter, false),
       output = orderOf(axes.output, true);
  const size_t rank = OpsBuilder::rankOf(x);
  if (!input || !weights || !output || input->size() != rank || rank < 3 ||
      weights->size() != rank || output->size() != rank)
    return {b.fail("its dimension numbers are not supported")};
  const size_t spatial = rank - 2;
  auto list = [&](ArrayRef<StringRef> names, int64_t otherwise) {
    SmallVector<int64_t> values = c.ints(names);
    if (values.empty())
      values.assign(spatial, otherwise);
    return values;
  };
  ConvOptions options;
  options.strides = list({"window_strides", "stride"}, 1);
  options.dilations = list({"rhs_dilation", "rhs_dilate"}, 1);
  options.groups = c.integer({"feature_group_count"}, 1);
  SmallVector<int64_t> spread = list({"lhs_dilation", "lhs_dilate"}, 1),
                       reversed = list({"window_reversal", "reverse"}, 0),
                       pads = c.ints({"padding", "pad"});
  if (pads.empty())
    pads.assign(2 * spatial, 0);
  if (options.strides.size() != spatial ||
      options.dilations.size() != spatial || spread.size() != spatial ||
      reversed.size() != spatial || pads.size() != 2 * spatial)
    return {b.fail("its window has another number of dims than its input")};
  if (c.integer({"batch_group_count"}, 1) != 1)
    return {b.fail("groups of the batch are not supported")};

  x = b.cast(permute(b, x, *input), type.getElementType());
  filter = b.cast(permute(b, filter, *weights), type.getElementType());
  SmallVector<int64_t> flipped;
  for (size_t i = 0; i < spatial; ++i)
    if (reversed[i])
      flipped.push_back(int64_t(i) + 2);
  if (!flipped.empty())
    filter = b.flip(filter, flipped);

  // Zeros between the inputs, and what padding the convolution does not take.
  SmallVector<int64_t> counts(rank, 0), low(rank, 0), high(rank, 0);
  for (size_t i = 0; i < spatial; ++i) {
    if (spread[i] < 1)
      return {b.fail("has a dilation that is not positive")};
    counts[i + 2] = spread[i] - 1;
    low[i + 2] = std::min<int64_t>(pads[2 * i], 0);
    high[i + 2] = std::min<int64_t>(pads[2 * i + 1], 0);
  }
  Value zero = b.scalar(0, type.getElementType());
  x = interiorPad(b, x, counts, zero);
  if (x && (llvm::any_of(low, [](int64_t n) { return n != 0; }) ||
            llvm::any_of(high, [](int64_t n) { return n != 0; })))
    x = b.pad(x, b.indices(low), b.indices(high), PadMode::Constant, zero);
  for (size_t side = 0; side < 2; ++side)
    for (size_t i = 0; i < spatial; ++i)
      options.pads.push_back(std::max<int64_t>(pads[2 * i + side], 0));
  Value made = b.conv(x, filter, nullptr, options);
  return {made ? permute(b, made, *output) : made};
}

} // namespace

void addContractions(Table &table) {
  table["dot_general"] = dotGeneral;
  table["dot"] = dot;
  table["convolution"] = convolution;
}

} // namespace marver::hlo
