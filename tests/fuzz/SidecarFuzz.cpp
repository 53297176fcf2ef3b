//===- SidecarFuzz.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/package/SidecarWriter.h"
#include "tools/common/Sidecar.h"

#include <cstring>

using namespace marver;

// Not under test: what joins a sidecar to a module.
void mv_module_query(const mv_module *, mv_module_info *info) { *info = {}; }

/// The bytes are edits to a valid sidecar, as in ModuleFuzz.cpp.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<uint8_t> valid = [] {
    SidecarContents contents;
    contents.kernels = {{"a", "b", "c", "d", "e", "f", 1, 2}, {}};
    contents.places = {{"g", "h"}, {}};
    contents.entries = {{"main", {"x"}, {"y"}, {"n"}}, {"step", {}, {"y"}, {}}};
    return writeSidecar(contents, {});
  }();
  std::vector<uint8_t> bytes = valid;
  while (size >= 4) {
    size_t offset = (data[0] | data[1] << 8) % bytes.size();
    size_t count = data[2] % 8;
    data += 3;
    size -= 3;
    for (size_t i = 0; i <= count && size > 0 && offset < bytes.size(); ++i) {
      bytes[offset++] = *data++;
      --size;
    }
    // Now and then it ends early.
    if (count == 7 && size > 0 && bytes.size() > *data)
      bytes.resize(bytes.size() - *data);
    if (bytes.empty())
      break;
  }
  bytes.shrink_to_fit();
  Sidecar sidecar;
  uint8_t buildId[MV_BUILD_ID_SIZE];
  std::string error;
  parseSidecar(bytes, sidecar, buildId, error);
  for (int64_t place = -2; place < 5; ++place)
    sidecar.placeText(place);
  return 0;
}
