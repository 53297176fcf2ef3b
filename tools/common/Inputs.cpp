//===- Inputs.cpp - What --input and --output say -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Inputs.h"

#include "tools/common/Npy.h"

#include <cerrno>
#include <charconv>
#include <cstdio>

using namespace marver;

std::vector<WantedType> marver::inputTypes(const mv_signature &signature) {
  std::vector<WantedType> types;
  for (uint32_t i = 0; i < signature.input_count; ++i) {
    const mv_tensor_type &type = signature.inputs[i];
    types.push_back({type.dtype, {type.dims, type.dims + type.rank}});
  }
  return types;
}

bool marver::readWholeFile(const std::string &path, std::vector<uint8_t> &bytes,
                           std::string &error) {
  auto fail = [&](const char *reason) {
    error = path + ": " + reason;
    return false;
  };
  FILE *file = fopen(path.c_str(), "rb");
  if (!file)
    return fail(strerror(errno));
  bytes.clear();
  // The size is only a hint: pipes and the files of /proc have none.
  if (fseek(file, 0, SEEK_END) == 0) {
    long size = ftell(file);
    if (fseek(file, 0, SEEK_SET) != 0)
      return fail(strerror(errno));
    if (size > 0 && size < int64_t(1) << 48)
      bytes.reserve(static_cast<size_t>(size));
  }
  uint8_t buffer[1 << 16];
  while (size_t size = fread(buffer, 1, sizeof(buffer), file))
    bytes.insert(bytes.end(), buffer, buffer + size);
  bool failed = ferror(file) != 0;
  int reason = errno;
  fclose(file);
  return failed ? fail(strerror(reason)) : true;
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// Parses "2x3xf32" or "f32".
static bool parseType(const std::string &text, Tensor &tensor) {
  tensor.dims.clear();
  size_t start = 0;
  for (;;) {
    size_t end = text.find('x', start);
    if (end == std::string::npos)
      break;
    int64_t dim;
    const char *first = text.data() + start, *last = text.data() + end;
    auto [rest, status] = std::from_chars(first, last, dim);
    if (status != std::errc() || rest != last || dim < 0)
      return false;
    tensor.dims.push_back(dim);
    start = end + 1;
  }
  tensor.dtype = dtypeOf(text.substr(start));
  return tensor.dtype != 0 && tensor.dims.size() <= MV_MAX_RANK;
}

std::string marver::wantedText(const WantedType &wanted,
                               const std::vector<std::string> &symbols) {
  std::string text;
  for (int64_t dim : wanted.dims) {
    if (dim >= 0) {
      text += std::to_string(dim);
    } else if (MV_DIM_IS_SYMBOL(dim)) {
      auto number = static_cast<size_t>(MV_DIM_SYMBOL_NUMBER(dim));
      bool named = number < symbols.size() && !symbols[number].empty();
      text +=
          "[" + (named ? symbols[number] : "s" + std::to_string(number)) + "]";
    } else {
      text += '?';
    }
    text += 'x';
  }
  const char *name = mv_dtype_name(wanted.dtype);
  return text + (name ? name : "?");
}

bool marver::matchType(Tensor &tensor, const WantedType &wanted,
                       std::string &error) {
  if (!wanted.dtype)
    return true;
  bool same = tensor.dtype == wanted.dtype;
  if (!same && isSigned(tensor.dtype) && wanted.dtype >= MV_DTYPE_U8 &&
      wanted.dtype <= MV_DTYPE_U64 &&
      mv_dtype_size(tensor.dtype) == mv_dtype_size(wanted.dtype)) {
    tensor.dtype = wanted.dtype;
    same = true;
  }
  std::string difference = same ? "" : "its type differs";
  if (same && tensor.dims.size() != wanted.dims.size())
    difference = "its rank differs";
  for (size_t i = 0; difference.empty() && i < tensor.dims.size(); ++i)
    if (wanted.dims[i] >= 0 && tensor.dims[i] != wanted.dims[i])
      difference = "dim " + std::to_string(i) + " differs";
  if (difference.empty())
    return true;
  error = "is " + typeText(tensor.dtype, tensor.dims) +
          ", the function takes " + wantedText(wanted) + ": " + difference;
  return false;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void marver::fillRandom(Tensor &tensor, uint64_t seed) {
  size_t size = mv_dtype_size(tensor.dtype), count = tensor.count();
  int precision = tensor.dtype == MV_DTYPE_F64   ? 53
                  : tensor.dtype == MV_DTYPE_F32 ? 24
                  : tensor.dtype == MV_DTYPE_F16 ? 11
                                                 : 8;
  double scale = 2.0 / static_cast<double>(uint64_t(1) << precision);
  for (size_t i = 0; i < count; ++i) {
    uint8_t *element = tensor.data() + i * size;
    seed += 0x9e3779b97f4a7c15;
    uint64_t x = seed;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;
    if (isFloat(tensor.dtype))
      storeDouble(tensor.dtype, element,
                  static_cast<double>(x >> (64 - precision)) * scale - 1);
    else if (tensor.dtype == MV_DTYPE_I1)
      *element = static_cast<uint8_t>(x >> 63);
    else
      storeInteger(tensor.dtype, element, x >> (64 - 8 * size));
  }
}

/// `random:SEED`.
static bool parseRandom(const std::string &text, uint64_t &seed, bool &isRandom,
                        std::string &error) {
  static const std::string prefix = "random:";
  isRandom = text.starts_with(prefix);
  if (!isRandom)
    return true;
  const char *first = text.data() + prefix.size(),
             *last = text.data() + text.size();
  auto [rest, status] = std::from_chars(first, last, seed);
  if (status == std::errc() && rest == last)
    return true;
  error = "'" + text + "': the seed must be an integer of 64 bits";
  return false;
}

/// Elements of an allocated tensor: one for all, or one each.
static bool parseElements(const std::string &text, Tensor &tensor,
                          std::string &error) {
  static const char separators[] = " ,[]\t\n;";
  size_t size = mv_dtype_size(tensor.dtype), count = tensor.count();
  size_t found = 0, start = text.find_first_not_of(separators);
  uint8_t element[8];
  while (start != std::string::npos) {
    size_t end = text.find_first_of(separators, start);
    std::string word = text.substr(start, end - start);
    if (!parseElement(tensor.dtype, word, element, error))
      return false;
    if (found < count)
      memcpy(tensor.data() + found * size, element, size);
    ++found;
    start = end == std::string::npos ? end
                                     : text.find_first_not_of(separators, end);
  }
  if (found == 1)
    for (size_t i = 1; i < count; ++i)
      memcpy(tensor.data() + i * size, element, size);
  else if (found != 0 && found != count) {
    error = "has " + std::to_string(found) + " values, " +
            typeText(tensor.dtype, tensor.dims) + " needs " +
            std::to_string(count) + " (or one for all)";
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// `@` begins at the start of the file, `+` and `*` where it was left.
InputReader::File *InputReader::open(char mode, const std::string &path,
                                     std::string &error) {
  auto [it, isNew] = files.try_emplace(path);
  File &file = it->second;
  if (isNew && !readWholeFile(path, file.bytes, error)) {
    files.erase(it);
    return nullptr;
  }
  if (mode == '@')
    file.position = 0;
  return &file;
}

bool InputReader::readArray(char mode, const std::string &path,
                            const WantedType &wanted, Tensor &tensor,
                            std::string &error) {
  File *file = open(mode, path, error);
  if (!file)
    return false;
  if (file->position > 0 && file->position == file->bytes.size()) {
    error = path + ": no further array in it";
    return false;
  }
  size_t taken;
  if (!readNpy(file->bytes.data() + file->position,
               file->bytes.size() - file->position, wanted.dtype, tensor, taken,
               error)) {
    error = path + ": " + error;
    if (!isNpy(file->bytes.data(), file->bytes.size()))
      error += "; raw elements need their type: 2x2xf32=@" + path;
    return false;
  }
  file->position += taken;
  return true;
}

bool InputReader::readRaw(char mode, const std::string &path, Tensor &tensor,
                          std::string &error) {
  File *file = open(mode, path, error);
  if (!file)
    return false;
  size_t left = file->bytes.size() - file->position;
  if (isNpy(file->bytes.data() + file->position, left)) {
    Tensor array;
    if (!readArray(mode, path, {tensor.dtype, {}}, array, error))
      return false;
    if (!matchType(array, {tensor.dtype, tensor.dims}, error)) {
      error = path + ": is " + typeText(array.dtype, array.dims) + ", not " +
              typeText(tensor.dtype, tensor.dims);
      return false;
    }
    tensor = std::move(array);
    return true;
  }
  if (!tensor.allocate(error))
    return false;
  if (tensor.bytes() > left) {
    error = path + ": has " + std::to_string(left) + " bytes, " +
            typeText(tensor.dtype, tensor.dims) + " needs " +
            std::to_string(tensor.bytes());
    return false;
  }
  if (tensor.bytes() > 0)
    memcpy(tensor.data(), file->bytes.data() + file->position, tensor.bytes());
  file->position += tensor.bytes();
  if (tensor.dtype == MV_DTYPE_I1)
    for (size_t i = 0; i < tensor.bytes(); ++i)
      tensor.data()[i] = tensor.data()[i] != 0;
  return true;
}

//===----------------------------------------------------------------------===//
// Specifications
//===----------------------------------------------------------------------===//

static bool isStatic(const WantedType &wanted) {
  for (int64_t dim : wanted.dims)
    if (dim < 0)
      return false;
  return wanted.dtype != 0;
}

static bool isFileMode(char c) { return c == '@' || c == '+' || c == '*'; }

/// Whether `+...` is a file and not a number like `+1.5`.
static bool isFileSpec(const std::string &text) {
  if (text.size() < 2 || !isFileMode(text[0]))
    return false;
  return text[0] != '+' ||
         text.find_first_not_of("0123456789.eE+-", 1) != std::string::npos;
}

bool InputReader::readOne(const std::string &spec, const WantedType &wanted,
                          bool anyType, Tensor &tensor, std::string &error) {
  std::string value = spec;
  size_t equals = spec.find('=');
  bool typed = false;
  if (!isFileSpec(spec)) {
    std::string type = spec.substr(0, equals);
    typed = parseType(type, tensor);
    if (equals != std::string::npos) {
      if (!typed && !type.empty()) {
        error = "'" + type + "' is not a type like 2x3xf32";
        return false;
      }
      value = spec.substr(equals + 1);
    } else if (typed) {
      value.clear();
    }
  }

  // Before memory is asked for.
  if (typed && !anyType && !matchType(tensor, wanted, error))
    return false;
  uint64_t seed;
  bool isRandom;
  if (!parseRandom(value, seed, isRandom, error))
    return false;
  if (isFileSpec(value))
    return typed ? readRaw(value[0], value.substr(1), tensor, error)
                 : readArray(value[0], value.substr(1), wanted, tensor, error);
  if (!typed) {
    // Only what the function itself says of its type.
    if (!isStatic(wanted) || (!isRandom && !wanted.dims.empty())) {
      error = "'" + spec + "' needs a type: " +
              (wanted.dtype ? wantedText(wanted) : std::string("2x3xf32")) +
              "=...";
      return false;
    }
    tensor.dtype = wanted.dtype;
    tensor.dims = wanted.dims;
    if (!isRandom && value.empty()) {
      error = "is empty";
      return false;
    }
  }
  if (!tensor.allocate(error))
    return false;
  if (isRandom) {
    fillRandom(tensor, seed);
    return true;
  }
  return parseElements(value, tensor, error);
}

/// Whether `*f.npy` has arrays left.
bool InputReader::hasMore(const std::string &spec) {
  if (spec.size() < 2 || spec[0] != '*')
    return false;
  const File &file = files[spec.substr(1)];
  return file.position < file.bytes.size();
}

bool InputReader::readAny(const std::string &spec, const WantedType &known,
                          std::vector<Tensor> &tensors, std::string &error) {
  do {
    Tensor tensor;
    if (!readOne(spec, known, /*anyType=*/true, tensor, error))
      return false;
    tensors.push_back(std::move(tensor));
  } while (hasMore(spec));
  return true;
}

bool InputReader::read(const std::vector<std::string> &specs,
                       const std::vector<WantedType> &wanted,
                       const std::string &what,
                       const std::vector<std::string> &names,
                       std::vector<Tensor> &tensors, std::string &error) {
  auto label = [&](size_t index) {
    std::string text = what + " " + std::to_string(index);
    if (index < names.size() && !names[index].empty())
      text += " (" + names[index] + ")";
    return text;
  };
  auto count = [&] {
    return "the function has " + std::to_string(wanted.size()) + " " + what +
           (wanted.size() == 1 ? "" : "s");
  };
  for (const std::string &spec : specs) {
    do {
      size_t index = tensors.size();
      if (index >= wanted.size()) {
        error = "too many " + what + "s: " + count();
        return false;
      }
      Tensor tensor;
      if (!readOne(spec, wanted[index], /*anyType=*/false, tensor, error) ||
          !matchType(tensor, wanted[index], error)) {
        error.insert(0, label(index) + ": ");
        return false;
      }
      tensors.push_back(std::move(tensor));
    } while (hasMore(spec));
  }
  if (tensors.size() < wanted.size()) {
    error = label(tensors.size()) + " is missing: " + count() + ", " +
            std::to_string(tensors.size()) +
            (tensors.size() == 1 ? " is given" : " are given") + "; it takes " +
            wantedText(wanted[tensors.size()]);
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

namespace {

/// Prints nested dims, each but the innermost in brackets.
class TensorPrinter {
public:
  TensorPrinter(int dtype, const std::vector<int64_t> &dims,
                const uint8_t *data, size_t limit)
      : dtype(dtype), dims(dims), data(data), left(limit) {}

  std::string print() {
    level(0);
    return text;
  }

private:
  void level(size_t dim) {
    if (dim == dims.size())
      return element();
    for (int64_t i = 0; i < dims[dim] && !stopped; ++i) {
      if (dim + 1 < dims.size()) {
        text += '[';
        level(dim + 1);
        text += ']';
      } else {
        if (i > 0)
          text += ' ';
        element();
      }
    }
  }

  void element() {
    if (left == 0) {
      text += "...";
      stopped = true;
      return;
    }
    --left;
    text += elementText(dtype, data);
    data += mv_dtype_size(dtype);
  }

  int dtype;
  const std::vector<int64_t> &dims;
  const uint8_t *data;
  size_t left;
  bool stopped = false;
  std::string text;
};

} // namespace

std::string marver::tensorText(int dtype, const std::vector<int64_t> &dims,
                               const uint8_t *data, size_t limit) {
  std::string text = typeText(dtype, dims) + "=";
  for (int64_t dim : dims)
    if (dim == 0)
      return text;
  return text + TensorPrinter(dtype, dims, data, limit).print();
}

bool OutputWriter::write(const std::string &spec, size_t index, int dtype,
                         const std::vector<int64_t> &dims, const uint8_t *data,
                         size_t bytes, size_t limit, std::string &error) {
  if (spec.empty())
    return true;
  if (spec == "-") {
    printf("result[%zu]: %s\n", index,
           tensorText(dtype, dims, data, limit).c_str());
    return true;
  }
  if (spec.size() < 2 || (spec[0] != '@' && spec[0] != '+')) {
    error = "'" + spec + "' is not an output: it can be -, @FILE or +FILE";
    return false;
  }
  std::string path = spec.substr(1);
  FILE *file = fopen(path.c_str(), spec[0] == '@' ? "wb" : "ab");
  if (!file) {
    error = path + ": " + strerror(errno);
    return false;
  }
  bool written = true;
  if (path.ends_with(".npy")) {
    std::vector<uint8_t> header = npyHeader(dtype, dims);
    written = fwrite(header.data(), 1, header.size(), file) == header.size();
  }
  written = written && (bytes == 0 || fwrite(data, 1, bytes, file) == bytes);
  written = fclose(file) == 0 && written;
  if (!written)
    error = path + ": " + strerror(errno);
  return written;
}
