//===- NpyTest.cpp --------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Npy.h"

#include "gtest/gtest.h"

#include <algorithm>

using namespace marver;

/// An array file of the given version, header and data.
static std::vector<uint8_t> npy(int version, const std::string &header,
                                const std::vector<uint8_t> &data) {
  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y'};
  bytes.push_back(static_cast<uint8_t>(version));
  bytes.push_back(0);
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes.push_back(static_cast<uint8_t>(header.size() >> 8 * i));
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

static std::string header(const std::string &descr, const std::string &shape,
                          bool fortran = false) {
  return "{'descr': '" + descr +
         "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }          \n";
}

static bool read(const std::vector<uint8_t> &bytes, Tensor &tensor,
                 std::string &error, int wanted = 0, size_t *taken = nullptr) {
  size_t unused;
  // A copy of exactly that size, so that the sanitizers see every overrun.
  std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), copy.get());
  return readNpy(copy.get(), bytes.size(), wanted, tensor,
                 taken ? *taken : unused, error);
}

TEST(Npy, Versions) {
  for (int version : {1, 2, 3}) {
    Tensor tensor;
    std::string error;
    ASSERT_TRUE(read(npy(version, header("<i2", "(2, 1)"), {1, 0, 2, 1}),
                     tensor, error))
        << error;
    EXPECT_EQ(tensor.dtype, MV_DTYPE_I16);
    EXPECT_EQ(tensor.dims, (std::vector<int64_t>{2, 1}));
    EXPECT_EQ(elementText(MV_DTYPE_I16, tensor.data() + 2), "258");
  }
  Tensor tensor;
  std::string error;
  EXPECT_FALSE(read(npy(4, header("<i2", "(1,)"), {1, 0}), tensor, error));
  EXPECT_EQ(error, ".npy version 4 is not supported");
}

TEST(Npy, ScalarsAndEmptyArrays) {
  Tensor tensor;
  std::string error;
  ASSERT_TRUE(read(npy(1, header("|u1", "()"), {7}), tensor, error)) << error;
  EXPECT_TRUE(tensor.dims.empty());
  EXPECT_EQ(tensor.data()[0], 7);
  ASSERT_TRUE(read(npy(1, header("<f8", "(3, 0, 5)"), {}), tensor, error));
  EXPECT_EQ(tensor.bytes(), 0u);
}

TEST(Npy, FortranOrder) {
  Tensor tensor;
  std::string error;
  // [[0, 1, 2], [3, 4, 5]], first index fastest.
  ASSERT_TRUE(read(npy(1, header("|i1", "(2, 3)", true), {0, 3, 1, 4, 2, 5}),
                   tensor, error));
  for (uint8_t i = 0; i < 6; ++i)
    EXPECT_EQ(tensor.data()[i], i);
  // Three dims: element [i, j, k] is at i + 2 j + 6 k.
  std::vector<uint8_t> data;
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i)
        data.push_back(static_cast<uint8_t>(100 * i + 10 * j + k));
  ASSERT_TRUE(
      read(npy(1, header("|u1", "(2, 3, 2)", true), data), tensor, error));
  EXPECT_EQ(tensor.data()[0 * 6 + 2 * 2 + 1], 21);
  EXPECT_EQ(tensor.data()[1 * 6 + 1 * 2 + 0], 110);
}

TEST(Npy, Types) {
  Tensor tensor;
  std::string error;
  EXPECT_FALSE(
      read(npy(1, header(">f4", "(1,)"), {0, 0, 0, 0}), tensor, error));
  EXPECT_NE(error.find("big-endian"), std::string::npos);
  EXPECT_FALSE(read(npy(1, header("<c8", "(1,)"), {}), tensor, error));
  EXPECT_EQ(error, "its element type '<c8' is not supported");
  EXPECT_FALSE(read(npy(1, header("|O", "(1,)"), {}), tensor, error));
  EXPECT_FALSE(read(npy(1,
                        "{'descr': [('a', '<f4')], 'fortran_order': False, "
                        "'shape': (1,), }",
                        {0, 0, 0, 0}),
                    tensor, error));
  EXPECT_NE(error.find("structured"), std::string::npos);
  // bf16 is what a reader of `<u2` asks for.
  std::vector<uint8_t> bits = npy(1, header("<u2", "(1,)"), {0x80, 0x3f});
  ASSERT_TRUE(read(bits, tensor, error));
  EXPECT_EQ(tensor.dtype, MV_DTYPE_U16);
  ASSERT_TRUE(read(bits, tensor, error, MV_DTYPE_BF16));
  EXPECT_EQ(tensor.dtype, MV_DTYPE_BF16);
  // Booleans are 0 or 1, whatever the file holds.
  ASSERT_TRUE(read(npy(1, header("|b1", "(2,)"), {0, 7}), tensor, error));
  EXPECT_EQ(tensor.data()[1], 1);
}

TEST(Npy, Damaged) {
  std::vector<uint8_t> whole =
      npy(1, header("<i4", "(2,)"), std::vector<uint8_t>(8));
  Tensor tensor;
  std::string error;
  ASSERT_TRUE(read(whole, tensor, error));
  for (size_t size = 0; size < whole.size(); ++size) {
    error.clear();
    EXPECT_FALSE(read({whole.begin(), whole.begin() + static_cast<long>(size)},
                      tensor, error))
        << size;
    EXPECT_FALSE(error.empty());
  }
  for (const char *shape :
       {"(9223372036854775807, 4)", "(99999999999999999999,)", "(-1,)", "(1, 2",
        "(1 2)", "1", "(4611686018427387904, 4)"})
    EXPECT_FALSE(read(npy(1, header("<i4", shape), std::vector<uint8_t>(64)),
                      tensor, error))
        << shape;
  for (const char *text :
       {"", "{", "{}", "{'descr': '<i4'}", "{'shape': (1,), 'descr': '<i4'}",
        "{'descr': '<i4', 'fortran_order': 3, 'shape': (1,)}",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1,), 'more': 1}"})
    EXPECT_FALSE(read(npy(1, text, std::vector<uint8_t>(64)), tensor, error))
        << text;
}

TEST(Npy, WrittenFilesComeBack) {
  for (int dtype = MV_DTYPE_I1; dtype <= MV_DTYPE_F64; ++dtype)
    for (const std::vector<int64_t> &dims :
         {std::vector<int64_t>{}, {1}, {3}, {2, 3}, {0, 4}}) {
      Tensor tensor;
      tensor.dtype = dtype;
      tensor.dims = dims;
      std::string error;
      ASSERT_TRUE(tensor.allocate(error));
      for (size_t i = 0; i < tensor.bytes(); ++i)
        tensor.data()[i] =
            static_cast<uint8_t>(dtype == MV_DTYPE_I1 ? i % 2 : i);
      std::vector<uint8_t> bytes = npyHeader(dtype, dims);
      EXPECT_EQ(bytes.size() % 64, 0u);
      bytes.insert(bytes.end(), tensor.data(), tensor.data() + tensor.bytes());
      size_t end = bytes.size(), taken;
      bytes.push_back(99); // another array may follow
      Tensor back;
      ASSERT_TRUE(read(bytes, back, error, dtype, &taken)) << error;
      EXPECT_EQ(taken, end);
      EXPECT_EQ(back.dtype, dtype);
      EXPECT_EQ(back.dims, dims);
      EXPECT_EQ(memcmp(back.data(), tensor.data(), tensor.bytes()), 0);
    }
}
