//===- Audit.cpp - What a module says about itself ------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Audit.h"

#include "Blake2b.h"
#include "Chance.h"
#include "Code.h"
#include "ModuleReader.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <cstring>
#include <tuple>

using namespace llvm;

namespace marver::audit {
namespace {

constexpr StringLiteral kSectionNames[MV_SECTION_COUNT] = {
    "info",    "entries", "interfaces",      "tensors",   "dims", "symbols",
    "aliases", "states",  "constant hashes", "signature", "code", "constants"};

/// Magic numbers of file formats that could hide in numbers.
constexpr StringLiteral kMagics[] = {
    StringLiteral("\x7f"
                  "ELF"),
    StringLiteral("PK\x03\x04"), StringLiteral("BC\xc0\xde"),
    StringLiteral("!<arch>\n"), StringLiteral(MV_FILE_MAGIC)};

class Auditor {
public:
  Auditor(ArrayRef<uint8_t> bytes, const Words &vocabulary)
      : bytes(bytes), vocabulary(vocabulary) {}

  Report run() {
    if (!readStructure())
      return std::move(report);
    checkPadding();
    checkTextOfCode();
    for (const Report::Part &part : report.parts)
      if (part.name == "read-only tables" || part.name == "constants")
        checkRuns(part);
    checkWords();
    llvm::sort(report.findings, [](const Finding &a, const Finding &b) {
      return a.offset < b.offset;
    });
    return std::move(report);
  }

private:
  void add(uint64_t offset, uint64_t size, std::string what) {
    report.findings.push_back(
        {offset, size, sectionOf(offset), std::move(what)});
  }

  std::string sectionOf(uint64_t offset) const {
    for (const Report::Part &part : report.parts)
      if (offset >= part.offset && offset < part.offset + part.size)
        return part.name;
    return "padding";
  }

  /// Finds the sections, even if the tables in them do not read.
  bool readStructure() {
    mv_error error = {};
    if (readSections(bytes.data(), bytes.size(), bytes.size(), &error)) {
      add(0, std::min<size_t>(bytes.size(), 64), error.message);
      return false;
    }
    const auto *header = reinterpret_cast<const mv_file_header *>(bytes.data());
    const auto *sections = reinterpret_cast<const mv_file_section *>(
        bytes.data() + sizeof(mv_file_header));
    arch = header->arch;
    report.parts.push_back({"header", 0, sizeof(mv_file_header)});
    report.parts.push_back({"section table", sizeof(mv_file_header),
                            MV_SECTION_COUNT * sizeof(mv_file_section)});
    for (unsigned i = 0; i < MV_SECTION_COUNT; ++i)
      if (i != MV_SECTION_CODE && sections[i].size > 0)
        report.parts.push_back(
            {kSectionNames[i].str(), sections[i].offset, sections[i].size});
    const mv_file_section &code = sections[MV_SECTION_CODE];
    textOffset = code.offset;
    textSize = code.size;
    ModuleTables tables = {};
    if (readTables(bytes.data(), tables, &error)) {
      add(sizeof(mv_file_header), 1, error.message);
      // Without the tables nobody knows where the text ends; all of it is text.
    } else {
      textSize = tables.info->text_bytes;
      checkHashes(tables, code);
      for (uint32_t i = 0; i < tables.entryCount; ++i) {
        functions.push_back(tables.entries[i].run_offset);
        functions.push_back(tables.entries[i].shape_offset);
      }
      if (tables.info->prepare_offset != MV_NO_FUNCTION)
        functions.push_back(tables.info->prepare_offset);
    }
    report.parts.push_back({"code", textOffset, textSize});
    if (code.size > textSize)
      report.parts.push_back(
          {"read-only tables", textOffset + textSize, code.size - textSize});
    llvm::sort(report.parts, [](const Report::Part &a, const Report::Part &b) {
      return a.offset < b.offset;
    });
    return true;
  }

  void checkHashes(const ModuleTables &tables, const mv_file_section &code) {
    uint8_t hash[MV_HASH_SIZE];
    Blake2b::hash(bytes.data() + code.offset, code.size, hash);
    if (std::memcmp(hash, tables.info->code_hash, MV_HASH_SIZE) != 0)
      add(code.offset, 1, "the code does not have its hash");
    const mv_file_section &constants = tables.sections[MV_SECTION_CONSTANTS];
    if (!constantsMatch(tables, bytes.data() + constants.offset))
      add(constants.offset, 1, "the constants do not have their hashes");
  }

  /// What belongs to no part is zero.
  void checkPadding() {
    uint64_t end = 0;
    auto check = [&](uint64_t from, uint64_t to) {
      for (uint64_t i = from; i < to; ++i) {
        if (bytes[i] == 0)
          continue;
        uint64_t last = i;
        while (last < to && bytes[last] != 0)
          ++last;
        add(i, last - i, "bytes in the padding between sections");
        i = last;
      }
    };
    for (const Report::Part &part : report.parts) {
      if (part.offset > end)
        check(end, part.offset);
      end = std::max(end, part.offset + part.size);
    }
    check(end, bytes.size());
  }

  void checkTextOfCode() {
    Error error = checkCode(
        arch, bytes.slice(textOffset, textSize), functions,
        [&](size_t offset, size_t size, std::string what) {
          // The printable characters around it tell more than one instruction.
          uint64_t begin = textOffset + offset, end = begin + size;
          while (begin > textOffset && isPrint(char(bytes[begin - 1])))
            --begin;
          while (end < textOffset + textSize && isPrint(char(bytes[end])))
            ++end;
          if (end - begin < 6) {
            begin = textOffset + offset;
            end = begin + size;
          }
          if (!report.findings.empty() &&
              report.findings.back().offset == begin)
            return;
          add(begin, end - begin, std::move(what));
        });
    if (error)
      add(textOffset, 1, toString(std::move(error)));
  }

  void checkRuns(const Report::Part &part) {
    for (const TextRun &run : findTextRuns(bytes.slice(part.offset, part.size)))
      add(part.offset + run.begin, run.size,
          "text that chance does not explain");
  }

  void checkWords() {
    ArrayRef<uint8_t> body = bytes.drop_front(sizeof(mv_file_header));
    ByteModel model(body);
    auto search = [&](const WordSearch &words, StringRef what) {
      words.search(body, [&](size_t offset, StringRef word) {
        add(sizeof(mv_file_header) + offset, word.size(), what.str());
      });
    };
    search(WordSearch(knownFingerprints(), model),
           "a trace of a tool or of this machine");
    WordSearch source(vocabulary, model);
    search(source, "a word of the source");
    report.wordsSearched = source.searched();
    report.wordsLeftOut = source.leftOut();
    StringRef text(reinterpret_cast<const char *>(body.data()), body.size());
    for (StringRef magic : kMagics) {
      // Four bytes in 150 MB of weights are no proof.
      if (model.expected(magic) > 1e-2)
        continue;
      for (size_t at = text.find(magic); at != StringRef::npos;
           at = text.find(magic, at + 1))
        add(sizeof(mv_file_header) + at, magic.size(),
            "the start of a file of another format");
    }
  }

  ArrayRef<uint8_t> bytes;
  const Words &vocabulary;
  Report report;
  uint16_t arch = 0;
  uint64_t textOffset = 0, textSize = 0;
  std::vector<uint64_t> functions;
};

} // namespace

Report auditModule(ArrayRef<uint8_t> bytes, const Words &vocabulary) {
  return Auditor(bytes, vocabulary).run();
}

} // namespace marver::audit
