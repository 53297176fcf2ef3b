//===- ZipWriter.h - Zip archives for tests, right and wrong ----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_IMPORT_TORCH_ZIPWRITER_H
#define MARVER_TESTS_UNIT_IMPORT_TORCH_ZIPWRITER_H

#include <cstdint>
#include <string>
#include <vector>

namespace marver::torch {

/// Each field of an entry can be made wrong.
struct ZipEntry {
  std::string name, data;
  uint32_t crc = 0; ///< 0: not stated
  uint16_t flags = 0, method = 0;
  bool zip64 = false;
  /// Where the directory says that the entry is; -1: where it is.
  int64_t offset = -1;
  int64_t size = -1; ///< size in the directory; -1: the right one
  std::string localName = {};
};

struct ZipOptions {
  bool zip64 = false;
  int64_t entries = -1; ///< count in the end record
  int64_t directoryOffset = -1;
  uint16_t disk = 0;
  std::string comment, junkBeforeDirectory;
};

inline void put(std::string &out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out.push_back(static_cast<char>(value >> (8 * i)));
}

inline std::string writeZip(const std::vector<ZipEntry> &entries,
                            const ZipOptions &options = {}) {
  std::string out, directory;
  for (const ZipEntry &entry : entries) {
    const uint64_t begin = entry.offset >= 0 ? entry.offset : out.size();
    const uint64_t size = entry.size >= 0 ? entry.size : entry.data.size();
    const std::string local =
        entry.localName.empty() ? entry.name : entry.localName;
    put(out, 0x04034b50, 4);
    put(out, 45, 2);
    put(out, entry.flags, 2);
    put(out, entry.method, 2);
    put(out, 0, 4);
    put(out, entry.crc, 4);
    put(out, entry.data.size(), 4);
    put(out, entry.data.size(), 4);
    put(out, local.size(), 2);
    put(out, 0, 2);
    out += local + entry.data;

    std::string extra;
    if (entry.zip64) {
      put(extra, 1, 2);
      put(extra, 24, 2);
      put(extra, size, 8);
      put(extra, size, 8);
      put(extra, begin, 8);
    }
    put(directory, 0x02014b50, 4);
    put(directory, 45, 2);
    put(directory, 45, 2);
    put(directory, entry.flags, 2);
    put(directory, entry.method, 2);
    put(directory, 0, 4);
    put(directory, entry.crc, 4);
    put(directory, entry.zip64 ? 0xffffffff : size, 4);
    put(directory, entry.zip64 ? 0xffffffff : size, 4);
    put(directory, entry.name.size(), 2);
    put(directory, extra.size(), 2);
    put(directory, 0, 2); // comment
    put(directory, 0, 2); // disk
    put(directory, 0, 2);
    put(directory, 0, 4);
    put(directory, entry.zip64 ? 0xffffffff : begin, 4);
    directory += entry.name + extra;
  }
  out += options.junkBeforeDirectory;
  const uint64_t at =
      options.directoryOffset >= 0 ? options.directoryOffset : out.size();
  const uint64_t count =
      options.entries >= 0 ? options.entries : entries.size();
  out += directory;
  if (options.zip64) {
    const uint64_t end = out.size();
    put(out, 0x06064b50, 4);
    put(out, 44, 8);
    put(out, 45, 2);
    put(out, 45, 2);
    put(out, 0, 4);
    put(out, 0, 4);
    put(out, count, 8);
    put(out, count, 8);
    put(out, directory.size(), 8);
    put(out, at, 8);
    put(out, 0x07064b50, 4);
    put(out, 0, 4);
    put(out, end, 8);
    put(out, 1, 4);
  }
  put(out, 0x06054b50, 4);
  put(out, options.disk, 2);
  put(out, 0, 2);
  put(out, options.zip64 ? 0xffff : count, 2);
  put(out, options.zip64 ? 0xffff : count, 2);
  put(out, options.zip64 ? 0xffffffff : directory.size(), 4);
  put(out, options.zip64 ? 0xffffffff : at, 4);
  put(out, options.comment.size(), 2);
  out += options.comment;
  return out;
}

} // namespace marver::torch

#endif // MARVER_TESTS_UNIT_IMPORT_TORCH_ZIPWRITER_H
