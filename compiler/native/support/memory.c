/*===- memory.c - memcpy and its kin --------------------------------------===*\
|*
|* Part of marver, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

typedef unsigned char byte;
typedef __SIZE_TYPE__ size_t;
/* 32 bytes at any address; may alias anything. */
typedef byte block __attribute__((vector_size(32), aligned(1), __may_alias__));

/* In order, so that `out` may lie inside what is left to read of `in`. */
static void copyForward(byte *out, const byte *in, size_t size) {
  size_t i = 0;
  for (; i + sizeof(block) <= size; i += sizeof(block))
    *(block *)(out + i) = *(const block *)(in + i);
  for (; i < size; ++i)
    out[i] = in[i];
}

void *memcpy(void *to, const void *from, size_t size) {
  copyForward(to, from, size);
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  byte *out = to;
  const byte *in = from;
  /* The distance as an unsigned number: small only if `to` is inside `from`. */
  if ((size_t)(out - in) >= size) {
    copyForward(out, in, size);
    return to;
  }
  size_t i = size;
  for (; i >= sizeof(block); i -= sizeof(block))
    *(block *)(out + i - sizeof(block)) =
        *(const block *)(in + i - sizeof(block));
  while (i-- > 0)
    out[i] = in[i];
  return to;
}

void *memset(void *to, int value, size_t size) {
  byte *out = to;
  block pattern = {0};
  pattern = pattern + (byte)value;
  size_t i = 0;
  for (; i + sizeof(block) <= size; i += sizeof(block))
    *(block *)(out + i) = pattern;
  for (; i < size; ++i)
    out[i] = (byte)value;
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const byte *a = left, *b = right;
  for (size_t i = 0; i < size; ++i)
    if (a[i] != b[i])
      return a[i] < b[i] ? -1 : 1;
  return 0;
}

int bcmp(const void *left, const void *right, size_t size) {
  return memcmp(left, right, size);
}
