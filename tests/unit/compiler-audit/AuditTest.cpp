//===- AuditTest.cpp - What the audit finds, and what it does not ---------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/marver-audit/Audit.h"
#include "compiler/package/ModuleWriter.h"
#include "tools/marver-audit/Code.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cstring>
#include <random>

using namespace marver;
using namespace marver::audit;

namespace {

/// Weights as they come: floats around zero.
std::vector<uint8_t> makeWeights(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<uint8_t> bytes(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    float value = normal(random);
    std::memcpy(bytes.data() + i * sizeof(float), &value, sizeof(value));
  }
  return bytes;
}

/// mov $0, %eax; ret; and so on: functions that decode.
std::vector<uint8_t> makeCode() {
  std::vector<uint8_t> code;
  const uint8_t function[] = {0x31, 0xc0, 0x48, 0x89, 0xf8, 0xc3, 0x90, 0x90};
  for (int i = 0; i < 200; ++i)
    code.insert(code.end(), std::begin(function), std::end(function));
  return code;
}

std::vector<uint8_t> makeModule(const std::vector<uint8_t> &code,
                                const std::vector<uint8_t> &weights) {
  ModuleContents contents;
  contents.arch = MV_ARCH_X86_64;
  contents.cpuFeatures = MV_X86_V3;
  contents.code = code;
  contents.textBytes = code.size();
  std::vector<uint8_t> tables = makeWeights(64, 5);
  contents.code.insert(contents.code.end(), tables.begin(), tables.end());
  contents.constants.push_back({0, weights.data(), weights.size()});
  contents.constantsSize = weights.size();
  contents.kernelCount = 3;
  Interface interface;
  for (int i = 0; i < 6; ++i)
    interface.inputs.push_back(
        {MV_DTYPE_F32, {1, 3, 224, 224, MV_DIM_SYMBOL(0)}});
  interface.outputs.push_back({MV_DTYPE_F32, {1, 1000}});
  interface.symbols.push_back({1, 448});
  interface.symbols.push_back({2, 16});
  interface.mayAlias.push_back({0, 0});
  interface.mayAlias.push_back({1, 0});
  contents.entries.push_back({"main", 0, 8, 64, interface});
  contents.entries.push_back({"other", 16, 24, 64, interface});
  std::vector<uint8_t> bytes;
  BuildId buildId;
  std::string error;
  EXPECT_TRUE(writeModule(contents, bytes, buildId, error)) << error;
  return bytes;
}

std::vector<uint8_t> makeModule() {
  return makeModule(makeCode(), makeWeights(200000, 1));
}

void plant(std::vector<uint8_t> &bytes, size_t offset,
           const std::string &text) {
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}

/// A finding that covers a byte of [offset, offset + size), other than that a
/// hash is wrong.
bool isFound(const Report &report, size_t offset, size_t size) {
  return std::any_of(report.findings.begin(), report.findings.end(),
                     [&](const Finding &finding) {
                       return finding.offset < offset + size &&
                              finding.offset + finding.size > offset &&
                              finding.size > 1;
                     });
}

TEST(Audit, CleanModuleHasNoFindings) {
  for (unsigned seed = 1; seed < 4; ++seed) {
    Report report =
        auditModule(makeModule(makeCode(), makeWeights(300000, seed)), {});
    for (const Finding &finding : report.findings)
      ADD_FAILURE() << finding.offset << " " << finding.section << " "
                    << finding.what;
  }
}

TEST(Audit, PartsCoverTheFile) {
  std::vector<uint8_t> bytes = makeModule();
  Report report = auditModule(bytes, {});
  uint64_t end = 0;
  for (const Report::Part &part : report.parts) {
    EXPECT_GE(part.offset, end) << part.name;
    end = part.offset + part.size;
  }
  EXPECT_EQ(end, bytes.size());
}

/// A known trace is seen wherever it is.
TEST(Audit, FindsATraceInEverySection) {
  const std::vector<uint8_t> clean = makeModule();
  const std::string text = "torch.nn.Linear";
  Report whole = auditModule(clean, {});
  ASSERT_GE(whole.parts.size(), 10u);
  for (const Report::Part &part : whole.parts) {
    // The header's magic, versions and architecture say that it is a module at
    // all; nothing else can be in 64 bytes whose hash is checked.
    if (part.name == "header" || part.name == "section table")
      continue;
    if (part.size < text.size())
      continue;
    for (uint64_t at :
         {part.offset, part.offset + (part.size - text.size()) / 2,
          part.offset + part.size - text.size()}) {
      std::vector<uint8_t> bytes = clean;
      plant(bytes, at, text);
      Report report = auditModule(bytes, {});
      EXPECT_TRUE(isFound(report, at, text.size()))
          << part.name << " at " << at - part.offset << " of " << part.size;
    }
  }
}

TEST(Audit, FindsAnythingInThePadding) {
  std::vector<uint8_t> bytes = makeModule();
  Report clean = auditModule(bytes, {});
  uint64_t code = 0;
  for (const Report::Part &part : clean.parts)
    if (part.name == "code")
      code = part.offset;
  ASSERT_GT(code, 100u);
  bytes[code - 50] = 1;
  Report report = auditModule(bytes, {});
  EXPECT_TRUE(std::any_of(report.findings.begin(), report.findings.end(),
                          [&](const Finding &finding) {
                            return finding.offset == code - 50 &&
                                   finding.section == "padding";
                          }));
}

TEST(Audit, FindsChangedHeaderAndTruncation) {
  for (size_t offset : {size_t(0), size_t(9), size_t(40), size_t(100)}) {
    std::vector<uint8_t> bytes = makeModule();
    bytes[offset] ^= 1;
    EXPECT_FALSE(auditModule(bytes, {}).findings.empty()) << offset;
  }
  std::vector<uint8_t> bytes = makeModule();
  for (size_t size :
       {size_t(0), size_t(10), size_t(64), size_t(5000), bytes.size() - 1}) {
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + ptrdiff_t(size));
    EXPECT_FALSE(auditModule(cut, {}).findings.empty()) << size;
  }
}

/// Words that nobody told the audit about show by their length.
TEST(Audit, FindsUnknownTextInNumbers) {
  std::vector<uint8_t> weights = makeWeights(200000, 9);
  const std::string text = "Copyright 2026 by the authors of this network";
  plant(weights, 123456, text);
  std::vector<uint8_t> bytes = makeModule(makeCode(), weights);
  Report report = auditModule(bytes, {});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].section, "constants");
  EXPECT_LE(report.findings[0].offset + 4, bytes.size());
  std::string found(bytes.begin() + ptrdiff_t(report.findings[0].offset),
                    bytes.begin() + ptrdiff_t(report.findings[0].offset +
                                              report.findings[0].size));
  EXPECT_NE(found.find(text), std::string::npos);
}

/// The same in code and in its tables, where no fingerprint helps either.
TEST(Audit, FindsUnknownTextInCodeAndTables) {
  const std::string text = "Copyright 2026 by the authors of this network";
  for (const char *section : {"code", "read-only tables"}) {
    std::vector<uint8_t> bytes = makeModule();
    Report clean = auditModule(bytes, {});
    auto part = std::find_if(
        clean.parts.begin(), clean.parts.end(),
        [&](const Report::Part &part) { return part.name == section; });
    ASSERT_NE(part, clean.parts.end());
    plant(bytes, part->offset + 80, text);
    Report report = auditModule(bytes, {});
    EXPECT_TRUE(isFound(report, part->offset + 80, text.size())) << section;
  }
}

/// One changed bit is no text, but the hash tells.
TEST(Audit, FindsChangedCodeAndConstants) {
  const std::vector<uint8_t> clean = makeModule();
  for (const Report::Part &part : auditModule(clean, {}).parts) {
    if (part.name != "read-only tables" && part.name != "constants")
      continue;
    std::vector<uint8_t> bytes = clean;
    bytes[part.offset + part.size / 2] ^= 1;
    Report report = auditModule(bytes, {});
    ASSERT_EQ(report.findings.size(), 1u) << part.name;
    EXPECT_NE(report.findings[0].what.find("hash"), std::string::npos);
  }
}

/// A text as large as the blocks by which chance is judged does not hide in
/// its own histogram.
TEST(Audit, FindsADocument) {
  std::vector<uint8_t> weights = makeWeights(200000, 9);
  std::string text;
  while (text.size() < 300000)
    text += "All that is in this file was written by somebody. ";
  plant(weights, 100000, text);
  EXPECT_FALSE(
      auditModule(makeModule(makeCode(), weights), {}).findings.empty());
}

TEST(Audit, FindsTheSourcesWords) {
  std::vector<uint8_t> weights = makeWeights(200000, 3);
  plant(weights, 4000, "encoder_layer");
  std::vector<uint8_t> bytes = makeModule(makeCode(), weights);
  EXPECT_TRUE(auditModule(bytes, {}).findings.empty());
  Report report = auditModule(bytes, {"encoder_layer", "fc", "abc"});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].size, std::strlen("encoder_layer"));
  EXPECT_EQ(report.wordsSearched, 1u);
  EXPECT_EQ(report.wordsLeftOut, 2u) << "too short for so many bytes";
}

TEST(Audit, FindsHiddenExecutables) {
  std::vector<uint8_t> weights = makeWeights(200000, 3);
  plant(weights, 4000,
        std::string("\x7f"
                    "ELF\x02\x01\x01",
                    7));
  EXPECT_EQ(auditModule(makeModule(makeCode(), weights), {}).findings.size(),
            1u);
}

TEST(AuditCode, AcceptsComputing) {
  std::vector<uint8_t> code = makeCode();
  int findings = 0;
  ASSERT_FALSE(bool(
      checkCode(MV_ARCH_X86_64, code, {0, 8},
                [&](size_t, size_t, const std::string &) { ++findings; })));
  EXPECT_EQ(findings, 0);
}

TEST(AuditCode, RefusesEverythingElse) {
  struct {
    std::vector<uint8_t> code;
    std::vector<uint64_t> entries;
    const char *what;
  } cases[] = {
      {{0x0f, 0x05, 0xc3}, {}, "a system call"},
      {{0xcd, 0x80, 0xc3}, {}, "an interrupt"},
      {{0x6e, 0x6f, 0xc3}, {}, "output"},
      {{0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xc3}, {}, "fs:0"},
      {{0xeb, 0x01, 0x31, 0xc0, 0xc3}, {}, "a jump into an instruction"},
      {{0xe9, 0x00, 0x10, 0x00, 0x00}, {}, "a jump out of the text"},
      {{0x06, 0xc3}, {}, "no instruction"},
      {{0x31, 0xc0, 0xc3}, {1}, "an entry inside an instruction"},
      {{0x48, 0x8b}, {}, "half an instruction"}};
  for (auto &c : cases) {
    int findings = 0;
    ASSERT_FALSE(bool(
        checkCode(MV_ARCH_X86_64, c.code, c.entries,
                  [&](size_t, size_t, const std::string &) { ++findings; })));
    EXPECT_GT(findings, 0) << c.what;
  }
}

/// AArch64's insertions of lanes begin like x86's input and output.
TEST(AuditCode, KnowsArchitecturesApart) {
  struct {
    std::vector<uint8_t> code;
    int findings;
  } cases[] = {
      {{0xa7, 0x04, 0x18, 0x6e, 0xc0, 0x03, 0x5f, 0xd6}, 0}, // mov v7.d[1]; ret
      {{0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6}, 1}, // svc #0; ret
  };
  for (const auto &c : cases) {
    int findings = 0;
    ASSERT_FALSE(errorToBool(
        checkCode(MV_ARCH_AARCH64, c.code, {0},
                  [&](size_t, size_t, const std::string &) { ++findings; })));
    EXPECT_EQ(findings, c.findings);
  }
}

TEST(AuditVocabulary, ReadsMlir) {
  const char text[] =
      "func.func @forward(%arg0: tensor<1xf32>) loc(\"my/net.py\":1:1)";
  auto words = sourceVocabulary(
      "dir/secret_model.mlir",
      {reinterpret_cast<const uint8_t *>(text), sizeof(text) - 1});
  ASSERT_TRUE(bool(words));
  for (const char *word : {"forward", "tensor", "my/net.py", "secret_model",
                           "secret_model.mlir", "dir/secret_model.mlir"})
    EXPECT_TRUE(words->count(word)) << word;
}

TEST(AuditVocabulary, ReadsProtobuf) {
  // Field 7, a message with field 1 "conv1.weight" and field 2 (numbers).
  std::string inner = "\x0a\x0c"
                      "conv1.weight";
  inner += std::string("\x12\x04\x00\x01\xff\xfe", 6);
  std::string outer = "\x3a" + std::string(1, char(inner.size())) + inner;
  auto words = sourceVocabulary(
      "m.onnx",
      {reinterpret_cast<const uint8_t *>(outer.data()), outer.size()});
  ASSERT_TRUE(bool(words));
  EXPECT_TRUE(words->count("conv1.weight"));
  EXPECT_TRUE(words->count("weight"));
  // Not a protobuf: said so.
  std::string broken = "\x3a\xff\xff\xff\x0f";
  auto none = sourceVocabulary(
      "m.onnx",
      {reinterpret_cast<const uint8_t *>(broken.data()), broken.size()});
  EXPECT_FALSE(bool(none));
  llvm::consumeError(none.takeError());
}

} // namespace
