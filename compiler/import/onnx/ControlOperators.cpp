//===- ControlOperators.cpp - ONNX operators with graphs inside -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Branches and loops carry tensors. A value that is a sequence goes through
// them as its items, as many as it has before; where their number changes from
// iteration to iteration, the loop is written out, which its count must allow.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

using GraphValues = NodeBuilder::GraphValues;

/// Iterations that are written out at most.
static constexpr int64_t unrollLimit = 256;

//===----------------------------------------------------------------------===//
// Values as tensors
//===----------------------------------------------------------------------===//

static bool haveSameForm(const GraphValue &a, const GraphValue &b) {
  return a.kind == b.kind && llvm::equal(a.items, b.items, haveSameForm);
}

static bool haveSameForm(const GraphValues &a, const GraphValues &b) {
  return llvm::equal(
      a, b, [](const auto &x, const auto &y) { return haveSameForm(x, y); });
}

/// The tensors that a value consists of, in order.
static void flatten(OpsBuilder &b, GraphValue &value,
                    SmallVectorImpl<Value> &tensors) {
  if (value.kind == GraphValue::Tensor)
    tensors.push_back(materialize(b, value));
  for (GraphValue &item : value.items)
    flatten(b, item, tensors);
}

static SmallVector<Value> flatten(OpsBuilder &b, GraphValues &values) {
  SmallVector<Value> tensors;
  for (GraphValue &value : values)
    flatten(b, value, tensors);
  return tensors;
}

/// A value of the form of `form`, of the first of `tensors`, which it takes.
static GraphValue rebuild(const GraphValue &form, ArrayRef<Value> &tensors) {
  GraphValue value;
  value.kind = form.kind;
  value.isUnsigned = form.isUnsigned;
  if (form.kind == GraphValue::Tensor) {
    value.tensor = tensors.front();
    tensors = tensors.drop_front();
  }
  for (const GraphValue &item : form.items)
    value.items.push_back(rebuild(item, tensors));
  return value;
}

static GraphValues rebuild(const GraphValues &forms, ArrayRef<Value> tensors) {
  GraphValues values;
  for (const GraphValue &form : forms)
    values.push_back(rebuild(form, tensors));
  return values;
}

static GraphValue scalarOf(OpsBuilder &b, Dim number, mlir::Type element) {
  GraphValue value;
  value.dims = Dims{number};
  value.element = element;
  value.isScalar = true;
  return value;
}

static GraphValue tensorOf(Value tensor, bool isUnsigned) {
  GraphValue value;
  value.tensor = tensor;
  value.isUnsigned = isUnsigned;
  return value;
}

/// A slice of a scan output, whose sizes must be known before the loop: those
/// that are not are the declared ones.
static Value withDeclaredDims(OpsBuilder &b, Value slice,
                              const ValueInfo &info) {
  if (!info.type.isTensor || !info.type.shape ||
      int64_t(info.type.shape->size()) != OpsBuilder::rankOf(slice))
    return slice;
  Dims dims = b.dims(slice);
  for (auto [dim, declared] : llvm::zip_equal(dims, *info.type.shape)) {
    if (OpsBuilder::known(dim) || !declared.value || *declared.value < 0)
      continue;
    Dim number = b.index(*declared.value);
    if (!b.requireEqual(dim, number, "a scan output and its declared shape"))
      return nullptr;
    dim = number;
  }
  RankedTensorType type = b.typeFor(dims, OpsBuilder::elementOf(slice));
  if (type == slice.getType())
    return slice;
  return b.withDims(tensor::CastOp::create(b, type, slice), dims);
}

static void setResults(NodeBuilder &n, GraphValues values) {
  for (auto [i, value] : llvm::enumerate(values))
    n.set(i, std::move(value));
}

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

static void ifNode(NodeBuilder &n) {
  size_t count = n.node.outputs.size();
  const Graph *then = n.graph("then_branch", 0, count),
              *otherwise = n.graph("else_branch", 0, count);
  if (!then || !otherwise || !n.has(0))
    return n.fail("needs a condition and two branches");
  if (auto known = knownTruth(n.value(0))) {
    if (auto made = n.build(*known ? *then : *otherwise, {}))
      setResults(n, std::move(*made));
    return;
  }
  Value condition = n.in(0);
  GraphValues forms[2];
  auto branch = [&](const Graph &graph, GraphValues &form) {
    std::optional<GraphValues> made = n.build(graph, {});
    if (!made)
      return OpsBuilder::Results();
    form = *made;
    return OpsBuilder::Results(flatten(n.ops, *made));
  };
  OpsBuilder::Results results = n.ops.ifElse(
      condition, [&](auto) { return branch(*then, forms[0]); },
      [&](auto) { return branch(*otherwise, forms[1]); });
  if (!results)
    return;
  if (!haveSameForm(forms[0], forms[1]))
    return n.fail("the branches give sequences of different lengths");
  setResults(n, rebuild(forms[0], *results));
}

//===----------------------------------------------------------------------===//
// Loop
//===----------------------------------------------------------------------===//

namespace {

/// A Loop node: graph inputs are the number of the iteration, the condition
/// (which holds inside), what is carried; results the next condition, what is
/// carried on, and a slice of each scan output.
struct Loop {
  NodeBuilder &n;
  const Graph &body;
  GraphValues initial;

  std::optional<GraphValues> iterate(Dim iteration, GraphValues carried) {
    OpsBuilder &b = n.ops;
    GraphValues inputs = {scalarOf(b, iteration, b.getI64Type()),
                          scalarOf(b, b.index(1), b.getI1Type())};
    llvm::append_range(inputs, carried);
    return n.build(body, inputs);
  }

  size_t scanCount() const { return body.outputs.size() - 1 - initial.size(); }

  void unroll(int64_t count);
  void build(std::optional<Dim> count, Value proceed);
};

} // namespace

void Loop::unroll(int64_t count) {
  OpsBuilder &b = n.ops;
  GraphValues carried = initial;
  std::vector<SmallVector<Value>> slices(scanCount());
  SmallVector<bool> isUnsigned(scanCount());
  for (int64_t i = 0; i < count; ++i) {
    auto made = iterate(b.index(i), carried);
    if (!made)
      return;
    for (size_t k = 0; k < scanCount(); ++k) {
      GraphValue &slice = (*made)[1 + initial.size() + k];
      if (slice.kind != GraphValue::Tensor)
        return n.fail("a scan output is no tensor");
      isUnsigned[k] = slice.isUnsigned;
      slices[k].push_back(materialize(b, slice));
    }
    carried.assign(made->begin() + 1, made->begin() + 1 + initial.size());
    auto proceeds = knownTruth(made->front());
    if (!proceeds)
      return n.fail("carries a sequence whose length changes, and ends when "
                    "the data say so");
    if (!*proceeds)
      break;
  }
  for (size_t k = 0; k < scanCount(); ++k) {
    if (slices[k].empty())
      return n.fail("has a scan output without an iteration");
    carried.push_back(tensorOf(b.stack(slices[k], 0), isUnsigned[k]));
  }
  setResults(n, std::move(carried));
}

void Loop::build(std::optional<Dim> count, Value proceed) {
  OpsBuilder &b = n.ops;
  SmallVector<bool> isUnsigned(scanCount());
  auto results = b.loop(
      count, proceed, flatten(b, initial),
      [&](Dim iteration,
          OpsBuilder::Values carried) -> std::optional<OpsBuilder::Iteration> {
        auto made = iterate(iteration, rebuild(initial, carried));
        if (!made)
          return std::nullopt;
        OpsBuilder::Iteration result;
        if (knownTruth(made->front()) != true)
          result.proceed = materialize(b, made->front());
        auto end = made->begin() + 1 + initial.size();
        GraphValues next(made->begin() + 1, end);
        if (!haveSameForm(next, initial)) {
          n.fail("carries a sequence whose length changes, and the number of "
                 "its iterations is not known or above " +
                 Twine(unrollLimit));
          return std::nullopt;
        }
        result.carried = flatten(b, next);
        for (auto [k, slice] :
             llvm::enumerate(llvm::make_range(end, made->end()))) {
          if (slice.kind != GraphValue::Tensor) {
            n.fail("a scan output is no tensor");
            return std::nullopt;
          }
          isUnsigned[k] = slice.isUnsigned;
          result.slices.push_back(withDeclaredDims(
              b, materialize(b, slice), body.outputs[1 + initial.size() + k]));
        }
        if (b.failed())
          return std::nullopt;
        return result;
      });
  if (!results)
    return;
  GraphValues values = rebuild(initial, results->carried);
  for (auto [scan, flag] : llvm::zip_equal(results->scans, isUnsigned))
    values.push_back(tensorOf(scan, flag));
  setResults(n, std::move(values));
}

static void loopNode(NodeBuilder &n) {
  size_t carried = n.inputCount() < 2 ? 0 : n.inputCount() - 2;
  const Graph *body = n.graph("body", 2 + carried, std::nullopt);
  if (!body)
    return;
  if (body->outputs.size() < 1 + carried ||
      body->outputs.size() < 1 + n.node.outputs.size())
    return n.fail("the graph 'body' has too few results");
  Loop loop{n, *body, {}};
  bool hasSequences = false;
  for (size_t i = 2; i < 2 + carried; ++i) {
    if (!n.has(i))
      return n.fail("operand " + Twine(i) + " is missing");
    loop.initial.push_back(n.value(i));
    hasSequences |= n.value(i).kind != GraphValue::Tensor;
  }
  std::optional<Dim> count;
  if (n.has(0) && !(count = n.dim(0)))
    return;
  std::optional<bool> known = true;
  Value proceed;
  if (n.has(1)) {
    known = knownTruth(n.value(1));
    if (known != true)
      proceed = n.in(1);
  }
  auto number = count ? OpsBuilder::known(*count) : std::nullopt;
  if (hasSequences && number && *number <= unrollLimit && known)
    return loop.unroll(*known ? *number : 0);
  loop.build(count, proceed);
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

namespace {

/// A Scan node: the last `scans` of its operands are cut along their axes.
struct Scan {
  Scan(NodeBuilder &n, const Graph &body) : n(n), body(body) {}

  NodeBuilder &n;
  const Graph &body;
  size_t states = 0, scans = 0;
  SmallVector<int64_t> inAxes, inReversed, outAxes, outReversed;
  SmallVector<bool> isUnsigned; ///< of the operands
  SmallVector<bool> resultsUnsigned;

  size_t outputs() const { return body.outputs.size() - states; }
  /// States, then scan outputs.
  std::optional<SmallVector<Value>> build(OpsBuilder::Values operands);
};

} // namespace

std::optional<SmallVector<Value>> Scan::build(OpsBuilder::Values operands) {
  OpsBuilder &b = n.ops;
  std::optional<Dim> count;
  SmallVector<int64_t> axes;
  for (size_t k = 0; k < scans; ++k) {
    Value x = operands[states + k];
    auto axis = b.axis(inAxes[k], OpsBuilder::rankOf(x));
    if (!axis)
      return std::nullopt;
    axes.push_back(*axis);
    Dim size = b.dim(x, *axis);
    if (!count)
      count = size;
    if (!b.requireEqual(*count, size, "lengths of the scan inputs"))
      return std::nullopt;
  }
  resultsUnsigned.assign(body.outputs.size(), false);
  auto results = b.loop(
      count, nullptr, operands.take_front(states),
      [&](Dim i,
          OpsBuilder::Values carried) -> std::optional<OpsBuilder::Iteration> {
        GraphValues inputs;
        for (auto [state, flag] : llvm::zip(carried, isUnsigned))
          inputs.push_back(tensorOf(state, flag));
        for (size_t k = 0; k < scans; ++k) {
          Dim at = inReversed[k] ? b.sub(b.sub(*count, b.index(1)), i) : i;
          inputs.push_back(tensorOf(b.select(operands[states + k], axes[k], at),
                                    isUnsigned[states + k]));
        }
        if (b.failed())
          return std::nullopt;
        auto made = n.build(body, inputs);
        if (!made)
          return std::nullopt;
        OpsBuilder::Iteration result;
        for (auto [k, value] : llvm::enumerate(*made)) {
          if (value.kind != GraphValue::Tensor) {
            n.fail("a result of the graph 'body' is no tensor");
            return std::nullopt;
          }
          resultsUnsigned[k] = value.isUnsigned;
          Value tensor = materialize(b, value);
          if (k < states)
            result.carried.push_back(tensor);
          else
            result.slices.push_back(
                withDeclaredDims(b, tensor, body.outputs[k]));
        }
        if (b.failed())
          return std::nullopt;
        return result;
      });
  if (!results)
    return std::nullopt;
  SmallVector<Value> values = results->carried;
  for (auto [k, scan] : llvm::enumerate(results->scans)) {
    Value x = outReversed[k] ? b.flip(scan, {0}) : scan;
    auto axis = b.axis(outAxes[k], OpsBuilder::rankOf(x));
    if (!axis)
      return std::nullopt;
    values.push_back(b.moveAxis(x, 0, *axis));
  }
  return values;
}

static void scanNode(NodeBuilder &n) {
  // Before opset 9 everything has a batch dim, and lengths come first.
  const bool isBatched = n.opset < 9;
  const size_t first = isBatched ? 1 : 0;
  int64_t scans = n.integer("num_scan_inputs", 0);
  if (n.inputCount() < first || scans < 1 ||
      uint64_t(scans) > n.inputCount() - first)
    return n.fail("num_scan_inputs does not fit the operands");
  size_t count = n.inputCount() - first;
  const Graph *body = n.graph("body", count, n.node.outputs.size());
  if (!body)
    return;
  Scan scan(n, *body);
  scan.scans = size_t(scans);
  scan.states = count - scan.scans;
  if (body->outputs.size() < scan.states)
    return n.fail("the graph 'body' has too few results");
  if (isBatched && n.has(0))
    return n.fail("sequence lengths of opset 8 are not supported: convert it "
                  "to opset 9 with onnx.version_converter");
  auto list = [&](StringRef name, size_t wanted) {
    SmallVector<int64_t> values = n.integers(name);
    if (values.empty())
      values.assign(wanted, 0);
    if (values.size() != wanted)
      n.fail("the attribute '" + name + "' has " + Twine(values.size()) +
             " entries, must have " + Twine(wanted));
    return values;
  };
  scan.inAxes = list(isBatched ? "" : "scan_input_axes", scan.scans);
  scan.inReversed =
      list(isBatched ? "directions" : "scan_input_directions", scan.scans);
  scan.outAxes = list("scan_output_axes", scan.outputs());
  scan.outReversed = list("scan_output_directions", scan.outputs());
  SmallVector<Value> operands;
  for (size_t i = first; i < n.inputCount(); ++i) {
    operands.push_back(n.in(i));
    scan.isUnsigned.push_back(n.isUnsigned(i));
  }
  if (n.ops.failed())
    return;
  std::optional<SmallVector<Value>> values;
  if (!isBatched) {
    values = scan.build(operands);
  } else {
    // One batch after the other.
    OpsBuilder &b = n.ops;
    if (llvm::any_of(operands,
                     [](Value x) { return OpsBuilder::rankOf(x) == 0; }))
      return n.fail("operands have a batch dim");
    auto all =
        b.loop(b.dim(operands[0], 0), nullptr, {},
               [&](Dim batch,
                   OpsBuilder::Values) -> std::optional<OpsBuilder::Iteration> {
                 SmallVector<Value> own;
                 for (Value x : operands)
                   own.push_back(b.select(x, 0, batch));
                 auto made = scan.build(own);
                 if (!made)
                   return std::nullopt;
                 return OpsBuilder::Iteration{{}, *made, nullptr};
               });
    if (all)
      values = all->scans;
  }
  if (!values)
    return;
  for (auto [i, value] : llvm::enumerate(*values))
    n.set(i, value, scan.resultsUnsigned[i]);
}

//===----------------------------------------------------------------------===//
// SequenceMap
//===----------------------------------------------------------------------===//

/// The body for every item of the first sequence; other sequences have as many.
static void sequenceMap(NodeBuilder &n) {
  const Graph *body = n.graph("body", n.inputCount(), n.node.outputs.size());
  if (!body)
    return;
  if (!n.has(0) || n.value(0).kind != GraphValue::Sequence)
    return n.fail("operand 0 must be a sequence");
  GraphValues results(body->outputs.size());
  for (GraphValue &result : results)
    result.kind = GraphValue::Sequence;
  for (size_t k = 0, count = n.value(0).items.size(); k < count; ++k) {
    GraphValues inputs;
    for (size_t i = 0; i < n.inputCount(); ++i) {
      if (!n.has(i))
        return n.fail("operand " + Twine(i) + " is missing");
      const GraphValue &value = n.value(i);
      if (value.kind == GraphValue::Sequence && value.items.size() != count)
        return n.fail("the sequences differ in length");
      inputs.push_back(value.kind == GraphValue::Sequence ? value.items[k]
                                                          : value);
    }
    auto made = n.build(*body, inputs);
    if (!made)
      return;
    for (auto [result, item] : llvm::zip_equal(results, *made))
      result.items.push_back(item);
  }
  setResults(n, std::move(results));
}

llvm::ArrayRef<Operator> marver::onnx::controlOperators() {
  static const Operator table[] = {
      {"If", ifNode, /*takesSequences=*/true},
      {"Loop", loopNode, /*takesSequences=*/true},
      {"Scan", scanNode},
      {"SequenceMap", sequenceMap, /*takesSequences=*/true},
  };
  return table;
}
