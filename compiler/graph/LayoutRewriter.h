//===- LayoutRewriter.h - The walk that blocks activations ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the files of the layout pass share (Layout.cpp says what it does):
// LayoutConvolutions.cpp has the convolutions and windows, LayoutGeneric.cpp
// the elementwise operations, reductions and transposes, Layout.cpp the rest.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_LAYOUTREWRITER_H
#define MARVER_COMPILER_GRAPH_LAYOUTREWRITER_H

#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/Target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Rewrites one function.
class LayoutRewriter {
public:
  LayoutRewriter(mlir::func::FuncOp function, const TargetInfo &target,
                 bool explain)
      : function(function), target(target), lanes(target.lanes),
        explain(explain), builder(function.getContext()) {}

  void run();

private:
  // Each returns true if it replaced the operation.
  bool rewrite(mlir::Operation *op);
  bool rewriteConv(mv::ConvOp op);
  bool rewritePool(mv::PoolOp op);
  bool rewriteResize(mv::ResizeOp op);
  bool rewriteGeneric(mlir::linalg::GenericOp op);
  bool rewriteTranspose(mlir::linalg::GenericOp op);
  mlir::Value channelsLast(mlir::Location loc, mlir::Value blocked,
                           llvm::ArrayRef<int64_t> order, int64_t channels);
  bool rewriteConcat(mlir::tensor::ConcatOp op);
  bool rewriteSlice(mlir::tensor::ExtractSliceOp op);
  bool rewritePad(mlir::tensor::PadOp op);
  bool rewriteReshape(mlir::Operation *op,
                      llvm::ArrayRef<mlir::ReassociationIndices> groups,
                      bool collapses);

  mlir::Value makeDepthwise(mv::ConvOp op, const ConstantData &filter);
  mlir::Value makeDense(mv::ConvOp op, const ConstantData &filter);
  mlir::Value makeGrouped(mv::ConvOp op, const ConstantData &filter);
  mlir::Value paddedInput(mv::ConvOp op, bool blocked);
  mlir::Value makeBias(mv::ConvOp op, int64_t first, int64_t count);
  int64_t panelWidth(mv::ConvOp op, int64_t outputs, int64_t inputs,
                     bool inputBlocked);
  bool blockOperand(mlir::linalg::GenericOp op, mlir::OpOperand *use,
                    mlir::Value &value, mlir::AffineMap &map);

  mlir::Value startOf(mlir::Value init);
  bool isBlocked(mlir::Value value) const { return blockedOf.contains(value); }
  mlir::Value getBlocked(mlir::Value value);
  mlir::Value blockOf(mlir::Value value, int64_t dim);
  void setBlocked(mlir::Value plain, mlir::Value blocked);
  mlir::Value makePlain(mlir::Value blocked, mlir::RankedTensorType type);
  mlir::RankedTensorType blockedType(mlir::RankedTensorType type,
                                     int64_t dim = 1) const;
  mlir::Value zero(mlir::Type type);
  mlir::Value constant(mlir::Location loc, mlir::ElementsAttr value) {
    return mlir::arith::ConstantOp::create(builder, loc, value);
  }
  bool keep(mlir::Operation *op, const llvm::Twine &reason);

  mlir::func::FuncOp function;
  const TargetInfo &target;
  int64_t lanes;
  bool explain;
  mlir::OpBuilder builder;
  llvm::DenseMap<mlir::Value, mlir::Value>
      blockedOf; ///< plain value -> its blocked form
};

inline mlir::RankedTensorType typeOf(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType());
}

/// All dims after the channels are 1: blocked and plain hold the same bytes,
/// but for the tail.
inline bool isVector(mlir::RankedTensorType type) {
  return llvm::all_of(type.getShape().drop_front(2),
                      [](int64_t size) { return size == 1; });
}

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_LAYOUTREWRITER_H
