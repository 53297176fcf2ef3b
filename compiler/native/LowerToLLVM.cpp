//===- LowerToLLVM.cpp - From func, scf, vector and memref to LLVM --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a dozen upstream conversion passes do, as one pass: their patterns are
// collected once and then serve every kernel, where most of the time of small
// modules would go into collecting them again.
//
//   scf.for, vector.fma, memref.subview, ...  ->  llvm.br, llvm.intr.fma, ...
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Codegen.h"

#include "mlir/Analysis/DataLayoutAnalysis.h"
#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Dialect/Vector/Transforms/VectorRewritePatterns.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace marver {
namespace {

/// Views of memrefs become addresses and arithmetic, vector operations those
/// that LLVM has a counterpart for.
FrozenRewritePatternSet collectPreparation(MLIRContext *context) {
  RewritePatternSet patterns(context);
  memref::populateExpandStridedMetadataPatterns(patterns);
  populateAffineToStdConversionPatterns(patterns);
  arith::populateCeilFloorDivExpandOpsPatterns(patterns);
  vector::populateVectorBitCastLoweringPatterns(patterns);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  vector::populateVectorMaskOpLoweringPatterns(patterns);
  vector::populateVectorShapeCastLoweringPatterns(patterns);
  vector::populateVectorInterleaveLoweringPatterns(patterns);
  vector::populateVectorTransposeLoweringPatterns(
      patterns, vector::VectorTransposeLowering::EltWise);
  vector::populateVectorStepLoweringPatterns(patterns);
  vector::populateVectorRankReducingFMAPattern(patterns);
  vector::populateVectorMaskMaterializationPatterns(
      patterns, /*force32BitVectorIndices=*/false);
  vector::populateVectorInsertExtractStridedSliceTransforms(patterns);
  return patterns;
}

FrozenRewritePatternSet collectControlFlow(MLIRContext *context) {
  RewritePatternSet patterns(context);
  populateSCFToControlFlowConversionPatterns(patterns);
  return patterns;
}

FrozenRewritePatternSet collectConversion(MLIRContext *context,
                                          LLVMTypeConverter &converter) {
  RewritePatternSet patterns(context);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  index::populateIndexToLLVMConversionPatterns(converter, patterns);
  populateFinalizeMemRefToLLVMConversionPatterns(converter, patterns);
  populateFuncToLLVMConversionPatterns(converter, patterns);
  // An intrinsic where there is one; else a call that the support library
  // answers.
  populateMathToLLVMConversionPatterns(converter, patterns,
                                       /*approximateLog1p=*/false,
                                       /*benefit=*/2);
  populateMathToLibmConversionPatterns(patterns, /*benefit=*/1);
  populateVectorToLLVMConversionPatterns(converter, patterns);
  ub::populateUBToLLVMConversionPatterns(converter, patterns);
  return patterns;
}

struct LowerToLLVMPass : PassWrapper<LowerToLLVMPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerToLLVMPass)

  LowerToLLVMPass() = default;
  // Patterns are collected anew.
  LowerToLLVMPass(const LowerToLLVMPass &other) : PassWrapper(other) {}

  StringRef getName() const override { return "mv-convert-to-llvm"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry
        .insert<LLVM::LLVMDialect, cf::ControlFlowDialect, arith::ArithDialect,
                vector::VectorDialect, affine::AffineDialect>();
  }

  LogicalResult initialize(MLIRContext *context) override {
    LowerToLLVMOptions options(context);
    converter = std::make_unique<LLVMTypeConverter>(context, options);
    preparation = collectPreparation(context);
    controlFlow = collectControlFlow(context);
    conversion = collectConversion(context, *converter);
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    GreedyRewriteConfig config;
    config.enableFolding();
    if (failed(applyPatternsGreedily(module, preparation, config)))
      return signalPassFailure();

    ConversionTarget noLoops(getContext());
    noLoops.markUnknownOpDynamicallyLegal(
        [](Operation *op) { return !isa<scf::SCFDialect>(op->getDialect()); });
    if (failed(applyPartialConversion(module, noLoops, controlFlow)))
      return signalPassFailure();

    LLVMConversionTarget onlyLLVM(getContext());
    onlyLLVM.addLegalOp<ModuleOp>();
    SmallVector<UnrealizedConversionCastOp> casts;
    if (failed(applyPartialConversion(module, onlyLLVM, conversion)))
      return signalPassFailure();
    module.walk(
        [&](UnrealizedConversionCastOp cast) { casts.push_back(cast); });
    reconcileUnrealizedCasts(casts);
    WalkResult left = module.walk([](Operation *op) {
      if (isa<ModuleOp>(op) || isa<LLVM::LLVMDialect>(op->getDialect()))
        return WalkResult::advance();
      op->emitError() << op->getName() << " was not lowered to LLVM";
      return WalkResult::interrupt();
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }

private:
  std::unique_ptr<LLVMTypeConverter> converter;
  FrozenRewritePatternSet preparation, controlFlow, conversion;
};

} // namespace

void buildLowerToLLVMPipeline(OpPassManager &manager) {
  // Emitters make a constant wherever they need one: merging them first leaves
  // the canonicalizer a tenth of the operations.
  manager.addPass(createCSEPass());
  GreedyRewriteConfig config;
  config.setUseTopDownTraversal(false);
  config.setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
  manager.addPass(createCanonicalizerPass(config));
  manager.addPass(createLoopInvariantCodeMotionPass());
  manager.addPass(std::make_unique<LowerToLLVMPass>());
  manager.addPass(createCSEPass());
}

} // namespace marver
