//===- Mutation.cpp - In-place operators of exported programs -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Mutation.h"
#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace marver::torch {

/// Operators whose result is, or may be, their first argument's memory.
static bool mayBeView(StringRef target) {
  target.consume_front("torch.ops.");
  static const char *const names[] = {"aten.alias",
                                      "aten.as_strided",
                                      "aten.chunk",
                                      "aten.contiguous",
                                      "aten.detach",
                                      "aten.detach_",
                                      "aten.diagonal",
                                      "aten.dropout",
                                      "aten.expand",
                                      "aten.expand_as",
                                      "aten.feature_dropout",
                                      "aten.flatten",
                                      "aten.lift_fresh",
                                      "aten.movedim",
                                      "aten.narrow",
                                      "aten.numpy_T",
                                      "aten.permute",
                                      "aten.real",
                                      "aten.reshape",
                                      "aten.reshape_as",
                                      "aten.select",
                                      "aten.slice",
                                      "aten.split",
                                      "aten.split_with_sizes",
                                      "aten.squeeze",
                                      "aten.swapaxes",
                                      "aten.t",
                                      "aten.tensor_split",
                                      "aten.to",
                                      "aten.transpose",
                                      "aten.type_as",
                                      "aten.unbind",
                                      "aten.unflatten",
                                      "aten.unfold",
                                      "aten.unsqueeze",
                                      "aten.view",
                                      "aten.view_as"};
  StringRef name = target.rsplit('.').first;
  return is_contained(names, name);
}

static void forEachTensor(const Argument &argument,
                          function_ref<void(const std::string &)> body) {
  if (argument.kind == Argument::Tensor)
    body(argument.text);
  for (const Argument &item : argument.list)
    forEachTensor(item, body);
}

void Mutations::prepare(const Program &program) {
  for (const InputSpec &spec : program.inputs)
    if (spec.value.kind == Argument::Tensor)
      addInput(spec.value.text);
  unsigned at = 0;
  for (const Node &node : program.nodes) {
    ++at;
    for (const auto &[name, argument] : node.inputs)
      forEachTensor(argument,
                    [&](const std::string &tensor) { lastUse[tensor] = at; });
  }
  for (const OutputSpec &spec : program.outputs)
    forEachTensor(spec.value,
                  [&](const std::string &tensor) { lastUse[tensor] = at + 1; });
}

std::string Mutations::visit(const Node &node, bool isInPlace,
                             function_ref<void(StringRef)> rename) {
  ++position;
  const bool isView = isInPlace || mayBeView(node.target);
  if (!isView || node.inputs.empty() ||
      node.inputs[0].second.kind != Argument::Tensor)
    return "";
  const std::string &written = node.inputs[0].second.text;
  auto [entry, isNew] = groupOf.try_emplace(written, groups.size());
  if (isNew)
    groups.push_back({written});
  const unsigned group = entry->second;
  if (isInPlace) {
    for (const std::string &member : groups[group])
      if (inputs.contains(member))
        return "it changes the model's input or weight '" + member +
               "' in place, which is not supported; models in training mode "
               "do that: call eval() before the export";
    for (const std::string &member : groups[group])
      if (member != written && lastUse.lookup(member) > position)
        return "it changes '" + written + "' in place while '" + member +
               "', which may share its memory, is used later; export the "
               "program without in-place operators: "
               "exported_program.run_decompositions({})";
    rename(written);
  }
  for (const Argument &output : node.outputs)
    forEachTensor(output, [&](const std::string &result) {
      if (groupOf.try_emplace(result, group).second)
        groups[group].push_back(result);
    });
  return "";
}

} // namespace marver::torch
