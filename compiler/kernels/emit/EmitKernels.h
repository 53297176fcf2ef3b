//===- EmitKernels.h - Kernels as functions ---------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_EMITKERNELS_H
#define MARVER_COMPILER_KERNELS_EMIT_EMITKERNELS_H

#include "compiler/ir/Target.h"
#include "mlir/Pass/Pass.h"

namespace marver {

/// Replaces each mv.kernel of a module by the function that its family emits.
/// For tests and for those who look at kernels: the native stage emits each
/// kernel into a module of its own.
std::unique_ptr<mlir::Pass> createEmitKernelsPass(const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_EMITKERNELS_H
