//===- SidecarFuzz.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/package/SidecarWriter.h"
#include "tests/fuzz/Edits.h"
#include "tools/common/Sidecar.h"

#include <cstring>

using namespace marver;

// Not under test: what joins a sidecar to a module.
void mv_module_query(const mv_module *, mv_module_info *info) { *info = {}; }

/// The bytes are edits (Edits.h) of a valid sidecar.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<uint8_t> valid = [] {
    SidecarContents contents;
    contents.kernels = {{"a", "b", "c", "d", "e", "f", 1, 2}, {}};
    contents.places = {{"g", "h"}, {}};
    contents.entries = {{"main", {"x"}, {"y"}, {"n"}}, {"step", {}, {"y"}, {}}};
    return writeSidecar(contents, {});
  }();
  std::vector<uint8_t> bytes = valid;
  // The last byte shortens the file now and then.
  if (size > 0 && data[size - 1] >= 0xc0)
    bytes.resize(bytes.size() * (data[size - 1] - 0xbf) / 65);
  if (!bytes.empty())
    applyEdits(bytes, bytes.size(), data, size);
  bytes.shrink_to_fit();
  Sidecar sidecar;
  uint8_t buildId[MV_BUILD_ID_SIZE];
  std::string error;
  parseSidecar(bytes, sidecar, buildId, error);
  for (int64_t place = -2; place < 5; ++place)
    sidecar.placeText(place);
  return 0;
}
