//===- AssignBuffers.cpp - Give every tensor its memory -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every tensor that a launch or a concat makes gets a home: an output buffer of
// the call, a part of a concat's buffer, or a place in the arena. Views become
// views of their source's memory. What no choice of homes can satisfy (a value
// returned twice, a slice whose dims are merged) is copied by a launch of a
// copying kernel.
//
//   %1 = mv.launch @k0(%x, %c : ...) -> tensor<1x64xf32>
//   return %1
//
// becomes
//
//   %in = mv.buffer input 0 : memref<1x128xf32>
//   %w = mv.buffer constant 0 : memref<...>
//   %out = mv.buffer output 0 : memref<1x64xf32>
//   mv.launch @k0(%in, %w : ...) outs(%out : ...) extent %e
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/ArenaPlan.h"
#include "compiler/buffers/CarryLate.h"
#include "compiler/buffers/ConstantTable.h"
#include "compiler/buffers/HostForm.h"
#include "compiler/buffers/Lifetimes.h"
#include "compiler/buffers/Passes.h"
#include "compiler/buffers/ShapeFunction.h"
#include "compiler/buffers/Views.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/States.h"
#include "compiler/kernels/emit/KernelEmitter.h"
#include "compiler/kernels/form/Grouping.h"
#include "marver/abi.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace marver {
namespace {

/// One function's buffers.
class Assigner {
public:
  Assigner(func::FuncOp func, ConstantTable &constants,
           const TargetInfo &target, int64_t &kernelNumber)
      : func(func), module(func->getParentOfType<ModuleOp>()), symbols(module),
        constants(constants), target(target), kernelNumber(kernelNumber),
        b(func.getContext()), homes(func, symbols, [this](Value size) {
          return dependsOnData(size);
        }) {}

  LogicalResult run() {
    if (failed(checkHostForm(func)))
      return failure();
    body = &func.getBody().front();
    // The prologue ends at an operation of its own: loops are replaced.
    b.setInsertionPoint(hoistScalars(func));
    bodyStart = arith::ConstantIndexOp::create(b, func.getLoc(), 0);
    carryLate();
    copyCarriedValues(*body);
    homes.choose();
    copyWhereViewsFail();
    planArena();
    return rewrite();
  }

private:
  void carryLate() {
    LateContext context;
    context.func = func;
    context.isLateSize = [this](Value size) { return dependsOnData(size); };
    context.isLate = [this](Value tensor) { return homes.isLate(tensor); };
    context.startPrologue = [this](OpBuilder &builder) {
      builder.setInsertionPoint(bodyStart);
    };
    context.copyOf = [this](OpBuilder &builder, Value tensor) {
      b.restoreInsertionPoint(builder.saveInsertionPoint());
      return copyOf(tensor, tensor.getLoc());
    };
    markLateSlots(context);
    memory = carryLateSlots(context);
  }

  /// A loop that hands one carried value on as another (or a part of it) needs
  /// that value apart from the memory that the next iteration overwrites.
  void copyCarriedValues(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block))
      if (isa<scf::WhileOp, scf::ForOp, scf::IfOp>(op))
        for (Region &region : op.getRegions())
          for (Block &inner : region)
            copyCarriedValues(inner);
    Operation *end = block.getTerminator();
    if (isa<func::ReturnOp>(end))
      return copyCarriedStates(end);
    if (!isa<scf::YieldOp>(end) || isa<scf::IfOp>(block.getParentOp()))
      return;
    for (OpOperand &use : end->getOpOperands()) {
      if (!isa<RankedTensorType>(use.get().getType()))
        continue;
      Value source = viewedBy(use.get());
      Value slot = slotOfArgument(source);
      if (!slot || isLateSlot(slot) || isLateSlot(slotOfUse(use)) ||
          slot.getDefiningOp() != block.getParentOp() ||
          (source == use.get() && slot == slotOfUse(use)))
        continue;
      b.setInsertionPoint(end);
      use.set(copyOf(use.get(), end->getLoc()));
    }
  }

  /// What a value is a view of.
  static Value viewedBy(Value value) {
    while (Operation *def = value.getDefiningOp()) {
      if (classify(def) != Role::View)
        break;
      value = def->getOperand(0);
    }
    return value;
  }

  /// So does a call that returns one state, or a part of it, as another.
  void copyCarriedStates(Operation *end) {
    for (OpOperand &use : end->getOpOperands()) {
      auto source = dyn_cast<BlockArgument>(viewedBy(use.get()));
      if (!source || !isState(func, source.getArgNumber()) ||
          !stateOfResult(func, use.getOperandNumber()) ||
          homes.isPlacedState(use))
        continue;
      b.setInsertionPoint(end);
      use.set(copyOf(use.get(), end->getLoc()));
    }
  }

  /// A copy of `source` by a launch at the current position. Its dims belong to
  /// the prologue like those of every launch, unless they are late.
  Value copyOf(Value source, Location loc) {
    OpBuilder::InsertPoint here = b.saveInsertionPoint();
    if (!homes.isLate(source))
      startPrologue();
    SmallVector<Value> dims = sizesOf(source);
    b.restoreInsertionPoint(here);
    return mv::LaunchOp::create(
               b, loc, TypeRange(source.getType()), copyKernel(source),
               isSplat(source) ? ValueRange() : ValueRange(source),
               ValueRange(), dims, Value())
        .getResult(0);
  }

  /// Inserts copies before views that their source's layout does not allow.
  void copyWhereViewsFail() {
    SmallVector<Operation *> views;
    func.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (classify(op) == Role::View)
        views.push_back(op);
    });
    for (Operation *op : views) {
      Value source = op->getOperand(0);
      if (succeeded(viewType(op, homes.layoutOf(source))))
        continue;
      b.setInsertionPoint(op);
      Value copy = copyOf(source, op->getLoc());
      op->setOperand(0, copy);
      homes.add(copy);
    }
  }

  /// Whether `value` is a constant whose elements are all equal.
  static bool isSplat(Value value) {
    return matchPattern(value, m_Constant<SplatElementsAttr>(nullptr));
  }

  /// Launches a copy of `source` to the memory `out`. What is one number is
  /// written, not read: such a constant takes no place in the module.
  LogicalResult copyInto(Location loc, Value source, Value out) {
    if (isSplat(source))
      return launchOn(loc, copyKernel(source), ValueRange(), out);
    FailureOr<Value> memory = memoryOf(source);
    return failed(memory) ? failure()
                          : launchOn(loc, copyKernel(source), *memory, out);
  }

  /// A kernel that copies a tensor of that type; for a splat, a kernel without
  /// operands that makes it.
  StringAttr copyKernel(Value source) {
    OpBuilder builder(module.getContext());
    builder.setInsertionPointToEnd(module.getBody());
    auto kernel = mv::KernelOp::create(
        builder, source.getLoc(), ("k" + Twine(kernelNumber++)).str(),
        "pointwise", DictionaryAttr::get(builder.getContext()), ArrayAttr());
    Block &block = kernel.getBody().emplaceBlock();
    builder.setInsertionPointToEnd(&block);
    Value value;
    if (isSplat(source))
      value = builder.clone(*source.getDefiningOp())->getResult(0);
    else
      value = block.addArgument(source.getType(), source.getLoc());
    mv::YieldOp::create(builder, source.getLoc(), value);
    symbols.insert(kernel);
    return kernel.getSymNameAttr();
  }

  //===--------------------------------------------------------------------===//
  // Arena
  //===--------------------------------------------------------------------===//

  bool dependsOnData(Value size) {
    if (auto argument = dyn_cast<BlockArgument>(size))
      return argument.getOwner() != body;
    Operation *def = size.getDefiningOp();
    return def->getBlock() != body || !def->isBeforeInBlock(bodyStart);
  }

  void planArena() {
    Lifetimes lives = lifetimes(func, homes);
    SmallVector<Value> fixed, symbolic;
    SmallVector<ArenaItem> fixedItems, symbolicItems;
    for (auto &[root, life] : lives) {
      auto type = cast<RankedTensorType>(root.getType());
      int64_t bytes = elementBytes(type.getElementType());
      for (int64_t size : type.getShape())
        bytes *= ShapedType::isDynamic(size) ? kTypicalDim : size;
      ArenaItem item{life.first, life.second, bytes};
      if (type.hasStaticShape()) {
        fixed.push_back(root);
        fixedItems.push_back(item);
      } else {
        symbolic.push_back(root);
        symbolicItems.push_back(item);
      }
    }
    ArenaOffsets plan = planOffsets(fixedItems);
    if (symbolicItems.empty())
      func->setAttr("mv.arena_bound",
                    b.getI64IntegerAttr(lowerBound(fixedItems)));
    for (auto [root, offset] : llvm::zip_equal(fixed, plan.offsets))
      offsets[root] = b.getIndexAttr(offset);

    // Sizes known at run time: slots one after the other behind the rest.
    SmallVector<int64_t> slots = planSlots(symbolicItems);
    int64_t slotCount = 0;
    for (int64_t slot : slots)
      slotCount = std::max(slotCount, slot + 1);
    SmallVector<OpFoldResult> slotBytes(slotCount);
    startPrologue();
    for (auto [root, slot] : llvm::zip_equal(symbolic, slots)) {
      OpFoldResult bytes = bytesOf(root);
      slotBytes[slot] =
          slotBytes[slot] ? maximum(slotBytes[slot], bytes) : bytes;
    }
    arenaBytes = b.getIndexAttr(plan.bytes);
    SmallVector<OpFoldResult> slotOffsets;
    for (OpFoldResult bytes : slotBytes) {
      slotOffsets.push_back(arenaBytes);
      arenaBytes = apply(b.getAffineDimExpr(0) + b.getAffineDimExpr(1),
                         {arenaBytes, bytes});
    }
    for (auto [root, slot] : llvm::zip_equal(symbolic, slots))
      offsets[root] = slotOffsets[slot];
  }

  /// Dynamic dims count as this when buffers are compared in size.
  static constexpr int64_t kTypicalDim = 256;

  /// Bytes of a tensor, rounded up to the alignment.
  OpFoldResult bytesOf(Value tensor) {
    auto type = cast<RankedTensorType>(tensor.getType());
    OpFoldResult count = b.getIndexAttr(elementBytes(type.getElementType()));
    for (OpFoldResult dim : hostDims(b, func.getLoc(), tensor))
      count =
          apply(b.getAffineDimExpr(0) * b.getAffineSymbolExpr(0), {count, dim});
    return apply(b.getAffineDimExpr(0).ceilDiv(MV_ALIGNMENT) * MV_ALIGNMENT,
                 {count});
  }

  OpFoldResult apply(AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(b, func.getLoc(), expr,
                                                 operands);
  }

  OpFoldResult maximum(OpFoldResult x, OpFoldResult y) {
    AffineMap both = AffineMap::get(
        2, 0, {b.getAffineDimExpr(0), b.getAffineDimExpr(1)}, b.getContext());
    return affine::makeComposedFoldedAffineMax(b, func.getLoc(), both, {x, y});
  }

  /// New operations go to the end of the hoisted ones.
  void startPrologue() { b.setInsertionPoint(bodyStart); }

  //===--------------------------------------------------------------------===//
  // Rewriting
  //===--------------------------------------------------------------------===//

  LogicalResult rewrite() {
    startPrologue();
    SmallVector<OpFoldResult> wanted;
    for (Value value :
         body->getTerminator()->getOperands().drop_back(countStates(func))) {
      if (homes.isLate(value)) {
        // The host function tells these dims itself.
        for (int64_t size : cast<RankedTensorType>(value.getType()).getShape())
          wanted.push_back(
              b.getIndexAttr(ShapedType::isDynamic(size) ? -1 : size));
        continue;
      }
      llvm::append_range(wanted, hostDims(b, func.getLoc(), value));
    }
    wanted.push_back(arenaBytes);
    if (!func->hasAttr("mv.prepare")) {
      if (failed(recordInterface()))
        return failure();
      makeShapeFunction(func, wanted);
    }

    SmallVector<Operation *> old;
    func.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<linalg::LinalgOp>(op)) {
        old.push_back(op);
        return WalkResult::skip();
      }
      if (op != func && !isa<tensor::DimOp>(op))
        old.push_back(op);
      return WalkResult::advance();
    });
    for (Operation *op : old) {
      b.setInsertionPoint(op);
      if (failed(rewriteOp(op)))
        return failure();
    }
    if (failed(rewriteDims()))
      return failure();
    // Users come before what they use, and what is in a loop before the loop.
    for (Operation *op : llvm::reverse(old)) {
      bool hasTensors =
          llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>) ||
          llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorType>);
      if (isa<scf::WhileOp, scf::ForOp, scf::IfOp>(op)) {
        if (hasTensors)
          dropTensors(op);
      } else if (isa<scf::YieldOp, scf::ConditionOp>(op)) {
        op->setOperands(llvm::filter_to_vector(op->getOperands(), isScalar));
      } else if (isa<func::ReturnOp, mv::LaunchOp>(op) || hasTensors) {
        op->erase();
      }
    }
    body->eraseArguments(0, body->getNumArguments());
    func.setType(FunctionType::get(func.getContext(), {}, {}));
    func.removeArgAttrsAttr();
    func.removeResAttrsAttr();
    return success();
  }

  LogicalResult rewriteOp(Operation *op) {
    if (auto launch = dyn_cast<mv::LaunchOp>(op))
      return rewriteLaunch(launch);
    if (auto concat = dyn_cast<tensor::ConcatOp>(op))
      return copyParts(concat);
    if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
      FailureOr<Value> memory = memoryOf(extract.getTensor());
      if (failed(memory))
        return failure();
      extract.replaceAllUsesWith(
          memref::LoadOp::create(b, op->getLoc(), *memory, extract.getIndices())
              .getResult());
      return success();
    }
    if (auto cast = dyn_cast<UnrealizedConversionCastOp>(op)) {
      FailureOr<Value> memory = memoryOf(cast.getOperand(0));
      if (failed(memory))
        return failure();
      Type type = cast.getResult(0).getType();
      cast.getResult(0).replaceAllUsesWith(
          memory->getType() == type
              ? *memory
              : memref::CastOp::create(b, op->getLoc(), type, *memory)
                    .getResult());
      return success();
    }
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      if (failed(storeResults(ret)))
        return failure();
      func::ReturnOp::create(b, op->getLoc());
      return success();
    }
    for (OpOperand &use : op->getOpOperands())
      if (slotOfUse(use) && isa<RankedTensorType>(use.get().getType()) &&
          failed(fillSlot(use)))
        return failure();
    return success();
  }

  /// Copies what a loop starts with, or a block ends with, to where the loop or
  /// branch keeps it.
  LogicalResult fillSlot(OpOperand &use) {
    if (isLateSlot(slotOfUse(use)))
      return success(); // its memory is carried
    FailureOr<Value> slot = memoryOf(slotOfUse(use));
    if (failed(slot) || homes.isPlaced(use))
      return success(succeeded(slot));
    return copyInto(use.getOwner()->getLoc(), use.get(), *slot);
  }

  /// Dims of arguments are read from the call, those of late slots from what
  /// the loop carries.
  LogicalResult rewriteDims() {
    SmallVector<tensor::DimOp> late;
    func.walk([&](tensor::DimOp dim) {
      if (isLateSlot(dim.getSource()))
        late.push_back(dim);
    });
    for (tensor::DimOp dim : late) {
      b.setInsertionPoint(dim);
      dim.replaceAllUsesWith(
          memref::DimOp::create(b, dim.getLoc(), memory.lookup(dim.getSource()),
                                dim.getIndex())
              .getResult());
      dim.erase();
    }
    SmallVector<tensor::DimOp> dims;
    func.walk([&](tensor::DimOp dim) { dims.push_back(dim); });
    for (tensor::DimOp dim : dims) {
      auto argument = dyn_cast<BlockArgument>(dim.getSource());
      std::optional<int64_t> index = dim.getConstantIndex();
      if (!argument || argument.getOwner() != body || !index)
        return dim.emitOpError("asks for the dim of a tensor that is no "
                               "argument");
      b.setInsertionPoint(dim);
      dim.replaceAllUsesWith(
          mv::InputDimOp::create(b, dim.getLoc(), b.getIndexType(),
                                 argument.getArgNumber(), *index)
              .getResult());
      dim.erase();
    }
    return success();
  }

  /// The memory of a tensor value, made where it is first asked for.
  FailureOr<Value> memoryOf(Value tensor) {
    if (Value known = memory.lookup(tensor))
      return known;
    OpBuilder::InsertionGuard guard(b);
    Location loc = tensor.getLoc();
    Value result;
    if (Value slot = slotOfArgument(tensor))
      return memoryOf(slot);
    if (auto argument = dyn_cast<BlockArgument>(tensor)) {
      startPrologue();
      SmallVector<Value> sizes;
      for (OpFoldResult dim : inputDims(argument))
        if (auto value = dyn_cast<Value>(dim))
          sizes.push_back(value);
      result = mv::BufferOp::create(b, loc, contiguousType(tensor),
                                    mv::BufferSpace::Input,
                                    argument.getArgNumber(), Value(), sizes);
      return memory[tensor] = result;
    }
    Operation *def = tensor.getDefiningOp();
    if (def->hasTrait<OpTrait::ConstantLike>()) {
      startPrologue();
      ElementsAttr attribute;
      if (!matchPattern(tensor, m_Constant(&attribute)))
        return def->emitOpError("is a constant of an unknown kind");
      FailureOr<int64_t> number = constants.add(def, attribute);
      if (failed(number))
        return failure();
      result = mv::BufferOp::create(b, loc, contiguousType(tensor),
                                    mv::BufferSpace::Constant, *number, Value(),
                                    ValueRange());
      return memory[tensor] = result;
    }
    if (auto prepared = dyn_cast<mv::PreparedOp>(def)) {
      startPrologue();
      return memory[tensor] = preparedMemory(tensor, prepared.getOffset());
    }
    if (classify(def) == Role::View) {
      b.setInsertionPoint(def);
      FailureOr<Value> source = memoryOf(def->getOperand(0));
      if (failed(source))
        return failure();
      return memory[tensor] = buildView(b, def, *source);
    }
    if (!isDefinition(tensor))
      return def->emitOpError("makes a tensor outside of a kernel");
    return homeMemory(tensor);
  }

  FailureOr<Value> homeMemory(Value tensor) {
    const Home home = homes.of(tensor);
    Location loc = tensor.getLoc();
    if (home.kind == Home::Shared) {
      FailureOr<Value> shared = memoryOf(home.shared);
      if (succeeded(shared))
        memory[tensor] = *shared;
      return shared;
    }
    if (home.kind == Home::Part) {
      tensor::ConcatOp concat = home.concat;
      FailureOr<Value> whole = memoryOf(concat.getResult());
      if (failed(whole))
        return failure();
      // The part's offset and sizes come from the prologue's dims, the whole is
      // already there: the current position is fine.
      Value part = buildPart(b, concat, home.number, *whole);
      for (Operation *op : llvm::reverse(home.path))
        part = undoView(b, op, part);
      return memory[tensor] = part;
    }
    // Memory of a late size is made where the tensor is; the rest before all.
    bool isLate = homes.isLate(tensor);
    if (!isLate)
      startPrologue();
    Value place = home.keepsOrder() ? tensor : home.path.back()->getResult(0);
    bool isOutput = home.kind == Home::Output;
    if (auto offsets = func->getAttrOfType<DenseI64ArrayAttr>("mv.prepare"))
      if (isOutput && place == tensor)
        return memory[tensor] = preparedMemory(tensor, offsets[home.number]);
    auto space = isOutput ? mv::BufferSpace::Output
                 : isLate ? mv::BufferSpace::Grown
                          : mv::BufferSpace::Arena;
    std::optional<unsigned> state;
    if (isOutput)
      state = stateOfResult(func, home.number);
    if (state)
      space = mv::BufferSpace::Input;
    Value offset;
    if (space == mv::BufferSpace::Arena)
      offset = getValueOrCreateConstantIndexOp(b, loc, offsets[tensor]);
    // Numbered, so that two of one size stay two.
    int64_t number = state      ? *state
                     : isOutput ? home.number
                     : isLate   ? grownBuffers++
                                : 0;
    Value result = mv::BufferOp::create(b, loc, contiguousType(place), space,
                                        number, offset, sizesOf(place));
    if (place != tensor)
      for (Operation *op : llvm::reverse(home.path))
        result = undoView(b, op, result);
    return memory[tensor] = result;
  }

  Value preparedMemory(Value tensor, int64_t offset) {
    Location loc = tensor.getLoc();
    return mv::BufferOp::create(
        b, loc, contiguousType(tensor), mv::BufferSpace::Prepared, 0,
        arith::ConstantIndexOp::create(b, loc, offset), ValueRange());
  }

  static MemRefType contiguousType(Value tensor) {
    return Homes::contiguous(tensor);
  }

  /// The dynamic dims of a tensor value.
  SmallVector<Value> sizesOf(Value tensor) {
    SmallVector<Value> sizes;
    auto type = cast<RankedTensorType>(tensor.getType());
    for (auto [d, dim] : llvm::enumerate(hostDims(b, tensor.getLoc(), tensor)))
      if (type.isDynamicDim(d))
        sizes.push_back(
            getValueOrCreateConstantIndexOp(b, tensor.getLoc(), dim));
    return sizes;
  }

  LogicalResult rewriteLaunch(mv::LaunchOp launch) {
    SmallVector<Value> inputs, outs;
    for (Value input : launch.getInputs()) {
      if (input.getType().isIndex()) {
        inputs.push_back(input);
        continue;
      }
      FailureOr<Value> memory = memoryOf(input);
      if (failed(memory))
        return failure();
      inputs.push_back(*memory);
    }
    for (Value result : launch.getResults()) {
      FailureOr<Value> memory = memoryOf(result);
      if (failed(memory))
        return failure();
      outs.push_back(*memory);
    }
    return launchOn(launch.getLoc(), launch.getKernelAttr().getAttr(), inputs,
                    outs);
  }

  /// Launches a kernel on memory and tells the kernel the layouts.
  LogicalResult launchOn(Location loc, StringAttr name, ValueRange inputs,
                         ValueRange outs) {
    auto kernel = symbols.lookup<mv::KernelOp>(name);
    const KernelFamily *family = findKernelFamily(kernel.getFamily());
    if (!family)
      return kernel.emitOpError("is of an unknown family: ")
             << kernel.getFamily();
    SmallVector<Attribute> layouts;
    for (ValueRange values : {inputs, outs})
      for (Value value : values)
        if (auto type = dyn_cast<MemRefType>(value.getType()))
          layouts.push_back(TypeAttr::get(withoutOffset(type)));
    kernel.setBuffersAttr(b.getArrayAttr(layouts));
    Value extent = getValueOrCreateConstantIndexOp(
        b, loc, family->extent(b, loc, kernel, inputs, outs, target));
    mv::LaunchOp::create(b, loc, TypeRange(), name, inputs, outs, ValueRange(),
                         extent);
    return success();
  }

  /// A kernel gets the address of element 0, so offsets are not its business.
  static MemRefType withoutOffset(MemRefType type) {
    if (type.getLayout().isIdentity())
      return type;
    SmallVector<int64_t> strides;
    int64_t offset;
    [[maybe_unused]] LogicalResult strided =
        type.getStridesAndOffset(strides, offset);
    assert(succeeded(strided) && "buffers are strided");
    return MemRefType::get(
        type.getShape(), type.getElementType(),
        StridedLayoutAttr::get(type.getContext(), 0, strides));
  }

  /// Copies operands of a concat that do not live in its buffer.
  LogicalResult copyParts(tensor::ConcatOp concat) {
    FailureOr<Value> whole = memoryOf(concat.getResult());
    if (failed(whole))
      return failure();
    for (unsigned i = 0, e = concat.getInputs().size(); i < e; ++i) {
      if (homes.isPlaced(concat, i))
        continue;
      if (failed(copyInto(concat.getLoc(), concat.getInputs()[i],
                          buildPart(b, concat, i, *whole))))
        return failure();
    }
    return success();
  }

  /// Copies results that do not live in their output buffer; those of a late
  /// size are handed over where they are. New values of states come last: what
  /// is returned may be a view of the old ones.
  LogicalResult storeResults(func::ReturnOp ret) {
    for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
      if (homes.isPlaced(static_cast<unsigned>(i)) ||
          homes.isPlacedState(ret->getOpOperand(i)))
        continue;
      Location loc = ret.getLoc();
      bool isLate = homes.isLate(value);
      std::optional<unsigned> state = stateOfResult(func, i);
      Value out = mv::BufferOp::create(b, loc, contiguousType(value),
                                       isLate  ? mv::BufferSpace::Grown
                                       : state ? mv::BufferSpace::Input
                                               : mv::BufferSpace::Output,
                                       isLate  ? grownBuffers++
                                       : state ? *state
                                               : i,
                                       Value(), sizesOf(value));
      if (failed(copyInto(loc, value, out)))
        return failure();
      if (isLate)
        mv::SetOutputOp::create(b, loc, i, out);
    }
    return success();
  }

  /// Dims of an argument: static, or mv.input_dim.
  SmallVector<OpFoldResult> inputDims(BlockArgument argument) {
    auto type = cast<RankedTensorType>(argument.getType());
    SmallVector<OpFoldResult> dims;
    for (int64_t d = 0; d < type.getRank(); ++d) {
      if (type.isDynamicDim(d))
        dims.push_back(mv::InputDimOp::create(b, argument.getLoc(),
                                              b.getIndexType(),
                                              argument.getArgNumber(), d)
                           .getResult());
      else
        dims.push_back(b.getIndexAttr(type.getDimSize(d)));
    }
    return dims;
  }

  /// Keeps what the signature said in attributes.
  LogicalResult recordInterface() {
    auto describe = [&](Type type, DictionaryAttr attributes) -> Attribute {
      NamedAttrList list(attributes ? attributes.getValue()
                                    : ArrayRef<NamedAttribute>());
      list.set("type", TypeAttr::get(type));
      return list.getDictionary(func.getContext());
    };
    SmallVector<Attribute> inputs, outputs, states;
    for (auto [i, type] : llvm::enumerate(func.getArgumentTypes())) {
      if (!isState(func, i)) {
        inputs.push_back(describe(type, func.getArgAttrDict(i)));
        continue;
      }
      if (auto initial = func.getArgAttrOfType<ElementsAttr>(i, kInitialAttr)) {
        FailureOr<int64_t> number = constants.add(func, initial);
        if (failed(number))
          return failure();
        func.setArgAttr(i, kInitialAttr, b.getI64IntegerAttr(*number));
      }
      states.push_back(describe(type, func.getArgAttrDict(i)));
    }
    for (auto [i, type] :
         llvm::enumerate(func.getResultTypes().drop_back(countStates(func)))) {
      if (homes.isLate(body->getTerminator()->getOperand(i)))
        func.setResultAttr(i, "mv.data_dependent", b.getUnitAttr());
      outputs.push_back(describe(type, func.getResultAttrDict(i)));
    }
    func->setAttr("mv.inputs", b.getArrayAttr(inputs));
    func->setAttr("mv.outputs", b.getArrayAttr(outputs));
    if (!states.empty())
      func->setAttr("mv.states", b.getArrayAttr(states));
    return success();
  }

  func::FuncOp func;
  ModuleOp module;
  SymbolTable symbols;
  ConstantTable &constants;
  const TargetInfo &target;
  int64_t &kernelNumber;
  OpBuilder b;
  Block *body = nullptr;
  Operation *bodyStart = nullptr; ///< first operation that is not hoisted
  Homes homes;
  DenseMap<Value, OpFoldResult> offsets;
  OpFoldResult arenaBytes;
  DenseMap<Value, Value> memory;
  int64_t grownBuffers = 0;
};

struct AssignBuffersPass
    : public PassWrapper<AssignBuffersPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AssignBuffersPass)

  explicit AssignBuffersPass(const TargetInfo &target) : target(target) {}

  StringRef getArgument() const override { return "mv-assign-buffers"; }
  StringRef getDescription() const override {
    return "Give every tensor its memory";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect, memref::MemRefDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    ConstantTable constants(module);
    int64_t kernelNumber = llvm::range_size(module.getOps<mv::KernelOp>());
    SmallVector<func::FuncOp> funcs(module.getOps<func::FuncOp>());
    for (func::FuncOp func : funcs)
      if (!func.isExternal() &&
          failed(Assigner(func, constants, target, kernelNumber).run()))
        return signalPassFailure();
    constants.finish();
  }

  const TargetInfo target;
};

} // namespace

std::unique_ptr<Pass> createAssignBuffersPass(const TargetInfo &target) {
  return std::make_unique<AssignBuffersPass>(target);
}

} // namespace marver
