//===- Views.cpp - Tensor views as strided memrefs ------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Views.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/form/Grouping.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace marver {

using Dims = SmallVector<OpFoldResult>;

static OpFoldResult combine(OpBuilder &b, Location loc, AffineExpr expr,
                            ArrayRef<OpFoldResult> operands) {
  return affine::makeComposedFoldedAffineApply(b, loc, expr, operands);
}

/// Dims of a tensor.reshape's result: its shape operand is a constant, built of
/// scalars, or itself made at run time (then it is read).
static Dims reshapeDims(OpBuilder &b, Location loc, tensor::ReshapeOp op) {
  Dims dims;
  auto type = cast<RankedTensorType>(op.getResult().getType());
  auto elements = op.getShape().getDefiningOp<tensor::FromElementsOp>();
  for (int64_t d = 0; d < type.getRank(); ++d) {
    if (!type.isDynamicDim(d)) {
      dims.push_back(b.getIndexAttr(type.getDimSize(d)));
      continue;
    }
    Value size;
    if (elements) {
      size = elements.getElements()[d];
    } else {
      Value index = arith::ConstantIndexOp::create(b, loc, d);
      size = tensor::ExtractOp::create(b, loc, op.getShape(), index);
    }
    if (!size.getType().isIndex())
      size = arith::IndexCastOp::create(b, loc, b.getIndexType(), size);
    dims.push_back(size);
  }
  return dims;
}

Dims hostDims(OpBuilder &b, Location loc, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Operation *def = tensor.getDefiningOp();
  if (type.hasStaticShape())
    return getAsIndexOpFoldResult(b.getContext(), type.getShape());
  if (auto slot = slotOf(tensor); slot && !isLateSlot(tensor)) {
    // The same in every iteration, in both branches.
    Value initial = initialOfSlot(slot->first, slot->second);
    return hostDims(b, loc,
                    initial ? initial
                            : yieldsOfSlot(slot->first, slot->second).front());
  }
  Dims dims =
      TypeSwitch<Operation *, Dims>(def)
          .Case<mv::LaunchOp>([&](mv::LaunchOp launch) {
            ReifiedRankedShapedTypeDims shapes;
            (void)launch.reifyResultShapes(b, shapes);
            return shapes[cast<OpResult>(tensor).getResultNumber()];
          })
          .Case<tensor::ExtractSliceOp>([&](tensor::ExtractSliceOp op) {
            Dims kept;
            llvm::SmallBitVector dropped = op.getDroppedDims();
            for (auto [d, size] : llvm::enumerate(op.getMixedSizes()))
              if (!dropped.test(d))
                kept.push_back(size);
            return kept;
          })
          .Case<tensor::ExpandShapeOp>([&](tensor::ExpandShapeOp op) {
            return op.getMixedOutputShape();
          })
          .Case<tensor::CollapseShapeOp>([&](tensor::CollapseShapeOp op) {
            Dims source = hostDims(b, loc, op.getSrc()), result;
            for (const ReassociationIndices &group :
                 op.getReassociationIndices()) {
              OpFoldResult product = b.getIndexAttr(1);
              for (int64_t d : group)
                product = combine(
                    b, loc, b.getAffineDimExpr(0) * b.getAffineSymbolExpr(0),
                    {product, source[d]});
              result.push_back(product);
            }
            return result;
          })
          .Case<tensor::ReshapeOp>(
              [&](tensor::ReshapeOp op) { return reshapeDims(b, loc, op); })
          .Case<tensor::CastOp>([&](tensor::CastOp op) {
            return hostDims(b, loc, op.getSource());
          })
          .Case<tensor::ConcatOp>([&](tensor::ConcatOp op) {
            Dims dims = hostDims(b, loc, op.getInputs().front());
            for (Value input : op.getInputs().drop_front()) {
              Dims part = hostDims(b, loc, input);
              dims[op.getDim()] =
                  combine(b, loc, b.getAffineDimExpr(0) + b.getAffineDimExpr(1),
                          {dims[op.getDim()], part[op.getDim()]});
            }
            return dims;
          })
          .Case<linalg::GenericOp>([&](linalg::GenericOp op) {
            SmallVector<int64_t> permutation;
            Dims source = hostDims(b, loc, op.getInputs()[0]), result;
            [[maybe_unused]] bool isView = isPermutedView(op, permutation);
            assert(isView && "no other generic stays on the host");
            for (int64_t d : permutation)
              result.push_back(source[d]);
            return result;
          })
          .Default([&](Operation *) {
            return tensor::getMixedSizes(b, loc, tensor);
          });
  for (auto [dim, size] : llvm::zip_equal(dims, type.getShape()))
    if (!ShapedType::isDynamic(size))
      dim = b.getIndexAttr(size);
  return dims;
}

bool isReshape(Operation *op) {
  return isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ReshapeOp>(
      op);
}

/// Row-major without gaps, as far as the type tells.
static bool isContiguous(MemRefType type) {
  if (type.getLayout().isIdentity())
    return true;
  SmallVector<int64_t> strides;
  int64_t offset, running = 1;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return false;
  for (int64_t d = type.getRank() - 1; d >= 0; --d) {
    if (type.getDimSize(d) != 1 && strides[d] != running)
      return false;
    if (ShapedType::isDynamic(type.getDimSize(d)) && d != 0)
      return false;
    running *= type.getDimSize(d);
  }
  return true;
}

static MemRefType contiguousType(RankedTensorType type) {
  return MemRefType::get(type.getShape(), type.getElementType());
}

/// A slice's memref type: rank-reduced as the tensor operation is.
static MemRefType sliceType(tensor::ExtractSliceOp op, MemRefType source) {
  return memref::SubViewOp::inferRankReducedResultType(
      op.getType().getShape(), source, op.getMixedOffsets(), op.getMixedSizes(),
      op.getMixedStrides());
}

/// Dim d of the result is dim permutation[d] of the source.
static FailureOr<MemRefType> permutedType(MemRefType source,
                                          ArrayRef<int64_t> permutation) {
  SmallVector<int64_t> strides, shape, permuted;
  int64_t offset;
  if (failed(source.getStridesAndOffset(strides, offset)))
    return failure();
  for (int64_t d : permutation) {
    shape.push_back(source.getDimSize(d));
    permuted.push_back(strides[d]);
  }
  return MemRefType::get(
      shape, source.getElementType(),
      StridedLayoutAttr::get(source.getContext(), offset, permuted));
}

static Value permute(OpBuilder &b, Location loc, Value source,
                     ArrayRef<int64_t> permutation) {
  auto map = AffineMap::getPermutationMap(permutation, b.getContext());
  return memref::TransposeOp::create(b, loc, source, AffineMapAttr::get(map));
}

FailureOr<MemRefType> viewType(Operation *op, MemRefType source) {
  return TypeSwitch<Operation *, FailureOr<MemRefType>>(op)
      .Case<tensor::ExtractSliceOp>(
          [&](tensor::ExtractSliceOp slice) -> FailureOr<MemRefType> {
            return sliceType(slice, source);
          })
      .Case<tensor::ExpandShapeOp>([&](tensor::ExpandShapeOp expand) {
        return memref::ExpandShapeOp::computeExpandedType(
            source, expand.getResultType().getShape(),
            expand.getReassociationIndices());
      })
      .Case<tensor::CollapseShapeOp>(
          [&](tensor::CollapseShapeOp collapse) -> FailureOr<MemRefType> {
            if (!memref::CollapseShapeOp::isGuaranteedCollapsible(
                    source, collapse.getReassociationIndices()))
              return failure();
            return memref::CollapseShapeOp::computeCollapsedType(
                source, collapse.getReassociationIndices());
          })
      .Case<tensor::ReshapeOp>(
          [&](tensor::ReshapeOp reshape) -> FailureOr<MemRefType> {
            if (!isContiguous(source))
              return failure();
            return contiguousType(
                cast<RankedTensorType>(reshape.getResult().getType()));
          })
      .Case<tensor::CastOp>([&](tensor::CastOp cast) -> FailureOr<MemRefType> {
        auto type = llvm::cast<RankedTensorType>(cast.getType());
        return MemRefType::get(type.getShape(), type.getElementType(),
                               source.getLayout());
      })
      .Case<linalg::GenericOp>(
          [&](linalg::GenericOp generic) -> FailureOr<MemRefType> {
            SmallVector<int64_t> permutation;
            if (!isPermutedView(generic, permutation))
              return failure();
            return permutedType(source, permutation);
          });
}

FailureOr<MemRefType> undoneType(Operation *op, MemRefType result) {
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return memref::ExpandShapeOp::computeExpandedType(
        result, collapse.getSrcType().getShape(),
        collapse.getReassociationIndices());
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    if (!memref::CollapseShapeOp::isGuaranteedCollapsible(
            result, expand.getReassociationIndices()))
      return failure();
    return memref::CollapseShapeOp::computeCollapsedType(
        result, expand.getReassociationIndices());
  }
  SmallVector<int64_t> permutation;
  if (isPermutedView(op, permutation))
    return permutedType(result, invertPermutationVector(permutation));
  return failure();
}

Value undoView(OpBuilder &b, Operation *op, Value result) {
  Location loc = op->getLoc();
  MemRefType source = *undoneType(op, cast<MemRefType>(result.getType()));
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return memref::ExpandShapeOp::create(b, loc, source, result,
                                         collapse.getReassociationIndices(),
                                         hostDims(b, loc, collapse.getSrc()));
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return memref::CollapseShapeOp::create(b, loc, source, result,
                                           expand.getReassociationIndices());
  SmallVector<int64_t> permutation;
  isPermutedView(op, permutation);
  return permute(b, loc, result, invertPermutationVector(permutation));
}

/// A contiguous buffer seen with other dims.
static Value seenWithDims(OpBuilder &b, Location loc, Value source,
                          const Dims &sizes) {
  auto type = cast<MemRefType>(source.getType());
  Dims strides(sizes.size());
  OpFoldResult running = b.getIndexAttr(1);
  for (int64_t d = sizes.size() - 1; d >= 0; --d) {
    strides[d] = running;
    running = combine(b, loc, b.getAffineDimExpr(0) * b.getAffineSymbolExpr(0),
                      {running, sizes[d]});
  }
  OpFoldResult offset = b.getIndexAttr(0);
  int64_t staticOffset;
  SmallVector<int64_t> ignored;
  if (succeeded(type.getStridesAndOffset(ignored, staticOffset)) &&
      staticOffset != 0)
    offset = memref::ExtractStridedMetadataOp::create(b, loc, source)
                 .getConstifiedMixedOffset();
  return memref::ReinterpretCastOp::create(b, loc, source, offset, sizes,
                                           strides);
}

/// Does an expansion make several dims out of one whose sizes are all unknown?
/// Upstream's lowering takes one such dim at most in a group.
static bool hasSeveralUnknowns(tensor::ExpandShapeOp expand) {
  return llvm::any_of(expand.getReassociationIndices(),
                      [&](const ReassociationIndices &group) {
                        return llvm::count_if(group, [&](int64_t d) {
                                 return expand.getResultType().isDynamicDim(d);
                               }) > 1;
                      });
}

Value buildView(OpBuilder &b, Operation *op, Value source) {
  auto type = cast<MemRefType>(source.getType());
  MemRefType result = *viewType(op, type);
  Location loc = op->getLoc();
  return TypeSwitch<Operation *, Value>(op)
      .Case<tensor::ExtractSliceOp>([&](tensor::ExtractSliceOp slice) {
        return memref::SubViewOp::create(
            b, loc, result, source, slice.getMixedOffsets(),
            slice.getMixedSizes(), slice.getMixedStrides());
      })
      .Case<tensor::ExpandShapeOp>([&](tensor::ExpandShapeOp expand) {
        if (type.getLayout().isIdentity() && hasSeveralUnknowns(expand))
          return seenWithDims(b, loc, source, expand.getMixedOutputShape());
        return Value(memref::ExpandShapeOp::create(
            b, loc, result, source, expand.getReassociationIndices(),
            expand.getMixedOutputShape()));
      })
      .Case<tensor::CollapseShapeOp>([&](tensor::CollapseShapeOp collapse) {
        return memref::CollapseShapeOp::create(
            b, loc, result, source, collapse.getReassociationIndices());
      })
      .Case<tensor::ReshapeOp>([&](tensor::ReshapeOp reshape) {
        return seenWithDims(b, loc, source,
                            hostDims(b, loc, reshape.getResult()));
      })
      .Case<tensor::CastOp>([&](tensor::CastOp) {
        return Value(memref::CastOp::create(b, loc, result, source));
      })
      .Case<linalg::GenericOp>([&](linalg::GenericOp generic) {
        SmallVector<int64_t> permutation;
        isPermutedView(generic, permutation);
        auto map = AffineMap::getPermutationMap(permutation, b.getContext());
        return Value(memref::TransposeOp::create(b, loc, source,
                                                 AffineMapAttr::get(map)));
      });
}

/// Where operand `number` of a concat begins along its dim.
static OpFoldResult partOffset(OpBuilder &b, tensor::ConcatOp concat,
                               unsigned number) {
  OpFoldResult offset = b.getIndexAttr(0);
  for (unsigned i = 0; i < number; ++i)
    offset = combine(
        b, concat.getLoc(), b.getAffineDimExpr(0) + b.getAffineDimExpr(1),
        {offset,
         hostDims(b, concat.getLoc(), concat.getInputs()[i])[concat.getDim()]});
  return offset;
}

/// The same as far as types tell.
static int64_t staticPartOffset(tensor::ConcatOp concat, unsigned number) {
  int64_t offset = 0;
  for (Value input : concat.getInputs().take_front(number)) {
    int64_t size =
        cast<RankedTensorType>(input.getType()).getDimSize(concat.getDim());
    if (ShapedType::isDynamic(size))
      return ShapedType::kDynamic;
    offset += size;
  }
  return offset;
}

MemRefType partType(tensor::ConcatOp concat, unsigned number,
                    MemRefType whole) {
  int64_t rank = whole.getRank();
  SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
  offsets[concat.getDim()] = staticPartOffset(concat, number);
  auto part = cast<RankedTensorType>(concat.getInputs()[number].getType());
  return cast<MemRefType>(memref::SubViewOp::inferResultType(
      whole, offsets, part.getShape(), strides));
}

Value buildPart(OpBuilder &b, tensor::ConcatOp concat, unsigned number,
                Value whole) {
  auto wholeType = cast<MemRefType>(whole.getType());
  int64_t rank = wholeType.getRank();
  Dims offsets(rank, b.getIndexAttr(0)), strides(rank, b.getIndexAttr(1));
  Location loc = concat.getLoc();
  Value input = concat.getInputs()[number];
  offsets[concat.getDim()] = partOffset(b, concat, number);
  Dims sizes = hostDims(b, loc, input);
  // What is dynamic in the type is an operand, also if it is a known number (a
  // loop may carry a static tensor as a dynamic one).
  if (ShapedType::isDynamic(staticPartOffset(concat, number)))
    offsets[concat.getDim()] =
        getValueOrCreateConstantIndexOp(b, loc, offsets[concat.getDim()]);
  for (auto [size, known] : llvm::zip_equal(
           sizes, cast<RankedTensorType>(input.getType()).getShape()))
    if (ShapedType::isDynamic(known))
      size = getValueOrCreateConstantIndexOp(b, loc, size);
  return memref::SubViewOp::create(b, loc, partType(concat, number, wholeType),
                                   whole, offsets, sizes, strides);
}

} // namespace marver
