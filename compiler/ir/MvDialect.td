//===- MvDialect.td - The mv dialect -----------------------*- tablegen -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_IR_MVDIALECT_TD
#define MARVER_IR_MVDIALECT_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Mv_Dialect : Dialect {
  let name = "mv";
  let cppNamespace = "::marver::mv";
  let summary = "Structured tensor operations, kernels and launches of marver";
  let description = [{
    What upstream lacks or what deserves a kernel family of its own. All else is
    linalg, tensor, arith, math and scf.

    Attributes of functions and their arguments:
    `mv.entry` (unit, on a func.func that is an entry point), `mv.symbols`,
    `mv.name`, `mv.dims`, `mv.unsigned`, `mv.alias` (on an argument: the number
    of the result that may share its memory). docs/architecture.md says more.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::tensor::TensorDialect"
  ];
}

def Mv_PoolKind : I32EnumAttr<"PoolKind", "what a pool computes of a window", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Average", 1, "average">
]> { let cppNamespace = "::marver::mv"; }

def Mv_ResizeMode : I32EnumAttr<"ResizeMode", "interpolation of a resize", [
  I32EnumAttrCase<"Nearest", 0, "nearest">,
  I32EnumAttrCase<"Linear", 1, "linear">,
  I32EnumAttrCase<"Cubic", 2, "cubic">
]> { let cppNamespace = "::marver::mv"; }

def Mv_ArgKind : I32EnumAttr<"ArgKind", "which extremum an arg_reduce finds", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Min", 1, "min">
]> { let cppNamespace = "::marver::mv"; }

def Mv_ScatterKind : I32EnumAttr<"ScatterKind", "how a scatter combines", [
  I32EnumAttrCase<"Replace", 0, "replace">,
  I32EnumAttrCase<"Add", 1, "add">,
  I32EnumAttrCase<"Mul", 2, "mul">,
  I32EnumAttrCase<"Max", 3, "max">,
  I32EnumAttrCase<"Min", 4, "min">
]> { let cppNamespace = "::marver::mv"; }

def Mv_BufferSpace : I32EnumAttr<"BufferSpace", "where a buffer lives", [
  I32EnumAttrCase<"Arena", 0, "arena">,
  I32EnumAttrCase<"Constant", 1, "constant">,
  I32EnumAttrCase<"Prepared", 2, "prepared">,
  I32EnumAttrCase<"Input", 3, "input">,
  I32EnumAttrCase<"Output", 4, "output">,
  I32EnumAttrCase<"Grown", 5, "grown">
]> { let cppNamespace = "::marver::mv"; }

#endif // MARVER_IR_MVDIALECT_TD
