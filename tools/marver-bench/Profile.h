//===- Profile.h - Time by kernel -------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_MARVERBENCH_PROFILE_H
#define MARVER_TOOLS_MARVERBENCH_PROFILE_H

#include "tools/common/Program.h"

#include <cstdio>

namespace marver {

/// Runs the session for about `seconds` and prints a row per kernel to `file`,
/// the most expensive first. False, with a message, if a run fails.
bool printProfile(const LoadedModule &loaded, mv_session *session, int threads,
                  double seconds, FILE *file);

} // namespace marver

#endif // MARVER_TOOLS_MARVERBENCH_PROFILE_H
