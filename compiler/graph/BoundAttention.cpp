//===- BoundAttention.cpp - Masks that are positions ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A decoder with a cache of fixed length masks the positions that are not yet
// filled by comparing them with the current one. The attention then takes the
// position itself and reads no key beyond it:
//
//   %m = linalg.generic ins(%iota, %pos) { cmpi sle }        // ... x T x S
//   %e = tensor.expand_shape %m
//   %y = mv.attention %q, %k, %v mask %e
// becomes
//   %l = linalg.generic ins(%pos) { yield }                  // ... x T x 1
//   %e = tensor.expand_shape %l
//   %y = mv.attention %q, %k, %v mask %e                     // of i64
//
// Constant masks whose rows are true up to a position become constants.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace marver;

/// Whether `value`, a scalar of a generic's body, is the position along its
/// last loop.
static bool isPosition(Value value, linalg::GenericOp op) {
  while (Operation *cast = value.getDefiningOp()) {
    if (auto index = dyn_cast<linalg::IndexOp>(cast))
      return index.getDim() + 1 == op.getNumLoops();
    if (!isa<arith::IndexCastOp, arith::ExtSIOp>(cast))
      return false;
    value = cast->getOperand(0);
  }
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument || argument.getOwner() != op.getBody())
    return false;
  OpOperand *input = op.getMatchingOpOperand(argument);
  auto last = getAffineDimExpr(op.getNumLoops() - 1, op.getContext());
  for (AffineExpr expr : op.getMatchingIndexingMap(input).getResults())
    if (expr != last && !isa<AffineConstantExpr>(expr))
      return false;
  Value source = input->get();
  while (isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
      source.getDefiningOp()))
    source = source.getDefiningOp()->getOperand(0);
  if (auto inner = source.getDefiningOp<linalg::GenericOp>())
    return inner.getNumLoops() == 1 && inner.getNumResults() == 1 &&
           isPosition(inner.getBody()->getTerminator()->getOperand(0), inner);
  std::optional<SmallVector<int64_t>> numbers = getConstantInts(source);
  if (!numbers)
    return false;
  for (auto [i, number] : llvm::enumerate(*numbers))
    if (number != int64_t(i))
      return false;
  return true;
}

/// The argument of `op` that says, for all loops but the last, up to which
/// position its result is true; `exclusive` if not at that one itself.
static OpOperand *boundOf(linalg::GenericOp op, bool &exclusive) {
  auto compare = op.getBody()
                     ->getTerminator()
                     ->getOperand(0)
                     .getDefiningOp<arith::CmpIOp>();
  if (!compare)
    return nullptr;
  Value position = compare.getLhs(), bound = compare.getRhs();
  arith::CmpIPredicate predicate = compare.getPredicate();
  if (!isPosition(position, op)) {
    std::swap(position, bound);
    if (predicate == arith::CmpIPredicate::sge)
      predicate = arith::CmpIPredicate::sle;
    else if (predicate == arith::CmpIPredicate::sgt)
      predicate = arith::CmpIPredicate::slt;
    else
      return nullptr;
    if (!isPosition(position, op))
      return nullptr;
  }
  auto argument = dyn_cast<BlockArgument>(bound);
  if ((predicate != arith::CmpIPredicate::sle &&
       predicate != arith::CmpIPredicate::slt) ||
      !argument || argument.getOwner() != op.getBody() ||
      !argument.getType().isInteger(64))
    return nullptr;
  OpOperand *input = op.getMatchingOpOperand(argument);
  if (op.getMatchingIndexingMap(input).isFunctionOfDim(op.getNumLoops() - 1))
    return nullptr;
  exclusive = predicate == arith::CmpIPredicate::slt;
  return input;
}

/// The same for a constant whose rows are each true up to some position.
static Value constantPositions(Value mask) {
  std::optional<ConstantData> data = getConstantData(mask);
  if (!data || data->type.getRank() == 0 || data->type.getNumElements() == 0)
    return nullptr;
  SmallVector<int64_t> shape(data->type.getShape());
  int64_t keys = std::exchange(shape.back(), 1);
  SmallVector<int64_t> last;
  for (int64_t row = 0; row < data->type.getNumElements(); row += keys) {
    int64_t seen = 0;
    while (seen < keys && data->getInt(row + seen))
      ++seen;
    for (int64_t key = seen; key < keys; ++key)
      if (data->getInt(row + key))
        return nullptr;
    last.push_back(seen - 1);
  }
  OpBuilder b(mask.getDefiningOp());
  auto type = RankedTensorType::get(shape, b.getI64Type());
  return arith::ConstantOp::create(
      b, mask.getLoc(), makeConstant(type, [&](MutableArrayRef<char> out) {
        std::memcpy(out.data(), last.data(), out.size());
      }));
}

/// Positions that stand for the i1 tensor `mask`, or null: its shape, with a
/// last dim of 1.
static Value positionsOf(Value mask) {
  if (Value positions = constantPositions(mask))
    return positions;
  if (auto expand = mask.getDefiningOp<tensor::ExpandShapeOp>()) {
    RankedTensorType source = expand.getSrcType();
    // The last dim must stay what it is.
    if (source.getRank() == 0 ||
        source.getShape().back() != expand.getResultType().getShape().back())
      return nullptr;
    Value inner = positionsOf(expand.getSrc());
    if (!inner)
      return nullptr;
    OpBuilder b(expand);
    SmallVector<OpFoldResult> sizes = expand.getMixedOutputShape();
    sizes.back() = b.getIndexAttr(1);
    SmallVector<int64_t> shape(expand.getResultType().getShape());
    shape.back() = 1;
    return tensor::ExpandShapeOp::create(
        b, expand.getLoc(), RankedTensorType::get(shape, b.getI64Type()), inner,
        expand.getReassociationIndices(), sizes);
  }
  auto op = mask.getDefiningOp<linalg::GenericOp>();
  bool exclusive = false;
  if (!op || !isPointwise(op) || op.getNumResults() != 1 ||
      op.getNumLoops() == 0)
    return nullptr;
  OpOperand *bound = boundOf(op, exclusive);
  if (!bound)
    return nullptr;
  OpBuilder b(op);
  unsigned loops = op.getNumLoops();
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, op.getLoc(), op.getDpsInits()[0]);
  sizes.back() = b.getIndexAttr(1);
  Value empty = tensor::EmptyOp::create(b, op.getLoc(), sizes, b.getI64Type());
  return linalg::GenericOp::create(
             b, op.getLoc(), TypeRange{empty.getType()},
             ValueRange{bound->get()}, ValueRange{empty},
             ArrayRef<AffineMap>{op.getMatchingIndexingMap(bound),
                                 b.getMultiDimIdentityMap(loops)},
             SmallVector<utils::IteratorType>(loops,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               Value last = args[0];
               if (exclusive)
                 last = arith::SubIOp::create(
                     b, loc, last,
                     arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(1)));
               linalg::YieldOp::create(b, loc, last);
             })
      .getResult(0);
}

namespace {

struct BoundAttention
    : PassWrapper<BoundAttention, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(BoundAttention)
  StringRef getArgument() const override { return "mv-bound-attention"; }
  StringRef getDescription() const override {
    return "Give attention the positions that its masks are made from";
  }

  void runOnOperation() override {
    // Layers share a mask.
    DenseMap<Value, Value> known;
    getOperation().walk([&](mv::AttentionOp op) {
      Value mask = op.getMask();
      if (!mask ||
          !cast<RankedTensorType>(mask.getType()).getElementType().isInteger(1))
        return;
      auto [entry, isNew] = known.try_emplace(mask);
      if (isNew)
        entry->second = positionsOf(mask);
      if (Value positions = known.lookup(mask))
        op.getMaskMutable().assign(positions);
    });
  }
};

} // namespace

std::unique_ptr<Pass> marver::createBoundAttentionPass() {
  return std::make_unique<BoundAttention>();
}
