//===- CostModel.h - What contractions cost on one core ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A small model of one core: two FMAs and two vector loads a cycle, four cycles
// of FMA latency, and what a panel of weights costs to stream when it does not
// stay in the L1 cache. Numbers behind it: docs/performance.md.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_COSTMODEL_H
#define MARVER_COMPILER_KERNELS_COSTMODEL_H

#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "marver/abi.h"

namespace marver {

inline bool isDynamic(int64_t size) {
  return mlir::ShapedType::isDynamic(size);
}

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

/// `size`, or a typical value for one that is unknown until the model runs.
inline int64_t guess(int64_t size, int64_t typical) {
  return isDynamic(size) ? typical : size;
}

/// Registers that a tile leaves to operands on their way from memory to an FMA.
/// On x86 it reads one of its operands from memory itself.
inline int64_t operandRegisters(const TargetInfo &target) {
  return target.arch == MV_ARCH_X86_64 ? 1 : 3;
}

/// Cycles of one reduction step of a tile of `pixels` x `vectors` accumulators.
double stepCycles(int64_t pixels, int64_t vectors, int64_t reduction,
                  const TargetInfo &target);

/// Most pixels of a tile with `vectors` accumulators each: accumulators, the
/// weights of a step and one broadcast input value fit the registers.
int64_t mostPixels(int64_t vectors, int64_t pixelStrideBytes,
                   const TargetInfo &target);

/// A register tile of a contraction.
struct TileChoice {
  int64_t rows = 1;
  int64_t pixels = 1; ///< per row
  double cycles = 0;  ///< of all tiles of one panel, one image
};

/// Best tile of a panel of `vectors`, by trying all.
TileChoice bestTile(const ContractionShape &shape, int64_t vectors,
                    const TargetInfo &target);

/// The contraction that a convolution is.
ContractionShape contractionShape(mv::PackedConvOp op,
                                  const TargetInfo &target);

/// Cycles of the whole contraction with panels of `vectors`.
double contractionCycles(const ContractionShape &shape, int64_t vectors,
                         const TargetInfo &target);

/// Whether an mv.winograd_conv reads a tensor that is not blocked, as blocks of
/// one channel: the image that a network begins with.
bool isInputPlain(mv::WinogradConvOp conv);

/// Family and schedule of a convolution by Winograd's algorithm.
KernelChoice scheduleWinograd(mv::WinogradConvOp op, const TargetInfo &target);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_COSTMODEL_H
