//===- Coordinates.h - Where a tensor is evaluated --------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A point is an index into a tensor for one element, or for `lanes` elements at
// once. How a coordinate moves from lane to lane is kept apart from its base,
// so that a contiguous run of elements stays recognizable through slices,
// blocks, transposes and reshapes.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_COORDINATES_H
#define MARVER_COMPILER_KERNELS_EMIT_COORDINATES_H

#include "compiler/kernels/emit/KernelEmitter.h"

namespace marver {

/// `element`, or a vector of so many lanes of it (0: no vector).
inline mlir::Type withLanes(mlir::Type element, int64_t lanes) {
  return lanes ? mlir::Type(mlir::VectorType::get(lanes, element)) : element;
}

/// base + offset + stride * lane, or anything (`lanes`).
struct Coordinate {
  mlir::Value base; ///< i64, null for 0
  int64_t offset = 0;
  int64_t stride = 0;
  mlir::Value lanes; ///< vector of i64, one a lane; the others are then unused
  int64_t multiple = 0; ///< `base` is a multiple of it (0 with a null base)

  Coordinate() = default;
  Coordinate(int64_t offset) : offset(offset) {}
  Coordinate(mlir::Value base, int64_t multiple = 1, int64_t stride = 0)
      : base(base), stride(stride), multiple(base ? multiple : 0) {}

  bool isUniform() const { return !lanes && stride == 0; }
  bool isConstant() const { return !lanes && stride == 0 && !base; }
  bool operator==(const Coordinate &other) const {
    return base == other.base && offset == other.offset &&
           stride == other.stride && lanes == other.lanes;
  }
};

using Coordinates = llvm::SmallVector<Coordinate, 6>;

struct Point {
  Coordinates at;
  int64_t lanes = 0; ///< 0: one element
  /// Lanes that exist (vector of i1), null for all. At least one is set.
  mlir::Value mask;

  Point() = default;
  Point(llvm::ArrayRef<Coordinate> at, int64_t lanes = 0,
        mlir::Value mask = nullptr)
      : at(at), lanes(lanes), mask(mask) {}

  bool isUniform() const {
    return llvm::all_of(at, [](const Coordinate &c) { return c.isUniform(); });
  }
  /// The same lanes at other coordinates.
  Point with(llvm::ArrayRef<Coordinate> coordinates) const {
    return Point(coordinates, lanes, mask);
  }
};

/// Arithmetic on coordinates of `lanes` lanes.
class CoordinateMath {
public:
  using Value = mlir::Value;
  CoordinateMath(KernelEmitter &emitter, int64_t lanes)
      : e(emitter), lanes(lanes) {}

  /// A coordinate for an i64 value, constants as offsets.
  Coordinate of(Value value) const;
  Coordinate of(mlir::OpFoldResult value) const;

  Coordinate add(const Coordinate &a, const Coordinate &b) const;
  Coordinate sub(const Coordinate &a, const Coordinate &b) const;
  Coordinate mul(const Coordinate &a, const Coordinate &b) const;
  /// Quotient and remainder by a positive uniform divisor.
  Coordinate floorDiv(const Coordinate &a, const Coordinate &divisor) const;
  Coordinate rem(const Coordinate &a, const Coordinate &divisor) const;

  /// The i64 value of a uniform coordinate; of lane 0 otherwise.
  Value scalar(const Coordinate &c) const;
  /// vector<lanes x i64>.
  Value vector(const Coordinate &c) const;
  /// scalar or vector, as c is.
  Value value(const Coordinate &c) const;
  /// What value() made, as a coordinate.
  Coordinate fromValue(Value value) const;

  /// c < bound (i1 or vector of i1); null if it is known to hold.
  Value lessThan(const Coordinate &c, Value bound) const;
  /// c >= 0; null if it is known to hold.
  Value notNegative(const Coordinate &c) const;

  /// Position of `at` in a row-major box of `sizes`.
  Coordinate linearize(llvm::ArrayRef<Coordinate> at,
                       llvm::ArrayRef<Value> sizes) const;
  Coordinates delinearize(const Coordinate &linear,
                          llvm::ArrayRef<Value> sizes) const;
  /// Value of an affine expression of the dims `at`.
  Coordinate apply(mlir::AffineExpr expr, llvm::ArrayRef<Coordinate> at) const;

private:
  KernelEmitter &e;
  int64_t lanes;
};

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_COORDINATES_H
