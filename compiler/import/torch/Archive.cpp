//===- Archive.cpp - Strict reader of .pt2 archives -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Archive.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/Endian.h"
#include <algorithm>

using namespace llvm;

namespace marver::torch {

Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

namespace {

constexpr uint32_t localSignature = 0x04034b50;
constexpr uint32_t directorySignature = 0x02014b50;
constexpr uint32_t endSignature = 0x06054b50;
constexpr uint32_t end64Signature = 0x06064b50;
constexpr uint32_t locator64Signature = 0x07064b50;

/// Little-endian fields of a record whose bounds were checked.
struct Record {
  const char *data;
  uint16_t u16(size_t at) const { return support::endian::read16le(data + at); }
  uint32_t u32(size_t at) const { return support::endian::read32le(data + at); }
  uint64_t u64(size_t at) const { return support::endian::read64le(data + at); }
};

/// Where the directory lies.
struct Directory {
  uint64_t entries = 0, offset = 0, size = 0;
};

class Reader {
public:
  explicit Reader(ArrayRef<char> bytes) : bytes(bytes) {}

  /// Checks that [offset, offset + size) is in the file.
  bool holds(uint64_t offset, uint64_t size) const {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  }
  Record at(uint64_t offset) const { return {bytes.data() + offset}; }

  Expected<Directory> findDirectory() const;

  ArrayRef<char> bytes;
};

Expected<Directory> Reader::findDirectory() const {
  constexpr uint64_t endSize = 22, maxComment = 0xffff;
  if (bytes.size() < endSize)
    return makeError("not a .pt2 file (too short for a zip archive)");
  uint64_t lowest = bytes.size() - endSize;
  lowest = lowest > maxComment ? lowest - maxComment : 0;
  std::optional<uint64_t> end;
  for (uint64_t offset = bytes.size() - endSize + 1; offset-- > lowest;) {
    Record record = at(offset);
    if (record.u32(0) == endSignature &&
        offset + endSize + record.u16(20) == bytes.size()) {
      end = offset;
      break;
    }
  }
  if (!end)
    return makeError("not a .pt2 file, or truncated (no end of a zip archive)");

  Record record = at(*end);
  Directory directory;
  uint64_t disk = record.u16(4), firstDisk = record.u16(6);
  uint64_t entriesHere = record.u16(8);
  directory.entries = record.u16(10);
  directory.size = record.u32(12);
  directory.offset = record.u32(16);
  uint64_t directoryEnd = *end;

  constexpr uint64_t locatorSize = 20, end64Size = 56;
  if (*end >= locatorSize &&
      at(*end - locatorSize).u32(0) == locator64Signature) {
    uint64_t offset = at(*end - locatorSize).u64(8);
    if (!holds(offset, end64Size) || offset + end64Size > *end - locatorSize ||
        at(offset).u32(0) != end64Signature)
      return makeError("corrupt zip archive (bad zip64 end record)");
    Record record64 = at(offset);
    disk = record64.u32(16);
    firstDisk = record64.u32(20);
    entriesHere = record64.u64(24);
    directory.entries = record64.u64(32);
    directory.size = record64.u64(40);
    directory.offset = record64.u64(48);
    directoryEnd = offset;
  }
  if (disk != 0 || firstDisk != 0 || entriesHere != directory.entries)
    return makeError("zip archives in several parts are not supported");
  if (!holds(directory.offset, directory.size) ||
      directory.offset + directory.size != directoryEnd)
    return makeError("corrupt zip archive (the directory is not where its end "
                     "record says)");
  return directory;
}

/// Sizes and offset of a directory entry, with the zip64 extra field applied.
struct Extent {
  uint64_t size, packedSize, offset;
};

Expected<Extent> readExtent(Record entry, ArrayRef<char> extra) {
  constexpr uint32_t inExtra = 0xffffffff;
  Extent extent = {entry.u32(24), entry.u32(20), entry.u32(42)};
  while (extra.size() >= 4) {
    Record field{extra.data()};
    uint16_t id = field.u16(0), size = field.u16(2);
    if (extra.size() - 4 < size)
      break;
    if (id == 1) {
      uint64_t at = 4;
      for (uint64_t *value :
           {&extent.size, &extent.packedSize, &extent.offset}) {
        if (*value != inExtra)
          continue;
        if (at + 8 > 4u + size)
          return makeError("corrupt zip archive (short zip64 field)");
        *value = field.u64(at);
        at += 8;
      }
      return extent;
    }
    extra = extra.drop_front(4 + size);
  }
  if (extent.size == inExtra || extent.packedSize == inExtra ||
      extent.offset == inExtra)
    return makeError("corrupt zip archive (missing zip64 field)");
  return extent;
}

bool isGoodName(StringRef name) {
  if (name.empty() || name.starts_with("/") || name.contains('\\') ||
      name.contains('\0'))
    return false;
  SmallVector<StringRef> parts;
  name.split(parts, '/');
  return llvm::none_of(
      parts, [](StringRef part) { return part == ".." || part == "."; });
}

} // namespace

Expected<Archive> Archive::open(ArrayRef<char> bytes) {
  Reader reader(bytes);
  Expected<Directory> directory = reader.findDirectory();
  if (!directory)
    return directory.takeError();

  Archive archive;
  SmallVector<std::pair<uint64_t, uint64_t>> taken;
  uint64_t at = directory->offset;
  const uint64_t directoryEnd = directory->offset + directory->size;
  constexpr uint64_t entrySize = 46, localSize = 30;
  for (uint64_t i = 0; i < directory->entries; ++i) {
    if (directoryEnd - at < entrySize ||
        reader.at(at).u32(0) != directorySignature)
      return makeError("corrupt zip archive (bad directory entry)");
    Record entry = reader.at(at);
    const uint64_t nameSize = entry.u16(28), extraSize = entry.u16(30);
    const uint64_t total = entrySize + nameSize + extraSize + entry.u16(32);
    if (directoryEnd - at < total)
      return makeError("corrupt zip archive (bad directory entry)");
    StringRef name(entry.data + entrySize, nameSize);
    if (!isGoodName(name))
      return makeError("corrupt zip archive (an entry has a bad name)");
    // Directories of other writers hold nothing that could be of interest.
    const uint16_t flags = entry.u16(8), method = entry.u16(10);
    if (flags & 0x2041)
      return makeError("'" + name + "' in the archive is encrypted");
    if (method != 0)
      return makeError("'" + name +
                       "' in the archive is compressed; torch.export.save "
                       "stores entries as they are: save the model again");
    Expected<Extent> extent = readExtent(
        entry, ArrayRef<char>(entry.data + entrySize + nameSize, extraSize));
    if (!extent)
      return extent.takeError();
    if (extent->size != extent->packedSize)
      return makeError("'" + name + "' in the archive has two sizes");
    at += total;

    if (extent->offset > directory->offset ||
        directory->offset - extent->offset < localSize)
      return makeError("'" + name + "' is out of the archive's range");
    Record local = reader.at(extent->offset);
    const uint64_t header = localSize + local.u16(26) + local.u16(28);
    const uint64_t room = directory->offset - extent->offset;
    if (local.u32(0) != localSignature || header > room ||
        extent->size > room - header)
      return makeError("'" + name + "' is out of the archive's range");
    if (local.u16(8) != method ||
        StringRef(local.data + localSize, local.u16(26)) != name)
      return makeError("corrupt zip archive (directory and entry '" + name +
                       "' differ)");
    const uint64_t begin = extent->offset + header;
    taken.push_back({extent->offset, begin + extent->size});
    Entry result{bytes.slice(begin, extent->size), entry.u32(16)};
    if (!archive.entries.try_emplace(name, result).second)
      return makeError("'" + name + "' is twice in the archive");
    archive.order.push_back(name.str());
  }
  if (at != directoryEnd)
    return makeError("corrupt zip archive (bytes after its directory)");
  llvm::sort(taken);
  for (size_t i = 1; i < taken.size(); ++i)
    if (taken[i].first < taken[i - 1].second)
      return makeError("corrupt zip archive (entries overlap)");
  return archive;
}

std::optional<ArrayRef<char>> Archive::find(StringRef name) const {
  auto found = entries.find(name);
  if (found == entries.end())
    return std::nullopt;
  return found->second.bytes;
}

Expected<ArrayRef<char>> Archive::read(StringRef name) const {
  auto found = entries.find(name);
  if (found == entries.end())
    return makeError("the archive has no '" + name + "'");
  const Entry &entry = found->second;
  // PyTorch leaves the checksum zero where set_crc32_options(False) was called.
  if (entry.crc != 0 &&
      crc32(ArrayRef<uint8_t>(
          reinterpret_cast<const uint8_t *>(entry.bytes.data()),
          entry.bytes.size())) != entry.crc)
    return makeError("'" + name + "' in the archive is corrupt (checksum)");
  return entry.bytes;
}

Expected<Package> Package::open(ArrayRef<char> bytes) {
  Expected<Archive> archive = Archive::open(bytes);
  if (!archive)
    return archive.takeError();
  Package package{std::move(*archive), "", ""};
  const Archive &files = package.archive;

  const char *again =
      "; load it with the PyTorch that saved it and save it again with 2.9 or "
      "newer: torch.export.save(torch.export.load(FILE), FILE)";
  // Up to 2.7 three files and no folder; 2.8 has the folders, and the weights
  // in a pickle.
  for (StringRef name : files.names())
    if (name.ends_with("serialized_exported_program.json") ||
        name.ends_with("data/weights/model.pt"))
      return makeError(Twine("the archive was saved by PyTorch before 2.9") +
                       again);
  for (StringRef name : files.names())
    if (StringRef root = name; root.consume_back("archive_format") &&
                               (root.empty() || root.ends_with("/")))
      package.root = root.str();
  std::optional<ArrayRef<char>> format =
      files.find(package.path("archive_format"));
  if (!format)
    return makeError("not a .pt2 file (no archive_format inside): save the "
                     "model with torch.export.save");
  if (StringRef(format->data(), format->size()) != "pt2")
    return makeError("the archive's format is not pt2");
  if (std::optional<ArrayRef<char>> order =
          files.find(package.path("byteorder"));
      order && StringRef(order->data(), order->size()) != "little")
    return makeError("the archive was written on a big-endian machine; only "
                     "little-endian ones are read");

  std::vector<std::string> programs;
  const std::string models = package.path("models/");
  bool hasNative = false;
  for (StringRef name : files.names()) {
    hasNative |= name.contains("data/aotinductor/");
    if (name.consume_front(models) && name.consume_back(".json"))
      programs.push_back(name.str());
  }
  if (programs.empty())
    return makeError(hasNative
                         ? "the archive holds code compiled by AOTInductor, "
                           "not an exported program: save with "
                           "torch.export.save"
                         : Twine("the archive holds no exported program"));
  if (programs.size() > 1)
    return makeError("the archive holds several exported programs (" +
                     join(programs, ", ") + "); save each to its own file");
  package.program = programs.front();
  return package;
}

} // namespace marver::torch
