//===- Evaluator.h - The value of a tensor at an index ----------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel's region says what its results are; nothing in it is stored but the
// results. The evaluator computes any tensor of the region at a point, from the
// kernel's operands, by following the definitions:
//
//   %1 = linalg.generic {transpose} ins(%arg0)      evaluate(%2, [i, j]) is
//   %2 = linalg.generic {addf} ins(%1, %arg1)   ->  load arg0[j, i] + load
//   arg1[i, j]
//
// An anchor (a convolution, say) whose values a family has in registers is
// given with `define`; what follows it is then computed from these.
//
// Values are one element or a vector of `lanes`; f16 and bf16 are kept as such
// between operations and computed in f32. Whatever does not depend on a loop is
// placed before it, reductions over a row included.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_EVALUATOR_H
#define MARVER_COMPILER_KERNELS_EMIT_EVALUATOR_H

#include "compiler/kernels/emit/Coordinates.h"
#include "llvm/ADT/DenseSet.h"
#include <functional>
#include <map>
#include <vector>

namespace marver {

class Evaluator {
public:
  using Value = mlir::Value;
  using Callback = std::function<Value(const Point &)>;

  /// To be made right after the emitter: sizes and scalars of the region are
  /// computed at the start of the function.
  explicit Evaluator(KernelEmitter &emitter);

  /// The value of `tensor` at `point`: of its element type, or a vector of it.
  Value evaluate(Value tensor, const Point &point);

  /// From now on `tensor` is what `callback` says. What depends on it is
  /// neither shared with earlier evaluations nor moved out of loops.
  void define(Value tensor, Callback callback);

  /// i64 value of a dim of a tensor of the region.
  Value dim(Value tensor, int64_t d);
  llvm::SmallVector<Value> dims(Value tensor);
  /// i64 value of an index (or integer) scalar of the region.
  Value scalar(Value value);
  Value scalar(mlir::OpFoldResult value);

  /// Memory that holds `tensor` as a strided view, if there is one: an operand,
  /// or a slice, cast or regular reshape of one.
  std::optional<Buffer> buffer(Value tensor);

  /// False after an operation that cannot be evaluated (an error was printed).
  bool succeeded() const { return !hasFailed; }
  llvm::LogicalResult result() const { return llvm::failure(hasFailed); }

  KernelEmitter &emitter() { return e; }

private:
  friend class BodyEmitter;
  mlir::ImplicitLocOpBuilder &builder() { return e.builder(); }

  void prepareScalars();
  void prepareDims(mlir::Operation *op);
  Value fail(mlir::Operation *op, mlir::Type elementType, const Point &point,
             const llvm::Twine &reason);

  Value compute(Value tensor, const Point &point);
  Value constantElement(mlir::arith::ConstantOp op, const Point &point);
  Value splatOf(mlir::Attribute element, mlir::Type type, int64_t lanes);

  // Structured operations.
  Value generic(mlir::linalg::LinalgOp op, unsigned result, const Point &point);
  Value pack(mlir::linalg::PackOp op, const Point &point);
  Value unpack(mlir::linalg::UnPackOp op, const Point &point);

  // Tensor operations.
  Value extractSlice(mlir::tensor::ExtractSliceOp op, const Point &point);
  Value insertSlice(mlir::tensor::InsertSliceOp op, const Point &point);
  Value pad(mlir::tensor::PadOp op, const Point &point);
  Value concat(mlir::tensor::ConcatOp op, const Point &point);
  Value expandShape(mlir::tensor::ExpandShapeOp op, const Point &point);
  Value collapseShape(mlir::tensor::CollapseShapeOp op, const Point &point);
  Value reshape(mlir::tensor::ReshapeOp op, const Point &point);

  // mv operations.
  Value gather(mv::GatherOp op, const Point &point);
  Value gatherElements(mv::GatherElementsOp op, const Point &point);
  Value conv(mv::ConvOp op, const Point &point);
  Value matmul(mv::MatmulOp op, const Point &point);
  Value pool(mv::PoolOp op, const Point &point);
  Value resize(mv::ResizeOp op, const Point &point);
  Value softmax(mv::SoftmaxOp op, const Point &point);
  Value layerNorm(mv::LayerNormOp op, const Point &point);
  Value attention(mv::AttentionOp op, const Point &point);
  Value argReduce(mv::ArgReduceOp op, const Point &point);

public:
  // Pieces that the files of the evaluator share.

  /// inside() where all of `source` lies in the box of `sizes` (its point has
  /// the mask narrowed), outside() elsewhere. `mayBeBelow` and `mayBeAbove` say
  /// which bounds of each dim need a test; `tests` must hold as well.
  Value select(const Point &point, llvm::ArrayRef<Coordinate> source,
               llvm::ArrayRef<Value> sizes, llvm::ArrayRef<bool> mayBeBelow,
               llvm::ArrayRef<bool> mayBeAbove, mlir::Type elementType,
               llvm::function_ref<Value(const Point &)> inside,
               llvm::function_ref<Value(const Point &)> outside,
               llvm::ArrayRef<Value> tests = {});

  /// The element (or elements) of memory at `point`.
  Value load(const Buffer &buffer, const Point &point);
  /// What a scatter of `kind` makes of an element and its update.
  Value combineScatter(mv::ScatterKind kind, Value before, Value update);

  /// The elements of an integer tensor as a coordinate.
  Coordinate coordinateFrom(Value tensor, const Point &point);
  /// `index` made valid for a dim of `size`: counted from the end if negative,
  /// out of range reported (unless `unchecked`) and replaced by 0.
  Coordinate checkedIndex(const Coordinate &index, Value size,
                          const Point &point, bool unchecked,
                          mlir::Operation *op);

  /// What `make` makes for `point`, once for all that asks for it with the same
  /// `what`, before the loops that `point` does not depend on.
  llvm::SmallVector<Value, 2>
  shared(const void *what, const Point &point,
         llvm::function_ref<llvm::SmallVector<Value, 2>()> make);

  /// How a reduction accumulates.
  struct Reduction {
    /// One accumulator per value; of the point's lanes.
    llvm::SmallVector<Value> inits;
    /// The neutral elements (scalars), if the reduction may run over vectors of
    /// its own dims; empty otherwise.
    llvm::SmallVector<Value> neutral;
    /// New accumulators from old ones at an index of the reduced dims; `mask`
    /// is null or tells the lanes that exist, when lanes run along a reduced
    /// dim.
    std::function<llvm::SmallVector<Value>(llvm::ArrayRef<Coordinate> at,
                                           int64_t lanes, Value mask,
                                           mlir::ValueRange accumulators)>
        step;
    /// Joins two sets of accumulators (needed with `neutral`).
    std::function<llvm::SmallVector<Value>(mlir::ValueRange, mlir::ValueRange)>
        join;
  };
  /// Runs a reduction over a box. `vectorDim` is the dim to run vectors along,
  /// or -1; only for points of one element.
  llvm::SmallVector<Value> reduce(llvm::ArrayRef<Value> sizes,
                                  const Reduction &reduction, int64_t lanes,
                                  int64_t vectorDim);

  /// Computes f16 and bf16 values in f32.
  Value widen(Value value);
  Value narrow(Value value, mlir::Type elementType);
  /// A float or integer constant of `type` (a scalar or vector type).
  Value number(double value, mlir::Type type);
  Value negativeInfinity(mlir::Type type);
  Value laneSelect(Value condition, Value yes, Value no);
  /// accumulator + x * y, in the accumulator's type.
  Value multiplyAdd(Value x, Value y, Value accumulator);

private:
  KernelEmitter &e;
  llvm::DenseMap<Value, llvm::SmallVector<Value>> tensorDims;
  llvm::DenseMap<Value, Value> scalars;
  llvm::DenseMap<Value, Callback> defined;
  llvm::DenseSet<Value> variable; ///< tensors that depend on a defined one
  llvm::DenseMap<Value, std::optional<Buffer>> buffers;
  /// Start of the function's body, where sizes are computed.
  mlir::Operation *prologueEnd = nullptr;
  std::map<std::vector<const void *>, llvm::SmallVector<Value, 2>> memo;
  bool hasFailed = false;
};

/// The type in which sums of `type` are kept.
inline mlir::Type sumType(mlir::Type type) {
  if (type.isF16() || type.isBF16())
    return mlir::Float32Type::get(type.getContext());
  return type;
}

/// Whether dims [first, last] of `tensor` may be given as one linear coordinate
/// in the last of them whose size is not 1, with 0 for the others: everything
/// it is computed from holds them row-major. Needs only the kernel's types.
bool isFlattenable(mv::KernelOp kernel, mlir::Value tensor, int64_t first,
                   int64_t last);

/// The last dim of [first, last] whose size is not statically 1 (or `last`).
int64_t lastNonUnitDim(mlir::RankedTensorType type, int64_t first,
                       int64_t last);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_EVALUATOR_H
