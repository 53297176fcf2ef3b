//===- VerifyKernels.cpp - Contract of the kernels stage ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// After kernel formation a function only computes scalars, looks at tensors
// (views, concats, constants) and launches kernels; whatever computes a tensor
// is inside an mv.kernel.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/form/Grouping.h"

using namespace mlir;

namespace marver {
namespace {

struct VerifyKernelsPass
    : public PassWrapper<VerifyKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(VerifyKernelsPass)

  StringRef getArgument() const override { return "mv-verify-kernels"; }
  StringRef getDescription() const override {
    return "Check the contract of the kernels stage";
  }

  void runOnOperation() override {
    WalkResult result =
        getOperation().walk<WalkOrder::PreOrder>([](Operation *op) {
          if (isa<mv::KernelOp>(op))
            return WalkResult::skip();
          Role role = classify(op);
          if ((role == Role::Pointwise || role == Role::Anchor) &&
              !isRepeated(op)) {
            op->emitOpError("computes a tensor outside of a kernel");
            return WalkResult::interrupt();
          }
          return WalkResult::advance();
        });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> createVerifyKernelsPass() {
  return std::make_unique<VerifyKernelsPass>();
}

void buildKernelsPipeline(OpPassManager &manager, const TargetInfo &target,
                          const FormKernelsOptions &options,
                          const ConvolutionOptions &convolutions) {
  manager.addNestedPass<func::FuncOp>(
      createChooseConvolutionsPass(target, convolutions));
  manager.addPass(createFormKernelsPass(target, options));
  manager.addPass(createCSEPass());
  manager.addPass(createCleanUpPass());
  manager.addPass(createVerifyKernelsPass());
}

void registerKernelsPasses(const TargetInfo &target) {
  registerPass([target] { return createChooseConvolutionsPass(target); });
  registerPass([target] { return createFormKernelsPass(target); });
  registerPass(createVerifyKernelsPass);
}

} // namespace marver
