//===- Parameters.cpp - Weights in files of their own ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Parameters.h"
#include "compiler/ir/Constants.h"

using namespace mlir;

namespace marver {

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

llvm::Error ParameterFiles::open(llvm::StringRef scope, llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return makeError(path + ": " + buffer.getError().message());
  std::shared_ptr<llvm::MemoryBuffer> owner = std::move(*buffer);
  ParameterTable table;
  if (llvm::Error error = readParameters(owner->getBuffer(), table))
    return makeError(path + ": " + llvm::toString(std::move(error)));
  Scope &to = scopes[scope];
  for (auto &entry : table) {
    if (!to.table.try_emplace(entry.first(), entry.second).second)
      return makeError(path + ": the parameter '" + entry.first() +
                       "' is in another file of the scope already");
    to.owners[entry.first()] = owner;
  }
  return llvm::Error::success();
}

llvm::Expected<ElementsAttr> ParameterFiles::get(llvm::StringRef scope,
                                                 llvm::StringRef key,
                                                 RankedTensorType type) const {
  auto found = scopes.find(scope);
  if (found == scopes.end())
    return makeError("no file is given for parameters of scope '" + scope +
                     "': add --parameters=" + scope +
                     (scope.empty() ? "FILE" : "=FILE"));
  auto entry = found->second.table.find(key);
  if (entry == found->second.table.end())
    return makeError("the files of scope '" + scope + "' have no parameter '" +
                     key + "'");
  const Parameter &parameter = entry->second;
  std::string element;
  llvm::raw_string_ostream(element) << type.getElementType();
  if (!parameter.element.empty() && parameter.element != element)
    return makeError("parameter '" + key + "' has elements of type " +
                     parameter.element + " where the model has " + element);
  int64_t size = elementBytes(type.getElementType());
  for (int64_t dim : type.getShape())
    if (llvm::MulOverflow(size, dim, size))
      return makeError("parameter '" + key +
                       "' has more elements than any memory holds");
  const uint64_t given =
      parameter.repeated ? parameter.repeated : parameter.bytes.size();
  if (given != uint64_t(size))
    return makeError("parameter '" + key + "' has " + llvm::Twine(given) +
                     " bytes where its type needs " + llvm::Twine(size));
  llvm::ArrayRef<char> bytes(parameter.bytes.data(), parameter.bytes.size());
  if (!parameter.repeated && !type.getElementType().isInteger(1))
    return makeMappedConstant(type, bytes,
                              found->second.owners.find(key)->second);
  return makeConstant(type, [&](llvm::MutableArrayRef<char> out) {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = bytes[i % bytes.size()];
      if (type.getElementType().isInteger(1))
        out[i] = out[i] != 0;
    }
  });
}

} // namespace marver
