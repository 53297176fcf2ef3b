//===- ShareKernels.cpp - Merge kernels with equal code -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A network repeats its blocks: kernels with the same family, schedule, buffer
// layouts and region differ in number only. The first stays, launches of the
// others name it:
//
//   mv.launch @k3(...)  ->  mv.launch @k1(...)
//
// Kernels that nothing launches any more go; the others are numbered anew, in
// the order in which they stand.
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Passes.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/IR/OperationSupport.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace marver {
namespace {

constexpr auto kIgnoreLocations = OperationEquivalence::IgnoreLocations;

struct ShareKernelsPass
    : public PassWrapper<ShareKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ShareKernelsPass)

  StringRef getArgument() const override { return "mv-share-kernels"; }
  StringRef getDescription() const override {
    return "Merge kernels whose code would be the same";
  }

  static llvm::hash_code hash(mv::KernelOp kernel) {
    llvm::hash_code code = llvm::hash_combine(
        kernel.getFamily(), kernel.getSchedule(), kernel.getBuffersAttr());
    for (Operation &op : kernel.getBlock())
      code = llvm::hash_combine(code, op.getName(), op.getNumOperands(),
                                op.getRawDictionaryAttrs());
    return code;
  }

  static bool equal(mv::KernelOp a, mv::KernelOp b) {
    return a.getFamily() == b.getFamily() &&
           a.getSchedule() == b.getSchedule() &&
           a.getBuffersAttr() == b.getBuffersAttr() &&
           OperationEquivalence::isRegionEquivalentTo(
               &a.getBody(), &b.getBody(), kIgnoreLocations);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    DenseMap<size_t, SmallVector<mv::KernelOp>> kept;
    llvm::StringMap<std::string> renamed;
    llvm::StringSet<> launched;
    module.walk(
        [&](mv::LaunchOp launch) { launched.insert(launch.getKernel()); });
    int64_t number = 0;
    for (auto kernel :
         llvm::make_early_inc_range(module.getOps<mv::KernelOp>())) {
      if (!launched.contains(kernel.getSymName())) {
        kernel.erase();
        continue;
      }
      SmallVector<mv::KernelOp> &candidates = kept[size_t(hash(kernel))];
      auto same = llvm::find_if(
          candidates, [&](mv::KernelOp other) { return equal(kernel, other); });
      if (same != candidates.end()) {
        renamed[kernel.getSymName()] = same->getSymName().str();
        kernel.erase();
        continue;
      }
      std::string name = ("k" + Twine(number++)).str();
      renamed[kernel.getSymName()] = name;
      kernel.setSymName(name);
      candidates.push_back(kernel);
    }
    module.walk([&](mv::LaunchOp launch) {
      launch.setKernel(renamed.lookup(launch.getKernel()));
    });
  }
};

} // namespace

std::unique_ptr<Pass> createShareKernelsPass() {
  return std::make_unique<ShareKernelsPass>();
}

} // namespace marver
