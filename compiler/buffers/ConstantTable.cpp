//===- ConstantTable.cpp - The constants of a module, equal ones once -----===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/ConstantTable.h"
#include "compiler/ir/Constants.h"
#include "llvm/Support/BLAKE3.h"

using namespace mlir;
using namespace marver;

FailureOr<int64_t> ConstantTable::add(Operation *constant,
                                      ElementsAttr attribute) {
  auto [known, isNew] = byAttribute.try_emplace(attribute, -1);
  if (!isNew)
    return known->second;
  std::optional<ConstantData> data = getConstantData(attribute);
  if (!data)
    return constant->emitOpError("holds no data that can be read");
  int64_t bytes =
      elementCount(data->type) * elementBytes(data->type.getElementType());
  SmallVector<char, 0> expanded;
  ArrayRef<char> content = data->bytes;
  if (data->isSplat) {
    expanded.resize(bytes);
    data->copyTo(expanded);
    content = expanded;
  }
  llvm::BLAKE3 hasher;
  hasher.update(StringRef(content.data(), content.size()));
  auto digest = hasher.final<16>();
  std::string key(reinterpret_cast<char *>(digest.data()), digest.size());
  key += std::to_string(bytes);
  auto [same, isFirst] = byContent.try_emplace(key, attributes.size());
  if (isFirst)
    attributes.push_back(attribute);
  byAttribute[attribute] = same->second;
  return same->second;
}

void ConstantTable::finish() {
  module->setAttr("mv.constants",
                  ArrayAttr::get(module.getContext(), attributes));
}
