//===- StableHlo.cpp - Functions of StableHLO -----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/StableHlo.h"
#include "mlir/Dialect/Shape/IR/Shape.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace marver {
namespace hlo {

Value Call::operand(unsigned number) {
  if (number < operands.size())
    return operands[number];
  return b.fail("operand " + Twine(number) + " is missing");
}

Attribute Call::attribute(ArrayRef<StringRef> names) {
  for (StringRef name : names)
    if (Attribute value = op->getAttr(name))
      return value;
  return nullptr;
}

static SmallVector<int64_t> readInts(Attribute value) {
  if (auto list = dyn_cast_or_null<DenseI64ArrayAttr>(value))
    return SmallVector<int64_t>(list.asArrayRef());
  SmallVector<int64_t> result;
  if (auto list = dyn_cast_or_null<DenseBoolArrayAttr>(value))
    for (bool item : list.asArrayRef())
      result.push_back(item);
  else if (auto dense = dyn_cast_or_null<DenseIntElementsAttr>(value))
    for (const APInt &item : dense)
      result.push_back(item.getSExtValue());
  else if (auto number = dyn_cast_or_null<IntegerAttr>(value))
    if (number.getValue().getSignificantBits() <= 64)
      result.push_back(number.getValue().getSExtValue());
  return result;
}

SmallVector<int64_t> Call::ints(ArrayRef<StringRef> names) {
  return readInts(attribute(names));
}

int64_t Call::integer(ArrayRef<StringRef> names, int64_t otherwise) {
  SmallVector<int64_t> values = ints(names);
  return values.size() == 1 ? values[0] : otherwise;
}

SmallVector<int64_t> Call::listIn(StringRef name, StringRef key) {
  SmallVector<int64_t> result;
  auto opaque = dyn_cast_or_null<OpaqueAttr>(op->getAttr(name));
  if (!opaque)
    return result;
  StringRef text = opaque.getAttrData();
  for (size_t at = text.find(key); at != StringRef::npos;
       at = text.find(key, at + 1)) {
    // A whole word, not the end of another one.
    if (at && (llvm::isAlnum(text[at - 1]) || text[at - 1] == '_'))
      continue;
    StringRef rest = text.drop_front(at + key.size()).ltrim();
    if (!rest.consume_front("="))
      continue;
    rest = rest.ltrim();
    const bool isList = rest.consume_front("[");
    SmallVector<StringRef> items;
    rest.take_until(
            [&](char c) { return c == (isList ? ']' : ',') || c == '>'; })
        .split(items, ',', -1, /*KeepEmpty=*/false);
    for (StringRef item : items) {
      int64_t number;
      if (!item.trim().getAsInteger(10, number))
        result.push_back(number);
    }
    break;
  }
  return result;
}

StringRef Call::word(ArrayRef<StringRef> names) {
  Attribute value = attribute(names);
  if (auto text = dyn_cast_or_null<StringAttr>(value))
    return text.getValue();
  if (auto opaque = dyn_cast_or_null<OpaqueAttr>(value))
    return opaque.getAttrData().rsplit(' ').second;
  return "";
}

bool Call::isUnsigned() const {
  return op->getNumOperands() &&
         getElementTypeOrSelf(op->getOperand(0)).isUnsignedInteger();
}

RankedTensorType Call::resultType() const {
  return signless(op->getResult(0).getType());
}

RankedTensorType signless(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.getElementType().isIntOrIndexOrFloat())
    return nullptr;
  auto integer = dyn_cast<IntegerType>(tensor.getElementType());
  if (!integer || integer.isSignless())
    return tensor;
  return tensor.clone(IntegerType::get(type.getContext(), integer.getWidth()));
}

Value permute(OpsBuilder &b, Value x, ArrayRef<int64_t> order) {
  const bool isSame = llvm::all_of(llvm::enumerate(order), [](auto item) {
    return int64_t(item.index()) == item.value();
  });
  return isSame ? x : b.transpose(x, order);
}

} // namespace hlo

namespace {

using hlo::Call;
using hlo::Results;

class Importer {
public:
  explicit Importer(func::FuncOp function)
      : function(function), b(function.getLoc()) {
    hlo::addElementwise(table);
    hlo::addShapes(table);
    hlo::addContractions(table);
    hlo::addReductions(table);
    hlo::addIndexing(table);
  }

  LogicalResult run();

private:
  bool importBlock(Block &block, SmallVectorImpl<Value> *results);
  bool importOperation(Operation *op);
  bool bind(Operation *op, ArrayRef<Value> made);
  Value conform(Value value, Type stated);
  OpsBuilder::Results region(Operation *op, unsigned number,
                             ArrayRef<Value> arguments);
  OpsBuilder::Results whileLoop(Call &call);
  OpsBuilder::Results branches(Call &call, unsigned first);
  OpsBuilder::Results conditional(Call &call);
  bool importShape(Operation *op, SmallVectorImpl<Value> &made);
  bool fail(Operation *op, const Twine &message) {
    op->emitError() << message;
    isGood = false;
    return false;
  }

  func::FuncOp function;
  OpsBuilder b;
  hlo::Table table;
  IRMapping values;
  bool isGood = true;
};

/// What the file states and what was made are the same type, but for sizes that
/// only one of them knows.
Value Importer::conform(Value value, Type stated) {
  RankedTensorType wanted = hlo::signless(stated);
  if (!value || !wanted)
    return value ? b.fail("a value of this type is not supported") : value;
  RankedTensorType made = OpsBuilder::typeOf(value);
  auto describe = [&] {
    std::string text;
    llvm::raw_string_ostream(text)
        << "the result is " << made << " where the file states " << wanted;
    return text;
  };
  if (made.getElementType() != wanted.getElementType() ||
      made.getRank() != wanted.getRank())
    return b.fail(describe());
  SmallVector<int64_t> shape(made.getShape());
  Dims dims = b.dims(value);
  for (auto [i, size] : llvm::enumerate(wanted.getShape())) {
    if (ShapedType::isDynamic(size) || shape[i] == size)
      continue;
    if (!ShapedType::isDynamic(shape[i]))
      return b.fail(describe());
    if (!b.requireEqual(dims[i], b.index(size), "stated and computed sizes"))
      return nullptr;
    shape[i] = size;
    dims[i] = b.index(size);
  }
  if (made.getShape() == ArrayRef(shape))
    return value;
  value = tensor::CastOp::create(b, made.clone(shape), value);
  b.setDims(value, dims);
  return value;
}

bool Importer::bind(Operation *op, ArrayRef<Value> made) {
  if (made.size() != op->getNumResults() || llvm::is_contained(made, Value())) {
    std::string error = b.takeError();
    return fail(op, error.empty() ? "has " + Twine(made.size()) + " results"
                                  : Twine(error));
  }
  for (auto [result, value] : llvm::zip(op->getResults(), made)) {
    Value own = conform(value, result.getType());
    if (!own)
      return fail(op, b.takeError());
    values.map(result, own);
  }
  return true;
}

/// The values that region `number` gives for `arguments`. It may be built more
/// than once.
OpsBuilder::Results Importer::region(Operation *op, unsigned number,
                                     ArrayRef<Value> arguments) {
  Region &region = op->getRegion(number);
  if (!llvm::hasSingleElement(region) || region.front().empty() ||
      region.getNumArguments() != arguments.size()) {
    b.fail("region " + Twine(number) + " does not fit the operands");
    return std::nullopt;
  }
  for (auto [argument, value] : llvm::zip(region.getArguments(), arguments))
    values.map(argument, value);
  SmallVector<Value> results;
  if (!importBlock(region.front(), &results))
    return std::nullopt; // what is wrong was said where it is
  return results;
}

OpsBuilder::Results Importer::whileLoop(Call &call) {
  if (call.op->getNumRegions() != 2) {
    b.fail("needs two regions");
    return std::nullopt;
  }
  return b.whileLoop(
      call.operands,
      [&](ArrayRef<Value> carried) -> Value {
        OpsBuilder::Results result = region(call.op, 0, carried);
        return result && result->size() == 1 ? result->front() : Value();
      },
      [&](ArrayRef<Value> carried) { return region(call.op, 1, carried); });
}

/// stablehlo.case from region `first` on: the last one is for all indices that
/// have none.
OpsBuilder::Results Importer::branches(Call &call, unsigned first) {
  if (first + 1 >= call.op->getNumRegions())
    return region(call.op, first, {});
  Value index = call.operand(0);
  if (!index)
    return std::nullopt;
  Value isThis =
      b.compare(Compare::Eq, index,
                b.scalar(int64_t(first), OpsBuilder::elementOf(index)));
  return b.ifElse(
      isThis, [&](ArrayRef<Value>) { return region(call.op, first, {}); },
      [&](ArrayRef<Value>) { return branches(call, first + 1); });
}

OpsBuilder::Results Importer::conditional(Call &call) {
  Value condition = call.operand(0);
  if (!condition || call.op->getNumRegions() != 2) {
    b.fail("needs a condition and two regions");
    return std::nullopt;
  }
  return b.ifElse(
      condition, [&](ArrayRef<Value>) { return region(call.op, 0, {}); },
      [&](ArrayRef<Value>) { return region(call.op, 1, {}); });
}

/// Shapes are tensors of index values. False if `op` is none that is known.
bool Importer::importShape(Operation *op, SmallVectorImpl<Value> &made) {
  auto dimsOf = [&](Value value) {
    return b.tensorToDims(values.lookupOrNull(value)).value_or(Dims());
  };
  if (auto shapeOf = dyn_cast<shape::ShapeOfOp>(op)) {
    if (Value x = values.lookupOrNull(shapeOf.getArg()))
      made.push_back(b.dimsToTensor(b.dims(x), b.getIndexType()));
  } else if (auto constant = dyn_cast<shape::ConstShapeOp>(op)) {
    SmallVector<int64_t> numbers;
    for (const APInt &number : constant.getShape())
      numbers.push_back(number.getSExtValue());
    made.push_back(b.dimsToTensor(b.indices(numbers), b.getIndexType()));
  } else if (auto broadcast = dyn_cast<shape::BroadcastOp>(op)) {
    SmallVector<Dims> shapes;
    for (Value value : broadcast.getShapes())
      shapes.push_back(dimsOf(value));
    if (std::optional<Dims> dims = b.broadcastDims(shapes))
      made.push_back(b.dimsToTensor(*dims, b.getIndexType()));
  } else if (isa<shape::ToExtentTensorOp, shape::FromExtentTensorOp>(op)) {
    made.push_back(values.lookupOrNull(op->getOperand(0)));
  } else if (auto count = dyn_cast<shape::NumElementsOp>(op)) {
    made.push_back(b.indexValue(b.product(dimsOf(count.getShape()))));
  } else if (isa<shape::CstrBroadcastableOp, shape::CstrEqOp>(op)) {
    // Whoever uses the shapes checks them.
    made.push_back(b.scalar(1, b.getI1Type()));
  } else if (auto assuming = dyn_cast<shape::AssumingOp>(op)) {
    if (OpsBuilder::Results results = region(op, 0, {}))
      made = *results;
  } else {
    return false;
  }
  return true;
}

bool Importer::importOperation(Operation *op) {
  b.setLoc(op->getLoc());
  StringRef dialect = op->getName().getDialectNamespace();
  Call call{b, op, {}};
  for (Value operand : op->getOperands()) {
    Value value = values.lookupOrNull(operand);
    if (!value)
      return false; // what made it was complained about
    call.operands.push_back(value);
  }
  if (dialect == "shape") {
    SmallVector<Value> made;
    if (!importShape(op, made))
      return fail(op, "operation " + op->getName().getStringRef() +
                          " is not supported among operations of StableHLO");
    if (b.failed() || made.size() != op->getNumResults() ||
        llvm::is_contained(made, Value()))
      return b.failed() ? bind(op, {}) : isGood = false;
    values.map(op->getResults(), made);
    return true;
  }
  if (dialect != "stablehlo" && dialect != "chlo") {
    b.clone(*op, values);
    return true;
  }
  StringRef name = op->getName().stripDialect();
  OpsBuilder::Results made;
  if (name == "while") {
    made = whileLoop(call);
  } else if (name == "case") {
    made = branches(call, 0);
  } else if (name == "if") {
    made = conditional(call);
  } else if (auto handler = table.find(name); handler != table.end()) {
    made = handler->second(call);
  } else {
    b.fail("operation " + op->getName().getStringRef() + " is not supported");
  }
  if (!made && !b.failed())
    return isGood = false; // a region, which was complained about
  return bind(op, made.value_or(Results()));
}

bool Importer::importBlock(Block &block, SmallVectorImpl<Value> *results) {
  bool wasGood = isGood;
  isGood = true;
  for (Operation &op : hlo::bodyOf(block))
    importOperation(&op);
  const bool isBlockGood = isGood;
  isGood &= wasGood;
  if (!isBlockGood)
    return false;
  for (Value operand : block.back().getOperands())
    results->push_back(values.lookupOrNull(operand));
  return true;
}

LogicalResult Importer::run() {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError("control flow between blocks is not supported");
  Block &old = function.getBody().front();
  auto *body = new Block;
  function.getBody().push_back(body);
  b.setInsertionPointToEnd(body);
  for (BlockArgument argument : old.getArguments()) {
    RankedTensorType type = hlo::signless(argument.getType());
    if (!type)
      return function.emitError()
             << "argument " << argument.getArgNumber() << " has type "
             << argument.getType() << ", but only ranked tensors are supported";
    if (getElementTypeOrSelf(argument.getType()).isUnsignedInteger())
      function.setArgAttr(argument.getArgNumber(), "mv.unsigned",
                          b.getUnitAttr());
    values.map(argument, body->addArgument(type, argument.getLoc()));
  }
  SmallVector<Value> results;
  if (!importBlock(old, &results))
    return failure();
  SmallVector<Type> types;
  for (auto [i, value] : llvm::enumerate(results)) {
    types.push_back(value.getType());
    if (getElementTypeOrSelf(old.back().getOperand(i).getType())
            .isUnsignedInteger())
      function.setResultAttr(i, "mv.unsigned", b.getUnitAttr());
  }
  b.setLoc(old.back().getLoc());
  func::ReturnOp::create(b, results);
  old.erase();
  function.setFunctionType(FunctionType::get(function.getContext(),
                                             body->getArgumentTypes(), types));
  return success();
}

} // namespace

bool isStableHloFunction(func::FuncOp function) {
  return function
      .walk([](Operation *op) {
        StringRef dialect = op->getName().getDialectNamespace();
        return dialect == "stablehlo" || dialect == "chlo"
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

LogicalResult importStableHlo(func::FuncOp function) {
  return Importer(function).run();
}

} // namespace marver
