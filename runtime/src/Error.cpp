//===- Error.cpp - Statuses, versions, element types ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"

#include <cstdarg>
#include <cstdio>

mv_status marver::fail(mv_error *error, mv_status status, const char *format,
                       ...) {
  if (!error)
    return status;
  error->status = status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->message, sizeof(error->message), format, arguments);
  va_end(arguments);
  return status;
}

const char *mv_status_text(mv_status status) {
  static const char *const texts[] = {
      "success",
      "invalid argument",
      "file cannot be read",
      "not a valid module",
      "version mismatch",
      "CPU not supported",
      "invalid signature",
      "out of memory",
      "no such entry point",
      "shape mismatch",
      "buffer too small",
      "buffers overlap",
      "buffer misaligned",
      "not ready",
      "run failed",
      "cancelled",
  };
  static_assert(sizeof(texts) / sizeof(*texts) == MV_CANCELLED + 1,
                "one text per status");
  if (status < 0 || status > MV_CANCELLED)
    return "unknown status";
  return texts[status];
}

const char *mv_version(void) { return MARVER_VERSION; }
int mv_format_version(void) { return MV_FORMAT_VERSION; }
int mv_abi_version(void) { return MV_ABI_VERSION; }

namespace {
struct Dtype {
  const char *name;
  size_t size;
};
} // namespace

/// By MV_DTYPE_*.
static const Dtype dtypes[] = {
    {nullptr, 0}, {"i1", 1},   {"i8", 1},  {"i16", 2}, {"i32", 4},
    {"i64", 8},   {"u8", 1},   {"u16", 2}, {"u32", 4}, {"u64", 8},
    {"f16", 2},   {"bf16", 2}, {"f32", 4}, {"f64", 8}};

static const Dtype &dtypeOf(int dtype) {
  return dtypes[dtype >= MV_DTYPE_I1 && dtype <= MV_DTYPE_F64 ? dtype : 0];
}

size_t mv_dtype_size(int dtype) { return dtypeOf(dtype).size; }
const char *mv_dtype_name(int dtype) { return dtypeOf(dtype).name; }
