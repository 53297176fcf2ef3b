//===- NarrowWeights.cpp - Weights of contractions in bf16 or int8 --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches the packed weights of mv.packed_matmul and mv.packed_conv. Makes them
// bf16, rounded to nearest; or int8, symmetric with one scale for each output:
//
//   q[n] = round(w[n] / s[n]),  s[n] = max |w[n]| / 127
//
// Kernels widen them in registers: arithmetic and activations stay f32. The
// scale and, behind it, the bias become an elementwise operation, which is the
// end of the same kernel.
//
//   %y = mv.packed_matmul %x, %w bias %b             // %w: 24x384x16xf32
// becomes
//   %p = mv.packed_matmul %x, %q                     // %q: 24x384x16xi8
//   %y = linalg.generic ins(%p, %s, %b) { mulf addf }
//
// A table that is packed for a product and also gathered from (PackMatmul.cpp)
// is narrowed for both; what is gathered is widened and scaled behind it.
//
// The function's `mv.narrowed` tells what became of each constant: its name,
// its bytes before and after, and the root mean square of the rounding errors
// in relation to that of the weights.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/MapVector.h"
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

using namespace mlir;
using namespace marver;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// `value` rounded to the nearest bf16, as its bits. Not for NaN.
static uint16_t roundToBf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static float widenBf16(uint16_t value) {
  uint32_t bits = uint32_t(value) << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

namespace {

/// Packed weights, panel x ... x NR, in a narrower type.
struct Narrowed {
  ElementsAttr values;
  SmallVector<float> scales; ///< of each output; empty for bf16
  double error = 0;          ///< relative, root mean square
};

} // namespace

/// Nullopt if the weights hold something that is no finite number.
static std::optional<Narrowed> narrow(const ConstantData &weights,
                                      Type element) {
  ArrayRef<int64_t> shape = weights.type.getShape();
  int64_t panels = shape.front(), width = shape.back();
  int64_t panelSize = elementCount(weights.type) / panels;
  int64_t bytes = elementBytes(element);
  bool isInteger = element.isInteger(8);
  Narrowed result;
  if (isInteger)
    result.scales.assign(panels * width, 1.0F);
  SmallVector<double> squares(panels), errors(panels);
  std::atomic<bool> isFinite = true;
  auto type = RankedTensorType::get(shape, element);
  result.values = makeConstant(type, [&](MutableArrayRef<char> out) {
    parallelFor(element.getContext(), 0, panels, [&](size_t panel) {
      SmallVector<float, 0> from(panelSize);
      memcpy(from.data(), weights.bytes.data() + panel * panelSize * 4,
             panelSize * 4);
      SmallVector<float> most(width, 0.0F);
      for (int64_t i = 0; i < panelSize; ++i) {
        if (!std::isfinite(from[i]))
          isFinite = false;
        most[i % width] = std::max(most[i % width], std::fabs(from[i]));
      }
      char *to = out.data() + panel * panelSize * bytes;
      float *scales =
          isInteger ? result.scales.data() + panel * width : nullptr;
      SmallVector<float> inverse(width, 1.0F);
      for (int64_t n = 0; isInteger && n < width; ++n)
        // A scale that is no normal number has no inverse.
        if (most[n] / 127 >= std::numeric_limits<float>::min()) {
          scales[n] = most[n] / 127;
          inverse[n] = 1 / scales[n];
        }
      double square = 0, error = 0;
      for (int64_t i = 0; i < panelSize; ++i) {
        float rounded;
        if (isInteger) {
          float q = std::nearbyint(from[i] * inverse[i % width]);
          q = std::clamp(q, -127.0F, 127.0F);
          to[i] = char(int8_t(q));
          rounded = q * scales[i % width];
        } else {
          uint16_t bits = roundToBf16(from[i]);
          memcpy(to + i * 2, &bits, 2);
          rounded = widenBf16(bits);
          if (!std::isfinite(rounded))
            isFinite = false;
        }
        square += double(from[i]) * from[i];
        error += (double(from[i]) - rounded) * (double(from[i]) - rounded);
      }
      squares[panel] = square;
      errors[panel] = error;
    });
  });
  if (!isFinite)
    return std::nullopt;
  double square = std::accumulate(squares.begin(), squares.end(), 0.0);
  double error = std::accumulate(errors.begin(), errors.end(), 0.0);
  result.error = square > 0 ? std::sqrt(error / square) : 0;
  return result;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {

struct NarrowWeights : PassWrapper<NarrowWeights, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(NarrowWeights)
  NarrowWeights() = default;
  NarrowWeights(const NarrowWeights &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "mv-narrow-weights"; }
  StringRef getDescription() const override {
    return "Store the weights of contractions in bf16 or int8";
  }

  Option<std::string> weights{*this, "weights", llvm::cl::init("bf16"),
                              llvm::cl::desc("bf16 or int8")};

  void runOnOperation() override;

private:
  const Narrowed *narrowedOf(Value weights);
  void rewriteContraction(Operation *op);
  void rewriteGather(mv::GatherOp gather);

  Type element;
  llvm::MapVector<Attribute, std::optional<Narrowed>> known;
  SmallVector<Attribute> report;
};

} // namespace

/// The constant's name in the model, as far as its location tells.
static std::string nameOf(Location loc) {
  std::string name;
  loc->walk([&](Location inner) {
    auto named = dyn_cast<NameLoc>(inner);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name;
}

/// The narrow form of constant f32 weights, made once; null if there is none.
const Narrowed *NarrowWeights::narrowedOf(Value weights) {
  Attribute source;
  if (!matchPattern(weights, m_Constant(&source)) ||
      !typeOf(weights).getElementType().isF32() ||
      elementCount(typeOf(weights)) == 0)
    return nullptr;
  auto [it, isNew] = known.try_emplace(source);
  if (isNew) {
    std::optional<ConstantData> data = getConstantData(source);
    if (data && !data->isSplat)
      it->second = narrow(*data, element);
    if (it->second) {
      Builder builder(&getContext());
      int64_t count = elementCount(typeOf(weights));
      auto entry = [&](StringRef name, Attribute value) {
        return builder.getNamedAttr(name, value);
      };
      report.push_back(builder.getDictionaryAttr(
          {entry("name", builder.getStringAttr(nameOf(weights.getLoc()))),
           entry("bytes", builder.getI64IntegerAttr(count * 4)),
           entry("narrow", builder.getI64IntegerAttr(
                               count * elementBytes(element) +
                               int64_t(it->second->scales.size()) * 4)),
           entry("error", builder.getF64FloatAttr(it->second->error))}));
    }
  }
  return it->second ? &*it->second : nullptr;
}

/// A constant of `values`, zero beyond them.
static Value vectorConstant(OpBuilder &b, Location loc, ArrayRef<int64_t> shape,
                            ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, b.getF32Type());
  values = values.take_front(elementCount(type));
  return arith::ConstantOp::create(
      b, loc, makeConstant(type, [&](MutableArrayRef<char> out) {
        memset(out.data(), 0, out.size());
        memcpy(out.data(), values.data(), values.size() * 4);
      }));
}

/// `sum` widened to f32, times the first and plus the second of `others`, as
/// far as they are there.
static Value scaled(OpBuilder &b, Location loc, Value sum,
                    ArrayRef<Value> others, ArrayRef<AffineMap> otherMaps) {
  int64_t rank = typeOf(sum).getRank();
  Value empty = tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, sum), b.getF32Type());
  SmallVector<Value> inputs = {sum};
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(rank)};
  llvm::append_range(inputs, others);
  llvm::append_range(maps, otherMaps);
  maps.push_back(maps.front());
  return linalg::GenericOp::create(
             b, loc, TypeRange{empty.getType()}, inputs, ValueRange{empty},
             maps,
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [](OpBuilder &b, Location loc, ValueRange args) {
               Value value = args[0];
               Type f32 = b.getF32Type();
               if (value.getType().isInteger())
                 value = arith::SIToFPOp::create(b, loc, f32, value);
               else if (value.getType() != f32)
                 value = arith::ExtFOp::create(b, loc, f32, value);
               if (args.size() > 2)
                 value = arith::MulFOp::create(b, loc, value, args[1]);
               if (args.size() > 3)
                 value = arith::AddFOp::create(b, loc, value, args[2]);
               linalg::YieldOp::create(b, loc, value);
             })
      .getResult(0);
}

void NarrowWeights::rewriteContraction(Operation *op) {
  constexpr unsigned kWeights = 1, kBias = 2;
  const Narrowed *narrowed = narrowedOf(op->getOperand(kWeights));
  if (!narrowed || !typeOf(op->getResult(0)).getElementType().isF32())
    return;
  std::optional<ConstantData> bias;
  if (op->getNumOperands() > kBias) {
    bias = getConstantData(op->getOperand(kBias));
    if (!bias && !narrowed->scales.empty())
      return;
  }
  OpBuilder b(op);
  Location loc = op->getLoc();
  op->setOperand(kWeights,
                 arith::ConstantOp::create(b, op->getOperand(kWeights).getLoc(),
                                           narrowed->values));
  if (narrowed->scales.empty())
    return;
  // Outputs are the last dim of a product's result, and the channel block and
  // the lane of a blocked one.
  RankedTensorType type = typeOf(op->getResult(0));
  int64_t rank = type.getRank();
  SmallVector<unsigned> dims = {unsigned(rank - 1)};
  if (isa<mv::PackedConvOp>(op))
    dims.insert(dims.begin(), 1);
  SmallVector<int64_t> shape;
  for (unsigned dim : dims)
    shape.push_back(type.getDimSize(dim));
  AffineMap map =
      AffineMap::getMultiDimMapWithTargets(rank, dims, &getContext());
  SmallVector<Value> others = {vectorConstant(b, loc, shape, narrowed->scales)};
  if (bias) {
    SmallVector<float> values(elementCount(bias->type));
    bias->copyTo({reinterpret_cast<char *>(values.data()), values.size() * 4});
    others.push_back(vectorConstant(b, loc, shape, values));
    op->eraseOperand(kBias);
  }
  b.setInsertionPointAfter(op);
  Value sum = op->getResult(0);
  Value result =
      scaled(b, loc, sum, others, SmallVector<AffineMap>(others.size(), map));
  sum.replaceUsesWithIf(result, [&](OpOperand &use) {
    return use.getOwner() != result.getDefiningOp() &&
           !isa<tensor::DimOp>(use.getOwner());
  });
}

/// Of rows of a packed table.
void NarrowWeights::rewriteGather(mv::GatherOp gather) {
  auto unpack = gather.getInput().getDefiningOp<linalg::UnPackOp>();
  if (!unpack || gather.getDim() != 0 || !unpack->hasOneUse() ||
      typeOf(unpack.getResult()).getRank() != 2)
    return;
  Attribute source;
  if (!matchPattern(unpack.getSource(), m_Constant(&source)) ||
      !known.contains(source) || !known[source])
    return;
  const Narrowed &narrowed = *known[source];
  OpBuilder b(gather);
  Location loc = gather.getLoc();
  RankedTensorType type = typeOf(unpack.getResult());
  Value table = arith::ConstantOp::create(b, unpack.getSource().getLoc(),
                                          narrowed.values);
  Value empty = tensor::EmptyOp::create(b, loc, type.getShape(), element);
  auto rows = linalg::UnPackOp::create(
      b, loc, table, empty, unpack.getInnerDimsPos(), unpack.getMixedTiles());
  auto gathered = mv::GatherOp::create(
      b, loc,
      RankedTensorType::get(typeOf(gather.getResult()).getShape(), element),
      rows.getResult(), gather.getIndices(), 0);
  SmallVector<Value> others;
  SmallVector<AffineMap> maps;
  if (!narrowed.scales.empty()) {
    Value scales =
        vectorConstant(b, loc, {type.getDimSize(0)}, narrowed.scales);
    RankedTensorType indices = typeOf(gather.getIndices());
    others.push_back(mv::GatherOp::create(
        b, loc, RankedTensorType::get(indices.getShape(), b.getF32Type()),
        scales, gather.getIndices(), 0));
    int64_t rank = indices.getRank();
    maps.push_back(AffineMap::get(rank + 1, 0,
                                  b.getMultiDimIdentityMap(rank).getResults(),
                                  &getContext()));
  }
  gather.replaceAllUsesWith(scaled(b, loc, gathered, others, maps));
  gather.erase();
  unpack.erase();
}

void NarrowWeights::runOnOperation() {
  Builder builder(&getContext());
  known.clear();
  report.clear();
  element = weights == "int8" ? Type(builder.getI8Type())
                              : Type(builder.getBF16Type());
  SmallVector<Operation *> contractions;
  SmallVector<mv::GatherOp> gathers;
  getOperation().walk([&](Operation *op) {
    if (isa<mv::PackedMatmulOp, mv::PackedConvOp>(op))
      contractions.push_back(op);
    else if (auto gather = dyn_cast<mv::GatherOp>(op))
      gathers.push_back(gather);
  });
  for (Operation *op : contractions)
    rewriteContraction(op);
  for (mv::GatherOp gather : gathers)
    rewriteGather(gather);
  getOperation()->setAttr("mv.narrowed", builder.getArrayAttr(report));
}

std::unique_ptr<Pass> marver::createNarrowWeightsPass(StringRef weights) {
  auto pass = std::make_unique<NarrowWeights>();
  pass->weights = weights.str();
  return pass;
}
