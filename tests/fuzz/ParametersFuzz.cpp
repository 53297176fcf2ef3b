//===- ParametersFuzz.cpp -------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Parameters.h"
#include "tests/fuzz/Edits.h"

#include <cstdlib>
#include <cstring>

using namespace marver;

namespace {

void add(std::string &bytes, uint64_t value, unsigned width = 8) {
  bytes.append(reinterpret_cast<const char *>(&value), width);
}

std::string archive() {
  std::string bytes = "IRPA";
  add(bytes, 0, 4);
  for (uint64_t value : {88, 0, 0, 1, 96, 76, 176, 1, 192, 4})
    add(bytes, value);
  bytes.resize(96);
  add(bytes, 76);
  add(bytes, 2, 4);
  for (uint64_t value : {0, 0, 1, 0, 0, 64, 0, 4})
    add(bytes, value);
  bytes.resize(192, 'w');
  return bytes + "data";
}

std::string safetensors() {
  std::string bytes,
      text = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  add(bytes, text.size());
  return bytes + text + "data";
}

std::string gguf() {
  std::string bytes = "GGUF";
  add(bytes, 3, 4);
  add(bytes, 1);
  add(bytes, 1);
  add(bytes, 1);
  bytes += "k";
  add(bytes, 9, 4); // an array of one string
  add(bytes, 8, 4);
  add(bytes, 1);
  add(bytes, 1);
  bytes += "v";
  add(bytes, 1);
  bytes += "w";
  add(bytes, 1, 4);
  add(bytes, 1);
  add(bytes, 0, 4);
  add(bytes, 0);
  bytes.resize((bytes.size() + 31) / 32 * 32);
  return bytes + "data";
}

} // namespace

/// The first byte chooses a format, the others are edits (Edits.h) of a valid
/// file of it. All entries that are accepted can be read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::string files[] = {archive(), safetensors(), gguf()};
  if (size == 0)
    return 0;
  const std::string &valid = files[data[0] % 3];
  std::vector<uint8_t> bytes(valid.begin(), valid.end());
  applyEdits(bytes, bytes.size(), data + 1, size - 1);
  // On the heap with its own size: a read behind the end is seen.
  std::vector<char> file(bytes.begin(), bytes.end());
  file.shrink_to_fit();
  ParameterTable table;
  llvm::Error error =
      readParameters(llvm::StringRef(file.data(), file.size()), table);
  const bool isGood = !error;
  if (error && llvm::toString(std::move(error)).empty())
    abort();
  unsigned sum = 0;
  for (auto &entry : table)
    for (char byte : entry.second.bytes)
      sum += static_cast<unsigned char>(byte);
  volatile unsigned sink = sum;
  (void)sink;
  if (!isGood &&
      std::equal(valid.begin(), valid.end(), file.begin(), file.end()))
    abort();
  return 0;
}
