//===- SymExprTest.cpp - Symbolic sizes -----------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/SymExpr.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace marver::torch;
using testing::HasSubstr;

namespace {

/// The printed normal form of a text in which s0 and s1 stand for symbols.
class SymExprTest : public testing::Test {
protected:
  static std::string srepr(std::string text) {
    for (const char *name : {"s0", "s1"})
      for (size_t at = 0; (at = text.find(name, at)) != std::string::npos;) {
        std::string symbol =
            std::string("Symbol('") + name + "', positive=True, integer=True)";
        text.replace(at, 2, symbol);
        at += symbol.size();
      }
    return text;
  }
  std::string normal(const std::string &text) {
    std::optional<SymExpr> expr = symbols.parse(srepr(text));
    return expr ? symbols.print(*expr) : "error: " + symbols.error;
  }
  SymContext symbols;
};

} // namespace

TEST_F(SymExprTest, IsANormalForm) {
  EXPECT_EQ(normal("Integer(-7)"), "-7");
  EXPECT_EQ(normal("s0"), "s0");
  EXPECT_EQ(normal("Add(s0, Mul(Integer(-1), s0))"), "0");
  EXPECT_EQ(normal("Mul(Add(s0, Integer(1)), Add(s0, Integer(-1)))"),
            normal("Add(Pow(s0, Integer(2)), Integer(-1))"));
  EXPECT_EQ(normal("Mul(s1, s0, Integer(2))"),
            normal("Mul(Integer(2), s0, s1)"));
}

TEST_F(SymExprTest, DividesExactly) {
  EXPECT_EQ(normal("FloorDiv(Mul(Integer(32), s0), Integer(4))"), "8*s0");
  EXPECT_EQ(normal("FloorDiv(Add(Mul(Integer(32), s0), Integer(-1)), "
                   "Integer(2))"),
            "-1 + 16*s0");
  EXPECT_EQ(normal("FloorDiv(Mul(Integer(6), s0, s1), Mul(Integer(3), s1))"),
            "2*s0");
  EXPECT_EQ(normal("FloorDiv(s0, Integer(2))"), "((s0) // (2))");
  EXPECT_EQ(normal("FloorDiv(s0, Integer(-2))"), "((-s0) // (2))");
  EXPECT_THAT(normal("FloorDiv(s0, Integer(0))"), HasSubstr("by zero"));
  EXPECT_EQ(normal("Mod(Add(Mul(Integer(8), s0), Integer(5)), Integer(4))"),
            "1");
  EXPECT_EQ(normal("CeilDiv(s0, Integer(2))"), "-((-s0) // (2))");
}

TEST_F(SymExprTest, RoundsRealNumbers) {
  EXPECT_EQ(normal("TruncToInt(Mul(Float('1.5', precision=53), ToFloat(s0)))"),
            "((3*s0) // (2))");
  EXPECT_EQ(normal("FloorToInt(IntTrueDiv(Mul(Integer(6), s0), Integer(3)))"),
            "2*s0");
  EXPECT_EQ(normal("CeilToInt(IntTrueDiv(s0, Integer(2)))"), "-((-s0) // (2))");
  EXPECT_EQ(
      normal("Max(Integer(0), TruncToInt(Mul(Float('0.69999999999999996', "
             "precision=53), ToFloat(Integer(10)))))"),
      "7");
  EXPECT_EQ(normal("TruncToInt(Mul(Float('0.69999999999999996', "
                   "precision=53), ToFloat(s0)))"),
            "int(0.700000*(s0))");
  symbols.atom(symbols.symbolAtom("s0")).range = {10, 41};
  SymRange range = symbols.range(*symbols.parse(
      srepr("TruncToInt(Mul(Float('0.69999999999999996', precision=53), "
            "ToFloat(s0)))")));
  EXPECT_EQ(range.min, 7);
  EXPECT_EQ(range.max, 28);
  // What is no such product keeps its text, as a symbol of its own.
  for (const char *text :
       {"TruncToInt(Float('nan'))", "RoundToInt(ToFloat(s0))",
        "TruncToInt(FloatPow(ToFloat(s0), Float('0.5', precision=53)))",
        "TruncToInt(Mul(Float('0.1', precision=53), Float('0.3', "
        "precision=53)))"})
    EXPECT_THAT(normal(text), HasSubstr("ToInt")) << text;
}

TEST_F(SymExprTest, KnowsRanges) {
  // s0 and s1 are positive.
  EXPECT_EQ(normal("Max(Integer(1), s0)"), "s0");
  EXPECT_EQ(normal("Min(Integer(1), s0)"), "1");
  EXPECT_EQ(normal("Min(Integer(2), s0)"), "min(2, s0)");
  symbols.atom(symbols.symbolAtom("s0")).range = {2, 40};
  symbols.atom(symbols.symbolAtom("s1")).range = {1, SymRange::highest};
  auto range = [&](const char *text) {
    SymRange result = symbols.range(*symbols.parse(srepr(text)));
    return std::make_pair(result.min, result.max);
  };
  EXPECT_EQ(range("Add(Mul(Integer(-2), s0), Integer(5))"),
            std::make_pair(int64_t(-75), int64_t(1)));
  EXPECT_EQ(range("Mul(s0, s1)"),
            std::make_pair(int64_t(2), SymRange::highest));
  EXPECT_EQ(range("FloorDiv(s0, Integer(3))"),
            std::make_pair(int64_t(0), int64_t(13)));
  EXPECT_EQ(range("Mod(s0, Integer(3))"),
            std::make_pair(int64_t(0), int64_t(2)));
}

TEST_F(SymExprTest, TakesFixedValues) {
  std::optional<SymExpr> expr = symbols.parse(
      srepr("Add(FloorDiv(Add(s0, Integer(1)), Integer(2)), Max(s0, s1))"));
  ASSERT_TRUE(expr);
  symbols.atom(symbols.symbolAtom("s0")).fixed = 6;
  EXPECT_EQ(symbols.print(symbols.resolve(*expr)), "3 + max(6, s1)");
  symbols.atom(symbols.symbolAtom("s1")).fixed = 9;
  EXPECT_EQ(symbols.resolve(*expr).constant(), 12);
}

TEST_F(SymExprTest, KeepsUnknownFunctionsWhole) {
  EXPECT_EQ(normal("Add(Where(Eq(s0, Integer(1)), Integer(2), s0), "
                   "Integer(1))"),
            "1 + Where(Eq(" + srepr("s0") + ", Integer(1)), Integer(2), " +
                srepr("s0") + ")");
}

TEST_F(SymExprTest, RefusesBadText) {
  for (const char *text :
       {"", "Integer(", "Integer(x)", "Integer(99999999999999999999)",
        "Symbol(", "Symbol('')", "Symbol('s0'", "Add()", "Add(Integer(1)",
        "Add(Integer(1),)", "Integer(1) Integer(2)", "Where(", "(", ")", "s",
        "Mul(Integer(9223372036854775807), Integer(2))",
        "Add(Integer(9223372036854775807), Integer(1))",
        "FloorDiv(Integer(5), Integer(-9223372036854775808))",
        "Pow(Symbol('a'), Integer(1000000))"})
    EXPECT_FALSE(symbols.parse(text)) << text;
  std::string deep;
  for (int i = 0; i < 100000; ++i)
    deep += "Add(";
  EXPECT_FALSE(symbols.parse(deep));
  EXPECT_THAT(symbols.error, HasSubstr("nested too deeply"));
  // (a + b + c + ...)^32 would not fit in any memory.
  std::string sum = "Add(";
  for (int i = 0; i < 200; ++i)
    sum += "Symbol('x" + std::to_string(i) + "', integer=True), ";
  sum += "Integer(1))";
  EXPECT_FALSE(symbols.parse("Pow(" + sum + ", Integer(32))"));
  EXPECT_THAT(symbols.error, HasSubstr("too complex"));
}
