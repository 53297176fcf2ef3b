//===- Passes.h - Passes of the buffers stage -------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The buffers stage gives every tensor of a host function its memory. After it
//
// * an entry point has no arguments and no results: it reads inputs and writes
//   outputs through mv.buffer; what it had is kept in its attributes
//   `mv.inputs` and `mv.outputs`, arrays of dictionaries with `type` (the
//   tensor type) and the argument's own attributes;
// * `mv.shape` names the function that computes the outputs' dims and the
//   arena's size from the inputs' dims (all of type index, flattened);
// * the function with `mv.prepare`, if there is one, makes once per load what
//   entry points read as mv.buffer prepared; `mv.prepared_bytes` is its size;
// * the module's `mv.constants` holds the constants that mv.buffer refers to;
// * every mv.launch is in destination style and every mv.kernel knows the
//   layouts of its buffers; kernels with equal bodies are one.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_PASSES_H
#define MARVER_COMPILER_BUFFERS_PASSES_H

#include "compiler/ir/Target.h"
#include "mlir/Pass/PassManager.h"

namespace marver {

/// Moves launches that read only constants to the prepare function.
std::unique_ptr<mlir::Pass> createHoistPreparedPass();

/// Gives every tensor a destination and plans the arena.
std::unique_ptr<mlir::Pass> createAssignBuffersPass(const TargetInfo &target);

/// Merges kernels whose code would be the same.
std::unique_ptr<mlir::Pass> createShareKernelsPass();

/// Checks the contract of the buffers stage.
std::unique_ptr<mlir::Pass> createVerifyBuffersPass();

/// The passes of the stage, in order.
void buildBuffersPipeline(mlir::OpPassManager &manager,
                          const TargetInfo &target);

/// Makes the stage's passes known to marver-opt, for the target it was given.
void registerBuffersPasses(const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_PASSES_H
