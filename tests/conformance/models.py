"""Makes the files of a case: the model, its inputs, the reference's outputs."""

import json
import warnings
import zlib
from pathlib import Path

import numpy as np
import registry

warnings.filterwarnings("ignore")


def arrays(case, seed):
    """Values of every variation; constants are the first's, in all of them."""
    result = []
    for number, specs in enumerate(case.inputs):
        random = np.random.default_rng([seed, number, zlib.crc32(case.name.encode())])
        values = [None if s is None else s.values(random) for s in specs]
        if result:
            values = [first if s is not None and s.is_constant else value
                      for s, value, first in zip(specs, values, result[0])]
        result.append(values)
    return result


def is_input(spec):
    return spec is not None and not spec.is_constant


# -- PyTorch

def torch_tensor(spec, value):
    import torch

    return torch.from_numpy(np.array(value)).to(getattr(torch, spec.dtype))


def torch_model(case, values, path):
    """Saves the .pt2; returns the eager function of a list of inputs."""
    import torch
    from torch.export import Dim

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            if isinstance(case.make, torch.nn.Module):
                self.layer = case.make  # its weights become the model's
            for i, (spec, value) in enumerate(zip(case.inputs[0], values[0])):
                if spec.is_constant:
                    self.register_buffer(f"c{i}", torch_tensor(spec, value))

        def forward(self, *inputs):
            given = iter(inputs)
            return case.make(*[getattr(self, f"c{i}") if spec.is_constant else next(given)
                               for i, spec in enumerate(case.inputs[0])])

    module = Module().eval()
    inputs = [[torch_tensor(s, v) for s, v in zip(specs, vs) if is_input(s)]
              for specs, vs in zip(case.inputs, values)]
    dynamic, example = None, 0
    if len(inputs) > 1:
        # Dims that have the same sizes in every variation are one symbol.
        symbols = {}

        def symbol(sizes):
            return symbols.setdefault(sizes, Dim(f"d{len(symbols)}", min=min(sizes), max=max(sizes)))

        dynamic = []
        for i, x in enumerate(inputs[0]):
            sizes = list(zip(*(list(other[i].shape) for other in inputs)))
            dynamic.append({axis: symbol(s) for axis, s in enumerate(sizes) if len(set(s)) > 1})
        dynamic = (tuple(dynamic),)
        # Tracing takes a size of 1 for a constant.
        example = next(n for n in range(len(inputs)) if all(sizes[n] > 1 for sizes in symbols))
    with torch.no_grad():
        program = torch.export.export(module, tuple(inputs[example]), dynamic_shapes=dynamic, strict=False)
        torch.export.save(program, path)

    operators = set()
    for node in program.graph.nodes:
        if node.op == "call_function":
            operators.add(str(node.target) if hasattr(node.target, "_schema")
                          else f"{node.target.__module__}.{node.target.__name__}")

    def evaluate(number):
        from torch.utils import _pytree as pytree

        with torch.no_grad():
            result = module(*inputs[number])
        return [x for x in pytree.tree_leaves(result)]

    return evaluate, operators


def torch_array(x):
    """A tensor as npy can hold it: bfloat16 as its bits."""
    import torch

    x = x.detach().contiguous()
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


# -- ONNX

def onnx_model(case, values, path):
    """Saves the .onnx; returns ONNX Runtime's function of a variation's number."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    node = case.make
    names = ["" if s is None else f"x{i}" for i, s in enumerate(case.inputs[0])]
    inputs, initializers = [], []
    for i, (spec, value) in enumerate(zip(case.inputs[0], values[0])):
        if spec is None:
            continue
        if spec.is_constant:
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(spec.shape), names[i]))
            continue
        dims = [size if len({v[i].shape[axis] for v in values}) == 1 else f"d{i}_{axis}"
                for axis, size in enumerate(spec.shape)]
        inputs.append(helper.make_tensor_value_info(
            names[i], helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), dims))
    outputs = [f"y{i}" for i in range(node.outputs)]
    graph = helper.make_graph(
        [helper.make_node(node.operator, names, outputs, name="node", **node.attributes)], "case",
        inputs, [helper.make_empty_tensor_value_info(o) for o in outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def evaluate(number):
        return session.run(None, {names[i]: v for i, (s, v) in
                                  enumerate(zip(case.inputs[number], values[number])) if is_input(s)})

    return evaluate, {node.operator}


# -- Files

def argument(spec, value, path):
    """Writes an input; returns what marver-run takes for it."""
    if spec.dtype == "bfloat16":
        bits = (np.asarray(value).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        path = path.with_suffix(".bin")
        path.write_bytes(bits.tobytes())
        return f"{'x'.join(map(str, (*spec.shape, 'bf16')))}=@{path.name}"
    np.save(path, np.ascontiguousarray(value).reshape(spec.shape))
    return f"@{path.name}"


def write(case, seed, folder: Path):
    """Writes a case's files; returns what running it needs to know."""
    folder.mkdir(parents=True)
    values = arrays(case, seed)
    model = folder / ("model.pt2" if case.source == "torch" else "model.onnx")
    evaluate, operators = (torch_model if case.source == "torch" else onnx_model)(case, values, model)
    runs = []
    for number, specs in enumerate(case.inputs):
        outputs = evaluate(number)
        types = []
        for i, output in enumerate(outputs):
            types.append(str(output.dtype).removeprefix("torch."))
            np.save(folder / f"out{number}.{i}.npy", torch_array(output) if case.source == "torch" else output)
        given = [(s, v) for s, v in zip(specs, values[number]) if is_input(s)]
        runs.append({"inputs": [argument(s, v, folder / f"in{number}.{i}.npy")
                                for i, (s, v) in enumerate(given)],
                     "outputs": types})
    return {"name": case.name, "model": str(model), "operators": sorted(operators), "runs": runs,
            "rtol": case.rtol, "atol": case.atol}


def write_all(cases, seed, folder):
    """Every case of a list, and an index of them. A case that the reference itself
    refuses is a mistake in the registry, and said so."""
    index, mistakes = [], []
    for number, case in enumerate(cases):
        try:
            index.append(write(case, seed, folder / str(number)))
        except Exception as error:  # whatever the exporters raise
            mistakes.append(f"{case.name}: {type(error).__name__}: {str(error).strip().splitlines()[:1]}")
    (folder / "index.json").write_text(json.dumps({"cases": index, "mistakes": mistakes}))


def load_topic(topic):
    """The cases that cases/TOPIC.py declares."""
    import importlib.util
    import sys

    registry.CASES.clear()
    path = Path(__file__).parent / "cases" / f"{topic}.py"
    spec = importlib.util.spec_from_file_location(f"cases_{topic}", path)
    # Named, so that PyTorch finds the functions that loops call.
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(registry.CASES)
