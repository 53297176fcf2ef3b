//===- Sidecar.h - The owner's words for a module ---------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TOOLS_COMMON_SIDECAR_H
#define MARVER_TOOLS_COMMON_SIDECAR_H

#include "marver/marver.h"

#include <string>
#include <vector>

namespace marver {

/// What a sidecar (marver/sidecar.h) says; empty where there is none.
struct Sidecar {
  struct Kernel {
    std::string name, family, operation, location, shapes, schedule;
    int64_t flops = -1, bytes = -1;
  };
  struct Place {
    std::string text, location;
  };
  struct Entry {
    std::string name;
    std::vector<std::string> inputs, outputs, symbols;
    int64_t arenaBound = -1; ///< the least that any arena needs; -1: not known
  };

  std::vector<Kernel> kernels;
  std::vector<Place> places;
  std::vector<Entry> entries;

  const Entry *findEntry(const std::string &name) const;
  /// "index of Gather at model.py:4", or empty.
  std::string placeText(int64_t place) const;
};

/// Parses a sidecar; false with a reason if it is damaged.
bool parseSidecar(const std::vector<uint8_t> &bytes, Sidecar &sidecar,
                  uint8_t buildId[MV_BUILD_ID_SIZE], std::string &error);

/// The sidecar beside `modulePath`, if it is there and belongs to the module.
/// `warning` says why one that is there was not used.
Sidecar loadSidecar(const std::string &modulePath, const mv_module *module,
                    std::string &warning);

} // namespace marver

#endif // MARVER_TOOLS_COMMON_SIDECAR_H
