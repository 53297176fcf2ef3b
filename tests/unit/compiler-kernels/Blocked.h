//===- Blocked.h - Plain tensors and their blocked forms --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_KERNELS_BLOCKED_H
#define MARVER_TESTS_UNIT_KERNELS_BLOCKED_H

#include "KernelHarness.h"
#include <numeric>

namespace marver::testing {

using Shape = std::vector<int64_t>;

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline int64_t product(llvm::ArrayRef<int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1),
                         std::multiplies<>());
}

/// N x C x S... -> N x ceil(C/B) x S... x B.
inline Shape blockedShape(Shape shape, int64_t block) {
  shape[1] = ceilDiv(shape[1], block);
  shape.push_back(block);
  return shape;
}

/// Position in the blocked tensor of an element of the plain one.
inline int64_t blockedPosition(const Shape &shape, int64_t block, int64_t n,
                               int64_t c, int64_t pixel) {
  int64_t pixels = product(llvm::ArrayRef(shape).drop_front(2));
  int64_t blocks = ceilDiv(shape[1], block);
  return ((n * blocks + c / block) * pixels + pixel) * block + c % block;
}

/// The blocked form; lanes beyond the channels are NaN, which no result may
/// show.
inline Tensor toBlocked(const Tensor &plain, int64_t block) {
  const Shape &shape = plain.shape();
  Tensor result(blockedShape(shape, block));
  result.fill(std::numeric_limits<float>::quiet_NaN());
  int64_t pixels = product(llvm::ArrayRef(shape).drop_front(2));
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        result[blockedPosition(shape, block, n, c, p)] =
            plain[(n * shape[1] + c) * pixels + p];
  return result;
}

/// A reference in blocked form, with anything in the lanes beyond the channels.
inline std::vector<double> toBlocked(const std::vector<double> &plain,
                                     const Shape &shape, int64_t block) {
  std::vector<double> result(product(blockedShape(shape, block)), kAny);
  int64_t pixels = product(llvm::ArrayRef(shape).drop_front(2));
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        result[blockedPosition(shape, block, n, c, p)] =
            plain[(n * shape[1] + c) * pixels + p];
  return result;
}

inline std::string listText(const Shape &values) {
  std::string text = "array<i64";
  for (size_t i = 0; i < values.size(); ++i)
    text += (i ? ", " : ": ") + std::to_string(values[i]);
  return text + ">";
}

inline int64_t pick(std::mt19937 &random, int64_t low, int64_t high) {
  return low + int64_t(random() % uint64_t(high - low + 1));
}

/// Windows of a convolution or a pool over the spatial dims.
struct Windows {
  Shape size, strides, dilations;
  Shape outputs(llvm::ArrayRef<int64_t> input) const {
    Shape result;
    for (size_t d = 0; d < size.size(); ++d)
      result.push_back(
          (input[d] - dilations[d] * (size[d] - 1) - 1) / strides[d] + 1);
    return result;
  }
  int64_t reach(size_t d) const { return dilations[d] * (size[d] - 1) + 1; }
};

/// Coordinates of linear position `index` in a box of `sizes`.
inline Shape coordinates(int64_t index, llvm::ArrayRef<int64_t> sizes) {
  Shape result(sizes.size());
  for (size_t d = sizes.size(); d-- > 0;) {
    result[d] = index % sizes[d];
    index /= sizes[d];
  }
  return result;
}

/// f64 convolution of plain tensors: `filter` is F x C/groups x K...
std::vector<double> convolve(const Tensor &input, const Tensor &filter,
                             const Tensor *bias, const Windows &windows,
                             int64_t groups);

/// panel x K... x C x NR from F x C x K..., zero beyond F.
Tensor packFilter(const Tensor &filter, int64_t width);

} // namespace marver::testing

#endif // MARVER_TESTS_UNIT_KERNELS_BLOCKED_H
