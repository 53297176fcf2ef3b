//===- NpyFuzz.cpp --------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Npy.h"

#include <cstdlib>

using namespace marver;

/// The bytes are a header's text and data, so that the magic need not be found.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  int version = data[0] % 5;
  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y'};
  bytes.push_back(static_cast<uint8_t>(version));
  bytes.push_back(0);
  size_t header = data[1] < size - 2 ? data[1] : size - 2;
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes.push_back(static_cast<uint8_t>(i ? 0 : header));
  bytes.insert(bytes.end(), data + 2, data + size);
  bytes.shrink_to_fit();
  Tensor tensor;
  size_t taken;
  std::string error;
  if (readNpy(bytes.data(), bytes.size(), data[0] % 14, tensor, taken, error)) {
    if (taken > bytes.size() || mv_dtype_size(tensor.dtype) == 0)
      abort();
  } else if (error.empty()) {
    abort();
  }
  return 0;
}
