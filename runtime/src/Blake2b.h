//===- Blake2b.h - The hash of a module -------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// BLAKE2b (RFC 7693) without key and with the 32-byte digest that the module
// format uses. Shared by the runtime and by the module writer.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_BLAKE2B_H
#define MARVER_RUNTIME_BLAKE2B_H

#include <cstddef>
#include <cstdint>

namespace marver {

class Blake2b {
public:
  static constexpr size_t kDigestSize = 32;

  Blake2b();
  void update(const void *data, size_t size);
  void final(uint8_t digest[kDigestSize]);

  /// Hash of one range of bytes.
  static void hash(const void *data, size_t size, uint8_t digest[kDigestSize]);

private:
  static constexpr size_t kBlockSize = 128;
  void compress(const uint8_t *block, bool last);

  uint64_t state[8];
  uint64_t total = 0;
  uint8_t buffer[kBlockSize];
  size_t buffered = 0;
};

} // namespace marver

#endif // MARVER_RUNTIME_BLAKE2B_H
