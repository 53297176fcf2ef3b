"""Reductions, softmax and normalizations."""

import torch
import torch.nn.functional as F
from registry import f, i, b, ints, onnx_case, torch_case

for dims in ((1,), (-1,), (2, 3), (0, 2), (0, 1, 2, 3)):
    for keep in (True, False):
        torch_case(f"mean{dims}".replace(" ", ""), lambda x, d=dims, k=keep: torch.mean(x, d, keepdim=k), f(2, 17, 5, 3))
        torch_case(f"sum{dims}".replace(" ", ""), lambda x, d=dims, k=keep: torch.sum(x, d, keepdim=k), f(2, 17, 5, 3))
    torch_case(f"amax{dims}".replace(" ", ""), lambda x, d=dims: torch.amax(x, d), f(2, 17, 5, 3).nan())
torch_case("mean", torch.mean, f(33))
torch_case("sum", torch.sum, f(0, 5))
torch_case("sum", torch.sum, i(6, 7))
torch_case("mean", lambda x: x.mean(1), f(3, 1))
torch_case("mean", lambda x: x.mean((2, 3)), f(1, 33, 4, 4), also=[(f(5, 33, 4, 4),), (f(2, 33, 1, 9),)])
torch_case("any", lambda x: torch.any(x, 1), b(5, 7))
torch_case("any", lambda x: torch.any(x, -1, keepdim=True), b(5, 0))
torch_case("all", lambda x: torch.all(x, 1), b(5, 3))
for axis in (0, 1, -1):
    for keep in (True, False):
        torch_case("argmax", lambda x, a=axis, k=keep: torch.argmax(x, a, keepdim=k), f(4, 33))
torch_case("argmax", lambda x: torch.argmax(x), f(4, 33))
torch_case("argmax", lambda x: torch.argmax(x, 1), i(4, 33, low=0, high=3))  # ties: the first
torch_case("argmax", lambda x: torch.argmax(x, 1), f(4, 33).nan())
torch_case("argmax", lambda x: torch.argmax(x, -1), f(1, 51))
torch_case("argmin", lambda x: torch.argmin(x, -1), f(3, 51))
torch_case("max", lambda x: x.max(), f(4, 33))
torch_case("max", lambda x: x.max(), f(5, 7).nan())
torch_case("max", lambda x: x.max(), i(1))
for shape, axis in (((4, 7), -1), ((2, 150, 29), 1), ((1,), 0), ((3, 1), 1)):
    torch_case("logsumexp", lambda x, a=axis: x.logsumexp(a), f(*shape))
    torch_case("logsumexp", lambda x, a=axis: x.logsumexp(a, keepdim=True), f(*shape).between(-1000, 1000))
    onnx_case("ReduceLogSumExp", f(*shape), ints(axis), keepdims=0)
torch_case("logsumexp", lambda x, m: x.masked_fill(m, float("-inf")).logsumexp(-1), f(5, 40), b(5, 40))
torch_case("max_dim", lambda x: tuple(torch.max(x, 1)), f(4, 9))
torch_case("cumsum", lambda x: torch.cumsum(x, 1), f(4, 9))
torch_case("diff", lambda x: torch.diff(x), f(4, 9))
torch_case("diff", lambda x, p: torch.diff(x, n=2, dim=0, prepend=p), i(5, 3), i(1, 3))
torch_case("diff", lambda x: torch.diff(x), b(3, 6))
torch_case("var", lambda x: torch.var(x, 1), f(4, 9))

for shape, axis in (((4, 7), -1), ((4, 7), 0), ((2, 3, 5, 17), 1), ((2, 3, 5, 17), 3), ((1,), 0), ((3, 1), 1),
                    ((0, 5), 1), ((2, 150, 29), -1), ((2, 6, 4, 100), -1)):
    torch_case(f"softmax[{axis}]", lambda x, a=axis: F.softmax(x, a), f(*shape))
    torch_case(f"log_softmax[{axis}]", lambda x, a=axis: F.log_softmax(x, a), f(*shape))
torch_case("softmax", lambda x: F.softmax(x, 1), f(3, 33).between(-1000, 1000))
torch_case("softmax", lambda x, m: F.softmax(x.masked_fill(m, float("-inf")), -1), f(5, 9), b(5, 9))
torch_case("log_softmax", lambda x: F.log_softmax(x, 1), f(3, 33).between(-1000, 1000))
torch_case("softmax", lambda x: F.softmax(x, -1), f(4, 9), also=[(f(2, 33),), (f(7, 1),)])
torch_case("_softmax", lambda x: torch.ops.aten._softmax(x, -1, False), f(4, 9))
torch_case("_log_softmax", lambda x: torch.ops.aten._log_softmax(x, -1, False), f(4, 9))

for shape, normal in (((3, 17), (17,)), ((2, 5, 384), (384,)), ((2, 3, 4, 5), (4, 5)), ((1, 1), (1,)), ((0, 8), (8,)),
                      ((7, 1024), (1024,))):
    torch_case("layer_norm", lambda x, w, c, n=normal: F.layer_norm(x, n, w, c), f(*shape), f(*normal).const(), f(*normal).const())
torch_case("layer_norm", lambda x: F.layer_norm(x, (9,), eps=1e-3), f(4, 9))
torch_case("layer_norm", lambda x: F.layer_norm(x + 1000, (64,)), f(4, 64), atol=3e-4)
torch_case("layer_norm", lambda x, w, c: F.layer_norm(x, (16,), w, c), f(4, 16), f(16).const(), f(16).const(),
           also=[(f(1, 16), f(16).const(), f(16).const())])
torch_case("native_layer_norm", lambda x, w, c: torch.ops.aten.native_layer_norm(x, [16], w, c, 1e-5)[0],
           f(4, 16), f(16).const(), f(16).const())
torch_case("group_norm", lambda x, w, c: F.group_norm(x, 3, w, c), f(2, 12, 5, 5), f(12).const(), f(12).const())

for axes in ((1,), (-1,), (2, 3), (0, 1, 2, 3)):
    for keep in (0, 1):
        for operator in ("ReduceMean", "ReduceSum", "ReduceMax"):
            onnx_case(operator, f(2, 17, 5, 3), ints(*axes), keepdims=keep)
onnx_case("ReduceMean", f(3, 5))
onnx_case("ReduceMean", f(3, 5, 2), opset=13, axes=[1])
onnx_case("ReduceMin", f(3, 5), ints(0))
onnx_case("ReduceProd", f(3, 5), ints(1))
onnx_case("ReduceL2", f(3, 5), ints(1))
for axis in (0, 1, -1):
    for keep in (0, 1):
        onnx_case("ArgMax", f(4, 33), axis=axis, keepdims=keep)
onnx_case("ArgMax", i(4, 33, low=0, high=3, dtype="i32"), axis=1, select_last_index=1)
onnx_case("ArgMin", f(4, 33), axis=1)
for axis in (0, 1, -1):
    onnx_case("Softmax", f(4, 5, 9), axis=axis)
    onnx_case("LogSoftmax", f(4, 5, 9), axis=axis)
onnx_case("Softmax", f(4, 5, 9), axis=1, opset=11)  # flattened to two dims before opset 13
onnx_case("Softmax", f(4, 9), also=[(f(2, 33),)])
for axis in (-1, 1):
    shape = (4, 5, 9)
    n = shape[axis:] if axis >= 0 else shape[-1:]
    onnx_case("LayerNormalization", f(*shape), f(*n).const(), f(*n).const(), axis=axis, epsilon=1e-3)
onnx_case("LayerNormalization", f(2, 3, 384), f(384).const())
onnx_case("InstanceNormalization", f(2, 5, 4, 4), f(5).const(), f(5).const())

for dims in (1, (0, 2), None):
    torch_case("vector_norm", lambda x, d=dims: torch.linalg.vector_norm(x, dim=d, keepdim=True), f(3, 17, 5))
torch_case("vector_norm", lambda x: torch.linalg.vector_norm(x, ord=1, dim=-1), f(3, 17))
torch_case("std", lambda x: torch.std(x, 1, unbiased=False), f(4, 9))
torch_case("std", lambda x: torch.std(x, (0, 2), unbiased=True, keepdim=True), f(4, 9, 5))
for correction in (0, 1):
    torch_case("var", lambda x, c=correction: torch.var(x, 1, correction=c, keepdim=True), f(4, 9, 3))
torch_case("native_group_norm", lambda x, w, c: torch.ops.aten.native_group_norm.default(x, w, c, 2, 12, 20, 3, 1e-5)[0],
           f(2, 12, 4, 5), f(12).const(), f(12).const())
