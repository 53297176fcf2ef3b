//===- KernelHarness.h - One kernel, from its text to its result *- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Schedules, emits, compiles, links and runs a single mv.kernel for a CPU of
// choice. Every tensor ends where an unreadable page begins, so that an access
// beyond its end is a fault and not luck.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_TESTS_UNIT_KERNELS_KERNELHARNESS_H
#define MARVER_TESTS_UNIT_KERNELS_KERNELHARNESS_H

#include "compiler/ir/Target.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace marver::testing {

/// A row-major f32 tensor in front of an unreadable page.
class Tensor {
public:
  Tensor() = default;
  explicit Tensor(std::vector<int64_t> shape);
  Tensor(Tensor &&other) noexcept { *this = std::move(other); }
  Tensor &operator=(Tensor &&other) noexcept;
  ~Tensor();

  const std::vector<int64_t> &shape() const { return sizes; }
  int64_t size() const { return elements; }
  float *data() const { return values; }
  float &operator[](int64_t i) const { return values[i]; }
  /// Element at an index.
  float &at(llvm::ArrayRef<int64_t> index) const;

  void fill(float value) const;
  void fillRandom(std::mt19937 &random) const;

private:
  std::vector<int64_t> sizes;
  int64_t elements = 0;
  float *values = nullptr;
  void *memory = nullptr;
  size_t bytes = 0;
};

/// One kernel of f32 tensors.
struct KernelCase {
  /// Operations of the region on the operands %0, %1, ...; they define %result.
  std::string body;
  std::vector<std::vector<int64_t>> operands; ///< shapes
  std::vector<int64_t> result;
  /// Dims that the kernel is not to know: (operand, dim); the result is the
  /// operand behind the last.
  std::vector<std::pair<int64_t, int64_t>> dynamic;
  /// The target's L2 cache, if not 0: what is large for it may be small then.
  int64_t l2Bytes = 0;

  /// Textual type of an operand (or the result), `?` where dynamic.
  std::string type(int64_t operand) const;
};

/// The CPUs that tests generate code for and that this machine can run.
std::vector<std::string> runnableCpus();

TargetInfo targetOf(llvm::StringRef cpu);

/// A compiled kernel.
class CompiledKernel {
public:
  /// Ends the test with a failure if anything goes wrong; then !*this.
  CompiledKernel(const KernelCase &kernel, llvm::StringRef cpu);
  ~CompiledKernel();
  CompiledKernel(const CompiledKernel &) = delete;

  explicit operator bool() const { return function != nullptr; }
  /// Runs parallel indices [0, extent) in the ranges that `cuts` makes.
  void run(llvm::ArrayRef<const Tensor *> operands, const Tensor &result,
           llvm::ArrayRef<int64_t> cuts = {}) const;
  int64_t extent() const { return count; }
  const std::string &assembly() const { return text; }
  const std::string &schedule() const { return scheduleText; }

private:
  void build(const KernelCase &kernel, llvm::StringRef cpu);

  void (*function)(const int64_t *, int64_t, int64_t, void *) = nullptr;
  void *memory = nullptr;
  size_t bytes = 0;
  int64_t count = 0;
  Tensor scratch;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> slotsOf;
  std::string text, scheduleText;
};

/// In a reference: the result may be anything here (lanes beyond the channels).
constexpr double kAny = 1e300;

/// Compiles and runs `kernel` on `operands`, once at once and once cut into
/// random ranges (same bytes expected), and compares with `reference` (of the
/// result's shape): |difference| <= tolerance * largest |reference|.
void expectResult(const KernelCase &kernel, llvm::StringRef cpu,
                  llvm::ArrayRef<const Tensor *> operands,
                  const std::vector<double> &reference, double tolerance,
                  std::mt19937 &random);

/// Vector registers that the innermost loops with FMAs store to or load from
/// the stack: spills.
std::vector<std::string> spillsInInnerLoops(llvm::StringRef assembly);

} // namespace marver::testing

#endif // MARVER_TESTS_UNIT_KERNELS_KERNELHARNESS_H
