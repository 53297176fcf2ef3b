//===- HostileTest.cpp - Damaged programs in whole archives ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes the small exports of the lit tests apart, damages one value of their
// JSON at a time, and imports the result. Whatever the file says: no crash, and
// either a module that verifies or an error.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Import.h"
#include "compiler/import/torch/Archive.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "tests/unit/compiler-import-torch/ZipWriter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace marver;
using namespace marver::torch;

namespace {

struct Outcome {
  bool isModule = false;
  std::vector<std::string> errors;
};

Outcome import(const std::string &bytes) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Outcome outcome;
  mlir::ScopedDiagnosticHandler handler(
      &context, [&](mlir::Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
          outcome.errors.push_back(diagnostic.str());
        return mlir::success();
      });
  ImportRequest request;
  request.path = "model.pt2";
  request.data = llvm::MemoryBuffer::getMemBufferCopy(bytes);
  outcome.isModule = static_cast<bool>(importTorch(&context, request));
  return outcome;
}

/// The files of one export.
std::vector<ZipEntry> filesOf(const char *name) {
  auto buffer = llvm::MemoryBuffer::getFile(std::string(INPUTS) + name);
  EXPECT_TRUE(static_cast<bool>(buffer)) << name;
  llvm::StringRef text = (*buffer)->getBuffer();
  llvm::Expected<Archive> archive =
      Archive::open(llvm::ArrayRef<char>(text.data(), text.size()));
  EXPECT_TRUE(static_cast<bool>(archive));
  std::vector<ZipEntry> files;
  for (const std::string &file : archive->names()) {
    llvm::ArrayRef<char> bytes = *archive->find(file);
    // The sample inputs are pickled: nothing ever looks at them.
    if (file.find("sample_inputs") == std::string::npos)
      files.push_back({file, std::string(bytes.data(), bytes.size())});
  }
  return files;
}

/// Begin and end of every string, number and literal of a JSON text.
std::vector<std::pair<size_t, size_t>> scalarsOf(const std::string &text) {
  std::vector<std::pair<size_t, size_t>> result;
  for (size_t i = 0; i < text.size();) {
    size_t begin = i;
    if (text[i] == '"') {
      for (++i; text[i] != '"'; ++i)
        i += text[i] == '\\';
      ++i;
    } else if (isalnum(text[i]) || text[i] == '-') {
      while (isalnum(text[i]) || strchr("+-.", text[i]))
        ++i;
    } else {
      ++i;
      continue;
    }
    result.push_back({begin, i});
  }
  return result;
}

class HostileProgram : public testing::TestWithParam<const char *> {};

} // namespace

TEST_P(HostileProgram, IsImportedOrRefused) {
  std::vector<ZipEntry> files = filesOf(GetParam());
  Outcome whole = import(writeZip(files));
  ASSERT_TRUE(whole.isModule) << whole.errors[0];
  const char *replacements[] = {"0",
                                "-1",
                                "1",
                                "4",
                                "9223372036854775807",
                                "-9223372036854775808",
                                "1e99",
                                "null",
                                "true",
                                "[]",
                                "{}",
                                "\"\"",
                                "\"x\""};
  size_t cases = 0, refused = 0;
  for (ZipEntry &file : files) {
    if (file.name.find(".json") == std::string::npos)
      continue;
    const std::string original = file.data;
    for (auto [begin, end] : scalarsOf(original)) {
      // Keys and the texts of stack traces: once; values: all replacements in
      // turn, one a place, so that the test stays short.
      const char *replacement = replacements[cases++ % std::size(replacements)];
      if (original[end] == ':')
        replacement = "\"other\"";
      file.data =
          original.substr(0, begin) + replacement + original.substr(end);
      Outcome outcome = import(writeZip(files));
      EXPECT_NE(outcome.isModule, !outcome.errors.empty())
          << "'" << original.substr(begin, end - begin) << "' at " << begin
          << " of " << file.name << " replaced by " << replacement;
      refused += !outcome.isModule;
    }
    file.data = original;
  }
  EXPECT_GT(cases, 100U);
  EXPECT_GT(refused, cases / 10);
}

INSTANTIATE_TEST_SUITE_P(Exports, HostileProgram,
                         testing::Values("convolution.pt2", "dynamic.pt2",
                                         "in_place.pt2", "weights.pt2",
                                         "region.pt2", "guarded.pt2",
                                         "checked.pt2"));

TEST(HostileWeights, AreRefused) {
  std::vector<ZipEntry> files = filesOf("convolution.pt2");
  for (ZipEntry &file : files) {
    if (file.name.find("/weight_") == std::string::npos ||
        file.data.size() <= 8)
      continue; // the count of batches is not used
    const std::string original = file.data;
    file.data.resize(original.size() - 4);
    Outcome outcome = import(writeZip(files));
    EXPECT_FALSE(outcome.isModule) << file.name;
    EXPECT_THAT(outcome.errors,
                testing::Contains(testing::HasSubstr("too few")));
    file.data = original;
  }
}

TEST(HostileWeights, AreNeverUnpickled) {
  std::vector<ZipEntry> files = filesOf("convolution.pt2");
  for (ZipEntry &file : files)
    for (size_t at = 0; (at = file.data.find("\"use_pickle\": false", at)) !=
                        std::string::npos;)
      file.data.replace(at, 19, "\"use_pickle\": true");
  Outcome outcome = import(writeZip(files));
  EXPECT_FALSE(outcome.isModule);
  EXPECT_THAT(outcome.errors, testing::Contains(testing::HasSubstr("pickled")));
}

TEST(HostileJson, IsNotTooDeep) {
  std::vector<ZipEntry> files = filesOf("convolution.pt2");
  for (ZipEntry &file : files)
    if (file.name.find("models/") != std::string::npos)
      file.data = std::string(1000000, '[');
  Outcome outcome = import(writeZip(files));
  ASSERT_FALSE(outcome.isModule);
  EXPECT_EQ(outcome.errors.size(), 1U);
}
