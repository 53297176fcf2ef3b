//===- MakeTestModule.cpp - Writes the test module to a file --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModule.h"

#include <cstdio>

using namespace marver;

static bool writeFile(const std::string &path,
                      const std::vector<uint8_t> &bytes) {
  FILE *file = fopen(path.c_str(), "wb");
  if (!file)
    return false;
  bool written = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return fclose(file) == 0 && written;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: make-test-module IMAGE MODULE\n");
    return 2;
  }
  std::vector<uint8_t> bytes;
  BuildId buildId;
  std::string error;
  if (!writeModule(testContents(argv[1]), bytes, buildId, error)) {
    fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  std::string path = argv[2];
  return writeFile(path, bytes) &&
                 writeFile(path + ".dbg",
                           writeSidecar(testDescriptions(), buildId))
             ? 0
             : 1;
}
