//===- Codegen.h - From func, scf and vector to machine code ----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A module of functions in func, scf, cf, arith, math, vector, index and llvm
// (what emitters write and what the host functions are lowered to) becomes an
// object file in memory. Modules are independent of each other, so that many
// are compiled at once.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_CODEGEN_H
#define MARVER_COMPILER_NATIVE_CODEGEN_H

#include "compiler/ir/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace marver {

/// Unit attribute of a function that consists of plain scalar loops: LLVM's
/// mid-level passes (loop and SLP vectorizers) run on its module. Everything
/// else is emitted in its final form and goes straight to code generation.
constexpr llvm::StringLiteral kOptimizeAttr = "mv.optimize";

struct CodegenOptions {
  TargetInfo target;
  int optimization = 2;
  /// Where to write NAME.mlir, NAME.ll and NAME.s of each module; empty: no.
  std::string dumpFolder;
};

/// Machine code of one module.
struct NativeObject {
  std::string name; ///< for messages
  llvm::SmallVector<char, 0> bytes;
  /// Seconds that its parts took: the emitter, MLIR down to LLVM IR, machine
  /// code.
  double emitSeconds = 0, lowerSeconds = 0, codegenSeconds = 0;
};

/// Seconds since some point in the past.
inline double secondsNow() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Adds the passes that turn func, scf, cf, arith, math, vector and index into
/// the LLVM dialect.
void buildLowerToLLVMPipeline(mlir::OpPassManager &manager);

/// Pass managers that are ready to lower a module, one for each thread that
/// asks for one at the same time: making one ready takes longer than a small
/// kernel.
class LoweringPool {
public:
  explicit LoweringPool(mlir::MLIRContext *context) : context(context) {}

  llvm::LogicalResult lower(mlir::ModuleOp module);

private:
  mlir::MLIRContext *context;
  std::mutex mutex;
  std::vector<std::unique_ptr<mlir::PassManager>> idle;
};

/// What translating the LLVM dialect to LLVM IR needs in the context.
void registerCodegenDialects(mlir::DialectRegistry &registry);

/// Compiles `module`, which is consumed (left in the LLVM dialect).
llvm::FailureOr<NativeObject> compileToObject(mlir::ModuleOp module,
                                              llvm::StringRef name,
                                              const CodegenOptions &options,
                                              LoweringPool &pool);

/// Machine code of an LLVM module whose triple and data layout are set: gives
/// its functions the target's attributes and generates code.
llvm::FailureOr<NativeObject> compileToObject(llvm::Module &module,
                                              llvm::StringRef name,
                                              const CodegenOptions &options,
                                              bool optimizeModule);

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_CODEGEN_H
