//===- Npy.h - NumPy's array files -----------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Versions 1 to 3, little-endian; several arrays may follow each other in one
// file. Arrays in Fortran order come out in C order.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_NPY_H
#define MARVER_TOOLS_COMMON_NPY_H

#include "tools/common/Tensor.h"

namespace marver {

/// Whether the bytes begin like an array file.
bool isNpy(const uint8_t *bytes, size_t size);

/// Reads the array at `bytes` and says how many of them it takes. `<u2` and
/// `V2` may stand for bf16, which NumPy has not: `wanted` (an MV_DTYPE_* or 0)
/// decides.
bool readNpy(const uint8_t *bytes, size_t size, int wanted, Tensor &tensor,
             size_t &taken, std::string &error);

/// The bytes of an array file of version 1; bf16 as `<u2`, i1 as `|b1`.
std::vector<uint8_t> npyHeader(int dtype, const std::vector<int64_t> &dims);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_NPY_H
