//===- Run.cpp - Runs of a session ---------------------------------------===//
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
  return session->grown.allocate(static_cast<uint64_t>(bytes), call->grown++,
                                 session->statistics.allocations);
}

static void sweep(mv_call *call, int64_t mark, void *const *kept,
                  int64_t count) {
  sessionOf(call)->grown.sweep(mark, kept, count);
}

const mv_services *marver::nativeServices() {
  static const mv_services services = {parallelFor, grow, sweep};
  return &services;
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

/// Failures as a user reads them without the sidecar.
mv_status marver::runFailure(mv_session *session, int64_t failure,
                             mv_status status) {
  static const char *const texts[] = {
      "unknown failure",
      "an index is out of range",
      "integer division by zero, or its result overflows",
      "an assertion of the model does not hold",
      "a size, given or computed from the inputs, does not fit the model",
      "a loop exceeds the limit of iterations",
      "out of memory",
      "the run was cancelled",
  };
  session->failureCode = static_cast<int>(failure & 0xff);
  session->failurePlace = failure >> 8;
  int text = session->failureCode <= MV_FAILURE_CANCELLED ? session->failureCode
                                                          : MV_FAILURE_NONE;
  if (session->failureCode == MV_FAILURE_CANCELLED)
    return fail(&session->error, status, "%s", texts[text]); // at no place
  return fail(&session->error, status, "%s (code %d at place %" PRId64 ")",
              texts[text], session->failureCode, session->failurePlace);
}

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
  if (session->growsOutputs || session->grown.peak() > 0)
    resetDataDependent(session);
  // From here on the invoke can be cancelled.
  __atomic_store_n(&session->call.status, 0, __ATOMIC_RELAXED);
  session->call.trips_left = session->tripLimit;
  session->call.grown = 0;
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
  session->statistics.grown_bytes = session->grown.peak();
  if (failure == 0)
    failure = __atomic_load_n(&session->call.status, __ATOMIC_RELAXED);
  if (failure != 0) {
    session->hasRun = false;
    int code = failure & 0xff;
    return runFailure(session, failure,
                      code == MV_FAILURE_NO_MEMORY   ? MV_NO_MEMORY
                      : code == MV_FAILURE_CANCELLED ? MV_CANCELLED
                                                     : MV_RUN_FAILED);
  }
  session->hasRun = true;
  return takeResults(session);
}

void mv_session_cancel(mv_session *session) {
  int64_t none = 0;
  __atomic_compare_exchange_n(&session->call.status, &none,
                              int64_t(MV_FAILURE_CANCELLED), false,
                              __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void mv_session_set_trip_limit(mv_session *session, uint64_t trips) {
  session->tripLimit = trips == 0 || trips > uint64_t(INT64_MAX)
                           ? INT64_MAX
                           : static_cast<int64_t>(trips);
}
