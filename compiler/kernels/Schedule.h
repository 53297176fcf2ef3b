//===- Schedule.h - Choice of algorithm and tiles per kernel ----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything that is chosen from shapes and target before a kernel is emitted:
// which family takes an operation, how wide the panels of packed weights are,
// register tile, strips and the split into parallel indices. The choice is
// written on the kernel as its `schedule` dictionary, whose `reason` says why.
// Emitters read the dictionary and choose nothing.
//
// Keys of the schedules:
//   tile     [rows, pixels] of outputs that one register tile holds
//            (winograd: [tiles of a register tile, tiles of a block])
//   strip    [rows, pixels] of outputs that one parallel index does (0: all)
//            (pool: pixels is the chunk that goes through scratch memory)
//   columns  matmul: columns of a panel
//   panels   contraction: panels of packed weights that a parallel index does
//   chunk    contraction: reduction steps that all of them take before the next
//            (0: all)
//   streams  contraction: panels read side by side (matrix times vector)
//   taps     depthwise: taps whose weights are in registers at one time
//   unroll   contraction: reduction steps in the innermost loop's body
//   rows     conv_depthwise: rows of the result that a parallel index does
//   bands    conv_depthwise: parts of the rows that come first in the division
//   conv, depthwise  conv_depthwise: the schedules of its parts
//   refused  why a faster way was not taken, in words
//   prefetch contraction: the next panel's weights are prefetched
//   prefetch_rows  contraction: so is the input of the next tiles
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_SCHEDULE_H
#define MARVER_COMPILER_KERNELS_SCHEDULE_H

#include "compiler/ir/MvDialect.h"
#include "compiler/ir/Target.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>

namespace marver {

/// The family that emits an operation, and how.
struct KernelChoice {
  llvm::StringRef family;
  mlir::DictionaryAttr schedule;
};

/// Family and schedule of an anchor operation (mv.packed_conv,
/// mv.packed_matmul, mv.depthwise_conv, mv.pool, mv.matmul); nullopt when none
/// of the vector families takes it: the generic path does.
std::optional<KernelChoice> chooseKernel(mlir::Operation *anchor,
                                         const TargetInfo &target);

/// Whether a convolution and the depthwise convolution that alone reads its
/// result, through `pad` (may be null), become one kernel in strips of rows,
/// and how. Otherwise `refusal` says why not, in words. `mustPay` is false for
/// tests, which want the kernel also where it is not faster.
std::optional<KernelChoice>
chooseConvDepthwise(mv::PackedConvOp conv, const KernelChoice &convChoice,
                    mlir::tensor::PadOp pad, mv::DepthwiseConvOp depthwise,
                    const KernelChoice &depthwiseChoice,
                    const TargetInfo &target, std::string &refusal,
                    bool mustPay = true);

/// How Winograd's algorithm would do a convolution.
struct WinogradChoice {
  int64_t outputs;     ///< results of a tile, per dim
  int64_t panelWidth;  ///< outputs per panel of transformed weights
  double cycles;       ///< of one core, and
  double directCycles; ///< of the definition
};

/// The algorithm for an mv.packed_conv that the cost model finds fastest;
/// nullopt where there is none for its window.
std::optional<WinogradChoice> chooseWinograd(mlir::Operation *conv,
                                             const TargetInfo &target);

/// True if weights of this element type may be packed for `contraction` (and
/// blocked for `depthwise`): only f32 has emitters, everything else takes the
/// generic path on unpacked operands.
bool hasVectorContraction(mlir::Type elementType);

/// Whether f32 contractions may have packed weights of this type in memory,
/// which are widened to f32 in registers: f32 itself, bf16, i8.
bool isWeightType(mlir::Type elementType);

/// Sizes of a contraction out[pixel][output] = sum over k of
/// in[pixel][k] * weight[k][output]. ShapedType::kDynamic where unknown.
struct ContractionShape {
  int64_t outputs = 0;   ///< real output channels or columns
  int64_t reduction = 0; ///< taps * real input channels, or K
  int64_t rows = 1;      ///< output rows (all outer spatial dims together)
  int64_t width = 1;     ///< pixels in a row; M of a matrix product
  int64_t batch = 1;
  /// Bytes between neighbouring pixels of the input: registers are not the
  /// only limit on a tile's pixels, so are the ways of the L1 cache.
  int64_t pixelStrideBytes = 64;
};

/// Outputs per panel of packed weights (NR, a multiple of target.lanes) for a
/// contraction of this shape. To be used by whatever packs weights.
int64_t choosePanelWidth(const ContractionShape &shape,
                         const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_SCHEDULE_H
