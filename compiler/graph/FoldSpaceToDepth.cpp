//===- FoldSpaceToDepth.cpp - Space-to-depth into a strided convolution ---===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches a convolution of the channel concat of strided slices of one tensor:
// every phase of an s x s grid once, in any order ("Focus" in YOLO networks).
// Makes one convolution of that tensor with s times the stride and s times the
// window, whose weights are the old ones in another order. The work is the same
// and the slices and their concat are gone.
//
//   %a = tensor.extract_slice %x[0, 0, 0, 0] [1, 3, 320, 320] [1, 1, 2, 2]
//   %b = tensor.extract_slice %x[0, 0, 1, 0] ...           // and %c, %d
//   %f = tensor.concat dim(1) %a, %b, %c, %d
//   %y = mv.conv %f, %w {strides = [1, 1], pads = [1, 1, 1, 1]}  // 32x12x3x3
// becomes
//   %y = mv.conv %x, %w1 {strides = [2, 2], pads = [2, 2, 2, 2]} // 32x3x6x6
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Evaluate.h"
#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <cstring>

using namespace mlir;
using namespace marver;

namespace {

/// The slices of a concat that is a space-to-depth of `source`.
struct SpaceToDepth {
  Value source;
  SmallVector<int64_t> steps;                ///< one a spatial dim
  SmallVector<SmallVector<int64_t>> offsets; ///< of each part, spatial
};

} // namespace

/// Beyond so many channels the strided convolution's input is worth blocking
/// anyway, and the small window has better algorithms.
static constexpr int64_t maxChannels = 15;

/// Whether `size` is the number of points of one phase (every step-th) in dim
/// `dim` of `source`, for every size of that dim that is a
/// multiple of step: where the size is not static, the concat's equal parts say
/// that it is one.
static bool coversDim(OpFoldResult size, Value source, int64_t dim,
                      int64_t step) {
  auto type = cast<RankedTensorType>(source.getType());
  std::optional<int64_t> known = getConstantIntValue(size);
  if (!type.isDynamicDim(dim))
    return known && *known * step == type.getDimSize(dim);
  if (known)
    return false;
  MLIRContext *context = source.getContext();
  AffineMap map = AffineMap::get(0, 1, getAffineSymbolExpr(0, context));
  SmallVector<Value> operands = {cast<Value>(size)};
  affine::fullyComposeAffineMapAndOperands(&map, &operands);
  affine::canonicalizeMapAndOperands(&map, &operands);
  if (operands.size() != 1)
    return false;
  auto dimOp = operands[0].getDefiningOp<tensor::DimOp>();
  if (!dimOp || dimOp.getSource() != source || dimOp.getConstantIndex() != dim)
    return false;
  // The expression is linear between multiples of its divisors; a size formula
  // divides by `step`, so a few periods decide.
  auto index = IndexType::get(context);
  for (int64_t points = 1; points <= 64; ++points) {
    SmallVector<Attribute> result;
    if (failed(map.constantFold({IntegerAttr::get(index, points * step)},
                                result)) ||
        cast<IntegerAttr>(result[0]).getInt() != points)
      return false;
  }
  return true;
}

static std::optional<SpaceToDepth> matchSpaceToDepth(Value value) {
  auto concat = value.getDefiningOp<tensor::ConcatOp>();
  if (!concat || concat.getDim() != 1)
    return std::nullopt;
  SpaceToDepth result;
  for (Value input : concat.getInputs()) {
    auto slice = input.getDefiningOp<tensor::ExtractSliceOp>();
    if (!slice || slice.getType().getRank() != slice.getSourceType().getRank())
      return std::nullopt;
    RankedTensorType source = slice.getSourceType();
    ArrayRef<int64_t> offsets = slice.getStaticOffsets();
    ArrayRef<int64_t> strides = slice.getStaticStrides();
    if (source.isDynamicDim(1) || source.getDimSize(1) > maxChannels ||
        slice.getType().getDimSize(1) != source.getDimSize(1) ||
        offsets[0] != 0 || offsets[1] != 0 || strides[0] != 1 ||
        strides[1] != 1)
      return std::nullopt;
    if (!coversDim(slice.getMixedSizes()[0], slice.getSource(), 0, 1))
      return std::nullopt;
    if (!result.source) {
      result.source = slice.getSource();
      result.steps.assign(strides.begin() + 2, strides.end());
    }
    if (slice.getSource() != result.source ||
        ArrayRef<int64_t>(result.steps) != strides.drop_front(2))
      return std::nullopt;
    for (auto [i, step] : llvm::enumerate(result.steps)) {
      int64_t offset = offsets[2 + i];
      if (ShapedType::isDynamic(step) || step < 1 || offset < 0 ||
          offset >= step ||
          !coversDim(slice.getMixedSizes()[2 + i], slice.getSource(), 2 + i,
                     step))
        return std::nullopt;
    }
    result.offsets.emplace_back(offsets.begin() + 2, offsets.end());
  }
  int64_t phases = 1;
  for (int64_t step : result.steps)
    phases *= step;
  SmallVector<SmallVector<int64_t>> sorted = result.offsets;
  llvm::sort(sorted);
  if (phases == 1 || static_cast<int64_t>(sorted.size()) != phases ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return std::nullopt;
  return result;
}

static void fold(mv::ConvOp conv) {
  if (conv.getGroups() != 1 ||
      !llvm::all_of(conv.getDilations(), [](int64_t d) { return d == 1; }))
    return;
  std::optional<SpaceToDepth> found = matchSpaceToDepth(conv.getInput());
  std::optional<ConstantData> filter = getConstantData(conv.getFilter());
  if (!found || !filter)
    return;

  ArrayRef<int64_t> shape = filter->type.getShape();
  int64_t rank = filter->type.getRank();
  int64_t channels =
      cast<RankedTensorType>(found->source.getType()).getDimSize(1);
  Type element = filter->type.getElementType();
  int64_t bytes = elementBytes(element);
  SmallVector<int64_t> newShape(shape), strides(conv.getStrides()),
      pads(conv.getPads());
  newShape[1] = channels;
  for (auto [i, step] : llvm::enumerate(found->steps)) {
    newShape[2 + i] *= step;
    strides[i] *= step;
    pads[i] *= step;
    pads[rank - 2 + i] *= step;
  }
  SmallVector<int64_t> inStrides = rowMajorStrides(shape);
  SmallVector<int64_t> outStrides = rowMajorStrides(newShape);
  SmallVector<int64_t> tapStrides = outStrides, sizes(shape);
  sizes[1] = channels;
  for (auto [i, step] : llvm::enumerate(found->steps))
    tapStrides[2 + i] *= step;
  int64_t partStride = filter->isSplat ? 0 : channels * inStrides[1];
  if (filter->isSplat)
    inStrides.assign(rank, 0);
  ElementsAttr weights = makeConstant(
      RankedTensorType::get(newShape, element), [&](MutableArrayRef<char> out) {
        for (auto [part, offsets] : llvm::enumerate(found->offsets)) {
          int64_t at = 0;
          for (auto [i, offset] : llvm::enumerate(offsets))
            at += offset * outStrides[2 + i];
          copyStrided(out.data() + at * bytes, tapStrides,
                      filter->bytes.data() +
                          static_cast<int64_t>(part) * partStride * bytes,
                      inStrides, sizes, bytes);
        }
      });
  OpBuilder builder(conv);
  Value constant =
      arith::ConstantOp::create(builder, conv.getFilter().getLoc(), weights);
  auto folded = mv::ConvOp::create(
      builder, conv.getLoc(), conv.getType(), found->source, constant,
      conv.getBias(), builder.getDenseI64ArrayAttr(strides),
      conv.getDilationsAttr(), builder.getDenseI64ArrayAttr(pads),
      conv.getGroupsAttr());
  conv.getResult().replaceAllUsesWith(folded.getResult());
  conv.erase();
}

namespace {

struct FoldSpaceToDepth
    : PassWrapper<FoldSpaceToDepth, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FoldSpaceToDepth)
  StringRef getArgument() const override { return "mv-fold-space-to-depth"; }
  StringRef getDescription() const override {
    return "Make one strided convolution of a space-to-depth and a convolution";
  }

  void runOnOperation() override {
    SmallVector<mv::ConvOp> convs;
    getOperation().walk([&](mv::ConvOp conv) { convs.push_back(conv); });
    for (mv::ConvOp conv : convs)
      fold(conv);
  }
};

} // namespace

std::unique_ptr<Pass> marver::createFoldSpaceToDepthPass() {
  return std::make_unique<FoldSpaceToDepth>();
}
