//===- Code.h - Code that only computes -------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_AUDIT_CODE_H
#define MARVER_TOOLS_AUDIT_CODE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace marver::audit {

/// Disassembles `text` for `arch` (MV_ARCH_*) from front to back and calls
/// `found(offset, size, what)` for bytes that are no instruction, instructions
/// that have no place in a kernel (system calls, input and output, segments)
/// and branches to the middle of one. `entries` are offsets where instructions
/// must start. Text that is hidden between instructions shows as one of these:
/// most letters are.
llvm::Error
checkCode(uint16_t arch, llvm::ArrayRef<uint8_t> text,
          llvm::ArrayRef<uint64_t> entries,
          llvm::function_ref<void(size_t, size_t, std::string)> found);

} // namespace marver::audit

#endif // MARVER_TOOLS_AUDIT_CODE_H
