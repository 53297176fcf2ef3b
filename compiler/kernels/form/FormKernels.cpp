//===- FormKernels.cpp - Cut functions into kernels -----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Makes an mv.kernel of every group of operations (Grouping.h) and an mv.launch
// in its place:
//
//   %0 = mv.packed_conv %x, %w ...
//   %1 = linalg.generic {... maximumf ...} ins(%0)
//
// becomes
//
//   %1 = mv.launch @k0(%x, %w : ...) -> tensor<...>
//   mv.kernel @k0 "contraction" {...} { ^bb0(%x, %w): ... mv.yield %1 }
//
// Constants that are splats or scalars go into the kernel; other constants are
// operands. Views (slices, reshapes) and concats stay in the function: they
// become buffers' layouts in the next stage.
//
//===----------------------------------------------------------------------===//

#include "compiler/ir/Constants.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "compiler/kernels/form/Grouping.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace marver {
namespace {

/// Moves one group into a kernel.
class KernelBuilder {
public:
  KernelBuilder(const Group &group, mv::KernelOp kernel)
      : group(group), block(kernel.getBlock()), b(&block, block.begin()) {}

  /// Clones the group; returns the operands that a launch must pass.
  FailureOr<SmallVector<Value>> run(ArrayRef<Operation *> ordered) {
    for (Operation *op : ordered)
      if (failed(clone(op)))
        return failure();
    Operation *root = group.halo ? group.halo : group.root;
    if (group.halo && failed(clone(group.halo)))
      return failure();
    SmallVector<Value> results;
    for (Value result : root->getResults())
      results.push_back(mapping.lookup(result));
    mv::YieldOp::create(b, root->getLoc(), results);
    return operands;
  }

private:
  LogicalResult clone(Operation *op) {
    // Values that the operation and its regions use from outside.
    SetVector<Value> used(op->getOperands().begin(), op->getOperands().end());
    for (Region &region : op->getRegions())
      region.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (!region.isAncestor(operand.getParentRegion()))
            used.insert(operand);
      });
    for (Value value : used)
      if (failed(provide(value, op)))
        return failure();
    b.clone(*op, mapping);
    return success();
  }

  /// Makes `value` available inside the kernel.
  LogicalResult provide(Value value, Operation *user) {
    if (mapping.contains(value))
      return success();
    Operation *def = value.getDefiningOp();
    if (def && isInsideOnly(def))
      return clone(def);
    if (isa<RankedTensorType>(value.getType()) || value.getType().isIndex()) {
      mapping.map(value, block.addArgument(value.getType(), value.getLoc()));
      operands.push_back(value);
      return success();
    }
    // A scalar of another type: computed inside from what it depends on.
    if (def && isPure(def) && def->getNumRegions() == 0)
      return clone(def);
    return user->emitOpError(
        "uses a scalar that cannot be passed to its kernel");
  }

  /// Defined inside every kernel that uses it: scalars, splats, empty and
  /// filled tensors, unless the kernel reads them from memory.
  bool isInsideOnly(Operation *def) {
    if (isRepeated(def))
      return true;
    if (!def->hasTrait<OpTrait::ConstantLike>())
      return false;
    Value value = def->getResult(0);
    if (!isa<RankedTensorType>(value.getType()))
      return true;
    auto data = getConstantData(value);
    return data && data->isSplat &&
           llvm::none_of(value.getUses(), [&](OpOperand &use) {
             return group.ops.contains(use.getOwner()) && readsMemory(use);
           });
  }

  const Group &group;
  Block &block;
  OpBuilder b;
  IRMapping mapping;
  SmallVector<Value> operands;
};

struct FormKernelsPass
    : public PassWrapper<FormKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FormKernelsPass)

  FormKernelsPass(const TargetInfo &target, const FormKernelsOptions &options)
      : target(target), options(options) {}

  StringRef getArgument() const override { return "mv-form-kernels"; }
  StringRef getDescription() const override {
    return "Cut functions into kernels and launches";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<mv::MvDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto func :
         llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (func.isExternal())
        continue;
      SmallVector<Block *> blocks;
      func.walk([&](Block *block) {
        if (isHostBlock(block))
          blocks.push_back(block);
      });
      for (Block *block : blocks) {
        dropEmptyResults(*block);
        if (failed(formIn(*block)))
          return signalPassFailure();
      }
      // Also drops what the launches replaced.
      if (failed(resolveDims(func)))
        return signalPassFailure();
    }
  }

private:
  /// A block of the host function, not of a linalg body or the like.
  static bool isHostBlock(Block *block) {
    for (Operation *op = block->getParentOp(); op; op = op->getParentOp()) {
      if (isa<func::FuncOp>(op))
        return true;
      if (classify(op) != Role::Host)
        return false;
    }
    return false;
  }

  /// What has no elements needs no computation.
  static void dropEmptyResults(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      Role role = classify(&op);
      if (role == Role::Host || role == Role::Constant ||
          isa<tensor::EmptyOp>(op))
        continue;
      if (!llvm::all_of(op.getResultTypes(), [](Type type) {
            auto tensor = dyn_cast<RankedTensorType>(type);
            return tensor && tensor.hasStaticShape() &&
                   tensor.getNumElements() == 0;
          }))
        continue;
      OpBuilder b(&op);
      for (Value result : op.getResults())
        result.replaceAllUsesWith(tensor::EmptyOp::create(
            b, op.getLoc(), cast<RankedTensorType>(result.getType()),
            ValueRange()));
      op.erase();
    }
  }

  LogicalResult formIn(Block &block) {
    SmallVector<Group> groups = formGroups(block, target, options);
    DenseSet<Operation *> dropped;
    for (Group &group : groups) {
      if (dropped.contains(group.root))
        continue;
      FailureOr<mv::LaunchOp> launch = makeKernel(group);
      if (failed(launch))
        return failure();
      if (group.halo)
        replaceHalo(group, *launch, dropped);
      else
        group.root->replaceUsesWithIf(launch->getResults(), notPending);
    }
    return success();
  }

  /// The launch's result is the padded value: narrower pads and the plain value
  /// are slices of it.
  void replaceHalo(Group &group, mv::LaunchOp launch,
                   DenseSet<Operation *> &dropped) {
    auto halo = cast<tensor::PadOp>(group.halo);
    Value padded = launch.getResult(0);
    Value plain = group.root->getResult(0);
    OpBuilder b(launch->getContext());
    b.setInsertionPointAfter(launch);
    Location loc = plain.getLoc();
    auto type = cast<RankedTensorType>(plain.getType());
    SmallVector<OpFoldResult> sizes;
    auto dynamic = plainDims.begin();
    for (int64_t size : type.getShape())
      sizes.push_back(ShapedType::isDynamic(size)
                          ? OpFoldResult(*dynamic++)
                          : OpFoldResult(b.getIndexAttr(size)));
    SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
    auto slice = [&](ArrayRef<int64_t> low, ArrayRef<int64_t> high,
                     RankedTensorType resultType) -> Value {
      SmallVector<OpFoldResult> offsets, extents;
      for (int64_t d = 0; d < type.getRank(); ++d) {
        offsets.push_back(b.getIndexAttr(halo.getStaticLow()[d] - low[d]));
        extents.push_back(affine::makeComposedFoldedAffineApply(
            b, loc, b.getAffineDimExpr(0) + (low[d] + high[d]), {sizes[d]}));
      }
      return tensor::ExtractSliceOp::create(b, loc, resultType, padded, offsets,
                                            extents, strides);
    };
    for (Operation *user : llvm::make_early_inc_range(plain.getUsers())) {
      auto pad = dyn_cast<tensor::PadOp>(user);
      if (!pad || !covers(halo, pad))
        continue;
      Value replacement = pad == halo
                              ? padded
                              : slice(pad.getStaticLow(), pad.getStaticHigh(),
                                      pad.getResultType());
      pad.getResult().replaceUsesWithIf(replacement, notPending);
      dropped.insert(pad);
    }
    SmallVector<int64_t> none(type.getRank(), 0);
    if (llvm::any_of(plain.getUses(), [&](OpOperand &use) {
          return notPending(use) && !dropped.contains(use.getOwner()) &&
                 !group.ops.contains(use.getOwner());
        })) {
      Value interior = slice(none, none, type);
      plain.replaceUsesWithIf(interior, [&](OpOperand &use) {
        return notPending(use) && !dropped.contains(use.getOwner()) &&
               use.getOwner() != interior.getDefiningOp();
      });
    }
  }

  /// tensor.dims that carry this attribute ask for the dims of a value that a
  /// launch replaces: resolveDims turns them into the launch's own operands.
  static constexpr StringLiteral kPendingDim = "mv.pending";

  static bool notPending(OpOperand &use) {
    return !use.getOwner()->hasAttr(kPendingDim);
  }

  FailureOr<mv::LaunchOp> makeKernel(Group &group) {
    Operation *root = group.halo ? group.halo : group.root;
    OpBuilder b(group.root->getContext());
    OpBuilder moduleBuilder(b.getContext());
    moduleBuilder.setInsertionPointToEnd(getOperation().getBody());
    SmallVector<Operation *> ordered(group.ops.begin(), group.ops.end());
    llvm::sort(ordered, [](Operation *x, Operation *y) {
      return x->isBeforeInBlock(y);
    });
    Operation *subject = group.anchor ? group.anchor : group.root;
    auto kernel = mv::KernelOp::create(
        moduleBuilder, subject->getLoc(), ("k" + Twine(number++)).str(),
        group.choice.family, group.choice.schedule,
        /*buffers=*/ArrayAttr());
    kernel.getBody().emplaceBlock();
    FailureOr<SmallVector<Value>> operands =
        KernelBuilder(group, kernel).run(ordered);
    if (failed(operands))
      return failure();
    b.setInsertionPointAfter(group.root);
    plainDims.clear();
    SmallVector<Value> resultDims;
    for (Value result : root->getResults())
      appendDims(b, result, resultDims);
    if (group.halo)
      appendDims(b, group.root->getResult(0), plainDims);
    return mv::LaunchOp::create(b, subject->getLoc(), root->getResultTypes(),
                                kernel.getSymName(), *operands,
                                /*outs=*/ValueRange(), resultDims,
                                /*extent=*/Value());
  }

  /// Pending tensor.dims of the dynamic dims of `value`.
  static void appendDims(OpBuilder &b, Value value, SmallVector<Value> &dims) {
    auto type = cast<RankedTensorType>(value.getType());
    for (int64_t d = 0; d < type.getRank(); ++d) {
      if (!type.isDynamicDim(d))
        continue;
      Value index = arith::ConstantIndexOp::create(b, value.getLoc(), d);
      auto dim = tensor::DimOp::create(b, value.getLoc(), value, index);
      dim->setAttr(kPendingDim, b.getUnitAttr());
      dims.push_back(dim);
    }
  }

  const TargetInfo target;
  const FormKernelsOptions options;
  SmallVector<Value> plainDims;
  int64_t number = 0;
};

} // namespace

std::unique_ptr<Pass> createFormKernelsPass(const TargetInfo &target,
                                            const FormKernelsOptions &options) {
  return std::make_unique<FormKernelsPass>(target, options);
}

} // namespace marver
