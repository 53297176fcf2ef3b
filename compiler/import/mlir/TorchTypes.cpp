//===- TorchTypes.cpp - Types of torch-mlir's dialect ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchTypes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mlir;

namespace marver {

using mlir::Type;

using torch::ScalarType;

static ScalarType elementFromText(StringRef text) {
  return llvm::StringSwitch<ScalarType>(text.trim())
      .Case("f16", ScalarType::Half)
      .Case("bf16", ScalarType::BFloat16)
      .Case("f32", ScalarType::Float)
      .Case("f64", ScalarType::Double)
      .Case("i1", ScalarType::Bool)
      .Cases({"si8", "i8"}, ScalarType::Char)
      .Cases({"si16", "i16"}, ScalarType::Short)
      .Cases({"si32", "i32"}, ScalarType::Int)
      .Cases({"si64", "i64"}, ScalarType::Long)
      .Case("ui8", ScalarType::Byte)
      .Case("ui16", ScalarType::UInt16)
      .Case("ui32", ScalarType::UInt32)
      .Case("ui64", ScalarType::UInt64)
      .Default(ScalarType::Unknown);
}

/// `<[1,?,3],f32>`, `<[],f32>`, `<*,f32>` or nothing.
static void readTensor(StringRef text, TorchType &type) {
  if (!text.consume_front("<") || !text.consume_back(">"))
    return;
  if (text.consume_front("*,")) {
    type.element = elementFromText(text);
    return;
  }
  auto [sizes, element] = text.split(']');
  if (!sizes.consume_front("["))
    return;
  element.consume_front(",");
  type.element = elementFromText(element);
  SmallVector<StringRef> parts;
  sizes.split(parts, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  SmallVector<int64_t> result;
  for (StringRef part : parts) {
    int64_t size;
    part = part.trim();
    if (part == "?")
      size = ShapedType::kDynamic;
    else if (part.getAsInteger(10, size) || size < 0)
      return;
    result.push_back(size);
  }
  type.sizes = std::move(result);
}

TorchType readTorchType(Type type) {
  TorchType result;
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    std::string element;
    raw_string_ostream(element) << tensor.getElementType();
    result.kind = TorchType::Tensor;
    result.sizes.emplace(tensor.getShape());
    result.element = elementFromText(element);
    return result;
  }
  if (type.isInteger(1))
    result.kind = TorchType::Bool;
  else if (type.isInteger(64))
    result.kind = TorchType::Int;
  else if (type.isF64())
    result.kind = TorchType::Float;
  auto opaque = dyn_cast<OpaqueType>(type);
  if (!opaque || opaque.getDialectNamespace() != "torch")
    return result;
  StringRef text = opaque.getTypeData();
  auto name = text.take_until([](char c) { return c == '<'; });
  result.kind = llvm::StringSwitch<TorchType::Kind>(name)
                    .Cases({"vtensor", "tensor"}, TorchType::Tensor)
                    .Case("int", TorchType::Int)
                    .Case("float", TorchType::Float)
                    .Case("bool", TorchType::Bool)
                    .Cases({"str", "Device"}, TorchType::String)
                    .Case("none", TorchType::None)
                    .Cases({"list", "tuple"}, TorchType::List)
                    .Default(TorchType::Other);
  if (result.kind == TorchType::Tensor)
    readTensor(text.drop_front(name.size()), result);
  return result;
}

} // namespace marver
