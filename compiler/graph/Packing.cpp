//===- Packing.cpp - Weights as kernels read them -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each function writes its result once, straight from the source's bytes (often
// a mapped model file): weights are never copied in between.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Packing.h"
#include "compiler/graph/Evaluate.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace mlir;
using namespace marver;

ElementsAttr marver::packFilter(const ConstantData &filter, int64_t width) {
  return packGroupedFilter(filter, 0, 1, filter.type.getDimSize(0), width);
}

ElementsAttr marver::packGroupedFilter(const ConstantData &filter,
                                       int64_t firstOutput, int64_t groups,
                                       int64_t groupOutputs, int64_t width) {
  ArrayRef<int64_t> shape = filter.type.getShape();
  Type element = filter.type.getElementType();
  int64_t bytes = elementBytes(element);
  int64_t channels = shape[1];
  int64_t outputs = groups * groupOutputs;
  int64_t panels = llvm::divideCeilSigned(outputs, width);
  ArrayRef<int64_t> taps = shape.drop_front(2);

  SmallVector<int64_t> packed = {panels};
  llvm::append_range(packed, taps);
  packed.append({groups * channels, width});
  SmallVector<int64_t> outStrides = rowMajorStrides(packed);
  SmallVector<int64_t> inStrides = rowMajorStrides(shape);
  if (filter.isSplat)
    inStrides.assign(shape.size(), 0);

  // Dims of one copy: taps, channels of a group, outputs that a panel and the
  // group share.
  SmallVector<int64_t> sizes(taps),
      from(inStrides.begin() + 2, inStrides.end()),
      to(outStrides.begin() + 1, outStrides.end());
  sizes.append({channels, 0});
  from.append({inStrides[1], inStrides[0]});
  auto type = RankedTensorType::get(packed, element);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    if (groups > 1 || outputs % width != 0)
      memset(out.data(), 0, out.size());
    for (int64_t f = 0; f < outputs;) {
      int64_t group = f / groupOutputs, lane = f % width;
      int64_t count = std::min(width - lane, (group + 1) * groupOutputs - f);
      sizes.back() = count;
      int64_t at = f / width * outStrides[0] +
                   group * channels * outStrides[packed.size() - 2] + lane;
      copyStrided(out.data() + at * bytes, to,
                  filter.bytes.data() +
                      (firstOutput + f) * inStrides[0] * bytes,
                  from, sizes, bytes);
      f += count;
    }
  });
}

ElementsAttr marver::packDepthwiseFilter(const ConstantData &filter,
                                         int64_t lanes) {
  ArrayRef<int64_t> shape = filter.type.getShape();
  Type element = filter.type.getElementType();
  int64_t bytes = elementBytes(element);
  SmallVector<int64_t> packed = {llvm::divideCeilSigned(shape[0], lanes)};
  llvm::append_range(packed, shape.drop_front(2));
  packed.push_back(lanes);
  SmallVector<int64_t> outStrides = rowMajorStrides(packed);
  SmallVector<int64_t> inStrides = rowMajorStrides(shape);
  if (filter.isSplat)
    inStrides.assign(shape.size(), 0);
  SmallVector<int64_t> sizes(shape.drop_front(2)),
      from(inStrides.begin() + 2, inStrides.end());
  sizes.push_back(0);
  from.push_back(inStrides[0]);
  auto type = RankedTensorType::get(packed, element);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    if (shape[0] % lanes != 0)
      memset(out.data(), 0, out.size());
    for (int64_t c = 0; c < shape[0]; c += lanes) {
      sizes.back() = std::min(lanes, shape[0] - c);
      copyStrided(out.data() + c / lanes * outStrides[0] * bytes,
                  ArrayRef(outStrides).drop_front(),
                  filter.bytes.data() + c * inStrides[0] * bytes, from, sizes,
                  bytes);
    }
  });
}

ElementsAttr marver::packMatrix(const ConstantData &matrix, bool transposed,
                                int64_t width, ArrayRef<double> scale) {
  ArrayRef<int64_t> shape = matrix.type.getShape();
  Type element = matrix.type.getElementType();
  int64_t bytes = elementBytes(element);
  int64_t rows = shape[transposed ? 1 : 0], columns = shape[transposed ? 0 : 1];
  int64_t rowStride = transposed ? 1 : columns;
  int64_t columnStride = transposed ? rows : 1;
  if (matrix.isSplat)
    rowStride = columnStride = 0;
  int64_t panels = llvm::divideCeilSigned(columns, width);
  auto type = RankedTensorType::get({panels, rows, width}, element);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    if (columns % width != 0)
      memset(out.data(), 0, out.size());
    for (int64_t n = 0; n < columns; n += width) {
      int64_t count = std::min(width, columns - n);
      copyStrided(out.data() + n * rows * bytes, {width, 1},
                  matrix.bytes.data() + n * columnStride * bytes,
                  {rowStride, columnStride}, {rows, count}, bytes);
    }
    if (scale.empty())
      return;
    ConstantData copied;
    copied.type = type;
    copied.bytes = out;
    for (int64_t i = 0, e = elementCount(type); i < e; ++i) {
      int64_t column = i / (rows * width) * width + i % width;
      if (column < columns)
        storeFloat(out.data() + i * bytes, element,
                   copied.getFloat(i) * scale[column]);
    }
  });
}

ElementsAttr marver::groupPacked(const ConstantData &packed, int64_t group) {
  ArrayRef<int64_t> shape = packed.type.getShape();
  Type element = packed.type.getElementType();
  int64_t bytes = elementBytes(element);
  int64_t rank = packed.type.getRank();
  int64_t steps = shape[rank - 2], width = shape[rank - 1];
  int64_t groups = llvm::divideCeilSigned(steps, group);
  SmallVector<int64_t> grouped(shape.drop_back(2));
  grouped.append({groups, width, group});
  auto type = RankedTensorType::get(grouped, element);
  int64_t outer = elementCount(packed.type) / (steps * width);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    memset(out.data(), 0, out.size());
    for (int64_t i = 0; i < outer; ++i)
      for (int64_t k = 0; k < steps; ++k)
        for (int64_t n = 0; n < width; ++n) {
          int64_t from = packed.isSplat ? 0 : (i * steps + k) * width + n;
          int64_t to =
              ((i * groups + k / group) * width + n) * group + k % group;
          memcpy(out.data() + to * bytes, packed.bytes.data() + from * bytes,
                 bytes);
        }
  });
}

ElementsAttr marver::blockConstant(const ConstantData &data, int64_t dim,
                                   int64_t lanes) {
  ArrayRef<int64_t> shape = data.type.getShape();
  Type element = data.type.getElementType();
  int64_t bytes = elementBytes(element);
  SmallVector<int64_t> blocked(shape);
  blocked[dim] = llvm::divideCeilSigned(shape[dim], lanes);
  blocked.push_back(lanes);
  SmallVector<int64_t> to = rowMajorStrides(blocked);
  SmallVector<int64_t> from = rowMajorStrides(shape);
  if (data.isSplat)
    from.assign(shape.size(), 0);
  SmallVector<int64_t> sizes(shape);
  sizes[dim] = 1;
  sizes.push_back(0);
  int64_t inStep = from[dim] * lanes, outStep = to[dim];
  from.push_back(from[dim]);
  auto type = RankedTensorType::get(blocked, element);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    if (shape[dim] % lanes != 0)
      memset(out.data(), 0, out.size());
    for (int64_t block = 0; block < blocked[dim]; ++block) {
      sizes.back() = std::min(lanes, shape[dim] - block * lanes);
      copyStrided(out.data() + block * outStep * bytes, to,
                  data.bytes.data() + block * inStep * bytes, from, sizes,
                  bytes);
    }
  });
}

ElementsAttr marver::padVector(const ConstantData &data, int64_t first,
                               int64_t count, int64_t length) {
  Type element = data.type.getElementType();
  int64_t bytes = elementBytes(element);
  auto type = RankedTensorType::get({length}, element);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    memset(out.data(), 0, out.size());
    for (int64_t i = 0; i < count; ++i)
      memcpy(out.data() + i * bytes,
             data.bytes.data() + (data.isSplat ? 0 : first + i) * bytes, bytes);
  });
}
