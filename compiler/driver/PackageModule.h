//===- PackageModule.h - The package stage ----------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_PACKAGEMODULE_H
#define MARVER_COMPILER_DRIVER_PACKAGEMODULE_H

#include "compiler/native/Native.h"
#include "compiler/package/ModuleWriter.h"
#include "compiler/package/SidecarWriter.h"
#include "mlir/IR/BuiltinOps.h"
#include <deque>

namespace marver {

/// What the writers of compiler/package take.
struct PackagedModule {
  ModuleContents contents;
  SidecarContents sidecar;
  /// Constants whose bytes had to be made (splats, i1); `contents` and the
  /// attributes of the MLIR module own the rest.
  std::deque<std::vector<char>> expandedConstants;
};

/// Joins the native code with what the module after the buffers stage says of
/// interfaces, constants and source locations. `module` must outlive the
/// result.
llvm::FailureOr<PackagedModule> packageModule(mlir::ModuleOp module,
                                              NativeModule native,
                                              const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_PACKAGEMODULE_H
