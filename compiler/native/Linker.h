//===- Linker.h - One flat image from many objects --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_LINKER_H
#define MARVER_COMPILER_NATIVE_LINKER_H

#include "compiler/native/Codegen.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <vector>

namespace marver {

/// Position-independent code as a module holds it: text from 0 to `textBytes`,
/// then read-only tables. It may be mapped at any page.
struct NativeImage {
  std::vector<uint8_t> bytes;
  uint64_t textBytes = 0;
  llvm::StringMap<uint64_t> symbols; ///< offset of each function
};

/// Links `objects`, and what they need of the support library, in this process.
/// An error is a bug of the compiler: something that the support library lacks
/// (the message names it and who needs it), or an object with data, relocations
/// or constructors.
llvm::Expected<NativeImage> linkImage(llvm::ArrayRef<NativeObject> objects,
                                      const CodegenOptions &options);

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_LINKER_H
