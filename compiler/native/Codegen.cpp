//===- Codegen.cpp - From func, scf and vector to machine code ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Codegen.h"

#include "compiler/native/Target.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <mutex>

using namespace mlir;

namespace marver {

LogicalResult LoweringPool::lower(ModuleOp module) {
  std::unique_ptr<PassManager> manager;
  {
    std::lock_guard<std::mutex> guard(mutex);
    if (!idle.empty()) {
      manager = std::move(idle.back());
      idle.pop_back();
    }
  }
  if (!manager) {
    manager = std::make_unique<PassManager>(context);
    manager->enableVerifier(false);
    buildLowerToLLVMPipeline(*manager);
  }
  LogicalResult result = manager->run(module);
  std::lock_guard<std::mutex> guard(mutex);
  idle.push_back(std::move(manager));
  return result;
}

void registerCodegenDialects(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

/// Attributes that keep code generation within the target and within what an
/// image may hold: no calls made up from loops, no unwind tables, nothing
/// exported.
static void setFunctionAttributes(llvm::Module &module,
                                  const TargetInfo &target) {
  for (llvm::Function &function : module) {
    if (function.isIntrinsic())
      continue;
    function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    function.setDSOLocal(true);
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    if (!target.tuneCpu.empty())
      function.addFnAttr("tune-cpu", target.tuneCpu);
    function.addFnAttr("target-features", target.features);
    // Some CPUs' tuning prefers half of the registers' width for loops that
    // LLVM vectorizes itself; our machine measurements say otherwise.
    function.addFnAttr("prefer-vector-width",
                       std::to_string(target.lanes * 32));
    function.addFnAttr("no-builtins");
    function.addFnAttr("frame-pointer", "none");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.setUWTableKind(llvm::UWTableKind::None);
  }
}

/// LLVM's -O2 pipeline with its vectorizers.
static void optimizeModule(llvm::Module &module, llvm::TargetMachine *machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
  llvm::PassBuilder builder(machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

/// Code generation hoists the constants of an epilogue out of all loops around
/// it, and would then spill the accumulators of the reduction that runs before
/// it to keep them in registers. LLVM can put them back where that happens, but
/// has only a command line option to ask for it.
static void sinkConstantsToAvoidSpills() {
  static std::once_flag once;
  std::call_once(once, [] {
    StringRef name = "sink-insts-to-avoid-spills";
    auto &known = llvm::cl::getRegisteredOptions();
    auto option = known.find(name);
    assert(option != known.end() && "LLVM has lost the option");
    if (option != known.end())
      option->second->addOccurrence(0, name, "true");
  });
}

static LogicalResult emitCode(llvm::Module &module,
                              llvm::TargetMachine &machine,
                              llvm::raw_pwrite_stream &stream,
                              llvm::CodeGenFileType type) {
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type,
                                  /*DisableVerify=*/true))
    return failure();
  passes.run(module);
  return success();
}

/// Writes NAME.EXTENSION to the folder for dumps. What can't be written is not
/// worth ending the compilation for: the driver has checked the folder.
static void dump(const CodegenOptions &options, StringRef name,
                 StringRef extension,
                 llvm::function_ref<void(llvm::raw_ostream &)> print) {
  if (options.dumpFolder.empty())
    return;
  SmallString<128> path(options.dumpFolder);
  llvm::sys::path::append(path, name + extension);
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error)
    print(stream);
}

FailureOr<NativeObject> compileToObject(llvm::Module &module, StringRef name,
                                        const CodegenOptions &options,
                                        bool optimize) {
  sinkConstantsToAvoidSpills();
  double start = secondsNow();
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(options.target, options.optimization > 0);
  setFunctionAttributes(module, options.target);
  if (optimize && options.optimization > 0)
    optimizeModule(module, machine.get());
  dump(options, name, ".ll",
       [&](llvm::raw_ostream &stream) { module.print(stream, nullptr); });
  if (!options.dumpFolder.empty()) {
    // Code generation changes the module, so each kind starts from its own.
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(module);
    SmallVector<char, 0> text;
    llvm::raw_svector_ostream stream(text);
    if (succeeded(emitCode(*copy, *machine, stream,
                           llvm::CodeGenFileType::AssemblyFile)))
      dump(options, name, ".s",
           [&](llvm::raw_ostream &out) { out << stream.str(); });
  }
  NativeObject object;
  object.name = name.str();
  llvm::raw_svector_ostream stream(object.bytes);
  if (failed(emitCode(module, *machine, stream,
                      llvm::CodeGenFileType::ObjectFile)))
    return failure();
  object.codegenSeconds = secondsNow() - start;
  return object;
}

FailureOr<NativeObject> compileToObject(ModuleOp module, StringRef name,
                                        const CodegenOptions &options,
                                        LoweringPool &pool) {
  double start = secondsNow();
  MLIRContext *context = module.getContext();
  dump(options, name, ".mlir",
       [&](llvm::raw_ostream &stream) { module.print(stream); });
  bool optimize =
      llvm::any_of(module.getOps<func::FuncOp>(), [](auto function) {
        return function->hasAttr(kOptimizeAttr);
      });
  // Known before lowering: the alignment of every load and store without an
  // explicit one comes from the data layout.
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(options.target);
  module->setAttr(
      LLVM::LLVMDialect::getDataLayoutAttrName(),
      StringAttr::get(context,
                      machine->createDataLayout().getStringRepresentation()));
  module->setAttr(LLVM::LLVMDialect::getTargetTripleAttrName(),
                  StringAttr::get(context, options.target.triple));
  if (failed(pool.lower(module)))
    return failure();

  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> translated =
      translateModuleToLLVMIR(module, llvmContext, name);
  if (!translated)
    return failure();
  double lowered = secondsNow();
  auto object = compileToObject(*translated, name, options, optimize);
  if (succeeded(object))
    object->lowerSeconds = lowered - start;
  return object;
}

} // namespace marver
