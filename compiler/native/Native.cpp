//===- Native.cpp - The native stage --------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each kernel is written by its family's emitter into a module of its own,
// lowered and compiled, many at once; so are the host functions. The objects
// are linked in the order of the module, so that the image does not depend on
// which thread was faster.
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Native.h"

#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/emit/KernelEmitter.h"
#include "compiler/native/HostLowering.h"
#include "mlir/IR/Threading.h"

using namespace mlir;

namespace marver {
namespace {

/// Object code of `kernel`.
FailureOr<NativeObject> compileKernel(mv::KernelOp kernel,
                                      const CodegenOptions &options,
                                      LoweringPool &pool) {
  const KernelFamily *family = findKernelFamily(kernel.getFamily());
  if (!family)
    return kernel.emitError("no emitter for the family '")
           << kernel.getFamily() << "'";
  double start = secondsNow();
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernel.getLoc());
  KernelEmitter emitter(kernel, *module, options.target);
  if (failed(family->emit(emitter)))
    return kernel.emitError("the emitter of the family '")
           << kernel.getFamily() << "' failed on " << kernel.getSymName();
  emitter.finish();
  double emitted = secondsNow();
  auto object = compileToObject(*module, kernel.getSymName(), options, pool);
  if (failed(object))
    return kernel.emitError("no code for ") << kernel.getSymName();
  object->emitSeconds = emitted - start;
  return object;
}

/// Sums of the objects' times, and the few that took the longest.
NativeModule::Times sumTimes(ArrayRef<NativeObject> objects,
                             ArrayRef<mv::KernelOp> kernels) {
  NativeModule::Times times;
  for (auto [number, object] : llvm::enumerate(objects)) {
    times.emit += object.emitSeconds;
    times.lower += object.lowerSeconds;
    times.codegen += object.codegenSeconds;
    StringRef family = number == 0
                           ? "functions"
                           : mv::KernelOp(kernels[number - 1]).getFamily();
    times.slowest.emplace_back(object.emitSeconds + object.lowerSeconds +
                                   object.codegenSeconds,
                               (object.name + " " + family).str());
  }
  llvm::sort(times.slowest, std::greater<>());
  times.slowest.resize(std::min<size_t>(times.slowest.size(), 5));
  return times;
}

void numberLaunches(ArrayRef<func::FuncOp> entries) {
  int64_t next = 0;
  for (func::FuncOp entry : entries) {
    Builder b(entry.getContext());
    entry.walk([&](mv::LaunchOp launch) {
      launch->setAttr("number", b.getI64IntegerAttr(next++));
    });
  }
}

} // namespace

FailureOr<NativeModule> compileNative(ModuleOp module,
                                      const CodegenOptions &options) {
  SmallVector<func::FuncOp> entries = getEntryPoints(module);
  numberLaunches(entries);
  auto host = lowerHostFunctions(module);
  if (failed(host))
    return failure();

  // The host functions first: with many launches they take the longest.
  SmallVector<mv::KernelOp> kernels(module.getOps<mv::KernelOp>());
  SmallVector<NativeObject> objects(kernels.size() + 1);
  LoweringPool pool(module.getContext());
  auto compileOne = [&](size_t number) -> LogicalResult {
    FailureOr<NativeObject> object =
        number == 0 ? compileToObject(**host, "host", options, pool)
                    : compileKernel(kernels[number - 1], options, pool);
    if (failed(object))
      return failure();
    objects[number] = std::move(*object);
    return success();
  };
  if (failed(failableParallelForEachN(module.getContext(), 0, objects.size(),
                                      compileOne)))
    return failure();

  NativeModule native;
  native.times = sumTimes(objects, kernels);
  double start = secondsNow();
  auto image = linkImage(objects, options);
  if (!image)
    return module.emitError(toString(image.takeError()));
  native.times.link = secondsNow() - start;
  native.image = std::move(*image);

  SymbolTable symbols(module);
  auto scratchOf = [&](func::FuncOp function) {
    uint64_t bytes = 0;
    function.walk([&](mv::LaunchOp launch) {
      auto kernel = symbols.lookup<mv::KernelOp>(launch.getKernel());
      const KernelFamily *family = findKernelFamily(kernel.getFamily());
      if (family->scratchBytes)
        bytes = std::max<uint64_t>(
            bytes, family->scratchBytes(kernel, options.target));
    });
    return bytes;
  };
  if (func::FuncOp prepare = getPrepareFunction(module)) {
    native.prepare = NativeModule::Prepare{
        native.image.symbols.lookup("prepare"),
        static_cast<uint64_t>(
            module->getAttrOfType<IntegerAttr>("mv.prepared_bytes").getInt()),
        scratchOf(prepare)};
  }
  for (auto [number, entry] : llvm::enumerate(entries)) {
    NativeModule::Entry info;
    info.run = native.image.symbols.lookup(("run" + Twine(number)).str());
    info.shape = native.image.symbols.lookup(("shape" + Twine(number)).str());
    info.scratchBytes = scratchOf(entry);
    native.entries.push_back(info);
  }
  return native;
}

} // namespace marver
