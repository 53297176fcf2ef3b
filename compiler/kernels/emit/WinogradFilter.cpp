//===- WinogradFilter.cpp - Transformed weights of convolutions -----------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mv.winograd_filter: G g G^T of every pair of channels, in f64 and rounded
// once, half a register's lanes at a time. It runs once per load (or in the
// compiler, kernels/WinogradAlgorithm.cpp, to the same bits); a parallel index
// is a panel of the result.
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/Families.h"
#include "compiler/kernels/emit/MatrixTransform.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace marver {
namespace {

mv::WinogradFilterOp findAnchor(mv::KernelOp kernel) {
  return *kernel.getBlock().getOps<mv::WinogradFilterOp>().begin();
}

class WinogradFilterEmitter {
public:
  WinogradFilterEmitter(KernelEmitter &e, mv::WinogradFilterOp op)
      : e(e), f32(e.builder().getF32Type()),
        algorithm(getWinograd(op.getOutputs(), op.getWindow(), op.getStride())),
        source(e.input(op.getFilter())), result(e.output(0)),
        isPlane(op.getSpatialRank() == 2),
        from(cast<RankedTensorType>(op.getFilter().getType()).getShape()),
        to(cast<RankedTensorType>(op.getResult().getType()).getShape()),
        lanes(e.target().lanes) {}

  void run() {
    int64_t vectors = to[3] / lanes, sourceVectors = from.back() / lanes;
    e.loop(e.begin(), e.end(), 1, [&](Value panel) {
      e.loop(e.constant(0), e.constant(vectors), 1, [&](Value j) {
        Value block = e.add(e.mul(panel, vectors), j);
        Value sourcePanel = e.floorDiv(block, e.constant(sourceVectors));
        Value sourceLane =
            e.mul(e.rem(block, e.constant(sourceVectors)), lanes);
        Value exists =
            arith::CmpIOp::create(e.builder(), arith::CmpIPredicate::slt,
                                  sourcePanel, e.constant(from[0]));
        e.ifThen(
            exists,
            [&] {
              halves(panel, j, [&](Value channel, Value half) {
                Value channels = e.constant(from.drop_back().back());
                return transformed(offset(
                    {sourcePanel, firstTap(e.floorDiv(channel, channels)),
                     e.rem(channel, channels), e.add(sourceLane, half)}));
              });
            },
            [&] {
              halves(panel, j, [&](Value, Value) {
                return SmallVector<Value>(to[1], e.zero(f32, lanes / 2));
              });
            });
      });
    });
  }

private:
  /// Stores what `make` gives for half a register of vector `j`, channel by
  /// channel of the result.
  void halves(Value panel, Value j,
              llvm::function_ref<SmallVector<Value>(Value, Value)> make) {
    e.loop(e.constant(0), e.constant(to[2]), 1, [&](Value c) {
      e.loop(e.constant(0), e.constant(lanes), lanes / 2, [&](Value half) {
        SmallVector<Value> values = make(c, half);
        Value target = e.address(
            result, {panel, e.constant(0), c, e.add(e.mul(j, lanes), half)});
        Value step = e.materialize(result.strides[1]);
        for (auto [position, value] : llvm::enumerate(values))
          e.store(value, e.address(target, f32, e.mul(step, int64_t(position))),
                  f32);
      });
    });
  }

  /// Number of the first tap of a phase, both in row-major order.
  Value firstTap(Value phase) {
    if (!isPlane)
      return phase;
    Value phases = e.constant(algorithm.phases);
    return e.add(e.mul(e.floorDiv(phase, phases), algorithm.window),
                 e.rem(phase, phases));
  }

  /// Offset of a tap of number `index[1]` in row-major order.
  Value offset(ArrayRef<Value> index) {
    size_t last = source.strides.size() - 1;
    Value sum = e.mul(index[0], e.materialize(source.strides[0]));
    sum = e.add(sum, e.mul(index[1], e.materialize(source.strides[last - 2])));
    sum = e.add(sum, e.mul(index[2], e.materialize(source.strides[last - 1])));
    return e.add(sum, e.mul(index[3], e.materialize(source.strides[last])));
  }

  /// All positions of the phase whose first tap lies at `at`.
  SmallVector<Value> transformed(Value at) {
    ImplicitLocOpBuilder &b = e.builder();
    auto wide = VectorType::get({lanes / 2}, b.getF64Type());
    auto narrow = VectorType::get({lanes / 2}, f32);
    Value first = e.address(source.pointer, source.elementType, at);
    Value tapStride = e.materialize(source.strides[source.strides.size() - 3]);
    Matrix filter = algorithm.filterOfPhase();
    int64_t taps = filter.columns, phases = algorithm.phases;
    int64_t rows = isPlane ? taps : 1;
    SmallVector<SmallVector<Value>> columns;
    for (int64_t x = 0; x < taps; ++x) {
      SmallVector<Value> column;
      for (int64_t y = 0; y < rows; ++y)
        column.push_back(arith::ExtFOp::create(
            b, wide,
            e.loadWeights(e.address(first, source.elementType,
                                    e.mul(tapStride,
                                          (y * algorithm.window + x) * phases)),
                          source.elementType, lanes / 2)));
      columns.push_back(isPlane ? multiplyMatrixInOrder(e, filter, column)
                                : column);
    }
    SmallVector<Value> result;
    for (size_t i = 0; i < columns.front().size(); ++i) {
      SmallVector<Value> row;
      for (int64_t x = 0; x < taps; ++x)
        row.push_back(columns[x][i]);
      for (Value value : multiplyMatrixInOrder(e, filter, row))
        result.push_back(arith::TruncFOp::create(b, narrow, value));
    }
    return result;
  }

  KernelEmitter &e;
  const Type f32;
  const WinogradAlgorithm algorithm;
  const Buffer &source, &result;
  const bool isPlane; ///< two window dims, not one
  const ArrayRef<int64_t> from, to;
  const int64_t lanes;
};

} // namespace

const KernelFamily winogradFilterFamily = {
    "winograd_filter",
    [](OpBuilder &builder, Location, mv::KernelOp kernel, ValueRange,
       ValueRange, const TargetInfo &) -> OpFoldResult {
      auto type =
          cast<RankedTensorType>(findAnchor(kernel).getResult().getType());
      return builder.getIndexAttr(type.getDimSize(0));
    },
    [](mv::KernelOp, const TargetInfo &) -> int64_t { return 0; },
    [](KernelEmitter &emitter) -> LogicalResult {
      WinogradFilterEmitter(emitter, findAnchor(emitter.kernel())).run();
      return success();
    }};

} // namespace marver
