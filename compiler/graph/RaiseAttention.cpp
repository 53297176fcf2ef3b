//===- RaiseAttention.cpp - Attention written as products and softmax -----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches softmax(scale * (q k^T) + mask) v as exporters write it: scales
// before or after the first product (also their roots on q and k apart), an
// added mask, and the guard that makes rows without any key zero instead of
// NaN. Makes mv.attention; a mask that chooses between 0 and -inf becomes the
// i1 mask when the guard is there, because that is what the guard means.
//
//   %s = mv.matmul %q, %k {transpose_rhs}
//   %t = linalg.generic ins(%s) { mulf 0.125 }
//   %p = mv.softmax %t {dim = 3}
//   %y = mv.matmul %p, %v
// becomes
//   %y = mv.attention %q, %k, %v {scale = 0.125}
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace marver;

namespace {

/// value = scale * base with dim i of value being dim permutation[i] of base.
struct Scaled {
  Value base;
  double scale = 1.0;
  SmallVector<int64_t> permutation;
};

} // namespace

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The one operation of a generic's body, and a null pointer if there are more.
static Operation *onlyOp(linalg::GenericOp op) {
  Operation *only = nullptr;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (inner.hasTrait<OpTrait::ConstantLike>())
      continue;
    if (only)
      return nullptr;
    only = &inner;
  }
  if (!only || only->getNumResults() != 1 ||
      op.getBody()->getTerminator()->getOperands() != only->getResults())
    return nullptr;
  return only;
}

/// x * c, c * x or x / c, where x is the body's argument.
static std::optional<double> scaleOf(linalg::GenericOp op) {
  Operation *only = onlyOp(op);
  if (!only || op.getNumDpsInputs() != 1)
    return std::nullopt;
  Value argument = op.getBody()->getArgument(0);
  FloatAttr factor;
  if (isa<arith::MulFOp>(only)) {
    if ((only->getOperand(0) == argument &&
         matchPattern(only->getOperand(1), m_Constant(&factor))) ||
        (only->getOperand(1) == argument &&
         matchPattern(only->getOperand(0), m_Constant(&factor))))
      return factor.getValueAsDouble();
  } else if (isa<arith::DivFOp>(only) && only->getOperand(0) == argument &&
             matchPattern(only->getOperand(1), m_Constant(&factor))) {
    return 1.0 / factor.getValueAsDouble();
  }
  return std::nullopt;
}

static Scaled peel(Value value) {
  Scaled result;
  result.base = value;
  result.permutation =
      llvm::to_vector(llvm::seq<int64_t>(0, typeOf(value).getRank()));
  while (auto op = result.base.getDefiningOp<linalg::GenericOp>()) {
    if (!isPointwise(op) || op.getNumDpsInputs() != 1 ||
        op.getNumResults() != 1)
      break;
    AffineMap map = op.getIndexingMapsArray()[0];
    Value input = op.getInputs()[0];
    auto type = dyn_cast<RankedTensorType>(input.getType());
    std::optional<double> scale = isMove(op) ? 1.0 : scaleOf(op);
    if (!scale || !map.isPermutation() || !type ||
        type.getElementType() != typeOf(result.base).getElementType())
      break;
    // Input dim i is loop dim map[i].
    SmallVector<int64_t> inner(map.getNumResults());
    for (auto [i, expr] : llvm::enumerate(map.getResults()))
      inner[cast<AffineDimExpr>(expr).getPosition()] = i;
    for (int64_t &dim : result.permutation)
      dim = inner[dim];
    result.scale *= *scale;
    result.base = input;
  }
  return result;
}

/// `base` with dim i being its dim permutation[i].
static Value transposed(OpBuilder &builder, Location loc, const Scaled &value) {
  ArrayRef<int64_t> permutation = value.permutation;
  if (isIdentityPermutation(permutation))
    return value.base;
  SmallVector<OpFoldResult> dims =
      tensor::getMixedSizes(builder, loc, value.base);
  applyPermutationToVector(dims, permutation);
  Value empty = tensor::EmptyOp::create(builder, loc, dims,
                                        typeOf(value.base).getElementType());
  unsigned rank = permutation.size();
  AffineMap map = AffineMap::getPermutationMap(
      invertPermutationVector(permutation), builder.getContext());
  return linalg::GenericOp::create(
             builder, loc, TypeRange{empty.getType()}, ValueRange{value.base},
             ValueRange{empty},
             ArrayRef<AffineMap>{map, builder.getMultiDimIdentityMap(rank)},
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [](OpBuilder &b, Location loc, ValueRange args) {
               linalg::YieldOp::create(b, loc, args[0]);
             })
      .getResult(0);
}

/// Whether an operand read through `map` broadcasts by numpy's rule: its dims
/// are the last loops in order, or 0 where its size is 1.
static bool broadcastsAligned(AffineMap map, RankedTensorType type) {
  unsigned first = map.getNumDims() - map.getNumResults();
  if (map.getNumResults() > map.getNumDims())
    return false;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      if (dim.getPosition() != first + i)
        return false;
    } else if (expr != 0 || type.getDimSize(i) != 1) {
      return false;
    }
  }
  return true;
}

static bool isConstant(Value value, function_ref<bool(const APFloat &)> is) {
  FloatAttr number;
  return matchPattern(value, m_Constant(&number)) && is(number.getValue());
}

static bool isZero(const APFloat &value) { return value.isZero(); }
static bool isMinusInfinity(const APFloat &value) {
  return value.isInfinity() && value.isNegative();
}

/// The i1 tensor of a mask that is 0 where it is true and -inf elsewhere, with
/// its map from the mask's own loops.
static std::optional<std::pair<Value, AffineMap>> keepMask(Value mask) {
  auto op = mask.getDefiningOp<linalg::GenericOp>();
  if (!op || !isPointwise(op) || op.getNumDpsInputs() != 1)
    return std::nullopt;
  auto select = dyn_cast_or_null<arith::SelectOp>(onlyOp(op));
  if (!select || select.getCondition() != op.getBody()->getArgument(0) ||
      !isConstant(select.getTrueValue(), isZero) ||
      !isConstant(select.getFalseValue(), isMinusInfinity))
    return std::nullopt;
  return std::pair(op.getInputs()[0], op.getIndexingMapsArray()[0]);
}

/// Whether an added mask leaves every row a key: then no row of weights is NaN
/// for want of keys, and a guard against that does nothing.
static bool leavesKeys(Value mask) {
  auto isFinite = [](const APFloat &value) { return value.isFinite(); };
  if (auto op = mask.getDefiningOp<linalg::GenericOp>()) {
    auto select = dyn_cast_or_null<arith::SelectOp>(onlyOp(op));
    return select && isConstant(select.getTrueValue(), isFinite) &&
           isConstant(select.getFalseValue(), isFinite);
  }
  std::optional<ConstantData> data = getConstantData(mask);
  if (!data || !isa<FloatType>(data->type.getElementType()) ||
      data->type.getRank() == 0)
    return false;
  int64_t row = data->type.getShape().back();
  for (int64_t i = 0, e = elementCount(data->type); i < e; i += row) {
    bool hasKey = false;
    for (int64_t s = 0; s < row && !hasKey; ++s)
      hasKey = std::isfinite(data->getFloat(i + s));
    if (!hasKey)
      return false;
  }
  return true;
}

/// Whether a constant mask is that of a causal attention: true, or 0, up to the
/// diagonal; beyond it false, or so far below that the weights there are 0.
static bool isCausal(Value mask, RankedTensorType scores) {
  std::optional<ConstantData> data = getConstantData(mask);
  int64_t rank = scores.getRank(), rows = scores.getDimSize(rank - 2),
          columns = scores.getDimSize(rank - 1);
  bool isFloat = data && isa<FloatType>(data->type.getElementType());
  if (!data || (!isFloat && !data->type.getElementType().isInteger(1)) ||
      data->type.getRank() < 2 || ShapedType::isDynamic(rows) ||
      rows != columns ||
      data->type.getShape().take_back(2) != scores.getShape().take_back(2))
    return false;
  constexpr double muchBelow = -1e30;
  for (int64_t i = 0, e = elementCount(data->type); i < e; ++i) {
    int64_t s = i % columns, t = i / columns % rows;
    double value = isFloat           ? data->getFloat(i)
                   : data->getInt(i) ? 0
                                     : -INFINITY;
    if (s <= t ? value != 0 : !(value <= muchBelow))
      return false;
  }
  return true;
}

/// `isnan(x)` as an i1 value of a body or of a tensor.
static bool isNan(Operation *op) {
  auto compare = dyn_cast_or_null<arith::CmpFOp>(op);
  return compare && compare.getLhs() == compare.getRhs() &&
         (compare.getPredicate() == arith::CmpFPredicate::UNO ||
          compare.getPredicate() == arith::CmpFPredicate::UNE);
}

/// Strips `select(isnan(x), 0, x)` off x, whose only users are that.
static Value stripGuard(Value value, bool &hasGuard) {
  hasGuard = false;
  auto op = value.getDefiningOp<linalg::GenericOp>();
  if (!op || !isPointwise(op))
    return value;
  Block *body = op.getBody();
  auto select =
      body->getTerminator()->getOperand(0).getDefiningOp<arith::SelectOp>();
  if (!select || !isConstant(select.getTrueValue(), isZero))
    return value;
  auto kept = dyn_cast<BlockArgument>(select.getFalseValue());
  if (!kept || kept.getOwner() != body)
    return value;
  OpOperand *use = op.getDpsInputOperand(kept.getArgNumber());
  Value source = use->get();
  if (!op.getMatchingIndexingMap(use).isIdentity())
    return value;
  Value condition = select.getCondition();
  if (auto argument = dyn_cast<BlockArgument>(condition)) {
    // The test is a tensor of its own.
    if (argument.getOwner() != body)
      return value;
    OpOperand *test = op.getDpsInputOperand(argument.getArgNumber());
    auto testOp = test->get().getDefiningOp<linalg::GenericOp>();
    if (!testOp || !isPointwise(testOp) ||
        !op.getMatchingIndexingMap(test).isIdentity() ||
        testOp.getInputs().size() != 1 || testOp.getInputs()[0] != source ||
        !testOp.getIndexingMapsArray()[0].isIdentity() ||
        !isNan(onlyOp(testOp)))
      return value;
    hasGuard = true;
    return source;
  }
  Operation *compare = condition.getDefiningOp();
  if (op.getNumDpsInputs() != 1 || !isNan(compare) ||
      compare->getOperand(0) != kept)
    return value;
  hasGuard = true;
  return source;
}

/// Splits `scores + mask`. Returns the scores; false if an addition cannot be a
/// mask.
static bool splitMask(Value &scores, bool hasGuard, Value &mask, bool &causal) {
  auto op = scores.getDefiningOp<linalg::GenericOp>();
  // A mask of one moderate number (all keys take part) changes no weight; a
  // huge one would swallow the scores.
  if (op && isPointwise(op) && op.getNumDpsInputs() == 1 &&
      op.getIndexingMapsArray()[0].isIdentity()) {
    auto add = dyn_cast_or_null<arith::AddFOp>(onlyOp(op));
    auto isModerate = [](const APFloat &value) {
      return value.isFinite() && std::abs(value.convertToDouble()) < 256;
    };
    if (add && (isConstant(add.getLhs(), isModerate) ||
                isConstant(add.getRhs(), isModerate))) {
      scores = op.getInputs()[0];
      return true;
    }
  }
  if (!op || !isPointwise(op) || op.getNumDpsInputs() != 2)
    return true; // no mask, as far as can be seen
  if (!isa_and_nonnull<arith::AddFOp>(onlyOp(op)))
    return false;
  for (unsigned side : {0u, 1u}) {
    Value sum = op.getInputs()[side], added = op.getInputs()[1 - side];
    AffineMap map = op.getIndexingMapsArray()[1 - side];
    if (!op.getIndexingMapsArray()[side].isIdentity() ||
        !peel(sum).base.getDefiningOp<mv::MatmulOp>())
      continue;
    if (broadcastsAligned(map, typeOf(added)) &&
        isCausal(added, typeOf(op.getResult(0)))) {
      causal = true;
      scores = sum;
      return true;
    }
    if (hasGuard && !leavesKeys(added)) {
      std::optional<std::pair<Value, AffineMap>> keep = keepMask(added);
      if (!keep)
        return false;
      added = keep->first;
      map = keep->second.compose(map);
    }
    if (!broadcastsAligned(map, typeOf(added)))
      return false;
    mask = added;
    scores = sum;
    return true;
  }
  return false;
}

static bool raise(mv::MatmulOp outer) {
  bool hasGuard;
  Value weights = stripGuard(outer.getLhs(), hasGuard);
  auto softmax = weights.getDefiningOp<mv::SoftmaxOp>();
  int64_t rank = typeOf(outer.getResult()).getRank();
  if (!softmax || softmax.getLog() ||
      static_cast<int64_t>(softmax.getDim()) != rank - 1 ||
      outer.getTransposeRhs() || typeOf(outer.getRhs()).getRank() != rank)
    return false;
  // The weights must not be needed for anything else.
  if (!outer.getLhs().hasOneUse() || (!hasGuard && !weights.hasOneUse()) ||
      !softmax.getInput().hasOneUse())
    return false;
  Value scores = softmax.getInput();
  Value mask;
  bool causal = false;
  if (!splitMask(scores, hasGuard, mask, causal))
    return false;
  Scaled product = peel(scores);
  auto inner = product.base.getDefiningOp<mv::MatmulOp>();
  if (!inner || !isIdentityPermutation(product.permutation) ||
      !inner->hasOneUse() || typeOf(inner.getRhs()).getRank() != rank ||
      !isa<FloatType>(typeOf(inner.getResult()).getElementType()))
    return false;

  Scaled query = peel(inner.getLhs()), key = peel(inner.getRhs());
  if (!inner.getTransposeRhs())
    std::swap(key.permutation[rank - 1], key.permutation[rank - 2]);
  double scale = product.scale * query.scale * key.scale;
  OpBuilder builder(outer);
  Location loc = FusedLoc::get(
      builder.getContext(), {inner.getLoc(), softmax.getLoc(), outer.getLoc()});
  auto attention = mv::AttentionOp::create(
      builder, loc, outer.getType(), transposed(builder, loc, query),
      transposed(builder, loc, key), outer.getRhs(), mask,
      builder.getF64FloatAttr(scale),
      causal ? builder.getUnitAttr() : UnitAttr());
  outer.getResult().replaceAllUsesWith(attention);
  outer.erase();
  return true;
}

/// A causal mask that is a constant is not read, nor half of the keys.
static void dropCausalMask(mv::AttentionOp op) {
  if (!op.getMask() || op.getCausal())
    return;
  SmallVector<int64_t> scores(typeOf(op.getQuery()).getShape());
  ArrayRef<int64_t> key = typeOf(op.getKey()).getShape();
  scores.back() = key[key.size() - 2];
  if (!isCausal(op.getMask(),
                RankedTensorType::get(scores,
                                      typeOf(op.getQuery()).getElementType())))
    return;
  op.getMaskMutable().clear();
  op.setCausal(true);
}

namespace {

struct RaiseAttention
    : PassWrapper<RaiseAttention, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RaiseAttention)
  StringRef getArgument() const override { return "mv-raise-attention"; }
  StringRef getDescription() const override {
    return "Recognize attention written as products and softmax";
  }

  void runOnOperation() override {
    SmallVector<mv::MatmulOp> matmuls;
    getOperation().walk([&](mv::MatmulOp op) { matmuls.push_back(op); });
    // Only the second product is erased here; the rest is dead then.
    for (mv::MatmulOp matmul : matmuls)
      raise(matmul);
    getOperation().walk(dropCausalMask);
  }
};

} // namespace

std::unique_ptr<Pass> marver::createRaiseAttentionPass() {
  return std::make_unique<RaiseAttention>();
}
