//===- Layout.cpp - The blocked activation layout -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Convolutions read and write N x C x S... as N x ceil(C/B) x S... x B, B being
// the target's f32 lanes (docs/architecture.md, "Layout"). This pass walks each
// function once, in order. A convolution with constant weights always has a
// blocked result; pools, resizes, elementwise operations, channel concats and
// slices, pads and spatial reductions follow when what they read is blocked
// already. So the layout spreads from the convolutions down to where something
// needs the plain order, and nothing is converted twice: every blocked value
// has at most one plain copy, made by linalg.unpack (or a reshape, where no
// element moves), and every plain value at most one blocked copy.
//
//   %c = mv.conv %x, %w bias %b {pads = [1, 1, 1, 1], ...}
//          : tensor<1x32x56x56xf32> ...
//   %r = linalg.generic ins(%c) { maximumf 0 }
// becomes
//   %p = tensor.pad %x_blocked low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
//   %c = mv.packed_conv %p, %w1 bias %b1 {in_channels = 32, ...}
//          : tensor<1x2x58x58x16xf32> ...
//   %r = linalg.generic ins(%c) { maximumf 0 }   // on tensor<1x4x56x56x16xf32>
//
// Lanes beyond C hold anything. Hence what mixes channels (a reduction over
// them, a softmax) or could trap on garbage (integer division, an indexed load)
// reads the plain value.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/LayoutRewriter.h"
#include "compiler/graph/Packing.h"
#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

using Dims = SmallVector<OpFoldResult>;

bool LayoutRewriter::keep(Operation *op, const Twine &reason) {
  if (explain)
    op->emitRemark() << "stays plain: " << reason;
  return false;
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

RankedTensorType LayoutRewriter::blockedType(RankedTensorType type,
                                             int64_t dim) const {
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = llvm::divideCeilSigned(shape[dim], lanes);
  shape.push_back(lanes);
  return RankedTensorType::get(shape, type.getElementType());
}

Value LayoutRewriter::zero(Type type) {
  return arith::ConstantOp::create(builder, builder.getUnknownLoc(),
                                   builder.getZeroAttr(type));
}

/// [0], [1 .. rank): the groups between N x (C ...) and N x C.
static SmallVector<ReassociationIndices> vectorGroups(int64_t rank) {
  SmallVector<ReassociationIndices> groups = {{0}, {}};
  for (int64_t i = 1; i < rank; ++i)
    groups[1].push_back(i);
  return groups;
}

Value LayoutRewriter::makePlain(Value blocked, RankedTensorType type) {
  Location loc = blocked.getLoc();
  int64_t rank = type.getRank();
  Dims dims = tensor::getMixedSizes(builder, loc, blocked);
  dims.pop_back();
  dims[1] = builder.getIndexAttr(type.getDimSize(1));
  if (type.getDimSize(1) % lanes == 0 && isVector(type)) {
    auto matrix = RankedTensorType::get(type.getShape().take_front(2),
                                        type.getElementType());
    Value flat = tensor::CollapseShapeOp::create(builder, loc, matrix, blocked,
                                                 vectorGroups(rank + 1));
    if (rank == 2)
      return flat;
    return tensor::ExpandShapeOp::create(builder, loc, type, flat,
                                         vectorGroups(rank), dims);
  }
  Value empty =
      tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
  return linalg::UnPackOp::create(
             builder, loc, blocked, empty, ArrayRef<int64_t>{1},
             ArrayRef<OpFoldResult>{builder.getIndexAttr(lanes)})
      .getResult();
}

/// `value` with dim `dim` in blocks, computed where the builder stands.
Value LayoutRewriter::blockOf(Value value, int64_t dim) {
  RankedTensorType type = typeOf(value);
  Location loc = value.getLoc();
  if (std::optional<ConstantData> data = getConstantData(value))
    return constant(loc, blockConstant(*data, dim, lanes));
  Dims dims = tensor::getMixedSizes(builder, loc, value);
  dims[dim] =
      builder.getIndexAttr(llvm::divideCeilSigned(type.getDimSize(dim), lanes));
  dims.push_back(builder.getIndexAttr(lanes));
  bool isWhole = type.getDimSize(dim) % lanes == 0;
  if (dim == 1 && isWhole && isVector(type)) {
    Value flat = value;
    int64_t rank = type.getRank();
    if (rank > 2)
      flat = tensor::CollapseShapeOp::create(
          builder, loc,
          RankedTensorType::get(type.getShape().take_front(2),
                                type.getElementType()),
          value, vectorGroups(rank));
    return tensor::ExpandShapeOp::create(builder, loc, blockedType(type), flat,
                                         vectorGroups(rank + 1), dims);
  }
  // Row-major tokens made channels-first: whole blocks move, no element leaves
  // its block.
  auto transpose = value.getDefiningOp<linalg::GenericOp>();
  std::optional<SmallVector<int64_t>> permutation;
  if (transpose && dim == 1 && isWhole && transpose->hasOneUse())
    permutation = getPermutation(transpose);
  if (permutation && (*permutation)[1] == type.getRank() - 1) {
    Value source = transpose.getInputs()[0];
    int64_t last = type.getRank() - 1;
    Dims split = tensor::getMixedSizes(builder, loc, source);
    split[last] = dims[1];
    split.push_back(dims.back());
    SmallVector<ReassociationIndices> groups;
    for (int64_t i = 0; i < last; ++i)
      groups.push_back({i});
    groups.push_back({last, last + 1});
    Value blocks = tensor::ExpandShapeOp::create(
        builder, loc, blockedType(typeOf(source), last), source, groups, split);
    AffineMap oldMap = transpose.getIndexingMapsArray()[0];
    SmallVector<AffineExpr> exprs(oldMap.getResults());
    exprs.push_back(builder.getAffineDimExpr(last + 1));
    unsigned loops = last + 2;
    Value empty =
        tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
    return linalg::GenericOp::create(
               builder, loc, TypeRange{empty.getType()}, ValueRange{blocks},
               ValueRange{empty},
               ArrayRef<AffineMap>{
                   AffineMap::get(loops, 0, exprs, builder.getContext()),
                   builder.getMultiDimIdentityMap(loops)},
               SmallVector<utils::IteratorType>(loops,
                                                utils::IteratorType::parallel),
               [](OpBuilder &b, Location loc, ValueRange args) {
                 linalg::YieldOp::create(b, loc, args[0]);
               })
        .getResult(0);
  }
  Value empty =
      tensor::EmptyOp::create(builder, loc, dims, type.getElementType());
  std::optional<Value> padding;
  if (!isWhole)
    padding = zero(type.getElementType());
  return linalg::PackOp::create(
             builder, loc, value, empty, ArrayRef<int64_t>{dim},
             ArrayRef<OpFoldResult>{builder.getIndexAttr(lanes)}, padding)
      .getResult();
}

Value LayoutRewriter::getBlocked(Value value) {
  Value &blocked = blockedOf[value];
  if (!blocked) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    Value made = blockOf(value, 1);
    return blockedOf[value] = made;
  }
  return blocked;
}

/// `blocked` takes the place of `plain`: users that cannot read it so get one
/// conversion, which disappears if there are none.
void LayoutRewriter::setBlocked(Value plain, Value blocked) {
  Value copy = makePlain(blocked, typeOf(plain));
  plain.replaceAllUsesWith(copy);
  blockedOf[copy] = blocked;
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

bool LayoutRewriter::rewriteConcat(tensor::ConcatOp op) {
  RankedTensorType type = op.getResultType();
  if (type.getRank() < 3 || type.isDynamicDim(1))
    return false;
  int64_t blocked = 0, plain = 0;
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    int64_t channels = typeOf(input).getDimSize(1);
    if (ShapedType::isDynamic(channels))
      return false;
    (isBlocked(input) ? blocked : plain) += channels;
    // The last part's tail is the tail of the whole.
    if (op.getDim() == 1 && channels % lanes != 0 &&
        i + 1 != op.getInputs().size())
      return keep(op, "its parts are not whole blocks of channels");
  }
  if (blocked <= plain)
    return keep(op, "most of what it reads is plain");
  SmallVector<Value> parts;
  for (Value input : op.getInputs())
    parts.push_back(getBlocked(input));
  auto result = tensor::ConcatOp::create(builder, op.getLoc(),
                                         blockedType(type), op.getDim(), parts);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

bool LayoutRewriter::rewriteSlice(tensor::ExtractSliceOp op) {
  RankedTensorType type = op.getType(), source = op.getSourceType();
  if (!isBlocked(op.getSource()) || type.getRank() != source.getRank())
    return false;
  Dims offsets = op.getMixedOffsets(), sizes = op.getMixedSizes(),
       strides = op.getMixedStrides();
  std::optional<int64_t> offset = getConstantIntValue(offsets[1]);
  std::optional<int64_t> size = getConstantIntValue(sizes[1]);
  if (!offset || !size || *offset % lanes != 0 ||
      (getConstantIntValue(strides[1]) != 1 && *size != 1))
    return keep(op, "it does not start at a block of channels");
  offsets[1] = builder.getIndexAttr(*offset / lanes);
  sizes[1] = builder.getIndexAttr(llvm::divideCeilSigned(*size, lanes));
  strides[1] = builder.getIndexAttr(1);
  offsets.push_back(builder.getIndexAttr(0));
  sizes.push_back(builder.getIndexAttr(lanes));
  strides.push_back(builder.getIndexAttr(1));
  auto result = tensor::ExtractSliceOp::create(
      builder, op.getLoc(), blockedType(type), getBlocked(op.getSource()),
      offsets, sizes, strides);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

bool LayoutRewriter::rewritePad(tensor::PadOp op) {
  if (!isBlocked(op.getSource()))
    return false;
  Value value = op.getConstantPaddingValue();
  Dims low = op.getMixedLowPad(), high = op.getMixedHighPad();
  if (!value || getConstantIntValue(low[1]) != 0 ||
      getConstantIntValue(high[1]) != 0)
    return keep(op, "it pads channels");
  low.push_back(builder.getIndexAttr(0));
  high.push_back(builder.getIndexAttr(0));
  auto result = tensor::PadOp::create(
      builder, op.getLoc(), blockedType(op.getResultType()),
      getBlocked(op.getSource()), low, high, value);
  setBlocked(op.getResult(), result);
  op.erase();
  return true;
}

/// expand_shape and collapse_shape that leave N and C where they are: only
/// spatial dims are split, merged, added or dropped. `groups` are those of the
/// side with more dims.
bool LayoutRewriter::rewriteReshape(Operation *op,
                                    ArrayRef<ReassociationIndices> groups,
                                    bool collapses) {
  Value source = op->getOperand(0), plain = op->getResult(0);
  if (!isBlocked(source) || typeOf(plain).getRank() < 2 ||
      typeOf(source).getRank() < 2)
    return false;
  RankedTensorType large = typeOf(collapses ? source : plain);
  if (groups.size() < 2 || groups[0].size() != 1 || groups[1][0] != 1)
    return keep(op, "it splits or merges channels");
  for (int64_t dim : ArrayRef(groups[1]).drop_front())
    if (large.getDimSize(dim) != 1)
      return keep(op, "it merges channels with other dims");
  SmallVector<ReassociationIndices> blockedGroups(groups);
  blockedGroups.push_back({large.getRank()});
  RankedTensorType type = blockedType(typeOf(plain));
  Value result;
  if (collapses) {
    result = tensor::CollapseShapeOp::create(builder, op->getLoc(), type,
                                             getBlocked(source), blockedGroups);
  } else {
    Dims dims = cast<tensor::ExpandShapeOp>(op).getMixedOutputShape();
    dims[1] = builder.getIndexAttr(type.getDimSize(1));
    dims.push_back(builder.getIndexAttr(lanes));
    result = tensor::ExpandShapeOp::create(
        builder, op->getLoc(), type, getBlocked(source), blockedGroups, dims);
  }
  setBlocked(plain, result);
  op->erase();
  return true;
}

//===----------------------------------------------------------------------===//
// The walk
//===----------------------------------------------------------------------===//

bool LayoutRewriter::rewrite(Operation *op) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](mv::ConvOp conv) { return rewriteConv(conv); })
      .Case([&](mv::PoolOp pool) { return rewritePool(pool); })
      .Case([&](mv::ResizeOp resize) { return rewriteResize(resize); })
      .Case([&](linalg::GenericOp generic) { return rewriteGeneric(generic); })
      .Case([&](tensor::ConcatOp concat) { return rewriteConcat(concat); })
      .Case([&](tensor::ExtractSliceOp slice) { return rewriteSlice(slice); })
      .Case([&](tensor::PadOp pad) { return rewritePad(pad); })
      .Case([&](tensor::ExpandShapeOp reshape) {
        return rewriteReshape(op, reshape.getReassociationIndices(), false);
      })
      .Case([&](tensor::CollapseShapeOp reshape) {
        return rewriteReshape(op, reshape.getReassociationIndices(), true);
      })
      .Default([](Operation *) { return false; });
}

void LayoutRewriter::run() {
  SmallVector<Operation *> ops;
  function.walk<WalkOrder::PreOrder>([&](Operation *op) {
    ops.push_back(op);
    return isa<linalg::LinalgOp>(op) ? WalkResult::skip()
                                     : WalkResult::advance();
  });
  for (Operation *op : ops) {
    builder.setInsertionPoint(op);
    rewrite(op);
  }
}

namespace {

struct Layout : PassWrapper<Layout, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Layout)
  Layout() = default;
  Layout(const Layout &other) : PassWrapper(other) { target = other.target; }
  Layout(const TargetInfo &info, bool explainIt) : target(info) {
    explain = explainIt;
  }

  StringRef getArgument() const override { return "mv-layout"; }
  StringRef getDescription() const override {
    return "Choose the blocked layout and pack convolution weights";
  }

  Option<int64_t> lanes{*this, "lanes", llvm::cl::init(0),
                        llvm::cl::desc("f32 values in a vector register")};
  Option<bool> explain{*this, "explain", llvm::cl::init(false),
                       llvm::cl::desc("say why a value is blocked or is not")};

  void runOnOperation() override {
    if (lanes > 0)
      target.lanes = lanes;
    LayoutRewriter(getOperation(), target, explain).run();
  }

  TargetInfo target;
};

} // namespace

std::unique_ptr<Pass> marver::createLayoutPass(const TargetInfo &target,
                                               bool explain) {
  return std::make_unique<Layout>(target, explain);
}
