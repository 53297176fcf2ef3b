//===- Locations.h - Places in the user's model -----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_LOCATIONS_H
#define MARVER_COMPILER_DRIVER_LOCATIONS_H

#include "mlir/IR/Location.h"
#include <string>

namespace marver {

/// A location in the words of the model's owner.
struct SourcePlace {
  std::string file; ///< `model.onnx` or `net.py:12:4`
  std::string name; ///< of the operator, where the model names it
};

/// What `location` knows. Of operators that were fused: the file of the first
/// one, and all names, separated by ` + `.
SourcePlace describeLocation(mlir::Location location);

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_LOCATIONS_H
