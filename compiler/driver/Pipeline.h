//===- Pipeline.h - The stages of the compiler ------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_PIPELINE_H
#define MARVER_COMPILER_DRIVER_PIPELINE_H

#include "compiler/ir/Target.h"
#include "compiler/kernels/Passes.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include <optional>

namespace marver {

/// In the order in which a model goes through them.
enum class Stage { Import, Graph, Kernels, Buffers, Native, Package };
constexpr Stage kStages[] = {Stage::Import,  Stage::Graph,  Stage::Kernels,
                             Stage::Buffers, Stage::Native, Stage::Package};

llvm::StringRef stageName(Stage stage);
std::optional<Stage> parseStage(llvm::StringRef name);

struct PipelineOptions {
  TargetInfo target;
  /// 0: nothing that only makes the code faster; 2: everything.
  int optimization = 2;
  /// What contractions' weights are stored as: bf16, int8, or empty (f32).
  std::string weights;
  /// Contractions multiply bf16 operands; `weights` is bf16.
  bool bf16Contractions = false;
  /// How convolutions may be computed.
  ConvolutionOptions convolutions;
};

/// Adds the passes of a stage that works on MLIR alone (graph, kernels,
/// buffers), its verifier last. Import, native and package are not passes: they
/// start from, or end in, something that is no MLIR module.
void buildStagePipeline(mlir::OpPassManager &manager, Stage stage,
                        const PipelineOptions &options);

/// All dialects, and interfaces implemented outside of them, that the stages
/// need.
void registerDialects(mlir::DialectRegistry &registry);

/// Every pass under its own name and every stage as `mv-stage-NAME`, for
/// marver-opt.
void registerPassesAndStages();

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_PIPELINE_H
