//===- Ops.h - Builders of operators, shared by all importers ---*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What an operator of ONNX or PyTorch means in the IR of the import stage,
// written once. An importer maps names and attributes and calls these.
//
// Values are ranked tensors (a scalar is a tensor of rank 0). Dims are
// OpFoldResults: an attribute where known, an index value where not. The same
// dim expression is always the same value, so that dims compare by identity.
//
// Errors. What a user's model can get wrong (dims that do not broadcast, an
// axis out of range, a type that an operator does not take) is reported by
// `fail`: the builder returns a null value and keeps the first message.
// Builders given a null value return null. So an importer builds a whole node
// and looks at `takeError()` once. Misuse by an importer is an assertion.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_OPS_OPS_H
#define MARVER_COMPILER_OPS_OPS_H

#include "compiler/ir/MvDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/Twine.h"
#include <optional>
#include <string>

namespace marver {

using Dim = mlir::OpFoldResult;
using Dims = llvm::SmallVector<mlir::OpFoldResult>;

/// Elementwise operators of one tensor. f16 and bf16 are computed in f32.
enum class Unary {
  Abs,
  Neg,
  Sign,
  Reciprocal,
  Square,
  Sqrt,
  Rsqrt,
  Cbrt,
  Exp,
  Exp2,
  Expm1,
  Log,
  Log2,
  Log10,
  Log1p,
  Sin,
  Cos,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Tanh,
  Asinh,
  Acosh,
  Atanh,
  Erf,
  Erfc,
  Floor,
  Ceil,
  Trunc,
  Round /*half to even*/,
  Relu,
  Relu6,
  Sigmoid,
  LogSigmoid,
  Silu,
  Gelu /*erf*/,
  GeluTanh,
  HardSwish,
  HardSigmoid /*x / 6 + 1 / 2*/,
  Mish,
  Softsign,
  Selu,
  LogicalNot /*any type to i1*/,
  BitNot,
  IsNan,
  IsInf,
  IsFinite /*to i1*/,
};

/// Elementwise operators of two tensors of one element type, which broadcast.
enum class Binary {
  Add,
  Sub,
  Mul,
  Div,      ///< floats: quotient; integers: truncated towards zero
  DivFloor, ///< rounded down
  DivTrunc, ///< rounded towards zero, floats too
  Mod,      ///< sign of the divisor (Python)
  Fmod,     ///< sign of the dividend (C)
  Pow,
  Max,
  Min /*NaN propagates*/,
  Atan2,
  Hypot,
  CopySign,
  And,
  Or,
  Xor /*any type to i1*/,
  BitAnd,
  BitOr,
  BitXor,
  ShiftLeft,
  ShiftRight, ///< arithmetic for signed, logical for unsigned
};

enum class Compare { Eq, Ne, Lt, Le, Gt, Ge };

enum class Reduce {
  Sum,
  Mean,
  Max,
  Min,
  Prod,
  Any,
  All, ///< to i1
  SumSquare,
  L1,
  L2,
  LogSum,
  LogSumExp,
};

enum class ScatterKind { Replace, Add, Mul, Max, Min };

/// Windows of a convolution or a pool, one entry a spatial dim; `pads` has the
/// low side of every spatial dim, then the high side of every one. Empty lists
/// mean 1 (strides, dilations) and 0 (pads).
struct ConvOptions {
  llvm::SmallVector<int64_t> strides, dilations, pads;
  int64_t groups = 1;
};
struct PoolOptions {
  llvm::SmallVector<int64_t> window, strides, dilations, pads;
  bool ceilMode = false; ///< last window may start inside, PyTorch's rule
  bool countIncludePad = false;   ///< average only
  std::optional<int64_t> divisor; ///< average only: instead of the count
};

struct ResizeOptions {
  mv::ResizeMode mode = mv::ResizeMode::Nearest;
  /// How coordinate x of the result maps to the input, as ONNX names them.
  enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    HalfPixelSymmetric,
  } coordinates = HalfPixel;
  enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil
  } nearest = RoundPreferFloor;
  double cubicCoefficient = -0.75;
  /// Result size over input size where the model states it (a size that is only
  /// implied gives size / size); one an axis, or empty.
  llvm::SmallVector<double> scales;
};

enum class PadMode { Constant, Reflect, Edge, Wrap };

class OpsBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using Values = mlir::ArrayRef<mlir::Value>;
  using Type = mlir::Type;
  using ScalarBody = llvm::function_ref<mlir::Value(
      mlir::ImplicitLocOpBuilder &, mlir::ValueRange)>;

  explicit OpsBuilder(mlir::Location loc)
      : ImplicitLocOpBuilder(loc, loc.getContext()) {}
  ~OpsBuilder();

  //===--------------------------------------------------------------------===//
  // Errors
  //===--------------------------------------------------------------------===//

  /// Keeps the first message; returns null for the caller to return.
  Value fail(const llvm::Twine &message);
  bool failed() const { return !error.empty(); }
  /// The message ("" if none), and forgets it.
  std::string takeError() { return std::exchange(error, {}); }

  //===--------------------------------------------------------------------===//
  // Types and dims (Ops.cpp)
  //===--------------------------------------------------------------------===//

  static mlir::RankedTensorType typeOf(Value value) {
    return mlir::cast<mlir::RankedTensorType>(value.getType());
  }
  static Type elementOf(Value value) { return typeOf(value).getElementType(); }
  static int64_t rankOf(Value value) { return typeOf(value).getRank(); }
  static bool isFloat(Value value) {
    return mlir::isa<mlir::FloatType>(elementOf(value));
  }

  /// Dims of `value`, in terms of the function's arguments wherever possible.
  Dims dims(Value value);
  Dim dim(Value value, int64_t axis);
  /// States the dims of a value (arguments whose dims are symbols).
  void setDims(Value value, llvm::ArrayRef<Dim> dims);
  /// The same value, with its dims stated; for builders of an operation.
  Value withDims(Value value, llvm::ArrayRef<Dim> dims);
  /// States that an index value (a symbol) is in [low, high].
  void setRange(Value value, int64_t low, int64_t high);
  /// Static number, or nullopt.
  static std::optional<int64_t> known(Dim dim);
  static std::optional<llvm::SmallVector<int64_t>>
  known(llvm::ArrayRef<Dim> dims);
  Dim index(int64_t value) { return getIndexAttr(value); }
  llvm::SmallVector<Dim> indices(llvm::ArrayRef<int64_t> values);
  Value indexValue(Dim dim);
  mlir::RankedTensorType typeFor(llvm::ArrayRef<Dim> dims, Type element);

  /// Arithmetic on dims, folded and simplified.
  Dim add(Dim a, Dim b);
  Dim sub(Dim a, Dim b);
  Dim mul(Dim a, Dim b);
  Dim floorDiv(Dim a, Dim b); ///< by any non-zero b
  Dim ceilDiv(Dim a, Dim b);
  Dim mod(Dim a, Dim b); ///< sign of b
  /// `a`, not negative, times a positive factor in double, rounded down.
  Dim scale(Dim a, double factor);
  Dim max(Dim a, Dim b);
  Dim min(Dim a, Dim b);
  Dim product(llvm::ArrayRef<Dim> dims);
  /// Product of `dims` over that of `divisors` (not zero), rounded down; what
  /// is in both cancels out.
  Dim quotient(llvm::ArrayRef<Dim> dims, llvm::ArrayRef<Dim> divisors);
  Dim affine(mlir::AffineExpr expr,
             llvm::ArrayRef<Dim> operands); ///< symbols s0, s1, ...
  /// `condition ? a : b` and comparisons, on index scalars.
  Dim select(Value condition, Dim a, Dim b);
  Value compare(mlir::arith::CmpIPredicate predicate, Dim a, Dim b);
  bool isNonNegative(Dim dim) { return rangeOf(dim).first >= 0; }
  /// Are they surely equal? (Same value or same number.)
  static bool same(Dim a, Dim b) {
    return mlir::isEqualConstantIntOrValue(a, b);
  }
  /// Fails when surely unequal, adds a run-time check when it is not known.
  bool requireEqual(Dim a, Dim b, const llvm::Twine &what);
  /// A run-time check of `condition` (i1); code is MV_FAILURE_*.
  void check(Value condition, int code, const llvm::Twine &message);
  /// Adds run-time checks that dims are sizes: not negative. Every builder does
  /// this for its result, through `typeFor`.
  void requireSizes(llvm::ArrayRef<Dim> dims);

  /// Axis counted from the front; fails (nullopt) when out of range.
  std::optional<int64_t> axis(int64_t axis, int64_t rank);
  std::optional<llvm::SmallVector<int64_t>> axes(llvm::ArrayRef<int64_t> axes,
                                                 int64_t rank);

  /// A tensor from dims (rank 1, or rank 0 with `scalar`), and dims from an
  /// integer tensor of rank 0 or 1 and static length (constants fold).
  Value dimsToTensor(llvm::ArrayRef<Dim> dims, Type element,
                     bool scalar = false);
  std::optional<Dims> tensorToDims(Value tensor);

  //===--------------------------------------------------------------------===//
  // Constants and creation (Creation.cpp)
  //===--------------------------------------------------------------------===//

  Value constant(mlir::ElementsAttr attribute);
  Value constantInts(llvm::ArrayRef<int64_t> values, Type element); ///< rank 1
  Value scalar(double value, Type element);                         ///< rank 0
  Value scalar(int64_t value, Type element);
  Value scalar(int value, Type element) {
    return scalar(int64_t(value), element);
  }
  Value full(llvm::ArrayRef<Dim> dims, Value scalar);
  Value full(llvm::ArrayRef<Dim> dims, double value, Type element);
  Value empty(llvm::ArrayRef<Dim> dims, Type element);
  /// start + i * step for i < count (start and step of rank 0).
  Value arange(Value start, Value step, Dim count);
  Value arange(Dim start, Dim step, Dim count, Type element);
  Value eye(Dim rows, Dim columns, int64_t diagonal, Type element);
  Value tri(Value x, Dim diagonal, bool upper); ///< tril, triu: last two dims
  Value oneHot(Value indices, Dim depth, Value on, Value off, int64_t axis);
  /// f(indices) for every element; `body` gets one index value a dim.
  Value generate(llvm::ArrayRef<Dim> dims, Type element, ScalarBody body);

  //===--------------------------------------------------------------------===//
  // Elementwise (Elementwise.cpp)
  //===--------------------------------------------------------------------===//

  Value unary(Unary kind, Value x, bool isUnsigned = false);
  Value binary(Binary kind, Value a, Value b, bool isUnsigned = false);
  Value compare(Compare kind, Value a, Value b, bool isUnsigned = false);
  Value where(Value condition, Value a, Value b);
  Value add(Value a, Value b) { return binary(Binary::Add, a, b); }
  Value sub(Value a, Value b) { return binary(Binary::Sub, a, b); }
  Value mul(Value a, Value b) { return binary(Binary::Mul, a, b); }
  Value div(Value a, Value b) { return binary(Binary::Div, a, b); }
  /// Float to integer truncates and wraps to narrow types as PyTorch does on
  /// x86; anything to i1 is `!= 0`.
  Value cast(Value x, Type element, bool fromUnsigned = false,
             bool toUnsigned = false);
  /// Bounds of rank 0 (or broadcasting); either may be null. NaN propagates.
  Value clamp(Value x, Value low, Value high, bool isUnsigned = false);
  Value clamp(Value x, std::optional<double> low, std::optional<double> high);
  Value leakyRelu(Value x, double slope);
  Value prelu(Value x, Value slope); ///< slope broadcasts to x (numpy rules)
  Value elu(Value x, double alpha, double scale = 1, double inputScale = 1);
  Value celu(Value x, double alpha);
  Value hardSigmoid(Value x, double alpha, double beta);
  Value softplus(Value x, double beta = 1, double threshold = 20);
  Value hardShrink(Value x, double lambda, double bias = 0);
  Value softShrink(Value x, double lambda);
  Value threshold(Value x, double threshold, double value); ///< x > t ? x : v
  Value round(Value x, int64_t decimals);
  Value lerp(Value a, Value b, Value weight);

  /// Any elementwise operator: operands broadcast; `body` computes one element.
  /// With `widen`, f16 and bf16 operands reach it as f32 and its result is
  /// rounded to `element`.
  Value map(Values operands, Type element, ScalarBody body, bool widen = true);

  //===--------------------------------------------------------------------===//
  // Reductions (Reductions.cpp)
  //===--------------------------------------------------------------------===//

  /// Over `axes` (all when empty and `noneMeansAll`). Sums of f16 and bf16 are
  /// accumulated in f32. NaN propagates in Max and Min.
  Value reduce(Reduce kind, Value x, llvm::ArrayRef<int64_t> axes,
               bool keepDims, bool isUnsigned = false,
               bool noneMeansAll = true);
  /// Variance with `correction` subtracted from the count.
  Value variance(Value x, llvm::ArrayRef<int64_t> axes, double correction,
                 bool keepDims);
  Value argReduce(mv::ArgKind kind, Value x, int64_t axis, bool keepDims,
                  bool last, Type element);
  Value cumulativeSum(Value x, int64_t axis, bool exclusive, bool reverse);
  Value softmax(Value x, int64_t axis, bool log);
  Value vectorNorm(Value x, double order, llvm::ArrayRef<int64_t> axes,
                   bool keepDims);

  //===--------------------------------------------------------------------===//
  // Shapes (Shapes.cpp)
  //===--------------------------------------------------------------------===//

  /// To `target`; at most one entry may be -1 (the rest is inferred).
  Value reshape(Value x, llvm::ArrayRef<Dim> target);
  Value flatten(Value x, int64_t first, int64_t last); ///< merges [first, last]
  Value squeeze(Value x, llvm::ArrayRef<int64_t> axes); ///< each must be 1
  Value unsqueeze(Value x,
                  llvm::ArrayRef<int64_t> axes); ///< positions in the result
  Value expand(Value x, llvm::ArrayRef<Dim> target); ///< numpy broadcast_to
  Value transpose(Value x, llvm::ArrayRef<int64_t> permutation);
  Value moveAxis(Value x, int64_t from, int64_t to);
  /// Python slicing of one axis: any step but 0, negative positions from the
  /// end, clamped.
  Value slice(Value x, int64_t axis, Dim start, Dim end, Dim step);
  /// Elements [offset, offset + size) of an axis, already in range.
  Value narrow(Value x, int64_t axis, Dim offset, Dim size);
  Value select(Value x, int64_t axis, Dim position); ///< drops the axis
  Value concat(Values xs, int64_t axis);
  Value stack(Values xs, int64_t axis);
  llvm::SmallVector<Value> split(Value x, int64_t axis,
                                 llvm::ArrayRef<Dim> sizes);
  /// `low`, `high`: one entry a dim, negative ones crop.
  Value pad(Value x, llvm::ArrayRef<Dim> low, llvm::ArrayRef<Dim> high,
            PadMode mode, Value fill = nullptr);
  Value tile(Value x, llvm::ArrayRef<Dim> repeats); ///< numpy.tile
  Value repeatInterleave(Value x, int64_t axis, Dim count);
  Value flip(Value x, llvm::ArrayRef<int64_t> axes);
  Value roll(Value x, llvm::ArrayRef<int64_t> axes,
             llvm::ArrayRef<int64_t> shifts);
  /// Pixel shuffle: channels to blocks. `channelsFirst`: C is split C' x b x b
  /// (PyTorch, ONNX's CRD), else b x b x C' (ONNX's DCR).
  Value depthToSpace(Value x, int64_t block, bool channelsFirst);
  Value spaceToDepth(Value x, int64_t block, bool channelsFirst);
  Value diagonal(Value x, int64_t offset, int64_t axis1, int64_t axis2);
  Value unfold(Value x, int64_t axis, int64_t size,
               int64_t step); ///< Tensor.unfold

  //===--------------------------------------------------------------------===//
  // Contractions (Contractions.cpp)
  //===--------------------------------------------------------------------===//

  /// numpy.matmul: vectors, batch dims that broadcast.
  Value matmul(Value a, Value b);
  /// x weight^T + bias (weight: out x in).
  Value linear(Value x, Value weight, Value bias);
  /// alpha * op(a) op(b) + beta * c
  Value gemm(Value a, Value b, Value c, double alpha, double beta,
             bool transposeA, bool transposeB);
  Value einsum(llvm::StringRef equation, Values operands);
  Value conv(Value x, Value filter, Value bias, const ConvOptions &options);
  /// `filter` C x F/groups x K...; `outputPadding` extends the high side.
  Value convTranspose(Value x, Value filter, Value bias,
                      const ConvOptions &options,
                      llvm::ArrayRef<int64_t> outputPadding);
  /// Scale 1/sqrt(D) unless given; mask i1 or float or null; key and value
  /// heads are repeated for `groupedHeads` (query heads a multiple of theirs).
  Value attention(Value query, Value key, Value value, Value mask,
                  std::optional<double> scale, bool causal,
                  bool groupedHeads = false);

  //===--------------------------------------------------------------------===//
  // Normalization (Normalization.cpp)
  //===--------------------------------------------------------------------===//

  /// Over the last `count` dims; scale and bias may be null.
  Value layerNorm(Value x, Value scale, Value bias, int64_t count,
                  double epsilon);
  Value rmsNorm(Value x, Value scale, int64_t count, double epsilon);
  Value groupNorm(Value x, Value scale, Value bias, int64_t groups,
                  double epsilon);
  Value instanceNorm(Value x, Value scale, Value bias, double epsilon);
  /// Inference: (x - mean) * scale / sqrt(variance + epsilon) + bias over dim
  /// 1, as x * s + t with s and t made of the parameters alone (they fold).
  Value batchNorm(Value x, Value scale, Value bias, Value mean, Value variance,
                  double epsilon);
  Value lpNormalize(Value x, double order, int64_t axis, double epsilon);
  Value localResponseNorm(Value x, int64_t size, double alpha, double beta,
                          double bias);

  //===--------------------------------------------------------------------===//
  // Pooling and resizing (Pooling.cpp, Resize.cpp)
  //===--------------------------------------------------------------------===//

  Value maxPool(Value x, const PoolOptions &options);
  Value averagePool(Value x, const PoolOptions &options);
  Value lpPool(Value x, const PoolOptions &options, double order);
  Value globalPool(mv::PoolKind kind, Value x); ///< spatial dims become 1
  Value adaptivePool(mv::PoolKind kind, Value x, llvm::ArrayRef<int64_t> sizes);
  /// Spatial dims (or any dims, when `axes` says so) to `sizes`.
  Value resize(Value x, llvm::ArrayRef<int64_t> axes, llvm::ArrayRef<Dim> sizes,
               const ResizeOptions &options);

  //===--------------------------------------------------------------------===//
  // Indexing (Indexing.cpp)
  //===--------------------------------------------------------------------===//

  /// numpy.take, PyTorch's index_select and embedding.
  Value gather(Value x, Value indices, int64_t axis);
  Value gatherElements(Value x, Value indices, int64_t axis);
  Value gatherNd(Value x, Value indices, int64_t batchDims);
  /// PyTorch's x[indices...]: a null entry keeps its dim.
  Value indexTensors(Value x, Values indices);
  /// PyTorch's index_put (accumulate: ScatterKind::Add).
  Value indexPut(Value x, Values indices, Value values, ScatterKind kind);
  /// Slices at one-dim `indices` replaced (PyTorch's index_copy).
  Value indexCopy(Value x, Value indices, Value updates, int64_t axis);
  Value scatterElements(Value x, Value indices, Value updates, int64_t axis,
                        ScatterKind kind);
  Value scatterNd(Value x, Value indices, Value updates, ScatterKind kind);
  /// `updates` in place of x[.., start : start + n * step : step, ..].
  Value sliceScatter(Value x, Value updates, int64_t axis, Dim start, Dim step);

  //===--------------------------------------------------------------------===//
  // Selection (Selection.cpp): sizes that depend on the data
  //===--------------------------------------------------------------------===//

  /// Values and i64 positions of the k largest (smallest) along an axis, in
  /// order; of equal ones the earlier comes first. NaN is the largest.
  std::pair<Value, Value> topk(Value x, Dim k, int64_t axis, bool largest,
                               bool isUnsigned = false);
  /// i64 positions of the true elements of a tensor of i1, in the order of its
  /// elements.
  Value truePositions(Value mask);
  /// Indices of the elements that are not 0: one row an element of x's rank
  /// i64 each (PyTorch's nonzero).
  Value nonzero(Value x);
  /// x[indices...] as PyTorch has it, where entries may be masks of i1, each of
  /// which stands for as many dims as it has.
  Value indexMasks(Value x, Values indices);
  Value indexPutMasks(Value x, Values indices, Value values, ScatterKind kind);

  /// What `unique` makes; all positions are i64.
  struct UniqueResult {
    Value values;
    Value first;   ///< where each value stands first in x
    Value inverse; ///< for every element of x, which value it is
    Value counts;
  };
  /// Different elements of x of rank 1, or with `axis` its different slices:
  /// sorted, or in the order in which they come first; `consecutive` joins only
  /// neighbours, which stay in order. NaN equals itself with `equalNan`.
  struct UniqueOptions {
    std::optional<int64_t> axis;
    bool sorted = true, consecutive = false, equalNan = false;
    bool isUnsigned = false;
  };
  UniqueResult unique(Value x, const UniqueOptions &options);

  /// Greedy non-maximum suppression (mv.suppress): `boxes` B x N x 4 as two
  /// opposite corners y, x, y, x; `scores` B x C x N; limits of rank 0,
  /// `scoreLimit` may be null. Result M x 3 of i64: batch, class, box.
  Value nonMaxSuppression(Value boxes, Value scores, Value countLimit,
                          Value overlapLimit, Value scoreLimit);

  //===--------------------------------------------------------------------===//
  // Control flow (ControlFlow.cpp)
  //
  // Regions are filled by callbacks, which run with the insertion point inside
  // of them and may use every value from outside. What is made inside is
  // not to be used outside: an importer that remembers values by name forgets
  // those of a region when its callback ends. Values and types come out as few
  // and as static as they are in every iteration: a callback is called again
  // when its first results show that a dim of a carried tensor changes.
  //===--------------------------------------------------------------------===//

  /// From a region's arguments to what it gives; nullopt after a failure.
  using RegionBody =
      llvm::function_ref<std::optional<llvm::SmallVector<Value>>(Values)>;
  using Results = std::optional<llvm::SmallVector<Value>>;

  /// A tensor of one element (or an i1 already) as i1: is it not zero?
  Value truth(Value condition);

  /// condition ? then() : otherwise(). The results of both agree in number,
  /// element type and rank; dims that differ become dynamic. Of a condition
  /// that is constant only the branch taken is built.
  Results ifElse(Value condition, RegionBody then, RegionBody otherwise);

  /// while (condition(carried)) carried = body(carried). `condition` gives a
  /// truth value (see `truth`). The dims of what is carried may change.
  Results whileLoop(Values initial, llvm::function_ref<Value(Values)> condition,
                    RegionBody body);

  /// What one iteration of `loop` gives.
  struct Iteration {
    llvm::SmallVector<Value> carried; ///< to the next one, as many as came in
    llvm::SmallVector<Value> slices;  ///< one a scan output
    Value proceed; ///< whether the next one runs; null: it does
  };
  struct LoopResults {
    llvm::SmallVector<Value> carried;
    llvm::SmallVector<Value> scans; ///< slices stacked along a new dim 0
  };
  using LoopBody = llvm::function_ref<std::optional<Iteration>(Dim iteration,
                                                               Values carried)>;

  /// At most `count` iterations (no limit if nullopt), of which none runs if
  /// `proceed` is false (null: true): ONNX's Loop, and with a count alone
  /// PyTorch's scan and map. The dims of what is carried may change; those of a
  /// slice are known before the loop.
  std::optional<LoopResults> loop(std::optional<Dim> count, Value proceed,
                                  Values initial, LoopBody body);

  /// Broadcasts dims by numpy's rules; fails when they do not fit.
  std::optional<Dims> broadcastDims(llvm::ArrayRef<Dims> shapes);

private:
  unsigned serialOf(Value value);
  bool factorize(Dim dim, int64_t &constant, llvm::SmallVector<Value> &atoms);
  std::pair<int64_t, int64_t> rangeOf(Dim dim);
  Value remember(const void *key, mlir::ArrayRef<Value> operands,
                 llvm::function_ref<Value()> make, bool isSpeculatable = false);
  /// A loop under construction: what its body gives for the next iteration, and
  /// the dims of what it carries (null where they change).
  struct Settled {
    mlir::Operation *op = nullptr;
    mlir::Block *body = nullptr;
    llvm::SmallVector<Value> next;
    llvm::SmallVector<Dims> dims;
  };
  std::optional<Settled>
  settle(Values initial, unsigned first,
         llvm::function_ref<mlir::Operation *(Values)> make,
         llvm::function_ref<Results(mlir::Operation *, Values)> fill);
  llvm::SmallVector<Value> resultsOf(const Settled &loop, unsigned first);
  void abandon(mlir::Operation *op);
  bool isVisible(Value value);
  void hoist(Values operands);
  template <typename OpTy> Dim indexOp(Dim a, Dim b);
  Value product(Value a, Value b, bool transposeB);
  Value pool(mv::PoolKind kind, Value x, const PoolOptions &options);
  Value resizeAxis(Value x, int64_t axis, Dim size, std::optional<double> scale,
                   const ResizeOptions &options);
  Value linearPosition(llvm::ArrayRef<Value> components,
                       llvm::ArrayRef<Dim> sizes);
  llvm::SmallVector<Value> components(Value indices, int64_t count);
  Value scatterRows(Value x, Value positions, Value updates, int64_t axis,
                    ScatterKind kind);
  Value strided(Value x, int64_t axis, Dim offset, Dim size, Dim step);
  Value padByGather(Value x, llvm::ArrayRef<Dim> low, llvm::ArrayRef<Dim> high,
                    PadMode mode);

  std::string error;
  llvm::SmallVector<mlir::Operation *> abandoned;
  llvm::DenseMap<Value, Dims> knownDims;
  llvm::DenseMap<Value, std::pair<int64_t, int64_t>> knownRanges;
  /// Order of first use of the values that dims are made of.
  llvm::DenseMap<Value, unsigned> serials;
  /// Index values by what they compute (an affine map's or an attribute's
  /// identity) and their operands.
  llvm::DenseMap<
      const void *,
      llvm::SmallVector<std::pair<llvm::SmallVector<Value>, Value>, 1>>
      dimCache;
};

} // namespace marver

#endif // MARVER_COMPILER_OPS_OPS_H
