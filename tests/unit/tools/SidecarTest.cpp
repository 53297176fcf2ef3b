//===- SidecarTest.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Sidecar.h"
#include "compiler/package/SidecarWriter.h"

#include "gtest/gtest.h"

#include <cstring>

using namespace marver;

static std::vector<uint8_t> example() {
  SidecarContents contents;
  contents.kernels = {
      {"k0", "matmul", "Gemm", "net.py:3", "1x2xf32", "8x48", 100, 200},
      {"k1", "pointwise", "", "net.py:3", "", "", -1, -1}};
  contents.places = {{"", ""}, {"index of Gather", "net.py:9"}, {"", "net.py"}};
  contents.entries = {{"main", {"x", ""}, {"y"}, {"batch"}, 4096},
                      {"step", {}, {"y"}, {}}};
  BuildId buildId;
  for (size_t i = 0; i < buildId.size(); ++i)
    buildId[i] = static_cast<uint8_t>(i);
  return writeSidecar(contents, buildId);
}

TEST(Sidecar, WrittenAndRead) {
  Sidecar sidecar;
  uint8_t buildId[MV_BUILD_ID_SIZE];
  std::string error;
  ASSERT_TRUE(parseSidecar(example(), sidecar, buildId, error)) << error;
  EXPECT_EQ(buildId[15], 15);
  ASSERT_EQ(sidecar.kernels.size(), 2u);
  EXPECT_EQ(sidecar.kernels[0].operation, "Gemm");
  EXPECT_EQ(sidecar.kernels[0].schedule, "8x48");
  EXPECT_EQ(sidecar.kernels[0].flops, 100);
  EXPECT_EQ(sidecar.kernels[1].operation, "");
  EXPECT_EQ(sidecar.kernels[1].location, "net.py:3");
  EXPECT_EQ(sidecar.placeText(1), "index of Gather at net.py:9");
  EXPECT_EQ(sidecar.placeText(2), "at net.py");
  EXPECT_EQ(sidecar.placeText(0), "");
  EXPECT_EQ(sidecar.placeText(-1), "");
  EXPECT_EQ(sidecar.placeText(3), "");
  const Sidecar::Entry *main = sidecar.findEntry("main");
  ASSERT_NE(main, nullptr);
  EXPECT_EQ(main->inputs, (std::vector<std::string>{"x", ""}));
  EXPECT_EQ(main->outputs, (std::vector<std::string>{"y"}));
  EXPECT_EQ(main->symbols, (std::vector<std::string>{"batch"}));
  EXPECT_EQ(main->arenaBound, 4096);
  ASSERT_NE(sidecar.findEntry("step"), nullptr);
  EXPECT_EQ(sidecar.findEntry("step")->arenaBound, -1);
  EXPECT_EQ(sidecar.findEntry("stop"), nullptr);
}

/// Damage gives an error or wrong words, never an access outside.
TEST(Sidecar, Damaged) {
  std::vector<uint8_t> whole = example();
  uint8_t buildId[MV_BUILD_ID_SIZE];
  std::string error;
  for (size_t size = 0; size < whole.size(); ++size) {
    Sidecar sidecar;
    std::vector<uint8_t> part(whole.begin(),
                              whole.begin() + static_cast<long>(size));
    part.shrink_to_fit();
    parseSidecar(part, sidecar, buildId, error);
  }
  for (size_t i = 0; i < whole.size(); ++i)
    for (uint8_t flip : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> changed = whole;
      changed[i] ^= flip;
      Sidecar sidecar;
      parseSidecar(changed, sidecar, buildId, error);
    }
  Sidecar sidecar;
  whole[0] ^= 1;
  EXPECT_FALSE(parseSidecar(whole, sidecar, buildId, error));
  EXPECT_EQ(error, "it is not a sidecar");
}
