//===- SupportLibrary.cpp - Functions that code generation calls ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/native/SupportLibrary.h"

#include "marver/abi.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/PassManager.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Transforms/IPO/GlobalDCE.h"
#include "llvm/Transforms/IPO/Internalize.h"

using namespace llvm;

namespace marver {
namespace {

constexpr char kX86Bitcode[] = {
#include "compiler/native/x86_64/SupportBitcode.inc"
};
constexpr char kArmBitcode[] = {
#include "compiler/native/aarch64/SupportBitcode.inc"
};

MemoryBufferRef bitcodeFor(uint32_t arch) {
  return {arch == MV_ARCH_AARCH64 ? StringRef(kArmBitcode, sizeof(kArmBitcode))
                                  : StringRef(kX86Bitcode, sizeof(kX86Bitcode)),
          "support"};
}

/// Names of the functions in the bitcode, the same for all architectures.
const StringSet<> &functionNames() {
  static const StringSet<> *names = [] {
    auto *found = new StringSet<>();
    LLVMContext context;
    auto module =
        cantFail(getLazyBitcodeModule(bitcodeFor(MV_ARCH_X86_64), context));
    for (const Function &function : *module)
      if (!function.isDeclaration() && function.hasExternalLinkage())
        found->insert(function.getName());
    return found;
  }();
  return *names;
}

/// Leaves only the functions called `names` and what they reach.
void keepOnly(Module &module, ArrayRef<std::string> names) {
  StringSet<> kept;
  for (StringRef name : names)
    kept.insert(name);
  ModuleAnalysisManager analyses;
  PassBuilder builder;
  builder.registerModuleAnalyses(analyses);
  ModulePassManager passes;
  passes.addPass(InternalizePass([&](const GlobalValue &value) {
    return kept.contains(value.getName());
  }));
  passes.addPass(GlobalDCEPass());
  passes.run(module, analyses);
}

} // namespace

bool isSupportFunction(StringRef name) {
  return functionNames().contains(name);
}

Expected<NativeObject> compileSupportFunctions(ArrayRef<std::string> names,
                                               const CodegenOptions &options) {
  LLVMContext context;
  auto module = parseBitcodeFile(bitcodeFor(options.target.arch), context);
  if (!module)
    return module.takeError();
  keepOnly(**module, names);
  auto object = compileToObject(**module, "support", options,
                                /*optimizeModule=*/false);
  if (failed(object))
    return createStringError(inconvertibleErrorCode(),
                             "the support library does not compile");
  return std::move(*object);
}

} // namespace marver
