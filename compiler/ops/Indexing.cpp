//===- Indexing.cpp - Builders of gathers and scatters --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Indexing by several tensors at once is indexing of the flattened leading dims
// by one linear position. A component that is out of range makes the linear
// position out of range too, so that the one check of mv.gather or mv.scatter
// finds it.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ops/Ops.h"
#include "compiler/ops/ScalarMath.h"
#include "marver/abi.h"

using namespace mlir;
using namespace marver;

static bool checkIndices(OpsBuilder &ops, Value indices) {
  Type element = OpsBuilder::elementOf(indices);
  if (element.isInteger(32) || element.isInteger(64))
    return true;
  ops.fail("needs indices of type int32 or int64");
  return false;
}

/// Are constant indices all within a known size?
static bool areInRange(Value indices, Dim size) {
  auto length = OpsBuilder::known(size);
  auto data = getConstantData(indices);
  if (!length || !data)
    return false;
  int64_t count = data->isSplat ? 1 : elementCount(data->type);
  for (int64_t i = 0; i < count; ++i)
    if (data->getInt(i) < -*length || data->getInt(i) >= *length)
      return false;
  return true;
}

Value OpsBuilder::gather(Value x, Value indices, int64_t axis) {
  if (!x || !indices)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position || !checkIndices(*this, indices))
    return nullptr;
  // One known position is a slice.
  Dim size = dim(x, *position);
  if (auto data = getConstantData(indices);
      data && elementCount(data->type) == 1) {
    Dims target = dims(x), middle = dims(indices);
    target.erase(target.begin() + *position);
    target.insert(target.begin() + *position, middle.begin(), middle.end());
    return reshape(select(x, *position, index(data->getInt(0))), target);
  }
  Dims all = dims(x), at = dims(indices),
       target(all.begin(), all.begin() + *position);
  target.append(at);
  target.append(all.begin() + *position + 1, all.end());
  bool unchecked = areInRange(indices, size);
  if (!unchecked && getConstantData(indices) && known(size))
    return fail("has an index that is out of range for a dim of " +
                Twine(*known(size)));
  return withDims(mv::GatherOp::create(*this, typeFor(target, elementOf(x)), x,
                                       indices, uint64_t(*position), unchecked),
                  target);
}

Value OpsBuilder::gatherElements(Value x, Value indices, int64_t axis) {
  if (!x || !indices)
    return nullptr;
  if (rankOf(x) == 0)
    return x;
  auto position = this->axis(axis, rankOf(x));
  if (!position || !checkIndices(*this, indices))
    return nullptr;
  if (rankOf(indices) != rankOf(x))
    return fail("needs indices of the rank of its input");
  Dims target = dims(indices);
  for (int64_t i = 0; i < rankOf(x); ++i) {
    auto own = known(dim(x, i)), wanted = known(target[i]);
    if (i != *position && own && wanted && *wanted > *own)
      return fail("has indices larger than its input");
  }
  return withDims(
      mv::GatherElementsOp::create(*this, typeFor(target, elementOf(x)), x,
                                   indices, uint64_t(*position),
                                   areInRange(indices, dim(x, *position))),
      target);
}

/// Linear position, in dims `sizes`, of positions given per dim; broadcasts.
Value OpsBuilder::linearPosition(ArrayRef<Value> components,
                                 ArrayRef<Dim> sizes) {
  Type i64 = getI64Type();
  SmallVector<Value> operands;
  Dim stride = index(1);
  SmallVector<Dim> strides(sizes.size());
  for (int64_t i = int64_t(sizes.size()) - 1; i >= 0; --i) {
    strides[i] = stride;
    stride = mul(stride, sizes[i]);
  }
  size_t count = components.size();
  for (Value component : components)
    operands.push_back(cast(component, i64));
  for (Dim size : sizes)
    operands.push_back(dimsToTensor({size}, i64, /*scalar=*/true));
  for (Dim step : strides)
    operands.push_back(dimsToTensor({step}, i64, /*scalar=*/true));
  operands.push_back(dimsToTensor({stride}, i64, /*scalar=*/true));
  return map(
      operands, i64, [&](ImplicitLocOpBuilder &b, mlir::ValueRange args) {
        ScalarMath math(b);
        Value zero = math.integer(0, b.getI64Type()), sum = zero;
        Value good = math.integer(1, b.getI1Type());
        for (size_t i = 0; i < count; ++i) {
          Value at = args[i], size = args[count + i];
          at = math.select(math.compare(Compare::Lt, at, zero),
                           math.add(at, size), at);
          Value inRange =
              arith::CmpIOp::create(b, arith::CmpIPredicate::ult, at, size);
          good = arith::AndIOp::create(b, good, inRange);
          sum = math.add(sum, math.mul(at, args[2 * count + i]));
        }
        return math.select(good, sum, args.back());
      });
}

/// The components of an index tensor [..., count], each without that last dim.
SmallVector<Value> OpsBuilder::components(Value indices, int64_t count) {
  SmallVector<Value> result;
  int64_t last = rankOf(indices) - 1;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(
        squeeze(narrow(indices, last, index(i), index(1)), {last}));
  return result;
}

Value OpsBuilder::gatherNd(Value x, Value indices, int64_t batchDims) {
  if (!x || !indices)
    return nullptr;
  if (!checkIndices(*this, indices))
    return nullptr;
  int64_t rank = rankOf(indices);
  if (rank == 0 || batchDims < 0 || batchDims >= rank || batchDims > rankOf(x))
    return fail("has " + Twine(batchDims) +
                " batch dims, too many for its operands");
  auto depth = known(dim(indices, rank - 1));
  if (!depth || *depth < 1 || batchDims + *depth > rankOf(x))
    return fail("has index tuples of a length that does not fit its input");
  Dims all = dims(x), at = dims(indices);
  SmallVector<Value> parts;
  // Batch dims are positions of their own.
  for (int64_t i = 0; i < batchDims; ++i) {
    if (!requireEqual(all[i], at[i], "batch dims"))
      return nullptr;
    SmallVector<int64_t> behind;
    for (int64_t k = 1; k < rank - 1 - i; ++k)
      behind.push_back(k);
    parts.push_back(
        unsqueeze(arange(index(0), index(1), at[i], getI64Type()), behind));
  }
  parts.append(components(indices, *depth));
  int64_t leading = batchDims + *depth;
  Dims sizes(all.begin(), all.begin() + leading);
  Value position = linearPosition(parts, sizes);
  Dims flat = {product(sizes)};
  flat.append(all.begin() + leading, all.end());
  return gather(reshape(x, flat), position, 0);
}

/// Where PyTorch puts the dims of x that `indices` names: those first, the
/// others behind in order.
static SmallVector<int64_t> indexedFirst(ArrayRef<Value> indices,
                                         int64_t rank) {
  SmallVector<int64_t> order, others;
  for (int64_t i = 0; i < rank; ++i)
    (i < int64_t(indices.size()) && indices[i] ? order : others).push_back(i);
  order.append(others);
  return order;
}

/// First of the indexed dims if they are neighbours, else 0: where the dims of
/// the index tensors go in the result.
static int64_t resultPosition(ArrayRef<Value> indices) {
  int64_t first = -1, last = -1, count = 0;
  for (auto [i, value] : llvm::enumerate(indices)) {
    if (!value)
      continue;
    first = first < 0 ? int64_t(i) : first;
    last = i;
    ++count;
  }
  return last - first + 1 == count ? first : 0;
}

Value OpsBuilder::indexTensors(Value x, Values indices) {
  if (!x)
    return nullptr;
  if (int64_t(indices.size()) > rankOf(x))
    return fail("has more indices than dims");
  SmallVector<Value> parts;
  SmallVector<Dims> shapes;
  int64_t only = -1;
  for (auto [i, value] : llvm::enumerate(indices)) {
    if (!value)
      continue;
    if (!checkIndices(*this, value))
      return nullptr;
    parts.push_back(value);
    shapes.push_back(dims(value));
    only = i;
  }
  if (parts.empty())
    return x;
  if (parts.size() == 1)
    return gather(x, parts[0], only);
  auto shape = broadcastDims(shapes);
  if (!shape)
    return nullptr;
  SmallVector<int64_t> order = indexedFirst(indices, rankOf(x));
  Value front = transpose(x, order);
  if (!front)
    return nullptr;
  Dims all = dims(front);
  Dims sizes(all.begin(), all.begin() + parts.size());
  Dims flat = {product(sizes)};
  flat.append(all.begin() + parts.size(), all.end());
  Value result = gather(reshape(front, flat), linearPosition(parts, sizes), 0);
  // The index dims are in front; they may belong behind the first dims of x.
  int64_t ahead = resultPosition(indices);
  if (!result || ahead == 0)
    return result;
  int64_t width = shape->size();
  SmallVector<int64_t> back;
  for (int64_t i = 0; i < ahead; ++i)
    back.push_back(width + i);
  for (int64_t i = 0; i < width; ++i)
    back.push_back(i);
  for (int64_t i = width + ahead; i < rankOf(result); ++i)
    back.push_back(i);
  return transpose(result, back);
}

/// x (flattened to [size, rest...]) with `updates` [positions, rest...] put or
/// combined at the one-dim `positions`.
Value OpsBuilder::scatterRows(Value x, Value positions, Value updates,
                              int64_t axis, ScatterKind kind) {
  if (!x || !positions || !updates)
    return nullptr;
  if (elementOf(updates) != elementOf(x))
    return fail("has updates of another element type");
  return withDims(mv::ScatterOp::create(*this, x.getType(), x, positions,
                                        updates, uint64_t(axis),
                                        static_cast<mv::ScatterKind>(kind)),
                  dims(x));
}

Value OpsBuilder::indexPut(Value x, Values indices, Value values,
                           ScatterKind kind) {
  if (!x || !values)
    return nullptr;
  if (int64_t(indices.size()) > rankOf(x))
    return fail("has more indices than dims");
  SmallVector<Value> parts;
  SmallVector<Dims> shapes;
  for (Value value : indices) {
    if (!value)
      continue;
    if (!checkIndices(*this, value))
      return nullptr;
    parts.push_back(value);
    shapes.push_back(dims(value));
  }
  if (parts.empty())
    return fail("has no indices");
  auto shape = broadcastDims(shapes);
  if (!shape)
    return nullptr;
  SmallVector<int64_t> order = indexedFirst(indices, rankOf(x));
  Value front = transpose(x, order);
  Dims all = dims(front);
  Dims sizes(all.begin(), all.begin() + parts.size());
  Dims rest(all.begin() + parts.size(), all.end());
  // Values have the shape of the indexed result: move the index dims in front.
  int64_t ahead = resultPosition(indices), width = shape->size();
  Dims wanted(rest.begin(), rest.begin() + ahead);
  wanted.append(*shape);
  wanted.append(rest.begin() + ahead, rest.end());
  Value spread = expand(values, wanted);
  if (!spread)
    return nullptr;
  if (rankOf(spread) != int64_t(wanted.size()))
    return fail("has values that do not broadcast to the indexed elements");
  SmallVector<int64_t> forward;
  for (int64_t i = 0; i < width; ++i)
    forward.push_back(ahead + i);
  for (int64_t i = 0; i < rankOf(spread); ++i)
    if (i < ahead || i >= ahead + width)
      forward.push_back(i);
  Dims flat = {product(sizes)}, rows = {product(*shape)};
  flat.append(rest);
  rows.append(rest);
  Value position = expand(linearPosition(parts, sizes), *shape);
  Value result =
      scatterRows(reshape(front, flat), reshape(position, {product(*shape)}),
                  reshape(transpose(spread, forward), rows), 0, kind);
  result = reshape(result, all);
  SmallVector<int64_t> inverse(order.size());
  for (auto [i, axis] : llvm::enumerate(order))
    inverse[axis] = i;
  return transpose(result, inverse);
}

Value OpsBuilder::indexCopy(Value x, Value indices, Value updates,
                            int64_t axis) {
  if (!x || !indices || !updates)
    return nullptr;
  if (rankOf(x) == 0)
    return reshape(updates, {});
  auto position = this->axis(axis, rankOf(x));
  if (!position || !checkIndices(*this, indices))
    return nullptr;
  if (rankOf(indices) == 0)
    indices = unsqueeze(indices, {0});
  if (rankOf(updates) + 1 == rankOf(x))
    updates = unsqueeze(updates, {*position});
  if (rankOf(indices) != 1 || rankOf(updates) != rankOf(x))
    return fail(
        "needs one-dimensional indices and updates of its input's rank");
  for (int64_t i = 0; i < rankOf(x); ++i)
    if (!requireEqual(dim(updates, i),
                      i == *position ? dim(indices, 0) : dim(x, i),
                      "dims of the updates"))
      return nullptr;
  return scatterRows(x, indices, updates, *position, ScatterKind::Replace);
}

Value OpsBuilder::scatterElements(Value x, Value indices, Value updates,
                                  int64_t axis, ScatterKind kind) {
  if (!x || !indices || !updates)
    return nullptr;
  if (rankOf(x) == 0)
    return scatterElements(unsqueeze(x, {0}), unsqueeze(indices, {0}),
                           unsqueeze(updates, {0}), 0, kind);
  int64_t rank = rankOf(x);
  auto position = this->axis(axis, rank);
  if (!position || !checkIndices(*this, indices))
    return nullptr;
  if (rankOf(indices) != rank || rankOf(updates) != rank)
    return fail("needs indices and updates of its input's rank");
  // Of larger updates only the part at the indices counts.
  Dims at = dims(indices);
  for (int64_t i = 0; i < rank; ++i)
    updates = narrow(updates, i, index(0), at[i]);
  SmallVector<Value> parts;
  for (int64_t i = 0; i < rank; ++i) {
    if (i == *position) {
      parts.push_back(indices);
      continue;
    }
    SmallVector<int64_t> behind;
    for (int64_t k = 1; k < rank - i; ++k)
      behind.push_back(k);
    parts.push_back(
        unsqueeze(arange(index(0), index(1), at[i], getI64Type()), behind));
  }
  Dims all = dims(x);
  Dim count = product(at);
  Value flat = scatterRows(reshape(x, {product(all)}),
                           reshape(linearPosition(parts, all), {count}),
                           reshape(updates, {count}), 0, kind);
  return reshape(flat, all);
}

Value OpsBuilder::scatterNd(Value x, Value indices, Value updates,
                            ScatterKind kind) {
  if (!x || !indices || !updates)
    return nullptr;
  if (!checkIndices(*this, indices))
    return nullptr;
  int64_t rank = rankOf(indices);
  auto depth = rank ? known(dim(indices, rank - 1)) : std::nullopt;
  if (!depth || *depth > rankOf(x))
    return fail("has index tuples of a length that does not fit its input");
  Dims all = dims(x), at = dims(indices);
  Dims batch(at.begin(), at.end() - 1), rest(all.begin() + *depth, all.end());
  Dims wanted = batch;
  wanted.append(rest);
  Dims own = dims(updates);
  if (own.size() != wanted.size())
    return fail("has updates of another shape than its indices ask for");
  for (auto [a, b] : llvm::zip(own, wanted))
    if (!requireEqual(a, b, "dims of the updates"))
      return nullptr;
  if (*depth == 0) // Every update replaces the whole.
    return fail("has index tuples of length 0");
  Dims sizes(all.begin(), all.begin() + *depth);
  Value position = *depth == 1
                       ? squeeze(indices, {-1})
                       : linearPosition(components(indices, *depth), sizes);
  Dims flat = {product(sizes)}, rows = {product(batch)};
  flat.append(rest);
  rows.append(rest);
  Value result =
      scatterRows(reshape(x, flat), reshape(position, {product(batch)}),
                  reshape(updates, rows), 0, kind);
  return reshape(result, all);
}

Value OpsBuilder::sliceScatter(Value x, Value updates, int64_t axis, Dim start,
                               Dim step) {
  if (!x || !updates)
    return nullptr;
  auto position = this->axis(axis, rankOf(x));
  if (!position)
    return nullptr;
  if (rankOf(updates) != rankOf(x))
    return fail("needs updates of its input's rank");
  Dim size = dim(x, *position), count = dim(updates, *position);
  Value negative = compare(arith::CmpIPredicate::slt, start, index(0));
  start = max(index(0), min(size, select(negative, add(start, size), start)));
  if (known(step) == 1) {
    Dim end = add(start, count);
    Value head = narrow(x, *position, index(0), start);
    Value tail = narrow(x, *position, end, sub(size, end));
    return concat({head, updates, tail}, *position);
  }
  return indexCopy(x, arange(start, step, count, getI64Type()), updates,
                   *position);
}
