//===- Audit.h - What a module says about itself ----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_AUDIT_AUDIT_H
#define MARVER_TOOLS_AUDIT_AUDIT_H

#include "Vocabulary.h"
#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <string>
#include <vector>

namespace marver::audit {

/// Something in a module that should not be there.
struct Finding {
  uint64_t offset; ///< in the file
  uint64_t size;
  std::string section;
  std::string what;
};

struct Report {
  std::vector<Finding> findings;
  struct Part {
    std::string name;
    uint64_t offset, size;
  };
  std::vector<Part> parts;  ///< every byte of the file is in one
  size_t wordsSearched = 0; ///< of the source's vocabulary
  size_t wordsLeftOut = 0;  ///< because chance would produce them
};

/// Looks at the module in `bytes`. `vocabulary` is that of its source, if any.
Report auditModule(llvm::ArrayRef<uint8_t> bytes, const Words &vocabulary);

} // namespace marver::audit

#endif // MARVER_TOOLS_AUDIT_AUDIT_H
