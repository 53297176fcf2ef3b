//===- Specialize.h - Paths for sizes that are known ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_SPECIALIZE_H
#define MARVER_COMPILER_IMPORT_SPECIALIZE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Makes `general` run what `special`, the same model imported with some sizes
/// fixed, does when its arguments have these sizes, and what it did before
/// otherwise. Takes the body of `special`, whose arguments and results are
/// those of `general` with fewer dynamic dims. Reports an error where no
/// argument's type tells the two apart, or the types do not fit.
mlir::LogicalResult addSpecialization(mlir::func::FuncOp general,
                                      mlir::func::FuncOp special);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_SPECIALIZE_H
