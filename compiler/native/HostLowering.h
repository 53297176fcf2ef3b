//===- HostLowering.h - Host functions as native functions ------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_HOSTLOWERING_H
#define MARVER_COMPILER_NATIVE_HOSTLOWERING_H

#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/Pass.h"

namespace marver {

/// Where the constants of the module's `mv.constants` lie in the constants
/// section: one after the other, each aligned to MV_ALIGNMENT.
struct ConstantLayout {
  llvm::SmallVector<uint64_t> offsets; ///< by number
  uint64_t bytes = 0;                  ///< of the whole section

  explicit ConstantLayout(mlir::ModuleOp module);
};

/// The entry points of a module after the buffers stage, in order. Entry N
/// becomes the native functions `run<N>` and `shape<N>`.
llvm::SmallVector<mlir::func::FuncOp> getEntryPoints(mlir::ModuleOp module);

/// The function that runs once per load, or null; it becomes the native
/// function `prepare`.
mlir::func::FuncOp getPrepareFunction(mlir::ModuleOp module);

/// Makes a module with the native functions of all entry points of `module` in
/// func, cf, arith, memref and llvm; kernels are declared. The signatures are
/// those of mv_run_fn and mv_shape_fn (abi.h).
llvm::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
lowerHostFunctions(mlir::ModuleOp module);

/// The same as a pass (`mv-lower-host`), for tests.
std::unique_ptr<mlir::Pass> createLowerHostPass();
void registerNativePasses();

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_HOSTLOWERING_H
