//===- ShapeOperators.cpp - Operators of ONNX that rearrange tensors -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

static void reshape(NodeBuilder &n) {
  auto target = n.dims(1);
  Value x = n.in(0);
  if (!target || !x)
    return;
  // 0 keeps the dim of the input, unless it is meant as it stands.
  if (n.integer("allowzero", 0) == 0) {
    Dims source = n.ops.dims(x);
    for (auto [i, dim] : llvm::enumerate(*target)) {
      if (OpsBuilder::known(dim) != 0)
        continue;
      if (i >= source.size())
        return n.fail("a 0 in the new shape has no dim to keep");
      dim = source[i];
    }
  }
  n.setLike(n.ops.reshape(x, *target));
}

static void flatten(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  int64_t rank = OpsBuilder::rankOf(x), axis = n.integer("axis", 1);
  if (axis < -rank || axis > rank)
    return n.fail("axis " + Twine(axis) +
                  " is out of range for a tensor of rank " + Twine(rank));
  axis = axis < 0 ? axis + rank : axis;
  Dims all = n.ops.dims(x);
  ArrayRef<Dim> dims(all);
  n.setLike(n.ops.reshape(x, {n.ops.product(dims.take_front(axis)),
                              n.ops.product(dims.drop_front(axis))}));
}

static void squeeze(NodeBuilder &n) {
  auto axes = n.axes("axes", 1);
  Value x = n.in(0);
  if (!axes || !x)
    return;
  if (axes->empty())
    for (auto [i, dim] : llvm::enumerate(n.ops.dims(x)))
      if (OpsBuilder::known(dim) == 1)
        axes->push_back(int64_t(i));
  n.setLike(n.ops.squeeze(x, *axes));
}

static void unsqueeze(NodeBuilder &n) {
  auto axes = n.axes("axes", 1);
  if (axes)
    n.setLike(n.ops.unsqueeze(n.in(0), *axes));
}

static void expand(NodeBuilder &n) {
  auto target = n.dims(1);
  if (target)
    n.setLike(n.ops.expand(n.in(0), *target));
}

static void transpose(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  SmallVector<int64_t> order = n.integers("perm");
  if (!n.hasAttribute("perm"))
    for (int64_t i = OpsBuilder::rankOf(x) - 1; i >= 0; --i)
      order.push_back(i);
  n.setLike(n.ops.transpose(x, order));
}

static void concat(NodeBuilder &n) {
  n.setLike(n.ops.concat(n.allInputs(), n.integer("axis", 1)));
}

static void split(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  auto axis = n.ops.axis(n.integer("axis", 0), OpsBuilder::rankOf(x));
  if (!axis)
    return;
  Dims sizes = n.ops.indices(n.integers("split"));
  if (n.has(1)) {
    auto given = n.dims(1);
    if (!given)
      return;
    sizes = *given;
  }
  // Equal parts; the last may be smaller.
  int64_t count = int64_t(n.node.outputs.size());
  if (n.integer("num_outputs", count) != count)
    return n.fail("has a num_outputs that is not the number of its results");
  if (sizes.empty()) {
    Dim total = n.ops.dim(x, *axis),
        part = n.ops.ceilDiv(total, n.ops.index(count));
    for (int64_t i = 0; i + 1 < count; ++i)
      sizes.push_back(part);
    sizes.push_back(n.ops.sub(total, n.ops.mul(part, n.ops.index(count - 1))));
  }
  if (int64_t(sizes.size()) != count)
    return n.fail("has " + Twine(sizes.size()) + " sizes for " + Twine(count) +
                  " results");
  SmallVector<Value> parts = n.ops.split(x, *axis, sizes);
  for (auto [i, part] : llvm::enumerate(parts))
    n.set(i, part, n.isUnsigned(0));
}

static void slice(NodeBuilder &n) {
  std::optional<Dims> starts, ends, steps;
  std::optional<SmallVector<int64_t>> axes;
  if (n.opset < 10) {
    starts = n.ops.indices(n.integers("starts"));
    ends = n.ops.indices(n.integers("ends"));
    axes = n.integers("axes");
  } else {
    starts = n.dims(1);
    ends = n.dims(2);
    axes = n.has(3) ? n.integers(3) : SmallVector<int64_t>();
    if (n.has(4)) {
      steps = n.dims(4);
      if (!steps)
        return;
    }
  }
  Value x = n.in(0);
  if (!starts || !ends || !axes || !x)
    return;
  if (axes->empty())
    *axes = llvm::to_vector(llvm::seq<int64_t>(int64_t(starts->size())));
  size_t count = starts->size();
  if (ends->size() != count || axes->size() != count ||
      (steps && steps->size() != count))
    return n.fail("has starts, ends, axes and steps of different lengths");
  if (!n.ops.axes(*axes, OpsBuilder::rankOf(x)))
    return;
  for (size_t i = 0; i < count; ++i)
    x = n.ops.slice(x, (*axes)[i], (*starts)[i], (*ends)[i],
                    steps ? (*steps)[i] : n.ops.index(1));
  n.setLike(x);
}

static std::optional<PadMode> padMode(NodeBuilder &n) {
  StringRef text = n.text("mode", "constant");
  if (text == "constant")
    return PadMode::Constant;
  if (text == "reflect")
    return PadMode::Reflect;
  if (text == "edge")
    return PadMode::Edge;
  if (text == "wrap")
    return PadMode::Wrap;
  n.fail("mode '" + printable(text) + "' is not supported");
  return std::nullopt;
}

static void pad(NodeBuilder &n) {
  Value x = n.in(0), fill;
  auto mode = padMode(n);
  if (!x || !mode)
    return;
  int64_t rank = OpsBuilder::rankOf(x);
  std::optional<Dims> pads;
  auto axes = llvm::to_vector(llvm::seq<int64_t>(rank));
  if (n.opset < 11) {
    pads = n.ops.indices(n.integers("pads"));
    fill = n.ops.scalar(n.real("value", 0), OpsBuilder::elementOf(x));
  } else {
    pads = n.dims(1);
    fill = n.optional(2);
    if (n.has(3)) {
      auto given = n.integers(3);
      auto positions = given ? n.ops.axes(*given, rank) : std::nullopt;
      if (!positions)
        return;
      axes = *positions;
    }
  }
  if (!pads)
    return;
  if (pads->size() != 2 * axes.size())
    return n.fail("has " + Twine(pads->size()) + " pads for " +
                  Twine(axes.size()) + " axes");
  Dims low(rank, n.ops.index(0)), high = low;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    low[axis] = (*pads)[i];
    high[axis] = (*pads)[i + axes.size()];
  }
  n.setLike(n.ops.pad(x, low, high, *mode, fill));
}

static void tile(NodeBuilder &n) {
  auto repeats = n.dims(1);
  if (repeats)
    n.setLike(n.ops.tile(n.in(0), *repeats));
}

/// At inference: the input, and a mask of ones if asked for.
static void dropout(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  if (n.has(2)) {
    auto training = n.reals(2);
    if (!training || training->empty() || training->front() != 0)
      return n.fail("training mode is not supported");
  }
  n.set(x);
  n.set(1, n.ops.full(n.ops.dims(x), n.ops.scalar(1, n.ops.getI1Type())));
}

static void constantOfShape(NodeBuilder &n) {
  auto target = n.dims(0);
  if (!target)
    return;
  Value fill = n.ops.scalar(0.0, n.ops.getF32Type());
  bool isUnsigned = false;
  if (const onnx::Attribute *attribute = n.find("value")) {
    ElementsAttr value = n.tensor("value");
    if (!value)
      return;
    if (value.getNumElements() != 1)
      return n.fail("needs a value of one element");
    fill = n.ops.reshape(n.ops.constant(value), {});
    isUnsigned =
        elementType(n.ops.getContext(), attribute->tensor->type)->second;
  }
  n.set(n.ops.full(*target, fill), isUnsigned);
}

/// Operand `i` as a dim where it is a whole number, of whatever type.
static std::optional<Dim> wholeNumber(NodeBuilder &n, size_t i) {
  GraphValue &value = n.value(i);
  if (value.dims && value.dims->size() == 1)
    return value.dims->front();
  if (!value.constant && isa<FloatType>(n.elementOf(i)))
    return std::nullopt;
  if (isa<FloatType>(n.elementOf(i))) {
    auto number = n.real(i);
    if (!number || *number != std::trunc(*number) ||
        !(std::abs(*number) < 1e15))
      return std::nullopt;
    return n.ops.index(int64_t(*number));
  }
  return n.dim(i);
}

static void range(NodeBuilder &n) {
  for (size_t i = 0; i < 3; ++i)
    if (!n.has(i))
      return n.fail("operand " + Twine(i) + " is missing");
  mlir::Type element = n.elementOf(0);
  auto start = wholeNumber(n, 0), limit = wholeNumber(n, 1),
       step = wholeNumber(n, 2);
  if (n.ops.failed())
    return;
  if (start && limit && step) {
    if (OpsBuilder::known(*step) == 0)
      return n.fail("has a step of 0");
    Dim count = n.ops.max(n.ops.index(0),
                          n.ops.ceilDiv(n.ops.sub(*limit, *start), *step));
    return n.set(n.ops.arange(*start, *step, count, element));
  }
  auto first = n.real(0), last = n.real(1), by = n.real(2);
  if (!first || !last || !by)
    return;
  double count = std::ceil((*last - *first) / *by);
  if (!(count < 1e12))
    return n.fail("has a step that makes no sense");
  n.set(n.ops.arange(n.in(0), n.in(2),
                     n.ops.index(int64_t(std::max(count, 0.0)))));
}

static void eyeLike(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  if (OpsBuilder::rankOf(x) != 2)
    return n.fail("needs a matrix");
  std::pair<mlir::Type, bool> type = {OpsBuilder::elementOf(x),
                                      n.isUnsigned(0)};
  if (n.hasAttribute("dtype")) {
    auto given = n.dataType("dtype", DataType::Float);
    if (!given)
      return;
    type = *given;
  }
  n.set(n.ops.eye(n.ops.dim(x, 0), n.ops.dim(x, 1), n.integer("k", 0),
                  type.first),
        type.second);
}

static void trilu(NodeBuilder &n) {
  Dim diagonal = n.ops.index(0);
  if (n.has(1)) {
    auto given = n.dim(1);
    if (!given)
      return;
    diagonal = *given;
  }
  n.setLike(n.ops.tri(n.in(0), diagonal, n.integer("upper", 1) != 0));
}

static void depthToSpace(NodeBuilder &n) {
  n.setLike(n.ops.depthToSpace(n.in(0), n.integer("blocksize", 0),
                               n.text("mode", "DCR") == "CRD"));
}

static void spaceToDepth(NodeBuilder &n) {
  n.setLike(n.ops.spaceToDepth(n.in(0), n.integer("blocksize", 0),
                               n.text("mode", "DCR") == "CRD"));
}

//===----------------------------------------------------------------------===//
// Resize
//===----------------------------------------------------------------------===//

static bool resizeModes(NodeBuilder &n, ResizeOptions &options) {
  StringRef mode = n.text("mode", "nearest");
  StringRef coordinates = n.text("coordinate_transformation_mode",
                                 n.opset < 11 ? "asymmetric" : "half_pixel");
  StringRef nearest =
      n.text("nearest_mode", n.opset < 11 ? "floor" : "round_prefer_floor");
  auto refuse = [&](StringRef what, StringRef text) {
    n.fail(what + " '" + printable(text) + "' is not supported");
    return false;
  };
  if (mode == "nearest")
    options.mode = mv::ResizeMode::Nearest;
  else if (mode == "linear" || mode == "bilinear" || mode == "trilinear")
    options.mode = mv::ResizeMode::Linear;
  else if (mode == "cubic" || mode == "bicubic")
    options.mode = mv::ResizeMode::Cubic;
  else
    return refuse("mode", mode);
  if (coordinates == "half_pixel")
    options.coordinates = ResizeOptions::HalfPixel;
  else if (coordinates == "pytorch_half_pixel")
    options.coordinates = ResizeOptions::PytorchHalfPixel;
  else if (coordinates == "align_corners")
    options.coordinates = ResizeOptions::AlignCorners;
  else if (coordinates == "asymmetric")
    options.coordinates = ResizeOptions::Asymmetric;
  else if (coordinates == "half_pixel_symmetric")
    options.coordinates = ResizeOptions::HalfPixelSymmetric;
  else
    return refuse("coordinate mode", coordinates);
  if (nearest == "round_prefer_floor" || nearest.empty())
    options.nearest = ResizeOptions::RoundPreferFloor;
  else if (nearest == "round_prefer_ceil")
    options.nearest = ResizeOptions::RoundPreferCeil;
  else if (nearest == "floor")
    options.nearest = ResizeOptions::Floor;
  else if (nearest == "ceil")
    options.nearest = ResizeOptions::Ceil;
  else
    return refuse("rounding mode", nearest);
  options.cubicCoefficient = n.real("cubic_coeff_a", -0.75);
  if (n.integer("antialias", 0) != 0)
    return refuse("attribute", "antialias");
  if (n.integer("exclude_outside", 0) != 0)
    return refuse("attribute", "exclude_outside");
  return true;
}

/// Sizes kept in proportion, as `keep_aspect_ratio_policy` says.
static bool keepAspect(NodeBuilder &n, Value x, ArrayRef<int64_t> axes,
                       Dims &sizes, ResizeOptions &options) {
  StringRef policy = n.text("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch")
    return true;
  std::optional<double> scale;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    auto in = OpsBuilder::known(n.ops.dim(x, axis)),
         out = OpsBuilder::known(sizes[i]);
    if (!in || !out || *in == 0) {
      n.fail("needs known sizes to keep their ratio");
      return false;
    }
    double own = double(*out) / double(*in);
    if (!scale || (policy == "not_larger" ? own < *scale : own > *scale))
      scale = own;
  }
  for (auto [i, axis] : llvm::enumerate(axes)) {
    double in = double(*OpsBuilder::known(n.ops.dim(x, axis)));
    sizes[i] = n.ops.index(int64_t(std::floor(*scale * in + 0.5)));
  }
  options.scales.assign(axes.size(), scale.value_or(1));
  return true;
}

static void resize(NodeBuilder &n) {
  Value x = n.in(0);
  ResizeOptions options;
  if (!x || !resizeModes(n, options))
    return;
  int64_t rank = OpsBuilder::rankOf(x);
  SmallVector<int64_t> axes = n.integers("axes");
  if (axes.empty())
    axes = llvm::to_vector(llvm::seq<int64_t>(rank));
  auto positions = n.ops.axes(axes, rank);
  if (!positions)
    return;
  // Operands: x, roi, scales, sizes; before operator set 11: x, scales;
  // Upsample of set 7 has an attribute.
  size_t scalesAt = n.opset < 11 ? 1 : 2, sizesAt = 3;
  auto isGiven = [&](size_t i) {
    if (!n.has(i))
      return false;
    GraphValue &value = n.value(i);
    auto type = value.constant
                    ? cast<RankedTensorType>(value.constant.getType())
                : value.tensor ? OpsBuilder::typeOf(value.tensor)
                               : RankedTensorType();
    return !type || type.getNumElements() != 0;
  };
  Dims sizes;
  if (n.opset >= 11 && isGiven(sizesAt)) {
    auto given = n.dims(sizesAt);
    if (!given)
      return;
    sizes = *given;
    if (sizes.size() != positions->size())
      return n.fail("has " + Twine(sizes.size()) + " sizes for " +
                    Twine(positions->size()) + " axes");
    if (!keepAspect(n, x, *positions, sizes, options))
      return;
  } else {
    std::optional<SmallVector<double>> scales = n.reals("scales");
    if (!n.hasAttribute("scales"))
      scales = n.reals(scalesAt);
    if (!scales)
      return;
    options.scales = *scales;
    if (scales->size() != positions->size())
      return n.fail("has " + Twine(scales->size()) + " scales for " +
                    Twine(positions->size()) + " axes");
    for (auto [axis, scale] : llvm::zip(*positions, *scales)) {
      Dim in = n.ops.dim(x, axis);
      if (!(scale > 0) || !(scale < 1e6))
        return n.fail("has a scale that makes no sense");
      sizes.push_back(n.ops.scale(in, scale));
    }
  }
  n.setLike(n.ops.resize(x, *positions, sizes, options));
}

static void centerCropPad(NodeBuilder &n) {
  Value x = n.in(0);
  auto target = n.dims(1);
  if (!x || !target)
    return;
  int64_t rank = OpsBuilder::rankOf(x);
  SmallVector<int64_t> axes = n.integers("axes");
  if (!n.hasAttribute("axes"))
    axes = llvm::to_vector(llvm::seq<int64_t>(rank));
  auto positions = n.ops.axes(axes, rank);
  if (!positions)
    return;
  if (positions->size() != target->size())
    return n.fail("needs a size for each axis");
  Dims low(rank, n.ops.index(0)), high = low;
  for (auto [axis, size] : llvm::zip(*positions, *target)) {
    Dim difference = n.ops.sub(size, n.ops.dim(x, axis));
    auto number = OpsBuilder::known(difference);
    if (!number)
      return n.fail("needs sizes that are known");
    // Rounded towards zero when padding, the other way when cropping.
    int64_t before = *number >= 0 ? *number / 2 : -((-*number) / 2);
    low[axis] = n.ops.index(before);
    high[axis] = n.ops.index(*number - before);
  }
  n.setLike(n.ops.pad(x, low, high, PadMode::Constant));
}

/// Built as a shape value wherever its operand is a tensor.
static void shapeOnly(NodeBuilder &n) {
  n.fail("has an operand without a shape");
}

llvm::ArrayRef<Operator> marver::onnx::shapeOperators() {
  static const Operator table[] = {
      {"CenterCropPad", centerCropPad},
      {"Concat", concat},
      {"ConstantOfShape", constantOfShape},
      {"DepthToSpace", depthToSpace},
      {"Dropout", dropout},
      {"Expand", expand},
      {"EyeLike", eyeLike},
      {"Flatten", flatten},
      {"Pad", pad},
      {"Range", range},
      {"Reshape", reshape},
      {"Resize", resize},
      {"Shape", shapeOnly},
      {"Size", shapeOnly},
      {"Slice", slice},
      {"SpaceToDepth", spaceToDepth},
      {"Split", split},
      {"Squeeze", squeeze},
      {"Tile", tile},
      {"Transpose", transpose},
      {"Trilu", trilu},
      {"Unsqueeze", unsqueeze},
      {"Upsample", resize},
  };
  return table;
}
