//===- TestModule.h - A module made without the compiler --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_RUNTIME_TESTMODULE_H
#define MARVER_TESTS_UNIT_RUNTIME_TESTMODULE_H

#include "compiler/package/ModuleWriter.h"
#include "compiler/package/SidecarWriter.h"

#include <string>
#include <vector>

namespace marver {

/// The entry points of image.c, from its flat image at `imagePath`.
ModuleContents testContents(const std::string &imagePath);

/// What a sidecar says of them.
SidecarContents testDescriptions();

/// The constants in testContents(): 8 floats, and then enough to fill more than
/// one chunk of hashes.
std::vector<float> testConstants();

} // namespace marver

#endif // MARVER_TESTS_UNIT_RUNTIME_TESTMODULE_H
