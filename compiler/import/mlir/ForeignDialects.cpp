//===- ForeignDialects.cpp - Dialects that upstream lacks -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/ForeignDialects.h"
#include "compiler/import/mlir/ForeignSyntax.h"
#include "mlir/Bytecode/BytecodeImplementation.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace marver {

ParseResult parseTypes(OpAsmParser &parser, Assembly &parts) {
  auto list = [&](SmallVectorImpl<Type> &types) -> ParseResult {
    if (failed(parser.parseOptionalLParen()))
      return parser.parseTypeList(types);
    if (succeeded(parser.parseOptionalRParen()))
      return success();
    return failure(parser.parseTypeList(types) || parser.parseRParen());
  };
  if (succeeded(parser.parseOptionalColon())) {
    parts.hasTypes = true;
    if (list(parts.types))
      return failure();
  }
  if (succeeded(parser.parseOptionalArrow()) ||
      succeeded(parser.parseOptionalKeyword("to"))) {
    parts.hasResultTypes = true;
    return list(parts.resultTypes);
  }
  return success();
}

ParseResult resolve(OpAsmParser &parser, OperationState &state,
                    const Assembly &parts, SMLoc start) {
  const size_t results = parser.getNumResults();
  if (parts.types.size() != parts.operands.size() ||
      parts.resultTypes.size() != results)
    return parser.emitError(start)
           << "has a form that is not known: " << parts.operands.size()
           << " operands and " << results << " results, but types of "
           << parts.types.size() << " and " << parts.resultTypes.size();
  if (parser.resolveOperands(parts.operands, parts.types, start,
                             state.operands))
    return failure();
  state.addTypes(parts.resultTypes);
  return success();
}

namespace {

OpaqueType torchType(MLIRContext *context, StringRef text) {
  return OpaqueType::get(StringAttr::get(context, "torch"), text);
}

/// `%0`, `%0#1`, `[%1, %2]`, `(%3, %4)`, `"text"`, `@symbol`, `{attributes}`
/// and the words between them, in any order.
ParseResult parseParts(OpAsmParser &parser, OperationState &state,
                       Assembly &parts) {
  Builder &b = parser.getBuilder();
  auto list = [&](OpAsmParser::Delimiter delimiter) {
    return parser.parseOperandList(parts.operands, delimiter);
  };
  while (true) {
    OpAsmParser::UnresolvedOperand operand;
    OptionalParseResult isOperand = parser.parseOptionalOperand(operand);
    std::string text;
    StringAttr symbol;
    StringRef word;
    if (isOperand.has_value()) {
      if (*isOperand)
        return failure();
      parts.operands.push_back(operand);
    } else if (succeeded(parser.parseOptionalLSquare())) {
      if (!parts.firstInBrackets)
        parts.firstInBrackets = parts.operands.size();
      if (failed(parser.parseOptionalRSquare()) &&
          (list(OpAsmParser::Delimiter::None) || parser.parseRSquare()))
        return failure();
    } else if (succeeded(parser.parseOptionalLParen())) {
      Attribute value;
      OptionalParseResult isValue = parser.parseOptionalAttribute(value);
      if (isValue.has_value()) {
        if (*isValue || parser.parseRParen())
          return failure();
        state.addAttribute("value", value);
      } else if (failed(parser.parseOptionalRParen()) &&
                 (list(OpAsmParser::Delimiter::None) || parser.parseRParen())) {
        return failure();
      }
    } else if (succeeded(parser.parseOptionalString(&text))) {
      state.addAttribute("name", b.getStringAttr(text));
    } else if (succeeded(parser.parseOptionalSymbolName(symbol))) {
      state.addAttribute("global", FlatSymbolRefAttr::get(symbol));
    } else if (succeeded(parser.parseOptionalKeyword(
                   &word, {"immutable", "overwrites"}))) {
      state.addAttribute(word, b.getUnitAttr());
    } else if (state.name.getStringRef() == "torch.bind_symbolic_shape" &&
               !state.attributes.get("value")) {
      Attribute map;
      if (parser.parseAttribute(map))
        return failure();
      state.addAttribute("value", map);
    } else {
      break;
    }
    (void)parser.parseOptionalComma();
  }
  return parser.parseOptionalAttrDict(state.attributes);
}

/// Types of operands and results that the text leaves to the operation.
void inferTypes(OpAsmParser &parser, StringRef name, Assembly &parts) {
  MLIRContext *context = parser.getContext();
  Builder &b = parser.getBuilder();
  const size_t results = parser.getNumResults();
  size_t operands = parts.firstInBrackets.value_or(parts.operands.size());
  if (!parts.hasResultTypes && results) {
    // Casts between numbers of torch and of MLIR state no type.
    auto number = [&](StringRef kind) -> Type {
      return kind == "i1"    ? Type(b.getI1Type())
             : kind == "f64" ? Type(b.getF64Type())
                             : Type(b.getI64Type());
    };
    auto torch = [&](StringRef kind) -> Type {
      return torchType(context, kind == "i1"    ? "bool"
                                : kind == "f64" ? "float"
                                                : "int");
    };
    StringRef kind = name;
    if (!parts.hasTypes && kind.consume_front("torch_c.to_")) {
      parts.types = {torch(kind)};
      parts.resultTypes = {number(kind)};
    } else if (!parts.hasTypes && kind.consume_front("torch_c.from_")) {
      parts.types = {number(kind)};
      parts.resultTypes = {torch(kind)};
    } else if (name.starts_with("torch.copy.to_") && parts.types.size() == 1) {
      // From or to the other kind of tensor.
      auto type = dyn_cast<OpaqueType>(parts.types[0]);
      if (!type)
        return; // which `resolve` complains about
      StringRef text = type.getTypeData();
      parts.resultTypes = parts.types;
      parts.types = {torchType(
          context, text.consume_front("v") ? text.str() : ("v" + text).str())};
    } else {
      parts.resultTypes = parts.types;
      if (operands != parts.types.size() && parts.types.size() == 1)
        parts.types.assign(operands, parts.types[0]);
    }
  }
  if (parts.firstInBrackets)
    while (parts.types.size() < parts.operands.size())
      parts.types.push_back(torchType(context, "int"));
}

ParseResult parseConstant(OpAsmParser &parser, OperationState &state) {
  StringRef kind = state.name.getStringRef();
  kind.consume_front("torch.constant.");
  StringRef type = llvm::StringSwitch<StringRef>(kind)
                       .Cases({"int", "float", "bool", "str", "none"}, kind)
                       .Case("device", "Device")
                       .Case("number", "number")
                       .Default("");
  if (type.empty())
    return parser.emitError(parser.getNameLoc())
           << "is of a kind that is not known";
  if (parser.parseOptionalAttrDict(state.attributes))
    return failure();
  if (kind != "none") {
    Attribute value;
    SMLoc at = parser.getCurrentLocation();
    if (parser.parseAttribute(value))
      return failure();
    const bool fits = kind == "bool"     ? isa<BoolAttr>(value)
                      : kind == "int"    ? isa<IntegerAttr>(value)
                      : kind == "float"  ? isa<IntegerAttr, FloatAttr>(value)
                      : kind == "number" ? isa<IntegerAttr, FloatAttr>(value)
                                         : isa<StringAttr>(value);
    if (!fits)
      return parser.emitError(at) << "takes a value of kind " << kind;
    state.addAttribute("value", value);
  }
  state.addTypes(torchType(parser.getContext(), type));
  return success();
}

/// util.global private mutable @x {attributes} = value : type
ParseResult parseGlobal(OpAsmParser &parser, OperationState &state) {
  Builder &b = parser.getBuilder();
  StringRef word;
  while (succeeded(parser.parseOptionalKeyword(
      &word, {"private", "public", "nested", "mutable"})))
    if (word == "mutable")
      state.addAttribute("is_mutable", b.getUnitAttr());
  StringAttr name;
  if (parser.parseSymbolName(name) ||
      parser.parseOptionalAttrDict(state.attributes))
    return failure();
  state.addAttribute("sym_name", name);
  Type type;
  if (succeeded(parser.parseOptionalEqual())) {
    Attribute value;
    if (parser.parseAttribute(value))
      return failure();
    state.addAttribute("value", value);
    if (auto typed = dyn_cast<TypedAttr>(value))
      type = typed.getType();
    if (auto opaque = dyn_cast<OpaqueAttr>(value))
      type = opaque.getType();
  } else if (parser.parseColonType(type)) {
    return failure();
  }
  if (type)
    state.addAttribute("type", TypeAttr::get(type));
  return success();
}

ParseResult parseRegion(OpAsmParser &parser, OperationState &state) {
  auto region = std::make_unique<Region>();
  if (parser.parseRegion(*region))
    return failure();
  state.addRegion(std::move(region));
  return success();
}

/// %count, %condition, init(%a, %b) { region } {attributes} : types -> types
ParseResult parseLoop(OpAsmParser &parser, OperationState &state) {
  Assembly parts;
  SMLoc start = parser.getCurrentLocation();
  if (parser.parseOperand(parts.operands.emplace_back()) ||
      parser.parseComma() ||
      parser.parseOperand(parts.operands.emplace_back()) ||
      parser.parseComma() || parser.parseKeyword("init") ||
      parser.parseOperandList(parts.operands, OpAsmParser::Delimiter::Paren) ||
      parseRegion(parser, state) ||
      parser.parseOptionalAttrDict(state.attributes) ||
      parseTypes(parser, parts))
    return failure();
  return resolve(parser, state, parts, start);
}

/// %condition, iter(%a, %b : types)
ParseResult parseLoopCondition(OpAsmParser &parser, OperationState &state) {
  Assembly parts;
  SMLoc start = parser.getCurrentLocation();
  parts.types.push_back(torchType(parser.getContext(), "bool"));
  if (parser.parseOperand(parts.operands.emplace_back()) ||
      parser.parseComma() || parser.parseKeyword("iter") ||
      parser.parseLParen())
    return failure();
  if (failed(parser.parseOptionalRParen()) &&
      (parser.parseOperandList(parts.operands) ||
       parser.parseColonTypeList(parts.types) || parser.parseRParen()))
    return failure();
  if (parser.parseOptionalAttrDict(state.attributes))
    return failure();
  return resolve(parser, state, parts, start);
}

/// %condition {attributes} -> (types) { region } else { region }
ParseResult parseIf(OpAsmParser &parser, OperationState &state) {
  Assembly parts;
  SMLoc start = parser.getCurrentLocation();
  parts.types.push_back(torchType(parser.getContext(), "bool"));
  if (parser.parseOperand(parts.operands.emplace_back()) ||
      parser.parseArrow() || parser.parseLParen())
    return failure();
  if (failed(parser.parseOptionalRParen()) &&
      (parser.parseTypeList(parts.resultTypes) || parser.parseRParen()))
    return failure();
  if (resolve(parser, state, parts, start) || parseRegion(parser, state))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("else")) &&
      parseRegion(parser, state))
    return failure();
  return parser.parseOptionalAttrDict(state.attributes);
}

ParseResult parseOperation(OpAsmParser &parser, OperationState &state) {
  StringRef name = state.name.getStringRef();
  if (name == "torch.prim.Loop")
    return parseLoop(parser, state);
  if (name == "torch.prim.Loop.condition")
    return parseLoopCondition(parser, state);
  if (name == "torch.prim.If")
    return parseIf(parser, state);
  if (name.starts_with("torch.constant."))
    return parseConstant(parser, state);
  if (name == "util.global")
    return parseGlobal(parser, state);
  Assembly parts;
  SMLoc start = parser.getCurrentLocation();
  if (parseParts(parser, state, parts) || parseTypes(parser, parts))
    return failure();
  inferTypes(parser, name, parts);
  if (resolve(parser, state, parts, start))
    return failure();
  while (true) {
    auto region = std::make_unique<Region>();
    OptionalParseResult isRegion = parser.parseOptionalRegion(*region);
    if (!isRegion.has_value())
      return success();
    if (*isRegion)
      return failure();
    state.addRegion(std::move(region));
    (void)parser.parseOptionalComma();
  }
}

/// A call may be replaced by what is called, whatever that does.
struct Inlining : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;
  bool isLegalToInline(Region *, Region *, bool, IRMapping &) const final {
    return true;
  }
  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const final {
    return true;
  }
};

/// An attribute of an operation in bytecode.
struct Property {
  StringLiteral name;
  bool isOptional;
};

/// In bytecode each registered operation writes its attributes as it likes:
/// those that TableGen makes do so in alphabetical order, without names. One
/// attribute is read as it is (`joinProperties` names it); operations with
/// several are declared, with their attributes in this order.
struct UtilGlobal {
  static constexpr StringLiteral name = "util.global";
  static constexpr Property properties[] = {
      {"value", true},     {"inlining_policy", true}, {"is_mutable", true},
      {"sym_name", false}, {"sym_visibility", true},  {"type", false}};
};
struct SymbolicInt {
  static constexpr StringLiteral name = "torch.symbolic_int";
  static constexpr Property properties[] = {
      {"max_val", false}, {"min_val", false}, {"name", false}};
};

template <typename Form>
class Declared
    : public Op<Declared<Form>, OpTrait::ZeroRegions, OpTrait::VariadicResults,
                OpTrait::VariadicOperands, BytecodeOpInterface::Trait> {
public:
  using Op<Declared, OpTrait::ZeroRegions, OpTrait::VariadicResults,
           OpTrait::VariadicOperands, BytecodeOpInterface::Trait>::Op;
  static StringRef getOperationName() { return Form::name; }
  static ArrayRef<StringRef> getAttributeNames() { return {}; }
  static ParseResult parse(OpAsmParser &parser, OperationState &state) {
    return parseOperation(parser, state);
  }
  void print(OpAsmPrinter &printer) {
    printer.printGenericOp(this->getOperation(), /*printOpName=*/false);
  }
  static LogicalResult readProperties(DialectBytecodeReader &reader,
                                      OperationState &state) {
    for (const Property &property : Form::properties) {
      Attribute value;
      if (failed(property.isOptional ? reader.readOptionalAttribute(value)
                                     : reader.readAttribute(value)))
        return failure();
      if (value)
        state.addAttribute(property.name, value);
    }
    return success();
  }
  void writeProperties(DialectBytecodeWriter &) {}
};

class ForeignDialect : public Dialect {
protected:
  ForeignDialect(StringRef name, MLIRContext *context, TypeID id)
      : Dialect(name, context, id) {
    allowUnknownOperations();
    allowUnknownTypes();
    addInterfaces<Inlining>();
  }

public:
  Attribute parseAttribute(DialectAsmParser &parser, Type type) const override {
    return OpaqueAttr::get(StringAttr::get(getContext(), getNamespace()),
                           parser.getFullSymbolSpec(),
                           type ? type : NoneType::get(getContext()));
  }

  std::optional<ParseOpHook> getParseOperationHook(StringRef) const override {
    const bool isHlo =
        getNamespace() == "stablehlo" || getNamespace() == "chlo";
    return ParseOpHook(isHlo ? parseStableHlo : parseOperation);
  }
};

} // namespace

/// One class a dialect, as MLIR's context tells them apart by their type.
template <const char *ns> class Foreign : public ForeignDialect {
public:
  explicit Foreign(MLIRContext *context)
      : ForeignDialect(ns, context, TypeID::get<Foreign>()) {
    const StringRef name = ns;
    if (name == "util")
      addOperations<Declared<UtilGlobal>>();
    if (name == "torch")
      addOperations<Declared<SymbolicInt>>();
  }
  static StringRef getDialectNamespace() { return ns; }
};

inline constexpr char kTorch[] = "torch", kTorchConversion[] = "torch_c",
                      kUtil[] = "util", kFlow[] = "flow", kStream[] = "stream",
                      kHal[] = "hal", kStableHlo[] = "stablehlo",
                      kChlo[] = "chlo";

bool joinProperties(Operation *root) {
  bool isGood = true;
  root->walk([&](Operation *op) {
    Attribute properties =
        op->isRegistered() ? Attribute() : op->getPropertiesAsAttribute();
    if (!properties)
      return;
    if (auto several = dyn_cast<DictionaryAttr>(properties)) {
      for (NamedAttribute named : several)
        op->setAttr(named.getName(), named.getValue());
      return;
    }
    StringRef operation = op->getName().getStringRef();
    StringRef name =
        llvm::StringSwitch<StringRef>(operation)
            .Case("torch.operator", "name")
            .Cases({"torch.vtensor.literal", "torch.tensor.literal",
                    "torch.bind_symbolic_shape"},
                   "value")
            .Case("util.global.load", "global")
            .Default(operation.starts_with("torch.constant.") ? "value" : "");
    if (!name.empty()) {
      op->setAttr(name, properties);
      return;
    }
    isGood = false;
    op->emitError() << "has attributes in bytecode that only its own tools "
                       "can read; write the file as text";
  });
  return isGood;
}

void loadForeignDialects(MLIRContext *context) {
  context->loadDialect<Foreign<kTorch>, Foreign<kTorchConversion>,
                       Foreign<kUtil>, Foreign<kFlow>, Foreign<kStream>,
                       Foreign<kHal>, Foreign<kStableHlo>, Foreign<kChlo>>();
}

} // namespace marver
