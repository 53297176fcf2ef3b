//===- CarryLate.cpp - Carried tensors of data-dependent size -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/CarryLate.h"
#include "compiler/buffers/Views.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"

using namespace mlir;

namespace marver {

static constexpr StringLiteral kLate = "mv.late";

void markLate(Operation *launch) {
  launch->setAttr(kLate, UnitAttr::get(launch->getContext()));
}

bool isMarkedLate(Operation *launch) { return launch->hasAttr(kLate); }

/// The late slots of `op`.
static ArrayRef<int64_t> lateSlots(Operation *op) {
  auto attribute = op->getAttrOfType<DenseI64ArrayAttr>(kLate);
  return attribute ? attribute.asArrayRef() : ArrayRef<int64_t>();
}

bool isLateSlot(Value tensor) {
  auto slot = slotOf(tensor);
  return slot && llvm::is_contained(lateSlots(slot->first), slot->second);
}

/// Whether two sizes are surely equal: the same, or computed in the same way.
static bool isSame(OpFoldResult a, OpFoldResult b) {
  if (a == b)
    return true;
  auto x = dyn_cast_or_null<OpResult>(dyn_cast<Value>(a));
  auto y = dyn_cast_or_null<OpResult>(dyn_cast<Value>(b));
  return x && y && x.getResultNumber() == y.getResultNumber() &&
         isPure(x.getOwner()) &&
         OperationEquivalence::isEquivalentTo(
             x.getOwner(), y.getOwner(),
             [](Value p, Value q) { return success(isSame(p, q)); },
             /*markEquivalent=*/nullptr, OperationEquivalence::IgnoreLocations);
}

/// Where a slot's tensors come from.
static SmallVector<Value> sourcesOf(Operation *op, unsigned slot) {
  SmallVector<Value> sources = yieldsOfSlot(op, slot);
  if (Value initial = initialOfSlot(op, slot))
    sources.insert(sources.begin(), initial);
  return sources;
}

static bool isLateIn(const LateContext &context, Operation *op, unsigned slot) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(slot).getType());
  if (!type || type.hasStaticShape())
    return false;
  SmallVector<OpFoldResult> first;
  for (Value source : sourcesOf(op, slot)) {
    if (context.isLate(source))
      return true;
    OpBuilder b(op->getContext());
    context.startPrologue(b);
    SmallVector<OpFoldResult> dims = hostDims(b, op->getLoc(), source);
    for (auto [d, dim] : llvm::enumerate(dims)) {
      if (!type.isDynamicDim(d))
        continue;
      auto value = dyn_cast<Value>(dim);
      if ((value && context.isLateSize(value)) ||
          (!first.empty() && !isSame(first[d], dim)))
        return true;
    }
    first = dims;
  }
  return false;
}

void markLateSlots(const LateContext &context) {
  // No slot is late until one of its sources is, or differs from the others.
  bool isChanged = true;
  while (isChanged) {
    isChanged = false;
    func::FuncOp(context.func).walk([&](Operation *op) {
      if (!isControlFlow(op))
        return;
      SmallVector<int64_t> late(lateSlots(op));
      for (unsigned slot = 0; slot < op->getNumResults(); ++slot)
        if (!llvm::is_contained(late, slot) && isLateIn(context, op, slot))
          late.push_back(slot);
      if (late.size() != lateSlots(op).size()) {
        op->setAttr(kLate, DenseI64ArrayAttr::get(op->getContext(), late));
        isChanged = true;
      }
    });
  }
}

/// The memory of `tensor` as a memref of `type`, to be resolved when memory has
/// been assigned.
static Value memoryFor(const LateContext &context, OpBuilder &b, Value tensor,
                       Type type) {
  Value source = tensor;
  while (auto cast = source.getDefiningOp<tensor::CastOp>())
    source = cast.getSource();
  // Memory that is made anew each time and never given back: it may have many
  // names.
  bool isOwn =
      isLateSlot(source) ||
      (context.isLate(source) &&
       isa_and_nonnull<mv::LaunchOp, tensor::ConcatOp>(source.getDefiningOp()));
  if (!isOwn) {
    source = context.copyOf(b, source);
    markLate(source.getDefiningOp());
  }
  return UnrealizedConversionCastOp::create(b, tensor.getLoc(), type, source)
      .getResult(0);
}

DenseMap<Value, Value> carryLateSlots(const LateContext &context) {
  DenseMap<Value, Value> memory;
  SmallVector<Operation *> ops;
  func::FuncOp(context.func).walk([&](Operation *op) {
    if (isControlFlow(op) && !lateSlots(op).empty())
      ops.push_back(op);
  });
  IRRewriter rewriter(func::FuncOp(context.func).getContext());
  for (Operation *old : ops) {
    SmallVector<int64_t> slots(lateSlots(old));
    const unsigned first = old->getNumResults();
    SmallVector<Type> types;
    SmallVector<Value> initial;
    rewriter.setInsertionPoint(old);
    for (int64_t slot : slots) {
      auto type = cast<RankedTensorType>(old->getResult(slot).getType());
      types.push_back(MemRefType::get(type.getShape(), type.getElementType()));
      if (Value value = initialOfSlot(old, slot))
        initial.push_back(memoryFor(context, rewriter, value, types.back()));
    }
    Operation *op = addSlots(rewriter, old, initial, types);
    SmallVector<SmallVector<Value>> yields;
    for (Region &region : op->getRegions())
      for (Block &block : region) {
        if (!isa<scf::IfOp>(op))
          for (auto [i, slot] : llvm::enumerate(slots))
            memory[argumentOfSlot(op, &block, slot)] =
                argumentOfSlot(op, &block, first + i);
        if (!isa<scf::YieldOp>(block.getTerminator()))
          continue;
        rewriter.setInsertionPoint(block.getTerminator());
        SmallVector<Value> &values = yields.emplace_back();
        for (auto [slot, type] : llvm::zip_equal(slots, types))
          values.push_back(memoryFor(context, rewriter,
                                     block.getTerminator()->getOperand(slot),
                                     type));
      }
    appendYields(op, yields);
    for (auto [i, slot] : llvm::enumerate(slots))
      memory[op->getResult(slot)] = op->getResult(first + i);
  }
  return memory;
}

} // namespace marver
