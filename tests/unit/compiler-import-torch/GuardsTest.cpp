//===- GuardsTest.cpp - Conditions on the sizes of the inputs -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Guards.h"
#include "gtest/gtest.h"

using namespace marver::torch;

namespace {

/// Inputs x (32*s0, 3) and options_a (s1), 2 <= s0 <= 40, 1 <= s1.
class GuardsTest : public testing::Test {
protected:
  GuardsTest() {
    SymContext &symbols = program.symbols;
    symbols.atom(symbols.symbolAtom("s0")).range = {2, 40};
    symbols.atom(symbols.symbolAtom("s1")).range = {1, SymRange::highest};
    add("x", {symbols.mul(SymExpr(32), symbols.symbol("s0")), SymExpr(3)});
    add("options_a", {symbols.symbol("s1")});
  }
  void add(const char *name, std::initializer_list<SymExpr> sizes) {
    InputSpec spec;
    spec.value.kind = Argument::Tensor;
    spec.value.text = name;
    program.inputs.push_back(spec);
    program.tensors[name].sizes.assign(sizes);
  }
  /// "yes", "no", "open" or, if it is not understood, "?".
  std::string judge(const char *text) {
    std::optional<Guard> guard = parseGuard(program, text);
    if (!guard)
      return "?";
    std::optional<bool> known = decide(
        guard->relation,
        program.symbols.range(program.symbols.sub(guard->left, guard->right)));
    return !known ? "open" : *known ? "yes" : "no";
  }
  Program program;
};

} // namespace

TEST_F(GuardsTest, DecidesByRanges) {
  EXPECT_EQ(judge("L['x'].size()[1] == 3"), "yes");
  EXPECT_EQ(judge("L['x'].size()[1] != 3"), "no");
  EXPECT_EQ(judge("L['x'].size()[0] >= 64"), "yes");
  EXPECT_EQ(judge("L['x'].size()[0] > 64"), "open");
  EXPECT_EQ(judge("L['x'].size()[0] <= 1280"), "yes");
  EXPECT_EQ(judge("L['x'].size()[0] < 64"), "no");
  EXPECT_EQ(judge("(L['x'].size()[0] // 2) == ((1 + L['x'].size()[0]) // 2)"),
            "yes");
  EXPECT_EQ(judge("(1 + (((-1) + ((1 + L['x'].size()[0]) // 2)) // 8)) == "
                  "(2 + 2*(((-1) + ((1 + L['x'].size()[0]) // 2)) // 16))"),
            "yes");
  EXPECT_EQ(judge("L['x'].size()[0] % 32 == 0"), "yes");
  EXPECT_EQ(judge("max(1, L['x'].size()[0]) == L['x'].size()[0]"), "yes");
  EXPECT_EQ(judge("min(0, L['options']['a'].size()[0]) == 0"), "yes");
  EXPECT_EQ(judge("L['x'].size()[0] == L['options']['a'].size()[0]"), "open");
  EXPECT_EQ(judge("-L['x'].size()[1]*2 + 7 == 1"), "yes");
}

TEST_F(GuardsTest, LeavesWhatItDoesNotUnderstand) {
  for (const char *text :
       {"", "1", "L['y'].size()[0] == 1", "L['x'].size()[2] == 1",
        "L['x'].stride()[0] == 1", "L['x'].size() == 1", "L['x'", "L[",
        "(1 == 1", "1 == 1)", "1 = 1", "2 ** 3 == 8", "f(1) == 1",
        "1 == 1 or 2 == 2", "L['x'].size()[0] // 0 == 1", "max(1 == 1",
        "99999999999999999999 == 1"})
    EXPECT_EQ(judge(text), "?") << text;
  EXPECT_EQ(judge((std::string(100000, '(') + "1 == 1").c_str()), "?");
  EXPECT_EQ(judge((std::string(100000, '-') + "1 == 1").c_str()), "?");
}
