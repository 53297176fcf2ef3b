//===- MatmulTest.cpp - Products of two values ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Blocked.h"
#include "gtest/gtest.h"

namespace marver::testing {
namespace {

class Matmul : public ::testing::TestWithParam<unsigned> {};

TEST_P(Matmul, RandomSizes) {
  for (const std::string &cpu : runnableCpus()) {
    std::mt19937 random(GetParam());
    int64_t batch = pick(random, 1, 3);
    int64_t rows = pick(random, 0, 3) ? pick(random, 1, 150) : 1;
    int64_t depth =
        pick(random, 0, 3) ? pick(random, 1, 150) : pick(random, 513, 1100);
    int64_t columns = pick(random, 1, 150);
    bool transposed = pick(random, 0, 1), shared = pick(random, 0, 2) == 0;
    bool unknown = pick(random, 0, 1);
    Tensor lhs({batch, rows, depth});
    Shape rhsShape = transposed ? Shape{columns, depth} : Shape{depth, columns};
    if (!shared)
      rhsShape.insert(rhsShape.begin(), batch);
    Tensor rhs(rhsShape);
    lhs.fillRandom(random);
    rhs.fillRandom(random);
    KernelCase kernel;
    kernel.operands = {lhs.shape(), rhsShape};
    kernel.result = {batch, rows, columns};
    if (unknown) {
      for (int64_t operand = 0; operand < 3; ++operand)
        for (int64_t d = 0; d < (operand == 1 && shared ? 2 : 3); ++d)
          kernel.dynamic.push_back({operand, d});
    }
    kernel.body = "%result = mv.matmul %0, %1" +
                  std::string(transposed ? " {transpose_rhs}" : "") + " : (" +
                  kernel.type(0) + ", " + kernel.type(1) + ") -> " +
                  kernel.type(2);
    std::vector<double> expected;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t n = 0; n < columns; ++n) {
          const float *matrix = rhs.data() + (shared ? 0 : b * depth * columns);
          double sum = 0;
          for (int64_t k = 0; k < depth; ++k)
            sum += double(lhs[(b * rows + m) * depth + k]) *
                   matrix[transposed ? n * depth + k : k * columns + n];
          expected.push_back(sum);
        }
    expectResult(kernel, cpu, {&lhs, &rhs}, expected, 3e-6, random);
    if (HasFailure())
      return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Matmul, ::testing::Range(1u, 25u));

} // namespace
} // namespace marver::testing
