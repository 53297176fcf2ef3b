//===- Vocabulary.cpp - Text from token ids -------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Vocabulary.h"

#include <cstdlib>
#include <fstream>

using namespace whisper;

/// Bytes that are printable characters of Latin-1 are written as themselves.
static bool isPrintable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         byte >= 0xAE;
}

/// The characters of UTF-8 text; a malformed byte is taken for a character.
static std::u32string characters(const std::string &text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    auto lead = static_cast<unsigned char>(text[i++]);
    unsigned more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    char32_t character = more == 0 ? lead : lead & (0x3Fu >> more);
    for (; more != 0 && i < text.size(); --more)
      character =
          character << 6 | (static_cast<unsigned char>(text[i++]) & 63u);
    result += character;
  }
  return result;
}

bool Vocabulary::read(const std::string &path, std::string &error) {
  std::ifstream stream(path, std::ios::binary);
  for (std::string line; std::getline(stream, line);)
    tokens.push_back(line);
  if (tokens.empty()) {
    error = path + ": no vocabulary (a text file with one token a line)";
    return false;
  }
  // The other bytes are written as the characters from 256 on, in their order.
  char32_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte)
    byteOfCharacter[isPrintable(byte) ? byte : next++] =
        static_cast<char>(byte);
  return true;
}

bool Vocabulary::isSpecial(int64_t id) const {
  if (id < 0 || id >= static_cast<int64_t>(tokens.size()))
    return true;
  const std::string &token = tokens[static_cast<size_t>(id)];
  return token.size() > 4 && token.starts_with("<|") && token.ends_with("|>");
}

std::optional<double> Vocabulary::time(int64_t id) const {
  if (!isSpecial(id) || id < 0 || id >= static_cast<int64_t>(tokens.size()))
    return std::nullopt;
  const char *begin = tokens[static_cast<size_t>(id)].c_str() + 2;
  char *end = nullptr;
  double seconds = std::strtod(begin, &end);
  if (end == begin || std::string(end) != "|>")
    return std::nullopt;
  return seconds;
}

std::string Vocabulary::bytes(int64_t id) const {
  std::string result;
  if (isSpecial(id))
    return result;
  for (char32_t character : characters(tokens[static_cast<size_t>(id)]))
    if (auto found = byteOfCharacter.find(character);
        found != byteOfCharacter.end())
      result += found->second;
  return result;
}
