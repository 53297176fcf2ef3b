"""Unary, binary, comparison and selection; NaN where PyTorch has it."""

import torch
import torch.nn.functional as F
from registry import AWKWARD, BROADCAST, b, f, i, literal, onnx_case, torch_case

UNARY = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "silu": F.silu, "exp": torch.exp,
    "gelu": F.gelu, "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0), "relu6": F.relu6,
    "tanh": torch.tanh, "neg": torch.neg, "abs": torch.abs, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "erf": torch.erf, "sin": torch.sin,
    "cos": torch.cos, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1), "elu": F.elu, "softplus": F.softplus,
    "mish": F.mish, "square": torch.square, "sign": torch.sign, "expm1": torch.expm1,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}
for name, function in UNARY.items():
    torch_case(name, function, f(2, 3, 5, 7))
    if name != "gelu":  # PyTorch's gelu of infinity depends on the place in the array
        torch_case(name, function, f(19).nan())
torch_case("gelu", lambda x: F.gelu(torch.where(torch.isinf(x), 1.5, x)), f(19).nan())
for shape in AWKWARD:
    torch_case("relu", torch.relu, f(*shape))
    torch_case("gelu", F.gelu, f(*shape))
    torch_case("silu", F.silu, f(*shape))
# Large arguments: no overflow on the way to 0 or 1.
for name in ("sigmoid", "silu", "tanh", "gelu", "erf", "softplus", "exp", "mish", "elu"):
    torch_case(name, UNARY[name], f(257).between(-120, 88))
    torch_case(name, UNARY[name], f(65).between(-1e-4, 1e-4))
for name, function in (("sqrt", torch.sqrt), ("rsqrt", torch.rsqrt), ("log", torch.log),
                       ("reciprocal", torch.reciprocal), ("log1p", torch.log1p),
                       ("log2", torch.log2), ("log10", torch.log10)):
    torch_case(name, function, f(3, 37).between(1e-3, 50))
    torch_case(name, function, f(16).nan())
torch_case("silu_", lambda x: F.silu(x * 2, inplace=True), f(3, 18))
torch_case("relu_", lambda x: F.relu(x + 1, inplace=True), f(3, 18))
torch_case("dropout", lambda x: F.dropout(x, 0.5, training=False) + 1, f(5, 6))
torch_case("dropout_", lambda x: F.dropout(x * 2, 0.5, training=False, inplace=True), f(5, 6))
torch_case("neg", torch.neg, i(17))
torch_case("abs", torch.abs, i(17, dtype="i32"))
torch_case("logical_not", torch.logical_not, b(9))
torch_case("isnan", torch.isnan, f(20).nan())

BINARY = {"add": torch.add, "mul": torch.mul, "sub": torch.sub,
          "div": lambda x, y: x / (y.abs() + 0.5)}
for left, right in BROADCAST:
    torch_case("add", torch.add, f(*left), f(*right))
    torch_case("mul", torch.mul, f(*left), f(*right))
    torch_case("sub", torch.sub, f(*left), f(*right).const())
    torch_case("div", BINARY["div"], f(*left), f(*right))
    torch_case("maximum", torch.maximum, f(*left).nan(), f(*right))
    torch_case("le", torch.le, f(*left), f(*right))
for dtype in ("i8", "i16", "i32", "i64", "u8"):
    torch_case("add", torch.add, i(3, 9, low=0, dtype=dtype), i(9, low=0, dtype=dtype))
    torch_case("mul", torch.mul, i(17, low=0, dtype=dtype), i(17, low=0, dtype=dtype))
    torch_case("floor_divide", torch.floor_divide, i(40, low=-100 if dtype[0] == "i" else 0, high=100, dtype=dtype),
               i(40, low=1, dtype=dtype))
    torch_case("remainder", torch.remainder, i(40, low=-100 if dtype[0] == "i" else 0, high=100, dtype=dtype),
               i(40, low=1, dtype=dtype))
torch_case("add", torch.add, f(5).to("f64"), f(5).to("f64"))
torch_case("mul", torch.mul, f(3, 40).to("f16"), f(40).to("f16"), rtol=1e-3, atol=1e-3)
torch_case("mul", torch.mul, f(3, 40).to("bf16"), f(40).to("bf16"), rtol=1e-2, atol=1e-2)
torch_case("add", torch.add, i(6), f(6))  # type promotion
torch_case("mul", torch.mul, i(6, dtype="i32"), i(6))
torch_case("add_alpha", lambda x, y: torch.add(x, y, alpha=2.5), f(3, 4), f(4))
torch_case("sub_alpha", lambda x, y: torch.sub(x, y, alpha=-2), f(3, 4), f(3, 1))
torch_case("add_scalar", lambda x: x + 3, f(2, 5))
torch_case("mul_scalar", lambda x: torch.ops.aten.mul.Scalar(x, 0.125), f(2, 5))
torch_case("mul_scalar", lambda x: torch.ops.aten.mul.Scalar(x, 3), i(7))
torch_case("rsub", lambda x: 1 - x, f(2, 5))
torch_case("pow", lambda x: x ** 3, f(2, 19))
torch_case("pow", lambda x: x ** 0.5, f(2, 19).between(0, 4))
torch_case("pow", torch.pow, f(2, 19).between(0.1, 4), f(19))
torch_case("minimum", torch.minimum, f(40).nan(), f(40))
torch_case("clamp", lambda x: torch.clamp(x, -0.5, 0.5), f(33).nan())
torch_case("clamp", lambda x: torch.clamp(x, min=0.25), f(3, 5))
torch_case("clamp", lambda x: torch.clamp(x, max=3), i(17))
torch_case("add", torch.add, f(2, 5), f(5), also=[(f(7, 5), f(5)), (f(1, 5), f(5))])
torch_case("mul", lambda x: x * torch.sigmoid(x), f(3, 7), also=[(f(1, 1),), (f(16, 129),)])

for name, function in (("lt", torch.lt), ("ne", torch.ne), ("eq", torch.eq), ("gt", torch.gt),
                       ("ge", torch.ge)):
    torch_case(name, function, i(4, 9, low=0, high=3), i(9, low=0, high=3))
    torch_case(name, function, f(20).nan(), f(20).nan())
torch_case("lt_scalar", lambda x: x < 3, i(9))
torch_case("ne_scalar", lambda x: x != 3, i(9, low=0, high=6))
torch_case("eq_scalar", lambda x: torch.ops.aten.eq.Scalar(x, 2), i(3, 9, low=0, high=4))
torch_case("ne_scalar", lambda x: x != float("nan"), f(9).nan())
torch_case("logical_and", torch.logical_and, b(3, 9), b(9))
for shape in ((3, 9), (1,), (0, 4)):
    torch_case("and", lambda x, y: x & y, b(*shape), b(*shape))
    torch_case("or", lambda x, y: x | y, b(*shape), b(*shape))
torch_case("and", lambda x, y: x & y, i(3, 9), i(9))
torch_case("or", lambda x, y: x | y, i(3, 9), i(9))
torch_case("ge", lambda x: x >= 0.25, f(33).nan())
torch_case("ge", lambda x: x >= 3, i(33, low=0, high=6))
torch_case("logical_or", torch.logical_or, b(3, 9), b(9))
torch_case("logical_and", torch.logical_and, i(9, low=0, high=2), f(9))
torch_case("where", torch.where, b(3, 5), f(3, 5), f(5))
torch_case("where", torch.where, b(4, 1), f(), f(1, 17))
torch_case("where", lambda c, x: torch.where(c, x, float("-inf")), b(3, 5), f(3, 5))
torch_case("where", torch.where, b(0, 3), i(0, 3), i(3))
torch_case("masked_fill", lambda x, m: x.masked_fill(m, -1e9), f(2, 3, 5), b(3, 1))

for source, target in (("f32", "i32"), ("f32", "i64"), ("i64", "f32"), ("i32", "i64"), ("i64", "i32"),
                       ("f32", "f16"), ("f16", "f32"), ("f32", "bf16"), ("bf16", "f32"), ("f32", "f64"),
                       ("f64", "f32"), ("i1", "f32"), ("f32", "i1"), ("u8", "f32"), ("i8", "f32"),
                       ("i64", "i1"), ("u8", "i64"), ("i64", "u8")):
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64,
             "i64": torch.int64, "i32": torch.int32, "i1": torch.bool, "u8": torch.uint8}[target]
    spec = (b(3, 19) if source == "i1" else f(3, 19).between(-40, 40).to(source) if source[0] in "fb"
            else i(3, 19, low=0, dtype=source))
    torch_case(f"to_{target}", lambda x, dtype=dtype: x.to(dtype), spec, rtol=0, atol=0)
torch_case("_to_copy", lambda x: torch.ops.aten._to_copy(x, dtype=torch.float32), i(9))
torch_case("clone", lambda x: torch.ops.aten.clone(x) * 2, f(4, 5))
torch_case("contiguous", lambda x: x.transpose(0, 1).contiguous(), f(4, 5))
torch_case("to_device", lambda x: torch.ops.aten.to.device(x, torch.device("cpu"), torch.float32) + 1, i(4, 5))

ONNX_UNARY = ("Relu", "Sigmoid", "Exp", "Identity", "Neg", "Abs", "Floor", "Ceil", "Erf", "Tanh",
              "Sqrt", "Reciprocal", "HardSwish", "Softplus", "Log", "Round", "Sin", "Cos", "Sign", "Mish")
for name in ONNX_UNARY:
    positive = name in ("Sqrt", "Log", "Reciprocal")
    for shape in ((), (0,), (3, 17), (2, 3, 5, 7)):
        onnx_case(name, f(*shape).between(0.1, 9) if positive else f(*shape))
onnx_case("Relu", f(19).nan())
onnx_case("Gelu", f(3, 19))
onnx_case("Gelu", f(3, 19), approximate="tanh")
onnx_case("LeakyRelu", f(3, 19), alpha=0.2)
onnx_case("Elu", f(3, 19), alpha=0.7)
onnx_case("HardSigmoid", f(3, 19), alpha=0.3, beta=0.4)
onnx_case("PRelu", f(2, 5, 3), f(5, 1).const())
onnx_case("IsNaN", f(20).nan())
onnx_case("Not", b(3, 7))
onnx_case("Clip", f(3, 7), literal(-0.5), literal(0.5))
onnx_case("Clip", f(3, 7), None, literal(0.5))
onnx_case("Clip", f(3, 7), literal(0.0))
onnx_case("Clip", f(3, 7))
onnx_case("Clip", i(17), literal(-3, "i64"), literal(4, "i64"))
onnx_case("Clip", f(33).nan(), f(), literal(6.0))  # bounds may be inputs
for left, right in BROADCAST:
    for name in ("Add", "Mul", "Sub"):
        onnx_case(name, f(*left), f(*right))
    onnx_case("Div", f(*left), f(*right).between(0.5, 2))
    onnx_case("Equal", i(*left, low=0, high=3), i(*right, low=0, high=3))
    onnx_case("Less", f(*left), f(*right))
for dtype in ("i32", "i64", "f64"):
    spec = f(4, 5).to(dtype) if dtype == "f64" else i(4, 5, dtype=dtype)
    onnx_case("Add", spec, spec)
    onnx_case("Mul", spec, spec)
    onnx_case("LessOrEqual", spec, spec)
onnx_case("Div", i(40, low=-50, high=50), i(40, low=1))  # truncates
onnx_case("Mod", i(40, low=-50, high=50), i(40, low=1))  # the sign of the divisor
onnx_case("Mod", f(40), f(40).between(0.5, 2), fmod=1)
onnx_case("Pow", f(3, 5).between(0.1, 3), f(5))
onnx_case("Min", f(3, 5), f(5), f(1, 1))
onnx_case("Max", f(3, 5), f(5), f(3, 1))
onnx_case("Sum", f(3, 5), f(5), f(3, 1))
onnx_case("Mean", f(3, 5), f(5), f(3, 1))
onnx_case("And", b(3, 7), b(7))
onnx_case("Or", b(3, 7), b(7))
onnx_case("Xor", b(3, 7), b(7))
onnx_case("Greater", f(3, 7), f(7))
onnx_case("GreaterOrEqual", i(3, 7), i(7))
onnx_case("Where", b(3, 5), f(3, 5), f(5))
onnx_case("Where", b(2, 1, 5), i(3, 1), i(1))
onnx_case("Add", f(2, 5), f(5), also=[(f(7, 5), f(5)), (f(1, 5), f(5))])
for source, target in (("f32", 7), ("f32", 6), ("i64", 1), ("i32", 7), ("f32", 10), ("f16", 1),
                       ("f32", 11), ("i1", 1), ("f32", 9), ("i64", 9), ("u8", 1), ("i64", 6)):
    spec = (b(3, 19) if source == "i1" else f(3, 19).between(-40, 40).to(source) if source[0] == "f"
            else i(3, 19, low=0, dtype=source))
    onnx_case("Cast", spec, to=target, rtol=0, atol=0)

torch_case("add_", lambda x, y: (x * 2).add_(y), f(3, 17), f(17))
torch_case("alias", lambda x: torch.ops.aten.alias.default(x) + 1, f(2, 5))
torch_case("bitwise_and", torch.bitwise_and, i(4, 17), i(17))
torch_case("bitwise_and", torch.bitwise_and, b(33), b(33))
for divisor in (2.5, -0.75):
    torch_case("fmod", lambda x, d=divisor: torch.fmod(x, d), f(4, 17).between(-9, 9))
for first, second in BROADCAST:
    torch_case("minimum_of_two", lambda x, y: torch.min(x, y), f(*first), f(*second))
torch_case("minimum_of_two", lambda x, y: torch.min(x, y), f(40).nan(), f(40))
torch_case("prelu", F.prelu, f(2, 17, 3), f(17).const())
torch_case("prelu", F.prelu, f(2, 5, 3, 3), f(1).const())
torch_case("to_layout", lambda x: torch.ops.aten.to.dtype_layout(
    x, dtype=torch.float64, layout=torch.strided, device=torch.device("cpu")), f(3, 5))
