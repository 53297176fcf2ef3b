//===- Node.cpp - One node of an ONNX graph, being built ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"
#include "compiler/import/onnx/Tensors.h"
#include "compiler/ir/Constants.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

std::string marver::onnx::printable(StringRef text) {
  std::string result;
  for (char c : text.take_front(120)) {
    if (c == '\n' || c == '\r' || c == '\t')
      result.push_back(' ');
    else
      result.push_back(static_cast<unsigned char>(c) < 32 || c == 127 ? '?'
                                                                      : c);
  }
  if (text.size() > 120)
    result += "...";
  return result;
}

std::optional<bool> marver::onnx::knownTruth(const GraphValue &value) {
  std::optional<ConstantData> data;
  if (value.constant)
    data = getConstantData(value.constant);
  else if (value.tensor)
    data = getConstantData(value.tensor);
  else if (value.dims && value.dims->size() == 1)
    if (auto number = OpsBuilder::known(value.dims->front()))
      return *number != 0;
  if (!data || elementCount(data->type) != 1 ||
      !data->type.getElementType().isInteger())
    return std::nullopt;
  return data->getInt(0) != 0;
}

Value marver::onnx::materialize(OpsBuilder &ops, GraphValue &value) {
  if (value.tensor || value.isPoisoned)
    return value.tensor;
  if (value.constant)
    value.tensor = ops.constant(value.constant);
  else if (value.dims)
    value.tensor = ops.dimsToTensor(*value.dims, value.element, value.isScalar);
  return value.tensor;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Value NodeBuilder::in(size_t i) {
  if (!has(i))
    return ops.fail("operand " + Twine(i) + " is missing");
  return materialize(ops, *inputs[i]);
}

SmallVector<Value> NodeBuilder::allInputs() {
  SmallVector<Value> values;
  for (size_t i = 0; i < inputs.size(); ++i)
    values.push_back(in(i));
  return values;
}

mlir::Type NodeBuilder::elementOf(size_t i) {
  const GraphValue &value = *inputs[i];
  if (value.tensor)
    return OpsBuilder::elementOf(value.tensor);
  return value.constant ? value.constant.getElementType() : value.element;
}

int64_t NodeBuilder::rankOf(size_t i) {
  const GraphValue &value = *inputs[i];
  if (value.tensor)
    return OpsBuilder::rankOf(value.tensor);
  if (value.constant)
    return cast<RankedTensorType>(value.constant.getType()).getRank();
  return value.isScalar ? 0 : 1;
}

std::optional<Dims> NodeBuilder::dims(size_t i) {
  if (!has(i)) {
    ops.fail("operand " + Twine(i) + " is missing");
    return std::nullopt;
  }
  GraphValue &value = *inputs[i];
  if (value.dims)
    return value.dims;
  if (value.constant)
    if (auto data = getConstantData(value.constant);
        data && data->type.getRank() <= 1 &&
        data->type.getElementType().isIntOrIndex() &&
        elementCount(data->type) <= 64) {
      Dims numbers;
      for (int64_t k = 0; k < elementCount(data->type); ++k)
        numbers.push_back(ops.index(data->getInt(data->isSplat ? 0 : k)));
      return numbers;
    }
  return ops.tensorToDims(in(i));
}

std::optional<Dim> NodeBuilder::dim(size_t i) {
  auto list = dims(i);
  if (!list)
    return std::nullopt;
  if (list->size() != 1) {
    ops.fail("operand " + Twine(i) + " must be one number");
    return std::nullopt;
  }
  return list->front();
}

std::optional<SmallVector<int64_t>> NodeBuilder::integers(size_t i) {
  auto list = dims(i);
  if (!list)
    return std::nullopt;
  auto numbers = OpsBuilder::known(*list);
  if (!numbers)
    ops.fail("operand " + Twine(i) + " must be constant");
  return numbers;
}

std::optional<SmallVector<double>> NodeBuilder::reals(size_t i) {
  auto refuse = [&]() {
    ops.fail("operand " + Twine(i) +
             " must be a short constant list of numbers");
    return std::nullopt;
  };
  if (!has(i))
    return refuse();
  GraphValue &value = *inputs[i];
  std::optional<ConstantData> data;
  if (value.constant)
    data = getConstantData(value.constant);
  else if (value.tensor)
    data = getConstantData(value.tensor);
  SmallVector<double> numbers;
  if (data && elementCount(data->type) <= 64) {
    bool isFloat = isa<FloatType>(data->type.getElementType());
    for (int64_t k = 0; k < elementCount(data->type); ++k) {
      int64_t at = data->isSplat ? 0 : k;
      numbers.push_back(isFloat ? data->getFloat(at)
                                : double(data->getInt(at)));
    }
    return numbers;
  }
  if (value.dims)
    if (auto known = OpsBuilder::known(*value.dims)) {
      numbers.assign(known->begin(), known->end());
      return numbers;
    }
  return refuse();
}

std::optional<double> NodeBuilder::real(size_t i) {
  auto numbers = reals(i);
  if (!numbers)
    return std::nullopt;
  if (numbers->size() != 1) {
    ops.fail("operand " + Twine(i) + " must be one number");
    return std::nullopt;
  }
  return numbers->front();
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

const onnx::Attribute *NodeBuilder::find(StringRef name) {
  asked.insert(name);
  for (const onnx::Attribute *attribute : attributes)
    if (attribute->name == name)
      return attribute;
  return nullptr;
}

int64_t NodeBuilder::integer(StringRef name, int64_t absent) {
  const onnx::Attribute *attribute = find(name);
  return attribute ? attribute->integer : absent;
}

double NodeBuilder::real(StringRef name, double absent) {
  const onnx::Attribute *attribute = find(name);
  return attribute ? double(attribute->real) : absent;
}

StringRef NodeBuilder::text(StringRef name, StringRef absent) {
  const onnx::Attribute *attribute = find(name);
  return attribute ? attribute->text : absent;
}

SmallVector<int64_t> NodeBuilder::integers(StringRef name) {
  const onnx::Attribute *attribute = find(name);
  if (!attribute)
    return {};
  return SmallVector<int64_t>(attribute->integers.begin(),
                              attribute->integers.end());
}

SmallVector<double> NodeBuilder::reals(StringRef name) {
  const onnx::Attribute *attribute = find(name);
  if (!attribute)
    return {};
  return SmallVector<double>(attribute->reals.begin(), attribute->reals.end());
}

ElementsAttr NodeBuilder::tensor(StringRef name) {
  const onnx::Attribute *attribute = find(name);
  if (!attribute || !attribute->tensor)
    return nullptr;
  std::string error;
  ElementsAttr constant = tensors.read(*attribute->tensor, error);
  if (!constant)
    ops.fail("attribute '" + name + "': " + error);
  return constant;
}

const onnx::Graph *NodeBuilder::graph(StringRef name,
                                      std::optional<size_t> inputCount,
                                      std::optional<size_t> resultCount) {
  const onnx::Attribute *attribute = find(name);
  if (!attribute || !attribute->graph) {
    ops.fail("the graph '" + name + "' is missing");
    return nullptr;
  }
  auto check = [&](size_t count, std::optional<size_t> wanted, StringRef what) {
    if (wanted && count != *wanted)
      ops.fail("the graph '" + name + "' has " + Twine(count) + " " + what +
               ", must have " + Twine(*wanted));
  };
  check(attribute->graph->inputs.size(), inputCount, "inputs");
  check(attribute->graph->outputs.size(), resultCount, "results");
  return ops.failed() ? nullptr : attribute->graph.get();
}

std::optional<NodeBuilder::GraphValues>
NodeBuilder::build(const onnx::Graph &graph, const GraphValues &values) {
  Location loc = ops.getLoc();
  std::optional<GraphValues> made = buildGraph(graph, values);
  ops.setLoc(loc);
  failedInside |= !made;
  return made;
}

std::optional<SmallVector<int64_t>> NodeBuilder::axes(StringRef name,
                                                      size_t i) {
  if (hasAttribute(name))
    return integers(name);
  if (!has(i))
    return SmallVector<int64_t>();
  return integers(i);
}

std::optional<std::pair<mlir::Type, bool>>
NodeBuilder::dataType(StringRef name, DataType absent) {
  int64_t number = integer(name, int64_t(absent));
  auto type = number < 0 || number > 1000
                  ? std::nullopt
                  : elementType(ops.getContext(), DataType(number));
  if (!type)
    ops.fail("element type " + nameOf(DataType(number)) + " is not supported");
  return type;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

const onnx::Attribute *NodeBuilder::unread() const {
  // What only concerns training, memory layout of unused results, conversions
  // to types that are not supported, or the precision of intermediate results.
  static const llvm::StringSet<> harmless = {"consumed_inputs",
                                             "is_test",
                                             "momentum",
                                             "saturate",
                                             "seed",
                                             "spatial",
                                             "stash_type",
                                             "storage_order",
                                             "softmax_precision",
                                             "ratio",
                                             "training_mode",
                                             "keepdims",
                                             "keep_aspect_ratio_policy",
                                             "extrapolation_value",
                                             "round_mode",
                                             "precision"};
  for (const onnx::Attribute *attribute : attributes)
    if (!asked.contains(attribute->name) && !harmless.contains(attribute->name))
      return attribute;
  return nullptr;
}

void NodeBuilder::set(size_t i, Value tensor, bool isUnsigned) {
  if (i >= results.size())
    return;
  GraphValue value;
  value.tensor = tensor;
  value.isUnsigned = isUnsigned;
  results[i] = std::move(value);
}

void NodeBuilder::set(size_t i, GraphValue value) {
  if (i < results.size())
    results[i] = std::move(value);
}

const Operator *marver::onnx::findOperator(StringRef name) {
  static const llvm::StringMap<const Operator *> table = [] {
    llvm::StringMap<const Operator *> all;
    for (ArrayRef<Operator> list :
         {mathOperators(), reductionOperators(), shapeOperators(),
          networkOperators(), attentionOperators(), indexingOperators(),
          quantizationOperators(), controlOperators(), sequenceOperators(),
          recurrentOperators()})
      for (const Operator &entry : list)
        all[entry.name] = &entry;
    return all;
  }();
  return table.lookup(name);
}
