//===- SymExpr.h - Symbolic sizes of exported programs -----------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// torch.export writes a symbolic size as the text of a sympy expression, for
// example Add(Integer(1), Mul(Integer(32), Symbol('s0', positive=True,
// integer=True))). Here it becomes a polynomial over atoms (symbols, and what
// is no polynomial: floor divisions, minima, ...), in a normal form, so that
// equal sizes compare equal and become the same value of the IR.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_SYMEXPR_H
#define MARVER_COMPILER_IMPORT_TORCH_SYMEXPR_H

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <string>

namespace marver::torch {

/// Sum of coefficient * product of atoms; terms sorted by their atoms, none
/// zero. Atoms are numbers of a SymContext, sorted within a term.
class SymExpr {
public:
  using Atoms = llvm::SmallVector<unsigned, 2>;

  SymExpr() = default;
  SymExpr(int64_t constant) {
    if (constant)
      terms[{}] = constant;
  }

  std::optional<int64_t> constant() const {
    if (terms.empty())
      return 0;
    if (terms.size() == 1 && terms.begin()->first.empty())
      return terms.begin()->second;
    return std::nullopt;
  }
  bool operator==(const SymExpr &other) const { return terms == other.terms; }
  bool operator<(const SymExpr &other) const { return terms < other.terms; }

  std::map<Atoms, int64_t> terms;
};

/// Closed interval; the ends of int64_t stand for none.
struct SymRange {
  static constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
  static constexpr int64_t highest = std::numeric_limits<int64_t>::max();
  int64_t min = lowest, max = highest;
};

class SymContext {
public:
  enum class Kind {
    Symbol,
    FloorDiv,
    Mod,
    Min,
    Max,
    /// The integer part of the double product of args[0], which is not
    /// negative, and a positive double whose bits are args[1].
    Scale
  };

  struct Atom {
    Kind kind;
    /// Of a symbol. An expression whose function is not known here is a symbol
    /// too: its name is its text, and its value comes from the tensor that has
    /// a dim of this size.
    std::string name;
    llvm::SmallVector<SymExpr, 2> args; ///< of anything else
    /// Value given with --shape.
    std::optional<int64_t> fixed;
    SymRange range; ///< of a symbol
  };

  /// The expression of a srepr text; on failure nullopt, and `error` says why.
  std::optional<SymExpr> parse(llvm::StringRef text);
  std::string error;

  unsigned symbolAtom(llvm::StringRef name);
  /// The symbol, or its fixed value.
  SymExpr symbol(llvm::StringRef name);
  const Atom &atom(unsigned number) const { return atoms[number]; }
  Atom &atom(unsigned number) { return atoms[number]; }
  std::optional<unsigned> findSymbol(llvm::StringRef name) const;

  // Arithmetic. An overflow, or an expression of absurd size, sets `error`.
  SymExpr add(const SymExpr &a, const SymExpr &b);
  SymExpr mul(const SymExpr &a, const SymExpr &b);
  SymExpr sub(const SymExpr &a, const SymExpr &b) {
    return add(a, mul(b, SymExpr(-1)));
  }
  SymExpr floorDiv(const SymExpr &a, const SymExpr &b);
  SymExpr mod(const SymExpr &a, const SymExpr &b);
  SymExpr extremum(Kind kind, llvm::SmallVector<SymExpr, 2> args);
  /// `a`, not negative, times a positive factor in double, rounded down.
  SymExpr scale(const SymExpr &a, double factor);

  /// Fixed symbols replaced by their values.
  SymExpr resolve(const SymExpr &expr);
  /// What is known of the value from the symbols' ranges.
  SymRange range(const SymExpr &expr);
  /// Calls `visit` with the number of every symbol in `expr`.
  void symbols(const SymExpr &expr,
               llvm::function_ref<void(unsigned)> visit) const;
  /// For messages.
  std::string print(const SymExpr &expr) const;

private:
  SymExpr atomExpr(Kind kind, llvm::SmallVector<SymExpr, 2> args);
  std::optional<SymExpr> parseOne(llvm::StringRef &text, unsigned depth);
  /// The call NAME(`text`, its argument a real number, as a size; nullopt (and
  /// no error) where that takes more than whole numbers and one product.
  std::optional<SymExpr> parseRounding(llvm::StringRef name,
                                       llvm::StringRef &text, unsigned depth);
  struct Real;
  std::optional<Real> parseReal(llvm::StringRef &text, unsigned depth);

  std::deque<Atom> atoms;
  llvm::StringMap<unsigned> byName;
  std::map<std::pair<Kind, std::vector<SymExpr>>, unsigned> byArgs;
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_SYMEXPR_H
