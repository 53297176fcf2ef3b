//===- Contractions.cpp - Builders of products and convolutions -----------===//
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
// Matrix products
//===----------------------------------------------------------------------===//

/// Is every dim but the last two a one?
static bool hasUnitBatch(OpsBuilder &ops, Value x) {
  return llvm::all_of(ArrayRef<Dim>(ops.dims(x)).drop_back(2),
                      [](Dim dim) { return OpsBuilder::known(dim) == 1; });
}

Value OpsBuilder::product(Value a, Value b, bool transposeB) {
  if (!a || !b)
    return nullptr;
  if (elementOf(a) != elementOf(b))
    return fail("operands have different element types");
  if (elementOf(a).isInteger(1))
    return fail("is not defined for elements of type bool");
  assert(rankOf(a) >= 2 && rankOf(b) >= 2);
  Dims left = dims(a), right = dims(b);
  Dim columns = right[right.size() - (transposeB ? 2 : 1)];
  Dim depth = right[right.size() - (transposeB ? 1 : 2)];
  if (!requireEqual(left.back(), depth, "inner dims of a matrix product"))
    return nullptr;
  // One matrix on the right serves all on the left; else both have the same
  // batch dims.
  if (right.size() > 2 && hasUnitBatch(*this, b)) {
    Dims batch(std::max(left.size(), right.size()) - left.size(), index(1));
    batch.append(left);
    a = reshape(a, batch);
    b = reshape(b, ArrayRef<Dim>(right).take_back(2));
  } else if (right.size() > 2) {
    auto batch = broadcastDims({Dims(ArrayRef<Dim>(left).drop_back(2)),
                                Dims(ArrayRef<Dim>(right).drop_back(2))});
    if (!batch)
      return nullptr;
    Dims leftTarget = *batch, rightTarget = *batch;
    leftTarget.append(left.end() - 2, left.end());
    rightTarget.append(right.end() - 2, right.end());
    a = expand(a, leftTarget);
    b = expand(b, rightTarget);
  }
  if (!a || !b)
    return nullptr;
  Dims target = dims(a);
  target.back() = columns;
  return withDims(mv::MatmulOp::create(*this, typeFor(target, elementOf(a)), a,
                                       b, transposeB),
                  target);
}

Value OpsBuilder::matmul(Value a, Value b) {
  if (!a || !b)
    return nullptr;
  if (rankOf(a) == 0 || rankOf(b) == 0)
    return fail("a matrix product of a scalar");
  bool leftVector = rankOf(a) == 1, rightVector = rankOf(b) == 1;
  Value result = product(leftVector ? unsqueeze(a, {0}) : a,
                         rightVector ? unsqueeze(b, {1}) : b, false);
  if (result && rightVector)
    result = squeeze(result, {-1});
  if (result && leftVector)
    result = squeeze(result, {rightVector ? -1 : -2});
  return result;
}

Value OpsBuilder::linear(Value x, Value weight, Value bias) {
  if (!x || !weight)
    return nullptr;
  if (rankOf(x) == 0 || rankOf(weight) == 0 || rankOf(weight) > 2)
    return fail("needs a weight of rank 1 or 2");
  Value result;
  if (rankOf(weight) == 1) {
    result = matmul(x, weight);
  } else {
    bool isVector = rankOf(x) == 1;
    result =
        product(isVector ? unsqueeze(x, {0}) : x, weight, /*transposeB=*/true);
    if (result && isVector)
      result = squeeze(result, {0});
  }
  return bias ? add(result, bias) : result;
}

Value OpsBuilder::gemm(Value a, Value b, Value c, double alpha, double beta,
                       bool transposeA, bool transposeB) {
  if (!a || !b)
    return nullptr;
  if (rankOf(a) != 2 || rankOf(b) != 2)
    return fail("needs matrices");
  Type element = elementOf(a);
  Value result = product(transposeA ? transpose(a, {1, 0}) : a, b, transposeB);
  if (alpha != 1)
    result = mul(result, scalar(alpha, element));
  if (!c || beta == 0)
    return result;
  return add(result, beta == 1 ? c : mul(c, scalar(beta, element)));
}

Value OpsBuilder::attention(Value query, Value key, Value value, Value mask,
                            std::optional<double> scale, bool causal,
                            bool groupedHeads) {
  if (!query || !key || !value)
    return nullptr;
  int64_t rank = rankOf(query);
  if (rank < 2 || rankOf(key) != rank || rankOf(value) != rank)
    return fail("needs query, key and value of the same rank, 2 or more");
  if (!isFloat(query) || elementOf(key) != elementOf(query) ||
      elementOf(value) != elementOf(query))
    return fail("needs query, key and value of the same floating-point type");
  if (groupedHeads && rank >= 3) {
    for (Value *heads : {&key, &value}) {
      auto own = known(dim(*heads, rank - 3)),
           wanted = known(dim(query, rank - 3));
      if (!own || !wanted || *own == 0 || *wanted % *own != 0)
        return fail("needs numbers of heads that divide");
      if (*own != *wanted)
        *heads = repeatInterleave(*heads, rank - 3, index(*wanted / *own));
    }
  }
  auto batchOf = [&](Value x) {
    return Dims(ArrayRef<Dim>(dims(x)).drop_back(2));
  };
  auto batch = broadcastDims({batchOf(query), batchOf(key), batchOf(value)});
  if (!batch)
    return nullptr;
  for (Value *operand : {&query, &key, &value}) {
    Dims target = *batch, own = dims(*operand);
    target.append(own.end() - 2, own.end());
    *operand = expand(*operand, target);
  }
  Dims q = dims(query), k = dims(key), v = dims(value);
  if (!requireEqual(q.back(), k.back(), "sizes of query and key") ||
      !requireEqual(k[rank - 2], v[rank - 2], "lengths of key and value"))
    return nullptr;
  if (mask) {
    Dims scores = *batch;
    scores.append({q[rank - 2], k[rank - 2]});
    if (!elementOf(mask).isInteger(1) && !isFloat(mask))
      return fail("needs a mask of type bool or floating-point");
    if (rankOf(mask) > rank || !broadcastDims({scores, dims(mask)}))
      return fail("has a mask that does not broadcast");
    if (isFloat(mask))
      mask = cast(mask, elementOf(query));
  }
  if (!scale) {
    auto size = known(q.back());
    if (!size)
      return fail("needs a size of query that is known, or a scale");
    scale = 1 / std::sqrt(double(*size));
  }
  Dims target = *batch;
  target.append({q[rank - 2], v[rank - 1]});
  return withDims(
      mv::AttentionOp::create(*this, typeFor(target, elementOf(query)), query,
                              key, value, mask, llvm::APFloat(*scale), causal),
      target);
}

//===----------------------------------------------------------------------===//
// Convolutions
//===----------------------------------------------------------------------===//

Value OpsBuilder::conv(Value x, Value filter, Value bias,
                       const ConvOptions &options) {
  if (!x || !filter)
    return nullptr;
  int64_t spatial = rankOf(x) - 2;
  if (spatial < 1 || rankOf(filter) != rankOf(x))
    return fail(
        "needs an input of rank 3 or more and a filter of the same rank");
  if (elementOf(x) != elementOf(filter) ||
      (bias && elementOf(bias) != elementOf(x)))
    return fail("operands have different element types");
  Windows windows;
  SmallVector<int64_t> kernel;
  for (int64_t i = 0; i < spatial; ++i) {
    auto size = known(dim(filter, i + 2));
    if (!size || *size < 1)
      return fail("needs a filter whose sizes are known and positive");
    kernel.push_back(*size);
  }
  if (!windows.fill(*this, kernel, options.strides, options.dilations,
                    options.pads))
    return nullptr;
  Dims source = dims(x);
  auto outputs = known(dim(filter, 0));
  if (options.groups < 1 || (outputs && *outputs % options.groups != 0))
    return fail("has " + Twine(options.groups) +
                " groups, which do not divide its outputs");
  if (!requireEqual(source[1], mul(dim(filter, 1), index(options.groups)),
                    "channels of input and filter"))
    return nullptr;
  if (bias && (rankOf(bias) != 1 || !requireEqual(dim(bias, 0), dim(filter, 0),
                                                  "sizes of bias and filter")))
    return fail("needs a bias with one number per output");
  Dims target = {source[0], dim(filter, 0)};
  for (int64_t i = 0; i < spatial; ++i) {
    auto size = windows.count(*this, i, source[i + 2]);
    if (!size)
      return nullptr;
    target.push_back(*size);
  }
  return withDims(mv::ConvOp::create(*this, typeFor(target, elementOf(x)), x,
                                     filter, bias, windows.strides,
                                     windows.dilations, windows.pads,
                                     uint64_t(options.groups)),
                  target);
}

Value OpsBuilder::convTranspose(Value x, Value filter, Value bias,
                                const ConvOptions &options,
                                ArrayRef<int64_t> outputPadding) {
  if (!x || !filter)
    return nullptr;
  int64_t rank = rankOf(x), spatial = rank - 2, groups = options.groups;
  if (spatial < 1 || rankOf(filter) != rank)
    return fail(
        "needs an input of rank 3 or more and a filter of the same rank");
  SmallVector<int64_t> kernel;
  for (int64_t i = 0; i < spatial; ++i) {
    auto size = known(dim(filter, i + 2));
    if (!size || *size < 1)
      return fail("needs a filter whose sizes are known and positive");
    kernel.push_back(*size);
  }
  Windows windows;
  if (!windows.fill(*this, kernel, options.strides, options.dilations,
                    options.pads))
    return nullptr;
  if (!outputPadding.empty() && int64_t(outputPadding.size()) != spatial)
    return fail("needs an output padding for each spatial dim");
  auto inputs = known(dim(filter, 0)), outputs = known(dim(filter, 1));
  if (!inputs || !outputs || groups < 1 || *inputs % groups != 0)
    return fail("has " + Twine(groups) +
                " groups, which do not divide its inputs");

  // The transposed filter, turned round: F x C/groups x K...
  Dims split = {index(groups), index(*inputs / groups), index(*outputs)};
  Dims merged = {index(*outputs * groups), index(*inputs / groups)};
  SmallVector<int64_t> order = {0, 2, 1}, spatialAxes;
  for (int64_t i = 0; i < spatial; ++i) {
    split.push_back(index(kernel[i]));
    merged.push_back(index(kernel[i]));
    order.push_back(i + 3);
    spatialAxes.push_back(i + 2);
  }
  Value turned = flip(reshape(transpose(reshape(filter, split), order), merged),
                      spatialAxes);

  // Zeros between the input's elements: pad [.., h, 1, ..] to [.., h, s, ..].
  Value spread = x;
  if (llvm::any_of(windows.strides,
                   [](int64_t stride) { return stride != 1; })) {
    Dims apart = {dim(x, 0), dim(x, 1)}, low = {index(0), index(0)}, high = low;
    Dims together = apart;
    for (int64_t i = 0; i < spatial; ++i) {
      Dim size = dim(x, i + 2);
      apart.append({size, index(1)});
      low.append({index(0), index(0)});
      high.append({index(0), index(windows.strides[i] - 1)});
      together.push_back(mul(size, index(windows.strides[i])));
    }
    spread =
        reshape(pad(reshape(x, apart), low, high, PadMode::Constant), together);
    for (int64_t i = 0; i < spatial; ++i)
      spread =
          spread
              ? narrow(spread, i + 2, index(0),
                       sub(dim(spread, i + 2), index(windows.strides[i] - 1)))
              : nullptr;
  }
  if (!spread)
    return nullptr;

  // What the convolution itself cannot pad (negative amounts) is cropped.
  ConvOptions inner;
  inner.groups = groups;
  inner.dilations.assign(windows.dilations);
  inner.pads.assign(2 * spatial, 0);
  Dims low(rank, index(0)), high(rank, index(0));
  for (int64_t i = 0; i < spatial; ++i) {
    int64_t reach = windows.dilations[i] * (kernel[i] - 1);
    int64_t before = reach - windows.pads[i];
    int64_t after = reach - windows.pads[i + spatial] +
                    (outputPadding.empty() ? 0 : outputPadding[i]);
    inner.pads[i] = std::max<int64_t>(before, 0);
    inner.pads[i + spatial] = std::max<int64_t>(after, 0);
    low[i + 2] = index(std::min<int64_t>(before, 0));
    high[i + 2] = index(std::min<int64_t>(after, 0));
  }
  return conv(pad(spread, low, high, PadMode::Constant), turned, bias, inner);
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

namespace {

/// A tensor whose dims have labels, each at most once.
struct Labelled {
  Value value;
  SmallVector<int> labels;
  bool has(int label) const { return llvm::is_contained(labels, label); }
};

class Einsum {
public:
  explicit Einsum(OpsBuilder &ops) : ops(ops) {}

  bool parse(StringRef equation, ArrayRef<Value> operands);
  Value build();

private:
  static constexpr int firstEllipsis = 256;

  bool parseTerm(StringRef text, int64_t rank, SmallVector<int> &labels);
  Labelled takeDiagonals(Labelled x);
  Labelled sumOut(Labelled x, function_ref<bool(int)> keep);
  Labelled permute(Labelled x, ArrayRef<int> order);
  Labelled multiply(Labelled a, Labelled b, function_ref<bool(int)> needed);

  OpsBuilder &ops;
  SmallVector<Labelled> terms;
  SmallVector<int> output;
  int64_t ellipsisRank = 0;
};

bool Einsum::parseTerm(StringRef text, int64_t rank, SmallVector<int> &labels) {
  int64_t letters = 0;
  bool hasEllipsis = text.contains("...");
  for (char c : text) {
    letters += isalpha(c) != 0;
    if (!isalpha(c) && c != '.') {
      ops.fail("has an equation with a term '" + text + "'");
      return false;
    }
  }
  if (text.count('.') != (hasEllipsis ? 3 : 0)) {
    ops.fail("has an equation with a term '" + text + "'");
    return false;
  }
  int64_t others = rank < 0 ? ellipsisRank : rank - letters;
  if (rank >= 0 && (others < 0 || (others > 0 && !hasEllipsis))) {
    ops.fail("has a term '" + text + "' for an operand of rank " + Twine(rank));
    return false;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '.') {
      labels.push_back(text[i]);
      continue;
    }
    // Aligned to the last of the dims that an ellipsis stands for.
    for (int64_t k = others; k > 0; --k)
      labels.push_back(firstEllipsis + int(k));
    ellipsisRank = std::max(ellipsisRank, others);
    i += 2;
  }
  return true;
}

bool Einsum::parse(StringRef equation, ArrayRef<Value> operands) {
  std::string text;
  for (char c : equation)
    if (c != ' ')
      text.push_back(c);
  auto [inputs, result] = StringRef(text).split("->");
  SmallVector<StringRef> parts;
  inputs.split(parts, ',');
  if (parts.size() != operands.size()) {
    ops.fail("has an equation for " + Twine(parts.size()) + " operands, not " +
             Twine(operands.size()));
    return false;
  }
  for (auto [part, operand] : llvm::zip(parts, operands)) {
    Labelled &term = terms.emplace_back();
    term.value = operand;
    if (!parseTerm(part, OpsBuilder::rankOf(operand), term.labels))
      return false;
  }
  if (StringRef(text).contains("->"))
    return parseTerm(result, -1, output);
  // Without an arrow: the ellipsis, then what occurs once, in order.
  for (int64_t k = ellipsisRank; k > 0; --k)
    output.push_back(firstEllipsis + int(k));
  for (int label = 'A'; label <= 'z'; ++label) {
    int64_t count = 0;
    for (const Labelled &term : terms)
      count += llvm::count(term.labels, label);
    if (count == 1)
      output.push_back(label);
  }
  return true;
}

Labelled Einsum::takeDiagonals(Labelled x) {
  for (size_t i = 0; i < x.labels.size() && x.value; ++i) {
    auto again =
        std::find(x.labels.begin() + i + 1, x.labels.end(), x.labels[i]);
    if (again == x.labels.end())
      continue;
    int label = x.labels[i];
    x.value = ops.diagonal(x.value, 0, i, again - x.labels.begin());
    x.labels.erase(again);
    x.labels.erase(x.labels.begin() + i);
    x.labels.push_back(label);
    i = -1;
  }
  return x;
}

Labelled Einsum::sumOut(Labelled x, function_ref<bool(int)> keep) {
  SmallVector<int64_t> axes;
  SmallVector<int> kept;
  for (auto [axis, label] : llvm::enumerate(x.labels)) {
    if (keep(label))
      kept.push_back(label);
    else
      axes.push_back(axis);
  }
  if (!axes.empty())
    x.value = ops.reduce(Reduce::Sum, x.value, axes, /*keepDims=*/false);
  x.labels = kept;
  return x;
}

Labelled Einsum::permute(Labelled x, ArrayRef<int> order) {
  SmallVector<int64_t> permutation;
  for (int label : order)
    permutation.push_back(llvm::find(x.labels, label) - x.labels.begin());
  x.value = ops.transpose(x.value, permutation);
  x.labels.assign(order.begin(), order.end());
  return x;
}

/// The product of two terms, summed over labels that nothing else needs.
Labelled Einsum::multiply(Labelled a, Labelled b,
                          function_ref<bool(int)> needed) {
  a = sumOut(a, [&](int label) { return b.has(label) || needed(label); });
  b = sumOut(b, [&](int label) { return a.has(label) || needed(label); });
  if (!a.value || !b.value)
    return {};
  SmallVector<int> batch, contracted, rows, columns;
  for (int label : a.labels)
    (!b.has(label)   ? rows
     : needed(label) ? batch
                     : contracted)
        .push_back(label);
  for (int label : b.labels)
    if (!a.has(label))
      columns.push_back(label);
  auto joined = [](std::initializer_list<ArrayRef<int>> parts) {
    SmallVector<int> all;
    for (ArrayRef<int> part : parts)
      all.append(part.begin(), part.end());
    return all;
  };
  a = permute(a, joined({batch, rows, contracted}));
  b = permute(b, joined({batch, contracted, columns}));
  if (!a.value || !b.value)
    return {};
  // One label may be 1 in one operand and more in the other.
  Dims left = ops.dims(a.value), right = ops.dims(b.value);
  Dims shared;
  for (auto [position, label] : llvm::enumerate(joined({batch, contracted}))) {
    bool isBatch = position < batch.size();
    Dim &x = left[isBatch ? position : position + rows.size()];
    Dim &y = right[position];
    auto both = ops.broadcastDims({Dims{x}, Dims{y}});
    if (!both)
      return {};
    x = y = both->front();
    shared.push_back(x);
  }
  a.value = ops.expand(a.value, left);
  b.value = ops.expand(b.value, right);
  size_t k = batch.size() + rows.size();
  ArrayRef<Dim> l(left), r(right);
  auto of = [&](ArrayRef<Dim> dims) { return ops.product(dims); };
  Dims batchDims(l.take_front(batch.size()));
  Dims leftShape = batchDims, rightShape = batchDims, target = batchDims;
  leftShape.append(
      {of(l.slice(batch.size(), rows.size())), of(l.drop_front(k))});
  rightShape.append({of(l.drop_front(k)), of(r.take_back(columns.size()))});
  target.append(l.begin() + batch.size(), l.begin() + k);
  target.append(r.end() - columns.size(), r.end());
  Value product = ops.matmul(ops.reshape(a.value, leftShape),
                             ops.reshape(b.value, rightShape));
  return {ops.reshape(product, target), joined({batch, rows, columns})};
}

Value Einsum::build() {
  for (Labelled &term : terms) {
    term = takeDiagonals(term);
    if (!term.value)
      return nullptr;
  }
  auto inOutput = [&](int label) { return llvm::is_contained(output, label); };
  Labelled result = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    result = multiply(result, terms[i], [&](int label) {
      return inOutput(label) ||
             llvm::any_of(
                 ArrayRef<Labelled>(terms).drop_front(i + 1),
                 [&](const Labelled &later) { return later.has(label); });
    });
    if (!result.value)
      return nullptr;
  }
  result = sumOut(result, inOutput);
  for (int label : output)
    if (!result.has(label) || llvm::count(output, label) != 1)
      return ops.fail("has an equation whose result has a wrong label");
  return result.value ? permute(result, output).value : nullptr;
}

} // namespace

Value OpsBuilder::einsum(StringRef equation, Values operands) {
  for (Value operand : operands)
    if (!operand)
      return nullptr;
  if (operands.empty())
    return fail("needs an operand");
  Einsum einsum(*this);
  return einsum.parse(equation, operands) ? einsum.build() : nullptr;
}
