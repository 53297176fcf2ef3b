//===- TorchSizes.cpp - Result sizes that a file leaves open --------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/mlir/TorchSizes.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using marver::torch::Argument;
using marver::torch::Node;
using marver::torch::Program;
using marver::torch::SymContext;
using marver::torch::SymExpr;

namespace marver {
namespace {

class SizeInference {
public:
  SizeInference(Program &program, const Node &node, int64_t axis, int64_t rank)
      : program(program), context(program.symbols), node(node), axis(axis),
        rank(rank) {}

  std::optional<SymExpr> run();

private:
  using Size = std::optional<SymExpr>;

  const Argument *find(StringRef name) const;
  Size expr(const Argument *argument) const;
  /// The sizes of a tensor argument, null if it is none.
  const SmallVector<SymExpr, 4> *sizesOf(StringRef name) const;
  /// The size at `axis`, counted from the last one.
  Size ofTensor(StringRef name) const;
  /// Entry `axis` of a list of sizes that ends with the last axis.
  const Argument *entry(StringRef name) const;
  Size reshaped(StringRef name);
  Size expanded(StringRef name);
  Size range();
  Size resized();
  Size piece();
  Size grid();

  Program &program;
  SymContext &context;
  const Node &node;
  const int64_t axis, rank;
};

} // namespace

const Argument *SizeInference::find(StringRef name) const {
  for (const auto &[key, argument] : node.inputs)
    if (key == name && argument.kind != Argument::None)
      return &argument;
  return nullptr;
}

std::optional<SymExpr> SizeInference::expr(const Argument *argument) const {
  if (argument && argument->kind == Argument::Int)
    return SymExpr(argument->integer);
  if (!argument || argument->kind != Argument::SymInt)
    return std::nullopt;
  auto found = program.symInts.find(argument->text);
  if (found == program.symInts.end())
    return std::nullopt;
  return found->second;
}

const SmallVector<SymExpr, 4> *SizeInference::sizesOf(StringRef name) const {
  const Argument *argument = find(name);
  if (!argument || argument->kind != Argument::Tensor)
    return nullptr;
  auto found = program.tensors.find(argument->text);
  return found == program.tensors.end() ? nullptr : &found->second.sizes;
}

std::optional<SymExpr> SizeInference::ofTensor(StringRef name) const {
  const auto *sizes = sizesOf(name);
  if (!sizes)
    return std::nullopt;
  const int64_t at = int64_t(sizes->size()) - rank + axis;
  if (at < 0 || at >= int64_t(sizes->size()))
    return std::nullopt;
  return (*sizes)[at];
}

const Argument *SizeInference::entry(StringRef name) const {
  const Argument *list = find(name);
  if (!list || list->kind != Argument::List)
    return nullptr;
  const int64_t at = int64_t(list->list.size()) - rank + axis;
  return at >= 0 && at < int64_t(list->list.size()) ? &list->list[at] : nullptr;
}

/// -1 stands for what is left of the elements.
std::optional<SymExpr> SizeInference::reshaped(StringRef name) {
  Size size = expr(entry(name));
  if (!size || size->constant() != -1)
    return size;
  const auto *sizes = sizesOf("self");
  if (!sizes)
    return std::nullopt;
  SymExpr others(1), all(1);
  SmallVector<SymExpr, 4> factors(sizes->begin(), sizes->end());
  const Argument *list = find(name);
  for (int64_t i = 0; i < rank; ++i) {
    if (i == axis)
      continue;
    Size other = expr(&list->list[i]);
    if (!other)
      return std::nullopt;
    // What is equal on both sides needs no division.
    auto *equal = llvm::find(factors, *other);
    if (equal != factors.end())
      factors.erase(equal);
    else
      others = context.mul(others, *other);
  }
  for (const SymExpr &size : factors)
    all = context.mul(all, size);
  return context.floorDiv(all, others);
}

/// -1 keeps the operand's size.
std::optional<SymExpr> SizeInference::expanded(StringRef name) {
  Size size = expr(entry(name));
  return size && size->constant() == -1 ? ofTensor("self") : size;
}

std::optional<SymExpr> SizeInference::range() {
  Size start = find("start") ? expr(find("start")) : SymExpr(0);
  Size step = find("step") ? expr(find("step")) : SymExpr(1);
  Size end = expr(find("end"));
  if (!start || !step || !end || step->constant().value_or(0) <= 0)
    return std::nullopt;
  SymExpr length = context.sub(*end, *start);
  // Rounded up.
  return context.floorDiv(context.add(length, SymExpr(*step->constant() - 1)),
                          *step);
}

/// The last axes have given sizes, or the operand's times a factor.
std::optional<SymExpr> SizeInference::resized() {
  Size size = ofTensor(find("input") ? "input" : "self");
  if (axis < 2)
    return size;
  if (find("output_size"))
    return expr(entry("output_size"));
  const Argument *factor = entry("scale_factors");
  if (!factor || factor->kind != Argument::Float || !size ||
      !(factor->number >= 1 && factor->number < 1e6) ||
      factor->number != std::floor(factor->number))
    return std::nullopt;
  return context.mul(*size, SymExpr(int64_t(factor->number)));
}

/// Pieces along an axis have the others of the whole.
std::optional<SymExpr> SizeInference::piece() {
  Size along = find("dim") ? expr(find("dim")) : SymExpr(0);
  std::optional<int64_t> dim = along ? along->constant() : std::nullopt;
  if (!dim || (*dim < 0 ? *dim + rank : *dim) == axis)
    return std::nullopt;
  return ofTensor("self");
}

/// Axis i has the size of vector i.
std::optional<SymExpr> SizeInference::grid() {
  const Argument *list = find("tensors");
  if (!list || list->kind != Argument::List ||
      axis >= int64_t(list->list.size()) ||
      (find("indexing") && find("indexing")->text != "ij"))
    return std::nullopt;
  const Argument &vector = list->list[axis];
  auto found = program.tensors.find(vector.text);
  if (vector.kind != Argument::Tensor || found == program.tensors.end())
    return std::nullopt;
  const auto &sizes = found->second.sizes;
  return sizes.empty() ? SymExpr(1) : sizes[0];
}

std::optional<SymExpr> SizeInference::run() {
  StringRef target = node.target;
  target.consume_front("torch.ops.aten.");
  StringRef name = target.split('.').first;
  if (name.starts_with("upsample_") || name.starts_with("_upsample_"))
    return resized();
  if (name.starts_with("adaptive_") || name.starts_with("_adaptive_")) {
    const Argument *given = find("output_size");
    return given && given->kind == Argument::List && entry("output_size")
               ? expanded("output_size")
               : ofTensor("self");
  }
  enum Kind {
    Reshape,
    Shape,
    Expand,
    Given,
    Like,
    Other,
    Range,
    OneHot,
    Piece,
    Grid,
    None
  };
  switch (llvm::StringSwitch<Kind>(name)
              .Cases({"view", "_unsafe_view", "view_copy"}, Reshape)
              .Case("reshape", Shape)
              .Cases({"expand", "broadcast_to", "expand_copy"}, Expand)
              .Cases({"zeros", "ones", "full", "empty", "new_zeros", "new_ones",
                      "new_full", "new_empty", "as_strided"},
                     Given)
              .Cases({"zeros_like", "ones_like", "full_like", "empty_like",
                      "fill", "zero"},
                     Like)
              .Cases({"expand_as", "view_as", "reshape_as"}, Other)
              .Case("arange", Range)
              .Case("one_hot", OneHot)
              .Cases({"split", "split_with_sizes", "split_with_sizes_copy",
                      "unsafe_split", "unsafe_split_with_sizes", "chunk",
                      "unsafe_chunk", "tensor_split"},
                     Piece)
              .Case("meshgrid", Grid)
              .Default(None)) {
  case Reshape:
    return reshaped("size");
  case Shape:
    return reshaped("shape");
  case Expand:
    return expanded("size");
  case Given:
    return expr(entry("size"));
  case Like:
    return ofTensor("self");
  case Other:
    return ofTensor("other");
  case Range:
    return range();
  case OneHot: {
    const auto *sizes = sizesOf("self");
    if (!sizes || int64_t(sizes->size()) + 1 != rank)
      return std::nullopt;
    return axis + 1 == rank ? expr(find("num_classes")) : (*sizes)[axis];
  }
  case Piece:
    return piece();
  case Grid:
    return grid();
  case None:
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<SymExpr> inferSize(Program &program, const Node &node,
                                 int64_t axis, int64_t rank) {
  return SizeInference(program, node, axis, rank).run();
}

} // namespace marver
