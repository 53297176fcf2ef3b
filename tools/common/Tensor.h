//===- Tensor.h - Tensors of the tools -------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_TENSOR_H
#define MARVER_TOOLS_COMMON_TENSOR_H

#include "marver/marver.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace marver {

/// Row-major elements in memory of their own, aligned to MV_ALIGNMENT.
struct Tensor {
  int dtype = 0; ///< MV_DTYPE_*
  std::vector<int64_t> dims;

  uint8_t *data() const { return memory.get() + offset; }
  size_t bytes() const { return size; }
  size_t count() const { return size / mv_dtype_size(dtype); }

  /// Makes room for dtype and dims, all zero; false with a reason if no memory
  /// can hold that.
  bool allocate(std::string &error);
  Tensor clone() const;

private:
  struct Free {
    void operator()(uint8_t *memory) const { free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory;
  size_t offset = 0;
  size_t size = 0;
};

/// "2x3xf32"; a scalar's is "f32".
std::string typeText(int dtype, const std::vector<int64_t> &dims);

/// MV_DTYPE_* of a name as marver or IREE spells it (`u8`, `ui8`, `si8`), or 0.
int dtypeOf(const std::string &name);

inline bool isFloat(int dtype) {
  return dtype >= MV_DTYPE_F16 && dtype <= MV_DTYPE_F64;
}
inline bool isSigned(int dtype) {
  return dtype >= MV_DTYPE_I8 && dtype <= MV_DTYPE_I64;
}

/// Elements as numbers. A double holds all but large 64-bit integers exactly.
double loadDouble(int dtype, const uint8_t *element);
/// Stores the nearest value of a floating-point type (ties to even).
void storeDouble(int dtype, uint8_t *element, double value);
/// The low bits of `value` as an integer element.
void storeInteger(int dtype, uint8_t *element, uint64_t value);
/// An integer element, sign- or zero-extended.
uint64_t loadInteger(int dtype, const uint8_t *element);

/// Parses one element; integers must be in the range of their width, signed or
/// not. False with a reason otherwise.
bool parseElement(int dtype, const std::string &text, uint8_t *element,
                  std::string &error);
/// The shortest text that parses to the same element.
std::string elementText(int dtype, const uint8_t *element);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_TENSOR_H
