//===- TorchProgram.h - Functions of torch-mlir's dialect -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// torch-mlir's dialect is the graph of torch.export in another notation. So a
// function of it is turned back into a torch::Program, which the importer of
// .pt2 files builds: one table of operators for both.
//
//   %1 = torch.aten.add.Tensor %0, %w, %int1     aten.add.Tensor(self=v0,
//                                                  other=w, alpha=1)
//   torch.constant.*, prim.ListConstruct         arguments
//   torch.vtensor.literal, util.global.load      weights
//   torch.aten.mul.int, aten.size.int, ...       expressions of symbols
//   torch.symbolic_int, bind_symbolic_shape      symbols, sizes
//   casts and copies                             other names of a value
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_MLIR_TORCHPROGRAM_H
#define MARVER_COMPILER_IMPORT_MLIR_TORCHPROGRAM_H

#include "compiler/import/Parameters.h"
#include "compiler/import/mlir/Resources.h"
#include "compiler/import/torch/Weights.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace marver {

/// Constants of the module by the names that the program has for them.
class TorchWeights : public torch::WeightSource {
public:
  TorchWeights(Resources &resources, const ParameterFiles &parameters)
      : resources(resources), parameters(parameters) {}

  llvm::Expected<mlir::ElementsAttr> get(const torch::InputSpec &spec) override;

  /// Gives `name` the constant `value` of the module: elements, or
  /// #flow.parameter.named<"scope"::"key">. The error is that `get` would give,
  /// as far as it is known without decoding.
  llvm::Error add(llvm::StringRef name, mlir::Attribute value);

private:
  Resources &resources;
  const ParameterFiles &parameters;
  /// Constants of the module, and those that are from other files.
  llvm::StringMap<mlir::ElementsAttr> constants, external;
};

/// Reads `function`; null after errors were reported, all that were found.
std::unique_ptr<torch::Program> readTorchProgram(mlir::func::FuncOp function,
                                                 TorchWeights &weights);

/// The names of an ATen operator's arguments, separated by blanks; nullopt if
/// `target` (aten.add.Tensor) is none that is known.
std::optional<llvm::StringRef> torchArgumentNames(llvm::StringRef target);

} // namespace marver

#endif // MARVER_COMPILER_IMPORT_MLIR_TORCHPROGRAM_H
