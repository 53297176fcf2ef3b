//===- WidenContractions.cpp - f16 and bf16 contractions in f32 -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches mv.conv with constant weights, mv.matmul and mv.attention of f16 or
// bf16. They accumulate in f32 by definition, and the vector kernels are f32's.
// Makes the f32 operation between conversions: those of weights are folded, the
// others become parts of the kernels that make the operands and use the result.
//
//   %y = mv.matmul %x, %w : (tensor<?x64xbf16>, tensor<64x32xbf16>) -> ...
// becomes
//   %x1 = linalg.generic ins(%x) { extf }
//   %y1 = mv.matmul %x1, %w1 : (tensor<?x64xf32>, tensor<64x32xf32>) -> ...
//   %y = linalg.generic ins(%y1) { truncf }
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace marver;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

static bool isNarrow(Value value) {
  Type element = typeOf(value).getElementType();
  return element.isF16() || element.isBF16();
}

/// `value` with elements of type `element`, converted one by one.
static Value convert(OpBuilder &builder, Location loc, Value value,
                     Type element) {
  int64_t rank = typeOf(value).getRank();
  Value empty = tensor::EmptyOp::create(
      builder, loc, tensor::getMixedSizes(builder, loc, value), element);
  AffineMap identity = builder.getMultiDimIdentityMap(rank);
  return linalg::GenericOp::create(
             builder, loc, TypeRange{empty.getType()}, ValueRange{value},
             ValueRange{empty}, ArrayRef<AffineMap>{identity, identity},
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               Value result =
                   element.isF32()
                       ? arith::ExtFOp::create(b, loc, element, args[0])
                             .getResult()
                       : arith::TruncFOp::create(b, loc, element, args[0])
                             .getResult();
               linalg::YieldOp::create(b, loc, result);
             })
      .getResult(0);
}

static void widen(Operation *op) {
  Value result = op->getResult(0);
  Type narrow = typeOf(result).getElementType();
  OpBuilder builder(op);
  Type wide = builder.getF32Type();
  for (OpOperand &operand : op->getOpOperands())
    if (isNarrow(operand.get()))
      operand.set(convert(builder, op->getLoc(), operand.get(), wide));
  result.setType(typeOf(result).clone(wide));
  builder.setInsertionPointAfter(op);
  Value rounded = convert(builder, op->getLoc(), result, narrow);
  result.replaceUsesWithIf(rounded, [&](OpOperand &use) {
    Operation *owner = use.getOwner();
    return owner != rounded.getDefiningOp() && !isa<tensor::DimOp>(owner);
  });
}

namespace {

struct WidenContractions
    : PassWrapper<WidenContractions, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(WidenContractions)
  StringRef getArgument() const override { return "mv-widen-contractions"; }
  StringRef getDescription() const override {
    return "Compute f16 and bf16 contractions with f32 kernels";
  }

  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      if (!isa<mv::ConvOp, mv::MatmulOp, mv::AttentionOp>(op) ||
          !isNarrow(op->getResult(0)) ||
          hasVectorContraction(typeOf(op->getResult(0)).getElementType()))
        return;
      auto conv = dyn_cast<mv::ConvOp>(op);
      if (conv && !getConstantData(conv.getFilter()))
        return;
      // Mixed types are left as they are.
      for (Value operand : op->getOperands())
        if (!typeOf(operand).getElementType().isInteger(1) &&
            typeOf(operand).getElementType() !=
                typeOf(op->getResult(0)).getElementType())
          return;
      widen(op);
    });
  }
};

} // namespace

std::unique_ptr<Pass> marver::createWidenContractionsPass() {
  return std::make_unique<WidenContractions>();
}
