//===- Session.h - One entry point, ready to run ----------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_SESSION_H
#define MARVER_RUNTIME_SESSION_H

#include "Memory.h"
#include "Module.h"
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

/// Memory for tensors of data-dependent size: pieces of chunks, all given back
/// at the next invoke.
class GrowingMemory {
public:
  void *allocate(uint64_t bytes, uint64_t &allocated);
  /// Forgets all pieces. Several chunks become one of their total size, so that
  /// runs of like size end up with one chunk and no allocation.
  void reset(uint64_t &allocated);
  void release();
  uint64_t used() const { return total; }

private:
  struct Chunk {
    Chunk *next;
    Block memory;
    uint64_t used;
  };
  Chunk *addChunk(uint64_t bytes, uint64_t &allocated);

  Chunk *chunks;
  uint64_t total;
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

  mv_statistics statistics;
  mv_kernel_profile *profile;
  uint64_t *busy; ///< per part of a launch

  int failureCode;
  int64_t failurePlace;
  mv_error error;
};

#endif // MARVER_RUNTIME_SESSION_H
