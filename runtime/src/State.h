//===- State.h - What sessions keep between invokes -------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_STATE_H
#define MARVER_RUNTIME_STATE_H

#include "Memory.h"

#include <atomic>

namespace marver {

/// A tensor that a session keeps between its invokes; belongs to all sessions
/// that share it.
struct State {
  std::atomic<uint32_t> references;
  uint64_t bytes;
  const uint8_t *initial; ///< in the module's constants; NULL: zeros
  Block memory;
};

/// A state with its first value, or NULL if there is no memory.
State *createState(uint64_t bytes, const uint8_t *initial, uint64_t &allocated);
void resetState(State &state);
void retain(State *state);
/// Gives up a reference; NULL is allowed.
void release(State *state);

} // namespace marver

#endif // MARVER_RUNTIME_STATE_H
