//===- ShapeFunction.h - From input dims to output dims ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_SHAPEFUNCTION_H
#define MARVER_COMPILER_BUFFERS_SHAPEFUNCTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Makes the function that computes `wanted` (index values of `func`, which
/// depend on dims of its arguments only: the outputs' dims, then the arena's
/// bytes) from the dims of all arguments, and checks what `mv.dims` and
/// `mv.symbols` say of them. `func` gets its name in `mv.shape`.
void makeShapeFunction(mlir::func::FuncOp func,
                       llvm::ArrayRef<mlir::OpFoldResult> wanted);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_SHAPEFUNCTION_H
