//===- Chance.h - What random bytes would look like -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_AUDIT_CHANCE_H
#define MARVER_TOOLS_AUDIT_CHANCE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <array>
#include <cstdint>
#include <vector>

namespace marver::audit {

/// More than this many occurrences expected by chance: finding one proves
/// nothing.
constexpr double kRareEnough = 1e-6;

/// Bytes drawn independently with the frequencies that they have in `bytes`.
class ByteModel {
public:
  explicit ByteModel(llvm::ArrayRef<uint8_t> bytes);

  /// How often `word` would occur.
  double expected(llvm::StringRef word) const;

private:
  std::array<double, 256> frequency{};
  double count;
};

/// A run of printable characters that chance does not explain.
struct TextRun {
  size_t begin;
  size_t size;
};

/// The runs of text in numeric data. The chance of a run is that of its length:
/// how often that many printable bytes in a row occur, given how frequent they
/// are around it at each position of an 8-byte element (the exponents of floats
/// are often printable, their last bytes are random).
std::vector<TextRun> findTextRuns(llvm::ArrayRef<uint8_t> bytes);

/// Whether `text` could be words: mostly letters, digits and what joins them,
/// and not the same few over and over.
bool looksLikeText(llvm::StringRef text);

} // namespace marver::audit

#endif // MARVER_TOOLS_AUDIT_CHANCE_H
