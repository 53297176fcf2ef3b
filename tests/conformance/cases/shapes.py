"""What moves data: reshapes, transposes, slices, concats, gathers, scatters, creation."""

import torch
import torch.nn.functional as F
from registry import b, f, i, ints, literal, onnx_case, torch_case

for shape, target in (((2, 6), (3, 4)), ((2, 6), (-1,)), ((12,), (2, 1, 6)), ((0, 4), (4, 0)), ((1,), ()), ((), (1, 1)),
                      ((2, 3, 4), (6, 4)), ((2, 3, 4), (2, -1))):
    torch_case("reshape", lambda x, t=target: x.reshape(t) * 2, f(*shape))
    torch_case("view", lambda x, t=target: x.view(t), f(*shape))
torch_case("reshape", lambda x: x.reshape(x.shape[0], -1), f(3, 4, 5), also=[(f(7, 4, 5),), (f(1, 4, 5),)])
torch_case("flatten", lambda x: x.flatten(1), f(2, 3, 4, 5))
torch_case("flatten", lambda x: x.flatten(2), f(2, 3, 4, 5))
torch_case("flatten", lambda x: x.flatten(), f())
torch_case("flatten", lambda x: x.flatten(-2, -1), f(2, 3, 4, 5))
for a, c in ((0, 1), (1, 2), (-1, -2), (0, -1), (1, 1)):
    torch_case("transpose", lambda x, a=a, c=c: x.transpose(a, c), f(3, 17, 20))
for order in ((1, 0, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)):
    torch_case("permute", lambda x, o=order: x.permute(o), f(5, 18, 3))
torch_case("permute", lambda x: x.permute(0, 2, 3, 1), f(1, 3, 33, 18))
torch_case("permute", lambda x: x.permute(0, 3, 1, 2), f(0, 33, 18, 3))
torch_case("permute", lambda x: x.permute(()), f())
torch_case("transpose", lambda x: x.transpose(1, 2), i(2, 7, 9))
torch_case("transpose", lambda x: x.transpose(1, 2), b(2, 7, 9))
torch_case("transpose", lambda x: x.transpose(0, 1), f(33, 40), also=[(f(1, 40),), (f(100, 3),)])
for target in ((3, 4), (2, 3, 4), (3, -1), (0, 3, 4)):
    torch_case("expand", lambda x, t=target: x.expand(t), f(3, 4) if target[-1] == -1 else f(1, 4))
torch_case("expand", lambda x: x.expand(5, 3), f())
torch_case("unsqueeze", lambda x: x.unsqueeze(-1), f(3, 4))
torch_case("unsqueeze", lambda x: x.unsqueeze(0) + 1, f())
torch_case("squeeze", lambda x: x.squeeze(1), f(3, 1, 4))
torch_case("squeeze", lambda x: x.squeeze(), f(1, 3, 1))
for start, end, step in ((0, 3, 1), (1, None, 2), (-3, -1, 1), (2, 100, 1), (5, 2, 1), (0, None, 3), (-100, 4, 1)):
    torch_case(f"slice[{start}:{end}:{step}]", lambda x, s=start, e=end, t=step: x[:, s:e:t], f(2, 7, 3))
torch_case("slice_focus", lambda x: torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1),
           f(1, 3, 12, 10))
torch_case("slice", lambda x: x[:, 1:], f(2, 7, 3), also=[(f(2, 3, 3),), (f(2, 30, 3),)])
torch_case("slice", lambda x: x[:, -1], f(2, 7, 3), also=[(f(2, 2, 3),)])
for axis, position in ((0, 0), (1, -1), (-1, 2), (1, 3)):
    torch_case("select", lambda x, a=axis, p=position: x.select(a, p), f(3, 4, 5))
for shapes, axis in ((((2, 3), (2, 5)), 1), (((2, 3), (4, 3)), 0), (((1, 16, 4, 4), (1, 16, 4, 4)), 1),
                     (((1, 3, 4), (1, 5, 4), (1, 17, 4)), -2), (((0, 3), (2, 3)), 0), (((5,), (0,), (1,)), 0)):
    torch_case("cat", lambda *a, d=axis: torch.cat(a, d), *[f(*s) for s in shapes])
torch_case("cat", lambda x, y: torch.cat((x, y, x), -1), i(2, 3), i(2, 1))
torch_case("cat", lambda x, y: torch.cat((x, y), 0), b(3), b(4))
torch_case("cat_blocked", lambda x, a, c: F.relu(torch.cat((F.conv2d(x, a), F.conv2d(x, c), x), 1)),
           f(1, 8, 6, 6), f(16, 8, 1, 1).const(), f(5, 8, 1, 1).const())
torch_case("cat", lambda x, y: torch.cat((x, y), 1), f(2, 3), f(2, 5), also=[(f(2, 7), f(2, 1))])
for axis in (0, 1, -1):
    torch_case("stack", lambda x, y, d=axis: torch.stack((x, y), d), f(3, 4), f(3, 4))
torch_case("stack", lambda x, y: torch.stack((x, y)), f(), f())
torch_case("split", lambda x: torch.split(x, [2, 3, 1], 1), f(2, 6))
torch_case("chunk", lambda x: torch.chunk(x, 3, -1), f(2, 7))
torch_case("repeat", lambda x: x.repeat(2, 1, 3), f(3, 4))
torch_case("flip", lambda x: x.flip(1), f(3, 7))
torch_case("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), f(4), f(5))
torch_case("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="xy"), i(4), i(1))
torch_case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), f(1, 12, 3, 4))

for low in (0, 3):
    torch_case("arange", lambda x, l=low: torch.arange(l, 9) + x, i())
torch_case("arange", lambda x: torch.arange(5, dtype=torch.float32) * x, f())
torch_case("arange_step", lambda x: torch.arange(0.5, 3.0, 0.5) * x, f())
torch_case("arange_start_step", lambda x: torch.ops.aten.arange.start_step(1, 10, 3) + x, i())
torch_case("arange", lambda x: torch.arange(x.shape[1])[None] * x, f(2, 5), also=[(f(2, 9),), (f(2, 1),)])
torch_case("zeros", lambda x: torch.zeros(2, 3) + x, f(3))
torch_case("ones", lambda x: torch.ones(2, 3, dtype=torch.int32), f(3))
torch_case("full", lambda x: torch.full((2, 3), 1.5) * x, f(3))
torch_case("full", lambda x: torch.full((), 7, dtype=torch.int64) + x, i(3))
torch_case("full_like", lambda x: torch.full_like(x, 0.5), f(3, 4))
torch_case("zeros_like", lambda x: torch.zeros_like(x), i(3, 4))
torch_case("scalar_tensor", lambda x: torch.ops.aten.scalar_tensor(2.5) * x, f(4))
torch_case("tril", lambda x: torch.tril(x), f(5, 7))
torch_case("triu", lambda x: torch.triu(x, 1), f(5, 7))

torch_case("embedding", F.embedding, i(2, 5, low=0, high=10), f(10, 17).const())
torch_case("embedding", F.embedding, i(low=0, high=10), f(10, 17).const())
torch_case("embedding", F.embedding, i(3, low=0, high=10, dtype="i32"), f(10, 4))
torch_case("embedding", F.embedding, i(0, low=0, high=1), f(10, 17).const())
torch_case("embedding", F.embedding, i(1, 3, low=0, high=10), f(10, 17).const(), also=[(i(1, 9, low=0, high=10), f(10, 17).const())])
for axis in (0, 1, -1):
    torch_case("index_select", lambda x, k, a=axis: torch.index_select(x, a, k), f(5, 6, 7), i(4, low=0, high=5))
    torch_case("gather", lambda x, k, a=axis: torch.gather(x, a, k), f(3, 4, 5), i(3, 4, 5, low=0, high=3))
torch_case("index", lambda x, k: x[k], f(6, 5), i(2, 3, low=0, high=6))
torch_case("index", lambda x, k: x[:, k], f(2, 6, 3), i(4, low=-6, high=6))


def distinct(n, *values):
    """Positions for a scatter: distinct, so that the result is defined."""
    return literal(list(values)[:n], "i64")


torch_case("index_copy", lambda x, p, v: x.index_copy(2, p, v), f(1, 6, 20, 8), distinct(1, 7), f(1, 6, 1, 8))
torch_case("index_copy", lambda x, p, v: x.index_copy(0, p, v), f(9, 4), distinct(3, 8, 0, 4), f(3, 4))
torch_case("index_copy", lambda x, p, v: x.index_copy(1, p, v), f(2, 9), i(1, low=0, high=9), f(2, 1))
torch_case("index_put", lambda x, p, v: torch.ops.aten.index_put(x, [p], v), f(9, 4), distinct(3, 8, 0, 4), f(3, 4))
torch_case("index_put", lambda x, p, v: torch.ops.aten.index_put(x, [None, p], v), f(2, 9, 3), distinct(2, 8, 1), f(2, 2, 3))
torch_case("index_put_accumulate", lambda x, p, v: torch.ops.aten.index_put(x, [p], v, True), f(9, 4), literal([1, 1, 4], "i64"), f(3, 4))
torch_case("scatter", lambda x, k, v: torch.scatter(x, 1, k, v), f(3, 7), literal([[0], [6], [3]], "i64"), f(3, 1))
torch_case("topk", lambda x: tuple(torch.topk(x, 3)), f(4, 20))
torch_case("sort", lambda x: tuple(torch.sort(x, -1)), f(4, 20))
torch_case("input_returned", lambda x: (x, x + 1, x), f(3))
torch_case("constant_returned", lambda x, c: (c, x), f(3), f(4).const())

onnx_case("Reshape", f(2, 6), ints(3, 4))
onnx_case("Reshape", f(2, 6), ints(0, -1, 2))
onnx_case("Reshape", f(0, 6), ints(3, 0), allowzero=1)
onnx_case("Reshape", f(1), literal([], "i64"))
onnx_case("Flatten", f(2, 3, 4), axis=2)
onnx_case("Flatten", f(2, 3, 4), axis=0)
for order in ([1, 0, 2], [2, 1, 0], [0, 2, 1]):
    onnx_case("Transpose", f(5, 18, 3), perm=order)
onnx_case("Transpose", f(5, 18, 3))
onnx_case("Unsqueeze", f(3, 4), ints(0, -1))
onnx_case("Unsqueeze", f(), ints(0))
onnx_case("Squeeze", f(3, 1, 4), ints(1))
onnx_case("Squeeze", f(1, 3, 1))
onnx_case("Expand", f(1, 4), ints(2, 3, 1))
onnx_case("Expand", f(3, 1), ints(3, 5))
onnx_case("Tile", f(3, 4), ints(2, 3))
for starts, ends, axes, steps in (([1], [3], [0], [1]), ([0, 1], [100, -1], [0, 1], [2, 1]), ([-1], [-100], [1], [-1]),
                                  ([5], [0], [1], [-2]), ([3], [1], [0], [1])):
    onnx_case("Slice", f(4, 7, 3), ints(*starts), ints(*ends), ints(*axes), ints(*steps))
onnx_case("Slice", f(4, 7), ints(1), ints(3))
onnx_case("Slice", f(4, 7), ints(1), ints(3), ints(-1))
for shapes, axis in ((((2, 3), (2, 5)), 1), (((2, 3), (4, 3)), 0), (((1, 3, 4), (1, 5, 4), (1, 17, 4)), -2), (((0, 3), (2, 3)), 0)):
    onnx_case("Concat", *[f(*s) for s in shapes], axis=axis)
onnx_case("Concat", f(2, 3), f(2, 5), axis=1, also=[(f(2, 1), f(2, 9))])
onnx_case("Split", f(2, 7), ints(3, 4), axis=1, outputs=2)
onnx_case("Split", f(2, 7), axis=1, num_outputs=3, outputs=3)
onnx_case("Pad", f(3, 5), ints(1, 0, 2, 3), literal(0.5))
onnx_case("Pad", f(3, 5), ints(1, 0, -1, 3))
onnx_case("Pad", f(3, 5), ints(1, 2, 1, 1), mode="reflect")
onnx_case("Pad", f(3, 5), ints(1, 2, 1, 1), mode="edge")
onnx_case("Pad", f(3, 5), ints(1, 1), literal(0.5), ints(1))
for axis in (0, 1, -1):
    onnx_case("Gather", f(5, 6, 7), i(2, 3, low=-5, high=5), axis=axis)
    onnx_case("GatherElements", f(3, 4, 5), i(3, 4, 5, low=-3, high=3), axis=axis)
onnx_case("Gather", f(5, 6), i(low=0, high=5))
onnx_case("Gather", f(10, 17).const(), i(1, 4, low=0, high=10, dtype="i32"))
onnx_case("Gather", i(9), i(3, low=0, high=9))
onnx_case("GatherND", f(3, 4, 5), literal([[0, 1], [2, 3]], "i64"))
onnx_case("ScatterND", f(9, 4), literal([[8], [0], [4]], "i64"), f(3, 4))
onnx_case("ScatterND", f(1, 6, 9, 4).const(), literal([[0, k, 2] for k in range(6)], "i64"), f(6, 4))
onnx_case("ScatterND", f(9, 4), i(1, 2, low=0, high=4), f(1))
onnx_case("ScatterND", f(9, 4), literal([[1], [1]], "i64"), f(2, 4), reduction="add")
onnx_case("ScatterElements", f(3, 7), literal([[0], [6], [3]], "i64"), f(3, 1), axis=1)
onnx_case("Shape", f(3, 4, 5))
onnx_case("Shape", f(3, 4, 5), start=1, end=-1)
onnx_case("Shape", f(3, 4, 5), also=[(f(9, 4, 1),)])
onnx_case("Size", f(3, 4, 5))
onnx_case("ConstantOfShape", ints(2, 3))
onnx_case("Range", literal(1, "i64"), literal(9, "i64"), literal(3, "i64"))
onnx_case("OneHot", i(5, low=0, high=4), literal(4, "i64"), literal([0.0, 1.0]))
onnx_case("CumSum", f(3, 5), literal(1, "i64"))
onnx_case("Trilu", f(5, 7), literal(1, "i64"), upper=0)
onnx_case("DepthToSpace", f(1, 12, 3, 4), blocksize=2)
onnx_case("DepthToSpace", f(1, 12, 3, 4), blocksize=2, mode="CRD")
onnx_case("SpaceToDepth", f(1, 3, 4, 6), blocksize=2)
onnx_case("TopK", f(4, 20), ints(3), outputs=2)
onnx_case("Identity", i(3))

torch_case("new_ones", lambda x: x.new_ones((2, 3)) + x, f(2, 3))
torch_case("roll", lambda x: torch.roll(x, (1, -2), (1, 2)), f(2, 5, 7))
torch_case("roll", lambda x: torch.roll(x, 9), f(3, 4))
torch_case("split", lambda x: torch.split(x, 2, 1), f(2, 7))
torch_case("squeeze", lambda x: torch.squeeze(x, (0, 2)), f(1, 4, 1, 5))
