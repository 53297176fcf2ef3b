//===- Lifetimes.h - When the buffers of the arena are needed ---*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_LIFETIMES_H
#define MARVER_COMPILER_BUFFERS_LIFETIMES_H

#include "compiler/buffers/Homes.h"
#include "llvm/ADT/MapVector.h"

namespace marver {

/// First and last time that a tensor's memory is needed, both included.
using Lifetimes = llvm::MapVector<mlir::Value, std::pair<int64_t, int64_t>>;

/// From where to where the buffers of the arena are needed, in the numbers of
/// a walk over all operations. What a loop uses but does not make itself is
/// needed until its end.
Lifetimes lifetimes(mlir::func::FuncOp func, Homes &homes);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_LIFETIMES_H
