//===- Families.cpp - The kernel families ---------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"

using namespace marver;

const KernelFamily *marver::findKernelFamily(llvm::StringRef name) {
  static const KernelFamily *const families[] = {
      &pointwiseFamily,      &reduceFamily,        &rowFamily,
      &attentionFamily,      &cumulativeSumFamily, &scatterFamily,
      &contractionFamily,    &depthwiseFamily,     &matmulFamily,
      &poolFamily,           &winogradFamily,      &convDepthwiseFamily,
      &winogradFilterFamily, &selectionFamily};
  for (const KernelFamily *family : families)
    if (family->name == name)
      return family;
  return nullptr;
}
