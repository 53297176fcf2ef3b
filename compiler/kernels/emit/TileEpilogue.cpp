//===- TileEpilogue.cpp - What becomes of a tile's accumulators -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/TileEpilogue.h"
#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace marver {

/// Instructions of an epilogue that is still written out per accumulator.
static constexpr int64_t kShortEpilogue = 8;

/// Rough number of vector instructions behind the anchor.
static int64_t epilogueCost(mv::KernelOp kernel, Operation *anchor) {
  int64_t cost = 0;
  for (Operation &op : kernel.getBlock()) {
    if (&op == anchor)
      continue;
    op.walk([&](Operation *inner) {
      if (isa_and_nonnull<math::MathDialect>(inner->getDialect()))
        cost += 12;
      else if (isa_and_nonnull<arith::ArithDialect>(inner->getDialect()) &&
               !isa<arith::ConstantOp>(inner))
        cost += isa<arith::DivFOp>(inner) ? 4 : 1;
    });
  }
  return cost;
}

/// Emits an epilogue that has its own copies of the vector constants it uses,
/// made just before it. Otherwise code generation keeps them in registers from
/// the start of the kernel on, where the tile's accumulators need them.
/// `registers` is how many the epilogue may take for them: more are better read
/// from memory where they are used.
static void withOwnConstants(KernelEmitter &e, size_t registers,
                             llvm::function_ref<void()> emit) {
  OpBuilder &b = e.builder();
  // Marks the place, whatever else is hoisted to before it.
  Operation *start = arith::ConstantIntOp::create(e.builder(), 0, 64);
  emit();
  llvm::MapVector<Attribute, SmallVector<OpOperand *>> uses;
  auto collect = [&](Operation *op) {
    if (isa<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(op))
      return; // the amount is part of the instruction
    for (OpOperand &operand : op->getOpOperands())
      if (auto constant = operand.get().getDefiningOp<arith::ConstantOp>())
        if (auto type = dyn_cast<VectorType>(constant.getType()))
          if (type.getElementTypeBitWidth() == 32)
            uses[constant.getValue()].push_back(&operand);
  };
  for (auto it = std::next(Block::iterator(start)); it != b.getInsertionPoint();
       ++it)
    it->walk(collect);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointAfter(start);
  if (uses.size() <= registers)
    for (auto &[value, operands] : uses) {
      Value pinned = e.pinned(
          arith::ConstantOp::create(e.builder(), cast<TypedAttr>(value)));
      for (OpOperand *operand : operands)
        operand->set(pinned);
    }
  start->erase();
}

/// Operands of the kernel that are read where the anchor's result is.
static SmallVector<Value> largeResiduals(KernelEmitter &e, Operation *anchor) {
  SmallVector<Value> residuals;
  auto type = cast<RankedTensorType>(anchor->getResult(0).getType());
  for (Operation *op = anchor->getNextNode(); op; op = op->getNextNode()) {
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!generic)
      continue;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      auto inputType = dyn_cast<RankedTensorType>(input->get().getType());
      if (isa<BlockArgument>(input->get()) && inputType &&
          inputType.getShape() == type.getShape() &&
          generic.getMatchingIndexingMap(input).isIdentity() &&
          (!type.hasStaticShape() ||
           elementCount(type) * 4 > e.target().l2Bytes / 4))
        residuals.push_back(input->get());
    }
  }
  return residuals;
}

TileEpilogue::TileEpilogue(KernelEmitter &emitter, Evaluator &evaluator,
                           Operation *anchor, Store store)
    : e(emitter), evaluator(evaluator), store(std::move(store)),
      result(anchor->getResult(0)),
      isLong(epilogueCost(emitter.kernel(), anchor) > kShortEpilogue),
      residuals(largeResiduals(emitter, anchor)) {}

TileEpilogue::TileEpilogue(KernelEmitter &emitter, Evaluator &evaluator,
                           ResultWriter &writer, Operation *anchor)
    : TileEpilogue(emitter, evaluator, anchor,
                   [&writer](const Point &point) { writer.write(point); }) {}

int64_t TileEpilogue::scratchBytes(mv::KernelOp kernel, Operation *anchor,
                                   const TargetInfo &target, bool limited) {
  return limited || epilogueCost(kernel, anchor) > kShortEpilogue
             ? target.vectorRegisters * target.lanes * 4
             : 0;
}

void TileEpilogue::writeOne(Value value, const Point &point) {
  evaluator.define(result, [value](const Point &) { return value; });
  store(point);
}

/// Position `number` of a box, last dim fastest.
static SmallVector<Coordinate> positionIn(ArrayRef<int64_t> sizes,
                                          int64_t number) {
  SmallVector<Coordinate> at(sizes.size());
  for (size_t d = sizes.size(); d-- > 0; number /= sizes[d])
    at[d] = Coordinate(number % sizes[d]);
  return at;
}

void TileEpilogue::write(
    ArrayRef<int64_t> sizes, ArrayRef<Value> values,
    llvm::function_ref<Point(ArrayRef<Coordinate>)> pointOf,
    ArrayRef<Value> limits) {
  if (limits.empty() && (!isLong || values.size() == 1)) {
    // Besides the accumulators, a tile needs registers for few other values.
    withOwnConstants(e, /*registers=*/2, [&] {
      for (auto [number, value] : llvm::enumerate(values))
        writeOne(value, pointOf(positionIn(sizes, int64_t(number))));
    });
    return;
  }
  auto vector = cast<VectorType>(values.front().getType());
  Type type = vector.getElementType();
  int64_t lanes = vector.getNumElements();
  Value base = e.scratch();
  for (auto [number, value] : llvm::enumerate(values))
    e.store(value, e.address(base, type, e.constant(number * lanes)), type);
  SmallVector<Coordinate> at(sizes.size());
  CoordinateMath math(e, lanes);
  std::function<void(size_t, Value)> loops = [&](size_t d, Value position) {
    if (d == sizes.size()) {
      Value value =
          e.load(e.address(base, type, e.mul(position, lanes)), type, lanes);
      writeOne(value, pointOf(at));
      return;
    }
    auto inside = [&](Value i) {
      at[d] = math.of(i);
      loops(d + 1, e.add(e.mul(position, sizes[d]), i));
    };
    if (!limits.empty())
      e.loop(e.constant(0), limits[d], 1, inside);
    else if (sizes[d] == 1)
      inside(e.constant(0));
    else
      e.loop(e.constant(0), e.constant(sizes[d]), 1, inside);
  };
  constexpr size_t kTemporaries = 6;
  withOwnConstants(e, size_t(e.target().vectorRegisters) - kTemporaries,
                   [&] { loops(0, e.constant(0)); });
}

/// Both row-major matrices and blocked maps have their pixels in the dim before
/// the last. A matrix' rows are asked for as a whole: the next panels' tiles
/// read what is left of them.
void TileEpilogue::prefetch(RegisterTile &tile, const Point &first,
                            int64_t rows, int64_t pixels, int64_t steps) {
  for (Value residual : residuals) {
    std::optional<Buffer> buffer = evaluator.buffer(residual);
    size_t rank = buffer ? buffer->strides.size() : 0;
    if (rank < 2)
      continue;
    std::optional<int64_t> stride =
        getConstantIntValue(buffer->strides[rank - 2]);
    if (!stride || *stride <= 0)
      continue;
    CoordinateMath math(e, first.lanes);
    SmallVector<Value> index;
    for (const Coordinate &c : first.at)
      index.push_back(math.scalar(c));
    Value pointer = e.address(*buffer, index);
    // The last of them must have arrived when the products are done.
    int64_t span = pixels * *stride * 5 / 4;
    bool isBlocked = *stride == first.lanes;
    for (int64_t j = 0; j < (isBlocked ? tile.vectors : 1); ++j)
      for (int64_t y = 0; y < rows; ++y) {
        Value offset = e.constant(0);
        if (j)
          offset = e.mul(e.materialize(buffer->strides[1]), j);
        if (y)
          offset =
              e.add(offset, e.mul(e.materialize(buffer->strides[rank - 3]), y));
        tile.addStream(e.address(pointer, buffer->elementType, offset), span,
                       steps);
      }
  }
}

} // namespace marver
