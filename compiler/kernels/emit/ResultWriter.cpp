//===- ResultWriter.cpp - Storing a kernel's results ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/ResultWriter.h"

#include "compiler/ir/Permutation.h"
#include "compiler/kernels/emit/BodyEmitter.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

/// The operand of an op that only moves elements, one to one, or null.
static Value movedOperand(Operation *op) {
  if (!op)
    return nullptr;
  if (auto pad = dyn_cast<tensor::PadOp>(op)) {
    // The border is a constant's; what is cut off (negative pads) is not here.
    auto positive = [](OpFoldResult size) {
      return getConstantIntValue(size).value_or(-1) >= 0;
    };
    if (pad.getConstantPaddingValue() &&
        llvm::all_of(pad.getMixedLowPad(), positive) &&
        llvm::all_of(pad.getMixedHighPad(), positive))
      return pad.getSource();
    return nullptr;
  }
  if (auto unpack = dyn_cast<linalg::UnPackOp>(op))
    return unpack.getSource();
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    return expand.getSrc();
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    return collapse.getSrc();
  if (auto castOp = dyn_cast<tensor::CastOp>(op))
    return castOp.getSource();
  SmallVector<int64_t> permutation;
  if (isPermutation(op, permutation))
    return op->getOperand(0);
  return nullptr;
}

Value marver::storedSource(Value yielded, bool throughShapes) {
  Value source = yielded;
  if (!throughShapes) {
    auto pad = yielded.getDefiningOp<tensor::PadOp>();
    return pad && movedOperand(pad) ? pad.getSource() : yielded;
  }
  bool seesPad = false;
  while (Value moved = movedOperand(source.getDefiningOp())) {
    // At most one border, around everything else.
    if (isa<tensor::PadOp>(source.getDefiningOp())) {
      if (seesPad || source != yielded)
        break;
      seesPad = true;
    }
    source = moved;
  }
  return source;
}

ResultWriter::ResultWriter(Evaluator &evaluator, bool throughShapes)
    : evaluator(evaluator), e(evaluator.emitter()) {
  for (Value yielded : e.kernel().getTerminator()->getOperands()) {
    Chain chain;
    chain.source = storedSource(yielded, throughShapes);
    for (Value value = yielded; value != chain.source;
         value = movedOperand(value.getDefiningOp()))
      chain.ops.push_back(value.getDefiningOp());
    std::reverse(chain.ops.begin(), chain.ops.end());
    chains.push_back(chain);
  }
}

void ResultWriter::write(unsigned number, const Point &point) {
  store(number, point, evaluator.evaluate(source(number), point));
}

void ResultWriter::write(const Point &point) {
  for (unsigned number = 0; number < resultCount(); ++number)
    if (cast<RankedTensorType>(source(number).getType()).getRank() ==
        int64_t(point.at.size()))
      write(number, point);
}

void ResultWriter::store(unsigned number, const Point &point, Value value) {
  ImplicitLocOpBuilder &b = e.builder();
  CoordinateMath math(e, point.lanes);
  Coordinates at(point.at);
  Value mask = point.mask;
  Value skip; // a condition on all lanes: null, or an i1 that must hold

  for (Operation *op : chains[number].ops) {
    if (auto pad = dyn_cast<tensor::PadOp>(op)) {
      for (auto [c, low] : llvm::zip_equal(at, pad.getMixedLowPad()))
        c = math.add(c, math.of(evaluator.scalar(low)));
    } else if (auto unpack = dyn_cast<linalg::UnPackOp>(op)) {
      auto type = cast<RankedTensorType>(unpack.getDest().getType());
      int64_t rank = type.getRank();
      Coordinates outer(rank);
      for (int64_t d = 0; d < rank; ++d)
        outer[unpack.getOuterDimsPerm().empty()
                  ? d
                  : unpack.getOuterDimsPerm()[d]] = at[d];
      for (auto [i, d, tile] :
           llvm::enumerate(unpack.getInnerDimsPos(), unpack.getMixedTiles())) {
        Coordinate size = math.of(evaluator.scalar(tile));
        outer[d] = math.add(math.mul(outer[d], size), at[rank + i]);
        // The last block's tail does not exist outside of it.
        if (size.isConstant() && !type.isDynamicDim(d) &&
            type.getDimSize(d) % size.offset == 0)
          continue;
        Value exists =
            math.lessThan(outer[d], evaluator.dim(unpack.getResult(), d));
        if (!exists)
          continue;
        if (isa<VectorType>(exists.getType()))
          mask = mask ? Value(arith::AndIOp::create(b, mask, exists)) : exists;
        else
          skip = skip ? Value(arith::AndIOp::create(b, skip, exists)) : exists;
      }
      at = outer;
    } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
      SmallVector<Value> sizes = evaluator.dims(expand.getResult());
      Coordinates expanded(sizes.size());
      for (auto [c, group] :
           llvm::zip_equal(at, expand.getReassociationIndices())) {
        SmallVector<Value> extents;
        for (int64_t d : group)
          extents.push_back(sizes[d]);
        llvm::copy(math.delinearize(c, extents),
                   expanded.begin() + group.front());
      }
      at = expanded;
    } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
      SmallVector<Value> sizes = evaluator.dims(collapse.getSrc());
      Coordinates collapsed;
      for (const ReassociationIndices &group :
           collapse.getReassociationIndices()) {
        Coordinates part;
        SmallVector<Value> extents;
        for (int64_t d : group) {
          part.push_back(at[d]);
          extents.push_back(sizes[d]);
        }
        collapsed.push_back(math.linearize(part, extents));
      }
      at = collapsed;
    } else if (SmallVector<int64_t> permutation;
               isPermutation(op, permutation)) {
      Coordinates permuted;
      for (int64_t d : permutation)
        permuted.push_back(at[d]);
      at = permuted;
    }
  }

  const Buffer &buffer = e.output(number);
  Coordinate offset(0);
  for (auto [c, stride] : llvm::zip_equal(at, buffer.strides))
    offset = math.add(offset, math.mul(c, math.of(stride)));
  Type type = buffer.elementType;
  if (type.isIndex())
    type = b.getI64Type();
  auto put = [&] {
    Value base = e.address(buffer.pointer, type,
                           offset.base ? offset.base : e.constant(0));
    if (!offset.lanes)
      base = e.address(base, type, e.constant(offset.offset));
    if (!point.lanes)
      return e.store(value, base, type);
    if (!offset.lanes && offset.stride == 1) {
      if (mask)
        return e.storeMasked(value, base, type, mask);
      return e.store(value, base, type);
    }
    e.scatter(value, buffer.pointer, type, math.vector(offset), mask);
  };
  if (skip)
    e.ifThen(skip, put);
  else
    put();
}

//===----------------------------------------------------------------------===//
// Borders
//===----------------------------------------------------------------------===//

void ResultWriter::fillBorders(Value extent) {
  for (auto [number, chain] : llvm::enumerate(chains))
    if (!chain.ops.empty())
      if (auto pad = dyn_cast<tensor::PadOp>(chain.ops.back()))
        fillBorder(unsigned(number), pad, extent);
}

void ResultWriter::fillBorder(unsigned number, tensor::PadOp pad,
                              Value extent) {
  ImplicitLocOpBuilder &b = e.builder();
  const Buffer &buffer = e.output(number);
  auto rank = int64_t(buffer.sizes.size());
  int64_t lanes = e.target().lanes;
  SmallVector<Value> low, high, sizes;
  int64_t lastPadded = -1;
  for (int64_t d = 0; d < rank; ++d) {
    low.push_back(evaluator.scalar(pad.getMixedLowPad()[d]));
    high.push_back(evaluator.scalar(pad.getMixedHighPad()[d]));
    sizes.push_back(e.materialize(buffer.sizes[d]));
    if (e.constantValue(low[d]) != 0 || e.constantValue(high[d]) != 0)
      lastPadded = d;
  }
  if (lastPadded < 0)
    return;
  BodyEmitter body(evaluator, {}, 0, nullptr, nullptr);
  Value scalarValue = evaluator.narrow(body.get(pad.getConstantPaddingValue()),
                                       buffer.elementType);
  Value vectorValue = e.splat(scalarValue, lanes);

  // A run of `count` inner positions from `start` of dim `lastPadded`, with all
  // that lies inside of each. Inner dims are row-major here or gone through one
  // by one.
  std::function<void(SmallVector<Value>, int64_t)> fillInner =
      [&](SmallVector<Value> at, int64_t d) {
        if (d < rank - 1) {
          e.loop(e.constant(0), sizes[d], 1, [&](Value i) {
            at[d] = i;
            fillInner(at, d + 1);
          });
          return;
        }
        bool contiguous = getConstantIntValue(buffer.strides[d]) == 1;
        Value begin = e.constant(0);
        if (contiguous) {
          Value whole = e.mul(e.floorDiv(sizes[d], e.constant(lanes)), lanes);
          e.loop(begin, whole, lanes, [&](Value i) {
            at[d] = i;
            e.store(vectorValue, e.address(buffer, at), buffer.elementType);
          });
          begin = whole;
        }
        e.loop(begin, sizes[d], 1, [&](Value i) {
          at[d] = i;
          e.store(scalarValue, e.address(buffer, at), buffer.elementType);
        });
      };
  auto fillRange = [&](SmallVector<Value> at, Value from, Value to) {
    e.loop(from, to, 1, [&](Value i) {
      at[lastPadded] = i;
      if (lastPadded == rank - 1)
        e.store(scalarValue, e.address(buffer, at), buffer.elementType);
      else
        fillInner(at, lastPadded + 1);
    });
  };

  // Rows of the dims before the last padded one, shared out evenly.
  SmallVector<OpFoldResult> outer(buffer.sizes.begin(),
                                  buffer.sizes.begin() + lastPadded);
  Value rows = e.constant(1);
  for (int64_t d = 0; d < lastPadded; ++d)
    rows = e.mul(rows, sizes[d]);
  Value first = e.floorDiv(e.mul(e.begin(), rows), extent);
  Value last = e.floorDiv(e.mul(e.end(), rows), extent);
  e.loop(first, last, 1, [&](Value row) {
    SmallVector<Value> at = e.delinearize(row, outer);
    at.resize(rank, e.constant(0));
    Value inside;
    for (int64_t d = 0; d < lastPadded; ++d) {
      auto test = [&](arith::CmpIPredicate predicate, Value bound) {
        Value holds = arith::CmpIOp::create(b, predicate, at[d], bound);
        inside =
            inside ? Value(arith::AndIOp::create(b, inside, holds)) : holds;
      };
      if (e.constantValue(low[d]) != 0)
        test(arith::CmpIPredicate::sge, low[d]);
      if (e.constantValue(high[d]) != 0)
        test(arith::CmpIPredicate::slt, e.sub(sizes[d], high[d]));
    }
    Value size = sizes[lastPadded];
    auto edges = [&] {
      fillRange(at, e.constant(0), low[lastPadded]);
      fillRange(at, e.sub(size, high[lastPadded]), size);
    };
    if (inside)
      e.ifThen(inside, edges, [&] { fillRange(at, e.constant(0), size); });
    else
      edges();
  });
}
