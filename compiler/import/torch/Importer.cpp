//===- Importer.cpp - From an exported program to a module ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Walks the graph of a program in its order and calls the operator table for
// each node. The file states dtype and dims of every value; what an operator
// makes is compared with that, so that a wrong mapping or a damaged file is an
// error at the node and not a wrong result.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Importer.h"
#include "compiler/import/torch/Call.h"
#include "compiler/import/torch/Guards.h"
#include "compiler/import/torch/Mutation.h"
#include "compiler/import/torch/ShapeOverrides.h"
#include "compiler/import/torch/Weights.h"
#include "compiler/ir/States.h"
#include "marver/abi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace llvm;
using namespace mlir;

namespace marver {
namespace torch {
namespace {

/// More errors than this are not read by anyone.
constexpr unsigned maxErrors = 50;

class Importer : public Graph {
public:
  Importer(MLIRContext *context, const ImportRequest &request, Program &program,
           WeightSource &weights, OpsBuilder &b)
      : Graph(program, b), context(context), request(request), weights(weights),
        fileLoc(FileLineColLoc::get(context, request.path, 0, 0)) {}

  OwningOpRef<ModuleOp> run();

  Value tensor(StringRef name) override;
  OpsBuilder::Results region(const Argument &graph,
                             ArrayRef<Value> inputs) override;
  void setTensor(StringRef name, Value value) override { values[name] = value; }

private:
  LogicalResult checkSignature();
  void findStates();
  LogicalResult makeFunction();
  LogicalResult describeState(unsigned number);
  LogicalResult addGuards();
  LogicalResult checkOperators();
  void checkOperators(ArrayRef<Node> nodes);
  LogicalResult importNodes();
  void importNode(const Node &node, Mutations &mutations);
  Value conform(StringRef name, Value value);
  LogicalResult makeReturn();
  Value outputValue(const Argument &argument);
  Type outputType(const Argument &argument, bool &isUnsignedType);

  Location locationOf(const Node &node) const;
  RankedTensorType typeOf(const TensorMeta &meta) const;
  InFlightDiagnostic error() { return emitError(fileLoc); }

  MLIRContext *context;
  const ImportRequest &request;
  WeightSource &weights;
  Location fileLoc;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  /// User inputs that are arguments of the function, in order; then buffers
  /// that the model changes.
  SmallVector<const InputSpec *> arguments;
  unsigned stateCount = 0;
  /// Symbols of their dims.
  SmallVector<unsigned> symbols;
  StringMap<Value> values;
  StringMap<const InputSpec *> sources;
  llvm::DenseSet<Attribute> badPlaces;
  unsigned errors = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Locations and types
//===----------------------------------------------------------------------===//

/// The operator's name as users know it: aten.conv2d of
/// torch.ops.aten.conv2d.default.
static StringRef shortName(StringRef target) {
  target.consume_front("torch.ops.");
  target.consume_back(".default");
  return target;
}

/// The innermost line of the user's own files: the one that is not PyTorch's.
Location Importer::locationOf(const Node &node) const {
  StringAttr name = StringAttr::get(context, shortName(node.target));
  if (node.location)
    return NameLoc::get(name, Location(node.location));
  // Traces read: File "/path/model.py", line 12, in forward\n    code
  StringRef rest = node.stackTrace, file;
  unsigned line = 0;
  while (true) {
    size_t at = rest.find("File \"");
    if (at == StringRef::npos)
      break;
    rest = rest.drop_front(at + 6);
    auto [path, after] = rest.split("\", line ");
    unsigned number;
    if (after.consumeInteger(10, number) || path.contains('\n'))
      continue;
    rest = after;
    // Code that PyTorch generated is at no place of the user's.
    const bool isOwn = !path.contains("/torch/") && !path.starts_with("<");
    if (file.empty() || isOwn) {
      file = path;
      line = number;
    }
  }
  Location place =
      file.empty() ? fileLoc : FileLineColLoc::get(context, file, line, 0);
  return NameLoc::get(name, place);
}

RankedTensorType Importer::typeOf(const TensorMeta &meta) const {
  Type element = elementType(context, meta.type);
  if (!element)
    return nullptr;
  SmallVector<int64_t> sizes;
  for (const SymExpr &size : meta.sizes)
    sizes.push_back(size.constant().value_or(ShapedType::kDynamic));
  return RankedTensorType::get(sizes, element);
}

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

/// Buffers and weights that the model changes when it runs become state: the
/// last arguments, and the last results in the same order. Decomposed programs
/// list the new values, others write in place.
void Importer::findStates() {
  llvm::StringSet<> written = findWritten(program.nodes);
  std::vector<OutputSpec> results = std::move(program.outputs), states;
  for (const InputSpec &input : program.inputs) {
    if (input.kind != InputSpec::Buffer && input.kind != InputSpec::Parameter)
      continue;
    auto listed = llvm::find_if(results, [&](const OutputSpec &output) {
      return output.kind == OutputSpec::Mutation &&
             output.target == input.source;
    });
    OutputSpec state;
    state.kind = OutputSpec::Mutation;
    state.target = input.source;
    state.value = input.value; // the name, which writes give new values
    if (listed != results.end()) {
      state = *listed;
      results.erase(listed);
    } else if (!written.contains(input.value.text)) {
      continue;
    }
    arguments.push_back(&input);
    states.push_back(std::move(state));
  }
  stateCount = states.size();
  program.outputs = std::move(results);
  llvm::append_range(program.outputs, states);
}

LogicalResult Importer::checkSignature() {
  for (const InputSpec &spec : program.inputs) {
    switch (spec.kind) {
    case InputSpec::User:
      // Numbers and None were specialized by the export: nothing to pass.
      if (spec.value.kind == Argument::Tensor ||
          spec.value.kind == Argument::SymInt)
        arguments.push_back(&spec);
      break;
    case InputSpec::Parameter:
    case InputSpec::Buffer:
    case InputSpec::Constant:
      sources[spec.value.text] = &spec;
      break;
    case InputSpec::ConstantValue:
      break;
    case InputSpec::CustomObject:
    case InputSpec::Token:
      return error() << "input '" << spec.source
                     << "' is an object of TorchScript, which is not supported";
    }
  }
  findStates();
  for (const InputSpec *spec : arguments) {
    if (spec->value.kind != Argument::Tensor)
      continue;
    const TensorMeta *meta = this->meta(spec->value.text);
    if (!meta)
      return error() << "the file does not describe input '" << spec->value.text
                     << "'";
    if (!typeOf(*meta))
      return error() << "input '" << spec->value.text << "' has dtype "
                     << nameOf(meta->type) << ", which is not supported";
    for (const SymExpr &size : meta->sizes)
      if (std::optional<int64_t> number = size.constant();
          number && *number < 0)
        return error() << "input '" << spec->value.text
                       << "' has a negative dim";
  }
  for (const OutputSpec &spec :
       ArrayRef(program.outputs).drop_back(stateCount)) {
    if (spec.kind == OutputSpec::Mutation)
      return error() << "the model writes to its input '" << spec.target
                     << "', which belongs to the caller: return the new value";
    if (spec.kind == OutputSpec::Other)
      return error() << "outputs of kind " << spec.target
                     << " are not supported";
  }
  return success();
}

/// Entry of `mv.dims`: a number, or an affine map of the function's symbols.
static Attribute dimAttribute(MLIRContext *context, const SymContext &context2,
                              const SymExpr &size, ArrayRef<unsigned> symbols) {
  Builder b(context);
  if (std::optional<int64_t> number = size.constant())
    return b.getI64IntegerAttr(*number);
  std::function<std::optional<AffineExpr>(const SymExpr &)> convert =
      [&](const SymExpr &expr) -> std::optional<AffineExpr> {
    AffineExpr sum = b.getAffineConstantExpr(0);
    for (const auto &[numbers, coefficient] : expr.terms) {
      AffineExpr term = b.getAffineConstantExpr(coefficient);
      if (numbers.size() > 1)
        return std::nullopt;
      for (unsigned number : numbers) {
        const SymContext::Atom &atom = context2.atom(number);
        if (atom.kind == SymContext::Kind::Symbol) {
          const auto *found = llvm::find(symbols, number);
          if (found == symbols.end())
            return std::nullopt;
          term = term * b.getAffineSymbolExpr(found - symbols.begin());
          continue;
        }
        if (atom.kind != SymContext::Kind::FloorDiv &&
            atom.kind != SymContext::Kind::Mod)
          return std::nullopt;
        std::optional<AffineExpr> inner = convert(atom.args[0]);
        std::optional<int64_t> divisor = atom.args[1].constant();
        if (!inner || !divisor || *divisor <= 0)
          return std::nullopt;
        term =
            (atom.kind == SymContext::Kind::FloorDiv ? inner->floorDiv(*divisor)
                                                     : *inner % *divisor) *
            coefficient;
      }
      sum = sum + term;
    }
    return sum;
  };
  std::optional<AffineExpr> expr = convert(size);
  if (!expr)
    return nullptr;
  return AffineMapAttr::get(AffineMap::get(0, symbols.size(), *expr));
}

LogicalResult Importer::makeFunction() {
  SymContext &context2 = program.symbols;
  SmallVector<Type> types;
  for (const InputSpec *spec : arguments) {
    if (spec->value.kind == Argument::SymInt) {
      types.push_back(RankedTensorType::get({}, IntegerType::get(context, 64)));
      continue;
    }
    const TensorMeta &meta = *this->meta(spec->value.text);
    types.push_back(typeOf(meta));
    for (const SymExpr &size : meta.sizes)
      context2.symbols(size, [&](unsigned symbol) {
        if (inputSymbols.insert(symbol).second)
          symbols.push_back(symbol);
      });
  }
  SmallVector<Type> resultTypes;
  SmallVector<std::pair<StringRef, bool>> results;
  for (const OutputSpec &spec : program.outputs) {
    if (spec.value.kind == Argument::None)
      continue;
    bool isUnsignedType = false;
    Type type = outputType(spec.value, isUnsignedType);
    if (!type)
      return error() << "output '" << spec.value.text
                     << "' has a type that is not supported";
    resultTypes.push_back(type);
    results.push_back({spec.value.text, isUnsignedType});
  }

  module = ModuleOp::create(fileLoc);
  b.setInsertionPointToEnd(module->getBody());
  b.setLoc(fileLoc);
  function = func::FuncOp::create(b, request.entry,
                                  b.getFunctionType(types, resultTypes));
  function->setAttr("mv.entry", b.getUnitAttr());
  for (auto [i, result] : enumerate(results)) {
    if (!result.first.empty())
      function.setResultAttr(i, "mv.name", b.getStringAttr(result.first));
    if (result.second)
      function.setResultAttr(i, "mv.unsigned", b.getUnitAttr());
  }

  SmallVector<Attribute> declared;
  for (unsigned symbol : symbols) {
    const SymContext::Atom &atom = context2.atom(symbol);
    declared.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(atom.name)),
         b.getNamedAttr(
             "min", b.getI64IntegerAttr(std::max<int64_t>(atom.range.min, 0))),
         b.getNamedAttr("max", b.getI64IntegerAttr(atom.range.max))}));
  }
  function->setAttr("mv.symbols", b.getArrayAttr(declared));
  for (auto [i, spec] : enumerate(arguments)) {
    function.setArgAttr(i, "mv.name", b.getStringAttr(spec->value.text));
    SmallVector<Attribute> dims;
    if (spec->value.kind == Argument::Tensor) {
      const TensorMeta &meta = *this->meta(spec->value.text);
      for (const SymExpr &size : meta.sizes) {
        Attribute dim = dimAttribute(context, context2, size, symbols);
        if (!dim)
          return error() << "input '" << spec->value.text << "' has the dim "
                         << context2.print(size)
                         << "; only affine ones are supported";
        dims.push_back(dim);
      }
      if (isUnsigned(meta.type))
        function.setArgAttr(i, "mv.unsigned", b.getUnitAttr());
    }
    function.setArgAttr(i, "mv.dims", b.getArrayAttr(dims));
  }
  const unsigned firstState = arguments.size() - stateCount;
  for (unsigned i = firstState; i < arguments.size(); ++i)
    if (failed(describeState(i)))
      return failure();
  if (request.signatureOnly) {
    function.setPrivate(); // a declaration cannot be public
    return success();
  }

  Block *block = function.addEntryBlock();
  b.setInsertionPointToEnd(block);
  auto dimOf = [&](unsigned argument, unsigned dim) -> Dim {
    return tensor::DimOp::create(b, block->getArgument(argument), dim)
        .getResult();
  };
  auto setRange = [&](Dim dim, SymRange range) {
    if (auto value = dyn_cast<Value>(dim))
      b.setRange(value, std::max<int64_t>(range.min, 0), range.max);
  };
  // A symbol is solved from the first dim that has it alone, best as itself.
  for (bool bare : {true, false}) {
    for (auto [i, spec] : enumerate(arguments)) {
      if (spec->value.kind == Argument::SymInt) {
        auto found = program.symInts.find(spec->value.text);
        if (!bare || found == program.symInts.end())
          continue;
        bindIfUnknown(found->second, [&]() -> Dim {
          Value scalar = tensor::ExtractOp::create(b, block->getArgument(i));
          return arith::IndexCastOp::create(b, b.getIndexType(), scalar)
              .getResult();
        });
        continue;
      }
      const TensorMeta &meta = *this->meta(spec->value.text);
      for (auto [d, size] : enumerate(meta.sizes)) {
        if (size.constant() || emit(size))
          continue;
        int64_t offset = 0, scale = 0;
        unsigned symbol = 0;
        bool isLinear = true;
        for (const auto &[numbers, coefficient] : size.terms) {
          if (numbers.empty()) {
            offset = coefficient;
          } else if (scale || numbers.size() != 1 || coefficient < 1 ||
                     context2.atom(numbers[0]).kind !=
                         SymContext::Kind::Symbol) {
            isLinear = false;
          } else {
            scale = coefficient;
            symbol = numbers[0];
          }
        }
        if (!isLinear || (bare && (scale != 1 || offset != 0)))
          continue;
        // Other dims are arithmetic on the symbol, also the one it is solved
        // from: so equal products of dims are equal values.
        Dim whole = dimOf(i, d);
        setRange(whole, context2.range(size));
        Dim value = b.floorDiv(b.sub(whole, b.index(offset)), b.index(scale));
        setRange(value, context2.atom(symbol).range);
        bind(symbol, value);
      }
    }
  }
  for (auto [i, spec] : enumerate(arguments)) {
    values[spec->value.text] = block->getArgument(i);
    if (spec->value.kind != Argument::Tensor)
      continue;
    const TensorMeta &meta = *this->meta(spec->value.text);
    Dims dims;
    for (auto [d, size] : enumerate(meta.sizes)) {
      std::optional<Dim> dim = emit(size);
      if (!dim)
        return error() << "the sizes of the inputs do not determine dim "
                       << context2.print(size) << " of input '"
                       << spec->value.text << "'";
      dims.push_back(*dim);
    }
    b.setDims(block->getArgument(i), dims);
  }
  return success();
}

/// Name and first value of the state that is argument `number`.
LogicalResult Importer::describeState(unsigned number) {
  const InputSpec &spec = *arguments[number];
  Expected<ElementsAttr> initial = weights.get(spec);
  if (!initial)
    return error() << "buffer '" << spec.source
                   << "': " << toString(initial.takeError());
  if (initial->getShapedType() != function.getArgumentTypes()[number])
    return error() << "buffer '" << spec.source
                   << "' has another type than the graph says";
  setState(function, number, spec.source, *initial);
  return success();
}

/// Checks what the export demands of the sizes and the ranges do not give.
LogicalResult Importer::addGuards() {
  SmallVector<StringRef> texts;
  for (StringRef text : program.guards)
    text.split(texts, " and ");
  for (StringRef text : texts) {
    std::optional<Guard> guard = parseGuard(program, text);
    if (!guard) {
      emitWarning(fileLoc) << "the export's condition '" << text
                           << "' is not understood; sizes that do not meet it "
                              "are not refused";
      continue;
    }
    SymExpr difference = program.symbols.sub(guard->left, guard->right);
    std::optional<bool> known =
        decide(guard->relation, program.symbols.range(difference));
    if (known == true)
      continue;
    if (known == false)
      return error() << "no sizes in the given ranges meet the export's "
                        "condition "
                     << text;
    std::optional<Dim> left = emit(guard->left), right = emit(guard->right);
    if (!left || !right)
      continue;
    using P = arith::CmpIPredicate;
    static constexpr P predicates[] = {P::eq,  P::ne,  P::slt,
                                       P::sle, P::sgt, P::sge};
    b.check(b.compare(predicates[guard->relation], *left, *right),
            MV_FAILURE_SHAPE, text);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

void Importer::checkOperators(ArrayRef<Node> nodes) {
  for (const Node &node : nodes) {
    bool isInPlace;
    if (findHandler(node.target, isInPlace))
      continue;
    Location loc = locationOf(node);
    if (!badPlaces.insert(loc).second || ++errors > maxErrors)
      continue;
    emitError(loc) << "the operator is not supported";
  }
}

/// All operators that are not in the table, each place once.
LogicalResult Importer::checkOperators() {
  checkOperators(program.nodes);
  for (const Region &region : program.regions)
    checkOperators(region.nodes);
  if (errors > maxErrors)
    error() << "and " << errors - maxErrors << " more places";
  return success(errors == 0);
}

Value Importer::tensor(StringRef name) {
  if (auto found = values.find(name); found != values.end())
    return found->second;
  auto source = sources.find(name);
  if (source == sources.end())
    return b.fail("value '" + name + "' is used before it is made");

  const InputSpec &spec = *source->second;
  Expected<ElementsAttr> attribute = weights.get(spec);
  if (!attribute)
    return values[name] = b.fail("weight '" + spec.source +
                                 "': " + toString(attribute.takeError()));
  const TensorMeta *meta = this->meta(name);
  if (!meta || typeOf(*meta) != attribute->getShapedType())
    return values[name] = b.fail("weight '" + spec.source +
                                 "' has another type than the graph says");
  Location before = b.getLoc();
  b.setLoc(NameLoc::get(b.getStringAttr(spec.source), fileLoc));
  Value value = b.constant(*attribute);
  b.setLoc(before);
  return values[name] = value;
}

/// Compares what was made with what the file states, and refines dims that the
/// file knows better.
Value Importer::conform(StringRef name, Value value) {
  const TensorMeta *meta = this->meta(name);
  if (!meta)
    return b.fail("the file does not describe result '" + name + "'");
  RankedTensorType stated = typeOf(*meta);
  auto made = cast<RankedTensorType>(value.getType());
  if (!stated)
    return b.fail("dtype " + nameOf(meta->type) + " is not supported");
  bool fits = stated.getElementType() == made.getElementType() &&
              stated.getRank() == made.getRank();
  SmallVector<int64_t> shape;
  for (int64_t i = 0; fits && i < made.getRank(); ++i) {
    const int64_t a = made.getDimSize(i), b = stated.getDimSize(i);
    fits = a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b);
    shape.push_back(ShapedType::isDynamic(a) ? b : a);
  }
  if (!fits) {
    std::string text;
    raw_string_ostream stream(text);
    stream << "the result is " << made << " where the file states " << stated;
    return b.fail(text);
  }
  RankedTensorType refined = made.clone(shape);
  if (refined != made)
    value = tensor::CastOp::create(b, refined, value);
  Dims dims;
  for (auto [i, size] : enumerate(meta->sizes)) {
    bindIfUnknown(size, [&] { return b.dim(value, i); });
    std::optional<Dim> dim = emit(size);
    dims.push_back(dim && refined.isDynamicDim(i) ? *dim : b.dim(value, i));
  }
  b.setDims(value, dims);
  return value;
}

void Importer::importNode(const Node &node, Mutations &mutations) {
  bool isInPlace;
  Handler handler = findHandler(node.target, isInPlace);
  Location loc = locationOf(node);
  b.setLoc(loc);
  Call call(*this, node);
  Value value = handler(call);
  b.setLoc(loc);
  if (value)
    call.results.assign(1, value);

  SmallVector<StringRef> names;
  for (const Argument &output : node.outputs) {
    ArrayRef<Argument> items = output.kind == Argument::List
                                   ? ArrayRef<Argument>(output.list)
                                   : ArrayRef<Argument>(output);
    for (const Argument &item : items)
      names.push_back(item.kind == Argument::Tensor ? StringRef(item.text)
                                                    : StringRef());
  }
  for (auto [i, name] : enumerate(names)) {
    if (name.empty())
      continue;
    Value result = i < call.results.size() ? call.results[i] : nullptr;
    if (result && !b.failed())
      result = conform(name, result);
    values[name] = b.failed() ? nullptr : result;
  }
  if (!b.failed())
    mutations.visit(node, isInPlace);
  if (b.failed()) {
    std::string message = b.takeError();
    if (++errors <= maxErrors)
      emitError(b.getLoc()) << message;
  }
}

LogicalResult Importer::importNodes() {
  Mutations mutations(*this);
  std::vector<Argument> inputs, outputs;
  for (const InputSpec &spec : program.inputs)
    if (!llvm::is_contained(ArrayRef(arguments).take_back(stateCount), &spec))
      inputs.push_back(spec.value);
  for (const OutputSpec &spec : program.outputs)
    outputs.push_back(spec.value);
  mutations.prepare(program.nodes, inputs, outputs);
  for (const Node &node : program.nodes)
    importNode(node, mutations);
  return success(errors == 0);
}

OpsBuilder::Results Importer::region(const Argument &graph,
                                     ArrayRef<Value> inputs) {
  const Region &region = program.regions[graph.integer];
  if (region.inputs.size() != inputs.size()) {
    b.fail("a region has " + Twine(region.inputs.size()) +
           " inputs, but is given " + Twine(inputs.size()));
    return std::nullopt;
  }
  const unsigned errorsBefore = errors;
  Sizes outer = sizes;
  OpsBuilder::Results results;
  for (auto [input, value] : zip_equal(region.inputs, inputs)) {
    if (input.kind == Argument::Tensor)
      values[input.text] = conform(input.text, value);
    else if (!input.text.empty())
      bindNumber(input, value);
  }
  if (!b.failed()) {
    Mutations mutations(*this);
    mutations.prepare(region.nodes, region.inputs, region.outputs);
    for (const Node &node : region.nodes)
      importNode(node, mutations);
    results.emplace();
    for (const Argument &output : region.outputs)
      results->push_back(outputValue(output));
    if (errors != errorsBefore || b.failed())
      results.reset();
  }
  sizes = std::move(outer);
  return results;
}

//===----------------------------------------------------------------------===//
// Outputs
//===----------------------------------------------------------------------===//

Type Importer::outputType(const Argument &argument, bool &isUnsignedType) {
  Builder builder(context);
  switch (argument.kind) {
  case Argument::Tensor: {
    const TensorMeta *meta = this->meta(argument.text);
    if (!meta)
      return nullptr;
    isUnsignedType = isUnsigned(meta->type);
    return typeOf(*meta);
  }
  case Argument::Int:
  case Argument::SymInt:
    return RankedTensorType::get({}, builder.getI64Type());
  case Argument::Float:
  case Argument::SymFloat:
    return RankedTensorType::get({}, builder.getF64Type());
  case Argument::Bool:
  case Argument::SymBool:
    return RankedTensorType::get({}, builder.getI1Type());
  default:
    return nullptr;
  }
}

Value Importer::outputValue(const Argument &argument) {
  if (argument.kind == Argument::Tensor)
    return tensor(argument.text);
  Node none;
  Call call(*this, none);
  return call.operand(argument, call.typeOf(argument));
}

LogicalResult Importer::makeReturn() {
  b.setLoc(fileLoc);
  SmallVector<Value> results;
  SmallVector<Type> types;
  for (const OutputSpec &spec : program.outputs) {
    if (spec.value.kind == Argument::None)
      continue;
    Value value = outputValue(spec.value);
    if (b.failed() || !value) {
      std::string message = b.takeError();
      return error() << "output '" << spec.value.text << "': "
                     << (message.empty() ? "it is not computed" : message);
    }
    results.push_back(value);
    types.push_back(value.getType());
  }
  func::ReturnOp::create(b, results);
  // Dims may be known better than the file states.
  function.setType(b.getFunctionType(function.getArgumentTypes(), types));
  return success();
}

OwningOpRef<ModuleOp> Importer::run() {
  if (failed(checkSignature()) ||
      failed(applyShapes(program, ArrayRef(arguments).drop_back(stateCount),
                         request.shapes, fileLoc)) ||
      (!request.signatureOnly && failed(checkOperators())) ||
      failed(makeFunction()))
    return nullptr;
  if (request.signatureOnly)
    return std::move(module);
  if (failed(addGuards()) || failed(importNodes()) || failed(makeReturn()) ||
      failed(verify(*module)))
    return nullptr;
  return std::move(module);
}

OwningOpRef<ModuleOp> importProgram(MLIRContext *context,
                                    const ImportRequest &request,
                                    Program &program, WeightSource &weights) {
  context->loadDialect<arith::ArithDialect, func::FuncDialect,
                       linalg::LinalgDialect, math::MathDialect, mv::MvDialect,
                       scf::SCFDialect, tensor::TensorDialect>();
  OpsBuilder b(FileLineColLoc::get(context, request.path, 0, 0));
  return Importer(context, request, program, weights, b).run();
}

} // namespace torch

bool isTorch(StringRef bytes) { return bytes.starts_with("PK\x03\x04"); }

OwningOpRef<ModuleOp> importTorch(MLIRContext *context,
                                  const ImportRequest &request) {
  Location loc = FileLineColLoc::get(context, request.path, 0, 0);
  StringRef text = request.data->getBuffer();
  Expected<torch::Package> package =
      torch::Package::open(ArrayRef<char>(text.data(), text.size()));
  if (!package) {
    emitError(loc) << toString(package.takeError());
    return nullptr;
  }
  Expected<std::unique_ptr<torch::Program>> program =
      torch::Program::read(*package);
  if (!program) {
    emitError(loc) << toString(program.takeError());
    return nullptr;
  }
  torch::Weights weights(*package, **program, request.data, context);
  return torch::importProgram(context, request, **program, weights);
}

} // namespace marver
