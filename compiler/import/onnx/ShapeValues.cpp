//===- ShapeValues.cpp - Arithmetic on shapes, done at import -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Exporters compute shapes with ordinary nodes: Shape, Gather, Concat, Mul, ...
// on short integer tensors. Those whose elements are dims or numbers are
// computed here, as dims, so that a Reshape or Slice gets numbers and index
// values and no tensor is ever computed for them. Values may pass through a
// float type as long as they stay whole (Range takes floats).
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"
#include "compiler/ir/Constants.h"
#include "marver/abi.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

namespace {

/// A shape value of at most this many elements.
constexpr int64_t longest = 64;

/// Arithmetic is done on numbers up to here.
constexpr int64_t largest = int64_t(1) << 40;

/// A list or scalar of dims that a node takes.
struct Shape {
  Dims dims;
  mlir::Type element;
  bool isScalar = false;
  /// Computed from a tensor's dims, not just a constant of the model.
  bool isDerived = false;
};

std::optional<Shape> shapeOf(NodeBuilder &node, size_t i) {
  if (!node.has(i))
    return std::nullopt;
  GraphValue &value = node.value(i);
  if (value.isUnsigned)
    return std::nullopt;
  if (value.dims)
    return Shape{*value.dims, value.element, value.isScalar, true};
  if (!value.constant)
    return std::nullopt;
  auto data = getConstantData(value.constant);
  if (!data || data->type.getRank() > 1 || elementCount(data->type) > longest)
    return std::nullopt;
  Shape shape;
  shape.element = data->type.getElementType();
  shape.isScalar = data->type.getRank() == 0;
  bool isFloat = isa<FloatType>(shape.element);
  if (!isFloat && !shape.element.isInteger(64) &&
      !shape.element.isInteger(32) && !shape.element.isInteger(1))
    return std::nullopt;
  for (int64_t k = 0; k < elementCount(data->type); ++k) {
    int64_t at = data->isSplat ? 0 : k;
    if (!isFloat) {
      shape.dims.push_back(node.ops.index(data->getInt(at)));
      continue;
    }
    double number = data->getFloat(at);
    if (!(std::abs(number) < 1e15) || number != std::trunc(number))
      return std::nullopt;
    shape.dims.push_back(node.ops.index(int64_t(number)));
  }
  return shape;
}

void setShape(NodeBuilder &node, size_t i, Dims dims, mlir::Type element,
              bool isScalar) {
  GraphValue value;
  value.dims = std::move(dims);
  value.element = element;
  value.isScalar = isScalar;
  node.set(i, std::move(value));
}

void setShape(NodeBuilder &node, Dims dims, const Shape &like) {
  setShape(node, 0, std::move(dims), like.element, like.isScalar);
}

bool buildShape(NodeBuilder &node) {
  // The shape of any tensor is a shape value.
  Value x = node.in(0);
  if (!x)
    return true;
  Dims all = node.ops.dims(x);
  int64_t rank = all.size();
  auto clampAxis = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  int64_t start = clampAxis(node.integer("start", 0));
  int64_t end = std::max(start, clampAxis(node.integer("end", rank)));
  setShape(node, 0, Dims(all.begin() + start, all.begin() + end),
           node.ops.getI64Type(), false);
  return true;
}

/// One element of a binary operator, or nullopt for one that dims do not have.
std::optional<Dim> combine(OpsBuilder &ops, StringRef type, Dim a, Dim b,
                           bool isFloat) {
  auto numberB = OpsBuilder::known(b), numberA = OpsBuilder::known(a);
  // Numbers that are no sizes (the largest integer as "to the end") may
  // overflow.
  for (auto number : {numberA, numberB})
    if (number && (*number > largest || *number < -largest))
      return std::nullopt;
  if (type == "Add")
    return ops.add(a, b);
  if (type == "Sub")
    return ops.sub(a, b);
  if (type == "Mul")
    return ops.mul(a, b);
  if (type == "Max")
    return ops.max(a, b);
  if (type == "Min")
    return ops.min(a, b);
  if (type == "Div") {
    if (!numberB) {
      if (isFloat || !ops.isNonNegative(a) || !ops.isNonNegative(b))
        return std::nullopt;
      ops.check(ops.compare(arith::CmpIPredicate::ne, b, ops.index(0)),
                MV_FAILURE_DIVISION, "division by a dim that is 0");
      return ops.floorDiv(a, ops.max(b, ops.index(1)));
    }
    if (*numberB == 0)
      return std::nullopt;
    // Of floats only what stays whole; integers round towards zero, which for a
    // dim (never negative) is down.
    if (numberA) {
      if (isFloat && *numberA % *numberB != 0)
        return std::nullopt;
      return ops.index(*numberA / *numberB);
    }
    if (isFloat && *numberB != 1)
      return std::nullopt;
    if (*numberB < 0 || !ops.isNonNegative(a))
      return std::nullopt;
    return ops.floorDiv(a, b);
  }
  if (type == "Mod") {
    if (isFloat || !numberB || *numberB <= 0)
      return std::nullopt;
    return ops.mod(a, b);
  }
  return std::nullopt;
}

/// Elementwise on two shapes; a single element is repeated.
bool buildBinary(NodeBuilder &node, const Shape &a, const Shape &b) {
  if (a.element != b.element || a.element.isInteger(1))
    return false;
  size_t count = std::max(a.dims.size(), b.dims.size());
  if (a.dims.empty() || b.dims.empty())
    return false;
  if ((a.dims.size() != count && a.dims.size() != 1) ||
      (b.dims.size() != count && b.dims.size() != 1))
    return false;
  if (node.node.type == "Mod" && node.integer("fmod", 0) != 0)
    return false;
  Dims result;
  for (size_t i = 0; i < count; ++i) {
    auto element =
        combine(node.ops, node.node.type, a.dims[a.dims.size() == 1 ? 0 : i],
                b.dims[b.dims.size() == 1 ? 0 : i], isa<FloatType>(a.element));
    if (!element)
      return false;
    result.push_back(*element);
  }
  setShape(node, 0, result, a.element, a.isScalar && b.isScalar);
  return true;
}

/// Comparisons of numbers (not of unknown dims).
bool buildComparison(NodeBuilder &node, const Shape &a, const Shape &b) {
  auto x = OpsBuilder::known(a.dims), y = OpsBuilder::known(b.dims);
  if (a.element != b.element || !x || !y || x->empty() || y->empty())
    return false;
  size_t count = std::max(x->size(), y->size());
  if ((x->size() != count && x->size() != 1) ||
      (y->size() != count && y->size() != 1))
    return false;
  Dims result;
  for (size_t i = 0; i < count; ++i) {
    int64_t l = (*x)[x->size() == 1 ? 0 : i], r = (*y)[y->size() == 1 ? 0 : i];
    StringRef type = node.node.type;
    bool holds = type == "Equal"            ? l == r
                 : type == "Less"           ? l < r
                 : type == "LessOrEqual"    ? l <= r
                 : type == "Greater"        ? l > r
                 : type == "GreaterOrEqual" ? l >= r
                 : type == "And"            ? l && r
                                            : l || r;
    result.push_back(node.ops.index(holds));
  }
  setShape(node, 0, result, node.ops.getI1Type(), a.isScalar && b.isScalar);
  return true;
}

bool buildWhere(NodeBuilder &node) {
  auto condition = shapeOf(node, 0), a = shapeOf(node, 1), b = shapeOf(node, 2);
  if (!condition || !a || !b || a->element != b->element)
    return false;
  auto chosen = OpsBuilder::known(condition->dims);
  size_t count =
      std::max({condition->dims.size(), a->dims.size(), b->dims.size()});
  auto fits = [&](const Shape &shape) {
    return shape.dims.size() == count || shape.dims.size() == 1;
  };
  if (!chosen || !fits(*condition) || !fits(*a) || !fits(*b))
    return false;
  Dims result;
  for (size_t i = 0; i < count; ++i) {
    const Shape &from = (*chosen)[chosen->size() == 1 ? 0 : i] ? *a : *b;
    result.push_back(from.dims[from.dims.size() == 1 ? 0 : i]);
  }
  setShape(node, 0, result, a->element,
           condition->isScalar && a->isScalar && b->isScalar);
  return true;
}

bool buildCast(NodeBuilder &node, const Shape &x) {
  auto type =
      elementType(node.ops.getContext(), DataType(node.integer("to", 0)));
  if (!type || type->second)
    return false;
  mlir::Type to = type->first;
  auto isBool = [](mlir::Type element) { return element.isInteger(1); };
  bool narrow =
      !to.isInteger(64) && !to.isInteger(32) && !to.isF32() && !to.isF64();
  if (narrow || isBool(x.element) != isBool(to))
    return false;
  setShape(node, 0, x.dims, to, x.isScalar);
  return true;
}

bool buildGather(NodeBuilder &node, const Shape &x) {
  auto at = shapeOf(node, 1);
  if (!at || x.isScalar || node.integer("axis", 0) != 0)
    return false;
  auto positions = OpsBuilder::known(at->dims);
  if (!positions)
    return false;
  Dims result;
  int64_t size = x.dims.size();
  for (int64_t position : *positions) {
    if (position < -size || position >= size) {
      node.fail("position " + Twine(position) + " is out of range for " +
                Twine(size) + " elements");
      return true;
    }
    result.push_back(x.dims[position < 0 ? position + size : position]);
  }
  setShape(node, 0, result, x.element, at->isScalar);
  return true;
}

/// Elements of a list of integers that is computed as a tensor.
std::optional<Shape> elementsOf(NodeBuilder &node, size_t i) {
  Value tensor = node.in(i);
  auto type = tensor ? cast<RankedTensorType>(tensor.getType()) : nullptr;
  if (!type || type.getRank() != 1 || !type.hasStaticShape() ||
      !type.getElementType().isInteger(64) || type.getNumElements() > longest ||
      node.value(i).isUnsigned)
    return std::nullopt;
  auto elements = node.ops.tensorToDims(tensor);
  return elements ? std::optional(Shape{*elements, type.getElementType()})
                  : std::nullopt;
}

bool buildConcat(NodeBuilder &node) {
  // One part that is a shape makes the whole one: what is known of the others,
  // a -1 for a Reshape, must not get lost.
  bool isShape = false;
  for (size_t i = 0; i < node.inputCount(); ++i)
    isShape |= node.has(i) && node.value(i).dims.has_value();
  Dims result;
  mlir::Type element;
  for (size_t i = 0; i < node.inputCount(); ++i) {
    auto part = shapeOf(node, i);
    if (!part && isShape)
      part = elementsOf(node, i);
    if (!part || part->isScalar || (element && part->element != element))
      return false;
    element = part->element;
    result.append(part->dims);
  }
  if (!element || result.size() > size_t(longest))
    return false;
  setShape(node, 0, result, element, false);
  return true;
}

bool buildSlice(NodeBuilder &node, const Shape &x) {
  if (x.isScalar)
    return false;
  std::optional<SmallVector<int64_t>> lists[4]; // starts, ends, axes, steps
  if (node.opset < 10) {
    lists[0] = node.integers("starts");
    lists[1] = node.integers("ends");
  } else {
    for (size_t i = 0; i < 4; ++i) {
      if (!node.has(i + 1))
        continue;
      auto list = shapeOf(node, i + 1);
      auto numbers = list ? OpsBuilder::known(list->dims) : std::nullopt;
      if (!numbers || numbers->size() != 1)
        return false;
      lists[i] = *numbers;
    }
  }
  if (!lists[0] || !lists[1] || lists[0]->size() != 1 || lists[1]->size() != 1)
    return false;
  int64_t size = x.dims.size(), step = lists[3] ? lists[3]->front() : 1;
  if (step == 0)
    return false;
  auto clamp = [&](int64_t at, int64_t low, int64_t high) {
    return std::clamp<int64_t>(at < 0 ? at + size : at, low, high);
  };
  int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  int64_t start = clamp(lists[0]->front(), low, high);
  int64_t end = clamp(lists[1]->front(), low, high);
  Dims result;
  for (int64_t i = start; step > 0 ? i < end : i > end; i += step)
    result.push_back(x.dims[i]);
  setShape(node, 0, result, x.element, false);
  return true;
}

/// Between a scalar and a list of one; nothing else keeps a rank of 1 or less.
bool buildRankChange(NodeBuilder &node, const Shape &x) {
  StringRef type = node.node.type;
  if (type == "Unsqueeze" && x.isScalar) {
    setShape(node, 0, x.dims, x.element, false);
    return true;
  }
  if (type == "Squeeze" && !x.isScalar && x.dims.size() == 1) {
    setShape(node, 0, x.dims, x.element, true);
    return true;
  }
  if (type == "Reshape") {
    auto target = shapeOf(node, 1);
    auto numbers = target ? OpsBuilder::known(target->dims) : std::nullopt;
    int64_t count = x.dims.size();
    if (!numbers || numbers->size() > 1)
      return false;
    if (numbers->empty() ? count != 1
                         : numbers->front() != -1 && numbers->front() != count)
      return false;
    setShape(node, 0, x.dims, x.element, numbers->empty());
    return true;
  }
  return false;
}

/// Sums and products of all elements.
bool buildReduction(NodeBuilder &node, const Shape &x) {
  if (x.isScalar || !x.element.isIntOrIndex() || x.element.isInteger(1))
    return false;
  if (node.integer("noop_with_empty_axes", 0) != 0)
    return false;
  Dim result = node.ops.index(node.node.type == "ReduceProd" ? 1 : 0);
  for (Dim dim : x.dims)
    result = node.node.type == "ReduceProd" ? node.ops.mul(result, dim)
                                            : node.ops.add(result, dim);
  setShape(node, 0, {result}, x.element, node.integer("keepdims", 1) == 0);
  return true;
}

bool buildRange(NodeBuilder &node, const Shape &x) {
  auto limit = shapeOf(node, 1), step = shapeOf(node, 2);
  if (!limit || !step || limit->dims.size() != 1 || step->dims.size() != 1 ||
      x.dims.size() != 1 || isa<FloatType>(x.element))
    return false;
  auto first = OpsBuilder::known(x.dims), last = OpsBuilder::known(limit->dims),
       by = OpsBuilder::known(step->dims);
  if (!first || !last || !by || by->front() == 0)
    return false;
  Dims result;
  int64_t at = first->front(), end = last->front(), stride = by->front();
  for (; stride > 0 ? at < end : at > end; at += stride) {
    if (int64_t(result.size()) == longest)
      return false;
    result.push_back(node.ops.index(at));
  }
  setShape(node, 0, result, x.element, false);
  return true;
}

bool buildFill(NodeBuilder &node, const Shape &shape) {
  // ConstantOfShape with a list of known length.
  auto lengths = OpsBuilder::known(shape.dims);
  if (!lengths || lengths->size() > 1 || node.hasAttribute("value") == false)
    return false;
  const onnx::Attribute *value = node.find("value");
  if (!value->tensor || value->tensor->type != DataType::Int64)
    return false;
  int64_t length = lengths->empty() ? 1 : lengths->front();
  if (length < 0 || length > longest)
    return false;
  int64_t number = 0;
  if (value->tensor->raw && value->tensor->raw->size() == 8)
    memcpy(&number, value->tensor->raw->data(), 8);
  else if (value->tensor->ints64.size() == 1)
    number = value->tensor->ints64[0];
  else
    return false;
  setShape(node, 0, Dims(length, node.ops.index(number)), node.ops.getI64Type(),
           lengths->empty());
  return true;
}

bool buildSplit(NodeBuilder &node, const Shape &x) {
  if (x.isScalar)
    return false;
  SmallVector<int64_t> sizes = node.integers("split");
  if (node.has(1)) {
    auto list = shapeOf(node, 1);
    auto numbers = list ? OpsBuilder::known(list->dims) : std::nullopt;
    if (!numbers)
      return false;
    sizes = *numbers;
  }
  size_t parts = node.node.outputs.size(), total = x.dims.size();
  if (sizes.empty()) {
    if (parts == 0 || total % parts != 0)
      return false;
    sizes.assign(parts, int64_t(total / parts));
  }
  size_t offset = 0;
  if (sizes.size() != parts)
    return false;
  for (int64_t size : sizes)
    if (size < 0 || size_t(size) > total - std::min(offset, total))
      return false;
    else
      offset += size;
  offset = 0;
  for (auto [i, size] : llvm::enumerate(sizes)) {
    setShape(node, i,
             Dims(x.dims.begin() + offset, x.dims.begin() + offset + size),
             x.element, false);
    offset += size;
  }
  return true;
}

bool buildExpand(NodeBuilder &node, const Shape &x) {
  auto target = shapeOf(node, 1);
  auto numbers = target ? OpsBuilder::known(target->dims) : std::nullopt;
  if (!numbers || numbers->size() > 1 || x.dims.size() != 1)
    return false;
  int64_t count = numbers->empty() ? 1 : numbers->front();
  if (count < 0 || count > longest)
    return false;
  setShape(node, 0, Dims(count, x.dims[0]), x.element,
           x.isScalar && numbers->empty());
  return true;
}

} // namespace

bool marver::onnx::buildShapeValue(NodeBuilder &node) {
  StringRef type = node.node.type;
  if (type == "Shape")
    return buildShape(node);
  if (type == "Size") {
    Value x = node.in(0);
    if (x)
      setShape(node, 0, {node.ops.product(node.ops.dims(x))},
               node.ops.getI64Type(), true);
    return true;
  }
  if (type == "Where")
    return buildWhere(node);
  if (type == "Concat")
    return buildConcat(node);
  auto x = shapeOf(node, 0);
  if (!x)
    return false;
  if (type == "ConstantOfShape")
    return buildFill(node, *x);
  if (type == "Range")
    return buildRange(node, *x);
  if (type == "Gather")
    return buildGather(node, *x);
  if (type == "Slice")
    return buildSlice(node, *x);
  if (type == "Split")
    return buildSplit(node, *x);
  if (type == "Expand" || type == "Tile")
    return type == "Expand" && buildExpand(node, *x);
  if (type == "Cast")
    return buildCast(node, *x);
  if (type == "Unsqueeze" || type == "Squeeze" || type == "Reshape")
    return buildRankChange(node, *x);
  if (type == "ReduceProd" || type == "ReduceSum")
    return buildReduction(node, *x);
  if (type == "Identity" || type == "Floor" || type == "Ceil" ||
      type == "Round") {
    setShape(node, x->dims, *x);
    return true;
  }
  if (type == "Neg") {
    Dims result;
    for (Dim dim : x->dims) {
      auto negative = combine(node.ops, "Sub", node.ops.index(0), dim, false);
      if (!negative)
        return false;
      result.push_back(*negative);
    }
    setShape(node, result, *x);
    return true;
  }
  if (type == "Not") {
    auto numbers = OpsBuilder::known(x->dims);
    if (!numbers)
      return false;
    Dims result;
    for (int64_t number : *numbers)
      result.push_back(node.ops.index(number == 0));
    setShape(node, result, *x);
    return true;
  }
  if (node.inputCount() != 2)
    return false;
  auto y = shapeOf(node, 1);
  if (!y)
    return false;
  bool isArithmetic = type == "Add" || type == "Sub" || type == "Mul" ||
                      type == "Div" || type == "Mod" || type == "Max" ||
                      type == "Min";
  if (isArithmetic)
    return buildBinary(node, *x, *y);
  bool isComparison = type == "Equal" || type == "Less" ||
                      type == "LessOrEqual" || type == "Greater" ||
                      type == "GreaterOrEqual" || type == "And" || type == "Or";
  return isComparison && buildComparison(node, *x, *y);
}
