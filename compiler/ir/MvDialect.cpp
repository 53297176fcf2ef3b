//===- MvDialect.cpp - The mv dialect -------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/MvDialect.h"

using namespace mlir;

#include "compiler/ir/MvDialect.cpp.inc"
#include "compiler/ir/MvEnums.cpp.inc"

void marver::mv::MvDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "compiler/ir/MvOps.cpp.inc"
      >();
}
