//===- Views.h - Tensor views as strided memrefs ----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a view operation (Role::View of kernel formation) is on the memory of
// its source: its type, whether it can be had without a copy, and the memref
// operations that make it.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_VIEWS_H
#define MARVER_COMPILER_BUFFERS_VIEWS_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace marver {

/// Dims of a tensor value of the host function as attributes or index values,
/// without tensor.dim of anything but function arguments and late slots.
llvm::SmallVector<mlir::OpFoldResult>
hostDims(mlir::OpBuilder &b, mlir::Location loc, mlir::Value tensor);

/// Whether a value is what a loop or branch carries in a slot whose dims are
/// known only while the model runs (CarryLate.h).
bool isLateSlot(mlir::Value tensor);

/// The layout of view operation `op` on a source of layout `source`, or failure
/// if the elements do not lie such that it is a view.
mlir::FailureOr<mlir::MemRefType> viewType(mlir::Operation *op,
                                           mlir::MemRefType source);

/// Makes the view of `source`; only if viewType has a result.
mlir::Value buildView(mlir::OpBuilder &b, mlir::Operation *op,
                      mlir::Value source);

/// A view operation that only groups dims differently (same elements in the
/// same order), so that it can be undone on a contiguous buffer.
bool isReshape(mlir::Operation *op);

/// The layout of the source of view operation `op` when its result has layout
/// `result`: reshapes and permutations can be undone, slices cannot.
mlir::FailureOr<mlir::MemRefType> undoneType(mlir::Operation *op,
                                             mlir::MemRefType result);

/// The source itself; only if undoneType has a result.
mlir::Value undoView(mlir::OpBuilder &b, mlir::Operation *op,
                     mlir::Value result);

/// Type of the part of a concat's buffer that holds operand `number`.
mlir::MemRefType partType(mlir::tensor::ConcatOp concat, unsigned number,
                          mlir::MemRefType whole);

/// The part itself.
mlir::Value buildPart(mlir::OpBuilder &b, mlir::tensor::ConcatOp concat,
                      unsigned number, mlir::Value whole);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_VIEWS_H
