//===- Npy.cpp - NumPy's array files --------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Npy.h"

#include <charconv>
#include <string_view>

using namespace marver;

static constexpr char magic[] = "\x93NUMPY";
static constexpr size_t magicSize = 6;

bool marver::isNpy(const uint8_t *bytes, size_t size) {
  return size >= magicSize && memcmp(bytes, magic, magicSize) == 0;
}

namespace {

/// Reads the header's text: a Python dictionary with three known keys.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text(text) {}

  bool parse() {
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':'))
        return false;
      bool known = key == "descr"           ? string(descr)
                   : key == "fortran_order" ? boolean(fortranOrder)
                   : key == "shape"         ? tuple(shape)
                                            : false;
      if (!known)
        return false;
      seen |= key == "descr" ? 1 : key == "fortran_order" ? 2 : 4;
      if (!take(',')) {
        if (!take('}'))
          return false;
        break;
      }
    }
    skipSpace();
    return text.empty() && seen == 7;
  }

  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;

private:
  void skipSpace() {
    while (!text.empty() && (text[0] == ' ' || text[0] == '\n'))
      text.remove_prefix(1);
  }
  bool take(char c) {
    skipSpace();
    if (text.empty() || text[0] != c)
      return false;
    text.remove_prefix(1);
    return true;
  }
  bool word(std::string_view expected) {
    skipSpace();
    if (!text.starts_with(expected))
      return false;
    text.remove_prefix(expected.size());
    return true;
  }
  bool string(std::string &value) {
    char quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
    size_t end = quote ? text.find(quote) : std::string_view::npos;
    if (end == std::string_view::npos)
      return false;
    value = std::string(text.substr(0, end));
    text.remove_prefix(end + 1);
    return true;
  }
  bool boolean(bool &value) {
    value = word("True");
    return value || word("False");
  }
  bool tuple(std::vector<int64_t> &values) {
    if (!take('('))
      return false;
    while (!take(')')) {
      skipSpace();
      int64_t value;
      auto [end, status] =
          std::from_chars(text.data(), text.data() + text.size(), value);
      if (status != std::errc() || value < 0 || values.size() >= MV_MAX_RANK)
        return false;
      values.push_back(value);
      text.remove_prefix(static_cast<size_t>(end - text.data()));
      if (!take(',')) {
        if (!take(')'))
          return false;
        break;
      }
    }
    return true;
  }

  std::string_view text;
  int seen = 0;
};

} // namespace

/// MV_DTYPE_* of a descriptor like `<f4`, or 0 with a reason.
static int dtypeOfDescr(const std::string &descr, int wanted,
                        std::string &error) {
  if (descr.empty()) {
    error = "structured types are not supported";
    return 0;
  }
  std::string kind = descr.substr(1);
  if (descr[0] == '>' && kind != "i1" && kind != "u1" && kind != "b1") {
    error = "its elements are big-endian (" + descr +
            "); save it with .astype('<" + kind + "')";
    return 0;
  }
  static const struct {
    const char *kind;
    int dtype;
  } kinds[] = {{"b1", MV_DTYPE_I1},  {"i1", MV_DTYPE_I8},  {"i2", MV_DTYPE_I16},
               {"i4", MV_DTYPE_I32}, {"i8", MV_DTYPE_I64}, {"u1", MV_DTYPE_U8},
               {"u2", MV_DTYPE_U16}, {"u4", MV_DTYPE_U32}, {"u8", MV_DTYPE_U64},
               {"f2", MV_DTYPE_F16}, {"f4", MV_DTYPE_F32}, {"f8", MV_DTYPE_F64},
               {"V2", MV_DTYPE_BF16}};
  for (const auto &entry : kinds)
    if (kind == entry.kind)
      return entry.dtype == MV_DTYPE_U16 && wanted == MV_DTYPE_BF16
                 ? MV_DTYPE_BF16
                 : entry.dtype;
  error = "its element type '" + descr + "' is not supported";
  return 0;
}

/// Copies `count` elements from Fortran order (first index fastest) to C order.
static void transpose(const uint8_t *source, Tensor &tensor) {
  size_t size = mv_dtype_size(tensor.dtype), count = tensor.count();
  std::vector<size_t> strides(tensor.dims.size());
  size_t stride = 1;
  for (size_t i = 0; i < strides.size(); ++i) {
    strides[i] = stride;
    stride *= static_cast<size_t>(tensor.dims[i]);
  }
  std::vector<int64_t> index(tensor.dims.size());
  size_t offset = 0;
  for (size_t i = 0; i < count; ++i) {
    memcpy(tensor.data() + i * size, source + offset * size, size);
    for (size_t k = index.size(); k-- > 0;) {
      offset += strides[k];
      if (++index[k] < tensor.dims[k])
        break;
      offset -= strides[k] * static_cast<size_t>(tensor.dims[k]);
      index[k] = 0;
    }
  }
}

bool marver::readNpy(const uint8_t *bytes, size_t size, int wanted,
                     Tensor &tensor, size_t &taken, std::string &error) {
  if (!isNpy(bytes, size)) {
    error = "not a .npy file";
    return false;
  }
  error = "truncated .npy file";
  if (size < magicSize + 4)
    return false;
  int version = bytes[6];
  if (version < 1 || version > 3) {
    error = ".npy version " + std::to_string(version) + " is not supported";
    return false;
  }
  size_t headerStart = version == 1 ? 10 : 12, headerSize = 0;
  if (size < headerStart)
    return false;
  memcpy(&headerSize, bytes + 8, headerStart - 8);
  if (headerSize > size - headerStart)
    return false;

  HeaderParser header(
      {reinterpret_cast<const char *>(bytes + headerStart), headerSize});
  if (!header.parse()) {
    error = header.descr.empty() ? "its .npy header cannot be read (structured "
                                   "types are not supported)"
                                 : "its .npy header cannot be read";
    return false;
  }
  tensor.dtype = dtypeOfDescr(header.descr, wanted, error);
  if (!tensor.dtype)
    return false;
  tensor.dims = header.shape;

  // Before memory is asked for, the file must have as many bytes.
  size_t left = size - headerStart - headerSize;
  uint64_t needed = mv_dtype_size(tensor.dtype);
  bool fits = true, empty = false;
  for (int64_t dim : tensor.dims) {
    empty |= dim == 0;
    fits &=
        !__builtin_mul_overflow(needed, static_cast<uint64_t>(dim), &needed);
  }
  if (!empty && (!fits || needed > left)) {
    error = "truncated .npy file: its header says " +
            typeText(tensor.dtype, tensor.dims) +
            ", which needs more than the " + std::to_string(left) +
            " bytes that follow";
    return false;
  }
  error.clear();
  if (!tensor.allocate(error))
    return false;
  const uint8_t *data = bytes + headerStart + headerSize;
  if (header.fortranOrder && tensor.dims.size() > 1)
    transpose(data, tensor);
  else if (tensor.bytes() > 0)
    memcpy(tensor.data(), data, tensor.bytes());
  // NumPy's booleans are 0 or 1; a file's bytes may be anything.
  if (tensor.dtype == MV_DTYPE_I1)
    for (size_t i = 0; i < tensor.bytes(); ++i)
      tensor.data()[i] = tensor.data()[i] != 0;
  taken = headerStart + headerSize + tensor.bytes();
  return true;
}

std::vector<uint8_t> marver::npyHeader(int dtype,
                                       const std::vector<int64_t> &dims) {
  static const char *const descrs[] = {"",    "|b1", "|i1", "<i2", "<i4",
                                       "<i8", "|u1", "<u2", "<u4", "<u8",
                                       "<f2", "<u2", "<f4", "<f8"};
  std::string text = "{'descr': '" + std::string(descrs[dtype]) +
                     "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims[i]);
  text += dims.size() == 1 ? ",), }" : "), }";
  // The data begin at a multiple of 64.
  while ((10 + text.size() + 1) % 64 != 0)
    text += ' ';
  text += '\n';
  std::vector<uint8_t> bytes(10);
  memcpy(bytes.data(), magic, magicSize);
  bytes[6] = 1;
  bytes[8] = static_cast<uint8_t>(text.size());
  bytes[9] = static_cast<uint8_t>(text.size() >> 8);
  bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}
