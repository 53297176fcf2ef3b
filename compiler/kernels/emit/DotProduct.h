//===- DotProduct.h - Products of groups of narrow elements -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_DOTPRODUCT_H
#define MARVER_COMPILER_KERNELS_EMIT_DOTPRODUCT_H

#include "compiler/kernels/emit/KernelEmitter.h"

namespace marver {

/// `group` neighbouring elements, 32 bits together, for every lane: a vector of
/// lanes * group elements.
mlir::Value loadGroup(KernelEmitter &e, mlir::Value pointer,
                      mlir::Type elementType, int64_t group);

/// sum[l] + the dot product of group l of `x` and of `weights` (see
/// reductionGroup): pairs of bf16, added to f32 as vdpbf16ps does it, which
/// only targets with MV_X86_AVX512_BF16 have; or four unsigned i8 times four
/// signed ones, added to i32 without saturation, on every target.
mlir::Value dotProduct(KernelEmitter &e, mlir::Value x, mlir::Value weights,
                       mlir::Value sum);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_DOTPRODUCT_H
