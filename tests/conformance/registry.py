"""The operator registry: what a case is, and how cases are declared.

A file in cases/ calls

    torch_case("conv2d", lambda x, w: F.conv2d(x, w, padding=1), f(1, 3, 8, 8), f(4, 3, 3, 3).const())
    onnx_case("Conv", f(1, 3, 8, 8), f(4, 3, 3, 3).const(), pads=[1, 1, 1, 1])

An input is a *spec*: f (floats), i (integers), b (booleans), and what is said about it:
`.const()` makes it a weight of the model, `.nan()` sprinkles NaN and infinities, `.to()`
changes the dtype. `also=[(specs), ...]` lists further input sizes: the case is then
exported with every dim that differs dynamic, and must be right on each.
"""

import dataclasses
import math
from typing import Any, Callable

import numpy as np

ALIASES = {"f16": "float16", "f32": "float32", "f64": "float64", "i8": "int8", "i16": "int16",
           "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32",
           "u64": "uint64", "i1": "bool", "bf16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Spec:
    """What an input looks like. Values are made from it by a seeded generator."""

    shape: tuple
    dtype: str = "float32"
    low: float = 0
    high: float = 0  # low == high: normal noise for floats
    is_constant: bool = False
    with_nan: bool = False
    literal: Any = None

    def const(self):
        return dataclasses.replace(self, is_constant=True)

    def nan(self):
        return dataclasses.replace(self, with_nan=True)

    def to(self, dtype):
        return dataclasses.replace(self, dtype=ALIASES.get(dtype, dtype))

    def between(self, low, high):
        return dataclasses.replace(self, low=low, high=high)

    def values(self, random):
        """The array; bfloat16 comes back as float32 that a cast leaves unchanged."""
        if self.literal is not None:
            return np.array(self.literal, self.dtype).reshape(self.shape)
        if self.dtype == "bool":
            return random.random(self.shape) < 0.5
        if self.dtype.startswith(("int", "uint")):
            return random.integers(int(self.low), int(self.high), self.shape).astype(self.dtype)
        if self.low == self.high:
            x = random.standard_normal(self.shape)
        else:
            x = random.uniform(self.low, self.high, self.shape)
        x = np.asarray(x)
        if self.with_nan and x.size:
            flat = x.reshape(-1)
            flat[:: max(1, x.size // 4)] = np.resize([np.nan, np.inf, -np.inf, 0.0],
                                                     len(flat[:: max(1, x.size // 4)]))
            x = flat.reshape(self.shape)
        if self.dtype == "bfloat16":
            bits = x.astype(np.float32).view(np.uint32)
            return (bits & np.uint32(0xFFFF0000)).view(np.float32).reshape(self.shape)
        return x.astype(self.dtype)

    def __str__(self):
        text = "x".join(map(str, self.shape)) or "scalar"
        if self.dtype != "float32":
            short = [k for k, v in ALIASES.items() if v == self.dtype][0]
            text += ("x" if self.shape else ":") + short
        return text + ("c" if self.is_constant else "") + ("?" if self.with_nan else "")


def f(*shape):
    return Spec(shape)


def i(*shape, low=-9, high=10, dtype="int64"):
    return Spec(shape, ALIASES.get(dtype, dtype), low, high)


def b(*shape):
    return Spec(shape, "bool")


def ints(*values):
    """A constant integer vector, as ONNX passes axes, pads and shapes."""
    return Spec((len(values),), "int64", literal=tuple(values), is_constant=True)


def literal(values, dtype="float32"):
    """A constant of given values."""
    array = np.array(values)
    return Spec(array.shape, ALIASES.get(dtype, dtype), literal=tuple(array.reshape(-1).tolist()),
                is_constant=True)


@dataclasses.dataclass
class Case:
    name: str
    source: str  # "torch" or "onnx"
    make: Callable  # see models.py
    inputs: list  # of lists of Spec: the first is what the model is exported at
    rtol: float
    atol: float
    # Makes this case's weights and inputs differ from its neighbours'.
    number: int = 0


CASES: list[Case] = []


def add(name, source, make, specs, also, rtol, atol, detail=""):
    label = ",".join(str(s) for s in specs if s is not None)
    name = f"{source}.{name}({label}{detail})"
    same = sum(c.name == name or c.name.startswith(name + "#") for c in CASES)
    CASES.append(Case(name + (f"#{same}" if same else ""), source, make,
                      [list(specs), *map(list, also)], rtol, atol, len(CASES)))


def torch_case(name, function, *specs, also=(), rtol=1e-5, atol=3e-6):
    add(name, "torch", function, specs, also, rtol, atol, ",dynamic" if also else "")


@dataclasses.dataclass
class OnnxNode:
    """One node on its own, or `build(helper, inputs) -> nodes` for small graphs."""

    operator: str
    attributes: dict
    outputs: int
    opset: int


def onnx_case(operator, *specs, outputs=1, opset=20, also=(), rtol=1e-5, atol=3e-6, **attributes):
    detail = "".join(f",{k}={v}".replace(" ", "") for k, v in attributes.items())
    add(operator, "onnx", OnnxNode(operator, attributes, outputs, opset), specs, also, rtol, atol,
        detail + (",dynamic" if also else "") + (f",opset{opset}" if opset != 20 else ""))


# Shapes that elementwise code gets wrong: no elements, one, fewer than a vector, one
# more than a vector, a scalar, dims of 1 on either side.
AWKWARD = ((), (0,), (1,), (7,), (17,), (3, 0, 2), (1, 1, 1, 1), (2, 3, 5, 7), (4, 129), (33, 1))

# Pairs that broadcast.
BROADCAST = (((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), ()), ((), (5,)), ((3, 1), (1, 4)),
             ((2, 1, 5), (3, 1)), ((1,), (17,)), ((0, 3), (1, 3)), ((2, 16, 3, 3), (16, 1, 1)),
             ((1, 1, 1), (2, 3, 33)))


def product(values):
    return math.prod(values)
