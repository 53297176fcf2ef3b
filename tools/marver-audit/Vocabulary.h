//===- Vocabulary.h - Words that must not be in a module --------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_AUDIT_VOCABULARY_H
#define MARVER_TOOLS_AUDIT_VOCABULARY_H

#include "Chance.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <set>
#include <string>

namespace marver::audit {

using Words = std::set<std::string, std::less<>>;

/// What gives a compiler or a file format away, and this machine's own names:
/// user, host, folders.
Words knownFingerprints();

/// All words of the model in `bytes` (a .pt2 archive, an .onnx file or .mlir
/// text), whole and in parts, and those of its path.
llvm::Expected<Words> sourceVocabulary(llvm::StringRef path,
                                       llvm::ArrayRef<uint8_t> bytes);

/// Finds many words at once.
class WordSearch {
public:
  /// Takes the words that chance would not produce in `model`; the others are
  /// counted.
  WordSearch(const Words &words, const ByteModel &model);

  size_t searched() const { return entries.size(); }
  size_t leftOut() const { return leftOutCount; }

  /// Calls `found` with the offset and the word of each occurrence of a longest
  /// word.
  void search(llvm::ArrayRef<uint8_t> bytes,
              llvm::function_ref<void(size_t, llvm::StringRef)> found) const;

private:
  std::vector<std::pair<uint32_t, std::string>> entries; ///< by first 4 bytes
  std::vector<bool> mayStart;
  size_t leftOutCount = 0;
};

} // namespace marver::audit

#endif // MARVER_TOOLS_AUDIT_VOCABULARY_H
