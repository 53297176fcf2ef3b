//===- GraphPipeline.cpp - The passes of the graph stage, in order --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/graph/PrecisionPasses.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/TensorInferTypeOpInterfaceImpl.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace marver;

void marver::registerGraphInterfaces(DialectRegistry &registry) {
  tensor::registerInferTypeOpInterfaceExternalModels(registry);
}

void marver::buildGraphPipeline(OpPassManager &manager,
                                const TargetInfo &target,
                                const GraphOptions &options) {
  OpPassManager &pm = manager.nest<func::FuncOp>();
  auto cleanUp = [&] {
    pm.addPass(createCleanUpPass());
    if (options.optimizationLevel > 0)
      pm.addPass(createHoistInvariantsPass());
    pm.addPass(createCSEPass());
  };
  pm.addPass(createResolveDimsPass());
  pm.addPass(createSimplifyGraphPass());
  pm.addPass(createFoldConstantsPass(/*sizesOnly=*/true));
  cleanUp();
  pm.addPass(createRefineTypesPass());
  pm.addPass(createResolveDimsPass());
  cleanUp();
  if (options.optimizationLevel > 0) {
    pm.addPass(createFoldConstantsPass());
    pm.addPass(createSimplifyGraphPass());
    cleanUp();
    pm.addPass(createRaiseNormalizationPass());
    pm.addPass(createRaiseAttentionPass());
    pm.addPass(createBoundAttentionPass());
    pm.addPass(createWidenContractionsPass());
    pm.addPass(createFoldConstantsPass());
    pm.addPass(createRaiseQuantizedPass(target));
    pm.addPass(createFoldSpaceToDepthPass());
    pm.addPass(createFoldAffinePass());
    pm.addPass(createPackMatmulPass(target));
    pm.addPass(createLayoutPass(target, options.explainLayout));
    if (!options.weights.empty()) {
      const bool inPairs = options.weights == "bf16-pairs";
      pm.addPass(createNarrowWeightsPass(inPairs ? "bf16" : options.weights));
      if (inPairs)
        pm.addPass(createPairContractionsPass(target));
    }
    pm.addPass(createResolveDimsPass());
    cleanUp();
  }
  pm.addPass(createVerifyGraphPass());
}

void marver::registerGraphPasses() {
  registerPass([] { return createCleanUpPass(); });
  registerPass([] { return createHoistInvariantsPass(); });
  registerPass([] { return createFoldConstantsPass(); });
  registerPass([] { return createRefineTypesPass(); });
  registerPass([] { return createResolveDimsPass(); });
  registerPass([] { return createSimplifyGraphPass(); });
  registerPass([] { return createFoldAffinePass(); });
  registerPass([] { return createFoldSpaceToDepthPass(); });
  registerPass([] { return createWidenContractionsPass(); });
  registerPass([] { return createRaiseNormalizationPass(); });
  registerPass([] { return createRaiseAttentionPass(); });
  registerPass([] { return createBoundAttentionPass(); });
  registerPass([] { return createPackMatmulPass({}); });
  registerPass([] { return createLayoutPass({}); });
  registerPass([] { return createNarrowWeightsPass("bf16"); });
  registerPass([] { return createPairContractionsPass({}); });
  registerPass([] { return createRaiseQuantizedPass({}); });
  registerPass([] { return createVerifyGraphPass(); });
}
