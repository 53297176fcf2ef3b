//===- MatrixTransform.h - Constant matrix times vectors --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Winograd's transforms multiply vectors by small constant matrices, whose rows
// or columns come in pairs (of the points p and -p): what a pair has in common
// is computed once.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_MATRIXTRANSFORM_H
#define MARVER_COMPILER_KERNELS_EMIT_MATRIXTRANSFORM_H

#include "compiler/kernels/WinogradAlgorithm.h"
#include "compiler/kernels/emit/KernelEmitter.h"

namespace marver {

/// The products of `matrix` and `values` (vectors of f32 or f64, as many as it
/// has columns), one per row.
llvm::SmallVector<mlir::Value>
multiplyMatrix(KernelEmitter &e, const Matrix &matrix,
               llvm::ArrayRef<mlir::Value> values);

/// The same, each row as a chain of multiply-adds from the first column on: for
/// results that a computation outside of kernels must reproduce exactly.
llvm::SmallVector<mlir::Value>
multiplyMatrixInOrder(KernelEmitter &e, const Matrix &matrix,
                      llvm::ArrayRef<mlir::Value> values);

/// Whether both passes of `transformTile` with `count` values between them fit
/// into registers, or nearly so.
bool fitsRegisters(KernelEmitter &e, int64_t count);

/// left * values * right^T of a tile of f32 vectors whose columns (all rows of
/// one) `load` gives; `store` takes the rows of the result. Where they do not
/// fit into registers, the values go between the two passes through `pass`,
/// memory for left.rows * right.columns vectors, and each pass is a loop.
void transformTile(
    KernelEmitter &e, const Matrix &left, const Matrix &right, mlir::Value pass,
    llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value column)> load,
    llvm::function_ref<void(mlir::Value row,
                            llvm::ArrayRef<mlir::Value> values)>
        store);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_MATRIXTRANSFORM_H
