//===- ModuleWriter.h - Writes the bytes of a module ------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The last stage: contents -> bytes as marver/format.h lays them out. The same
// contents give the same bytes. Plain C++: no LLVM, no exceptions.
//
// How to fill a ModuleContents:
//
//   ModuleContents contents;
//   contents.arch = MV_ARCH_X86_64;
//   contents.cpuFeatures = MV_X86_V3 | MV_X86_V4;
//   contents.code = image;              // flat image: text, then tables
//   contents.textBytes = ...;           // where the tables start
//   contents.kernelCount = ...;         // numbers that launches carry
//   contents.constants.push_back({offset, data, size}); // ascending offsets,
//                                       // multiples of MV_ALIGNMENT
//   contents.constantsSize = ...;       // end of the last one, or more
//
//   Interface interface;
//   interface.symbols.push_back({1, 448});
//   interface.inputs.push_back({MV_DTYPE_F32, {1, MV_DIM_SYMBOL(0), 384}});
//   interface.outputs.push_back({MV_DTYPE_I64, {MV_DIM_DATA_DEPENDENT}});
//   interface.mayAlias.push_back({/*input=*/2, /*output=*/1});
//   contents.entries.push_back({"main", shapeOffset, runOffset, scratchBytes,
//                               interface});
//
//   std::string error;
//   std::vector<uint8_t> bytes;
//   if (!writeModule(contents, bytes, error)) ...
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_PACKAGE_MODULEWRITER_H
#define MARVER_COMPILER_PACKAGE_MODULEWRITER_H

#include "marver/abi.h"
#include "marver/format.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace marver {

/// An input or output as the interface tells it.
struct TensorSpec {
  uint8_t dtype = 0;         ///< MV_DTYPE_*
  std::vector<int64_t> dims; ///< >= 0, or MV_DIM_*
};

/// A tensor that sessions keep between calls. What two interfaces number alike
/// is one state, with one type and one first value.
struct StateSpec {
  TensorSpec type; ///< static dims
  uint32_t number = 0;
  uint64_t initial = MV_NO_INITIAL; ///< offset of a constant
};

struct Interface {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  /// Inclusive ranges of the symbols that the dims refer to.
  std::vector<std::pair<int64_t, int64_t>> symbols;
  /// (input, output) pairs that may share one buffer.
  std::vector<std::pair<uint32_t, uint32_t>> mayAlias;
  std::vector<StateSpec> states = {};
};

struct EntryPoint {
  std::string name; ///< only its hash is stored
  uint64_t shapeOffset = 0;
  uint64_t runOffset = 0;
  uint64_t scratchBytes = 0;
  Interface interface;
};

/// A part of the constants section; what no part covers is zero.
struct ConstantPart {
  uint64_t offset = 0;
  const uint8_t *data = nullptr;
  uint64_t size = 0;
};

struct ModuleContents {
  uint16_t arch = 0;        ///< MV_ARCH_*
  uint64_t cpuFeatures = 0; ///< MV_X86_* or MV_ARM_*
  /// The position-independent image: text from 0 to textBytes, then read-only
  /// tables. Functions are given by their offset in it.
  std::vector<uint8_t> code;
  uint64_t textBytes = 0;
  std::vector<ConstantPart> constants;
  uint64_t constantsSize = 0;
  uint64_t prepareOffset = MV_NO_FUNCTION;
  uint64_t preparedBytes = 0;
  uint64_t prepareScratchBytes = 0;
  uint32_t kernelCount = 0;
  uint32_t placeCount = 0;
  std::vector<EntryPoint> entries;
};

/// The first bytes of the module's root hash, by which its sidecar is found.
using BuildId = std::array<uint8_t, MV_BUILD_ID_SIZE>;

/// Takes the module's next bytes; false stops the writing.
using ModuleSink = std::function<bool(const uint8_t *data, uint64_t size)>;

/// Writes the module to `sink` front to back without holding the constants in
/// memory a second time. Returns false with `error` where the contents are not
/// a module (a bug of the caller, or two entry names with one hash) or where
/// the sink stopped.
bool writeModule(const ModuleContents &contents, const ModuleSink &sink,
                 BuildId &buildId, std::string &error);

/// The same, into memory.
bool writeModule(const ModuleContents &contents, std::vector<uint8_t> &bytes,
                 BuildId &buildId, std::string &error);

} // namespace marver

#endif // MARVER_COMPILER_PACKAGE_MODULEWRITER_H
