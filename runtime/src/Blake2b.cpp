//===- Blake2b.cpp - The hash of a module ---------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blake2b.h"

#include <cstring>

using namespace marver;

static const uint64_t initial[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b,
                                    0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                    0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                    0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static const uint8_t schedule[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

static uint64_t rotateRight(uint64_t value, int bits) {
  return value >> bits | value << (64 - bits);
}

Blake2b::Blake2b() {
  memcpy(state, initial, sizeof(state));
  state[0] ^= 0x01010000 ^ kDigestSize;
}

void Blake2b::compress(const uint8_t *block, bool last) {
  uint64_t words[16];
  memcpy(words, block, sizeof(words));
  uint64_t v[16];
  memcpy(v, state, sizeof(state));
  memcpy(v + 8, initial, sizeof(initial));
  v[12] ^= total;
  if (last)
    v[14] = ~v[14];

  auto mix = [&](int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = rotateRight(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotateRight(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotateRight(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotateRight(v[b] ^ v[c], 63);
  };
  for (const uint8_t *s : schedule) {
    mix(0, 4, 8, 12, words[s[0]], words[s[1]]);
    mix(1, 5, 9, 13, words[s[2]], words[s[3]]);
    mix(2, 6, 10, 14, words[s[4]], words[s[5]]);
    mix(3, 7, 11, 15, words[s[6]], words[s[7]]);
    mix(0, 5, 10, 15, words[s[8]], words[s[9]]);
    mix(1, 6, 11, 12, words[s[10]], words[s[11]]);
    mix(2, 7, 8, 13, words[s[12]], words[s[13]]);
    mix(3, 4, 9, 14, words[s[14]], words[s[15]]);
  }
  for (int i = 0; i < 8; ++i)
    state[i] ^= v[i] ^ v[i + 8];
}

void Blake2b::update(const void *data, size_t size) {
  const auto *bytes = static_cast<const uint8_t *>(data);
  while (size > 0) {
    // The last block is compressed by final(), so a full buffer waits until
    // more bytes come.
    if (buffered == kBlockSize) {
      total += kBlockSize;
      compress(buffer, /*last=*/false);
      buffered = 0;
    }
    if (buffered == 0 && size > kBlockSize) {
      total += kBlockSize;
      compress(bytes, /*last=*/false);
      bytes += kBlockSize;
      size -= kBlockSize;
      continue;
    }
    size_t part = kBlockSize - buffered < size ? kBlockSize - buffered : size;
    memcpy(buffer + buffered, bytes, part);
    buffered += part;
    bytes += part;
    size -= part;
  }
}

void Blake2b::final(uint8_t digest[kDigestSize]) {
  total += buffered;
  memset(buffer + buffered, 0, kBlockSize - buffered);
  compress(buffer, /*last=*/true);
  memcpy(digest, state, kDigestSize);
}

void Blake2b::hash(const void *data, size_t size, uint8_t digest[kDigestSize]) {
  Blake2b blake;
  blake.update(data, size);
  blake.final(digest);
}
