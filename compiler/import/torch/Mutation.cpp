//===- Mutation.cpp - In-place operators of exported programs -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Mutation.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;

namespace marver::torch {
namespace {

enum class ViewKind {
  None,
  Same,      ///< the tensor itself
  Reshape,   ///< all elements in the same order
  MaybeSame, ///< the tensor itself, or a copy
  Transpose,
  Permute,
  Select,
  Slice,
  Narrow,
  Split,
  Unbind,
  Other, ///< a view that cannot be written through here
};

ViewKind viewKind(StringRef target) {
  target.consume_front("torch.ops.");
  return StringSwitch<ViewKind>(target.rsplit('.').first)
      .Cases({"aten.alias", "aten.detach", "aten.detach_", "aten.dropout",
              "aten.feature_dropout", "aten.lift_fresh", "aten.positive"},
             ViewKind::Same)
      .Cases({"aten.contiguous", "aten.to", "aten.type_as"},
             ViewKind::MaybeSame)
      .Cases({"aten.view", "aten.view_as", "aten.reshape", "aten.reshape_as",
              "aten.flatten", "aten.unflatten", "aten.ravel", "aten.squeeze",
              "aten.unsqueeze"},
             ViewKind::Reshape)
      .Cases({"aten.transpose", "aten.swapaxes", "aten.swapdims", "aten.t",
              "aten.mT", "aten.numpy_T"},
             ViewKind::Transpose)
      .Case("aten.permute", ViewKind::Permute)
      .Case("aten.select", ViewKind::Select)
      .Case("aten.slice", ViewKind::Slice)
      .Case("aten.narrow", ViewKind::Narrow)
      .Cases({"aten.split", "aten.split_with_sizes", "aten.chunk",
              "aten.tensor_split"},
             ViewKind::Split)
      .Case("aten.unbind", ViewKind::Unbind)
      .Cases({"aten.as_strided", "aten.diagonal", "aten.expand",
              "aten.expand_as", "aten.broadcast_to", "aten.movedim",
              "aten.moveaxis", "aten.unfold", "aten.meshgrid"},
             ViewKind::Other)
      .Default(ViewKind::None);
}

void forEachTensor(const Argument &argument,
                   function_ref<void(const std::string &)> body) {
  if (argument.kind == Argument::Tensor)
    body(argument.text);
  for (const Argument &item : argument.list)
    forEachTensor(item, body);
}

} // namespace

void Mutations::prepare(ArrayRef<Node> nodes, ArrayRef<Argument> inputs,
                        ArrayRef<Argument> outputs) {
  for (const Argument &input : inputs)
    if (input.kind == Argument::Tensor)
      this->inputs[input.text] = true;
  unsigned at = 0;
  for (const Node &node : nodes) {
    ++at;
    for (const auto &[name, argument] : node.inputs)
      forEachTensor(argument,
                    [&](const std::string &tensor) { lastUse[tensor] = at; });
  }
  for (const Argument &output : outputs)
    forEachTensor(output,
                  [&](const std::string &tensor) { lastUse[tensor] = at + 1; });
}

/// unsqueeze_(x) changes no element: the name has another shape from now on.
static bool onlyReshapes(const Node &node) {
  std::string functional = node.target;
  if (size_t at = functional.rfind("_."); at != std::string::npos)
    functional.erase(at, 1);
  return viewKind(functional) != ViewKind::None &&
         viewKind(functional) != ViewKind::Same;
}

StringSet<> findWritten(ArrayRef<Node> nodes) {
  StringSet<> written;
  StringMap<std::string> roots;
  for (const Node &node : nodes) {
    bool isInPlace = false;
    findHandler(node.target, isInPlace);
    if ((!isInPlace && viewKind(node.target) == ViewKind::None) ||
        node.inputs.empty() || node.inputs[0].second.kind != Argument::Tensor)
      continue;
    const std::string &base = node.inputs[0].second.text;
    auto known = roots.find(base);
    const std::string root = known == roots.end() ? base : known->second;
    for (const Argument &output : node.outputs)
      forEachTensor(output,
                    [&](const std::string &result) { roots[result] = root; });
    if (isInPlace && !onlyReshapes(node))
      written.insert(root);
  }
  return written;
}

void Mutations::visit(const Node &node, bool isInPlace) {
  ++position;
  const bool isReshaped = isInPlace && onlyReshapes(node);
  ViewKind kind = isInPlace ? ViewKind::Same : viewKind(node.target);
  if (kind == ViewKind::None || node.inputs.empty() ||
      node.inputs[0].second.kind != Argument::Tensor)
    return;
  const std::string &base = node.inputs[0].second.text;
  if (isReshaped) {
    if (viewsOf.contains(base) || views.contains(base))
      graph.b.fail("it changes the shape of '" + base +
                   "', of which there are views; export the program without "
                   "in-place operators: "
                   "exported_program.run_decompositions({})");
    else if (!node.outputs.empty() && node.outputs[0].kind == Argument::Tensor)
      graph.setTensor(base, graph.tensor(node.outputs[0].text));
    return;
  }

  bool isCertain = true;
  const TensorMeta *from = graph.meta(base);
  if (kind == ViewKind::MaybeSame) {
    if (!node.outputs.empty() && node.outputs[0].kind == Argument::Tensor)
      if (const TensorMeta *to = graph.meta(node.outputs[0].text);
          to && from && to->type != from->type)
        return; // another dtype is a copy
    isCertain = !StringRef(node.target).contains("contiguous") ||
                (from && from->isContiguous);
  }
  if (kind == ViewKind::Reshape)
    isCertain = (from && from->isContiguous) ||
                !(StringRef(node.target).contains("reshape") ||
                  StringRef(node.target).contains("flatten") ||
                  StringRef(node.target).contains("ravel"));
  unsigned number = 0;
  std::string first;
  for (const Argument &output : node.outputs)
    forEachTensor(output, [&](const std::string &result) {
      if (first.empty())
        first = result;
      const bool isSame = kind == ViewKind::Same || kind == ViewKind::MaybeSame;
      View view{base, isSame ? nullptr : &node, number++, isCertain};
      if (views.try_emplace(result, view).second)
        viewsOf[base].push_back(result);
    });
  if (isInPlace && !first.empty())
    write(base, first);
}

/// `name` was written and is now what `result` is.
void Mutations::write(StringRef name, StringRef result) {
  Value value = graph.tensor(result);
  StringRef at = name;
  while (true) {
    graph.setTensor(at, value);
    auto found = views.find(at);
    if (found == views.end())
      break;
    const View &view = found->second;
    if (!view.isCertain && lastUse.lookup(view.base) > position) {
      graph.b.fail("it writes to '" + at + "', and whether '" + view.base +
                   "' shares its memory depends on strides; export the "
                   "program without in-place operators: "
                   "exported_program.run_decompositions({})");
      return;
    }
    if (!view.isCertain)
      return; // and nobody will see it
    value = view.node ? invert(view, graph.tensor(view.base), value) : value;
    if (!value)
      return;
    at = view.base;
  }
  if (inputs.contains(at)) {
    graph.b.fail("it changes the model's input '" + at +
                 "' in place, which is the caller's memory: change a copy "
                 "(clone()) and return it");
    return;
  }
  remake(at);
}

/// `base` with the part that `view` shows replaced by `value`.
Value Mutations::invert(const View &view, Value base, Value value) {
  OpsBuilder &b = graph.b;
  const Node &node = *view.node;
  Call c(graph, node);
  if (!base || !value)
    return nullptr;
  const int64_t rank = b.rankOf(base);
  switch (viewKind(node.target)) {
  case ViewKind::Reshape:
    return b.reshape(value, b.dims(base));
  case ViewKind::Transpose: {
    if (rank < 2)
      return value;
    int64_t first = rank - 2, second = rank - 1;
    if (c.has("dim0") || c.has("axis0")) {
      first = c.axis(c.has("dim0") ? "dim0" : "axis0", rank);
      second = c.axis(c.has("dim0") ? "dim1" : "axis1", rank);
    } else if (rank != 2) {
      break;
    }
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < rank; ++i)
      order.push_back(i == first ? second : i == second ? first : i);
    return b.transpose(value, order);
  }
  case ViewKind::Permute: {
    std::optional<SmallVector<int64_t>> order = b.axes(c.ints("dims"), rank);
    if (!order)
      return nullptr;
    SmallVector<int64_t> inverse(rank);
    for (auto [i, from] : enumerate(*order))
      inverse[from] = int64_t(i);
    return b.transpose(value, inverse);
  }
  case ViewKind::Select: {
    const int64_t axis = c.axis("dim", rank);
    Dim position = c.dim("index", b.index(0));
    if (b.known(position).value_or(0) < 0)
      position = b.add(b.dim(base, axis), position);
    return b.sliceScatter(base, b.unsqueeze(value, {axis}), axis, position,
                          b.index(1));
  }
  case ViewKind::Slice:
  case ViewKind::Narrow: {
    const int64_t axis = c.axis("dim", rank);
    Dim start = c.dim("start", b.index(0));
    Dim size = b.dim(base, axis);
    if (b.known(start).value_or(0) < 0)
      start = b.max(b.add(size, start), b.index(0));
    else if (b.known(start) != 0)
      start = b.min(start, size);
    return b.sliceScatter(base, value, axis, start, c.dim("step", b.index(1)));
  }
  case ViewKind::Unbind: {
    const int64_t axis = c.axis("dim", rank);
    return b.sliceScatter(base, b.unsqueeze(value, {axis}), axis,
                          b.index(view.number), b.index(1));
  }
  case ViewKind::Split: {
    const int64_t axis = c.axis("dim", rank);
    Dim start = b.index(0);
    for (unsigned i = 0; i < view.number; ++i) {
      Dims dims = c.resultDims(i);
      if (axis >= int64_t(dims.size()))
        return nullptr;
      start = b.add(start, dims[axis]);
    }
    return b.sliceScatter(base, value, axis, start, b.index(1));
  }
  default:
    break;
  }
  return b.fail("it writes to a view made by " + node.target +
                ", which is not supported; export the program without in-place "
                "operators: exported_program.run_decompositions({})");
}

/// Is it, or a view of it, read after the current node?
bool Mutations::isUsedLater(StringRef name) const {
  if (lastUse.lookup(name) > position)
    return true;
  auto found = viewsOf.find(name);
  return found != viewsOf.end() &&
         any_of(found->second,
                [&](const std::string &view) { return isUsedLater(view); });
}

/// Makes the views of `name` that are still of use again.
void Mutations::remake(StringRef name) {
  for (const std::string &result : viewsOf.lookup(name)) {
    if (!isUsedLater(result))
      continue;
    const View &view = views.find(result)->second;
    if (!view.isCertain) {
      graph.b.fail("whether '" + result +
                   "' shares the memory that it writes depends on strides; "
                   "export the program without in-place operators: "
                   "exported_program.run_decompositions({})");
      continue;
    }
    if (!view.node) {
      graph.setTensor(result, graph.tensor(name));
    } else {
      bool ignored;
      Call call(graph, *view.node);
      Value value = findHandler(view.node->target, ignored)(call);
      if (!value && view.number < call.results.size())
        value = call.results[view.number];
      graph.setTensor(result, value);
    }
    remake(result);
  }
}

} // namespace marver::torch
