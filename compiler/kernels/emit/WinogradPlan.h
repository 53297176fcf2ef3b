//===- WinogradPlan.h - Sizes of a Winograd kernel --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What is known of a kernel of family "winograd" when it is compiled, and the
// two ways in which its input becomes the left operand of its products.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_WINOGRADPLAN_H
#define MARVER_COMPILER_KERNELS_EMIT_WINOGRADPLAN_H

#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/WinogradAlgorithm.h"
#include "compiler/kernels/emit/Evaluator.h"
#include <memory>

namespace marver {

/// Schedule and static sizes.
struct WinogradPlan {
  mv::WinogradConvOp conv;
  WinogradAlgorithm rows, columns; ///< rows: the identity if there is one dim
  int64_t rank, lanes;
  int64_t gemmTiles;  ///< tiles of a register tile
  int64_t blockTiles; ///< tiles of a block, a multiple of gemmTiles
  int64_t channels, channelBlocks, outputBlocks;
  int64_t panelCount, panelWidth;
  int64_t positions;
  int64_t phases; ///< whose products are added up as those of channels are
  bool isPlain;   ///< the input has blocks of one channel, in other words
                  ///< none; then no block has tiles of several rows
  bool hasEdges;  ///< tiles may reach beyond the result

  WinogradPlan(mv::KernelOp kernel, const TargetInfo &target);

  int64_t vectors() const { return panelWidth / lanes; }
  int64_t productsSize() const { return positions * blockTiles * panelWidth; }
};

/// Transforms a block's input: its tiles are `slots`, and
///
///   pointer()[position * positionStride() + slot * slotStride()
///             + phase * phaseStride() + channel * channelStride()]
///
/// is what the products read, in scratch memory.
class WinogradInput {
public:
  virtual ~WinogradInput() = default;

  /// Elements of scratch memory that a thread needs.
  static int64_t scratchSize(const WinogradPlan &plan);
  /// `scratch` has so many.
  static std::unique_ptr<WinogradInput>
  create(Evaluator &evaluator, const WinogradPlan &plan, mlir::Value scratch);

  /// The `count` tiles of `image` from number `first` on, in an image (or, if
  /// the input is plain, in a row of tiles that begins with a whole block)
  /// whose rows have `tileColumns` of them.
  virtual void transform(mlir::Value image, mlir::Value first,
                         mlir::Value count, mlir::Value tileColumns) = 0;

  virtual mlir::Value pointer() const = 0;
  virtual int64_t positionStride() const = 0;
  virtual int64_t slotStride() const = 0;
  virtual int64_t phaseStride() const = 0;
  virtual int64_t channelStride() const = 0;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_WINOGRADPLAN_H
