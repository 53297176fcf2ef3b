//===- Cpu.h - What the CPU can do ------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_CPU_H
#define MARVER_RUNTIME_CPU_H

#include <cstddef>
#include <cstdint>

namespace marver {

/// MV_ARCH_* of this machine.
uint16_t hostArch();
/// "x86-64", "aarch64", or NULL for an unknown MV_ARCH_*.
const char *archName(uint16_t arch);

/// Features (MV_X86_* or MV_ARM_*) of this CPU that the system lets be used.
/// Those that a process must ask for (AMX) are only there if in `asked`.
uint64_t hostCpuFeatures(uint64_t asked);

/// Writes the names of `features` of `arch`, separated by ", ", to `text`.
void describeCpuFeatures(uint16_t arch, uint64_t features, char *text,
                         size_t size);

/// Floating-point control (rounding, denormals) of the calling thread.
uint64_t floatControl();
void setFloatControl(uint64_t control);

} // namespace marver

#endif // MARVER_RUNTIME_CPU_H
