//===- Node.h - One node of an ONNX graph, being built ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the handler of an operator sees: the node's operands, attributes and
// results. A handler maps them to the builders of compiler/ops.
//
// Values of the graph are tensors, or *shape values*: integer lists (and
// scalars) that were computed from shapes and constants are kept as dims as
// long as nothing needs them as tensors. Sequences and optionals exist while a
// model is imported only: which values they hold must follow from the graph.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_ONNX_NODE_H
#define MARVER_COMPILER_IMPORT_ONNX_NODE_H

#include "compiler/import/onnx/Model.h"
#include "compiler/ops/Ops.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace marver::onnx {

/// A value of the graph, in the forms that are known; all made when first used.
struct GraphValue {
  mlir::Value tensor;
  /// A constant that no operation was made for yet.
  mlir::ElementsAttr constant;
  /// The elements, if this is a shape value; `element` and `isScalar` say of
  /// what tensor. Elements of float type are whole numbers.
  std::optional<Dims> dims;
  mlir::Type element;
  bool isScalar = false;
  bool isUnsigned = false;
  /// The node that made it failed; so does, silently, what uses it.
  bool isPoisoned = false;
  /// A sequence, of `items`, or an optional without an element; an optional
  /// with one is that element.
  enum Kind : char { Tensor, Sequence, None } kind = Tensor;
  std::vector<GraphValue> items;
};

/// Whether a value is known to be true (or false) when the model is imported.
std::optional<bool> knownTruth(const GraphValue &value);

class TensorReader;

class NodeBuilder {
public:
  using Value = mlir::Value;

  /// Results of a graph that is given as an attribute, its inputs being these
  /// values; nullopt after a failure, which has been reported.
  using GraphValues = std::vector<GraphValue>;
  using GraphFunction = llvm::function_ref<std::optional<GraphValues>(
      const Graph &, const GraphValues &)>;

  NodeBuilder(OpsBuilder &ops, TensorReader &tensors, const Node &node,
              int64_t opset, llvm::ArrayRef<GraphValue *> inputs,
              llvm::ArrayRef<const Attribute *> attributes,
              GraphFunction buildGraph)
      : ops(ops), node(node), opset(opset), tensors(tensors), inputs(inputs),
        attributes(attributes), results(node.outputs.size()),
        buildGraph(buildGraph) {}

  OpsBuilder &ops;
  const Node &node;
  /// Version of the operator set that the node is of.
  const int64_t opset;

  //===--------------------------------------------------------------------===//
  // Operands
  //===--------------------------------------------------------------------===//

  size_t inputCount() const { return inputs.size(); }
  /// Is operand `i` given? (Trailing ones may be absent, others have no name.)
  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  /// Operand `i` as a tensor; fails if it is absent.
  Value in(size_t i);
  /// Operand `i` as a tensor, or null if it is absent.
  Value optional(size_t i) { return has(i) ? in(i) : nullptr; }
  llvm::SmallVector<Value> allInputs();
  bool isUnsigned(size_t i) const { return has(i) && inputs[i]->isUnsigned; }
  mlir::Type elementOf(size_t i);
  int64_t rankOf(size_t i);
  GraphValue &value(size_t i) { return *inputs[i]; }

  /// Operand `i`, integers of rank 0 or 1, as dims.
  std::optional<Dims> dims(size_t i);
  /// Operand `i`, one integer, as a dim.
  std::optional<Dim> dim(size_t i);
  /// Operand `i` as numbers that must be known; fails if they are not.
  std::optional<llvm::SmallVector<int64_t>> integers(size_t i);
  /// Operand `i` as known numbers of any type; fails if they are not.
  std::optional<llvm::SmallVector<double>> reals(size_t i);
  std::optional<double> real(size_t i);

  //===--------------------------------------------------------------------===//
  // Attributes
  //===--------------------------------------------------------------------===//

  const Attribute *find(llvm::StringRef name);
  bool hasAttribute(llvm::StringRef name) { return find(name) != nullptr; }
  int64_t integer(llvm::StringRef name, int64_t absent);
  double real(llvm::StringRef name, double absent);
  llvm::StringRef text(llvm::StringRef name, llvm::StringRef absent);
  llvm::SmallVector<int64_t> integers(llvm::StringRef name);
  llvm::SmallVector<double> reals(llvm::StringRef name);
  /// A tensor attribute's value; null if absent, fails if it cannot be used.
  mlir::ElementsAttr tensor(llvm::StringRef name);
  /// A graph with these numbers of inputs and results (any number if nullopt);
  /// null after a failure.
  const Graph *graph(llvm::StringRef name, std::optional<size_t> inputCount,
                     std::optional<size_t> resultCount);
  /// Builds a graph at the insertion point.
  std::optional<GraphValues> build(const Graph &graph,
                                   const GraphValues &values);
  /// The axes of an operator that took them from an attribute before opset
  /// `since` and takes them from operand `i` after it; empty if absent.
  std::optional<llvm::SmallVector<int64_t>> axes(llvm::StringRef name,
                                                 size_t i);
  /// Element type that an attribute of type TensorProto.DataType names.
  std::optional<std::pair<mlir::Type, bool>> dataType(llvm::StringRef name,
                                                      DataType absent);

  //===--------------------------------------------------------------------===//
  // Results
  //===--------------------------------------------------------------------===//

  bool wants(size_t i) const {
    return i < node.outputs.size() && !node.outputs[i].empty();
  }
  void set(Value tensor, bool isUnsigned = false) {
    set(0, tensor, isUnsigned);
  }
  /// Result 0, of operand 0's signedness.
  void setLike(Value tensor) { set(0, tensor, isUnsigned(0)); }
  void set(size_t i, Value tensor, bool isUnsigned = false);
  void set(size_t i, GraphValue value);
  /// Reports what is wrong with this node.
  void fail(const llvm::Twine &message) { ops.fail(message); }

  llvm::ArrayRef<GraphValue> made() const { return results; }
  /// A graph inside of the node failed, and that was reported.
  bool hasFailedInside() const { return failedInside; }
  /// An attribute of the node that its handler never looked at and that may
  /// change what it computes; null if there is none.
  const Attribute *unread() const;

private:
  TensorReader &tensors;
  llvm::ArrayRef<GraphValue *> inputs;
  llvm::ArrayRef<const Attribute *> attributes;
  std::vector<GraphValue> results;
  GraphFunction buildGraph;
  bool failedInside = false;
  /// Names of attributes that were asked for.
  llvm::StringSet<> asked;
};

/// The value as a tensor: makes the operation if there is none yet.
mlir::Value materialize(OpsBuilder &ops, GraphValue &value);

/// Element type and signedness of a data type, or nullopt if not supported.
std::optional<std::pair<mlir::Type, bool>>
elementType(mlir::MLIRContext *context, DataType type);

/// What ONNX calls a data type, for messages: any value that a file may hold.
std::string nameOf(DataType type);

/// Text of the user's model made safe to print on one line.
std::string printable(llvm::StringRef text);

/// Builds an operator; reports through NodeBuilder::fail.
using Handler = void (*)(NodeBuilder &);

/// An operator of the standard domain.
struct Operator {
  llvm::StringRef name;
  Handler handler;
  /// Whether operands may be sequences and optionals.
  bool takesSequences = false;
};

// The operators, by kind; each list is in the file of that name.
llvm::ArrayRef<Operator> mathOperators();
llvm::ArrayRef<Operator> reductionOperators();
llvm::ArrayRef<Operator> shapeOperators();
llvm::ArrayRef<Operator> networkOperators();
llvm::ArrayRef<Operator> attentionOperators();
llvm::ArrayRef<Operator> indexingOperators();
llvm::ArrayRef<Operator> quantizationOperators();
llvm::ArrayRef<Operator> controlOperators();
llvm::ArrayRef<Operator> sequenceOperators();
llvm::ArrayRef<Operator> recurrentOperators();

/// The operator of that name, or null.
const Operator *findOperator(llvm::StringRef name);

/// Builds the node on shape values if all that it needs are such; false if not.
bool buildShapeValue(NodeBuilder &node);

} // namespace marver::onnx

#endif // MARVER_COMPILER_IMPORT_ONNX_NODE_H
