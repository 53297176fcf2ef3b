//===- InputsFuzz.cpp -----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Inputs.h"

#include <cstdlib>

using namespace marver;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  static const std::vector<int64_t> shapes[] = {{}, {2, 3}, {0}, {1, 1, 4}};
  WantedType wanted = {data[0] % 13 + 1, shapes[data[1] % 4]};
  // Half of the texts begin with the right type.
  std::string spec(data + 2, data + size);
  if (data[0] & 0x80)
    spec = typeText(wanted.dtype, wanted.dims) + "=" + spec;
  // Files are another matter.
  if (spec.find_first_of("@+*") != std::string::npos)
    return 0;
  InputReader reader;
  std::vector<Tensor> tensors;
  std::string error;
  if (!reader.read({spec}, {wanted}, "input", {}, tensors, error)) {
    if (error.empty())
      abort();
    return 0;
  }
  // What was read prints as a text that reads as the same.
  const Tensor &tensor = tensors[0];
  if (tensor.dtype != wanted.dtype || tensor.dims != wanted.dims)
    abort();
  std::string text = tensorText(tensor.dtype, tensor.dims, tensor.data(), 100);
  std::vector<Tensor> again;
  if (!reader.read({text}, {wanted}, "input", {}, again, error))
    abort();
  if (text.find("nan") == std::string::npos && tensor.bytes() > 0 &&
      memcmp(again[0].data(), tensor.data(), tensor.bytes()) != 0)
    abort();
  return 0;
}
