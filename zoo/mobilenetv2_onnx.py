#!/usr/bin/env python3
"""Writes MobileNetV2 (the classifier, 1001 classes) as ONNX with seeded weights.

usage: mobilenetv2_onnx.py FOLDER              writes mobilenetv2.onnx and input.npy
       mobilenetv2_onnx.py --reference FOLDER  also evaluates the network in double
                                               precision (needs numpy) and stores the
                                               logits in mobilenetv2_onnx.reference.npy

The first form needs the standard library only: `./dev demo` shows a real model on a
machine without torch or onnx. The weights come from Python's Mersenne Twister, which
gives the same numbers in every version.
"""

import argparse
import array
import math
import random
import struct
import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().with_suffix(".reference.npy")
CLASSES = 1001
SIZE = 224
# expansion, output channels, repetitions, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
          (6, 160, 3, 2), (6, 320, 1, 1))


# -- Protocol buffers: a message is a sequence of (field number, wire type, value).

def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else bytes(value)
    return varint(field << 3 | 2) + varint(len(value)) + value


# -- ONNX messages, by the field numbers of onnx.proto.

FLOAT, INT64 = 1, 7


def attribute(name, value):
    if isinstance(value, int):
        return data(1, name) + number(3, value) + number(20, 2)
    return data(1, name) + b"".join(number(8, v) for v in value) + number(20, 7)


def tensor(name, element, dims, values):
    if sys.byteorder != "little":
        values = array.array(values.typecode, values)
        values.byteswap()
    return (b"".join(number(1, d) for d in dims) + number(2, element) + data(8, name)
            + data(9, values.tobytes()))


def value_info(name, dims):
    shape = b"".join(data(1, number(1, d)) for d in dims)
    return data(1, name) + data(2, data(1, number(1, FLOAT) + data(2, shape)))


class Network:
    """Collects nodes and weights; `x` is always the name of the current tensor."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.nodes = []  # (operator, inputs, output, attributes)
        self.weights = {}  # name -> (element type, dims, values)

    def node(self, operator, inputs, **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append((operator, inputs, output, attributes))
        return output

    def weight(self, dims, deviation):
        draw, scale = self.random.random, 2 * math.sqrt(3) * deviation
        values = array.array("f", (scale * (draw() - 0.5) for _ in range(math.prod(dims))))
        return self.constant(FLOAT, dims, values)

    def constant(self, element, dims, values):
        name = f"w{len(self.weights)}"
        self.weights[name] = (element, dims, values)
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, relu=True):
        # Variance is kept: a ReLU halves it, so what goes into one gets twice as much.
        fan_in = inputs // groups * kernel * kernel
        gain = 2.0 if relu else 1.0
        weight = self.weight((outputs, inputs // groups, kernel, kernel), math.sqrt(gain / fan_in))
        bias = self.weight((outputs,), 0.1)
        pad = kernel // 2
        x = self.node("Conv", [x, weight, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                      pads=[pad] * 4, dilations=[1, 1], group=groups)
        return self.node("Clip", [x, self.zero, self.six]) if relu else x

    def build(self):
        self.zero = self.constant(FLOAT, (), array.array("f", [0.0]))
        self.six = self.constant(FLOAT, (), array.array("f", [6.0]))
        channels = 32
        x = self.conv("image", 3, channels, 3, stride=2)
        for expansion, outputs, repetitions, stride in STAGES:
            for i in range(repetitions):
                before, inner = x, channels * expansion
                if expansion > 1:
                    x = self.conv(x, channels, inner, 1)
                x = self.conv(x, inner, inner, 3, stride=stride if i == 0 else 1, groups=inner)
                x = self.conv(x, inner, outputs, 1, relu=False)
                if i > 0:
                    x = self.node("Add", [x, before])
                channels = outputs
        x = self.conv(x, channels, 1280, 1)
        axes = self.constant(INT64, (2,), array.array("q", [2, 3]))
        x = self.node("ReduceMean", [x, axes], keepdims=0)
        weight = self.weight((CLASSES, 1280), math.sqrt(1 / 1280))
        return self.node("Gemm", [x, weight, self.weight((CLASSES,), 0.1)], transB=1)

    def model(self, result):
        graph = bytearray()
        for i, (operator, inputs, output, attributes) in enumerate(self.nodes):
            graph += data(1, b"".join(data(1, name) for name in inputs) + data(2, output)
                          + data(3, f"{operator}_{i}") + data(4, operator)
                          + b"".join(data(5, attribute(*a)) for a in attributes.items()))
        graph += data(2, "mobilenetv2")
        for name, (element, dims, values) in self.weights.items():
            graph += data(5, tensor(name, element, dims, values))
        graph += data(11, value_info("image", (1, 3, SIZE, SIZE)))
        graph += data(12, value_info(result, (1, CLASSES)))
        return (number(1, 8) + data(2, "marver zoo") + data(7, graph)
                + data(8, data(1, "") + number(2, 18)))

    def evaluate(self, image):
        """The network in double precision, each operator as its definition reads."""
        import numpy as np

        values = {"image": image.astype(np.float64)}
        for name, (_, dims, flat) in self.weights.items():
            values[name] = np.array(flat, np.float64 if flat.typecode == "f" else np.int64)
            values[name] = values[name].reshape(dims)
        for operator, inputs, output, attributes in self.nodes:
            x, *rest = [values[name] for name in inputs]
            if operator == "Conv":
                x = conv(x, *rest, attributes["strides"][0], attributes["pads"][0],
                         attributes["group"])
            elif operator == "Clip":
                x = np.minimum(np.maximum(x, rest[0]), rest[1])
            elif operator == "Add":
                x = x + rest[0]
            elif operator == "ReduceMean":
                x = x.mean(axis=tuple(rest[0]))
            elif operator == "Gemm":
                x = x @ rest[0].T + rest[1]
            values[output] = x
        return x


def conv(x, weight, bias, stride, pad, groups):
    import numpy as np

    _, _, height, width = x.shape
    outputs, inputs, kernel, _ = weight.shape
    x = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad)))
    rows = (height + 2 * pad - kernel) // stride + 1
    columns = (width + 2 * pad - kernel) // stride + 1
    result = np.zeros((outputs, rows, columns))
    for ky in range(kernel):
        for kx in range(kernel):
            window = x[:, ky : ky + stride * rows : stride, kx : kx + stride * columns : stride]
            window = window[:, :rows, :columns].reshape(groups, inputs, -1)
            taps = weight[:, :, ky, kx].reshape(groups, outputs // groups, inputs)
            result += (taps @ window).reshape(result.shape)
    return (result + bias[:, None, None])[None]


def write_npy(path, dims, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(dims)}, }}"
    header = header.ljust((len(header) + 10) // 64 * 64 + 64 - 11) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("ascii")
                     + struct.pack(f"<{len(values)}f", *values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", action="store_true", help="store the logits too")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    network = Network(seed=0)
    result = network.build()
    (arguments.folder / "mobilenetv2.onnx").write_bytes(network.model(result))
    dims = (1, 3, SIZE, SIZE)
    draw = random.Random(1).random
    image = array.array("f", (2 * draw() - 1 for _ in range(math.prod(dims))))
    write_npy(arguments.folder / "input.npy", dims, image)
    if arguments.reference:
        import numpy as np

        logits = network.evaluate(np.array(image).reshape(dims))
        write_npy(REFERENCE, logits.shape, logits.ravel().tolist())


if __name__ == "__main__":
    main()
