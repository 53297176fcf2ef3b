//===- TorchWeights.cpp - Constants of functions of torch-mlir ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchProgram.h"

using namespace llvm;
using namespace mlir;
using marver::torch::InputSpec;

namespace marver {

static Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

Expected<ElementsAttr> TorchWeights::get(const InputSpec &spec) {
  auto found = external.find(spec.source);
  return found != external.end() ? found->second
                                 : resources.get(constants.lookup(spec.source));
}

/// `"text"` at the start of `rest`.
static std::optional<StringRef> takeQuoted(StringRef &rest) {
  rest = rest.ltrim();
  if (!rest.consume_front("\""))
    return std::nullopt;
  auto [text, after] = rest.split('"');
  rest = after;
  return text;
}

Error TorchWeights::add(StringRef name, Attribute value) {
  if (auto elements = dyn_cast_or_null<ElementsAttr>(value)) {
    constants[name] = elements;
    return resources.check(elements);
  }
  auto opaque = dyn_cast_or_null<OpaqueAttr>(value);
  StringRef text = opaque ? opaque.getAttrData() : "";
  if (!text.consume_front("parameter.named<"))
    return makeError("the constant has no value that is supported");
  auto type = dyn_cast<RankedTensorType>(opaque.getType());
  StringRef scope;
  std::optional<StringRef> key = takeQuoted(text);
  text = text.ltrim();
  if (key && text.consume_front("::")) {
    scope = *key;
    key = takeQuoted(text);
  }
  if (!type || !type.hasStaticShape() || !key)
    return makeError("the parameter's name or type is damaged");
  if (auto integer = dyn_cast<IntegerType>(type.getElementType()))
    type = type.clone(IntegerType::get(type.getContext(), integer.getWidth()));
  if (!type.getElementType().isIntOrFloat())
    return makeError("the parameter's element type is not supported");
  Expected<ElementsAttr> constant = parameters.get(scope, *key, type);
  if (!constant)
    return constant.takeError();
  external[name] = *constant;
  return Error::success();
}

} // namespace marver
