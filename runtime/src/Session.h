//===- Session.h - One entry point, ready to run ----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_SESSION_H
#define MARVER_RUNTIME_SESSION_H

#include "GrowingMemory.h"
#include "Memory.h"
#include "Module.h"
#include "State.h"
#include "ThreadPool.h"

namespace marver {

/// An input or output of a session.
struct Binding {
  const mv_tensor_type *type;
  int64_t *dims;   ///< in the session's input_dims or output_dims
  void *data;      ///< of the caller; NULL: not set, or the session's own
  size_t bytes;    ///< of that buffer
  uint64_t needed; ///< bytes of the tensor with its current dims
  /// Inputs: data was given. Outputs: some dim depends on data.
  bool isSet;
  bool dependsOnData;
  /// Outputs: after a run, where the result is.
  void *result;
};

} // namespace marver

struct mv_session {
  /// What native code sees. First, so that its address is the session's.
  mv_call call;

  mv_module *module;
  mv_pool *pool;
  const mv_signature *signature;
  mv_shape_fn shape;
  mv_run_fn run;
  int threads;

  marver::Binding *inputs;
  marver::Binding *outputs;
  marver::State **states;
  const void **inputAddresses;
  void **outputAddresses;
  int64_t *symbolValues;

  marver::Block arena;
  marver::Block scratch;
  uint64_t scratchStride;
  marver::Block ownOutputs;
  marver::GrowingMemory grown;

  bool resolved;     ///< output dims and arena are those of the input dims
  bool bound;        ///< addresses are set and checked
  bool hasRun;       ///< results can be read
  bool growsOutputs; ///< some output depends on data
  bool profiling;

  /// Iterations that loops of one invoke may make.
  int64_t tripLimit;

  mv_statistics statistics;
  mv_kernel_profile *profile;
  uint64_t *busy; ///< per part of a launch

  int failureCode;
  int64_t failurePlace;
  mv_error error;
};

namespace marver {

/// Bytes of a tensor; false if no memory could hold it or a dim is negative.
bool tensorBytes(const mv_tensor_type &type, const int64_t *dims,
                 uint64_t &bytes);

/// Output dims and arena for the current input dims.
mv_status resolve(mv_session *session);

/// Addresses of inputs, states and outputs, the session's own outputs included.
mv_status bind(mv_session *session);

/// Describes a failure of native code, as `mv_call::status` tells it.
mv_status runFailure(mv_session *session, int64_t failure, mv_status status);

/// What native code may call.
const mv_services *nativeServices();

} // namespace marver

#endif // MARVER_RUNTIME_SESSION_H
