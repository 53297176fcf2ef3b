//===- Vocabulary.h - Text from token ids -----------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef WHISPER_VOCABULARY_H
#define WHISPER_VOCABULARY_H

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace whisper {

/// The tokens of a byte-level BPE vocabulary (Radford et al. 2019, "Language
/// Models are Unsupervised Multitask Learners"): a token stands for bytes, and
/// is written with one printable character for each of them.
class Vocabulary {
public:
  /// Reads a file with one token a line, in the order of the ids. False and one
  /// line in `error` if it cannot.
  bool read(const std::string &path, std::string &error);

  size_t size() const { return tokens.size(); }
  /// A token like <|endoftext|>, or an id that the file does not have: no text.
  bool isSpecial(int64_t id) const;
  /// Seconds from the window's begin, if `id` is a timestamp like <|1.50|>.
  std::optional<double> time(int64_t id) const;
  /// The bytes of a token, which may be part of a UTF-8 character; nothing for
  /// a special one.
  std::string bytes(int64_t id) const;

private:
  std::vector<std::string> tokens;
  std::unordered_map<char32_t, char> byteOfCharacter;
};

} // namespace whisper

#endif // WHISPER_VOCABULARY_H
