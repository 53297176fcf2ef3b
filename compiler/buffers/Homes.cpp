//===- Homes.cpp - Where every tensor of a function lives -----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/buffers/Homes.h"
#include "compiler/buffers/CarryLate.h"
#include "compiler/buffers/Views.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/States.h"
#include "compiler/kernels/form/Grouping.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace marver {

bool Home::keepsOrder() const { return llvm::all_of(path, isReshape); }

bool isDefinition(Value value) {
  return isa_and_nonnull<mv::LaunchOp, tensor::ConcatOp, scf::WhileOp,
                         scf::ForOp, scf::IfOp>(value.getDefiningOp());
}

static bool isLoop(Operation *op) { return isa<scf::WhileOp, scf::ForOp>(op); }

Value slotOfUse(OpOperand &use) {
  Operation *user = use.getOwner();
  unsigned number = use.getOperandNumber();
  if (isa<scf::WhileOp>(user))
    return user->getResult(number);
  if (auto loop = dyn_cast<scf::ForOp>(user)) {
    unsigned first = loop.getNumControlOperands();
    return number < first ? Value() : loop.getResult(number - first);
  }
  if (isa<scf::YieldOp>(user) &&
      isa<scf::WhileOp, scf::ForOp, scf::IfOp>(user->getParentOp()))
    return user->getParentOp()->getResult(number);
  return Value();
}

Value slotOfArgument(Value argument) {
  auto slot = slotOf(argument);
  return isa<BlockArgument>(argument) && slot
             ? Value(slot->first->getResult(slot->second))
             : Value();
}

MemRefType Homes::contiguous(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return MemRefType::get(type.getShape(), type.getElementType());
}

void Homes::choose() { chooseIn(func.getBody().front()); }

/// The last definition first: a concat or a loop knows its home before what
/// flows into it chooses one.
void Homes::chooseIn(Block &block) {
  for (Operation &op : llvm::reverse(block)) {
    for (Value result : op.getResults()) {
      if (!isDefinition(result) || !isa<RankedTensorType>(result.getType()))
        continue;
      Home home, permuted;
      SmallVector<Operation *> path;
      find(result, result, path, home, permuted);
      if (home.kind == Home::Own)
        home = permuted;
      findUpdated(result, home);
      if (home.kind == Home::Output)
        takenOutputs.insert(home.number);
      if (home.kind == Home::Part)
        takenParts.insert({home.concat, home.number});
      homes[result] = home;
    }
    if (isa<scf::WhileOp, scf::ForOp, scf::IfOp>(op))
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          chooseIn(inner);
  }
}

static bool isPermuted(Operation *op) {
  SmallVector<int64_t> permutation;
  return isPermutedView(op, permutation);
}

/// Follows uses of `value` through reshapes and permutations to a place that
/// takes `tensor`.
void Homes::find(Value tensor, Value value, SmallVector<Operation *> &path,
                 Home &home, Home &permuted) {
  bool isControl = tensor.getDefiningOp()->getNumRegions() > 0;
  Block *block = tensor.getDefiningOp()->getBlock();
  // What is a state and an output as well is made in the state and copied out.
  auto isOfState = [&](OpOperand &use) {
    return isa<func::ReturnOp>(use.getOwner()) &&
           stateOfResult(func, use.getOperandNumber());
  };
  SmallVector<OpOperand *> uses;
  for (bool first : {true, false})
    for (OpOperand &use : value.getUses())
      if (isOfState(use) == first)
        uses.push_back(&use);
  for (OpOperand *use : uses) {
    Operation *user = use->getOwner();
    if (home.kind != Home::Own)
      return;
    if (user->getBlock() != block)
      continue;
    Home candidate;
    candidate.path = path;
    candidate.number = use->getOperandNumber();
    if (isa<func::ReturnOp>(user)) {
      candidate.kind = Home::Output;
      if (takenOutputs.contains(candidate.number) || isLate(tensor))
        continue;
      BlockArgument state = stateOf(candidate);
      if (state && !canReplaceState(tensor, state))
        continue;
    } else if (auto concat = dyn_cast<tensor::ConcatOp>(user)) {
      candidate.kind = Home::Part;
      candidate.concat = concat;
      if (takenParts.contains({concat, candidate.number}) ||
          isLate(concat.getResult()))
        continue;
    } else if (Value slot = slotOfUse(*use)) {
      candidate.kind = Home::Shared;
      candidate.shared = slot;
      if (!path.empty() || !canShareSlot(tensor, *use))
        continue;
    } else if (isReshape(user) || isPermuted(user)) {
      // A permuted tensor whose dims are merged lies in the merged order.
      if (isReshape(user) && !candidate.keepsOrder() && !isControl &&
          fits(tensor, candidate) && !fits(tensor, Home()))
        permuted = candidate;
      path.push_back(user);
      find(tensor, user->getResult(0), path, home, permuted);
      path.pop_back();
      continue;
    } else {
      continue;
    }
    // What a loop carries stays contiguous: its blocks see it in many ways.
    if (isControl && (candidate.kind == Home::Part || !path.empty()))
      continue;
    if (fits(tensor, candidate))
      home = candidate;
  }
}

/// All operations that read the memory of `value`: users, through views.
static void readers(Value value, SmallVectorImpl<Operation *> &result) {
  for (Operation *user : value.getUsers()) {
    if (isa<tensor::DimOp>(user))
      continue;
    if (classify(user) == Role::View)
      readers(user->getResult(0), result);
    else
      result.push_back(user);
  }
}

/// What `value` is a view of.
static Value sourceOf(Value value) {
  Operation *def = value.getDefiningOp();
  while (def && classify(def) == Role::View) {
    value = def->getOperand(0);
    def = value.getDefiningOp();
  }
  return value;
}

/// Whether `tensor`, which `use` hands to a loop or branch, can be made in the
/// slot's memory right away.
bool Homes::canShareSlot(Value tensor, OpOperand &use) const {
  Operation *def = tensor.getDefiningOp();
  Operation *user = use.getOwner();
  Block *block = def->getBlock();
  auto isBefore = [&](Operation *op, Operation *limit) {
    Operation *ancestor = block->findAncestorOpInBlock(*op);
    return ancestor && ancestor->isBeforeInBlock(limit);
  };
  if (isLate(tensor) || isLateSlot(slotOfUse(use)))
    return false;
  SmallVector<Operation *> others;
  if (isLoop(user)) {
    // The initial value: nobody reads it once the loop runs.
    readers(tensor, others);
    return llvm::all_of(others, [&](Operation *op) {
      return op == user ? llvm::count(user->getOperands(), tensor) == 1
                        : isBefore(op, user);
    });
  }
  Operation *parent = user->getParentOp();
  if (!isLoop(parent))
    return true; // a branch: nothing was there before
  // The next value: the old one was read for the last time.
  Value old;
  if (auto loop = dyn_cast<scf::WhileOp>(parent))
    old = loop.getAfterArguments()[use.getOperandNumber()];
  else
    old = cast<scf::ForOp>(parent).getRegionIterArg(use.getOperandNumber());
  readers(old, others);
  return llvm::all_of(others, [&](Operation *op) {
    return isBefore(op, def) || (op == def && replaces(tensor, old));
  });
}

/// Whether what makes `tensor` from `old` may do so in one memory.
bool Homes::replaces(Value tensor, Value old) const {
  return updatedOperand(tensor) == old || isElementwiseOn(tensor, old);
}

/// The argument in whose memory `home` is, if it is that of a state.
BlockArgument Homes::stateOf(const Home &home) const {
  if (home.kind != Home::Output)
    return BlockArgument();
  std::optional<unsigned> argument = stateOfResult(func, home.number);
  return argument ? func::FuncOp(func).getArgument(*argument) : BlockArgument();
}

/// Whether `tensor`, the new value of a state, can be made where the old one
/// is: that was read for the last time.
bool Homes::canReplaceState(Value tensor, BlockArgument old) const {
  Operation *def = tensor.getDefiningOp();
  SmallVector<Operation *> others;
  readers(old, others);
  return llvm::all_of(others, [&](Operation *op) {
    if (op != def) {
      Operation *ancestor = def->getBlock()->findAncestorOpInBlock(*op);
      return ancestor && ancestor->isBeforeInBlock(def);
    }
    if (!isLoop(def))
      return replaces(tensor, old);
    // The loop begins with it, in the slot that becomes the new value.
    unsigned slot = cast<OpResult>(tensor).getResultNumber();
    return initialOfSlot(def, slot) == old &&
           llvm::count(def->getOperands(), old) == 1;
  });
}

bool Homes::isPlacedState(OpOperand &use) const {
  Home home;
  home.kind = Home::Output;
  home.number = use.getOperandNumber();
  return stateOf(home) == use.get();
}

/// Whether element i of everything computed from `value` in its kernel depends
/// on element i of `value` only.
static bool keepsElements(Value value) {
  return llvm::all_of(value.getUses(), [](OpOperand &use) {
    Operation *user = use.getOwner();
    if (isa<mv::YieldOp>(user))
      return true;
    auto generic = dyn_cast<linalg::GenericOp>(user);
    return generic && generic.isAllParallelLoops() &&
           generic->getNumResults() == 1 &&
           generic.getMatchingIndexingMap(&use).isIdentity() &&
           generic.getIndexingMapsArray().back().isIdentity() &&
           keepsElements(generic.getResult(0));
  });
}

/// Whether the kernel behind `tensor` reads an element of `old` just before it
/// makes that element of `tensor`, and never again.
bool Homes::isElementwiseOn(Value tensor, Value old) const {
  auto launch = tensor.getDefiningOp<mv::LaunchOp>();
  if (!launch || launch->getNumResults() != 1 ||
      old.getType() != tensor.getType())
    return false;
  auto kernel = kernels.lookup<mv::KernelOp>(launch.getKernel());
  if (kernel.getFamily() != "pointwise")
    return false;
  Value argument;
  for (auto [input, inside] :
       llvm::zip_equal(launch.getInputs(), kernel.getBlock().getArguments())) {
    if (!isa<RankedTensorType>(input.getType()) || sourceOf(input) != old)
      continue;
    if (argument || input != old)
      return false; // a part of it, at other positions
    argument = inside;
  }
  return argument && keepsElements(argument);
}

/// The operand that the kernel behind `tensor` updates element by element (a
/// scatter) and that nobody reads afterwards; null if there is none.
Value Homes::updatedOperand(Value tensor) const {
  auto launch = tensor.getDefiningOp<mv::LaunchOp>();
  if (!launch)
    return Value();
  auto kernel = kernels.lookup<mv::KernelOp>(launch.getKernel());
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
  SmallVector<Operation *> others;
  readers(updated, others);
  for (Operation *user : others) {
    if (isa<UnrealizedConversionCastOp>(user))
      return Value(); // a loop carries it under other names (CarryLate.h)
    Operation *ancestor = launch->getBlock()->findAncestorOpInBlock(*user);
    if (user != launch && (!ancestor || !ancestor->isBeforeInBlock(launch)))
      return Value();
  }
  return updated;
}

/// Updates in place what has a buffer of its own; an argument that is updated
/// into a result may share its memory with it (the caller decides).
void Homes::findUpdated(Value tensor, Home &home) {
  Value updated = updatedOperand(tensor);
  if (!updated)
    return;
  if (auto argument = dyn_cast<BlockArgument>(updated)) {
    if (home.kind == Home::Output && home.path.empty() &&
        argument.getOwner() == &func.getBody().front() && !stateOf(home) &&
        !isState(func, argument.getArgNumber()))
      func.setArgAttr(argument.getArgNumber(), "mv.alias",
                      IntegerAttr::get(IntegerType::get(func.getContext(), 64),
                                       home.number));
  } else if (home.kind == Home::Own && isDefinition(updated) &&
             updated.getParentBlock() == tensor.getParentBlock()) {
    home = Home();
    home.kind = Home::Shared;
    home.shared = updated;
  }
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

/// Whether `tensor` and all its views can live in `home`.
bool Homes::fits(Value tensor, const Home &home) const {
  FailureOr<MemRefType> type = typeAt(tensor, home);
  return succeeded(type) && viewsHold(tensor, *type);
}

FailureOr<MemRefType> Homes::typeAt(Value tensor, const Home &home) const {
  if (home.kind == Home::Shared) {
    // A definition earlier in the block has no home yet while homes are chosen
    // from the end; what is updated in place is contiguous.
    auto known = homes.find(home.shared);
    if (known == homes.end() || home.shared.getDefiningOp()->getNumRegions())
      return contiguous(tensor);
    return typeAt(home.shared, known->second);
  }
  MemRefType type;
  if (home.kind == Home::Part) {
    tensor::ConcatOp concat = home.concat;
    type = partType(concat, home.number, layoutOf(concat.getResult()));
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

MemRefType Homes::layoutOf(Value value) const {
  if (isDefinition(value))
    return *typeAt(value, of(value));
  if (Value slot = slotOfArgument(value))
    return layoutOf(slot);
  Operation *def = value.getDefiningOp();
  if (def && classify(def) == Role::View)
    return *viewType(def, layoutOf(def->getOperand(0)));
  return contiguous(value);
}

Value Homes::rootOf(Value value) const {
  if (Value slot = slotOfArgument(value))
    return rootOf(slot);
  Operation *def = value.getDefiningOp();
  if (!def)
    return value;
  if (classify(def) == Role::View)
    return rootOf(def->getOperand(0));
  if (isDefinition(value)) {
    const Home &home = of(value);
    if (home.kind == Home::Part)
      return rootOf(tensor::ConcatOp(home.concat).getResult());
    if (home.kind == Home::Shared)
      return rootOf(home.shared);
    if (BlockArgument state = stateOf(home))
      return state;
  }
  return value;
}

bool Homes::isPlaced(OpOperand &use) const {
  Value slot = slotOfUse(use);
  Value value = use.get();
  if (Value own = slotOfArgument(value))
    return own == slot; // an iteration that leaves the value as it is
  if (auto argument = dyn_cast<BlockArgument>(value))
    return argument == rootOf(slot); // a state
  return isDefinition(value) && of(value).kind == Home::Shared &&
         of(value).shared == slot;
}

bool Homes::isLate(Value tensor) const {
  auto type = cast<RankedTensorType>(tensor.getType());
  Operation *def = tensor.getDefiningOp();
  if (isLateSlot(tensor))
    return true;
  if (auto launch = dyn_cast_or_null<mv::LaunchOp>(def);
      launch && isMarkedLate(launch))
    return true;
  if (type.hasStaticShape())
    return false;
  if (auto slot = slotOf(tensor)) {
    // The dims of what flows into it.
    Value initial = initialOfSlot(slot->first, slot->second);
    return isLate(initial ? initial
                          : yieldsOfSlot(slot->first, slot->second).front());
  }
  if (!def)
    return false;
  if (auto launch = dyn_cast<mv::LaunchOp>(def))
    return llvm::any_of(launch.getResultDims(), isLateSize);
  if (auto concat = dyn_cast<tensor::ConcatOp>(def))
    return llvm::any_of(concat.getInputs(),
                        [&](Value input) { return isLate(input); });
  if (classify(def) != Role::View)
    return false;
  return llvm::any_of(def->getOperands(), [&](Value operand) {
    return operand.getType().isIndex()
               ? isLateSize(operand)
               : isa<RankedTensorType>(operand.getType()) && isLate(operand);
  });
}

} // namespace marver
