#!/usr/bin/env python3
"""Quantized models compute what PyTorch and ONNX Runtime compute, on integers.

usage: quantized.py BUILD [--target-cpu=CPU] [--keep=DIR]

Each model is quantized the way its exporter writes it: PT2E's operators in a
.pt2 file, QuantizeLinear and DequantizeLinear, MatMulInteger or QLinearConv in an
.onnx file. Results may be one quantum off where a value lies at the middle of
two (the reference divides or rounds in f32 at another place), in few elements;
contractions must have become products of bytes. Results are bit-identical with
one and two threads.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

import marver  # noqa: E402

marver.run_in_environment()

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
import torch.ao.quantization.fx._decomposed  # noqa: E402,F401
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

Q = torch.ops.quantized_decomposed
random = np.random.default_rng(3)

# Elements that may be one quantum off, as a share of all.
OFF_BY_ONE = 0.02


class Pt2eLayer(nn.Module):
    """A layer between quantized tensors, weights quantized for each output."""

    def __init__(self, layer, scale, zero, signed):
        super().__init__()
        self.layer, self.scale, self.zero = layer, scale, zero
        self.low, self.high = (-128, 127) if signed else (0, 255)
        self.type = torch.int8 if signed else torch.uint8
        weight = layer.weight.detach()
        step = weight.reshape(weight.shape[0], -1).abs().amax(1) / 127
        self.register_buffer("step", step)
        self.register_buffer("none", torch.zeros(weight.shape[0], dtype=torch.int64))
        shape = [-1] + [1] * (weight.ndim - 1)
        self.register_buffer("q", torch.round(weight / step.reshape(shape)).to(torch.int8))
        del layer.weight

    def forward(self, x):
        quantum = (self.scale, self.zero, self.low, self.high, self.type)
        x = Q.dequantize_per_tensor.default(Q.quantize_per_tensor.default(x, *quantum), *quantum)
        weight = Q.dequantize_per_channel.default(self.q, self.step, self.none, 0, -127, 127, torch.int8)
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return nn.functional.linear(x, weight, layer.bias)
        return nn.functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding,
                                    layer.dilation, layer.groups)


class Output(nn.Module):
    def __init__(self, scale, zero):
        super().__init__()
        self.quantum = (scale, zero, 0, 255, torch.uint8)

    def forward(self, x):
        return Q.dequantize_per_tensor.default(Q.quantize_per_tensor.default(x, *self.quantum), *self.quantum)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Dynamic(nn.Module):
    """Activations quantized by the range that they have."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        scale, zero = Q.choose_qparams.tensor(x, 0, 255, 1e-6, torch.uint8)
        q = Q.quantize_per_tensor.tensor(x, scale, zero, 0, 255, torch.uint8)
        return self.layer(Q.dequantize_per_tensor.tensor(q, scale, zero, 0, 255, torch.uint8))


def networks():
    """name: model, input, quantum of the output, products of bytes expected"""
    torch.manual_seed(5)
    for signed in (False, True):
        zero = -9 if signed else 121
        kind = "signed" if signed else "unsigned"
        yield f"linear-{kind}", nn.Sequential(
            Pt2eLayer(nn.Linear(64, 130), 0.03, zero, signed), nn.ReLU(),
            Pt2eLayer(nn.Linear(130, 47, bias=False), 0.02, zero, signed), Output(0.02, 128)), \
            torch.randn(13, 64), 0.02, 2
        yield f"vector-{kind}", nn.Sequential(
            Pt2eLayer(nn.Linear(77, 200), 0.03, zero, signed), Output(0.02, 128)), \
            torch.randn(1, 77), 0.02, 1
        yield f"convolutions-{kind}", nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.Hardtanh(0, 6),
            Pt2eLayer(nn.Conv2d(32, 40, 3, padding=1, stride=2), 0.01, zero, signed), nn.ReLU(),
            Pt2eLayer(nn.Conv2d(40, 40, 1), 0.02, zero, signed),
            Residual(Pt2eLayer(nn.Conv2d(40, 40, 3, padding=2, dilation=2), 0.01, zero, signed)),
            Pt2eLayer(nn.Conv2d(40, 40, 3, padding=1, groups=40), 0.02, zero, signed),
            Pt2eLayer(nn.Conv2d(40, 19, 1, bias=False), 0.02, zero, signed), Output(0.01, 100)), \
            torch.randn(2, 3, 19, 23), 0.01, 4
    yield "dynamic-ranges", Dynamic(50, 33), torch.randn(7, 50), 1e-5, 0


def bytes_of(shape, kind):
    low, high = (0, 256) if kind == np.uint8 else (-127, 128)
    return random.integers(low, high, shape).astype(kind)


def onnx_model(nodes, constants, inputs, outputs):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def onnx_models():
    node = helper.make_node
    f32, u8, i32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT32
    for kind, zero in ((np.uint8, 131), (np.int8, 7)):
        name = np.dtype(kind).name
        yield f"qdq-matmul-{name}", onnx_model(
            [node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             node("DequantizeLinear", ["w", "ws"], ["wd"], axis=1),
             node("MatMul", ["d", "wd"], ["m"]), node("Add", ["m", "b"], ["a"]),
             node("Relu", ["a"], ["r"]),
             node("QuantizeLinear", ["r", "ys", "z"], ["yq"]),
             node("DequantizeLinear", ["yq", "ys", "z"], ["y"])],
            {"s": np.float32(0.02), "z": np.array(zero, kind), "ys": np.float32(0.05),
             "w": bytes_of((72, 50), np.int8), "ws": random.uniform(0.001, 0.01, 50).astype(np.float32),
             "b": random.standard_normal(50).astype(np.float32)},
            [("x", f32, [3, 5, 72])], [("y", f32)]), \
            [random.standard_normal((3, 5, 72)).astype(np.float32)], 0.05, 1
        yield f"matmul-integer-{name}", onnx_model(
            [node("MatMulInteger", ["x", "w", "z", "wz"], ["y"])],
            {"w": bytes_of((41, 66), np.int8), "z": np.array(zero, kind), "wz": np.array(0, np.int8)},
            [("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [9, 41])], [("y", i32)]), \
            [bytes_of((9, 41), kind)], 0, 1
    yield "dynamic-quantization", onnx_model(
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
         node("MatMulInteger", ["q", "w", "z"], ["m"]), node("Cast", ["m"], ["c"], to=f32),
         node("Mul", ["s", "ws"], ["f"]), node("Mul", ["c", "f"], ["y"])],
        {"w": bytes_of((96, 40), np.int8), "ws": np.float32(0.004)},
        [("x", f32, ["n", 96])], [("y", f32)]), \
        [random.standard_normal((6, 96)).astype(np.float32)], 0.02, 1
    yield "qlinear-conv", onnx_model(
        [node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "ys", "yz", "b"], ["y"],
              pads=[1, 0, 1, 2], strides=[2, 1], kernel_shape=[3, 3])],
        {"s": np.float32(0.02), "z": np.array(99, np.uint8), "w": bytes_of((21, 24, 3, 3), np.int8),
         "ws": random.uniform(0.001, 0.004, 21).astype(np.float32), "wz": np.zeros(21, np.int8),
         "ys": np.float32(0.11), "yz": np.array(120, np.uint8),
         "b": random.integers(-3000, 3000, 21).astype(np.int32)},
        [("x", u8, [2, 24, 9, 11])], [("y", u8)]), \
        [bytes_of((2, 24, 9, 11), np.uint8)], 1, 1
    yield "conv-integer", onnx_model(
        [node("ConvInteger", ["x", "w", "z"], ["y"], pads=[1, 1, 1, 1], kernel_shape=[3, 3])],
        {"z": np.array(99, np.uint8), "w": bytes_of((21, 24, 3, 3), np.int8)},
        [("x", u8, [1, 24, 9, 11])], [("y", i32)]), \
        [bytes_of((1, 24, 9, 11), np.uint8)], 0, 1
    yield "wide-weights", onnx_model(  # with their zero point no longer bytes
        [node("MatMulInteger", ["x", "w", "z", "wz"], ["y"])],
        {"w": bytes_of((41, 66), np.uint8), "z": np.array(3, np.uint8), "wz": np.array(9, np.uint8)},
        [("x", u8, [9, 41])], [("y", i32)]), \
        [bytes_of((9, 41), np.uint8)], 0, 0


def compare(want, got, quantum):
    if want.dtype != got.dtype or want.shape != got.shape:
        raise marver.Failure(f"{got.dtype}{got.shape} instead of {want.dtype}{want.shape}")
    difference = np.abs(want.astype(np.float64) - got.astype(np.float64))
    # Sums of the same integers in another order of roundings.
    exact = 2e-5 * np.abs(want).max() if want.dtype == np.float32 else 0
    wrong = difference > quantum * 1.001 + exact
    off = difference > exact
    if wrong.any():
        raise marver.Failure(f"{int(wrong.sum())} of {want.size} elements are more than a quantum "
                             f"({quantum}) off, at most {difference.max():.4g}")
    if off.mean() > OFF_BY_ONE:
        raise marver.Failure(f"{int(off.sum())} of {want.size} elements are a quantum off")


def check(tools, folder, cpu, name, source, inputs, want, quantum, products):
    graph, module = folder / f"{name}.mlir", folder / f"{name}.mv"
    tools("marver-compile", source, "-o", graph, f"--target-cpu={cpu}", "--compile-to=graph")
    found = sum("mv.packed_" in line and "xi8>" in line for line in graph.read_text().splitlines())
    if found != products:
        raise marver.Failure(f"{found} products of bytes instead of {products}")
    tools("marver-compile", source, "-o", module, f"--target-cpu={cpu}")
    paths = []
    for i, value in enumerate(inputs):
        paths.append(folder / f"in{i}.npy")
        np.save(paths[-1], value)
    results = []
    for threads in (1, 2):
        out = folder / f"out{threads}.npy"
        tools.run(module, paths, [out], threads)
        results.append(np.load(out))
    if results[0].tobytes() != results[1].tobytes():
        raise marver.Failure("1 and 2 threads differ")
    compare(want, results[0], quantum)


def cases(folder):
    for name, model, x, quantum, products in networks():
        source = folder / f"{name}.pt2"
        with torch.no_grad():
            torch.export.save(torch.export.export(model.eval(), (x,)), source)
            yield name, source, [x.numpy()], model(x).numpy(), quantum, products
    for name, model, inputs, quantum, products in onnx_models():
        source = folder / f"{name}.onnx"
        onnx.save(model, source)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        want = session.run(None, {i.name: value for i, value in zip(session.get_inputs(), inputs)})
        yield name, source, inputs, want[0], quantum, products


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--target-cpu", default="host")
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    tools = marver.Tools(arguments.build)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, *rest in cases(folder):
            try:
                check(tools, folder, arguments.target_cpu, name, *rest)
                print(f"ok    {name}", flush=True)
            except marver.Failure as failure:
                failures += 1
                print(f"FAIL  {name}: {failure}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
