//===- Recurrent.cpp - Builders of recurrent layers -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A step, with W x + b of all steps made before as `projected`:
//
//   RNN   h' = f(projected + R h)
//   GRU   z, r = f(projected + R h); n = g(projected + R (r h)), or with
//         linearBeforeReset g(projected + r (R h + b)); h' = (1 - z) n + z h
//   LSTM  i, f, o = f(projected + R h + peephole c); c' = f c + i g(...);
//         h' = o h(c')
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Recurrent.h"

using namespace mlir;
using namespace marver;

Value marver::reverseSequence(OpsBuilder &b, Value x, Value lengths,
                              int64_t batch, int64_t time) {
  if (!x || !lengths)
    return nullptr;
  if (OpsBuilder::rankOf(x) < 2 || batch + time != 1 || batch * time != 0 ||
      OpsBuilder::rankOf(lengths) != 1 ||
      !OpsBuilder::elementOf(lengths).isInteger(64))
    return b.fail(
        "needs batch and time as the first two dims, and int64 lengths");
  Dims all = b.dims(x);
  // Position of each result: length - 1 - t within the length, else t.
  Value t = b.arange(b.index(0), b.index(1), all[time], b.getI64Type());
  Value steps = time == 0 ? b.unsqueeze(t, {1}) : t;
  Value limits = time == 0 ? lengths : b.unsqueeze(lengths, {1});
  Value turned = b.sub(b.sub(limits, b.scalar(1, b.getI64Type())), steps);
  Value at = b.where(b.compare(Compare::Lt, steps, limits), turned, steps);
  SmallVector<int64_t> behind;
  for (int64_t i = 2; i < OpsBuilder::rankOf(x); ++i)
    behind.push_back(i);
  return b.gatherElements(x, b.expand(b.unsqueeze(at, behind), all), time);
}

namespace {

class Layer {
public:
  Layer(OpsBuilder &b, const RecurrentCell &cell) : b(b), cell(cell) {}

  bool check(Value x, const RecurrentState &initial);
  Value project(Value x);
  /// States after one step; `projected` is B x G*H.
  std::pair<Value, Value> step(Value projected, Value hidden, Value state);

private:
  /// The rows of `count` gates from place `place` on.
  Value rows(Value weights, int64_t place, int64_t count = 1) {
    return weights ? b.narrow(weights, 0, b.mul(size, b.index(place)),
                              b.mul(size, b.index(count)))
                   : Value();
  }
  /// Columns of gate number `gate` of what all gates are made of.
  Value part(Value all, int64_t gate) {
    Dim start = b.mul(size, b.index(cell.order[gate]));
    return b.narrow(all, 1, start, size);
  }
  Value clipped(Value x) {
    return cell.clip ? b.clamp(x, -*cell.clip, cell.clip) : x;
  }
  Value one() { return b.scalar(1.0, element); }
  Value peep(Value x, Value state, int64_t place) {
    return cell.peephole ? b.add(x, b.mul(rows(cell.peephole, place), state))
                         : x;
  }
  std::pair<Value, Value> stepLstm(Value projected, Value hidden, Value state);
  Value stepGru(Value projected, Value hidden);

  OpsBuilder &b;
  const RecurrentCell &cell;
  Dim size; ///< H
  mlir::Type element;
};

} // namespace

/// Ranks, dims and types of what a user's model gives.
bool Layer::check(Value x, const RecurrentState &initial) {
  element = OpsBuilder::elementOf(x);
  if (OpsBuilder::rankOf(x) != 3 || !isa<FloatType>(element)) {
    b.fail("needs an input of floats with dims for time, batch and features");
    return false;
  }
  auto fits = [&](Value value, ArrayRef<Dim> dims, const char *what) {
    if (!value)
      return true;
    if (OpsBuilder::rankOf(value) != int64_t(dims.size()) ||
        OpsBuilder::elementOf(value) != element) {
      b.fail(Twine(what) + " of another rank or element type than is needed");
      return false;
    }
    for (auto [d, dim] : llvm::enumerate(dims))
      if (!b.requireEqual(b.dim(value, int64_t(d)), dim, what))
        return false;
    return true;
  };
  if (OpsBuilder::rankOf(cell.recurrentWeight) != 2 ||
      OpsBuilder::rankOf(cell.inputWeight) != 2) {
    b.fail("needs weights of rank 2");
    return false;
  }
  Dim rows = b.dim(cell.recurrentWeight, 0);
  size = b.floorDiv(rows, b.index(cell.gates()));
  Dim batch = b.dim(x, 1);
  Dim outputs = cell.projection ? b.dim(cell.projection, 0) : size;
  return b.requireEqual(rows, b.mul(size, b.index(cell.gates())),
                        "rows of the weights and gates times hidden units") &&
         fits(cell.inputWeight, {rows, b.dim(x, 2)}, "the input's weights") &&
         fits(cell.recurrentWeight, {rows, outputs}, "the states' weights") &&
         fits(cell.inputBias, {rows}, "a bias") &&
         fits(cell.recurrentBias, {rows}, "a bias") &&
         fits(cell.peephole, {b.mul(size, b.index(3))}, "the peepholes") &&
         fits(initial.hidden, {batch, outputs}, "the initial states") &&
         fits(initial.cell, {batch, size}, "the initial cell states");
}

/// W x + b, and what else of the biases does not depend on a state.
Value Layer::project(Value x) {
  Value bias = cell.inputBias;
  if (Value more = cell.recurrentBias) {
    if (cell.kind == RecurrentCell::Gru && cell.linearBeforeReset) {
      // The new gate's is scaled by the reset gate.
      SmallVector<Value> parts;
      for (int64_t place = 0; place < 3; ++place)
        parts.push_back(place == cell.order[2] ? b.full({size}, 0.0, element)
                                               : rows(more, place));
      more = b.concat(parts, 0);
    }
    bias = bias ? b.add(bias, more) : more;
  }
  return b.linear(x, cell.inputWeight, bias);
}

std::pair<Value, Value> Layer::stepLstm(Value projected, Value hidden,
                                        Value state) {
  Value all = b.add(b.linear(hidden, cell.recurrentWeight, nullptr), projected);
  Value in = cell.gate(b, clipped(peep(part(all, 0), state, 0)));
  Value forget = cell.couplesForget
                     ? b.sub(one(), in)
                     : cell.gate(b, clipped(peep(part(all, 1), state, 2)));
  Value fresh = cell.input(b, clipped(part(all, 2)));
  Value next = b.add(b.mul(forget, state), b.mul(in, fresh));
  Value out = cell.gate(b, clipped(peep(part(all, 3), next, 1)));
  Value result = b.mul(out, cell.cell(b, next));
  if (cell.projection)
    result = b.linear(result, cell.projection, nullptr);
  return {result, next};
}

Value Layer::stepGru(Value projected, Value hidden) {
  Value update, reset, fresh;
  if (cell.linearBeforeReset) {
    Value all = b.linear(hidden, cell.recurrentWeight, nullptr);
    auto gate = [&](int64_t number) {
      return cell.gate(
          b, clipped(b.add(part(all, number), part(projected, number))));
    };
    update = gate(0), reset = gate(1);
    Value own = part(all, 2);
    if (cell.recurrentBias)
      own = b.add(own, rows(cell.recurrentBias, cell.order[2]));
    fresh = b.add(b.mul(reset, own), part(projected, 2));
  } else {
    auto gate = [&](int64_t number, Value from) {
      Value own = b.linear(from, rows(cell.recurrentWeight, cell.order[number]),
                           nullptr);
      return b.add(own, part(projected, number));
    };
    update = cell.gate(b, clipped(gate(0, hidden)));
    reset = cell.gate(b, clipped(gate(1, hidden)));
    fresh = gate(2, b.mul(reset, hidden));
  }
  fresh = cell.input(b, clipped(fresh));
  return b.add(b.mul(b.sub(one(), update), fresh), b.mul(update, hidden));
}

std::pair<Value, Value> Layer::step(Value projected, Value hidden,
                                    Value state) {
  switch (cell.kind) {
  case RecurrentCell::Lstm:
    return stepLstm(projected, hidden, state);
  case RecurrentCell::Gru:
    return {stepGru(projected, hidden), nullptr};
  case RecurrentCell::Rnn:
    break;
  }
  Value all = b.add(b.linear(hidden, cell.recurrentWeight, nullptr), projected);
  return {cell.input(b, clipped(all)), nullptr};
}

RecurrentState marver::runRecurrent(OpsBuilder &b, const RecurrentCell &cell,
                                    Value x, const RecurrentState &initial,
                                    Value lengths, bool isReverse,
                                    int64_t directions, int64_t direction) {
  bool isLstm = cell.kind == RecurrentCell::Lstm;
  if (!x || !cell.inputWeight || !cell.recurrentWeight || !initial.hidden ||
      !initial.outputs || (isLstm && !initial.cell))
    return {};
  Layer layer(b, cell);
  if (!layer.check(x, initial))
    return {};
  if (lengths) {
    lengths = b.cast(lengths, b.getI64Type());
    if (OpsBuilder::rankOf(lengths) != 1 ||
        !b.requireEqual(b.dim(lengths, 0), b.dim(x, 1), "lengths and batch")) {
      b.fail("needs one length a batch");
      return {};
    }
    if (isReverse)
      x = reverseSequence(b, x, lengths, 1, 0);
  }
  Value projected = layer.project(x);
  if (!projected)
    return {};
  Dim steps = b.dim(x, 0);
  // With lengths the sequences are turned around before and after.
  bool countsDown = isReverse && !lengths;
  // What goes back is turned around on its own.
  bool isApart = isReverse && lengths;
  Value outputs = initial.outputs;
  if (isApart) {
    Dims dims = b.dims(outputs);
    dims[0] = steps;
    outputs = b.full(dims, 0.0, OpsBuilder::elementOf(outputs));
  }

  SmallVector<Value> states = {initial.hidden, outputs};
  if (isLstm)
    states.push_back(initial.cell);
  auto results = b.loop(
      steps, nullptr, states,
      [&](Dim i,
          OpsBuilder::Values carried) -> std::optional<OpsBuilder::Iteration> {
        Value state = isLstm ? carried[2] : Value();
        Dim t = countsDown ? b.sub(b.sub(steps, b.index(1)), i) : i;
        auto [hidden, next] =
            layer.step(b.select(projected, 0, t), carried[0], state);
        Value output = hidden;
        if (lengths) {
          Value at = b.dimsToTensor(i, b.getI64Type(), /*scalar=*/true);
          Value isOn = b.unsqueeze(b.compare(Compare::Lt, at, lengths), {1});
          output = b.where(isOn, hidden,
                           b.scalar(0.0, OpsBuilder::elementOf(hidden)));
          hidden = b.where(isOn, hidden, carried[0]);
          if (isLstm)
            next = b.where(isOn, next, state);
        }
        Dim row =
            isApart ? t
                    : b.add(b.mul(t, b.index(directions)), b.index(direction));
        Value all = b.indexCopy(carried[1], b.dimsToTensor(row, b.getI64Type()),
                                b.unsqueeze(output, {0}), 0);
        if (!hidden || !all || (isLstm && !next))
          return std::nullopt;
        OpsBuilder::Iteration result;
        result.carried = {hidden, all};
        if (isLstm)
          result.carried.push_back(next);
        return result;
      });
  if (!results)
    return {};
  RecurrentState last{results->carried[0],
                      isLstm ? results->carried[2] : Value(),
                      results->carried[1]};
  if (isApart) {
    Value turned = reverseSequence(b, last.outputs, lengths, 1, 0);
    last.outputs = b.sliceScatter(initial.outputs, turned, 0,
                                  b.index(direction), b.index(directions));
  }
  return last;
}
