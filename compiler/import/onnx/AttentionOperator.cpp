//===- AttentionOperator.cpp - ONNX's Attention ---------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything that says which keys a query sees (causal order, windows, lengths,
// boolean masks) becomes one boolean mask of mv.attention. Only what looks at
// the scores themselves (softcap, the scores as a result) is built from its
// parts.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

namespace {

class AttentionNode {
public:
  explicit AttentionNode(NodeBuilder &n) : n(n), ops(n.ops) {}
  void build();

private:
  Value toHeads(Value x, StringRef count);
  Value cached(size_t past, Value fresh);
  bool buildMasks();
  void require(Value condition);
  Value addedToScores();
  Value zeroUnseeing(Value x, Value added);
  Value scoresToProbabilities(Value scores, double softcap);

  NodeBuilder &n;
  OpsBuilder &ops;
  Value query, key, value;
  /// Where a query sees a key (null: everywhere), and what is added there.
  Value keep, bias;
  bool isCausal = false;
};

} // namespace

/// B x T x (H * D) as B x H x T x D.
Value AttentionNode::toHeads(Value x, StringRef count) {
  if (!x || OpsBuilder::rankOf(x) == 4)
    return x;
  int64_t heads = n.integer(count, 0);
  if (OpsBuilder::rankOf(x) != 3 || heads < 1)
    return ops.fail(
        "needs operands of rank 4, or of rank 3 and q_num_heads and "
        "kv_num_heads");
  Dims all = ops.dims(x);
  Value split = ops.reshape(x, {all[0], all[1], ops.index(heads),
                                ops.floorDiv(all[2], ops.index(heads))});
  return ops.transpose(split, {0, 2, 1, 3});
}

/// The cache of operand `past`, if given, with `fresh` behind it.
Value AttentionNode::cached(size_t past, Value fresh) {
  return n.has(past) ? ops.concat({n.in(past), fresh}, 2) : fresh;
}

void AttentionNode::require(Value condition) {
  keep = keep ? ops.binary(Binary::And, keep, condition) : condition;
}

bool AttentionNode::buildMasks() {
  mlir::Type i64 = ops.getI64Type();
  Dim queries = ops.dim(query, 2), keys = ops.dim(key, 2);
  if (Value mask = n.optional(3)) {
    // A mask may be shorter than the keys: the rest is not seen.
    int64_t rank = OpsBuilder::rankOf(mask);
    bool isBool = OpsBuilder::elementOf(mask).isInteger(1);
    if (rank < 1 || (!isBool && !OpsBuilder::isFloat(mask)))
      return ops.fail("needs a mask of type bool or floating-point"), false;
    Dim missing = ops.sub(keys, ops.dim(mask, rank - 1));
    bool isOne = OpsBuilder::known(ops.dim(mask, rank - 1)) == 1;
    if (auto number = OpsBuilder::known(missing);
        number && *number > 0 && !isOne) {
      Dims low(rank, ops.index(0)), high = low;
      high.back() = missing;
      Value fill = isBool ? ops.scalar(0, ops.getI1Type())
                          : ops.scalar(-INFINITY, OpsBuilder::elementOf(mask));
      mask = ops.pad(mask, low, high, PadMode::Constant, fill);
    }
    if (isBool)
      require(mask);
    else
      bias = ops.cast(mask, OpsBuilder::elementOf(query));
  }

  bool causal = n.integer("is_causal", 0) != 0;
  int64_t left = n.integer("left_window_size", -1);
  int64_t right = n.integer("right_window_size", -1);
  bool hasLengths = n.has(6), hasPast = n.has(4);
  // Without a cache the operation itself knows the order.
  if (causal && !hasLengths && !hasPast)
    isCausal = true;
  Value lengths; // B x 1 x 1 x 1
  Value s = ops.arange(ops.index(0), ops.index(1), keys, i64);
  if (hasLengths) {
    lengths = ops.unsqueeze(n.in(6), {1, 2, 3});
    require(ops.compare(Compare::Lt, s, ops.cast(lengths, i64)));
  }
  if ((causal && !isCausal) || left >= 0 || right >= 0) {
    // Position of the query, counted like the keys', less that of the key.
    Value t = ops.unsqueeze(
        ops.arange(ops.index(0), ops.index(1), queries, i64), {1});
    Value position = t;
    if (hasPast)
      position = ops.add(t, ops.dimsToTensor({ops.dim(n.in(4), 2)}, i64, true));
    else if (hasLengths)
      position = ops.add(t, ops.sub(ops.cast(lengths, i64),
                                    ops.dimsToTensor({queries}, i64, true)));
    Value distance = ops.sub(position, s);
    if (causal && !isCausal)
      require(ops.compare(Compare::Ge, distance, ops.scalar(0, i64)));
    if (left >= 0)
      require(ops.compare(Compare::Le, distance, ops.scalar(left, i64)));
    if (right >= 0)
      require(ops.compare(Compare::Ge, distance, ops.scalar(-right, i64)));
  }
  return !ops.failed();
}

/// All masks as what is added to the scores; null if there is none.
Value AttentionNode::addedToScores() {
  mlir::Type element = OpsBuilder::elementOf(query);
  Value seen = keep;
  if (isCausal) {
    Value all = ops.full({ops.dim(query, 2), ops.dim(key, 2)},
                         ops.scalar(1, ops.getI1Type()));
    Value order = ops.tri(all, ops.index(0), /*upper=*/false);
    seen = seen ? ops.binary(Binary::And, seen, order) : order;
  }
  if (!seen)
    return bias;
  return ops.where(seen, bias ? bias : ops.scalar(0, element),
                   ops.scalar(-INFINITY, element));
}

/// Zeros for the queries that see no key.
Value AttentionNode::zeroUnseeing(Value x, Value added) {
  mlir::Type element = OpsBuilder::elementOf(x);
  Value best = ops.reduce(Reduce::Max, added, {-1}, /*keepDims=*/true);
  return ops.where(
      ops.compare(Compare::Eq, best, ops.scalar(-INFINITY, element)),
      ops.scalar(0, element), x);
}

Value AttentionNode::scoresToProbabilities(Value scores, double softcap) {
  mlir::Type element = OpsBuilder::elementOf(scores);
  int64_t mode = n.integer("qk_matmul_output_mode", 0);
  if (mode == 0)
    n.set(3, scores);
  if (softcap > 0) {
    Value cap = ops.scalar(softcap, element);
    scores = ops.mul(ops.unary(Unary::Tanh, ops.div(scores, cap)), cap);
  }
  if (mode == 1)
    n.set(3, scores);
  Value added = addedToScores();
  if (added)
    scores = ops.add(scores, added);
  if (mode == 2)
    n.set(3, scores);
  Value probabilities = ops.softmax(scores, -1, /*log=*/false);
  if (added)
    probabilities = zeroUnseeing(probabilities, added);
  if (mode == 3)
    n.set(3, probabilities);
  return probabilities;
}

void AttentionNode::build() {
  query = n.in(0);
  if (!query)
    return;
  if (n.has(4) != n.has(5))
    return n.fail("needs both of past_key and past_value");
  bool isFlat = OpsBuilder::rankOf(query) == 3;
  query = toHeads(query, "q_num_heads");
  key = cached(4, toHeads(n.in(1), "kv_num_heads"));
  value = cached(5, toHeads(n.in(2), "kv_num_heads"));
  if (!query || !key || !value || !buildMasks())
    return;
  n.set(1, key);
  n.set(2, value);
  double softcap = n.real("softcap", 0);
  std::optional<double> scale;
  if (n.hasAttribute("scale"))
    scale = n.real("scale", 1);

  Value result;
  if (softcap <= 0 && !n.wants(3)) {
    Value mask = keep;
    if (bias)
      mask = keep
                 ? ops.where(keep, bias,
                             ops.scalar(-INFINITY, OpsBuilder::elementOf(bias)))
                 : bias;
    result = ops.attention(query, key, value, mask, scale, isCausal,
                           /*groupedHeads=*/true);
    // Of float masks the operation gives NaN there.
    if (result && bias)
      result = zeroUnseeing(result, addedToScores());
  } else {
    auto heads = OpsBuilder::known(ops.dim(query, 1));
    auto others = OpsBuilder::known(ops.dim(key, 1));
    auto size = OpsBuilder::known(ops.dim(query, 3));
    if (!heads || !others || *others == 0 || *heads % *others != 0 || !size)
      return n.fail("needs numbers of heads that divide, and a known size");
    mlir::Type element = OpsBuilder::elementOf(query);
    Value factor = ops.scalar(
        std::sqrt(scale.value_or(1 / std::sqrt(double(*size)))), element);
    Dim repeats = ops.index(*heads / *others);
    Value keys = ops.repeatInterleave(key, 1, repeats);
    Value values = ops.repeatInterleave(value, 1, repeats);
    Value scores =
        ops.matmul(ops.mul(query, factor),
                   ops.mul(ops.transpose(keys, {0, 1, 3, 2}), factor));
    if (!scores)
      return;
    result = ops.matmul(scoresToProbabilities(scores, softcap), values);
  }
  if (result && isFlat)
    result = ops.flatten(ops.transpose(result, {0, 2, 1, 3}), 2, 3);
  n.set(0, result);
}

llvm::ArrayRef<Operator> marver::onnx::attentionOperators() {
  static const Operator table[] = {
      {"Attention", [](NodeBuilder &n) { AttentionNode(n).build(); }},
  };
  return table;
}
