//===- PrecisionPasses.h - Passes of the graph stage: bf16, int8 *- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_PRECISIONPASSES_H
#define MARVER_COMPILER_GRAPH_PRECISIONPASSES_H

#include "compiler/ir/Target.h"
#include "mlir/Pass/Pass.h"
#include <memory>

namespace marver {

/// Multiplies 8-bit integers where contractions are quantized.
std::unique_ptr<mlir::Pass> createRaiseQuantizedPass(const TargetInfo &target);
/// Rounds the inputs of contractions with bf16 weights to bf16, for a target
/// that has an instruction for their products.
std::unique_ptr<mlir::Pass>
createPairContractionsPass(const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_PRECISIONPASSES_H
