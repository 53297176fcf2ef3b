//===- Constants.cpp - Reading and making constant tensors ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include <atomic>
#include <string>

using namespace mlir;

namespace marver {

/// Constants of this many elements or fewer are stored in the attribute itself.
static constexpr int64_t kInlineElements = 64;

int64_t elementBytes(Type type) {
  if (type.isIndex())
    return 8;
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

int64_t elementCount(ShapedType type) { return type.getNumElements(); }

template <typename T> static T readAs(const char *at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T> static void writeAs(char *at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

double ConstantData::getFloat(int64_t index) const {
  Type element = type.getElementType();
  const char *at = bytes.data() + (isSplat ? 0 : index) * elementBytes(element);
  if (element.isF32())
    return readAs<float>(at);
  if (element.isF64())
    return readAs<double>(at);
  auto bits = readAs<uint16_t>(at);
  APFloat value(cast<FloatType>(element).getFloatSemantics(), APInt(16, bits));
  return value.convertToDouble();
}

int64_t ConstantData::getInt(int64_t index) const {
  Type element = type.getElementType();
  const char *at = bytes.data() + (isSplat ? 0 : index) * elementBytes(element);
  if (element.isInteger(1))
    return readAs<uint8_t>(at) != 0;
  if (element.isInteger(8))
    return readAs<int8_t>(at);
  if (element.isInteger(16))
    return readAs<int16_t>(at);
  if (element.isInteger(32))
    return readAs<int32_t>(at);
  return readAs<int64_t>(at);
}

void ConstantData::copyTo(MutableArrayRef<char> out) const {
  if (!isSplat) {
    std::memcpy(out.data(), bytes.data(), out.size());
    return;
  }
  // Double the filled prefix until all is filled.
  size_t filled = std::min(bytes.size(), out.size());
  std::memcpy(out.data(), bytes.data(), filled);
  while (filled < out.size()) {
    size_t n = std::min(filled, out.size() - filled);
    std::memcpy(out.data() + filled, out.data(), n);
    filled += n;
  }
}

std::optional<ConstantData> getConstantData(Attribute attribute) {
  if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(attribute)) {
    auto type = dyn_cast<RankedTensorType>(resource.getType());
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!type || !blob)
      return std::nullopt;
    ArrayRef<char> data = blob->getData();
    if (static_cast<int64_t>(data.size()) !=
        elementCount(type) * elementBytes(type.getElementType()))
      return std::nullopt;
    return ConstantData{type, data};
  }
  auto dense = dyn_cast_or_null<DenseIntOrFPElementsAttr>(attribute);
  if (!dense)
    return std::nullopt;
  auto type = dyn_cast<RankedTensorType>(dense.getType());
  if (!type)
    return std::nullopt;
  ConstantData data{type, dense.getRawData()};
  data.isSplat = dense.isSplat();
  // MLIR keeps i1 elements as bytes too, except that a splat of true is 0xFF;
  // getInt only asks whether the byte is zero, but copies must hold 0 or 1.
  if (type.getElementType().isInteger(1)) {
    data.storage = std::make_shared<SmallVector<char, 0>>();
    if (data.isSplat) {
      data.storage->push_back(dense.getSplatValue<bool>());
    } else {
      for (bool value : dense.getValues<bool>())
        data.storage->push_back(value);
    }
    data.bytes = *data.storage;
  }
  return data;
}

std::optional<ConstantData> getConstantData(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return std::nullopt;
  return getConstantData(attribute);
}

std::optional<SmallVector<int64_t>> getConstantInts(Value value) {
  auto data = getConstantData(value);
  if (!data || !data->type.getElementType().isIntOrIndex())
    return std::nullopt;
  SmallVector<int64_t> ints;
  for (int64_t i = 0, e = elementCount(data->type); i < e; ++i)
    ints.push_back(data->getInt(i));
  return ints;
}

/// A small constant as DenseElementsAttr.
static ElementsAttr makeInline(RankedTensorType type, ArrayRef<char> bytes) {
  if (type.getElementType().isInteger(1)) {
    SmallVector<bool> values;
    for (char byte : bytes)
      values.push_back(byte != 0);
    return DenseElementsAttr::get(type, values);
  }
  if (type.getNumElements() == 0)
    return DenseElementsAttr::get(type, ArrayRef<Attribute>());
  return DenseElementsAttr::getFromRawBuffer(type, bytes);
}

/// Whether all elements are equal.
static bool allEqual(ArrayRef<char> bytes, int64_t elementSize) {
  return bytes.size() >= static_cast<size_t>(elementSize) &&
         std::memcmp(bytes.data(), bytes.data() + elementSize,
                     bytes.size() - elementSize) == 0;
}

/// A name for a new resource. The blob manager would make one unique by trying
/// w_1, w_2, ... each time, which takes quadratic time for a model's weights.
static std::string nextResourceName() {
  static std::atomic<uint64_t> next = 0;
  return "w" + std::to_string(next++);
}

ElementsAttr makeConstant(RankedTensorType type,
                          function_ref<void(MutableArrayRef<char>)> fill) {
  int64_t elementSize = elementBytes(type.getElementType());
  size_t size = elementCount(type) * elementSize;
  if (elementCount(type) <= kInlineElements) {
    SmallVector<char> bytes(size);
    fill(bytes);
    return makeInline(type, bytes);
  }
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(size, 64);
  fill(blob.getMutableData());
  if (allEqual(blob.getData(), elementSize))
    return makeInline(type, type.getElementType().isInteger(1)
                                ? blob.getData() // every byte is read
                                : blob.getData().take_front(elementSize));
  return DenseResourceElementsAttr::get(type, nextResourceName(),
                                        std::move(blob));
}

ElementsAttr makeMappedConstant(RankedTensorType type, ArrayRef<char> bytes,
                                std::shared_ptr<void> owner) {
  int64_t elementSize = elementBytes(type.getElementType());
  if (elementCount(type) <= kInlineElements)
    return makeInline(type, bytes);
  if (!type.getElementType().isInteger(1) && allEqual(bytes, elementSize))
    return makeInline(type, bytes.take_front(elementSize));
  AsmResourceBlob blob(
      bytes, /*dataAlignment=*/1,
      [owner = std::move(owner)](void *, size_t, size_t) mutable {
        owner.reset();
      },
      /*dataIsMutable=*/false);
  return DenseResourceElementsAttr::get(type, nextResourceName(),
                                        std::move(blob));
}

void storeFloat(char *out, Type type, double value) {
  if (type.isF32())
    return writeAs<float>(out, static_cast<float>(value));
  if (type.isF64())
    return writeAs<double>(out, value);
  APFloat narrow(value);
  bool losesInfo;
  narrow.convert(cast<FloatType>(type).getFloatSemantics(),
                 APFloat::rmNearestTiesToEven, &losesInfo);
  writeAs<uint16_t>(out, narrow.bitcastToAPInt().getZExtValue());
}

void storeInt(char *out, Type type, int64_t value) {
  switch (elementBytes(type)) {
  case 1:
    return writeAs<int8_t>(out, type.isInteger(1) ? value != 0
                                                  : static_cast<int8_t>(value));
  case 2:
    return writeAs<int16_t>(out, value);
  case 4:
    return writeAs<int32_t>(out, value);
  default:
    return writeAs<int64_t>(out, value);
  }
}

} // namespace marver
