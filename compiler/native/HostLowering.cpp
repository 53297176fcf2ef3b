//===- HostLowering.cpp - Host functions as native functions --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A host function after the buffers stage
//
//   func.func @main() attributes {mv.inputs = [...], mv.shape = @main__shape} {
//     %in = mv.buffer input 0 : memref<8xf32>
//     mv.launch @k0(%in : memref<8xf32>) outs(%out : ...) extent %n
//     return
//   }
//
// becomes `i64 run0(mv_call *call)`: an mv.buffer is an address out of the
// call, an mv.launch fills slots (kernels/emit/SlotLayout.h) on the stack and
// calls services->parallel_for, an mv.check returns its code and place. The
// shape function, of index arguments and results, becomes `i64 shape0(const i64
// *input_dims, i64 *output_dims, i64 *arena_bytes)`. What remains are upstream
// operations on memrefs, for the upstream lowering.
//
//===----------------------------------------------------------------------===//

#include "compiler/native/HostLowering.h"

#include "compiler/ir/Constants.h"
#include "compiler/kernels/emit/SlotLayout.h"
#include "compiler/native/Codegen.h"
#include "compiler/native/HostBuilder.h"
#include "compiler/native/HostLoops.h"
#include "compiler/native/Native.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace marver {

ConstantLayout::ConstantLayout(ModuleOp module) {
  auto constants = module->getAttrOfType<ArrayAttr>("mv.constants");
  if (!constants)
    return;
  for (Attribute constant : constants) {
    bytes = llvm::alignTo(bytes, MV_ALIGNMENT);
    offsets.push_back(bytes);
    auto type = cast<ShapedType>(cast<TypedAttr>(constant).getType());
    bytes += elementCount(type) * elementBytes(type.getElementType());
  }
}

SmallVector<func::FuncOp> getEntryPoints(ModuleOp module) {
  SmallVector<func::FuncOp> entries;
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr("mv.inputs"))
      entries.push_back(function);
  return entries;
}

func::FuncOp getPrepareFunction(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr("mv.prepare"))
      return function;
  return nullptr;
}

namespace {

/// Lowers one function. Everything that may return early (mv.check, a launch
/// that can fail, memory that does not grow) splits its block, so scf is gone
/// before.
class FunctionLowering {
public:
  FunctionLowering(func::FuncOp function, ModuleOp source,
                   const ConstantLayout &constants)
      : function(function), source(source), kernels(source),
        constants(constants) {}

  /// First for an entry point, while its loops are still there.
  void prepareRun() {
    setSignature(1);
    call = function.getArgument(0);
    controlLoops(function, call);
  }

  /// The entry point `function` of no arguments as an mv_run_fn.
  LogicalResult lowerRun() {
    SmallVector<Operation *> operations;
    function.walk([&](Operation *op) { operations.push_back(op); });
    for (Operation *op : operations)
      if (failed(lower(op)))
        return failure();
    return success();
  }

  /// The shape function `function` as an mv_shape_fn.
  LogicalResult lowerShape() {
    Block &entry = function.getBody().front();
    unsigned count = entry.getNumArguments();
    setSignature(3);
    call = Value();
    Value dims = function.getArgument(count);
    auto b = at(&entry, entry.begin());
    for (unsigned i = 0; i < count; ++i)
      entry.getArgument(i).replaceAllUsesWith(
          b.toIndex(b.loadI64(b.atIndex(dims, i))));
    entry.eraseArguments(0, count);
    SmallVector<Operation *> operations;
    function.walk([&](Operation *op) { operations.push_back(op); });
    for (Operation *op : operations)
      if (failed(lower(op)))
        return failure();
    return success();
  }

private:
  HostBuilder at(Block *block, Block::iterator position) {
    return {function.getLoc(), OpBuilder::InsertPoint(block, position)};
  }
  HostBuilder before(Operation *op) {
    return {op->getLoc(),
            OpBuilder::InsertPoint(op->getBlock(), Block::iterator(op))};
  }

  /// `count` pointers to i64; the pointers are added behind the arguments that
  /// there are.
  void setSignature(unsigned count) {
    MLIRContext *context = function.getContext();
    Type pointer = LLVM::LLVMPointerType::get(context);
    SmallVector<Type> arguments(count, pointer);
    for (Type type : arguments)
      function.getBody().front().addArgument(type, function.getLoc());
    function.setFunctionType(
        FunctionType::get(context, arguments, {IntegerType::get(context, 64)}));
    function.removeArgAttrsAttr();
    function.removeResAttrsAttr();
  }

  LogicalResult lower(Operation *op) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](mv::BufferOp op) { return lowerBuffer(op); })
        .Case([&](mv::InputDimOp op) { return lowerInputDim(op); })
        .Case([&](mv::LaunchOp op) { return lowerLaunch(op); })
        .Case([&](mv::SetOutputOp op) { return lowerSetOutput(op); })
        .Case([&](mv::CheckOp op) { return lowerCheck(op); })
        .Case([&](func::ReturnOp op) { return lowerReturn(op); })
        .Default([&](Operation *op) -> LogicalResult {
          if (isa<mv::MvDialect>(op->getDialect()))
            return op->emitOpError("has no place in a host function");
          return success();
        });
  }

  /// Ends the function with `status` where `isBad` holds, before `op`.
  void returnIf(Operation *op, Value isBad,
                llvm::function_ref<Value(HostBuilder &)> status) {
    Block *block = op->getBlock();
    Block *rest = block->splitBlock(op);
    auto *leave = new Block();
    function.getBody().push_back(leave);
    auto b = at(leave, leave->end());
    func::ReturnOp::create(b, status(b));
    auto end = at(block, block->end());
    cf::CondBranchOp::create(end, isBad, leave, ValueRange(), rest,
                             ValueRange());
  }

  static int64_t placeOf(Operation *op) {
    auto place = op->getAttrOfType<IntegerAttr>("mv.place");
    return place ? place.getInt() : 0;
  }

  LogicalResult lowerReturn(func::ReturnOp op) {
    HostBuilder b = before(op);
    Value status = b.constant(0);
    if (call) {
      status = b.loadStatus(call); // of a run that is cancelled at its end
    } else {
      unsigned dims = op.getNumOperands() - 1;
      for (unsigned i = 0; i < dims; ++i)
        b.store(b.toI64(op.getOperand(i)),
                b.atIndex(function.getArgument(1), i));
      b.store(b.toI64(op.getOperand(dims)), function.getArgument(2));
    }
    op.getOperandsMutable().assign(status);
    return success();
  }

  /// Returns before `op` if a kernel failed or the call was cancelled.
  void returnIfEnded(HostBuilder &b, Operation *op) {
    Value status = b.loadStatus(call);
    Value isBad = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, status,
                                        b.constant(0));
    returnIf(op, isBad, [&](HostBuilder &) { return status; });
  }

  LogicalResult lowerCheck(mv::CheckOp op) {
    int64_t status = (placeOf(op) << 8) | op.getCode();
    HostBuilder b = before(op);
    Value isBad = arith::XOrIOp::create(
        b, op.getCondition(),
        arith::ConstantOp::create(b, b.getBoolAttr(true)));
    returnIf(op, isBad, [&](HostBuilder &b) { return b.constant(status); });
    op.erase();
    return success();
  }

  /// Where dims of tensor `number` begin among those of all inputs or outputs.
  int64_t firstDim(StringRef attribute, int64_t number) {
    auto tensors = function->getAttrOfType<ArrayAttr>(attribute);
    int64_t position = 0;
    for (Attribute tensor : tensors.getValue().take_front(number))
      position += cast<ShapedType>(
                      cast<TypeAttr>(cast<DictionaryAttr>(tensor).get("type"))
                          .getValue())
                      .getRank();
    return position;
  }

  LogicalResult lowerSetOutput(mv::SetOutputOp op) {
    HostBuilder b = before(op);
    Value outputs = b.loadPointer(b.atByte(call, offsetof(mv_call, outputs)));
    Value address = b.toI64(
        memref::ExtractAlignedPointerAsIndexOp::create(b, op.getSource()));
    b.store(address, b.atIndex(outputs, op.getNumber()));
    Value dims = b.loadPointer(b.atByte(call, offsetof(mv_call, output_dims)));
    int64_t position = firstDim("mv.outputs", op.getNumber());
    auto metadata = memref::ExtractStridedMetadataOp::create(b, op.getSource());
    for (auto [d, size] : llvm::enumerate(metadata.getSizes()))
      b.store(b.toI64(size), b.atIndex(dims, position + d));
    op.erase();
    return success();
  }

  LogicalResult lowerInputDim(mv::InputDimOp op) {
    int64_t position = firstDim("mv.inputs", op.getInput()) + op.getDim();
    HostBuilder b = before(op);
    Value dims = b.loadPointer(b.atByte(call, offsetof(mv_call, input_dims)));
    op.replaceAllUsesWith(b.toIndex(b.loadI64(b.atIndex(dims, position))));
    op.erase();
    return success();
  }

  LogicalResult lowerBuffer(mv::BufferOp op) {
    auto type = cast<MemRefType>(op.getResult().getType());
    HostBuilder b = before(op);
    // Sizes and strides of a contiguous buffer, innermost dim first.
    SmallVector<Value> sizes(type.getRank()), strides(type.getRank());
    auto dynamicSizes = op.getSizes();
    unsigned nextDynamic = dynamicSizes.size();
    Value elements = b.constant(1);
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      sizes[dim] = type.isDynamicDim(dim) ? b.toI64(dynamicSizes[--nextDynamic])
                                          : b.constant(type.getDimSize(dim));
      strides[dim] = elements;
      elements = b.createOrFold<arith::MulIOp>(elements, sizes[dim]);
    }

    auto field = [&](size_t offset) {
      return b.loadPointer(b.atByte(call, offset));
    };
    auto addOffset = [&](Value base) {
      return op.getOffset() ? b.atByte(base, b.toI64(op.getOffset())) : base;
    };
    Value address;
    switch (op.getSpace()) {
    case mv::BufferSpace::Arena:
      address = addOffset(field(offsetof(mv_call, arena)));
      break;
    case mv::BufferSpace::Prepared:
      address = addOffset(field(offsetof(mv_call, prepared)));
      break;
    case mv::BufferSpace::Constant:
      address =
          addOffset(b.atByte(field(offsetof(mv_call, constants)),
                             b.constant(constants.offsets[op.getNumber()])));
      break;
    case mv::BufferSpace::Input:
      address = b.loadPointer(
          b.atIndex(field(offsetof(mv_call, inputs)), op.getNumber()));
      break;
    case mv::BufferSpace::Output:
      address = b.loadPointer(
          b.atIndex(field(offsetof(mv_call, outputs)), op.getNumber()));
      break;
    case mv::BufferSpace::Grown: {
      Value bytes = arith::MulIOp::create(
          b, elements, b.constant(elementBytes(type.getElementType())));
      Value grow = b.loadPointer(b.atByte(field(offsetof(mv_call, services)),
                                          offsetof(mv_services, grow)));
      auto functionType = LLVM::LLVMFunctionType::get(
          b.pointerType, {b.pointerType, b.getI64Type()});
      address =
          LLVM::CallOp::create(b, functionType, ValueRange{grow, call, bytes})
              .getResult();
      Value isNull =
          LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::eq, address,
                               LLVM::ZeroOp::create(b, b.pointerType));
      int64_t status = (placeOf(op) << 8) | MV_FAILURE_NO_MEMORY;
      returnIf(op, isNull, [&](HostBuilder &b) { return b.constant(status); });
      b = before(op);
      break;
    }
    }

    op.replaceAllUsesWith(describe(b, type, address, sizes, strides));
    op.erase();
    return success();
  }

  /// A memref at `address`: its descriptor as the memref lowering lays it out.
  Value describe(HostBuilder &b, MemRefType type, Value address,
                 ArrayRef<Value> sizes, ArrayRef<Value> strides) {
    SmallVector<Type> fields{b.pointerType, b.pointerType, b.getI64Type()};
    if (type.getRank() > 0)
      fields.append(2,
                    LLVM::LLVMArrayType::get(b.getI64Type(), type.getRank()));
    auto structType = LLVM::LLVMStructType::getLiteral(b.getContext(), fields);
    Value descriptor = LLVM::PoisonOp::create(b, structType);
    auto set = [&](Value value, ArrayRef<int64_t> position) {
      descriptor = LLVM::InsertValueOp::create(b, descriptor, value, position);
    };
    set(address, 0);
    set(address, 1);
    set(b.constant(0), 2);
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      set(sizes[dim], {3, dim});
      set(strides[dim], {4, dim});
    }
    return UnrealizedConversionCastOp::create(b, type, descriptor).getResult(0);
  }

  LogicalResult lowerLaunch(mv::LaunchOp op) {
    auto kernel = kernels.lookup<mv::KernelOp>(op.getKernel());
    if (!kernel)
      return op.emitOpError("launches no kernel of this module");
    SlotLayout layout(kernel);
    HostBuilder b = before(op);
    Value slots = getSlots(layout.slotCount);
    auto fill = [&](Value value, int64_t slot) {
      b.store(value, b.atIndex(slots, slot));
    };
    auto fillOperand = [&](Value value, const SlotLayout::Operand &operand) {
      if (!operand.type)
        return fill(b.toI64(value), operand.slot);
      auto metadata = memref::ExtractStridedMetadataOp::create(b, value);
      Value bytes = arith::MulIOp::create(
          b, b.toI64(metadata.getOffset()),
          b.constant(elementBytes(operand.type.getElementType())));
      Value address =
          b.toI64(memref::ExtractAlignedPointerAsIndexOp::create(b, value));
      fill(arith::AddIOp::create(b, address, bytes), operand.slot);
      for (int64_t dim = 0; dim < operand.type.getRank(); ++dim)
        if (operand.sizeSlots[dim] != SlotLayout::kStatic)
          fill(b.toI64(metadata.getSizes()[dim]), operand.sizeSlots[dim]);
      for (int64_t dim = 0; dim < operand.type.getRank(); ++dim)
        if (operand.strideSlots[dim] != SlotLayout::kStatic)
          fill(b.toI64(metadata.getStrides()[dim]), operand.strideSlots[dim]);
    };
    fill(call, 0);
    for (auto [value, operand] : llvm::zip_equal(op.getInputs(), layout.inputs))
      fillOperand(value, operand);
    for (auto [value, operand] : llvm::zip_equal(op.getOuts(), layout.outs))
      fillOperand(value, operand);

    Type i64 = b.getI64Type();
    auto kernelType =
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                    {b.pointerType, i64, i64, b.pointerType});
    auto serviceType = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(b.getContext()),
        {b.pointerType, b.pointerType, b.pointerType, i64, i64});
    Value services = b.loadPointer(b.atByte(call, offsetof(mv_call, services)));
    Value parallelFor =
        b.loadPointer(b.atByte(services, offsetof(mv_services, parallel_for)));
    declare(op.getKernel(), kernelType);
    Value code = LLVM::AddressOfOp::create(b, b.pointerType, op.getKernel());
    Value extent = op.getExtent() ? b.toI64(op.getExtent()) : b.constant(1);
    Value number = b.constant(numberOf(op));
    LLVM::CallOp::create(
        b, serviceType,
        ValueRange{parallelFor, call, code, slots, extent, number});
    returnIfEnded(b, op);
    op.erase();
    return success();
  }

  /// For profiles: of the launch, as kernels may be shared.
  static int64_t numberOf(mv::LaunchOp launch) {
    auto number = launch->getAttrOfType<IntegerAttr>("number");
    return number ? number.getInt() : 0;
  }

  /// The function's slots, one array for all launches; grows as needed.
  Value getSlots(int64_t count) {
    if (!slotArray) {
      Block &entry = function.getBody().front();
      auto b = at(&entry, entry.begin());
      slotArray = LLVM::AllocaOp::create(b, b.pointerType, b.getI64Type(),
                                         b.constant(count));
    }
    auto size = slotArray.getArraySize().getDefiningOp<arith::ConstantOp>();
    if (cast<IntegerAttr>(size.getValue()).getInt() < count)
      size.setValueAttr(
          IntegerAttr::get(IntegerType::get(size.getContext(), 64), count));
    return slotArray;
  }

  void declare(StringRef kernel, LLVM::LLVMFunctionType type) {
    auto module = function->getParentOfType<ModuleOp>();
    if (module.lookupSymbol(kernel))
      return;
    auto b = OpBuilder::atBlockEnd(module.getBody());
    LLVM::LLVMFuncOp::create(b, function.getLoc(), kernel, type);
  }

  func::FuncOp function;
  ModuleOp source;
  SymbolTable kernels;
  const ConstantLayout &constants;
  Value call; ///< null in a shape function
  LLVM::AllocaOp slotArray;
};

} // namespace

FailureOr<OwningOpRef<ModuleOp>> lowerHostFunctions(ModuleOp module) {
  OwningOpRef<ModuleOp> host = ModuleOp::create(module.getLoc());
  ConstantLayout constants(module);
  auto b = OpBuilder::atBlockEnd(host->getBody());
  auto copy = [&](func::FuncOp function, const Twine &name) {
    auto clone = cast<func::FuncOp>(b.clone(*function));
    clone.setSymName(name.str());
    clone.setVisibility(SymbolTable::Visibility::Public);
    return clone;
  };
  SmallVector<func::FuncOp> runs, shapes;
  for (auto [number, entry] : llvm::enumerate(getEntryPoints(module))) {
    auto shapeName = entry->getAttrOfType<FlatSymbolRefAttr>("mv.shape");
    auto shape =
        shapeName ? module.lookupSymbol<func::FuncOp>(shapeName) : nullptr;
    if (!shape)
      return entry.emitOpError("has no shape function");
    runs.push_back(copy(entry, "run" + Twine(number)));
    shapes.push_back(copy(shape, "shape" + Twine(number)));
  }
  if (func::FuncOp prepare = getPrepareFunction(module))
    runs.push_back(copy(prepare, "prepare"));
  std::vector<FunctionLowering> lowerings;
  for (func::FuncOp run : runs)
    lowerings.emplace_back(run, module, constants).prepareRun();
  PassManager manager(module.getContext());
  // The copies launch kernels that only the original module has.
  manager.enableVerifier(false);
  manager.addPass(createSCFToControlFlowPass());
  if (failed(manager.run(*host)))
    return failure();
  for (FunctionLowering &lowering : lowerings)
    if (failed(lowering.lowerRun()))
      return failure();
  for (func::FuncOp shape : shapes)
    if (failed(FunctionLowering(shape, module, constants).lowerShape()))
      return failure();
  for (func::FuncOp function : host->getOps<func::FuncOp>()) {
    for (StringRef name : {"mv.inputs", "mv.outputs", "mv.states", "mv.shape",
                           "mv.symbols", "mv.prepare"})
      function->removeAttr(name);
    // They run once a call, and with dynamic dims there is much of them.
    function->setAttr("passthrough", b.getStrArrayAttr({"optsize"}));
  }
  return host;
}

namespace {

struct LowerHostPass : PassWrapper<LowerHostPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerHostPass)

  StringRef getArgument() const override { return "mv-lower-host"; }
  StringRef getDescription() const override {
    return "Lower the host functions to native functions; drops the kernels";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, cf::ControlFlowDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto host = lowerHostFunctions(module);
    if (failed(host))
      return signalPassFailure();
    module.getBodyRegion().takeBody((*host)->getBodyRegion());
    module->removeAttr("mv.constants");
  }
};

} // namespace

std::unique_ptr<Pass> createLowerHostPass() {
  return std::make_unique<LowerHostPass>();
}

void registerNativePasses() {
  PassRegistration<LowerHostPass>();
  registerPass(createNumberPlacesPass);
  PassPipelineRegistration<>("mv-lower-to-llvm",
                             "Lower kernels and native functions to LLVM",
                             buildLowerToLLVMPipeline);
}

} // namespace marver
