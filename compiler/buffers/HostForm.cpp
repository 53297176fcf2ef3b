//===- HostForm.cpp - The host function around its launches ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/HostForm.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace marver;

/// An operation with regions that work on tensors.
static bool holdsTensors(Operation *op) {
  return op->getNumRegions() &&
         op->walk([](Operation *inner) {
             return llvm::any_of(inner->getResultTypes(),
                                 llvm::IsaPred<TensorType>) ||
                            llvm::any_of(inner->getOperandTypes(),
                                         llvm::IsaPred<TensorType>)
                        ? WalkResult::interrupt()
                        : WalkResult::advance();
           }).wasInterrupted();
}

LogicalResult marver::checkHostForm(func::FuncOp func) {
  if (!func.getBody().hasOneBlock())
    return func.emitOpError("has more than one block");
  WalkResult result = func.walk([&](Operation *op) {
    if (!holdsTensors(op))
      return WalkResult::advance();
    auto loop = dyn_cast<scf::WhileOp>(op);
    if (loop && loop.getConditionOp().getArgs() !=
                    ValueRange(loop.getBeforeArguments())) {
      op->emitOpError("must pass what it carries on unchanged in its "
                      "condition");
      return WalkResult::interrupt();
    }
    if (!isa<scf::WhileOp, scf::ForOp, scf::IfOp, linalg::LinalgOp,
             func::FuncOp>(op)) {
      op->emitOpError("has tensors in its regions, which is not supported");
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

Operation *marver::hoistScalars(func::FuncOp func) {
  Block *body = &func.getBody().front();
  DenseSet<Operation *> hoisted;
  Operation *last = nullptr;
  SmallVector<Operation *> candidates;
  func.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<linalg::LinalgOp, tensor::PadOp>(op))
      return WalkResult::skip();
    if (op != func && isPure(op) && op->getNumRegions() == 0 &&
        !op->hasTrait<OpTrait::IsTerminator>() &&
        llvm::none_of(op->getResultTypes(), llvm::IsaPred<TensorType>))
      candidates.push_back(op);
    return WalkResult::advance();
  });
  for (Operation *op : candidates) {
    bool movable = llvm::all_of(op->getOperands(), [&](Value operand) {
      if (auto argument = dyn_cast<BlockArgument>(operand))
        return argument.getOwner() == body;
      return hoisted.contains(operand.getDefiningOp());
    });
    if (!movable || isa<tensor::ExtractOp>(op))
      continue;
    if (last)
      op->moveAfter(last);
    else
      op->moveBefore(body, body->begin());
    last = op;
    hoisted.insert(op);
  }
  return last ? last->getNextNode() : &body->front();
}

void marver::dropTensors(Operation *op) {
  OpBuilder b(op);
  auto isTensor = [](Value value) { return !isScalar(value); };
  for (Region &region : op->getRegions())
    for (Block &block : region)
      block.eraseArguments(
          [&](BlockArgument argument) { return isTensor(argument); });
  OperationState state(op->getLoc(), op->getName());
  state.addOperands(llvm::filter_to_vector(op->getOperands(), isScalar));
  SmallVector<Value> kept;
  llvm::copy_if(op->getResults(), std::back_inserter(kept), isScalar);
  state.addTypes(ValueRange(kept).getTypes());
  state.addAttributes(op->getAttrs());
  for (Region &region : op->getRegions())
    state.addRegion()->takeBody(region);
  Operation *result = b.create(state);
  for (auto [before, after] : llvm::zip_equal(kept, result->getResults()))
    before.replaceAllUsesWith(after);
  op->erase();
}
