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
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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
  /// The group that the operands are contiguous along, if it is not the last:
  /// tiles of lanes x lanes are read along it and transposed in registers.
  std::optional<size_t> readAlong;
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

static int64_t guess(int64_t size) {
  return ShapedType::isDynamic(size) ? kGuess : size;
}

/// Buffers come in the order of the tensor operands.
static MemRefType operandBuffer(mv::KernelOp kernel, BlockArgument argument) {
  unsigned number = 0;
  for (BlockArgument other : kernel.getBlock().getArguments()) {
    if (other == argument)
      break;
    number += isa<RankedTensorType>(other.getType());
  }
  return cast<MemRefType>(
      cast<TypeAttr>((*kernel.getBuffers())[number]).getValue());
}

/// Counts, for each dim of `tensor`, the operands that are contiguous along it.
static void countContiguous(mv::KernelOp kernel, Value tensor,
                            ArrayRef<int64_t> dimOf,
                            SmallVectorImpl<int64_t> &votes) {
  // `dimOf` gives the voted dim for each dim of `tensor`, -1 for none.
  auto type = cast<RankedTensorType>(tensor.getType());
  if (auto argument = dyn_cast<BlockArgument>(tensor)) {
    MemRefType buffer = operandBuffer(kernel, argument);
    SmallVector<int64_t> strides;
    int64_t offset;
    if (failed(buffer.getStridesAndOffset(strides, offset)))
      return;
    for (int64_t d = type.getRank() - 1; d >= 0; --d)
      if (strides[d] == 1 && type.getDimSize(d) != 1) {
        if (dimOf[d] >= 0)
          ++votes[dimOf[d]];
        return;
      }
    return;
  }
  Operation *op = tensor.getDefiningOp();
  auto follow = [&](Value source, llvm::function_ref<int64_t(int64_t)> map) {
    SmallVector<int64_t> dims;
    for (int64_t d = 0; d < cast<RankedTensorType>(source.getType()).getRank();
         ++d) {
      int64_t own = map(d);
      dims.push_back(own < 0 ? -1 : dimOf[own]);
    }
    countContiguous(kernel, source, dims, votes);
  };
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    AffineMap out = linalgOp.getMatchingIndexingMap(
        linalgOp.getDpsInitOperand(cast<OpResult>(tensor).getResultNumber()));
    for (OpOperand *input : linalgOp.getDpsInputOperands()) {
      if (!isa<RankedTensorType>(input->get().getType()))
        continue;
      AffineMap map = linalgOp.getMatchingIndexingMap(input);
      follow(input->get(), [&](int64_t d) -> int64_t {
        std::optional<unsigned> position =
            out.getResultPosition(map.getResult(d));
        return isa<AffineDimExpr>(map.getResult(d)) && position
                   ? int64_t(*position)
                   : -1;
      });
    }
    return;
  }
  if (auto pack = dyn_cast<linalg::PackOp>(op)) {
    int64_t rank = pack.getSourceType().getRank();
    follow(pack.getSource(), [&](int64_t d) -> int64_t {
      for (auto [i, position] : llvm::enumerate(pack.getInnerDimsPos()))
        if (position == d)
          return rank + int64_t(i);
      for (int64_t o = 0; o < rank; ++o)
        if ((pack.getOuterDimsPerm().empty() ? o
                                             : pack.getOuterDimsPerm()[o]) == d)
          return o;
      return -1;
    });
    return;
  }
  if (auto unpack = dyn_cast<linalg::UnPackOp>(op)) {
    int64_t rank = unpack.getDestType().getRank();
    follow(unpack.getSource(), [&](int64_t d) -> int64_t {
      if (d >= rank)
        return unpack.getInnerDimsPos()[d - rank];
      return unpack.getOuterDimsPerm().empty() ? d
                                               : unpack.getOuterDimsPerm()[d];
    });
    return;
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    follow(expand.getSrc(), [&](int64_t d) {
      ReassociationIndices group = expand.getReassociationIndices()[d];
      return lastNonUnitDim(type, group.front(), group.back());
    });
    return;
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    auto source = cast<RankedTensorType>(collapse.getSrc().getType());
    follow(collapse.getSrc(), [&](int64_t d) -> int64_t {
      for (auto [own, group] :
           llvm::enumerate(collapse.getReassociationIndices()))
        if (llvm::is_contained(group, d))
          return lastNonUnitDim(source, group.front(), group.back()) == d
                     ? int64_t(own)
                     : -1;
      return -1;
    });
    return;
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    follow(slice.getSource(), [&](int64_t d) -> int64_t {
      if (dropped[d] || getConstantIntValue(slice.getMixedStrides()[d]) != 1)
        return -1;
      int64_t own = 0;
      for (int64_t o = 0; o < d; ++o)
        own += !dropped[o];
      return own;
    });
    return;
  }
  if (isa<tensor::PadOp, tensor::CastOp>(op))
    follow(op->getOperand(0), [](int64_t d) { return d; });
  else if (auto concat = dyn_cast<tensor::ConcatOp>(op))
    for (Value input : concat.getInputs())
      follow(input, [](int64_t d) { return d; });
}

/// The group along which what `source` reads is contiguous, when nothing that
/// it reads is contiguous along the last one.
static std::optional<size_t> findReadGroup(mv::KernelOp kernel,
                                           const Sweep &sweep, int64_t lanes) {
  auto type = cast<RankedTensorType>(sweep.source.getType());
  SmallVector<int64_t> votes(type.getRank(), 0);
  countContiguous(kernel, sweep.source,
                  llvm::to_vector(llvm::seq<int64_t>(0, type.getRank())),
                  votes);
  auto dimOf = [&](size_t g) {
    return lastNonUnitDim(type, sweep.groups[g].first, sweep.groups[g].second);
  };
  auto sizeOf = [&](size_t g) {
    int64_t size = 1;
    for (int64_t d = sweep.groups[g].first; d <= sweep.groups[g].second; ++d)
      size *= guess(type.getDimSize(d));
    return size;
  };
  if (sweep.groups.size() < 2 || votes[dimOf(sweep.groups.size() - 1)] > 0)
    return std::nullopt;
  for (size_t g = sweep.groups.size() - 1; g-- > 0;)
    if (votes[dimOf(g)] > 0)
      // Tiles that are mostly empty gain nothing.
      return sizeOf(g) * 2 >= lanes &&
                     sizeOf(sweep.groups.size() - 1) * 2 >= lanes
                 ? std::optional(g)
                 : std::nullopt;
  return std::nullopt;
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

/// Whether dim d of the source continues the run that dims d + 1 to `last` are
/// in the result's buffer. Dims of size 1 have strides that say nothing.
static bool areAdjacent(MemRefType buffer, tensor::PadOp pad, int64_t d,
                        int64_t last) {
  if (pad && (getConstantIntValue(pad.getMixedLowPad()[d + 1]) != 0 ||
              getConstantIntValue(pad.getMixedHighPad()[d + 1]) != 0))
    return false;
  if (buffer.getLayout().isIdentity() || buffer.getDimSize(d) == 1)
    return true;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(buffer.getStridesAndOffset(strides, offset)))
    return false;
  int64_t next = d + 1;
  while (next < last && buffer.getDimSize(next) == 1)
    ++next;
  return !ShapedType::isDynamic(strides[d]) &&
         !ShapedType::isDynamic(strides[next]) && !buffer.isDynamicDim(next) &&
         strides[d] == strides[next] * buffer.getDimSize(next);
}

static MemRefType resultBuffer(mv::KernelOp kernel, unsigned number) {
  unsigned results = kernel.getTerminator()->getNumOperands();
  ArrayAttr buffers = *kernel.getBuffers();
  return cast<MemRefType>(
      cast<TypeAttr>(buffers[buffers.size() - results + number]).getValue());
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
                           result.getDefiningOp<tensor::PadOp>(), d, last) &&
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
    if (sweep.inVectors && workPerElement(sweep.source) == 1)
      sweep.readAlong = findReadGroup(kernel, sweep, target.lanes);
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
      // Tiles are within a parallel index.
      bool isInTile = sweep.readAlong && g > *sweep.readAlong;
      if (isInTile || (isStatic && work * size <= kWork)) {
        work *= size;
        continue;
      }
      sweep.split = g;
      sweep.chunk = std::max<int64_t>(kWork / work, 1);
      if ((g + 1 == sweep.groups.size() && sweep.inVectors) ||
          g == sweep.readAlong)
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

static int64_t pointwiseScratch(mv::KernelOp kernel, const TargetInfo &target) {
  // One tile of the widest elements.
  for (const Sweep &sweep : planSweeps(kernel, target))
    if (sweep.readAlong)
      return target.lanes * target.lanes * 8;
  return 0;
}

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
  // A tile: `at` holds the lanes along the group that is read along; `columns`
  // (null: as many as lanes) of the last group from `first` are written.
  auto writeTile = [&](Value first, Value columns, Value rows) {
    ImplicitLocOpBuilder &b = e.builder();
    Coordinate &readSlot = slot(*sweep.readAlong);
    Coordinate &writeSlot = slot(count - 1);
    const Coordinate read = readSlot;
    Value readMask = rows ? e.laneMask(rows, lanes) : Value();
    for (unsigned number : sweep.results) {
      Type element = cast<RankedTensorType>(writer.source(number).getType())
                         .getElementType();
      if (element.isIndex())
        element = b.getI64Type();
      // Columns are read one after the other into the scratch memory; beyond
      // the last one it holds anything.
      e.loop(e.constant(0), columns ? columns : e.constant(lanes), 1,
             [&](Value column) {
               readSlot = read;
               writeSlot = Coordinate(e.add(first, column));
               Value value = evaluator.evaluate(writer.source(number),
                                                Point(at, lanes, readMask));
               e.store(value,
                       e.address(e.scratch(), element, e.mul(column, lanes)),
                       element);
             });
      SmallVector<Value> tile;
      for (int64_t column = 0; column < lanes; ++column)
        tile.push_back(
            e.load(e.address(e.scratch(), element, e.constant(column * lanes)),
                   element, lanes));
      e.transpose(tile);
      writeSlot = Coordinate(first, 1, 1);
      Value writeMask = columns ? e.laneMask(columns, lanes) : Value();
      for (int64_t row = 0; row < lanes; ++row) {
        auto store = [&] {
          readSlot = Coordinate(
              e.add(read.base ? read.base : e.constant(0), read.offset + row));
          writer.store(number, Point(at, lanes, writeMask), tile[row]);
        };
        if (!rows)
          store();
        else
          e.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, rows,
                                         e.constant(row)),
                   store);
      }
      readSlot = read;
    }
  };
  Value tileRows; // of the current tile, null for as many as lanes
  /// [lower, upper) of group g, then all of the groups behind it.
  std::function<void(size_t, Value, Value)> nest = [&](size_t g, Value lower,
                                                       Value upper) {
    if (g == count)
      return write(nullptr);
    bool isLast = g + 1 == count;
    auto inner = [&] {
      nest(g + 1, e.constant(0), isLast ? e.constant(1) : sizes[g + 1]);
    };
    if (g == sweep.readAlong) {
      Value length = e.sub(upper, lower);
      Value whole = e.mul(e.floorDiv(length, e.constant(lanes)), lanes);
      if (e.constantValue(whole) != 0)
        e.loop(lower, e.add(lower, whole), lanes, [&](Value i) {
          slot(g) = Coordinate(i, lanes, 1);
          tileRows = nullptr;
          inner();
        });
      Value rest = e.sub(length, whole);
      if (e.constantValue(rest) == 0)
        return;
      e.ifThen(arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::sgt,
                                     rest, e.constant(0)),
               [&] {
                 CoordinateMath math(e, lanes);
                 Coordinate c = math.of(e.add(lower, whole));
                 if (c.base)
                   c.multiple = lanes;
                 c.stride = 1;
                 slot(g) = c;
                 tileRows = rest;
                 inner();
               });
      return;
    }
    if (isLast && sweep.readAlong) {
      Value length = e.sub(upper, lower);
      Value whole = e.mul(e.floorDiv(length, e.constant(lanes)), lanes);
      if (e.constantValue(whole) != 0)
        e.loop(lower, e.add(lower, whole), lanes,
               [&](Value j) { writeTile(j, nullptr, tileRows); });
      Value rest = e.sub(length, whole);
      if (e.constantValue(rest) == 0)
        return;
      e.ifThen(arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::sgt,
                                     rest, e.constant(0)),
               [&] { writeTile(e.add(lower, whole), rest, tileRows); });
      return;
    }
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
const KernelFamily marver::reduceFamily = {"reduce", pointwiseExtent,
                                           pointwiseScratch, emitPointwise};
const KernelFamily marver::rowFamily = {"row", pointwiseExtent,
                                        pointwiseScratch, emitPointwise};
