//===- Error.h - Filling an mv_error ----------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_ERROR_H
#define MARVER_RUNTIME_ERROR_H

#include "marver/marver.h"

namespace marver {

/// Writes status and message (in printf's words) to `error` if there is one;
/// returns `status`, so that a failure reads `return fail(error, ...)`.
__attribute__((format(printf, 3, 4))) mv_status fail(mv_error *error,
                                                     mv_status status,
                                                     const char *format, ...);

} // namespace marver

#endif // MARVER_RUNTIME_ERROR_H
