//===- ElementTest.cpp ----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Tensor.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace marver;

static uint16_t bitsOf(int dtype, const std::string &text) {
  uint8_t element[8] = {};
  std::string error;
  EXPECT_TRUE(parseElement(dtype, text, element, error)) << error;
  uint16_t bits;
  memcpy(&bits, element, 2);
  return bits;
}

TEST(Element, HalfPrecision) {
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "0"), 0x0000);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "-0"), 0x8000);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "1"), 0x3c00);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "-2"), 0xc000);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "65504"), 0x7bff);
  // Rounds to the even neighbour, which is infinity; just below it does not.
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "65520"), 0x7c00);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "65519.99"), 0x7bff);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "1e9"), 0x7c00);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "-inf"), 0xfc00);
  // Subnormals: the smallest, half of it (to even: zero), the largest.
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "5.9604645e-8"), 0x0001);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "2.98023223876953125e-8"), 0x0000);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "2.99e-8"), 0x0001);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "6.0976e-5"), 0x03ff);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "6.1035e-5"), 0x0400);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "1e-300"), 0x0000);
  // Ties to even.
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "2049"), 0x6800);
  EXPECT_EQ(bitsOf(MV_DTYPE_F16, "2051"), 0x6802);
  EXPECT_EQ(bitsOf(MV_DTYPE_BF16, "1"), 0x3f80);
  EXPECT_EQ(bitsOf(MV_DTYPE_BF16, "3.14159"), 0x4049);
  EXPECT_EQ(bitsOf(MV_DTYPE_BF16, "1.00390625"), 0x3f80);
  EXPECT_EQ(bitsOf(MV_DTYPE_BF16, "3.4e38"), 0x7f80);
  EXPECT_EQ(bitsOf(MV_DTYPE_BF16, "1e-40"), 0x0001);
}

/// Every pattern of bits comes back through its text.
TEST(Element, HalfPrecisionTextsComeBack) {
  for (int dtype : {MV_DTYPE_F16, MV_DTYPE_BF16})
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      uint16_t element = static_cast<uint16_t>(bits);
      auto *bytes = reinterpret_cast<uint8_t *>(&element);
      double value = loadDouble(dtype, bytes);
      std::string text = elementText(dtype, bytes);
      if (std::isnan(value)) {
        EXPECT_TRUE(text == "nan" || text == "-nan") << text;
        continue;
      }
      ASSERT_EQ(bitsOf(dtype, text), bits) << text;
      uint8_t stored[2];
      storeDouble(dtype, stored, value);
      ASSERT_EQ(memcmp(stored, bytes, 2), 0) << text;
    }
}

TEST(Element, Integers) {
  uint8_t element[8] = {};
  std::string error;
  auto accepts = [&](int dtype, const char *text) {
    return parseElement(dtype, text, element, error);
  };
  EXPECT_TRUE(accepts(MV_DTYPE_I8, "-128"));
  EXPECT_EQ(elementText(MV_DTYPE_I8, element), "-128");
  EXPECT_TRUE(accepts(MV_DTYPE_I8, "255"));
  EXPECT_EQ(elementText(MV_DTYPE_I8, element), "-1");
  EXPECT_FALSE(accepts(MV_DTYPE_I8, "256"));
  EXPECT_EQ(error, "'256' is out of the range of i8");
  EXPECT_FALSE(accepts(MV_DTYPE_I8, "-129"));
  EXPECT_FALSE(accepts(MV_DTYPE_U8, "-1"));
  EXPECT_TRUE(accepts(MV_DTYPE_I64, "-9223372036854775808"));
  EXPECT_EQ(elementText(MV_DTYPE_I64, element), "-9223372036854775808");
  EXPECT_TRUE(accepts(MV_DTYPE_U64, "18446744073709551615"));
  EXPECT_EQ(elementText(MV_DTYPE_U64, element), "18446744073709551615");
  EXPECT_FALSE(accepts(MV_DTYPE_U64, "18446744073709551616"));
  EXPECT_FALSE(accepts(MV_DTYPE_I32, "1.5"));
  EXPECT_EQ(error, "'1.5' is not an integer of type i32");
  EXPECT_FALSE(accepts(MV_DTYPE_I32, "x"));
  EXPECT_FALSE(accepts(MV_DTYPE_I32, "-"));
  EXPECT_TRUE(accepts(MV_DTYPE_I1, "true"));
  EXPECT_EQ(elementText(MV_DTYPE_I1, element), "1");
  EXPECT_FALSE(accepts(MV_DTYPE_I1, "2"));
  EXPECT_FALSE(accepts(MV_DTYPE_F32, "1.2.3"));
  EXPECT_FALSE(accepts(MV_DTYPE_F32, "1e"));
  EXPECT_TRUE(accepts(MV_DTYPE_F32, "+1.5"));
  EXPECT_TRUE(accepts(MV_DTYPE_F32, "1e999"));
  EXPECT_EQ(elementText(MV_DTYPE_F32, element), "inf");
}

TEST(Element, TypeNames) {
  EXPECT_EQ(dtypeOf("f32"), MV_DTYPE_F32);
  EXPECT_EQ(dtypeOf("ui8"), MV_DTYPE_U8);
  EXPECT_EQ(dtypeOf("si64"), MV_DTYPE_I64);
  EXPECT_EQ(dtypeOf("i4"), 0);
  EXPECT_EQ(dtypeOf(""), 0);
  EXPECT_EQ(typeText(MV_DTYPE_BF16, {2, 0}), "2x0xbf16");
}

TEST(Element, AbsurdTensorsAreRefused) {
  Tensor tensor;
  tensor.dtype = MV_DTYPE_F32;
  std::string error;
  tensor.dims = {int64_t(1) << 40, int64_t(1) << 40};
  EXPECT_FALSE(tensor.allocate(error));
  tensor.dims = {int64_t(1) << 44};
  EXPECT_FALSE(tensor.allocate(error));
  tensor.dims = {int64_t(1) << 62, 0};
  EXPECT_TRUE(tensor.allocate(error));
  EXPECT_EQ(tensor.bytes(), 0u);
}
