//===- ModuleReader.h - Checks the bytes of a module ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Turns bytes that may be hostile into tables that can be used without further
// checks. Never looks at code or constants: their hashes are in the tables, and
// who maps them compares.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_MODULEREADER_H
#define MARVER_RUNTIME_MODULEREADER_H

#include "marver/format.h"
#include "marver/marver.h"

namespace marver {

/// Bytes of header and section table: what readSections() wants.
inline constexpr size_t kSectionsEnd =
    sizeof(mv_file_header) + MV_SECTION_COUNT * sizeof(mv_file_section);

/// The checked tables; they point into the bytes that were read.
struct ModuleTables {
  const mv_file_header *header;
  const mv_file_section *sections;
  const mv_file_info *info;
  const mv_file_entry *entries;
  const mv_file_interface *interfaces;
  const mv_file_tensor *tensors;
  const int64_t *dims;
  const mv_file_symbol *symbols;
  const mv_file_alias *aliases;
  const mv_file_state *states;
  const uint8_t *constantHashes;
  const mv_file_signature *signature;
  uint32_t entryCount;
  uint32_t interfaceCount;
  uint32_t tensorCount;
};

/// First step: checks header and section table, `size` bytes of which are at
/// `bytes` (fewer than kSectionsEnd: the file ends there), against the length
/// of the file.
mv_status readSections(const uint8_t *bytes, size_t size, uint64_t fileLength,
                       mv_error *error);

/// Second step: checks everything in front of the code, which is at `bytes`
/// aligned to 8 and went through readSections().
mv_status readTables(const uint8_t *bytes, ModuleTables &tables,
                     mv_error *error);

/// Whether the constants, all of which are at `data`, have their hashes.
bool constantsMatch(const ModuleTables &tables, const uint8_t *data);

} // namespace marver

#endif // MARVER_RUNTIME_MODULEREADER_H
