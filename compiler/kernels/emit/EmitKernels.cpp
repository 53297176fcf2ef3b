//===- EmitKernels.cpp - Kernels as functions -----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   mv.kernel @k0 "pointwise" {} buffers [...] { ... }
//   ->
//   func.func @k0(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch:
//   !llvm.ptr)
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/EmitKernels.h"

#include "compiler/kernels/emit/KernelEmitter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;

namespace marver {
namespace {

struct EmitKernelsPass : PassWrapper<EmitKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitKernelsPass)

  explicit EmitKernelsPass(const TargetInfo &target) : target(target) {}

  StringRef getArgument() const override { return "mv-emit-kernels"; }
  StringRef getDescription() const override {
    return "Replace kernels by the functions that their families emit";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry
        .insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto kernel :
         llvm::make_early_inc_range(module.getOps<mv::KernelOp>())) {
      if (!kernel.getBuffers()) {
        kernel.emitError(
            "has no buffers: kernels are emitted after that stage");
        return signalPassFailure();
      }
      const KernelFamily *family = findKernelFamily(kernel.getFamily());
      if (!family) {
        kernel.emitError("is of an unknown family: ") << kernel.getFamily();
        return signalPassFailure();
      }
      OwningOpRef<ModuleOp> own = ModuleOp::create(kernel.getLoc());
      KernelEmitter emitter(kernel, *own, target);
      if (failed(family->emit(emitter)))
        return signalPassFailure();
      func::FuncOp function = emitter.finish();
      function->moveBefore(kernel);
      kernel.erase();
    }
  }

  TargetInfo target;
};

} // namespace

std::unique_ptr<Pass> createEmitKernelsPass(const TargetInfo &target) {
  return std::make_unique<EmitKernelsPass>(target);
}

} // namespace marver
