//===- Pooling.cpp - Builders of pools ------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "compiler/ops/Windows.h"

using namespace mlir;
using namespace marver;

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// Numbers beyond this in a model's attributes are nonsense, and keep sums of a
/// few of them far from overflow.
static constexpr int64_t largestSize = int64_t(1) << 31;

bool Windows::fill(OpsBuilder &ops, ArrayRef<int64_t> sizes,
                   ArrayRef<int64_t> givenStrides,
                   ArrayRef<int64_t> givenDilations,
                   ArrayRef<int64_t> givenPads, bool allowNegativePads) {
  size_t spatial = sizes.size();
  kernel.assign(sizes.begin(), sizes.end());
  strides.assign(spatial, 1);
  dilations.assign(spatial, 1);
  pads.assign(2 * spatial, 0);
  auto take = [&](SmallVector<int64_t> &list, ArrayRef<int64_t> given,
                  StringRef what, int64_t lowest) {
    if (!given.empty() && given.size() != list.size()) {
      ops.fail("has " + Twine(given.size()) + " " + what + ", not " +
               Twine(list.size()));
      return false;
    }
    if (!given.empty())
      list.assign(given.begin(), given.end());
    for (int64_t number : list)
      if (number < lowest || number > largestSize) {
        ops.fail("has " + what + " of " + Twine(number));
        return false;
      }
    return true;
  };
  return take(kernel, {}, "window sizes", 1) &&
         take(strides, givenStrides, "strides", 1) &&
         take(dilations, givenDilations, "dilations", 1) &&
         take(pads, givenPads, "pads", allowNegativePads ? -largestSize : 0);
}

std::optional<Dim> Windows::count(OpsBuilder &ops, int64_t i, Dim size) const {
  Dim room = ops.sub(size, ops.index(reach(i) - pads[i] - pads[i + rank()]));
  if (auto number = OpsBuilder::known(room); number && *number < 0) {
    ops.fail("has windows of " + Twine(reach(i)) + " elements on a dim of " +
             Twine(*OpsBuilder::known(size)) + " (pads " + Twine(pads[i]) +
             " and " + Twine(pads[i + rank()]) + ")");
    return std::nullopt;
  }
  return ops.add(ops.floorDiv(room, ops.index(strides[i])), ops.index(1));
}

//===----------------------------------------------------------------------===//
// Pools
//===----------------------------------------------------------------------===//

Value OpsBuilder::pool(mv::PoolKind kind, Value x, const PoolOptions &options) {
  if (!x)
    return nullptr;
  int64_t rank = rankOf(x), spatial = rank - 2;
  if (spatial < 1 || int64_t(options.window.size()) != spatial)
    return fail("needs a window size for each spatial dim");
  if (kind == mv::PoolKind::Average && !isFloat(x))
    return fail("takes tensors of floating-point type");
  Windows windows;
  if (!windows.fill(*this, options.window, options.strides, options.dilations,
                    options.pads))
    return nullptr;

  // In ceil mode a last, partial window counts too, if it starts inside the
  // input or its low padding.
  Dims all = dims(x), target = {all[0], all[1]}, wanted = target;
  SmallVector<int64_t> extra(spatial, 0);
  for (int64_t i = 0; i < spatial; ++i) {
    Dim size = all[i + 2];
    int64_t stride = windows.strides[i], low = windows.pads[i];
    if (auto number = known(size); number && options.ceilMode) {
      int64_t room =
          *number + low + windows.pads[i + spatial] - windows.reach(i);
      if (room >= 0)
        extra[i] = llvm::alignTo(room, stride) - room;
      else if (room > -stride)
        extra[i] = -room; // one window, larger than what it sees
      int64_t last = (room + extra[i]) / stride * stride;
      if (extra[i] && last >= *number + low)
        extra[i] = 0;
    } else if (options.ceilMode) {
      extra[i] = stride - 1;
    }
    windows.pads[i + spatial] += extra[i];
    auto count = windows.count(*this, i, size);
    if (!count)
      return nullptr;
    target.push_back(*count);
    if (options.ceilMode && !known(size))
      count = min(*count, ceilDiv(add(size, index(low)), index(stride)));
    wanted.push_back(*count);
  }

  // Padding that counts is made of real zeros, so that what ceil mode adds
  // beyond it can stay out of the average.
  bool average = kind == mv::PoolKind::Average;
  Value source = x;
  if (average && (options.countIncludePad || options.divisor)) {
    Dims low(rank, index(0)), high(rank, index(0));
    for (int64_t i = 0; i < spatial; ++i) {
      low[i + 2] = index(windows.pads[i]);
      high[i + 2] = index(windows.pads[i + spatial] - extra[i]);
      windows.pads[i] = 0;
      windows.pads[i + spatial] = extra[i];
    }
    source = pad(source, low, high, PadMode::Constant);
  }
  bool wholeWindow = average && options.divisor;
  Value result = withDims(
      mv::PoolOp::create(*this, typeFor(target, elementOf(x)), source, kind,
                         windows.kernel, windows.strides, windows.dilations,
                         windows.pads, /*count_include_pad=*/wholeWindow,
                         /*blocked=*/false),
      target);
  for (int64_t i = 0; i < spatial; ++i)
    result = narrow(result, i + 2, index(0), wanted[i + 2]);
  if (!wholeWindow)
    return result;
  int64_t elements = 1;
  for (int64_t size : windows.kernel)
    elements *= size;
  if (*options.divisor == 0)
    return fail("has a divisor of 0");
  return mul(result,
             scalar(double(elements) / double(*options.divisor), elementOf(x)));
}

Value OpsBuilder::maxPool(Value x, const PoolOptions &options) {
  return pool(mv::PoolKind::Max, x, options);
}

Value OpsBuilder::averagePool(Value x, const PoolOptions &options) {
  return pool(mv::PoolKind::Average, x, options);
}

Value OpsBuilder::lpPool(Value x, const PoolOptions &options, double order) {
  if (!x)
    return nullptr;
  if (!isFloat(x))
    return fail("takes tensors of floating-point type");
  // (sum |x|^p)^(1/p), the sum as an average over a count of one.
  PoolOptions sum = options;
  sum.divisor = 1;
  Type element = elementOf(x);
  Value powers =
      binary(Binary::Pow, unary(Unary::Abs, x), scalar(order, element));
  return binary(Binary::Pow, averagePool(powers, sum),
                scalar(1 / order, element));
}

Value OpsBuilder::globalPool(mv::PoolKind kind, Value x) {
  if (!x)
    return nullptr;
  if (rankOf(x) < 3)
    return fail("needs a tensor of rank 3 or more");
  auto axes = llvm::to_vector(llvm::seq<int64_t>(2, rankOf(x)));
  return reduce(kind == mv::PoolKind::Max ? Reduce::Max : Reduce::Mean, x, axes,
                /*keepDims=*/true);
}

Value OpsBuilder::adaptivePool(mv::PoolKind kind, Value x,
                               ArrayRef<int64_t> sizes) {
  if (!x)
    return nullptr;
  int64_t spatial = sizes.size(), first = rankOf(x) - spatial;
  if (first < 1)
    return fail("needs a tensor of rank " + Twine(spatial + 1) + " or more");
  Reduce reduction = kind == mv::PoolKind::Max ? Reduce::Max : Reduce::Mean;
  // To 1: a reduction. To a divisor: a pool. Else each result is a reduction of
  // its own window, one axis after the other.
  PoolOptions windows;
  SmallVector<int64_t> toOne, uneven;
  bool pools = false;
  for (int64_t i = 0; i < spatial; ++i) {
    auto size = known(dim(x, first + i));
    if (sizes[i] < 0)
      return fail("has an output size of " + Twine(sizes[i]));
    if (sizes[i] == 1) {
      toOne.push_back(first + i);
      windows.window.push_back(1);
      continue;
    }
    if (!size)
      return fail("needs an input whose sizes are known, for an output of " +
                  Twine(sizes[i]));
    bool divides = sizes[i] > 0 && *size % sizes[i] == 0 && *size > 0;
    if (!divides)
      uneven.push_back(i);
    windows.window.push_back(divides ? *size / sizes[i] : 1);
    pools |= divides && *size != sizes[i];
  }
  Value result = x;
  if (!toOne.empty())
    result = reduce(reduction, result, toOne, /*keepDims=*/true);
  if (pools) {
    windows.strides = windows.window;
    Value batched = first == 1 ? unsqueeze(result, {0}) : result;
    result = kind == mv::PoolKind::Max ? maxPool(batched, windows)
                                       : averagePool(batched, windows);
    if (first == 1)
      result = squeeze(result, {0});
  }
  for (int64_t i : uneven) {
    if (!result)
      return nullptr;
    int64_t size = *known(dim(x, first + i)), count = sizes[i];
    SmallVector<Value> parts;
    for (int64_t k = 0; k < count; ++k) {
      int64_t begin = k * size / count,
              end = llvm::divideCeil((k + 1) * size, count);
      Value window =
          narrow(result, first + i, index(begin), index(end - begin));
      parts.push_back(
          reduce(reduction, window, {first + i}, /*keepDims=*/true));
    }
    result = count == 0 ? narrow(result, first + i, index(0), index(0))
                        : concat(parts, first + i);
  }
  return result;
}
