//===- SequenceOperators.cpp - ONNX sequences and optionals ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Lists of values that exist while a model is imported.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

static GraphValue sequenceOf(std::vector<GraphValue> items) {
  GraphValue value;
  value.kind = GraphValue::Sequence;
  value.items = std::move(items);
  return value;
}

/// Operand 0, a sequence; null (and a failure) if it is none.
static const GraphValue *sequence(NodeBuilder &n) {
  if (n.has(0) && n.value(0).kind == GraphValue::Sequence)
    return &n.value(0);
  n.fail("operand 0 must be a sequence");
  return nullptr;
}

/// Operand `i`, a position among `count`, counted from the end if negative; the
/// last one if absent.
static std::optional<size_t> position(NodeBuilder &n, size_t i, size_t count) {
  if (!n.has(i)) {
    if (count == 0)
      n.fail("the sequence is empty");
    return count ? std::optional<size_t>(count - 1) : std::nullopt;
  }
  auto numbers = n.integers(i);
  if (!numbers)
    return std::nullopt;
  int64_t at = numbers->size() == 1 ? numbers->front() : int64_t(count);
  if (at < 0)
    at += int64_t(count);
  if (at < 0 || at >= int64_t(count)) {
    n.fail("the position is out of range for " + Twine(count) + " items");
    return std::nullopt;
  }
  return size_t(at);
}

static void sequenceConstruct(NodeBuilder &n) {
  std::vector<GraphValue> items;
  for (size_t i = 0; i < n.inputCount(); ++i) {
    if (!n.has(i))
      return n.fail("operand " + Twine(i) + " is missing");
    items.push_back(n.value(i));
  }
  n.set(0, sequenceOf(std::move(items)));
}

static void sequenceEmpty(NodeBuilder &n) {
  n.integer("dtype", 0); // The items that are added have one.
  n.set(0, sequenceOf({}));
}

static void sequenceInsert(NodeBuilder &n) {
  const GraphValue *list = sequence(n);
  if (!list)
    return;
  if (!n.has(1))
    return n.fail("operand 1 is missing");
  std::vector<GraphValue> items = list->items;
  size_t at = items.size();
  if (n.has(2)) {
    auto given = position(n, 2, items.size() + 1);
    if (!given)
      return;
    // Counted from the end, the end itself is no position.
    at = n.integers(2)->front() < 0 ? *given - 1 : *given;
    if (at > items.size())
      return n.fail("the position is out of range");
  }
  items.insert(items.begin() + at, n.value(1));
  n.set(0, sequenceOf(std::move(items)));
}

static void sequenceErase(NodeBuilder &n) {
  const GraphValue *list = sequence(n);
  if (!list)
    return;
  auto at = position(n, 1, list->items.size());
  if (!at)
    return;
  std::vector<GraphValue> items = list->items;
  items.erase(items.begin() + *at);
  n.set(0, sequenceOf(std::move(items)));
}

static void sequenceAt(NodeBuilder &n) {
  const GraphValue *list = sequence(n);
  if (!list)
    return;
  if (auto at = position(n, 1, list->items.size()))
    n.set(0, list->items[*at]);
}

static GraphValue numberOf(OpsBuilder &b, int64_t number, mlir::Type element) {
  GraphValue value;
  value.dims = Dims{b.index(number)};
  value.element = element;
  value.isScalar = true;
  return value;
}

static void sequenceLength(NodeBuilder &n) {
  if (const GraphValue *list = sequence(n))
    n.set(0, numberOf(n.ops, int64_t(list->items.size()), n.ops.getI64Type()));
}

static void concatFromSequence(NodeBuilder &n) {
  const GraphValue *list = sequence(n);
  if (!list)
    return;
  int64_t axis = n.integer("axis", 0);
  bool isNew = n.integer("new_axis", 0) != 0;
  if (list->items.empty())
    return n.fail("the sequence is empty");
  SmallVector<Value> items;
  for (GraphValue item : list->items) {
    if (item.kind != GraphValue::Tensor)
      return n.fail("an item of the sequence is no tensor");
    items.push_back(materialize(n.ops, item));
  }
  auto at = n.ops.axis(axis, OpsBuilder::rankOf(items[0]) + (isNew ? 1 : 0));
  if (!at)
    return;
  n.set(0, isNew ? n.ops.stack(items, *at) : n.ops.concat(items, *at),
        list->items[0].isUnsigned);
}

static void splitToSequence(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  auto axis = n.ops.axis(n.integer("axis", 0), OpsBuilder::rankOf(x));
  bool keepsDim = n.integer("keepdims", 1) != 0;
  if (!axis)
    return;
  auto length = OpsBuilder::known(n.ops.dim(x, *axis));
  SmallVector<int64_t> sizes;
  if (!n.has(1)) {
    if (!length)
      return n.fail("splits a dim whose size is not known into its elements");
    sizes.assign(size_t(*length), 1);
  } else {
    auto given = n.integers(1);
    if (!given)
      return;
    keepsDim = true;
    sizes = *given;
    if (n.rankOf(1) == 0) {
      int64_t part = sizes[0];
      if (!length || part < 1)
        return n.fail("splits a dim whose size is not known into equal parts");
      sizes.clear();
      for (int64_t at = 0; at < *length; at += part)
        sizes.push_back(std::min(part, *length - at));
    }
  }
  std::vector<GraphValue> items;
  for (Value part : n.ops.split(x, *axis, n.ops.indices(sizes))) {
    GraphValue &item = items.emplace_back();
    item.tensor = keepsDim ? part : n.ops.squeeze(part, {*axis});
    item.isUnsigned = n.isUnsigned(0);
  }
  n.set(0, sequenceOf(std::move(items)));
}

/// An optional of its operand, or without an element.
static void optional(NodeBuilder &n) {
  n.find("type");
  if (n.has(0))
    return n.set(0, n.value(0));
  GraphValue value;
  value.kind = GraphValue::None;
  n.set(0, std::move(value));
}

static void optionalHasElement(NodeBuilder &n) {
  bool has = n.has(0) && n.value(0).kind != GraphValue::None;
  n.set(0, numberOf(n.ops, has ? 1 : 0, n.ops.getI1Type()));
}

static void optionalGetElement(NodeBuilder &n) {
  if (!n.has(0) || n.value(0).kind == GraphValue::None)
    return n.fail("the optional has no element");
  n.set(0, n.value(0));
}

static void identity(NodeBuilder &n) {
  if (n.has(0))
    n.set(0, n.value(0));
}

llvm::ArrayRef<Operator> marver::onnx::sequenceOperators() {
  static const Operator table[] = {
      {"ConcatFromSequence", concatFromSequence, /*takesSequences=*/true},
      {"Identity", identity, /*takesSequences=*/true},
      {"Optional", optional, /*takesSequences=*/true},
      {"OptionalGetElement", optionalGetElement, /*takesSequences=*/true},
      {"OptionalHasElement", optionalHasElement, /*takesSequences=*/true},
      {"SequenceAt", sequenceAt, /*takesSequences=*/true},
      {"SequenceConstruct", sequenceConstruct, /*takesSequences=*/true},
      {"SequenceEmpty", sequenceEmpty, /*takesSequences=*/true},
      {"SequenceErase", sequenceErase, /*takesSequences=*/true},
      {"SequenceInsert", sequenceInsert, /*takesSequences=*/true},
      {"SequenceLength", sequenceLength, /*takesSequences=*/true},
      {"SplitToSequence", splitToSequence},
  };
  return table;
}
