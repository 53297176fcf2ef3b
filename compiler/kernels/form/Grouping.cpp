//===- Grouping.cpp - Which operations make a kernel ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/form/Grouping.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/Permutation.h"
#include "compiler/kernels/CostModel.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace marver {

/// An epilogue of more operations than this is cut: it would not stay in
/// registers.
static constexpr size_t kMaxEpilogue = 32;

/// Nor does a kernel take in more producers than this: it evaluates them
/// nested, and a model may have thousands in a row.
static constexpr size_t kMaxProducers = 64;

static bool isTensor(Type type) { return isa<RankedTensorType>(type); }

static bool touchesTensors(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), isTensor) ||
         llvm::any_of(op->getResultTypes(), isTensor);
}

bool isPermutedView(Operation *op, SmallVectorImpl<int64_t> &permutation) {
  return isPermutation(op, permutation) &&
         permutation.back() == int64_t(permutation.size()) - 1;
}

Role classify(Operation *op) {
  if (op->getNumRegions() && !isa<linalg::LinalgOp, tensor::PadOp>(op))
    return Role::Host;
  if (!touchesTensors(op) || op->hasTrait<OpTrait::IsTerminator>())
    return Role::Host;
  if (op->hasTrait<OpTrait::ConstantLike>())
    return Role::Constant;
  if (isa<mv::PreparedOp>(op))
    return Role::Constant;
  SmallVector<int64_t> permutation;
  return TypeSwitch<Operation *, Role>(op)
      .Case<tensor::DimOp, tensor::ExtractOp, mv::LaunchOp>(
          [](auto) { return Role::Host; })
      .Case<tensor::ExtractSliceOp, tensor::ExpandShapeOp,
            tensor::CollapseShapeOp, tensor::ReshapeOp, tensor::CastOp>(
          [](auto) { return Role::View; })
      .Case<tensor::ConcatOp>([](auto) { return Role::Concat; })
      .Case<tensor::EmptyOp, tensor::SplatOp, tensor::FromElementsOp,
            tensor::PadOp, linalg::FillOp, linalg::PackOp, linalg::UnPackOp,
            mv::ResizeOp, mv::GatherOp, mv::GatherElementsOp>(
          [](auto) { return Role::Pointwise; })
      .Case<linalg::LinalgOp>([&](linalg::LinalgOp linalg) {
        if (isPermutedView(op, permutation))
          return Role::View;
        return linalg.getNumReductionLoops() ? Role::Anchor : Role::Pointwise;
      })
      .Default([](Operation *) { return Role::Anchor; });
}

/// The family of an operation that has no choice of schedules.
static StringRef fixedFamily(Operation *anchor) {
  return TypeSwitch<Operation *, StringRef>(anchor)
      .Case<mv::AttentionOp>([](auto) { return "attention"; })
      .Case<mv::SoftmaxOp, mv::LayerNormOp>([](auto) { return "row"; })
      .Case<mv::ArgReduceOp>([](auto) { return "reduce"; })
      .Case<mv::CumulativeSumOp>([](auto) { return "cumulative_sum"; })
      .Case<mv::ScatterOp>([](auto) { return "scatter"; })
      .Case<mv::TopKOp, mv::TruePositionsOp, mv::SuppressOp>(
          [](auto) { return "selection"; })
      .Case<linalg::LinalgOp>([](auto) { return "reduce"; })
      .Default([](Operation *) { return "pointwise"; });
}

/// Fills its result in an order of its own, so that nothing can follow in the
/// same kernel, element by element.
static bool standsAlone(Operation *anchor) {
  return isa<mv::CumulativeSumOp, mv::ScatterOp, mv::TopKOp,
             mv::TruePositionsOp, mv::SuppressOp>(anchor);
}

KernelChoice chooseFamily(Operation *anchor, const TargetInfo &target) {
  if (std::optional<KernelChoice> choice = chooseKernel(anchor, target))
    return *choice;
  return {fixedFamily(anchor), DictionaryAttr::get(anchor->getContext())};
}

/// Makes a tensor of one number, or of none in particular.
static bool isFill(Operation *op) {
  return isa<tensor::EmptyOp, linalg::FillOp, tensor::SplatOp>(op);
}

static bool isUniform(Value value) {
  Operation *def = value.getDefiningOp();
  return def && (isFill(def) ||
                 matchPattern(def, m_Constant<SplatElementsAttr>(nullptr)));
}

bool readsMemory(OpOperand &operand) {
  Operation *user = operand.getOwner();
  switch (classify(user)) {
  case Role::Pointwise:
    return false;
  case Role::Anchor:
    // A scatter copies what it cannot update in place: one number it writes.
    if (auto scatter = dyn_cast<mv::ScatterOp>(user);
        scatter && operand == scatter.getInputMutable() &&
        isUniform(operand.get()))
      return false;
    // Everything that sweeps its operands' elements once evaluates them.
    return !isa<mv::SoftmaxOp, mv::LayerNormOp, mv::ArgReduceOp,
                linalg::LinalgOp>(user);
  case Role::View:
    return operand.getOperandNumber() == 0; // a generic's init is not read
  default:
    return !isa<tensor::DimOp>(user);
  }
}

bool isRepeated(Operation *op) {
  if (!isFill(op))
    return false;
  for (OpOperand &use : op->getUses())
    if (readsMemory(use))
      return false;
  return true;
}

/// Whether `op` may follow the anchor's result element by element: a generic
/// over exactly the anchor's index space that reads the values of the group at
/// the identity.
static bool isEpilogue(Operation *op, const Group &group, int64_t rank) {
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic || !generic.isAllParallelLoops() ||
      generic.getNumLoops() != rank)
    return false;
  SmallVector<AffineMap> maps = generic.getIndexingMapsArray();
  for (OpOperand &operand : generic->getOpOperands()) {
    Operation *def = operand.get().getDefiningOp();
    bool ofGroup = def && group.ops.contains(def);
    bool isInit = generic.isDpsInit(&operand);
    if ((ofGroup || isInit) && !maps[operand.getOperandNumber()].isIdentity())
      return false;
  }
  return true;
}

/// Operations of `group` with a result that something outside uses.
static SmallVector<Operation *> liveOut(const Group &group) {
  SmallVector<Operation *> live;
  for (Operation *op : group.ops)
    if (llvm::any_of(op->getUsers(), [&](Operation *user) {
          return !group.ops.contains(user) && !isa<tensor::DimOp>(user);
        }))
      live.push_back(op);
  return live;
}

namespace {
class Grouper {
public:
  Grouper(Block &block, const TargetInfo &target,
          const FormKernelsOptions &options)
      : block(block), target(target), options(options) {}

  SmallVector<Group> run() {
    for (Operation &op : block)
      if (classify(&op) == Role::Anchor)
        addAnchor(&op);
    // Prologues come after all epilogues: an epilogue is free, a prologue may
    // evaluate its operations several times.
    for (Group &group : groups)
      if (options.fuse)
        absorbProducers(group);
    for (Operation &op : llvm::reverse(block))
      if (classify(&op) == Role::Pointwise && !taken.contains(&op) &&
          !isRepeated(&op))
        addPointwise(&op);
    for (Group &group : groups)
      if (options.fuse)
        absorbHalo(group);
    if (options.fuse)
      joinChains();
    llvm::sort(groups, [](const Group &a, const Group &b) {
      return a.root->isBeforeInBlock(b.root);
    });
    return std::move(groups);
  }

private:
  void addAnchor(Operation *op) {
    Group group;
    group.anchor = group.root = op;
    group.choice = chooseFamily(op, target);
    group.ops.insert(op);
    if (options.fuse && op->getNumResults() == 1 && !standsAlone(op))
      absorbEpilogue(group);
    if (options.fuse && op->getNumResults() == 1)
      absorbPermutation(group);
    take(std::move(group));
  }

  void addPointwise(Operation *op) {
    Group group;
    group.root = op;
    group.choice = {"pointwise", DictionaryAttr::get(op->getContext())};
    group.ops.insert(op);
    if (options.fuse)
      absorbProducers(group);
    take(std::move(group));
  }

  void take(Group group) {
    for (Operation *op : group.ops)
      taken.insert(op);
    groups.push_back(std::move(group));
  }

  /// Adds followers of the anchor in program order, as long as there is a
  /// later point at which exactly one value leaves the group.
  void absorbEpilogue(Group &group) {
    int64_t rank =
        cast<RankedTensorType>(group.anchor->getResult(0).getType()).getRank();
    size_t committed = group.ops.size();
    Operation *root = group.root;
    Operation *next = group.anchor->getNextNode();
    for (; next && group.ops.size() < kMaxEpilogue;
         next = next->getNextNode()) {
      bool uses = llvm::any_of(next->getOperands(), [&](Value operand) {
        Operation *def = operand.getDefiningOp();
        return def && group.ops.contains(def);
      });
      if (!uses || isa<tensor::DimOp>(next))
        continue;
      if (taken.contains(next) || !isEpilogue(next, group, rank))
        continue; // the value it uses stays live out
      group.ops.insert(next);
      SmallVector<Operation *> live = liveOut(group);
      if (live.size() == 1 && live.front() == next &&
          next->getNumResults() == 1) {
        committed = group.ops.size();
        root = next;
      }
    }
    while (group.ops.size() > committed)
      group.ops.pop_back();
    group.root = root;
  }

  /// Lets the kernel store its result where its dims in another order belong
  /// (the heads of an attention, brought in front): if someone wants these
  /// elements next to each other, they would be copied otherwise.
  void absorbPermutation(Group &group) {
    if (!llvm::is_contained({"contraction", "matmul"}, group.choice.family))
      return;
    SmallVector<Operation *> views;
    bool permutes = false;
    for (Operation *last = group.root;;) {
      Operation *next = nullptr;
      for (Operation *user : last->getUsers()) {
        if (isa<tensor::DimOp>(user))
          continue;
        if (next && next != user)
          return;
        next = user;
      }
      if (!next)
        return;
      SmallVector<int64_t> permutation;
      bool isPermutation = isPermutedView(next, permutation);
      if (next->getBlock() == &block && !taken.contains(next) &&
          (isPermutation ||
           isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(next))) {
        permutes |= isPermutation;
        views.push_back(next);
        last = next;
        continue;
      }
      // Vectors must stay vectors.
      int64_t inner = cast<RankedTensorType>(last->getResult(0).getType())
                          .getShape()
                          .back();
      if (!permutes || ShapedType::isDynamic(inner) ||
          inner % target.lanes != 0 ||
          !(isa<tensor::ConcatOp>(next) ||
            next->hasTrait<OpTrait::IsTerminator>()))
        return;
      break;
    }
    group.ops.insert_range(views);
    group.root = views.back();
  }

  /// Adds pointwise producers whose only users are in the group.
  void absorbProducers(Group &group) {
    size_t most = group.ops.size() + kMaxProducers;
    bool changed = true;
    while (changed) {
      changed = false;
      for (size_t i = 0; i < group.ops.size(); ++i) {
        // An epilogue's other operands are loaded, not computed again for
        // every element of the anchor.
        Operation *user = group.ops[i];
        if (group.anchor && user != group.anchor &&
            (isa<mv::WinogradConvOp>(group.anchor) || !isProducer(group, user)))
          continue;
        for (OpOperand &operand : user->getOpOperands()) {
          Operation *def = operand.get().getDefiningOp();
          if (!def || def->getBlock() != &block || taken.contains(def) ||
              group.ops.contains(def) || classify(def) != Role::Pointwise ||
              isRepeated(def) || group.ops.size() >= most)
            continue;
          if (!isInputBorder(operand) &&
              (readsMemory(operand) || isa<tensor::PadOp>(def)))
            continue;
          if (!llvm::all_of(def->getUsers(), [&](Operation *user) {
                return group.ops.contains(user) || isa<tensor::DimOp>(user);
              }))
            continue;
          group.ops.insert(def);
          taken.insert(def);
          changed = true;
        }
      }
    }
  }

  /// A border that a convolution adds itself, to a tensor in memory. What is
  /// before it is left to whoever makes that tensor.
  static bool isInputBorder(OpOperand &operand) {
    auto conv = dyn_cast<mv::WinogradConvOp>(operand.getOwner());
    auto pad = operand.get().getDefiningOp<tensor::PadOp>();
    auto isNumber = [](int64_t size) { return !ShapedType::isDynamic(size); };
    return conv && isInputPlain(conv) && pad &&
           operand == conv.getInputMutable() &&
           llvm::all_of(pad.getStaticLow(), isNumber) &&
           llvm::all_of(pad.getStaticHigh(), isNumber) &&
           pad.getConstantPaddingValue() &&
           matchPattern(pad.getConstantPaddingValue(), m_Constant()) &&
           !isUniform(pad.getSource());
  }

  /// Before the anchor, not after it.
  static bool isProducer(const Group &group, Operation *op) {
    return op->isBeforeInBlock(group.anchor);
  }

  /// Lets the kernel store its result inside the border that a later
  /// convolution wants. The widest pad is taken; narrower ones and the plain
  /// value are slices of it.
  void absorbHalo(Group &group) {
    if (group.root->getNumResults() != 1 || isa<tensor::PadOp>(group.root) ||
        standsAlone(group.root))
      return;
    Value result = group.root->getResult(0);
    tensor::PadOp widest;
    for (Operation *user : result.getUsers()) {
      // A use that needs the elements next to each other.
      if (isa<tensor::CollapseShapeOp, tensor::ReshapeOp, tensor::ConcatOp>(
              user) ||
          user->hasTrait<OpTrait::IsTerminator>())
        return;
      auto pad = dyn_cast<tensor::PadOp>(user);
      if (!pad || !covers(pad, pad) || !padGroupIsAlone(pad))
        continue;
      if (!widest || covers(pad, widest))
        widest = pad;
      else if (!covers(widest, pad))
        return; // neither holds the other
    }
    if (!widest)
      return;
    group.halo = widest;
  }

  /// Makes one group of a convolution and the depthwise convolution that alone
  /// reads its result, where the schedule says that this is faster.
  void joinChains() {
    auto onlyUser = [](Operation *op, Operation *user) {
      return llvm::all_of(op->getUsers(), [&](Operation *other) {
        return other == user || isa<tensor::DimOp>(other);
      });
    };
    DenseSet<Operation *> joined; // roots of groups that are part of another
    for (Group &group : groups) {
      auto depthwise = dyn_cast_or_null<mv::DepthwiseConvOp>(group.anchor);
      if (!depthwise)
        continue;
      Operation *input = depthwise.getInput().getDefiningOp();
      auto pad = dyn_cast_or_null<tensor::PadOp>(input);
      auto producer = llvm::find_if(groups, [&](const Group &other) {
        return input && (pad ? other.halo == pad : other.root == input);
      });
      if (producer == groups.end() || &*producer == &group)
        continue;
      auto conv = dyn_cast_or_null<mv::PackedConvOp>(producer->anchor);
      if (!conv || !onlyUser(input, depthwise) ||
          (pad && !onlyUser(producer->root, pad)))
        continue;
      std::string refusal;
      std::optional<KernelChoice> choice =
          chooseConvDepthwise(conv, producer->choice, pad, depthwise,
                              group.choice, target, refusal);
      if (!choice) {
        NamedAttrList schedule(group.choice.schedule);
        schedule.set("refused",
                     StringAttr::get(depthwise.getContext(), refusal));
        group.choice.schedule = schedule.getDictionary(depthwise.getContext());
        continue;
      }
      group.choice = *choice;
      group.ops.insert_range(producer->ops);
      joined.insert(producer->root);
      if (pad) {
        group.ops.insert(pad);
        joined.insert(pad);
      }
    }
    llvm::erase_if(groups, [&](const Group &group) {
      return joined.contains(group.root);
    });
  }

  /// The pad stands alone in its pointwise group (nothing was fused with it),
  /// which formation then drops.
  bool padGroupIsAlone(tensor::PadOp pad) {
    return llvm::any_of(groups, [&](const Group &group) {
      return group.root == pad && group.ops.size() == 1;
    });
  }

  Block &block;
  const TargetInfo &target;
  const FormKernelsOptions &options;
  SmallVector<Group> groups;
  DenseSet<Operation *> taken;
};
} // namespace

bool covers(tensor::PadOp a, tensor::PadOp b) {
  auto atLeast = [](auto pair) {
    return std::get<0>(pair) >= std::get<1>(pair) &&
           !ShapedType::isDynamic(std::get<0>(pair)) &&
           !ShapedType::isDynamic(std::get<1>(pair));
  };
  Attribute x, y;
  return a.getConstantPaddingValue() && b.getConstantPaddingValue() &&
         matchPattern(a.getConstantPaddingValue(), m_Constant(&x)) &&
         matchPattern(b.getConstantPaddingValue(), m_Constant(&y)) && x == y &&
         llvm::all_of(llvm::zip(a.getStaticLow(), b.getStaticLow()), atLeast) &&
         llvm::all_of(llvm::zip(a.getStaticHigh(), b.getStaticHigh()), atLeast);
}

SmallVector<Group> formGroups(Block &block, const TargetInfo &target,
                              const FormKernelsOptions &options) {
  return Grouper(block, target, options).run();
}

} // namespace marver
