//===- ShapeOverrides.cpp - --shape on a program --------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/ShapeOverrides.h"
#include "mlir/IR/Diagnostics.h"

using namespace llvm;
using namespace mlir;

namespace marver::torch {
namespace {

class Overrides {
public:
  Overrides(Program &program, ArrayRef<const InputSpec *> inputs, Location loc)
      : program(program), inputs(inputs), loc(loc) {}

  LogicalResult apply(ArrayRef<ShapeOverride> shapes);

private:
  LogicalResult applyShape(const ShapeOverride &shape);
  LogicalResult unify(const SymExpr &size, int64_t value, const Twine &input);
  LogicalResult fix(unsigned symbol, int64_t value);
  InFlightDiagnostic error() { return emitError(loc); }
  const TensorMeta *metaOf(StringRef name) const {
    auto found = program.tensors.find(name);
    return found == program.tensors.end() ? nullptr : &found->second;
  }

  Program &program;
  ArrayRef<const InputSpec *> inputs;
  Location loc;
};

} // namespace

LogicalResult Overrides::fix(unsigned symbol, int64_t value) {
  SymContext::Atom &atom = program.symbols.atom(symbol);
  if (atom.fixed && *atom.fixed != value)
    return error() << "dim '" << atom.name << "' is given two values, "
                   << *atom.fixed << " and " << value;
  if (value < atom.range.min || value > atom.range.max)
    return error() << "dim '" << atom.name << "' is given the value " << value
                   << ", but the model was exported for " << atom.range.min
                   << " to " << atom.range.max;
  atom.fixed = value;
  return success();
}

/// Makes `size` equal to `value` by fixing a symbol.
LogicalResult Overrides::unify(const SymExpr &size, int64_t value,
                               const Twine &input) {
  SymExpr expr = program.symbols.resolve(size);
  if (std::optional<int64_t> constant = expr.constant()) {
    if (*constant != value)
      return error() << "--shape gives " << input << " a dim of " << value
                     << " where the model has " << *constant;
    return success();
  }
  int64_t offset = 0;
  const std::pair<const SymExpr::Atoms, int64_t> *term = nullptr;
  bool isLinear = true;
  for (const auto &entry : expr.terms) {
    if (entry.first.empty())
      offset = entry.second;
    else if (term || entry.first.size() != 1)
      isLinear = false;
    else
      term = &entry;
  }
  int64_t rest;
  if (!isLinear || !term ||
      program.symbols.atom(term->first[0]).kind != SymContext::Kind::Symbol)
    return error() << "--shape cannot give " << input << " the dim "
                   << program.symbols.print(size)
                   << "; give the value of a symbol instead, as in --shape="
                   << "NAME=300";
  if (SubOverflow(value, offset, rest) || term->second == 0 ||
      rest % term->second != 0)
    return error() << "--shape gives " << input << " a dim of " << value
                   << ", which is not of the form "
                   << program.symbols.print(size);
  return fix(term->first[0], rest / term->second);
}

LogicalResult Overrides::applyShape(const ShapeOverride &shape) {
  if (shape.isDim) {
    std::optional<unsigned> symbol = program.symbols.findSymbol(shape.name);
    if (!symbol)
      return success();
    shape.used = true;
    return fix(*symbol, shape.dims[0]);
  }
  const InputSpec *spec = nullptr;
  for (const InputSpec *candidate : inputs)
    if (candidate->value.text == shape.name)
      spec = candidate;
  unsigned number;
  if (!spec && !StringRef(shape.name).getAsInteger(10, number) &&
      number < inputs.size())
    spec = inputs[number];
  if (!spec)
    return success();
  shape.used = true;
  const TensorMeta *meta =
      spec->value.kind == Argument::Tensor ? metaOf(spec->value.text) : nullptr;
  if (!meta || meta->sizes.size() != shape.dims.size())
    return error() << "--shape gives input '" << spec->value.text << "' "
                   << shape.dims.size() << " dims; it has "
                   << (meta ? meta->sizes.size() : 0);
  for (auto [size, value] : zip(meta->sizes, shape.dims))
    if (failed(unify(size, value, "input '" + spec->value.text + "'")))
      return failure();
  return success();
}

LogicalResult Overrides::apply(ArrayRef<ShapeOverride> shapes) {
  for (const ShapeOverride &shape : shapes)
    if (failed(applyShape(shape)))
      return failure();
  for (auto &entry : program.tensors)
    for (SymExpr &size : entry.second.sizes)
      size = program.symbols.resolve(size);
  for (auto &entry : program.symInts)
    entry.second = program.symbols.resolve(entry.second);
  if (!program.symbols.error.empty())
    return error() << program.symbols.error;
  return success();
}

LogicalResult applyShapes(Program &program, ArrayRef<const InputSpec *> inputs,
                          ArrayRef<ShapeOverride> shapes, Location loc) {
  return shapes.empty() ? success()
                        : Overrides(program, inputs, loc).apply(shapes);
}

} // namespace marver::torch
