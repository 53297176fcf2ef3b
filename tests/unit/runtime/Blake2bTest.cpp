//===- Blake2bTest.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "runtime/src/Blake2b.h"

#include "gtest/gtest.h"

#include <cstdio>
#include <string>
#include <vector>

using namespace marver;

static std::string hex(const uint8_t *digest) {
  std::string text;
  for (size_t i = 0; i < Blake2b::kDigestSize; ++i) {
    char byte[3];
    snprintf(byte, sizeof(byte), "%02x", digest[i]);
    text += byte;
  }
  return text;
}

static std::string hashOf(const std::string &text) {
  uint8_t digest[Blake2b::kDigestSize];
  Blake2b::hash(text.data(), text.size(), digest);
  return hex(digest);
}

// Expected values: Python's hashlib.blake2b(text, digest_size=32).
TEST(Blake2b, KnownDigests) {
  EXPECT_EQ(hashOf(""), "0e5751c026e543b2e8ab2eb06099daa1"
                        "d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(hashOf("abc"), "bddd813c634239723171ef3fee98579b"
                           "94964e3bb1cb3e427262c8c068d52319");
  EXPECT_EQ(hashOf(std::string(128, 'a')), "ae2aa48507885c4c950fb809b2076f95"
                                           "9cde9f8ea6da260d9a3587df33dac450");
  EXPECT_EQ(hashOf(std::string(129, 'a')), "2f64744a6de0d2c0b56e64cf6e29a5aa"
                                           "a255010d415d51c75ccc82f73dccd865");
  EXPECT_EQ(hashOf(std::string(1000, 'a')), "e00b0ddbf1e2cdaf5c898e1a5e8826ea"
                                            "3a2c339bcf2a478da2e5fca9ff126672");
}

TEST(Blake2b, PiecesHashLikeTheWhole) {
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += static_cast<char>(i * 7);
  for (size_t piece : {1, 3, 64, 127, 128, 129, 255, 256, 999}) {
    Blake2b blake;
    for (size_t i = 0; i < text.size(); i += piece)
      blake.update(text.data() + i, std::min(piece, text.size() - i));
    uint8_t digest[Blake2b::kDigestSize];
    blake.final(digest);
    EXPECT_EQ(hex(digest), hashOf(text)) << "pieces of " << piece;
  }
}
