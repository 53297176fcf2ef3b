//===- DepthwiseConv.cpp - Depthwise convolution on blocked tensors -------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.depthwise_conv: one vector holds a channel block, so there is nothing to
// broadcast (DepthwiseTiles.h). A parallel index is one image (batch and outer
// spatial dims), one strip of rows and one channel block.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/DepthwiseTiles.h"
#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/RowStrips.h"

using namespace mlir;

namespace marver {
namespace {

mv::DepthwiseConvOp findAnchor(mv::KernelOp kernel) {
  return *kernel.getBlock().getOps<mv::DepthwiseConvOp>().begin();
}

OpFoldResult depthwiseExtent(OpBuilder &builder, Location loc,
                             mv::KernelOp kernel, ValueRange inputs,
                             ValueRange outs, const TargetInfo &target) {
  mv::DepthwiseConvOp conv = findAnchor(kernel);
  Value input = inputs[cast<BlockArgument>(conv.getInput()).getArgNumber()];
  return rowStripsExtent(
      builder, loc, input,
      {tapsOf(conv), conv.getStrides(), conv.getDilations(), /*pads=*/{}},
      DepthwiseSchedule(kernel.getSchedule()).stripRows);
}

LogicalResult emitDepthwise(KernelEmitter &e) {
  mv::DepthwiseConvOp conv = findAnchor(e.kernel());
  Evaluator evaluator(e);
  ResultWriter writer(evaluator);
  TileEpilogue epilogue(e, evaluator, writer, conv);
  const Buffer &input = e.input(conv.getInput());
  DictionaryAttr schedule = e.kernel().getSchedule();
  DepthwiseTiles tiles(e, epilogue, conv, input, schedule);
  RowStrips strips(e, evaluator.dims(conv.getResult()),
                   DepthwiseSchedule(schedule).stripRows);
  writer.fillBorders(strips.extent());
  strips.forEach([&](const RowStrips::Strip &strip) {
    Value offset = e.add(e.mul(strip.image[0], e.materialize(input.strides[0])),
                         e.mul(strip.block, e.materialize(input.strides[1])));
    for (auto [d, at] : llvm::enumerate(ArrayRef(strip.image).drop_front()))
      offset = e.add(offset, e.mul(at, tiles.stepStride(d)));
    Value start = e.address(input.pointer, e.builder().getF32Type(), offset);
    tiles.compute({strip.block, start, strip.row, strip.rowEnd}, strips.width,
                  e.constantValue(strips.rows),
                  [&](const Coordinate &row, const Coordinate &column) {
                    return strips.pointAt(strip, row, column);
                  });
  });
  return evaluator.result();
}

} // namespace

const KernelFamily depthwiseFamily = {
    "depthwise", depthwiseExtent,
    [](mv::KernelOp kernel, const TargetInfo &target) -> int64_t {
      return TileEpilogue::scratchBytes(kernel, findAnchor(kernel), target);
    },
    emitDepthwise};

} // namespace marver
