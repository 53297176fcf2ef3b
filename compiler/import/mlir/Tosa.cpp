//===- Tosa.cpp - Models in TOSA ------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/Tosa.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/TosaToLinalg/TosaToLinalg.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace marver {

void loadTosa(MLIRContext *context) {
  context->loadDialect<tosa::TosaDialect>();
}

LogicalResult lowerTosa(ModuleOp module) {
  WalkResult walk = module.walk([](Operation *op) {
    return isa_and_present<tosa::TosaDialect>(op->getDialect())
               ? WalkResult::interrupt()
               : WalkResult::advance();
  });
  if (!walk.wasInterrupted())
    return success();
  PassManager passes(module.getContext());
  tosa::addTosaToLinalgPasses(passes, TosaToLinalgOptions(),
                              TosaToLinalgNamedOptions(),
                              /*validationOptions=*/std::nullopt);
  passes.addNestedPass<func::FuncOp>(createTosaToArithPass());
  passes.addNestedPass<func::FuncOp>(createTosaToTensorPass());
  passes.addNestedPass<func::FuncOp>(createTosaToSCFPass());
  passes.addPass(createCSEPass()); // shapes that nothing uses any more
  return passes.run(module);
}

} // namespace marver
