//===- Globals.cpp - Globals of textual models ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/Globals.h"
#include "compiler/ir/States.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace marver {

static bool isLoad(Operation *op) {
  return isa<ml_program::GlobalLoadOp, ml_program::GlobalLoadConstOp>(op) ||
         op->getName().getStringRef() == "util.global.load";
}

static bool isStore(Operation *op) {
  return isa<ml_program::GlobalStoreOp>(op) ||
         op->getName().getStringRef() == "util.global.store";
}

static bool isGlobal(Operation *op) {
  return isa<ml_program::GlobalOp>(op) ||
         op->getName().getStringRef() == "util.global";
}

StringRef nameOfGlobal(Operation *global) {
  auto name = global->getAttrOfType<StringAttr>("sym_name");
  return name ? name.getValue() : "";
}

Operation *findGlobal(Operation *use) {
  auto name = use->getAttrOfType<SymbolRefAttr>("global");
  if (!name) {
    use->emitError("names no global");
    return nullptr;
  }
  for (Operation &op : use->getParentOfType<ModuleOp>().getOps())
    if (isGlobal(&op) && nameOfGlobal(&op) == name.getLeafReference())
      return &op;
  use->emitError() << "no global is called " << name;
  return nullptr;
}

bool isStored(Operation *global) {
  StringRef name = nameOfGlobal(global);
  return global->getParentOfType<ModuleOp>()
      .walk([&](Operation *op) {
        auto used = op->getAttrOfType<SymbolRefAttr>("global");
        return isStore(op) && used && used.getLeafReference() == name
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

bool isGlobalOperation(Operation *op) {
  return isGlobal(op) || isLoad(op) || isStore(op);
}

llvm::Error addGlobal(TorchWeights &weights, Operation *global,
                      RankedTensorType stateType) {
  Attribute value = global->getAttr("value");
  if (!value && stateType && stateType.hasStaticShape() &&
      stateType.getElementType().isIntOrFloat()) {
    Builder b(global->getContext());
    value = DenseElementsAttr::get(stateType,
                                   b.getZeroAttr(stateType.getElementType()));
  }
  return weights.add(nameOfGlobal(global), value);
}

/// The first value of a global, of the type that `use` sees; null after an
/// error was reported.
static ElementsAttr valueOf(Operation *use, Operation *global, Type type,
                            bool isState, TorchWeights &weights) {
  StringRef name = nameOfGlobal(global);
  auto fail = [&](const Twine &reason) {
    use->emitError() << "the global @" << name << " " << reason;
    return nullptr;
  };
  if (llvm::Error error = addGlobal(weights, global,
                                    isState ? dyn_cast<RankedTensorType>(type)
                                            : RankedTensorType())) {
    if (!global->getAttr("value")) {
      llvm::consumeError(std::move(error));
      return fail("has no value");
    }
    return fail(": " + toString(std::move(error)));
  }
  torch::InputSpec spec;
  spec.source = name.str();
  llvm::Expected<ElementsAttr> value = weights.get(spec);
  if (!value)
    return fail(": " + toString(value.takeError()));
  if (value->getShapedType() != type)
    return fail("has another type");
  return *value;
}

LogicalResult lowerConstantGlobals(ModuleOp module, TorchWeights &weights) {
  bool isGood = true;
  module.walk([&](Operation *load) {
    if (!isLoad(load) || load->getNumResults() != 1)
      return;
    Operation *global = findGlobal(load);
    if (global && isStored(global))
      return;
    Type type = load->getResult(0).getType();
    ElementsAttr value =
        global ? valueOf(load, global, type, /*isState=*/false, weights)
               : ElementsAttr();
    if (!value) {
      isGood = false;
      return;
    }
    OpBuilder b(load);
    load->replaceAllUsesWith(
        arith::ConstantOp::create(b, load->getLoc(), type,
                                  cast<TypedAttr>(Attribute(value)))
            ->getResults());
    load->erase();
  });
  return success(isGood);
}

LogicalResult lowerMutableGlobals(func::FuncOp model, TorchWeights &weights) {
  /// Where the model is at: the value of each global that it has used.
  llvm::MapVector<Operation *, Value> current;
  SmallVector<Operation *> uses;
  bool isGood = true;
  model.walk([&](Operation *op) {
    if (isStore(op) && op->getParentOp() != model) {
      op->emitError("a store to a global inside of a loop or a branch is not "
                    "supported: store its result behind it");
      isGood = false;
    } else if ((isStore(op) && op->getNumOperands() == 1) ||
               (isLoad(op) && op->getNumResults() == 1)) {
      uses.push_back(op);
    }
  });
  if (!isGood)
    return failure();
  for (Operation *use : uses) {
    Operation *global = findGlobal(use);
    Value moved = isStore(use) ? use->getOperand(0) : use->getResult(0);
    if (!global)
      return failure();
    auto [found, isNew] = current.try_emplace(global);
    if (isNew) {
      Type type = moved.getType();
      ElementsAttr initial =
          valueOf(use, global, type, /*isState=*/true, weights);
      if (!initial ||
          failed(model.insertArgument(model.getNumArguments(), type,
                                      DictionaryAttr(), global->getLoc())))
        return failure();
      found->second = model.getArguments().back();
      setState(model, model.getNumArguments() - 1, nameOfGlobal(global),
               initial);
    }
    if (found->second.getType() != moved.getType()) {
      use->emitError() << "the global @" << nameOfGlobal(global)
                       << " has another type";
      return failure();
    }
    if (isStore(use))
      found->second = moved;
    else
      moved.replaceAllUsesWith(found->second);
  }
  for (Operation *use : uses)
    use->erase();
  Operation *end = model.getBody().back().getTerminator();
  for (auto &[global, value] : current) {
    end->insertOperands(end->getNumOperands(), value);
    if (failed(model.insertResult(model.getNumResults(), value.getType(),
                                  DictionaryAttr())))
      return failure();
  }
  return success();
}

void eraseGlobals(ModuleOp module) {
  for (Operation &op : llvm::make_early_inc_range(module.getOps()))
    if (isGlobal(&op))
      op.erase();
}

} // namespace marver
