/*===- marver/format.h - The bytes of a module ------------------*- C -*-===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* The layout of a module file, shared by its writer (compiler/package), its
|* loader (runtime/src) and its auditor. docs/module-format.md explains it.
|*
|* All integers are little-endian; there are no strings. The form is canonical:
|* one sequence of bytes per content. A file is
|*
|*     mv_file_header                                     64 bytes
|*     mv_file_section[MV_SECTION_COUNT]                  one per kind, in order
|*     tables: the sections MV_SECTION_INFO .. MV_SECTION_SIGNATURE
|*     code, constants
|*
|* Each section starts at the end of the one before (the first at the end of the
|* section table), rounded up to its alignment, and the bytes between are zero.
|* Thus offsets are redundant, and a reader refuses any other value.
|*
|* Integrity: `root_hash` covers the header, the section table and all tables
but
|* the signature; these hold the hash of the code and of each chunk of the
|* constants. So one signature over `root_hash` covers the file, and no byte is
|* free: what no hash covers is padding, which is zero.
|*
\*===----------------------------------------------------------------------===*/

#ifndef MARVER_FORMAT_H
#define MARVER_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of every layout in this header. */
#define MV_FORMAT_VERSION 2

/** The only magic of a module; its first and last two bytes tell a file that
 *  went through a text-mode transfer. */
#define MV_FILE_MAGIC "\x8dMARV\r\n\x1a"
#define MV_FILE_MAGIC_SIZE 8

/** Bytes of every hash in a module: BLAKE2b with a 32-byte digest, no key. */
#define MV_HASH_SIZE 32

/** A module and its sidecar are joined by the first bytes of `root_hash`. */
#define MV_BUILD_ID_SIZE 16

/** Limits that keep a reader's arithmetic small; no real model meets them. */
#define MV_MAX_RANK 32
#define MV_MAX_COUNT (1u << 20) /**< records in any one table */

typedef struct mv_file_header {
  uint8_t magic[MV_FILE_MAGIC_SIZE];
  uint16_t format_version; /**< MV_FORMAT_VERSION */
  uint16_t abi_version;    /**< MV_ABI_VERSION (abi.h) */
  uint16_t arch;           /**< MV_ARCH_* (abi.h) */
  uint16_t section_count;  /**< MV_SECTION_COUNT */
  uint64_t cpu_features;   /**< MV_X86_* or MV_ARM_* that the code needs */
  uint64_t file_length;    /**< end of the constants, the file's last byte */
  /** Hash of the header's bytes before this one, followed by everything from
   *  the end of the header to the start of MV_SECTION_SIGNATURE. */
  uint8_t root_hash[MV_HASH_SIZE];
} mv_file_header;

enum {
  MV_SECTION_INFO = 0,        /**< one mv_file_info */
  MV_SECTION_ENTRIES,         /**< mv_file_entry[], ascending by name_hash */
  MV_SECTION_INTERFACES,      /**< mv_file_interface[] */
  MV_SECTION_TENSORS,         /**< mv_file_tensor[] */
  MV_SECTION_DIMS,            /**< int64_t[], see MV_DIM_* */
  MV_SECTION_SYMBOLS,         /**< mv_file_symbol[] */
  MV_SECTION_ALIASES,         /**< mv_file_alias[] */
  MV_SECTION_STATES,          /**< mv_file_state[] */
  MV_SECTION_CONSTANT_HASHES, /**< uint8_t[MV_HASH_SIZE] per chunk */
  MV_SECTION_SIGNATURE,       /**< one mv_file_signature */
  MV_SECTION_CODE,            /**< text, then read-only tables */
  MV_SECTION_CONSTANTS,       /**< tensors, each aligned to MV_ALIGNMENT */
  MV_SECTION_COUNT
};

typedef struct mv_file_section {
  uint32_t kind;      /**< its own index in the section table */
  uint32_t alignment; /**< 8 for tables; mv_page_alignment() for the others */
  uint64_t offset;
  uint64_t size;
} mv_file_section;

/** "There is no such function." */
#define MV_NO_FUNCTION UINT64_MAX

/** log2 of the size of a chunk of the constants, the unit of their hashes. */
#define MV_HASH_CHUNK_LOG2 20

typedef struct mv_file_info {
  /** The code section's text; from here to its end are read-only tables. */
  uint64_t text_bytes;
  uint64_t prepare_offset; /**< mv_prepare_fn in the code, or MV_NO_FUNCTION */
  uint64_t prepared_bytes; /**< 0 without a prepare function */
  uint64_t prepare_scratch_bytes;  /**< scratch of its kernels, per thread */
  uint32_t kernel_count;           /**< kernels are numbered from 0 to this */
  uint32_t place_count;            /**< places of failures, numbered likewise */
  uint32_t hash_chunk_log2;        /**< MV_HASH_CHUNK_LOG2 */
  uint32_t reserved;               /**< 0 */
  uint8_t code_hash[MV_HASH_SIZE]; /**< of the code section */
} mv_file_info;

/** A function that a user can call. */
typedef struct mv_file_entry {
  uint64_t name_hash;     /**< mv_name_hash() of its name */
  uint64_t shape_offset;  /**< mv_shape_fn in the code's text */
  uint64_t run_offset;    /**< mv_run_fn in the code's text */
  uint64_t scratch_bytes; /**< scratch of its kernels, per thread */
  uint32_t interface;     /**< index in MV_SECTION_INTERFACES */
  uint32_t reserved;      /**< 0 */
} mv_file_entry;

/**
 * What an entry point takes and gives. Interfaces own consecutive ranges of the
 * tables below, in order: interface 0 the first records of each, and so on.
 * The tensors of one are its inputs, its outputs, its states.
 */
typedef struct mv_file_interface {
  uint32_t input_count;
  uint32_t output_count;
  uint32_t symbol_count;
  uint32_t alias_count;
  uint32_t state_count;
  uint32_t reserved; /**< 0 */
} mv_file_interface;

typedef struct mv_file_tensor {
  uint8_t dtype;     /**< MV_DTYPE_* (abi.h) */
  uint8_t rank;      /**< that many dims follow in MV_SECTION_DIMS */
  uint16_t reserved; /**< 0 */
} mv_file_tensor;

/** Dims: a value >= 0 is static; the others are: */
#define MV_DIM_DATA_DEPENDENT                                                  \
  (-1)                       /**< known only after the run; outputs only */
#define MV_DIM_COMPUTED (-2) /**< the shape function checks or computes it */
/** Symbol `k` of the interface: all dims that carry it are equal. */
#define MV_DIM_SYMBOL(k) (-3 - (int64_t)(k))
#define MV_DIM_IS_SYMBOL(d) ((d) <= -3)
#define MV_DIM_SYMBOL_NUMBER(d) (-3 - (d))

/** The inclusive range of a symbol: 0 <= min <= max. */
typedef struct mv_file_symbol {
  int64_t min;
  int64_t max; /**< INT64_MAX: unbounded */
} mv_file_symbol;

/** An output that may share its buffer with an input of the same bytes. */
typedef struct mv_file_alias {
  uint32_t input;
  uint32_t output;
} mv_file_alias;

/** "It begins with zeros." */
#define MV_NO_INITIAL UINT64_MAX

/** A tensor of static dims that a session keeps between its calls. */
typedef struct mv_file_state {
  /** Where its first value is in the constants (a multiple of MV_ALIGNMENT), or
   *  MV_NO_INITIAL. */
  uint64_t initial;
  /** States of several interfaces with one number are one state: they have the
   *  same type, dims and first value, and sessions can share it. */
  uint32_t number;
  uint32_t reserved; /**< 0 */
} mv_file_state;

enum { MV_SIGNATURE_NONE = 0, MV_SIGNATURE_ED25519 = 1 };

/** Always there, so that a module can be signed in place; all zero while
 *  unsigned. The signature is over MV_HASH_SIZE bytes: `root_hash`. */
typedef struct mv_file_signature {
  uint32_t algorithm; /**< MV_SIGNATURE_* */
  uint32_t reserved;  /**< 0 */
  uint8_t public_key[32];
  uint8_t signature[64];
} mv_file_signature;

/** Alignment of code and constants: the largest page of the architecture's
 *  systems (macOS on x86-64 included), so that they can be mapped. */
static inline uint32_t mv_page_alignment(uint16_t arch) {
  return arch == 2 /* MV_ARCH_AARCH64 */ ? 65536u : 16384u;
}

/**
 * The hash by which an entry point is found: FNV-1a over the name's bytes from
 * a fixed salt, then a 64-bit finalizer that spreads every bit. Two names of
 * one module that collide are an error of the compiler.
 */
static inline uint64_t mv_name_hash(const char *name, size_t length) {
  uint64_t hash = UINT64_C(0x6d61725ac0ffe17d);
  for (size_t i = 0; i < length; ++i) {
    hash ^= (uint8_t)name[i];
    hash *= UINT64_C(0x100000001b3);
  }
  hash ^= hash >> 33;
  hash *= UINT64_C(0xff51afd7ed558ccd);
  hash ^= hash >> 33;
  hash *= UINT64_C(0xc4ceb9fe1a85ec53);
  hash ^= hash >> 33;
  return hash;
}

#ifdef __cplusplus
} /* extern "C" */

static_assert(sizeof(mv_file_header) == 64, "the header is 64 bytes");
static_assert(sizeof(mv_file_section) == 24, "no hidden padding");
static_assert(sizeof(mv_file_info) == 80, "no hidden padding");
static_assert(sizeof(mv_file_entry) == 40, "no hidden padding");
static_assert(sizeof(mv_file_interface) == 24, "no hidden padding");
static_assert(sizeof(mv_file_tensor) == 4, "no hidden padding");
static_assert(sizeof(mv_file_symbol) == 16, "no hidden padding");
static_assert(sizeof(mv_file_alias) == 8, "no hidden padding");
static_assert(sizeof(mv_file_state) == 16, "no hidden padding");
static_assert(sizeof(mv_file_signature) == 104, "no hidden padding");
#endif

#endif /* MARVER_FORMAT_H */
