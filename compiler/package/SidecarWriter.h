//===- SidecarWriter.h - Writes the bytes of a sidecar ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The owner's side of a module: names, operators, source locations. See
// marver/sidecar.h for the bytes. Plain C++, like ModuleWriter.h.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_PACKAGE_SIDECARWRITER_H
#define MARVER_COMPILER_PACKAGE_SIDECARWRITER_H

#include "compiler/package/ModuleWriter.h"

#include <cstdint>
#include <string>
#include <vector>

namespace marver {

/// What the sidecar says of a kernel; an empty string means "not known".
struct KernelDescription {
  std::string name;      ///< what the compiler calls it
  std::string family;    ///< its emitter
  std::string operation; ///< operators of the source that it computes
  std::string location;  ///< where they are in the source
  std::string shapes;    ///< operands -> results
  std::string schedule;  ///< tile, order of loops, reason
  int64_t flops = -1;    ///< of one launch, -1 where it depends on dims
  int64_t bytes = -1;    ///< read and written at least, -1 likewise
  std::string reason{};  ///< of the schedule, and what was refused; not stored
};

/// A place of failures: the number that `mv_call::status` carries.
struct PlaceDescription {
  std::string text;
  std::string location;
};

struct EntryDescription {
  std::string name;
  std::vector<std::string> inputs, outputs, symbols;
  int64_t arenaBound = -1; ///< bytes that are needed at one time at least
};

struct SidecarContents {
  std::vector<KernelDescription> kernels; ///< by number
  std::vector<PlaceDescription> places;   ///< by number
  std::vector<EntryDescription> entries;
};

/// The sidecar of the module with `buildId`; equal strings are stored once.
std::vector<uint8_t> writeSidecar(const SidecarContents &contents,
                                  const BuildId &buildId);

} // namespace marver

#endif // MARVER_COMPILER_PACKAGE_SIDECARWRITER_H
