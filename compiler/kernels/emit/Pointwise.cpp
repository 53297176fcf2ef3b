//===- Pointwise.cpp - Results computed element by element ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sweeps over the elements of each result and lets the evaluator compute them,
// in vectors along the innermost dim. What all elements of a row share (the
// maximum of a softmax, say) the evaluator computes once a row, so this is a
// fair kernel for rows and reductions, too.
//
// Dims that lie one after the other in all buffers are swept as one. A parallel
// index is a chunk of some thousand elements.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/ResultWriter.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace marver;

namespace {

/// How results of one shape are swept.
struct Sweep {
  SmallVector<unsigned> results;
  Value source; ///< what is evaluated for the first of them
  /// First and last dim of what is swept as one, outermost first.
  SmallVector<std::pair<int64_t, int64_t>> groups;
  bool inVectors = true; ///< along the last group
  /// A parallel index is one index of each group before `split`, and `chunk`
  /// indices of that one.
  size_t split = 0;
  int64_t chunk = 1;
};

/// Elements of work that make a parallel index worth its overhead.
constexpr int64_t kWork = 8192;
/// What a dynamic size is taken for.
constexpr int64_t kGuess = 64;

} // namespace

/// Whether one element of `tensor` is a reduction along a contiguous dim, which
/// then takes the vectors.
static bool isRowReduction(Value tensor) {
  while (Operation *op = tensor.getDefiningOp()) {
    if (auto matmul = dyn_cast<mv::MatmulOp>(op))
      return matmul.getTransposeRhs();
    if (auto arg = dyn_cast<mv::ArgReduceOp>(op))
      return int64_t(arg.getDim()) ==
             cast<RankedTensorType>(arg.getInput().getType()).getRank() - 1;
    auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
    if (!linalgOp) {
      if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp>(
              op)) {
        tensor = op->getOperand(0);
        continue;
      }
      return false;
    }
    if (linalgOp.getNumReductionLoops() > 0) {
      for (OpOperand *input : linalgOp.getDpsInputOperands()) {
        auto type = cast<RankedTensorType>(input->get().getType());
        if (type.getRank() == 0)
          continue;
        int64_t last = lastNonUnitDim(type, 0, type.getRank() - 1);
        auto loop = dyn_cast<AffineDimExpr>(
            linalgOp.getMatchingIndexingMap(input).getResult(last));
        if (loop && linalgOp.getIteratorTypesArray()[loop.getPosition()] ==
                        utils::IteratorType::reduction)
          return true;
      }
      return false;
    }
    // Follow the operand that is read element by element.
    Value next;
    for (OpOperand *input : linalgOp.getDpsInputOperands())
      if (linalgOp.getMatchingIndexingMap(input).isPermutation())
        next = next ? next : input->get();
    if (!next)
      return false;
    tensor = next;
  }
  return false;
}

/// Elements that one element of `tensor` costs.
static int64_t workPerElement(Value tensor) {
  int64_t work = 1;
  if (auto linalgOp = tensor.getDefiningOp<linalg::LinalgOp>())
    for (auto [size, type] : llvm::zip_equal(linalgOp.getStaticLoopRanges(),
                                             linalgOp.getIteratorTypesArray()))
      if (type == utils::IteratorType::reduction)
        work *=
            ShapedType::isDynamic(size) ? kGuess : std::max<int64_t>(size, 1);
  return work;
}

/// Whether dims d and d + 1 of the source are one run in the result's buffer.
static bool areAdjacent(MemRefType buffer, tensor::PadOp pad, int64_t d) {
  if (pad && (getConstantIntValue(pad.getMixedLowPad()[d + 1]) != 0 ||
              getConstantIntValue(pad.getMixedHighPad()[d + 1]) != 0))
    return false;
  if (buffer.getLayout().isIdentity() || buffer.getDimSize(d) == 1)
    return true;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(buffer.getStridesAndOffset(strides, offset)))
    return false;
  return !ShapedType::isDynamic(strides[d]) &&
         !ShapedType::isDynamic(strides[d + 1]) &&
         !buffer.isDynamicDim(d + 1) &&
         strides[d] == strides[d + 1] * buffer.getDimSize(d + 1);
}

static MemRefType resultBuffer(mv::KernelOp kernel, unsigned number) {
  unsigned results = kernel.getTerminator()->getNumOperands();
  ArrayAttr buffers = *kernel.getBuffers();
  return cast<MemRefType>(
      cast<TypeAttr>(buffers[buffers.size() - results + number]).getValue());
}

static int64_t guess(int64_t size) {
  return ShapedType::isDynamic(size) ? kGuess : size;
}

/// Needs only the kernel: the host side and the kernel must agree.
static SmallVector<Sweep> planSweeps(mv::KernelOp kernel,
                                     const TargetInfo &target) {
  SmallVector<Sweep> sweeps;
  ValueRange yielded = kernel.getTerminator()->getOperands();
  auto typeOf = [](Value tensor) {
    return cast<RankedTensorType>(tensor.getType());
  };
  for (auto [number, value] : llvm::enumerate(yielded)) {
    Value source = storedSource(value, /*throughShapes=*/false);
    // Results of one static shape are swept together.
    Sweep *same = nullptr;
    if (typeOf(source).hasStaticShape())
      for (Sweep &other : sweeps)
        if (typeOf(other.source).getShape() == typeOf(source).getShape() &&
            isRowReduction(other.source) == isRowReduction(source))
          same = &other;
    if (!same) {
      same = &sweeps.emplace_back();
      same->source = source;
    }
    same->results.push_back(unsigned(number));
  }
  for (Sweep &sweep : sweeps) {
    RankedTensorType type = typeOf(sweep.source);
    sweep.inVectors = type.getRank() > 0 && !isRowReduction(sweep.source);
    auto canMerge = [&](int64_t first, int64_t d, int64_t last) {
      return llvm::all_of(sweep.results, [&](unsigned number) {
        Value result = yielded[number];
        return areAdjacent(resultBuffer(kernel, number),
                           result.getDefiningOp<tensor::PadOp>(), d) &&
               isFlattenable(kernel,
                             storedSource(result, /*throughShapes=*/false),
                             first, last);
      });
    };
    for (int64_t last = type.getRank() - 1; last >= 0;) {
      int64_t first = last;
      while (first > 0 && canMerge(first - 1, first - 1, last))
        --first;
      sweep.groups.insert(sweep.groups.begin(), {first, last});
      last = first - 1;
    }
    // From the inside out, as much as makes a parallel index.
    int64_t work = workPerElement(sweep.source);
    sweep.split = 0;
    sweep.chunk = std::numeric_limits<int64_t>::max();
    for (size_t g = sweep.groups.size(); g-- > 0;) {
      int64_t size = 1;
      bool isStatic = true;
      for (int64_t d = sweep.groups[g].first; d <= sweep.groups[g].second;
           ++d) {
        isStatic &= !type.isDynamicDim(d);
        size *= std::max<int64_t>(guess(type.getDimSize(d)), 1);
      }
      // A dynamic group can be of any size, so it is where chunks are cut.
      if (isStatic && work * size <= kWork) {
        work *= size;
        continue;
      }
      sweep.split = g;
      sweep.chunk = std::max<int64_t>(kWork / work, 1);
      if (g + 1 == sweep.groups.size() && sweep.inVectors)
        sweep.chunk = int64_t(
            llvm::alignTo(uint64_t(sweep.chunk), uint64_t(target.lanes)));
      break;
    }
  }
  return sweeps;
}

/// Parallel indices of a sweep, given the sizes of its groups as i64 or index
/// expressions that `multiply` and `ceilDiv` work on.
template <typename T, typename Multiply, typename CeilDiv>
static T sweepExtent(const Sweep &sweep, ArrayRef<T> sizes, T one,
                     Multiply multiply, CeilDiv ceilDiv) {
  T extent = one;
  for (size_t g = 0; g < sweep.split; ++g)
    extent = multiply(extent, sizes[g]);
  if (sweep.split < sizes.size())
    extent = multiply(extent, ceilDiv(sizes[sweep.split], sweep.chunk));
  return extent;
}

/// Whether results have borders that the kernel writes.
static bool hasBorder(mv::KernelOp kernel) {
  return llvm::any_of(kernel.getTerminator()->getOperands(), [](Value value) {
    return storedSource(value, /*throughShapes=*/false) != value;
  });
}

static OpFoldResult pointwiseExtent(OpBuilder &builder, Location loc,
                                    mv::KernelOp kernel, ValueRange inputs,
                                    ValueRange outs, const TargetInfo &target) {
  AffineExpr s0 = builder.getAffineSymbolExpr(0);
  AffineExpr s1 = builder.getAffineSymbolExpr(1);
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  // A product of two unknown sizes is no affine expression.
  auto multiply = [&](OpFoldResult a, OpFoldResult c) -> OpFoldResult {
    if (getConstantIntValue(a) || getConstantIntValue(c))
      return apply(s0 * s1, {a, c});
    return arith::MulIOp::create(builder, loc, cast<Value>(a), cast<Value>(c))
        .getResult();
  };
  auto ceilDiv = [&](OpFoldResult a, int64_t chunk) -> OpFoldResult {
    if (std::optional<int64_t> size = getConstantIntValue(a))
      return builder.getIndexAttr(*size == 0 ? 0 : (*size - 1) / chunk + 1);
    if (chunk == std::numeric_limits<int64_t>::max())
      return builder.getIndexAttr(1);
    return apply(s0.ceilDiv(chunk), {a});
  };
  OpFoldResult total = builder.getIndexAttr(0);
  for (const Sweep &sweep : planSweeps(kernel, target)) {
    unsigned number = sweep.results.front();
    Value yielded = kernel.getTerminator()->getOperand(number);
    auto pad = yielded.getDefiningOp<tensor::PadOp>();
    bool strip = pad && sweep.source != yielded;
    SmallVector<OpFoldResult> sizes;
    for (auto [first, last] : sweep.groups) {
      OpFoldResult size = builder.getIndexAttr(1);
      for (int64_t d = first; d <= last; ++d) {
        OpFoldResult dim = memref::getMixedSize(builder, loc, outs[number], d);
        if (strip)
          dim = apply(s0 - *getConstantIntValue(pad.getMixedLowPad()[d]) -
                          *getConstantIntValue(pad.getMixedHighPad()[d]),
                      {dim});
        size = multiply(size, dim);
      }
      sizes.push_back(size);
    }
    OpFoldResult extent = sweepExtent<OpFoldResult>(
        sweep, sizes, builder.getIndexAttr(1), multiply, ceilDiv);
    total = apply(s0 + s1, {total, extent});
  }
  // Something must write the border around an empty interior.
  if (!getConstantIntValue(total) && hasBorder(kernel))
    total =
        arith::MaxSIOp::create(builder, loc, cast<Value>(total),
                               arith::ConstantIndexOp::create(builder, loc, 1))
            .getResult();
  else if (getConstantIntValue(total) == 0 && hasBorder(kernel))
    total = builder.getIndexAttr(1);
  return total;
}

static int64_t pointwiseScratch(mv::KernelOp, const TargetInfo &) { return 0; }

/// Emits one sweep for the parallel indices [from, to) of it.
static void emitSweep(Evaluator &evaluator, ResultWriter &writer,
                      const Sweep &sweep, ArrayRef<Value> sizes, Value from,
                      Value to) {
  KernelEmitter &e = evaluator.emitter();
  auto type = cast<RankedTensorType>(sweep.source.getType());
  int64_t lanes = sweep.inVectors ? e.target().lanes : 0;
  size_t count = sweep.groups.size();
  Coordinates at(type.getRank());
  auto slot = [&](size_t g) -> Coordinate & {
    auto [first, last] = sweep.groups[g];
    return at[lastNonUnitDim(type, first, last)];
  };
  auto write = [&](Value mask) {
    Point point(at, lanes, mask);
    for (unsigned number : sweep.results)
      writer.write(number, point);
  };
  /// [lower, upper) of group g, then all of the groups behind it.
  std::function<void(size_t, Value, Value)> nest = [&](size_t g, Value lower,
                                                       Value upper) {
    if (g == count)
      return write(nullptr);
    bool isLast = g + 1 == count;
    auto inner = [&] {
      nest(g + 1, e.constant(0), isLast ? e.constant(1) : sizes[g + 1]);
    };
    if (!isLast || !lanes) {
      if (e.constantValue(lower) == 0 && e.constantValue(upper) == 1) {
        slot(g) = Coordinate(0);
        return inner();
      }
      e.loop(lower, upper, 1, [&](Value i) {
        slot(g) = Coordinate(i);
        inner();
      });
      return;
    }
    // Whole vectors, then the rest. `lower` is a multiple of the lanes.
    Value length = e.sub(upper, lower);
    Value whole = e.mul(e.floorDiv(length, e.constant(lanes)), lanes);
    std::optional<int64_t> knownWhole = e.constantValue(whole);
    if (knownWhole == lanes && e.constantValue(lower) == 0) {
      slot(g) = Coordinate(0);
      slot(g).stride = 1;
      write(nullptr);
    } else if (knownWhole != 0) {
      e.loop(lower, e.add(lower, whole), lanes, [&](Value i) {
        slot(g) = Coordinate(i, lanes, 1);
        write(nullptr);
      });
    }
    Value rest = e.sub(length, whole);
    std::optional<int64_t> knownRest = e.constantValue(rest);
    if (knownRest == 0)
      return;
    auto tail = [&] {
      Coordinate c = CoordinateMath(e, lanes).of(e.add(lower, whole));
      if (c.base)
        c.multiple = lanes;
      c.stride = 1;
      slot(g) = c;
      write(e.laneMask(rest, lanes));
    };
    if (knownRest)
      tail();
    else
      e.ifThen(arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::sgt,
                                     rest, e.constant(0)),
               tail);
  };
  if (count == 0) {
    e.loop(from, to, 1, [&](Value) { write(nullptr); });
    return;
  }

  // The coordinates of a parallel index: groups before the split, the chunk.
  SmallVector<OpFoldResult> extents;
  for (size_t g = 0; g < sweep.split; ++g)
    extents.push_back(sizes[g]);
  Value size = sizes[sweep.split];
  bool isWhole = sweep.chunk == std::numeric_limits<int64_t>::max();
  std::optional<int64_t> known = e.constantValue(size);
  isWhole |= known && *known <= sweep.chunk;
  Value chunk = e.constant(sweep.chunk);
  if (!isWhole)
    extents.push_back(e.floorDiv(e.add(size, sweep.chunk - 1), chunk));
  e.loop(from, to, 1, [&](Value i) {
    SmallVector<Value> index = e.delinearize(i, extents);
    for (size_t g = 0; g < sweep.split; ++g)
      slot(g) = Coordinate(index[g]);
    if (isWhole)
      return nest(sweep.split, e.constant(0), size);
    Value lower = e.mul(index.back(), chunk);
    Value upper = e.min(e.add(lower, chunk), size);
    if (known && *known % sweep.chunk == 0)
      upper = e.add(lower, chunk);
    nest(sweep.split, lower, upper);
  });
}

static LogicalResult emitPointwise(KernelEmitter &e) {
  Evaluator evaluator(e);
  ResultWriter writer(evaluator, /*throughShapes=*/false);
  SmallVector<Sweep> sweeps = planSweeps(e.kernel(), e.target());

  SmallVector<SmallVector<Value>> sizes(sweeps.size());
  SmallVector<Value> starts{e.constant(0)};
  for (auto [sweep, groupSizes] : llvm::zip_equal(sweeps, sizes)) {
    SmallVector<Value> dims = evaluator.dims(sweep.source);
    for (auto [first, last] : sweep.groups) {
      Value size = e.constant(1);
      for (int64_t d = first; d <= last; ++d)
        size = e.mul(size, dims[d]);
      groupSizes.push_back(size);
    }
    Value extent = sweepExtent<Value>(
        sweep, groupSizes, e.constant(1),
        [&](Value a, Value c) { return e.mul(a, c); },
        [&](Value a, int64_t chunk) {
          if (std::optional<int64_t> size = e.constantValue(a))
            return e.constant(*size == 0 ? 0 : (*size - 1) / chunk + 1);
          if (chunk == std::numeric_limits<int64_t>::max())
            return e.constant(1);
          return e.floorDiv(e.add(a, chunk - 1), e.constant(chunk));
        });
    starts.push_back(e.add(starts.back(), extent));
  }
  bool border = hasBorder(e.kernel());
  if (border)
    writer.fillBorders(e.max(starts.back(), e.constant(1)));
  for (auto [i, sweep] : llvm::enumerate(sweeps)) {
    Value from = e.begin(), to = e.end();
    if (sweeps.size() > 1 || border) {
      from = e.sub(e.max(from, starts[i]), starts[i]);
      to = e.sub(e.min(to, starts[i + 1]), starts[i]);
    }
    emitSweep(evaluator, writer, sweep, sizes[i], from, to);
  }
  return evaluator.result();
}

const KernelFamily marver::pointwiseFamily = {"pointwise", pointwiseExtent,
                                              pointwiseScratch, emitPointwise};
