//===- Pipeline.cpp - The stages of the compiler --------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every pass of the compiler in the order in which it runs. What a stage
// promises at its end is in docs/architecture.md.
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Pipeline.h"

#include "compiler/buffers/Passes.h"
#include "compiler/graph/Passes.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Passes.h"
#include "compiler/kernels/emit/EmitKernels.h"
#include "compiler/native/Codegen.h"
#include "compiler/native/HostLowering.h"
#include "compiler/native/Native.h"
#include "compiler/native/Target.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/Transforms/Passes.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace marver {

StringRef stageName(Stage stage) {
  switch (stage) {
  case Stage::Import:
    return "import";
  case Stage::Graph:
    return "graph";
  case Stage::Kernels:
    return "kernels";
  case Stage::Buffers:
    return "buffers";
  case Stage::Native:
    return "native";
  case Stage::Package:
    return "package";
  }
  llvm_unreachable("all stages are named");
}

std::optional<Stage> parseStage(StringRef name) {
  for (Stage stage : kStages)
    if (stageName(stage) == name)
      return stage;
  return std::nullopt;
}

static void buildGraphPipeline(OpPassManager &manager,
                               const PipelineOptions &options) {
  GraphOptions graph;
  graph.optimizationLevel = options.optimization;
  graph.weights = options.bf16Contractions ? "bf16-pairs" : options.weights;
  marver::buildGraphPipeline(manager, options.target, graph);
}

static void buildKernelsPipeline(OpPassManager &manager,
                                 const PipelineOptions &options) {
  FormKernelsOptions form;
  form.fuse = options.optimization > 0;
  marver::buildKernelsPipeline(manager, options.target, form,
                               options.convolutions);
}

static void buildBuffersPipeline(OpPassManager &manager,
                                 const PipelineOptions &options) {
  // Before kernels are shared, and once more for the checks of the shapes.
  manager.addPass(createNumberPlacesPass());
  marver::buildBuffersPipeline(manager, options.target);
  manager.addPass(createNumberPlacesPass());
}

void buildStagePipeline(OpPassManager &manager, Stage stage,
                        const PipelineOptions &options) {
  switch (stage) {
  case Stage::Graph:
    return buildGraphPipeline(manager, options);
  case Stage::Kernels:
    return buildKernelsPipeline(manager, options);
  case Stage::Buffers:
    return buildBuffersPipeline(manager, options);
  case Stage::Import:
  case Stage::Native:
  case Stage::Package:
    return;
  }
}

void registerDialects(DialectRegistry &registry) {
  registry.insert<mv::MvDialect, affine::AffineDialect, arith::ArithDialect,
                  cf::ControlFlowDialect, func::FuncDialect,
                  linalg::LinalgDialect, LLVM::LLVMDialect, math::MathDialect,
                  memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect,
                  ub::UBDialect, vector::VectorDialect>();
  func::registerInlinerExtension(registry);
  registerCodegenDialects(registry);
  registerGraphInterfaces(registry);
}

namespace {

/// `--mv-stage-graph='target-cpu=x86-64-v3 optimization=2'`.
struct StageOptions : PassPipelineOptions<StageOptions> {
  Option<std::string> targetCpu{*this, "target-cpu",
                                llvm::cl::desc("CPU to compile for"),
                                llvm::cl::init("x86-64-v4")};
  Option<int> optimization{*this, "optimization",
                           llvm::cl::desc("0 or 2, as marver-compile's -O"),
                           llvm::cl::init(2)};
};

} // namespace

/// The target that a stage's options name.
static TargetInfo targetOf(const StageOptions &given) {
  std::string error;
  std::optional<TargetInfo> target = selectTarget(given.targetCpu, error);
  if (!target)
    llvm::report_fatal_error(StringRef(error), /*gen_crash_diag=*/false);
  return *target;
}

void registerPassesAndStages() {
  registerTransformsPasses();
  registerLinalgPasses();
  registerConversionPasses();
  memref::registerMemRefPasses();
  arith::registerArithPasses();
  tensor::registerTensorPasses();
  registerNativePasses();
  registerGraphPasses();

  static std::vector<std::unique_ptr<PassPipelineRegistration<StageOptions>>>
      registrations;
  for (Stage stage : {Stage::Graph, Stage::Kernels, Stage::Buffers}) {
    std::string name = ("mv-stage-" + stageName(stage)).str();
    registrations.push_back(
        std::make_unique<PassPipelineRegistration<StageOptions>>(
            name, ("All passes of the stage " + stageName(stage)).str(),
            [stage](OpPassManager &manager, const StageOptions &given) {
              PipelineOptions options;
              options.target = targetOf(given);
              options.optimization = given.optimization;
              buildStagePipeline(manager, stage, options);
            }));
  }
  static PassPipelineRegistration<StageOptions> emitKernels(
      "mv-emit-kernels", "Replace kernels by the functions of their families",
      [](OpPassManager &manager, const StageOptions &given) {
        manager.addPass(createEmitKernelsPass(targetOf(given)));
      });
}

} // namespace marver
