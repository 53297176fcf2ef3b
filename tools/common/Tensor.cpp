//===- Tensor.cpp - Tensors of the tools ----------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Tensor.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <unistd.h>

using namespace marver;

static uint64_t physicalMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0
             ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size)
             : UINT64_MAX;
}

bool Tensor::allocate(std::string &error) {
  uint64_t needed = mv_dtype_size(dtype);
  for (int64_t dim : dims)
    if (dim == 0)
      needed = 0;
  for (int64_t dim : dims)
    if (dim < 0 ||
        __builtin_mul_overflow(needed, static_cast<uint64_t>(dim), &needed) ||
        needed > uint64_t(1) << 48) {
      error = typeText(dtype, dims) + " is too large for any memory";
      return false;
    }
  // The system would promise more than it has, and end the process later.
  if (needed > physicalMemory()) {
    error = typeText(dtype, dims) + " needs " + std::to_string(needed >> 20) +
            " MB, more than this machine's memory";
    return false;
  }
  // From calloc, so that zeros cost nothing until they are read.
  auto *fresh = static_cast<uint8_t *>(calloc(needed + MV_ALIGNMENT, 1));
  if (!fresh) {
    error = "no memory for " + typeText(dtype, dims);
    return false;
  }
  memory.reset(fresh);
  offset = (MV_ALIGNMENT - reinterpret_cast<uintptr_t>(fresh) % MV_ALIGNMENT) %
           MV_ALIGNMENT;
  size = needed;
  return true;
}

Tensor Tensor::clone() const {
  Tensor copy;
  copy.dtype = dtype;
  copy.dims = dims;
  std::string error;
  if (copy.allocate(error))
    memcpy(copy.data(), data(), bytes());
  return copy;
}

std::string marver::typeText(int dtype, const std::vector<int64_t> &dims) {
  std::string text;
  for (int64_t dim : dims)
    text += std::to_string(dim) + "x";
  const char *name = mv_dtype_name(dtype);
  return text + (name ? name : "?");
}

int marver::dtypeOf(const std::string &name) {
  std::string own = name;
  if (name.size() > 2 && (name[0] == 's' || name[0] == 'u') && name[1] == 'i')
    own = name[0] == 'u' ? "u" + name.substr(2) : name.substr(1);
  for (int dtype = MV_DTYPE_I1; dtype <= MV_DTYPE_F64; ++dtype)
    if (own == mv_dtype_name(dtype))
      return dtype;
  return 0;
}

//===----------------------------------------------------------------------===//
// Half precision
//===----------------------------------------------------------------------===//

/// The value of a float of `exponentBits` and `mantissaBits` below its sign.
static double decodeFloat(uint16_t bits, int exponentBits, int mantissaBits) {
  int exponent = bits >> mantissaBits & ((1 << exponentBits) - 1);
  int mantissa = bits & ((1 << mantissaBits) - 1);
  int bias = (1 << (exponentBits - 1)) - 1;
  double value;
  if (exponent == (1 << exponentBits) - 1)
    value = mantissa ? std::numeric_limits<double>::quiet_NaN()
                     : std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - mantissaBits);
  else
    value = std::ldexp(mantissa + (1 << mantissaBits),
                       exponent - bias - mantissaBits);
  return bits & 0x8000 ? -value : value;
}

/// The nearest such float, ties to even.
static uint16_t encodeFloat(double value, int exponentBits, int mantissaBits) {
  auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  int largest = (1 << exponentBits) - 1;
  auto infinity = static_cast<uint16_t>(largest << mantissaBits);
  value = std::fabs(value);
  if (std::isnan(value))
    return static_cast<uint16_t>(sign | infinity | 1 << (mantissaBits - 1));
  int bias = (1 << (exponentBits - 1)) - 1;
  int exponent = value > 0 && !std::isinf(value) ? std::ilogb(value) : -bias;
  if (std::isinf(value) || exponent > bias)
    return sign | infinity;
  if (exponent < 1 - bias)
    exponent = 1 - bias; // zero or subnormal: spaced like the smallest normal
  // In units of the last place; the default rounding mode is ties to even. A
  // carry into the exponent gives the right bits by itself.
  auto units = static_cast<int>(
      std::nearbyint(std::ldexp(value, mantissaBits - exponent)));
  int bits = ((exponent + bias - 1) << mantissaBits) + units;
  return static_cast<uint16_t>(sign | (bits > infinity ? infinity : bits));
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

template <typename T> static T load(const uint8_t *element) {
  T value;
  memcpy(&value, element, sizeof(T));
  return value;
}

template <typename T> static void store(uint8_t *element, T value) {
  memcpy(element, &value, sizeof(T));
}

uint64_t marver::loadInteger(int dtype, const uint8_t *element) {
  switch (dtype) {
  case MV_DTYPE_I8:
    return static_cast<uint64_t>(int64_t(load<int8_t>(element)));
  case MV_DTYPE_I16:
    return static_cast<uint64_t>(int64_t(load<int16_t>(element)));
  case MV_DTYPE_I32:
    return static_cast<uint64_t>(int64_t(load<int32_t>(element)));
  case MV_DTYPE_I1:
  case MV_DTYPE_U8:
    return load<uint8_t>(element);
  case MV_DTYPE_U16:
    return load<uint16_t>(element);
  case MV_DTYPE_U32:
    return load<uint32_t>(element);
  default:
    return load<uint64_t>(element);
  }
}

void marver::storeInteger(int dtype, uint8_t *element, uint64_t value) {
  memcpy(element, &value, mv_dtype_size(dtype));
}

double marver::loadDouble(int dtype, const uint8_t *element) {
  switch (dtype) {
  case MV_DTYPE_F16:
    return decodeFloat(load<uint16_t>(element), 5, 10);
  case MV_DTYPE_BF16:
    return decodeFloat(load<uint16_t>(element), 8, 7);
  case MV_DTYPE_F32:
    return load<float>(element);
  case MV_DTYPE_F64:
    return load<double>(element);
  default:
    return isSigned(dtype) ? static_cast<double>(static_cast<int64_t>(
                                 loadInteger(dtype, element)))
                           : static_cast<double>(loadInteger(dtype, element));
  }
}

void marver::storeDouble(int dtype, uint8_t *element, double value) {
  switch (dtype) {
  case MV_DTYPE_F16:
    return store(element, encodeFloat(value, 5, 10));
  case MV_DTYPE_BF16:
    return store(element, encodeFloat(value, 8, 7));
  case MV_DTYPE_F32:
    return store(element, static_cast<float>(value));
  default:
    return store(element, value);
  }
}

/// Parses the whole of `text` as a number; a plus sign is allowed.
template <typename T>
static bool parseNumber(const std::string &text, T &value, bool &range) {
  const char *begin = text.data(), *end = begin + text.size();
  if (end - begin > 1 && *begin == '+' && begin[1] != '-')
    ++begin;
  auto [rest, status] = std::from_chars(begin, end, value);
  range = status == std::errc::result_out_of_range;
  return status == std::errc() && rest == end;
}

static bool parseFloat(int dtype, const std::string &text, uint8_t *element) {
  // A decimal is rounded once, so f32 is not parsed as a double first.
  bool range;
  float single;
  double value;
  if (dtype == MV_DTYPE_F32 && parseNumber(text, single, range)) {
    store(element, single);
    return true;
  }
  if (parseNumber(text, value, range)) {
    storeDouble(dtype, element, value);
    return true;
  }
  if (!range)
    return false;
  // Too large or too small for a double, but a number: what strtod makes of it.
  char *end;
  value = strtod(text.c_str(), &end);
  storeDouble(dtype, element, value);
  return *end == '\0';
}

bool marver::parseElement(int dtype, const std::string &text, uint8_t *element,
                          std::string &error) {
  auto fail = [&](const char *reason) {
    error = "'" + text + "' " + reason + " " + mv_dtype_name(dtype);
    return false;
  };
  if (isFloat(dtype))
    return parseFloat(dtype, text, element) || fail("is not a number of type");
  if (dtype == MV_DTYPE_I1) {
    if (text != "0" && text != "1" && text != "true" && text != "false")
      return fail("is not 0, 1, true or false, as needed for");
    *element = text == "1" || text == "true";
    return true;
  }
  // Integer types of IREE have a width and no sign, so that an i8 may be 255.
  auto bits = static_cast<int>(8 * mv_dtype_size(dtype));
  bool range = false;
  int64_t negative;
  uint64_t value;
  if (text[0] == '-') {
    if (!parseNumber(text, negative, range))
      return fail(range ? "is out of the range of"
                        : "is not an integer of type");
    if (!isSigned(dtype) ||
        (bits < 64 && negative < -(int64_t(1) << (bits - 1))))
      return fail("is out of the range of");
    value = static_cast<uint64_t>(negative);
  } else {
    if (!parseNumber(text, value, range))
      return fail(range ? "is out of the range of"
                        : "is not an integer of type");
    if (bits < 64 && value >> bits)
      return fail("is out of the range of");
  }
  storeInteger(dtype, element, value);
  return true;
}

std::string marver::elementText(int dtype, const uint8_t *element) {
  char text[64];
  auto print = [&](auto value) {
    auto [end, status] = std::to_chars(text, text + sizeof(text), value);
    return std::string(text, end);
  };
  switch (dtype) {
  case MV_DTYPE_F64:
    return print(load<double>(element));
  case MV_DTYPE_F16:
  case MV_DTYPE_BF16: {
    // The fewest digits that come back as the same element.
    double value = loadDouble(dtype, element);
    for (int digits = 1; digits < 8; ++digits) {
      auto [end, status] = std::to_chars(text, text + sizeof(text), value,
                                         std::chars_format::general, digits);
      uint8_t back[2];
      std::string candidate(text, end);
      if (parseFloat(dtype, candidate, back) && memcmp(back, element, 2) == 0)
        return candidate;
    }
    return print(value);
  }
  case MV_DTYPE_F32:
    return print(load<float>(element));
  default:
    return isSigned(dtype)
               ? print(static_cast<int64_t>(loadInteger(dtype, element)))
               : print(loadInteger(dtype, element));
  }
}
