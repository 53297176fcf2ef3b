"""Cases drawn at random, for what no one thought of. The seed is printed and is all
that is needed to see a case again."""

import numpy as np
import torch
import torch.nn.functional as F
from registry import CASES, f, onnx_case, torch_case


def declare(seed, count):
    """Declares `count` cases of each kind; every one is valid for PyTorch."""
    CASES.clear()
    random = np.random.default_rng(seed)

    def pick(*values):
        return values[random.integers(len(values))]

    def number(low, high):
        return int(random.integers(low, high + 1))

    def conv2d():
        groups = pick(1, 1, 1, 2, 3)
        depthwise = pick(False, False, True)
        inputs = groups * number(1, 40)
        outputs = inputs * pick(1, 1, 2) if depthwise else groups * number(1, 40)
        groups = inputs if depthwise else groups
        kernel = (number(1, 5), number(1, 5))
        stride, dilation = (number(1, 3), number(1, 3)), (number(1, 2), number(1, 2))
        padding = (number(0, 3), number(0, 3))
        size = [max(number(1, 24), d * (k - 1) + 1 - 2 * p)
                for k, d, p in zip(kernel, dilation, padding)]
        activation = pick(lambda x: x, F.relu, F.silu, F.relu6)
        bias = [f(outputs).const()] if pick(True, False) else []
        torch_case(f"conv2d[s{stride}d{dilation}p{padding}g{groups}]".replace(" ", ""),
                   lambda x, w, c=None: activation(F.conv2d(x, w, c, stride, padding, dilation, groups)),
                   f(number(1, 2), inputs, *size), f(outputs, inputs // groups, *kernel).const(), *bias)

    def conv1d():
        channels, taps = number(1, 70), number(1, 40)
        stride, padding, dilation = number(1, 3), number(0, taps), number(1, 2)
        length = max(number(1, 90), dilation * (taps - 1) + 1 - 2 * padding)
        torch_case(f"conv1d[s{stride}d{dilation}p{padding},depthwise]",
                   lambda x, w: F.conv1d(x, w, None, stride, padding, dilation, channels),
                   f(number(1, 2), channels, length), f(channels, 1, taps).const())

    def pool():
        kernel = (number(1, 7), number(1, 7))
        stride = (number(1, 3), number(1, 3))
        padding = tuple(number(0, k // 2) for k in kernel)
        ceil = pick(True, False)
        torch_case(f"max_pool2d[{kernel}s{stride}p{padding},{ceil}]".replace(" ", ""),
                   lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil),
                   f(number(1, 2), number(1, 40), number(7, 20), number(7, 20)))

    def matmul():
        rows, inner, columns = number(1, 70), number(1, 200), number(1, 100)
        if pick(True, False):
            torch_case("linear", F.linear, f(rows, inner), f(columns, inner).const(), f(columns).const())
        else:
            batch = number(1, 5)
            torch_case("bmm", torch.bmm, f(batch, rows, inner), f(batch, inner, columns))

    def broadcast():
        rank = number(0, 4)
        full = [number(1, 20) for _ in range(rank)]
        left, right = ([pick(n, n, 1) for n in full][number(0, rank):] if pick(True, False) else full
                       for _ in range(2))
        name, function = pick(("add", torch.add), ("mul", torch.mul), ("sub", torch.sub), ("maximum", torch.maximum))
        torch_case(name, function, f(*left), f(*right))
        onnx_case(pick("Add", "Mul", "Sub", "Less"), f(*left), f(*right))

    def move():
        rank = number(1, 4)
        shape = [number(1, 24) for _ in range(rank)]
        order = [int(axis) for axis in random.permutation(rank)]
        torch_case(f"permute{order}".replace(" ", ""), lambda x: x.permute(order), f(*shape))
        axis = number(0, rank - 1)
        start, end, step = number(-25, 25), number(-25, 25), number(1, 4)
        torch_case(f"slice[{axis},{start}:{end}:{step}]",
                   lambda x: torch.ops.aten.slice.Tensor(x, axis, start, end, step), f(*shape))

    def reduce():
        shape = [number(1, 40) for _ in range(number(1, 4))]
        axes = [axis for axis in range(len(shape)) if pick(True, False)] or [len(shape) - 1]
        keep = pick(True, False)
        name, function = pick(("mean", torch.mean), ("sum", torch.sum), ("amax", torch.amax))
        torch_case(f"{name}{axes}".replace(" ", ""), lambda x: function(x, axes, keepdim=keep), f(*shape))
        torch_case(f"softmax[{axes[0]}]", lambda x: F.softmax(x, axes[0]), f(*shape))

    for _ in range(count):
        for kind in (conv2d, conv1d, pool, matmul, broadcast, move, reduce):
            kind()
    return list(CASES)
