//===- Evaluate.cpp - Results of operations on constants ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Evaluate.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cstring>

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Moving bytes
//===----------------------------------------------------------------------===//

SmallVector<int64_t> marver::rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

template <size_t Bytes>
static void copyRow(char *out, int64_t outStride, const char *in,
                    int64_t inStride, int64_t count) {
  if (outStride == 1 && inStride == 1) {
    memcpy(out, in, count * Bytes);
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    memcpy(out + i * outStride * Bytes, in + i * inStride * Bytes, Bytes);
}

void marver::copyStrided(char *out, ArrayRef<int64_t> outStrides,
                         const char *in, ArrayRef<int64_t> inStrides,
                         ArrayRef<int64_t> sizes, int64_t bytes) {
  if (llvm::is_contained(sizes, 0))
    return;
  if (sizes.empty()) {
    memcpy(out, in, bytes);
    return;
  }
  size_t inner = sizes.size() - 1;
  SmallVector<int64_t> index(sizes.size(), 0);
  while (true) {
    switch (bytes) {
    case 1:
      copyRow<1>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    case 2:
      copyRow<2>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    case 4:
      copyRow<4>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    default:
      copyRow<8>(out, outStrides[inner], in, inStrides[inner], sizes[inner]);
      break;
    }
    int64_t dim = static_cast<int64_t>(inner) - 1;
    for (; dim >= 0; --dim) {
      out += outStrides[dim] * bytes;
      in += inStrides[dim] * bytes;
      if (++index[dim] < sizes[dim])
        break;
      out -= outStrides[dim] * sizes[dim] * bytes;
      in -= inStrides[dim] * sizes[dim] * bytes;
      index[dim] = 0;
    }
    if (dim < 0)
      return;
  }
}

ElementsAttr marver::makeSplat(RankedTensorType type, Attribute element) {
  return DenseElementsAttr::get(type, element);
}
Attribute marver::elementAttr(const ConstantData &data, int64_t index) {
  Type type = data.type.getElementType();
  if (isa<FloatType>(type))
    return FloatAttr::get(type, data.getFloat(index));
  return IntegerAttr::get(type, data.getInt(index));
}

//===----------------------------------------------------------------------===//
// Tensor operations
//===----------------------------------------------------------------------===//

/// `data` seen with another shape. The bytes are shared, not copied.
static TypedAttr reshaped(const ConstantData &data, RankedTensorType type) {
  if (data.isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(data, 0)));
  return cast<TypedAttr>(makeMappedConstant(type, data.bytes, data.storage));
}

static std::optional<TypedAttr> evaluateSlice(tensor::ExtractSliceOp op) {
  auto type = op.getType();
  std::optional<ConstantData> data = getConstantData(op.getSource());
  if (!data || !type.hasStaticShape() ||
      !llvm::none_of(op.getStaticOffsets(), ShapedType::isDynamic) ||
      !llvm::none_of(op.getStaticStrides(), ShapedType::isDynamic))
    return std::nullopt;
  if (data->isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(*data, 0)));
  SmallVector<int64_t> strides = rowMajorStrides(data->type.getShape());
  int64_t base = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    base += op.getStaticOffsets()[i] * strides[i];
    strides[i] *= op.getStaticStrides()[i];
  }
  // The sizes of the slice before unit dims are dropped.
  ArrayRef<int64_t> sizes = op.getStaticSizes();
  int64_t bytes = elementBytes(type.getElementType());
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    if (!out.empty())
      copyStrided(out.data(), rowMajorStrides(sizes),
                  data->bytes.data() + base * bytes, strides, sizes, bytes);
  }));
}

static std::optional<TypedAttr> evaluateConcat(tensor::ConcatOp op,
                                               const EvaluateLimits &limits) {
  auto type = op.getResultType();
  if (!type.hasStaticShape())
    return std::nullopt;
  SmallVector<ConstantData> parts;
  int64_t inputBytes = 0;
  for (Value input : op.getInputs()) {
    std::optional<ConstantData> data = getConstantData(input);
    if (!data)
      return std::nullopt;
    inputBytes += data->bytes.size();
    parts.push_back(std::move(*data));
  }
  int64_t bytes = elementBytes(type.getElementType());
  if (elementCount(type) * bytes > inputBytes + limits.maxGrowth)
    return std::nullopt;
  SmallVector<int64_t> strides = rowMajorStrides(type.getShape());
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    int64_t at = 0;
    for (const ConstantData &part : parts) {
      ArrayRef<int64_t> shape = part.type.getShape();
      SmallVector<int64_t> inStrides = rowMajorStrides(shape);
      if (part.isSplat)
        inStrides.assign(shape.size(), 0);
      if (elementCount(part.type) > 0)
        copyStrided(out.data() + at * strides[op.getDim()] * bytes, strides,
                    part.bytes.data(), inStrides, shape, bytes);
      at += shape[op.getDim()];
    }
  }));
}

static std::optional<TypedAttr> evaluatePad(tensor::PadOp op,
                                            const EvaluateLimits &limits) {
  RankedTensorType type = op.getResultType();
  std::optional<ConstantData> data = getConstantData(op.getSource());
  Attribute value;
  if (!data || !type.hasStaticShape() || !op.getConstantPaddingValue() ||
      !matchPattern(op.getConstantPaddingValue(), m_Constant(&value)) ||
      !llvm::all_of(op.getStaticLow(), [](int64_t low) { return low >= 0; }) ||
      !llvm::all_of(op.getStaticHigh(), [](int64_t high) { return high >= 0; }))
    return std::nullopt;
  int64_t bytes = elementBytes(type.getElementType());
  if (elementCount(type) * bytes >
      static_cast<int64_t>(data->bytes.size()) + limits.maxGrowth)
    return std::nullopt;
  SmallVector<int64_t> strides = rowMajorStrides(type.getShape());
  ArrayRef<int64_t> shape = data->type.getShape();
  SmallVector<int64_t> inStrides = rowMajorStrides(shape);
  if (data->isSplat)
    inStrides.assign(shape.size(), 0);
  int64_t base = 0;
  for (auto [low, stride] : llvm::zip_equal(op.getStaticLow(), strides))
    base += low * stride;
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    Type element = type.getElementType();
    for (size_t at = 0; at < out.size(); at += bytes)
      if (auto number = dyn_cast<FloatAttr>(value))
        storeFloat(out.data() + at, element, number.getValueAsDouble());
      else
        storeInt(out.data() + at, element, cast<IntegerAttr>(value).getInt());
    if (elementCount(data->type) > 0)
      copyStrided(out.data() + base * bytes, strides, data->bytes.data(),
                  inStrides, shape, bytes);
  }));
}

static std::optional<TypedAttr> evaluateGather(mv::GatherOp op,
                                               const EvaluateLimits &limits) {
  auto type = cast<RankedTensorType>(op.getType());
  std::optional<ConstantData> data = getConstantData(op.getInput());
  std::optional<SmallVector<int64_t>> indices =
      getConstantInts(op.getIndices());
  if (!data || !indices || !type.hasStaticShape())
    return std::nullopt;
  int64_t bytes = elementBytes(type.getElementType());
  int64_t resultBytes = elementCount(type) * bytes;
  if (resultBytes > static_cast<int64_t>(data->bytes.size()) + limits.maxGrowth)
    return std::nullopt;
  ArrayRef<int64_t> shape = data->type.getShape();
  auto dim = static_cast<size_t>(op.getDim());
  for (int64_t &index : *indices) {
    index += index < 0 ? shape[dim] : 0;
    if (index < 0 || index >= shape[dim])
      return std::nullopt;
  }
  if (data->isSplat && elementCount(type) > 0)
    return cast<TypedAttr>(makeSplat(type, elementAttr(*data, 0)));
  int64_t outer = 1, inner = bytes;
  for (size_t i = 0; i < shape.size(); ++i)
    (i < dim ? outer : inner) *= i == dim ? 1 : shape[i];
  return cast<TypedAttr>(makeConstant(type, [&](MutableArrayRef<char> out) {
    char *to = out.data();
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t index : *indices) {
        memcpy(to, data->bytes.data() + (o * shape[dim] + index) * inner,
               inner);
        to += inner;
      }
  }));
}

/// Operations with one tensor result.
static std::optional<TypedAttr> evaluateTensorOp(Operation *op,
                                                 const EvaluateLimits &limits) {
  using Result = std::optional<TypedAttr>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp,
            tensor::ReshapeOp>([](auto reshape) -> Result {
        auto type = dyn_cast<RankedTensorType>(reshape->getResult(0).getType());
        std::optional<ConstantData> data =
            getConstantData(reshape->getOperand(0));
        if (!type || !data || !type.hasStaticShape() ||
            elementCount(type) != elementCount(data->type))
          return std::nullopt;
        return reshaped(*data, type);
      })
      .Case([](tensor::ExtractSliceOp slice) { return evaluateSlice(slice); })
      .Case([&](tensor::ConcatOp concat) {
        return evaluateConcat(concat, limits);
      })
      .Case([&](tensor::PadOp pad) { return evaluatePad(pad, limits); })
      .Case([&](mv::GatherOp gather) { return evaluateGather(gather, limits); })
      .Case<tensor::SplatOp, linalg::FillOp>([](Operation *fill) -> Result {
        auto type = dyn_cast<RankedTensorType>(fill->getResult(0).getType());
        Attribute value;
        if (!type || !type.hasStaticShape() ||
            !matchPattern(fill->getOperand(0), m_Constant(&value)) ||
            !isa<FloatAttr, IntegerAttr>(value))
          return std::nullopt;
        return cast<TypedAttr>(makeSplat(type, value));
      })
      .Case([](tensor::FromElementsOp elements) -> Result {
        auto type = elements.getType();
        SmallVector<Attribute> values;
        for (Value element : elements.getElements())
          if (Attribute value; matchPattern(element, m_Constant(&value)))
            values.push_back(value);
          else
            return std::nullopt;
        if (!type.hasStaticShape())
          return std::nullopt;
        return cast<TypedAttr>(
            ElementsAttr(DenseElementsAttr::get(type, values)));
      })
      .Case([](tensor::ExtractOp extract) -> Result {
        std::optional<ConstantData> data = getConstantData(extract.getTensor());
        if (!data)
          return std::nullopt;
        int64_t at = 0;
        for (auto [index, size] :
             llvm::zip_equal(extract.getIndices(), data->type.getShape())) {
          std::optional<int64_t> value = getConstantIntValue(index);
          if (!value || *value < 0 || *value >= size)
            return std::nullopt;
          at = at * size + *value;
        }
        return cast<TypedAttr>(elementAttr(*data, data->isSplat ? 0 : at));
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<SmallVector<TypedAttr>>
marver::evaluate(Operation *op, const EvaluateLimits &limits) {
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return evaluateGeneric(generic, limits);
  if (op->getNumResults() != 1)
    return std::nullopt;
  if (std::optional<TypedAttr> result = evaluateTensorOp(op, limits))
    return SmallVector<TypedAttr>{*result};
  return std::nullopt;
}
