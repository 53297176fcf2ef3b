//===- InputsTest.cpp -----------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Inputs.h"
#include "tools/common/Npy.h"

#include "gtest/gtest.h"

#include <cstdio>
#include <unistd.h>

using namespace marver;

namespace {

/// A file that is removed at the end.
class TemporaryFile {
public:
  TemporaryFile(const std::string &name, const std::vector<uint8_t> &bytes)
      : path(testing::TempDir() + "marver-" + std::to_string(getpid()) + "-" +
             name) {
    FILE *file = fopen(path.c_str(), "wb");
    fwrite(bytes.data(), 1, bytes.size(), file);
    fclose(file);
  }
  ~TemporaryFile() { remove(path.c_str()); }
  std::string path;
};

} // namespace

/// Reads one text for a tensor of any type and prints it, or the error.
static std::string parse(const std::string &spec,
                         const WantedType &wanted = {}) {
  InputReader reader;
  std::vector<Tensor> tensors;
  std::string error;
  if (!reader.read({spec}, {wanted}, "input", {}, tensors, error))
    return "error: " + error;
  return tensorText(tensors[0].dtype, tensors[0].dims, tensors[0].data(), 100);
}

static std::vector<uint8_t> array(std::vector<uint8_t> values) {
  std::vector<uint8_t> bytes =
      npyHeader(MV_DTYPE_U8, {static_cast<int64_t>(values.size())});
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

TEST(Inputs, Elements) {
  EXPECT_EQ(parse("2x2xi32=1 2 3 4"), "2x2xi32=[1 2][3 4]");
  EXPECT_EQ(parse("2x2xi32=1,2,3,4"), "2x2xi32=[1 2][3 4]");
  EXPECT_EQ(parse("2x2xi32=[[1 2][3 4]]"), "2x2xi32=[1 2][3 4]");
  EXPECT_EQ(parse("2x2xi32=7"), "2x2xi32=[7 7][7 7]");
  EXPECT_EQ(parse("2x2xi32"), "2x2xi32=[0 0][0 0]");
  EXPECT_EQ(parse("2x2xi32="), "2x2xi32=[0 0][0 0]");
  EXPECT_EQ(parse("1x2x2xui8=1 2 3 255"), "1x2x2xu8=[[1 2][3 255]]");
  EXPECT_EQ(parse("f32=1.25"), "f32=1.25");
  EXPECT_EQ(parse("f32"), "f32=0");
  EXPECT_EQ(parse("3xf64=nan -inf 1e300"), "3xf64=nan -inf 1e+300");
  EXPECT_EQ(parse("2xi1=true 0"), "2xi1=1 0");
  EXPECT_EQ(parse("0x3xf32"), "0x3xf32=");
}

TEST(Inputs, WrongTexts) {
  EXPECT_EQ(parse("2x2xi32=1 2 3"),
            "error: input 0: has 3 values, 2x2xi32 needs 4 (or one for all)");
  EXPECT_EQ(parse("2x2xq7=1"),
            "error: input 0: '2x2xq7' is not a type like 2x3xf32");
  EXPECT_EQ(parse("2xi32=1 x"),
            "error: input 0: 'x' is not an integer of type i32");
  EXPECT_EQ(parse("-1x2xi32=1").substr(0, 6), "error:");
  EXPECT_EQ(parse("x2xi32=1").substr(0, 6), "error:");
  EXPECT_EQ(parse("99999999999999999999xi32").substr(0, 6), "error:");
  EXPECT_EQ(parse("4000000000x4000000000xf32").substr(0, 6), "error:");
  EXPECT_EQ(
      parse("1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x"
            "1x1xf32=1")
          .substr(0, 6),
      "error:");
  EXPECT_EQ(parse("").substr(0, 6), "error:");
  EXPECT_EQ(parse("=").substr(0, 6), "error:");
  EXPECT_EQ(parse("3.5"), "error: input 0: '3.5' needs a type: 2x3xf32=...");
  EXPECT_EQ(parse("2xf32=random:x").substr(0, 6), "error:");
}

TEST(Inputs, TypesAreChecked) {
  WantedType wanted = {MV_DTYPE_F32, {2, MV_DIM_SYMBOL(0)}};
  EXPECT_EQ(parse("2x1xf32=1", wanted), "2x1xf32=[1][1]");
  EXPECT_EQ(parse("3x1xf32=1", wanted),
            "error: input 0: is 3x1xf32, the function takes 2x[s0]xf32: dim 0 "
            "differs");
  EXPECT_EQ(parse("2xf32=1", wanted),
            "error: input 0: is 2xf32, the function takes 2x[s0]xf32: its rank "
            "differs");
  EXPECT_EQ(parse("2x1xf64=1", wanted),
            "error: input 0: is 2x1xf64, the function takes 2x[s0]xf32: its "
            "type differs");
  // A scalar has the function's type; an integer without a sign fits both.
  EXPECT_EQ(parse("-2", {MV_DTYPE_F16, {}}), "f16=-2");
  EXPECT_EQ(parse("2xi8=200 1", {MV_DTYPE_U8, {2}}), "2xu8=200 1");
  EXPECT_EQ(parse("2xu8=200 1", {MV_DTYPE_I8, {2}}).substr(0, 6), "error:");
  EXPECT_EQ(parse("random:3", {MV_DTYPE_I8, {1}}), parse("1xi8=random:3"));
}

TEST(Inputs, Counts) {
  InputReader reader;
  std::vector<Tensor> tensors;
  std::string error;
  std::vector<WantedType> two = {{MV_DTYPE_F32, {1}}, {MV_DTYPE_I64, {}}};
  EXPECT_FALSE(
      reader.read({"1xf32"}, two, "input", {"x", "n"}, tensors, error));
  EXPECT_EQ(error, "input 1 (n) is missing: the function has 2 inputs, 1 is "
                   "given; it takes i64");
  tensors.clear();
  EXPECT_FALSE(
      reader.read({"1xf32", "1", "2"}, two, "input", {}, tensors, error));
  EXPECT_EQ(error, "too many inputs: the function has 2 inputs");
}

TEST(Inputs, Random) {
  // The documented sequence, worked out once from its definition.
  EXPECT_EQ(parse("2xu64=random:0"),
            "2xu64=16294208416658607535 7960286522194355700");
  EXPECT_EQ(parse("2xi8=random:0"), "2xi8=-30 110");
  Tensor tensor;
  tensor.dims = {10000};
  std::string error;
  for (int dtype : {MV_DTYPE_F16, MV_DTYPE_BF16, MV_DTYPE_F32, MV_DTYPE_F64}) {
    tensor.dtype = dtype;
    ASSERT_TRUE(tensor.allocate(error));
    fillRandom(tensor, 42);
    double low = 0, high = 0, sum = 0;
    for (size_t i = 0; i < 10000; ++i) {
      double value =
          loadDouble(dtype, tensor.data() + i * mv_dtype_size(dtype));
      low = std::min(low, value);
      high = std::max(high, value);
      sum += value;
    }
    EXPECT_GE(low, -1);
    EXPECT_LT(low, -0.98);
    EXPECT_LT(high, 1);
    EXPECT_GT(high, 0.98);
    EXPECT_LT(std::abs(sum / 10000), 0.03);
  }
}

TEST(Inputs, Files) {
  std::vector<uint8_t> three = array({1, 2});
  for (const std::vector<uint8_t> &more : {array({3, 4}), array({5})})
    three.insert(three.end(), more.begin(), more.end());
  TemporaryFile npy("a.npy", three), raw("a.bin", {1, 0, 2, 0, 3, 0});
  WantedType any = {MV_DTYPE_U8, {MV_DIM_COMPUTED}};
  auto read = [&](const std::vector<std::string> &specs,
                  const std::vector<WantedType> &wanted) {
    InputReader reader;
    std::vector<Tensor> tensors;
    std::string error, text;
    if (!reader.read(specs, wanted, "input", {}, tensors, error))
      return "error: " + error;
    for (const Tensor &tensor : tensors)
      text += tensorText(tensor.dtype, tensor.dims, tensor.data(), 9) + ";";
    return text;
  };
  EXPECT_EQ(read({"@" + npy.path, "@" + npy.path}, {any, any}),
            "2xu8=1 2;2xu8=1 2;");
  EXPECT_EQ(read({"@" + npy.path, "+" + npy.path}, {any, any}),
            "2xu8=1 2;2xu8=3 4;");
  EXPECT_EQ(read({"*" + npy.path}, {any, any, any}),
            "2xu8=1 2;2xu8=3 4;1xu8=5;");
  EXPECT_EQ(read({"@" + npy.path, "*" + npy.path}, {any, any, any}),
            "2xu8=1 2;2xu8=3 4;1xu8=5;");
  EXPECT_EQ(read({"*" + npy.path, "+" + npy.path}, {any, any, any, any}),
            "error: input 3: " + npy.path + ": no further array in it");
  EXPECT_EQ(read({"*" + npy.path}, {any, any}),
            "error: too many inputs: the function has 2 inputs");
  WantedType u16 = {MV_DTYPE_U16, {MV_DIM_COMPUTED}};
  EXPECT_EQ(read({"2xui16=@" + raw.path, "1xui16=+" + raw.path}, {u16, u16}),
            "2xu16=1 2;1xu16=3;");
  EXPECT_EQ(read({"4xui16=@" + raw.path}, {u16}),
            "error: input 0: " + raw.path + ": has 6 bytes, 4xu16 needs 8");
  EXPECT_EQ(read({"@" + raw.path}, {u16}).substr(0, 6), "error:");
  EXPECT_EQ(read({"@/no/such.npy"}, {u16}),
            "error: input 0: /no/such.npy: No such file or directory");
  // A type in front of an array file must be its own.
  EXPECT_EQ(read({"2xu8=@" + npy.path}, {any}), "2xu8=1 2;");
  EXPECT_EQ(read({"3xu8=@" + npy.path}, {any}),
            "error: input 0: " + npy.path + ": is 2xu8, not 3xu8");
}

TEST(Inputs, PrintedTensorsEndAtTheLimit) {
  Tensor tensor;
  tensor.dtype = MV_DTYPE_U8;
  tensor.dims = {2, 3};
  std::string error;
  ASSERT_TRUE(tensor.allocate(error));
  EXPECT_EQ(tensorText(tensor.dtype, tensor.dims, tensor.data(), 6),
            "2x3xu8=[0 0 0][0 0 0]");
  EXPECT_EQ(tensorText(tensor.dtype, tensor.dims, tensor.data(), 4),
            "2x3xu8=[0 0 0][0 ...]");
}

TEST(Outputs, Files) {
  TemporaryFile npy("out.npy", {}), raw("out.bin", {});
  uint8_t values[] = {1, 2, 3};
  OutputWriter writer;
  std::string error;
  auto write = [&](const std::string &spec) {
    return writer.write(spec, 0, MV_DTYPE_U8, {3}, values, 3, 10, error);
  };
  ASSERT_TRUE(write("@" + npy.path));
  ASSERT_TRUE(write("+" + npy.path));
  ASSERT_TRUE(write("@" + raw.path));
  ASSERT_TRUE(write("+" + raw.path));
  ASSERT_TRUE(write(""));
  std::vector<uint8_t> bytes, twice = array({1, 2, 3});
  twice.insert(twice.end(), twice.begin(), twice.end());
  ASSERT_TRUE(readWholeFile(npy.path, bytes, error));
  EXPECT_EQ(bytes, twice);
  ASSERT_TRUE(readWholeFile(raw.path, bytes, error));
  EXPECT_EQ(bytes, (std::vector<uint8_t>{1, 2, 3, 1, 2, 3}));
  EXPECT_FALSE(write("nonsense"));
  EXPECT_FALSE(write("@/no/such/folder/x.npy"));
  EXPECT_FALSE(write("@/dev/full"));
}
