//===- Mutation.h - In-place operators of exported programs ------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A program that was not decomposed may hold in-place operators (relu_). Values
// of the IR never change, so the name that is written becomes the new value.
// That is right as long as no other name for the same memory (a view) is read
// later; where one is, the program is refused with the way to export it.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_MUTATION_H
#define MARVER_COMPILER_IMPORT_TORCH_MUTATION_H

#include "compiler/import/torch/Program.h"

namespace marver::torch {

class Mutations {
public:
  /// `name` is memory of the caller or a weight: it may not be written.
  void addInput(llvm::StringRef name) { inputs[name] = true; }

  /// Finds the last use of every name.
  void prepare(const Program &program);

  /// Notes what `node`'s results may share memory with. If it writes in place,
  /// calls `rename` for the name that has a new value; returns a message when
  /// that is not possible.
  std::string visit(const Node &node, bool isInPlace,
                    llvm::function_ref<void(llvm::StringRef)> rename);

private:
  llvm::StringMap<unsigned> lastUse;
  llvm::StringMap<bool> inputs;
  /// Names that may share memory: the number of a name's group.
  llvm::StringMap<unsigned> groupOf;
  std::vector<std::vector<std::string>> groups;
  unsigned position = 0;
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_MUTATION_H
