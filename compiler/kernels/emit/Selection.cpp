//===- Selection.cpp - Kernels that choose elements -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The first elements in order, the true ones, boxes that overlap little: each
// result is a list of positions. A parallel index is one such list.
//
// Orders are total, since of equal elements the smaller position comes first;
// so a heap of positions, kept in the result's own memory, sorts stably in
// n log k steps and needs no other memory.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"
#include "compiler/kernels/emit/Families.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace marver;

namespace {

using Predicate = arith::CmpIPredicate;

Value compare(KernelEmitter &e, Predicate predicate, Value a, Value b) {
  return arith::CmpIOp::create(e.builder(), predicate, a, b);
}

Value isLess(KernelEmitter &e, Value a, Value b) {
  return compare(e, Predicate::slt, a, b);
}

Value isBoth(KernelEmitter &e, Value a, Value b) {
  return arith::AndIOp::create(e.builder(), a, b);
}

/// `next` gives what is carried, from what was carried, or nothing where its
/// first value is negative: the loop ends with what was carried before.
SmallVector<Value> loopWhileNotNegative(
    KernelEmitter &e, ValueRange inits,
    llvm::function_ref<Value(ValueRange)> next,
    llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  ImplicitLocOpBuilder &b = e.builder();
  SmallVector<Type> types{b.getI64Type()};
  llvm::append_range(types, inits.getTypes());
  auto loop = scf::WhileOp::create(b, types, inits);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Location> locs(inits.size() + 1, b.getLoc());
  Block *before = b.createBlock(&loop.getBefore(), {}, inits.getTypes(),
                                ArrayRef(locs).drop_front());
  SmallVector<Value> passed{next(before->getArguments())};
  llvm::append_range(passed, before->getArguments());
  scf::ConditionOp::create(
      b, compare(e, Predicate::sge, passed[0], e.constant(0)), passed);
  Block *after = b.createBlock(&loop.getAfter(), {}, types, locs);
  scf::YieldOp::create(
      b, body(after->getArgument(0), after->getArguments().drop_front()));
  return SmallVector<Value>(loop.getResults().drop_front());
}

/// i64 elements of the last dim of `buffer`, at `row` in the others.
class List {
public:
  List(KernelEmitter &e, const Buffer &buffer, ArrayRef<Value> row)
      : e(e), buffer(buffer), index(row.begin(), row.end()) {}

  Value get(Value slot) const {
    return e.load(address(slot), e.builder().getI64Type(), 0);
  }
  void set(Value slot, Value position) const {
    e.store(position, address(slot), e.builder().getI64Type());
  }

private:
  Value address(Value slot) const {
    SmallVector<Value> at(index);
    at.push_back(slot);
    return e.address(buffer, at);
  }

  KernelEmitter &e;
  const Buffer &buffer;
  SmallVector<Value> index;
};

/// Whether position a comes strictly before position b.
using Order = std::function<Value(Value a, Value b)>;

/// Positions of which the root comes before (`rootIsFirst`) or after all
/// others.
class Heap {
public:
  Heap(KernelEmitter &e, const List &list, Order before, bool rootIsFirst)
      : e(e), list(list), before(std::move(before)), rootIsFirst(rootIsFirst) {}

  /// Puts `position` where it belongs below `root`, whose slot is free.
  void sift(Value position, Value root, Value size) const {
    Value slot = loopWhileNotNegative(
        e, root,
        [&](ValueRange hole) { return nextHole(position, hole[0], size); },
        [&](Value child, ValueRange hole) -> SmallVector<Value> {
          list.set(hole[0], list.get(child));
          return {child};
        })[0];
    list.set(slot, position);
  }

  /// Makes the first `size` slots a heap.
  void build(Value size) const {
    Value parents = e.floorDiv(size, e.constant(2));
    e.loop(e.constant(0), parents, 1, [&](Value i) {
      Value root = e.sub(e.add(parents, -1), i);
      sift(list.get(root), root, size);
    });
  }

private:
  Value isAbove(Value a, Value b) const {
    return rootIsFirst ? before(a, b) : before(b, a);
  }

  /// The child to move up to `hole`, -1 if `position` belongs there.
  Value nextHole(Value position, Value hole, Value size) const {
    Type i64 = e.builder().getI64Type();
    Value left = e.add(e.mul(hole, 2), 1), right = e.add(left, 1);
    return e.ifThenElse(
        isLess(e, left, size), i64,
        [&] {
          Value child = e.ifThenElse(
              isLess(e, right, size), i64,
              [&] {
                Value isRight = isAbove(list.get(right), list.get(left));
                return arith::SelectOp::create(e.builder(), isRight, right,
                                               left)
                    .getResult();
              },
              [&] { return left; });
          Value moves = isAbove(list.get(child), position);
          return arith::SelectOp::create(e.builder(), moves, child,
                                         e.constant(-1))
              .getResult();
        },
        [&] { return e.constant(-1); });
  }

  KernelEmitter &e;
  const List &list;
  Order before;
  bool rootIsFirst;
};

/// a < b; NaN is the largest.
Value comesBefore(KernelEmitter &e, Value a, Value b, bool isUnsigned) {
  if (!isa<FloatType>(a.getType())) {
    bool wraps = isUnsigned || a.getType().isInteger(1);
    return compare(e, wraps ? Predicate::ult : Predicate::slt, a, b);
  }
  // Less or unordered, and a is a number.
  ImplicitLocOpBuilder &builder = e.builder();
  return isBoth(
      e, arith::CmpFOp::create(builder, arith::CmpFPredicate::ULT, a, b),
      arith::CmpFOp::create(builder, arith::CmpFPredicate::ORD, a, a));
}

int64_t noScratch(mv::KernelOp, const TargetInfo &) { return 0; }

/// One parallel index for every element of all dims of the result but the last.
OpFoldResult listsExtent(OpBuilder &b, Location loc, mv::KernelOp, ValueRange,
                         ValueRange outs, const TargetInfo &) {
  int64_t rank = cast<MemRefType>(outs[0].getType()).getRank();
  Value extent = arith::ConstantIndexOp::create(b, loc, 1);
  for (int64_t d = 0; d + 1 < rank; ++d)
    extent = arith::MulIOp::create(b, loc, extent,
                                   memref::DimOp::create(b, loc, outs[0], d));
  return extent;
}

/// Calls `body` with every list of the result and its place.
void forEachList(
    KernelEmitter &e,
    llvm::function_ref<void(const List &, ArrayRef<Value> row)> body) {
  const Buffer &out = e.output(0);
  e.loop(e.begin(), e.end(), 1, [&](Value i) {
    SmallVector<Value> row = e.delinearize(i, ArrayRef(out.sizes).drop_back());
    body(List(e, out, row), row);
  });
}

//===----------------------------------------------------------------------===//
// The first elements in order
//===----------------------------------------------------------------------===//

/// The order of the elements (or rows) of `input` at `row`.
class ElementOrder {
public:
  ElementOrder(Evaluator &evaluator, mv::TopKOp op, ArrayRef<Value> row)
      : evaluator(evaluator), e(evaluator.emitter()),
        input(*evaluator.buffer(op.getInput())), row(row),
        isLargest(op.getLargest()), isUnsigned(op.getIsUnsigned()) {
    if (op.getRows())
      width = evaluator.dim(op.getInput(), op.getBatchRank() + 1);
  }

  Value operator()(Value a, Value b) const {
    ImplicitLocOpBuilder &builder = e.builder();
    auto isEarlier = [&] { return isLess(e, a, b); };
    if (!width) {
      auto [less, greater] = sides(load(a, {}), load(b, {}));
      Value isEqual = arith::XOrIOp::create(
          builder, arith::OrIOp::create(builder, less, greater),
          arith::ConstantOp::create(builder, builder.getBoolAttr(true)));
      return arith::OrIOp::create(builder, less,
                                  isBoth(e, isEqual, isEarlier()));
    }
    // The first column in which they differ: 1 below, 2 above, 0 not found yet.
    Value zero = e.constant(0);
    SmallVector<Value> found = loopWhileNotNegative(
        e, ValueRange{zero, zero},
        [&](ValueRange state) {
          Value open = isBoth(e, compare(e, Predicate::eq, state[1], zero),
                              isLess(e, state[0], width));
          return arith::SelectOp::create(builder, open, state[0],
                                         e.constant(-1))
              .getResult();
        },
        [&](Value column, ValueRange) -> SmallVector<Value> {
          auto [less, greater] = sides(load(a, column), load(b, column));
          Value side = arith::SelectOp::create(
              builder, less, e.constant(1),
              arith::SelectOp::create(builder, greater, e.constant(2), zero));
          return {e.add(column, 1), side};
        });
    Value isEqual = compare(e, Predicate::eq, found[1], zero);
    return arith::OrIOp::create(
        builder, compare(e, Predicate::eq, found[1], e.constant(1)),
        isBoth(e, isEqual, isEarlier()));
  }

private:
  Value load(Value position, Value column) const {
    SmallVector<Value> at(row);
    at.push_back(position);
    if (column)
      at.push_back(column);
    return evaluator.widen(e.load(e.address(input, at), input.elementType, 0));
  }

  /// Whether a comes before b, and behind it.
  std::pair<Value, Value> sides(Value a, Value b) const {
    if (isLargest)
      std::swap(a, b);
    return {comesBefore(e, a, b, isUnsigned), comesBefore(e, b, a, isUnsigned)};
  }

  Evaluator &evaluator;
  KernelEmitter &e;
  Buffer input;
  SmallVector<Value> row;
  Value width; ///< of rows, null for single elements
  bool isLargest, isUnsigned;
};

/// Keeps the first k seen so far in a heap with the last of them at its root,
/// then takes that root away to the end, again and again.
void emitTopK(Evaluator &evaluator, mv::TopKOp op) {
  KernelEmitter &e = evaluator.emitter();
  Value size = evaluator.dim(op.getInput(), op.getBatchRank());
  Value count = evaluator.dim(op.getResult(), op.getBatchRank());
  forEachList(e, [&](const List &list, ArrayRef<Value> row) {
    ElementOrder order(evaluator, op, row);
    Heap heap(e, list, order, /*rootIsFirst=*/false);
    Value zero = e.constant(0);
    e.loop(zero, count, 1, [&](Value i) { list.set(i, i); });
    heap.build(count);
    // Without a heap nothing can be compared with its root.
    Value end = arith::SelectOp::create(e.builder(), isLess(e, zero, count),
                                        size, count);
    e.loop(count, end, 1, [&](Value i) {
      e.ifThen(order(i, list.get(zero)), [&] { heap.sift(i, zero, count); });
    });
    e.loop(e.constant(1), count, 1, [&](Value i) {
      Value last = e.sub(count, i);
      Value moved = list.get(last);
      list.set(last, list.get(zero));
      heap.sift(moved, zero, last);
    });
  });
}

//===----------------------------------------------------------------------===//
// True elements
//===----------------------------------------------------------------------===//

void emitTruePositions(Evaluator &evaluator, mv::TruePositionsOp op) {
  KernelEmitter &e = evaluator.emitter();
  Buffer mask = *evaluator.buffer(op.getMask());
  Value size = evaluator.dim(op.getMask(), 0);
  forEachList(e, [&](const List &list, ArrayRef<Value>) {
    e.loop(e.constant(0), size, 1, ValueRange(e.constant(0)),
           [&](Value i, ValueRange found) -> SmallVector<Value> {
             Value isTrue =
                 e.load(e.address(mask, i), mask.elementType, /*lanes=*/0);
             e.ifThen(isTrue, [&] { list.set(found[0], i); });
             Value step = arith::ExtUIOp::create(
                 e.builder(), e.builder().getI64Type(), isTrue);
             return {e.add(found[0], step)};
           });
  });
}

//===----------------------------------------------------------------------===//
// Boxes
//===----------------------------------------------------------------------===//

/// Whether boxes a and b (low and high corners) overlap by more than `limit`.
Value overlap(KernelEmitter &e, ArrayRef<Value> a, ArrayRef<Value> b,
              Value limit) {
  ImplicitLocOpBuilder &builder = e.builder();
  auto sub = [&](Value x, Value y) -> Value {
    return arith::SubFOp::create(builder, x, y);
  };
  auto mul = [&](Value x, Value y) -> Value {
    return arith::MulFOp::create(builder, x, y);
  };
  auto isAbove = [&](Value x, Value y) -> Value {
    return arith::CmpFOp::create(builder, arith::CmpFPredicate::OGT, x, y);
  };
  auto pick = [&](Value condition, Value x, Value y) -> Value {
    return arith::SelectOp::create(builder, condition, x, y);
  };
  auto area = [&](ArrayRef<Value> box) {
    return mul(sub(box[2], box[0]), sub(box[3], box[1]));
  };
  SmallVector<Value, 2> sides;
  for (int64_t d : {0, 1})
    sides.push_back(sub(pick(isAbove(a[d + 2], b[d + 2]), b[d + 2], a[d + 2]),
                        pick(isAbove(a[d], b[d]), a[d], b[d])));
  Value zero = e.zero(limit.getType(), 0);
  Value both = mul(sides[0], sides[1]);
  Value together = sub(arith::AddFOp::create(builder, area(a), area(b)), both);
  Value share = arith::DivFOp::create(builder, both, together);
  return isBoth(e, isBoth(e, isAbove(sides[0], zero), isAbove(sides[1], zero)),
                isAbove(share, limit));
}

/// The candidates are a heap at the list's front with the best at its root; the
/// chosen ones grow from the list's end, where the heap gives room.
void emitSuppress(Evaluator &evaluator, mv::SuppressOp op) {
  KernelEmitter &e = evaluator.emitter();
  ImplicitLocOpBuilder &b = e.builder();
  Buffer boxes = *evaluator.buffer(op.getBoxes());
  Buffer scores = *evaluator.buffer(op.getScores());
  Type type = scores.elementType;
  auto limit = [&](Value tensor) {
    Buffer buffer = *evaluator.buffer(tensor);
    return e.load(buffer.pointer, buffer.elementType, 0);
  };
  Value countLimit = limit(op.getCountLimit());
  Value overlapLimit = limit(op.getOverlapLimit());
  Value scoreLimit = limit(op.getScoreLimit());
  Value size = evaluator.dim(op.getScores(), 2);
  Value zero = e.constant(0);

  forEachList(e, [&](const List &list, ArrayRef<Value> row) {
    auto score = [&](Value position) {
      return e.load(e.address(scores, {row[0], row[1], position}), type, 0);
    };
    auto box = [&](Value position) {
      SmallVector<Value, 4> corners;
      for (int64_t i = 0; i < 4; ++i)
        corners.push_back(e.load(
            e.address(boxes, {row[0], position, e.constant(i)}), type, 0));
      return corners;
    };
    auto before = [&](Value p, Value q) -> Value {
      Value x = score(p), y = score(q);
      Value isBetter =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
      Value isEqual = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, y);
      return arith::OrIOp::create(b, isBetter,
                                  isBoth(e, isEqual, isLess(e, p, q)));
    };
    Value candidates = e.loop(
        zero, size, 1, ValueRange(zero),
        [&](Value i, ValueRange found) -> SmallVector<Value> {
          Value counts = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT,
                                               score(i), scoreLimit);
          e.ifThen(counts, [&] { list.set(found[0], i); });
          return {e.add(found[0],
                        arith::ExtUIOp::create(b, b.getI64Type(), counts))};
        })[0];
    Heap heap(e, list, before, /*rootIsFirst=*/true);
    heap.build(candidates);
    // Carried: candidates left, chosen ones.
    Value chosen = loopWhileNotNegative(
        e, ValueRange{candidates, zero},
        [&](ValueRange state) {
          Value goesOn = isBoth(e, isLess(e, zero, state[0]),
                                isLess(e, state[1], countLimit));
          return arith::SelectOp::create(
                     b, goesOn, e.sub(state[0], e.constant(1)), e.constant(-1))
              .getResult();
        },
        [&](Value left, ValueRange state) -> SmallVector<Value> {
          Value best = list.get(zero);
          // The last of the heap may be its root, too.
          heap.sift(list.get(left), zero, left);
          SmallVector<Value, 4> own = box(best);
          Value newest = e.sub(size, state[1]);
          // From the newest chosen one to the first that overlaps.
          Value checked = loopWhileNotNegative(
              e, newest,
              [&](ValueRange at) {
                return e.ifThenElse(
                    isLess(e, at[0], size), b.getI64Type(),
                    [&] {
                      Value isOver =
                          overlap(e, own, box(list.get(at[0])), overlapLimit);
                      return arith::SelectOp::create(b, isOver, e.constant(-1),
                                                     at[0])
                          .getResult();
                    },
                    [&] { return e.constant(-1); });
              },
              [&](Value at, ValueRange) -> SmallVector<Value> {
                return {e.add(at, 1)};
              })[0];
          Value isChosen = compare(e, Predicate::eq, checked, size);
          e.ifThen(isChosen, [&] { list.set(e.add(newest, -1), best); });
          return {left, e.add(state[1], arith::ExtUIOp::create(
                                            b, b.getI64Type(), isChosen))};
        })[1];
    // The first one is last: turn the list around.
    e.loop(zero, e.sub(size, chosen), 1,
           [&](Value i) { list.set(i, e.constant(-1)); });
    e.loop(zero, e.floorDiv(size, e.constant(2)), 1, [&](Value i) {
      Value other = e.sub(e.add(size, -1), i);
      Value front = list.get(i), back = list.get(other);
      list.set(i, back);
      list.set(other, front);
    });
  });
}

LogicalResult emitSelection(KernelEmitter &e) {
  Operation *op = e.kernel().getTerminator()->getOperand(0).getDefiningOp();
  Evaluator evaluator(e);
  if (auto topK = dyn_cast_or_null<mv::TopKOp>(op))
    emitTopK(evaluator, topK);
  else if (auto positions = dyn_cast_or_null<mv::TruePositionsOp>(op))
    emitTruePositions(evaluator, positions);
  else if (auto suppress = dyn_cast_or_null<mv::SuppressOp>(op))
    emitSuppress(evaluator, suppress);
  else
    return e.kernel().emitOpError("does not end in a choice of elements");
  return evaluator.result();
}

} // namespace

const KernelFamily marver::selectionFamily = {"selection", listsExtent,
                                              noScratch, emitSelection};
