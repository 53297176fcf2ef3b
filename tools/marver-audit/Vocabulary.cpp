//===- Vocabulary.cpp - Words that must not be in a module ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Vocabulary.h"

#include "compiler/import/torch/Archive.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace llvm;

namespace marver::audit {

/// Longer strings are documents (a stack trace, a licence); their words count.
static constexpr size_t kLongestWord = 200;
static constexpr size_t kShortestWord = 3;
/// Protobuf messages nest; a file that nests deeper is not a model.
static constexpr int kDeepest = 64;
/// Larger fields hold numbers.
static constexpr size_t kLargestText = 1 << 20;

static bool isWordCharacter(char c) {
  return isAlnum(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

static bool isDotted(char c) {
  return isWordCharacter(c) || c == '.' || c == ':' || c == '/' || c == '-';
}

static void addWord(Words &words, StringRef word) {
  // Numbers alone are no vocabulary.
  if (word.size() < kShortestWord || word.size() > kLongestWord ||
      !any_of(word, [](char c) { return isAlpha(c); }))
    return;
  words.insert(word.str());
}

/// The parts of `text` whose characters all satisfy `isPart`.
static void addParts(Words &words, StringRef text, bool (*isPart)(char)) {
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && isPart(text[i]))
      continue;
    addWord(words, text.slice(begin, i));
    begin = i + 1;
  }
}

/// `model.layers.0.weight`, and also `model`, `layers`, `weight`.
static void addText(Words &words, StringRef text) {
  addWord(words, text.trim());
  addParts(words, text, isDotted);
  addParts(words, text, isWordCharacter);
}

Words knownFingerprints() {
  Words words = {
      "clang version",   "GCC: (",      "LLVM version",   "Debian clang",
      "Linker: LLD",     ".shstrtab",   ".strtab",        ".symtab",
      ".dynsym",         ".dynstr",     ".rodata",        ".comment",
      ".eh_frame",       ".debug_",     ".note.GNU",      ".gnu.hash",
      ".text.",          ".init_array", "x86_64-unknown", "x86_64-pc-linux",
      "aarch64-unknown", "/usr/lib",    "/usr/include",   "/home/",
      "/root/",          "/tmp/",       "python3",        "site-packages",
      "torch.nn",        "torch.ops",   "aten::",         "aten.",
      "onnx::",          "ai.onnx",     "pytorch",        "marver",
      "builtin.module",  "func.func",   "linalg.",        "llvm.",
      "DW_AT",           "parallel_for"};
  words.insert(std::string(".text\0.data", 11));
  words.insert(std::string(".text\0", 6));
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) == 0)
    addWord(words, host);
  for (const char *variable : {"USER", "LOGNAME", "HOME"})
    if (const char *value = std::getenv(variable))
      addWord(words, value);
  char folder[4096];
  if (getcwd(folder, sizeof(folder)))
    addWord(words, folder);
  return words;
}

namespace {

/// Reads protobuf without its schema: a field of bytes is tried as a message,
/// then as text.
class ProtobufStrings {
public:
  explicit ProtobufStrings(Words &words) : words(words) {}

  /// Whether `bytes` is a message; its strings are added if so.
  bool read(StringRef bytes, int depth = 0) {
    if (depth > kDeepest)
      return false;
    SmallVector<StringRef> fields;
    while (!bytes.empty()) {
      uint64_t key, value;
      if (!readVarint(bytes, key) || key >> 3 == 0)
        return false;
      switch (key & 7) {
      case 0:
        if (!readVarint(bytes, value))
          return false;
        break;
      case 1:
        if (bytes.size() < 8)
          return false;
        bytes = bytes.drop_front(8);
        break;
      case 5:
        if (bytes.size() < 4)
          return false;
        bytes = bytes.drop_front(4);
        break;
      case 2:
        if (!readVarint(bytes, value) || value > bytes.size())
          return false;
        fields.push_back(bytes.take_front(value));
        bytes = bytes.drop_front(value);
        break;
      default:
        return false;
      }
    }
    for (StringRef field : fields) {
      // Small tensors can be all printable by chance, but are rarely UTF-8.
      bool isText = field.size() <= kLargestText && json::isUTF8(field) &&
                    all_of(field, [](char c) {
                      return static_cast<unsigned char>(c) >= ' ' || isSpace(c);
                    });
      // Short text may parse as a message by chance: both count.
      if (isText)
        addText(words, field);
      read(field, depth + 1);
    }
    return true;
  }

private:
  static bool readVarint(StringRef &bytes, uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      auto byte = static_cast<unsigned char>(bytes.front());
      bytes = bytes.drop_front();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }

  Words &words;
};

/// Strings of a JSON text. Not a parser: what is between quotes counts.
void addJsonStrings(Words &words, StringRef text) {
  while (true) {
    size_t begin = text.find('"');
    if (begin == StringRef::npos)
      return;
    size_t end = begin + 1;
    while (end < text.size() && text[end] != '"')
      end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size())
      return;
    addText(words, text.slice(begin + 1, end));
    text = text.drop_front(end + 1);
  }
}

Error addArchive(Words &words, ArrayRef<uint8_t> bytes) {
  auto archive = torch::Archive::open(
      {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  if (!archive)
    return archive.takeError();
  for (const std::string &name : archive->names()) {
    addText(words, name);
    if (StringRef(name).ends_with(".json"))
      if (auto entry = archive->find(name))
        addJsonStrings(words, toStringRef(*entry));
  }
  return Error::success();
}

} // namespace

Expected<Words> sourceVocabulary(StringRef path, ArrayRef<uint8_t> bytes) {
  Words words;
  StringRef text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  if (text.starts_with("PK")) {
    if (Error error = addArchive(words, bytes))
      return error;
  } else if (path.ends_with(".mlir") ||
             all_of(text.take_front(512),
                    [](char c) { return isPrint(c) || isSpace(c); })) {
    addParts(words, text, isDotted);
    addParts(words, text, isWordCharacter);
  } else if (!ProtobufStrings(words).read(text)) {
    return createStringError(inconvertibleErrorCode(),
                             "is neither a .pt2 archive, nor .onnx, nor .mlir");
  }
  StringRef name = sys::path::filename(path);
  addText(words, name);
  addText(words, sys::path::stem(name));
  addWord(words, path);
  return words;
}

//===----------------------------------------------------------------------===//
// Search
//===----------------------------------------------------------------------===//

static uint32_t prefixOf(const uint8_t *bytes) {
  uint32_t prefix;
  std::memcpy(&prefix, bytes, sizeof(prefix));
  return prefix;
}

static size_t slotOf(uint32_t prefix) { return prefix * 2654435761u >> 12; }

WordSearch::WordSearch(const Words &words, const ByteModel &model)
    : mayStart(size_t(1) << 20) {
  for (const std::string &word : words) {
    if (word.size() < sizeof(uint32_t) || model.expected(word) > kRareEnough) {
      ++leftOutCount;
      continue;
    }
    uint32_t prefix = prefixOf(reinterpret_cast<const uint8_t *>(word.data()));
    entries.emplace_back(prefix, word);
    mayStart[slotOf(prefix)] = true;
  }
  // The longest of those with one beginning first.
  llvm::sort(entries, [](const auto &a, const auto &b) {
    return a.first != b.first ? a.first < b.first
                              : a.second.size() > b.second.size();
  });
}

void WordSearch::search(ArrayRef<uint8_t> bytes,
                        function_ref<void(size_t, StringRef)> found) const {
  if (bytes.size() < sizeof(uint32_t))
    return;
  for (size_t i = 0; i + sizeof(uint32_t) <= bytes.size(); ++i) {
    uint32_t prefix = prefixOf(bytes.data() + i);
    if (!mayStart[slotOf(prefix)])
      continue;
    auto entry = llvm::lower_bound(entries, prefix,
                                   [](const auto &candidate, uint32_t wanted) {
                                     return candidate.first < wanted;
                                   });
    for (; entry != entries.end() && entry->first == prefix; ++entry) {
      const std::string &word = entry->second;
      if (word.size() > bytes.size() - i ||
          std::memcmp(bytes.data() + i, word.data(), word.size()) != 0)
        continue;
      found(i, word);
      i += word.size() - 1; // its parts are not reported again
      break;
    }
  }
}

} // namespace marver::audit
