//===- Importer.cpp - From an ONNX model to a module of tensors -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Walks the graph in order and has each node built by its operator's handler.
// Nodes that call a function of the model are replaced by the function's nodes.
// A node that fails poisons its results, so that all problems of a model are
// reported at once and none twice.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Importer.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

/// Calls of functions within functions, this deep at most.
static constexpr int callDepthLimit = 32;

/// Nodes in all, with those of functions counted for each call.
static constexpr int64_t nodeLimit = 1'000'000;

//===----------------------------------------------------------------------===//
// Locations
//===----------------------------------------------------------------------===//

/// The innermost line of a Python stack trace that the exporter attached.
static std::optional<std::pair<StringRef, unsigned>>
sourceLine(StringRef trace) {
  size_t at = trace.rfind("File \"");
  if (at == StringRef::npos)
    return std::nullopt;
  auto [file, rest] = trace.drop_front(at + 6).split('"');
  unsigned line = 0;
  if (!rest.consume_front(", line ") || rest.consumeInteger(10, line))
    return std::nullopt;
  return std::pair(file, line);
}

Location Importer::locationOf(const onnx::Node &node) const {
  std::string name = node.name.empty()
                         ? node.type.str()
                         : (node.name + " (" + node.type + ")").str();
  Location place = placeOf(node);
  if (auto line = sourceLine(node.stackTrace))
    place = FileLineColLoc::get(context, line->first, line->second, 0);
  return NameLoc::get(StringAttr::get(context, printable(name)), place);
}

std::string Importer::describe(const onnx::Node &node) const {
  std::string text;
  if (!node.name.empty())
    text = "node '" + printable(node.name) + "'";
  else if (!node.outputs.empty())
    text = "the node that makes '" + printable(node.outputs.front()) + "'";
  else
    text = "a node without a name";
  if (auto line = sourceLine(node.stackTrace))
    text += ", " + printable(line->first) + ":" + std::to_string(line->second);
  return text;
}

//===----------------------------------------------------------------------===//
// The function and its arguments
//===----------------------------------------------------------------------===//

void Importer::declareFunction(ArrayRef<mlir::Type> results) {
  SmallVector<mlir::Type> types;
  for (const Input &input : inputs) {
    SmallVector<int64_t> sizes;
    for (const Input::Size &size : input.sizes)
      sizes.push_back(size.number >= 0 ? size.number : ShapedType::kDynamic);
    types.push_back(RankedTensorType::get(sizes, input.element));
  }
  module = ModuleOp::create(fileLoc);
  ops.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(ops, request.entry,
                                  ops.getFunctionType(types, results));
  function->setAttr("mv.entry", ops.getUnitAttr());
  SmallVector<mlir::Attribute> declared;
  for (auto &[name, number] : symbols)
    declared.push_back(ops.getDictionaryAttr(
        {ops.getNamedAttr("name", ops.getStringAttr(name)),
         ops.getNamedAttr("min", ops.getI64IntegerAttr(0)),
         ops.getNamedAttr("max", ops.getI64IntegerAttr(symbolLimit))}));
  function->setAttr("mv.symbols", ops.getArrayAttr(declared));
  for (auto [i, input] : llvm::enumerate(inputs)) {
    SmallVector<mlir::Attribute> dims;
    for (const Input::Size &size : input.sizes) {
      if (size.number >= 0)
        dims.push_back(ops.getI64IntegerAttr(size.number));
      else
        dims.push_back(AffineMapAttr::get(AffineMap::get(
            0, symbols.size(),
            ops.getAffineSymbolExpr(symbols.lookup(size.symbol)))));
    }
    function.setArgAttr(i, "mv.name", ops.getStringAttr(input.info->name));
    function.setArgAttr(i, "mv.dims", ops.getArrayAttr(dims));
    if (input.isUnsigned)
      function.setArgAttr(i, "mv.unsigned", ops.getUnitAttr());
  }
}

void Importer::defineArguments(Scope &scope) {
  Block *block = function.addEntryBlock();
  ops.setInsertionPointToStart(block);
  // One value for each symbol: the first dim that is it.
  llvm::StringMap<Value> symbolValues;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    Value argument = block->getArgument(i);
    Dims dims;
    for (auto [axis, size] : llvm::enumerate(input.sizes)) {
      if (size.number >= 0) {
        dims.push_back(ops.index(size.number));
        continue;
      }
      Value &value = symbolValues[size.symbol];
      if (!value) {
        value = tensor::DimOp::create(ops, argument, int64_t(axis));
        ops.setRange(value, 0, symbolLimit);
      }
      dims.push_back(value);
    }
    ops.setDims(argument, dims);
    GraphValue &value = scope.values[input.info->name];
    value.tensor = argument;
    value.isUnsigned = input.isUnsigned;
  }
}

bool Importer::defineInitializers(const Graph &graph, Scope &scope) {
  if (graph.hasSparseInitializers) {
    report() << "sparse initializers are not supported";
    return false;
  }
  for (const Tensor &tensor : graph.initializers) {
    std::string error;
    ElementsAttr constant = tensors.read(tensor, error);
    if (!constant) {
      report() << "initializer '" << printable(tensor.name) << "': " << error;
      continue;
    }
    auto [entry, isNew] = scope.values.try_emplace(tensor.name);
    if (!isNew) {
      report() << "the model has two initializers called '"
               << printable(tensor.name) << "'";
      continue;
    }
    entry->second.constant = constant;
    entry->second.isUnsigned = elementType(context, tensor.type)->second;
  }
  return !failed;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// Names that a node uses: its operands, and what the graphs inside of it take
/// from outside (or any name that these use: that does no harm).
static SmallVector<StringRef> usedNames(const onnx::Node &node) {
  SmallVector<StringRef> names(node.inputs.begin(), node.inputs.end());
  for (const onnx::Attribute &attribute : node.attributes) {
    if (!attribute.graph)
      continue;
    for (const onnx::Node &inner : attribute.graph->nodes)
      llvm::append_range(names, usedNames(inner));
    for (const ValueInfo &output : attribute.graph->outputs)
      names.push_back(output.name);
  }
  return names;
}

/// Order in which every node comes behind those whose results it uses, as near
/// to the given one as possible; the nodes of a cycle are left out.
static SmallVector<const onnx::Node *> sortNodes(ArrayRef<onnx::Node> nodes) {
  llvm::StringMap<size_t> makers;
  for (auto [i, node] : llvm::enumerate(nodes))
    for (StringRef output : node.outputs)
      makers.try_emplace(output, i);
  enum State : char { New, Open, Done };
  std::vector<State> states(nodes.size(), New);
  std::vector<SmallVector<StringRef>> used;
  for (const onnx::Node &node : nodes)
    used.push_back(usedNames(node));
  SmallVector<const onnx::Node *> order;
  SmallVector<std::pair<size_t, size_t>> stack; // node, next input
  for (size_t root = 0; root < nodes.size(); ++root) {
    if (states[root] != New)
      continue;
    stack.emplace_back(root, 0);
    states[root] = Open;
    while (!stack.empty()) {
      auto &[current, next] = stack.back();
      if (next == used[current].size()) {
        states[current] = Done;
        order.push_back(&nodes[current]);
        stack.pop_back();
        continue;
      }
      StringRef input = used[current][next++];
      auto maker = makers.find(input);
      if (maker == makers.end() || states[maker->second] != New)
        continue; // An Open one closes a cycle; its value will be missing.
      states[maker->second] = Open;
      stack.emplace_back(maker->second, 0);
    }
  }
  return order;
}

bool Importer::buildNodes(ArrayRef<onnx::Node> nodes, Scope &scope, int depth) {
  for (const onnx::Node *node : sortNodes(nodes)) {
    if (++nodesBuilt > nodeLimit) {
      report() << "the model has more than " << nodeLimit << " nodes";
      return false;
    }
    buildNode(*node, scope, depth);
  }
  return !failed;
}

/// The value of that name, null if there is none. One from outside of a graph
/// is copied into its scope: what is made of it inside stays there.
static GraphValue *findValue(Scope &scope, StringRef name) {
  auto found = scope.values.find(name);
  if (found != scope.values.end())
    return &found->second;
  GraphValue *outer = scope.outer ? findValue(*scope.outer, name) : nullptr;
  return outer ? &scope.values.try_emplace(name, *outer).first->second
               : nullptr;
}

void Importer::buildNode(const onnx::Node &node, Scope &scope, int depth) {
  auto reportNode = [&](const Twine &message) {
    report(node) << describe(node) << " (" << printable(node.type)
                 << "): " << message;
  };
  auto define = [&](StringRef name, GraphValue value) {
    if (name.empty())
      return;
    if (!scope.values.try_emplace(name, std::move(value)).second)
      reportNode("the value '" + printable(name) + "' is made twice");
  };
  auto poison = [&]() {
    for (StringRef output : node.outputs) {
      GraphValue value;
      value.isPoisoned = true;
      define(output, value);
    }
  };

  SmallVector<GraphValue *> operands;
  bool isPoisoned = false;
  for (StringRef name : node.inputs) {
    if (name.empty()) {
      operands.push_back(nullptr);
      continue;
    }
    GraphValue *found = findValue(scope, name);
    if (!found) {
      reportNode("uses '" + printable(name) +
                 "', which nothing makes before it");
      return poison();
    }
    operands.push_back(found);
    isPoisoned |= found->isPoisoned;
  }
  if (isPoisoned)
    return poison();

  // References to attributes of the surrounding call; absent ones are absent.
  std::vector<onnx::Attribute> renamed;
  SmallVector<const onnx::Attribute *> attributes;
  renamed.reserve(node.attributes.size());
  for (const onnx::Attribute &attribute : node.attributes) {
    if (attribute.reference.empty()) {
      attributes.push_back(&attribute);
      continue;
    }
    for (const onnx::Attribute *outer : scope.attributes) {
      if (outer->name != attribute.reference)
        continue;
      renamed.push_back(*outer);
      renamed.back().name = attribute.name;
      attributes.push_back(&renamed.back());
      break;
    }
  }

  ops.setLoc(locationOf(node));
  if (const Function *callee = findFunction(node)) {
    if (depth >= callDepthLimit) {
      reportNode("functions call each other more than " +
                 Twine(callDepthLimit) + " deep");
      return poison();
    }
    return callFunction(*callee, node, scope, operands, attributes, depth);
  }
  if (!isKnown(node))
    return poison(); // was reported before
  auto buildInner = [&](const Graph &graph,
                        const std::vector<GraphValue> &values) {
    return buildGraph(graph, values, scope, depth);
  };
  NodeBuilder builder(ops, tensors, node,
                      scope.operatorSets.lookup(shortDomain(node.domain)),
                      operands, attributes, buildInner);
  const Operator *op = findOperator(node.type);
  for (auto [i, operand] : llvm::enumerate(operands))
    if (operand && operand->kind != GraphValue::Tensor &&
        !(op && op->takesSequences)) {
      reportNode("operand " + Twine(i) + " is " +
                 (operand->kind == GraphValue::Sequence
                      ? "a sequence"
                      : "an optional without an element") +
                 ", must be a tensor");
      return poison();
    }
  if (node.type == "Constant") {
    buildConstant(builder);
  } else if (op->takesSequences || !buildShapeValue(builder)) {
    op->handler(builder);
    // Does not poison: those of the nodes behind are to be reported as well.
    if (const onnx::Attribute *attribute = builder.unread();
        attribute && !ops.failed())
      reportNode("the attribute '" + printable(attribute->name) +
                 "' is not supported");
  }
  std::string error = ops.takeError();
  if (builder.hasFailedInside())
    return poison();
  if (!error.empty()) {
    reportNode(error);
    return poison();
  }
  for (auto [i, name] : llvm::enumerate(node.outputs)) {
    const GraphValue &made = builder.made()[i];
    if (name.empty())
      continue;
    if (!made.tensor && !made.dims && !made.constant &&
        made.kind == GraphValue::Tensor) {
      reportNode("its result " + Twine(i) + " is not supported");
      return poison();
    }
  }
  for (auto [i, name] : llvm::enumerate(node.outputs))
    define(name, builder.made()[i]);
}

std::optional<std::vector<GraphValue>>
Importer::buildGraph(const Graph &graph, const std::vector<GraphValue> &values,
                     Scope &scope, int depth) {
  Scope inner;
  inner.outer = &scope;
  inner.attributes = scope.attributes;
  for (const auto &entry : scope.operatorSets)
    inner.operatorSets[entry.first()] = entry.second;
  for (auto [info, value] : llvm::zip_equal(graph.inputs, values))
    inner.values[info.name] = value;
  // What failed before is no reason to leave this graph out.
  defineInitializers(graph, inner);
  buildNodes(graph.nodes, inner, depth);
  std::vector<GraphValue> results;
  for (const ValueInfo &info : graph.outputs) {
    GraphValue *found = findValue(inner, info.name);
    if (!found) {
      report() << "nothing makes '" << printable(info.name)
               << "', a result of the graph '" << printable(graph.name)
               << "' inside of a node";
      return std::nullopt;
    }
    if (found->isPoisoned)
      return std::nullopt;
    results.push_back(*found);
  }
  return results;
}

void Importer::callFunction(const Function &callee, const onnx::Node &node,
                            Scope &scope, ArrayRef<GraphValue *> operands,
                            ArrayRef<const onnx::Attribute *> attributes,
                            int depth) {
  Scope inner;
  readOperatorSets(callee.operatorSets, inner.operatorSets);
  inner.attributes.assign(attributes.begin(), attributes.end());
  for (const onnx::Attribute &attribute : callee.defaults)
    if (llvm::none_of(attributes, [&](const onnx::Attribute *given) {
          return given->name == attribute.name;
        }))
      inner.attributes.push_back(&attribute);
  for (auto [i, name] : llvm::enumerate(callee.inputs))
    if (i < operands.size() && operands[i])
      inner.values[name] = *operands[i];
  buildNodes(callee.nodes, inner, depth + 1);
  for (auto [i, name] : llvm::enumerate(node.outputs)) {
    if (name.empty())
      continue;
    GraphValue value;
    value.isPoisoned = true;
    if (i < callee.outputs.size()) {
      auto found = inner.values.find(callee.outputs[i]);
      if (found != inner.values.end())
        value = found->second;
      else
        report() << describe(node) << ": function '" << printable(callee.name)
                 << "' does not make its result '"
                 << printable(callee.outputs[i]) << "'";
    } else {
      report() << describe(node) << ": function '" << printable(callee.name)
               << "' has no result " << i;
    }
    if (!scope.values.try_emplace(name, value).second)
      report() << describe(node) << ": the value '" << printable(name)
               << "' is made twice";
  }
}

bool Importer::buildConstant(NodeBuilder &node) {
  GraphValue value;
  auto setNumbers = [&](DataType type, size_t count, bool isScalar, auto fill) {
    Tensor tensor;
    tensor.type = type;
    if (!isScalar)
      tensor.dims.push_back(int64_t(count));
    fill(tensor);
    std::string error;
    value.constant = tensors.read(tensor, error);
  };
  if (const onnx::Attribute *attribute = node.find("value");
      attribute && attribute->tensor) {
    value.constant = node.tensor("value");
    if (!value.constant)
      return false;
    value.isUnsigned = elementType(context, attribute->tensor->type)->second;
  } else if (const onnx::Attribute *number = node.find("value_float")) {
    setNumbers(DataType::Float, 1, true,
               [&](Tensor &t) { t.floats = {number->real}; });
  } else if (const onnx::Attribute *number = node.find("value_int")) {
    setNumbers(DataType::Int64, 1, true,
               [&](Tensor &t) { t.ints64 = {number->integer}; });
  } else if (const onnx::Attribute *list = node.find("value_floats")) {
    setNumbers(DataType::Float, list->reals.size(), false,
               [&](Tensor &t) { t.floats = list->reals; });
  } else if (const onnx::Attribute *list = node.find("value_ints")) {
    setNumbers(DataType::Int64, list->integers.size(), false,
               [&](Tensor &t) { t.ints64 = list->integers; });
  } else {
    node.fail("has no value that is supported");
    return false;
  }
  node.set(0, std::move(value));
  return true;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

bool Importer::buildResults(Scope &scope) {
  SmallVector<Value> results;
  SmallVector<bool> unsignedOnes;
  ops.setLoc(fileLoc);
  for (const ValueInfo &info : model.graph->outputs) {
    std::string name = printable(info.name);
    auto found = scope.values.find(info.name);
    if (found == scope.values.end()) {
      report() << "nothing makes the output '" << name << "'";
      continue;
    }
    GraphValue &value = found->second;
    if (value.isPoisoned)
      continue;
    if (value.kind != GraphValue::Tensor) {
      report() << "output '" << name
               << "' is no tensor, which is not supported";
      continue;
    }
    Value tensor = materialize(ops, value);
    if (info.type.isTensor && info.type.element != DataType::Undefined) {
      auto declared = elementType(context, info.type.element);
      if (!declared || declared->first != OpsBuilder::elementOf(tensor) ||
          declared->second != value.isUnsigned) {
        std::string made;
        llvm::raw_string_ostream(made) << OpsBuilder::elementOf(tensor);
        report() << "output '" << name << "' is declared with element type "
                 << nameOf(info.type.element) << " but has elements of type "
                 << made;
        continue;
      }
    }
    results.push_back(tensor);
    unsignedOnes.push_back(value.isUnsigned);
  }
  if (failed)
    return false;
  func::ReturnOp::create(ops, results);
  SmallVector<mlir::Type> types;
  for (Value result : results)
    types.push_back(result.getType());
  function.setFunctionType(
      ops.getFunctionType(function.getArgumentTypes(), types));
  for (auto [i, info] : llvm::enumerate(model.graph->outputs)) {
    function.setResultAttr(i, "mv.name", ops.getStringAttr(info.name));
    if (unsignedOnes[i])
      function.setResultAttr(i, "mv.unsigned", ops.getUnitAttr());
  }
  return true;
}

/// For `signatureOnly`: results as the file declares them.
bool Importer::declareResults() {
  SmallVector<mlir::Type> types;
  SmallVector<std::pair<StringRef, bool>> named;
  for (const ValueInfo &info : model.graph->outputs) {
    auto element = elementType(context, info.type.element);
    if (!info.type.isTensor || !element || !info.type.shape)
      continue; // Known only after the import.
    SmallVector<int64_t> sizes;
    for (const TypeDim &dim : *info.type.shape)
      sizes.push_back(dim.value && *dim.value >= 0 ? *dim.value
                                                   : ShapedType::kDynamic);
    types.push_back(RankedTensorType::get(sizes, element->first));
    named.emplace_back(info.name, element->second);
  }
  declareFunction(types);
  for (auto [i, entry] : llvm::enumerate(named)) {
    function.setResultAttr(i, "mv.name", ops.getStringAttr(entry.first));
    if (entry.second)
      function.setResultAttr(i, "mv.unsigned", ops.getUnitAttr());
  }
  function.setPrivate();
  return true;
}

OwningOpRef<ModuleOp> Importer::run() {
  if (!model.graph ||
      (model.graph->nodes.empty() && model.graph->outputs.empty())) {
    report() << "there is no graph in it: is it an ONNX model?";
    return nullptr;
  }
  if (!readOperatorSets(model.operatorSets, operatorSets))
    return nullptr;
  if (!operatorSets.count("")) {
    // Only a model of nothing but functions and other domains may lack it.
    if (llvm::any_of(model.graph->nodes, [](const onnx::Node &node) {
          return shortDomain(node.domain).empty();
        })) {
      report() << "the model does not say which operator set it uses";
      return nullptr;
    }
  }
  if (!indexFunctions() || !readInputs())
    return nullptr;
  if (request.signatureOnly) {
    declareResults();
    return std::move(module);
  }
  // What is not supported is reported together: operators here, attributes when
  // the nodes are built.
  bool areKnown = checkOperators();
  failed = false;
  if (model.graph->outputs.empty()) {
    report() << "the model has no outputs";
    return nullptr;
  }
  Scope scope;
  for (const auto &entry : operatorSets)
    scope.operatorSets[entry.first()] = entry.second;
  declareFunction({});
  defineArguments(scope);
  if (!defineInitializers(*model.graph, scope) ||
      !buildNodes(model.graph->nodes, scope, 0) || !areKnown ||
      !buildResults(scope))
    return nullptr;
  return std::move(module);
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

bool marver::isOnnx(StringRef bytes) {
  // Field 1, the version of the format, comes first in what exporters write.
  return bytes.size() > 2 && bytes[0] == 0x08 && bytes[1] > 0 &&
         bytes[1] < 32 && (bytes[2] & 7) <= 2;
}

void marver::onnx::loadDialects(MLIRContext *context) {
  context->loadDialect<mv::MvDialect, func::FuncDialect, arith::ArithDialect,
                       math::MathDialect, linalg::LinalgDialect,
                       tensor::TensorDialect, affine::AffineDialect,
                       scf::SCFDialect>();
}

OwningOpRef<ModuleOp> marver::importOnnx(MLIRContext *context,
                                         const ImportRequest &request) {
  loadDialects(context);
  Location loc = FileLineColLoc::get(context, request.path, 0, 0);
  StringRef bytes = request.data->getBuffer();
  if (bytes.empty()) {
    emitError(loc) << "the file is empty";
    return nullptr;
  }
  std::string error;
  auto model = parseModel(bytes, error);
  if (!model) {
    emitError(loc) << "cannot read it as an ONNX model: " << error;
    return nullptr;
  }
  return Importer(context, request, *model).run();
}
