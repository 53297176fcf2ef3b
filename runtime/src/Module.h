//===- Module.h - A loaded module -------------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_MODULE_H
#define MARVER_RUNTIME_MODULE_H

#include "Memory.h"
#include "ModuleReader.h"

#include "marver/marver.h"

#include <atomic>

struct mv_module {
  std::atomic<uint32_t> references;
  /// Everything in front of the code, and what was checked in it.
  uint8_t *front;
  marver::ModuleTables tables;
  /// One signature per interface; its tensor types are in `types`.
  mv_signature *signatures;
  mv_tensor_type *types;
  /// Read-execute pages.
  uint8_t *code;
  size_t codeBytes;
  const uint8_t *constants;
  /// Where the constants are if not in the caller's memory: a mapping of the
  /// file, or a copy.
  void *mapping;
  size_t mappedBytes;
  marver::Block constantsCopy;
  marver::Block prepared;
  /// The whole module, where it came from a pipe.
  marver::Block file;
  mv_module_info info;
};

namespace marver {

/// Entry point of that name, or NULL.
const mv_file_entry *findEntry(const mv_module *module, const char *name);

void retain(mv_module *module);

} // namespace marver

#endif // MARVER_RUNTIME_MODULE_H
