//===- Passes.h - Passes of the kernels stage -------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_PASSES_H
#define MARVER_COMPILER_KERNELS_PASSES_H

#include "compiler/ir/Target.h"
#include "mlir/Pass/PassManager.h"

namespace marver {

struct FormKernelsOptions {
  /// Put epilogues, halos and prologues into the kernels (-O2). Without, every
  /// operation is a kernel of its own.
  bool fuse = true;
};

struct ConvolutionOptions {
  /// Only the definition: no algorithm that rounds differently.
  bool exact = false;
  /// Winograd's transformed weights are constants of the module instead of
  /// being made when it is loaded.
  bool storeWeights = false;
};

/// Turns convolutions into Winograd's where that is faster.
std::unique_ptr<mlir::Pass>
createChooseConvolutionsPass(const TargetInfo &target,
                             const ConvolutionOptions &options = {});

/// Cuts every function into kernels and the launches of them.
std::unique_ptr<mlir::Pass>
createFormKernelsPass(const TargetInfo &target,
                      const FormKernelsOptions &options = {});

/// Checks the contract of the kernels stage.
std::unique_ptr<mlir::Pass> createVerifyKernelsPass();

/// The passes of the stage, in order.
void buildKernelsPipeline(mlir::OpPassManager &manager,
                          const TargetInfo &target,
                          const FormKernelsOptions &options = {},
                          const ConvolutionOptions &convolutions = {});

/// Makes the stage's passes known to marver-opt, for the target it was given.
void registerKernelsPasses(const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_PASSES_H
