//===- Scalars.cpp - Sizes, numbers and assertions of the graph -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A size that a node computes is stated in the file as an expression of the
// symbols, so that arithmetic on sizes needs no operator here: the expression
// is emitted where it is used. What is left are numbers read from tensors, and
// conditions.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"
#include "compiler/import/torch/Guards.h"
#include "marver/abi.h"

using namespace llvm;
using namespace mlir;

namespace marver::torch {
namespace {

/// A size: only that it is known is checked.
Value size(Call &c) {
  for (const Argument &output : c.node.outputs) {
    if (output.kind != Argument::SymInt)
      continue;
    auto found = c.graph.program.symInts.find(output.text);
    if (found == c.graph.program.symInts.end() || !c.graph.emit(found->second))
      return c.fail("'" + output.text + "' has no known value");
  }
  return nullptr;
}

/// A number read from a tensor of one element.
Value item(Call &c) {
  Value x = c.tensor("self");
  if (!x || c.node.outputs.empty())
    return nullptr;
  if (c.b.rankOf(x) != 0)
    x = c.b.reshape(x, {});
  if (!x)
    return nullptr;
  const Argument &output = c.node.outputs[0];
  const ScalarType type = output.kind == Argument::SymInt ? ScalarType::Long
                          : output.kind == Argument::SymFloat
                              ? ScalarType::Double
                              : ScalarType::Bool;
  c.graph.bindNumber(output, c.cast(x, c.typeOf("self"), type));
  return c.b.failed() ? nullptr : size(c);
}

/// The expression of a size argument.
std::optional<SymExpr> exprOf(Call &c, StringRef name) {
  const Argument *argument = c.find(name);
  if (!argument)
    return std::nullopt;
  if (argument->kind == Argument::Int)
    return SymExpr(argument->integer);
  if (argument->kind != Argument::SymInt)
    return std::nullopt;
  auto found = c.graph.program.symInts.find(argument->text);
  if (found == c.graph.program.symInts.end())
    return std::nullopt;
  return found->second;
}

/// The sign of a - b where the inputs' ranges, which are checked before every
/// run, decide it. Ranges of numbers read from tensors decide nothing: the
/// assertions are what checks them.
std::optional<SymRange> provedDifference(Call &c) {
  std::optional<SymExpr> a = exprOf(c, "a"), b = exprOf(c, "b");
  if (!a || !b)
    return std::nullopt;
  SymContext &symbols = c.graph.program.symbols;
  SymExpr difference = symbols.sub(*a, *b);
  bool isProved = true;
  symbols.symbols(difference, [&](unsigned symbol) {
    isProved &= c.graph.inputSymbols.contains(symbol);
  });
  if (!isProved)
    return std::nullopt;
  return symbols.range(difference);
}

Value truth(Call &c, bool value) {
  return arith::ConstantOp::create(c.b, c.b.getBoolAttr(value)).getResult();
}

template <Guard::Relation relation, arith::CmpIPredicate predicate,
          arith::CmpFPredicate ofFloats>
Value compare(Call &c) {
  if (c.node.outputs.empty() || c.node.outputs[0].kind != Argument::SymBool)
    return nullptr;
  Value &result = c.graph.scalars[c.node.outputs[0].text];
  auto isFloat = [&](StringRef name) {
    const Argument *argument = c.find(name);
    return argument && (argument->kind == Argument::Float ||
                        argument->kind == Argument::SymFloat);
  };
  if (isFloat("a") || isFloat("b")) {
    Value a = c.operand("a", ScalarType::Double);
    Value b = c.operand("b", ScalarType::Double);
    if (a && b)
      result = arith::CmpFOp::create(c.b, ofFloats,
                                     tensor::ExtractOp::create(c.b, a),
                                     tensor::ExtractOp::create(c.b, b));
    return nullptr;
  }
  if (std::optional<SymRange> range = provedDifference(c))
    if (std::optional<bool> known = decide(relation, *range)) {
      result = truth(c, *known);
      return nullptr;
    }
  Dim a = c.dim("a", c.b.index(0)), b = c.dim("b", c.b.index(0));
  if (!c.b.failed())
    result = c.b.compare(predicate, a, b);
  return nullptr;
}

/// A condition: a value of the graph, or a constant.
Value conditionOf(Call &c, StringRef name) {
  const Argument *argument = c.find(name);
  if (!argument)
    return c.fail("argument '" + name + "' is missing");
  if (argument->kind == Argument::Bool || argument->kind == Argument::Int)
    return truth(c, argument->integer != 0);
  if (argument->kind == Argument::Tensor) {
    Value x = c.operand(name, ScalarType::Bool);
    if (x && c.b.rankOf(x) != 0)
      x = c.b.reshape(x, {});
    return x ? tensor::ExtractOp::create(c.b, x).getResult() : Value();
  }
  Value value = c.graph.scalars.lookup(argument->text);
  return value ? value : c.fail("'" + argument->text + "' has no known value");
}

/// What is known to hold needs no check.
void check(Call &c, Value condition, const Twine &message) {
  if (!condition || c.b.failed())
    return;
  if (matchPattern(condition, m_One()))
    return;
  c.b.check(condition, MV_FAILURE_ASSERT, message);
}

template <const char *name> Value assertion(Call &c) {
  check(c, conditionOf(c, name),
        c.string("assert_msg", "an assertion of the model does not hold"));
  return nullptr;
}
constexpr char selfName[] = "self";

Value constrainRange(Call &c) {
  Dim value = c.dim(c.has("size") ? "size" : "symbol", c.b.index(0));
  if (c.has("min"))
    check(c,
          c.b.compare(arith::CmpIPredicate::sge, value,
                      c.b.index(c.integer("min"))),
          "a size is too small");
  if (c.has("max"))
    check(c,
          c.b.compare(arith::CmpIPredicate::sle, value,
                      c.b.index(c.integer("max"))),
          "a size is too large");
  return nullptr;
}

template <typename Op> Value logic(Call &c) {
  Value a = conditionOf(c, "a"), b = conditionOf(c, "b");
  if (a && b && !c.node.outputs.empty())
    c.graph.scalars[c.node.outputs[0].text] = Op::create(c.b, a, b);
  return nullptr;
}

Value negation(Call &c) {
  Value a = conditionOf(c, "a");
  if (a && !c.node.outputs.empty())
    c.graph.scalars[c.node.outputs[0].text] =
        arith::XOrIOp::create(c.b, a, truth(c, true));
  return nullptr;
}

/// Arithmetic whose result is a float is done in f64; on sizes see above.
template <typename Op> Value arithmetic(Call &c) {
  if (c.node.outputs.empty() || c.node.outputs[0].kind != Argument::SymFloat)
    return size(c);
  Value a = c.operand("a", ScalarType::Double);
  Value b = c.operand("b", ScalarType::Double);
  if (a && b)
    c.graph.scalars[c.node.outputs[0].text] =
        Op::create(c.b, tensor::ExtractOp::create(c.b, a),
                   tensor::ExtractOp::create(c.b, b));
  return nullptr;
}

Value toFloat(Call &c) {
  Value a = c.operand("a", ScalarType::Double);
  if (a && !c.node.outputs.empty())
    c.graph.scalars[c.node.outputs[0].text] = tensor::ExtractOp::create(c.b, a);
  return nullptr;
}

/// Says nothing that the file does not state elsewhere.
Value nothing(Call &) { return nullptr; }

using P = arith::CmpIPredicate;
using F = arith::CmpFPredicate;

constexpr OpEntry entries[] = {
    {"aten.sym_size.int", size},
    {"aten.sym_numel.default", size},
    {"aten.sym_stride.int", size},
    {"aten.sym_storage_offset.default", size},
    {"aten.item.default", item},
    {"aten._local_scalar_dense.default", item},
    {"_operator.add", arithmetic<arith::AddFOp>},
    {"_operator.sub", arithmetic<arith::SubFOp>},
    {"_operator.mul", arithmetic<arith::MulFOp>},
    {"_operator.truediv", arithmetic<arith::DivFOp>},
    {"_operator.floordiv", size},
    {"_operator.mod", size},
    {"_operator.neg", size},
    {"_operator.pow", size},
    {"math.ceil", size},
    {"math.floor", size},
    {"math.trunc", size},
    {"torch.sym_int", size},
    {"torch.sym_max", size},
    {"torch.sym_min", size},
    {"torch.sym_sum", size},
    {"torch.sym_float", toFloat},
    {"_operator.eq", compare<Guard::Eq, P::eq, F::OEQ>},
    {"_operator.ne", compare<Guard::Ne, P::ne, F::UNE>},
    {"_operator.lt", compare<Guard::Lt, P::slt, F::OLT>},
    {"_operator.le", compare<Guard::Le, P::sle, F::OLE>},
    {"_operator.gt", compare<Guard::Gt, P::sgt, F::OGT>},
    {"_operator.ge", compare<Guard::Ge, P::sge, F::OGE>},
    {"_operator.and_", logic<arith::AndIOp>},
    {"_operator.or_", logic<arith::OrIOp>},
    {"torch.sym_not", negation},
    {"aten._assert_scalar.default", assertion<selfName>},
    {"aten._assert_async.msg", assertion<selfName>},
    {"aten._assert_async.default", assertion<selfName>},
    {"aten._assert_tensor_metadata.default", nothing},
    {"aten.sym_constrain_range.default", constrainRange},
    {"aten.sym_constrain_range_for_size.default", constrainRange},
};

} // namespace

void addScalars(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
