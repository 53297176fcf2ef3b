//===- FoldAffine.cpp - Batch norms and biases into convolutions ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches an mv.conv with constant weights whose result goes only into
// elementwise operations that compute scale[f] * x + shift[f] with constants
// (batch norm, bias, any chain of + - * / by per-channel or scalar constants).
// Makes one mv.conv with weights w[f] * scale[f] and bias
// b[f] * scale[f] + shift[f], computed in f64 and rounded once.
//
//   %c = mv.conv %x, %w {...} : ...
//   %y = linalg.generic ins(%c, %scale, %shift) { mulf, addf }
// becomes
//   %y = mv.conv %x, %w1 bias %b1 {...} : ...
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/AffineChain.h"
#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <cstring>

using namespace mlir;
using namespace marver;

/// Weights with row f (of the first dim) times scale[f].
static ElementsAttr scaleRows(const ConstantData &weights,
                              ArrayRef<double> scale) {
  Type element = weights.type.getElementType();
  int64_t bytes = elementBytes(element);
  int64_t row = elementCount(weights.type) / std::max<int64_t>(scale.size(), 1);
  return makeConstant(weights.type, [&](MutableArrayRef<char> out) {
    if (element.isF32() && !weights.isSplat) {
      // Nearly all weights: no look at the type for each element.
      for (int64_t f = 0; f < static_cast<int64_t>(scale.size()); ++f)
        for (int64_t i = f * row; i < (f + 1) * row; ++i) {
          float value;
          memcpy(&value, weights.bytes.data() + i * 4, 4);
          value = static_cast<float>(value * scale[f]);
          memcpy(out.data() + i * 4, &value, 4);
        }
      return;
    }
    for (int64_t f = 0; f < static_cast<int64_t>(scale.size()); ++f)
      for (int64_t i = f * row; i < (f + 1) * row; ++i)
        storeFloat(out.data() + i * bytes, element,
                   weights.getFloat(i) * scale[f]);
  });
}

static void foldInto(mv::ConvOp conv) {
  std::optional<ConstantData> weights = getConstantData(conv.getFilter());
  std::optional<ConstantData> bias;
  if (conv.getBias())
    bias = getConstantData(conv.getBias());
  if (!weights || (conv.getBias() && !bias))
    return;
  AffineChain chain = findAffineChain(conv.getResult(), /*dim=*/1);
  if (chain.empty())
    return;

  OpBuilder builder(conv);
  Value filter = conv.getFilter();
  if (chain.scales())
    filter = arith::ConstantOp::create(builder, filter.getLoc(),
                                       scaleRows(*weights, chain.scale));
  Type element = weights->type.getElementType();
  auto biasType = RankedTensorType::get(weights->type.getDimSize(0), element);
  ElementsAttr newBias = makeConstant(biasType, [&](MutableArrayRef<char> out) {
    for (size_t f = 0; f < chain.shift.size(); ++f)
      storeFloat(out.data() + f * elementBytes(element), element,
                 (bias ? bias->getFloat(f) : 0.0) * chain.scale[f] +
                     chain.shift[f]);
  });
  SmallVector<Location> locations = {conv.getLoc()};
  for (Operation *op : chain.ops)
    locations.push_back(op->getLoc());
  Location loc = FusedLoc::get(conv.getContext(), locations);
  auto folded = mv::ConvOp::create(
      builder, loc, conv.getType(), conv.getInput(), filter,
      arith::ConstantOp::create(builder, loc, newBias), conv.getStridesAttr(),
      conv.getDilationsAttr(), conv.getPadsAttr(), conv.getGroupsAttr());
  chain.end.replaceAllUsesWith(folded.getResult());
  for (Operation *op : llvm::reverse(chain.ops))
    op->erase();
  conv.erase();
}

namespace {

struct FoldAffine : PassWrapper<FoldAffine, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FoldAffine)
  StringRef getArgument() const override { return "mv-fold-affine"; }
  StringRef getDescription() const override {
    return "Move per-channel scales and shifts into convolution weights";
  }

  void runOnOperation() override {
    SmallVector<mv::ConvOp> convs;
    getOperation().walk([&](mv::ConvOp conv) { convs.push_back(conv); });
    for (mv::ConvOp conv : convs)
      foldInto(conv);
  }
};

} // namespace

std::unique_ptr<Pass> marver::createFoldAffinePass() {
  return std::make_unique<FoldAffine>();
}
