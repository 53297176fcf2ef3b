//===- Guards.h - Conditions on the sizes of the inputs ----------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An export with dynamic dims may hold only for sizes that meet conditions,
// which the file states as Python text: "L['x'].size()[2] % 2 == 0". What
// follows from the symbols and their ranges is dropped; the rest is checked at
// run time.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_GUARDS_H
#define MARVER_COMPILER_IMPORT_TORCH_GUARDS_H

#include "compiler/import/torch/Program.h"

namespace marver::torch {

/// A comparison of two sizes.
struct Guard {
  enum Relation { Eq, Ne, Lt, Le, Gt, Ge };
  SymExpr left, right;
  Relation relation;
};

/// Parses a guard; nullopt where it is of another form than a comparison of
/// arithmetic on input sizes.
std::optional<Guard> parseGuard(Program &program, llvm::StringRef text);

/// Whether a - b, which is in `range`, surely meets the relation (true), surely
/// does not (false), or neither (nullopt).
std::optional<bool> decide(Guard::Relation relation, SymRange range);

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_GUARDS_H
