//===- NumberPlaces.cpp - Numbers of operations that can fail -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches what reports a failure through mv_call::status: mv.check, gathers and
// scatters with unproven indices, integer divisions by something that is no
// constant, memory that may not be there. Runs before kernels are shared, so
// that two that fail in different places of the model stay two.
//
//   mv.gather %t at %i ...  ->  mv.gather %t at %i {mv.place = 3 : i64} ...
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Native.h"

#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace marver {
namespace {

bool canFail(Operation *op) {
  return TypeSwitch<Operation *, bool>(op)
      .Case<mv::GatherOp, mv::GatherElementsOp>(
          [](auto gather) { return !gather.getUnchecked(); })
      .Case<mv::ScatterOp, mv::CheckOp>([](auto) { return true; })
      .Case<scf::WhileOp, scf::ForOp>([](Operation *loop) {
        return !loop->getParentOfType<mv::KernelOp>(); // beyond its limit
      })
      .Case([](mv::BufferOp buffer) {
        return buffer.getSpace() == mv::BufferSpace::Grown;
      })
      .Case<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp,
            arith::FloorDivSIOp, arith::CeilDivSIOp, arith::CeilDivUIOp>(
          [](auto division) {
            return !matchPattern(division.getRhs(), m_Constant());
          })
      .Default(false);
}

struct NumberPlacesPass
    : PassWrapper<NumberPlacesPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(NumberPlacesPass)

  StringRef getArgument() const override { return "mv-number-places"; }
  StringRef getDescription() const override {
    return "Number the operations that can fail while the model runs";
  }

  void runOnOperation() override {
    constexpr StringLiteral name = "mv.place";
    int64_t next = 1;
    getOperation().walk([&](Operation *op) {
      if (auto place = op->getAttrOfType<IntegerAttr>(name))
        next = std::max(next, place.getInt() + 1);
    });
    Builder b(&getContext());
    getOperation().walk([&](Operation *op) {
      if (canFail(op) && !op->hasAttr(name))
        op->setAttr(name, b.getI64IntegerAttr(next++));
    });
  }
};

} // namespace

std::unique_ptr<Pass> createNumberPlacesPass() {
  return std::make_unique<NumberPlacesPass>();
}

} // namespace marver
