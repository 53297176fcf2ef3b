//===- OnnxModel.cpp - torch.operator "onnx.*" ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/OnnxModel.h"
#include "compiler/import/mlir/TorchTypes.h"
#include "llvm/Support/StringSaver.h"

using namespace mlir;
using marver::onnx::DataType;

namespace marver {
namespace {

constexpr llvm::StringLiteral kOperator = "onnx.", kAttribute = "torch.onnx.";

/// Operator sets of files that do not say theirs: the newest that was usual.
constexpr int64_t kUsualOpset = 17;

DataType dataType(torch::ScalarType type) {
  using torch::ScalarType;
  switch (type) {
  case ScalarType::Byte:
    return DataType::Uint8;
  case ScalarType::Char:
    return DataType::Int8;
  case ScalarType::Short:
    return DataType::Int16;
  case ScalarType::Int:
    return DataType::Int32;
  case ScalarType::Long:
    return DataType::Int64;
  case ScalarType::Half:
    return DataType::Float16;
  case ScalarType::Float:
    return DataType::Float;
  case ScalarType::Double:
    return DataType::Double;
  case ScalarType::Bool:
    return DataType::Bool;
  case ScalarType::BFloat16:
    return DataType::Bfloat16;
  case ScalarType::UInt16:
    return DataType::Uint16;
  case ScalarType::UInt32:
    return DataType::Uint32;
  case ScalarType::UInt64:
    return DataType::Uint64;
  case ScalarType::Unknown:
    break;
  }
  return DataType::Undefined;
}

class Reader {
public:
  Reader(OnnxModel &result, Resources &resources)
      : result(result), resources(resources), saver(result.names) {}

  bool run(func::FuncOp function);

private:
  void readOperatorSets(func::FuncOp function);
  void readGraph(Block &block, onnx::Graph &graph, llvm::StringRef name);
  void readNode(Operation *op, onnx::Graph &graph);
  bool readAttribute(Attribute value, onnx::Attribute &attribute);
  bool readList(ArrayAttr list, onnx::Attribute &attribute);
  onnx::ValueInfo info(Value value);
  /// The value's name; of an absent operand none.
  llvm::StringRef name(Value value);
  void define(Value value, const llvm::Twine &name) {
    names[value] = saver.save(name);
  }
  bool fail(Operation *op, const llvm::Twine &message) {
    op->emitError() << message;
    isGood = false;
    return false;
  }

  OnnxModel &result;
  Resources &resources;
  llvm::StringSaver saver;
  llvm::DenseMap<Value, llvm::StringRef> names;
  Operation *current = nullptr;
  unsigned count = 0;
  bool isGood = true;
};

} // namespace

llvm::StringRef Reader::name(Value value) { return names.lookup(value); }

onnx::ValueInfo Reader::info(Value value) {
  onnx::ValueInfo info;
  info.name = name(value);
  TorchType type = readTorchType(value.getType());
  info.type.isTensor = type.kind == TorchType::Tensor;
  info.type.element = dataType(type.element);
  if (!type.sizes)
    return info;
  info.type.shape.emplace();
  for (int64_t size : *type.sizes) {
    onnx::TypeDim dim;
    if (!ShapedType::isDynamic(size))
      dim.value = size;
    info.type.shape->push_back(dim);
  }
  return info;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

bool Reader::readList(ArrayAttr list, onnx::Attribute &attribute) {
  for (Attribute item : list) {
    if (auto number = dyn_cast<FloatAttr>(item))
      attribute.reals.push_back(float(number.getValueAsDouble()));
    else if (auto integer = dyn_cast<IntegerAttr>(item);
             integer && integer.getValue().getSignificantBits() <= 64)
      attribute.integers.push_back(integer.getValue().getSExtValue());
    else if (auto text = dyn_cast<StringAttr>(item))
      attribute.texts.push_back(text.getValue());
    else
      return false;
  }
  // AttributeProto.AttributeType: FLOATS, INTS, STRINGS.
  attribute.kind = !attribute.reals.empty()   ? 6
                   : !attribute.texts.empty() ? 8
                                              : 7;
  return attribute.reals.size() + attribute.integers.size() +
             attribute.texts.size() ==
         std::max({attribute.reals.size(), attribute.integers.size(),
                   attribute.texts.size()});
}

bool Reader::readAttribute(Attribute value, onnx::Attribute &attribute) {
  if (auto number = dyn_cast<FloatAttr>(value)) {
    attribute.kind = 1;
    attribute.real = float(number.getValueAsDouble());
    return true;
  }
  if (auto integer = dyn_cast<IntegerAttr>(value)) {
    attribute.kind = 2;
    if (integer.getValue().getSignificantBits() > 64)
      return false;
    attribute.integer = integer.getValue().getSExtValue();
    return true;
  }
  if (auto text = dyn_cast<StringAttr>(value)) {
    attribute.kind = 3;
    attribute.text = text.getValue();
    return true;
  }
  if (auto list = dyn_cast<ArrayAttr>(value))
    return readList(list, attribute);
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements)
    return false;
  attribute.kind = 4;
  attribute.tensor = std::make_shared<onnx::Tensor>();
  llvm::Expected<ElementsAttr> constant = resources.get(elements);
  if (!constant)
    return fail(current, llvm::toString(constant.takeError()));
  TorchType type = readTorchType(elements.getType());
  attribute.tensor->type = dataType(type.element);
  attribute.tensor->dims.assign(type.sizes->begin(), type.sizes->end());
  attribute.tensor->constant = *constant;
  return true;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// Names of the attributes that hold graphs, sorted.
static llvm::SmallVector<llvm::StringRef> graphNames(llvm::StringRef type) {
  if (type == "If")
    return {"else_branch", "then_branch"};
  return {"body"};
}

void Reader::readNode(Operation *op, onnx::Graph &graph) {
  current = op;
  onnx::Node node;
  auto type = op->getAttrOfType<StringAttr>("name");
  node.type = type ? type.getValue() : "";
  if (!node.type.consume_front(kOperator)) {
    fail(op, "operation " + op->getName().getStringRef() + " '" + node.type +
                 "' is not supported among operators of ONNX");
    return;
  }
  node.location = op->getLoc();
  for (Value operand : op->getOperands())
    node.inputs.push_back(name(operand));
  // An absent operand at the end is none.
  while (!node.inputs.empty() && node.inputs.back().empty())
    node.inputs.pop_back();
  for (Value value : op->getResults()) {
    define(value, "v" + llvm::Twine(count++));
    node.outputs.push_back(name(value));
  }
  for (NamedAttribute named : op->getAttrs()) {
    onnx::Attribute attribute;
    attribute.name = named.getName().getValue();
    if (!attribute.name.consume_front(kAttribute))
      continue;
    if (readAttribute(named.getValue(), attribute))
      node.attributes.push_back(std::move(attribute));
    else if (isGood)
      fail(op, "its attribute '" + attribute.name +
                   "' is of a kind that is not supported");
  }
  llvm::SmallVector<llvm::StringRef> regions = graphNames(node.type);
  if (op->getNumRegions() > regions.size()) {
    fail(op, "it has more graphs than its operator");
    return;
  }
  for (auto [region, attributeName] : llvm::zip(op->getRegions(), regions)) {
    onnx::Attribute attribute;
    attribute.name = attributeName;
    attribute.kind = 5;
    attribute.graph = std::make_shared<onnx::Graph>();
    if (llvm::hasSingleElement(region))
      readGraph(region.front(), *attribute.graph, attributeName);
    else
      fail(op, "its graph '" + attributeName + "' is not one block");
    node.attributes.push_back(std::move(attribute));
  }
  graph.nodes.push_back(std::move(node));
}

void Reader::readGraph(Block &block, onnx::Graph &graph, llvm::StringRef name) {
  graph.name = name;
  for (BlockArgument argument : block.getArguments()) {
    // Names of inner graphs must not hide outer ones.
    if (block.getParentOp()->getName().getStringRef() == "func.func")
      define(argument, "arg" + llvm::Twine(argument.getArgNumber()));
    else
      define(argument, "v" + llvm::Twine(count++));
    graph.inputs.push_back(info(argument));
  }
  for (Operation &op : block) {
    llvm::StringRef kind = op.getName().getStringRef();
    if (kind == "torch.operator") {
      readNode(&op, graph);
    } else if (isa<func::ReturnOp>(op) || kind == "torch.operator_terminator") {
      for (Value operand : op.getOperands())
        graph.outputs.push_back(info(operand));
    } else if (kind != "torch.constant.none") {
      fail(&op,
           "operation " + kind + " is not supported among operators of ONNX");
    }
  }
}

void Reader::readOperatorSets(func::FuncOp function) {
  int64_t standard = kUsualOpset;
  if (auto version =
          function->getAttrOfType<IntegerAttr>("torch.onnx_meta.opset_version"))
    standard = version.getValue().getSExtValue();
  result.model.operatorSets.push_back({"", standard});
  auto others =
      function->getAttrOfType<DictionaryAttr>("torch.onnx_meta.opset_versions");
  if (!others)
    return;
  for (NamedAttribute other : others)
    if (auto version = dyn_cast<IntegerAttr>(other.getValue()))
      result.model.operatorSets.push_back(
          {other.getName().getValue(), version.getValue().getSExtValue()});
}

bool Reader::run(func::FuncOp function) {
  if (!llvm::hasSingleElement(function.getBody()))
    return fail(function, "control flow between blocks is not supported");
  readOperatorSets(function);
  result.model.graph.emplace();
  readGraph(function.getBody().front(), *result.model.graph,
            function.getSymName());
  return isGood;
}

bool isOnnxFunction(func::FuncOp function) {
  WalkResult walk = function.walk([](Operation *op) {
    auto name = op->getAttrOfType<StringAttr>("name");
    const bool isOnnx = name && name.getValue().starts_with(kOperator) &&
                        op->getName().getStringRef() == "torch.operator";
    return isOnnx ? WalkResult::interrupt() : WalkResult::advance();
  });
  return walk.wasInterrupted();
}

std::unique_ptr<OnnxModel> readOnnxModel(func::FuncOp function,
                                         Resources &resources) {
  auto result = std::make_unique<OnnxModel>();
  return Reader(*result, resources).run(function) ? std::move(result) : nullptr;
}

} // namespace marver
