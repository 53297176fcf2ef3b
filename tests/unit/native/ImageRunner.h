//===- ImageRunner.h - Textual kernels, mapped and callable -----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_NATIVE_IMAGERUNNER_H
#define MARVER_TESTS_UNIT_NATIVE_IMAGERUNNER_H

#include "compiler/native/Linker.h"
#include "marver/abi.h"
#include <string>
#include <utility>

namespace marver::testing {

/// An image in executable memory, or the error that there is none.
struct MappedImage {
  NativeImage image;
  std::string error;
  void *memory = nullptr;

  MappedImage() = default;
  MappedImage(MappedImage &&other) noexcept
      : image(std::move(other.image)), error(std::move(other.error)),
        memory(std::exchange(other.memory, nullptr)) {}
  ~MappedImage();

  explicit operator bool() const { return memory != nullptr; }

  template <typename Function> Function *function(llvm::StringRef name) const {
    auto found = image.symbols.find(name);
    return found == image.symbols.end()
               ? nullptr
               : reinterpret_cast<Function *>(static_cast<char *>(memory) +
                                              found->second);
  }
  mv_kernel_fn kernel(llvm::StringRef name) const {
    return function<void(const int64_t *, int64_t, int64_t, void *)>(name);
  }
};

/// Compiles each text as a module called kernel<N> for this machine's CPU,
/// links them and maps the image.
MappedImage buildImage(llvm::ArrayRef<std::string> texts);

/// Maps an image that is linked already.
MappedImage mapImage(NativeImage image);

/// Options for this machine's CPU.
CodegenOptions hostOptions();

} // namespace marver::testing

#endif // MARVER_TESTS_UNIT_NATIVE_IMAGERUNNER_H
