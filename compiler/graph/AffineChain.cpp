//===- AffineChain.cpp - Scales and shifts of channels --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The body of a generic is run on functions of x instead of numbers: a constant
// per channel, or scale and shift. What is not of these forms ends the chain.
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/AffineChain.h"
#include "compiler/graph/Pointwise.h"
#include "compiler/ir/Constants.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace marver;

namespace {

/// scale * x + shift, or shift alone when `usesX` is false. The lists have one
/// element (all channels alike) or one per channel.
struct Function {
  bool usesX = false;
  SmallVector<double, 0> scale = {0.0}, shift = {0.0};
};

} // namespace

using List = SmallVector<double, 0>;

static List combine(const List &a, const List &b,
                    function_ref<double(double, double)> f) {
  List result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = f(a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]);
  return result;
}

static std::optional<Function> apply(Operation *op, const Function &a,
                                     const Function &b) {
  auto add = [](double x, double y) { return x + y; };
  auto sub = [](double x, double y) { return x - y; };
  auto mul = [](double x, double y) { return x * y; };
  auto div = [](double x, double y) { return x / y; };
  using Result = std::optional<Function>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<arith::AddFOp>([&](auto) -> Result {
        return Function{a.usesX || b.usesX, combine(a.scale, b.scale, add),
                        combine(a.shift, b.shift, add)};
      })
      .Case<arith::SubFOp>([&](auto) -> Result {
        return Function{a.usesX || b.usesX, combine(a.scale, b.scale, sub),
                        combine(a.shift, b.shift, sub)};
      })
      .Case<arith::MulFOp>([&](auto) -> Result {
        if (a.usesX && b.usesX)
          return std::nullopt;
        const Function &x = a.usesX ? a : b, &c = a.usesX ? b : a;
        return Function{x.usesX, combine(x.scale, c.shift, mul),
                        combine(x.shift, c.shift, mul)};
      })
      .Case<arith::DivFOp>([&](auto) -> Result {
        if (b.usesX)
          return std::nullopt;
        return Function{a.usesX, combine(a.scale, b.shift, div),
                        combine(a.shift, b.shift, div)};
      })
      .Case<arith::NegFOp>([&](auto) -> Result {
        return Function{a.usesX, combine(b.scale, a.scale, sub),
                        combine(b.shift, a.shift, sub)};
      })
      .Default([](Operation *) { return std::nullopt; });
}

/// A constant operand as numbers along loop dim `dim`, if it varies with no
/// other.
static std::optional<Function> constantAlong(const ConstantData &data,
                                             AffineMap map, unsigned dim) {
  Function result;
  if (elementCount(data.type) == 0)
    return std::nullopt;
  if (data.isSplat || elementCount(data.type) == 1) {
    result.shift = {data.getFloat(0)};
    return result;
  }
  bool usable;
  std::optional<unsigned> position = findDim(map, dim, usable);
  if (!position || !usable ||
      data.type.getDimSize(*position) != elementCount(data.type))
    return std::nullopt;
  result.shift.clear();
  for (int64_t i = 0, e = elementCount(data.type); i < e; ++i)
    result.shift.push_back(data.getFloat(i));
  return result;
}

/// What `op` computes of `x` along dim `dim` of its loops.
static std::optional<Function> functionOf(linalg::GenericOp op, Value x,
                                          unsigned dim) {
  if (!isPointwise(op) || op.getNumResults() != 1 || op.hasIndexSemantics() ||
      op.getResult(0).getType() != x.getType())
    return std::nullopt;
  llvm::DenseMap<Value, Function> values;
  Block *body = op.getBody();
  for (OpOperand *use : op.getDpsInputOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(use);
    AffineMap map = op.getMatchingIndexingMap(use);
    if (use->get() == x) {
      if (!map.isIdentity())
        return std::nullopt;
      Function &function = values[argument];
      function.usesX = true;
      function.scale = {1.0};
      continue;
    }
    if (argument.use_empty())
      continue;
    std::optional<ConstantData> data = getConstantData(use->get());
    if (!data || !isa<FloatType>(data->type.getElementType()))
      return std::nullopt;
    std::optional<Function> function = constantAlong(*data, map, dim);
    if (!function)
      return std::nullopt;
    values[argument] = *function;
  }
  auto lookup = [&](Value value) -> std::optional<Function> {
    if (auto found = values.find(value); found != values.end())
      return found->second;
    Function function;
    if (FloatAttr number; matchPattern(value, m_Constant(&number))) {
      function.shift = {number.getValueAsDouble()};
      return function;
    }
    return std::nullopt;
  };
  for (Operation &inner : body->without_terminator()) {
    if (inner.hasTrait<OpTrait::ConstantLike>())
      continue;
    if (inner.getNumResults() != 1 || inner.getNumOperands() == 0 ||
        inner.getResult(0).getType() != inner.getOperand(0).getType())
      return std::nullopt;
    std::optional<Function> a = lookup(inner.getOperand(0));
    std::optional<Function> b =
        inner.getNumOperands() > 1 ? lookup(inner.getOperand(1)) : Function();
    std::optional<Function> result;
    if (a && b)
      result = apply(&inner, *a, *b);
    if (!result)
      return std::nullopt;
    values[inner.getResult(0)] = std::move(*result);
  }
  return lookup(body->getTerminator()->getOperand(0));
}

AffineChain marver::findAffineChain(Value start, int64_t dim) {
  AffineChain chain;
  chain.end = start;
  auto type = cast<RankedTensorType>(start.getType());
  int64_t channels = type.getDimSize(dim);
  if (!isa<FloatType>(type.getElementType()) || ShapedType::isDynamic(channels))
    return chain;
  chain.scale.assign(channels, 1.0);
  chain.shift.assign(channels, 0.0);
  while (llvm::hasSingleElement(chain.end.getUsers())) {
    auto op = dyn_cast<linalg::GenericOp>(*chain.end.user_begin());
    if (!op || op->getBlock() != start.getParentBlock())
      break;
    std::optional<Function> next = functionOf(op, chain.end, dim);
    if (!next || !next->usesX)
      break;
    auto mul = [](double x, double y) { return x * y; };
    auto add = [](double x, double y) { return x + y; };
    List scale = combine(chain.scale, next->scale, mul);
    List shift =
        combine(combine(chain.shift, next->scale, mul), next->shift, add);
    // A weight that overflows would not be the function that was written.
    if (!llvm::all_of(scale, [](double v) { return std::isfinite(v); }) ||
        !llvm::all_of(shift, [](double v) { return std::isfinite(v); }))
      break;
    chain.scale = std::move(scale);
    chain.shift = std::move(shift);
    chain.ops.push_back(op);
    chain.end = op.getResult(0);
  }
  return chain;
}
