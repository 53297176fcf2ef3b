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
#include "compiler/buffers/Passes.h"
#include "compiler/buffers/Views.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/emit/KernelEmitter.h"
#include "compiler/kernels/form/Grouping.h"
#include "marver/abi.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/Support/BLAKE3.h"

using namespace mlir;

namespace marver {
namespace {

/// Where a tensor made by a launch or a concat lives.
struct Home {
  enum Kind { Arena, Output, Part, InPlace };
  Kind kind = Arena;
  unsigned number = 0;     ///< of the output, of the concat's operand
  tensor::ConcatOp concat; ///< Part
  Value updated;           ///< InPlace: the operand whose memory is reused
  /// Reshapes and permutations between the tensor and its place, nearest the
  /// tensor first. The place has the layout of the last one's result.
  SmallVector<Operation *> path;

  /// Only reshapes: a contiguous place can as well take the tensor's own shape.
  bool keepsOrder() const { return llvm::all_of(path, isReshape); }
};

/// Constants of the whole module, equal ones once.
class ConstantTable {
public:
  explicit ConstantTable(ModuleOp module) : module(module) {}

  FailureOr<int64_t> add(Operation *constant, ElementsAttr attribute) {
    auto [known, isNew] = byAttribute.try_emplace(attribute, -1);
    if (!isNew)
      return known->second;
    std::optional<ConstantData> data = getConstantData(attribute);
    if (!data)
      return constant->emitOpError("holds no data that can be read");
    int64_t bytes =
        elementCount(data->type) * elementBytes(data->type.getElementType());
    SmallVector<char, 0> expanded;
    ArrayRef<char> content = data->bytes;
    if (data->isSplat) {
      expanded.resize(bytes);
      data->copyTo(expanded);
      content = expanded;
    }
    llvm::BLAKE3 hasher;
    hasher.update(StringRef(content.data(), content.size()));
    auto digest = hasher.final<16>();
    std::string key(reinterpret_cast<char *>(digest.data()), digest.size());
    key += std::to_string(bytes);
    auto [same, isFirst] = byContent.try_emplace(key, attributes.size());
    if (isFirst)
      attributes.push_back(attribute);
    byAttribute[attribute] = same->second;
    return same->second;
  }

  void finish() {
    module->setAttr("mv.constants",
                    ArrayAttr::get(module.getContext(), attributes));
  }

private:
  ModuleOp module;
  SmallVector<Attribute> attributes;
  DenseMap<Attribute, int64_t> byAttribute;
  llvm::StringMap<int64_t> byContent;
};

/// One function's buffers.
class Assigner {
public:
  Assigner(func::FuncOp func, ConstantTable &constants,
           const TargetInfo &target, int64_t &kernelNumber)
      : func(func), module(func->getParentOfType<ModuleOp>()), symbols(module),
        constants(constants), target(target), kernelNumber(kernelNumber),
        b(func.getContext()) {}

  LogicalResult run() {
    if (failed(checkForm()))
      return failure();
    body = &func.getBody().front();
    hoistScalars();
    chooseHomes();
    copyWhereViewsFail();
    return success(succeeded(rewrite()));
  }

private:
  /// What this stage does not take.
  LogicalResult checkForm() {
    if (!func.getBody().hasOneBlock())
      return func.emitOpError("has more than one block");
    WalkResult result = func.walk([&](Operation *op) {
      if (op->getNumRegions() && op != func && !isa<linalg::LinalgOp>(op) &&
          (llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>) ||
           op->walk([](mv::LaunchOp) {
               return WalkResult::interrupt();
             }).wasInterrupted())) {
        op->emitOpError("has tensors in its regions, which is not supported");
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  /// Moves arithmetic on dims to the function's start, so that every size can
  /// be used wherever a buffer is made.
  void hoistScalars() {
    DenseSet<Operation *> hoisted;
    Operation *last = nullptr;
    for (Operation &op :
         llvm::make_early_inc_range(body->without_terminator())) {
      if (!isPure(&op) || op.getNumRegions() ||
          llvm::any_of(op.getResultTypes(), llvm::IsaPred<TensorType>))
        continue;
      bool movable = llvm::all_of(op.getOperands(), [&](Value operand) {
        Operation *def = operand.getDefiningOp();
        return !def || hoisted.contains(def);
      });
      if (!movable || (op.getNumOperands() && isa<tensor::ExtractOp>(op)))
        continue;
      if (last)
        op.moveAfter(last);
      else
        op.moveBefore(body, body->begin());
      last = &op;
      hoisted.insert(&op);
    }
    bodyStart = last ? last->getNextNode() : &body->front();
  }

  bool isDefinition(Value value) {
    return isa_and_nonnull<mv::LaunchOp, tensor::ConcatOp>(
        value.getDefiningOp());
  }

  /// Homes of all definitions, the last first: a concat knows its home before
  /// its operands choose theirs.
  void chooseHomes() {
    for (Operation &op : llvm::reverse(*body)) {
      if (!isa<mv::LaunchOp, tensor::ConcatOp>(op))
        continue;
      for (Value result : op.getResults()) {
        Home home;
        SmallVector<Operation *> path;
        permuted = Home();
        findHome(result, result, path, home);
        if (home.kind == Home::Arena)
          home = permuted;
        findInPlace(result, home);
        if (home.kind == Home::Output)
          takenOutputs.insert(home.number);
        if (home.kind == Home::Part)
          takenParts.insert({home.concat, home.number});
        homes[result] = home;
      }
    }
  }

  /// Follows uses of `value` through reshapes to a place that takes `tensor`.
  void findHome(Value tensor, Value value, SmallVector<Operation *> &path,
                Home &home) {
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (home.kind != Home::Arena || user->getBlock() != body)
        return;
      Home candidate;
      candidate.path = path;
      candidate.number = use.getOperandNumber();
      if (isa<func::ReturnOp>(user)) {
        candidate.kind = Home::Output;
        if (takenOutputs.contains(candidate.number))
          continue;
      } else if (auto concat = dyn_cast<tensor::ConcatOp>(user)) {
        candidate.kind = Home::Part;
        candidate.concat = concat;
        if (takenParts.contains({concat, candidate.number}))
          continue;
      } else if (isReshape(user) || isPermuted(user)) {
        // A permuted tensor whose dims are merged lies in the merged order.
        if (isReshape(user) && !candidate.keepsOrder() &&
            placeFor(tensor, candidate) &&
            !viewsHold(tensor, contiguous(tensor)))
          permuted = candidate;
        path.push_back(user);
        findHome(tensor, user->getResult(0), path, home);
        path.pop_back();
        continue;
      } else {
        continue;
      }
      if (placeFor(tensor, candidate))
        home = candidate;
    }
  }

  static bool isPermuted(Operation *op) {
    SmallVector<int64_t> permutation;
    return isPermutedView(op, permutation);
  }

  /// Whether `tensor` and all its views can live in `home`.
  bool placeFor(Value tensor, const Home &home) {
    FailureOr<MemRefType> type = typeAt(tensor, home);
    return succeeded(type) && viewsHold(tensor, *type);
  }

  /// The operand that the kernel behind `tensor` updates element by element (a
  /// scatter) and that nobody reads afterwards; null if there is none.
  Value updatedOperand(Value tensor) {
    auto launch = tensor.getDefiningOp<mv::LaunchOp>();
    if (!launch)
      return Value();
    auto kernel = symbols.lookup<mv::KernelOp>(launch.getKernel());
    auto yielded = kernel.getTerminator()
                       ->getOperand(cast<OpResult>(tensor).getResultNumber())
                       .getDefiningOp<mv::ScatterOp>();
    auto argument =
        yielded ? dyn_cast<BlockArgument>(yielded.getInput()) : BlockArgument();
    if (!argument)
      return Value();
    Value updated = launch.getInputs()[argument.getArgNumber()];
    if (updated.getType() != tensor.getType() ||
        llvm::count(launch.getInputs(), updated) != 1)
      return Value();
    for (Operation *user : updated.getUsers())
      if (user != launch &&
          (!isa<mv::LaunchOp>(user) || !user->isBeforeInBlock(launch)))
        return Value();
    return updated;
  }

  /// Updates in place what lives in the arena; an argument that is updated into
  /// a result may share its memory with it (the caller decides).
  void findInPlace(Value tensor, Home &home) {
    Value updated = updatedOperand(tensor);
    if (!updated)
      return;
    if (auto argument = dyn_cast<BlockArgument>(updated)) {
      if (home.kind == Home::Output && home.path.empty())
        func.setArgAttr(argument.getArgNumber(), "mv.alias",
                        b.getI64IntegerAttr(home.number));
    } else if (home.kind == Home::Arena && isDefinition(updated)) {
      home.kind = Home::InPlace;
      home.updated = updated;
    }
  }

  static MemRefType contiguous(Value tensor) {
    auto type = cast<RankedTensorType>(tensor.getType());
    return MemRefType::get(type.getShape(), type.getElementType());
  }

  /// Layout of `tensor` in `home`.
  FailureOr<MemRefType> typeAt(Value tensor, const Home &home) {
    if (home.kind == Home::InPlace)
      return typeAt(home.updated, homes[home.updated]);
    MemRefType type;
    if (home.kind == Home::Part) {
      tensor::ConcatOp concat = home.concat;
      FailureOr<MemRefType> whole =
          typeAt(concat.getResult(), homes[concat.getResult()]);
      if (failed(whole))
        return failure();
      type = partType(concat, home.number, *whole);
    } else {
      if (home.keepsOrder())
        return contiguous(tensor);
      type = contiguous(home.path.back()->getResult(0));
    }
    for (Operation *op : llvm::reverse(home.path)) {
      FailureOr<MemRefType> undone = undoneType(op, type);
      if (failed(undone))
        return failure();
      type = *undone;
    }
    return type;
  }

  /// Whether every view of `value` works on a buffer of that layout.
  static bool viewsHold(Value value, MemRefType type) {
    for (Operation *user : value.getUsers()) {
      if (classify(user) != Role::View)
        continue;
      FailureOr<MemRefType> view = viewType(user, type);
      if (failed(view) || !viewsHold(user->getResult(0), *view))
        return false;
    }
    return true;
  }

  /// The layout that the memory of any tensor value will have.
  MemRefType layoutOf(Value value) {
    Operation *def = value.getDefiningOp();
    if (isDefinition(value))
      return *typeAt(value, homes[value]);
    if (def && classify(def) == Role::View)
      return *viewType(def, layoutOf(def->getOperand(0)));
    return contiguous(value);
  }

  /// Inserts copies before views that their source's layout does not allow.
  void copyWhereViewsFail() {
    for (Operation &op : llvm::make_early_inc_range(*body)) {
      if (classify(&op) != Role::View)
        continue;
      Value source = op.getOperand(0);
      if (succeeded(viewType(&op, layoutOf(source))))
        continue;
      b.setInsertionPoint(&op);
      SmallVector<Value> dims;
      for (OpFoldResult dim : hostDims(b, op.getLoc(), source))
        if (auto value = dyn_cast<Value>(dim))
          dims.push_back(value);
      auto copy = mv::LaunchOp::create(
          b, op.getLoc(), TypeRange(source.getType()), copyKernel(source),
          ValueRange(source), ValueRange(), dims, Value());
      op.setOperand(0, copy.getResult(0));
      homes[copy.getResult(0)] = Home();
    }
  }

  /// A kernel that copies a tensor of that type.
  StringAttr copyKernel(Value source) {
    OpBuilder builder(module.getContext());
    builder.setInsertionPointToEnd(module.getBody());
    auto kernel = mv::KernelOp::create(
        builder, source.getLoc(), ("k" + Twine(kernelNumber++)).str(),
        "pointwise", DictionaryAttr::get(builder.getContext()), ArrayAttr());
    Block &block = kernel.getBody().emplaceBlock();
    Value argument = block.addArgument(source.getType(), source.getLoc());
    builder.setInsertionPointToEnd(&block);
    mv::YieldOp::create(builder, source.getLoc(), argument);
    symbols.insert(kernel);
    return kernel.getSymNameAttr();
  }

  //===--------------------------------------------------------------------===//
  // Arena
  //===--------------------------------------------------------------------===//

  /// The definition or argument whose memory a value's memory is part of.
  Value rootOf(Value value) {
    Operation *def = value.getDefiningOp();
    if (!def)
      return value;
    if (classify(def) == Role::View)
      return rootOf(def->getOperand(0));
    if (isDefinition(value)) {
      const Home &home = homes[value];
      if (home.kind == Home::Part)
        return rootOf(tensor::ConcatOp(home.concat).getResult());
      if (home.kind == Home::InPlace)
        return rootOf(home.updated);
    }
    return value;
  }

  /// Position of an operation's ancestor in the body.
  int64_t position(Operation *op) {
    return order.lookup(body->findAncestorOpInBlock(*op));
  }

  bool dependsOnData(Value size) {
    Operation *def = size.getDefiningOp();
    return def && !def->isBeforeInBlock(bodyStart);
  }

  LogicalResult planArena() {
    int64_t next = 0;
    for (Operation &op : *body)
      order[&op] = next++;
    llvm::MapVector<Value, std::pair<int64_t, int64_t>> lives;
    for (Operation &op : *body) {
      auto touch = [&](Value value, int64_t at) {
        if (!isa<RankedTensorType>(value.getType()))
          return;
        Value root = rootOf(value);
        auto home = homes.find(root);
        if (home == homes.end() || home->second.kind != Home::Arena)
          return;
        auto [life, isNew] = lives.try_emplace(root, at, at);
        if (!isNew)
          life->second = {std::min(life->second.first, at),
                          std::max(life->second.second, at)};
      };
      for (Value result : op.getResults())
        touch(result, position(&op));
      op.walk([&](Operation *inner) {
        // A view is no use: who uses the view is.
        if (classify(inner) == Role::View)
          return;
        for (Value operand : inner->getOperands())
          touch(operand, position(&op));
      });
    }
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
      if (auto value = dyn_cast<Value>(bytes); value && dependsOnData(value))
        return root.getDefiningOp()->emitOpError(
            "has a size that depends on data, which is not supported");
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
    return success();
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
    if (failed(planArena()))
      return failure();
    recordInterface();
    makeShapeFunction();
    SmallVector<Operation *> old;
    for (Operation &op : *body)
      if (!isa<tensor::DimOp>(op))
        old.push_back(&op);
    for (Operation *op : old) {
      b.setInsertionPoint(op);
      if (auto launch = dyn_cast<mv::LaunchOp>(op)) {
        if (failed(rewriteLaunch(launch)))
          return failure();
      } else if (auto concat = dyn_cast<tensor::ConcatOp>(op)) {
        if (failed(copyParts(concat)))
          return failure();
      } else if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
        FailureOr<Value> memory = memoryOf(extract.getTensor());
        if (failed(memory))
          return failure();
        extract.replaceAllUsesWith(memref::LoadOp::create(b, op->getLoc(),
                                                          *memory,
                                                          extract.getIndices())
                                       .getResult());
      } else if (auto ret = dyn_cast<func::ReturnOp>(op)) {
        if (failed(storeResults(ret)))
          return failure();
        func::ReturnOp::create(b, op->getLoc());
      }
    }
    if (failed(rewriteDims()))
      return failure();
    for (Operation *op : llvm::reverse(old))
      if (isa<func::ReturnOp, mv::LaunchOp>(op) ||
          llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>) ||
          llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorType>))
        op->erase();
    body->eraseArguments(0, body->getNumArguments());
    func.setType(FunctionType::get(func.getContext(), {}, {}));
    func.removeArgAttrsAttr();
    func.removeResAttrsAttr();
    return success();
  }

  /// Dims of arguments are read from the call.
  LogicalResult rewriteDims() {
    for (auto dim : llvm::make_early_inc_range(body->getOps<tensor::DimOp>())) {
      auto argument = dyn_cast<BlockArgument>(dim.getSource());
      std::optional<int64_t> index = dim.getConstantIndex();
      if (!argument || !index)
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
    if (auto argument = dyn_cast<BlockArgument>(tensor)) {
      startPrologue();
      SmallVector<Value> sizes;
      for (OpFoldResult dim : inputDims(argument))
        if (auto value = dyn_cast<Value>(dim))
          sizes.push_back(value);
      result = mv::BufferOp::create(b, loc, contiguous(tensor),
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
      result = mv::BufferOp::create(b, loc, contiguous(tensor),
                                    mv::BufferSpace::Constant, *number, Value(),
                                    ValueRange());
      return memory[tensor] = result;
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
    const Home home = homes[tensor];
    Location loc = tensor.getLoc();
    if (home.kind == Home::InPlace) {
      FailureOr<Value> updated = memoryOf(home.updated);
      if (failed(updated))
        return failure();
      return memory[tensor] = *updated;
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
    startPrologue();
    Value place = home.keepsOrder() ? tensor : home.path.back()->getResult(0);
    SmallVector<Value> sizes;
    for (OpFoldResult dim : hostDims(b, loc, place))
      if (auto value = dyn_cast<Value>(dim))
        sizes.push_back(value);
    bool isOutput = home.kind == Home::Output;
    Value offset;
    if (!isOutput)
      offset = getValueOrCreateConstantIndexOp(b, loc, offsets[tensor]);
    Value result = mv::BufferOp::create(
        b, loc, contiguous(place),
        isOutput ? mv::BufferSpace::Output : mv::BufferSpace::Arena,
        isOutput ? home.number : 0, offset, sizes);
    if (place != tensor)
      for (Operation *op : llvm::reverse(home.path))
        result = undoView(b, op, result);
    return memory[tensor] = result;
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
      if (takenParts.contains({concat, i}))
        continue;
      FailureOr<Value> source = memoryOf(concat.getInputs()[i]);
      if (failed(source) ||
          failed(launchOn(concat.getLoc(), copyKernel(concat.getInputs()[i]),
                          *source, buildPart(b, concat, i, *whole))))
        return failure();
    }
    return success();
  }

  /// Copies results that do not live in their output buffer.
  LogicalResult storeResults(func::ReturnOp ret) {
    for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
      if (takenOutputs.contains(i))
        continue;
      FailureOr<Value> source = memoryOf(value);
      if (failed(source))
        return failure();
      SmallVector<Value> sizes;
      for (OpFoldResult dim : hostDims(b, ret.getLoc(), value))
        if (auto size = dyn_cast<Value>(dim))
          sizes.push_back(size);
      Value out =
          mv::BufferOp::create(b, ret.getLoc(), contiguous(value),
                               mv::BufferSpace::Output, i, Value(), sizes);
      if (failed(launchOn(ret.getLoc(), copyKernel(value), *source, out)))
        return failure();
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
  void recordInterface() {
    auto describe = [&](Type type, DictionaryAttr attributes) -> Attribute {
      NamedAttrList list(attributes ? attributes.getValue()
                                    : ArrayRef<NamedAttribute>());
      list.set("type", TypeAttr::get(type));
      return list.getDictionary(func.getContext());
    };
    SmallVector<Attribute> inputs, outputs;
    for (auto [i, type] : llvm::enumerate(func.getArgumentTypes()))
      inputs.push_back(describe(type, func.getArgAttrDict(i)));
    for (auto [i, type] : llvm::enumerate(func.getResultTypes()))
      outputs.push_back(describe(type, func.getResultAttrDict(i)));
    func->setAttr("mv.inputs", b.getArrayAttr(inputs));
    func->setAttr("mv.outputs", b.getArrayAttr(outputs));
  }

  /// The function from input dims to output dims and arena bytes: a copy of the
  /// prologue with the arguments' dims as its arguments.
  void makeShapeFunction() {
    OpBuilder outer(func);
    SmallVector<Type> arguments, results;
    for (Type type : func.getArgumentTypes())
      arguments.append(cast<RankedTensorType>(type).getRank(),
                       b.getIndexType());
    // The values to compute, made in this function first.
    auto ret = cast<func::ReturnOp>(body->getTerminator());
    startPrologue();
    SmallVector<OpFoldResult> wanted;
    for (Value value : ret.getOperands())
      llvm::append_range(wanted, hostDims(b, func.getLoc(), value));
    wanted.push_back(arenaBytes);
    results.assign(wanted.size(), b.getIndexType());
    std::string name = (func.getSymName() + "__shape").str();
    auto shape = func::FuncOp::create(
        outer, func.getLoc(), name,
        FunctionType::get(func.getContext(), arguments, results));
    shape.setPrivate();
    Block *block = shape.addEntryBlock();
    OpBuilder inner = OpBuilder::atBlockEnd(block);
    checkSymbols(inner, block);
    IRMapping mapping;
    SmallVector<Value> values;
    for (OpFoldResult item : wanted) {
      if (auto value = dyn_cast<Value>(item))
        values.push_back(cloneScalar(inner, value, mapping, block));
      else
        values.push_back(
            getValueOrCreateConstantIndexOp(inner, func.getLoc(), item));
    }
    func::ReturnOp::create(inner, func.getLoc(), values);
    func->setAttr("mv.shape", FlatSymbolRefAttr::get(shape));
  }

  /// Checks what the arguments' `mv.dims` say of their dims: a symbol's value
  /// follows from the first dim that is linear in it alone; every dim must then
  /// be what its expression gives, every symbol within its range.
  void checkSymbols(OpBuilder &inner, Block *block) {
    Location loc = func.getLoc();
    auto symbolList = func->getAttrOfType<ArrayAttr>("mv.symbols");
    unsigned count = symbolList ? symbolList.size() : 0;
    SmallVector<OpFoldResult> symbolValues(count);
    SmallVector<std::pair<AffineExpr, Value>> dims;
    unsigned flat = 0;
    for (auto [i, type] : llvm::enumerate(func.getArgumentTypes())) {
      auto expressions = func.getArgAttrOfType<ArrayAttr>(i, "mv.dims");
      unsigned rank = cast<RankedTensorType>(type).getRank();
      for (unsigned d = 0; d < rank; ++d, ++flat) {
        auto map = expressions && expressions.size() == rank
                       ? dyn_cast<AffineMapAttr>(expressions[d])
                       : AffineMapAttr();
        if (map && map.getValue().getNumSymbols() <= count)
          dims.push_back(
              {map.getValue().getResult(0), block->getArgument(flat)});
      }
    }
    auto check = [&](Value condition, StringRef message) {
      mv::CheckOp::create(inner, loc, condition, MV_FAILURE_SHAPE, message);
    };
    for (auto [expr, dim] : dims)
      if (std::optional<Linear> linear = asLinear(expr);
          linear && !symbolValues[linear->symbol])
        symbolValues[linear->symbol] = affine::makeComposedFoldedAffineApply(
            inner, loc,
            (inner.getAffineDimExpr(0) - linear->offset)
                .floorDiv(linear->factor),
            {dim});
    for (auto [expr, dim] : dims) {
      bool known = true;
      expr.walk([&](AffineExpr part) {
        if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
          known &= bool(symbolValues[symbol.getPosition()]);
      });
      if (!known)
        continue;
      SmallVector<OpFoldResult> operands;
      for (OpFoldResult value : symbolValues)
        operands.push_back(value ? value : inner.getIndexAttr(0));
      Value expected = getValueOrCreateConstantIndexOp(
          inner, loc,
          affine::makeComposedFoldedAffineApply(
              inner, loc, AffineMap::get(0, count, expr), operands));
      if (expected != dim)
        check(arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::eq, dim,
                                    expected),
              "the dims of the inputs do not fit together");
    }
    for (unsigned i = 0; i < count; ++i) {
      if (!symbolValues[i])
        continue;
      auto symbol = cast<DictionaryAttr>(symbolList[i]);
      Value value =
          getValueOrCreateConstantIndexOp(inner, loc, symbolValues[i]);
      auto bound = [&](StringRef name, arith::CmpIPredicate predicate) {
        if (auto limit = symbol.getAs<IntegerAttr>(name))
          check(arith::CmpIOp::create(
                    inner, loc, predicate, value,
                    arith::ConstantIndexOp::create(inner, loc, limit.getInt())),
                "a dim of the inputs is out of its range");
      };
      bound("min", arith::CmpIPredicate::sge);
      bound("max", arith::CmpIPredicate::sle);
    }
  }

  /// factor * symbol + offset
  struct Linear {
    unsigned symbol;
    int64_t factor = 1, offset = 0;
  };

  static std::optional<Linear> asLinear(AffineExpr expr) {
    Linear linear;
    if (auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
        sum && sum.getKind() == AffineExprKind::Add) {
      auto constant = dyn_cast<AffineConstantExpr>(sum.getRHS());
      if (!constant)
        return std::nullopt;
      linear.offset = constant.getValue();
      expr = sum.getLHS();
    }
    if (auto product = dyn_cast<AffineBinaryOpExpr>(expr);
        product && product.getKind() == AffineExprKind::Mul) {
      auto constant = dyn_cast<AffineConstantExpr>(product.getRHS());
      if (!constant || constant.getValue() <= 0)
        return std::nullopt;
      linear.factor = constant.getValue();
      expr = product.getLHS();
    }
    auto symbol = dyn_cast<AffineSymbolExpr>(expr);
    if (!symbol)
      return std::nullopt;
    linear.symbol = symbol.getPosition();
    return linear;
  }

  /// Clones a scalar computation; dims of arguments become arguments.
  Value cloneScalar(OpBuilder &inner, Value value, IRMapping &mapping,
                    Block *block) {
    if (Value known = mapping.lookupOrNull(value))
      return known;
    Operation *def = value.getDefiningOp();
    if (auto dim = dyn_cast<tensor::DimOp>(def)) {
      auto argument = cast<BlockArgument>(dim.getSource());
      unsigned flat = *dim.getConstantIndex();
      for (unsigned i = 0; i < argument.getArgNumber(); ++i)
        flat += cast<RankedTensorType>(func.getArgumentTypes()[i]).getRank();
      mapping.map(value, block->getArgument(flat));
      return block->getArgument(flat);
    }
    for (Value operand : def->getOperands())
      cloneScalar(inner, operand, mapping, block);
    inner.clone(*def, mapping);
    return mapping.lookup(value);
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
  DenseMap<Value, Home> homes;
  Home permuted; ///< found by findHome when no better place is
  DenseSet<unsigned> takenOutputs;
  DenseSet<std::pair<Operation *, unsigned>> takenParts;
  DenseMap<Operation *, int64_t> order;
  DenseMap<Value, OpFoldResult> offsets;
  OpFoldResult arenaBytes;
  DenseMap<Value, Value> memory;
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
