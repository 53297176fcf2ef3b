//===- Call.h - One node of an exported program being imported ---*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the table of ATen operators is written against: a Call has the node's
// arguments under the names of the operator's schema, the types and dims that
// the file states for its results, and the shared builders. An operator is a
// line in one of the tables (Elementwise.cpp, Shapes.cpp, ...).
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_CALL_H
#define MARVER_COMPILER_IMPORT_TORCH_CALL_H

#include "compiler/import/torch/Program.h"
#include "compiler/ops/Ops.h"

namespace marver::torch {

using llvm::function_ref;
using mlir::Attribute;
using mlir::Type;
using mlir::Value;

/// Element type for a dtype, null for one that is not supported.
mlir::Type elementType(mlir::MLIRContext *context, ScalarType type);

/// torch.promote_types.
ScalarType promoteTypes(ScalarType a, ScalarType b);

/// Values of the graph's names while it is being imported.
class Graph {
public:
  Graph(Program &program, OpsBuilder &b) : program(program), b(b) {}
  virtual ~Graph() = default;

  /// The tensor of this name: made now if it is a weight. Null if the node that
  /// makes it failed.
  virtual Value tensor(llvm::StringRef name) = 0;
  /// Gives a name another value.
  virtual void setTensor(llvm::StringRef name, Value value) = 0;
  /// Imports the region that `graph` names at the insertion point, with these
  /// values as its inputs (numbers as tensors of rank 0), and gives its outputs
  /// likewise; nullopt after a failure.
  virtual OpsBuilder::Results region(const Argument &graph,
                                     llvm::ArrayRef<Value> inputs) = 0;
  /// What the file says of it, or null.
  const TensorMeta *meta(llvm::StringRef name) const;
  /// Size `expr` as an index, nullopt while one of its symbols has no value.
  std::optional<Dim> emit(const SymExpr &expr);
  /// Gives a symbol its value.
  void bind(unsigned symbol, Dim value) { sizes.symbolValues[symbol] = value; }
  void bind(const SymExpr &expr, Dim value) { sizes.emitted[expr] = value; }
  /// Gives a number of the graph its value, a tensor of rank 0.
  void bindNumber(const Argument &number, Value value);
  /// If `expr` is a symbol without a value, this is its value.
  void bindIfUnknown(const SymExpr &expr, llvm::function_ref<Dim()> value);

  Program &program;
  OpsBuilder &b;
  /// Values of SymFloat (f64) and SymBool (i1) names, scalars.
  llvm::StringMap<Value> scalars;
  /// Symbols whose ranges are checked with the inputs, before every run.
  llvm::DenseSet<unsigned> inputSymbols;

protected:
  /// The values that symbols and expressions have at a place; what a region
  /// adds to them is forgotten at its end.
  struct Sizes {
    std::map<SymExpr, Dim> emitted;
    llvm::DenseMap<unsigned, Dim> symbolValues;
  };
  Sizes sizes;

private:
  std::optional<Dim> emitAtom(unsigned number);
};

class Call {
public:
  Call(Graph &graph, const Node &node) : b(graph.b), node(node), graph(graph) {}

  OpsBuilder &b;
  const Node &node;
  Graph &graph;
  /// Of operators with several results: null entries are not computed.
  llvm::SmallVector<Value> results;

  //===--------------------------------------------------------------------===//
  // Arguments, by the names of the operator's schema. What is absent has its
  // default; what has a wrong kind fails (and is null, zero or empty).
  //===--------------------------------------------------------------------===//

  const Argument *find(llvm::StringRef name) const;
  bool has(llvm::StringRef name) const;
  bool isTensor(llvm::StringRef name) const;
  Value tensor(llvm::StringRef name);
  Value optionalTensor(llvm::StringRef name);
  /// Null entries for None.
  llvm::SmallVector<Value> tensors(llvm::StringRef name);
  int64_t integer(llvm::StringRef name, int64_t absent = 0);
  bool boolean(llvm::StringRef name, bool absent = false);
  double number(llvm::StringRef name, double absent = 0);
  std::optional<double> optionalNumber(llvm::StringRef name);
  llvm::StringRef string(llvm::StringRef name, llvm::StringRef absent = "");
  llvm::SmallVector<int64_t> ints(llvm::StringRef name);
  /// Of `count` entries: one entry stands for all of them.
  llvm::SmallVector<int64_t> ints(llvm::StringRef name, size_t count,
                                  int64_t absent);
  Dim dim(llvm::StringRef name, Dim absent);
  Dims dims(llvm::StringRef name);
  /// Axis `name` of a tensor of `rank`, counted from the front.
  int64_t axis(llvm::StringRef name, int64_t rank, int64_t absent = 0);
  std::optional<ScalarType> type(llvm::StringRef name);

  //===--------------------------------------------------------------------===//
  // Types
  //===--------------------------------------------------------------------===//

  /// dtype of a tensor argument or of a number.
  ScalarType typeOf(llvm::StringRef name);
  ScalarType typeOf(const Argument &argument);
  /// torch.result_type of these arguments (tensors or numbers).
  ScalarType promote(llvm::ArrayRef<llvm::StringRef> names);
  ScalarType resultType(unsigned number = 0);
  Dims resultDims(unsigned number = 0);
  mlir::Type element(ScalarType type);
  mlir::Type resultElement(unsigned number = 0) {
    return element(resultType(number));
  }

  /// A tensor, or a number as a tensor of rank 0, cast to `type`.
  Value operand(llvm::StringRef name, ScalarType type);
  Value operand(const Argument &argument, ScalarType type);
  /// Of the type that `typeOf` gives for the argument.
  Value operand(const Argument &argument) {
    return operand(argument, typeOf(argument));
  }
  /// A number as an attribute-like scalar of `type`.
  Value cast(Value value, ScalarType from, ScalarType to);

  Value fail(const llvm::Twine &message) { return b.fail(message); }

private:
  std::optional<Dim> dimOf(const Argument &argument);
};

/// Builds the node's result; with several, fills `results` and returns null.
using Handler = Value (*)(Call &call);
using OpTable = llvm::StringMap<Handler>;

/// A row of the table: an operator's name without "torch.ops.", and how to
/// build it. The in-place form (`relu_`) is found through the other one.
struct OpEntry {
  const char *name;
  Handler handler;
};

void addElementwise(OpTable &table);
void addReductions(OpTable &table);
void addShapes(OpTable &table);
void addComposite(OpTable &table);
void addCreation(OpTable &table);
void addContractions(OpTable &table);
void addNormalization(OpTable &table);
void addIndexing(OpTable &table);
void addRecurrent(OpTable &table);
void addScalars(OpTable &table);
void addHigherOrder(OpTable &table);
void addSelection(OpTable &table);

/// All operators.
const OpTable &operators();

/// The handler of a node's target, null if there is none; `isInPlace` if it is
/// the in-place form.
Handler findHandler(llvm::StringRef target, bool &isInPlace);

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_CALL_H
