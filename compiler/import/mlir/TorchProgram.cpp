//===- TorchProgram.cpp - Functions of torch-mlir's dialect ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchProgram.h"
#include "compiler/import/mlir/Globals.h"
#include "compiler/import/mlir/TorchSizes.h"
#include "compiler/import/mlir/TorchTypes.h"
#include "compiler/import/torch/Call.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace mlir;
using marver::torch::Argument;
using marver::torch::InputSpec;
using marver::torch::Node;
using marver::torch::OutputSpec;
using marver::torch::Program;
using marver::torch::SymContext;
using marver::torch::SymExpr;
using marver::torch::SymRange;
using marver::torch::TensorMeta;

namespace marver {

std::optional<StringRef> torchArgumentNames(StringRef target) {
  static const StringMap<StringRef> schemas = {
#define SCHEMA(name, arguments) {name, arguments},
#include "compiler/import/mlir/TorchSchemas.inc"
#undef SCHEMA
  };
  auto found = schemas.find(target);
  if (found != schemas.end())
    return found->second;
  // The in-place form has the arguments of the other one.
  auto [name, overload] = target.rsplit('.');
  if (name.consume_back("_") && !name.ends_with("_"))
    if (found = schemas.find((name + "." + overload).str());
        found != schemas.end())
      return found->second;
  return std::nullopt;
}

namespace {

/// Operators of TorchScript on numbers, which torch.export has Python's names
/// for, and prims that are operators of ATen; `names` are those of their
/// arguments.
struct Renamed {
  StringRef target, names;
};

std::optional<Renamed> renamed(StringRef target) {
  return llvm::StringSwitch<std::optional<Renamed>>(target)
      .Cases({"aten.add.float", "aten.add.float_int"},
             Renamed{"_operator.add", "a b"})
      .Cases({"aten.sub.float", "aten.sub.float_int"},
             Renamed{"_operator.sub", "a b"})
      .Cases({"aten.mul.float", "aten.mul.int_float", "aten.mul.float_int"},
             Renamed{"_operator.mul", "a b"})
      .Cases({"aten.div.float", "aten.div.int", "aten.div.default"},
             Renamed{"_operator.truediv", "a b"})
      .Cases({"aten.eq.int", "aten.eq.float"}, Renamed{"_operator.eq", "a b"})
      .Cases({"aten.ne.int", "aten.ne.float", "aten.ne.bool"},
             Renamed{"_operator.ne", "a b"})
      .Cases({"aten.lt.int", "aten.lt.float"}, Renamed{"_operator.lt", "a b"})
      .Cases({"aten.le.int", "aten.le.float"}, Renamed{"_operator.le", "a b"})
      .Cases({"aten.gt.int", "aten.gt.float", "aten.gt.float_int"},
             Renamed{"_operator.gt", "a b"})
      .Cases({"aten.ge.int", "aten.ge.float", "aten.ge.float_int"},
             Renamed{"_operator.ge", "a b"})
      .Case("prims.convert_element_type.default",
            Renamed{"aten._to_copy.default", "self dtype"})
      .Case("prims.sqrt.default", Renamed{"aten.sqrt.default", "self"})
      .Case("prims.view_of.default", Renamed{"aten.alias.default", "self"})
      .Case("aten.__and__.bool", Renamed{"_operator.and_", "a b"})
      .Case("aten.__or__.bool", Renamed{"_operator.or_", "a b"})
      .Case("aten.__not__.default", Renamed{"torch.sym_not", "a"})
      .Cases({"aten.Float.Scalar", "aten.Float.int"},
             Renamed{"torch.sym_float", "a"})
      .Cases({"aten.Int.Tensor", "aten.Float.Tensor", "aten.Bool.Tensor",
              "aten.ScalarImplicit.default", "aten.IntImplicit.default",
              "aten.FloatImplicit.default"},
             Renamed{"aten.item.default", "self"})
      .Default(std::nullopt);
}

class Reader {
public:
  Reader(func::FuncOp function, TorchWeights &weights)
      : function(function), weights(weights),
        program(std::make_unique<Program>()) {}

  std::unique_ptr<Program> run();

private:
  void readSymbols();
  void readArguments();
  void readOperation(Operation *op);
  bool readStructure(Operation *op, StringRef name);
  bool readConstant(Operation *op, StringRef kind);
  bool readSize(Operation *op, StringRef target);
  void readGlobal(Operation *op);
  void useState(Operation *op, Operation *global, Value moved);
  void readNode(Operation *op, StringRef name);
  void readReturn(Operation *op);
  bool readControlFlow(Operation *op, StringRef name);
  Argument readRegion(Region &region);
  void unpack(Operation *op);
  void addWeight(Operation *op, StringRef name, Attribute value);
  /// A new name for `value`, with what its type says.
  Argument define(Value value, const Twine &name, const Node *maker = nullptr);
  std::vector<Argument> defineList(Value list, const Node &maker);
  TensorMeta meta(Value value, const TorchType &type, const Node *maker);
  Argument argument(Value value);
  std::optional<SymExpr> sizeOf(const Argument &argument);
  Argument sizeArgument(const SymExpr &expr, const Twine &name);
  SymExpr fromAffine(AffineExpr expr, ArrayRef<SymExpr> symbols);
  std::string nextName() { return "v" + std::to_string(count++); }
  void fail(Operation *op, const Twine &message) {
    op->emitError() << message;
    isGood = false;
  }

  func::FuncOp function;
  TorchWeights &weights;
  std::unique_ptr<Program> program;
  llvm::DenseMap<Value, Argument> values;
  /// The value of each global that is stored to, where the reader is.
  llvm::MapVector<Operation *, Argument> states;
  /// Sizes that torch.bind_symbolic_shape gives.
  llvm::DenseMap<Value, SmallVector<SymExpr, 4>> sizes;
  unsigned count = 0, symbolCount = 0;
  bool isGood = true;
};

} // namespace

//===----------------------------------------------------------------------===//
// Symbols and types
//===----------------------------------------------------------------------===//

SymExpr Reader::fromAffine(AffineExpr expr, ArrayRef<SymExpr> symbols) {
  SymContext &context = program->symbols;
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return SymExpr(constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbol.getPosition() < symbols.size() ? symbols[symbol.getPosition()]
                                                 : SymExpr();
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary) {
    context.error = "an affine map with dims";
    return SymExpr();
  }
  SymExpr a = fromAffine(binary.getLHS(), symbols);
  SymExpr b = fromAffine(binary.getRHS(), symbols);
  const SymExpr minus(-1);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return context.add(a, b);
  case AffineExprKind::Mul:
    return context.mul(a, b);
  case AffineExprKind::FloorDiv:
    return context.floorDiv(a, b);
  case AffineExprKind::CeilDiv:
    return context.mul(minus, context.floorDiv(context.mul(minus, a), b));
  default:
    return context.mod(a, b);
  }
}

/// Symbols and what they bind come before they are needed: the arguments are
/// bound behind their first use.
void Reader::readSymbols() {
  function.walk([&](Operation *op) {
    StringRef name = op->getName().getStringRef();
    if (name == "torch.symbolic_int" && op->getNumResults() == 1) {
      auto symbol = op->getAttrOfType<StringAttr>("name");
      if (!symbol)
        return fail(op, "the symbol has no name");
      unsigned number = program->symbols.symbolAtom(symbol.getValue());
      SymRange &range = program->symbols.atom(number).range;
      if (auto min = op->getAttrOfType<IntegerAttr>("min_val"))
        range.min = std::max<int64_t>(min.getValue().getSExtValue(), 0);
      if (auto max = op->getAttrOfType<IntegerAttr>("max_val"))
        // The exporter's way to say that there is no end.
        if (max.getValue().getSExtValue() < INT64_MAX - 1)
          range.max = max.getValue().getSExtValue();
      values[op->getResult(0)] = sizeArgument(
          program->symbols.symbol(symbol.getValue()), symbol.getValue());
      return;
    }
    if (name != "torch.bind_symbolic_shape")
      return;
    auto map = op->getAttrOfType<AffineMapAttr>("value");
    if (!map || op->getNumOperands() == 0)
      return fail(op, "the sizes are missing");
    SmallVector<SymExpr> symbols;
    for (Value operand : op->getOperands().drop_front()) {
      auto found = values.find(operand);
      std::optional<SymExpr> expr;
      if (found != values.end())
        expr = sizeOf(found->second);
      if (!expr)
        return fail(op, "a symbol is not made by torch.symbolic_int");
      symbols.push_back(*expr);
    }
    SmallVector<SymExpr, 4> result;
    for (AffineExpr expr : map.getValue().getResults())
      result.push_back(fromAffine(expr, symbols));
    if (!program->symbols.error.empty())
      return fail(op, program->symbols.error);
    sizes[op->getOperand(0)] = std::move(result);
  });
}

TensorMeta Reader::meta(Value value, const TorchType &type, const Node *maker) {
  TensorMeta result;
  result.type = type.element;
  // Views of it may be copies: the dialect has no strides.
  result.isContiguous = false;
  auto bound = sizes.find(value);
  for (auto [i, size] : llvm::enumerate(*type.sizes)) {
    if (!ShapedType::isDynamic(size)) {
      result.sizes.push_back(SymExpr(size));
    } else if (bound != sizes.end() && i < bound->second.size()) {
      result.sizes.push_back(bound->second[i]);
    } else if (std::optional<SymExpr> inferred =
                   maker ? inferSize(*program, *maker, int64_t(i),
                                     int64_t(type.sizes->size()))
                         : std::nullopt) {
      result.sizes.push_back(*inferred);
    } else {
      std::string name = "d" + std::to_string(symbolCount++);
      unsigned number = program->symbols.symbolAtom(name);
      program->symbols.atom(number).range.min = 0;
      result.sizes.push_back(program->symbols.symbol(name));
    }
  }
  return result;
}

Argument Reader::sizeArgument(const SymExpr &expr, const Twine &name) {
  Argument result;
  if (std::optional<int64_t> number = expr.constant()) {
    result.kind = Argument::Int;
    result.integer = *number;
    return result;
  }
  result.kind = Argument::SymInt;
  result.text = name.str();
  program->symInts[result.text] = expr;
  return result;
}

std::optional<SymExpr> Reader::sizeOf(const Argument &argument) {
  if (argument.kind == Argument::Int || argument.kind == Argument::Bool)
    return SymExpr(argument.integer);
  if (argument.kind != Argument::SymInt)
    return std::nullopt;
  auto found = program->symInts.find(argument.text);
  if (found == program->symInts.end())
    return std::nullopt;
  return found->second;
}

Argument Reader::define(Value value, const Twine &name, const Node *maker) {
  Argument result;
  result.text = name.str();
  TorchType type = readTorchType(value.getType());
  switch (type.kind) {
  case TorchType::Tensor:
    if (!type.sizes) {
      emitError(value.getLoc())
          << "a tensor of type " << value.getType()
          << " has no known rank; only ranked tensors are supported";
      isGood = false;
      break;
    }
    result.kind = Argument::Tensor;
    program->tensors[result.text] = meta(value, type, maker);
    break;
  case TorchType::Int: {
    result = sizeArgument(program->symbols.symbol(result.text), result.text);
    break;
  }
  case TorchType::Float:
    result.kind = Argument::SymFloat;
    break;
  case TorchType::Bool:
    result.kind = Argument::SymBool;
    break;
  default:
    result.kind = Argument::Other;
    break;
  }
  return values[value] = result;
}

Argument Reader::argument(Value value) {
  auto found = values.find(value);
  // What a failed operation made was complained about.
  return found == values.end() ? Argument() : found->second;
}

//===----------------------------------------------------------------------===//
// Operations that are no operators
//===----------------------------------------------------------------------===//

bool Reader::readConstant(Operation *op, StringRef kind) {
  Argument result;
  Attribute value = op->getAttr("value");
  if (kind == "none") {
    result.kind = Argument::None;
  } else if (auto number = dyn_cast_or_null<FloatAttr>(value)) {
    result.kind = Argument::Float;
    result.number = number.getValueAsDouble();
  } else if (auto number = dyn_cast_or_null<IntegerAttr>(value)) {
    if (number.getValue().getSignificantBits() > 64) {
      fail(op, "the number is too large");
      return true;
    }
    result.integer = number.getValue().getSExtValue();
    result.kind = Argument::Int;
    if (kind == "bool") {
      result.kind = Argument::Bool;
      result.integer = !number.getValue().isZero();
    } else if (kind == "float") { // the bits of an infinity, in hexadecimal
      result.kind = Argument::Float;
      result.number = bit_cast<double>(result.integer);
    }
  } else if (auto text = dyn_cast_or_null<StringAttr>(value)) {
    result.kind = kind == "device" ? Argument::Device : Argument::String;
    result.text = text.str();
  } else {
    fail(op, "the constant has no value");
  }
  values[op->getResult(0)] = result;
  return true;
}

/// The operation's result is the constant `value`.
void Reader::addWeight(Operation *op, StringRef name, Attribute value) {
  if (op->getNumResults() != 1)
    return fail(op, "the constant has no result");
  if (Error error = weights.add(name, value))
    return fail(op, toString(std::move(error)));
  InputSpec spec;
  spec.kind = InputSpec::Constant;
  spec.value = define(op->getResult(0), nextName());
  spec.source = name.str();
  if (spec.value.kind != Argument::Tensor)
    return;
  program->inputs.push_back(spec);
}

/// The state that a global is: an input, and an output at the end.
void Reader::useState(Operation *op, Operation *global, Value moved) {
  const StringRef name = nameOfGlobal(global);
  auto [found, isNew] = states.try_emplace(global);
  const bool isLoad = op->getNumResults() == 1;
  const Argument stored = isLoad ? Argument() : argument(moved);
  if (isNew) {
    InputSpec spec;
    spec.kind = InputSpec::Buffer;
    spec.source = name.str();
    spec.value = define(moved, nextName());
    if (spec.value.kind != Argument::Tensor)
      return fail(op, "the global '" + name + "' is no tensor");
    if (Error error = addGlobal(weights, global,
                                dyn_cast<RankedTensorType>(moved.getType())))
      return fail(op, toString(std::move(error)));
    program->inputs.push_back(spec);
    found->second = spec.value;
  }
  if (!isLoad)
    found->second = stored;
  values[moved] = found->second;
}

void Reader::readGlobal(Operation *op) {
  Operation *global = findGlobal(op);
  const bool isLoad = op->getNumResults() == 1;
  if (!global || (!isLoad && op->getNumOperands() != 1)) {
    isGood = false;
    return;
  }
  StringRef name = nameOfGlobal(global);
  Value moved = isLoad ? op->getResult(0) : op->getOperand(0);
  if (global->getAttr("type") &&
      moved.getType() != cast<TypeAttr>(global->getAttr("type")).getValue())
    return fail(op, "the global '" + name + "' has another type");
  if (isStored(global))
    return useState(op, global, moved);
  addWeight(op, name, global->getAttr("value"));
}

/// The parts of a list or tuple that was made by an operator become its
/// results, with the types that the unpacking states.
std::vector<Argument> Reader::defineList(Value list, const Node &maker) {
  std::vector<Argument> result;
  auto define = [&](size_t number, Value part) {
    if (number >= result.size())
      result.resize(number + 1);
    if (result[number].kind == Argument::None)
      result[number] = this->define(part, nextName(), &maker);
  };
  for (Operation *user : list.getUsers()) {
    StringRef name = user->getName().getStringRef();
    if (name == "torch.prim.ListUnpack" || name == "torch.prim.TupleUnpack") {
      for (auto [i, part] : llvm::enumerate(user->getResults()))
        define(i, part);
    } else if (name == "torch.aten.__getitem__.t" &&
               user->getNumOperands() == 2) {
      auto index = user->getOperand(1).getDefiningOp();
      auto number =
          index ? index->getAttrOfType<IntegerAttr>("value") : nullptr;
      if (number && number.getValue().ult(1 << 16))
        define(number.getValue().getZExtValue(), user->getResult(0));
    }
  }
  return result;
}

void Reader::unpack(Operation *op) {
  Argument list =
      op->getNumOperands() ? argument(op->getOperand(0)) : Argument();
  if (list.kind != Argument::List)
    return fail(op, "what it takes apart is not known to be a list");
  if (op->getName().getStringRef() == "torch.aten.__getitem__.t") {
    std::optional<SymExpr> index = op->getNumOperands() == 2
                                       ? sizeOf(argument(op->getOperand(1)))
                                       : std::nullopt;
    std::optional<int64_t> number = index ? index->constant() : std::nullopt;
    if (number && *number < 0)
      *number += int64_t(list.list.size());
    if (!number || *number < 0 || *number >= int64_t(list.list.size()))
      return fail(op, "the index is not one of the list");
    values[op->getResult(0)] = list.list[*number];
    return;
  }
  if (list.list.size() != op->getNumResults())
    return fail(op, "the list has " + Twine(list.list.size()) +
                        " entries, not " + Twine(op->getNumResults()));
  for (auto [result, item] : llvm::zip(op->getResults(), list.list))
    values[result] = item;
}

/// True if the operation only says how values are passed around.
bool Reader::readStructure(Operation *op, StringRef name) {
  if (name == "torch.symbolic_int" || name == "torch.bind_symbolic_shape")
    return true;
  if (name == "torch.prim.ListConstruct" ||
      name == "torch.prim.TupleConstruct") {
    Argument list;
    list.kind = Argument::List;
    for (Value operand : op->getOperands())
      list.list.push_back(argument(operand));
    values[op->getResult(0)] = list;
    return true;
  }
  if (name == "torch.prim.ListUnpack" || name == "torch.prim.TupleUnpack" ||
      name == "torch.aten.__getitem__.t") {
    unpack(op);
    return true;
  }
  const bool isAlias =
      llvm::StringSwitch<bool>(name)
          .Cases({"torch.tensor_static_info_cast", "torch.copy.to_vtensor",
                  "torch.copy.to_tensor", "torch.derefine",
                  "torch.prim.unchecked_cast"},
                 true)
          .Default(name.starts_with("torch_c."));
  if (isAlias && op->getNumOperands() == 1 && op->getNumResults() == 1) {
    values[op->getResult(0)] = argument(op->getOperand(0));
    return true;
  }
  if (name == "util.global.load" || name == "util.global.store") {
    readGlobal(op);
    return true;
  }
  if (name == "torch.vtensor.literal" || name == "torch.tensor.literal" ||
      name == "arith.constant") {
    addWeight(op, "literal." + std::to_string(count), op->getAttr("value"));
    return true;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

/// Arithmetic on sizes: the result is an expression, not a node.
bool Reader::readSize(Operation *op, StringRef target) {
  if (op->getNumResults() != 1 ||
      readTorchType(op->getResult(0).getType()).kind != TorchType::Int)
    return false;
  SymContext &context = program->symbols;
  SmallVector<SymExpr> args;
  if (target == "aten.size.int" || target == "aten.sym_size.int") {
    if (op->getNumOperands() != 2)
      return false;
    Argument tensor = argument(op->getOperand(0));
    std::optional<SymExpr> dim = sizeOf(argument(op->getOperand(1)));
    auto found = program->tensors.find(tensor.text);
    std::optional<int64_t> axis = dim ? dim->constant() : std::nullopt;
    if (tensor.kind != Argument::Tensor || found == program->tensors.end() ||
        !axis)
      return false;
    const auto &sizes = found->second.sizes;
    if (*axis < 0)
      *axis += int64_t(sizes.size());
    if (*axis < 0 || *axis >= int64_t(sizes.size()))
      return false;
    values[op->getResult(0)] = sizeArgument(sizes[*axis], nextName());
    return true;
  }
  for (Value operand : op->getOperands()) {
    std::optional<SymExpr> expr = sizeOf(argument(operand));
    if (!expr)
      return false;
    args.push_back(*expr);
  }
  std::optional<SymExpr> result;
  if (args.size() == 2)
    result =
        llvm::StringSwitch<std::function<std::optional<SymExpr>()>>(target)
            .Case("aten.add.int", [&] { return context.add(args[0], args[1]); })
            .Case("aten.sub.int", [&] { return context.sub(args[0], args[1]); })
            .Case("aten.mul.int", [&] { return context.mul(args[0], args[1]); })
            .Case("aten.floordiv.int",
                  [&] { return context.floorDiv(args[0], args[1]); })
            .Case("aten.remainder.int",
                  [&] { return context.mod(args[0], args[1]); })
            .Cases({"prim.max.int", "prim.max.default"},
                   [&] {
                     return context.extremum(SymContext::Kind::Max,
                                             {args[0], args[1]});
                   })
            .Cases({"prim.min.int", "prim.min.default"},
                   [&] {
                     return context.extremum(SymContext::Kind::Min,
                                             {args[0], args[1]});
                   })
            .Default([] { return std::nullopt; })();
  else if (args.size() == 1)
    result = llvm::StringSwitch<std::function<std::optional<SymExpr>()>>(target)
                 .Case("aten.neg.int",
                       [&] { return context.mul(SymExpr(-1), args[0]); })
                 .Cases({"aten.Int.Scalar", "aten.Int.bool"},
                        [&] { return args[0]; })
                 .Default([] { return std::nullopt; })();
  if (!result)
    return false;
  if (!context.error.empty()) {
    fail(op, context.error);
    context.error.clear();
  }
  values[op->getResult(0)] = sizeArgument(*result, nextName());
  return true;
}

void Reader::readNode(Operation *op, StringRef name) {
  // aten.relu -> aten.relu.default
  std::string target = name.str();
  if (name.count('.') == 1)
    target += ".default";
  if (readSize(op, target))
    return;
  Node node;
  StringRef names;
  if (std::optional<Renamed> other = renamed(target)) {
    node.target = other->target.str();
    names = other->names;
  } else {
    node.target = "torch.ops." + target;
    std::optional<StringRef> known = torchArgumentNames(target);
    names = known.value_or("");
    if (known && size_t(known->count(' ') + 1) < op->getNumOperands())
      return fail(op, "it has " + Twine(op->getNumOperands()) +
                          " operands; the operator takes " +
                          Twine(known->count(' ') + 1));
  }
  node.location = LocationAttr(op->getLoc());
  for (Value operand : op->getOperands()) {
    auto [name, rest] = names.split(' ');
    names = rest;
    Argument value = argument(operand);
    // c10::ScalarType counts from zero, the exported program's from one.
    if (name == "dtype" && value.kind == Argument::Int) {
      value.kind = Argument::ScalarType;
      ++value.integer;
    } else if (value.kind == Argument::Int && name == "layout") {
      value.kind = Argument::Layout;
    } else if (value.kind == Argument::Int && name == "memory_format") {
      value.kind = Argument::MemoryFormat;
    }
    node.inputs.emplace_back(name.str(), std::move(value));
  }
  for (Value result : op->getResults()) {
    Argument made;
    if (readTorchType(result.getType()).kind == TorchType::List) {
      made.kind = Argument::List;
      made.list = defineList(result, node);
      values[result] = made;
    } else {
      made = define(result, nextName(), &node);
    }
    node.outputs.push_back(std::move(made));
  }
  program->nodes.push_back(std::move(node));
}

/// The region becomes one of the program's; its last operation gives its
/// results. It sees the values around it.
Argument Reader::readRegion(mlir::Region &region) {
  torch::Region result;
  std::vector<Node> outer = std::exchange(program->nodes, {});
  Block &block = region.front();
  for (BlockArgument value : block.getArguments())
    result.inputs.push_back(define(value, nextName()));
  for (Operation &op : llvm::make_range(block.begin(), std::prev(block.end())))
    readOperation(&op);
  for (Value operand : block.back().getOperands())
    result.outputs.push_back(argument(operand));
  result.nodes = std::exchange(program->nodes, std::move(outer));
  Argument graph;
  graph.kind = Argument::Graph;
  graph.integer = int64_t(program->regions.size());
  program->regions.push_back(std::move(result));
  return graph;
}

/// prim.Loop(count, condition, initial ...) and prim.If(condition).
bool Reader::readControlFlow(Operation *op, StringRef name) {
  const bool isLoop = name == "torch.prim.Loop";
  if (!isLoop && name != "torch.prim.If")
    return false;
  const bool isComplete =
      op->getNumRegions() == (isLoop ? 1 : 2) &&
      op->getNumOperands() >= (isLoop ? 2 : 1) &&
      llvm::all_of(op->getRegions(), [](mlir::Region &region) {
        return llvm::hasSingleElement(region) && !region.front().empty();
      });
  if (!isComplete) {
    fail(op, "its regions or operands are missing");
    return true;
  }
  Node node;
  node.target =
      isLoop ? "torch.ops.higher_order.loop" : "torch.ops.higher_order.cond";
  node.location = LocationAttr(op->getLoc());
  Argument list;
  list.kind = Argument::List;
  for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
    if (i < (isLoop ? 2 : 1))
      node.inputs.emplace_back("", argument(operand));
    else
      list.list.push_back(argument(operand));
  }
  for (mlir::Region &region : op->getRegions())
    node.inputs.emplace_back("", readRegion(region));
  node.inputs.emplace_back("", std::move(list));
  for (Value result : op->getResults())
    node.outputs.push_back(define(result, nextName()));
  program->nodes.push_back(std::move(node));
  return true;
}

void Reader::readOperation(Operation *op) {
  StringRef name = op->getName().getStringRef();
  if (isa<func::ReturnOp>(op))
    return readReturn(op);
  if (name.starts_with("torch.constant.") && op->getNumResults() == 1) {
    readConstant(op, name.drop_front(strlen("torch.constant.")));
    return;
  }
  if (readStructure(op, name) || readControlFlow(op, name))
    return;
  if (name == "torch.overwrite.tensor.contents" && op->getNumOperands() == 2) {
    // %value overwrites %tensor: copy_(tensor, value).
    Node node;
    node.target = "torch.ops.aten.copy_.default";
    node.location = LocationAttr(op->getLoc());
    node.inputs = {{"self", argument(op->getOperand(1))},
                   {"src", argument(op->getOperand(0))}};
    Argument result = argument(op->getOperand(1));
    const std::string text = nextName();
    program->tensors[text] = program->tensors.lookup(result.text);
    result.text = text;
    node.outputs = {result};
    program->nodes.push_back(std::move(node));
    return;
  }
  if (name == "torch.operator")
    if (auto real = op->getAttrOfType<StringAttr>("name"))
      name = real.getValue();
  if (name.consume_front("torch."))
    return readNode(op, name);
  fail(op,
       "operation " + name + " is not supported among operations of PyTorch");
}

void Reader::readReturn(Operation *op) {
  std::function<void(const Argument &)> add = [&](const Argument &value) {
    if (value.kind == Argument::List) {
      for (const Argument &item : value.list)
        add(item);
      return;
    }
    OutputSpec spec;
    spec.value = value;
    program->outputs.push_back(spec);
  };
  for (Value operand : op->getOperands())
    add(argument(operand));
  for (auto &[global, value] : states) {
    OutputSpec spec;
    spec.kind = OutputSpec::Mutation;
    spec.value = value;
    spec.target = nameOfGlobal(global).str();
    program->outputs.push_back(spec);
  }
}

void Reader::readArguments() {
  for (BlockArgument value : function.getArguments()) {
    InputSpec spec;
    spec.value = define(value, "arg" + Twine(value.getArgNumber()));
    if (spec.value.kind == Argument::Tensor ||
        spec.value.kind == Argument::SymInt) {
      program->inputs.push_back(spec);
      continue;
    }
    function.emitError() << "argument " << value.getArgNumber() << " has type "
                         << value.getType()
                         << ", but only ranked tensors and integers are "
                            "supported";
    isGood = false;
  }
}

std::unique_ptr<Program> Reader::run() {
  readSymbols();
  readArguments();
  if (!llvm::hasSingleElement(function.getBody())) {
    function.emitError() << "control flow between blocks is not supported";
    return nullptr;
  }
  for (Operation &op : function.getBody().front())
    readOperation(&op);
  return isGood ? std::move(program) : nullptr;
}

std::unique_ptr<Program> readTorchProgram(func::FuncOp function,
                                          TorchWeights &weights) {
  return Reader(function, weights).run();
}

} // namespace marver
