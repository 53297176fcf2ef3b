//===- ModuleWriter.cpp - Writes the bytes of a module --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/package/ModuleWriter.h"

#include "runtime/src/Blake2b.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

using namespace marver;

namespace {

/// The tables between the section table and the code, as bytes.
struct Tables {
  std::vector<uint8_t> sections[MV_SECTION_SIGNATURE + 1];

  template <typename T> void append(int section, const T &record) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto *bytes = reinterpret_cast<const uint8_t *>(&record);
    sections[section].insert(sections[section].end(), bytes, bytes + sizeof(T));
  }
};

} // namespace

static uint64_t alignTo(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// Calls `take(data, size)` on the bytes of the constants section in order,
/// zeros between its parts included. False as soon as `take` is.
template <typename Take>
static bool walkConstants(const ModuleContents &contents, Take take) {
  static const std::vector<uint8_t> zeros(size_t(1) << 16);
  uint64_t position = 0;
  auto fill = [&](uint64_t end) {
    while (position < end) {
      uint64_t part = std::min<uint64_t>(zeros.size(), end - position);
      if (!take(zeros.data(), part))
        return false;
      position += part;
    }
    return true;
  };
  for (const ConstantPart &part : contents.constants) {
    if (!fill(part.offset) || !take(part.data, part.size))
      return false;
    position = part.offset + part.size;
  }
  return fill(contents.constantsSize);
}

static bool checkDims(const Interface &interface, const TensorSpec &tensor,
                      bool isInput) {
  if (tensor.dtype < MV_DTYPE_I1 || tensor.dtype > MV_DTYPE_F64 ||
      tensor.dims.size() > MV_MAX_RANK)
    return false;
  for (int64_t dim : tensor.dims) {
    if (dim == MV_DIM_DATA_DEPENDENT && isInput)
      return false;
    if (MV_DIM_IS_SYMBOL(dim) &&
        MV_DIM_SYMBOL_NUMBER(dim) >=
            static_cast<int64_t>(interface.symbols.size()))
      return false;
  }
  return true;
}

/// What a caller may have got wrong; the loader would refuse it as well, but
/// less helpfully.
static bool check(const ModuleContents &contents, std::string &error) {
  auto fail = [&](const std::string &reason) {
    error = "invalid module contents: " + reason;
    return false;
  };
  if (contents.arch != MV_ARCH_X86_64 && contents.arch != MV_ARCH_AARCH64)
    return fail("unknown architecture");
  if (contents.entries.empty())
    return fail("no entry point");
  if (contents.textBytes == 0 || contents.textBytes > contents.code.size())
    return fail("text is not inside the code");
  auto isFunction = [&](uint64_t offset) {
    return offset < contents.textBytes;
  };
  if (contents.prepareOffset == MV_NO_FUNCTION
          ? contents.preparedBytes != 0 || contents.prepareScratchBytes != 0
          : !isFunction(contents.prepareOffset))
    return fail("prepare function");
  uint64_t end = 0;
  for (const ConstantPart &part : contents.constants) {
    if (part.offset % MV_ALIGNMENT != 0)
      return fail("a constant is not aligned");
    if (part.offset < end || part.size > contents.constantsSize ||
        part.offset > contents.constantsSize - part.size)
      return fail("constants overlap or leave their section");
    end = part.offset + part.size;
  }
  for (const EntryPoint &entry : contents.entries) {
    if (!isFunction(entry.shapeOffset) || !isFunction(entry.runOffset))
      return fail("entry point '" + entry.name + "' is not inside the text");
    const Interface &interface = entry.interface;
    for (auto [min, max] : interface.symbols)
      if (min < 0 || max < min)
        return fail("range of a symbol of '" + entry.name + "'");
    for (const TensorSpec &input : interface.inputs)
      if (!checkDims(interface, input, /*isInput=*/true))
        return fail("an input of '" + entry.name + "'");
    for (const TensorSpec &output : interface.outputs)
      if (!checkDims(interface, output, /*isInput=*/false))
        return fail("an output of '" + entry.name + "'");
    for (auto [input, output] : interface.mayAlias)
      if (input >= interface.inputs.size() ||
          output >= interface.outputs.size())
        return fail("an alias pair of '" + entry.name + "'");
    for (const StateSpec &state : interface.states)
      if (!checkDims(interface, state.type, /*isInput=*/true) ||
          std::any_of(state.type.dims.begin(), state.type.dims.end(),
                      [](int64_t dim) { return dim < 0; }) ||
          (state.initial != MV_NO_INITIAL &&
           (state.initial % MV_ALIGNMENT != 0 ||
            state.initial > contents.constantsSize)))
        return fail("a state of '" + entry.name + "'");
  }
  return true;
}

static void appendTensor(Tables &tables, const TensorSpec &tensor) {
  tables.append(MV_SECTION_TENSORS,
                mv_file_tensor{tensor.dtype,
                               static_cast<uint8_t>(tensor.dims.size()), 0});
  for (int64_t dim : tensor.dims)
    tables.append(MV_SECTION_DIMS, dim);
}

static void appendInterface(Tables &tables, const Interface &interface) {
  tables.append(
      MV_SECTION_INTERFACES,
      mv_file_interface{static_cast<uint32_t>(interface.inputs.size()),
                        static_cast<uint32_t>(interface.outputs.size()),
                        static_cast<uint32_t>(interface.symbols.size()),
                        static_cast<uint32_t>(interface.mayAlias.size()),
                        static_cast<uint32_t>(interface.states.size()), 0});
  for (const TensorSpec &input : interface.inputs)
    appendTensor(tables, input);
  for (const TensorSpec &output : interface.outputs)
    appendTensor(tables, output);
  for (const StateSpec &state : interface.states) {
    appendTensor(tables, state.type);
    tables.append(MV_SECTION_STATES,
                  mv_file_state{state.initial, state.number, 0});
  }
  for (auto [min, max] : interface.symbols)
    tables.append(MV_SECTION_SYMBOLS, mv_file_symbol{min, max});
  for (auto [input, output] : interface.mayAlias)
    tables.append(MV_SECTION_ALIASES, mv_file_alias{input, output});
}

/// Entries in ascending order of their names' hashes; interfaces follow their
/// entries.
static bool appendEntries(Tables &tables, const ModuleContents &contents,
                          std::string &error) {
  std::vector<std::pair<uint64_t, const EntryPoint *>> entries;
  entries.reserve(contents.entries.size());
  for (const EntryPoint &entry : contents.entries)
    entries.push_back(
        {mv_name_hash(entry.name.data(), entry.name.size()), &entry});
  std::sort(entries.begin(), entries.end(),
            [](const auto &a, const auto &b) { return a.first < b.first; });
  for (size_t i = 1; i < entries.size(); ++i)
    if (entries[i - 1].first == entries[i].first) {
      error = "entry points '" + entries[i - 1].second->name + "' and '" +
              entries[i].second->name +
              "' have the same name or hash; rename one";
      return false;
    }
  uint32_t index = 0;
  for (auto &[hash, entry] : entries) {
    tables.append(MV_SECTION_ENTRIES,
                  mv_file_entry{hash, entry->shapeOffset, entry->runOffset,
                                entry->scratchBytes, index++, 0});
    appendInterface(tables, entry->interface);
  }
  return true;
}

static void appendConstantHashes(Tables &tables,
                                 const ModuleContents &contents) {
  constexpr uint64_t chunk = uint64_t(1) << MV_HASH_CHUNK_LOG2;
  Blake2b blake;
  uint64_t inChunk = 0;
  auto finish = [&] {
    std::array<uint8_t, MV_HASH_SIZE> digest;
    blake.final(digest.data());
    tables.append(MV_SECTION_CONSTANT_HASHES, digest);
    blake = Blake2b();
    inChunk = 0;
  };
  walkConstants(contents, [&](const uint8_t *data, uint64_t size) {
    while (size > 0) {
      uint64_t part = std::min(size, chunk - inChunk);
      blake.update(data, part);
      data += part;
      size -= part;
      inChunk += part;
      if (inChunk == chunk)
        finish();
    }
    return true;
  });
  if (inChunk > 0)
    finish();
}

bool marver::writeModule(const ModuleContents &contents, const ModuleSink &sink,
                         BuildId &buildId, std::string &error) {
  if (!check(contents, error))
    return false;

  Tables tables;
  mv_file_info info = {};
  info.text_bytes = contents.textBytes;
  info.prepare_offset = contents.prepareOffset;
  info.prepared_bytes = contents.preparedBytes;
  info.prepare_scratch_bytes = contents.prepareScratchBytes;
  info.kernel_count = contents.kernelCount;
  info.place_count = contents.placeCount;
  info.hash_chunk_log2 = MV_HASH_CHUNK_LOG2;
  Blake2b::hash(contents.code.data(), contents.code.size(), info.code_hash);
  tables.append(MV_SECTION_INFO, info);
  if (!appendEntries(tables, contents, error))
    return false;
  appendConstantHashes(tables, contents);
  tables.append(MV_SECTION_SIGNATURE, mv_file_signature{});

  // Lay the sections out one after the other.
  mv_file_section sections[MV_SECTION_COUNT] = {};
  uint64_t end = sizeof(mv_file_header) + sizeof(sections);
  for (uint32_t kind = 0; kind < MV_SECTION_COUNT; ++kind) {
    mv_file_section &section = sections[kind];
    section.kind = kind;
    section.alignment =
        kind <= MV_SECTION_SIGNATURE ? 8 : mv_page_alignment(contents.arch);
    section.offset = alignTo(end, section.alignment);
    section.size = kind == MV_SECTION_CODE ? contents.code.size()
                   : kind == MV_SECTION_CONSTANTS
                       ? contents.constantsSize
                       : tables.sections[kind].size();
    end = section.offset + section.size;
  }

  std::vector<uint8_t> front(sections[MV_SECTION_CODE].offset);
  memcpy(front.data() + sizeof(mv_file_header), sections, sizeof(sections));
  for (uint32_t kind = 0; kind <= MV_SECTION_SIGNATURE; ++kind)
    if (!tables.sections[kind].empty())
      memcpy(front.data() + sections[kind].offset, tables.sections[kind].data(),
             tables.sections[kind].size());

  mv_file_header header = {};
  memcpy(header.magic, MV_FILE_MAGIC, MV_FILE_MAGIC_SIZE);
  header.format_version = MV_FORMAT_VERSION;
  header.abi_version = MV_ABI_VERSION;
  header.arch = contents.arch;
  header.section_count = MV_SECTION_COUNT;
  header.cpu_features = contents.cpuFeatures;
  header.file_length = end;
  Blake2b blake;
  blake.update(&header, offsetof(mv_file_header, root_hash));
  blake.update(front.data() + sizeof(header),
               sections[MV_SECTION_SIGNATURE].offset - sizeof(header));
  blake.final(header.root_hash);
  memcpy(front.data(), &header, sizeof(header));
  memcpy(buildId.data(), header.root_hash, buildId.size());

  std::vector<uint8_t> gap(sections[MV_SECTION_CONSTANTS].offset -
                           sections[MV_SECTION_CODE].offset -
                           contents.code.size());
  if (!sink(front.data(), front.size()) ||
      !sink(contents.code.data(), contents.code.size()) ||
      !sink(gap.data(), gap.size()) || !walkConstants(contents, sink)) {
    error = "writing the module failed";
    return false;
  }
  return true;
}

bool marver::writeModule(const ModuleContents &contents,
                         std::vector<uint8_t> &bytes, BuildId &buildId,
                         std::string &error) {
  bytes.clear();
  return writeModule(
      contents,
      [&](const uint8_t *data, uint64_t size) {
        bytes.insert(bytes.end(), data, data + size);
        return true;
      },
      buildId, error);
}
