//===- Edits.h - Inputs as edits of something valid -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Random bytes rarely get past the first check of a format. So the fuzzer's
// bytes are read as changes to a valid file: where (16 bits), how many bytes
// (1 to 8), which.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_FUZZ_EDITS_H
#define MARVER_TESTS_FUZZ_EDITS_H

#include <cstddef>
#include <cstdint>
#include <vector>

/// Applies edits to the first `range` bytes.
inline void applyEdits(std::vector<uint8_t> &bytes, size_t range,
                       const uint8_t *data, size_t size) {
  while (size >= 4) {
    size_t offset = static_cast<size_t>(data[0] | data[1] << 8) % range;
    size_t count = data[2] % 8u;
    data += 3;
    size -= 3;
    for (size_t i = 0; i <= count && size > 0 && offset < bytes.size(); ++i) {
      bytes[offset++] = *data++;
      --size;
    }
  }
}

#endif // MARVER_TESTS_FUZZ_EDITS_H
