//===- HoistPrepared.cpp - Do once per load what can be -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A launch that reads only constants has the same result in every run. What the
// graph stage did not fold (because the result is much larger than what it is
// made from, like Winograd's weights) is moved to the prepare function, which
// runs once when the module is loaded:
//
//   %1 = mv.launch @k0(%constant : ...) -> tensor<2x36x64x32xf32>
//   %2 = mv.launch @k1(%input, %1 : ...)
//
// becomes
//
//   %1 = mv.prepared at 0 : tensor<2x36x64x32xf32>
//   %2 = mv.launch @k1(%input, %1 : ...)
//
//   func.func private @prepare() -> tensor<...> attributes {mv.prepare = [0]} {
//     %0 = mv.launch @k0(%constant : ...)
//     return %0
//   }
//
// `mv.prepare` has the offset of each result. Entry points that need the same
// tensor share it.
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "marver/abi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/OperationSupport.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace marver {
namespace {

struct HoistPreparedPass
    : public PassWrapper<HoistPreparedPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(HoistPreparedPass)

  StringRef getArgument() const override { return "mv-hoist-prepared"; }
  StringRef getDescription() const override {
    return "Move launches that read only constants to the prepare function";
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    kernels = &symbols;
    made.clear();
    int64_t bytes = 0;
    SmallVector<mv::LaunchOp> launches;
    module.walk([&](mv::LaunchOp launch) {
      if (isPreparable(launch))
        launches.push_back(launch);
    });
    if (launches.empty())
      return;
    for (mv::LaunchOp launch : launches)
      hoist(launch, bytes);
    makeFunction(symbols);
  }

private:
  /// A launch of the prepare function and where its results go.
  struct Made {
    mv::LaunchOp launch; ///< the first; it moves to the function
    SmallVector<Attribute> constants;
    SmallVector<int64_t> offsets;
  };

  mv::KernelOp kernelOf(mv::LaunchOp launch) {
    return kernels->lookup<mv::KernelOp>(launch.getKernel());
  }

  /// What fails while the model runs must not fail when it is loaded.
  static bool canFail(mv::KernelOp kernel) {
    return kernel
        ->walk([](Operation *op) {
          return op->hasAttr("mv.place") ? WalkResult::interrupt()
                                         : WalkResult::advance();
        })
        .wasInterrupted();
  }

  bool isPreparable(mv::LaunchOp launch) {
    auto isConstant = [](Value input) {
      return isa<RankedTensorType>(input.getType()) &&
             matchPattern(input, m_Constant());
    };
    // Who needs the result as a part of something else would have to copy it.
    auto isRead = [](OpOperand &use) {
      return isa<mv::LaunchOp>(use.getOwner());
    };
    return !launch.getInputs().empty() && launch.getResultDims().empty() &&
           llvm::all_of(launch.getInputs(), isConstant) &&
           llvm::all_of(launch.getResults(),
                        [&](Value result) {
                          return llvm::all_of(result.getUses(), isRead);
                        }) &&
           !canFail(kernelOf(launch));
  }

  bool isSame(const Made &other, mv::LaunchOp launch,
              ArrayRef<Attribute> constants) {
    mv::KernelOp a = kernelOf(launch), b = kernelOf(other.launch);
    return other.constants == constants && a.getFamily() == b.getFamily() &&
           a.getSchedule() == b.getSchedule() &&
           OperationEquivalence::isRegionEquivalentTo(
               &a.getBody(), &b.getBody(),
               OperationEquivalence::IgnoreLocations);
  }

  void hoist(mv::LaunchOp launch, int64_t &bytes) {
    SmallVector<Attribute> constants;
    for (Value input : launch.getInputs()) {
      Attribute value;
      matchPattern(input, m_Constant(&value));
      constants.push_back(value);
    }
    auto known = llvm::find_if(made, [&](const Made &other) {
      return isSame(other, launch, constants);
    });
    SmallVector<int64_t> offsets;
    if (known != made.end()) {
      offsets = known->offsets;
    } else {
      for (Value result : launch.getResults()) {
        offsets.push_back(bytes);
        auto type = cast<RankedTensorType>(result.getType());
        bytes = llvm::alignTo(bytes + elementCount(type) *
                                          elementBytes(type.getElementType()),
                              MV_ALIGNMENT);
      }
    }
    OpBuilder b(launch);
    for (auto [result, offset] : llvm::zip_equal(launch.getResults(), offsets))
      result.replaceAllUsesWith(
          mv::PreparedOp::create(b, launch.getLoc(), result.getType(), offset));
    if (known != made.end()) {
      launch.erase();
      return;
    }
    preparedBytes = bytes;
    made.push_back({launch, std::move(constants), std::move(offsets)});
  }

  void makeFunction(SymbolTable &symbols) {
    ModuleOp module = getOperation();
    OpBuilder b(module.getContext());
    SmallVector<Type> types;
    SmallVector<int64_t> offsets;
    for (Made &one : made) {
      llvm::append_range(types, one.launch.getResultTypes());
      llvm::append_range(offsets, one.offsets);
    }
    auto function = func::FuncOp::create(module.getLoc(), "prepare",
                                         b.getFunctionType({}, types));
    function.setPrivate();
    function->setAttr("mv.prepare", b.getDenseI64ArrayAttr(offsets));
    symbols.insert(function);
    b.setInsertionPointToStart(function.addEntryBlock());
    SmallVector<Value> results;
    for (Made &one : made) {
      IRMapping mapping;
      for (Value input : one.launch.getInputs())
        if (!mapping.contains(input))
          b.clone(*input.getDefiningOp(), mapping);
      llvm::append_range(results, b.clone(*one.launch, mapping)->getResults());
      one.launch.erase();
    }
    func::ReturnOp::create(b, module.getLoc(), results);
    module->setAttr("mv.prepared_bytes", b.getI64IntegerAttr(preparedBytes));
  }

  SymbolTable *kernels = nullptr;
  SmallVector<Made> made;
  int64_t preparedBytes = 0;
};

} // namespace

std::unique_ptr<Pass> createHoistPreparedPass() {
  return std::make_unique<HoistPreparedPass>();
}

} // namespace marver
