//===- Signature.h - Who made a module --------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_RUNTIME_SIGNATURE_H
#define MARVER_RUNTIME_SIGNATURE_H

#include "ModuleReader.h"

namespace marver {

/// Whether the module's root hash is signed with the secret key that belongs to
/// `publicKey` (Ed25519, 32 bytes).
mv_status checkSignature(const ModuleTables &tables, const uint8_t *publicKey,
                         mv_error *error);

} // namespace marver

#endif // MARVER_RUNTIME_SIGNATURE_H
