/*===- marver/abi.h - Contract between native code and the runtime -*- C
-*-===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* What the code inside a module may rely on, and what the runtime may rely on
|* in turn. The compiler's native stage generates code against exactly these
|* layouts; the two sides share this header and nothing else. All functions
|* follow the platform's C calling convention. The code has no imports: it
|* reaches the runtime through `mv_call::services` only.
|*
\*===----------------------------------------------------------------------===*/

#ifndef MARVER_ABI_H
#define MARVER_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of every layout in this header; stored in each module's header. */
#define MV_ABI_VERSION 2

/** Alignment in bytes of the arena, the scratch memory, the prepared memory and
 *  of every tensor inside the constants. Inputs and outputs are aligned to
 *  their element only. */
#define MV_ALIGNMENT 64

typedef struct mv_call mv_call;

/**
 * A kernel: does the parallel indices [begin, end) of a launch.
 *
 * `slots` are the launch's operands, 8 bytes each, in the order fixed by the
 * native stage: slot 0 holds the `mv_call *`, then for each buffer operand its
 * address followed by its dynamic sizes and dynamic strides (in elements), and
 * for each scalar operand its value. `scratch` is the calling thread's scratch
 * memory (entry's `scratch_bytes`). Any split of an extent into ranges gives
 * the same bytes.
 */
typedef void (*mv_kernel_fn)(const int64_t *slots, int64_t begin, int64_t end,
                             void *scratch);

/** What the runtime offers to native code. */
typedef struct mv_services {
  /**
   * Runs `kernel` over [0, extent), split over the session's threads; returns
   * when all of it is done. `number` is the kernel's number, for profiles.
   * extent 0 does nothing.
   */
  void (*parallel_for)(mv_call *call, mv_kernel_fn kernel, const int64_t *slots,
                       int64_t extent, int64_t number);
  /**
   * Memory of `bytes` for a tensor whose size is known only during the run;
   * lives until it is swept or the session's next invoke. NULL when there is
   * none (the host function then returns MV_FAILURE_NO_MEMORY).
   */
  void *(*grow)(mv_call *call, int64_t bytes);
  /**
   * At the end of a loop's iteration: gives back all memory of `grow` since
   * `call->grown` was `mark`, but for the `count` pieces in `kept`, which may
   * be anything else as well.
   */
  void (*sweep)(mv_call *call, int64_t mark, void *const *kept, int64_t count);
} mv_services;

/** One invocation. The runtime fills it, the host function reads it. */
struct mv_call {
  const mv_services *services;
  const uint8_t *constants; /**< the module's constants section */
  const uint8_t *prepared;  /**< what the prepare function made, or NULL */
  uint8_t *arena;           /**< `arena_bytes` of the shape function */
  /** One address per input, then one per state. A state is a tensor that the
   *  session keeps between calls: the call reads it and leaves its new value in
   *  the same place. */
  void *const *inputs;
  /** One address per output. A data-dependent output's entry is NULL when the
   *  call starts; the host function stores the address of its result, which is
   *  contiguous and lives in memory from `grow`, in the arena, in an input or
   *  in the constants. A result without elements may leave it NULL. */
  void **outputs;
  const int64_t *input_dims; /**< dims of all inputs, one after the other */
  /** Dims of all outputs; data-dependent ones are written by the host
   *  function, the others are as the shape function gave them. */
  int64_t *output_dims;
  /** 0, or the first failure seen: (place << 8) | MV_FAILURE_*. Kernels, and
   *  other threads that cancel the call, set it with an atomic compare-and-swap
   *  against 0; the host function looks at it after each launch and in each
   *  iteration of a loop, and returns it. */
  int64_t status;
  /** How many more iterations loops may begin. The host function counts down
   *  and fails with MV_FAILURE_TRIP_COUNT when it finds 0. */
  int64_t trips_left;
  /** How often `grow` has given memory; the runtime counts. */
  int64_t grown;
};

/** Codes of failures found while a model runs. `place` is a number that the
 *  sidecar turns into the operator and its source line. */
enum {
  MV_FAILURE_NONE = 0,
  MV_FAILURE_INDEX = 1,      /**< a gather or scatter index out of range */
  MV_FAILURE_DIVISION = 2,   /**< integer division by zero or overflow */
  MV_FAILURE_ASSERT = 3,     /**< an assertion of the model does not hold */
  MV_FAILURE_SHAPE = 4,      /**< dims or sizes that do not fit */
  MV_FAILURE_TRIP_COUNT = 5, /**< a loop beyond its limit */
  MV_FAILURE_NO_MEMORY = 6,  /**< `grow` returned NULL */
  MV_FAILURE_CANCELLED = 7   /**< by another thread; the place is 0 */
};

/**
 * Shape function of an entry point: checks the dims of all inputs (given one
 * input after the other) and computes the dims of all outputs (likewise;
 * -1 for a data-dependent one) and the arena's size in bytes. Returns 0 or a
 * failure as in `mv_call::status`. Never touches memory beyond its arguments.
 */
typedef int64_t (*mv_shape_fn)(const int64_t *input_dims, int64_t *output_dims,
                               int64_t *arena_bytes);

/** The entry point itself: returns 0 or a failure as in `mv_call::status`. */
typedef int64_t (*mv_run_fn)(mv_call *call);

/**
 * Prepare function, once per load: fills `prepared` (`prepared_bytes` of the
 * module) from the constants with the help of `parallel_for`; shared by all
 * sessions afterwards and never written again. Same contract as mv_run_fn, with
 * `call->prepared` writable and zero-filled; arena, inputs and outputs are NULL
 * and there is no `grow`. Its kernels have `prepare_scratch_bytes` of scratch.
 */
typedef int64_t (*mv_prepare_fn)(mv_call *call);

/** Element types, as numbered in a module's interfaces. */
enum {
  MV_DTYPE_I1 = 1, /**< one byte, 0 or 1 */
  MV_DTYPE_I8 = 2,
  MV_DTYPE_I16 = 3,
  MV_DTYPE_I32 = 4,
  MV_DTYPE_I64 = 5,
  MV_DTYPE_U8 = 6,
  MV_DTYPE_U16 = 7,
  MV_DTYPE_U32 = 8,
  MV_DTYPE_U64 = 9,
  MV_DTYPE_F16 = 10,
  MV_DTYPE_BF16 = 11,
  MV_DTYPE_F32 = 12,
  MV_DTYPE_F64 = 13
};

/** CPU features that a module can need (bits of the header's `cpu_features`),
 *  by architecture. The x86-64 baseline includes x86-64-v3 (AVX2, FMA, BMI,
 *  F16C) as a whole: MV_X86_V3. */
enum {
  MV_X86_V3 = 1u << 0,
  MV_X86_V4 = 1u << 1, /**< avx512 f, bw, cd, dq, vl */
  MV_X86_AVX512_VNNI = 1u << 2,
  MV_X86_AVX512_BF16 = 1u << 3,
  MV_X86_AVX512_FP16 = 1u << 4,
  MV_X86_AVX_VNNI = 1u << 5,
  MV_X86_AVX512_IFMA = 1u << 6,
  MV_X86_AVX512_VBMI = 1u << 7,
  MV_X86_AVX512_VBMI2 = 1u << 8,
  MV_X86_AVX512_BITALG = 1u << 9,
  MV_X86_AVX512_VPOPCNTDQ = 1u << 10,
  MV_X86_GFNI = 1u << 11,
  MV_X86_VAES = 1u << 12,
  MV_X86_VPCLMULQDQ = 1u << 13,
  MV_X86_AMX_INT8 = 1u << 14,
  MV_X86_AMX_BF16 = 1u << 15,
  MV_X86_AVX512_VP2INTERSECT = 1u << 16,
  MV_X86_AVX_VNNI_INT8 = 1u << 17,
  MV_ARM_DOTPROD = 1u << 0,
  MV_ARM_I8MM = 1u << 1,
  MV_ARM_BF16 = 1u << 2,
  MV_ARM_FP16 = 1u << 3
};

enum { MV_ARCH_X86_64 = 1, MV_ARCH_AARCH64 = 2 };

#ifdef __cplusplus
}
#endif

#endif /* MARVER_ABI_H */
