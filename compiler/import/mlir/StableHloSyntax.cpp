//===- StableHloSyntax.cpp - The text of StableHLO ------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/ForeignSyntax.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace marver {
namespace {

class Parser {
public:
  Parser(OpAsmParser &parser, OperationState &state)
      : parser(parser), state(state), b(parser.getBuilder()),
        start(parser.getCurrentLocation()) {}

  ParseResult parseConstant();
  ParseResult parseReduce();
  ParseResult parseWhile();
  ParseResult parseGeneral();

private:
  ParseResult parseInts(SmallVectorImpl<int64_t> &values);
  ParseResult parseValue(StringRef key);
  ParseResult parseRanges();
  ParseResult parseItems();
  ParseResult parseRegion(ArrayRef<OpAsmParser::Argument> arguments);
  ParseResult finish();

  OpAsmParser &parser;
  OperationState &state;
  Builder &b;
  SMLoc start;
  Assembly parts;
  unsigned words = 0;
};

/// `[0, -1]`, `[[0, 1], [0, 1]]` (joined), `[b, f, 0]`, `[true]`.
ParseResult Parser::parseInts(SmallVectorImpl<int64_t> &values) {
  return parser.parseCommaSeparatedList(
      OpAsmParser::Delimiter::Square, [&]() -> ParseResult {
        SmallVector<int64_t> nested;
        int64_t value;
        StringRef word;
        SMLoc at = parser.getCurrentLocation();
        OptionalParseResult isNumber = parser.parseOptionalInteger(value);
        if (isNumber.has_value()) {
          values.push_back(value);
          return *isNumber;
        }
        if (succeeded(parser.parseOptionalKeyword(&word))) {
          std::optional<int64_t> code =
              llvm::StringSwitch<std::optional<int64_t>>(word)
                  .Cases({"b", "o"}, -1)
                  .Cases({"f", "i"}, -2)
                  .Case("true", 1)
                  .Cases({"false", "DEFAULT", "HIGH", "HIGHEST"}, 0)
                  .Default(std::nullopt);
          if (!code)
            return parser.emitError(at)
                   << "'" << word << "' is not known in a list";
          values.push_back(*code);
          return success();
        }
        if (parseInts(nested))
          return failure();
        values.append(nested);
        return success();
      });
}

/// What stands behind `key =`.
ParseResult Parser::parseValue(StringRef key) {
  auto add = [&](const Twine &name, Attribute value) {
    SmallString<32> buffer;
    state.addAttribute(name.toStringRef(buffer), value);
  };
  if (succeeded(parser.parseOptionalLBrace())) {
    while (failed(parser.parseOptionalRBrace())) {
      StringRef inner;
      if (parser.parseKeyword(&inner) || parser.parseEqual() ||
          parseValue(inner))
        return failure();
      (void)parser.parseOptionalComma();
    }
    return success();
  }
  int64_t number;
  StringRef word;
  OptionalParseResult isNumber = parser.parseOptionalInteger(number);
  if (isNumber.has_value()) {
    add(key, b.getI64IntegerAttr(number));
    return *isNumber;
  }
  if (succeeded(parser.parseOptionalKeyword(&word))) {
    add(key, b.getStringAttr(word));
    return success();
  }
  SmallVector<int64_t> values, right, result;
  if (parseInts(values))
    return failure();
  add(key, b.getDenseI64ArrayAttr(values));
  if (succeeded(parser.parseOptionalKeyword("x"))) {
    if (parseInts(right))
      return failure();
    add(key + ".rhs", b.getDenseI64ArrayAttr(right));
  }
  if (succeeded(parser.parseOptionalArrow())) {
    if (parseInts(result))
      return failure();
    add(key + ".result", b.getDenseI64ArrayAttr(result));
  }
  return success();
}

/// `0:4:2, 1:5]`
ParseResult Parser::parseRanges() {
  SmallVector<int64_t> starts, limits, strides;
  if (failed(parser.parseOptionalRSquare())) {
    do {
      int64_t first, limit, stride = 1;
      if (parser.parseInteger(first) || parser.parseColon() ||
          parser.parseInteger(limit))
        return failure();
      if (succeeded(parser.parseOptionalColon()) && parser.parseInteger(stride))
        return failure();
      starts.push_back(first);
      limits.push_back(limit);
      strides.push_back(stride);
    } while (succeeded(parser.parseOptionalComma()));
    if (parser.parseRSquare())
      return failure();
  }
  state.addAttribute("start_indices", b.getDenseI64ArrayAttr(starts));
  state.addAttribute("limit_indices", b.getDenseI64ArrayAttr(limits));
  state.addAttribute("strides", b.getDenseI64ArrayAttr(strides));
  return success();
}

/// Operands, `key = value` and words, in any order.
ParseResult Parser::parseItems() {
  while (true) {
    OpAsmParser::UnresolvedOperand operand;
    OptionalParseResult isOperand = parser.parseOptionalOperand(operand);
    StringAttr symbol;
    StringRef word;
    if (isOperand.has_value()) {
      if (*isOperand)
        return failure();
      parts.operands.push_back(operand);
    } else if (succeeded(parser.parseOptionalLParen())) {
      if (parseItems() || parser.parseRParen())
        return failure();
    } else if (succeeded(parser.parseOptionalLSquare())) {
      if (parseRanges())
        return failure();
    } else if (succeeded(parser.parseOptionalSymbolName(symbol))) {
      state.addAttribute("call_target_name",
                         b.getStringAttr(symbol.getValue()));
    } else if (succeeded(parser.parseOptionalKeyword(&word))) {
      if (failed(parser.parseOptionalEqual()))
        state.addAttribute(("word" + Twine(words++)).str(),
                           b.getStringAttr(word));
      else if (parseValue(word))
        return failure();
    } else {
      return success();
    }
    (void)parser.parseOptionalComma();
  }
}

ParseResult Parser::finish() {
  if (parser.parseOptionalAttrDict(state.attributes) ||
      parseTypes(parser, parts))
    return failure();
  const size_t operands = parts.operands.size();
  if (!parts.hasResultTypes && !parts.types.empty()) {
    const size_t results = parser.getNumResults();
    if (operands == 3 && parts.types.size() == 2) // select: i1 and the others
      parts.types.push_back(parts.types[1]);
    if (results > 1)
      parts.resultTypes = parts.types; // each its own
    else
      parts.resultTypes.assign(results, parts.types.back());
    if (parts.types.size() == 1)
      parts.types.assign(operands, parts.types[0]);
  }
  return resolve(parser, state, parts, start);
}

ParseResult Parser::parseGeneral() { return failure(parseItems() || finish()); }

ParseResult Parser::parseConstant() {
  Attribute value;
  if (parser.parseOptionalAttrDict(state.attributes))
    return failure();
  SMLoc at = parser.getCurrentLocation();
  if (parser.parseAttribute(value))
    return failure();
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements)
    return parser.emitError(at) << "a constant needs elements";
  state.addAttribute("value", value);
  state.addTypes(elements.getType());
  return success();
}

ParseResult Parser::parseRegion(ArrayRef<OpAsmParser::Argument> arguments) {
  auto region = std::make_unique<Region>();
  if (parser.parseRegion(*region, arguments))
    return failure();
  state.addRegion(std::move(region));
  return success();
}

/// (%x init: %a), (%y init: %b) [applies NAME] across dimensions = [1] : types
///   [reducer(%l: T, %r: T) (%l2: U, %r2: U) { ... }]
ParseResult Parser::parseReduce() {
  Assembly initial;
  do {
    OpAsmParser::UnresolvedOperand operand, init;
    if (parser.parseLParen() || parser.parseOperand(operand) ||
        parser.parseKeyword("init") || parser.parseColon() ||
        parser.parseOperand(init) || parser.parseRParen())
      return failure();
    parts.operands.push_back(operand);
    initial.operands.push_back(init);
  } while (succeeded(parser.parseOptionalComma()));
  parts.operands.append(initial.operands);
  StringRef applied;
  if (succeeded(parser.parseOptionalKeyword("applies"))) {
    if (parser.parseKeyword(&applied))
      return failure();
    state.addAttribute("applies", b.getStringAttr(applied));
  }
  if (parser.parseKeyword("across") || parser.parseKeyword("dimensions") ||
      parser.parseEqual() || parseValue("dimensions") || finish())
    return failure();
  if (failed(parser.parseOptionalKeyword("reducer")))
    return success();
  SmallVector<OpAsmParser::Argument> left, right;
  while (succeeded(parser.parseOptionalLParen()))
    if (parser.parseArgument(left.emplace_back(), /*allowType=*/true) ||
        parser.parseComma() ||
        parser.parseArgument(right.emplace_back(), /*allowType=*/true) ||
        parser.parseRParen())
      return failure();
  left.append(right);
  return parseRegion(left);
}

/// (%a = %0, %b = %1) : types [attributes {...}] cond { ... } do { ... }
ParseResult Parser::parseWhile() {
  SmallVector<OpAsmParser::Argument> arguments;
  auto item = [&]() -> ParseResult {
    OpAsmParser::UnresolvedOperand operand;
    if (parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
        parser.parseOperand(operand))
      return failure();
    parts.operands.push_back(operand);
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, item) ||
      parseTypes(parser, parts))
    return failure();
  parts.resultTypes = parts.types;
  if (resolve(parser, state, parts, start) ||
      parser.parseOptionalAttrDictWithKeyword(state.attributes))
    return failure();
  for (auto [argument, type] : llvm::zip_equal(arguments, parts.types))
    argument.type = type;
  return failure(parser.parseKeyword("cond") || parseRegion(arguments) ||
                 parser.parseKeyword("do") || parseRegion(arguments));
}

} // namespace

ParseResult parseStableHlo(OpAsmParser &parser, OperationState &state) {
  Parser own(parser, state);
  StringRef name = state.name.stripDialect();
  if (name == "constant")
    return own.parseConstant();
  if (name == "reduce")
    return own.parseReduce();
  if (name == "while")
    return own.parseWhile();
  return own.parseGeneral();
}

} // namespace marver
