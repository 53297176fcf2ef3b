//===- Families.h - The kernel families -------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One constant a family, defined in the family's file and listed in
// Families.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_FAMILIES_H
#define MARVER_COMPILER_KERNELS_EMIT_FAMILIES_H

#include "compiler/kernels/emit/KernelEmitter.h"

namespace marver {

/// Every element of every result by itself: what is right for any kernel.
extern const KernelFamily pointwiseFamily;
/// Reductions, and what needs them for each row: softmax and norms. They are
/// computed like everything pointwise; the evaluator shares what a row has in
/// common among its elements.
extern const KernelFamily reduceFamily, rowFamily;
/// Softmax of scores times values, by blocks of queries.
extern const KernelFamily attentionFamily;
/// mv.cumulative_sum.
extern const KernelFamily cumulativeSumFamily;
/// mv.scatter, in place where input and result share memory.
extern const KernelFamily scatterFamily;
/// mv.top_k, mv.true_positions and mv.suppress.
extern const KernelFamily selectionFamily;
/// mv.packed_conv and mv.packed_matmul.
extern const KernelFamily contractionFamily;
/// mv.winograd_conv: convolutions with fewer multiplications.
extern const KernelFamily winogradFamily;
/// mv.winograd_filter: their weights, once per load.
extern const KernelFamily winogradFilterFamily;
/// mv.depthwise_conv.
extern const KernelFamily depthwiseFamily;
/// A convolution and the depthwise one behind it, in strips of rows.
extern const KernelFamily convDepthwiseFamily;
/// mv.matmul of two values.
extern const KernelFamily matmulFamily;
/// mv.pool on blocked tensors.
extern const KernelFamily poolFamily;

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_FAMILIES_H
