//===- KernelEmitter.cpp - What every kernel family emits with ------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/KernelEmitter.h"

#include "compiler/ir/Constants.h"
#include "marver/abi.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include <cstddef>

using namespace mlir;
using namespace marver;

namespace {
/// Keys of the arithmetic cache.
enum Opcode : unsigned { Add, Sub, Mul, Div, Rem, Min, Max, Mask };
} // namespace

/// Type of an element in memory: i1 is a byte.
static Type memoryType(Type elementType) {
  return elementType.isInteger(1)
             ? IntegerType::get(elementType.getContext(), 8)
             : elementType;
}

//===----------------------------------------------------------------------===//
// The function and its slots
//===----------------------------------------------------------------------===//

KernelEmitter::KernelEmitter(mv::KernelOp kernel, ModuleOp module,
                             const TargetInfo &target)
    : b(kernel.getLoc(), module.getContext()), targetInfo(target),
      kernelOp(kernel) {
  assert(kernel.getBuffers() && "kernels are emitted after the buffers stage");
  MLIRContext *context = module.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = b.getI64Type();
  b.setInsertionPointToEnd(module.getBody());
  function = func::FuncOp::create(
      b, kernel.getSymName(),
      b.getFunctionType({pointer, i64, i64, pointer}, TypeRange()));
  Block *entry = function.addEntryBlock();
  b.setInsertionPointToStart(entry);
  Value slots = entry->getArgument(0);
  beginIndex = entry->getArgument(1);
  endIndex = entry->getArgument(2);
  scratchPointer = entry->getArgument(3);
  callPointer = loadSlot(slots, 0, pointer);

  SlotLayout layout(kernel);
  for (auto [argument, operand] :
       llvm::zip_equal(kernel.getBlock().getArguments(), layout.inputs)) {
    if (operand.type)
      inputBuffers[argument] = unpackSlots(operand, slots);
    else
      scalars[argument] = loadSlot(slots, operand.slot, i64);
  }
  for (const SlotLayout::Operand &operand : layout.outs)
    outputBuffers.push_back(unpackSlots(operand, slots));
}

Value KernelEmitter::loadSlot(Value slots, int64_t number, Type type) {
  Value slot = LLVM::GEPOp::create(b, slots.getType(), b.getI64Type(), slots,
                                   ArrayRef<LLVM::GEPArg>{int32_t(number)});
  return LLVM::LoadOp::create(b, type, slot, 8);
}

Buffer KernelEmitter::unpackSlots(const SlotLayout::Operand &operand,
                                  Value slots) {
  Buffer buffer;
  buffer.pointer =
      loadSlot(slots, operand.slot, LLVM::LLVMPointerType::get(b.getContext()));
  buffer.elementType = operand.type.getElementType();
  auto staticOrSlot = [&](int64_t value, int64_t slot) -> OpFoldResult {
    if (slot == SlotLayout::kStatic)
      return b.getIndexAttr(value);
    return loadSlot(slots, slot, b.getI64Type());
  };
  for (auto [size, slot] :
       llvm::zip_equal(operand.type.getShape(), operand.sizeSlots))
    buffer.sizes.push_back(staticOrSlot(size, slot));
  for (auto [stride, slot] :
       llvm::zip_equal(operand.strides, operand.strideSlots))
    buffer.strides.push_back(staticOrSlot(stride, slot));
  // A row-major layout with dynamic sizes has dynamic strides that are products
  // of the sizes; as such they are equal values for buffers of equal sizes.
  if (operand.type.getLayout().isIdentity()) {
    Value stride = constant(1);
    for (int64_t d = operand.type.getRank() - 1; d >= 0; --d) {
      buffer.strides[d] =
          constantValue(stride)
              ? OpFoldResult(b.getIndexAttr(*constantValue(stride)))
              : OpFoldResult(stride);
      stride = mul(stride, materialize(buffer.sizes[d]));
    }
  }
  return buffer;
}

const Buffer &KernelEmitter::input(Value blockArgument) const {
  auto it = inputBuffers.find(blockArgument);
  assert(it != inputBuffers.end() && "not a tensor operand of the kernel");
  return it->second;
}

Value KernelEmitter::scalar(Value blockArgument) const {
  auto it = scalars.find(blockArgument);
  assert(it != scalars.end() && "not a scalar operand of the kernel");
  return it->second;
}

const Buffer &KernelEmitter::output(unsigned number) const {
  return outputBuffers[number];
}

func::FuncOp KernelEmitter::finish() {
  func::ReturnOp::create(b);
  return function;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

bool KernelEmitter::isVisible(Value value) {
  Region *region = value.getParentRegion();
  return region->isAncestor(b.getInsertionBlock()->getParent());
}

Value KernelEmitter::cached(unsigned opcode, Value a, Value c,
                            llvm::function_ref<Value()> make) {
  auto key = std::make_tuple(opcode, a, c);
  auto it = arithmetic.find(key);
  if (it != arithmetic.end() && isVisible(it->second))
    return it->second;
  Value made = make();
  arithmetic[key] = made;
  return made;
}

Value KernelEmitter::constant(int64_t value) {
  Value &known = constants[value];
  if (!known) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function.getBody().front());
    known = arith::ConstantIntOp::create(b, value, 64);
  }
  return known;
}

std::optional<int64_t> KernelEmitter::constantValue(Value value) const {
  APInt integer;
  if (value && matchPattern(value, m_ConstantInt(&integer)))
    return integer.getSExtValue();
  return std::nullopt;
}

Value KernelEmitter::materialize(OpFoldResult value) {
  if (std::optional<int64_t> known = getConstantIntValue(value))
    return constant(*known);
  return cast<Value>(value);
}

Value KernelEmitter::add(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc)
    return constant(*ca + *cc);
  if (ca == 0)
    return c;
  if (cc == 0)
    return a;
  if (ca)
    std::swap(a, c);
  return cached(Add, a, c, [&] { return arith::AddIOp::create(b, a, c); });
}

Value KernelEmitter::sub(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc)
    return constant(*ca - *cc);
  if (cc == 0)
    return a;
  if (a == c)
    return constant(0);
  return cached(Sub, a, c, [&] { return arith::SubIOp::create(b, a, c); });
}

Value KernelEmitter::mul(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc)
    return constant(*ca * *cc);
  if (ca == 0 || cc == 0)
    return constant(0);
  if (ca == 1)
    return c;
  if (cc == 1)
    return a;
  if (ca)
    std::swap(a, c);
  return cached(Mul, a, c, [&] { return arith::MulIOp::create(b, a, c); });
}

/// x if a is x * c, for a `c` that is the same value or divides the constant.
static Value quotientOfProduct(KernelEmitter &e, Value a, Value c) {
  auto product = a.getDefiningOp<arith::MulIOp>();
  if (!product)
    return nullptr;
  if (product.getRhs() == c)
    return product.getLhs();
  if (product.getLhs() == c)
    return product.getRhs();
  std::optional<int64_t> factor = e.constantValue(product.getRhs());
  std::optional<int64_t> divisor = e.constantValue(c);
  if (factor && divisor && *divisor > 0 && *factor % *divisor == 0)
    return e.mul(product.getLhs(), e.constant(*factor / *divisor));
  return nullptr;
}

Value KernelEmitter::floorDiv(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc && *cc > 0 && *ca >= 0)
    return constant(*ca / *cc);
  if (cc == 1 || ca == 0)
    return a;
  if (Value quotient = quotientOfProduct(*this, a, c))
    return quotient;
  return cached(Div, a, c, [&] { return arith::DivUIOp::create(b, a, c); });
}

Value KernelEmitter::rem(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc && *cc > 0 && *ca >= 0)
    return constant(*ca % *cc);
  if (cc == 1 || ca == 0 || quotientOfProduct(*this, a, c))
    return constant(0);
  return cached(Rem, a, c, [&] { return arith::RemUIOp::create(b, a, c); });
}

Value KernelEmitter::min(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc)
    return constant(std::min(*ca, *cc));
  if (a == c)
    return a;
  return cached(Min, a, c, [&] { return arith::MinSIOp::create(b, a, c); });
}

Value KernelEmitter::max(Value a, Value c) {
  std::optional<int64_t> ca = constantValue(a), cc = constantValue(c);
  if (ca && cc)
    return constant(std::max(*ca, *cc));
  if (a == c)
    return a;
  return cached(Max, a, c, [&] { return arith::MaxSIOp::create(b, a, c); });
}

Value KernelEmitter::add(Value a, int64_t c) { return add(a, constant(c)); }
Value KernelEmitter::mul(Value a, int64_t c) { return mul(a, constant(c)); }

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

void KernelEmitter::loop(Value lower, Value upper, int64_t step,
                         llvm::function_ref<void(Value)> body) {
  loop(lower, upper, constant(step), body);
}

void KernelEmitter::loop(Value lower, Value upper, Value step,
                         llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(b, lower, upper, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.getBody()->getTerminator());
  body(op.getInductionVar());
}

SmallVector<Value> KernelEmitter::loop(
    Value lower, Value upper, int64_t step, ValueRange inits,
    llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  if (inits.empty()) {
    loop(lower, upper, step, [&](Value i) { body(i, {}); });
    return {};
  }
  auto op = scf::ForOp::create(b, lower, upper, constant(step), inits);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.getBody());
  scf::YieldOp::create(b, body(op.getInductionVar(), op.getRegionIterArgs()));
  return SmallVector<Value>(op.getResults());
}

void KernelEmitter::ifThen(Value condition, llvm::function_ref<void()> then,
                           llvm::function_ref<void()> otherwise) {
  bool hasElse = bool(otherwise);
  auto op = scf::IfOp::create(b, TypeRange(), condition, /*addThenBlock=*/true,
                              /*addElseBlock=*/hasElse);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.thenBlock());
  then();
  scf::YieldOp::create(b);
  if (!hasElse)
    return;
  b.setInsertionPointToEnd(op.elseBlock());
  otherwise();
  scf::YieldOp::create(b);
}

Value KernelEmitter::ifThenElse(Value condition, Type type,
                                llvm::function_ref<Value()> then,
                                llvm::function_ref<Value()> otherwise) {
  auto op = scf::IfOp::create(b, TypeRange(type), condition,
                              /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.thenBlock());
  scf::YieldOp::create(b, then());
  b.setInsertionPointToEnd(op.elseBlock());
  scf::YieldOp::create(b, otherwise());
  return op.getResult(0);
}

SmallVector<Value> KernelEmitter::delinearize(Value index,
                                              ArrayRef<OpFoldResult> sizes) {
  SmallVector<Value> coordinates(sizes.size());
  for (size_t d = sizes.size(); d-- > 1;) {
    Value size = materialize(sizes[d]);
    coordinates[d] = rem(index, size);
    index = floorDiv(index, size);
  }
  if (!sizes.empty())
    coordinates[0] = index;
  return coordinates;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelEmitter::offset(const Buffer &buffer, ArrayRef<Value> index) {
  Value sum = constant(0);
  for (auto [i, stride] : llvm::zip_equal(index, buffer.strides))
    sum = add(sum, mul(i, materialize(stride)));
  return sum;
}

Value KernelEmitter::address(Value pointer, Type type, Value offset) {
  if (constantValue(offset) == 0)
    return pointer;
  return LLVM::GEPOp::create(b, pointer.getType(), memoryType(type), pointer,
                             ArrayRef<LLVM::GEPArg>{offset});
}

Value KernelEmitter::address(const Buffer &buffer, ArrayRef<Value> index) {
  return address(buffer.pointer, buffer.elementType, offset(buffer, index));
}

/// Values as they are in registers, from what memory holds.
static Value fromMemory(ImplicitLocOpBuilder &b, Value loaded,
                        Type elementType) {
  if (!elementType.isInteger(1))
    return loaded;
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(loaded.getType()));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, loaded, zero);
}

static Value toMemory(ImplicitLocOpBuilder &b, Value value, Type elementType) {
  if (!elementType.isInteger(1))
    return value;
  Type byte = b.getI8Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    byte = vector.clone(byte);
  return arith::ExtUIOp::create(b, byte, value);
}

static Type laneType(Type elementType, int64_t lanes) {
  return lanes ? Type(VectorType::get(lanes, elementType)) : elementType;
}

static int64_t laneCount(Value vector) {
  return cast<VectorType>(vector.getType()).getNumElements();
}

Value KernelEmitter::load(Value pointer, Type elementType, int64_t lanes) {
  Value loaded =
      LLVM::LoadOp::create(b, laneType(memoryType(elementType), lanes), pointer,
                           unsigned(elementBytes(elementType)));
  return fromMemory(b, loaded, elementType);
}

Value KernelEmitter::loadWeights(Value pointer, Type elementType,
                                 int64_t lanes) {
  Value loaded = load(pointer, elementType, lanes);
  Type wide = laneType(b.getF32Type(), lanes);
  if (elementType.isInteger())
    return arith::SIToFPOp::create(b, wide, loaded);
  if (!elementType.isF32())
    return arith::ExtFOp::create(b, wide, loaded);
  return loaded;
}

void KernelEmitter::store(Value value, Value pointer, Type elementType) {
  LLVM::StoreOp::create(b, toMemory(b, value, elementType), pointer,
                        unsigned(elementBytes(elementType)));
}

Value KernelEmitter::loadMasked(Value pointer, Type elementType, Value mask) {
  Type type = laneType(memoryType(elementType), laneCount(mask));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value loaded = LLVM::MaskedLoadOp::create(
      b, type, pointer, mask, zero,
      b.getI32IntegerAttr(int32_t(elementBytes(elementType))), UnitAttr());
  return fromMemory(b, loaded, elementType);
}

void KernelEmitter::storeMasked(Value value, Value pointer, Type elementType,
                                Value mask) {
  LLVM::MaskedStoreOp::create(b, toMemory(b, value, elementType), pointer, mask,
                              uint32_t(elementBytes(elementType)));
}

Value KernelEmitter::loadPartial(Value pointer, Type elementType, int64_t lanes,
                                 Value count) {
  return loadMasked(pointer, elementType, laneMask(count, lanes));
}

void KernelEmitter::storePartial(Value value, Value pointer, Type elementType,
                                 Value count) {
  storeMasked(value, pointer, elementType, laneMask(count, laneCount(value)));
}

static Value allLanes(ImplicitLocOpBuilder &b, int64_t lanes) {
  auto type = VectorType::get(lanes, b.getI1Type());
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, true));
}

static Value laneAddresses(ImplicitLocOpBuilder &b, Value pointer,
                           Type elementType, Value offsets) {
  Type type = VectorType::get(laneCount(offsets), pointer.getType());
  return LLVM::GEPOp::create(b, type, memoryType(elementType), pointer,
                             ArrayRef<LLVM::GEPArg>{offsets});
}

Value KernelEmitter::gather(Value pointer, Type elementType, Value offsets,
                            Value mask) {
  int64_t lanes = laneCount(offsets);
  Type type = laneType(memoryType(elementType), lanes);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  Value loaded = LLVM::masked_gather::create(
      b, type, laneAddresses(b, pointer, elementType, offsets),
      mask ? mask : allLanes(b, lanes), ValueRange(zero),
      b.getI32IntegerAttr(int32_t(elementBytes(elementType))));
  return fromMemory(b, loaded, elementType);
}

void KernelEmitter::scatter(Value value, Value pointer, Type elementType,
                            Value offsets, Value mask) {
  LLVM::masked_scatter::create(
      b, toMemory(b, value, elementType),
      laneAddresses(b, pointer, elementType, offsets),
      mask ? mask : allLanes(b, laneCount(value)),
      b.getI32IntegerAttr(int32_t(elementBytes(elementType))));
}

Value KernelEmitter::laneNumbers(int64_t lanes) {
  auto type = VectorType::get(lanes, b.getI64Type());
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             type, ArrayRef(llvm::to_vector(llvm::seq<int64_t>(0, lanes)))));
}

Value KernelEmitter::laneMask(Value count, int64_t lanes) {
  // On i32, where a vector of `lanes` is one register.
  return cached(Mask, count, constant(lanes), [&]() -> Value {
    auto type = VectorType::get(lanes, b.getI32Type());
    Value numbers = arith::ConstantOp::create(
        b, DenseElementsAttr::get(type,
                                  ArrayRef(llvm::to_vector(
                                      llvm::seq<int32_t>(0, int32_t(lanes))))));
    Value narrow = arith::TruncIOp::create(b, b.getI32Type(), count);
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, numbers,
                                 splat(narrow, lanes));
  });
}

void KernelEmitter::prefetch(Value pointer, bool write, int locality) {
  LLVM::Prefetch::create(b, pointer, uint32_t(write), uint32_t(locality), 1u);
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

Value KernelEmitter::pinned(Value vector) {
  // An empty piece of assembly that claims to change the register.
  StringRef constraints = targetInfo.arch == MV_ARCH_X86_64 ? "=v,0" : "=w,0";
  return LLVM::InlineAsmOp::create(b, vector.getType(), vector, "", constraints,
                                   /*has_side_effects=*/true,
                                   /*is_align_stack=*/false,
                                   LLVM::tailcallkind::TailCallKind::None,
                                   /*asm_dialect=*/LLVM::AsmDialectAttr(),
                                   /*operand_attrs=*/ArrayAttr())
      .getResult(0);
}

Value KernelEmitter::splat(Value scalar, int64_t lanes) {
  if (!lanes)
    return scalar;
  return vector::BroadcastOp::create(
      b, VectorType::get(lanes, scalar.getType()), scalar);
}

Value KernelEmitter::zero(Type elementType, int64_t lanes) {
  return arith::ConstantOp::create(b,
                                   b.getZeroAttr(laneType(elementType, lanes)));
}

Value KernelEmitter::fma(Value a, Value x, Value c) {
  // Not vector.fma, which LLVM may take apart again.
  return math::FmaOp::create(b, a, x, c);
}

void KernelEmitter::transpose(SmallVectorImpl<Value> &rows) {
  auto lanes = int64_t(rows.size());
  // In each round, lanes of the one half change places with rows of the other.
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool isUpper = lane & half;
      low.push_back(isUpper ? lanes + lane - half : lane);
      high.push_back(isUpper ? lanes + lane : lane + half);
    }
    for (int64_t r = 0; r < lanes; ++r) {
      if (r & half)
        continue;
      Value x = rows[r], y = rows[r + half];
      rows[r] = vector::ShuffleOp::create(b, x, y, low);
      rows[r + half] = vector::ShuffleOp::create(b, x, y, high);
    }
  }
}

Value KernelEmitter::anyLane(Value mask) {
  if (!isa<VectorType>(mask.getType()))
    return mask;
  return vector::ReductionOp::create(b, vector::CombiningKind::OR, mask);
}

//===----------------------------------------------------------------------===//
// Failures
//===----------------------------------------------------------------------===//

void KernelEmitter::reportFailure(int code, Operation *op) {
  int64_t place = 0;
  if (auto number = op->getAttrOfType<IntegerAttr>("mv.place"))
    place = number.getInt();
  Value status = LLVM::GEPOp::create(
      b, callPointer.getType(), b.getI8Type(), callPointer,
      ArrayRef<LLVM::GEPArg>{int32_t(offsetof(mv_call, status))});
  LLVM::AtomicCmpXchgOp::create(
      b, status, constant(0), constant((place << 8) | code),
      LLVM::AtomicOrdering::monotonic, LLVM::AtomicOrdering::monotonic);
}

void KernelEmitter::reportFailureIf(Value condition, int code, Operation *op) {
  ifThen(anyLane(condition), [&] { reportFailure(code, op); });
}
