//===- SymExpr.cpp - Symbolic sizes of exported programs ------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/SymExpr.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <numeric>

using namespace llvm;

namespace marver::torch {

namespace {
constexpr size_t maxTerms = 4096, maxDegree = 32;
constexpr unsigned maxDepth = 256, maxArgs = 256;

int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? quotient - 1 : quotient;
}
} // namespace

unsigned SymContext::symbolAtom(StringRef name) {
  auto [entry, isNew] = byName.try_emplace(name, atoms.size());
  if (isNew)
    atoms.push_back({Kind::Symbol, name.str(), {}, std::nullopt, {}});
  return entry->second;
}

std::optional<unsigned> SymContext::findSymbol(StringRef name) const {
  auto found = byName.find(name);
  if (found == byName.end())
    return std::nullopt;
  return found->second;
}

SymExpr SymContext::symbol(StringRef name) {
  unsigned number = symbolAtom(name);
  if (atoms[number].fixed)
    return SymExpr(*atoms[number].fixed);
  SymExpr result;
  result.terms[{number}] = 1;
  return result;
}

SymExpr SymContext::atomExpr(Kind kind, SmallVector<SymExpr, 2> args) {
  auto [entry, isNew] = byArgs.try_emplace(
      {kind, std::vector<SymExpr>(args.begin(), args.end())}, atoms.size());
  if (isNew)
    atoms.push_back({kind, "", std::move(args), std::nullopt, {}});
  SymExpr result;
  result.terms[{entry->second}] = 1;
  return result;
}

SymExpr SymContext::add(const SymExpr &a, const SymExpr &b) {
  SymExpr result = a;
  for (const auto &[atoms, coefficient] : b.terms) {
    int64_t &sum = result.terms[atoms];
    if (AddOverflow(sum, coefficient, sum))
      error = "a symbolic size is out of range";
    if (sum == 0)
      result.terms.erase(atoms);
  }
  if (result.terms.size() > maxTerms)
    error = "a symbolic size is too complex";
  return error.empty() ? result : SymExpr();
}

SymExpr SymContext::mul(const SymExpr &a, const SymExpr &b) {
  SymExpr result;
  if (a.terms.size() * b.terms.size() > maxTerms)
    error = "a symbolic size is too complex";
  for (const auto &[atomsA, coefficientA] : a.terms) {
    for (const auto &[atomsB, coefficientB] : b.terms) {
      if (!error.empty())
        return SymExpr();
      SymExpr::Atoms product = atomsA;
      product.append(atomsB.begin(), atomsB.end());
      llvm::sort(product);
      int64_t coefficient;
      int64_t &sum = result.terms[product];
      if (product.size() > maxDegree)
        error = "a symbolic size is too complex";
      if (MulOverflow(coefficientA, coefficientB, coefficient) ||
          AddOverflow(sum, coefficient, sum))
        error = "a symbolic size is out of range";
      if (sum == 0)
        result.terms.erase(product);
    }
  }
  return error.empty() ? result : SymExpr();
}

SymExpr SymContext::floorDiv(const SymExpr &a, const SymExpr &b) {
  if (a == b && range(a).min > 0)
    return SymExpr(1);
  std::optional<int64_t> divisor = b.constant();
  if (!divisor) {
    // A divisor of one term that divides every term: s0*s1*4 / s1.
    if (b.terms.size() == 1 && (range(b).min > 0)) {
      const auto &[atomsB, coefficientB] = *b.terms.begin();
      SymExpr result;
      bool exact = true;
      for (const auto &[atomsA, coefficientA] : a.terms) {
        SymExpr::Atoms rest = atomsA;
        for (unsigned number : atomsB) {
          auto found = llvm::find(rest, number);
          if (found == rest.end()) {
            exact = false;
            break;
          }
          rest.erase(found);
        }
        if (!exact || coefficientB == 0 || coefficientA % coefficientB != 0) {
          exact = false;
          break;
        }
        result.terms[rest] = coefficientA / coefficientB;
      }
      if (exact)
        return result;
    }
    return atomExpr(Kind::FloorDiv, {a, b});
  }
  if (*divisor == 0) {
    error = "a symbolic size divides by zero";
    return SymExpr();
  }
  if (*divisor == std::numeric_limits<int64_t>::min()) {
    error = "a symbolic size is out of range";
    return SymExpr();
  }
  if (*divisor < 0) // floor(a / -d) = floor(-a / d)
    return floorDiv(mul(a, SymExpr(-1)), SymExpr(-*divisor));
  // What the divisor divides leaves the division; so does all but the
  // remainder of the constant.
  SymExpr whole, rest;
  for (const auto &[atoms, coefficient] : a.terms) {
    int64_t quotient =
        atoms.empty()
            ? floorDivide(coefficient, *divisor)
            : (coefficient % *divisor == 0 ? coefficient / *divisor : 0);
    if (quotient)
      whole.terms[atoms] = quotient;
    if (int64_t left = coefficient - quotient * *divisor)
      rest.terms[atoms] = left;
  }
  SymRange left = range(rest);
  if (left.min >= 0 && left.max < *divisor)
    return whole;
  return add(whole, atomExpr(Kind::FloorDiv, {rest, b}));
}

SymExpr SymContext::mod(const SymExpr &a, const SymExpr &b) {
  if (std::optional<int64_t> divisor = b.constant(); divisor && *divisor > 0) {
    SymExpr rest;
    for (const auto &[atoms, coefficient] : a.terms) {
      int64_t left = coefficient % *divisor;
      if (left < 0)
        left += *divisor;
      if (left)
        rest.terms[atoms] = left;
    }
    SymRange left = range(rest);
    if (left.min >= 0 && left.max < *divisor)
      return rest;
    return atomExpr(Kind::Mod, {rest, b});
  }
  SymRange dividend = range(a), divisor = range(b);
  if (dividend.min >= 0 && divisor.min > dividend.max)
    return a;
  if (b.constant() == 0) {
    error = "a symbolic size divides by zero";
    return SymExpr();
  }
  return atomExpr(Kind::Mod, {a, b});
}

SymExpr SymContext::extremum(Kind kind, SmallVector<SymExpr, 2> args) {
  // Drop what another argument surely beats.
  for (size_t i = 0; i < args.size();) {
    bool beaten = false;
    for (size_t j = 0; j < args.size() && !beaten; ++j) {
      if (i == j)
        continue;
      SymRange difference = range(sub(args[i], args[j]));
      beaten = kind == Kind::Max ? difference.max <= 0 : difference.min >= 0;
      // Of two equal ones the first stays.
      if (beaten && args[i] == args[j])
        beaten = j < i;
    }
    if (beaten)
      args.erase(args.begin() + i);
    else
      ++i;
  }
  if (args.size() == 1)
    return args[0];
  llvm::sort(args);
  return atomExpr(kind, std::move(args));
}

SymExpr SymContext::scale(const SymExpr &a, double factor) {
  if (std::optional<int64_t> size = a.constant()) {
    double product = double(*size) * factor;
    if (product >= 0 && product < 0x1p62)
      return SymExpr(int64_t(product));
    error = "exceeds 64 bits";
    return SymExpr();
  }
  return atomExpr(Kind::Scale, {a, SymExpr(llvm::bit_cast<int64_t>(factor))});
}

SymExpr SymContext::resolve(const SymExpr &expr) {
  SymExpr result;
  for (const auto &[numbers, coefficient] : expr.terms) {
    SymExpr term(coefficient);
    for (unsigned number : numbers) {
      const Atom &atom = atoms[number];
      SymExpr factor;
      if (atom.fixed) {
        factor = SymExpr(*atom.fixed);
      } else if (atom.kind == Kind::Symbol) {
        factor.terms[{number}] = 1;
      } else {
        SmallVector<SymExpr, 2> args;
        Kind kind = atom.kind;
        for (const SymExpr &arg : SmallVector<SymExpr, 2>(atom.args))
          args.push_back(resolve(arg));
        switch (kind) {
        case Kind::FloorDiv:
          factor = floorDiv(args[0], args[1]);
          break;
        case Kind::Mod:
          factor = mod(args[0], args[1]);
          break;
        case Kind::Scale:
          factor = scale(args[0], llvm::bit_cast<double>(*args[1].constant()));
          break;
        default:
          factor = extremum(kind, std::move(args));
        }
      }
      term = mul(term, factor);
    }
    result = add(result, term);
  }
  return result;
}

namespace {
using Wide = __int128;

/// Interval arithmetic in 128 bits, cut back to int64_t.
struct Interval {
  Wide min, max;
  static constexpr Wide infinite = Wide(1) << 100;

  static Interval of(SymRange range) {
    return {range.min == SymRange::lowest ? -infinite : Wide(range.min),
            range.max == SymRange::highest ? infinite : Wide(range.max)};
  }
  static Wide cut(Wide value) { return std::clamp(value, -infinite, infinite); }
  static Wide times(Wide a, Wide b) {
    if (a == 0 || b == 0)
      return 0;
    if (a <= -infinite || a >= infinite || b <= -infinite || b >= infinite)
      return (a < 0) == (b < 0) ? infinite : -infinite;
    if (Wide result; !__builtin_mul_overflow(a, b, &result))
      return cut(result);
    return (a < 0) == (b < 0) ? infinite : -infinite;
  }
  Interval operator*(Interval o) const {
    Wide p[] = {times(min, o.min), times(min, o.max), times(max, o.min),
                times(max, o.max)};
    return {*llvm::min_element(p), *llvm::max_element(p)};
  }
  Interval operator+(Interval o) const {
    return {cut(min + o.min), cut(max + o.max)};
  }
  SymRange range() const {
    SymRange result;
    if (min > Wide(SymRange::lowest))
      result.min =
          min > Wide(SymRange::highest) ? SymRange::highest : int64_t(min);
    if (max < Wide(SymRange::highest))
      result.max =
          max < Wide(SymRange::lowest) ? SymRange::lowest : int64_t(max);
    return result;
  }
};
} // namespace

SymRange SymContext::range(const SymExpr &expr) {
  Interval sum{0, 0};
  for (const auto &[numbers, coefficient] : expr.terms) {
    Interval term{coefficient, coefficient};
    for (unsigned number : numbers) {
      const Atom &atom = atoms[number];
      SymRange factor;
      if (atom.fixed) {
        factor = {*atom.fixed, *atom.fixed};
      } else {
        switch (atom.kind) {
        case Kind::Symbol:
          factor = atom.range;
          break;
        case Kind::FloorDiv: {
          SymRange a = range(atom.args[0]), b = range(atom.args[1]);
          if (b.min > 0) {
            if (a.min != SymRange::lowest)
              factor.min = floorDivide(a.min, a.min >= 0 ? b.max : b.min);
            if (a.max != SymRange::highest)
              factor.max = floorDivide(a.max, a.max >= 0 ? b.min : b.max);
          }
          break;
        }
        case Kind::Mod: {
          SymRange b = range(atom.args[1]);
          if (b.min > 0)
            factor = {0, b.max == SymRange::highest ? b.max : b.max - 1};
          break;
        }
        case Kind::Scale: {
          SymRange a = range(atom.args[0]);
          double by = llvm::bit_cast<double>(*atom.args[1].constant());
          auto scaled = [&](int64_t end, int64_t unknown) {
            double product = double(end) * by;
            return end == unknown || !(product >= 0 && product < 0x1p62)
                       ? unknown
                       : int64_t(product);
          };
          factor = {scaled(a.min, SymRange::lowest),
                    scaled(a.max, SymRange::highest)};
          break;
        }
        case Kind::Min:
        case Kind::Max: {
          bool isMin = atom.kind == Kind::Min;
          factor = range(atom.args[0]);
          for (const SymExpr &arg : llvm::drop_begin(atom.args)) {
            SymRange r = range(arg);
            factor.min = isMin ? std::min(factor.min, r.min)
                               : std::max(factor.min, r.min);
            factor.max = isMin ? std::min(factor.max, r.max)
                               : std::max(factor.max, r.max);
          }
          break;
        }
        }
      }
      term = term * Interval::of(factor);
    }
    sum = sum + term;
  }
  return sum.range();
}

void SymContext::symbols(const SymExpr &expr,
                         function_ref<void(unsigned)> visit) const {
  for (const auto &[numbers, coefficient] : expr.terms)
    for (unsigned number : numbers) {
      if (atoms[number].kind == Kind::Symbol)
        visit(number);
      for (const SymExpr &arg : atoms[number].args)
        symbols(arg, visit);
    }
}

std::string SymContext::print(const SymExpr &expr) const {
  if (std::optional<int64_t> constant = expr.constant())
    return std::to_string(*constant);
  std::string out;
  for (const auto &[numbers, coefficient] : expr.terms) {
    if (!out.empty())
      out += coefficient < 0 ? " - " : " + ";
    else if (coefficient < 0)
      out += "-";
    uint64_t size = coefficient < 0 ? 0 - uint64_t(coefficient) : coefficient;
    SmallVector<std::string> factors;
    if (size != 1 || numbers.empty())
      factors.push_back(std::to_string(size));
    for (unsigned number : numbers) {
      const Atom &atom = atoms[number];
      if (atom.kind == Kind::Symbol) {
        factors.push_back(atom.name);
        continue;
      }
      SmallVector<std::string> args;
      for (const SymExpr &arg : atom.args)
        args.push_back(print(arg));
      if (atom.kind == Kind::FloorDiv)
        factors.push_back("((" + args[0] + ") // (" + args[1] + "))");
      else if (atom.kind == Kind::Mod)
        factors.push_back("((" + args[0] + ") % (" + args[1] + "))");
      else if (atom.kind == Kind::Scale)
        factors.push_back(
            "int(" +
            std::to_string(llvm::bit_cast<double>(*atom.args[1].constant())) +
            "*(" + args[0] + "))");
      else
        factors.push_back((atom.kind == Kind::Min ? "min(" : "max(") +
                          join(args, ", ") + ")");
    }
    out += join(factors, "*");
  }
  return out;
}

std::optional<SymExpr> SymContext::parse(StringRef text) {
  error.clear();
  StringRef rest = text;
  std::optional<SymExpr> result = parseOne(rest, 0);
  if (result && error.empty() && !rest.trim().empty())
    error = "cannot be read";
  if (!error.empty())
    result.reset();
  if (!result)
    error = (error.empty() ? std::string("cannot be read") : error) +
            " (symbolic size '" + text.take_front(200).str() + "')";
  return result;
}

namespace {
bool isKnown(StringRef name) {
  static const char *const names[] = {
      "Add",      "Mul", "Min",       "Max", "FloorDiv",     "CeilDiv",
      "CleanDiv", "Mod", "PythonMod", "Pow", "PowByNatural", "ModularIndexing"};
  return is_contained(names, name);
}

/// Position of the parenthesis that closes the one that `text` begins with.
size_t closingParenthesis(StringRef text) {
  unsigned depth = 0;
  char quote = 0;
  for (auto [i, c] : enumerate(text)) {
    if (quote)
      quote = c == quote ? 0 : quote;
    else if (c == '\'' || c == '"')
      quote = c;
    else if (c == '(')
      ++depth;
    else if (c == ')' && --depth == 0)
      return i;
  }
  return StringRef::npos;
}
} // namespace

/// factor * numerator / denominator. The factor is 1 unless it is no fraction
/// of small numbers; then its product is the one rounding in double.
struct SymContext::Real {
  SymExpr numerator, denominator = SymExpr(1);
  double factor = 1;
};

std::optional<SymContext::Real> SymContext::parseReal(StringRef &text,
                                                      unsigned depth) {
  if (depth > maxDepth)
    return std::nullopt;
  StringRef rest = text.ltrim();
  StringRef name = rest.take_while(
      [](char c) { return isAlnum(c) || c == '_' || c == '.'; });
  rest = rest.drop_front(name.size()).ltrim();
  name = name.substr(name.rfind('.') + 1);
  if (!rest.consume_front("("))
    return std::nullopt;
  if (name == "Float") {
    // Float('1.5', precision=53): a double with enough digits.
    size_t end = closingParenthesis(("(" + rest).str());
    if (end == StringRef::npos || !rest.consume_front("'"))
      return std::nullopt;
    StringRef digits = rest.take_until([](char c) { return c == '\''; });
    double value;
    if (digits.getAsDouble(value) || !(value > 0 && value < 0x1p31))
      return std::nullopt;
    text = rest.drop_front(end - 1); // "(" and the quote are gone
    Real real;
    int64_t denominator = 1;
    while (denominator < (int64_t(1) << 20) &&
           value * double(denominator) != std::floor(value * denominator))
      denominator *= 2;
    if (double whole = value * double(denominator);
        whole == std::floor(whole) && whole < 0x1p31) {
      real.numerator = SymExpr(int64_t(whole));
      real.denominator = SymExpr(denominator);
    } else {
      real.numerator = SymExpr(1);
      real.factor = value;
    }
    return real;
  }
  if (name == "ToFloat") {
    std::optional<SymExpr> whole = parseOne(rest, depth + 1);
    if (!whole || !rest.ltrim().consume_front(")"))
      return std::nullopt;
    text = rest.ltrim().drop_front();
    return Real{*whole};
  }
  const bool isDivision = name == "IntTrueDiv" || name == "FloatTrueDiv";
  if (name != "Mul" && !isDivision) {
    std::optional<SymExpr> whole = parseOne(text, depth + 1);
    if (!whole)
      return std::nullopt;
    return Real{*whole};
  }
  SmallVector<Real, 2> args;
  do {
    std::optional<Real> arg = parseReal(rest, depth + 1);
    if (!arg || args.size() == maxArgs)
      return std::nullopt;
    args.push_back(*arg);
    rest = rest.ltrim();
  } while (rest.consume_front(","));
  if (!rest.consume_front(")") || (isDivision && args.size() != 2))
    return std::nullopt;
  Real result = args[0];
  for (const Real &arg : drop_begin(args)) {
    // Two roundings are more than Scale says.
    if (arg.factor != 1 && (isDivision || result.factor != 1))
      return std::nullopt;
    result.factor *= arg.factor;
    result.numerator =
        mul(result.numerator, isDivision ? arg.denominator : arg.numerator);
    result.denominator =
        mul(result.denominator, isDivision ? arg.numerator : arg.denominator);
  }
  text = rest;
  return result;
}

std::optional<SymExpr>
SymContext::parseRounding(StringRef name, StringRef &text, unsigned depth) {
  StringRef rest = text;
  std::optional<Real> real = parseReal(rest, depth + 1);
  if (!real || !error.empty() || !rest.ltrim().consume_front(")"))
    return std::nullopt;
  text = rest.ltrim().drop_front();
  // Quotients of numbers below 2^53 are rounded to a whole number only where
  // they are one.
  const SymExpr &a = real->numerator, &b = real->denominator;
  if (range(a).min < 0 || range(b).min <= 0)
    return std::nullopt;
  if (real->factor == 1)
    return name == "CeilToInt"
               ? mul(floorDiv(mul(a, SymExpr(-1)), b), SymExpr(-1))
               : floorDiv(a, b);
  if (name == "CeilToInt" || b.constant() != 1)
    return std::nullopt;
  return scale(a, real->factor);
}

/// NAME(ARGUMENT, ...): a call as sympy's srepr prints it.
std::optional<SymExpr> SymContext::parseOne(StringRef &text, unsigned depth) {
  if (depth > maxDepth) {
    error = "is nested too deeply";
    return std::nullopt;
  }
  text = text.ltrim();
  StringRef name = text.take_while(
      [](char c) { return isAlnum(c) || c == '_' || c == '.'; });
  text = text.drop_front(name.size()).ltrim();
  // One more way of naming: torch.utils._sympy.functions.FloorDiv.
  name = name.substr(name.rfind('.') + 1);
  const StringRef whole = text;
  if (name.empty() || !text.consume_front("("))
    return std::nullopt;

  if (name == "Integer") {
    int64_t value;
    if (text.consumeInteger(10, value) || !text.consume_front(")"))
      return std::nullopt;
    return SymExpr(value);
  }
  if (name == "Symbol") {
    StringRef quote = text.take_front(1);
    if ((quote != "'" && quote != "\"") || !text.consume_front(quote))
      return std::nullopt;
    StringRef symbolName =
        text.take_until([&](char c) { return c == quote[0]; });
    text = text.drop_front(symbolName.size());
    size_t end = text.find(')');
    if (symbolName.empty() || end == StringRef::npos)
      return std::nullopt;
    // What torch says of the sign counts where the file states no range.
    Atom &made = atoms[symbolAtom(symbolName)];
    StringRef facts = text.take_front(end);
    if (made.range.min == SymRange::lowest)
      made.range.min = facts.contains("positive=True")      ? 1
                       : facts.contains("nonnegative=True") ? 0
                                                            : made.range.min;
    text = text.drop_front(end + 1);
    return symbol(symbolName);
  }

  if (name == "TruncToInt" || name == "FloorToInt" || name == "CeilToInt") {
    StringRef rest = text;
    std::optional<SymExpr> result = parseRounding(name, rest, depth);
    if (!error.empty())
      return std::nullopt;
    if (result) {
      text = rest;
      return result;
    }
  }

  if (!isKnown(name)) {
    size_t end = closingParenthesis(whole);
    if (end == StringRef::npos)
      return std::nullopt;
    text = whole.drop_front(end + 1);
    return symbol((name + whole.take_front(end + 1)).str());
  }

  SmallVector<SymExpr, 2> args;
  while (true) {
    std::optional<SymExpr> arg = parseOne(text, depth + 1);
    if (!arg)
      return std::nullopt;
    args.push_back(std::move(*arg));
    if (args.size() > maxArgs)
      error = "is too complex";
    if (!error.empty())
      return std::nullopt;
    text = text.ltrim();
    if (text.consume_front(")"))
      break;
    if (!text.consume_front(","))
      return std::nullopt;
  }

  SymExpr result = args[0];
  if (name == "Add" || name == "Mul") {
    for (const SymExpr &arg : drop_begin(args))
      result = name == "Add" ? add(result, arg) : mul(result, arg);
    return result;
  }
  if (name == "Min" || name == "Max")
    return extremum(name == "Min" ? Kind::Min : Kind::Max, std::move(args));
  if (args.size() == 2) {
    if (name == "FloorDiv" || name == "CleanDiv")
      return floorDiv(args[0], args[1]);
    if (name == "CeilDiv") // -(-a // b)
      return mul(floorDiv(mul(args[0], SymExpr(-1)), args[1]), SymExpr(-1));
    if (name == "Mod" || name == "PythonMod")
      return mod(args[0], args[1]);
    if (std::optional<int64_t> exponent = args[1].constant();
        name.starts_with("Pow") && exponent && *exponent >= 0 &&
        *exponent <= int64_t(maxDegree)) {
      result = SymExpr(1);
      for (int64_t i = 0; i < *exponent; ++i)
        result = mul(result, args[0]);
      return result;
    }
  }
  if (args.size() == 3 && name == "ModularIndexing")
    return mod(floorDiv(args[0], args[1]), args[2]);
  return std::nullopt;
}

} // namespace marver::torch
