//===- OpShapes.h - Shapes of operations and their verification -*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the files that define the mv operations share.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_OPSHAPES_H
#define MARVER_COMPILER_IR_OPSHAPES_H

#include "compiler/ir/MvDialect.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"

namespace marver::mv {

using Dims = llvm::SmallVector<mlir::OpFoldResult>;

inline int64_t rankOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getRank();
}

inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getShape();
}

inline mlir::Type elementOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType()).getElementType();
}

inline Dims dimsOf(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value) {
  return mlir::tensor::getMixedSizes(b, loc, value);
}

/// Dim of a strided window's result: floor((size + pads - reach) / stride) + 1.
inline mlir::OpFoldResult windowDim(mlir::OpBuilder &b, mlir::Location loc,
                                    mlir::OpFoldResult size, int64_t pads,
                                    int64_t window, int64_t dilation,
                                    int64_t stride) {
  mlir::AffineExpr d = b.getAffineDimExpr(0);
  int64_t reach = dilation * (window - 1) + 1;
  return mlir::affine::makeComposedFoldedAffineApply(
      b, loc, (d + (pads - reach)).floorDiv(stride) + 1, {size});
}

inline int64_t windowDim(int64_t size, int64_t pads, int64_t window,
                         int64_t dilation, int64_t stride) {
  if (mlir::ShapedType::isDynamic(size))
    return size;
  int64_t room = size + pads - (dilation * (window - 1) + 1);
  return room < 0 ? 0 : room / stride + 1;
}

/// The dims of a result as its type and `dims` give them: a inline dim of the
/// type wins.
inline void setDims(mlir::OpBuilder &b, mlir::Value result, Dims dims,
                    mlir::ReifiedRankedShapedTypeDims &reified) {
  for (auto [dim, size] : llvm::zip_equal(dims, shapeOf(result)))
    if (!mlir::ShapedType::isDynamic(size))
      dim = b.getIndexAttr(size);
  reified.push_back(std::move(dims));
}

inline mlir::LogicalResult
sameShapeReify(mlir::OpBuilder &b, mlir::Operation *op, mlir::Value input,
               mlir::ReifiedRankedShapedTypeDims &reified) {
  setDims(b, op->getResult(0), dimsOf(b, op->getLoc(), input), reified);
  return mlir::success();
}

/// A inline dim differs from what it must be.
inline bool differs(int64_t dim, int64_t expected) {
  return !mlir::ShapedType::isDynamic(dim) &&
         !mlir::ShapedType::isDynamic(expected) && dim != expected;
}

inline mlir::LogicalResult verifyShape(mlir::Operation *op, mlir::Value result,
                                       llvm::ArrayRef<int64_t> expected) {
  llvm::ArrayRef<int64_t> shape = shapeOf(result);
  if (shape.size() != expected.size())
    return op->emitOpError("result has rank ")
           << shape.size() << ", must have " << expected.size();
  for (auto [i, dim, want] : llvm::enumerate(shape, expected))
    if (differs(dim, want))
      return op->emitOpError("result dim ")
             << i << " is " << dim << ", must be " << want;
  return mlir::success();
}

/// Window attributes of `rank` spatial dims, all positive.
inline mlir::LogicalResult verifyWindow(mlir::Operation *op, int64_t rank,
                                        llvm::ArrayRef<int64_t> window,
                                        llvm::ArrayRef<int64_t> strides,
                                        llvm::ArrayRef<int64_t> dilations) {
  if (rank < 1)
    return op->emitOpError("input has no spatial dims");
  for (llvm::ArrayRef<int64_t> values : {window, strides, dilations}) {
    if (static_cast<int64_t>(values.size()) != rank)
      return op->emitOpError("needs one window size, stride and dilation for "
                             "each of the ")
             << rank << " spatial dims";
    if (llvm::any_of(values, [](int64_t v) { return v < 1; }))
      return op->emitOpError("window sizes, strides and dilations are 1 or "
                             "more");
  }
  return mlir::success();
}

inline mlir::LogicalResult verifyPads(mlir::Operation *op, int64_t rank,
                                      llvm::ArrayRef<int64_t> pads) {
  if (static_cast<int64_t>(pads.size()) != 2 * rank ||
      llvm::any_of(pads, [](int64_t v) { return v < 0; }))
    return op->emitOpError("needs two pads, 0 or more, for each of the ")
           << rank << " spatial dims";
  return mlir::success();
}

inline mlir::LogicalResult verifyDim(mlir::Operation *op, int64_t dim,
                                     int64_t rank) {
  if (dim < 0 || dim >= rank)
    return op->emitOpError("dim ") << dim << " of a tensor of rank " << rank;
  return mlir::success();
}

} // namespace marver::mv

#endif // MARVER_COMPILER_IR_OPSHAPES_H
