//===- RecurrentOperators.cpp - ONNX RNN, GRU and LSTM --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"
#include "compiler/ops/Recurrent.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

namespace {

/// The activations of all directions, in order, with the parameters that they
/// take from the lists.
class Activations {
public:
  Activations(NodeBuilder &n, ArrayRef<StringRef> defaults, size_t directions);

  RecurrentCell::Activation take() { return made[next++]; }

private:
  SmallVector<RecurrentCell::Activation> made;
  size_t next = 0;
};

} // namespace

static RecurrentCell::Activation unaryActivation(Unary kind) {
  return [kind](OpsBuilder &b, Value x) { return b.unary(kind, x); };
}

Activations::Activations(NodeBuilder &n, ArrayRef<StringRef> defaults,
                         size_t directions) {
  std::vector<StringRef> names;
  if (const onnx::Attribute *attribute = n.find("activations"))
    names = attribute->texts;
  if (names.empty())
    for (size_t i = 0; i < directions; ++i)
      names.insert(names.end(), defaults.begin(), defaults.end());
  if (names.size() != directions * defaults.size())
    n.fail("has " + Twine(names.size()) + " activations, must have " +
           Twine(directions * defaults.size()));
  SmallVector<double> alphas = n.reals("activation_alpha"),
                      betas = n.reals("activation_beta");
  ArrayRef<double> alphaList = alphas, betaList = betas;
  auto pop = [](ArrayRef<double> &list, double absent) {
    if (list.empty())
      return absent;
    double value = list.front();
    list = list.drop_front();
    return value;
  };
  auto scaled = [](OpsBuilder &b, Value x, double factor) {
    return b.mul(x, b.scalar(factor, OpsBuilder::elementOf(x)));
  };
  for (StringRef name : names) {
    std::string kind = name.lower();
    if (kind == "relu" || kind == "tanh" || kind == "sigmoid" ||
        kind == "softsign") {
      made.push_back(unaryActivation(llvm::StringSwitch<Unary>(kind)
                                         .Case("relu", Unary::Relu)
                                         .Case("tanh", Unary::Tanh)
                                         .Case("sigmoid", Unary::Sigmoid)
                                         .Default(Unary::Softsign)));
    } else if (kind == "softplus") {
      made.push_back([](OpsBuilder &b, Value x) { return b.softplus(x); });
    } else if (kind == "affine") {
      double alpha = pop(alphaList, 1), beta = pop(betaList, 0);
      made.push_back([=](OpsBuilder &b, Value x) {
        return b.add(scaled(b, x, alpha),
                     b.scalar(beta, OpsBuilder::elementOf(x)));
      });
    } else if (kind == "leakyrelu") {
      double alpha = pop(alphaList, 0.01);
      made.push_back(
          [=](OpsBuilder &b, Value x) { return b.leakyRelu(x, alpha); });
    } else if (kind == "thresholdedrelu") {
      double alpha = pop(alphaList, 1);
      made.push_back(
          [=](OpsBuilder &b, Value x) { return b.threshold(x, alpha, 0); });
    } else if (kind == "scaledtanh") {
      double alpha = pop(alphaList, 1), beta = pop(betaList, 1);
      made.push_back([=](OpsBuilder &b, Value x) {
        return scaled(b, b.unary(Unary::Tanh, scaled(b, x, beta)), alpha);
      });
    } else if (kind == "hardsigmoid") {
      double alpha = pop(alphaList, 0.2), beta = pop(betaList, 0.5);
      made.push_back([=](OpsBuilder &b, Value x) {
        return b.hardSigmoid(x, alpha, beta);
      });
    } else if (kind == "elu") {
      double alpha = pop(alphaList, 1);
      made.push_back([=](OpsBuilder &b, Value x) { return b.elu(x, alpha); });
    } else {
      n.fail("the activation '" + printable(name) + "' is not known");
    }
  }
}

/// Operands: X, W, R, then B, lengths, initial h, initial c, P where given;
/// results: Y, last h, last c. Weights have a first dim for the directions.
static void recurrent(NodeBuilder &n, RecurrentCell cell,
                      ArrayRef<StringRef> defaults) {
  OpsBuilder &b = n.ops;
  const bool isLstm = cell.kind == RecurrentCell::Lstm;
  StringRef direction = n.text("direction", "forward");
  if (direction != "forward" && direction != "reverse" &&
      direction != "bidirectional")
    return n.fail("the direction '" + printable(direction) + "' is not known");
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  const bool isBatchFirst = n.integer("layout", 0) != 0;
  Value x = n.in(0), weights = n.in(1), recurrences = n.in(2);
  Value biases = n.optional(3), lengths = n.optional(4);
  Value hidden = n.optional(5), state = isLstm ? n.optional(6) : Value();
  Value peepholes = isLstm ? n.optional(7) : Value();
  if (!x || !weights || !recurrences)
    return;
  auto hasRank = [&](Value value, int64_t rank) {
    return !value || OpsBuilder::rankOf(value) == rank;
  };
  if (!hasRank(x, 3) || !hasRank(weights, 3) || !hasRank(recurrences, 3) ||
      !hasRank(biases, 2) || !hasRank(hidden, 3) || !hasRank(state, 3) ||
      !hasRank(peepholes, 2))
    return n.fail("has an operand of the wrong rank");
  for (Value value : {weights, recurrences, biases, peepholes})
    if (value && !b.requireEqual(b.dim(value, 0), b.index(directions),
                                 "directions and their weights"))
      return;
  if (isBatchFirst) {
    x = b.transpose(x, {1, 0, 2});
    hidden = hidden ? b.transpose(hidden, {1, 0, 2}) : hidden;
    state = state ? b.transpose(state, {1, 0, 2}) : state;
  }
  Activations activations(n, defaults, size_t(directions));
  if (n.hasAttribute("clip"))
    cell.clip = n.real("clip", 0);
  if (b.failed())
    return;

  mlir::Type element = OpsBuilder::elementOf(x);
  Dim steps = b.dim(x, 0), batch = b.dim(x, 1), size = b.dim(recurrences, 2);
  if (auto declared = n.integer("hidden_size", 0);
      declared && !b.requireEqual(size, b.index(declared), "hidden_size"))
    return;
  Value none = b.full({batch, size}, 0.0, element);
  Value outputs =
      b.full({b.mul(steps, b.index(directions)), batch, size}, 0.0, element);
  SmallVector<Value> lastHidden, lastState;
  for (int64_t d = 0; d < directions; ++d) {
    auto of = [&](Value all) {
      return all ? b.select(all, 0, b.index(d)) : Value();
    };
    cell.inputWeight = of(weights);
    cell.recurrentWeight = of(recurrences);
    cell.peephole = of(peepholes);
    if (Value bias = of(biases)) {
      Dim rows = b.dim(recurrences, 1);
      if (!b.requireEqual(b.dim(bias, 0), b.mul(rows, b.index(2)), "biases"))
        return;
      cell.inputBias = b.narrow(bias, 0, b.index(0), rows);
      cell.recurrentBias = b.narrow(bias, 0, rows, rows);
    }
    if (cell.kind != RecurrentCell::Rnn)
      cell.gate = activations.take();
    cell.input = activations.take();
    if (isLstm)
      cell.cell = activations.take();
    RecurrentState start{hidden ? of(hidden) : none,
                         state    ? of(state)
                         : isLstm ? none
                                  : Value(),
                         outputs};
    RecurrentState last =
        runRecurrent(b, cell, x, start, lengths,
                     direction == "reverse" || d == 1, directions, d);
    if (!last.outputs)
      return;
    outputs = last.outputs;
    lastHidden.push_back(last.hidden);
    lastState.push_back(last.cell);
  }
  outputs = b.reshape(outputs, {steps, b.index(directions), batch, size});
  if (isBatchFirst) {
    n.set(0, b.transpose(outputs, {2, 0, 1, 3}));
    n.set(1, b.stack(lastHidden, 1));
    if (isLstm)
      n.set(2, b.stack(lastState, 1));
    return;
  }
  n.set(0, outputs);
  n.set(1, b.stack(lastHidden, 0));
  if (isLstm)
    n.set(2, b.stack(lastState, 0));
}

static void rnn(NodeBuilder &n) {
  RecurrentCell cell;
  cell.kind = RecurrentCell::Rnn;
  recurrent(n, cell, {"Tanh"});
}

static void gru(NodeBuilder &n) {
  RecurrentCell cell;
  cell.kind = RecurrentCell::Gru;
  cell.order = {0, 1, 2};
  cell.linearBeforeReset = n.integer("linear_before_reset", 0) != 0;
  recurrent(n, cell, {"Sigmoid", "Tanh"});
}

static void lstm(NodeBuilder &n) {
  RecurrentCell cell;
  cell.kind = RecurrentCell::Lstm;
  cell.order = {0, 2, 3, 1}; // input, output, forget, cell
  cell.couplesForget = n.integer("input_forget", 0) != 0;
  recurrent(n, cell, {"Sigmoid", "Tanh", "Tanh"});
}

llvm::ArrayRef<Operator> marver::onnx::recurrentOperators() {
  static const Operator table[] = {
      {"GRU", gru},
      {"LSTM", lstm},
      {"RNN", rnn},
  };
  return table;
}
