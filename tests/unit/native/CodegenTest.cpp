//===- CodegenTest.cpp - Kernels from text to running code ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImageRunner.h"
#include "llvm/Support/MathExtras.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace marver;
using namespace marver::testing;
using ::testing::HasSubstr;

namespace {

/// A kernel with vectors, a loop and a tail: out[i] = in[i] * 2 + 1.
constexpr const char *kAxpy = R"(
func.func @axpy(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %c8 = arith.constant 8 : i64
  %c1 = arith.constant 1 : i64
  %two = arith.constant dense<2.0> : vector<8xf32>
  %one = arith.constant dense<1.0> : vector<8xf32>
  %s1 = llvm.getelementptr %slots[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %s2 = llvm.getelementptr %slots[2] : (!llvm.ptr) -> !llvm.ptr, i64
  %in = llvm.load %s1 : !llvm.ptr -> !llvm.ptr
  %out = llvm.load %s2 : !llvm.ptr -> !llvm.ptr
  scf.for %i = %begin to %end step %c1 : i64 {
    %o = arith.muli %i, %c8 : i64
    %ip = llvm.getelementptr %in[%o] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %op = llvm.getelementptr %out[%o] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %v = llvm.load %ip {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
    %r = vector.fma %v, %two, %one : vector<8xf32>
    llvm.store %r, %op {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
  }
  return
}
)";

TEST(Codegen, RunsAKernel) {
  auto image = buildImage({kAxpy});
  ASSERT_TRUE(image) << image.error;
  // The text comes first and its tables, two floats, on a line of their own.
  EXPECT_EQ(image.image.bytes.size(),
            llvm::alignTo(image.image.textBytes, 64) + 2 * sizeof(float));
  EXPECT_EQ(image.image.symbols.lookup("axpy"), 0u);
  float in[24], out[24] = {};
  for (int i = 0; i < 24; ++i)
    in[i] = static_cast<float>(i);
  int64_t slots[] = {0, reinterpret_cast<int64_t>(in),
                     reinterpret_cast<int64_t>(out)};
  image.kernel("axpy")(slots, 1, 3, nullptr);
  for (int i = 0; i < 24; ++i)
    EXPECT_EQ(out[i], i < 8 ? 0 : 2 * i + 1) << i;
}

/// A switch large enough for a jump table and a table of constants: both are
/// data that the code must reach without relocations.
TEST(Codegen, TablesNeedNoRelocation) {
  std::string text = R"(
func.func @pick(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %s1 = llvm.getelementptr %slots[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %out = llvm.load %s1 : !llvm.ptr -> !llvm.ptr
  cf.switch %begin : i64, [ default: ^bb0)";
  for (int i = 1; i < 12; ++i)
    text += ",\n " + std::to_string(i) + ": ^bb" + std::to_string(i);
  text += "]\n";
  for (int i = 0; i < 12; ++i)
    text += "^bb" + std::to_string(i) + ":\n  %v" + std::to_string(i) +
            " = arith.constant dense<[" + std::to_string(i * i) +
            ".0, 1.5, 2.5, 3.5]> : vector<4xf32>\n  llvm.store %v" +
            std::to_string(i) +
            ", %out {alignment = 4 : i64} : vector<4xf32>, "
            "!llvm.ptr\n  return\n";
  text += "}\n";
  auto image = buildImage({text});
  ASSERT_TRUE(image) << image.error;
  EXPECT_GT(image.image.bytes.size(), image.image.textBytes)
      << "the test wants read-only tables";
  float out[4];
  int64_t slots[] = {0, reinterpret_cast<int64_t>(out)};
  for (int i = 1; i < 12; ++i) {
    image.kernel("pick")(slots, i, i + 1, nullptr);
    EXPECT_EQ(out[0], i * i);
    EXPECT_EQ(out[3], 3.5f);
  }
}

TEST(Codegen, LinksSupportFunctions) {
  auto image = buildImage({R"(
func.func @clear(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %s1 = llvm.getelementptr %slots[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %out = llvm.load %s1 : !llvm.ptr -> !llvm.ptr
  %byte = arith.constant 7 : i8
  "llvm.intr.memset"(%out, %byte, %end) <{isVolatile = false}> : (!llvm.ptr, i8, i64) -> ()
  return
}
)"});
  ASSERT_TRUE(image) << image.error;
  char bytes[100] = {};
  int64_t slots[] = {0, reinterpret_cast<int64_t>(bytes)};
  image.kernel("clear")(slots, 0, 99, nullptr);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(bytes[i], i < 99 ? 7 : 0) << i;
}

TEST(Codegen, NamesWhoCallsAnUnknownFunction) {
  auto image = buildImage({R"(
func.func private @nowhere()
func.func @lost(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  call @nowhere() : () -> ()
  return
}
)"});
  EXPECT_FALSE(image);
  EXPECT_THAT(image.error, HasSubstr("'kernel0' calls 'nowhere'"));
}

TEST(Codegen, RefusesWritableData) {
  auto image = buildImage({R"(
llvm.mlir.global internal @counter(0 : i64) : i64
func.func @count(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %p = llvm.mlir.addressof @counter : !llvm.ptr
  %v = llvm.load %p : !llvm.ptr -> i64
  %n = arith.addi %v, %end : i64
  llvm.store volatile %n, %p : i64, !llvm.ptr
  return
}
)"});
  EXPECT_FALSE(image);
  EXPECT_THAT(image.error, HasSubstr("section .bss"));
}

TEST(Codegen, RefusesPointersInTables) {
  auto image = buildImage({R"(
llvm.mlir.global private constant @table() : !llvm.ptr {
  %p = llvm.mlir.addressof @where : !llvm.ptr
  llvm.return %p : !llvm.ptr
}
llvm.func @where(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %t = llvm.mlir.addressof @table : !llvm.ptr
  %p = llvm.load volatile %t : !llvm.ptr -> !llvm.ptr
  llvm.store %p, %slots : !llvm.ptr, !llvm.ptr
  llvm.return
}
)"});
  EXPECT_FALSE(image);
  EXPECT_THAT(image.error, HasSubstr("section .data.rel.ro"));
}

/// The same objects give the same bytes, and the names of the functions are not
/// among them.
TEST(Codegen, ImageIsCanonicalAndNameless) {
  auto first = buildImage({kAxpy}), second = buildImage({kAxpy});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first.image.bytes, second.image.bytes);
  std::string bytes(first.image.bytes.begin(), first.image.bytes.end());
  EXPECT_EQ(bytes.find("axpy"), std::string::npos);
  EXPECT_EQ(bytes.find("LLVM"), std::string::npos);
  EXPECT_EQ(bytes.find("ELF"), std::string::npos);
}

} // namespace
