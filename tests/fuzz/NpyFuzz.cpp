//===- NpyFuzz.cpp --------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tests/fuzz/Edits.h"
#include "tools/common/Npy.h"

#include <cstdlib>

using namespace marver;

/// The bytes are edits (Edits.h) of a valid file, the first and second of which
/// choose its type and what is wanted.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  int dtype = data[0] % 13 + 1;
  std::vector<uint8_t> bytes = npyHeader(dtype, {2, 1, 3});
  bytes[6] = 1 + data[1] % 3;
  if (bytes[6] != 1) // a longer field for the header's size
    bytes.insert(bytes.begin() + 10, 2, 0);
  size_t header = bytes.size();
  bytes.resize(header + 6 * mv_dtype_size(dtype));
  applyEdits(bytes, header, data + 2, size - 2);
  bytes.shrink_to_fit();
  Tensor tensor;
  size_t taken;
  std::string error;
  if (readNpy(bytes.data(), bytes.size(), data[1] / 16, tensor, taken, error)) {
    if (taken > bytes.size() || mv_dtype_size(tensor.dtype) == 0)
      abort();
  } else if (error.empty()) {
    abort();
  }
  return 0;
}
