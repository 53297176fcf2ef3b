//===- CompareTest.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Compare.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace marver;

static Tensor floats(std::vector<float> values) {
  Tensor tensor;
  tensor.dtype = MV_DTYPE_F32;
  tensor.dims = {static_cast<int64_t>(values.size())};
  std::string error;
  EXPECT_TRUE(tensor.allocate(error));
  memcpy(tensor.data(), values.data(), tensor.bytes());
  return tensor;
}

static Comparison compareFloats(const std::vector<float> &expected,
                                const std::vector<float> &got,
                                Tolerance tolerance = {}) {
  Tensor tensor = floats(got);
  return compare(floats(expected), MV_DTYPE_F32, tensor.dims, tensor.data(),
                 tolerance);
}

TEST(Compare, Tolerances) {
  EXPECT_TRUE(compareFloats({1, 2}, {1, 2}, {0, 0}).matches);
  EXPECT_TRUE(compareFloats({1, 100}, {1, 100.9f}, {0.01, 0}).matches);
  EXPECT_FALSE(compareFloats({1, 100}, {1, 101.1f}, {0.01, 0}).matches);
  EXPECT_TRUE(compareFloats({0, 1}, {0.09f, 1}, {0, 0.1}).matches);
  EXPECT_FALSE(compareFloats({0, 1}, {0.11f, 1}, {0, 0.1}).matches);
  EXPECT_TRUE(compareFloats({1}, {1.00015f}).matches);
  EXPECT_FALSE(compareFloats({1}, {1.00025f}).matches);
  EXPECT_TRUE(compareFloats({0.0f}, {-0.0f}, {0, 0}).matches);
}

TEST(Compare, NotFinite) {
  EXPECT_TRUE(compareFloats({NAN}, {-NAN}, {0, 0}).matches);
  EXPECT_FALSE(compareFloats({NAN}, {1}, {1, 1e30}).matches);
  EXPECT_FALSE(compareFloats({1}, {NAN}, {1, 1e30}).matches);
  EXPECT_TRUE(compareFloats({INFINITY}, {INFINITY}, {0, 0}).matches);
  EXPECT_FALSE(compareFloats({INFINITY}, {-INFINITY}, {1, 1e30}).matches);
  EXPECT_FALSE(compareFloats({INFINITY}, {1e30f}, {1, 1e30}).matches);
}

TEST(Compare, Reports) {
  EXPECT_EQ(compareFloats({1, 2, 4, 8}, {1, 3, 4, 10}, {0, 0.5}).report,
            "differs at [1]: 3, expected 2; 2 of 4 elements differ, max abs "
            "error 2, max rel error 0.5 (rtol 0, atol 0.5)");
  EXPECT_EQ(compareFloats({1, 2}, {1, 2.5f}, {0, 1}).report,
            "matches: 2 elements, max abs error 0.5, max rel error 0.25");
  EXPECT_EQ(compareFloats({1, 2}, {1}).report, "is 1xf32, expected 2xf32");
}

TEST(Compare, IntegersAreExact) {
  Tensor expected;
  expected.dtype = MV_DTYPE_I64;
  expected.dims = {1, 2};
  std::string error;
  ASSERT_TRUE(expected.allocate(error));
  // Two numbers that are the same as a double.
  int64_t got[] = {0, (int64_t(1) << 60) + 1};
  storeInteger(MV_DTYPE_I64, expected.data() + 8, uint64_t(1) << 60);
  Comparison comparison =
      compare(expected, MV_DTYPE_I64, {1, 2},
              reinterpret_cast<const uint8_t *>(got), {1, 1000});
  EXPECT_FALSE(comparison.matches);
  EXPECT_NE(comparison.report.find("[0, 1]"), std::string::npos);
}
