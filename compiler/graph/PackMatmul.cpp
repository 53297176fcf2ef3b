//===- PackMatmul.cpp - Matrix products with constant weights -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Matches mv.matmul whose right-hand side is a constant matrix of a type that
// has vector kernels, with the chain of scales and shifts of columns after it.
// Makes mv.packed_matmul with the scales in the weights and the shifts as bias.
//
//   %p = mv.matmul %x, %w {transpose_rhs}    // ?x384, 64x384
//   %y = linalg.generic ins(%p, %b) { addf }
// becomes
//   %y = mv.packed_matmul %x, %w1 bias %b {columns = 64}   // %w1: 1x384x64
//
// A table whose rows are gathered elsewhere (tied embedding and output weights)
// is kept once: the gather reads the packed form through an unpack that is
// fused into it. That costs a cache line an element of the few rows gathered; a
// second copy would cost its size in every module and in memory.
//
//   %e = mv.gather %w at %tokens {dim = 0}
// becomes
//   %u = linalg.unpack %w1 inner_dims_pos = [0] inner_tiles = [NR]
//   %e = mv.gather %u at %tokens {dim = 0}
//
//===----------------------------------------------------------------------===//

#include "compiler/graph/AffineChain.h"
#include "compiler/graph/Packing.h"
#include "compiler/graph/Passes.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace marver;

namespace {

struct PackMatmul : PassWrapper<PackMatmul, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PackMatmul)
  PackMatmul() = default;
  PackMatmul(const PackMatmul &other) : PassWrapper(other) {
    target = other.target;
  }
  explicit PackMatmul(const TargetInfo &info) : target(info) {}

  StringRef getArgument() const override { return "mv-pack-matmul"; }
  StringRef getDescription() const override {
    return "Pack the constant right-hand sides of matrix products";
  }

  Option<int64_t> lanes{*this, "lanes", llvm::cl::init(0),
                        llvm::cl::desc("f32 values in a vector register")};

  void runOnOperation() override {
    if (lanes > 0)
      target.lanes = lanes;
    // Entries of one module often share weights, which are stored once if they
    // are packed alike: then the number of rows must not decide.
    auto module = getOperation()->getParentOfType<ModuleOp>();
    severalEntries =
        module && llvm::count_if(module.getOps<func::FuncOp>(),
                                 [](func::FuncOp function) {
                                   return function->hasAttr("mv.entry");
                                 }) > 1;
    packedOf.clear();
    SmallVector<mv::MatmulOp> matmuls;
    getOperation().walk([&](mv::MatmulOp op) { matmuls.push_back(op); });
    for (mv::MatmulOp matmul : matmuls)
      pack(matmul);
  }

  void pack(mv::MatmulOp matmul);

  TargetInfo target;
  bool severalEntries = false;
  /// Unscaled weights that are packed already, by attribute and transposition.
  llvm::DenseMap<std::pair<Attribute, unsigned>, ElementsAttr> packedOf;
};

} // namespace

/// Tables of fewer elements are not worth the slower gather.
static constexpr int64_t minSharedTable = 1 << 18;

/// Gathers of rows of `table` read `packed` instead.
static void gatherFromPacked(Attribute table, Value packed,
                             func::FuncOp function) {
  SmallVector<mv::GatherOp> gathers;
  function.walk([&](mv::GatherOp gather) {
    Attribute input;
    if (gather.getDim() == 0 &&
        matchPattern(gather.getInput(), m_Constant(&input)) && input == table)
      gathers.push_back(gather);
  });
  for (mv::GatherOp gather : gathers) {
    OpBuilder builder(gather);
    Location loc = gather.getLoc();
    Value constant = arith::ConstantOp::create(
        builder, packed.getLoc(),
        packed.getDefiningOp<arith::ConstantOp>().getValue());
    auto type = cast<RankedTensorType>(gather.getInput().getType());
    Value empty = tensor::EmptyOp::create(builder, loc, type.getShape(),
                                          type.getElementType());
    int64_t width = cast<RankedTensorType>(packed.getType()).getDimSize(2);
    auto rows = linalg::UnPackOp::create(
        builder, loc, constant, empty, ArrayRef<int64_t>{0},
        ArrayRef<OpFoldResult>{builder.getIndexAttr(width)});
    gather.getInputMutable().assign(rows.getResult());
  }
}

void PackMatmul::pack(mv::MatmulOp matmul) {
  auto lhsType = cast<RankedTensorType>(matmul.getLhs().getType());
  auto rhsType = cast<RankedTensorType>(matmul.getRhs().getType());
  auto type = cast<RankedTensorType>(matmul.getType());
  Type element = rhsType.getElementType();
  if (rhsType.getRank() != 2 || !rhsType.hasStaticShape() ||
      rhsType.getNumElements() == 0 || !hasVectorContraction(element) ||
      lhsType.getElementType() != element || type.getElementType() != element)
    return;
  std::optional<ConstantData> matrix = getConstantData(matmul.getRhs());
  if (!matrix)
    return;

  bool transposed = matmul.getTransposeRhs();
  ContractionShape shape;
  shape.outputs = rhsType.getDimSize(transposed ? 0 : 1);
  shape.reduction = rhsType.getDimSize(transposed ? 1 : 0);
  shape.width = severalEntries ? ShapedType::kDynamic
                               : type.getDimSize(type.getRank() - 2);
  shape.pixelStrideBytes = shape.reduction * elementBytes(element);
  int64_t width = choosePanelWidth(shape, target);

  AffineChain chain = findAffineChain(matmul.getResult(), type.getRank() - 1);
  Attribute source;
  matchPattern(matmul.getRhs(), m_Constant(&source));
  ElementsAttr packed;
  if (chain.scales())
    packed = packMatrix(*matrix, transposed, width, chain.scale);
  else if (ElementsAttr &known = packedOf[{source, transposed}]; known)
    packed = known;
  else
    packed = known = packMatrix(*matrix, transposed, width, {});
  OpBuilder builder(matmul);
  SmallVector<Location> locations = {matmul.getLoc()};
  for (Operation *op : chain.ops)
    locations.push_back(op->getLoc());
  Location loc = FusedLoc::get(builder.getContext(), locations);
  Value bias;
  if (chain.shifts()) {
    auto biasType = RankedTensorType::get({shape.outputs}, element);
    bias = arith::ConstantOp::create(
        builder, loc, makeConstant(biasType, [&](MutableArrayRef<char> out) {
          for (auto [n, value] : llvm::enumerate(chain.shift))
            storeFloat(out.data() + n * elementBytes(element), element, value);
        }));
  }
  Value weights =
      arith::ConstantOp::create(builder, matmul.getRhs().getLoc(), packed);
  if (transposed && !chain.scales() && elementCount(rhsType) >= minSharedTable)
    gatherFromPacked(source, weights, getOperation());
  auto result = mv::PackedMatmulOp::create(
      builder, loc, type, matmul.getLhs(), weights, bias,
      builder.getI64IntegerAttr(shape.outputs));
  chain.end.replaceAllUsesWith(result);
  for (Operation *op : llvm::reverse(chain.ops))
    op->erase();
  matmul.erase();
}

std::unique_ptr<Pass> marver::createPackMatmulPass(const TargetInfo &target) {
  return std::make_unique<PackMatmul>(target);
}
