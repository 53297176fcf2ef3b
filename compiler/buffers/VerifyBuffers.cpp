//===- VerifyBuffers.cpp - Contract of the buffers stage ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// No tensor is left in a host function, every launch writes to memory with a
// known extent, every kernel knows its buffers, and no buffer is allocated.
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Passes.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace marver {
namespace {

struct VerifyBuffersPass
    : public PassWrapper<VerifyBuffersPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(VerifyBuffersPass)

  StringRef getArgument() const override { return "mv-verify-buffers"; }
  StringRef getDescription() const override {
    return "Check the contract of the buffers stage";
  }

  static LogicalResult check(Operation *op) {
    auto isTensor = llvm::IsaPred<TensorType>;
    if (auto kernel = dyn_cast<mv::KernelOp>(op))
      return kernel.getBuffers() ? success()
                                 : kernel.emitOpError("has no buffers");
    if (llvm::any_of(op->getResultTypes(), isTensor) ||
        llvm::any_of(op->getOperandTypes(), isTensor))
      return op->emitOpError("still has a tensor");
    if (isa<memref::AllocOp, memref::AllocaOp>(op))
      return op->emitOpError("allocates");
    if (auto launch = dyn_cast<mv::LaunchOp>(op))
      if (!launch.getExtent())
        return launch.emitOpError("has no extent");
    if (auto func = dyn_cast<func::FuncOp>(op))
      if (func.isPublic() && (func.getNumArguments() || func.getNumResults()))
        return func.emitOpError("still has arguments or results");
    return success();
  }

  void runOnOperation() override {
    WalkResult result =
        getOperation().walk<WalkOrder::PreOrder>([](Operation *op) {
          if (failed(check(op)))
            return WalkResult::interrupt();
          return isa<mv::KernelOp>(op) ? WalkResult::skip()
                                       : WalkResult::advance();
        });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> createVerifyBuffersPass() {
  return std::make_unique<VerifyBuffersPass>();
}

void buildBuffersPipeline(OpPassManager &manager, const TargetInfo &target) {
  manager.addPass(createHoistPreparedPass());
  manager.addPass(createAssignBuffersPass(target));
  manager.addPass(createShareKernelsPass());
  manager.addPass(createCSEPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createVerifyBuffersPass());
}

void registerBuffersPasses(const TargetInfo &target) {
  registerPass(createHoistPreparedPass);
  registerPass([target] { return createAssignBuffersPass(target); });
  registerPass(createShareKernelsPass);
  registerPass(createVerifyBuffersPass);
}

} // namespace marver
