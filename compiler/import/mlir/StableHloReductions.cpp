//===- StableHloReductions.cpp - Reductions, windows and sorting ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Their bodies are regions on scalars; what they compute is recognized.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"
#include "compiler/ir/Constants.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSwitch.h"

#include <cmath>

using namespace mlir;

namespace marver::hlo {
namespace {

enum class Combine { Sum, Product, Max, Min, And, Or, First };

std::optional<Combine> combineOf(StringRef name) {
  return llvm::StringSwitch<std::optional<Combine>>(name)
      .Case("stablehlo.add", Combine::Sum)
      .Case("stablehlo.multiply", Combine::Product)
      .Case("stablehlo.maximum", Combine::Max)
      .Case("stablehlo.minimum", Combine::Min)
      .Case("stablehlo.and", Combine::And)
      .Case("stablehlo.or", Combine::Or)
      .Default(std::nullopt);
}

/// The one operation that `op`'s region applies to its two arguments.
std::optional<Combine> combineOf(Call &c) {
  if (auto applied = c.op->getAttrOfType<StringAttr>("applies"))
    return combineOf(applied.getValue());
  if (c.op->getNumRegions() != 1 || !llvm::hasSingleElement(c.op->getRegion(0)))
    return std::nullopt;
  Block &body = c.op->getRegion(0).front();
  if (body.getNumArguments() != 2 || body.getOperations().size() != 2)
    return std::nullopt;
  Operation &op = body.front(), &end = body.back();
  if (op.getNumOperands() != 2 || end.getNumOperands() != 1 ||
      op.getNumResults() != 1 || end.getOperand(0) != op.getResult(0))
    return std::nullopt;
  auto isArgument = [&](unsigned i, unsigned k) {
    return op.getOperand(i) == body.getArgument(k);
  };
  if (!(isArgument(0, 0) && isArgument(1, 1)) &&
      !(isArgument(0, 1) && isArgument(1, 0)))
    return std::nullopt;
  return combineOf(op.getName().getStringRef());
}

/// Of a tensor of i1, sums are `or` and products are `and`.
Combine onBools(Combine kind) {
  switch (kind) {
  case Combine::Sum:
  case Combine::Max:
    return Combine::Or;
  case Combine::Product:
  case Combine::Min:
    return Combine::And;
  default:
    return kind;
  }
}

Value combined(OpsBuilder &b, Combine kind, Value x, Value y, bool isUnsigned) {
  const bool isBool = OpsBuilder::elementOf(x).isInteger(1);
  switch (isBool ? onBools(kind) : kind) {
  case Combine::Sum:
    return b.add(x, y);
  case Combine::Product:
    return b.mul(x, y);
  case Combine::Max:
    return b.binary(Binary::Max, x, y, isUnsigned);
  case Combine::Min:
    return b.binary(Binary::Min, x, y, isUnsigned);
  case Combine::And:
    return b.binary(isBool ? Binary::And : Binary::BitAnd, x, y);
  default:
    return b.binary(isBool ? Binary::Or : Binary::BitOr, x, y);
  }
}

/// Does `init`, a constant, change nothing?
bool isIdentity(Combine kind, Value init) {
  auto data = getConstantData(init);
  if (!data)
    return false;
  Type type = data->type.getElementType();
  if (isa<FloatType>(type)) {
    const double value = data->getFloat(0);
    return (kind == Combine::Sum && value == 0) ||
           (kind == Combine::Product && value == 1) ||
           (kind == Combine::Max && std::isinf(value) && value < 0) ||
           (kind == Combine::Min && std::isinf(value) && value > 0);
  }
  const int64_t value = data->getInt(0);
  if (type.isInteger(1))
    kind = onBools(kind);
  return (kind == Combine::Sum && value == 0) ||
         (kind == Combine::Product && value == 1) ||
         (kind == Combine::Or && value == 0) ||
         (kind == Combine::And && value != 0 &&
          (type.isInteger(1) || value == -1));
}

/// The positions of `op`'s regions arguments that `value` depends on; nullopt
/// if it is computed by anything but a choice.
bool dependsOn(Value value, llvm::SmallSetVector<unsigned, 4> &arguments) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    arguments.insert(argument.getArgNumber());
    return true;
  }
  Operation *op = value.getDefiningOp();
  StringRef name = op->getName().getStringRef();
  if (name != "stablehlo.select" && name != "stablehlo.compare" &&
      name != "stablehlo.constant" && name != "stablehlo.convert" &&
      name != "stablehlo.or" && name != "stablehlo.and" &&
      name != "stablehlo.bitcast_convert")
    return false;
  return llvm::all_of(op->getOperands(), [&](Value operand) {
    return dependsOn(operand, arguments);
  });
}

StringRef directionOf(Operation &op) {
  OpsBuilder b(op.getLoc());
  return Call{b, &op, {}}.word({"comparison_direction", "word0"});
}

/// The largest or smallest element and where it is: a reduction of x and of its
/// positions whose body compares both. Of equal elements the first.
std::optional<mv::ArgKind> argKindOf(Call &c) {
  if (c.op->getNumRegions() != 1 ||
      !llvm::hasSingleElement(c.op->getRegion(0)) || c.operands.size() != 4)
    return std::nullopt;
  Block &body = c.op->getRegion(0).front();
  if (body.getNumArguments() != 4 || body.empty())
    return std::nullopt;
  std::optional<mv::ArgKind> kind;
  bool isFirst = false;
  for (Operation &op : bodyOf(body)) {
    StringRef name = op.getName().getStringRef();
    auto comparesArguments = [&](unsigned i, unsigned k) {
      return op.getNumOperands() == 2 &&
             op.getOperand(0) == body.getArgument(i) &&
             op.getOperand(1) == body.getArgument(k);
    };
    if (name == "stablehlo.select" || name == "stablehlo.or" ||
        name == "stablehlo.and")
      continue;
    if (name == "stablehlo.minimum" && comparesArguments(1, 3)) {
      isFirst = true;
      continue;
    }
    if (name != "stablehlo.compare")
      return std::nullopt;
    StringRef direction = directionOf(op);
    if (comparesArguments(1, 3)) {
      if (direction != "LT" && direction != "LE")
        return std::nullopt;
      isFirst = true;
    } else if (comparesArguments(0, 2)) {
      if (direction == "GT" || direction == "GE")
        kind = mv::ArgKind::Max;
      else if (direction == "LT" || direction == "LE")
        kind = mv::ArgKind::Min;
      else if (direction != "EQ")
        return std::nullopt;
    } else if (!comparesArguments(0, 0) || direction != "NE") {
      return std::nullopt;
    }
  }
  return isFirst ? kind : std::nullopt;
}

Results reduce(Call &c) {
  OpsBuilder &b = c.b;
  SmallVector<int64_t> axes = c.ints({"dimensions"});
  if (std::optional<mv::ArgKind> kind = argKindOf(c)) {
    auto *positions = c.op->getOperand(1).getDefiningOp();
    if (axes.size() == 1 && positions &&
        positions->getName().getStringRef() == "stablehlo.iota" &&
        Call{b, positions, {}}.integer({"iota_dimension", "dim"}, -1) ==
            axes[0]) {
      Value values = b.reduce(
          kind == mv::ArgKind::Max ? Reduce::Max : Reduce::Min, c.operands[0],
          axes, /*keepDims=*/false, c.isUnsigned(), /*noneMeansAll=*/false);
      Value at = b.argReduce(*kind, c.operands[0], axes[0], /*keepDims=*/false,
                             /*last=*/false, b.getI64Type());
      if (!values || !at)
        return {};
      return {values, b.cast(at, OpsBuilder::elementOf(c.operands[1]))};
    }
  }
  std::optional<Combine> kind = combineOf(c);
  if (!kind || c.operands.size() != 2)
    return {b.fail("the reduction's body is not supported; a sum, product, "
                   "maximum, minimum, and, or, argmax and argmin are")};
  Value x = c.operands[0], init = c.operands[1];
  const bool isBool = OpsBuilder::elementOf(x).isInteger(1);
  Reduce reduction;
  switch (isBool ? onBools(*kind) : *kind) {
  case Combine::Sum:
    reduction = Reduce::Sum;
    break;
  case Combine::Product:
    reduction = Reduce::Prod;
    break;
  case Combine::Max:
    reduction = Reduce::Max;
    break;
  case Combine::Min:
    reduction = Reduce::Min;
    break;
  default:
    if (!isBool)
      return {b.fail("bitwise reductions of integers are not supported")};
    reduction = onBools(*kind) == Combine::And ? Reduce::All : Reduce::Any;
  }
  Value made = b.reduce(reduction, x, axes, /*keepDims=*/false, c.isUnsigned(),
                        /*noneMeansAll=*/false);
  if (made && !isIdentity(*kind, init))
    made = combined(b, *kind, made, init, c.isUnsigned());
  return {made};
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// A sum over all that came before: jax.numpy.cumsum.
bool isCumulative(OpsBuilder &b, Value x, const PoolOptions &windows,
                  int64_t axis, bool &reverse) {
  std::optional<int64_t> size = OpsBuilder::known(b.dim(x, axis));
  if (!size || windows.window[0] != *size || windows.strides[0] != 1 ||
      windows.dilations[0] != 1)
    return false;
  reverse = windows.pads[1] == *size - 1;
  return windows.pads[0] + windows.pads[1] == *size - 1 &&
         (windows.pads[0] == 0 || windows.pads[1] == 0);
}

Results reduceWindow(Call &c) {
  OpsBuilder &b = c.b;
  std::optional<Combine> kind = combineOf(c);
  Value x = c.operand(0), init = c.operand(1);
  if (!x || !init)
    return {};
  const int64_t rank = OpsBuilder::rankOf(x);
  auto list = [&](StringRef name, int64_t otherwise) {
    SmallVector<int64_t> values = c.ints({name});
    if (values.empty())
      values.assign(rank, otherwise);
    return values;
  };
  SmallVector<int64_t> window = list("window_dimensions", 1),
                       strides = list("window_strides", 1),
                       dilations = list("window_dilations", 1),
                       spread = list("base_dilations", 1),
                       pads = c.ints({"padding"});
  pads.resize(std::max<size_t>(pads.size(), pads.empty() ? 2 * rank : 0), 0);
  if (int64_t(window.size()) != rank || int64_t(strides.size()) != rank ||
      int64_t(dilations.size()) != rank || int64_t(spread.size()) != rank ||
      int64_t(pads.size()) != 2 * rank)
    return {b.fail("its windows have another rank than its operand")};
  if (llvm::any_of(spread, [](int64_t n) { return n != 1; }))
    return {b.fail("dilated operands are not supported")};
  if (!kind || c.operands.size() != 2 || !isIdentity(*kind, init) ||
      (*kind != Combine::Max && *kind != Combine::Min && *kind != Combine::Sum))
    return {b.fail("sums that start with 0, maxima with -inf and minima with "
                   "inf are supported")};

  // Windows on the last axes, the others before them.
  SmallVector<int64_t> order, inner;
  for (int64_t axis = 0; axis < rank; ++axis)
    (window[axis] == 1 && strides[axis] == 1 && !pads[2 * axis] &&
             !pads[2 * axis + 1]
         ? order
         : inner)
        .push_back(axis);
  if (inner.empty())
    return {x};
  PoolOptions options;
  options.countIncludePad = true;
  options.divisor = 1;
  for (int64_t axis : inner) {
    options.window.push_back(window[axis]);
    options.strides.push_back(strides[axis]);
    options.dilations.push_back(dilations[axis]);
    if (pads[2 * axis] < 0 || pads[2 * axis + 1] < 0)
      return {b.fail("negative paddings are not supported")};
  }
  for (int64_t side = 0; side < 2; ++side)
    for (int64_t axis : inner)
      options.pads.push_back(pads[2 * axis + side]);
  bool reverse = false;
  if (*kind == Combine::Sum && inner.size() == 1 &&
      isCumulative(b, x, options, inner[0], reverse))
    return {b.cumulativeSum(x, inner[0], /*exclusive=*/false, reverse)};

  const size_t outer = order.size();
  order.append(inner);
  Value moved = permute(b, x, order);
  // Exactly two axes before those of the windows.
  Dims dims = b.dims(moved), target;
  if (outer >= 2) {
    target = {b.product(ArrayRef(dims).take_front(outer - 1)), dims[outer - 1]};
  } else {
    target.assign(2 - outer, b.index(1));
    target.append(dims.begin(), dims.begin() + outer);
  }
  target.append(dims.begin() + outer, dims.end());
  if (outer != 2)
    moved = b.reshape(moved, target);
  if (*kind == Combine::Min)
    moved = b.unary(Unary::Neg, moved);
  Value made = *kind == Combine::Sum ? b.averagePool(moved, options)
                                     : b.maxPool(moved, options);
  if (!made)
    return {};
  if (*kind == Combine::Min)
    made = b.unary(Unary::Neg, made);
  if (outer != 2) {
    Dims result(dims.begin(), dims.begin() + outer), all = b.dims(made);
    result.append(all.begin() + 2, all.end());
    made = b.reshape(made, result);
  }
  SmallVector<int64_t> back(rank);
  for (auto [at, axis] : llvm::enumerate(order))
    back[axis] = at;
  return {permute(b, made, back)};
}

//===----------------------------------------------------------------------===//
// Sorting
//===----------------------------------------------------------------------===//

/// By one operand, the others in its order.
Results sort(Call &c) {
  OpsBuilder &b = c.b;
  const unsigned count = c.operands.size();
  if (!count || c.op->getNumRegions() != 1 ||
      !llvm::hasSingleElement(c.op->getRegion(0)) ||
      c.op->getRegion(0).front().empty())
    return {b.fail("needs operands and a comparison")};
  Block &body = c.op->getRegion(0).front();
  Operation *last = body.back().getNumOperands() == 1
                        ? body.back().getOperand(0).getDefiningOp()
                        : nullptr;
  llvm::SmallSetVector<unsigned, 4> left, right;
  if (!last || last->getName().getStringRef() != "stablehlo.compare" ||
      last->getNumOperands() != 2 || !dependsOn(last->getOperand(0), left) ||
      !dependsOn(last->getOperand(1), right) || left.size() != 1 ||
      right.size() != 1 || left[0] / 2 != right[0] / 2 || left[0] == right[0] ||
      left[0] / 2 >= count)
    return {b.fail("comparisons of one operand's elements are supported")};
  StringRef direction = directionOf(*last);
  bool isDescending = direction.starts_with("G");
  if (left[0] > right[0])
    isDescending = !isDescending;
  if (!direction.starts_with("G") && !direction.starts_with("L"))
    return {b.fail("the comparison gives no order")};
  Value key = c.operands[left[0] / 2];
  std::optional<int64_t> axis =
      b.axis(c.integer({"dimension"}, -1), OpsBuilder::rankOf(key));
  if (!axis)
    return {};
  auto [values, positions] =
      b.topk(key, b.dim(key, *axis), *axis, isDescending, c.isUnsigned());
  Results results;
  for (Value x : c.operands)
    results.push_back(x == key ? values
                               : b.gatherElements(x, positions, *axis));
  return results;
}

Results topK(Call &c) {
  Value x = c.operand(0);
  if (!x)
    return {};
  auto [values, positions] =
      c.b.topk(x, c.b.index(c.integer({"k"}, 0)), OpsBuilder::rankOf(x) - 1,
               /*largest=*/true, c.isUnsigned());
  if (!values || !positions)
    return {};
  return {values, c.b.cast(positions, c.b.getI32Type())};
}

} // namespace

void addReductions(Table &table) {
  table["reduce"] = reduce;
  table["reduce_window"] = reduceWindow;
  table["sort"] = sort;
  table["top_k"] = topK;
}

} // namespace marver::hlo
