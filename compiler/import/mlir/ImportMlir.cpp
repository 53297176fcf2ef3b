//===- ImportMlir.cpp - Models as textual MLIR ----------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads func, tensor, linalg, arith, math and scf as upstream prints them. The
// module holds public functions, which become entry points, and private ones
// that they call, which are inlined. Named linalg operations that the mv
// dialect has a counterpart for become that; the others are generalized. Loops
// that pass on other values in their condition than they carry are rotated.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Import.h"
#include "compiler/import/mlir/ForeignDialects.h"
#include "compiler/import/mlir/Globals.h"
#include "compiler/import/mlir/StableHlo.h"
#include "compiler/import/mlir/TorchModel.h"
#include "compiler/import/mlir/Tosa.h"
#include "compiler/ir/ControlFlow.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/States.h"
#include "marver/abi.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Shape/IR/Shape.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace marver {

/// The first bytes of MLIR's bytecode.
constexpr StringLiteral kBytecode = "ML\xEFR";

bool isMlir(StringRef bytes) {
  if (bytes.starts_with(kBytecode))
    return true;
  // Text: no control characters but white space, and a word that every module
  // with a function has.
  StringRef start = bytes.take_front(4096);
  bool isText = llvm::all_of(start, [](char c) {
    return static_cast<unsigned char>(c) >= ' ' || llvm::isSpace(c);
  });
  return isText && bytes.contains("func");
}

namespace {

/// The functions that become entry points: all public ones. IREE's exporters
/// also print wrappers that run them asynchronously, which have no sense here.
SmallVector<func::FuncOp> findModels(ModuleOp module) {
  SmallVector<func::FuncOp> models;
  for (auto function :
       llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
    if (function.isPublic() && function.getSymName().ends_with("$async"))
      function.erase();
    else if (function.isPublic() && !function.isExternal())
      models.push_back(function);
  }
  if (models.empty())
    module.emitError("the file defines no public function");
  return models;
}

/// A model that is alone is called as the request says; several keep their
/// names.
LogicalResult nameEntry(func::FuncOp model, const ImportRequest &request) {
  ModuleOp module = model->getParentOfType<ModuleOp>();
  if (model.getSymName() == request.entry)
    return success();
  if (module.lookupSymbol(request.entry))
    return model.emitError() << "another function is called " << request.entry
                             << ", the name of the entry point";
  model.setSymName(request.entry);
  return success();
}

LogicalResult checkSignature(func::FuncOp function) {
  bool isGood = true;
  for (auto [kind, types] : {std::pair<StringRef, TypeRange>{
                                 "argument", function.getArgumentTypes()},
                             {"result", function.getResultTypes()}})
    for (auto [number, type] : llvm::enumerate(types))
      if (!isa<RankedTensorType>(type)) {
        function.emitError() << kind << " " << number << " has type " << type
                             << ", but only ranked tensors are supported";
        isGood = false;
      }
  return success(isGood);
}

/// Only what the graph stage knows; all complaints at once.
LogicalResult checkOperations(ModuleOp module) {
  bool isGood = true;
  module->walk([&](Operation *op) {
    bool isOtherLoop =
        isa_and_present<scf::SCFDialect>(op->getDialect()) &&
        op->getNumRegions() > 0 && !isControlFlow(op) &&
        llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>);
    if (!isOtherLoop &&
        (isGlobalOperation(op) ||
         isa<ModuleOp, func::FuncOp, func::CallOp, func::ReturnOp,
             affine::AffineApplyOp, affine::AffineMinOp, affine::AffineMaxOp>(
             op) ||
         isa_and_present<mv::MvDialect, arith::ArithDialect,
                         linalg::LinalgDialect, math::MathDialect,
                         scf::SCFDialect, tensor::TensorDialect>(
             op->getDialect())))
      return;
    op->emitError() << "operation " << op->getName()
                    << (isOtherLoop ? " on tensors" : "")
                    << " is not supported in a model";
    isGood = false;
  });
  return success(isGood);
}

/// Applies --shape to an argument: the body sees a cast of it.
LogicalResult overrideShapes(func::FuncOp function,
                             ArrayRef<ShapeOverride> overrides) {
  for (const ShapeOverride &shape : overrides) {
    unsigned number;
    if (shape.isDim || StringRef(shape.name).getAsInteger(10, number) ||
        number >= function.getNumArguments() - countStates(function))
      continue; // the driver reports what nobody used
    BlockArgument argument = function.getArgument(number);
    auto type = cast<RankedTensorType>(argument.getType());
    auto given = RankedTensorType::get(shape.dims, type.getElementType());
    if (failed(verifyCompatibleShape(type, given)))
      return function.emitError()
             << "--shape gives argument " << number << " the type " << given
             << ", but the model says " << type;
    OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
    argument.setType(given);
    if (given != type) {
      auto cast = tensor::CastOp::create(b, function.getLoc(), type, argument);
      argument.replaceAllUsesExcept(cast, cast);
    }
    shape.used = true;
  }
  function.setFunctionType(FunctionType::get(
      function.getContext(), function.getBody().front().getArgumentTypes(),
      function.getResultTypes()));
  return success();
}

/// A fill of zeros, whatever way it is written.
bool isZero(Value value) {
  auto fill = value.getDefiningOp<linalg::FillOp>();
  if (fill)
    value = fill.getInputs()[0];
  return matchPattern(value, m_AnyZeroFloat()) || matchPattern(value, m_Zero());
}

SmallVector<int64_t> integersOf(DenseIntElementsAttr values) {
  return llvm::map_to_vector(
      values, [](const APInt &value) { return value.getSExtValue(); });
}

/// init + product, or product alone if `init` is zero.
Value accumulate(PatternRewriter &rewriter, Location loc, Value init,
                 Value product) {
  if (isZero(init))
    return product;
  auto type = cast<RankedTensorType>(product.getType());
  bool isFloat = isa<FloatType>(type.getElementType());
  AffineMap map = rewriter.getMultiDimIdentityMap(type.getRank());
  SmallVector<utils::IteratorType> loops(type.getRank(),
                                         utils::IteratorType::parallel);
  auto add = linalg::GenericOp::create(
      rewriter, loc, type, ValueRange{product}, ValueRange{init},
      ArrayRef<AffineMap>{map, map}, loops,
      [&](OpBuilder &b, Location loc, ValueRange values) {
        Value sum = isFloat
                        ? arith::AddFOp::create(b, loc, values[0], values[1])
                              .getResult()
                        : arith::AddIOp::create(b, loc, values[0], values[1])
                              .getResult();
        linalg::YieldOp::create(b, loc, sum);
      });
  return add.getResult(0);
}

/// linalg.matmul and linalg.batch_matmul -> mv.matmul. Only where the operands
/// have the result's element type: mv.matmul says itself how it accumulates.
template <typename Op> struct MatmulToMv : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Value lhs = op.getInputs()[0], rhs = op.getInputs()[1];
    Value init = op.getOutputs()[0];
    auto type = dyn_cast<RankedTensorType>(init.getType());
    if (!type || op.hasUserDefinedMaps() ||
        !isa<FloatType>(type.getElementType()) ||
        getElementTypeOrSelf(lhs) != type.getElementType() ||
        getElementTypeOrSelf(rhs) != type.getElementType())
      return rewriter.notifyMatchFailure(op, "needs linalg's own accumulation");
    Value product = mv::MatmulOp::create(rewriter, op.getLoc(), type, lhs, rhs,
                                         /*transpose_rhs=*/false);
    rewriter.replaceOp(op, accumulate(rewriter, op.getLoc(), init, product));
    return success();
  }
};

/// linalg.conv_2d_nchw_fchw and linalg.conv_1d_ncw_fcw -> mv.conv.
template <typename Op> struct ConvToMv : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Value init = op.getOutputs()[0];
    auto type = dyn_cast<RankedTensorType>(init.getType());
    if (!type || !isa<FloatType>(type.getElementType()) ||
        getElementTypeOrSelf(op.getInputs()[0]) != type.getElementType())
      return rewriter.notifyMatchFailure(op, "needs linalg's own accumulation");
    SmallVector<int64_t> pads(2 * (type.getRank() - 2), 0);
    Value product = mv::ConvOp::create(
        rewriter, op.getLoc(), type, op.getInputs()[0], op.getInputs()[1],
        /*bias=*/Value(), integersOf(op.getStrides()),
        integersOf(op.getDilations()), pads, /*groups=*/1);
    rewriter.replaceOp(op, accumulate(rewriter, op.getLoc(), init, product));
    return success();
  }
};

/// linalg.depthwise_conv_2d_nchw_chw -> mv.conv with as many groups as
/// channels.
struct DepthwiseToMv : OpRewritePattern<linalg::DepthwiseConv2DNchwChwOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(linalg::DepthwiseConv2DNchwChwOp op,
                                PatternRewriter &rewriter) const override {
    Value init = op.getOutputs()[0], filter = op.getInputs()[1];
    auto type = dyn_cast<RankedTensorType>(init.getType());
    auto filterType = dyn_cast<RankedTensorType>(filter.getType());
    if (!type || !filterType || !filterType.hasStaticShape() ||
        !isa<FloatType>(type.getElementType()) ||
        filterType.getElementType() != type.getElementType() ||
        getElementTypeOrSelf(op.getInputs()[0]) != type.getElementType())
      return rewriter.notifyMatchFailure(op, "needs linalg's own accumulation");
    SmallVector<int64_t> shape(filterType.getShape());
    shape.insert(shape.begin() + 1, 1);
    filter = tensor::ExpandShapeOp::create(
        rewriter, op.getLoc(), filterType.clone(shape), filter,
        ArrayRef<ReassociationIndices>{{0, 1}, {2}, {3}});
    SmallVector<int64_t> pads(4, 0);
    Value product = mv::ConvOp::create(
        rewriter, op.getLoc(), type, op.getInputs()[0], filter,
        /*bias=*/Value(), integersOf(op.getStrides()),
        integersOf(op.getDilations()), pads, /*groups=*/shape[0]);
    rewriter.replaceOp(op, accumulate(rewriter, op.getLoc(), init, product));
    return success();
  }
};

/// linalg.softmax has a destination that it does not read.
struct SoftmaxToMv : OpRewritePattern<linalg::SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(linalg::SoftmaxOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics())
      return rewriter.notifyMatchFailure(op, "not on tensors");
    rewriter.replaceOpWithNewOp<mv::SoftmaxOp>(op, op->getResult(0).getType(),
                                               op.getInput(), op.getDimension(),
                                               /*log=*/false);
    return success();
  }
};

/// tensor.generate { body(%i, %j) } -> linalg.generic { body(index 0, index 1)
/// }
struct GenerateToGeneric : OpRewritePattern<tensor::GenerateOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::GenerateOp op,
                                PatternRewriter &rewriter) const override {
    auto type = cast<RankedTensorType>(op.getType());
    Value empty = tensor::EmptyOp::create(rewriter, op.getLoc(), type,
                                          op.getDynamicExtents());
    AffineMap identity = rewriter.getMultiDimIdentityMap(type.getRank());
    SmallVector<utils::IteratorType> loops(type.getRank(),
                                           utils::IteratorType::parallel);
    auto generic =
        linalg::GenericOp::create(rewriter, op.getLoc(), type, ValueRange(),
                                  ValueRange(empty), ArrayRef(identity), loops);
    Block *body =
        rewriter.createBlock(&generic.getRegion(), {},
                             TypeRange(type.getElementType()), op.getLoc());
    SmallVector<Value> index;
    for (int64_t d = 0; d < type.getRank(); ++d)
      index.push_back(linalg::IndexOp::create(rewriter, op.getLoc(), d));
    Operation *yield = op.getBody().front().getTerminator();
    Value result = yield->getOperand(0);
    rewriter.inlineBlockBefore(&op.getBody().front(), body, body->end(), index);
    rewriter.setInsertionPointToEnd(body);
    linalg::YieldOp::create(rewriter, op.getLoc(), result);
    rewriter.eraseOp(yield);
    rewriter.replaceOp(op, generic.getResults());
    return success();
  }
};

/// A loop whose condition passes on other values than the loop carries:
///
///   scf.while (%t = %init) { %c, %f = before(%t); condition(%c) %f }
///   do (%f) { yield after(%f) }
///
/// becomes one that carries what the condition passes on,
///
///   %c0, %f0 = before(%init)
///   scf.while (%c = %c0, %f = %f0) { condition(%c) %c, %f }
///   do (%c, %f) { yield before(after(%f)) }
struct RotateWhile : OpRewritePattern<scf::WhileOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(scf::WhileOp op,
                                PatternRewriter &rewriter) const override {
    if (ValueRange(op.getConditionOp().getArgs()) ==
        ValueRange(op.getBeforeArguments()))
      return rewriter.notifyMatchFailure(op, "carries what it passes on");
    Location loc = op.getLoc();
    // The condition and what it passes on, computed here from `values`.
    auto before = [&](ValueRange values) {
      IRMapping mapping;
      mapping.map(op.getBeforeArguments(), values);
      for (Operation &inner : op.getBeforeBody()->without_terminator())
        rewriter.clone(inner, mapping);
      scf::ConditionOp condition = op.getConditionOp();
      SmallVector<Value> all{mapping.lookupOrDefault(condition.getCondition())};
      for (Value value : condition.getArgs())
        all.push_back(mapping.lookupOrDefault(value));
      return all;
    };
    SmallVector<Value> initial = before(op.getInits());
    TypeRange types(ValueRange{initial});
    SmallVector<Location> locs(initial.size(), loc);
    auto rotated = scf::WhileOp::create(rewriter, loc, types, initial);
    rewriter.createBlock(&rotated.getBefore(), {}, types, locs);
    scf::ConditionOp::create(rewriter, loc, rotated.getBeforeArguments()[0],
                             rotated.getBeforeArguments());
    Block *body = rewriter.createBlock(&rotated.getAfter(), {}, types, locs);
    scf::YieldOp yield = op.getYieldOp();
    rewriter.inlineBlockBefore(op.getAfterBody(), body, body->end(),
                               body->getArguments().drop_front());
    rewriter.setInsertionPoint(yield);
    rewriter.replaceOpWithNewOp<scf::YieldOp>(yield,
                                              before(yield.getOperands()));
    rewriter.replaceOp(op, rotated.getResults().drop_front());
    return success();
  }
};

/// Replaces all calls by what is called.
LogicalResult inlineCalls(ModuleOp module) {
  PassManager inliner(module.getContext());
  // Without the canonicalizer, which does not keep what loops carry in order.
  inliner.addPass(createInlinerPass({}, [](OpPassManager &) {}));
  inliner.addPass(createSymbolDCEPass());
  if (failed(inliner.run(module)))
    return failure();
  WalkResult calls = module.walk([&](func::CallOp call) {
    call.emitError("calls of functions that call themselves are not supported");
    return WalkResult::interrupt();
  });
  return success(!calls.wasInterrupted());
}

/// Assertions become checks of the host function. Those on elements, inside of
/// a linalg operation, are dropped: no kernel can stop a run.
void lowerAssertions(ModuleOp module) {
  module.walk([](cf::AssertOp op) {
    OpBuilder b(op);
    if (!op->getParentOfType<linalg::LinalgOp>())
      mv::CheckOp::create(b, op.getLoc(), op.getArg(), MV_FAILURE_ASSERT,
                          op.getMsg());
    op.erase();
  });
}

/// Models of upstream's dialects are rewritten where they are.
LogicalResult importUpstream(ModuleOp module, ArrayRef<func::FuncOp> models,
                             const ImportRequest &request,
                             TorchWeights &weights) {
  if (failed(lowerConstantGlobals(module, weights)) ||
      failed(lowerTosa(module)))
    return failure();
  lowerAssertions(module);
  // Before anything is simplified away, so that all of it is complained about.
  bool isGood = true;
  for (func::FuncOp model : models)
    isGood &= succeeded(checkSignature(model));
  if (!isGood || (!request.signatureOnly && failed(checkOperations(module))))
    return failure();
  if (failed(inlineCalls(module)))
    return failure();
  for (func::FuncOp model : models)
    if (failed(lowerMutableGlobals(model, weights)))
      return failure();
  eraseGlobals(module);
  for (func::FuncOp model : models) {
    model->setAttr("mv.entry", UnitAttr::get(module.getContext()));
    if (failed(overrideShapes(model, request.shapes)))
      return failure();
  }

  MLIRContext *context = module.getContext();
  RewritePatternSet patterns(context);
  patterns
      .add<MatmulToMv<linalg::MatmulOp>, MatmulToMv<linalg::BatchMatmulOp>,
           ConvToMv<linalg::Conv2DNchwFchwOp>, ConvToMv<linalg::Conv1DNcwFcwOp>,
           DepthwiseToMv, SoftmaxToMv, GenerateToGeneric, RotateWhile>(
          context, /*benefit=*/2);
  linalg::populateLinalgNamedOpsGeneralizationPatterns(patterns);
  tensor::CastOp::getCanonicalizationPatterns(patterns, context);
  if (failed(applyPatternsGreedily(module, std::move(patterns))))
    return module.emitError("the rewriting of linalg operations does not end");
  return success();
}

/// Parses text or bytecode; null after errors were reported, for bytecode one.
OwningOpRef<ModuleOp> parse(MLIRContext *context, const ImportRequest &request,
                            Resources &resources) {
  StringRef bytes = request.data->getBuffer();
  llvm::SourceMgr sources;
  ParserConfig config(context);
  if (!bytes.starts_with(kBytecode)) {
    sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(
                                   resources.strip(bytes), request.path),
                               llvm::SMLoc());
    return parseSourceFile<ModuleOp>(sources, config);
  }
  sources.AddNewSourceBuffer(
      llvm::MemoryBuffer::getMemBuffer(bytes, request.path,
                                       /*RequiresNullTerminator=*/false),
      llvm::SMLoc());
  std::string reason;
  OwningOpRef<ModuleOp> module;
  {
    ScopedDiagnosticHandler handler(context, [&](Diagnostic &diagnostic) {
      auto add = [&](const Diagnostic &part) {
        reason += (reason.empty() ? "" : "; ") + part.str();
      };
      add(diagnostic);
      for (const Diagnostic &note : diagnostic.getNotes())
        add(note);
      return success();
    });
    module = parseSourceFile<ModuleOp>(sources, config);
  }
  if (!module)
    emitError(FileLineColLoc::get(context, request.path, 0, 0))
        << "the bytecode cannot be read (" << reason
        << "); write the file as text, which is the same in more versions";
  return module;
}

LogicalResult importHlo(ArrayRef<func::FuncOp> models) {
  bool isGood = true;
  for (func::FuncOp model : models)
    if (isStableHloFunction(model))
      isGood &= succeeded(importStableHlo(model));
  return success(isGood);
}

} // namespace

OwningOpRef<ModuleOp> importMlir(MLIRContext *context,
                                 const ImportRequest &request) {
  loadForeignDialects(context);
  loadTosa(context);
  context->loadDialect<ml_program::MLProgramDialect, shape::ShapeDialect>();
  Resources resources;
  // Operations of dialects that nobody knows are read, and refused with the
  // rest.
  context->allowUnregisteredDialects(true);
  OwningOpRef<ModuleOp> module = parse(context, request, resources);
  context->allowUnregisteredDialects(false);
  if (!module || !joinProperties(*module))
    return nullptr;
  SmallVector<func::FuncOp> models = findModels(*module);
  if (models.empty() ||
      (models.size() == 1 && failed(nameEntry(models[0], request))))
    return nullptr;
  SmallVector<func::FuncOp> upstream, torch;
  for (func::FuncOp model : models)
    (isTorchFunction(model) ? torch : upstream).push_back(model);
  const bool isHlo =
      llvm::any_of(module->getOps<func::FuncOp>(), isStableHloFunction);
  if ((!torch.empty() || isHlo) && failed(inlineCalls(*module)))
    return nullptr;

  SmallVector<OwningOpRef<ModuleOp>> parts;
  bool isGood = true;
  for (func::FuncOp model : torch) {
    ImportRequest part = request;
    part.entry = model.getSymName();
    parts.push_back(importTorchFunction(model, part, resources));
    isGood &= bool(parts.back());
    for (auto [mine, theirs] : llvm::zip_equal(request.shapes, part.shapes))
      mine.used |= theirs.used;
  }
  for (func::FuncOp model : torch)
    model.erase();
  TorchWeights weights(resources, *request.parameters);
  if (!upstream.empty())
    isGood &= resources.replaceAll(*module) && succeeded(importHlo(upstream)) &&
              succeeded(importUpstream(*module, upstream, request, weights));
  if (!isGood)
    return nullptr;
  if (upstream.empty())
    module->getBody()->clear(); // what nobody reads any more
  for (OwningOpRef<ModuleOp> &part : parts)
    module->getBody()->getOperations().splice(module->getBody()->end(),
                                              part->getBody()->getOperations());
  return module;
}

} // namespace marver
