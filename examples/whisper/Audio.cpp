//===- Audio.cpp - Samples from a WAV file --------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Audio.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numbers>

using namespace whisper;

namespace {

/// Little-endian numbers of a file's bytes; reading past the end gives zeros.
class Bytes {
public:
  explicit Bytes(std::vector<unsigned char> bytes) : data(std::move(bytes)) {}

  size_t size() const { return data.size(); }
  /// `count` bytes from `offset` on.
  uint64_t integer(size_t offset, unsigned count) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < count; ++i)
      if (offset + i < data.size())
        value |= static_cast<uint64_t>(data[offset + i]) << (8 * i);
    return value;
  }
  unsigned number(size_t offset, unsigned count) const {
    return static_cast<unsigned>(integer(offset, count));
  }
  bool isTag(size_t offset, const char *tag) const {
    return offset + 4 <= data.size() &&
           std::memcmp(data.data() + offset, tag, 4) == 0;
  }

private:
  std::vector<unsigned char> data;
};

/// How the samples of a file are stored.
struct Format {
  static constexpr unsigned PCM = 1, Float = 3, Extensible = 0xFFFE;
  unsigned code = 0, channels = 0, rate = 0, bits = 0;

  bool isSupported() const {
    bool known = (code == PCM &&
                  (bits == 8 || bits == 16 || bits == 24 || bits == 32)) ||
                 (code == Float && (bits == 32 || bits == 64));
    return known && channels != 0 && rate != 0;
  }
};

float sampleAt(const Bytes &file, size_t offset, const Format &format) {
  uint64_t raw = file.integer(offset, format.bits / 8);
  if (format.code == Format::Float) {
    if (format.bits == 64) {
      double value;
      std::memcpy(&value, &raw, sizeof(value));
      return static_cast<float>(value);
    }
    auto low = static_cast<uint32_t>(raw);
    float value;
    std::memcpy(&value, &low, sizeof(value));
    return value;
  }
  if (format.bits == 8) // the only unsigned one
    return (static_cast<float>(raw) - 128.0f) / 128.0f;
  // The sign bit goes to the top, and comes back down with an arithmetic shift.
  unsigned unused = 64 - format.bits;
  auto value = static_cast<int64_t>(raw << unused) >> unused;
  return static_cast<float>(std::ldexp(static_cast<double>(value),
                                       1 - static_cast<int>(format.bits)));
}

} // namespace

bool whisper::readWav(const std::string &path, std::vector<float> &samples,
                      std::string &error) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    error = path + ": cannot be read";
    return false;
  }
  std::vector<unsigned char> contents(std::istreambuf_iterator<char>{stream},
                                      std::istreambuf_iterator<char>{});
  Bytes file(std::move(contents));
  if (!file.isTag(0, "RIFF") || !file.isTag(8, "WAVE")) {
    error = path + ": not a WAV file";
    return false;
  }
  Format format;
  for (size_t offset = 12; offset + 8 <= file.size();) {
    size_t begin = offset + 8;
    // A program that writes to a pipe leaves the size unknown (0 or all ones).
    size_t size =
        std::min<size_t>(file.integer(offset + 4, 4), file.size() - begin);
    if (file.isTag(offset, "fmt ")) {
      format.code = file.number(begin, 2);
      format.channels = file.number(begin + 2, 2);
      format.rate = file.number(begin + 4, 4);
      format.bits = file.number(begin + 14, 2);
      if (format.code == Format::Extensible)
        format.code = file.number(begin + 24, 2);
    } else if (file.isTag(offset, "data")) {
      if (!format.isSupported()) {
        error = path + ": a WAV file of an unsupported format (type " +
                std::to_string(format.code) + ", " +
                std::to_string(format.bits) + " bits)";
        return false;
      }
      size_t width = format.bits / 8, frame = width * format.channels;
      std::vector<float> mono(size / frame);
      for (size_t i = 0; i < mono.size(); ++i) {
        float sum = 0;
        for (unsigned c = 0; c < format.channels; ++c)
          sum += sampleAt(file, begin + i * frame + c * width, format);
        mono[i] = sum / static_cast<float>(format.channels);
      }
      samples = resample(mono, format.rate, SampleRate);
      return true;
    }
    offset = begin + size + size % 2; // chunks begin at even offsets
  }
  error = path + ": a WAV file without samples";
  return false;
}

std::vector<float> whisper::resample(const std::vector<float> &samples,
                                     double from, double to) {
  if (from == to || samples.empty())
    return samples;
  constexpr int ZeroCrossings = 16;
  double cutoff = std::min(1.0, to / from); // of the input's Nyquist frequency
  double halfWidth = ZeroCrossings / cutoff;
  auto last = static_cast<int64_t>(samples.size()) - 1;
  std::vector<float> result(
      static_cast<size_t>(static_cast<double>(samples.size()) * to / from));
  for (size_t i = 0; i < result.size(); ++i) {
    double center = static_cast<double>(i) * from / to;
    auto begin = std::max<int64_t>(
        0, static_cast<int64_t>(std::ceil(center - halfWidth)));
    auto end = std::min<int64_t>(
        last, static_cast<int64_t>(std::floor(center + halfWidth)));
    double sum = 0;
    for (int64_t j = begin; j <= end; ++j) {
      double distance = static_cast<double>(j) - center;
      double x = std::numbers::pi * distance * cutoff;
      double sinc = x == 0 ? 1 : std::sin(x) / x;
      double window =
          0.5 + 0.5 * std::cos(std::numbers::pi * distance / halfWidth);
      sum += samples[static_cast<size_t>(j)] * sinc * window;
    }
    result[i] = static_cast<float>(sum * cutoff);
  }
  return result;
}
