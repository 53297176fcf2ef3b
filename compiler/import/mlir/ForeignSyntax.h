//===- ForeignSyntax.h - Parsing operations that upstream lacks -*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the parsers of foreign dialects have in common. Each reads one
// operation, the name of which was read, into a state without registration.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_FOREIGNSYNTAX_H
#define MARVER_COMPILER_IMPORT_MLIR_FOREIGNSYNTAX_H

#include "mlir/IR/OpImplementation.h"

namespace marver {

/// The parts of an operation in the order of its text.
struct Assembly {
  llvm::SmallVector<mlir::OpAsmParser::UnresolvedOperand> operands;
  /// How many of them came first; the rest stood in brackets, where torch-mlir
  /// puts sizes.
  std::optional<size_t> firstInBrackets;
  llvm::SmallVector<mlir::Type> types;
  /// After an arrow, or `to`.
  llvm::SmallVector<mlir::Type> resultTypes;
  bool hasTypes = false, hasResultTypes = false;
};

/// `: types -> types`, each part optional and with or without parentheses.
mlir::ParseResult parseTypes(mlir::OpAsmParser &parser, Assembly &parts);

/// Adds operands and results to `state`; the error says that the numbers of
/// types and values differ. `start`: where the operation's text starts.
mlir::ParseResult resolve(mlir::OpAsmParser &parser,
                          mlir::OperationState &state, const Assembly &parts,
                          llvm::SMLoc start);

/// The forms in which StableHLO and CHLO are printed:
///
///   stablehlo.add %0, %1 : T                  operands, types
///   stablehlo.transpose %0, dims = [1, 0]     attribute `dims`
///   stablehlo.dot_general %0, %1,             attributes `contracting_dims`
///     contracting_dims = [1] x [0]              and `contracting_dims.rhs`
///   stablehlo.convolution(%0, %1)             attributes `dim_numbers`,
///     dim_numbers = [b, f, 0]x[o, i, 0]->       `dim_numbers.rhs`,
///     [b, f, 0], window = {stride = [2]}        `dim_numbers.result` (b and o
///                                               are -1, f and i -2), `stride`
///   stablehlo.compare LT, %0, %1, FLOAT       attributes `word0`, `word1`
///   stablehlo.slice %0 [0:4:2, 1:5]           attributes `start_indices`,
///                                               `limit_indices`, `strides`
///   stablehlo.reduce(%0 init: %1) applies     attributes `applies`,
///     stablehlo.add across dimensions = [1]     `dimensions`
///   stablehlo.while(%a = %0) cond { } do { }  two regions with arguments
mlir::ParseResult parseStableHlo(mlir::OpAsmParser &parser,
                                 mlir::OperationState &state);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_FOREIGNSYNTAX_H
