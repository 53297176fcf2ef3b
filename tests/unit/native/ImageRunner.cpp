//===- ImageRunner.cpp - Textual kernels, mapped and callable -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImageRunner.h"

#include "compiler/native/Target.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Parser/Parser.h"
#include <cstring>
#include <sys/mman.h>

using namespace mlir;

namespace marver::testing {

MappedImage::~MappedImage() {
  if (memory)
    munmap(memory, image.bytes.size());
}

CodegenOptions hostOptions() {
  std::string error;
  CodegenOptions options;
  if (auto target = selectTarget("host", error))
    options.target = *target;
  return options;
}

MappedImage mapImage(NativeImage image) {
  MappedImage mapped;
  size_t size = image.bytes.size();
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    mapped.error = "mmap failed";
    return mapped;
  }
  std::memcpy(memory, image.bytes.data(), size);
  mprotect(memory, size, PROT_READ | PROT_EXEC);
  mapped.memory = memory;
  mapped.image = std::move(image);
  return mapped;
}

MappedImage buildImage(llvm::ArrayRef<std::string> texts) {
  MappedImage failed;
  DialectRegistry registry;
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect,
                  func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                  scf::SCFDialect, vector::VectorDialect>();
  registerCodegenDialects(registry);
  MLIRContext context(registry);
  CodegenOptions options = hostOptions();
  LoweringPool pool(&context);
  SmallVector<NativeObject> objects;
  for (auto [number, text] : llvm::enumerate(texts)) {
    auto module = parseSourceString<ModuleOp>(text, &context);
    if (!module) {
      failed.error = "the text does not parse";
      return failed;
    }
    auto object = compileToObject(
        *module, ("kernel" + llvm::Twine(number)).str(), options, pool);
    if (llvm::failed(object)) {
      failed.error = "the kernel does not compile";
      return failed;
    }
    objects.push_back(std::move(*object));
  }
  auto image = linkImage(objects, options);
  if (!image) {
    failed.error = toString(image.takeError());
    return failed;
  }
  return mapImage(std::move(*image));
}

} // namespace marver::testing
