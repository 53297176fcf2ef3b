//===- HigherOrder.cpp - Control flow of exported programs ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Operators that call regions: torch.cond, while_loop, scan and map.
// Their arguments have no names in the file, only an order.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;
using namespace mlir;

namespace marver::torch {
namespace {

using Values = SmallVector<Value>;

/// Argument `position`, or null (and a failure).
const Argument *argumentAt(Call &c, unsigned position) {
  if (position < c.node.inputs.size())
    return &c.node.inputs[position].second;
  c.fail("argument " + Twine(position) + " is missing");
  return nullptr;
}

const Argument *regionAt(Call &c, unsigned position) {
  const Argument *argument = argumentAt(c, position);
  if (argument && argument->kind != Argument::Graph) {
    c.fail("argument " + Twine(position) + " is no region");
    return nullptr;
  }
  return argument;
}

/// The values of a list; numbers as tensors of rank 0. None that is absent.
OpsBuilder::Results valuesAt(Call &c, unsigned position) {
  Values values;
  if (position >= c.node.inputs.size())
    return values;
  const Argument &list = c.node.inputs[position].second;
  ArrayRef<Argument> items =
      list.kind == Argument::List ? ArrayRef(list.list) : ArrayRef(list);
  for (const Argument &item : items) {
    if (item.kind == Argument::None)
      continue;
    Value value = c.operand(item);
    if (!value)
      return std::nullopt;
    values.push_back(value);
  }
  return values;
}

Values joined(ArrayRef<Value> a, ArrayRef<Value> b) {
  Values all(a);
  all.append(b.begin(), b.end());
  return all;
}

/// Gives the node's outputs their values: numbers are not tensors.
Value finish(Call &c, ArrayRef<Value> values) {
  SmallVector<Argument> outputs;
  for (const Argument &output : c.node.outputs) {
    if (output.kind == Argument::List)
      outputs.append(output.list.begin(), output.list.end());
    else
      outputs.push_back(output);
  }
  if (outputs.size() != values.size())
    return c.fail("has " + Twine(outputs.size()) + " results, its regions " +
                  Twine(values.size()));
  for (auto [output, value] : zip_equal(outputs, values)) {
    c.results.push_back(value);
    if (output.kind != Argument::Tensor)
      c.graph.bindNumber(output, value);
  }
  return nullptr;
}

/// cond(predicate, then, otherwise, operands)
Value cond(Call &c) {
  const Argument *predicate = argumentAt(c, 0);
  const Argument *then = regionAt(c, 1), *otherwise = regionAt(c, 2);
  OpsBuilder::Results operands = valuesAt(c, 3);
  if (!predicate || !then || !otherwise || !operands)
    return nullptr;
  auto branch = [&](const Argument *region) {
    return [&, region](ArrayRef<Value>) {
      return c.graph.region(*region, *operands);
    };
  };
  OpsBuilder::Results results = c.b.ifElse(
      c.operand(*predicate, ScalarType::Bool), branch(then), branch(otherwise));
  return results ? finish(c, *results) : Value();
}

/// while_loop(condition, body, carried, captured)
Value whileLoop(Call &c) {
  const Argument *condition = regionAt(c, 0), *body = regionAt(c, 1);
  OpsBuilder::Results carried = valuesAt(c, 2), captured = valuesAt(c, 3);
  if (!condition || !body || !carried || !captured)
    return nullptr;
  OpsBuilder::Results results = c.b.whileLoop(
      *carried,
      [&](ArrayRef<Value> values) -> Value {
        OpsBuilder::Results result =
            c.graph.region(*condition, joined(values, *captured));
        return result && result->size() == 1 ? result->front() : Value();
      },
      [&](ArrayRef<Value> values) {
        return c.graph.region(*body, joined(values, *captured));
      });
  return results ? finish(c, *results) : Value();
}

/// The common dim 0 of what is iterated over.
std::optional<Dim> countOf(Call &c, ArrayRef<Value> xs) {
  for (Value x : xs)
    if (c.b.rankOf(x) == 0) {
      c.fail("iterates over a tensor of rank 0");
      return std::nullopt;
    }
  if (xs.empty()) {
    c.fail("iterates over nothing");
    return std::nullopt;
  }
  Dim count = c.b.dim(xs[0], 0);
  for (Value x : xs.drop_front())
    if (!c.b.requireEqual(count, c.b.dim(x, 0), "the counts of iterations"))
      return std::nullopt;
  return count;
}

Values slicesAt(Call &c, ArrayRef<Value> xs, Dim position) {
  return map_to_vector(xs, [&](Value x) {
    return c.b.squeeze(c.b.narrow(x, 0, position, c.b.index(1)), {0});
  });
}

/// scan(combine, initial, xs, captured): combine gives the next carried values
/// and then the slices of the results.
Value scan(Call &c) {
  const Argument *combine = regionAt(c, 0);
  OpsBuilder::Results initial = valuesAt(c, 1), xs = valuesAt(c, 2),
                      captured = valuesAt(c, 3);
  if (!combine || !initial || !xs || !captured)
    return nullptr;
  std::optional<Dim> count = countOf(c, *xs);
  if (!count)
    return nullptr;
  auto results = c.b.loop(
      count, nullptr, *initial,
      [&](Dim at,
          ArrayRef<Value> carried) -> std::optional<OpsBuilder::Iteration> {
        OpsBuilder::Results values = c.graph.region(
            *combine, joined(joined(carried, slicesAt(c, *xs, at)), *captured));
        if (!values || values->size() < carried.size())
          return std::nullopt;
        OpsBuilder::Iteration next;
        next.carried.assign(values->begin(), values->begin() + carried.size());
        next.slices.assign(values->begin() + carried.size(), values->end());
        return next;
      });
  return results ? finish(c, joined(results->carried, results->scans))
                 : Value();
}

/// map_impl(body, xs, captured): the body's results, stacked.
Value map(Call &c) {
  const Argument *body = regionAt(c, 0);
  OpsBuilder::Results xs = valuesAt(c, 1), captured = valuesAt(c, 2);
  if (!body || !xs || !captured)
    return nullptr;
  std::optional<Dim> count = countOf(c, *xs);
  if (!count)
    return nullptr;
  auto results = c.b.loop(
      count, nullptr, {},
      [&](Dim at, ArrayRef<Value>) -> std::optional<OpsBuilder::Iteration> {
        OpsBuilder::Results values =
            c.graph.region(*body, joined(slicesAt(c, *xs, at), *captured));
        if (!values)
          return std::nullopt;
        OpsBuilder::Iteration next;
        next.slices = *values;
        return next;
      });
  return results ? finish(c, results->scans) : Value();
}

/// loop(count, condition, body, initial), torch-mlir's prim.Loop: the body
/// takes the iteration's number and what is carried, and gives whether there is
/// another iteration and what is carried to it.
Value loop(Call &c) {
  const Argument *count = argumentAt(c, 0), *condition = argumentAt(c, 1),
                 *body = regionAt(c, 2);
  OpsBuilder::Results initial = valuesAt(c, 3);
  if (!count || !condition || !body || !initial)
    return nullptr;
  std::optional<Dim> limit;
  if (count->kind != Argument::Int || count->integer != INT64_MAX) {
    std::optional<Dims> dims = c.b.tensorToDims(c.operand(*count));
    if (!dims)
      return nullptr;
    limit = dims->front();
  }
  Value first = condition->kind == Argument::Bool && condition->integer
                    ? Value()
                    : c.operand(*condition, ScalarType::Bool);
  auto results = c.b.loop(
      limit, first, *initial,
      [&](Dim at,
          ArrayRef<Value> carried) -> std::optional<OpsBuilder::Iteration> {
        Values inputs = {c.b.dimsToTensor({at}, c.b.getI64Type(),
                                          /*scalar=*/true)};
        OpsBuilder::Results values =
            c.graph.region(*body, joined(inputs, carried));
        if (!values || values->size() != carried.size() + 1)
          return std::nullopt;
        OpsBuilder::Iteration next;
        next.proceed = values->front();
        next.carried.assign(values->begin() + 1, values->end());
        return next;
      });
  return results ? finish(c, results->carried) : Value();
}

constexpr OpEntry entries[] = {
    {"higher_order.loop", loop},
    {"higher_order.cond", cond},
    {"higher_order.while_loop", whileLoop},
    {"higher_order.scan", scan},
    {"higher_order.map_impl", map},
};

} // namespace

void addHigherOrder(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
