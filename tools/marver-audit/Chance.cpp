//===- Chance.cpp - What random bytes would look like ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Chance.h"

#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <bitset>

using namespace llvm;

namespace marver::audit {

/// Frequencies are taken from blocks of this size: a tensor of small integers
/// has others than a tensor of floats beside it.
static constexpr size_t kBlock = 1 << 15;
static constexpr size_t kElement = 8;
static constexpr size_t kShortestRun = 6;
/// A text of this length is reported without asking for its chance: it may fill
/// the very block by which it would be judged.
static constexpr size_t kSurelyText = 512;

ByteModel::ByteModel(ArrayRef<uint8_t> bytes)
    : count(static_cast<double>(bytes.size())) {
  // One occurrence more than there are: a byte that does not occur at all is
  // rare, not impossible.
  std::array<uint64_t, 256> occurrences;
  occurrences.fill(1);
  for (uint8_t byte : bytes)
    ++occurrences[byte];
  for (size_t i = 0; i < 256; ++i)
    frequency[i] = static_cast<double>(occurrences[i]) / (count + 256);
}

double ByteModel::expected(StringRef word) const {
  double product = count;
  for (unsigned char c : word)
    product *= frequency[c];
  return product;
}

bool looksLikeText(StringRef text) {
  size_t words = count_if(text, [](char c) {
    return isAlnum(c) || c == '_' || c == '.' || c == '/' || c == ' ' ||
           c == '-' || c == ':' || c == ',';
  });
  size_t letters = count_if(text, [](char c) { return isAlpha(c); });
  std::bitset<128> distinct;
  for (char c : text)
    distinct.set(static_cast<unsigned char>(c));
  return words * 10 >= text.size() * 8 && letters * 2 >= text.size() &&
         distinct.count() >= 5;
}

namespace {

/// How often bytes at each position of an element are printable, by block.
class PrintableModel {
public:
  explicit PrintableModel(ArrayRef<uint8_t> bytes)
      : blocks(bytes.size() / kBlock + 1) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      Block &block = blocks[i / kBlock];
      block.printable[i % kElement] += isPrint(static_cast<char>(bytes[i]));
      ++block.count[i % kElement];
    }
  }

  /// Around `position`, the bytes of [begin, begin + size) left out.
  std::array<double, kElement> around(ArrayRef<uint8_t> bytes, size_t begin,
                                      size_t size) const {
    std::array<double, kElement> rate;
    size_t middle = begin / kBlock;
    size_t first = middle == 0 ? 0 : middle - 1;
    size_t last = std::min((begin + size) / kBlock + 1, blocks.size() - 1);
    for (size_t element = 0; element < kElement; ++element) {
      uint64_t printable = 0, count = 0;
      for (size_t block = first; block <= last; ++block) {
        printable += blocks[block].printable[element];
        count += blocks[block].count[element];
      }
      uint64_t own = size / kElement;
      printable -= std::min(own, printable);
      count -= std::min(own, count);
      rate[element] = (static_cast<double>(printable) + 1) /
                      (static_cast<double>(count) + 2);
    }
    return rate;
  }

private:
  struct Block {
    std::array<uint32_t, kElement> printable{}, count{};
  };
  std::vector<Block> blocks;
};

} // namespace

std::vector<TextRun> findTextRuns(ArrayRef<uint8_t> bytes) {
  std::vector<TextRun> runs;
  PrintableModel model(bytes);
  size_t begin = 0;
  for (size_t i = 0; i <= bytes.size(); ++i) {
    if (i < bytes.size() && isPrint(static_cast<char>(bytes[i])))
      continue;
    size_t size = i - begin, start = begin;
    begin = i + 1;
    if (size < kShortestRun)
      continue;
    StringRef text(reinterpret_cast<const char *>(bytes.data()) + start, size);
    if (!looksLikeText(text))
      continue;
    double expected = static_cast<double>(bytes.size());
    if (size < kSurelyText) {
      auto rate = model.around(bytes, start, size);
      for (size_t k = 0; k < size; ++k)
        expected *= rate[(start + k) % kElement];
    } else {
      expected = 0;
    }
    if (expected < kRareEnough)
      runs.push_back({start, size});
  }
  return runs;
}

} // namespace marver::audit
