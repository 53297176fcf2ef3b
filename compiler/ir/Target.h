//===- Target.h - What code is generated for --------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The target description that drives layout, schedules and emitters. Stages
// take it from here and from nowhere else; `compiler/native` fills it from
// --target-cpu.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IR_TARGET_H
#define MARVER_COMPILER_IR_TARGET_H

#include <cstdint>
#include <string>

namespace marver {

struct TargetInfo {
  std::string triple = "x86_64-unknown-linux-gnu";
  std::string cpu = "x86-64-v3"; ///< whose instructions are used
  std::string tuneCpu;           ///< whose timing the scheduler assumes
  std::string features;          ///< LLVM's feature string, e.g. "+avx512bf16"
  uint32_t arch = 1;             ///< MV_ARCH_*
  uint64_t cpuFeatures = 1;      ///< MV_X86_* / MV_ARM_* bits of the header
  int64_t lanes = 8;             ///< f32 values in a vector register
  int64_t vectorRegisters = 16;
  bool hasMaskedMemory = true; ///< masked vector loads and stores are fast
  int64_t l1Bytes = 32 << 10;  ///< data caches of one core
  int64_t l2Bytes = 512 << 10;
  int64_t l3Bytes = 8 << 20;
};

} // namespace marver

#endif // MARVER_COMPILER_IR_TARGET_H
