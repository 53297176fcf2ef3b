//===- StableHlo.h - Models in StableHLO ------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// StableHLO and CHLO, as JAX and torch-mlir print them, together with the shape
// dialect that the latter computes sizes in. A function of it is built again
// with the shared operators' builders (compiler/ops); operations of upstream's
// dialects in it stay as they are. What operations mean is from the StableHLO
// specification (openxla/stablehlo, docs/spec.md).
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_STABLEHLO_H
#define MARVER_COMPILER_IMPORT_MLIR_STABLEHLO_H

#include "compiler/ops/Ops.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"

namespace marver {

/// Is any operation of the function StableHLO's?
bool isStableHloFunction(mlir::func::FuncOp function);

/// Replaces the body of `function`, whose constants have been decoded and whose
/// calls inlined. Fails after errors were reported, all that were found.
mlir::LogicalResult importStableHlo(mlir::func::FuncOp function);

namespace hlo {

using mlir::Operation;
using mlir::Value;

/// One operation that is translated: what was made of its operands, and its
/// attributes in all the forms in which they are written.
struct Call {
  OpsBuilder &b;
  Operation *op;
  llvm::SmallVector<Value> operands;

  /// Operand `number`; null, after a failure, if there is none.
  Value operand(unsigned number);
  /// The attribute with the first of the names that is there, or null.
  mlir::Attribute attribute(llvm::ArrayRef<llvm::StringRef> names);
  /// Integers, of which there are `count`, or none if the attribute is absent.
  llvm::SmallVector<int64_t> ints(llvm::ArrayRef<llvm::StringRef> names);
  int64_t integer(llvm::ArrayRef<llvm::StringRef> names, int64_t otherwise);
  /// `key = [1, 2]` and `key = 1` in the text of `#stablehlo.gather<...>`.
  llvm::SmallVector<int64_t> listIn(llvm::StringRef attribute,
                                    llvm::StringRef key);
  /// `LT` of `LT` and of `#stablehlo<comparison_direction LT>`.
  llvm::StringRef word(llvm::ArrayRef<llvm::StringRef> names);
  bool isUnsigned() const; ///< of the first operand
  mlir::RankedTensorType resultType() const;
};

/// An operation's results; empty or with a null after a failure.
using Results = llvm::SmallVector<Value>;
using Handler = Results (*)(Call &);
using Table = llvm::StringMap<Handler>;

void addElementwise(Table &table);
void addShapes(Table &table);
void addContractions(Table &table);
void addReductions(Table &table);
void addIndexing(Table &table);

/// `type` with elements that have no sign; null if it is no tensor of numbers.
mlir::RankedTensorType signless(mlir::Type type);

/// All operations of a block but the last one.
inline auto bodyOf(mlir::Block &block) {
  return llvm::make_range(block.begin(),
                          block.empty() ? block.end() : std::prev(block.end()));
}

/// x with `count` copies of `fill` (rank 0) between neighbours, per axis.
Value interiorPad(OpsBuilder &b, Value x, llvm::ArrayRef<int64_t> counts,
                  Value fill);
/// `x` with its axes in another order; itself if the order is the same.
Value permute(OpsBuilder &b, Value x, llvm::ArrayRef<int64_t> order);

} // namespace hlo
} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_STABLEHLO_H
