//===- HostBuilder.h - Loads and stores of host functions -------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_NATIVE_HOSTBUILDER_H
#define MARVER_COMPILER_NATIVE_HOSTBUILDER_H

#include "marver/abi.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <cstddef>

namespace marver {

/// Builder of loads and stores on the structures of abi.h.
class HostBuilder : public mlir::ImplicitLocOpBuilder {
public:
  HostBuilder(mlir::Location loc, mlir::OpBuilder::InsertPoint point)
      : mlir::ImplicitLocOpBuilder(loc, loc.getContext()) {
    restoreInsertionPoint(point);
    pointerType = mlir::LLVM::LLVMPointerType::get(getContext());
  }

  mlir::Value constant(int64_t value) {
    return mlir::arith::ConstantOp::create(*this, getI64IntegerAttr(value));
  }
  mlir::Value toI64(mlir::Value index) {
    return mlir::arith::IndexCastOp::create(*this, getI64Type(), index);
  }
  mlir::Value toIndex(mlir::Value value) {
    return mlir::arith::IndexCastOp::create(*this, getIndexType(), value);
  }
  mlir::Value atByte(mlir::Value pointer, mlir::Value bytes) {
    return mlir::LLVM::GEPOp::create(*this, pointerType, getI8Type(), pointer,
                                     bytes);
  }
  mlir::Value atByte(mlir::Value pointer, size_t bytes) {
    if (bytes == 0)
      return pointer;
    return mlir::LLVM::GEPOp::create(
        *this, pointerType, getI8Type(), pointer,
        llvm::ArrayRef<mlir::LLVM::GEPArg>{int32_t(bytes)});
  }
  /// Address of element `index` of an array of 8-byte values.
  mlir::Value atIndex(mlir::Value pointer, int64_t index) {
    return atByte(pointer, static_cast<size_t>(index) * 8);
  }
  mlir::Value load(mlir::Type type, mlir::Value address) {
    return mlir::LLVM::LoadOp::create(*this, type, address);
  }
  void store(mlir::Value value, mlir::Value address) {
    mlir::LLVM::StoreOp::create(*this, value, address);
  }
  mlir::Value loadPointer(mlir::Value address) {
    return load(pointerType, address);
  }
  mlir::Value loadI64(mlir::Value address) {
    return load(getI64Type(), address);
  }

  /// `call->status`. Another thread may cancel the call at any time: a load
  /// that stays where it is.
  mlir::Value loadStatus(mlir::Value call) {
    return mlir::LLVM::LoadOp::create(
        *this, getI64Type(), atByte(call, offsetof(mv_call, status)),
        /*alignment=*/8, /*isVolatile=*/false, /*isNonTemporal=*/false,
        /*isInvariant=*/false, /*isInvariantGroup=*/false,
        mlir::LLVM::AtomicOrdering::monotonic);
  }

  mlir::LLVM::LLVMPointerType pointerType;
};

} // namespace marver

#endif // MARVER_COMPILER_NATIVE_HOSTBUILDER_H
