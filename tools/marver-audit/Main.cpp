//===- Main.cpp - marver-audit --------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Audit.h"
#include "marver/abi.h"
#include "marver/format.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

using namespace marver::audit;

namespace {

/// Findings printed in full; the rest is counted.
constexpr size_t kMostFindings = 50;

llvm::ArrayRef<uint8_t> bytesOf(const llvm::MemoryBuffer &buffer) {
  return {reinterpret_cast<const uint8_t *>(buffer.getBufferStart()),
          buffer.getBufferSize()};
}

void print(const Finding &finding, llvm::ArrayRef<uint8_t> bytes) {
  llvm::ArrayRef<uint8_t> shown =
      bytes.slice(finding.offset, std::min<uint64_t>(finding.size, 48));
  llvm::outs() << llvm::format_hex(finding.offset, 0) << " " << finding.section
               << ": " << finding.what << ": "
               << llvm::toHex(shown.take_front(24), /*LowerCase=*/true)
               << " \"";
  for (uint8_t byte : shown)
    llvm::outs() << (llvm::isPrint(static_cast<char>(byte))
                         ? static_cast<char>(byte)
                         : '.');
  llvm::outs() << (finding.size > shown.size() ? "...\"\n" : "\"\n");
}

int fail(const std::string &message) {
  llvm::errs() << "marver-audit: " << message << "\n";
  return 1;
}

} // namespace

// Only a wrong table of options throws.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char **argv) {
  CLI::App app{
      "Checks that a module says nothing about itself: exit code 0 only "
      "if every byte is accounted for and no text was found.",
      "marver-audit"};
  std::string module;
  std::vector<std::string> sources;
  bool isVerbose = false;
  app.add_option("module", module, "the module (.mv)")->required();
  app.add_option(
         "--source", sources,
         "the model that it was compiled from (.pt2, .onnx, .mlir): none "
         "of its words may be in the module")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
  app.add_flag("--verbose,-v", isVerbose, "list the parts of the module");
  app.set_version_flag("--version",
                       "marver-audit " MARVER_VERSION " (module format " +
                           std::to_string(MV_FORMAT_VERSION) + ", ABI " +
                           std::to_string(MV_ABI_VERSION) + ")");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0)
      return app.exit(error); // --help, --version
    llvm::errs() << "marver-audit: " << error.what()
                 << " (--help lists the options)\n";
    return 2;
  }

  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(
      module, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail(module + ": " + buffer.getError().message());
  Words vocabulary;
  for (const std::string &source : sources) {
    auto file = llvm::MemoryBuffer::getFile(source, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
    if (!file)
      return fail(source + ": " + file.getError().message());
    auto words = sourceVocabulary(source, bytesOf(**file));
    if (!words)
      return fail(source + ": " + toString(words.takeError()));
    vocabulary.merge(*words);
  }

  Report report = auditModule(bytesOf(**buffer), vocabulary);
  if (isVerbose)
    for (const Report::Part &part : report.parts)
      llvm::outs() << llvm::format_hex(part.offset, 10) << " "
                   << llvm::format_decimal(part.size, 12) << " " << part.name
                   << "\n";
  size_t printed = 0;
  for (const Finding &finding : report.findings) {
    if (printed++ == kMostFindings)
      break;
    print(finding, bytesOf(**buffer));
  }
  if (!report.findings.empty()) {
    llvm::outs() << module << ": " << report.findings.size() << " findings\n";
    return 1;
  }
  llvm::outs() << module << ": nothing found in " << (*buffer)->getBufferSize()
               << " bytes";
  if (!sources.empty())
    llvm::outs() << "; " << report.wordsSearched
                 << " words of the source searched for, " << report.wordsLeftOut
                 << " left out as chance would produce them";
  llvm::outs() << "\n";
  return 0;
}
