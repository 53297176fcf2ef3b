//===- Passes.h - The graph stage -------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Passes of the graph stage, each in the file of its name. They take the IR of
// the import stage and end with what kernel formation accepts (VerifyGraph).
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_PASSES_H
#define MARVER_COMPILER_GRAPH_PASSES_H

#include "compiler/ir/Target.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include <memory>

namespace marver {

struct GraphOptions {
  /// 0: only what is needed for a right result. 2: everything.
  int optimizationLevel = 2;
  /// What contractions' weights are stored as: bf16, int8, or empty (f32).
  std::string weights;
  /// Remarks that say why a value is blocked or is not.
  bool explainLayout = false;
};

/// Evaluates operations whose operands are constants; with `sizesOnly` only
/// small tensors of integers, which compute sizes.
std::unique_ptr<mlir::Pass> createFoldConstantsPass(bool sizesOnly = false);
/// Makes dims static that are known.
std::unique_ptr<mlir::Pass> createRefineTypesPass();
/// Computes before a loop what is the same in all iterations.
std::unique_ptr<mlir::Pass> createHoistInvariantsPass();
/// Resolves tensor.dim to the function's arguments.
std::unique_ptr<mlir::Pass> createResolveDimsPass();
/// Small rewrites of elementwise operations, transposes, pads and slices.
std::unique_ptr<mlir::Pass> createSimplifyGraphPass();
/// Moves scales and shifts of output channels into a convolution's weights.
std::unique_ptr<mlir::Pass> createFoldAffinePass();
/// Makes one strided convolution of a space-to-depth and a convolution.
std::unique_ptr<mlir::Pass> createFoldSpaceToDepthPass();
/// Recognizes attention written as products and softmax.
std::unique_ptr<mlir::Pass> createRaiseAttentionPass();
/// Gives attention the positions that its masks are made from.
std::unique_ptr<mlir::Pass> createBoundAttentionPass();
/// Recognizes softmax and norms written in primitives.
std::unique_ptr<mlir::Pass> createRaiseNormalizationPass();
/// Computes f16 and bf16 contractions with f32 kernels.
std::unique_ptr<mlir::Pass> createWidenContractionsPass();
/// Packs the constant right-hand sides of matrix products.
std::unique_ptr<mlir::Pass> createPackMatmulPass(const TargetInfo &target);
/// Chooses the blocked layout.
std::unique_ptr<mlir::Pass> createLayoutPass(const TargetInfo &target,
                                             bool explain = false);
/// Stores the weights of packed contractions as `weights`: bf16 or int8.
std::unique_ptr<mlir::Pass> createNarrowWeightsPass(llvm::StringRef weights);
/// Checks the stage's contract.
std::unique_ptr<mlir::Pass> createVerifyGraphPass();

/// The passes of the stage, in order.
void buildGraphPipeline(mlir::OpPassManager &manager, const TargetInfo &target,
                        const GraphOptions &options = {});

/// Interfaces that the passes need of upstream operations.
void registerGraphInterfaces(mlir::DialectRegistry &registry);

/// All passes and the pipeline `mv-graph`, for marver-opt.
void registerGraphPasses();

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_PASSES_H
