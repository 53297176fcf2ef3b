//===- ModuleReader.cpp - Checks the bytes of a module --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ModuleReader.h"

#include "Blake2b.h"
#include "Cpu.h"
#include "Error.h"
#include "Memory.h"

#include <cinttypes>
#include <cstring>

using namespace marver;

static mv_status invalid(mv_error *error, const char *what) {
  return fail(error, MV_INVALID_MODULE, "damaged module: %s", what);
}

static bool allZero(const uint8_t *bytes, uint64_t size) {
  for (uint64_t i = 0; i < size; ++i)
    if (bytes[i] != 0)
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Header and section table
//===----------------------------------------------------------------------===//

static mv_status checkHeader(const mv_file_header &header, uint64_t fileLength,
                             mv_error *error) {
  if (header.format_version != MV_FORMAT_VERSION)
    return fail(error, MV_VERSION_MISMATCH,
                "the module has format version %u, this runtime (%s) reads "
                "version %u; compile the model again",
                header.format_version, mv_version(), MV_FORMAT_VERSION);
  if (header.abi_version != MV_ABI_VERSION)
    return fail(error, MV_VERSION_MISMATCH,
                "the module has ABI version %u, this runtime (%s) runs "
                "version %u; compile the model again",
                header.abi_version, mv_version(), MV_ABI_VERSION);
  if (!archName(header.arch))
    return invalid(error, "unknown architecture");
  if (header.section_count != MV_SECTION_COUNT)
    return invalid(error, "wrong number of sections");
  if (header.file_length != fileLength)
    return fail(error, MV_INVALID_MODULE,
                "damaged module: its header says %" PRIu64
                " bytes, the file has %" PRIu64 "%s",
                header.file_length, fileLength,
                fileLength < header.file_length ? " (truncated?)" : "");
  return MV_OK;
}

mv_status marver::readSections(const uint8_t *bytes, size_t size,
                               uint64_t fileLength, mv_error *error) {
  if (size == 0)
    return fail(error, MV_INVALID_MODULE, "not a marver module: it is empty");
  size_t magic = size < MV_FILE_MAGIC_SIZE ? size : MV_FILE_MAGIC_SIZE;
  if (memcmp(bytes, MV_FILE_MAGIC, magic) != 0)
    return fail(error, MV_INVALID_MODULE, "not a marver module");
  mv_file_header header;
  if (size < sizeof(header))
    return invalid(error, "it ends inside its header");
  memcpy(&header, bytes, sizeof(header));
  if (mv_status status = checkHeader(header, fileLength, error))
    return status;
  if (size < kSectionsEnd)
    return invalid(error, "it ends inside its section table");

  // The layout is canonical: each section starts where the one before ends.
  uint64_t end = kSectionsEnd;
  for (uint32_t kind = 0; kind < MV_SECTION_COUNT; ++kind) {
    mv_file_section section;
    memcpy(&section, bytes + sizeof(header) + kind * sizeof(section),
           sizeof(section));
    uint32_t alignment =
        kind <= MV_SECTION_SIGNATURE ? 8 : mv_page_alignment(header.arch);
    if (section.kind != kind || section.alignment != alignment)
      return invalid(error, "section table");
    // `end` is at most the file's length, which is that of a real file: the
    // sum cannot overflow.
    if (section.offset != alignTo(end, alignment) ||
        section.offset > fileLength ||
        section.size > fileLength - section.offset)
      return invalid(error, "a section is not in its place");
    end = section.offset + section.size;
  }
  if (end != fileLength)
    return invalid(error, "bytes after its last section");
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

namespace {

/// The tables being checked, and how many records each has.
class TableReader {
public:
  TableReader(const uint8_t *bytes, ModuleTables &tables, mv_error *error)
      : bytes(bytes), tables(tables), error(error) {}

  mv_status read();

private:
  template <typename T>
  bool locate(int kind, const T *&records, uint32_t &count);
  mv_status locateAll();
  mv_status checkIntegrity();
  mv_status checkInfo();
  mv_status checkEntries();
  mv_status checkInterfaces();
  mv_status checkTensor(const mv_file_tensor &tensor, uint32_t symbols,
                        bool isInput, uint32_t &firstDim);
  mv_status checkState(const mv_file_tensor &tensor, const mv_file_state &state,
                       uint32_t &firstDim);

  const mv_file_section &section(int kind) { return tables.sections[kind]; }

  const uint8_t *bytes;
  ModuleTables &tables;
  mv_error *error;
  uint32_t dimCount = 0, symbolCount = 0, aliasCount = 0, stateCount = 0;
};

} // namespace

template <typename T>
bool TableReader::locate(int kind, const T *&records, uint32_t &count) {
  uint64_t size = section(kind).size;
  if (size % sizeof(T) != 0 || size / sizeof(T) > MV_MAX_COUNT)
    return false;
  records = reinterpret_cast<const T *>(bytes + section(kind).offset);
  count = static_cast<uint32_t>(size / sizeof(T));
  return true;
}

mv_status TableReader::locateAll() {
  uint32_t infoCount, signatureCount;
  if (!locate(MV_SECTION_INFO, tables.info, infoCount) || infoCount != 1 ||
      !locate(MV_SECTION_ENTRIES, tables.entries, tables.entryCount) ||
      !locate(MV_SECTION_INTERFACES, tables.interfaces,
              tables.interfaceCount) ||
      !locate(MV_SECTION_TENSORS, tables.tensors, tables.tensorCount) ||
      !locate(MV_SECTION_DIMS, tables.dims, dimCount) ||
      !locate(MV_SECTION_SYMBOLS, tables.symbols, symbolCount) ||
      !locate(MV_SECTION_ALIASES, tables.aliases, aliasCount) ||
      !locate(MV_SECTION_STATES, tables.states, stateCount) ||
      !locate(MV_SECTION_SIGNATURE, tables.signature, signatureCount) ||
      signatureCount != 1)
    return invalid(error, "size of a table");

  constexpr uint64_t chunk = uint64_t(1) << MV_HASH_CHUNK_LOG2;
  uint64_t chunks = section(MV_SECTION_CONSTANTS).size / chunk +
                    (section(MV_SECTION_CONSTANTS).size % chunk != 0);
  if (section(MV_SECTION_CONSTANT_HASHES).size != chunks * MV_HASH_SIZE)
    return invalid(error, "number of hashes of the constants");
  tables.constantHashes = bytes + section(MV_SECTION_CONSTANT_HASHES).offset;
  return MV_OK;
}

mv_status TableReader::checkIntegrity() {
  const mv_file_header &header = *tables.header;
  Blake2b blake;
  blake.update(&header, offsetof(mv_file_header, root_hash));
  blake.update(bytes + sizeof(header),
               section(MV_SECTION_SIGNATURE).offset - sizeof(header));
  uint8_t digest[MV_HASH_SIZE];
  blake.final(digest);
  if (memcmp(digest, header.root_hash, sizeof(digest)) != 0)
    return invalid(error, "the hash of its header and tables does not match");

  const auto &signature = *reinterpret_cast<const mv_file_signature *>(
      bytes + section(MV_SECTION_SIGNATURE).offset);
  if (signature.algorithm > MV_SIGNATURE_ED25519 || signature.reserved != 0 ||
      (signature.algorithm == MV_SIGNATURE_NONE &&
       !allZero(reinterpret_cast<const uint8_t *>(&signature),
                sizeof(signature))))
    return invalid(error, "signing block");

  // Between the sections there is nothing.
  uint64_t end = kSectionsEnd;
  for (int kind = 0; kind <= MV_SECTION_CODE; ++kind) {
    if (!allZero(bytes + end, section(kind).offset - end))
      return invalid(error, "padding is not zero");
    end = section(kind).offset + section(kind).size;
  }
  return MV_OK;
}

mv_status TableReader::checkInfo() {
  const mv_file_info &info = *tables.info;
  if (info.text_bytes == 0 || info.text_bytes > section(MV_SECTION_CODE).size)
    return invalid(error, "size of its text");
  if (info.prepare_offset == MV_NO_FUNCTION
          ? info.prepared_bytes != 0 || info.prepare_scratch_bytes != 0
          : info.prepare_offset >= info.text_bytes)
    return invalid(error, "prepare function");
  if (info.kernel_count > MV_MAX_COUNT || info.place_count > MV_MAX_COUNT ||
      info.hash_chunk_log2 != MV_HASH_CHUNK_LOG2 || info.reserved != 0)
    return invalid(error, "info table");
  return MV_OK;
}

mv_status TableReader::checkEntries() {
  if (tables.entryCount == 0)
    return invalid(error, "no entry point");
  for (uint32_t i = 0; i < tables.entryCount; ++i) {
    const mv_file_entry &entry = tables.entries[i];
    if (i > 0 && tables.entries[i - 1].name_hash >= entry.name_hash)
      return invalid(error, "entry points are not in order");
    if (entry.shape_offset >= tables.info->text_bytes ||
        entry.run_offset >= tables.info->text_bytes ||
        entry.interface >= tables.interfaceCount || entry.reserved != 0)
      return invalid(error, "an entry point");
  }
  return MV_OK;
}

mv_status TableReader::checkTensor(const mv_file_tensor &tensor,
                                   uint32_t symbols, bool isInput,
                                   uint32_t &firstDim) {
  if (mv_dtype_size(tensor.dtype) == 0 || tensor.rank > MV_MAX_RANK ||
      tensor.reserved != 0 || tensor.rank > dimCount - firstDim)
    return invalid(error, "an input or output");
  for (int i = 0; i < tensor.rank; ++i) {
    int64_t dim = tables.dims[firstDim + static_cast<uint32_t>(i)];
    if ((dim == MV_DIM_DATA_DEPENDENT && isInput) ||
        (MV_DIM_IS_SYMBOL(dim) && -(dim + 3) >= int64_t(symbols)))
      return invalid(error, "a dim of an input or output");
  }
  firstDim += tensor.rank;
  return MV_OK;
}

/// A state has static dims, and its first value is inside the constants. That
/// those of one number agree is for those who share them to check.
mv_status TableReader::checkState(const mv_file_tensor &tensor,
                                  const mv_file_state &state,
                                  uint32_t &firstDim) {
  const int64_t *dims = tables.dims + firstDim;
  if (mv_status status =
          checkTensor(tensor, /*symbols=*/0, /*isInput=*/true, firstDim))
    return status;
  uint64_t bytes = mv_dtype_size(tensor.dtype);
  for (int i = 0; i < tensor.rank; ++i)
    if (dims[i] < 0 ||
        __builtin_mul_overflow(bytes, static_cast<uint64_t>(dims[i]), &bytes))
      return invalid(error, "dims of a state");
  uint64_t size = section(MV_SECTION_CONSTANTS).size;
  if (bytes > uint64_t(1) << 60 || state.reserved != 0 ||
      (state.initial != MV_NO_INITIAL &&
       (state.initial % MV_ALIGNMENT != 0 || state.initial > size ||
        bytes > size - state.initial)))
    return invalid(error, "a state");
  return MV_OK;
}

mv_status TableReader::checkInterfaces() {
  uint32_t tensor = 0, dim = 0, symbol = 0, alias = 0, state = 0;
  for (uint32_t i = 0; i < tables.interfaceCount; ++i) {
    const mv_file_interface &interface = tables.interfaces[i];
    // Compared with what is left: sums of hostile counts could overflow.
    uint32_t left = tables.tensorCount - tensor;
    if (interface.input_count > left ||
        interface.output_count > left - interface.input_count ||
        interface.symbol_count > symbolCount - symbol ||
        interface.alias_count > aliasCount - alias ||
        interface.state_count > stateCount - state ||
        interface.state_count >
            left - interface.input_count - interface.output_count ||
        interface.reserved != 0)
      return invalid(error, "an interface");
    for (uint32_t k = 0; k < interface.input_count + interface.output_count;
         ++k)
      if (mv_status status =
              checkTensor(tables.tensors[tensor++], interface.symbol_count,
                          /*isInput=*/k < interface.input_count, dim))
        return status;
    for (uint32_t k = 0; k < interface.state_count; ++k)
      if (mv_status status =
              checkState(tables.tensors[tensor++], tables.states[state++], dim))
        return status;
    for (uint32_t k = 0; k < interface.symbol_count; ++k, ++symbol)
      if (tables.symbols[symbol].min < 0 ||
          tables.symbols[symbol].max < tables.symbols[symbol].min)
        return invalid(error, "range of a symbol");
    for (uint32_t k = 0; k < interface.alias_count; ++k, ++alias)
      if (tables.aliases[alias].input >= interface.input_count ||
          tables.aliases[alias].output >= interface.output_count)
        return invalid(error, "an alias pair");
  }
  if (tensor != tables.tensorCount || dim != dimCount ||
      symbol != symbolCount || alias != aliasCount || state != stateCount)
    return invalid(error, "records that belong to no interface");
  return MV_OK;
}

mv_status TableReader::read() {
  tables = {};
  tables.header = reinterpret_cast<const mv_file_header *>(bytes);
  tables.sections =
      reinterpret_cast<const mv_file_section *>(bytes + sizeof(mv_file_header));
  if (mv_status status = locateAll())
    return status;
  if (mv_status status = checkIntegrity())
    return status;
  if (mv_status status = checkInfo())
    return status;
  if (mv_status status = checkEntries())
    return status;
  return checkInterfaces();
}

mv_status marver::readTables(const uint8_t *bytes, ModuleTables &tables,
                             mv_error *error) {
  return TableReader(bytes, tables, error).read();
}

bool marver::constantsMatch(const ModuleTables &tables, const uint8_t *data) {
  constexpr uint64_t chunk = uint64_t(1) << MV_HASH_CHUNK_LOG2;
  const uint8_t *expected = tables.constantHashes;
  uint64_t left = tables.sections[MV_SECTION_CONSTANTS].size;
  while (left > 0) {
    uint64_t part = left < chunk ? left : chunk;
    uint8_t digest[MV_HASH_SIZE];
    Blake2b::hash(data, part, digest);
    if (memcmp(digest, expected, sizeof(digest)) != 0)
      return false;
    expected += MV_HASH_SIZE;
    data += part;
    left -= part;
  }
  return true;
}
