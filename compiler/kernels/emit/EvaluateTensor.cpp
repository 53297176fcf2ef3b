//===- EvaluateTensor.cpp - Slices, pads, reshapes at an index ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/BodyEmitter.h"
#include "compiler/kernels/emit/Evaluator.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Slices, pads, concatenations
//===----------------------------------------------------------------------===//

Value Evaluator::extractSlice(tensor::ExtractSliceOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  llvm::SmallBitVector dropped = op.getDroppedDims();
  Point source = point.with({});
  size_t next = 0;
  for (auto [d, offset, stride] :
       llvm::enumerate(op.getMixedOffsets(), op.getMixedStrides())) {
    Coordinate c = dropped[d] ? Coordinate(0) : point.at[next++];
    source.at.push_back(math.add(math.of(scalar(offset)),
                                 math.mul(c, math.of(scalar(stride)))));
  }
  return evaluate(op.getSource(), source);
}

Value Evaluator::insertSlice(tensor::InsertSliceOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  llvm::SmallBitVector dropped = op.getDroppedDims();
  Type type = cast<RankedTensorType>(op.getDest().getType()).getElementType();
  Coordinates source;
  SmallVector<Value> sizes, tests;
  SmallVector<bool> below, above;
  for (auto [d, offset, size, stride] : llvm::enumerate(
           op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides())) {
    sizes.push_back(scalar(size));
    Coordinate distance = math.sub(point.at[d], math.of(scalar(offset)));
    if (getConstantIntValue(stride) != 1) {
      // Only every so many elements; before the first one the quotient means
      // nothing.
      Coordinate step = math.of(scalar(stride));
      if (Value after = math.notNegative(distance))
        tests.push_back(after);
      Value rest = math.value(math.rem(distance, step));
      tests.push_back(arith::CmpIOp::create(builder(), arith::CmpIPredicate::eq,
                                            rest, number(0, rest.getType())));
      source.push_back(math.floorDiv(distance, step));
      below.push_back(false);
      above.push_back(true);
      continue;
    }
    source.push_back(distance);
    bool isStart = getConstantIntValue(offset) == 0;
    below.push_back(!isStart);
    above.push_back(!isStart || sizes.back() != dim(op.getDest(), int64_t(d)));
  }
  return select(
      point, source, sizes, below, above, type,
      [&](const Point &inside) {
        Point kept = inside.with({});
        for (auto [d, c] : llvm::enumerate(inside.at))
          if (!dropped[d])
            kept.at.push_back(c);
        return evaluate(op.getSource(), kept);
      },
      [&](const Point &outside) { return evaluate(op.getDest(), outside); },
      tests);
}

Value Evaluator::pad(tensor::PadOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  Type type = cast<RankedTensorType>(op.getType()).getElementType();
  Coordinates source;
  SmallVector<bool> below, above;
  for (auto [d, low, high] :
       llvm::enumerate(op.getMixedLowPad(), op.getMixedHighPad())) {
    source.push_back(math.sub(point.at[d], math.of(scalar(low))));
    below.push_back(getConstantIntValue(low) != 0);
    above.push_back(getConstantIntValue(high) != 0);
  }
  Value padding = op.getConstantPaddingValue();
  return select(
      point, source, dims(op.getSource()), below, above, type,
      [&](const Point &inside) { return evaluate(op.getSource(), inside); },
      [&](const Point &outside) -> Value {
        if (padding) {
          BodyEmitter body(*this, {}, 0, nullptr, nullptr);
          return e.splat(narrow(body.get(padding), type), outside.lanes);
        }
        // Computed from the index.
        Block *block = &op.getRegion().front();
        BodyEmitter body(
            *this, {}, outside.lanes, outside.mask,
            [&](BlockArgument argument) -> Value {
              if (argument.getOwner() != block)
                return nullptr;
              const Coordinate &c = outside.at[argument.getArgNumber()];
              return outside.lanes ? math.vector(c) : math.scalar(c);
            });
        return narrow(body.get(block->getTerminator()->getOperand(0)), type);
      });
}

Value Evaluator::concat(tensor::ConcatOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  Type type = cast<RankedTensorType>(op.getType()).getElementType();
  auto d = int64_t(op.getDim());
  const Coordinate &c = point.at[d];

  // Where the input of a constant position is known.
  if (c.isConstant()) {
    int64_t start = 0;
    for (Value input : op.getInputs()) {
      std::optional<int64_t> size = e.constantValue(dim(input, d));
      if (!size)
        break;
      if (c.offset < start + *size) {
        Point inside = point;
        inside.at[d] = Coordinate(c.offset - start);
        return evaluate(input, inside);
      }
      start += *size;
    }
  }
  // Lanes that never straddle a boundary are decided by the first of them.
  bool together = c.isUniform();
  if (!c.lanes && c.stride == 1 && c.offset % point.lanes == 0 &&
      (!c.base || c.multiple % point.lanes == 0)) {
    together = llvm::all_of(op.getInputs().drop_back(), [&](Value input) {
      std::optional<int64_t> size = e.constantValue(dim(input, d));
      return size && *size % point.lanes == 0;
    });
  }

  std::function<Value(size_t, Value, const Point &)> from =
      [&](size_t i, Value start, const Point &rest) -> Value {
    Value input = op.getInputs()[i];
    if (e.constantValue(dim(input, d)) == 0 && i + 1 < op.getInputs().size())
      return from(i + 1, start, rest);
    Coordinates source(rest.at);
    source[d] = math.sub(source[d], math.of(start));
    if (i + 1 == op.getInputs().size())
      return evaluate(input, rest.with(source));
    Value end = e.add(start, dim(input, d));
    if (together) {
      Coordinate first = rest.at[d];
      first.stride = 0;
      Value test = math.lessThan(first, end);
      if (!test)
        return evaluate(input, rest.with(source));
      Type result = rest.lanes ? Type(VectorType::get(rest.lanes, type)) : type;
      return e.ifThenElse(
          test, result, [&] { return evaluate(input, rest.with(source)); },
          [&] { return from(i + 1, end, rest); });
    }
    SmallVector<bool> below(source.size(), false), above(source.size(), false);
    above[d] = true;
    // Lanes before `start` were taken by earlier inputs: the mask excludes
    // them.
    return select(
        rest, source, dims(input), below, above, type,
        [&](const Point &inside) { return evaluate(input, inside); },
        [&](const Point &) -> Value {
          // The lanes from `end` on; there may be none, or some before.
          Value later = arith::CmpIOp::create(
              builder(), arith::CmpIPredicate::sge, math.vector(rest.at[d]),
              e.splat(end, rest.lanes));
          if (rest.mask)
            later = arith::AndIOp::create(builder(), later, rest.mask);
          Type result = VectorType::get(rest.lanes, type);
          Point after = rest;
          after.mask = later;
          return e.ifThenElse(
              e.anyLane(later), result, [&] { return from(i + 1, end, after); },
              [&] { return e.zero(type, rest.lanes); });
        });
  };
  return from(0, e.constant(0), point);
}

//===----------------------------------------------------------------------===//
// Reshapes
//===----------------------------------------------------------------------===//

Value Evaluator::expandShape(tensor::ExpandShapeOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  SmallVector<Value> sizes = dims(op.getResult());
  Point source = point.with({});
  for (const ReassociationIndices &group : op.getReassociationIndices()) {
    Coordinates at;
    SmallVector<Value> extents;
    for (int64_t d : group) {
      at.push_back(point.at[d]);
      extents.push_back(sizes[d]);
    }
    source.at.push_back(math.linearize(at, extents));
  }
  // A scalar is expanded by no group at all.
  return evaluate(op.getSrc(), source);
}

Value Evaluator::collapseShape(tensor::CollapseShapeOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  auto sourceType = cast<RankedTensorType>(op.getSrc().getType());
  SmallVector<Value> sizes = dims(op.getSrc());
  Point source = point.with(Coordinates(sourceType.getRank()));
  for (auto [d, group] : llvm::enumerate(op.getReassociationIndices())) {
    const Coordinate &linear = point.at[d];
    if (!variable.contains(op.getSrc()) &&
        isFlattenable(e.kernel(), op.getSrc(), group.front(), group.back())) {
      source.at[lastNonUnitDim(sourceType, group.front(), group.back())] =
          linear;
      continue;
    }
    SmallVector<Value> extents;
    for (int64_t s : group)
      extents.push_back(sizes[s]);
    Coordinates split = math.delinearize(linear, extents);
    llvm::copy(split, source.at.begin() + group.front());
  }
  return evaluate(op.getSrc(), source);
}

Value Evaluator::reshape(tensor::ReshapeOp op, const Point &point) {
  CoordinateMath math(e, point.lanes);
  auto sourceType = cast<RankedTensorType>(op.getSource().getType());
  int64_t rank = sourceType.getRank();
  Coordinate linear = math.linearize(point.at, dims(op.getResult()));
  Point source = point.with(Coordinates(rank));
  if (rank > 0 && isFlattenable(e.kernel(), op.getSource(), 0, rank - 1))
    source.at[lastNonUnitDim(sourceType, 0, rank - 1)] = linear;
  else
    source.at = math.delinearize(linear, dims(op.getSource()));
  return evaluate(op.getSource(), source);
}

//===----------------------------------------------------------------------===//
// Flattening
//===----------------------------------------------------------------------===//

int64_t marver::lastNonUnitDim(RankedTensorType type, int64_t first,
                               int64_t last) {
  for (int64_t d = last; d > first; --d)
    if (type.getDimSize(d) != 1)
      return d;
  return type.getRank() > 0 && type.getDimSize(first) != 1 ? first : last;
}

static bool isFlattenableBuffer(MemRefType type, int64_t first, int64_t last) {
  if (type.getLayout().isIdentity())
    return true;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return false;
  // Each dim's stride is what the dims behind it span; dims of size 1 have no
  // part in it.
  std::optional<int64_t> expected;
  for (int64_t d = last; d >= first; --d) {
    if (type.getDimSize(d) == 1)
      continue;
    if (ShapedType::isDynamic(strides[d]) ||
        (expected && strides[d] != *expected))
      return false;
    if (type.isDynamicDim(d)) {
      // Only the outermost may be of any size.
      for (int64_t o = d - 1; o >= first; --o)
        if (type.getDimSize(o) != 1)
          return false;
      return true;
    }
    expected = strides[d] * type.getDimSize(d);
  }
  return true;
}

/// The same for the loops of a structured op, given by the dims of its result.
static bool areLoopsFlattenable(mv::KernelOp kernel, linalg::LinalgOp op,
                                OpResult result, int64_t first, int64_t last) {
  AffineMap out =
      op.getMatchingIndexingMap(op.getDpsInitOperand(result.getResultNumber()));
  auto type = cast<RankedTensorType>(result.getType());
  SmallVector<unsigned> loops;
  for (int64_t d = first; d <= last; ++d) {
    if (type.getDimSize(d) == 1)
      continue;
    auto loop = dyn_cast<AffineDimExpr>(out.getResult(d));
    if (!loop)
      return false;
    loops.push_back(loop.getPosition());
  }
  if (loops.size() <= 1)
    return true;
  auto usesOne = [&](AffineExpr expr) {
    return llvm::any_of(
        loops, [&](unsigned loop) { return expr.isFunctionOfDim(loop); });
  };
  bool readsIndex = false;
  op->walk([&](linalg::IndexOp index) {
    readsIndex |= llvm::is_contained(loops, unsigned(index.getDim()));
  });
  if (readsIndex)
    return false;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!op.payloadUsesValueFromOperand(&operand) ||
        !isa<RankedTensorType>(operand.get().getType()))
      continue;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    auto operandType = cast<RankedTensorType>(operand.get().getType());
    // The loops appear in order, with nothing but dims of size 1 between.
    size_t next = 0;
    int64_t begin = -1, end = -1;
    for (auto [position, expr] : llvm::enumerate(map.getResults())) {
      if (!usesOne(expr)) {
        if (begin >= 0 && next < loops.size() &&
            operandType.getDimSize(int64_t(position)) != 1)
          return false;
        continue;
      }
      if (next >= loops.size() ||
          expr != getAffineDimExpr(loops[next], op.getContext()))
        return false;
      if (begin < 0)
        begin = int64_t(position);
      end = int64_t(position);
      ++next;
    }
    if (begin < 0)
      continue; // broadcast over all of them
    if (next != loops.size() ||
        !isFlattenable(kernel, operand.get(), begin, end))
      return false;
    // The linear coordinate goes where the last loop is.
    if (lastNonUnitDim(operandType, begin, end) != end)
      return false;
  }
  return true;
}

bool marver::isFlattenable(mv::KernelOp kernel, Value tensor, int64_t first,
                           int64_t last) {
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t real = 0;
  for (int64_t d = first; d <= last; ++d)
    real += type.getDimSize(d) != 1;
  if (real <= 1)
    return true;
  if (auto argument = dyn_cast<BlockArgument>(tensor)) {
    // Buffers come in the order of the tensor operands.
    unsigned number = 0;
    for (BlockArgument other : kernel.getBlock().getArguments()) {
      if (other == argument)
        break;
      number += isa<RankedTensorType>(other.getType());
    }
    auto buffer = cast<MemRefType>(
        cast<TypeAttr>((*kernel.getBuffers())[number]).getValue());
    return isFlattenableBuffer(buffer, first, last);
  }
  Operation *op = tensor.getDefiningOp();
  if (isa<tensor::EmptyOp, tensor::SplatOp>(op))
    return true;
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isa<SplatElementsAttr>(constant.getValue());
  if (auto castOp = dyn_cast<tensor::CastOp>(op))
    return isFlattenable(kernel, castOp.getSource(), first, last);
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return linalgOp.hasPureTensorSemantics() &&
           areLoopsFlattenable(kernel, linalgOp, cast<OpResult>(tensor), first,
                               last);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    if (slice.getDroppedDims().any())
      return false;
    for (int64_t d = first; d <= last; ++d) {
      if (getConstantIntValue(slice.getMixedStrides()[d]) != 1)
        return false;
      // Dims behind the first real one are whole.
      bool isFirst = true;
      for (int64_t o = first; o < d; ++o)
        isFirst &= type.getDimSize(o) == 1;
      int64_t sourceSize = slice.getSourceType().getDimSize(d);
      if (!isFirst && (ShapedType::isDynamic(sourceSize) ||
                       sourceSize != type.getDimSize(d)))
        return false;
      // A slice of one element may lie anywhere in its dim.
      if (isFirst && d > first && slice.getSourceType().getDimSize(d - 1) != 1)
        return false;
    }
    return isFlattenable(kernel, slice.getSource(), first, last);
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    for (const ReassociationIndices &group : expand.getReassociationIndices())
      if (group.front() <= first && last <= group.back())
        return true;
    return false;
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    auto groups = collapse.getReassociationIndices();
    return isFlattenable(kernel, collapse.getSrc(), groups[first].front(),
                         groups[last].back());
  }
  return false;
}
