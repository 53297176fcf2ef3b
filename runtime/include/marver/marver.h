/*===- marver/marver.h - The runtime's C API --------------------*- C -*-===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* Loads modules made by marver-compile and runs them.
|*
|*     mv_module *module;
|*     mv_session *session;
|*     mv_error error;
|*     if (mv_module_load_file("model.mv", NULL, &module, &error) ||
|*         mv_session_create(module, "main", NULL, &session, &error)) {
|*       fprintf(stderr, "%s\n", error.message);
|*       return 1;
|*     }
|*     mv_session_set_input(session, 0, dims, data, bytes);
|*     if (mv_session_invoke(session)) ...
|*     mv_tensor result;
|*     mv_session_output(session, 0, &result);
|*
|* Objects. A module is code and constants, immutable once loaded. A session is
|* one entry point with the memory to run it; a pool is threads to run on.
|* Sessions keep their module and pool alive: release in any order.
|*
|* Threads. A module and a pool may be used by any number of threads at once. A
|* session may be used by one thread at a time (but for mv_session_cancel), and
|* so may sessions that share state; any number of others run concurrently.
|* Results are the same bytes for every number of threads.
|*
|* Errors. Functions that can fail return an mv_status, MV_OK being 0. Those
that
|* create an object describe a failure in an mv_error (optional, may be NULL);
|* for those on a session see mv_session_message(). A failed call leaves its
|* object as usable as before.
|*
|* Nothing here writes to stdout or stderr, throws, or ends the process.
|*
\*===----------------------------------------------------------------------===*/

#ifndef MARVER_MARVER_H
#define MARVER_MARVER_H

#include "marver/abi.h"
#include "marver/format.h"

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define MV_API
#else
#define MV_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mv_module mv_module;
typedef struct mv_session mv_session;
typedef struct mv_pool mv_pool;

/*===- Status -------------------------------------------------------------===*/

typedef int32_t mv_status;
enum {
  MV_OK = 0,
  MV_INVALID_ARGUMENT = 1,  /**< the call itself is wrong */
  MV_IO_ERROR = 2,          /**< the file cannot be read */
  MV_INVALID_MODULE = 3,    /**< not a module, damaged, or truncated */
  MV_VERSION_MISMATCH = 4,  /**< a module of another format or ABI version */
  MV_CPU_UNSUPPORTED = 5,   /**< the module needs another CPU */
  MV_SIGNATURE_INVALID = 6, /**< not signed with the given key */
  MV_NO_MEMORY = 7,
  MV_NOT_FOUND = 8,      /**< no entry point of that name */
  MV_SHAPE_MISMATCH = 9, /**< dims that the entry point does not accept */
  MV_BUFFER_TOO_SMALL = 10,
  MV_BUFFER_OVERLAP = 11, /**< an output's buffer overlaps another buffer */
  MV_BUFFER_MISALIGNED = 12,
  MV_NOT_READY = 13,  /**< an input is not set, or nothing has run yet */
  MV_RUN_FAILED = 14, /**< the model itself failed, e.g. on an index */
  MV_CANCELLED = 15   /**< mv_session_cancel() ended the run */
};

/** What went wrong, in one line without a final newline. */
typedef struct mv_error {
  mv_status status;
  char message[500];
} mv_error;

/** A few words on a status, e.g. "buffer too small". Never NULL. */
MV_API const char *mv_status_text(mv_status status);

/** Version of this library, e.g. "0.1.0". */
MV_API const char *mv_version(void);
/** Versions of the format and of the ABI that this library can load. */
MV_API int mv_format_version(void);
MV_API int mv_abi_version(void);

/*===- Element types ------------------------------------------------------===*/

/** Bytes of an element of MV_DTYPE_* (abi.h), 0 for an unknown type. */
MV_API size_t mv_dtype_size(int dtype);
/** Its name, e.g. "f32", "u8" or "i1"; NULL for an unknown type. */
MV_API const char *mv_dtype_name(int dtype);

/*===- Threads ------------------------------------------------------------===*/

/**
 * Threads to run sessions on. `threads` counts the caller of mv_session_invoke,
 * which always takes part; 0 means as many as the process may use: the CPUs of
 * its affinity mask, or of its cgroup's quota where that is less. The threads
 * sleep while nothing runs. When several sessions run on one pool at once, one
 * of them has its threads at any time and the others go on alone.
 */
MV_API mv_status mv_pool_create(int threads, mv_pool **pool, mv_error *error);

/** One part of a job: to be called once for each index in [0, count). */
typedef void (*mv_task_fn)(void *argument, int64_t index);
/** Runs `task(argument, i)` for each i in [0, count), on any threads, and
 *  returns when all of them have. */
typedef void (*mv_parallel_fn)(void *context, mv_task_fn task, void *argument,
                               int64_t count);

/** A pool that runs on the caller's own threads: work is cut into `threads`
 *  parts at most and given to `parallel`, which must be callable from all
 *  threads that invoke sessions on this pool. */
MV_API mv_status mv_pool_create_external(int threads, mv_parallel_fn parallel,
                                         void *context, mv_pool **pool,
                                         mv_error *error);

MV_API int mv_pool_threads(const mv_pool *pool);
/** Gives up the caller's reference; NULL is allowed. */
MV_API void mv_pool_release(mv_pool *pool);

/*===- Modules ------------------------------------------------------------===*/

/** Check the constants against their hashes as well, which reads all of them.
 *  Everything else is always checked. */
#define MV_LOAD_VERIFY_CONSTANTS 1u

/** Zero-initialize, then set what differs. */
typedef struct mv_load_options {
  uint32_t flags; /**< MV_LOAD_* */
  /** Ed25519 public key of 32 bytes, or NULL: load nothing that it has not
   *  signed. Implies MV_LOAD_VERIFY_CONSTANTS. Needs libsodium at run time. */
  const uint8_t *public_key;
  /** Threads for work that a module does once per load, or NULL. */
  mv_pool *pool;
} mv_load_options;

/** Loads a module. Its constants stay mapped from the file, which must not be
 *  written to while the module lives (replacing it by rename is fine). */
MV_API mv_status mv_module_load_file(const char *path,
                                     const mv_load_options *options,
                                     mv_module **module, mv_error *error);

/** Loads a module from memory, which must stay as it is until the module is
 *  gone. Constants are used in place if `data` is aligned to MV_ALIGNMENT, and
 *  copied otherwise. */
MV_API mv_status mv_module_load_memory(const void *data, size_t size,
                                       const mv_load_options *options,
                                       mv_module **module, mv_error *error);

/** Gives up the caller's reference; NULL is allowed. */
MV_API void mv_module_release(mv_module *module);

/** The type of an input or output. Its dims are static (>= 0) or one of
 *  MV_DIM_DATA_DEPENDENT, MV_DIM_COMPUTED, MV_DIM_SYMBOL(k) (format.h). */
typedef struct mv_tensor_type {
  int32_t dtype; /**< MV_DTYPE_* */
  int32_t rank;
  const int64_t *dims;
} mv_tensor_type;

/** An entry point's inputs and outputs. Owned by the module. */
typedef struct mv_signature {
  uint32_t input_count;
  uint32_t output_count;
  uint32_t symbol_count;
  uint32_t alias_count;
  uint32_t state_count;
  const mv_tensor_type *inputs;
  const mv_tensor_type *outputs;
  const mv_file_symbol *symbols; /**< ranges of the symbols in the dims */
  /** Outputs that may be bound to the buffer of an input. */
  const mv_file_alias *aliases;
  /** What a session keeps between its invokes, of static dims. */
  const mv_tensor_type *states;
  /** States of two entry points that have one `number` are one state. */
  const mv_file_state *state_records;
} mv_signature;

typedef struct mv_module_info {
  uint8_t build_id[MV_BUILD_ID_SIZE];
  uint32_t entry_count;
  uint32_t kernel_count;
  uint64_t file_bytes;
  uint64_t code_bytes;
  uint64_t constant_bytes;
  uint64_t prepared_bytes; /**< made at load, shared by all sessions */
  uint64_t load_ns;        /**< loading, preparing included */
  uint64_t prepare_ns;     /**< preparing alone */
  uint64_t cpu_features;   /**< MV_X86_* or MV_ARM_* that the module needs */
} mv_module_info;

MV_API void mv_module_query(const mv_module *module, mv_module_info *info);

/** Signature of the entry point `name`, or NULL if there is none. A module
 *  knows its entry points' names by their hash only (mv_name_hash). */
MV_API const mv_signature *mv_module_signature(const mv_module *module,
                                               const char *name);
/** Signature of the entry point with an index below `entry_count`, or NULL;
 *  `name_hash`, unless NULL, receives the hash of its name. */
MV_API const mv_signature *mv_module_signature_at(const mv_module *module,
                                                  uint32_t index,
                                                  uint64_t *name_hash);

/*===- Sessions -----------------------------------------------------------===*/

/** A session for the entry point `entry` ("main" for a module of one graph). It
 *  runs on `pool`, or with NULL on the invoking thread alone. */
MV_API mv_status mv_session_create(mv_module *module, const char *entry,
                                   mv_pool *pool, mv_session **session,
                                   mv_error *error);
/** Frees the session; NULL is allowed. */
MV_API void mv_session_free(mv_session *session);

/** Describes the last failed call on this session; empty if none failed. */
MV_API const char *mv_session_message(const mv_session *session);

/**
 * Binds input `index` to `data`, `bytes` long, aligned to its element,
 * row-major and contiguous, and gives its dims (one per dim of its type's
 * rank). `dims` may be NULL if all are static. The session reads `data` at each
 * invoke and never writes to it, unless an output is bound to it too. It must
 * stay valid until it is replaced or no invoke follows. An i1 element is a
 * byte, 0 or 1.
 */
MV_API mv_status mv_session_set_input(mv_session *session, uint32_t index,
                                      const int64_t *dims, const void *data,
                                      size_t bytes);

/**
 * Dims of output `index` for the inputs that are set; a data-dependent one is
 * MV_DIM_DATA_DEPENDENT until an invoke has computed it. `dims` has room for
 * one value per dim of its type's rank.
 */
MV_API mv_status mv_session_output_dims(mv_session *session, uint32_t index,
                                        int64_t *dims);
/** Bytes of output `index`, likewise; MV_NOT_READY if they depend on data. */
MV_API mv_status mv_session_output_bytes(mv_session *session, uint32_t index,
                                         size_t *bytes);

/**
 * Binds output `index` to `data` of `bytes`, aligned to its element, where the
 * next invokes write it; NULL goes back to the session's own memory. A buffer
 * may overlap no other buffer of an invoke, except that an output may be the
 * buffer of an input with which the signature pairs it.
 *
 * A data-dependent output that does not fit makes invoke return
 * MV_BUFFER_TOO_SMALL after the run; mv_session_output() still borrows it.
 */
MV_API mv_status mv_session_set_output(mv_session *session, uint32_t index,
                                       void *data, size_t bytes);

/** Runs the entry point. With dims that have run before (or that are static)
 *  nothing is allocated but memory of data-dependent size. */
MV_API mv_status mv_session_invoke(mv_session *session);

/** An output after an invoke; `data` is NULL only if `bytes` is 0. */
typedef struct mv_tensor {
  int32_t dtype;
  int32_t rank;
  const int64_t *dims;
  void *data;
  size_t bytes;
} mv_tensor;

/** Output `index` of the last invoke, in the buffer bound to it or in memory of
 *  the session; valid until the session's next call other than a query. */
MV_API mv_status mv_session_output(const mv_session *session, uint32_t index,
                                   mv_tensor *tensor);

/** After MV_RUN_FAILED or MV_CANCELLED: the MV_FAILURE_* code, and its place (a
 * number that the module's sidecar turns into text). Zero otherwise. */
MV_API void mv_session_failure(const mv_session *session, int *code,
                               int64_t *place);

/**
 * Ends the invoke that runs now on the session, from any thread or signal
 * handler: it returns MV_CANCELLED after the kernels that are running have
 * ended. The session stays usable; outputs hold nothing, state is as far as the
 * run came. A session that runs nothing is left as it is.
 */
MV_API void mv_session_cancel(mv_session *session);

/** How many iterations all loops of one invoke may make together; beyond that
 *  it fails with MV_RUN_FAILED and code MV_FAILURE_TRIP_COUNT at the loop's
 *  place. 0, as at first: any number. */
MV_API void mv_session_set_trip_limit(mv_session *session, uint64_t trips);

/*===- State --------------------------------------------------------------===*/

/*
 * A model may keep tensors between its invokes: the `state_count` states of the
 * signature, e.g. a KV cache or a counter. Each session has its own, which an
 * invoke updates in place. It begins with the values in the module, or zeros.
 *
 *     mv_session *prefill, *step;           // entry points of one module
 *     mv_session_share_state(step, prefill);
 *     mv_session_invoke(prefill);           // fills the cache
 *     mv_session_invoke(step);              // reads and extends it
 *     mv_session_reset(step);               // of both: a new sequence
 *
 * An invoke that fails or is cancelled leaves the state as far as the run came.
 */

/** State `index`. Its `data` may be read and written between invokes, and stays
 *  where it is until the session shares another session's state. */
MV_API mv_status mv_session_state(mv_session *session, uint32_t index,
                                  mv_tensor *state);

/** Puts all states of the session back to their first values. */
MV_API mv_status mv_session_reset(mv_session *session);

/** From now on the session uses the states of `other`, a session of the same
 *  module, where both entry points have them; MV_INVALID_ARGUMENT if they have
 *  none in common. `other` may be freed before the session. */
MV_API mv_status mv_session_share_state(mv_session *session, mv_session *other);

/*===- Measuring ----------------------------------------------------------===*/

typedef struct mv_statistics {
  uint64_t invokes;
  uint64_t launches;      /**< kernels launched, in all invokes */
  uint64_t allocations;   /**< times that memory was allocated, ever */
  uint64_t arena_bytes;   /**< of intermediate results, for the current dims */
  uint64_t scratch_bytes; /**< of all threads */
  uint64_t output_bytes;  /**< outputs in the session's own memory */
  uint64_t grown_bytes;   /**< of data-dependent size, in the last invoke: the
                               most that was in use at once */
  uint64_t copies;        /**< data-dependent outputs copied to the caller's */
  uint64_t copied_bytes;  /**< buffers, in all invokes */
  uint64_t state_bytes;   /**< of states, those of other sessions included */
} mv_statistics;

MV_API void mv_session_statistics(const mv_session *session,
                                  mv_statistics *statistics);

/** Time spent in one kernel since profiling began. */
typedef struct mv_kernel_profile {
  uint64_t launches;
  uint64_t parallel_launches; /**< those that more than one thread ran: each
                                   ended with a barrier */
  uint64_t ns;                /**< from launch to return */
  uint64_t busy_ns;           /**< sum over threads of the time in the kernel */
  uint64_t extent;            /**< parallel indices, in all launches */
} mv_kernel_profile;

/** Starts (and clears) or stops the measuring of each kernel in this session.
 */
MV_API mv_status mv_session_profile_start(mv_session *session);
MV_API void mv_session_profile_stop(mv_session *session);
/** One record per kernel number, `kernel_count` of the module of them; NULL
 *  before the first mv_session_profile_start(). Owned by the session. */
MV_API const mv_kernel_profile *mv_session_profile(const mv_session *session);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MARVER_MARVER_H */
