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
// Memory of data-dependent size
//===----------------------------------------------------------------------===//

GrowingMemory::Chunk *GrowingMemory::addChunk(uint64_t bytes,
                                              uint64_t &allocated) {
  auto *chunk = static_cast<Chunk *>(calloc(1, sizeof(Chunk)));
  if (!chunk)
    return nullptr;
  if (!chunk->memory.reserve(bytes, allocated)) {
    free(chunk);
    return nullptr;
  }
  chunk->next = chunks;
  chunks = chunk;
  return chunk;
}

void *GrowingMemory::allocate(uint64_t bytes, uint64_t &allocated) {
  constexpr uint64_t smallestChunk = 64 * 1024;
  if (bytes > uint64_t(1) << 60)
    return nullptr;
  // An empty tensor has an address as well.
  uint64_t size = alignTo(bytes ? bytes : 1, MV_ALIGNMENT);
  Chunk *chunk = chunks;
  while (chunk && chunk->memory.size() - chunk->used < size)
    chunk = chunk->next;
  if (!chunk)
    chunk = addChunk(size > smallestChunk ? size : smallestChunk, allocated);
  if (!chunk)
    return nullptr;
  void *piece = chunk->memory.data() + chunk->used;
  chunk->used += size;
  total += size;
  return piece;
}

void GrowingMemory::reset(uint64_t &allocated) {
  total = 0;
  if (chunks && chunks->next) {
    uint64_t size = 0;
    for (Chunk *chunk = chunks; chunk; chunk = chunk->next)
      size += chunk->memory.size();
    release();
    // If there is no memory for it now, allocate() tries again.
    addChunk(size, allocated);
  }
  if (chunks)
    chunks->used = 0;
}

void GrowingMemory::release() {
  while (Chunk *chunk = chunks) {
    chunks = chunk->next;
    chunk->memory.release();
    free(chunk);
  }
  total = 0;
}

//===----------------------------------------------------------------------===//
// Services to native code
//===----------------------------------------------------------------------===//

static mv_session *sessionOf(mv_call *call) {
  return reinterpret_cast<mv_session *>(call);
}

static void parallelFor(mv_call *call, mv_kernel_fn kernel,
                        const int64_t *slots, int64_t extent, int64_t number) {
  mv_session *session = sessionOf(call);
  if (extent <= 0)
    return;
  ++session->statistics.launches;
  if (session->threads == 1 && !session->profiling) {
    kernel(slots, 0, extent, session->scratch.data());
    return;
  }
  Launch launch{kernel,
                slots,
                extent,
                session->scratch.data(),
                session->scratchStride,
                session->threads,
                session->profiling ? session->busy : nullptr};
  if (!session->profiling) {
    runLaunch(session->pool, launch);
    return;
  }

  memset(session->busy, 0,
         static_cast<size_t>(session->threads) * sizeof(*session->busy));
  uint64_t start = now();
  int parts = runLaunch(session->pool, launch);
  uint64_t time = now() - start;
  if (number < 0 || number >= int64_t(session->module->info.kernel_count))
    return;
  mv_kernel_profile &profile = session->profile[number];
  ++profile.launches;
  profile.parallel_launches += parts > 1;
  profile.ns += time;
  profile.extent += static_cast<uint64_t>(extent);
  for (int i = 0; i < parts; ++i)
    profile.busy_ns += session->busy[i];
}

static void *grow(mv_call *call, int64_t bytes) {
  mv_session *session = sessionOf(call);
  if (bytes < 0)
    return nullptr;
  return session->grown.allocate(static_cast<uint64_t>(bytes),
                                 session->statistics.allocations);
}

static const mv_services services = {parallelFor, grow};

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

static bool createMemory(mv_session *session, const mv_file_entry &entry) {
  const mv_signature &signature = *session->signature;
  int64_t *inputDims = nullptr;
  bool created = createBindings(signature.inputs, signature.input_count,
                                session->inputs, inputDims);
  session->call.input_dims = inputDims;
  created &= createBindings(signature.outputs, signature.output_count,
                            session->outputs, session->call.output_dims);
  session->inputAddresses = static_cast<const void **>(
      calloc(signature.input_count + 1, sizeof(void *)));
  session->outputAddresses =
      static_cast<void **>(calloc(signature.output_count + 1, sizeof(void *)));
  session->symbolValues = static_cast<int64_t *>(
      calloc(signature.symbol_count + 1, sizeof(int64_t)));
  if (!created || !session->inputAddresses || !session->outputAddresses ||
      !session->symbolValues)
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
  session->call.services = &services;
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
// Inputs and outputs
//===----------------------------------------------------------------------===//

/// Bytes of a tensor; false if no memory could hold it or a dim is negative.
static bool tensorBytes(const mv_tensor_type &type, const int64_t *dims,
                        uint64_t &bytes) {
  // A zero makes it empty, however large the dims before it.
  bytes = mv_dtype_size(type.dtype);
  for (int i = 0; i < type.rank; ++i) {
    if (dims[i] < 0)
      return false;
    if (dims[i] == 0)
      bytes = 0;
  }
  for (int i = 0; i < type.rank; ++i)
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dims[i]), &bytes))
      return false;
  return bytes <= uint64_t(1) << 60;
}

static bool isAligned(const void *data, const mv_tensor_type &type) {
  return reinterpret_cast<uintptr_t>(data) % mv_dtype_size(type.dtype) == 0;
}

mv_status mv_session_set_input(mv_session *session, uint32_t index,
                               const int64_t *dims, const void *data,
                               size_t bytes) {
  if (index >= session->signature->input_count)
    return fail(&session->error, MV_INVALID_ARGUMENT,
                "there is no input %u; the entry point has %u", index,
                session->signature->input_count);
  Binding &input = session->inputs[index];
  const mv_tensor_type &type = *input.type;
  bool newDims = false;
  for (int i = 0; i < type.rank; ++i) {
    int64_t expected = type.dims[i];
    if (!dims && expected < 0)
      return fail(&session->error, MV_INVALID_ARGUMENT,
                  "input %u: dim %d is not static, give its dims", index, i);
    if (dims && (expected >= 0 ? dims[i] != expected : dims[i] < 0))
      return expected >= 0
                 ? fail(&session->error, MV_SHAPE_MISMATCH,
                        "input %u: dim %d is %" PRId64 ", it must be %" PRId64,
                        index, i, dims[i], expected)
                 : fail(&session->error, MV_SHAPE_MISMATCH,
                        "input %u: dim %d is %" PRId64, index, i, dims[i]);
    newDims |= dims && dims[i] != input.dims[i];
  }
  uint64_t needed;
  if (!tensorBytes(type, dims ? dims : input.dims, needed))
    return fail(&session->error, MV_SHAPE_MISMATCH,
                "input %u: no memory can hold its dims", index);
  if (bytes < needed || (!data && needed > 0))
    return fail(&session->error, MV_BUFFER_TOO_SMALL,
                "input %u: the buffer has %zu bytes, its dims need %" PRIu64,
                index, data ? bytes : 0, needed);
  if (!isAligned(data, type))
    return fail(&session->error, MV_BUFFER_MISALIGNED,
                "input %u: the buffer is not aligned to its elements (%s)",
                index, mv_dtype_name(type.dtype));

  session->hasRun = false;
  if (newDims) {
    memcpy(input.dims, dims, static_cast<size_t>(type.rank) * sizeof(*dims));
    session->resolved = false;
    session->bound = false;
  }
  if (!input.isSet || input.data != data || input.needed != needed)
    session->bound = false;
  input.data = const_cast<void *>(data);
  input.bytes = bytes;
  input.needed = needed;
  input.isSet = true;
  return MV_OK;
}

/// Whether the entry point has that output.
static mv_status checkOutput(mv_session *session, uint32_t index) {
  if (index < session->signature->output_count)
    return MV_OK;
  return fail(&session->error, MV_INVALID_ARGUMENT,
              "there is no output %u; the entry point has %u", index,
              session->signature->output_count);
}

mv_status mv_session_set_output(mv_session *session, uint32_t index, void *data,
                                size_t bytes) {
  if (mv_status status = checkOutput(session, index))
    return status;
  Binding &output = session->outputs[index];
  if (!isAligned(data, *output.type))
    return fail(&session->error, MV_BUFFER_MISALIGNED,
                "output %u: the buffer is not aligned to its elements (%s)",
                index, mv_dtype_name(output.type->dtype));
  // A size that is known already is checked at once.
  if (data && session->resolved && !output.dependsOnData &&
      bytes < output.needed)
    return fail(&session->error, MV_BUFFER_TOO_SMALL,
                "output %u: the buffer has %zu bytes, it needs %" PRIu64, index,
                bytes, output.needed);
  session->hasRun = false;
  if (output.data != data || output.bytes != bytes)
    session->bound = false;
  output.data = data;
  output.bytes = bytes;
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// Dims that are known before the entry point's own checks: equal symbols are
/// equal and in their ranges.
static mv_status checkSymbols(mv_session *session) {
  const mv_signature &signature = *session->signature;
  for (uint32_t i = 0; i < signature.symbol_count; ++i)
    session->symbolValues[i] = -1;
  for (uint32_t i = 0; i < signature.input_count; ++i) {
    const Binding &input = session->inputs[i];
    for (int k = 0; k < input.type->rank; ++k) {
      int64_t declared = input.type->dims[k], dim = input.dims[k];
      if (declared >= 0)
        continue;
      if (!input.isSet)
        return fail(&session->error, MV_NOT_READY, "input %u is not set", i);
      if (!MV_DIM_IS_SYMBOL(declared))
        continue;
      int64_t number = MV_DIM_SYMBOL_NUMBER(declared);
      int64_t &value = session->symbolValues[number];
      const mv_file_symbol &range = signature.symbols[number];
      if (dim < range.min || dim > range.max)
        return range.max == INT64_MAX
                   ? fail(&session->error, MV_SHAPE_MISMATCH,
                          "input %u: dim %d is %" PRId64
                          ", it must be at least %" PRId64,
                          i, k, dim, range.min)
                   : fail(&session->error, MV_SHAPE_MISMATCH,
                          "input %u: dim %d is %" PRId64
                          ", it must be in [%" PRId64 ", %" PRId64 "]",
                          i, k, dim, range.min, range.max);
      if (value >= 0 && value != dim)
        return fail(&session->error, MV_SHAPE_MISMATCH,
                    "input %u: dim %d is %" PRId64 ", it must be %" PRId64
                    " like an earlier one",
                    i, k, dim, value);
      value = dim;
    }
  }
  return MV_OK;
}

/// Failures as a user reads them without the sidecar.
static mv_status runFailure(mv_session *session, int64_t failure,
                            mv_status status) {
  static const char *const texts[] = {
      "unknown failure",
      "an index is out of range",
      "integer division by zero, or its result overflows",
      "an assertion of the model does not hold",
      "a size, given or computed from the inputs, does not fit the model",
      "a loop exceeds its limit",
      "out of memory",
  };
  session->failureCode = static_cast<int>(failure & 0xff);
  session->failurePlace = failure >> 8;
  int text = session->failureCode <= MV_FAILURE_NO_MEMORY ? session->failureCode
                                                          : MV_FAILURE_NONE;
  return fail(&session->error, status, "%s (code %d at place %" PRId64 ")",
              texts[text], session->failureCode, session->failurePlace);
}

/// Output dims and arena for the current input dims.
static mv_status resolve(mv_session *session) {
  if (session->resolved)
    return MV_OK;
  if (mv_status status = checkSymbols(session))
    return status;

  int64_t arenaBytes = 0;
  int64_t failure = session->shape(session->call.input_dims,
                                   session->call.output_dims, &arenaBytes);
  if (failure != 0)
    return runFailure(session, failure,
                      (failure & 0xff) == MV_FAILURE_SHAPE ? MV_SHAPE_MISMATCH
                                                           : MV_RUN_FAILED);
  for (uint32_t i = 0; i < session->signature->output_count; ++i) {
    Binding &output = session->outputs[i];
    if (!output.dependsOnData &&
        !tensorBytes(*output.type, output.dims, output.needed))
      return fail(&session->error, MV_SHAPE_MISMATCH,
                  "output %u: no memory can hold it for these inputs", i);
  }
  if (arenaBytes < 0 ||
      !session->arena.reserve(static_cast<uint64_t>(arenaBytes),
                              session->statistics.allocations))
    return fail(&session->error, MV_NO_MEMORY,
                "no memory for %" PRId64 " bytes of intermediate results",
                arenaBytes);
  session->call.arena = session->arena.data();
  session->statistics.arena_bytes = static_cast<uint64_t>(arenaBytes);
  session->resolved = true;
  return MV_OK;
}

mv_status mv_session_output_dims(mv_session *session, uint32_t index,
                                 int64_t *dims) {
  if (mv_status status = checkOutput(session, index))
    return status;
  if (mv_status status = resolve(session))
    return status;
  const Binding &output = session->outputs[index];
  for (int i = 0; i < output.type->rank; ++i)
    dims[i] = !session->hasRun && output.type->dims[i] == MV_DIM_DATA_DEPENDENT
                  ? MV_DIM_DATA_DEPENDENT
                  : output.dims[i];
  return MV_OK;
}

mv_status mv_session_output_bytes(mv_session *session, uint32_t index,
                                  size_t *bytes) {
  if (mv_status status = checkOutput(session, index))
    return status;
  if (mv_status status = resolve(session))
    return status;
  const Binding &output = session->outputs[index];
  if (output.dependsOnData && !session->hasRun)
    return fail(&session->error, MV_NOT_READY,
                "output %u: its size is known only after a run", index);
  *bytes = output.needed;
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

static bool overlap(const void *a, uint64_t aBytes, const void *b,
                    uint64_t bBytes) {
  auto aStart = reinterpret_cast<uintptr_t>(a);
  auto bStart = reinterpret_cast<uintptr_t>(b);
  return aBytes > 0 && bBytes > 0 && aStart < bStart + bBytes &&
         bStart < aStart + aBytes;
}

static bool mayAlias(const mv_signature &signature, uint32_t input,
                     uint32_t output) {
  for (uint32_t i = 0; i < signature.alias_count; ++i)
    if (signature.aliases[i].input == input &&
        signature.aliases[i].output == output)
      return true;
  return false;
}

/// Bytes of an output's buffer that a run may write.
static uint64_t writtenBytes(const Binding &output) {
  return output.dependsOnData ? output.bytes : output.needed;
}

static mv_status checkOverlaps(mv_session *session) {
  const mv_signature &signature = *session->signature;
  for (uint32_t o = 0; o < signature.output_count; ++o) {
    const Binding &output = session->outputs[o];
    if (!output.data)
      continue;
    uint64_t bytes = writtenBytes(output);
    for (uint32_t i = 0; i < signature.input_count; ++i) {
      const Binding &input = session->inputs[i];
      if (!overlap(output.data, bytes, input.data, input.needed))
        continue;
      if (output.data == input.data && bytes == input.needed &&
          mayAlias(signature, i, o))
        continue;
      return fail(&session->error, MV_BUFFER_OVERLAP,
                  "output %u: its buffer overlaps that of input %u", o, i);
    }
    for (uint32_t k = 0; k < o; ++k)
      if (session->outputs[k].data &&
          overlap(output.data, bytes, session->outputs[k].data,
                  writtenBytes(session->outputs[k])))
        return fail(&session->error, MV_BUFFER_OVERLAP,
                    "output %u: its buffer overlaps that of output %u", o, k);
  }
  return MV_OK;
}

/// Addresses of inputs and outputs, the session's own outputs included.
static mv_status bind(mv_session *session) {
  const mv_signature &signature = *session->signature;
  for (uint32_t i = 0; i < signature.input_count; ++i) {
    if (!session->inputs[i].isSet)
      return fail(&session->error, MV_NOT_READY, "input %u is not set", i);
    session->inputAddresses[i] = session->inputs[i].data;
  }
  uint64_t own = 0;
  for (uint32_t i = 0; i < signature.output_count; ++i) {
    const Binding &output = session->outputs[i];
    if (output.dependsOnData)
      continue;
    if (!output.data)
      own += alignTo(output.needed, MV_ALIGNMENT);
    else if (output.bytes < output.needed)
      return fail(&session->error, MV_BUFFER_TOO_SMALL,
                  "output %u: the buffer has %zu bytes, it needs %" PRIu64, i,
                  output.bytes, output.needed);
  }
  if (mv_status status = checkOverlaps(session))
    return status;
  if (!session->ownOutputs.reserve(own, session->statistics.allocations))
    return fail(&session->error, MV_NO_MEMORY,
                "no memory for %" PRIu64 " bytes of outputs", own);
  session->statistics.output_bytes = own;

  own = 0;
  for (uint32_t i = 0; i < signature.output_count; ++i) {
    const Binding &output = session->outputs[i];
    if (output.dependsOnData) {
      session->outputAddresses[i] = nullptr;
    } else if (output.data) {
      session->outputAddresses[i] = output.data;
    } else {
      session->outputAddresses[i] = session->ownOutputs.data() + own;
      own += alignTo(output.needed, MV_ALIGNMENT);
    }
  }
  session->bound = true;
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

static void resetDataDependent(mv_session *session) {
  session->grown.reset(session->statistics.allocations);
  for (uint32_t i = 0; i < session->signature->output_count; ++i) {
    Binding &output = session->outputs[i];
    if (!output.dependsOnData)
      continue;
    session->outputAddresses[i] = nullptr;
    for (int k = 0; k < output.type->rank; ++k)
      if (output.type->dims[k] == MV_DIM_DATA_DEPENDENT)
        output.dims[k] = MV_DIM_DATA_DEPENDENT;
  }
}

/// Where results are; copies those of data-dependent size to the caller's
/// buffers.
static mv_status takeResults(mv_session *session) {
  mv_status status = MV_OK;
  for (uint32_t i = 0; i < session->signature->output_count; ++i) {
    Binding &output = session->outputs[i];
    output.result = session->outputAddresses[i];
    if (!output.dependsOnData)
      continue;
    if (!tensorBytes(*output.type, output.dims, output.needed) ||
        (!output.result && output.needed > 0)) {
      session->hasRun = false;
      return fail(&session->error, MV_RUN_FAILED,
                  "output %u: the module returned no valid result", i);
    }
    if (!output.data)
      continue;
    if (output.bytes < output.needed) {
      status = fail(&session->error, MV_BUFFER_TOO_SMALL,
                    "output %u: the buffer has %zu bytes, the result %" PRIu64,
                    i, output.bytes, output.needed);
      continue;
    }
    if (output.needed > 0)
      memcpy(output.data, output.result, output.needed);
    output.result = output.data;
    ++session->statistics.copies;
    session->statistics.copied_bytes += output.needed;
  }
  return status;
}

mv_status mv_session_invoke(mv_session *session) {
  if (!session->resolved || !session->bound) {
    session->hasRun = false;
    if (mv_status status = resolve(session))
      return status;
    if (mv_status status = bind(session))
      return status;
  }
  if (session->growsOutputs || session->grown.used() > 0)
    resetDataDependent(session);
  session->call.status = 0;
  session->failureCode = 0;
  session->failurePlace = 0;
  ++session->statistics.invokes;

  int64_t failure;
  if (session->threads == 1) {
    failure = session->run(&session->call);
  } else {
    RunScope running(session->pool);
    failure = session->run(&session->call);
  }
  session->statistics.grown_bytes = session->grown.used();
  if (failure == 0)
    failure = session->call.status;
  if (failure != 0) {
    session->hasRun = false;
    return runFailure(session, failure,
                      (failure & 0xff) == MV_FAILURE_NO_MEMORY ? MV_NO_MEMORY
                                                               : MV_RUN_FAILED);
  }
  session->hasRun = true;
  return takeResults(session);
}

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
