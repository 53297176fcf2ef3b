//===- OutputFile.h - Files that appear whole or not at all -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_OUTPUTFILE_H
#define MARVER_COMPILER_DRIVER_OUTPUTFILE_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <optional>
#include <string>

namespace marver {

/// A file that is written beside its place and renamed into it at the end; it
/// vanishes when that does not happen, by a signal too. `-` is standard output;
/// what is no regular file (a device, a pipe) is written directly.
class OutputFile {
public:
  static llvm::Expected<std::unique_ptr<OutputFile>>
  create(llvm::StringRef path);
  ~OutputFile();

  llvm::raw_pwrite_stream &stream() { return *out; }

  /// Whether all writes succeeded so far.
  bool isGood() {
    out->flush();
    return !out->has_error();
  }

  /// Puts the file in its place.
  llvm::Error commit();

private:
  explicit OutputFile(llvm::StringRef path) : path(path) {}

  std::string path;
  std::optional<llvm::sys::fs::TempFile> temporary;
  std::unique_ptr<llvm::raw_fd_ostream> out;
};

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_OUTPUTFILE_H
