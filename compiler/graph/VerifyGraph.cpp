//===- VerifyGraph.cpp - The graph stage's contract -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// At the end of the graph stage a function holds only what a kernel family, the
// generic family or the host function accepts: operations of mv that are not
// kernels yet, linalg on tensors, tensor shape operations, scalar arithmetic
// and structured control flow. Anything else is named with its place in the
// model.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace marver;

static LogicalResult verifyOp(Operation *op) {
  for (Type type : op->getResultTypes())
    if (isa<UnrankedTensorType>(type))
      return op->emitError()
             << op->getName() << " makes a tensor whose rank is not known";
  if (isa<mv::KernelOp, mv::LaunchOp, mv::BufferOp>(op))
    return op->emitError() << op->getName() << " belongs to a later stage";
  if (isa<linalg::PackOp, linalg::UnPackOp, linalg::GenericOp, linalg::FillOp,
          linalg::YieldOp, linalg::IndexOp>(op))
    return success();
  if (isa<linalg::LinalgOp>(op))
    return op->emitError() << op->getName()
                           << " must be a linalg.generic by now";
  Dialect *dialect = op->getDialect();
  if (isa_and_nonnull<mv::MvDialect, tensor::TensorDialect, scf::SCFDialect,
                      func::FuncDialect, affine::AffineDialect,
                      linalg::LinalgDialect>(dialect))
    return success();
  if (isa_and_nonnull<arith::ArithDialect, math::MathDialect>(dialect)) {
    if (op->hasTrait<OpTrait::ConstantLike>() ||
        llvm::none_of(op->getResultTypes(), llvm::IsaPred<TensorType>))
      return success();
    return op->emitError() << op->getName()
                           << " on tensors must be a linalg.generic by now";
  }
  return op->emitError() << op->getName() << " has no kernel";
}

namespace {

struct VerifyGraph : PassWrapper<VerifyGraph, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(VerifyGraph)
  StringRef getArgument() const override { return "mv-verify-graph"; }
  StringRef getDescription() const override {
    return "Check the contract of the graph stage";
  }

  void runOnOperation() override {
    // All of them: a user wants the whole list at once.
    bool isValid = true;
    getOperation().walk([&](Operation *op) {
      if (op != getOperation() && failed(verifyOp(op)))
        isValid = false;
    });
    if (!isValid)
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> marver::createVerifyGraphPass() {
  return std::make_unique<VerifyGraph>();
}
