//===- Specialize.cpp - Paths for sizes that are known --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Specialize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace marver {

/// Whether all of the arguments have the sizes of `types`; null where their
/// own types say no less.
static Value haveSizes(OpBuilder &b, Location loc, ValueRange arguments,
                       TypeRange types) {
  Value all;
  for (auto [argument, type] : llvm::zip_equal(arguments, types)) {
    auto general = cast<RankedTensorType>(argument.getType()),
         special = cast<RankedTensorType>(type);
    for (int64_t i = 0; i < general.getRank(); ++i) {
      if (!general.isDynamicDim(i) || special.isDynamicDim(i))
        continue;
      Value size = tensor::DimOp::create(b, loc, argument, i);
      Value wanted =
          arith::ConstantIndexOp::create(b, loc, special.getDimSize(i));
      Value isEqual =
          arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, size, wanted);
      all = all ? arith::AndIOp::create(b, loc, all, isEqual).getResult()
                : isEqual;
    }
  }
  return all;
}

static SmallVector<Value> castTo(OpBuilder &b, Location loc, ValueRange values,
                                 TypeRange types) {
  SmallVector<Value> result;
  for (auto [value, type] : llvm::zip_equal(values, types))
    result.push_back(value.getType() == type
                         ? value
                         : tensor::CastOp::create(b, loc, type, value));
  return result;
}

/// Moves the operations of `from` to the end of `to`, which has one block, with
/// `arguments` in place of the block's; the return becomes a yield of values of
/// `types`.
static void moveBody(Block &from, ValueRange arguments, Region &to,
                     TypeRange types) {
  Block &block = to.front();
  for (auto [old, argument] : llvm::zip_equal(from.getArguments(), arguments))
    old.replaceAllUsesWith(argument);
  block.getOperations().splice(block.end(), from.getOperations());
  Operation *last = block.getTerminator();
  OpBuilder b(last);
  scf::YieldOp::create(b, last->getLoc(),
                       castTo(b, last->getLoc(), last->getOperands(), types));
  last->erase();
}

LogicalResult addSpecialization(func::FuncOp general, func::FuncOp special) {
  TypeRange types = general.getArgumentTypes(),
            specialTypes = special.getArgumentTypes();
  TypeRange results = general.getResultTypes(),
            specialResults = special.getResultTypes();
  auto fits = [](TypeRange a, TypeRange b) {
    return a.size() == b.size() && llvm::all_of(llvm::zip(a, b), [](auto pair) {
             return tensor::CastOp::areCastCompatible({std::get<0>(pair)},
                                                      {std::get<1>(pair)});
           });
  };
  if (!fits(types, specialTypes) || !fits(results, specialResults))
    return general.emitError()
           << "--specialize: with the sizes fixed the model is another one";

  Location loc = general.getLoc();
  Block &old = general.getBody().front();
  auto *entry = new Block;
  general.getBody().push_front(entry);
  SmallVector<Location> locations(types.size(), loc);
  entry->addArguments(types, locations);
  OpBuilder b = OpBuilder::atBlockEnd(entry);
  Value condition = haveSizes(b, loc, entry->getArguments(), specialTypes);
  if (!condition) {
    entry->erase();
    return general.emitError()
           << "--specialize: the size is not a dim of an input";
  }
  auto choice = scf::IfOp::create(b, loc, results, condition,
                                  /*addThenBlock=*/true, /*addElseBlock=*/true);
  func::ReturnOp::create(b, loc, choice.getResults());
  b.setInsertionPointToStart(choice.thenBlock());
  SmallVector<Value> fixed =
      castTo(b, loc, entry->getArguments(), specialTypes);
  moveBody(special.getBody().front(), fixed, choice.getThenRegion(), results);
  moveBody(old, entry->getArguments(), choice.getElseRegion(), results);
  old.erase();
  return success();
}

} // namespace marver
