//===- Recurrent.cpp - ATen recurrent layers ------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Whole layers (nn.LSTM, nn.GRU, nn.RNN) and single cells.
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Recurrent.h"
#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

RecurrentCell::Activation activation(Unary kind) {
  return [kind](OpsBuilder &b, Value x) { return b.unary(kind, x); };
}

/// A cell with the activations and the order of gates that PyTorch has.
template <RecurrentCell::Kind kind, Unary unary> RecurrentCell makeCell() {
  RecurrentCell cell;
  cell.kind = kind;
  cell.gate = activation(Unary::Sigmoid);
  cell.input = activation(unary);
  cell.cell = activation(Unary::Tanh);
  cell.linearBeforeReset = true;
  if (kind == RecurrentCell::Lstm)
    cell.order = {0, 1, 2, 3};
  if (kind == RecurrentCell::Gru)
    cell.order = {1, 0, 2};
  return cell;
}

/// The parameters of a layer and direction, from the front of `params`.
bool takeWeights(Call &c, RecurrentCell &cell, ArrayRef<Value> &params,
                 bool hasBiases, bool hasProjection) {
  const size_t count = 2 + (hasBiases ? 2 : 0) + (hasProjection ? 1 : 0);
  if (params.size() < count) {
    c.fail("has too few weights");
    return false;
  }
  cell.inputWeight = params[0];
  cell.recurrentWeight = params[1];
  if (hasBiases) {
    cell.inputBias = params[2];
    cell.recurrentBias = params[3];
  }
  if (hasProjection)
    cell.projection = params[count - 1];
  params = params.drop_front(count);
  return true;
}

/// Layers on top of each other; each reads all directions of the one below.
template <RecurrentCell::Kind kind, Unary unary> Value layers(Call &c) {
  constexpr bool isLstm = kind == RecurrentCell::Lstm;
  OpsBuilder &b = c.b;
  Value x = c.tensor("input");
  SmallVector<Value> all = c.tensors("params"), initial;
  if (isLstm)
    initial = c.tensors("hx");
  else
    initial.push_back(c.tensor("hx"));
  if (!x || b.failed())
    return nullptr;
  if (initial.size() != (isLstm ? 2 : 1))
    return c.fail("has the wrong number of initial states");
  const bool hasBiases = c.boolean("has_biases", true);
  const int64_t count = c.integer("num_layers", 1);
  const int64_t directions = c.boolean("bidirectional") ? 2 : 1;
  const bool isBatchFirst = c.boolean("batch_first");
  if (c.boolean("train") && c.number("dropout") != 0)
    return c.fail("dropout is for training: export the model in eval mode");
  if (b.rankOf(x) != 3 || b.rankOf(initial[0]) != 3)
    return c.fail("needs an input and states of rank 3");
  const size_t perCell = 2 + (hasBiases ? 2 : 0);
  const bool hasProjection =
      isLstm && count > 0 &&
      all.size() == size_t(count * directions) * (perCell + 1);
  if (isBatchFirst)
    x = b.transpose(x, {1, 0, 2});
  ArrayRef<Value> params = all;
  SmallVector<Value> hidden, state;
  for (int64_t layer = 0; layer < count; ++layer) {
    Dim steps = b.dim(x, 0), batch = b.dim(x, 1), size = b.dim(initial[0], 2);
    Value outputs = b.full({b.mul(steps, b.index(directions)), batch, size},
                           0.0, b.elementOf(x));
    for (int64_t d = 0; d < directions; ++d) {
      RecurrentCell cell = makeCell<kind, unary>();
      if (!takeWeights(c, cell, params, hasBiases, hasProjection))
        return nullptr;
      Dim number = b.index(layer * directions + d);
      RecurrentState start{b.select(initial[0], 0, number),
                           isLstm ? b.select(initial[1], 0, number) : Value(),
                           outputs};
      RecurrentState last =
          runRecurrent(b, cell, x, start, nullptr, d == 1, directions, d);
      if (!last.outputs)
        return nullptr;
      outputs = last.outputs;
      hidden.push_back(last.hidden);
      state.push_back(last.cell);
    }
    // T*D x B x H to T x B x D*H.
    Value parts = b.reshape(outputs, {steps, b.index(directions), batch, size});
    x = b.reshape(b.transpose(parts, {0, 2, 1, 3}),
                  {steps, batch, b.mul(size, b.index(directions))});
  }
  c.results = {isBatchFirst ? b.transpose(x, {1, 0, 2}) : x,
               b.stack(hidden, 0)};
  if (isLstm)
    c.results.push_back(b.stack(state, 0));
  return nullptr;
}

/// One step: a layer over a sequence of one element.
template <RecurrentCell::Kind kind, Unary unary> Value cellStep(Call &c) {
  constexpr bool isLstm = kind == RecurrentCell::Lstm;
  OpsBuilder &b = c.b;
  RecurrentCell cell = makeCell<kind, unary>();
  Value x = c.tensor("input");
  SmallVector<Value> initial;
  if (isLstm)
    initial = c.tensors("hx");
  else
    initial.push_back(c.tensor("hx"));
  cell.inputWeight = c.tensor("w_ih");
  cell.recurrentWeight = c.tensor("w_hh");
  cell.inputBias = c.optionalTensor("b_ih");
  cell.recurrentBias = c.optionalTensor("b_hh");
  if (!x || b.failed() || initial.size() != (isLstm ? 2 : 1))
    return nullptr;
  if (b.rankOf(x) != 2 || b.rankOf(initial[0]) != 2)
    return c.fail("needs an input and states of rank 2");
  Value outputs =
      b.full({b.index(1), b.dim(initial[0], 0), b.dim(initial[0], 1)}, 0.0,
             b.elementOf(x));
  RecurrentState start{initial[0], isLstm ? initial[1] : Value(), outputs};
  RecurrentState last =
      runRecurrent(b, cell, b.unsqueeze(x, {0}), start, nullptr, false, 1, 0);
  if (!isLstm)
    return last.hidden;
  c.results = {last.hidden, last.cell};
  return nullptr;
}

constexpr auto rnnKind = RecurrentCell::Rnn;
constexpr auto gruKind = RecurrentCell::Gru;
constexpr auto lstmKind = RecurrentCell::Lstm;

constexpr OpEntry entries[] = {
    {"aten.lstm.input", layers<lstmKind, Unary::Tanh>},
    {"aten.gru.input", layers<gruKind, Unary::Tanh>},
    {"aten.rnn_tanh.input", layers<rnnKind, Unary::Tanh>},
    {"aten.rnn_relu.input", layers<rnnKind, Unary::Relu>},
    {"aten.lstm_cell.default", cellStep<lstmKind, Unary::Tanh>},
    {"aten.gru_cell.default", cellStep<gruKind, Unary::Tanh>},
    {"aten.rnn_tanh_cell.default", cellStep<rnnKind, Unary::Tanh>},
    {"aten.rnn_relu_cell.default", cellStep<rnnKind, Unary::Relu>},
};

} // namespace

void addRecurrent(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
