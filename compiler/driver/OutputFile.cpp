//===- OutputFile.cpp - Files that appear whole or not at all -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/OutputFile.h"

#include <unistd.h>

using namespace llvm;

namespace marver {

static Error fileError(StringRef path, std::error_code code) {
  return createStringError(code, path + ": " + code.message());
}

Expected<std::unique_ptr<OutputFile>> OutputFile::create(StringRef path) {
  std::unique_ptr<OutputFile> file(new OutputFile(path));
  if (path == "-") {
    file->out =
        std::make_unique<raw_fd_ostream>(STDOUT_FILENO, /*shouldClose=*/false);
    return file;
  }
  sys::fs::file_status status;
  if (!sys::fs::status(path, status) && sys::fs::exists(status) &&
      !sys::fs::is_regular_file(status)) {
    if (sys::fs::is_directory(status))
      return fileError(path, std::make_error_code(std::errc::is_a_directory));
    std::error_code code;
    file->out = std::make_unique<raw_fd_ostream>(path, code);
    if (code)
      return fileError(path, code);
    return file;
  }
  auto temporary = sys::fs::TempFile::create(path + ".%%%%%%%%");
  if (!temporary)
    return fileError(path, errorToErrorCode(temporary.takeError()));
  file->temporary.emplace(std::move(*temporary));
  file->out = std::make_unique<raw_fd_ostream>(file->temporary->FD,
                                               /*shouldClose=*/false);
  return file;
}

OutputFile::~OutputFile() {
  // What went wrong was reported by whoever wrote.
  if (out)
    out->clear_error();
  if (temporary)
    consumeError(temporary->discard());
}

Error OutputFile::commit() {
  out->flush();
  if (out->has_error())
    return fileError(path, out->error());
  out.reset();
  if (!temporary)
    return Error::success();
  Error error = temporary->keep(path);
  temporary.reset();
  if (error)
    return fileError(path, errorToErrorCode(std::move(error)));
  return Error::success();
}

} // namespace marver
