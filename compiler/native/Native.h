//===- Native.h - The native stage ------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_NATIVE_H
#define MARVER_COMPILER_NATIVE_NATIVE_H

#include "compiler/native/Codegen.h"
#include "compiler/native/Linker.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include <optional>

namespace marver {

/// A module's native code: what the package stage stores.
struct NativeModule {
  NativeImage image;
  /// One per entry point: offsets of its functions in the image and the scratch
  /// memory that its kernels need of each thread.
  struct Entry {
    uint64_t run = 0;
    uint64_t shape = 0;
    uint64_t scratchBytes = 0;
  };
  llvm::SmallVector<Entry> entries;

  /// What runs once per load, if anything does.
  struct Prepare {
    uint64_t code;         ///< the function's offset in the image
    uint64_t bytes;        ///< that it writes
    uint64_t scratchBytes; ///< of each thread
  };
  std::optional<Prepare> prepare;

  /// Where the stage's time went, for --time.
  struct Times {
    double emit = 0, lower = 0, codegen = 0; ///< summed over all threads
    double link = 0;
    std::vector<std::pair<double, std::string>> slowest; ///< kernels
  };
  Times times;
};

/// Compiles a module that the buffers stage is done with. Each launch gets its
/// number here (attribute `number`), in the order of the host functions: by it
/// the sidecar and profiles know the launch. Failures are bugs of the compiler;
/// they are reported on the kernel.
llvm::FailureOr<NativeModule> compileNative(mlir::ModuleOp module,
                                            const CodegenOptions &options);

/// A pass (`mv-number-places`) that gives each operation that can fail while
/// the model runs its number (attribute `mv.place`, from 1), by which the
/// sidecar knows its source location. Operations that have one keep it.
std::unique_ptr<mlir::Pass> createNumberPlacesPass();

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_NATIVE_H
