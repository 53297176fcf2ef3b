//===- Weights.cpp - Weights of an archive as constants -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Weights.h"
#include "compiler/import/torch/Call.h"
#include "compiler/ir/Constants.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mlir;

namespace marver::torch {

Expected<ElementsAttr> Weights::get(const InputSpec &spec) {
  const bool isConstant = spec.kind == InputSpec::Constant ||
                          (spec.kind == InputSpec::Buffer && !spec.persistent);
  auto &table = isConstant ? program.constants : program.weights;
  auto entry = table.find(spec.source);
  if (entry == table.end())
    return makeError("the archive has no data for it");
  return get(entry->second);
}

Expected<ElementsAttr> Weights::get(const Payload &payload) {
  if (payload.pickled)
    return makeError("'" + payload.path +
                     "' is pickled (a tensor subclass or an object), and "
                     "nothing is ever unpickled: turn it into a plain tensor "
                     "before the export");
  const TensorMeta &meta = payload.meta;
  Type element = elementType(context, meta.type);
  if (!element)
    return makeError("dtype " + nameOf(meta.type) + " is not supported");
  SmallVector<int64_t> sizes;
  for (const SymExpr &size : meta.sizes) {
    std::optional<int64_t> number = size.constant();
    if (!number || *number < 0)
      return makeError("'" + payload.path + "' has no fixed shape");
    sizes.push_back(*number);
  }

  auto [file, isNew] = files.try_emplace(payload.path);
  if (isNew) {
    Expected<ArrayRef<char>> bytes = package.archive.read(payload.path);
    if (!bytes) {
      files.erase(file);
      return bytes.takeError();
    }
    file->second = *bytes;
  }

  std::string key;
  raw_string_ostream stream(key);
  stream << payload.path << ' ' << int(meta.type) << ' ' << meta.offset;
  for (auto [size, stride] : zip(sizes, meta.strides))
    stream << ' ' << size << ':' << stride;
  auto found = made.find(key);
  if (found != made.end())
    return found->second;
  Expected<ElementsAttr> attribute =
      make(payload, RankedTensorType::get(sizes, element), file->second);
  if (attribute)
    made[key] = *attribute;
  return attribute;
}

Expected<ElementsAttr> Weights::make(const Payload &payload,
                                     RankedTensorType type,
                                     ArrayRef<char> bytes) {
  const TensorMeta &meta = payload.meta;
  auto outside = [&] {
    return makeError("'" + payload.path + "' in the archive has " +
                     Twine(bytes.size()) + " bytes, too few for its shape");
  };
  // The last element bounds all others: strides are not negative.
  const int64_t width = elementBytes(type.getElementType());
  int64_t count = 1, last = meta.offset;
  bool isContiguous = true, isEmpty = false;
  if (last < 0)
    return outside();
  for (int64_t i = type.getRank() - 1; i >= 0; --i) {
    const int64_t size = type.getDimSize(i), stride = meta.strides[i];
    if (size == 0) {
      isEmpty = true;
      break;
    }
    if (stride < 0)
      return outside();
    if (size > 1 && stride != count)
      isContiguous = false;
    int64_t span;
    if (MulOverflow(count, size, count) ||
        MulOverflow(size - 1, stride, span) || AddOverflow(last, span, last))
      return outside();
  }
  if (isEmpty)
    return makeConstant(type, [](MutableArrayRef<char>) {});
  if (last >= int64_t(bytes.size()) / width)
    return outside();
  // Strides of zero could ask for more memory than the file could ever fill.
  constexpr int64_t mostRepeats = 1024;
  if (!isContiguous && count / mostRepeats > int64_t(bytes.size()) / width)
    return makeError("'" + payload.path + "' in the archive is expanded to " +
                     Twine(count) + " elements");

  ArrayRef<char> from = bytes.drop_front(meta.offset * width);
  const bool isBool = meta.type == ScalarType::Bool;
  if (isContiguous && !isBool)
    return makeMappedConstant(type, from.take_front(count * width), owner);
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    SmallVector<int64_t> at(type.getRank(), 0);
    int64_t source = 0;
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(out.data() + i * width, from.data() + source * width, width);
      if (isBool)
        out[i] = out[i] != 0;
      for (int64_t d = type.getRank() - 1; d >= 0; --d) {
        source += meta.strides[d];
        if (++at[d] < type.getDimSize(d))
          break;
        source -= at[d] * meta.strides[d];
        at[d] = 0;
      }
    }
  });
}

} // namespace marver::torch
