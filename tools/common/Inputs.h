//===- Inputs.h - What --input and --output say -----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The grammar of an input, that of iree-run-module with `random:` added:
//
//   3.5                        a scalar of the function's own type
//   2x2xi32=1 2 3 4            type and elements; [ ] and commas may separate
//   2x2xf32=1                  one value for all elements
//   2x2xf32                    zeros
//   2x2xf32=random:42          see fillRandom(); the type may be left out if
//                              the function's is static
//   @f.npy                     the first array of the file
//   +f.npy                     the array after the one that was last read
//   *f.npy                     all arrays that follow
//   2x2xf32=@f.bin, =+f.bin    raw elements from the file
//
// An output is `-` (print), nothing (drop), `@f.npy`, `+f.npy` (append), or the
// same with another ending for raw elements.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_INPUTS_H
#define MARVER_TOOLS_COMMON_INPUTS_H

#include "tools/common/Tensor.h"

#include <map>

namespace marver {

/// What is known of the tensor that a text is for.
struct WantedType {
  int dtype = 0;             ///< 0: nothing is known
  std::vector<int64_t> dims; ///< as in a signature
};

std::vector<WantedType> inputTypes(const mv_signature &signature);

/// Reads texts of the grammar above. Remembers how far files were read.
class InputReader {
public:
  /// Reads `specs`, one tensor or more each, for `wanted`; checks their types
  /// and number (fewer than wanted, more than wanted). `what` and `names` are
  /// for messages: "input 1 (mask): ...".
  bool read(const std::vector<std::string> &specs,
            const std::vector<WantedType> &wanted, const std::string &what,
            const std::vector<std::string> &names, std::vector<Tensor> &tensors,
            std::string &error);

  /// Reads one text, of any type, for a tensor that has type `known`; `*` may
  /// give several.
  bool readAny(const std::string &spec, const WantedType &known,
               std::vector<Tensor> &tensors, std::string &error);

private:
  struct File {
    std::vector<uint8_t> bytes;
    size_t position = 0;
  };
  bool readOne(const std::string &spec, const WantedType &wanted, bool anyType,
               Tensor &tensor, std::string &error);
  bool hasMore(const std::string &spec);
  bool readArray(char mode, const std::string &path, const WantedType &wanted,
                 Tensor &tensor, std::string &error);
  bool readRaw(char mode, const std::string &path, Tensor &tensor,
               std::string &error);
  File *open(char mode, const std::string &path, std::string &error);

  std::map<std::string, File> files;
};

/// Fills the tensor from a SplitMix64 sequence that starts at `seed`: 64-bit
/// numbers x1, x2, ..., one an element. Floating-point elements are uniform in
/// [-1, 1): the top p bits of x, times 2^(1-p), minus 1, where p is the type's
/// precision (f64 53, f32 24, f16 11, bf16 8), which is exact. Integers are the
/// top bits of x: uniform over their whole range.
void fillRandom(Tensor &tensor, uint64_t seed);

/// Whether the tensor's type is acceptable for `wanted`. Integers without a
/// sign in their name (`i8`) will do for unsigned ones: the tensor's type is
/// then changed.
bool matchType(Tensor &tensor, const WantedType &wanted, std::string &error);

/// "1x[s0]x?xf32" for a type of a signature, with `symbols` for s0, s1, ...
/// where they have names.
std::string wantedText(const WantedType &wanted,
                       const std::vector<std::string> &symbols = {});

/// "2x2xf32=[1 2][3 4]", at most `limit` elements and then "...".
std::string tensorText(int dtype, const std::vector<int64_t> &dims,
                       const uint8_t *data, size_t limit);

/// Writes results where --output says.
class OutputWriter {
public:
  /// Writes tensor `index` to `spec`; "-" is stdout.
  bool write(const std::string &spec, size_t index, int dtype,
             const std::vector<int64_t> &dims, const uint8_t *data,
             size_t bytes, size_t limit, std::string &error);
};

bool readWholeFile(const std::string &path, std::vector<uint8_t> &bytes,
                   std::string &error);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_INPUTS_H
