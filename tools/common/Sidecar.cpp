//===- Sidecar.cpp - The owner's words for a module -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Sidecar.h"

#include "marver/sidecar.h"
#include "tools/common/Inputs.h"

#include <cstring>
#include <unistd.h>

using namespace marver;

const Sidecar::Entry *Sidecar::findEntry(const std::string &name) const {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

std::string Sidecar::placeText(int64_t number) const {
  if (number < 0 || static_cast<size_t>(number) >= places.size())
    return {};
  const Place &place = places[static_cast<size_t>(number)];
  std::string text = place.text;
  if (!place.location.empty())
    text += (text.empty() ? "at " : " at ") + place.location;
  return text;
}

namespace {

/// A sidecar's bytes with bounds on every access.
class SidecarReader {
public:
  SidecarReader(const std::vector<uint8_t> &bytes, Sidecar &sidecar)
      : bytes(bytes), sidecar(sidecar) {}

  bool readHeader(std::string &error) {
    if (bytes.size() < sizeof(header)) {
      error = "it is truncated";
      return false;
    }
    memcpy(&header, bytes.data(), sizeof(header));
    if (memcmp(header.magic, MV_SIDECAR_MAGIC, MV_SIDECAR_MAGIC_SIZE) != 0) {
      error = "it is not a sidecar";
      return false;
    }
    if (header.version != MV_SIDECAR_VERSION) {
      error = "it has version " + std::to_string(header.version) +
              ", this program reads version " +
              std::to_string(MV_SIDECAR_VERSION);
      return false;
    }
    for (const mv_sidecar_section &section : header.sections)
      if (section.offset > bytes.size() ||
          section.size > bytes.size() - section.offset) {
        error = "it is truncated";
        return false;
      }
    return true;
  }

  void readTables() {
    for (const auto &kernel : table<mv_sidecar_kernel>(MV_SIDECAR_KERNELS))
      sidecar.kernels.push_back(
          {string(kernel.name), string(kernel.family), string(kernel.operation),
           string(kernel.location), string(kernel.shapes),
           string(kernel.schedule), kernel.flops, kernel.bytes});
    for (const auto &place : table<mv_sidecar_place>(MV_SIDECAR_PLACES))
      sidecar.places.push_back({string(place.text), string(place.location)});
    std::vector<uint32_t> names = table<uint32_t>(MV_SIDECAR_NAMES);
    for (const auto &record : table<mv_sidecar_entry>(MV_SIDECAR_ENTRIES)) {
      uint64_t next = record.first_name;
      auto take = [&](uint32_t count) {
        std::vector<std::string> taken;
        for (uint32_t i = 0; i < count && next < names.size(); ++i)
          taken.push_back(string(names[next++]));
        return taken;
      };
      Sidecar::Entry entry;
      entry.name = string(record.name);
      entry.inputs = take(record.input_count);
      entry.outputs = take(record.output_count);
      entry.symbols = take(record.symbol_count);
      entry.arenaBound = record.arena_bound;
      sidecar.entries.push_back(std::move(entry));
    }
  }

  mv_sidecar_header header;

private:
  template <typename T> std::vector<T> table(int kind) const {
    const mv_sidecar_section &section = header.sections[kind];
    std::vector<T> records(section.size / sizeof(T));
    if (!records.empty())
      memcpy(records.data(), bytes.data() + section.offset,
             records.size() * sizeof(T));
    return records;
  }

  std::string string(uint32_t offset) const {
    const mv_sidecar_section &section = header.sections[MV_SIDECAR_STRINGS];
    if (offset >= section.size)
      return {};
    const auto *text =
        reinterpret_cast<const char *>(bytes.data()) + section.offset + offset;
    return std::string(text, strnlen(text, section.size - offset));
  }

  const std::vector<uint8_t> &bytes;
  Sidecar &sidecar;
};

} // namespace

bool marver::parseSidecar(const std::vector<uint8_t> &bytes, Sidecar &sidecar,
                          uint8_t buildId[MV_BUILD_ID_SIZE],
                          std::string &error) {
  SidecarReader reader(bytes, sidecar);
  if (!reader.readHeader(error))
    return false;
  memcpy(buildId, reader.header.build_id, MV_BUILD_ID_SIZE);
  reader.readTables();
  return true;
}

Sidecar marver::loadSidecar(const std::string &modulePath,
                            const mv_module *module, std::string &warning) {
  std::string path = modulePath + ".dbg", reason;
  if (access(path.c_str(), F_OK) != 0)
    return {};
  std::vector<uint8_t> bytes;
  Sidecar sidecar;
  uint8_t buildId[MV_BUILD_ID_SIZE];
  mv_module_info info;
  mv_module_query(module, &info);
  if (!readWholeFile(path, bytes, warning))
    return {};
  if (!parseSidecar(bytes, sidecar, buildId, reason)) {
    warning = path + ": not used: " + reason;
    return {};
  }
  if (memcmp(buildId, info.build_id, sizeof(buildId)) != 0) {
    warning = path + ": not used: it belongs to another build of the module";
    return {};
  }
  return sidecar;
}
