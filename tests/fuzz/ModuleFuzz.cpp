//===- ModuleFuzz.cpp -----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The bytes are edits (Edits.h) of a valid module, whose root hash is then made
// to match: so that fuzzing reaches what lies behind the hash.
//
//===----------------------------------------------------------------------===//

#include "compiler/package/ModuleWriter.h"
#include "runtime/src/Blake2b.h"
#include "runtime/src/ModuleReader.h"
#include "tests/fuzz/Edits.h"

#include <cstdlib>
#include <cstring>

using namespace marver;

static std::vector<uint8_t> validModule() {
  ModuleContents contents;
  contents.arch = MV_ARCH_X86_64;
  contents.code.assign(256, 0xc3);
  contents.textBytes = 128;
  contents.constantsSize = 128;
  contents.kernelCount = 3;
  Interface interface;
  interface.symbols = {{1, 8}, {0, INT64_MAX}};
  interface.inputs = {{MV_DTYPE_F32, {1, MV_DIM_SYMBOL(0), MV_DIM_SYMBOL(1)}},
                      {MV_DTYPE_I64, {}}};
  interface.outputs = {{MV_DTYPE_F32, {MV_DIM_DATA_DEPENDENT}},
                       {MV_DTYPE_F32, {1, MV_DIM_SYMBOL(0)}}};
  interface.mayAlias = {{0, 1}};
  interface.states = {{{MV_DTYPE_F32, {4, 8}}, 0, 0}, {{MV_DTYPE_I64, {}}, 1}};
  contents.entries = {{"main", 0, 16, 64, interface},
                      {"step", 32, 48, 64, interface}};
  std::vector<uint8_t> bytes;
  BuildId buildId;
  std::string error;
  if (!writeModule(contents, bytes, buildId, error))
    abort();
  return bytes;
}

/// Sums up everything that the tables point to, so that the sanitizers see it.
static uint64_t visit(const ModuleTables &tables) {
  uint64_t sum = 0;
  const mv_file_tensor *tensor = tables.tensors;
  const int64_t *dim = tables.dims;
  const mv_file_symbol *symbol = tables.symbols;
  const mv_file_alias *alias = tables.aliases;
  const mv_file_state *state = tables.states;
  for (uint32_t i = 0; i < tables.interfaceCount; ++i) {
    const mv_file_interface &interface = tables.interfaces[i];
    for (uint32_t k = 0; k < interface.input_count + interface.output_count;
         ++k, ++tensor)
      for (int d = 0; d < tensor->rank; ++d, ++dim)
        if (MV_DIM_IS_SYMBOL(*dim))
          sum += static_cast<uint64_t>(symbol[MV_DIM_SYMBOL_NUMBER(*dim)].max);
    symbol += interface.symbol_count;
    for (uint32_t k = 0; k < interface.alias_count; ++k, ++alias)
      if (alias->input >= interface.input_count ||
          alias->output >= interface.output_count)
        abort();
    for (uint32_t k = 0; k < interface.state_count; ++k, ++state, ++tensor) {
      int64_t elements = 1;
      for (int d = 0; d < tensor->rank; ++d, ++dim)
        elements *= *dim;
      if (elements < 0 || (state->initial != MV_NO_INITIAL &&
                           state->initial > uint64_t(1) << 40))
        abort();
      sum += state->number;
    }
  }
  for (uint32_t i = 0; i < tables.entryCount; ++i)
    if (tables.entries[i].run_offset >= tables.info->text_bytes ||
        tables.entries[i].shape_offset >= tables.info->text_bytes ||
        tables.entries[i].interface >= tables.interfaceCount)
      abort();
  return sum;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<uint8_t> valid = validModule();
  std::vector<uint8_t> bytes = valid;
  size_t tablesEnd =
      reinterpret_cast<const mv_file_section *>(
          valid.data() + sizeof(mv_file_header))[MV_SECTION_SIGNATURE]
          .offset +
      sizeof(mv_file_signature);
  applyEdits(bytes, tablesEnd, data, size);
  mv_error error = {};
  mv_status status =
      readSections(bytes.data(), bytes.size(), bytes.size(), &error);
  if (status != MV_OK) {
    if (error.message[0] == '\0')
      abort();
    return 0;
  }
  auto *sections = reinterpret_cast<const mv_file_section *>(
      bytes.data() + sizeof(mv_file_header));
  auto *header = reinterpret_cast<mv_file_header *>(bytes.data());
  Blake2b blake;
  blake.update(header, offsetof(mv_file_header, root_hash));
  blake.update(bytes.data() + sizeof(*header),
               sections[MV_SECTION_SIGNATURE].offset - sizeof(*header));
  blake.final(header->root_hash);
  // Only what a loader reads by then: up to the code.
  size_t front = sections[MV_SECTION_CODE].offset;
  auto *copy = static_cast<uint8_t *>(malloc(front));
  memcpy(copy, bytes.data(), front);
  ModuleTables tables;
  if (readTables(copy, tables, &error) == MV_OK) {
    volatile uint64_t sink = visit(tables);
    (void)sink;
  } else if (error.message[0] == '\0') {
    abort();
  }
  free(copy);
  return 0;
}
