"""Sorting, and results whose size depends on the data."""

import torch
from registry import f, i, b, literal, onnx_case, torch_case

# Sorting: ties, NaN, every axis, sizes around a heap's levels.
for n in (0, 1, 2, 3, 8, 33, 1000):
    torch_case("sort", lambda x: tuple(torch.sort(x, stable=True)), f(n))
    torch_case("sort_descending", lambda x: tuple(torch.sort(x, descending=True, stable=True)), i(n, low=0, high=7))
for axis in (0, 1, 2, -1):
    torch_case(f"sort[{axis}]", lambda x, a=axis: tuple(torch.sort(x, dim=a, stable=True)), i(3, 5, 7, low=0, high=3))
torch_case("sort", lambda x: tuple(torch.sort(x, stable=True)), f(4, 33).nan())
torch_case("sort_descending", lambda x: tuple(torch.sort(x, descending=True, stable=True)), f(4, 33).nan())
torch_case("sort", lambda x: torch.sort(x, stable=True)[1], b(37))
torch_case("sort", lambda x: tuple(torch.sort(x, stable=True)), i(9, low=0, high=256, dtype="uint8"))
torch_case("sort", lambda x: torch.sort(x.half(), stable=True)[0].float(), f(17))
torch_case("sort", lambda x: tuple(torch.sort(x, stable=True)), f(4, 9), also=[(f(2, 33),), (f(1, 1),), (f(3, 0),)])
torch_case("argsort", lambda x: torch.argsort(x, dim=0, stable=True), i(9, 4, low=0, high=3))
for k in (0, 1, 5, 33):
    for largest in (True, False):
        torch_case(f"topk[{k}]", lambda x, k=k, l=largest: tuple(torch.topk(x, k, largest=l)), f(3, 33))
torch_case("topk", lambda x: tuple(torch.topk(x, 3, dim=0)), f(7, 5, 2))
torch_case("topk", lambda x: torch.topk(x, 3)[0], f(2, 51865))
torch_case("topk", lambda x: torch.topk(x, 2)[0], f(4, 33).nan())
onnx_case("TopK", f(3, 17), literal([4], "int64"), outputs=2)
onnx_case("TopK", f(3, 17), literal([4], "int64"), outputs=2, axis=0 - 1, largest=0)

# Positions of what is not zero.
for shape in ((0,), (1,), (37,), (3, 0, 2), (3, 5), (2, 3, 4, 5)):
    torch_case("nonzero", torch.nonzero, b(*shape))
    torch_case("nonzero_tuple", lambda x: torch.nonzero(x, as_tuple=True), i(*shape, low=0, high=3))
    onnx_case("NonZero", i(*shape, low=0, high=2, dtype="int32"))
torch_case("nonzero", torch.nonzero, f(9).nan())
torch_case("argwhere", torch.argwhere, i(4, 4, low=0, high=2))
torch_case("nonzero", lambda x: torch.nonzero(x > 0), f(4, 9), also=[(f(7, 3),), (f(0, 5),)])
torch_case("nonzero_twice", lambda x: x[torch.nonzero(x[:, 0] > 0).squeeze(1)].sum(0), f(9, 4))

# Masks.
for shape in ((1,), (37,), (5, 7), (3, 0, 2)):
    torch_case("masked_select", torch.masked_select, f(*shape), b(*shape))
    torch_case("index_mask", lambda x, m: x[m], f(*shape), b(*shape))
torch_case("masked_select", torch.masked_select, f(5, 7), b(7))
torch_case("index_mask", lambda x, m: x[m] * 2 + 1, f(5, 7, 3), b(5, 7))
torch_case("index_mask", lambda x, m: x[:, m], f(5, 7, 3), b(7))
torch_case("index_mask", lambda x, m: x[:, m].sum(1), f(2, 5, 7, 3), b(5, 7))
torch_case("index_mask", lambda x: x[x > 0], f(4, 9), also=[(f(7, 3),), (f(0, 5),)])
torch_case("index_mask_nan", lambda x: x[~torch.isnan(x)], f(33).nan())
torch_case("index_put_mask", lambda x, m, v: x.clone().index_put((m,), v), f(5, 7, 3), b(5, 7), f(3))
torch_case("index_put_mask", lambda x, m: x.clone().index_put((m,), x[m] * 2), f(5, 7), b(5, 7))
onnx_case("Compress", f(5, 7), b(5), axis=0)
onnx_case("Compress", f(5, 7), b(4), axis=1)
onnx_case("Compress", f(5, 7), b(30))
onnx_case("Compress", f(5, 7), b(5), axis=0, also=[(f(9, 7), b(8)), (f(3, 2), b(1))])

# Counts of repeats.
torch_case("repeat_interleave", lambda x, n: torch.repeat_interleave(x, n, 0), f(5, 3), i(5, low=0, high=4))
torch_case("repeat_interleave", lambda n: torch.repeat_interleave(n), i(9, low=0, high=3))
torch_case("repeat_interleave", lambda x, n: torch.repeat_interleave(x, n), f(2, 3), i(6, low=0, high=2))

# Different elements.
for n in (1, 2, 37, 500):
    torch_case("unique", lambda x: torch.unique(x), i(n, low=0, high=9))
    torch_case("unique_all", lambda x: torch.unique(x, return_inverse=True, return_counts=True), i(n, low=0, high=9))
    torch_case("unique_consecutive", lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True),
               i(n, low=0, high=2))
    onnx_case("Unique", i(n, low=0, high=9), outputs=4)
    onnx_case("Unique", i(n, low=0, high=9), outputs=4, sorted=0)
torch_case("unique", lambda x: torch.unique(x, return_inverse=True), i(4, 5, low=0, high=9))
torch_case("unique_dim", lambda x: torch.unique(x, dim=0, return_inverse=True, return_counts=True), i(40, 3, low=0, high=2))
torch_case("unique_dim", lambda x: torch.unique(x, dim=1), i(2, 30, 2, low=0, high=2))
torch_case("unique_dim", lambda x: torch.unique_consecutive(x, dim=0, return_counts=True), i(40, 1, low=0, high=2))
torch_case("unique", lambda x: torch.unique(x, return_counts=True), i(9, low=0, high=4), also=[(i(33, low=0, high=4),), (i(1),)])
onnx_case("Unique", i(6, 3, low=0, high=2), outputs=4, axis=0)
onnx_case("Unique", i(2, 9, low=0, high=2), outputs=4, axis=1, sorted=0)
onnx_case("Unique", f(2, 9), outputs=4)

# Boxes: many overlaps, several batches and classes, no box above the limit.
for name, count, overlap, score in (("few", 3, 0.4, 0.0), ("all", 100, 0.6, 0.3), ("none", 5, 0.5, 2.0)):
    onnx_case("NonMaxSuppression", f(2, 60, 4).between(0, 1), f(2, 3, 60).between(0, 1), literal([count], "int64"),
              literal([overlap]), literal([score]))
onnx_case("NonMaxSuppression", f(1, 60, 4).between(0, 1), f(1, 1, 60).between(0, 1), literal([100], "int64"),
          literal([0.3]), center_point_box=1)
onnx_case("NonMaxSuppression", f(1, 60, 4).between(0, 1), f(1, 1, 60).between(0, 1), literal([9], "int64"))
onnx_case("NonMaxSuppression", f(1, 60, 4).between(0, 1), f(1, 1, 60).between(0, 1), literal([9], "int64"),
          literal([0.5]), also=[(f(1, 7, 4).between(0, 1), f(1, 1, 7).between(0, 1), literal([9], "int64"), literal([0.5]))])
