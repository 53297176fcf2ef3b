//===- States.cpp - Tensors that a session keeps --------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/States.h"
#include "compiler/ir/Constants.h"

using namespace mlir;

namespace marver {

static bool isZero(ElementsAttr elements) {
  std::optional<ConstantData> data = getConstantData(elements);
  return data && llvm::all_of(data->bytes, [](char byte) { return byte == 0; });
}

void setState(func::FuncOp func, unsigned argument, StringRef name,
              ElementsAttr initial) {
  func.setArgAttr(argument, kStateAttr,
                  StringAttr::get(func.getContext(), name));
  if (initial && !isZero(initial))
    func.setArgAttr(argument, kInitialAttr, initial);
}

} // namespace marver
