//===- Ordered.cpp - Kernels that go along one dim in order ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Running sums, and slices scattered along a dim: what happens at one index of
// the dim depends on those before it. A parallel index is therefore one index
// of every other dim (a chunk of the innermost one), and goes along all of the
// dim.
//
// A scatter whose result is the memory of its input (a KV cache) writes the
// updates only.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/MathLibrary.h"
#include "compiler/kernels/emit/ResultWriter.h"
#include "marver/abi.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace marver;

/// Elements of the innermost dim in a parallel index.
constexpr int64_t kChunk = 256;

/// The operation that `kernel` is about: nothing follows it.
template <typename Op> static Op operationOf(mv::KernelOp kernel) {
  return kernel.getTerminator()->getOperand(0).template getDefiningOp<Op>();
}

/// The parallel indices of a kernel that goes along dim `along` of its result.
static OpFoldResult extentAlong(OpBuilder &builder, Location loc, Value out,
                                int64_t along) {
  int64_t rank = cast<MemRefType>(out.getType()).getRank();
  Value extent = arith::ConstantIndexOp::create(builder, loc, 1);
  for (int64_t d = 0; d < rank; ++d) {
    if (d == along)
      continue;
    Value size = memref::DimOp::create(builder, loc, out, d);
    if (d == rank - 1)
      size = arith::CeilDivUIOp::create(
          builder, loc, size,
          arith::ConstantIndexOp::create(builder, loc, kChunk));
    extent = arith::MulIOp::create(builder, loc, extent, size);
  }
  return extent;
}

/// Calls `body` for every parallel index with a point that is 0 along the dim:
/// vectors along the innermost dim, or single elements when that is `along`.
static void forEachRow(Evaluator &evaluator, ArrayRef<Value> sizes,
                       int64_t along,
                       llvm::function_ref<void(const Point &)> body) {
  KernelEmitter &e = evaluator.emitter();
  auto rank = int64_t(sizes.size());
  int64_t lanes = e.target().lanes;
  bool inVectors = along != rank - 1;
  SmallVector<OpFoldResult> extents;
  for (int64_t d = 0; d < rank; ++d) {
    if (d == along)
      continue;
    if (d == rank - 1)
      extents.push_back(
          e.floorDiv(e.add(sizes[d], kChunk - 1), e.constant(kChunk)));
    else
      extents.push_back(sizes[d]);
  }
  e.loop(e.begin(), e.end(), 1, [&](Value i) {
    SmallVector<Value> index = e.delinearize(i, extents);
    Coordinates at;
    for (int64_t d = 0, next = 0; d < rank; ++d)
      at.push_back(d == along ? Coordinate(0)
                              : CoordinateMath(e, 0).of(index[next++]));
    if (!inVectors)
      return body(Point(at));
    Value lower = e.mul(index.back(), kChunk);
    Value length = e.min(e.sub(sizes[rank - 1], lower), e.constant(kChunk));
    Value whole = e.mul(e.floorDiv(length, e.constant(lanes)), lanes);
    e.loop(lower, e.add(lower, whole), lanes, [&](Value j) {
      at[rank - 1] = Coordinate(j, lanes, 1);
      body(Point(at, lanes));
    });
    Value rest = e.sub(length, whole);
    e.ifThen(arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::sgt, rest,
                                   e.constant(0)),
             [&] {
               at[rank - 1] = Coordinate(e.add(lower, whole), lanes, 1);
               body(Point(at, lanes, e.laneMask(rest, lanes)));
             });
  });
}

template <typename Op>
static OpFoldResult orderedExtent(OpBuilder &builder, Location loc,
                                  mv::KernelOp kernel, ValueRange,
                                  ValueRange outs, const TargetInfo &) {
  return extentAlong(builder, loc, outs[0],
                     int64_t(operationOf<Op>(kernel).getDim()));
}

static int64_t noScratch(mv::KernelOp, const TargetInfo &) { return 0; }

//===----------------------------------------------------------------------===//
// Running sums
//===----------------------------------------------------------------------===//

static LogicalResult emitCumulative(KernelEmitter &e) {
  auto op = operationOf<mv::CumulativeSumOp>(e.kernel());
  Evaluator evaluator(e);
  ResultWriter writer(evaluator, /*throughShapes=*/false);
  ImplicitLocOpBuilder &b = e.builder();
  auto along = int64_t(op.getDim());
  SmallVector<Value> sizes = evaluator.dims(op.getResult());
  Type type = cast<RankedTensorType>(op.getInput().getType()).getElementType();
  Type computed = type.isF16() || type.isBF16() ? Type(b.getF32Type()) : type;

  forEachRow(evaluator, sizes, along, [&](const Point &row) {
    Value zero = e.zero(computed, row.lanes);
    e.loop(e.constant(0), sizes[along], 1, ValueRange(zero),
           [&](Value i, ValueRange carried) -> SmallVector<Value> {
             Point point = row;
             point.at[along] =
                 op.getReverse() ? Coordinate(e.sub(e.add(sizes[along], -1), i))
                                 : Coordinate(i);
             Value x =
                 evaluator.widen(evaluator.evaluate(op.getInput(), point));
             Value sum = isa<FloatType>(computed)
                             ? Value(arith::AddFOp::create(b, carried[0], x))
                             : Value(arith::AddIOp::create(b, carried[0], x));
             writer.store(
                 0, point,
                 evaluator.narrow(op.getExclusive() ? carried[0] : sum, type));
             return {sum};
           });
  });
  return evaluator.result();
}

const KernelFamily marver::cumulativeSumFamily = {
    "cumulative_sum", orderedExtent<mv::CumulativeSumOp>, noScratch,
    emitCumulative};

//===----------------------------------------------------------------------===//
// Scatters
//===----------------------------------------------------------------------===//

static LogicalResult emitScatter(KernelEmitter &e) {
  auto op = operationOf<mv::ScatterOp>(e.kernel());
  Evaluator evaluator(e);
  ResultWriter writer(evaluator, /*throughShapes=*/false);
  ImplicitLocOpBuilder &b = e.builder();
  auto along = int64_t(op.getDim());
  SmallVector<Value> sizes = evaluator.dims(op.getResult());
  auto rank = int64_t(sizes.size());
  int64_t lanes = e.target().lanes;
  Type type = cast<RankedTensorType>(op.getInput().getType()).getElementType();
  const Buffer &out = e.output(0);

  // Whether the input is not the result's memory already.
  Value needsCopy;
  if (std::optional<Buffer> in = evaluator.buffer(op.getInput()))
    needsCopy = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, in->pointer,
                                     out.pointer);
  auto copy = [&](const Point &row) {
    auto element = [&](const Point &point) {
      writer.store(0, point, evaluator.evaluate(op.getInput(), point));
    };
    Value size = sizes[along];
    if (along < rank - 1) {
      e.loop(e.constant(0), size, 1, [&](Value i) {
        Point point = row;
        point.at[along] = Coordinate(i);
        element(point);
      });
      return;
    }
    // The dim itself is the innermost: vectors along it.
    Value whole = e.mul(e.floorDiv(size, e.constant(lanes)), lanes);
    Point point(row.at, lanes);
    e.loop(e.constant(0), whole, lanes, [&](Value i) {
      point.at[along] = Coordinate(i, lanes, 1);
      element(point);
    });
    Value rest = e.sub(size, whole);
    e.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, rest,
                                   e.constant(0)),
             [&] {
               CoordinateMath math(e, lanes);
               point.at[along] = math.of(whole);
               point.at[along].stride = 1;
               point.mask = e.laneMask(rest, lanes);
               element(point);
             });
  };
  auto combine = [&](Value before, Value update) -> Value {
    Value x = evaluator.widen(before), y = evaluator.widen(update);
    return evaluator.narrow(evaluator.combineScatter(op.getKind(), x, y), type);
  };

  Value positions = evaluator.dim(op.getIndices(), 0);
  forEachRow(evaluator, sizes, along, [&](const Point &row) {
    if (needsCopy)
      e.ifThen(needsCopy, [&] { copy(row); });
    else
      copy(row);
    e.loop(e.constant(0), positions, 1, [&](Value i) {
      Point at;
      at.at.push_back(Coordinate(i));
      Value size = sizes[along];
      CoordinateMath math(e, 0);
      Value index = math.scalar(evaluator.coordinateFrom(op.getIndices(), at));
      Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                             index, e.constant(0));
      index = evaluator.laneSelect(negative, e.add(index, size), index);
      Value isValid =
          arith::CmpIOp::create(b, arith::CmpIPredicate::ult, index, size);
      e.ifThen(
          isValid,
          [&] {
            Point source = row, target = row;
            source.at[along] = Coordinate(i);
            target.at[along] = Coordinate(index);
            Value value = evaluator.evaluate(op.getUpdates(), source);
            if (op.getKind() != mv::ScatterKind::Replace)
              value = combine(evaluator.load(out, target), value);
            writer.store(0, target, value);
          },
          [&] { e.reportFailure(MV_FAILURE_INDEX, op); });
    });
  });
  return evaluator.result();
}

const KernelFamily marver::scatterFamily = {
    "scatter", orderedExtent<mv::ScatterOp>, noScratch, emitScatter};
