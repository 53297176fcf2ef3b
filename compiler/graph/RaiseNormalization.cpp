//===- RaiseNormalization.cpp - Softmax and norms written in primitives ---===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches a softmax, layer norm or RMS norm that a model spells out:
//   softmax     e / sum(e)  with  e = exp(x - max(x))
//   layer norm  d * rsqrt(mean(d * d) + eps)  with  d = x - mean(x)
//   RMS norm    x * rsqrt(mean(x * x) + eps)
// (also with division by a square root), and for norms the products and sums
// with tensors of the normalized dims that follow. Makes mv.softmax and
// mv.layer_norm, which read each row once instead of up to five times.
//
//   %m = linalg.generic {reduction} ins(%x2) ...   // sum of squares
//   %r = linalg.generic ins(%m) { mulf 1/384, addf eps, sqrt, 1 / }
//   %y = linalg.generic ins(%x, %r) { mulf }
// becomes
//   %y = mv.layer_norm %x {dims = 1, epsilon = eps, rms}
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/graph/Pointwise.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace marver;

namespace {

/// One step of the scalar computation on a reduced value.
struct Step {
  enum Kind { Mul, Add, Sqrt, Reciprocal } kind;
  double constant = 0;
};

/// f(reduce(source)), a number per row.
struct Row {
  Operation *combiner = nullptr; ///< the reduction's one operation
  Value source;
  SmallVector<int64_t> dims; ///< those reduced
  SmallVector<Step> steps;   ///< from the reduction outwards
};

/// An elementwise operation of two tensors.
struct BinaryOp {
  Operation *op = nullptr;
  linalg::GenericOp generic;
  Value operands[2];
  AffineMap maps[2];
};

} // namespace

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// `value` = op(a, b) for two tensors a, b, in this order of operands.
static std::optional<BinaryOp> matchBinary(Value value) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic || !isPointwise(generic) || generic.getNumResults() != 1 ||
      generic.getBody()->getOperations().size() != 2)
    return std::nullopt;
  Block *body = generic.getBody();
  BinaryOp result;
  result.generic = generic;
  result.op = &body->front();
  if (result.op->getNumOperands() != 2 || result.op->getNumResults() != 1 ||
      body->getTerminator()->getOperand(0) != result.op->getResult(0))
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    auto argument = dyn_cast<BlockArgument>(result.op->getOperand(i));
    if (!argument || argument.getOwner() != body ||
        argument.getArgNumber() >= generic.getNumDpsInputs())
      return std::nullopt;
    OpOperand *use = generic.getDpsInputOperand(argument.getArgNumber());
    if (!isa<RankedTensorType>(use->get().getType()))
      return std::nullopt;
    result.operands[i] = use->get();
    result.maps[i] = generic.getMatchingIndexingMap(use);
  }
  return result;
}

/// x * x.
static Value matchSquare(Value value) {
  std::optional<BinaryOp> product = matchBinary(value);
  if (product && isa<arith::MulFOp>(product->op) &&
      product->operands[0] == product->operands[1] &&
      product->maps[0].isIdentity() && product->maps[1].isIdentity())
    return product->operands[0];
  return {};
}

/// The steps of a body that computes a function of its one input.
static std::optional<SmallVector<Step>> stepsOf(linalg::GenericOp generic) {
  if (!isPointwise(generic) || generic.getNumDpsInputs() != 1 ||
      generic.getNumResults() != 1 ||
      !generic.getIndexingMapsArray()[0].isIdentity())
    return std::nullopt;
  SmallVector<Step> steps;
  Value current = generic.getBody()->getArgument(0);
  for (Operation &op : generic.getBody()->without_terminator()) {
    if (op.hasTrait<OpTrait::ConstantLike>())
      continue;
    FloatAttr constant;
    bool first = op.getNumOperands() > 0 && op.getOperand(0) == current;
    bool second = op.getNumOperands() > 1 && op.getOperand(1) == current;
    if (first == second || op.getNumOperands() > 2)
      return std::nullopt;
    if (op.getNumOperands() == 2 &&
        !matchPattern(op.getOperand(first ? 1 : 0), m_Constant(&constant)))
      return std::nullopt;
    double number = constant ? constant.getValueAsDouble() : 0;
    if (isa<arith::MulFOp>(op))
      steps.push_back({Step::Mul, number});
    else if (isa<arith::AddFOp>(op))
      steps.push_back({Step::Add, number});
    else if (isa<arith::DivFOp>(op) && first)
      steps.push_back({Step::Mul, 1 / number});
    else if (isa<arith::DivFOp>(op) && number == 1)
      steps.push_back({Step::Reciprocal});
    else if (isa<math::SqrtOp>(op))
      steps.push_back({Step::Sqrt});
    else if (isa<math::RsqrtOp>(op))
      steps.append({{Step::Sqrt}, {Step::Reciprocal}});
    else
      return std::nullopt;
    current = op.getResult(0);
  }
  if (generic.getBody()->getTerminator()->getOperand(0) != current)
    return std::nullopt;
  return steps;
}

/// A value that, read through `map` by loops of the source's rank, is one
/// number per row of its source.
static std::optional<Row> matchRow(Value value, AffineMap map) {
  Row row;
  Value outer = value;
  while (true) {
    if (auto expand = value.getDefiningOp<tensor::ExpandShapeOp>()) {
      value = expand.getSrc();
      continue;
    }
    auto generic = value.getDefiningOp<linalg::GenericOp>();
    if (!generic)
      return std::nullopt;
    if (generic.getNumReductionLoops() != 0)
      break;
    std::optional<SmallVector<Step>> steps = stepsOf(generic);
    if (!steps)
      return std::nullopt;
    row.steps.insert(row.steps.begin(), steps->begin(), steps->end());
    value = generic.getInputs()[0];
  }
  auto reduction = value.getDefiningOp<linalg::GenericOp>();
  if (reduction.getNumDpsInputs() != 1 || reduction.getNumResults() != 1 ||
      reduction.getBody()->getOperations().size() != 2 ||
      !reduction.getIndexingMapsArray()[0].isIdentity())
    return std::nullopt;
  row.source = reduction.getInputs()[0];
  row.combiner = &reduction.getBody()->front();
  if (row.combiner->getNumOperands() != 2 ||
      !llvm::is_contained(row.combiner->getOperands(),
                          reduction.getBody()->getArgument(0)) ||
      !llvm::is_contained(row.combiner->getOperands(),
                          reduction.getBody()->getArgument(1)) ||
      reduction.getBody()->getTerminator()->getOperand(0) !=
          row.combiner->getResult(0))
    return std::nullopt;
  Attribute start;
  auto fill = reduction.getOutputs()[0].getDefiningOp<linalg::FillOp>();
  if (!fill || !matchPattern(fill.getInputs()[0], m_Constant(&start)))
    return std::nullopt;
  auto number = dyn_cast<FloatAttr>(start);
  if (!number)
    return std::nullopt;
  bool isSum = isa<arith::AddFOp>(row.combiner) && number.getValue().isZero();
  bool isMax = isa<arith::MaximumFOp>(row.combiner) &&
               number.getValue().isInfinity() && number.getValue().isNegative();
  if (!isSum && !isMax)
    return std::nullopt;

  SmallVector<int64_t> kept;
  for (auto [dim, kind] : llvm::enumerate(reduction.getIteratorTypesArray()))
    (linalg::isParallelIterator(kind) ? kept : row.dims).push_back(dim);
  // Which loop each dim of the row's tensor must be read by; -1: none.
  auto rank = static_cast<int64_t>(reduction.getNumLoops());
  RankedTensorType type = typeOf(outer);
  SmallVector<int64_t> loops;
  if (type.getRank() == rank) {
    for (int64_t dim = 0; dim < rank; ++dim) {
      bool isReduced = llvm::is_contained(row.dims, dim);
      if (isReduced && type.getDimSize(dim) != 1)
        return std::nullopt;
      loops.push_back(isReduced ? -1 : dim);
    }
  } else if (type.getRank() == static_cast<int64_t>(kept.size())) {
    loops = kept;
  } else {
    return std::nullopt;
  }
  if (static_cast<int64_t>(map.getNumDims()) != rank)
    return std::nullopt;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    bool isRight = dim && static_cast<int64_t>(dim.getPosition()) == loops[i];
    if (!isRight && !(type.getDimSize(i) == 1 && (expr == 0 || loops[i] < 0)))
      return std::nullopt;
  }
  return row;
}

/// The row's steps are a mean over dims of `type`, and nothing else, or nothing
/// else before step `count`.
static bool isMean(const Row &row, size_t count) {
  if (!isa<arith::AddFOp>(row.combiner))
    return false;
  double factor = 1;
  for (const Step &step : ArrayRef(row.steps).take_front(count)) {
    if (step.kind != Step::Mul)
      return false;
    factor *= step.constant;
  }
  double elements = 1;
  for (int64_t dim : row.dims) {
    if (typeOf(row.source).isDynamicDim(dim))
      return false;
    elements *= static_cast<double>(typeOf(row.source).getDimSize(dim));
  }
  return std::abs(factor * elements - 1) < 1e-6;
}

static bool areTrailing(ArrayRef<int64_t> dims, int64_t rank) {
  for (auto [i, dim] : llvm::enumerate(dims))
    if (dim != rank - static_cast<int64_t>(dims.size() - i))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

/// exp(x - max(x)) over the same dims as `row`.
static Value matchShiftedExp(Value value, const Row &row) {
  auto exp = value.getDefiningOp<linalg::GenericOp>();
  if (!exp || !isPointwise(exp) || exp.getNumDpsInputs() != 1 ||
      !exp.getIndexingMapsArray()[0].isIdentity() ||
      exp.getBody()->getOperations().size() != 2 ||
      !isa<math::ExpOp>(exp.getBody()->front()))
    return {};
  std::optional<BinaryOp> difference = matchBinary(exp.getInputs()[0]);
  if (!difference || !isa<arith::SubFOp>(difference->op) ||
      !difference->maps[0].isIdentity())
    return {};
  std::optional<Row> maximum =
      matchRow(difference->operands[1], difference->maps[1]);
  if (!maximum || !maximum->steps.empty() ||
      !isa<arith::MaximumFOp>(maximum->combiner) || maximum->dims != row.dims ||
      maximum->source != difference->operands[0])
    return {};
  return maximum->source;
}

static bool raiseSoftmax(BinaryOp op) {
  if (!isa<arith::DivFOp>(op.op) || !op.maps[0].isIdentity())
    return false;
  std::optional<Row> sum = matchRow(op.operands[1], op.maps[1]);
  if (!sum || !sum->steps.empty() || !isa<arith::AddFOp>(sum->combiner) ||
      sum->dims.size() != 1 || sum->source != op.operands[0])
    return false;
  Value input = matchShiftedExp(op.operands[0], *sum);
  if (!input || input.getType() != op.generic.getResult(0).getType())
    return false;
  OpBuilder builder(op.generic);
  auto softmax = mv::SoftmaxOp::create(
      builder, op.generic.getLoc(), input.getType(), input,
      builder.getI64IntegerAttr(sum->dims[0]), UnitAttr());
  op.generic.getResult(0).replaceAllUsesWith(softmax.getResult());
  return true;
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// The tensor of the normalized dims that the only user of `value` multiplies
/// it by or adds to it.
static Value takeAffine(Value &value, bool multiplies, int64_t dims) {
  if (!value.hasOneUse())
    return {};
  auto user = dyn_cast<linalg::GenericOp>(*value.user_begin());
  if (!user || user->getNumResults() != 1)
    return {};
  std::optional<BinaryOp> op = matchBinary(user.getResult(0));
  if (!op ||
      (multiplies ? !isa<arith::MulFOp>(op->op) : !isa<arith::AddFOp>(op->op)))
    return {};
  unsigned other = op->operands[0] == value ? 1 : 0;
  RankedTensorType type = typeOf(value);
  Value affine = op->operands[other];
  AffineMap trailing =
      AffineMap::getMinorIdentityMap(type.getRank(), dims, value.getContext());
  if (op->operands[1 - other] != value || !op->maps[1 - other].isIdentity() ||
      op->maps[other] != trailing ||
      typeOf(affine).getShape() != type.getShape().take_back(dims))
    return {};
  value = user.getResult(0);
  return affine;
}

static bool raiseNorm(BinaryOp op) {
  bool multiplies = isa<arith::MulFOp>(op.op);
  if (!multiplies && !isa<arith::DivFOp>(op.op))
    return false;
  for (unsigned side : {1u, 0u}) {
    if (side == 0 && !multiplies)
      return false;
    Value centered = op.operands[1 - side];
    if (!op.maps[1 - side].isIdentity())
      continue;
    std::optional<Row> row = matchRow(op.operands[side], op.maps[side]);
    if (!row)
      continue;
    // ... + eps, square root (and its reciprocal, for a product).
    size_t tail = multiplies ? 3 : 2, count = row->steps.size();
    if (count < tail || row->steps[count - tail].kind != Step::Add ||
        row->steps[count - tail + 1].kind != Step::Sqrt ||
        (multiplies && row->steps.back().kind != Step::Reciprocal) ||
        !isMean(*row, count - tail) || matchSquare(row->source) != centered)
      continue;
    int64_t rank = typeOf(centered).getRank();
    if (!areTrailing(row->dims, rank))
      continue;
    double epsilon = row->steps[count - tail].constant;

    // Centered by its own mean, or not at all.
    Value input = centered;
    bool isRms = true;
    if (std::optional<BinaryOp> difference = matchBinary(centered);
        difference && isa<arith::SubFOp>(difference->op) &&
        difference->maps[0].isIdentity()) {
      std::optional<Row> mean =
          matchRow(difference->operands[1], difference->maps[1]);
      if (mean && mean->source == difference->operands[0] &&
          mean->dims == row->dims && isMean(*mean, mean->steps.size())) {
        input = difference->operands[0];
        isRms = false;
      }
    }
    if (input.getType() != op.generic.getResult(0).getType())
      continue;
    auto dims = static_cast<int64_t>(row->dims.size());
    Value end = op.generic.getResult(0);
    Value scale = takeAffine(end, /*multiplies=*/true, dims);
    Value bias = takeAffine(end, /*multiplies=*/false, dims);
    OpBuilder builder(end.getDefiningOp());
    auto norm = mv::LayerNormOp::create(
        builder, op.generic.getLoc(), input.getType(), input, scale, bias,
        builder.getI64IntegerAttr(dims), builder.getF64FloatAttr(epsilon),
        isRms ? builder.getUnitAttr() : UnitAttr());
    end.replaceAllUsesWith(norm.getResult());
    return true;
  }
  return false;
}

namespace {

struct RaiseNormalization
    : PassWrapper<RaiseNormalization, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RaiseNormalization)
  StringRef getArgument() const override { return "mv-raise-normalization"; }
  StringRef getDescription() const override {
    return "Recognize softmax and norms written in primitives";
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
  }

  void runOnOperation() override {
    SmallVector<linalg::GenericOp> generics;
    getOperation().walk([&](linalg::GenericOp op) { generics.push_back(op); });
    // Nothing is erased: what a match leaves without users is dead code.
    for (linalg::GenericOp generic : generics) {
      if (generic.getNumResults() != 1 ||
          !isa<FloatType>(typeOf(generic.getResult(0)).getElementType()))
        continue;
      std::optional<BinaryOp> op = matchBinary(generic.getResult(0));
      if (op && !raiseSoftmax(*op))
        raiseNorm(*op);
    }
  }
};

} // namespace

std::unique_ptr<Pass> marver::createRaiseNormalizationPass() {
  return std::make_unique<RaiseNormalization>();
}
