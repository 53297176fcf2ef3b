//===- Signature.cpp - Who made a module ----------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Ed25519 is libsodium's. The library is opened when a signature is to be
// checked: a program that checks none neither needs it nor pays for loading it.
//
//===----------------------------------------------------------------------===//

#include "Signature.h"

#include "Error.h"

#include <cstring>
#include <dlfcn.h>

using namespace marver;

namespace {
using InitFn = int (*)();
using VerifyFn = int (*)(const unsigned char *signature,
                         const unsigned char *message,
                         unsigned long long messageSize,
                         const unsigned char *publicKey);
} // namespace

/// libsodium's crypto_sign_verify_detached, ready to use, or NULL.
static VerifyFn loadVerify() {
#if defined(__APPLE__)
  static const char *const names[] = {"libsodium.dylib", "libsodium.26.dylib",
                                      "libsodium.23.dylib"};
#else
  // The function's interface is the same in both.
  static const char *const names[] = {"libsodium.so.23", "libsodium.so.26"};
#endif
  for (const char *name : names) {
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
      continue;
    auto init = reinterpret_cast<InitFn>(dlsym(library, "sodium_init"));
    auto verify = reinterpret_cast<VerifyFn>(
        dlsym(library, "crypto_sign_verify_detached"));
    if (init && verify && init() >= 0)
      return verify;
  }
  return nullptr;
}

mv_status marver::checkSignature(const ModuleTables &tables,
                                 const uint8_t *publicKey, mv_error *error) {
  const mv_file_signature &signature = *tables.signature;
  if (signature.algorithm == MV_SIGNATURE_NONE)
    return fail(error, MV_SIGNATURE_INVALID, "the module is not signed");
  VerifyFn verify = loadVerify();
  if (!verify)
    return fail(error, MV_SIGNATURE_INVALID,
                "signatures cannot be checked without libsodium, which is not "
                "installed");
  if (memcmp(signature.public_key, publicKey, sizeof(signature.public_key)) !=
          0 ||
      verify(signature.signature, tables.header->root_hash, MV_HASH_SIZE,
             publicKey) != 0)
    return fail(error, MV_SIGNATURE_INVALID,
                "the module is not signed with the given key");
  return MV_OK;
}
