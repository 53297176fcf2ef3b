//===- DotProduct.cpp - Products of groups of narrow elements -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/DotProduct.h"
#include "compiler/ir/Constants.h"
#include "marver/abi.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace marver {
namespace {

Value intrinsic(KernelEmitter &e, StringRef name, Type type,
                ValueRange operands) {
  OpBuilder &b = e.builder();
  return LLVM::CallIntrinsicOp::create(b, e.kernel().getLoc(), type,
                                       b.getStringAttr(name), operands)
      .getResult(0);
}

/// Without an instruction for all of it: products of 16 bits, where bytes 0 and
/// 2 of a group are the one operand and bytes 1 and 3 the other. Their sums of
/// two fit 32 bits, as nothing else would: vpmaddubsw saturates.
class Emulation {
public:
  explicit Emulation(KernelEmitter &e)
      : e(e), isX86(e.target().arch == MV_ARCH_X86_64),
        lanes(e.target().lanes) {}

  Value dot(Value x, Value weights, Value sum) {
    if (isX86) {
      for (bool odd : {false, true})
        sum = arith::AddIOp::create(
            e.builder(), sum,
            intrinsic(e,
                      lanes == 16 ? "llvm.x86.avx512.pmaddw.d.512"
                                  : "llvm.x86.avx2.pmadd.wd",
                      sum.getType(),
                      {halves(x, odd, false), halves(weights, odd, true)}));
      return sum;
    }
    for (int64_t byte = 0; byte < 4; ++byte)
      sum = arith::AddIOp::create(
          e.builder(), sum,
          arith::MulIOp::create(e.builder(), bytes(x, byte, false),
                                bytes(weights, byte, true)));
    return sum;
  }

private:
  Value shifted(Value value, int64_t left, int64_t right, bool isSigned) {
    ImplicitLocOpBuilder &b = e.builder();
    auto by = [&](int64_t amount) {
      auto type = cast<VectorType>(value.getType());
      return arith::ConstantOp::create(
          b, DenseElementsAttr::get(
                 type, b.getIntegerAttr(type.getElementType(), amount)));
    };
    if (left)
      value = arith::ShLIOp::create(b, value, by(left));
    if (right && isSigned)
      value = arith::ShRSIOp::create(b, value, by(right));
    else if (right)
      value = arith::ShRUIOp::create(b, value, by(right));
    return value;
  }

  Value as(Value value, int64_t bits) {
    OpBuilder &b = e.builder();
    Type type = VectorType::get(lanes * 32 / bits, b.getIntegerType(bits));
    return LLVM::BitcastOp::create(e.builder(), type, value);
  }

  /// The even or odd bytes, widened to 16 bits.
  Value halves(Value value, bool odd, bool isSigned) {
    return shifted(as(value, 16), odd ? 0 : 8, 8, isSigned);
  }

  /// Byte `number` of each group, widened to 32 bits.
  Value bytes(Value value, int64_t number, bool isSigned) {
    return shifted(as(value, 32), 24 - 8 * number, 24, isSigned);
  }

  KernelEmitter &e;
  const bool isX86;
  const int64_t lanes;
};

} // namespace

Value loadGroup(KernelEmitter &e, Value pointer, Type elementType,
                int64_t group) {
  ImplicitLocOpBuilder &b = e.builder();
  int64_t lanes = e.target().lanes;
  Value loaded = LLVM::LoadOp::create(b, b.getI32Type(), pointer,
                                      unsigned(elementBytes(elementType)));
  return LLVM::BitcastOp::create(b, VectorType::get(lanes * group, elementType),
                                 e.splat(loaded, lanes));
}

Value dotProduct(KernelEmitter &e, Value x, Value weights, Value sum) {
  int64_t bits = e.target().lanes * 32;
  uint64_t features = e.target().cpuFeatures;
  bool isX86 = e.target().arch == MV_ARCH_X86_64;
  if (cast<VectorType>(x.getType()).getElementType().isBF16()) {
    assert(isX86 && (features & MV_X86_AVX512_BF16) &&
           "the driver refuses bf16 arithmetic for other targets");
    return intrinsic(
        e, llvm::formatv("llvm.x86.avx512bf16.dpbf16ps.{0}", bits).str(),
        sum.getType(), {sum, x, weights});
  }
  bool hasVnni = bits == 512
                     ? features & MV_X86_AVX512_VNNI
                     : features & (MV_X86_AVX512_VNNI | MV_X86_AVX_VNNI);
  if (isX86 && hasVnni)
    return intrinsic(e,
                     llvm::formatv("llvm.x86.avx512.vpdpbusd.{0}", bits).str(),
                     sum.getType(), {sum, x, weights});
  return Emulation(e).dot(x, weights, sum);
}

} // namespace marver
