//===- RowStrips.cpp - Windows of blocked tensors, by strips --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/RowStrips.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace marver;

OpFoldResult marver::rowStripsExtent(OpBuilder &builder, Location loc,
                                     Value input, const Windows &windows,
                                     int64_t stripRows) {
  int64_t spatial = windows.taps.size();
  auto apply = [&](AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(builder, loc, expr, operands);
  };
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  auto size = [&](int64_t dim) -> OpFoldResult {
    return memref::getMixedSize(builder, loc, input, dim);
  };
  OpFoldResult extent = apply(d0 * d1, {size(0), size(1)});
  for (int64_t d = 0; d < spatial - 1; ++d) {
    int64_t reach = windows.dilations[d] * (windows.taps[d] - 1) + 1;
    int64_t pads =
        windows.pads.empty() ? 0 : windows.pads[d] + windows.pads[spatial + d];
    OpFoldResult length = apply(
        (d0 + (pads - reach)).floorDiv(windows.strides[d]) + 1, {size(2 + d)});
    if (d + 2 == spatial)
      length = stripRows ? apply(d0.ceilDiv(stripRows), {length})
                         : OpFoldResult(builder.getIndexAttr(1));
    extent = apply(d0 * d1, {extent, length});
  }
  return extent;
}

RowStrips::RowStrips(KernelEmitter &e, ArrayRef<Value> sizes, int64_t stripRows)
    : e(e), hasRows(sizes.size() > 4), stripRows(hasRows ? stripRows : 0) {
  ArrayRef<Value> spatial = sizes.drop_front(2).drop_back();
  width = spatial.back();
  rows = hasRows ? spatial[spatial.size() - 2] : e.constant(1);
  extents.push_back(sizes[0]);
  if (hasRows)
    llvm::append_range(extents, spatial.drop_back(2));
  extents.push_back(this->stripRows ? e.floorDiv(e.add(rows, stripRows - 1),
                                                 e.constant(stripRows))
                                    : e.constant(1));
  extents.push_back(sizes[1]);
}

Value RowStrips::extent() {
  Value extent = e.constant(1);
  for (OpFoldResult size : extents)
    extent = e.mul(extent, e.materialize(size));
  return extent;
}

void RowStrips::forEach(llvm::function_ref<void(const Strip &)> body) {
  e.loop(e.begin(), e.end(), 1, [&](Value index) {
    Strip strip;
    strip.image = e.delinearize(index, extents);
    strip.block = strip.image.pop_back_val();
    Value number = strip.image.pop_back_val();
    strip.row = e.constant(0);
    strip.rowEnd = rows;
    if (stripRows) {
      strip.row = e.mul(number, stripRows);
      strip.rowEnd = e.min(e.add(strip.row, stripRows), rows);
    }
    body(strip);
  });
}

Point RowStrips::pointAt(const Strip &strip, const Coordinate &row,
                         const Coordinate &column) {
  CoordinateMath math(e, e.target().lanes);
  Point point;
  point.lanes = e.target().lanes;
  point.at.push_back(math.of(strip.image[0]));
  point.at.push_back(math.of(strip.block));
  for (Value coordinate : ArrayRef(strip.image).drop_front())
    point.at.push_back(math.of(coordinate));
  if (hasRows)
    point.at.push_back(row);
  point.at.push_back(column);
  point.at.push_back(Coordinate(Value(), 0, /*stride=*/1));
  return point;
}
