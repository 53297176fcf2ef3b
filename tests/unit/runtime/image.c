/*===- image.c - Native code for the runtime's tests ----------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* What the compiler's native stage makes, written by hand: small entry points
|* that exercise each part of the contract in marver/abi.h. Built freestanding
|* and linked to a flat image. The directory at its start says where each
|* function is, in the order of TestModule.cpp.
|*
\*===----------------------------------------------------------------------===*/

#include "marver/abi.h"

#define DIRECTORY(name)                                                        \
  __asm__(".pushsection .directory,\"ax\"\n"                                   \
          ".long " #name " - .\n"                                              \
          ".popsection\n");

static int64_t failure(int64_t place, int64_t code) {
  return place << 8 | code;
}

static void launch(mv_call *call, mv_kernel_fn kernel, int64_t extent,
                   int64_t number, const void *a, const void *b, void *out) {
  int64_t slots[4] = {(int64_t)call, (int64_t)a, (int64_t)b, (int64_t)out};
  call->services->parallel_for(call, kernel, slots, extent, number);
}

/*===- main: f32[8] -> f32[8], 2 x + constant, through the arena ----------===*/

static void doubleKernel(const int64_t *slots, int64_t begin, int64_t end,
                         void *scratch) {
  const float *in = (const float *)slots[1];
  float *out = (float *)slots[3];
  for (int64_t i = begin; i < end; ++i)
    out[i] = 2 * in[i];
}

static void addKernel(const int64_t *slots, int64_t begin, int64_t end,
                      void *scratch) {
  const float *a = (const float *)slots[1];
  const float *b = (const float *)slots[2];
  float *out = (float *)slots[3];
  for (int64_t i = begin; i < end; ++i)
    out[i] = a[i] + b[i];
}

int64_t mainShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = 8;
  *arena = 8 * sizeof(float);
  return 0;
}

int64_t mainRun(mv_call *call) {
  launch(call, doubleKernel, 8, 0, call->inputs[0], 0, call->arena);
  launch(call, addKernel, 8, 1, call->arena, call->constants, call->outputs[0]);
  return call->status;
}

/*===- add: f32[s0, 4], f32[s0, 4] -> f32[s0, 4] --------------------------===*/

static void addRowsKernel(const int64_t *slots, int64_t begin, int64_t end,
                          void *scratch) {
  addKernel(slots, begin * 4, end * 4, scratch);
}

int64_t addShape(const int64_t *in, int64_t *out, int64_t *arena) {
  if (in[0] != in[2])
    return failure(3, MV_FAILURE_SHAPE);
  out[0] = in[0];
  out[1] = 4;
  *arena = 0;
  return 0;
}

int64_t addRun(mv_call *call) {
  launch(call, addRowsKernel, call->input_dims[0], 2, call->inputs[0],
         call->inputs[1], call->outputs[0]);
  return call->status;
}

/*===- gather: i64[s0] -> f32[s0], of 8 constants -------------------------===*/

static void gatherKernel(const int64_t *slots, int64_t begin, int64_t end,
                         void *scratch) {
  mv_call *call = (mv_call *)slots[0];
  const int64_t *indices = (const int64_t *)slots[1];
  const float *table = (const float *)slots[2];
  float *out = (float *)slots[3];
  for (int64_t i = begin; i < end; ++i) {
    if (indices[i] < 0 || indices[i] >= 8) {
      int64_t none = 0;
      __atomic_compare_exchange_n(&call->status, &none,
                                  failure(7, MV_FAILURE_INDEX), 0,
                                  __ATOMIC_RELAXED, __ATOMIC_RELAXED);
      return;
    }
    out[i] = table[indices[i]];
  }
}

int64_t vectorShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = in[0];
  *arena = 0;
  return 0;
}

int64_t gatherRun(mv_call *call) {
  launch(call, gatherKernel, call->input_dims[0], 3, call->inputs[0],
         call->constants, call->outputs[0]);
  return call->status;
}

/*===- nonzero: f32[s0] -> i64[?], f32[s0], two results in grown memory ---===*/

int64_t nonzeroShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = -1;
  out[1] = in[0];
  *arena = 0;
  return 0;
}

int64_t nonzeroRun(mv_call *call) {
  int64_t n = call->input_dims[0], count = 0;
  const float *in = (const float *)call->inputs[0];
  for (int64_t i = 0; i < n; ++i)
    count += in[i] != 0;
  /* Memory that is thrown away, so that one run asks several times. */
  int64_t *all = call->services->grow(call, n * 8);
  int64_t *result = call->services->grow(call, count * 8);
  if (!all || !result)
    return failure(0, MV_FAILURE_NO_MEMORY);
  int64_t next = 0;
  for (int64_t i = 0; i < n; ++i) {
    all[i] = i;
    ((float *)call->outputs[1])[i] = in[i] * in[i];
    if (in[i] != 0)
      result[next++] = all[i];
  }
  call->outputs[0] = result;
  call->output_dims[0] = count;
  return 0;
}

/*===- update: f32[16] -> f32[16], plus one, in place if need be ----------===*/

int64_t updateShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = 16;
  *arena = 0;
  return 0;
}

int64_t updateRun(mv_call *call) {
  const float *in = (const float *)call->inputs[0];
  float *out = (float *)call->outputs[0];
  for (int i = 0; i < 16; ++i)
    out[i] = in[i] + 1;
  return 0;
}

/*===- prepared: -> f32[8], three times the constants, made at load -------===*/

static void tripleKernel(const int64_t *slots, int64_t begin, int64_t end,
                         void *scratch) {
  const float *in = (const float *)slots[1];
  volatile float *temporary = scratch;
  float *out = (float *)slots[3];
  for (int64_t i = begin; i < end; ++i) {
    temporary[15] = 3 * in[i];
    out[i] = temporary[15];
  }
}

int64_t preparedShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = 8;
  *arena = 0;
  return 0;
}

int64_t preparedRun(mv_call *call) {
  for (int i = 0; i < 8; ++i)
    ((float *)call->outputs[0])[i] = ((const float *)call->prepared)[i];
  return 0;
}

int64_t prepare(mv_call *call) {
  launch(call, tripleKernel, 8, 4, call->constants, 0, (void *)call->prepared);
  return call->status;
}

/*===- sums: f32[s0, s1] -> f32[s0], rows summed in scratch memory --------===*/

static void sumsKernel(const int64_t *slots, int64_t begin, int64_t end,
                       void *scratch) {
  const float *in = (const float *)slots[1];
  int64_t columns = slots[2];
  float *out = (float *)slots[3];
  volatile float *lanes = scratch;
  for (int64_t i = begin; i < end; ++i) {
    for (int lane = 0; lane < 16; ++lane)
      lanes[lane] = 0;
    for (int64_t j = 0; j < columns; ++j)
      lanes[j % 16] = lanes[j % 16] + in[i * columns + j];
    float sum = 0;
    for (int lane = 0; lane < 16; ++lane)
      sum += lanes[lane];
    out[i] = sum;
  }
}

int64_t sumsRun(mv_call *call) {
  launch(call, sumsKernel, call->input_dims[0], 5, call->inputs[0],
         (const void *)call->input_dims[1], call->outputs[0]);
  return call->status;
}

/*===- copyN: [s0, s1] of N-byte elements -> the same ---------------------===*/

int64_t copyShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = in[0];
  out[1] = in[1];
  *arena = 0;
  return 0;
}

#define COPY(bits)                                                             \
  int64_t copy##bits(mv_call *call) {                                          \
    int64_t n = call->input_dims[0] * call->input_dims[1];                     \
    for (int64_t i = 0; i < n; ++i)                                            \
      ((uint##bits##_t *)call->outputs[0])[i] =                                \
          ((const uint##bits##_t *)call->inputs[0])[i];                        \
    return 0;                                                                  \
  }
COPY(8)
COPY(16)
COPY(32)
COPY(64)

/*===- scalar: f32[] -> f32[], minus the input ----------------------------===*/

int64_t scalarShape(const int64_t *in, int64_t *out, int64_t *arena) {
  *arena = 0;
  return 0;
}

int64_t scalarRun(mv_call *call) {
  *(float *)call->outputs[0] = -*(const float *)call->inputs[0];
  return 0;
}

/*===- huge: f32[s0] -> f32[s0], with an arena that no machine has --------===*/

int64_t hugeShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = in[0];
  *arena = INT64_MAX;
  return 0;
}

/*===- sum: f32[4] -> f32[4], added up in a state; peek: the state --------===*/

int64_t stateShape(const int64_t *in, int64_t *out, int64_t *arena) {
  out[0] = 4;
  *arena = 0;
  return 0;
}

int64_t sumRun(mv_call *call) {
  float *sum = (float *)call->inputs[1], *count = (float *)call->inputs[2];
  for (int i = 0; i < 4; ++i) {
    sum[i] += ((const float *)call->inputs[0])[i];
    ((float *)call->outputs[0])[i] = sum[i];
  }
  *count += 1;
  return 0;
}

int64_t peekRun(mv_call *call) {
  for (int i = 0; i < 4; ++i)
    ((float *)call->outputs[0])[i] = ((const float *)call->inputs[0])[i];
  return 0;
}

/*===- spin: loops until it is cancelled or at its limit ------------------===*/

int64_t spinRun(mv_call *call) {
  for (;;) {
    if (__atomic_load_n(&call->status, __ATOMIC_RELAXED))
      return call->status;
    if (call->trips_left-- == 0)
      return failure(3, MV_FAILURE_TRIP_COUNT);
    launch(call, doubleKernel, 8, 0, call->constants, 0, call->arena);
  }
}

/*===- list: f32[s0] -> f32[?], which grows by one element at a time ------===*/

int64_t listRun(mv_call *call) {
  const float *in = (const float *)call->inputs[0];
  float *list = 0;
  int64_t mark = call->grown;
  for (int64_t n = 1; n <= call->input_dims[0]; ++n) {
    /* Something that the iteration alone needs. */
    float *extra = call->services->grow(call, 16);
    float *longer = call->services->grow(call, n * sizeof(float));
    if (!longer || !extra)
      return failure(0, MV_FAILURE_NO_MEMORY);
    for (int64_t i = 0; i < n; ++i)
      longer[i] = i + 1 < n ? list[i] : in[i];
    list = longer;
    call->services->sweep(call, mark, (void *const *)&list, 1);
  }
  call->outputs[0] = list;
  call->output_dims[0] = call->input_dims[0];
  return 0;
}

DIRECTORY(mainShape)
DIRECTORY(mainRun)
DIRECTORY(addShape)
DIRECTORY(addRun)
DIRECTORY(vectorShape)
DIRECTORY(gatherRun)
DIRECTORY(nonzeroShape)
DIRECTORY(nonzeroRun)
DIRECTORY(updateShape)
DIRECTORY(updateRun)
DIRECTORY(preparedShape)
DIRECTORY(preparedRun)
DIRECTORY(prepare)
DIRECTORY(sumsRun)
DIRECTORY(copyShape)
DIRECTORY(copy8)
DIRECTORY(copy16)
DIRECTORY(copy32)
DIRECTORY(copy64)
DIRECTORY(scalarShape)
DIRECTORY(scalarRun)
DIRECTORY(hugeShape)
DIRECTORY(stateShape)
DIRECTORY(sumRun)
DIRECTORY(peekRun)
DIRECTORY(spinRun)
DIRECTORY(listRun)
