//===- SidecarWriter.cpp - Writes the bytes of a sidecar ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/package/SidecarWriter.h"

#include "marver/sidecar.h"

#include <cstring>
#include <map>

using namespace marver;

namespace {

/// The strings section; a string's number is its offset there.
class StringPool {
public:
  uint32_t add(const std::string &text) {
    // A NUL inside would cut the string short for its reader.
    std::string clean = text.substr(0, text.find('\0'));
    auto [it, inserted] =
        offsets.try_emplace(clean, static_cast<uint32_t>(bytes.size()));
    if (inserted)
      bytes.insert(bytes.end(), clean.c_str(),
                   clean.c_str() + clean.size() + 1);
    return it->second;
  }

  std::vector<uint8_t> bytes = {0};

private:
  std::map<std::string, uint32_t> offsets = {{"", 0}};
};

} // namespace

template <typename T>
static void append(std::vector<uint8_t> &bytes, const T &record) {
  const auto *data = reinterpret_cast<const uint8_t *>(&record);
  bytes.insert(bytes.end(), data, data + sizeof(T));
}

std::vector<uint8_t> marver::writeSidecar(const SidecarContents &contents,
                                          const BuildId &buildId) {
  StringPool strings;
  std::vector<uint8_t> tables[MV_SIDECAR_SECTION_COUNT];
  for (const KernelDescription &kernel : contents.kernels)
    append(tables[MV_SIDECAR_KERNELS],
           mv_sidecar_kernel{
               strings.add(kernel.name), strings.add(kernel.family),
               strings.add(kernel.operation), strings.add(kernel.location),
               strings.add(kernel.shapes), strings.add(kernel.schedule),
               kernel.flops, kernel.bytes});
  for (const PlaceDescription &place : contents.places)
    append(
        tables[MV_SIDECAR_PLACES],
        mv_sidecar_place{strings.add(place.text), strings.add(place.location)});
  uint32_t nameCount = 0;
  for (const EntryDescription &entry : contents.entries) {
    append(tables[MV_SIDECAR_ENTRIES],
           mv_sidecar_entry{strings.add(entry.name), nameCount,
                            static_cast<uint32_t>(entry.inputs.size()),
                            static_cast<uint32_t>(entry.outputs.size()),
                            static_cast<uint32_t>(entry.symbols.size()), 0,
                            entry.arenaBound});
    for (const auto *names : {&entry.inputs, &entry.outputs, &entry.symbols})
      for (const std::string &name : *names) {
        append(tables[MV_SIDECAR_NAMES], strings.add(name));
        ++nameCount;
      }
  }
  tables[MV_SIDECAR_STRINGS] = std::move(strings.bytes);

  mv_sidecar_header header = {};
  memcpy(header.magic, MV_SIDECAR_MAGIC, MV_SIDECAR_MAGIC_SIZE);
  header.version = MV_SIDECAR_VERSION;
  memcpy(header.build_id, buildId.data(), buildId.size());
  uint64_t end = sizeof(header);
  for (int i = 0; i < MV_SIDECAR_SECTION_COUNT; ++i) {
    header.sections[i] = {end, tables[i].size()};
    tables[i].resize((tables[i].size() + 7) / 8 * 8);
    end += tables[i].size();
  }
  std::vector<uint8_t> bytes;
  bytes.reserve(end);
  append(bytes, header);
  for (const std::vector<uint8_t> &table : tables)
    bytes.insert(bytes.end(), table.begin(), table.end());
  return bytes;
}
