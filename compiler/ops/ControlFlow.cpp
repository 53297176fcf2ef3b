//===- ControlFlow.cpp - Branches and loops on tensors --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Branches are scf.if, loops scf.for (a count alone) or scf.while. A loop's
// dims are found by trying: every dim of a carried tensor is taken for the same
// in all iterations until the body gives another one; then that dim becomes
// dynamic and the body is built again.
//
//===----------------------------------------------------------------------===//

#include "compiler/ops/Ops.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace marver;

/// Attempts that were given up live as long as the builder: what is remembered
/// of their values is found by address.
OpsBuilder::~OpsBuilder() {
  for (Operation *op : llvm::reverse(abandoned))
    op->erase();
}

void OpsBuilder::abandon(Operation *op) {
  op->remove();
  abandoned.push_back(op);
}

Value OpsBuilder::truth(Value condition) {
  if (!condition || condition.getType().isInteger(1))
    return condition;
  if (rankOf(condition) != 0) {
    condition = reshape(condition, {});
    if (!condition)
      return nullptr;
  }
  DenseElementsAttr constant;
  condition = cast(condition, getI1Type());
  if (matchPattern(condition, m_Constant(&constant)))
    return arith::ConstantOp::create(
        *this, getBoolAttr(constant.getSplatValue<bool>()));
  return tensor::ExtractOp::create(*this, condition);
}

//===----------------------------------------------------------------------===//
// Carried tensors
//===----------------------------------------------------------------------===//

namespace {

/// The type of a tensor that has several makers, and those of its dims that are
/// the same whoever makes it; others are null.
struct Joined {
  Type element;
  Dims dims;

  RankedTensorType type() const {
    SmallVector<int64_t> shape;
    for (Dim dim : dims)
      shape.push_back(
          dim ? OpsBuilder::known(dim).value_or(ShapedType::kDynamic)
              : ShapedType::kDynamic);
    return RankedTensorType::get(shape, element);
  }
};

} // namespace

/// Lets go the dims in which `value` differs; true if there are any.
static bool join(OpsBuilder &b, Joined &joined, Value value) {
  bool isChanged = false;
  Dims dims = b.dims(value);
  for (auto [known, dim] : llvm::zip_equal(joined.dims, dims))
    if (known && !OpsBuilder::same(known, dim)) {
      known = nullptr;
      isChanged = true;
    }
  return isChanged;
}

static bool checkSameKind(OpsBuilder &b, RankedTensorType a, Value value,
                          const Twine &what) {
  RankedTensorType type = OpsBuilder::typeOf(value);
  if (a.getElementType() == type.getElementType() &&
      a.getRank() == type.getRank())
    return true;
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << a << " and " << type;
  b.fail(what + " differ in element type or rank: " + text);
  return false;
}

static Value castTo(OpsBuilder &b, Value value, RankedTensorType type) {
  return value.getType() == type ? value
                                 : tensor::CastOp::create(b, type, value);
}

/// States the dims of what stands for a joined tensor.
static void stateDims(OpsBuilder &b, const Joined &joined, Value value) {
  Dims own = b.dims(value), dims = joined.dims;
  for (auto [known, dim] : llvm::zip_equal(dims, own))
    if (!known)
      known = dim;
  b.setDims(value, dims);
}

//===----------------------------------------------------------------------===//
// Branches
//===----------------------------------------------------------------------===//

OpsBuilder::Results OpsBuilder::ifElse(Value condition, RegionBody then,
                                       RegionBody otherwise) {
  condition = truth(condition);
  if (!condition)
    return std::nullopt;
  if (auto constant = getConstantIntValue(condition))
    return *constant ? then({}) : otherwise({});

  // The types of the results are known when both branches are built.
  auto attempt = scf::IfOp::create(*this, condition, /*withElseRegion=*/true);
  SmallVector<Value> yields[2];
  for (bool isThen : {true, false}) {
    InsertionGuard guard(*this);
    setInsertionPointToStart(isThen ? attempt.thenBlock()
                                    : attempt.elseBlock());
    Results results = isThen ? then({}) : otherwise({});
    if (!results || failed())
      return std::nullopt;
    yields[isThen ? 0 : 1] = *results;
  }
  if (yields[0].size() != yields[1].size()) {
    fail("the branches have " + Twine(yields[0].size()) + " and " +
         Twine(yields[1].size()) + " results");
    return std::nullopt;
  }
  SmallVector<Joined> joined;
  SmallVector<Type> types;
  for (auto [a, b] : llvm::zip_equal(yields[0], yields[1])) {
    if (!checkSameKind(*this, typeOf(a), b, "the branches' results"))
      return std::nullopt;
    Joined &both = joined.emplace_back(Joined{elementOf(a), dims(a)});
    join(*this, both, b);
    types.push_back(both.type());
  }
  auto op = scf::IfOp::create(*this, types, condition, /*withElseRegion=*/true);
  for (bool isThen : {true, false}) {
    Region &region = isThen ? op.getThenRegion() : op.getElseRegion();
    region.takeBody(isThen ? attempt.getThenRegion() : attempt.getElseRegion());
    Block &block = region.front();
    if (block.mightHaveTerminator())
      block.getTerminator()->erase();
    InsertionGuard guard(*this);
    setInsertionPointToEnd(&block);
    SmallVector<Value> results;
    for (auto [value, type] : llvm::zip_equal(yields[isThen ? 0 : 1], types))
      results.push_back(
          castTo(*this, value, mlir::cast<RankedTensorType>(type)));
    scf::YieldOp::create(*this, results);
  }
  attempt.erase();
  for (auto [both, result] : llvm::zip_equal(joined, op.getResults())) {
    for (Dim &dim : both.dims)
      if (dim && !known(dim) && !isVisible(mlir::cast<Value>(dim)))
        dim = nullptr;
    stateDims(*this, both, result);
  }
  return SmallVector<Value>(op.getResults());
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// The loop's carried tensors are the arguments from `first` on of its blocks.
/// `fill` fills the body, and gives the values for the next iteration; the
/// caller adds the terminator.
std::optional<OpsBuilder::Settled>
OpsBuilder::settle(Values initial, unsigned first,
                   llvm::function_ref<Operation *(Values)> make,
                   llvm::function_ref<Results(Operation *, Values)> fill) {
  SmallVector<Joined> carried;
  for (Value value : initial) {
    if (!value)
      return std::nullopt;
    carried.push_back(Joined{elementOf(value), dims(value)});
  }
  while (true) {
    Settled loop;
    for (auto [value, joined] : llvm::zip_equal(initial, carried))
      loop.next.push_back(castTo(*this, value, joined.type()));
    loop.op = make(loop.next);
    SmallVector<Value> arguments;
    for (Region &region : loop.op->getRegions()) {
      loop.body = &region.front();
      arguments = llvm::to_vector_of<Value>(
          loop.body->getArguments().slice(first, carried.size()));
      for (auto [joined, argument] : llvm::zip_equal(carried, arguments))
        stateDims(*this, joined, argument);
    }

    InsertionGuard guard(*this);
    setInsertionPointToEnd(loop.body); // dims of arguments come first
    Results next = fill(loop.op, arguments);
    if (!next || failed())
      return std::nullopt;
    if (next->size() != carried.size()) {
      fail("the loop carries " + Twine(carried.size()) +
           " values, its body gives " + Twine(next->size()));
      return std::nullopt;
    }
    bool isChanged = false;
    for (auto [joined, value] : llvm::zip_equal(carried, *next)) {
      if (!checkSameKind(*this, joined.type(), value,
                         "a value before and after an iteration"))
        return std::nullopt;
      isChanged |= join(*this, joined, value);
    }
    if (isChanged) {
      abandon(loop.op);
      continue;
    }
    for (auto [joined, value, result] :
         llvm::zip_equal(carried, *next, loop.next)) {
      result = castTo(*this, value, joined.type());
      loop.dims.push_back(joined.dims);
    }
    return loop;
  }
}

/// The results of a loop from number `first` on, with their dims.
SmallVector<Value> OpsBuilder::resultsOf(const Settled &loop, unsigned first) {
  auto results = llvm::to_vector_of<Value>(
      loop.op->getResults().slice(first, loop.dims.size()));
  for (auto [result, known] : llvm::zip_equal(results, loop.dims))
    stateDims(*this, Joined{elementOf(result), known}, result);
  return results;
}

/// An scf.while without contents. Its condition passes everything on.
static scf::WhileOp makeWhile(OpsBuilder &b, ValueRange initial) {
  TypeRange types(initial);
  SmallVector<Location> locs(initial.size(), b.getLoc());
  auto op = scf::WhileOp::create(b, types, initial);
  OpBuilder::InsertionGuard guard(b);
  for (Region &region : op->getRegions())
    b.createBlock(&region, region.end(), types, locs);
  return op;
}

OpsBuilder::Results
OpsBuilder::whileLoop(Values initial,
                      llvm::function_ref<Value(Values)> condition,
                      RegionBody body) {
  std::optional<Settled> loop = settle(
      initial, /*first=*/0,
      [&](Values values) -> Operation * { return makeWhile(*this, values); },
      [&](Operation *op, Values carried) -> Results {
        Block *before = mlir::cast<scf::WhileOp>(op).getBeforeBody();
        {
          InsertionGuard guard(*this);
          setInsertionPointToEnd(before);
          auto arguments = llvm::to_vector_of<Value>(before->getArguments());
          Value proceed = truth(condition(arguments));
          if (!proceed)
            return std::nullopt;
          scf::ConditionOp::create(*this, proceed, arguments);
        }
        return body(carried);
      });
  if (!loop)
    return std::nullopt;
  {
    InsertionGuard guard(*this);
    setInsertionPointToEnd(loop->body);
    scf::YieldOp::create(*this, loop->next);
  }
  return resultsOf(*loop, 0);
}

/// The same loop with further carried values; `scans` becomes their arguments
/// in the body.
static Operation *addCarried(OpsBuilder &b, Operation *loop,
                             SmallVector<Value> &scans) {
  SmallVector<Value> initial;
  Operation *extended;
  if (auto op = dyn_cast<scf::ForOp>(loop)) {
    llvm::append_range(initial, op.getInitArgs());
    llvm::append_range(initial, scans);
    extended = scf::ForOp::create(b, op.getLowerBound(), op.getUpperBound(),
                                  op.getStep(), initial);
  } else {
    llvm::append_range(initial, loop->getOperands());
    llvm::append_range(initial, scans);
    extended = scf::WhileOp::create(b, TypeRange(ValueRange(initial)), initial);
  }
  SmallVector<Type> types =
      llvm::map_to_vector(scans, [](Value scan) { return scan.getType(); });
  for (auto [target, source] :
       llvm::zip_equal(extended->getRegions(), loop->getRegions())) {
    target.takeBody(source);
    for (auto [type, scan] : llvm::zip_equal(types, scans))
      scan = target.front().addArgument(type, b.getLoc());
  }
  loop->erase();
  if (auto op = dyn_cast<scf::WhileOp>(extended)) {
    scf::ConditionOp condition = op.getConditionOp();
    condition.getArgsMutable().assign(op.getBeforeArguments());
  }
  return extended;
}

std::optional<OpsBuilder::LoopResults>
OpsBuilder::loop(std::optional<Dim> count, Value proceed, Values initial,
                 LoopBody body) {
  if (proceed && getConstantIntValue(proceed = truth(proceed)) == 1)
    proceed = nullptr;
  if (failed())
    return std::nullopt;
  if (count)
    count = max(*count, index(0));

  // Without a condition of the body's it is an scf.for, whose count is known
  // before; else an scf.while that carries the number of the iteration and the
  // condition. Which of them it is shows when the body has been built.
  bool isFor = count && !proceed;
  Iteration last;
  std::optional<Settled> loop;
  while (true) {
    unsigned first = isFor ? 1 : 2;
    bool hasCondition = false;
    loop = settle(
        initial, first,
        [&](Values values) -> Operation * {
          Value zero = indexValue(index(0));
          if (isFor) {
            auto op = scf::ForOp::create(*this, zero, indexValue(*count),
                                         indexValue(index(1)), values);
            op.getBody()->clear(); // a terminator where nothing is carried
            return op;
          }
          SmallVector<Value> all = {
              zero, proceed ? proceed : truth(scalar(1, getI1Type()))};
          llvm::append_range(all, values);
          scf::WhileOp op = makeWhile(*this, all);
          InsertionGuard guard(*this);
          setInsertionPointToEnd(op.getBeforeBody());
          ValueRange arguments = op.getBeforeArguments();
          Value isOn = arguments[1];
          setRange(arguments[0], 0, std::numeric_limits<int64_t>::max());
          setRange(op.getAfterArguments()[0], 0,
                   std::numeric_limits<int64_t>::max());
          if (count)
            isOn = arith::AndIOp::create(
                *this, isOn,
                compare(arith::CmpIPredicate::slt, arguments[0], *count));
          scf::ConditionOp::create(*this, isOn, arguments);
          return op;
        },
        [&](Operation *op, Values carried) -> Results {
          Dim iteration = op->getRegions().back().front().getArgument(0);
          std::optional<Iteration> result = body(iteration, carried);
          if (!result)
            return std::nullopt;
          last = *result;
          if (last.proceed && !(last.proceed = truth(last.proceed)))
            return std::nullopt;
          hasCondition = last.proceed && getConstantIntValue(last.proceed) != 1;
          return last.carried;
        });
    if (!loop)
      return std::nullopt;
    if (!isFor || !hasCondition)
      break;
    abandon(loop->op);
    isFor = false;
  }

  // Slices go into one tensor where the count is known, else they are added to
  // what there is.
  SmallVector<Value> scans;
  SmallVector<Dims> scanDims;
  for (Value slice : last.slices) {
    Dims dims = this->dims(slice);
    for (Dim dim : dims)
      if (auto value = dyn_cast<Value>(dim); value && !isVisible(value)) {
        fail("a scan output has a dim that is known only inside the loop");
        return std::nullopt;
      }
    dims.insert(dims.begin(), isFor ? *count : index(0));
    Value scan = full(dims, 0, elementOf(slice));
    if (!scan)
      return std::nullopt;
    Joined type{elementOf(slice), dims};
    if (!isFor)
      type.dims[0] = nullptr;
    scans.push_back(castTo(*this, scan, type.type()));
    scanDims.push_back(type.dims);
  }
  if (!scans.empty())
    loop->op = addCarried(*this, loop->op, scans);
  {
    InsertionGuard guard(*this);
    setInsertionPointToEnd(loop->body);
    Dim iteration = loop->body->getArgument(0);
    SmallVector<Value> yields;
    if (!isFor) {
      yields.push_back(indexValue(add(iteration, index(1))));
      yields.push_back(last.proceed ? last.proceed
                                    : truth(scalar(1, getI1Type())));
    }
    llvm::append_range(yields, loop->next);
    for (auto [scan, known, slice] :
         llvm::zip_equal(scans, scanDims, last.slices)) {
      stateDims(*this, Joined{elementOf(scan), known}, scan);
      Value row = unsqueeze(slice, {0});
      Value next =
          isFor
              ? indexCopy(scan, dimsToTensor({iteration}, getI64Type()), row, 0)
              : concat({scan, row}, 0);
      if (!next)
        return std::nullopt;
      yields.push_back(castTo(*this, next, typeOf(scan)));
    }
    scf::YieldOp::create(*this, yields);
  }
  llvm::append_range(loop->dims, scanDims);
  SmallVector<Value> results = resultsOf(*loop, isFor ? 0 : 2);
  LoopResults result;
  result.carried.assign(results.begin(), results.begin() + initial.size());
  result.scans.assign(results.begin() + initial.size(), results.end());
  return result;
}
