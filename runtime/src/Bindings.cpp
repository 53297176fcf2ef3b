//===- Bindings.cpp - Inputs and outputs of a session --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Session.h"

#include <cinttypes>
#include <cstring>

using namespace marver;

//===----------------------------------------------------------------------===//
// Inputs and outputs
//===----------------------------------------------------------------------===//

bool marver::tensorBytes(const mv_tensor_type &type, const int64_t *dims,
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

mv_status marver::resolve(mv_session *session) {
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

mv_status marver::bind(mv_session *session) {
  const mv_signature &signature = *session->signature;
  for (uint32_t i = 0; i < signature.input_count; ++i) {
    if (!session->inputs[i].isSet)
      return fail(&session->error, MV_NOT_READY, "input %u is not set", i);
    session->inputAddresses[i] = session->inputs[i].data;
  }
  for (uint32_t i = 0; i < signature.state_count; ++i)
    session->inputAddresses[signature.input_count + i] =
        session->states[i]->memory.data();
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
