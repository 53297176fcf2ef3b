//===- Call.cpp - One node of an exported program being imported ----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;
using namespace mlir;

namespace marver::torch {

void addQuantization(OpTable &table);

Type elementType(MLIRContext *context, ScalarType type) {
  Builder b(context);
  switch (type) {
  case ScalarType::Byte:
  case ScalarType::Char:
    return b.getI8Type();
  case ScalarType::Short:
  case ScalarType::UInt16:
    return b.getI16Type();
  case ScalarType::Int:
  case ScalarType::UInt32:
    return b.getI32Type();
  case ScalarType::Long:
  case ScalarType::UInt64:
    return b.getI64Type();
  case ScalarType::Half:
    return b.getF16Type();
  case ScalarType::BFloat16:
    return b.getBF16Type();
  case ScalarType::Float:
    return b.getF32Type();
  case ScalarType::Double:
    return b.getF64Type();
  case ScalarType::Bool:
    return b.getI1Type();
  case ScalarType::Unknown:
    break;
  }
  return nullptr;
}

static int bitsOf(ScalarType type) {
  switch (type) {
  case ScalarType::Bool:
    return 1;
  case ScalarType::Byte:
  case ScalarType::Char:
    return 8;
  case ScalarType::Short:
  case ScalarType::UInt16:
  case ScalarType::Half:
  case ScalarType::BFloat16:
    return 16;
  case ScalarType::Int:
  case ScalarType::UInt32:
  case ScalarType::Float:
    return 32;
  default:
    return 64;
  }
}

ScalarType promoteTypes(ScalarType a, ScalarType b) {
  if (a == b || b == ScalarType::Bool)
    return a;
  if (a == ScalarType::Bool)
    return b;
  if (isFloating(a) != isFloating(b))
    return isFloating(a) ? a : b;
  const int bitsA = bitsOf(a), bitsB = bitsOf(b);
  if (isFloating(a))
    return bitsA == bitsB ? ScalarType::Float : (bitsA > bitsB ? a : b);
  if (isUnsigned(a) == isUnsigned(b))
    return bitsA > bitsB ? a : b;
  const ScalarType unsignedType = isUnsigned(a) ? a : b;
  const ScalarType signedType = isUnsigned(a) ? b : a;
  if (bitsOf(signedType) > bitsOf(unsignedType))
    return signedType;
  return bitsOf(unsignedType) == 8    ? ScalarType::Short
         : bitsOf(unsignedType) == 16 ? ScalarType::Int
                                      : ScalarType::Long;
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

void Graph::bindNumber(const Argument &number, Value value) {
  Value scalar = tensor::ExtractOp::create(b, value);
  if (number.kind != Argument::SymInt) {
    scalars[number.text] = scalar;
    return;
  }
  auto found = program.symInts.find(number.text);
  if (found == program.symInts.end()) {
    b.fail("the file does not describe '" + number.text + "'");
    return;
  }
  bindIfUnknown(found->second, [&]() -> Dim {
    return arith::IndexCastOp::create(b, b.getIndexType(), scalar).getResult();
  });
}

const TensorMeta *Graph::meta(StringRef name) const {
  auto found = program.tensors.find(name);
  return found == program.tensors.end() ? nullptr : &found->second;
}

std::optional<Dim> Graph::emitAtom(unsigned number) {
  if (auto found = sizes.symbolValues.find(number);
      found != sizes.symbolValues.end())
    return found->second;
  const SymContext::Atom &atom = program.symbols.atom(number);
  if (atom.kind == SymContext::Kind::Symbol)
    return std::nullopt;
  Dims args;
  for (const SymExpr &arg : SmallVector<SymExpr, 2>(atom.args)) {
    std::optional<Dim> value = emit(arg);
    if (!value)
      return std::nullopt;
    args.push_back(*value);
  }
  switch (atom.kind) {
  case SymContext::Kind::FloorDiv:
    return b.floorDiv(args[0], args[1]);
  case SymContext::Kind::Mod:
    return b.mod(args[0], args[1]);
  case SymContext::Kind::Scale:
    return b.scale(args[0], llvm::bit_cast<double>(*atom.args[1].constant()));
  default:
    break;
  }
  Dim result = args[0];
  for (Dim arg : drop_begin(args))
    result = atom.kind == SymContext::Kind::Min ? b.min(result, arg)
                                                : b.max(result, arg);
  return result;
}

std::optional<Dim> Graph::emit(const SymExpr &expr) {
  if (std::optional<int64_t> constant = expr.constant())
    return b.index(*constant);
  if (auto found = sizes.emitted.find(expr); found != sizes.emitted.end())
    return found->second;
  std::optional<Dim> sum;
  for (const auto &[atoms, coefficient] : expr.terms) {
    // Through the builder's product, so that a product of sizes that an
    // operator makes is the same value.
    Dims factors = {b.index(coefficient)};
    for (unsigned number : atoms) {
      std::optional<Dim> factor = emitAtom(number);
      if (!factor)
        return std::nullopt;
      factors.push_back(*factor);
    }
    Dim term = b.product(factors);
    sum = sum ? b.add(term, *sum) : term;
  }
  sizes.emitted[expr] = *sum;
  return sum;
}

void Graph::bindIfUnknown(const SymExpr &expr, function_ref<Dim()> value) {
  if (expr.terms.size() != 1)
    return;
  const auto &[atoms, coefficient] = *expr.terms.begin();
  if (atoms.size() == 1 && coefficient == 1 &&
      program.symbols.atom(atoms[0]).kind == SymContext::Kind::Symbol &&
      !sizes.symbolValues.contains(atoms[0]))
    bind(atoms[0], value());
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

const Argument *Call::find(StringRef name) const {
  for (const auto &[key, argument] : node.inputs)
    if (key == name)
      return &argument;
  return nullptr;
}

bool Call::has(StringRef name) const {
  const Argument *argument = find(name);
  return argument && argument->kind != Argument::None;
}

bool Call::isTensor(StringRef name) const {
  const Argument *argument = find(name);
  return argument && argument->kind == Argument::Tensor;
}

Value Call::tensor(StringRef name) {
  if (!isTensor(name))
    return fail("argument '" + name + "' is not a tensor");
  return graph.tensor(find(name)->text);
}

Value Call::optionalTensor(StringRef name) {
  return has(name) ? tensor(name) : nullptr;
}

SmallVector<Value> Call::tensors(StringRef name) {
  SmallVector<Value> result;
  const Argument *argument = find(name);
  if (!argument || argument->kind != Argument::List) {
    fail("argument '" + name + "' is not a list of tensors");
    return result;
  }
  for (const Argument &item : argument->list) {
    if (item.kind != Argument::Tensor && item.kind != Argument::None)
      fail("argument '" + name + "' is not a list of tensors");
    result.push_back(item.kind == Argument::Tensor ? graph.tensor(item.text)
                                                   : nullptr);
  }
  return result;
}

std::optional<Dim> Call::dimOf(const Argument &argument) {
  if (argument.kind == Argument::Int || argument.kind == Argument::Bool)
    return b.index(argument.integer);
  if (argument.kind != Argument::SymInt)
    return std::nullopt;
  auto found = graph.program.symInts.find(argument.text);
  if (found == graph.program.symInts.end())
    return std::nullopt;
  return graph.emit(found->second);
}

int64_t Call::integer(StringRef name, int64_t absent) {
  if (!has(name))
    return absent;
  std::optional<Dim> value = dimOf(*find(name));
  std::optional<int64_t> number = value ? b.known(*value) : std::nullopt;
  if (!number)
    fail("argument '" + name + "' is not a number that is known now");
  return number.value_or(absent);
}

bool Call::boolean(StringRef name, bool absent) {
  return integer(name, absent) != 0;
}

double Call::number(StringRef name, double absent) {
  if (!has(name))
    return absent;
  const Argument &argument = *find(name);
  if (argument.kind == Argument::Float)
    return argument.number;
  return static_cast<double>(integer(name));
}

std::optional<double> Call::optionalNumber(StringRef name) {
  if (!has(name))
    return std::nullopt;
  return number(name);
}

StringRef Call::string(StringRef name, StringRef absent) {
  if (!has(name))
    return absent;
  const Argument &argument = *find(name);
  if (argument.kind != Argument::String)
    fail("argument '" + name + "' is not a string");
  return argument.text;
}

SmallVector<int64_t> Call::ints(StringRef name) {
  SmallVector<int64_t> result;
  for (Dim dim : dims(name)) {
    std::optional<int64_t> number = b.known(dim);
    if (!number)
      fail("argument '" + name + "' depends on a dynamic size");
    result.push_back(number.value_or(1));
  }
  return result;
}

SmallVector<int64_t> Call::ints(StringRef name, size_t count, int64_t absent) {
  SmallVector<int64_t> result = ints(name);
  if (result.empty())
    result.push_back(absent);
  if (result.size() == 1)
    result.assign(count, result[0]);
  if (result.size() != count)
    fail("argument '" + name + "' has " + Twine(result.size()) +
         " entries, not " + Twine(count));
  result.resize(count, absent);
  return result;
}

Dim Call::dim(StringRef name, Dim absent) {
  if (!has(name))
    return absent;
  std::optional<Dim> value = dimOf(*find(name));
  if (!value)
    fail("argument '" + name + "' has no known value");
  return value.value_or(b.index(0));
}

Dims Call::dims(StringRef name) {
  Dims result;
  const Argument *argument = find(name);
  if (!argument || argument->kind == Argument::None)
    return result;
  ArrayRef<Argument> items = argument->kind == Argument::List
                                 ? ArrayRef<Argument>(argument->list)
                                 : ArrayRef<Argument>(*argument);
  for (const Argument &item : items) {
    std::optional<Dim> value = dimOf(item);
    if (!value)
      fail("argument '" + name + "' is not a list of sizes that are known");
    result.push_back(value.value_or(b.index(1)));
  }
  return result;
}

int64_t Call::axis(StringRef name, int64_t rank, int64_t absent) {
  // A scalar counts as one-dimensional here.
  std::optional<int64_t> result =
      b.axis(integer(name, absent), std::max<int64_t>(rank, 1));
  return result.value_or(0);
}

std::optional<ScalarType> Call::type(StringRef name) {
  if (!has(name))
    return std::nullopt;
  const Argument &argument = *find(name);
  if (argument.kind != Argument::ScalarType)
    fail("argument '" + name + "' is not a dtype");
  return static_cast<ScalarType>(argument.integer);
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

ScalarType Call::typeOf(const Argument &argument) {
  switch (argument.kind) {
  case Argument::Tensor:
    if (const TensorMeta *meta = graph.meta(argument.text))
      return meta->type;
    fail("the file does not describe tensor '" + argument.text + "'");
    return ScalarType::Float;
  case Argument::Float:
  case Argument::SymFloat:
    return ScalarType::Double;
  case Argument::Bool:
  case Argument::SymBool:
    return ScalarType::Bool;
  default:
    return ScalarType::Long;
  }
}

ScalarType Call::typeOf(StringRef name) {
  const Argument *argument = find(name);
  if (!argument) {
    fail("argument '" + name + "' is missing");
    return ScalarType::Float;
  }
  return typeOf(*argument);
}

ScalarType Call::promote(ArrayRef<StringRef> names) {
  // By priority: numbers, tensors of rank 0, other tensors.
  std::optional<ScalarType> found[3];
  for (StringRef name : names) {
    if (!has(name))
      continue;
    ScalarType type = typeOf(name);
    int priority = 0;
    if (isTensor(name)) {
      const TensorMeta *meta = graph.meta(find(name)->text);
      priority = meta && meta->sizes.empty() ? 1 : 2;
    } else if (type == ScalarType::Double) {
      type = ScalarType::Float; // the default dtype
    }
    found[priority] =
        found[priority] ? promoteTypes(*found[priority], type) : type;
  }
  auto combine = [](std::optional<ScalarType> high,
                    std::optional<ScalarType> low) {
    if (!high || !low)
      return high ? high : low;
    if (isFloating(*high))
      return high;
    if (*high == ScalarType::Bool || isFloating(*low))
      return std::optional(promoteTypes(*high, *low));
    return high;
  };
  return combine(found[2], combine(found[1], found[0]))
      .value_or(ScalarType::Float);
}

static const Argument *resultArgument(const Node &node, unsigned number) {
  for (const Argument &output : node.outputs) {
    ArrayRef<Argument> items = output.kind == Argument::List
                                   ? ArrayRef<Argument>(output.list)
                                   : ArrayRef<Argument>(output);
    if (number < items.size())
      return &items[number];
    number -= items.size();
  }
  return nullptr;
}

ScalarType Call::resultType(unsigned number) {
  const Argument *output = resultArgument(node, number);
  if (!output) {
    fail("the node has no result " + Twine(number));
    return ScalarType::Float;
  }
  return typeOf(*output);
}

Dims Call::resultDims(unsigned number) {
  Dims result;
  const Argument *output = resultArgument(node, number);
  const TensorMeta *meta = output && output->kind == Argument::Tensor
                               ? graph.meta(output->text)
                               : nullptr;
  if (!meta) {
    fail("the file does not describe result " + Twine(number));
    return result;
  }
  for (const SymExpr &size : meta->sizes) {
    std::optional<Dim> dim = graph.emit(size);
    if (!dim)
      fail("size " + graph.program.symbols.print(size) +
           " depends on what is not known here");
    result.push_back(dim.value_or(b.index(1)));
  }
  return result;
}

Type Call::element(ScalarType type) {
  Type result = elementType(b.getContext(), type);
  if (!result) {
    fail("dtype " + nameOf(type) + " is not supported");
    return b.getF32Type();
  }
  return result;
}

Value Call::cast(Value value, ScalarType from, ScalarType to) {
  return from == to
             ? value
             : b.cast(value, element(to), isUnsigned(from), isUnsigned(to));
}

Value Call::operand(const Argument &argument, ScalarType type) {
  switch (argument.kind) {
  case Argument::Tensor:
    return cast(graph.tensor(argument.text), typeOf(argument), type);
  case Argument::Int:
  case Argument::Bool:
    if (type == ScalarType::Bool)
      return b.scalar(int64_t(argument.integer != 0), element(type));
    return isFloating(type)
               ? b.scalar(static_cast<double>(argument.integer), element(type))
               : b.scalar(argument.integer, element(type));
  case Argument::Float:
    if (type == ScalarType::Bool)
      return b.scalar(int64_t(argument.number != 0), element(type));
    if (!isFloating(type)) {
      if (!(std::abs(argument.number) < 9.3e18))
        return fail("a float that is no integer is given for an integer");
      return b.scalar(static_cast<int64_t>(argument.number), element(type));
    }
    return b.scalar(argument.number, element(type));
  case Argument::SymInt: {
    std::optional<Dim> value = dimOf(argument);
    if (!value)
      return fail("'" + argument.text + "' has no known value");
    Value tensor = b.dimsToTensor(*value, b.getI64Type(), /*scalar=*/true);
    return cast(tensor, ScalarType::Long, type);
  }
  case Argument::SymFloat:
  case Argument::SymBool: {
    auto found = graph.scalars.find(argument.text);
    if (found == graph.scalars.end() || !found->second)
      return fail("'" + argument.text + "' has no known value");
    Value scalar = found->second;
    Value tensor = tensor::FromElementsOp::create(
        b, RankedTensorType::get({}, scalar.getType()), scalar);
    return cast(tensor, typeOf(argument), type);
  }
  default:
    return fail("a number or a tensor was expected");
  }
}

Value Call::operand(StringRef name, ScalarType type) {
  const Argument *argument = find(name);
  if (!argument || argument->kind == Argument::None)
    return fail("argument '" + name + "' is missing");
  return operand(*argument, type);
}

const OpTable &operators() {
  static const OpTable table = [] {
    OpTable result;
    addElementwise(result);
    addReductions(result);
    addShapes(result);
    addComposite(result);
    addCreation(result);
    addContractions(result);
    addNormalization(result);
    addIndexing(result);
    addRecurrent(result);
    addScalars(result);
    addHigherOrder(result);
    addSelection(result);
    addQuantization(result);
    return result;
  }();
  return table;
}

Handler findHandler(StringRef target, bool &isInPlace) {
  isInPlace = false;
  target.consume_front("torch.ops.");
  const OpTable &table = operators();
  if (auto found = table.find(target); found != table.end())
    return found->second;
  auto [name, overload] = target.rsplit('.');
  if (name.consume_back("_") && !name.ends_with("_")) {
    isInPlace = true;
    if (auto found = table.find((name + "." + overload).str());
        found != table.end())
      return found->second;
  }
  return nullptr;
}

} // namespace marver::torch
