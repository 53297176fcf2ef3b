//===- Homes.h - Where every tensor of a function lives ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The decisions of the buffers stage. A *definition* (the result of a launch, a
// concat, a loop or a branch) gets a home: an output buffer of the call, a part
// of a concat's buffer, the memory of another definition that it replaces, or a
// buffer of its own. Everything else is a view of a definition, an argument or
// a constant.
//
// A tensor that a loop carries has one memory for all its names: initial value
// (where nobody else needs it), the arguments of the loop's blocks, the value
// of the next iteration (where the old one is no longer read when it is made)
// and the loop's result, which stands for all of them. A state of the session
// (compiler/ir/States.h) is such memory around the whole function: its new
// value is made where the old one was, if that is no longer read.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_BUFFERS_HOMES_H
#define MARVER_COMPILER_BUFFERS_HOMES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseSet.h"
#include <functional>

namespace marver {

/// Where a definition lives.
struct Home {
  enum Kind {
    Own,    ///< a buffer of its own
    Output, ///< output buffer `number` of the call
    Part,   ///< the part of operand `number` in `concat`'s buffer
    Shared  ///< the memory of definition `shared`
  };
  Kind kind = Own;
  unsigned number = 0;
  mlir::tensor::ConcatOp concat;
  mlir::Value shared;
  /// Reshapes and permutations between the tensor and its place, nearest the
  /// tensor first. The place has the layout of the last one's result.
  llvm::SmallVector<mlir::Operation *> path;

  /// Only reshapes: a contiguous place can as well take the tensor's own shape.
  bool keepsOrder() const;
};

/// Made by a launch, a concat, a loop or a branch.
bool isDefinition(mlir::Value value);

/// The result of the loop or branch that stands for the memory which `use`
/// writes at the loop's start or a block's end; null for any other use.
mlir::Value slotOfUse(mlir::OpOperand &use);

/// The result that stands for a loop block's argument; null for others.
mlir::Value slotOfArgument(mlir::Value argument);

class Homes {
public:
  /// `isLateSize` tells index values that are known only while the model runs:
  /// nothing of such a size can be placed in a buffer that exists before.
  Homes(mlir::func::FuncOp func, const mlir::SymbolTable &kernels,
        std::function<bool(mlir::Value)> isLateSize)
      : func(func), kernels(kernels), isLateSize(std::move(isLateSize)) {}

  /// Gives every definition of the function a home.
  void choose();

  const Home &of(mlir::Value definition) const {
    return homes.find(definition)->second;
  }
  /// A definition made later: lives in a buffer of its own.
  void add(mlir::Value definition) { homes[definition] = Home(); }

  bool isPlaced(mlir::tensor::ConcatOp concat, unsigned operand) const {
    return takenParts.contains({concat, operand});
  }
  bool isPlaced(unsigned output) const { return takenOutputs.contains(output); }
  /// Whether the result that `use` returns is in its place already.
  bool isPlacedState(mlir::OpOperand &use) const;
  /// Whether what `use` passes to a loop's slot is already there.
  bool isPlaced(mlir::OpOperand &use) const;

  /// The definition, argument or constant whose memory `value` is part of.
  mlir::Value rootOf(mlir::Value value) const;
  /// The layout of any tensor value's memory.
  mlir::MemRefType layoutOf(mlir::Value value) const;
  /// Whether a dim of `tensor` is known only while the model runs (or it is
  /// treated as if it were).
  bool isLate(mlir::Value tensor) const;

  static mlir::MemRefType contiguous(mlir::Value tensor);

private:
  void chooseIn(mlir::Block &block);
  void find(mlir::Value tensor, mlir::Value value,
            llvm::SmallVector<mlir::Operation *> &path, Home &home,
            Home &permuted);
  bool canShareSlot(mlir::Value tensor, mlir::OpOperand &use) const;
  bool canReplaceState(mlir::Value tensor, mlir::BlockArgument old) const;
  bool replaces(mlir::Value tensor, mlir::Value old) const;
  mlir::BlockArgument stateOf(const Home &home) const;
  mlir::Value updatedOperand(mlir::Value tensor) const;
  bool isElementwiseOn(mlir::Value tensor, mlir::Value old) const;
  void findUpdated(mlir::Value tensor, Home &home);
  mlir::FailureOr<mlir::MemRefType> typeAt(mlir::Value tensor,
                                           const Home &home) const;
  bool fits(mlir::Value tensor, const Home &home) const;

  mlir::func::FuncOp func;
  const mlir::SymbolTable &kernels;
  llvm::DenseMap<mlir::Value, Home> homes;
  llvm::DenseSet<unsigned> takenOutputs;
  llvm::DenseSet<std::pair<mlir::Operation *, unsigned>> takenParts;
  std::function<bool(mlir::Value)> isLateSize;
};

} // namespace marver

#endif // MARVER_COMPILER_BUFFERS_HOMES_H
