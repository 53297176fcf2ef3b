//===- QuantizationOperators.cpp - Quantized arithmetic of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

/// A scale or zero point shaped to go with x: one number, one an element of
/// `axis`, or one for a block of `block` elements of it.
static Value alongAxis(NodeBuilder &n, Value parameter, Value x, int64_t axis,
                       int64_t block) {
  if (!parameter || !x)
    return nullptr;
  int64_t rank = OpsBuilder::rankOf(x);
  if (OpsBuilder::rankOf(parameter) == 0)
    return parameter;
  if (OpsBuilder::rankOf(parameter) == 1 && rank > 0) {
    if (OpsBuilder::known(n.ops.dim(parameter, 0)) == 1)
      return n.ops.reshape(parameter, {});
    auto position = n.ops.axis(axis, rank);
    if (!position)
      return nullptr;
    SmallVector<int64_t> behind;
    for (int64_t i = 1; i < rank - *position; ++i)
      behind.push_back(i);
    return n.ops.unsqueeze(parameter, behind);
  }
  auto position = n.ops.axis(axis, rank);
  if (!position)
    return nullptr;
  if (block < 1 || OpsBuilder::rankOf(parameter) != rank) {
    n.fail("has a scale of a shape that does not fit");
    return nullptr;
  }
  Value repeated =
      n.ops.repeatInterleave(parameter, *position, n.ops.index(block));
  return n.ops.narrow(repeated, *position, n.ops.index(0),
                      n.ops.dim(x, *position));
}

static std::pair<double, double> limitsOf(mlir::Type element, bool isUnsigned) {
  unsigned width = element.getIntOrFloatBitWidth();
  if (isUnsigned)
    return {0, std::ldexp(1, int(width)) - 1};
  return {-std::ldexp(1, int(width) - 1), std::ldexp(1, int(width) - 1) - 1};
}

/// round(x / scale) + zeroPoint, saturated to `element`; x is float.
static Value quantize(NodeBuilder &n, Value x, Value scale, Value zeroPoint,
                      bool zeroIsUnsigned, mlir::Type element,
                      bool isUnsigned) {
  if (!x || !scale)
    return nullptr;
  mlir::Type real = OpsBuilder::elementOf(x);
  Value scaled =
      n.ops.unary(Unary::Round, n.ops.div(x, n.ops.cast(scale, real)));
  if (zeroPoint)
    scaled = n.ops.add(scaled, n.ops.cast(zeroPoint, real, zeroIsUnsigned));
  auto [low, high] = limitsOf(element, isUnsigned);
  return n.ops.cast(n.ops.clamp(scaled, low, high), element, false, isUnsigned);
}

static void quantizeLinear(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  mlir::Type element = n.ops.getI8Type();
  bool isUnsigned = true;
  if (n.has(2)) {
    element = n.elementOf(2);
    isUnsigned = n.isUnsigned(2);
  } else if (n.integer("output_dtype", 0) != 0) {
    auto type = n.dataType("output_dtype", DataType::Uint8);
    if (!type)
      return;
    std::tie(element, isUnsigned) = *type;
  }
  if (!isa<IntegerType>(element))
    return n.fail("quantizes to a type that is not supported");
  if (!OpsBuilder::isFloat(x))
    x = n.ops.cast(x, n.ops.getF32Type());
  int64_t axis = n.integer("axis", 1), block = n.integer("block_size", 0);
  x = n.ops.cast(x, n.ops.getF32Type());
  n.set(quantize(n, x, alongAxis(n, n.in(1), x, axis, block),
                 n.has(2) ? alongAxis(n, n.in(2), x, axis, block) : nullptr,
                 n.isUnsigned(2), element, isUnsigned),
        isUnsigned);
}

static void dequantizeLinear(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x || !n.has(1))
    return;
  int64_t axis = n.integer("axis", 1), block = n.integer("block_size", 0);
  mlir::Type real = n.elementOf(1);
  mlir::Type wide = n.ops.getI32Type();
  Value value = n.ops.cast(x, wide, n.isUnsigned(0));
  if (n.has(2))
    value = n.ops.sub(value, n.ops.cast(alongAxis(n, n.in(2), x, axis, block),
                                        wide, n.isUnsigned(2)));
  Value scale =
      n.ops.cast(alongAxis(n, n.in(1), x, axis, block), n.ops.getF32Type());
  Value result = n.ops.mul(n.ops.cast(value, n.ops.getF32Type()), scale);
  n.set(n.ops.cast(result, real));
}

static void dynamicQuantizeLinear(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  mlir::Type real = n.ops.getF32Type(), byte = n.ops.getI8Type();
  Value zero = n.ops.scalar(0, real), range = n.ops.scalar(255, real);
  Value high =
      n.ops.binary(Binary::Max, n.ops.reduce(Reduce::Max, x, {}, false), zero);
  Value low =
      n.ops.binary(Binary::Min, n.ops.reduce(Reduce::Min, x, {}, false), zero);
  Value scale = n.ops.div(n.ops.sub(high, low), range);
  Value point = n.ops.unary(
      Unary::Round,
      n.ops.clamp(n.ops.div(n.ops.sub(zero, low), scale), 0.0, 255.0));
  Value zeroPoint = n.ops.cast(point, byte, false, true);
  n.set(0, quantize(n, x, scale, zeroPoint, true, byte, true), true);
  n.set(1, scale);
  n.set(2, zeroPoint, true);
}

/// Operand `i` less its zero point, in 32 bits; the zero point is per tensor
/// or, for a vector, along `axis`.
static Value centred(NodeBuilder &n, size_t i, size_t zeroAt, int64_t axis) {
  mlir::Type wide = n.ops.getI32Type();
  Value x = n.in(i);
  Value value = n.ops.cast(x, wide, n.isUnsigned(i));
  if (!n.has(zeroAt))
    return value;
  Value zero = n.ops.cast(n.in(zeroAt), wide, n.isUnsigned(zeroAt));
  if (zero && OpsBuilder::rankOf(zero) > 1) // already shaped for its operand
    return n.ops.sub(value, zero);
  return n.ops.sub(value, alongAxis(n, zero, value, axis, 0));
}

static void matmulInteger(NodeBuilder &n) {
  n.set(n.ops.matmul(centred(n, 0, 2, -2), centred(n, 1, 3, -1)));
}

static ConvOptions convOptions(NodeBuilder &n, size_t filterAt) {
  ConvOptions options;
  SmallVector<int64_t> stated = n.integers("kernel_shape");
  Value filter = n.in(filterAt);
  for (auto [i, size] : llvm::enumerate(stated))
    if (filter &&
        (int64_t(stated.size()) != OpsBuilder::rankOf(filter) - 2 ||
         OpsBuilder::known(n.ops.dim(filter, 2 + int64_t(i))).value_or(size) !=
             size)) {
      n.fail("has a kernel_shape that its filter does not have");
      break;
    }
  options.strides = n.integers("strides");
  options.dilations = n.integers("dilations");
  options.pads = n.integers("pads");
  options.groups = n.integer("group", 1);
  StringRef mode = n.text("auto_pad", "NOTSET");
  if (mode != "NOTSET" && mode != "VALID")
    n.fail("auto_pad '" + printable(mode) + "' is not supported");
  return options;
}

static void convInteger(NodeBuilder &n) {
  ConvOptions options = convOptions(n, 1);
  n.set(n.ops.conv(centred(n, 0, 2, 1), centred(n, 1, 3, 0), nullptr, options));
}

/// round(sum * a * b / y) + zero, of 32-bit sums.
static Value requantize(NodeBuilder &n, Value sum, Value scales, size_t scaleAt,
                        size_t zeroAt) {
  mlir::Type real = n.ops.getF32Type();
  Value value = n.ops.mul(n.ops.cast(sum, real), scales);
  return quantize(n, value, n.in(scaleAt), n.in(zeroAt), n.isUnsigned(zeroAt),
                  n.elementOf(zeroAt), n.isUnsigned(zeroAt));
}

static void qlinearMatmul(NodeBuilder &n) {
  for (size_t i = 0; i < 8; ++i)
    if (!n.has(i))
      return n.fail("operand " + Twine(i) + " is missing");
  Value sum = n.ops.matmul(centred(n, 0, 2, -2), centred(n, 3, 5, -1));
  mlir::Type real = n.ops.getF32Type();
  Value left = alongAxis(n, n.ops.cast(n.in(1), real), sum, -2, 0);
  Value right = alongAxis(n, n.ops.cast(n.in(4), real), sum, -1, 0);
  n.set(requantize(n, sum, n.ops.mul(left, right), 6, 7), n.isUnsigned(7));
}

static void qlinearConv(NodeBuilder &n) {
  for (size_t i = 0; i < 8; ++i)
    if (!n.has(i))
      return n.fail("operand " + Twine(i) + " is missing");
  ConvOptions options = convOptions(n, 3);
  Value sum = n.ops.conv(centred(n, 0, 2, 1), centred(n, 3, 5, 0),
                         n.optional(8), options);
  mlir::Type real = n.ops.getF32Type();
  Value left = alongAxis(n, n.ops.cast(n.in(1), real), sum, 1, 0);
  Value right = alongAxis(n, n.ops.cast(n.in(4), real), sum, 1, 0);
  n.set(requantize(n, sum, n.ops.mul(left, right), 6, 7), n.isUnsigned(7));
}

llvm::ArrayRef<Operator> marver::onnx::quantizationOperators() {
  static const Operator table[] = {
      {"ConvInteger", convInteger},
      {"DequantizeLinear", dequantizeLinear},
      {"DynamicQuantizeLinear", dynamicQuantizeLinear},
      {"MatMulInteger", matmulInteger},
      {"QLinearConv", qlinearConv},
      {"QLinearMatMul", qlinearMatmul},
      {"QuantizeLinear", quantizeLinear},
  };
  return table;
}
