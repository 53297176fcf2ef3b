//===- Importer.h - From an ONNX model to a module of tensors ---*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_ONNX_IMPORTER_H
#define MARVER_COMPILER_IMPORT_ONNX_IMPORTER_H

#include "compiler/import/Import.h"
#include "compiler/import/onnx/Node.h"
#include "compiler/import/onnx/Tensors.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

namespace marver::onnx {

/// Sizes of a dim that a symbol may take.
constexpr int64_t symbolLimit = std::numeric_limits<int32_t>::max();

/// Names and what they stand for, in a graph or in one call of a function.
struct Scope {
  llvm::StringMap<GraphValue> values;
  /// Of a graph inside of a node: where that node is.
  Scope *outer = nullptr;
  /// Attributes of the call, for references to them.
  llvm::SmallVector<const Attribute *> attributes;
  llvm::StringMap<int64_t> operatorSets;
};

/// An argument of the function to make.
struct Input {
  const ValueInfo *info;
  mlir::Type element;
  bool isUnsigned;
  /// One entry a dim: a number, or the name of a symbol.
  struct Size {
    int64_t number = -1;
    std::string symbol;
  };
  llvm::SmallVector<Size> sizes;
};

/// One import. A node that fails poisons its results, so that all problems of a
/// model are reported at once and none twice.
class Importer {
public:
  Importer(mlir::MLIRContext *context, const ImportRequest &request,
           const Model &model)
      : context(context), request(request), model(model),
        tensors(context, request),
        fileLoc(mlir::FileLineColLoc::get(context, request.path, 0, 0)),
        ops(fileLoc) {}

  mlir::OwningOpRef<mlir::ModuleOp> run();

private:
  // Checks before anything is built, in CheckModel.cpp.
  bool readOperatorSets(llvm::ArrayRef<OperatorSet> sets,
                        llvm::StringMap<int64_t> &versions);
  bool indexFunctions();
  bool readInputs();
  bool readInput(const ValueInfo &info, unsigned number);
  bool checkOperators();
  bool isKnown(const Node &node); ///< an operator, no function
  void findUnsupported(llvm::ArrayRef<Node> nodes,
                       const llvm::StringMap<int64_t> &versions,
                       llvm::StringSet<> &seen);

  // The function.
  void declareFunction(llvm::ArrayRef<mlir::Type> results);
  void defineArguments(Scope &scope);
  bool defineInitializers(const Graph &graph, Scope &scope);
  bool buildNodes(llvm::ArrayRef<Node> nodes, Scope &scope, int depth);
  void buildNode(const Node &node, Scope &scope, int depth);
  std::optional<std::vector<GraphValue>>
  buildGraph(const Graph &graph, const std::vector<GraphValue> &values,
             Scope &scope, int depth);
  void callFunction(const Function &function, const Node &node, Scope &scope,
                    llvm::ArrayRef<GraphValue *> inputs,
                    llvm::ArrayRef<const Attribute *> attributes, int depth);
  bool buildConstant(NodeBuilder &node);
  bool buildResults(Scope &scope);
  bool declareResults();

  const Function *findFunction(const Node &node) const;
  mlir::Location locationOf(const Node &node) const;
  std::string describe(const Node &node) const;
  mlir::InFlightDiagnostic report() {
    failed = true;
    return mlir::emitError(fileLoc);
  }
  mlir::InFlightDiagnostic report(const Node &node) {
    failed = true;
    return mlir::emitError(placeOf(node));
  }
  /// The node's place in the file, or the file.
  mlir::Location placeOf(const Node &node) const {
    return node.location
               ? mlir::Location(mlir::cast<mlir::LocationAttr>(node.location))
               : fileLoc;
  }

  mlir::MLIRContext *context;
  const ImportRequest &request;
  const Model &model;
  TensorReader tensors;
  mlir::Location fileLoc;
  /// Goes after `ops`, which may hold operations that use its values.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  OpsBuilder ops;
  mlir::func::FuncOp function;
  llvm::SmallVector<Input> inputs;
  /// Symbols in order of first use.
  llvm::MapVector<llvm::StringRef, unsigned> symbols;
  llvm::StringMap<const Function *> functions;
  llvm::StringMap<int64_t> operatorSets;
  int64_t nodesBuilt = 0;
  bool failed = false;
};

void loadDialects(mlir::MLIRContext *context);

/// "ai.onnx" is the long name of the standard domain.
inline llvm::StringRef shortDomain(llvm::StringRef domain) {
  return domain == "ai.onnx" ? "" : domain;
}

} // namespace marver::onnx

#endif // MARVER_COMPILER_IMPORT_ONNX_IMPORTER_H
