//===- Resources.cpp - The data of dense_resource constants ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/Resources.h"
#include "compiler/ir/Constants.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Format.h"

using namespace llvm;
using namespace mlir;

namespace marver {

using mlir::Type;

/// Digits of the alignment, which stands before the data.
constexpr size_t kAlignmentDigits = 8;

static Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

std::string Resources::strip(StringRef whole) {
  text = whole;
  // A string has no line break in it, so this is the section and nothing else.
  constexpr StringLiteral opening = "{-#";
  size_t section = text.starts_with(opening) ? 0 : text.find("\n{-#");
  if (section == StringRef::npos)
    return text.str();
  std::string result = text.take_front(section).str();
  StringRef rest = text.drop_front(section);
  while (!rest.empty()) {
    auto [before, after] = rest.split('"');
    result += before;
    if (before.size() == rest.size())
      break;
    size_t end = after.find('"');
    StringRef string = after.take_front(end);
    result += '"';
    StringRef digits = string;
    if (end == StringRef::npos) {
      // The parser will say that a quote is missing; it needs no more for that.
      result += string.take_front(80);
      break;
    }
    if (digits.consume_front("0x") && digits.size() >= kAlignmentDigits) {
      raw_string_ostream stream(result);
      stream << "0x" << digits.take_front(kAlignmentDigits);
      for (unsigned shift = 0; shift < 64; shift += 8)
        stream << format_hex_no_prefix((strings.size() >> shift) & 255, 2);
      strings.push_back(digits.drop_front(kAlignmentDigits));
    } else {
      result += string;
    }
    result += '"';
    rest = after.drop_front(end + 1);
  }
  return result;
}

/// Bytes of pairs of digits. Without branches, so that it is done in vectors:
/// nearly all of a large file goes through here. False if a digit is none.
static bool decodeDigits(const char *digits, char *out, size_t size) {
  unsigned char bad = 0;
  for (size_t i = 0; i < size; ++i) {
    unsigned char values[2];
    for (int k = 0; k < 2; ++k) {
      const unsigned char c = digits[2 * i + k];
      const unsigned char number = c - '0', letter = (c | 32) - 'a';
      const bool isNumber = number < 10, isLetter = letter < 6;
      bad |= !(isNumber | isLetter);
      values[k] = isNumber ? number : letter + 10;
    }
    out[i] = static_cast<char>(values[0] << 4 | values[1]);
  }
  return !bad;
}

std::string Resources::place(const char *at) const {
  StringRef before = text.take_front(at - text.data());
  const size_t lineStart = before.rfind('\n') + 1; // npos + 1 is 0
  return ("line " + Twine(before.count('\n') + 1) + ", column " +
          Twine(before.size() - lineStart + 1))
      .str();
}

Expected<Resources::Data> Resources::find(ElementsAttr attribute) const {
  auto type = dyn_cast<RankedTensorType>(attribute.getShapedType());
  if (!type || !type.hasStaticShape())
    return makeError("a constant needs a static shape");
  Type element = type.getElementType();
  auto integer = dyn_cast<IntegerType>(element);
  if (integer && !integer.isSignless())
    element = IntegerType::get(type.getContext(), integer.getWidth());
  Data data;
  data.type = type.clone(element);
  auto resource = dyn_cast<DenseResourceElementsAttr>(attribute);
  if (!resource)
    return data;
  data.resource = resource.getRawHandle();
  const StringRef name = data.resource->getKey();
  AsmResourceBlob *blob = data.resource->getBlob();
  if (!blob)
    return makeError("the file has no data for resource '" + name +
                     "'; was it printed with its constants elided?");
  if (!element.isIntOrFloat() ||
      (!element.isInteger(1) && element.getIntOrFloatBitWidth() % 8))
    return makeError("the element type of resource '" + name +
                     "' is not supported");
  int64_t size = elementBytes(element);
  for (int64_t dim : type.getShape())
    if (MulOverflow(size, dim, size))
      return makeError("the type of resource '" + name +
                       "' has more elements than any memory holds");
  data.bytes = blob->getData();
  int64_t given = data.bytes.size();
  if (!strings.empty()) {
    const uint64_t number = given == 8
                                ? support::endian::read64le(data.bytes.data())
                                : strings.size();
    if (number >= strings.size())
      return makeError("resource '" + name + "' is not in the file's section");
    data.digits = strings[number];
    if (data.digits.size() % 2)
      return makeError("resource '" + name + "' has an odd number of digits, " +
                       place(data.digits.data()));
    given = data.digits.size() / 2;
  }
  if (given == size)
    return data;
  return makeError("resource '" + name + "' has " + Twine(given) +
                   " bytes where its type needs " + Twine(size) +
                   (strings.empty() ? "" : ", " + place(data.digits.data())));
}

Error Resources::check(ElementsAttr attribute) const {
  return find(attribute).takeError();
}

Expected<ElementsAttr> Resources::decode(const Data &data) {
  bool isGood = true;
  const bool isBool = data.type.getElementType().isInteger(1);
  ElementsAttr result = makeConstant(data.type, [&](MutableArrayRef<char> out) {
    if (strings.empty())
      std::memcpy(out.data(), data.bytes.data(), out.size());
    else
      isGood = decodeDigits(data.digits.data(), out.data(), out.size());
    if (isBool)
      for (char &byte : out)
        byte = byte != 0;
  });
  if (isGood)
    return result;
  const char *at = find_if_not(data.digits, isHexDigit);
  return makeError("resource '" + data.resource->getKey() +
                   "' has a character that is no hexadecimal digit, " +
                   place(at));
}

Expected<ElementsAttr> Resources::get(ElementsAttr attribute) {
  Expected<Data> data = find(attribute);
  if (!data)
    return data.takeError();
  if (!data->resource) {
    if (data->type == attribute.getShapedType())
      return attribute;
    if (auto dense = dyn_cast<DenseIntElementsAttr>(attribute))
      return ElementsAttr(dense.bitcast(data->type.getElementType()));
    return makeError("a constant of this kind is not supported");
  }
  // Two resources have different keys; two types of one are two constants.
  auto [entry, isNew] = made.try_emplace(
      {StringAttr::get(data->type.getContext(), data->resource->getKey()),
       Type(data->type)});
  if (isNew) {
    Expected<ElementsAttr> constant = decode(*data);
    if (!constant) {
      made.erase(entry);
      return constant;
    }
    entry->second = *constant;
  }
  return entry->second;
}

bool Resources::replaceAll(Operation *root) {
  bool isGood = true;
  root->walk([&](Operation *op) {
    for (NamedAttribute named : op->getAttrs()) {
      auto resource = dyn_cast<DenseResourceElementsAttr>(named.getValue());
      if (!resource)
        continue;
      Expected<ElementsAttr> constant = get(resource);
      if (constant) {
        op->setAttr(named.getName(), *constant);
        continue;
      }
      op->emitError() << toString(constant.takeError());
      isGood = false;
    }
  });
  return isGood;
}

} // namespace marver
