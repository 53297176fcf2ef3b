//===- Guards.cpp - Conditions on the sizes of the inputs -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Guards.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace marver::torch {
namespace {

/// Recursive descent over Python's arithmetic. Once something is not
/// understood, everything is.
class GuardParser {
public:
  GuardParser(Program &program, StringRef text)
      : program(program), rest(text) {}

  std::optional<Guard> parse() {
    Guard guard;
    guard.left = sum();
    rest = rest.ltrim();
    if (rest.consume_front("=="))
      guard.relation = Guard::Eq;
    else if (rest.consume_front("!="))
      guard.relation = Guard::Ne;
    else if (rest.consume_front("<="))
      guard.relation = Guard::Le;
    else if (rest.consume_front(">="))
      guard.relation = Guard::Ge;
    else if (rest.consume_front("<"))
      guard.relation = Guard::Lt;
    else if (rest.consume_front(">"))
      guard.relation = Guard::Gt;
    else
      return std::nullopt;
    guard.right = sum();
    if (!isUnderstood || !rest.trim().empty() || !program.symbols.error.empty())
      return std::nullopt;
    return guard;
  }

private:
  SymExpr fail() {
    isUnderstood = false;
    return SymExpr();
  }

  bool take(StringRef token) {
    rest = rest.ltrim();
    return isUnderstood && rest.consume_front(token);
  }

  SymExpr sum() {
    SymExpr result = product();
    while (isUnderstood) {
      if (take("+"))
        result = program.symbols.add(result, product());
      else if (take("-"))
        result = program.symbols.sub(result, product());
      else
        break;
    }
    return result;
  }

  SymExpr product() {
    SymExpr result = factor();
    while (isUnderstood) {
      if (take("**"))
        return fail();
      if (take("*"))
        result = program.symbols.mul(result, factor());
      else if (take("//"))
        result = program.symbols.floorDiv(result, factor());
      else if (take("%"))
        result = program.symbols.mod(result, factor());
      else
        break;
    }
    return result;
  }

  SymExpr factor() {
    if (++depth > 200)
      return fail();
    SymExpr result = primary();
    --depth;
    return result;
  }

  SymExpr primary() {
    if (take("-"))
      return program.symbols.mul(SymExpr(-1), factor());
    if (take("(")) {
      SymExpr result = sum();
      return take(")") ? result : fail();
    }
    for (auto [name, kind] : {std::pair("max(", SymContext::Kind::Max),
                              std::pair("min(", SymContext::Kind::Min)}) {
      if (!take(name))
        continue;
      SmallVector<SymExpr, 2> args;
      do
        args.push_back(sum());
      while (take(",") && args.size() < 64);
      return take(")") ? program.symbols.extremum(kind, std::move(args))
                       : fail();
    }
    rest = rest.ltrim();
    if (rest.starts_with("L["))
      return inputSize();
    int64_t number;
    if (!rest.empty() && isDigit(rest.front()) &&
        !rest.consumeInteger(10, number))
      return SymExpr(number);
    return fail();
  }

  /// L['x'].size()[2], L['options']['mask'].size()[0], L['args'][1].size()[0]:
  /// the input is called x, options_mask, args_1.
  SymExpr inputSize() {
    rest = rest.drop_front(1);
    std::string name;
    while (rest.consume_front("[")) {
      StringRef key = rest.take_until([](char c) { return c == ']'; });
      rest = rest.drop_front(key.size());
      if (!rest.consume_front("]"))
        return fail();
      key = key.trim("'\"");
      name += (name.empty() ? "" : "_") + key.str();
    }
    unsigned dim;
    if (!rest.consume_front(".size()[") || rest.consumeInteger(10, dim) ||
        !rest.consume_front("]"))
      return fail();
    for (const InputSpec &spec : program.inputs) {
      if (spec.kind != InputSpec::User || spec.value.text != name)
        continue;
      auto found = program.tensors.find(name);
      if (found == program.tensors.end() || dim >= found->second.sizes.size())
        return fail();
      return program.symbols.resolve(found->second.sizes[dim]);
    }
    return fail();
  }

  Program &program;
  StringRef rest;
  bool isUnderstood = true;
  unsigned depth = 0;
};

} // namespace

std::optional<Guard> parseGuard(Program &program, StringRef text) {
  std::optional<Guard> guard = GuardParser(program, text).parse();
  program.symbols.error.clear();
  return guard;
}

std::optional<bool> decide(Guard::Relation relation, SymRange range) {
  const bool isZero = range.min == 0 && range.max == 0;
  const bool isNonZero = range.min > 0 || range.max < 0;
  auto choose = [](bool yes, bool no) {
    return yes || no ? std::optional(yes) : std::nullopt;
  };
  switch (relation) {
  case Guard::Eq:
    return choose(isZero, isNonZero);
  case Guard::Ne:
    return choose(isNonZero, isZero);
  case Guard::Lt:
    return choose(range.max < 0, range.min >= 0);
  case Guard::Le:
    return choose(range.max <= 0, range.min > 0);
  case Guard::Gt:
    return choose(range.min > 0, range.max <= 0);
  case Guard::Ge:
    return choose(range.min >= 0, range.max < 0);
  }
  return std::nullopt;
}

} // namespace marver::torch
