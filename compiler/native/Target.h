//===- Target.h - From --target-cpu to a target description -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_TARGET_H
#define MARVER_COMPILER_NATIVE_TARGET_H

#include "compiler/ir/Target.h"
#include "llvm/ADT/StringRef.h"
#include <memory>
#include <optional>
#include <string>

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace marver {

/// Describes the CPU called `name`: `host`, one of LLVM's names of x86-64 and
/// AArch64 CPUs, a level such as `x86-64-v3`, or `aarch64` (Armv8-A). Returns
/// nullopt with `error` where the name is unknown (the message lists the known
/// ones) or the CPU is below the baseline.
///
/// Code for a target uses only instructions that `cpuFeatures` declares: the
/// level plus the extensions that abi.h has a bit for. The CPU's name decides
/// scheduling (`tuneCpu`) and cache sizes.
std::optional<TargetInfo> selectTarget(llvm::StringRef name,
                                       std::string &error);

/// LLVM's code generator for `target`, for position-independent code.
std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const TargetInfo &target, bool optimize = true);

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_TARGET_H
