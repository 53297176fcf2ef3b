/*===- run-model.c - Loads a module and runs it from C --------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* usage: run-model MODULE [FUNCTION [SIZE]]
|*
|* Runs a function on inputs that it makes up, and prints the first elements of
|* each result. Dims that are not static become SIZE (default 4).
|*
\*===----------------------------------------------------------------------===*/

#include <marver/marver.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Dims of an input: the signature's, and `size` where these are not static. */
static size_t chooseDims(const mv_tensor_type *type, int64_t size,
                         int64_t *dims) {
  size_t bytes = mv_dtype_size(type->dtype);
  for (int32_t i = 0; i < type->rank; ++i) {
    dims[i] = type->dims[i] >= 0 ? type->dims[i] : size;
    bytes *= (size_t)dims[i];
  }
  return bytes;
}

/* Ones for the floats of C, zeros for everything else. */
static void fill(const mv_tensor_type *type, void *data, size_t bytes) {
  memset(data, 0, bytes);
  if (type->dtype == MV_DTYPE_F32)
    for (size_t i = 0; i < bytes / sizeof(float); ++i)
      ((float *)data)[i] = 1;
  if (type->dtype == MV_DTYPE_F64)
    for (size_t i = 0; i < bytes / sizeof(double); ++i)
      ((double *)data)[i] = 1;
}

static int setInputs(mv_session *session, const mv_signature *signature,
                     int64_t size, void **buffers) {
  for (uint32_t i = 0; i < signature->input_count; ++i) {
    int64_t dims[MV_MAX_RANK];
    size_t bytes = chooseDims(&signature->inputs[i], size, dims);
    buffers[i] = malloc(bytes ? bytes : 1);
    if (!buffers[i])
      return 0;
    fill(&signature->inputs[i], buffers[i], bytes);
    if (mv_session_set_input(session, i, dims, buffers[i], bytes) != MV_OK) {
      fprintf(stderr, "%s\n", mv_session_message(session));
      return 0;
    }
  }
  return 1;
}

static void printOutput(uint32_t index, const mv_tensor *tensor) {
  printf("output %" PRIu32 ": %s [", index, mv_dtype_name(tensor->dtype));
  for (int32_t i = 0; i < tensor->rank; ++i)
    printf("%s%" PRId64, i ? ", " : "", tensor->dims[i]);
  printf("]");
  if (tensor->dtype == MV_DTYPE_F32)
    for (size_t i = 0; i < tensor->bytes / sizeof(float) && i < 8; ++i)
      printf(" %g", (double)((const float *)tensor->data)[i]);
  printf("\n");
}

/* Runs on inputs made up for it; returns whether that worked. */
static int run(mv_session *session, const mv_signature *signature,
               int64_t size) {
  void **buffers = calloc(signature->input_count + 1, sizeof(void *));
  int ok = buffers && setInputs(session, signature, size, buffers);
  if (ok && mv_session_invoke(session) != MV_OK) {
    fprintf(stderr, "%s\n", mv_session_message(session));
    ok = 0;
  }
  for (uint32_t i = 0; ok && i < signature->output_count; ++i) {
    mv_tensor tensor;
    ok = mv_session_output(session, i, &tensor) == MV_OK;
    if (ok)
      printOutput(i, &tensor);
  }
  for (uint32_t i = 0; buffers && i < signature->input_count; ++i)
    free(buffers[i]);
  free(buffers);
  return ok;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    fprintf(stderr, "usage: run-model MODULE [FUNCTION [SIZE]]\n");
    return 2;
  }
  const char *function = argc > 2 ? argv[2] : "main";
  int64_t size = argc > 3 ? strtoll(argv[3], NULL, 10) : 4;

  mv_pool *pool = NULL;
  mv_module *module = NULL;
  mv_session *session = NULL;
  mv_error error;
  int ok = 0;
  if (mv_pool_create(0, &pool, &error) != MV_OK ||
      mv_module_load_file(argv[1], NULL, &module, &error) != MV_OK ||
      mv_session_create(module, function, pool, &session, &error) != MV_OK)
    fprintf(stderr, "%s: %s\n", argv[1], error.message);
  else
    ok = run(session, mv_module_signature(module, function), size);
  mv_session_free(session);
  mv_module_release(module);
  mv_pool_release(pool);
  return ok ? 0 : 1;
}
