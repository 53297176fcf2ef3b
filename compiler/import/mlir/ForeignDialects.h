//===- ForeignDialects.h - Dialects that upstream lacks ---------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Models printed by torch-mlir and by IREE's exporters are in dialects that
// MLIR itself does not have. They are declared here without any operation: one
// parser reads the assembly forms of all of them into unregistered operations,
// and their types and attributes stay text (OpaqueType, OpaqueAttr), which
// TorchTypes.h reads. What an operation means is the business of those that
// walk the module.
//
// How the parts of a custom form are kept:
//
//   torch.aten.relu %0 : !A -> !B            operands, types
//   torch.constant.int 3                     attribute `value`
//   torch.vtensor.literal(dense<1.0> : ...)  attribute `value`
//   torch.operator "onnx.Relu"(%0) ...       attribute `name`
//   util.global private @x = dense<...>      attributes `sym_name`, `value`,
//                                            `type`, `is_mutable`
//   util.global.load @x : tensor<1xf32>      attribute `global`
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_FOREIGNDIALECTS_H
#define MARVER_COMPILER_IMPORT_MLIR_FOREIGNDIALECTS_H

#include "mlir/IR/Operation.h"

namespace marver {

/// Loads the dialects, so that files that use them parse.
void loadForeignDialects(mlir::MLIRContext *context);

/// Operations without registration keep what stands in `<{...}>`, and what they
/// have in bytecode, apart from their attributes: makes attributes of it. False
/// after errors were reported.
bool joinProperties(mlir::Operation *root);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_FOREIGNDIALECTS_H
