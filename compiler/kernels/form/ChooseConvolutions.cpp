//===- ChooseConvolutions.cpp - Winograd where it is faster ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   %1 = mv.packed_conv %0, %w ...
//
// becomes, where the cost model says so (Schedule.h, chooseWinograd),
//
//   %t = mv.winograd_filter %w ...
//   %1 = mv.winograd_conv %0, %t ...
//
// The transformed weights are made once per load by the module's prepare
// function, or here if they are to be stored in the module.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Passes.h"
#include "compiler/kernels/Schedule.h"
#include "compiler/kernels/WinogradAlgorithm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Threading.h"

using namespace mlir;

namespace marver {
namespace {

struct ChooseConvolutionsPass
    : public PassWrapper<ChooseConvolutionsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ChooseConvolutionsPass)

  ChooseConvolutionsPass(const TargetInfo &target,
                         const ConvolutionOptions &options)
      : target(target), options(options) {}
  ChooseConvolutionsPass(const ChooseConvolutionsPass &other)
      : PassWrapper(other), target(other.target), options(other.options) {}

  StringRef getArgument() const override { return "mv-choose-convolutions"; }
  StringRef getDescription() const override {
    return "Use Winograd's algorithm for convolutions where it is faster";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry
        .insert<mv::MvDialect, arith::ArithDialect, tensor::TensorDialect>();
  }

  void runOnOperation() override {
    if (options.exact)
      return;
    SmallVector<mv::PackedConvOp> convs;
    getOperation().walk([&](mv::PackedConvOp op) { convs.push_back(op); });
    for (mv::PackedConvOp op : convs) {
      std::optional<WinogradChoice> choice = chooseWinograd(op, target);
      if (choice && choice->cycles * kMargin < choice->directCycles)
        rewrite(op, *choice);
    }
  }

private:
  /// Winograd must be expected to win by this much: it is less exact and takes
  /// more memory.
  static constexpr double kMargin = 1.05;

  void rewrite(mv::PackedConvOp op, const WinogradChoice &choice) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    int64_t rank = op.getSpatialRank();
    auto filter = cast<RankedTensorType>(op.getFilter().getType());
    int64_t window = filter.getShape()[1], stride = op.getStrides().front();
    int64_t channels = op.getInChannels(), outChannels = op.getOutChannels();
    WinogradAlgorithm algorithm = getWinograd(choice.outputs, window, stride);
    int64_t positions = 1, phases = 1;
    for (int64_t d = 0; d < rank; ++d) {
      positions *= algorithm.positions();
      phases *= algorithm.phases;
    }
    auto type = RankedTensorType::get(
        {int64_t(llvm::divideCeil(outChannels, choice.panelWidth)), positions,
         phases * channels, choice.panelWidth},
        b.getF32Type());
    Value transformed;
    std::optional<ConstantData> data;
    if (options.storeWeights)
      data = getConstantData(op.getFilter());
    if (data)
      transformed = stored(b, loc, *data, type, algorithm, rank);
    else
      transformed = mv::WinogradFilterOp::create(b, loc, type, op.getFilter(),
                                                 choice.outputs, stride);
    Value input = op.getInput();
    if (!op.getInputBlocked())
      input = blocksOfOneChannel(b, input);
    auto conv = mv::WinogradConvOp::create(
        b, loc, op.getResult().getType(), input, transformed, op.getBias(),
        choice.outputs, window, stride, channels, outChannels);
    op.replaceAllUsesWith(conv.getResult());
    Operation *before = op.getInput().getDefiningOp();
    op.erase();
    if (before && isOpTriviallyDead(before))
      before->erase();
  }

  /// A plain tensor as a blocked one. A border stays next to the convolution,
  /// whose kernel makes it.
  static Value blocksOfOneChannel(OpBuilder &b, Value input) {
    auto pad = input.getDefiningOp<tensor::PadOp>();
    if (pad && pad.getConstantPaddingValue() && pad->hasOneUse()) {
      Value source = blocksOfOneChannel(b, pad.getSource());
      SmallVector<OpFoldResult> low = pad.getMixedLowPad();
      SmallVector<OpFoldResult> high = pad.getMixedHighPad();
      low.push_back(b.getIndexAttr(0));
      high.push_back(b.getIndexAttr(0));
      auto type = cast<RankedTensorType>(pad.getType());
      SmallVector<int64_t> sizes(type.getShape());
      sizes.push_back(1);
      return tensor::PadOp::create(b, pad.getLoc(), type.clone(sizes), source,
                                   low, high, pad.getConstantPaddingValue());
    }
    auto type = cast<RankedTensorType>(input.getType());
    SmallVector<int64_t> sizes(type.getShape());
    sizes.push_back(1);
    SmallVector<ReassociationIndices> groups;
    for (int64_t d = 0; d < type.getRank(); ++d)
      groups.push_back({d});
    groups.back().push_back(type.getRank());
    SmallVector<OpFoldResult> shape =
        tensor::getMixedSizes(b, input.getLoc(), input);
    shape.push_back(b.getIndexAttr(1));
    return tensor::ExpandShapeOp::create(b, input.getLoc(), type.clone(sizes),
                                         input, groups, shape);
  }

  static Value stored(OpBuilder &b, Location loc, const ConstantData &data,
                      RankedTensorType type, const WinogradAlgorithm &algorithm,
                      int64_t rank) {
    ArrayRef<int64_t> from = data.type.getShape(), to = type.getShape();
    WinogradFilterShape shape{rank,           from[0], from.back(),
                              from[rank + 1], to[0],   to[3]};
    SmallVector<char, 0> expanded;
    ArrayRef<char> source = data.bytes;
    if (Type element = data.type.getElementType();
        data.isSplat || !element.isF32()) {
      expanded.resize_for_overwrite(elementCount(data.type) * 4);
      for (int64_t i = 0, e = elementCount(data.type); i < e; ++i)
        storeFloat(expanded.data() + i * 4, b.getF32Type(),
                   element.isInteger() ? double(data.getInt(i))
                                       : data.getFloat(i));
      source = expanded;
    }
    ElementsAttr attribute = makeConstant(type, [&](MutableArrayRef<char> out) {
      auto *values = reinterpret_cast<float *>(out.data());
      parallelFor(b.getContext(), 0, to[0], [&](size_t panel) {
        transformWinogradFilter(algorithm, shape, panel, source.data(), values);
      });
    });
    return arith::ConstantOp::create(b, loc, attribute);
  }

  const TargetInfo target;
  const ConvolutionOptions options;
};

} // namespace

std::unique_ptr<Pass>
createChooseConvolutionsPass(const TargetInfo &target,
                             const ConvolutionOptions &options) {
  return std::make_unique<ChooseConvolutionsPass>(target, options);
}

} // namespace marver
