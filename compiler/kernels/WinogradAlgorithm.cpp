//===- WinogradAlgorithm.cpp - Minimal convolution of one dim -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/WinogradAlgorithm.h"
#include <cassert>
#include <cmath>
#include <cstring>

namespace marver {

/// Finite points of interpolation; infinity is always one more. Exact in
/// binary, few, and for five of them +-3/4, +-3/2 instead of the usual +-1,
/// +-2: a third of the error at no cost.
static llvm::ArrayRef<double> pointsFor(int64_t count) {
  static const double few[] = {0, 1, -1};
  static const double five[] = {0, 0.75, -0.75, 1.5, -1.5};
  static const double four[] = {0, 1, -1, 0.5};
  static const double six[] = {0, 0.75, -0.75, 1.5, -1.5, 0.5};
  assert(count <= 6 && "no points are known for so many products");
  if (count <= 3)
    return llvm::ArrayRef(few).take_front(count);
  return count == 4   ? llvm::ArrayRef(four)
         : count == 5 ? llvm::ArrayRef(five)
                      : llvm::ArrayRef(six);
}

/// Coefficients of the product of (x - p) over `points` but number `without`.
static llvm::SmallVector<double> productOf(llvm::ArrayRef<double> points,
                                           int64_t without) {
  llvm::SmallVector<double> result = {1};
  for (int64_t i = 0; i < static_cast<int64_t>(points.size()); ++i) {
    if (i == without)
      continue;
    result.push_back(0);
    for (size_t k = result.size(); k-- > 0;)
      result[k] = (k ? result[k - 1] : 0) - points[i] * result[k];
  }
  return result;
}

/// `outputs` results of a window of `taps` at stride 1.
static WinogradAlgorithm toomCook(int64_t outputs, int64_t taps) {
  WinogradAlgorithm result;
  int64_t products = outputs + taps - 1, finite = products - 1;
  llvm::ArrayRef<double> points = pointsFor(finite);
  result.outputs = outputs;
  result.window = taps;
  result.inputs = products;
  result.input = Matrix(products, products);
  result.filter = Matrix(products, taps);
  result.output = Matrix(outputs, products);
  if (outputs == 1 || taps == 1) { // nothing to gain: the definition
    for (int64_t i = 0; i < products; ++i) {
      result.input.at(i, i) = 1;
      result.filter.at(i, taps == 1 ? 0 : i) = 1;
      result.output.at(outputs == 1 ? 0 : i, i) = 1;
    }
    return result;
  }
  for (int64_t j = 0; j < products; ++j) {
    bool isInfinity = j == finite;
    llvm::SmallVector<double> numerator =
        productOf(points, isInfinity ? -1 : j);
    for (size_t k = 0; k < numerator.size(); ++k)
      result.input.at(j, k) = numerator[k];
    double denominator = 1;
    for (int64_t l = 0; l < finite && !isInfinity; ++l)
      if (l != j)
        denominator *= points[j] - points[l];
    for (int64_t k = 0; k < taps; ++k)
      result.filter.at(j, k) =
          isInfinity ? (k == taps - 1) : std::pow(points[j], k) / denominator;
    for (int64_t i = 0; i < outputs; ++i)
      result.output.at(i, j) =
          isInfinity ? (i == outputs - 1) : std::pow(points[j], i);
  }
  return result;
}

WinogradAlgorithm getWinograd(int64_t outputs, int64_t window, int64_t stride) {
  if (stride == 1)
    return toomCook(outputs, window);
  assert(window >= stride && "a phase would have no taps");
  WinogradAlgorithm result;
  result.outputs = outputs;
  result.window = window;
  result.stride = stride;
  result.inputs = (outputs - 1) * stride + window;
  result.input = Matrix(result.inputs, result.inputs);
  result.filter = Matrix(result.inputs, window);
  result.output = Matrix(outputs, result.inputs);
  if (window % stride == 0)
    result.phases = stride;
  int64_t first = 0;
  for (int64_t phase = 0; phase < stride; ++phase) {
    int64_t taps = (window - phase + stride - 1) / stride;
    WinogradAlgorithm part = toomCook(outputs, taps);
    for (int64_t j = 0; j < part.inputs; ++j) {
      for (int64_t k = 0; k < part.inputs; ++k)
        result.input.at(first + j, phase + stride * k) = part.input.at(j, k);
      for (int64_t k = 0; k < taps; ++k)
        result.filter.at(first + j, phase + stride * k) = part.filter.at(j, k);
      for (int64_t i = 0; i < outputs; ++i)
        result.output.at(i, first + j) = part.output.at(i, j);
    }
    first += part.inputs;
  }
  return result;
}

Matrix WinogradAlgorithm::outputOfSums() const {
  Matrix result(outputs, positions());
  for (int64_t i = 0; i < outputs; ++i)
    for (int64_t j = 0; j < positions(); ++j)
      result.at(i, j) = output.at(i, j);
  return result;
}

Matrix WinogradAlgorithm::inputOfPhase() const {
  Matrix result(positions(), positions());
  for (int64_t j = 0; j < positions(); ++j)
    for (int64_t k = 0; k < positions(); ++k)
      result.at(j, k) = input.at(j, k * phases);
  return result;
}

Matrix WinogradAlgorithm::filterOfPhase() const {
  Matrix result(positions(), window / phases);
  for (int64_t j = 0; j < result.rows; ++j)
    for (int64_t k = 0; k < result.columns; ++k)
      result.at(j, k) = filter.at(j, k * phases);
  return result;
}

WinogradPlace placeOf(const WinogradAlgorithm &algorithm, int64_t row,
                      int64_t column) {
  int64_t positions = algorithm.positions();
  return {row % positions * positions + column % positions,
          row / positions * algorithm.phases + column / positions};
}

/// One row of the filter's matrix times a column of values, in the order in
/// which the emitted kernel does it.
static double dot(const Matrix &matrix, int64_t row, const double *values) {
  double sum = 0;
  bool isFirst = true;
  for (int64_t k = 0; k < matrix.columns; ++k) {
    double factor = matrix.at(row, k);
    if (factor == 0)
      continue;
    sum = isFirst ? factor * values[k] : std::fma(factor, values[k], sum);
    isFirst = false;
  }
  return sum;
}

void transformWinogradFilter(const WinogradAlgorithm &algorithm,
                             const WinogradFilterShape &shape, int64_t panel,
                             const char *source, float *result) {
  int64_t taps = algorithm.window, products = algorithm.inputs;
  int64_t rows = shape.spatialRank == 2 ? taps : 1;
  int64_t rowProducts = shape.spatialRank == 2 ? products : 1;
  int64_t sourcePlane = shape.channels * shape.sourceWidth;
  int64_t plane = shape.channels * shape.width;
  int64_t phases =
      rows == 1 ? algorithm.phases : algorithm.phases * algorithm.phases;
  result += panel * rowProducts * products * plane;
  for (int64_t c = 0; c < shape.channels; ++c)
    for (int64_t lane = 0; lane < shape.width; ++lane) {
      int64_t output = panel * shape.width + lane;
      int64_t from = output / shape.sourceWidth;
      double column[16], half[16][16];
      for (int64_t x = 0; x < taps; ++x) {
        for (int64_t y = 0; y < rows; ++y) {
          float value = 0;
          if (from < shape.sourcePanels)
            memcpy(&value,
                   source +
                       4 * ((from * rows * taps + y * taps + x) * sourcePlane +
                            c * shape.sourceWidth + output % shape.sourceWidth),
                   4);
          column[y] = value;
        }
        for (int64_t i = 0; i < rowProducts; ++i)
          half[i][x] = rows == 1 ? column[0] : dot(algorithm.filter, i, column);
      }
      for (int64_t i = 0; i < rowProducts; ++i)
        for (int64_t j = 0; j < products; ++j) {
          auto [position, phase] = placeOf(algorithm, i, j);
          result[((position * phases + phase) * shape.channels + c) *
                     shape.width +
                 lane] = static_cast<float>(dot(algorithm.filter, j, half[i]));
        }
    }
}

} // namespace marver
