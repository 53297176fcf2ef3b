//===- marver-opt.cpp - Runs passes on textual IR -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For tests and for those who extend the compiler: any pass under its name, any
// stage as --mv-stage-NAME.
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Pipeline.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"

int main(int argc, char **argv) {
  llvm::cl::AddExtraVersionPrinter(
      [](llvm::raw_ostream &out) { out << "marver-opt " MARVER_VERSION "\n"; });
  mlir::DialectRegistry registry;
  marver::registerDialects(registry);
  marver::registerPassesAndStages();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "marver's pass driver\n", registry));
}
