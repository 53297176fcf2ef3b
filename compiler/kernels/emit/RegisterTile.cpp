//===- RegisterTile.cpp - The inner kernel of contractions ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/kernels/emit/RegisterTile.h"
#include "compiler/ir/PackedWeights.h"
#include "compiler/kernels/emit/DotProduct.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace marver {

/// FMAs of an innermost loop that is written out instead of looped over. Loops
/// over taps never are: neighbouring pixels' windows share values, LLVM would
/// load them once and keep them, and run out of registers.
static constexpr int64_t kMostUnrolled = 96;

/// Cache lines of one stream that a step may ask for.
static constexpr int64_t kMostLines = 2;
static constexpr int64_t kLineElements = 16;

/// Steps of loops inside each other; nullopt if a trip count is dynamic.
static std::optional<int64_t> stepsOf(ArrayRef<ReductionLoop> loops) {
  int64_t steps = 1;
  for (const ReductionLoop &loop : loops) {
    std::optional<int64_t> trip = getConstantIntValue(loop.trip);
    if (!trip)
      return std::nullopt;
    steps *= *trip;
  }
  return steps;
}

std::optional<int64_t> stepsOf(const ReductionNest &nest) {
  std::optional<int64_t> outer = stepsOf(nest.loops);
  int64_t steps = 0;
  for (const ReductionNest::Segment &segment : nest.segments) {
    std::optional<int64_t> inner = stepsOf(segment.loops);
    if (!inner || !outer)
      return std::nullopt;
    steps += *outer * *inner;
  }
  return steps;
}

void RegisterTile::addStream(Value pointer, int64_t span, int64_t steps) {
  if (span > 0 && span <= steps * kMostLines * kLineElements)
    streams.push_back({pointer, span});
}

namespace {
class Accumulation {
public:
  Accumulation(KernelEmitter &e, const RegisterTile &tile,
               const ReductionNest &nest)
      : e(e), tile(tile), nest(nest), f32(e.builder().getF32Type()),
        inputType(tile.inputType ? tile.inputType : f32),
        weightType(tile.weightType ? tile.weightType : f32),
        group(reductionGroup(inputType)), lanes(e.target().lanes),
        steps(stepsOf(nest).value_or(0)) {}

  SmallVector<Value> run(Value input, Value weights,
                         SmallVector<Value> accumulators) {
    return loops(nest.loops, input, weights, e.constant(0),
                 std::move(accumulators), /*outer=*/true);
  }

private:
  /// `done` counts, for streams, the steps before these loops.
  SmallVector<Value> loops(ArrayRef<ReductionLoop> list, Value input,
                           Value weights, Value done,
                           SmallVector<Value> accumulators, bool outer) {
    if (list.empty()) {
      if (!outer)
        return step(input, weights, done, std::move(accumulators));
      for (const ReductionNest::Segment &segment : nest.segments) {
        accumulators = loops(
            segment.loops, e.address(input, inputType, segment.inputOffset),
            e.address(weights, weightType, segment.weightOffset), done,
            std::move(accumulators), /*outer=*/false);
        if (!tile.streams.empty())
          done = e.add(done, stepsOf(segment.loops).value_or(0));
      }
      return accumulators;
    }
    const ReductionLoop &loop = list.front();
    bool innermost = list.size() == 1 && !outer;
    int64_t inner = stepsInside(list.drop_front(), outer);
    auto inside = [&](Value i, SmallVector<Value> state) {
      if (innermost && tile.rowDistance)
        e.prefetch(
            e.address(input, inputType,
                      e.add(e.mul(i, tile.pixelDistance), tile.rowDistance)),
            /*write=*/false, /*locality=*/2);
      return loops(list.drop_front(),
                   e.address(input, inputType, e.mul(i, loop.inputStride)),
                   e.address(weights, weightType, e.mul(i, loop.weightStride)),
                   tile.streams.empty() ? done : e.add(done, e.mul(i, inner)),
                   std::move(state), outer);
    };
    std::optional<int64_t> trip = getConstantIntValue(loop.trip);
    if (trip && (*trip == 1 ||
                 (innermost && *trip * tile.accumulators() <= kMostUnrolled))) {
      for (int64_t i = 0; i < *trip; ++i)
        accumulators = inside(e.constant(i), std::move(accumulators));
      return accumulators;
    }
    int64_t unroll = innermost ? tile.unroll : 1;
    auto body = [&](int64_t copies) {
      return [&, copies](Value i, ValueRange state) {
        SmallVector<Value> current(state);
        for (int64_t copy = 0; copy < copies; ++copy)
          current = inside(e.add(i, copy), std::move(current));
        return current;
      };
    };
    Value upper = e.materialize(loop.trip);
    if (unroll == 1)
      return e.loop(e.constant(0), upper, 1, accumulators, body(1));
    Value whole = e.mul(e.floorDiv(upper, e.constant(unroll)), unroll);
    accumulators =
        e.loop(e.constant(0), whole, unroll, accumulators, body(unroll));
    if (trip) {
      for (int64_t i = *trip / unroll * unroll; i < *trip; ++i)
        accumulators = inside(e.constant(i), std::move(accumulators));
      return accumulators;
    }
    return e.loop(whole, upper, 1, accumulators, body(1));
  }

  /// Steps that one iteration of a loop with these loops inside it does.
  int64_t stepsInside(ArrayRef<ReductionLoop> loops, bool outer) {
    int64_t count = stepsOf(loops).value_or(0);
    if (!outer)
      return count;
    int64_t inner = 0;
    for (const ReductionNest::Segment &segment : nest.segments)
      inner += stepsOf(segment.loops).value_or(0);
    return count * inner;
  }

  void prefetchStreams(Value done) {
    for (const RegisterTile::Stream &stream : tile.streams) {
      assert(steps && "streams are for nests of known size");
      Value from = e.floorDiv(e.mul(done, stream.span), e.constant(steps));
      Value pointer = e.address(stream.pointer, f32, from);
      int64_t lines = llvm::divideCeil(stream.span, steps * kLineElements);
      for (int64_t i = 0; i < lines; ++i)
        e.prefetch(e.address(pointer, f32, e.constant(i * kLineElements)),
                   /*write=*/false, /*locality=*/2);
    }
  }

  SmallVector<Value> step(Value input, Value weights, Value done,
                          SmallVector<Value> accumulators) {
    prefetchStreams(done);
    int64_t panels = tile.panelOffsets.size();
    SmallVector<Value> loaded;
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value base = e.address(weights, weightType, tile.panelOffsets[panel]);
      for (int64_t j = 0; j < tile.vectors; ++j) {
        Value pointer =
            e.address(base, weightType, e.constant(j * lanes * group));
        loaded.push_back(group > 1 ? e.load(pointer, weightType, lanes * group)
                         : j + 1 == tile.vectors && tile.lastMask
                             ? e.loadMasked(pointer, f32, tile.lastMask)
                             : e.loadWeights(pointer, weightType, lanes));
        if (tile.prefetch)
          e.prefetch(e.address(pointer, weightType, e.constant(tile.prefetch)));
      }
    }
    for (int64_t i = 0; i < tile.pixels(); ++i) {
      Value pointer = e.address(input, inputType, tile.pixelOffsets[i]);
      Value value = group > 1 ? loadGroup(e, pointer, inputType, group)
                              : e.splat(e.load(pointer, f32, 0), lanes);
      for (int64_t panel = 0; panel < panels; ++panel)
        for (int64_t j = 0; j < tile.vectors; ++j) {
          Value &sum = accumulators[tile.position(panel, i, j)];
          Value factor = loaded[panel * tile.vectors + j];
          sum = group > 1 ? dotProduct(e, value, factor, sum)
                          : e.fma(value, factor, sum);
        }
    }
    return accumulators;
  }

  KernelEmitter &e;
  const RegisterTile &tile;
  const ReductionNest &nest;
  Type f32, inputType, weightType;
  int64_t group, lanes;
  const int64_t steps; ///< of the nest; 0 if dynamic
};
} // namespace

SmallVector<Value>
RegisterTile::accumulate(KernelEmitter &e, Value input, Value weights,
                         const ReductionNest &nest,
                         SmallVector<Value> accumulators) const {
  return Accumulation(e, *this, nest)
      .run(input, weights, std::move(accumulators));
}

void loopOrOnce(KernelEmitter &e, Value lower, Value upper, int64_t step,
                llvm::function_ref<void(Value)> body) {
  std::optional<int64_t> from = e.constantValue(lower);
  std::optional<int64_t> to = e.constantValue(upper);
  if (from && to && *from + step >= *to) {
    if (*from < *to)
      body(lower);
    return;
  }
  e.loop(lower, upper, step, body);
}

void forPieces(KernelEmitter &e, Value lower, Value upper, int64_t piece,
               std::optional<int64_t> size,
               llvm::function_ref<void(Value, int64_t)> body) {
  if (piece == 1) {
    loopOrOnce(e, lower, upper, 1, [&](Value i) { body(i, 1); });
    return;
  }
  Value length = e.sub(upper, lower);
  Value whole =
      e.add(lower, e.mul(e.floorDiv(length, e.constant(piece)), piece));
  loopOrOnce(e, lower, whole, piece, [&](Value i) { body(i, piece); });
  if (size) {
    int64_t rest = *size % piece;
    if (!rest)
      return;
    std::optional<int64_t> from = e.constantValue(whole);
    std::optional<int64_t> to = e.constantValue(upper);
    if (from && to) {
      body(whole, rest);
      return;
    }
    // Only the last strip has a rest.
    loopOrOnce(e, whole, upper, rest, [&](Value i) { body(i, rest); });
    return;
  }
  // Each length is a body of its own: halves of 12 (6, 3, 1) are a fifth less
  // code than powers of two (8, 4, 2, 1), and cover a rest in about as many
  // steps.
  for (int64_t shorter = piece / 2; shorter; shorter /= 2) {
    Value next =
        e.add(whole, e.mul(e.floorDiv(e.sub(upper, whole), e.constant(shorter)),
                           shorter));
    e.loop(whole, next, shorter, [&](Value i) { body(i, shorter); });
    whole = next;
  }
}

} // namespace marver
