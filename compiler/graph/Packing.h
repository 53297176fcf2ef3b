//===- Packing.h - Weights as kernels read them -----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_GRAPH_PACKING_H
#define MARVER_COMPILER_GRAPH_PACKING_H

#include "compiler/ir/Constants.h"

namespace marver {

/// A filter F x C x K... as panel x K... x C x width, zero beyond F.
mlir::ElementsAttr packFilter(const ConstantData &filter, int64_t width);

/// Filter rows [firstOutput, firstOutput + groups * F/groups) of a grouped
/// convolution as one dense filter over groups * C channels: block-diagonal,
/// then packed. `filter` is F x C x K..., `groupOutputs` the outputs of one
/// group.
mlir::ElementsAttr packGroupedFilter(const ConstantData &filter,
                                     int64_t firstOutput, int64_t groups,
                                     int64_t groupOutputs, int64_t width);

/// A depthwise filter C x 1 x K... as block x K... x lanes.
mlir::ElementsAttr packDepthwiseFilter(const ConstantData &filter,
                                       int64_t lanes);

/// A matrix K x N (N x K if `transposed`) as panel x K x width; column n times
/// scale[n] if `scale` is not empty.
mlir::ElementsAttr packMatrix(const ConstantData &matrix, bool transposed,
                              int64_t width, llvm::ArrayRef<double> scale);

/// Packed weights [...][c][NR] in groups of `group` steps of the reduction,
/// [...][ceil(c / group)][NR][group], zero beyond c.
mlir::ElementsAttr groupPacked(const ConstantData &packed, int64_t group);

/// A constant with dim `dim` cut into blocks of `lanes`, which become the last
/// dim; zero beyond the end.
mlir::ElementsAttr blockConstant(const ConstantData &data, int64_t dim,
                                 int64_t lanes);

/// A vector (elements [first, first + count) of `data`) with zeros up to
/// `length`.
mlir::ElementsAttr padVector(const ConstantData &data, int64_t first,
                             int64_t count, int64_t length);

} // namespace marver

#endif // MARVER_COMPILER_GRAPH_PACKING_H
