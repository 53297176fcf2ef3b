/*===- marver/sidecar.h - The bytes of a sidecar ----------------*- C -*-===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* A module holds numbers only. What they mean in the words of the model's owner
|* is in its sidecar (`model.mv.dbg` beside `model.mv`), which stays with the
|* owner: profiles and failures of a module are readable with it and numeric
|* without. The two are joined by the module's build id (marver/format.h).
|*
|* A file is mv_sidecar_header, then the tables in order, each 8-byte aligned,
|* then the strings: NUL-terminated UTF-8, referred to by their offset in that
|* section. Offset 0 is the empty string and means "not known". All integers
|* are little-endian.
|*
\*===----------------------------------------------------------------------===*/

#ifndef MARVER_SIDECAR_H
#define MARVER_SIDECAR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MV_SIDECAR_VERSION 2
#define MV_SIDECAR_MAGIC "\x8dMVDBG\r\n"
#define MV_SIDECAR_MAGIC_SIZE 8

enum {
  MV_SIDECAR_KERNELS = 0, /**< mv_sidecar_kernel[], by kernel number */
  MV_SIDECAR_PLACES,      /**< mv_sidecar_place[], by place of failures */
  MV_SIDECAR_ENTRIES,     /**< mv_sidecar_entry[] */
  MV_SIDECAR_NAMES,       /**< uint32_t[], strings that entries refer to */
  MV_SIDECAR_STRINGS,
  MV_SIDECAR_SECTION_COUNT
};

typedef struct mv_sidecar_section {
  uint64_t offset;
  uint64_t size;
} mv_sidecar_section;

typedef struct mv_sidecar_header {
  uint8_t magic[MV_SIDECAR_MAGIC_SIZE];
  uint32_t version;
  uint32_t reserved;
  uint8_t build_id[16]; /**< of the module that this describes */
  mv_sidecar_section sections[MV_SIDECAR_SECTION_COUNT];
} mv_sidecar_header;

typedef struct mv_sidecar_kernel {
  uint32_t name;      /**< what the compiler calls it, e.g. `k17` */
  uint32_t family;    /**< the emitter: `direct_conv`, `matmul`, ... */
  uint32_t operation; /**< operators of the source that it computes */
  uint32_t location;  /**< where they are in the source */
  uint32_t shapes;   /**< operands and results, e.g. `1x3x224x224xf32 -> ...` */
  uint32_t schedule; /**< tile, order of loops and the reason for them */
  int64_t flops;     /**< of one launch; -1 where it depends on dims */
  int64_t bytes;     /**< read and written at least; -1 likewise */
} mv_sidecar_kernel;

typedef struct mv_sidecar_place {
  uint32_t text;     /**< what does not hold, e.g. `index of Gather` */
  uint32_t location; /**< where that is in the source */
} mv_sidecar_place;

/** An entry point; `first_name` is the index in MV_SIDECAR_NAMES of the names
 *  of its inputs, then outputs, then symbols. */
typedef struct mv_sidecar_entry {
  uint32_t name;
  uint32_t first_name;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t symbol_count;
  uint32_t reserved;
  int64_t arena_bound; /**< bytes of the tensors that are alive at one time, at
                          their largest; -1 where it depends on dims */
} mv_sidecar_entry;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MARVER_SIDECAR_H */
