//===- ParameterFormats.cpp - Readers of parameter files ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Parameters.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"

using namespace llvm;

namespace marver {
namespace {

Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// A part of the file; nullopt if it leaves it.
std::optional<StringRef> part(StringRef file, uint64_t offset,
                              uint64_t length) {
  if (offset > file.size() || length > file.size() - offset)
    return std::nullopt;
  return file.substr(offset, length);
}

/// Little-endian fields one after another; reads zeros behind the end, and
/// remembers that.
class Fields {
public:
  explicit Fields(StringRef bytes) : bytes(bytes) {}

  template <typename T> T take() {
    if (bytes.size() - at < sizeof(T)) {
      isGood = false;
      at = bytes.size();
      return 0;
    }
    T value = support::endian::read<T, endianness::little>(bytes.data() + at);
    at += sizeof(T);
    return value;
  }
  StringRef take(uint64_t length) {
    if (bytes.size() - at < length) {
      isGood = false;
      at = bytes.size();
      return "";
    }
    StringRef result = bytes.substr(at, length);
    at += length;
    return result;
  }

  StringRef bytes;
  uint64_t at = 0;
  bool isGood = true;
};

//===----------------------------------------------------------------------===//
// IREE's parameter archives: a list of headers, each with a table of entries
// and segments for names and data, all at offsets from the header
// (iree/schemas/parameter_archive.h).
//===----------------------------------------------------------------------===//

enum EntryKind : uint32_t { Skip = 0, Splat = 1, Data = 2 };

Error readEntry(StringRef entry, StringRef names, StringRef storage,
                ParameterTable &table) {
  Fields fields(entry);
  fields.take<uint64_t>(); // size
  const uint32_t kind = fields.take<uint32_t>();
  fields.take<uint64_t>(); // flags
  const uint64_t nameOffset = fields.take<uint64_t>();
  const uint64_t nameLength = fields.take<uint64_t>();
  fields.take(24); // metadata, alignment
  if (!fields.isGood)
    return makeError("an entry is too short");
  if (kind == Skip)
    return Error::success();
  std::optional<StringRef> name = part(names, nameOffset, nameLength);
  if (!name)
    return makeError("an entry's name is not in the file");
  Parameter parameter;
  if (kind == Data) {
    const uint64_t offset = fields.take<uint64_t>();
    const uint64_t length = fields.take<uint64_t>();
    std::optional<StringRef> bytes = part(storage, offset, length);
    if (!fields.isGood || !bytes)
      return makeError("the data of '" + *name + "' is not in the file");
    parameter.bytes = *bytes;
  } else if (kind == Splat) {
    parameter.repeated = fields.take<uint64_t>();
    StringRef pattern = fields.take(16);
    const uint8_t length = fields.take<uint8_t>();
    if (!fields.isGood || length == 0 || length > 16)
      return makeError("the pattern of '" + *name + "' is damaged");
    parameter.bytes = pattern.take_front(length);
  } else {
    return makeError("'" + *name +
                     "' is of a kind that is not supported; convert the file "
                     "with iree-convert-parameters");
  }
  table[*name] = parameter;
  return Error::success();
}

Error readArchive(StringRef file, ParameterTable &table) {
  uint64_t start = 0;
  while (true) {
    Fields header(file.drop_front(start));
    StringRef magic = header.take(4);
    const uint16_t version = header.take<uint16_t>();
    header.take<uint16_t>();
    header.take<uint64_t>();
    const uint64_t next = header.take<uint64_t>();
    header.take<uint64_t>();
    uint64_t count = header.take<uint64_t>();
    std::optional<StringRef> segments[3];
    for (std::optional<StringRef> &segment : segments) {
      const uint64_t offset = header.take<uint64_t>();
      segment = part(header.bytes, offset, header.take<uint64_t>());
    }
    if (!header.isGood || magic != "IRPA")
      return makeError("the header of the archive is damaged");
    if (version != 0)
      return makeError("the archive is of version " + Twine(version) +
                       ", only 0 is supported");
    auto [entries, names, storage] = segments;
    if (!entries || !names || !storage)
      return makeError("the archive ends before its data");
    StringRef rest = *entries;
    for (; count; --count) {
      const uint64_t size = Fields(rest).take<uint64_t>();
      if (size < 8 || size > rest.size())
        return makeError("the table of the archive is damaged");
      if (Error error =
              readEntry(rest.take_front(size), *names, *storage, table))
        return error;
      rest =
          rest.drop_front(std::min<uint64_t>(alignTo(size, 16), rest.size()));
    }
    if (!next)
      return Error::success();
    // Only forward, so that it ends.
    if (next > file.size() - start)
      return makeError("the archive's next header is not in the file");
    start += next;
  }
}

//===----------------------------------------------------------------------===//
// safetensors: the length of a JSON object, the object, the data.
//===----------------------------------------------------------------------===//

/// The parser of JSON calls itself for each bracket.
bool isShallow(StringRef text) {
  unsigned depth = 0;
  bool isString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (isString && c == '\\')
      ++i;
    else if (c == '"')
      isString = !isString;
    else if (!isString && (c == '{' || c == '['))
      ++depth;
    else if (!isString && (c == '}' || c == ']') && depth)
      --depth;
    if (depth > 16)
      return false;
  }
  return true;
}

std::string elementOfSafetensors(StringRef name) {
  return StringSwitch<StringRef>(name)
      .Case("F64", "f64")
      .Case("F32", "f32")
      .Case("F16", "f16")
      .Case("BF16", "bf16")
      .Cases({"I64", "U64"}, "i64")
      .Cases({"I32", "U32"}, "i32")
      .Cases({"I16", "U16"}, "i16")
      .Cases({"I8", "U8"}, "i8")
      .Case("BOOL", "i1")
      .Default(name)
      .str();
}

Error readSafetensors(StringRef file, ParameterTable &table) {
  const uint64_t length = Fields(file).take<uint64_t>();
  std::optional<StringRef> header = part(file, 8, length);
  if (!header || !isShallow(*header))
    return makeError("the header is damaged");
  StringRef data = file.drop_front(8 + length);
  Expected<json::Value> value = json::parse(*header);
  if (!value)
    return makeError("the header is no JSON: " + toString(value.takeError()));
  const json::Object *entries = value->getAsObject();
  if (!entries)
    return makeError("the header is no JSON object");
  for (const auto &[key, entry] : *entries) {
    StringRef name = key;
    if (name == "__metadata__")
      continue;
    const json::Object *object = entry.getAsObject();
    const json::Array *offsets =
        object ? object->getArray("data_offsets") : nullptr;
    std::optional<StringRef> type =
        object ? object->getString("dtype") : std::nullopt;
    std::optional<int64_t> from, to;
    if (offsets && offsets->size() == 2) {
      from = (*offsets)[0].getAsInteger();
      to = (*offsets)[1].getAsInteger();
    }
    if (!type || !from || !to || *from < 0 || *to < *from)
      return makeError("the entry '" + name + "' is damaged");
    std::optional<StringRef> bytes = part(data, *from, *to - *from);
    if (!bytes)
      return makeError("the data of '" + name + "' is not in the file");
    table[name] = {*bytes, 0, elementOfSafetensors(*type)};
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// gguf: key-value pairs, descriptions of tensors, aligned data.
//===----------------------------------------------------------------------===//

StringRef takeString(Fields &fields) {
  return fields.take(fields.take<uint64_t>());
}

/// Skips a value; its number if it is an unsigned 32-bit one.
std::optional<uint32_t> takeValue(Fields &fields, uint32_t type,
                                  unsigned depth = 0) {
  switch (type) {
  case 0: // u8, i8, bool
  case 1:
  case 7:
    fields.take(1);
    return std::nullopt;
  case 2: // 16 bits
  case 3:
    fields.take(2);
    return std::nullopt;
  case 4: // u32
    return fields.take<uint32_t>();
  case 5: // i32, f32
  case 6:
    fields.take(4);
    return std::nullopt;
  case 8:
    takeString(fields);
    return std::nullopt;
  case 9: { // array
    const uint32_t element = fields.take<uint32_t>();
    uint64_t count = fields.take<uint64_t>();
    if (depth > 4)
      fields.isGood = false;
    for (; count && fields.isGood; --count)
      takeValue(fields, element, depth + 1);
    return std::nullopt;
  }
  case 10: // 64 bits
  case 11:
  case 12:
    fields.take(8);
    return std::nullopt;
  default:
    fields.isGood = false;
    return std::nullopt;
  }
}

/// Name and bytes of an element of a ggml_type; zero bytes for quantized ones.
std::pair<StringRef, unsigned> elementOfGguf(uint32_t type) {
  switch (type) {
  case 0:
    return {"f32", 4};
  case 1:
    return {"f16", 2};
  case 24:
    return {"i8", 1};
  case 25:
    return {"i16", 2};
  case 26:
    return {"i32", 4};
  case 27:
    return {"i64", 8};
  case 28:
    return {"f64", 8};
  case 30:
    return {"bf16", 2};
  default:
    return {"quantized", 0};
  }
}

Error readGguf(StringRef file, ParameterTable &table) {
  Fields fields(file);
  fields.take(4);
  const uint32_t version = fields.take<uint32_t>();
  uint64_t tensors = fields.take<uint64_t>();
  uint64_t pairs = fields.take<uint64_t>();
  if (version < 2 || version > 3)
    return makeError("the file is of version " + Twine(version) +
                     ", only 2 and 3 are supported");
  uint64_t alignment = 32;
  for (; pairs && fields.isGood; --pairs) {
    StringRef key = takeString(fields);
    const uint32_t type = fields.take<uint32_t>();
    std::optional<uint32_t> number = takeValue(fields, type);
    if (key == "general.alignment" && number)
      alignment = *number;
  }
  if (alignment == 0 || alignment > (1u << 20))
    return makeError("the alignment of the data is damaged");
  struct Description {
    StringRef name;
    uint32_t type;
    uint64_t count, offset;
  };
  std::vector<Description> descriptions;
  for (; tensors && fields.isGood; --tensors) {
    Description entry{takeString(fields), 0, 1, 0};
    uint32_t rank = fields.take<uint32_t>();
    if (rank > 8)
      fields.isGood = false;
    for (; rank && fields.isGood; --rank) {
      const uint64_t size = fields.take<uint64_t>();
      if (size && entry.count > file.size() / size)
        return makeError("the tensor '" + entry.name +
                         "' is larger than the file");
      entry.count *= size;
    }
    entry.type = fields.take<uint32_t>();
    entry.offset = fields.take<uint64_t>();
    descriptions.push_back(entry);
  }
  if (!fields.isGood)
    return makeError("the file ends before its data, or is damaged");
  StringRef data = file.drop_front(
      std::min<uint64_t>(alignTo(fields.at, alignment), file.size()));
  for (const Description &entry : descriptions) {
    auto [element, width] = elementOfGguf(entry.type);
    std::optional<StringRef> bytes =
        part(data, entry.offset, entry.count * width);
    if (!bytes)
      return makeError("the data of '" + entry.name + "' is not in the file");
    table[entry.name] = {*bytes, 0, element.str()};
  }
  return Error::success();
}

} // namespace

Error readParameters(StringRef file, ParameterTable &table) {
  if (file.starts_with("IRPA"))
    return readArchive(file, table);
  if (file.starts_with("GGUF"))
    return readGguf(file, table);
  // A safetensors file has no magic, but a brace behind the length.
  if (file.size() > 8 && file[8] == '{')
    return readSafetensors(file, table);
  return makeError("it is neither an .irpa, a .safetensors nor a .gguf file");
}

} // namespace marver
