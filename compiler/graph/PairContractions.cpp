//===- PairContractions.cpp - Contractions of bf16 operands ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches mv.packed_matmul and mv.packed_conv with bf16 weights (NarrowWeights)
// and an f32 input. Rounds the input to bf16 where it is made and packs the
// weights in pairs of the reduction, which one instruction multiplies and adds
// in f32.
//
//   %y = mv.packed_matmul %x, %w         // %x: ?x384xf32, %w: 24x384x16xbf16
// becomes
//   %n = linalg.generic ins(%x) { truncf }
//   %y = mv.packed_matmul %n, %v         // %v: 24x192x16x2xbf16
//
// Left as they are: convolutions that Winograd's algorithm computes faster in
// f32, plain inputs (a first layer's few channels), odd numbers of channels,
// and tables that rows are gathered from.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Packing.h"
#include "compiler/graph/PrecisionPasses.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

namespace {

struct PairContractions
    : PassWrapper<PairContractions, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PairContractions)
  PairContractions() = default;
  PairContractions(const PairContractions &other) : PassWrapper(other) {
    target = other.target;
  }
  explicit PairContractions(const TargetInfo &target) : target(target) {}

  StringRef getArgument() const override { return "mv-pair-contractions"; }
  StringRef getDescription() const override {
    return "Round the inputs of contractions with bf16 weights to bf16";
  }

  void runOnOperation() override {
    narrowed.clear();
    paired.clear();
    SmallVector<Operation *> contractions;
    getOperation().walk([&](Operation *op) {
      if (isa<mv::PackedMatmulOp, mv::PackedConvOp>(op) && isWanted(op))
        contractions.push_back(op);
    });
    // A table whose rows are gathered too is kept once, as it is.
    llvm::DenseSet<Attribute> tables;
    getOperation().walk([&](linalg::UnPackOp unpack) {
      Attribute source;
      if (matchPattern(unpack.getSource(), m_Constant(&source)))
        tables.insert(source);
    });
    for (Operation *op : contractions) {
      Attribute source;
      matchPattern(op->getOperand(1), m_Constant(&source));
      if (!tables.contains(source))
        rewrite(op);
    }
  }

private:
  bool isWanted(Operation *op) const;
  void rewrite(Operation *op);
  Value narrow(Value value);

  TargetInfo target;
  llvm::DenseMap<Value, Value> narrowed;
  llvm::DenseMap<Attribute, ElementsAttr> paired;
};

} // namespace

bool PairContractions::isWanted(Operation *op) const {
  if (!typeOf(op->getOperand(0)).getElementType().isF32() ||
      !typeOf(op->getOperand(1)).getElementType().isBF16() ||
      !typeOf(op->getResult(0)).getElementType().isF32() ||
      !getConstantData(op->getOperand(1)))
    return false;
  auto conv = dyn_cast<mv::PackedConvOp>(op);
  if (!conv)
    return typeOf(op->getOperand(1)).getDimSize(1) % 2 == 0;
  // The lanes beyond the last channel hold anything, not even numbers.
  if (!conv.getInputBlocked() || conv.getInChannels() % 2 != 0)
    return false;
  std::optional<WinogradChoice> winograd = chooseWinograd(conv, target);
  return !winograd || winograd->cycles > winograd->directCycles / 2;
}

/// `value` in bf16. Borders are made of the rounded interior, so that kernels
/// still write it into the middle of a padded buffer.
Value PairContractions::narrow(Value value) {
  if (Value known = narrowed.lookup(value))
    return known;
  OpBuilder b(&getContext());
  b.setInsertionPointAfterValue(value);
  Location loc = value.getLoc();
  Value result;
  auto pad = value.getDefiningOp<tensor::PadOp>();
  FloatAttr border;
  if (pad && pad.getConstantPaddingValue() &&
      matchPattern(pad.getConstantPaddingValue(), m_Constant(&border))) {
    Value source = narrow(pad.getSource());
    b.setInsertionPoint(pad);
    Value filling = arith::ConstantOp::create(
        b, loc, b.getFloatAttr(b.getBF16Type(), border.getValueAsDouble()));
    result = tensor::PadOp::create(
        b, loc,
        RankedTensorType::get(typeOf(value).getShape(), b.getBF16Type()),
        source, pad.getMixedLowPad(), pad.getMixedHighPad(), filling);
  } else {
    int64_t rank = typeOf(value).getRank();
    Value empty = tensor::EmptyOp::create(
        b, loc, tensor::getMixedSizes(b, loc, value), b.getBF16Type());
    AffineMap identity = b.getMultiDimIdentityMap(rank);
    result =
        linalg::GenericOp::create(
            b, loc, TypeRange{empty.getType()}, ValueRange{value},
            ValueRange{empty}, ArrayRef<AffineMap>{identity, identity},
            SmallVector<utils::IteratorType>(rank,
                                             utils::IteratorType::parallel),
            [](OpBuilder &b, Location loc, ValueRange args) {
              Value rounded =
                  arith::TruncFOp::create(b, loc, b.getBF16Type(), args[0]);
              linalg::YieldOp::create(b, loc, rounded);
            })
            .getResult(0);
  }
  return narrowed[value] = result;
}

void PairContractions::rewrite(Operation *op) {
  Value weights = op->getOperand(1);
  Attribute source;
  matchPattern(weights, m_Constant(&source));
  ElementsAttr &packed = paired[source];
  if (!packed)
    packed = groupPacked(*getConstantData(source), 2);
  OpBuilder b(op);
  op->setOperands(
      0, 2,
      {narrow(op->getOperand(0)),
       arith::ConstantOp::create(b, weights.getLoc(), packed).getResult()});
}

std::unique_ptr<Pass>
marver::createPairContractionsPass(const TargetInfo &target) {
  return std::make_unique<PairContractions>(target);
}
