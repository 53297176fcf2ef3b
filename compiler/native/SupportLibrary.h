//===- SupportLibrary.h - Functions that code generation calls --*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// LLVM leaves calls for what the target lacks (memcpy, fmod, conversions of
// half floats, 128-bit division, ...). native/support holds these functions as
// freestanding C, compiled to bitcode when the compiler is built. An image gets
// those that it calls, compiled for its own target.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_SUPPORTLIBRARY_H
#define MARVER_COMPILER_NATIVE_SUPPORTLIBRARY_H

#include "compiler/native/Codegen.h"
#include "llvm/Support/Error.h"

namespace marver {

/// Whether the support library has a function called `name`.
bool isSupportFunction(llvm::StringRef name);

/// An object with the functions called `names` and all that they need.
llvm::Expected<NativeObject>
compileSupportFunctions(llvm::ArrayRef<std::string> names,
                        const CodegenOptions &options);

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_SUPPORTLIBRARY_H
