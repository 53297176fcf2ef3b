//===- IreeFlags.h - Command lines of iree-compile --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMPILE_IREEFLAGS_H
#define MARVER_TOOLS_COMPILE_IREEFLAGS_H

#include <string>
#include <vector>

namespace marver {

/// Replaces the flags of iree-compile by ours. What has no counterpart is left
/// out; a warning on standard error says so unless it would change nothing.
std::vector<std::string>
translateIreeFlags(const std::vector<std::string> &arguments);

} // namespace marver

#endif // MARVER_TOOLS_COMPILE_IREEFLAGS_H
