//===- SlotLayout.h - Where a kernel finds its operands ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The one rule by which a launch's operands become the 8-byte slots that a
// kernel reads: the host side (native/HostLowering.cpp) fills them, the kernel
// side (KernelEmitter) unpacks them.
//
//   slot 0             the mv_call
//   then, for each block argument of the kernel in order, then each result:
//     index scalar     its value
//     tensor           address of its element (0, ..., 0), then its dynamic
//                      sizes, then its dynamic strides (in elements)
//
// Which sizes and strides are dynamic is told by the memref types in the
// kernel's `buffers`; a launch's own memrefs may be more static than those.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_SLOTLAYOUT_H
#define MARVER_COMPILER_KERNELS_EMIT_SLOTLAYOUT_H

#include "compiler/ir/MvDialect.h"

namespace marver {

struct SlotLayout {
  /// In place of a slot: the size or stride is static.
  static constexpr int64_t kStatic = -1;

  struct Operand {
    mlir::MemRefType type; ///< null for an index scalar
    int64_t slot;          ///< of the address or of the scalar's value
    /// One entry a dim: the slot that holds it, or kStatic.
    llvm::SmallVector<int64_t> sizeSlots, strideSlots;
    /// The type's own strides, for those that are static.
    llvm::SmallVector<int64_t> strides;
  };

  llvm::SmallVector<Operand> inputs; ///< one per block argument
  llvm::SmallVector<Operand> outs;   ///< one per result
  int64_t slotCount = 1;

  /// The layout of a kernel that the buffers stage is done with.
  explicit SlotLayout(mv::KernelOp kernel) {
    auto buffers = kernel.getBuffers()->getAsRange<mlir::TypeAttr>();
    auto next = buffers.begin();
    auto nextType = [&] {
      return llvm::cast<mlir::MemRefType>((*next++).getValue());
    };
    for (mlir::BlockArgument argument : kernel.getBlock().getArguments())
      inputs.push_back(append(llvm::isa<mlir::TensorType>(argument.getType())
                                  ? nextType()
                                  : mlir::MemRefType()));
    while (next != buffers.end())
      outs.push_back(append(nextType()));
  }

private:
  Operand append(mlir::MemRefType type) {
    Operand operand{type, slotCount++, {}, {}, {}};
    if (!type)
      return operand;
    auto slotIf = [&](int64_t value) {
      return mlir::ShapedType::isDynamic(value) ? slotCount++ : kStatic;
    };
    for (int64_t size : type.getShape())
      operand.sizeSlots.push_back(slotIf(size));
    int64_t offset;
    [[maybe_unused]] llvm::LogicalResult strided =
        type.getStridesAndOffset(operand.strides, offset);
    assert(llvm::succeeded(strided) && "kernel buffers are strided");
    for (int64_t stride : operand.strides)
      operand.strideSlots.push_back(slotIf(stride));
    return operand;
  }
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_SLOTLAYOUT_H
