//===- Mutation.h - In-place operators of exported programs ------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A program that was not decomposed may write in place: relu_(x), or
// x[:, 2] = y, which is copy_(select(x, 1, 2), y). Values of the IR never
// change. So a write makes new values: of the name that is written, of the
// tensors that it is a view of (x with the slice replaced), and of all other
// views of those, which are made again.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_MUTATION_H
#define MARVER_COMPILER_IMPORT_TORCH_MUTATION_H

#include "compiler/import/torch/Call.h"
#include "llvm/ADT/StringSet.h"

namespace marver::torch {

/// The names of a graph whose memory is written in place: of the tensors, not
/// of the views through which that happens.
llvm::StringSet<> findWritten(llvm::ArrayRef<Node> nodes);

class Mutations {
public:
  explicit Mutations(Graph &graph) : graph(graph) {}

  /// Finds the last use of every name in a graph.
  void prepare(llvm::ArrayRef<Node> nodes, llvm::ArrayRef<Argument> inputs,
               llvm::ArrayRef<Argument> outputs);

  /// Called after `node` was built: notes what its results share memory with
  /// and, if it writes in place, makes the new values. Fails through the
  /// builder where that is not possible.
  void visit(const Node &node, bool isInPlace);

private:
  /// How a name came to share memory with another one.
  struct View {
    std::string base;
    const Node *node = nullptr; ///< null: the same tensor
    unsigned number = 0;        ///< which of the node's results
    bool isCertain = true;      ///< or a copy
  };

  void write(llvm::StringRef name, llvm::StringRef result);
  Value invert(const View &view, Value base, Value value);
  void remake(llvm::StringRef name);
  bool isUsedLater(llvm::StringRef name) const;

  Graph &graph;
  unsigned position = 0;
  llvm::StringMap<unsigned> lastUse;
  llvm::StringMap<bool> inputs;
  llvm::StringMap<View> views;
  /// Views of a name, in the order of the program.
  llvm::StringMap<std::vector<std::string>> viewsOf;
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_MUTATION_H
