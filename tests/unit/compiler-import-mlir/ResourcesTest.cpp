//===- ResourcesTest.cpp - The data of dense_resource constants -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/Resources.h"
#include "compiler/ir/Constants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace marver;
using namespace mlir;

namespace {

class ResourcesTest : public testing::Test {
protected:
  ResourcesTest() { context.loadDialect<arith::ArithDialect>(); }

  /// The constant of a file with one resource, or the error's text.
  std::string load(llvm::StringRef type, llvm::StringRef string) {
    file =
        ("\"builtin.module\"() ({\n%0 = arith.constant dense_resource<w> : " +
         type + "\n}) : () -> ()\n{-#\n dialect_resources: { builtin: { w: \"" +
         string + "\" } }\n#-}\n")
            .str();
    module = parseSourceString<ModuleOp>(resources.strip(file), &context);
    if (!module)
      return "not parsed";
    auto constant = cast<arith::ConstantOp>(module->getBody()->front());
    auto value =
        resources.get(cast<ElementsAttr>(Attribute(constant.getValue())));
    if (!value)
      return llvm::toString(value.takeError());
    data = getConstantData(*value);
    return "";
  }

  MLIRContext context;
  Resources resources;
  std::string file;
  OwningOpRef<ModuleOp> module;
  std::optional<ConstantData> data;
};

TEST_F(ResourcesTest, DecodesDigitsOfBothCases) {
  ASSERT_EQ(load("tensor<4xi8>", "0x0100000001aBFf7e"), "");
  EXPECT_EQ(data->getInt(0), 1);
  EXPECT_EQ(data->getInt(1), int8_t(0xab));
  EXPECT_EQ(data->getInt(2), -1);
  EXPECT_EQ(data->getInt(3), 0x7e);
}

TEST_F(ResourcesTest, MakesSignedElementsSignless) {
  ASSERT_EQ(load("tensor<1xsi16>", "0x01000000FEFF"), "");
  EXPECT_TRUE(data->type.getElementType().isSignlessInteger(16));
  EXPECT_EQ(data->getInt(0), -2);
}

TEST_F(ResourcesTest, AnyByteButZeroIsTrue) {
  ASSERT_EQ(load("tensor<2xi1>", "0x010000000002"), "");
  EXPECT_EQ(data->getInt(0), 0);
  EXPECT_EQ(data->getInt(1), 1);
}

TEST_F(ResourcesTest, EveryCharacterThatIsNoDigitIsFound) {
  for (int c = ' '; c < 256; ++c) {
    if (c == '"' || c == '\\' || c == 127 || llvm::isHexDigit(char(c)))
      continue;
    std::string text = "0x010000000";
    text.push_back(char(c));
    EXPECT_NE(load("tensor<1xi8>", text).find("no hexadecimal digit"),
              std::string::npos)
        << c;
  }
}

TEST_F(ResourcesTest, SizesMustFit) {
  EXPECT_NE(load("tensor<2xi8>", "0x0100000000").find("has 1 bytes"),
            std::string::npos);
  EXPECT_NE(load("tensor<2xi8>", "0x01000000000").find("odd number"),
            std::string::npos);
  EXPECT_EQ(load("tensor<0xi8>", "0x01000000"), "");
}

TEST_F(ResourcesTest, LinesKeepTheirNumbers) {
  std::string text =
      "a\nb \"0x0100000012\"\n{-#\nc: \"0x0100000012345678\"\n#-}\n";
  std::string stripped = resources.strip(text);
  EXPECT_EQ(llvm::count(stripped, '\n'), llvm::count(text, '\n'));
  // Only strings of the section are taken.
  EXPECT_NE(stripped.find("b \"0x0100000012\""), std::string::npos);
  EXPECT_EQ(stripped.find("345678"), std::string::npos);
}

TEST_F(ResourcesTest, FilesThatEndEarly) {
  EXPECT_EQ(resources.strip(""), "");
  EXPECT_EQ(resources.strip("{-# a: \"0x00"), "{-# a: \"0x00");
  EXPECT_EQ(resources.strip("x\n{-#"), "x\n{-#");
}

} // namespace
