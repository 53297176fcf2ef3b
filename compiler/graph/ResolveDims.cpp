//===- ResolveDims.cpp - Dims as arithmetic on the arguments' dims --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches tensor.dim of any operation's result. Makes the operation's own
// answer (ReifyRankedShapedTypeOpInterface), so that no tensor is computed or
// kept for its size.
//
//   %c = mv.conv %x, %w {strides = 2, ...} : (tensor<?x3x?x?xf32>, ...) -> ...
//   %h = tensor.dim %c, %c2
// becomes
//   %h0 = tensor.dim %x, %c2
//   %h = affine.apply (d0 - 1) floordiv 2 + 1 (%h0)
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace marver;

namespace {

struct ResolveDims : PassWrapper<ResolveDims, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ResolveDims)
  StringRef getArgument() const override { return "mv-resolve-dims"; }
  StringRef getDescription() const override {
    return "Express tensor.dim of results by dims of arguments";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
    registerGraphInterfaces(registry);
  }

  void runOnOperation() override {
    if (failed(resolveDims(getOperation())))
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> marver::createResolveDimsPass() {
  return std::make_unique<ResolveDims>();
}
