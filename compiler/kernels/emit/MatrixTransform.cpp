//===- MatrixTransform.cpp - Constant matrix times vectors ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/MatrixTransform.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace marver {
namespace {

class MatrixEmitter {
public:
  explicit MatrixEmitter(KernelEmitter &e) : e(e) {}

  struct Term {
    double factor;
    Value value;
  };

  /// The sum of `terms`; null if there are none. Starts from a term that needs
  /// no multiplication.
  Value sum(ArrayRef<Term> terms) {
    if (terms.empty())
      return Value();
    auto plain = llvm::find_if(llvm::reverse(terms),
                               [](const Term &t) { return t.factor == 1; });
    size_t start =
        plain == llvm::reverse(terms).end()
            ? terms.size() - 1
            : terms.size() - 1 - (plain - llvm::reverse(terms).begin());
    Value result = terms[start].factor == 1
                       ? terms[start].value
                       : mul(terms[start].factor, terms[start].value);
    for (size_t i = terms.size(); i-- > 0;)
      if (i != start)
        result = mulAdd(terms[i].factor, terms[i].value, result);
    return result;
  }

  Value mulAdd(double factor, Value a, Value c) {
    if (factor == 1)
      return arith::AddFOp::create(e.builder(), c, a);
    if (factor == -1)
      return arith::SubFOp::create(e.builder(), c, a);
    return e.fma(number(factor, a), a, c);
  }
  Value mul(double factor, Value a) {
    return arith::MulFOp::create(e.builder(), number(factor, a), a);
  }
  Value add(Value a, Value c) {
    return arith::AddFOp::create(e.builder(), a, c);
  }
  Value sub(Value a, Value c) {
    return arith::SubFOp::create(e.builder(), a, c);
  }
  Value zeroLike(Value a) {
    auto type = cast<VectorType>(a.getType());
    return e.zero(type.getElementType(), type.getNumElements());
  }

private:
  Value number(double factor, Value like) {
    auto type = cast<VectorType>(like.getType());
    auto attribute = FloatAttr::get(type.getElementType(), factor);
    return e.splat(arith::ConstantOp::create(e.builder(), attribute),
                   type.getNumElements());
  }

  KernelEmitter &e;
};

using Term = MatrixEmitter::Term;

/// Whether two rows are equal in some columns and opposite in others: what
/// points p and -p make of even and odd powers.
bool isRowPair(const Matrix &m, int64_t r) {
  bool equal = false, opposite = false;
  for (int64_t c = 0; c < m.columns; ++c) {
    double a = m.at(r, c), b = m.at(r + 1, c);
    if (a != b && a != -b)
      return false;
    equal |= a == b && a != 0;
    opposite |= a != b;
  }
  return equal && opposite;
}

bool isColumnPair(const Matrix &m, int64_t c) {
  bool equal = false, opposite = false;
  for (int64_t r = 0; r < m.rows; ++r) {
    double a = m.at(r, c), b = m.at(r, c + 1);
    if (a != b && a != -b)
      return false;
    equal |= a == b && a != 0;
    opposite |= a != b;
  }
  return equal && opposite;
}

} // namespace

SmallVector<Value> multiplyMatrix(KernelEmitter &e, const Matrix &matrix,
                                  ArrayRef<Value> values) {
  MatrixEmitter emitter(e);
  // Pairs of columns: their values' sum and difference instead.
  Matrix m = matrix;
  SmallVector<Value> in(values);
  for (int64_t c = 0; c + 1 < m.columns; ++c) {
    if (m.rows < 3 || !isColumnPair(m, c))
      continue;
    in[c] = emitter.add(values[c], values[c + 1]);
    in[c + 1] = emitter.sub(values[c], values[c + 1]);
    for (int64_t r = 0; r < m.rows; ++r) {
      bool isEqual = m.at(r, c) == m.at(r, c + 1);
      m.at(r, c + 1) = isEqual ? 0 : m.at(r, c);
      if (!isEqual)
        m.at(r, c) = 0;
    }
    ++c;
  }
  SmallVector<Value> result;
  auto termsOf = [&](int64_t r, auto take) {
    SmallVector<Term> terms;
    for (int64_t c = 0; c < m.columns; ++c)
      if (m.at(r, c) != 0 && take(c))
        terms.push_back({m.at(r, c), in[c]});
    return terms;
  };
  for (int64_t r = 0; r < m.rows; ++r) {
    if (r + 1 < m.rows && isRowPair(m, r)) {
      // even +- factor * odd
      auto isEven = [&](int64_t c) { return m.at(r, c) == m.at(r + 1, c); };
      Value even = emitter.sum(termsOf(r, isEven));
      SmallVector<Term> odd = termsOf(r, [&](int64_t c) { return !isEven(c); });
      double factor = odd.back().factor;
      for (Term &term : odd)
        term.factor /= factor;
      Value sum = emitter.sum(odd);
      result.push_back(emitter.mulAdd(factor, sum, even));
      result.push_back(emitter.mulAdd(-factor, sum, even));
      ++r;
      continue;
    }
    Value sum = emitter.sum(termsOf(r, [](int64_t) { return true; }));
    result.push_back(sum ? sum : emitter.zeroLike(in.front()));
  }
  return result;
}

SmallVector<Value> multiplyMatrixInOrder(KernelEmitter &e, const Matrix &matrix,
                                         ArrayRef<Value> values) {
  MatrixEmitter emitter(e);
  SmallVector<Value> result;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    Value sum;
    for (int64_t c = 0; c < matrix.columns; ++c) {
      double factor = matrix.at(r, c);
      if (factor != 0)
        sum = sum           ? emitter.mulAdd(factor, values[c], sum)
              : factor == 1 ? values[c]
                            : emitter.mul(factor, values[c]);
    }
    result.push_back(sum ? sum : emitter.zeroLike(values.front()));
  }
  return result;
}

bool fitsRegisters(KernelEmitter &e, int64_t count) {
  return count <= e.target().vectorRegisters;
}

void transformTile(
    KernelEmitter &e, const Matrix &left, const Matrix &right, Value pass,
    llvm::function_ref<SmallVector<Value>(Value column)> load,
    llvm::function_ref<void(Value row, ArrayRef<Value> values)> store) {
  if (fitsRegisters(e, left.rows * right.columns)) {
    SmallVector<SmallVector<Value>> columns;
    for (int64_t j = 0; j < right.columns; ++j)
      columns.push_back(multiplyMatrix(e, left, load(e.constant(j))));
    for (int64_t i = 0; i < left.rows; ++i) {
      SmallVector<Value> row;
      for (ArrayRef<Value> column : columns)
        row.push_back(column[i]);
      store(e.constant(i), multiplyMatrix(e, right, row));
    }
    return;
  }
  int64_t lanes = e.target().lanes;
  Type f32 = e.builder().getF32Type();
  auto at = [&](Value base, int64_t row, int64_t column) {
    return e.address(base, f32,
                     e.constant((row * right.columns + column) * lanes));
  };
  e.loop(e.constant(0), e.constant(right.columns), 1, [&](Value j) {
    Value target = e.address(pass, f32, e.mul(j, lanes));
    for (auto [i, value] : llvm::enumerate(multiplyMatrix(e, left, load(j))))
      e.store(value, at(target, i, 0), f32);
  });
  e.loop(e.constant(0), e.constant(left.rows), 1, [&](Value i) {
    Value source = e.address(pass, f32, e.mul(i, right.columns * lanes));
    SmallVector<Value> row;
    for (int64_t j = 0; j < right.columns; ++j)
      row.push_back(e.load(at(source, 0, j), f32, lanes));
    store(i, multiplyMatrix(e, right, row));
  });
}

} // namespace marver
