//===- Evaluator.cpp - The value of a tensor at an index ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The walk over definitions: scalars and sizes, operands, placement outside of
// loops. Structured ops are in EvaluateLinalg.cpp, the shape ops in
// EvaluateTensor.cpp, ours in EvaluateMv.cpp, EvaluateWindows.cpp and
// EvaluateRows.cpp; what all of them use is in EvaluatorPieces.cpp.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Evaluator.h"

#include "compiler/ir/Constants.h"
#include "compiler/kernels/emit/BodyEmitter.h"
#include "marver/abi.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

static Type elementTypeOf(Value tensor) {
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  if (element.isIndex())
    return IntegerType::get(element.getContext(), 64);
  return element;
}

//===----------------------------------------------------------------------===//
// Scalars and sizes
//===----------------------------------------------------------------------===//

Evaluator::Evaluator(KernelEmitter &emitter) : e(emitter) {
  for (BlockArgument argument : e.kernel().getBlock().getArguments()) {
    if (!isa<RankedTensorType>(argument.getType()))
      continue;
    for (OpFoldResult size : e.input(argument).sizes)
      tensorDims[argument].push_back(e.materialize(size));
    buffers[argument] = e.input(argument);
  }
  for (Operation &op : e.kernel().getBlock().without_terminator()) {
    for (Value result : op.getResults())
      if (isa<IndexType, IntegerType>(result.getType()))
        scalar(result);
    prepareDims(&op);
    // Views are computed here, at the start of the function.
    for (Value result : op.getResults())
      if (isa<RankedTensorType>(result.getType()))
        (void)buffer(result);
  }
  // What the results' buffers say of sizes that no rule above could tell.
  for (auto [number, value] :
       llvm::enumerate(e.kernel().getTerminator()->getOperands()))
    for (auto [d, size] : llvm::enumerate(e.output(number).sizes))
      if (!tensorDims[value][d])
        tensorDims[value][d] = e.materialize(size);
}

Value Evaluator::scalar(OpFoldResult value) {
  if (std::optional<int64_t> known = getConstantIntValue(value))
    return e.constant(*known);
  return scalar(cast<Value>(value));
}

Value Evaluator::scalar(Value value) {
  if (Value known = scalars.lookup(value))
    return known;
  Value result;
  if (isa<BlockArgument>(value)) {
    result = e.scalar(value);
  } else if (auto dimOp = value.getDefiningOp<tensor::DimOp>()) {
    std::optional<int64_t> d = dimOp.getConstantIndex();
    result = d ? dim(dimOp.getSource(), *d) : nullptr;
    if (!result) {
      (void)fail(dimOp, IntegerType::get(value.getContext(), 64), Point(),
                 "the dim is not a constant");
      result = e.constant(1);
    }
  } else {
    BodyEmitter body(*this, {}, 0, nullptr, nullptr);
    result = body.get(value);
  }
  scalars[value] = result;
  return result;
}

Value Evaluator::dim(Value tensor, int64_t d) {
  auto it = tensorDims.find(tensor);
  assert(it != tensorDims.end() && "tensors of the region have dims");
  Value size = it->second[d];
  if (size)
    return size;
  Operation *op = tensor.getDefiningOp();
  (void)fail(op, builder().getI64Type(), Point(),
             "its size is not known to the kernel");
  return e.constant(1);
}

SmallVector<Value> Evaluator::dims(Value tensor) {
  SmallVector<Value> all;
  int64_t rank = cast<RankedTensorType>(tensor.getType()).getRank();
  for (int64_t d = 0; d < rank; ++d)
    all.push_back(dim(tensor, d));
  return all;
}

void Evaluator::prepareDims(Operation *op) {
  for (OpResult result : op->getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    SmallVector<Value> sizes(type.getRank());
    auto dimOf = [&](Value tensor, int64_t d) {
      return tensorDims.lookup(tensor)[d];
    };
    // Positions of a window: floor((size + pads - reach) / stride) + 1 in a
    // spatial dim, the input's own size in the others.
    auto windows = [&](Value size, int64_t d, ArrayRef<int64_t> taps,
                       ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations,
                       ArrayRef<int64_t> pads) -> Value {
      int64_t spatial = taps.size(), i = d - 2;
      if (i < 0 || i >= spatial)
        return size;
      int64_t room = pads.empty() ? 0 : pads[i] + pads[spatial + i];
      Value free = e.add(size, room - (dilations[i] * (taps[i] - 1) + 1));
      return e.add(e.floorDiv(free, e.constant(strides[i])), 1);
    };
    // The rule of each op for a dynamic dim; null where there is none.
    auto dynamic = [&](int64_t d) -> Value {
      return TypeSwitch<Operation *, Value>(op)
          .Case([&](linalg::LinalgOp linalgOp) -> Value {
            return dimOf(linalgOp.getDpsInits()[result.getResultNumber()], d);
          })
          .Case([&](linalg::PackOp pack) -> Value {
            return dimOf(pack.getDest(), d);
          })
          .Case([&](linalg::UnPackOp unpack) -> Value {
            return dimOf(unpack.getDest(), d);
          })
          .Case<tensor::EmptyOp, tensor::SplatOp>([&](auto made) -> Value {
            unsigned position = 0;
            for (int64_t i = 0; i < d; ++i)
              position += type.isDynamicDim(i);
            return scalar(made->getOperands().take_back(
                type.getNumDynamicDims())[position]);
          })
          .Case([&](tensor::ExtractSliceOp slice) -> Value {
            llvm::SmallBitVector dropped = slice.getDroppedDims();
            for (auto [s, size] : llvm::enumerate(slice.getMixedSizes()))
              if (!dropped[s] && d-- == 0)
                return scalar(size);
            return nullptr;
          })
          .Case([&](tensor::InsertSliceOp slice) -> Value {
            return dimOf(slice.getDest(), d);
          })
          .Case([&](tensor::PadOp pad) -> Value {
            return e.add(dimOf(pad.getSource(), d),
                         e.add(scalar(pad.getMixedLowPad()[d]),
                               scalar(pad.getMixedHighPad()[d])));
          })
          .Case([&](tensor::ConcatOp concat) -> Value {
            if (int64_t(concat.getDim()) != d)
              return dimOf(concat.getInputs().front(), d);
            Value sum = e.constant(0);
            for (Value input : concat.getInputs())
              sum = e.add(sum, dimOf(input, d));
            return sum;
          })
          .Case([&](tensor::ExpandShapeOp expand) -> Value {
            return scalar(expand.getMixedOutputShape()[d]);
          })
          .Case([&](tensor::CollapseShapeOp collapse) -> Value {
            Value product = e.constant(1);
            for (int64_t s : collapse.getReassociationIndices()[d])
              product = e.mul(product, dimOf(collapse.getSrc(), s));
            return product;
          })
          .Case([&](tensor::CastOp castOp) -> Value {
            return dimOf(castOp.getSource(), d);
          })
          .Case([&](tensor::ReshapeOp reshape) -> Value {
            return scalar(
                coordinateFrom(reshape.getShape(), Point(Coordinate(d))).base);
          })
          .Case([&](mv::MatmulOp matmul) -> Value {
            auto rhs = cast<RankedTensorType>(matmul.getRhs().getType());
            if (d < type.getRank() - 1)
              return dimOf(matmul.getLhs(), d);
            return dimOf(matmul.getRhs(), matmul.getTransposeRhs()
                                              ? rhs.getRank() - 2
                                              : rhs.getRank() - 1);
          })
          .Case([&](mv::GatherOp gather) -> Value {
            int64_t at = gather.getDim();
            int64_t rank =
                cast<RankedTensorType>(gather.getIndices().getType()).getRank();
            if (d < at)
              return dimOf(gather.getInput(), d);
            if (d < at + rank)
              return dimOf(gather.getIndices(), d - at);
            return dimOf(gather.getInput(), d - rank + 1);
          })
          .Case([&](mv::GatherElementsOp gather) -> Value {
            return dimOf(gather.getIndices(), d);
          })
          .Case([&](mv::ArgReduceOp reduce) -> Value {
            return dimOf(reduce.getInput(),
                         d < int64_t(reduce.getDim()) ? d : d + 1);
          })
          .Case<mv::SoftmaxOp, mv::LayerNormOp, mv::CumulativeSumOp,
                mv::ScatterOp>(
              [&](auto same) -> Value { return dimOf(same.getInput(), d); })
          .Case([&](mv::AttentionOp attention) -> Value {
            return dimOf(d == type.getRank() - 1 ? attention.getValue()
                                                 : attention.getQuery(),
                         d);
          })
          .Case([&](mv::PackedMatmulOp matmul) -> Value {
            return dimOf(matmul.getLhs(), d);
          })
          .Case([&](mv::PackedConvOp conv) -> Value {
            auto taps = cast<RankedTensorType>(conv.getFilter().getType());
            return windows(dimOf(conv.getInput(), d), d,
                           taps.getShape().slice(1, conv.getSpatialRank()),
                           conv.getStrides(), conv.getDilations(), {});
          })
          .Case([&](mv::WinogradConvOp conv) -> Value {
            SmallVector<int64_t> ones(conv.getSpatialRank(), 1);
            SmallVector<int64_t> taps(ones.size(), conv.getWindow());
            SmallVector<int64_t> strides(ones.size(), conv.getStride());
            return windows(dimOf(conv.getInput(), d), d, taps, strides, ones,
                           {});
          })
          .Case([&](mv::DepthwiseConvOp conv) -> Value {
            auto taps = cast<RankedTensorType>(conv.getFilter().getType());
            return windows(dimOf(conv.getInput(), d), d,
                           taps.getShape().slice(1, conv.getSpatialRank()),
                           conv.getStrides(), conv.getDilations(), {});
          })
          .Case([&](mv::ConvOp conv) -> Value {
            auto taps = cast<RankedTensorType>(conv.getFilter().getType());
            return windows(dimOf(conv.getInput(), d), d,
                           taps.getShape().drop_front(2), conv.getStrides(),
                           conv.getDilations(), conv.getPads());
          })
          .Case([&](mv::PoolOp pool) -> Value {
            return windows(dimOf(pool.getInput(), d), d, pool.getWindow(),
                           pool.getStrides(), pool.getDilations(),
                           pool.getPads());
          })
          .Case([&](mv::ResizeOp resize) -> Value {
            int64_t spatial = resize.getSteps().size();
            if (d < 2 || d >= 2 + spatial)
              return dimOf(resize.getInput(), d);
            unsigned position = 0;
            for (int64_t i = 2; i < d; ++i)
              position += type.isDynamicDim(i);
            return scalar(Value(resize.getSizes()[position]));
          })
          .Default([&](Operation *) -> Value { return nullptr; });
    };
    for (int64_t d = 0; d < type.getRank(); ++d)
      sizes[d] =
          type.isDynamicDim(d) ? dynamic(d) : e.constant(type.getDimSize(d));
    tensorDims[result] = sizes;
  }
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

Value Evaluator::fail(Operation *op, Type elementType, const Point &point,
                      const Twine &reason) {
  if (!hasFailed)
    op->emitError("no kernel can compute ") << op->getName() << ": " << reason;
  hasFailed = true;
  return e.zero(elementType, point.lanes);
}

void Evaluator::define(Value tensor, Callback callback) {
  defined[tensor] = std::move(callback);
  SmallVector<Value> pending{tensor};
  while (!pending.empty()) {
    Value next = pending.pop_back_val();
    if (!variable.insert(next).second)
      continue;
    for (Operation *user : next.getUsers())
      for (Value result : user->getResults())
        pending.push_back(result);
  }
  // Only what depends on a definition changes, but the keys do not tell.
  memo.clear();
}

/// The values that `point` is made of.
static SmallVector<Value> parts(const Point &point) {
  SmallVector<Value> all;
  for (const Coordinate &c : point.at) {
    if (c.lanes)
      all.push_back(c.lanes);
    else if (c.base)
      all.push_back(c.base);
  }
  if (point.mask)
    all.push_back(point.mask);
  return all;
}

/// Moves the insertion point before the loops that `point` does not depend on.
static void leaveLoops(ImplicitLocOpBuilder &b, const Point &point) {
  SmallVector<Value> values = parts(point);
  while (auto loop =
             dyn_cast<scf::ForOp>(b.getInsertionBlock()->getParentOp())) {
    if (llvm::any_of(values, [&](Value value) {
          return loop.getRegion().isAncestor(value.getParentRegion());
        }))
      return;
    b.setInsertionPoint(loop);
  }
}

Value Evaluator::evaluate(Value tensor, const Point &point) {
  assert(int64_t(point.at.size()) ==
             cast<RankedTensorType>(tensor.getType()).getRank() &&
         "a point has one coordinate a dim");
  // Computed from the anchor: as it is, where it is.
  if (variable.contains(tensor)) {
    auto it = defined.find(tensor);
    if (it != defined.end())
      return it->second(point);
    return compute(tensor, point);
  }
  // One value for all lanes is computed once.
  if (point.lanes && point.isUniform())
    return e.splat(evaluate(tensor, Point(point.at)), point.lanes);

  return shared(tensor.getAsOpaquePointer(), point, [&] {
    return SmallVector<Value, 2>{compute(tensor, point)};
  })[0];
}

SmallVector<Value, 2>
Evaluator::shared(const void *what, const Point &point,
                  llvm::function_ref<SmallVector<Value, 2>()> make) {
  OpBuilder::InsertionGuard guard(builder());
  leaveLoops(builder(), point);
  std::vector<const void *> key{what, point.mask.getAsOpaquePointer(),
                                reinterpret_cast<const void *>(point.lanes)};
  for (const Coordinate &c : point.at) {
    key.push_back(c.lanes ? c.lanes.getAsOpaquePointer()
                          : c.base.getAsOpaquePointer());
    key.push_back(reinterpret_cast<const void *>(c.offset));
    key.push_back(reinterpret_cast<const void *>(c.stride));
  }
  auto it = memo.find(key);
  if (it != memo.end() &&
      llvm::all_of(it->second, [&](Value value) { return e.isVisible(value); }))
    return it->second;
  SmallVector<Value, 2> values = make();
  memo[key] = values;
  return values;
}

Value Evaluator::compute(Value tensor, const Point &point) {
  if (std::optional<Buffer> view = buffer(tensor))
    return load(*view, point);
  Operation *op = tensor.getDefiningOp();
  Type elementType = elementTypeOf(tensor);
  unsigned result = cast<OpResult>(tensor).getResultNumber();
  return TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::ConstantOp c) { return constantElement(c, point); })
      .Case([&](tensor::EmptyOp) { return e.zero(elementType, point.lanes); })
      .Case([&](tensor::SplatOp splat) {
        BodyEmitter body(*this, {}, 0, nullptr, nullptr);
        return e.splat(narrow(body.get(splat.getInput()), elementType),
                       point.lanes);
      })
      .Case([&](tensor::FromElementsOp from) {
        // Few elements: chosen one after the other.
        CoordinateMath math(e, point.lanes);
        Coordinate linear = math.linearize(point.at, dims(tensor));
        BodyEmitter body(*this, {}, 0, nullptr, nullptr);
        Value value;
        for (auto [i, element] : llvm::enumerate(from.getElements())) {
          Value one =
              e.splat(narrow(body.get(element), elementType), point.lanes);
          if (linear.isConstant() && linear.offset == int64_t(i))
            return one;
          Value before = math.lessThan(linear, e.constant(int64_t(i)));
          value = value && before ? laneSelect(before, value, one) : one;
        }
        return value;
      })
      .Case([&](linalg::LinalgOp linalgOp) {
        return generic(linalgOp, result, point);
      })
      .Case([&](linalg::PackOp o) { return pack(o, point); })
      .Case([&](linalg::UnPackOp o) { return unpack(o, point); })
      .Case([&](tensor::CastOp o) { return evaluate(o.getSource(), point); })
      .Case([&](tensor::ExtractSliceOp o) { return extractSlice(o, point); })
      .Case([&](tensor::InsertSliceOp o) { return insertSlice(o, point); })
      .Case([&](tensor::PadOp o) { return pad(o, point); })
      .Case([&](tensor::ConcatOp o) { return concat(o, point); })
      .Case([&](tensor::ExpandShapeOp o) { return expandShape(o, point); })
      .Case([&](tensor::CollapseShapeOp o) { return collapseShape(o, point); })
      .Case([&](tensor::ReshapeOp o) { return reshape(o, point); })
      .Case([&](mv::GatherOp o) { return gather(o, point); })
      .Case([&](mv::GatherElementsOp o) { return gatherElements(o, point); })
      .Case([&](mv::ConvOp o) { return conv(o, point); })
      .Case([&](mv::MatmulOp o) { return matmul(o, point); })
      .Case([&](mv::PoolOp o) { return pool(o, point); })
      .Case([&](mv::ResizeOp o) { return resize(o, point); })
      .Case([&](mv::SoftmaxOp o) { return softmax(o, point); })
      .Case([&](mv::LayerNormOp o) { return layerNorm(o, point); })
      .Case([&](mv::AttentionOp o) { return attention(o, point); })
      .Case([&](mv::ArgReduceOp o) { return argReduce(o, point); })
      .Default([&](Operation *other) {
        return fail(other, elementType, point, "it has no kernel family");
      });
}

//===----------------------------------------------------------------------===//
// Memory and constants
//===----------------------------------------------------------------------===//

Value Evaluator::load(const Buffer &buffer, const Point &point) {
  CoordinateMath math(e, point.lanes);
  Coordinate offset(0);
  for (auto [c, stride] : llvm::zip_equal(point.at, buffer.strides))
    offset = math.add(offset, math.mul(c, math.of(stride)));
  Type type = buffer.elementType;
  auto at = [&](Value elements) {
    return e.address(buffer.pointer, type, elements);
  };
  // A constant part of the offset folds into the addressing mode.
  auto uniformAddress = [&] {
    Value address = at(offset.base ? offset.base : e.constant(0));
    return e.address(address, type, e.constant(offset.offset));
  };
  if (!point.lanes)
    return e.load(uniformAddress(), type, 0);
  if (offset.isUniform())
    return e.splat(e.load(uniformAddress(), type, 0), point.lanes);
  if (!offset.lanes && offset.stride == 1) {
    if (point.mask)
      return e.loadMasked(uniformAddress(), type, point.mask);
    return e.load(uniformAddress(), type, point.lanes);
  }
  return e.gather(buffer.pointer, type, math.vector(offset), point.mask);
}

Value Evaluator::splatOf(Attribute element, Type type, int64_t lanes) {
  auto typed = cast<TypedAttr>(element);
  if (!lanes)
    return arith::ConstantOp::create(builder(), typed);
  return arith::ConstantOp::create(
      builder(), DenseElementsAttr::get(VectorType::get(lanes, type), element));
}

Value Evaluator::constantElement(arith::ConstantOp op, const Point &point) {
  ImplicitLocOpBuilder &b = builder();
  if (!isa<RankedTensorType>(op.getType()))
    return splatOf(op.getValue(), op.getType(), point.lanes);
  Type type = elementTypeOf(op.getResult());
  std::optional<ConstantData> data = getConstantData(op.getResult());
  if (!data)
    return fail(op, type, point, "the constant's data cannot be read");
  auto element = [&](int64_t i) -> TypedAttr {
    if (auto floatType = dyn_cast<FloatType>(type)) {
      APFloat value(data->getFloat(i));
      bool loses;
      value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &loses);
      return FloatAttr::get(floatType, value);
    }
    return IntegerAttr::get(
        type, APInt(type.getIntOrFloatBitWidth(), uint64_t(data->getInt(i)),
                    /*isSigned=*/false, /*implicitTrunc=*/true));
  };
  int64_t count = elementCount(data->type);
  if (count == 0)
    return e.zero(type, point.lanes);
  if (data->isSplat || count == 1)
    return splatOf(element(0), type, point.lanes);

  CoordinateMath math(e, point.lanes);
  Coordinate linear = math.linearize(point.at, dims(op.getResult()));
  if (linear.isConstant())
    return splatOf(element(linear.offset), type, point.lanes);
  if (!linear.lanes && !linear.base && !point.mask) {
    SmallVector<Attribute> elements;
    for (int64_t lane = 0; lane < point.lanes; ++lane)
      elements.push_back(element(linear.offset + lane * linear.stride));
    return arith::ConstantOp::create(
        b,
        DenseElementsAttr::get(VectorType::get(point.lanes, type), elements));
  }
  if (count > 4096)
    return fail(op, type, point,
                "a large constant is an operand of a kernel, not inside it");
  // A table in a register or on the stack.
  SmallVector<Attribute> elements;
  for (int64_t i = 0; i < count; ++i)
    elements.push_back(element(i));
  Value table = arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get(count, type), elements));
  auto entry = [&](Value position) -> Value {
    return LLVM::ExtractElementOp::create(b, table, position);
  };
  if (!point.lanes)
    return entry(math.scalar(linear));
  // Lanes that do not exist may hold anything.
  Value positions = math.vector(linear);
  if (point.mask)
    positions =
        laneSelect(point.mask, positions, e.zero(b.getI64Type(), point.lanes));
  SmallVector<Value> lanes;
  for (int64_t lane = 0; lane < point.lanes; ++lane)
    lanes.push_back(entry(vector::ExtractOp::create(b, positions, lane)));
  return vector::FromElementsOp::create(b, VectorType::get(point.lanes, type),
                                        lanes);
}

std::optional<Buffer> Evaluator::buffer(Value tensor) {
  if (variable.contains(tensor))
    return std::nullopt;
  auto known = buffers.find(tensor);
  if (known != buffers.end())
    return known->second;
  Operation *op = tensor.getDefiningOp();
  std::optional<Buffer> view;
  if (auto castOp = dyn_cast<tensor::CastOp>(op)) {
    view = buffer(castOp.getSource());
  } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    if (std::optional<Buffer> source = buffer(slice.getSource())) {
      Buffer result{source->pointer, source->elementType, {}, {}};
      llvm::SmallBitVector dropped = slice.getDroppedDims();
      Value start = e.constant(0);
      for (auto [d, offset, size, step] :
           llvm::enumerate(slice.getMixedOffsets(), slice.getMixedSizes(),
                           slice.getMixedStrides())) {
        Value stride = e.materialize(source->strides[d]);
        start = e.add(start, e.mul(scalar(offset), stride));
        if (dropped[d])
          continue;
        auto folded = [&](Value value) -> OpFoldResult {
          if (std::optional<int64_t> c = e.constantValue(value))
            return builder().getIndexAttr(*c);
          return value;
        };
        result.sizes.push_back(folded(scalar(size)));
        result.strides.push_back(folded(e.mul(stride, scalar(step))));
      }
      result.pointer = e.address(source->pointer, source->elementType, start);
      view = result;
    }
  } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    if (std::optional<Buffer> source = buffer(expand.getSrc())) {
      Buffer result{source->pointer, source->elementType, {}, {}};
      SmallVector<Value> sizes = dims(tensor);
      result.strides.resize(sizes.size());
      for (Value size : sizes)
        result.sizes.push_back(size);
      for (auto [s, group] :
           llvm::enumerate(expand.getReassociationIndices())) {
        Value stride = e.materialize(source->strides[s]);
        for (int64_t d : llvm::reverse(group)) {
          result.strides[d] = stride;
          stride = e.mul(stride, sizes[d]);
        }
      }
      for (OpFoldResult &stride : result.strides)
        if (std::optional<int64_t> c = e.constantValue(cast<Value>(stride)))
          stride = builder().getIndexAttr(*c);
      view = result;
    }
  } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    std::optional<Buffer> source = buffer(collapse.getSrc());
    if (source) {
      Buffer result{source->pointer, source->elementType, {}, {}};
      for (auto [d, group] :
           llvm::enumerate(collapse.getReassociationIndices())) {
        if (!isFlattenable(e.kernel(), collapse.getSrc(), group.front(),
                           group.back()))
          return buffers[tensor] = std::nullopt;
        int64_t last =
            lastNonUnitDim(cast<RankedTensorType>(collapse.getSrc().getType()),
                           group.front(), group.back());
        result.sizes.push_back(dim(tensor, int64_t(d)));
        result.strides.push_back(source->strides[last]);
      }
      view = result;
    }
  }
  buffers[tensor] = view;
  return view;
}
