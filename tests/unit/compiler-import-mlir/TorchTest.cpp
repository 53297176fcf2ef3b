//===- TorchTest.cpp - What is known of torch-mlir's dialect --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchProgram.h"
#include "compiler/import/mlir/TorchTypes.h"
#include "compiler/import/torch/Call.h"
#include "gtest/gtest.h"
#include <set>

using namespace marver;
using namespace mlir;

namespace {

TEST(TorchSchemas, EveryOperatorOfTheTableHasNames) {
  // Operators that PyTorch gives no schema to; no exporter writes them.
  const std::set<llvm::StringRef> without = {
      "aten.__matmul__.default", "aten.float.default", "aten.softsign.default"};
  for (const auto &entry : torch::operators()) {
    llvm::StringRef name = entry.first();
    if (name.starts_with("aten.") && !without.contains(name))
      EXPECT_TRUE(torchArgumentNames(name))
          << name.str() << ": run compiler/import/mlir/make_schemas.py";
  }
}

TEST(TorchSchemas, InPlaceFormsHaveTheNamesOfTheOthers) {
  EXPECT_EQ(torchArgumentNames("aten.add_.Tensor"), "self other alpha");
  EXPECT_FALSE(torchArgumentNames("aten.nothing_.default"));
  EXPECT_FALSE(torchArgumentNames(""));
}

class TorchTypes : public testing::Test {
protected:
  TorchType read(llvm::StringRef text) {
    return readTorchType(
        OpaqueType::get(StringAttr::get(&context, "torch"), text));
  }

  TorchTypes() { context.allowUnregisteredDialects(); }

  MLIRContext context;
};

TEST_F(TorchTypes, Tensors) {
  TorchType type = read("vtensor<[1,?,32],si64>");
  EXPECT_EQ(type.kind, TorchType::Tensor);
  EXPECT_EQ(type.element, torch::ScalarType::Long);
  ASSERT_TRUE(type.sizes);
  EXPECT_EQ(*type.sizes,
            (llvm::SmallVector<int64_t>{1, ShapedType::kDynamic, 32}));
  type = read("vtensor<[],bf16>");
  ASSERT_TRUE(type.sizes);
  EXPECT_TRUE(type.sizes->empty());
  EXPECT_EQ(type.element, torch::ScalarType::BFloat16);
  EXPECT_FALSE(read("vtensor<*,f32>").sizes);
  EXPECT_FALSE(read("vtensor").sizes);
  EXPECT_FALSE(read("vtensor<[-3],f32>").sizes);
  EXPECT_FALSE(read("vtensor<[3").sizes);
  EXPECT_EQ(read("tensor<[3],unk>").element, torch::ScalarType::Unknown);
}

TEST_F(TorchTypes, Others) {
  EXPECT_EQ(read("int").kind, TorchType::Int);
  EXPECT_EQ(read("list<vtensor<[2],f32>>").kind, TorchType::List);
  EXPECT_EQ(read("Device").kind, TorchType::String);
  EXPECT_EQ(read("intx").kind, TorchType::Other);
  EXPECT_EQ(readTorchType(IntegerType::get(&context, 64)).kind, TorchType::Int);
  EXPECT_EQ(readTorchType(IntegerType::get(&context, 32)).kind,
            TorchType::Other);
}

} // namespace
