//===- KernelEmitter.h - What every kernel family emits with ----*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel family turns an mv.kernel (a region on tensors whose operands and
// results are known as strided buffers) into one function
//
//   func.func @k(%slots: !llvm.ptr, %begin: i64, %end: i64, %scratch:
//   !llvm.ptr)
//
// of scf (loops on i64), arith, math, vector and llvm (pointers, loads, stores)
// operations. KernelEmitter gives it the buffers, loops and memory accesses.
// All index arithmetic is on i64; OpFoldResults hold an index attribute when
// static and an i64 value otherwise.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_KERNELS_EMIT_KERNELEMITTER_H
#define MARVER_COMPILER_KERNELS_EMIT_KERNELEMITTER_H

#include "compiler/ir/MvDialect.h"
#include "compiler/ir/Target.h"
#include "compiler/kernels/emit/SlotLayout.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"
#include <map>
#include <optional>
#include <tuple>

namespace marver {

/// Memory of one tensor operand or result of a kernel.
struct Buffer {
  mlir::Value pointer; ///< !llvm.ptr to element (0, ..., 0)
  mlir::Type elementType;
  llvm::SmallVector<mlir::OpFoldResult> sizes;
  llvm::SmallVector<mlir::OpFoldResult> strides; ///< in elements
};

class KernelEmitter {
public:
  using Value = mlir::Value;

  /// Starts the function of `kernel` in `module` and unpacks the slots: for
  /// each tensor operand, then each result, its address, dynamic sizes and
  /// dynamic strides; scalars by value (slot 0 is the mv_call).
  KernelEmitter(mv::KernelOp kernel, mlir::ModuleOp module,
                const TargetInfo &target);

  mlir::ImplicitLocOpBuilder &builder() { return b; }
  const TargetInfo &target() const { return targetInfo; }
  mv::KernelOp kernel() { return kernelOp; }

  Value begin() const { return beginIndex; }
  Value end() const { return endIndex; }
  Value scratch() const { return scratchPointer; }
  Value call() const { return callPointer; }

  /// Buffer of a tensor operand (a block argument of the kernel).
  const Buffer &input(Value blockArgument) const;
  /// i64 value of an index scalar operand.
  Value scalar(Value blockArgument) const;
  /// Buffer of result `number`.
  const Buffer &output(unsigned number) const;

  // i64 arithmetic, folded when the operands are constants; an equal operation
  // that is visible from the insertion point is used again, so equal
  // expressions are equal values.
  Value constant(int64_t value);
  std::optional<int64_t> constantValue(Value value) const;
  Value materialize(mlir::OpFoldResult value);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value floorDiv(Value a, Value b); ///< operands not negative
  Value rem(Value a, Value b);      ///< operands not negative
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value add(Value a, int64_t c);
  Value mul(Value a, int64_t c);

  /// for (i = lower; i < upper; i += step) body(i)
  void loop(Value lower, Value upper, int64_t step,
            llvm::function_ref<void(Value)> body);
  /// The same with a step known only at run time.
  void loop(Value lower, Value upper, Value step,
            llvm::function_ref<void(Value)> body);
  /// The same with loop-carried values; returns their last state.
  llvm::SmallVector<Value>
  loop(Value lower, Value upper, int64_t step, mlir::ValueRange inits,
       llvm::function_ref<llvm::SmallVector<Value>(Value, mlir::ValueRange)>
           body);
  /// if (condition) then()
  void ifThen(Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise = nullptr);

  /// condition ? then() : otherwise(), only the taken side is executed.
  Value ifThenElse(Value condition, mlir::Type type,
                   llvm::function_ref<Value()> then,
                   llvm::function_ref<Value()> otherwise);

  /// Splits a linear parallel index into coordinates of `sizes`, last fastest.
  llvm::SmallVector<Value>
  delinearize(Value index, llvm::ArrayRef<mlir::OpFoldResult> sizes);

  /// Element offset of `index` in `buffer`.
  Value offset(const Buffer &buffer, llvm::ArrayRef<Value> index);
  /// pointer + offset elements of `type`.
  Value address(Value pointer, mlir::Type type, Value offset);
  /// Address of an element of `buffer`.
  Value address(const Buffer &buffer, llvm::ArrayRef<Value> index);

  /// Memory accesses at element alignment. `lanes` 0 loads a scalar. i1
  /// elements are bytes in memory and i1 values in registers.
  Value load(Value pointer, mlir::Type elementType, int64_t lanes);
  void store(Value value, Value pointer, mlir::Type elementType);
  /// A vector of weights (isWeightType), widened to f32.
  Value loadWeights(Value pointer, mlir::Type elementType, int64_t lanes);
  /// Only the first `count` (i64, 0..lanes) lanes; the others load as zero.
  Value loadPartial(Value pointer, mlir::Type elementType, int64_t lanes,
                    Value count);
  void storePartial(Value value, Value pointer, mlir::Type elementType,
                    Value count);
  /// Lanes where `mask` (vector of i1) is set; the others load as zero.
  Value loadMasked(Value pointer, mlir::Type elementType, Value mask);
  void storeMasked(Value value, Value pointer, mlir::Type elementType,
                   Value mask);
  /// Lane i from pointer + offsets[i]; `mask` may be null. Lanes that are not
  /// set load as zero.
  Value gather(Value pointer, mlir::Type elementType, Value offsets,
               Value mask);
  void scatter(Value value, Value pointer, mlir::Type elementType,
               Value offsets, Value mask);
  /// vector<lanes x i1>: the first `count` lanes.
  Value laneMask(Value count, int64_t lanes);
  /// vector<lanes x i64>: 0, 1, 2, ...
  Value laneNumbers(int64_t lanes);
  void prefetch(Value pointer, bool write = false, int locality = 3);

  Value splat(Value scalar, int64_t lanes);
  /// A vector that is in a register from here on: code generation neither moves
  /// its computation to an earlier place nor repeats it.
  Value pinned(Value vector);
  Value zero(mlir::Type elementType, int64_t lanes);
  Value fma(Value a, Value b, Value c);
  /// Transposes a square of vectors: lane i of vector j becomes lane j of
  /// vector i.
  void transpose(llvm::SmallVectorImpl<Value> &rows);

  /// Records a failure (MV_FAILURE_*) of `op` in the call's status word; the
  /// first one wins.
  void reportFailure(int code, mlir::Operation *op);
  /// The same if `condition` (i1, or any lane of a vector of i1) holds.
  void reportFailureIf(Value condition, int code, mlir::Operation *op);
  /// Whether any lane of a vector of i1 is set.
  Value anyLane(Value mask);

  /// Whether `value` may be used at the insertion point.
  bool isVisible(Value value);

  /// Ends the function (func.return).
  mlir::func::FuncOp finish();

private:
  Buffer unpackSlots(const SlotLayout::Operand &operand, Value slots);
  Value loadSlot(Value slots, int64_t number, mlir::Type type);
  /// The cached result of `opcode` on the operands, or what `make` makes.
  Value cached(unsigned opcode, Value a, Value c,
               llvm::function_ref<Value()> make);

  mlir::ImplicitLocOpBuilder b;
  const TargetInfo &targetInfo;
  mv::KernelOp kernelOp;
  mlir::func::FuncOp function;
  Value beginIndex, endIndex, scratchPointer, callPointer;
  llvm::DenseMap<Value, Buffer> inputBuffers;
  llvm::DenseMap<Value, Value> scalars;
  llvm::SmallVector<Buffer> outputBuffers;
  std::map<int64_t, Value> constants;
  llvm::DenseMap<std::tuple<unsigned, Value, Value>, Value> arithmetic;
};

/// A kernel family: how its kernels split and how they are emitted. One file
/// each; the table of all of them is in Families.cpp.
struct KernelFamily {
  llvm::StringRef name;
  /// Host side: the number of parallel indices, from the launch's buffers.
  mlir::OpFoldResult (*extent)(mlir::OpBuilder &builder, mlir::Location loc,
                               mv::KernelOp kernel, mlir::ValueRange inputs,
                               mlir::ValueRange outs, const TargetInfo &target);
  /// Scratch bytes that a thread needs.
  int64_t (*scratchBytes)(mv::KernelOp kernel, const TargetInfo &target);
  /// Writes the body between the emitter's start and its finish.
  llvm::LogicalResult (*emit)(KernelEmitter &emitter);
};

/// The family of that name, or null.
const KernelFamily *findKernelFamily(llvm::StringRef name);

} // namespace marver

#endif // MARVER_COMPILER_KERNELS_EMIT_KERNELEMITTER_H
