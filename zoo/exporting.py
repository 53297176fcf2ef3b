"""Seeded weights, and the writing of one model's files.

A model's folder holds

    NAME.pt2  NAME.onnx                 exported at the shapes of case 0
    NAME_dyn.pt2  NAME_dyn.onnx         with dynamic dims, if the model has some
    CASE/in*.npy  CASE/out*.npy         inputs and PyTorch eager's outputs
    NAME.graph.txt  meta.json           for readers and for the tests

Case 0 is what the static exports were made at; the dynamic exports must be right
on every case.
"""

import collections
import dataclasses
import json
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

OPSET = 20
warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


@dataclasses.dataclass
class Model:
    module: nn.Module
    inputs: tuple
    input_names: list[str]
    output_names: list[str]
    # torch.export's dynamic_shapes, and the inputs of further cases. The first of
    # them is what the dynamic export is traced at (no dim of size 1, which torch
    # would take for a constant).
    dynamic: Any = None
    more_inputs: tuple = ()
    # Like quantities within an output: name -> slice of the last dim. They are
    # compared with their own largest value.
    groups: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    # torch 2.13 neither decomposes a module with torch.while_loop nor counts its work.
    loops: bool = False


def seed_weights(model, seed=0, gain=2.0, linear_gain=1.0, embedding_std=0.1):
    """Deterministic, variance-preserving weights; batch norm is far from identity."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, (nn.Conv1d, nn.Conv2d)):
                m.weight.normal_(0, math.sqrt(gain / m.weight[0].numel()), generator=g)
                if m.bias is not None:
                    m.bias.normal_(0, 0.05, generator=g)
            elif isinstance(m, nn.Linear):
                m.weight.normal_(0, math.sqrt(linear_gain / m.in_features), generator=g)
                if m.bias is not None:
                    m.bias.normal_(0, 0.05, generator=g)
            elif isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                m.weight.uniform_(0.8, 1.2, generator=g)
                m.bias.normal_(0, 0.1, generator=g)
                m.running_mean.normal_(0, 0.1, generator=g)
                m.running_var.uniform_(0.7, 1.3, generator=g)
            elif isinstance(m, nn.LayerNorm):
                m.weight.uniform_(0.8, 1.2, generator=g)
                m.bias.normal_(0, 0.1, generator=g)
            elif isinstance(m, nn.Embedding):
                m.weight.normal_(0, embedding_std, generator=g)
    return model.eval().cpu()


def noise(*shape, seed=0):
    """Normal noise from numpy's generator, so not the stream that made the weights."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def leaves(tree):
    return [t.detach() if isinstance(t, torch.Tensor) else torch.tensor(t)
            for t in pytree.tree_leaves(tree)]


def pt2_operators(program):
    count = collections.Counter()
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                if node.op == "call_function":
                    target = node.target
                    count[str(target) if hasattr(target, "_schema")
                          else f"{target.__module__}.{target.__name__}"] += 1
    return dict(count.most_common())


def onnx_operators(model):
    import onnx

    count = collections.Counter()

    def walk(nodes):
        for node in nodes:
            count[node.op_type] += 1
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    walk(attribute.g.node)

    walk(model.graph.node)
    return dict(count.most_common())


def check_with_onnxruntime(path, model, inputs, reference):
    """A second opinion: the reference must not be PyTorch's alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {i.name: x.numpy() for i, x in zip(session.get_inputs(), leaves(inputs), strict=True)}
    worst = 0.0
    for want, got in zip(reference, session.run(None, feeds), strict=True):
        largest = float(np.abs(want).max()) or 1.0
        worst = max(worst, float(np.abs(want.astype(np.float64) - got).max()) / largest)
    if not worst < 5e-5:
        raise SystemExit(f"{path}: ONNX Runtime differs by {worst} of the largest value")
    return worst


def write(name, model, folder: Path):
    """Writes everything that the tests need of `model` into `folder`."""
    meta = {"name": name, "torch": torch.__version__, "groups": model.groups,
            "params": sum(p.numel() for p in model.module.parameters())}
    references = []
    meta["cases"] = []
    for number, inputs in enumerate((model.inputs, *model.more_inputs)):
        with torch.no_grad():
            outputs = [x.numpy() for x in leaves(model.module(*inputs))]
        references.append(outputs)
        case = folder / str(number)
        case.mkdir()
        for i, x in enumerate(leaves(inputs)):
            np.save(case / f"in{i}.npy", x.numpy())
        for i, x in enumerate(outputs):
            np.save(case / f"out{i}.npy", x)
        meta["cases"].append({
            "inputs": [[str(x.dtype).removeprefix("torch."), list(x.shape)] for x in leaves(inputs)],
            "outputs": [[str(x.dtype), list(x.shape)] for x in outputs]})

    def export(stem, inputs, dynamic, cases):
        with torch.no_grad():
            program = torch.export.export(
                model.module, inputs, dynamic_shapes=dynamic, strict=False)
            torch.export.save(program, folder / f"{stem}.pt2")
            onnx_program = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, external_data=False,
                dynamic_shapes=dynamic,  # only for the names of the dims
                input_names=model.input_names, output_names=model.output_names, verbose=False)
        onnx_program.save(str(folder / f"{stem}.onnx"), external_data=False)
        (folder / f"{stem}.graph.txt").write_text(
            program.graph_module.print_readable(print_output=False))
        return {
            "pt2_operators": pt2_operators(program),
            "pt2_decomposed_operators":
                {} if model.loops else pt2_operators(program.run_decompositions()),
            "onnx_operators": onnx_operators(onnx_program.model_proto),
            "ranges": {str(k): str(v) for k, v in program.range_constraints.items()},
            "onnxruntime_error": max(
                check_with_onnxruntime(folder / f"{stem}.onnx", model, inputs, reference)
                for inputs, reference in cases)}

    cases = list(zip((model.inputs, *model.more_inputs), references))
    meta["static"] = export(name, model.inputs, None, cases[:1])
    if model.dynamic is not None:
        meta["dynamic"] = export(f"{name}_dyn", model.more_inputs[0], model.dynamic, cases)
    if not model.loops:
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            model.module(*model.inputs)
        meta["gmacs"] = flops.get_total_flops() / 2e9
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
