//===- CheckModel.cpp - What must hold before a model is imported ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Importer.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

/// Operator sets that are known; a newer one may mean something else.
static constexpr int64_t oldestOpset = 7, newestOpset = 28;

/// Elements of a tensor that an input may have at most: 2^48.
static constexpr int64_t elementLimit = int64_t(1) << 48;

static std::string functionKey(StringRef domain, StringRef name,
                               StringRef overload) {
  return (shortDomain(domain) + "\n" + name + "\n" + overload).str();
}

bool Importer::readOperatorSets(ArrayRef<OperatorSet> sets,
                                llvm::StringMap<int64_t> &versions) {
  for (const OperatorSet &set : sets) {
    if (shortDomain(set.domain).empty() &&
        (set.version < oldestOpset || set.version > newestOpset)) {
      report() << "the model uses operator set " << set.version << "; "
               << oldestOpset << " to " << newestOpset << " are supported"
               << (set.version < oldestOpset
                       ? ": convert it with onnx.version_converter"
                       : "");
      return false;
    }
    versions[shortDomain(set.domain)] = set.version;
  }
  return true;
}

bool Importer::indexFunctions() {
  for (const Function &entry : model.functions) {
    if (!functions
             .try_emplace(functionKey(entry.domain, entry.name, entry.overload),
                          &entry)
             .second) {
      report() << "the model has two functions '" << printable(entry.name)
               << "'";
      return false;
    }
  }
  return true;
}

const Function *Importer::findFunction(const onnx::Node &node) const {
  return functions.lookup(functionKey(node.domain, node.type, node.overload));
}

bool Importer::readInput(const ValueInfo &info, unsigned number) {
  std::string name = printable(info.name);
  if (!info.type.isTensor) {
    report() << "input '" << name
             << "' is not a tensor, which is not supported";
    return false;
  }
  auto element = elementType(context, info.type.element);
  if (!element) {
    report() << "input '" << name << "' has elements of type "
             << nameOf(info.type.element) << ", which is not supported";
    return false;
  }
  Input input{&info, element->first, element->second, {}};

  // `--shape` may name the input or give its number.
  const ShapeOverride *given = nullptr;
  for (const ShapeOverride &entry : request.shapes)
    if (!entry.isDim && entry.name == info.name)
      given = &entry;
  if (!given)
    for (const ShapeOverride &entry : request.shapes)
      if (!entry.isDim && entry.name == std::to_string(number))
        given = &entry;
  if (given)
    given->used = true;
  if (!info.type.shape && !given) {
    report() << "input '" << name
             << "' has no shape: give one with --shape=" << name
             << ":1x3x224x224";
    return false;
  }
  size_t rank = info.type.shape ? info.type.shape->size() : given->dims.size();
  if (given && given->dims.size() != rank) {
    report() << "input '" << name << "' has " << rank << " dims, --shape gives "
             << given->dims.size();
    return false;
  }
  int64_t elements = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    Input::Size size;
    const TypeDim dim = info.type.shape ? (*info.type.shape)[axis] : TypeDim();
    if (dim.value && *dim.value >= 0)
      size.number = *dim.value;
    else if (!dim.parameter.empty())
      size.symbol = dim.parameter.str();
    else
      size.symbol = name + "." + std::to_string(axis);
    for (const ShapeOverride &entry : request.shapes)
      if (entry.isDim && entry.name == size.symbol && entry.dims.size() == 1) {
        entry.used = true;
        size.number = entry.dims[0];
      }
    if (given && given->dims[axis] >= 0) {
      int64_t wanted = given->dims[axis];
      if (size.number >= 0 && size.number != wanted) {
        report() << "dim " << axis << " of input '" << name << "' is "
                 << size.number << ", --shape gives " << wanted;
        return false;
      }
      size.number = wanted;
    }
    if (size.number >= 0 &&
        (llvm::MulOverflow(elements, std::max<int64_t>(size.number, 1),
                           elements) ||
         elements > elementLimit)) {
      report() << "input '" << name
               << "' has more elements than any memory holds";
      return false;
    }
    input.sizes.push_back(std::move(size));
  }
  inputs.push_back(std::move(input));
  return true;
}

bool Importer::readInputs() {
  // Old files list initializers among the inputs.
  llvm::StringSet<> initialized, seen;
  for (const Tensor &tensor : model.graph->initializers)
    initialized.insert(tensor.name);
  for (const ValueInfo &info : model.graph->inputs) {
    if (initialized.contains(info.name))
      continue;
    if (!seen.insert(info.name).second) {
      report() << "the model has two inputs called '" << printable(info.name)
               << "'";
      return false;
    }
    if (!readInput(info, inputs.size()))
      return false;
  }
  // A size given for one dim of a symbol is given for all of them.
  llvm::StringMap<int64_t> fixed;
  for (const Input &input : inputs)
    for (const Input::Size &size : input.sizes)
      if (!size.symbol.empty() && size.number >= 0)
        fixed[size.symbol] = size.number;
  for (Input &input : inputs)
    for (Input::Size &size : input.sizes) {
      auto number = fixed.find(size.symbol);
      if (size.symbol.empty() || number == fixed.end())
        continue;
      if (size.number >= 0 && size.number != number->second) {
        report() << "dim '" << size.symbol
                 << "' is given two sizes: " << size.number << " and "
                 << number->second;
        return false;
      }
      size.number = number->second;
    }
  for (const Input &input : inputs)
    for (const Input::Size &size : input.sizes)
      if (size.number < 0)
        symbols.try_emplace(size.symbol, symbols.size());
  return true;
}

bool Importer::isKnown(const onnx::Node &node) {
  return shortDomain(node.domain).empty() &&
         (node.type == "Constant" || findOperator(node.type));
}

void Importer::findUnsupported(ArrayRef<onnx::Node> nodes,
                               const llvm::StringMap<int64_t> &versions,
                               llvm::StringSet<> &seen) {
  // Operators in order of first use, each with its first node and their number.
  llvm::MapVector<std::pair<StringRef, StringRef>,
                  std::pair<const onnx::Node *, unsigned>>
      unknown;
  for (const onnx::Node &node : nodes) {
    for (const onnx::Attribute &attribute : node.attributes)
      if (attribute.graph)
        findUnsupported(attribute.graph->nodes, versions, seen);
    if (const Function *callee = findFunction(node)) {
      if (!seen.insert(functionKey(node.domain, node.type, node.overload))
               .second)
        continue;
      llvm::StringMap<int64_t> inner;
      if (readOperatorSets(callee->operatorSets, inner))
        findUnsupported(callee->nodes, inner, seen);
      continue;
    }
    if (isKnown(node))
      continue;
    auto &entry = unknown[{node.domain, node.type}];
    if (!entry.first)
      entry.first = &node;
    ++entry.second;
  }
  for (auto &[key, entry] : unknown) {
    auto [domain, type] = key;
    InFlightDiagnostic error = report(*entry.first);
    error << "operator '" << printable(type) << "'";
    if (!shortDomain(domain).empty())
      error << " of domain '" << printable(domain) << "'";
    error << " is not supported (" << describe(*entry.first);
    if (entry.second > 1)
      error << " and " << entry.second - 1 << " more";
    error << ")";
  }
}

bool Importer::checkOperators() {
  llvm::StringSet<> seen;
  findUnsupported(model.graph->nodes, operatorSets, seen);
  return !failed;
}
