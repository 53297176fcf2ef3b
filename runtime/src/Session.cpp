//===- Session.cpp - Inputs, outputs, runs --------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a run needs is worked out when inputs and outputs are set (resolve:
// shapes and memory; bind: addresses), and kept while they stay the same. An
// invoke with nothing new is a few tests and a call.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include "Error.h"

#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <new>

using namespace marver;

//===----------------------------------------------------------------------===//
// Creation
//===----------------------------------------------------------------------===//

/// Gives each tensor its part of `dims` and fills in what the signature knows.
static bool createBindings(const mv_tensor_type *types, uint32_t count,
                           Binding *&bindings, int64_t *&dims) {
  size_t total = 0;
  for (uint32_t i = 0; i < count; ++i)
    total += static_cast<size_t>(types[i].rank);
  bindings = static_cast<Binding *>(calloc(count + 1, sizeof(Binding)));
  dims = static_cast<int64_t *>(calloc(total + 1, sizeof(int64_t)));
  if (!bindings || !dims)
    return false;
  int64_t *next = dims;
  for (uint32_t i = 0; i < count; ++i) {
    bindings[i].type = &types[i];
    bindings[i].dims = next;
    for (int k = 0; k < types[i].rank; ++k) {
      *next++ = types[i].dims[k];
      bindings[i].dependsOnData |= types[i].dims[k] == MV_DIM_DATA_DEPENDENT;
    }
  }
  return true;
}

/// Each state with its first value.
static bool createStates(mv_session *session) {
  const mv_signature &signature = *session->signature;
  session->states = static_cast<State **>(
      calloc(signature.state_count + 1, sizeof(*session->states)));
  if (!session->states)
    return false;
  for (uint32_t i = 0; i < signature.state_count; ++i) {
    uint64_t offset = signature.state_records[i].initial, bytes;
    const uint8_t *initial =
        offset == MV_NO_INITIAL ? nullptr : session->module->constants + offset;
    if (!tensorBytes(signature.states[i], signature.states[i].dims, bytes))
      return false;
    session->states[i] =
        createState(bytes, initial, session->statistics.allocations);
    if (!session->states[i])
      return false;
    session->statistics.state_bytes += bytes;
  }
  return true;
}

static bool createMemory(mv_session *session, const mv_file_entry &entry) {
  const mv_signature &signature = *session->signature;
  int64_t *inputDims = nullptr;
  bool created = createBindings(signature.inputs, signature.input_count,
                                session->inputs, inputDims);
  session->call.input_dims = inputDims;
  created &= createBindings(signature.outputs, signature.output_count,
                            session->outputs, session->call.output_dims);
  session->inputAddresses = static_cast<const void **>(
      calloc(size_t(signature.input_count) + signature.state_count + 1,
             sizeof(void *)));
  session->outputAddresses =
      static_cast<void **>(calloc(signature.output_count + 1, sizeof(void *)));
  session->symbolValues = static_cast<int64_t *>(
      calloc(signature.symbol_count + 1, sizeof(int64_t)));
  if (!created || !createStates(session) || !session->inputAddresses ||
      !session->outputAddresses || !session->symbolValues)
    return false;
  session->call.inputs = const_cast<void *const *>(session->inputAddresses);
  session->call.outputs = session->outputAddresses;

  // Two cache lines apart: adjacent lines are fetched in pairs.
  if (entry.scratch_bytes > uint64_t(1) << 40)
    return false;
  session->scratchStride = alignTo(entry.scratch_bytes, 2 * MV_ALIGNMENT);
  session->statistics.scratch_bytes =
      session->scratchStride * static_cast<uint64_t>(session->threads);
  return session->scratch.reserve(session->statistics.scratch_bytes,
                                  session->statistics.allocations);
}

mv_status mv_session_create(mv_module *module, const char *entry, mv_pool *pool,
                            mv_session **result, mv_error *error) {
  if (!module || !entry || !result)
    return fail(error, MV_INVALID_ARGUMENT,
                "no module, no entry point, or no place for a session");
  *result = nullptr;
  const mv_file_entry *found = findEntry(module, entry);
  if (!found)
    return fail(error, MV_NOT_FOUND, "the module has no entry point '%s'",
                entry);
  void *memory = calloc(1, sizeof(mv_session));
  if (!memory)
    return fail(error, MV_NO_MEMORY, "out of memory");
  auto *session = new (memory) mv_session{};
  session->module = module;
  session->pool = pool;
  retain(module);
  retain(pool);
  session->threads = mv_pool_threads(pool);
  session->signature = &module->signatures[found->interface];
  session->shape =
      reinterpret_cast<mv_shape_fn>(module->code + found->shape_offset);
  session->run = reinterpret_cast<mv_run_fn>(module->code + found->run_offset);
  session->tripLimit = INT64_MAX;
  session->call.services = nativeServices();
  session->call.constants = module->constants;
  session->call.prepared = module->prepared.data();
  if (!createMemory(session, *found)) {
    mv_session_free(session);
    return fail(error, MV_NO_MEMORY, "out of memory");
  }
  for (uint32_t i = 0; i < session->signature->output_count; ++i)
    session->growsOutputs |= session->outputs[i].dependsOnData;
  *result = session;
  return MV_OK;
}

void mv_session_free(mv_session *session) {
  if (!session)
    return;
  for (uint32_t i = 0; session->states && i < session->signature->state_count;
       ++i)
    release(session->states[i]);
  free(session->states);
  free(session->inputs);
  free(session->outputs);
  free(const_cast<int64_t *>(session->call.input_dims));
  free(session->call.output_dims);
  free(session->inputAddresses);
  free(session->outputAddresses);
  free(session->symbolValues);
  free(session->profile);
  free(session->busy);
  session->arena.release();
  session->scratch.release();
  session->ownOutputs.release();
  session->grown.release();
  mv_module_release(session->module);
  mv_pool_release(session->pool);
  free(session);
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

mv_status mv_session_output(const mv_session *session, uint32_t index,
                            mv_tensor *tensor) {
  if (!session->hasRun)
    return MV_NOT_READY;
  if (index >= session->signature->output_count)
    return MV_INVALID_ARGUMENT;
  const Binding &output = session->outputs[index];
  *tensor = {output.type->dtype, output.type->rank, output.dims,
             output.needed > 0 ? output.result : nullptr, output.needed};
  return MV_OK;
}

const char *mv_session_message(const mv_session *session) {
  return session->error.message;
}

void mv_session_failure(const mv_session *session, int *code, int64_t *place) {
  *code = session->failureCode;
  *place = session->failurePlace;
}

//===----------------------------------------------------------------------===//
// Measuring
//===----------------------------------------------------------------------===//

void mv_session_statistics(const mv_session *session,
                           mv_statistics *statistics) {
  *statistics = session->statistics;
}

mv_status mv_session_profile_start(mv_session *session) {
  size_t kernels = session->module->info.kernel_count;
  free(session->profile);
  free(session->busy);
  session->profile = static_cast<mv_kernel_profile *>(
      calloc(kernels + 1, sizeof(mv_kernel_profile)));
  session->busy = static_cast<uint64_t *>(
      calloc(static_cast<size_t>(session->threads), sizeof(*session->busy)));
  session->profiling = session->profile && session->busy;
  if (!session->profiling)
    return fail(&session->error, MV_NO_MEMORY, "no memory for a profile");
  return MV_OK;
}

void mv_session_profile_stop(mv_session *session) {
  session->profiling = false;
}

const mv_kernel_profile *mv_session_profile(const mv_session *session) {
  return session->profile;
}
