//===- States.h - Tensors that a session keeps ------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A state of an entry point is an argument with the attribute `mv.state` and a
// result: its value before and after a call, of one static type. The states are
// the last arguments and the last results, in the same order. `mv.state` is the
// name by which entry points share it, `mv.initial` its first value (elements;
// zeros without).
//
//   func.func @step(%x: tensor<1x8xf32>,
//                   %cache: tensor<64x8xf32> {mv.state = "cache"})
//       -> (tensor<1x8xf32>, tensor<64x8xf32>)
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_STATES_H
#define MARVER_COMPILER_IR_STATES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

inline constexpr llvm::StringLiteral kStateAttr = "mv.state";
inline constexpr llvm::StringLiteral kInitialAttr = "mv.initial";

inline bool isState(mlir::func::FuncOp func, unsigned argument) {
  return func.getArgAttr(argument, kStateAttr) != nullptr;
}

inline unsigned countStates(mlir::func::FuncOp func) {
  unsigned count = 0;
  while (count < func.getNumArguments() &&
         isState(func, func.getNumArguments() - 1 - count))
    ++count;
  return count;
}

/// The number of the argument whose new value is result `result`, if it is a
/// state.
inline std::optional<unsigned> stateOfResult(mlir::func::FuncOp func,
                                             unsigned result) {
  unsigned fromEnd = func.getNumResults() - result;
  if (fromEnd > countStates(func))
    return std::nullopt;
  return func.getNumArguments() - fromEnd;
}

/// Makes an argument a state. Zeros need no first value.
void setState(mlir::func::FuncOp func, unsigned argument, llvm::StringRef name,
              mlir::ElementsAttr initial);

} // namespace marver

#endif // MARVER_COMPILER_IR_STATES_H
