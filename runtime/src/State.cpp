//===- State.cpp - What sessions keep between invokes ---------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "State.h"

#include "Error.h"
#include "Session.h"

#include <cstdlib>
#include <cstring>
#include <new>

using namespace marver;

State *marver::createState(uint64_t bytes, const uint8_t *initial,
                           uint64_t &allocated) {
  void *memory = calloc(1, sizeof(State));
  if (!memory)
    return nullptr;
  auto *state = new (memory) State{};
  state->references.store(1, std::memory_order_relaxed);
  state->bytes = bytes;
  state->initial = initial;
  // A state without elements has an address as well.
  if (!state->memory.reserve(bytes ? bytes : 1, allocated)) {
    free(state);
    return nullptr;
  }
  resetState(*state);
  return state;
}

void marver::resetState(State &state) {
  if (state.initial)
    memcpy(state.memory.data(), state.initial, state.bytes);
  else
    memset(state.memory.data(), 0, state.bytes);
}

void marver::retain(State *state) {
  state->references.fetch_add(1, std::memory_order_relaxed);
}

void marver::release(State *state) {
  if (!state || state->references.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  state->memory.release();
  free(state);
}

mv_status mv_session_state(mv_session *session, uint32_t index,
                           mv_tensor *state) {
  const mv_signature &signature = *session->signature;
  if (index >= signature.state_count)
    return fail(&session->error, MV_INVALID_ARGUMENT,
                "there is no state %u; the entry point has %u", index,
                signature.state_count);
  const mv_tensor_type &type = signature.states[index];
  const State &found = *session->states[index];
  *state = {type.dtype, type.rank, type.dims, found.memory.data(), found.bytes};
  return MV_OK;
}

mv_status mv_session_reset(mv_session *session) {
  for (uint32_t i = 0; i < session->signature->state_count; ++i)
    resetState(*session->states[i]);
  return MV_OK;
}

mv_status mv_session_share_state(mv_session *session, mv_session *other) {
  if (!other || other->module != session->module)
    return fail(&session->error, MV_INVALID_ARGUMENT,
                "state can be shared by sessions of one module only");
  bool shares = false;
  for (uint32_t i = 0; i < session->signature->state_count; ++i)
    for (uint32_t k = 0; k < other->signature->state_count; ++k) {
      State *theirs = other->states[k];
      if (session->signature->state_records[i].number !=
              other->signature->state_records[k].number ||
          session->states[i]->bytes != theirs->bytes)
        continue;
      retain(theirs);
      release(session->states[i]);
      session->states[i] = theirs;
      session->bound = false;
      shares = true;
    }
  if (!shares)
    return fail(&session->error, MV_INVALID_ARGUMENT,
                "the entry points have no state in common");
  return MV_OK;
}
