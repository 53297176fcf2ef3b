"""Matrix products and attention."""

import torch
import torch.nn.functional as F
from registry import b, f, i, onnx_case, torch_case

for rows, inner, columns in ((1, 128, 64), (7, 33, 17), (1, 1, 1), (3, 0, 4), (0, 5, 4), (196, 64, 48), (13, 384, 100)):
    torch_case("mm", torch.mm, f(rows, inner), f(inner, columns))
    if inner:  # torch.export.save refuses a weight without elements
        torch_case("linear", F.linear, f(rows, inner), f(columns, inner).const(), f(columns).const())
        torch_case("mm", torch.mm, f(rows, inner), f(inner, columns).const())
torch_case("linear", F.linear, f(20), f(7, 20).const())
torch_case("linear", F.linear, f(2, 3, 20), f(7, 20).const())
torch_case("linear", F.linear, f(2, 3, 4, 20), f(7, 20).const(), f(7).const())
torch_case("linear", F.linear, f(5, 20), f(7, 20), f(7))  # weights at run time
torch_case("linear", F.linear, f(3, 20), f(33, 20).const(), f(33).const(),
           also=[(f(n, 20), f(33, 20).const(), f(33).const()) for n in (1, 40)])
torch_case("linear_gelu", lambda x, w, c: F.gelu(F.linear(x, w, c)), f(9, 32), f(128, 32).const(), f(128).const())
torch_case("linear_residual", lambda x, w, c: x + F.linear(x, w, c), f(9, 32), f(32, 32).const(), f(32).const())
torch_case("linear_relu_reused", lambda x, w: F.relu(F.linear(x, w)) + F.linear(x, w), f(9, 32), f(20, 32).const())
torch_case("addmm", torch.addmm, f(7), f(5, 20), f(20, 7))
torch_case("addmm", lambda c, x, y: torch.addmm(c, x, y, beta=0.5, alpha=2), f(5, 7), f(5, 20), f(20, 7))
torch_case("addmm", lambda x, w, c: torch.addmm(c, x, w.t()), f(5, 20), f(7, 20).const(), f(7).const())
for batch, rows, inner, columns in ((6, 4, 64, 33), (1, 1, 1, 1), (3, 17, 5, 16), (2, 1, 64, 100), (0, 3, 4, 5), (2, 3, 0, 5)):
    torch_case("bmm", torch.bmm, f(batch, rows, inner), f(batch, inner, columns))
for left, right in (((5,), (5,)), ((3, 5), (5,)), ((5,), (5, 4)), ((2, 3, 5), (5, 4)), ((3, 5), (2, 5, 4)),
                    ((2, 1, 3, 5), (4, 5, 6)), ((1, 3, 5), (7, 5, 2))):
    torch_case("matmul", torch.matmul, f(*left), f(*right))
    onnx_case("MatMul", f(*left), f(*right))
torch_case("matmul_transposed", lambda x, y: x @ y.transpose(-1, -2), f(2, 3, 5, 8), f(2, 3, 7, 8))
torch_case("matmul", torch.matmul, f(2, 3, 5), f(2, 5, 4), also=[(f(2, 9, 5), f(2, 5, 4)), (f(2, 1, 5), f(2, 5, 4))])
torch_case("einsum", lambda x, y: torch.einsum("bhqd,bhkd->bhqk", x, y), f(2, 3, 4, 5), f(2, 3, 6, 5))
torch_case("mm", torch.mm, f(5, 6).to("f64"), f(6, 7).to("f64"))
torch_case("mm", torch.mm, i(5, 6), i(6, 7))


def attention(*specs, **options):
    torch_case("scaled_dot_product_attention" + "".join(f"[{k}={v}]" for k, v in options.items()),
               lambda *a, o=options: F.scaled_dot_product_attention(*a, **o), *specs, atol=5e-6)


for q, k, d in ((1, 1, 1), (1, 448, 64), (4, 448, 64), (17, 33, 16), (50, 50, 64), (3, 5, 7)):
    attention(f(1, 6, q, d), f(1, 6, k, d), f(1, 6, k, d))
attention(f(2, 3, 4, 8), f(2, 3, 9, 8), f(2, 3, 9, 5))  # values of another width
attention(f(3, 4, 8), f(3, 9, 8), f(3, 9, 8))
attention(f(1, 2, 9, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), is_causal=True)
attention(f(1, 2, 9, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), scale=0.3)
attention(f(1, 2, 4, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), b(4, 9))
attention(f(2, 2, 4, 8), f(2, 2, 9, 8), f(2, 2, 9, 8), f(2, 1, 4, 9))  # additive mask
attention(f(1, 2, 4, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), b(1, 1, 1, 9))
attention(f(1, 4, 4, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), enable_gqa=True)
# Blocks of queries and of keys, whole and not, with each kind of mask.
for q, k in ((2, 131), (3, 300), (47, 129), (65, 260), (150, 150)):
    attention(f(2, 2, q, 20), f(2, 2, k, 20), f(2, 2, k, 36))
    attention(f(2, 2, q, 20), f(2, 2, k, 20), f(2, 2, k, 36), b(2, 1, q, k))
    attention(f(2, 2, q, 20), f(2, 2, k, 20), f(2, 2, k, 36), f(q, k))
    attention(f(2, 2, q, 20), f(2, 2, k, 20), f(2, 2, k, 36), is_causal=True)
# Scores in the hundreds, whose own rounding is this large, and growing from key to key.
torch_case("scaled_dot_product_attention[growing scores]",
           lambda q, k, v: F.scaled_dot_product_attention(q, k * torch.arange(300.0)[:, None], v),
           f(1, 2, 65, 20), f(1, 2, 300, 20), f(1, 2, 300, 20), atol=1e-3)
torch_case("scaled_dot_product_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
           f(1, 2, 9, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), atol=5e-6,
           also=[(f(1, 2, n, 8), f(1, 2, n, 8), f(1, 2, n, 8)) for n in (1, 3, 16, 40, 150)])
# Masks that compare positions: a cache's filled part, all of it, none of it (zero).
for q, k in ((1, 300), (3, 300), (70, 150)):
    for last in (0, 131, 400):
        torch_case(f"scaled_dot_product_attention[up to {last}]",
                   lambda q, k, v, p, last=last: F.scaled_dot_product_attention(
                       q, k, v, attn_mask=torch.arange(k.shape[2])[None, :] <= p % 3 + last),
                   f(1, 2, q, 20), f(1, 2, k, 20), f(1, 2, k, 20), i(q, 1), atol=5e-6)
torch_case("scaled_dot_product_attention[after the end]",
           lambda q, k, v: F.scaled_dot_product_attention(
               q, k, v, attn_mask=torch.arange(150)[None, :] < torch.arange(70)[:, None] + 80),
           f(1, 2, 70, 20), f(1, 2, 150, 20), f(1, 2, 150, 20), atol=5e-6)
# A row that the mask empties is NaN or zero in different versions: zero here.
torch_case("scaled_dot_product_attention[empty row]",
           lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros(4, 9, dtype=torch.bool)),
           f(1, 2, 4, 8), f(1, 2, 9, 8), f(1, 2, 9, 8))
torch_case("scaled_dot_product_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
           f(1, 2, 4, 8), f(1, 2, 9, 8), f(1, 2, 9, 8), atol=5e-6,
           also=[(f(1, 2, 1, 8), f(1, 2, 2, 8), f(1, 2, 2, 8)), (f(1, 2, 33, 8), f(1, 2, 70, 8), f(1, 2, 70, 8))])


def heads(x, w, n=4):
    """Self-attention as models write it: one projection, split into heads."""
    q, k, v = F.linear(x, w).chunk(3, -1)
    q, k, v = (t.view(t.shape[0], t.shape[1], n, -1).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)


torch_case("self_attention", heads, f(1, 10, 32), f(96, 32).const(), atol=5e-6)
torch_case("self_attention", heads, f(1, 10, 32), f(96, 32).const(), atol=5e-6, also=[(f(1, 3, 32), f(96, 32).const())])

onnx_case("MatMul", f(7, 33), f(33, 17).const())
onnx_case("MatMul", f(2, 7, 33), f(33, 17).const())
onnx_case("MatMul", f(0, 4), f(4, 3))
onnx_case("MatMul", i(3, 4, dtype="i32"), i(4, 5, dtype="i32"))
onnx_case("MatMul", f(2, 3, 5), f(5, 4).const(), also=[(f(2, 9, 5), f(5, 4).const())])
for a, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
    onnx_case("Gemm", f(*((20, 5) if a else (5, 20))), f(*((7, 20) if c else (20, 7))).const(), f(7).const(), transA=a, transB=c)
onnx_case("Gemm", f(5, 20), f(20, 7), f(5, 1), alpha=0.5, beta=2.0)
onnx_case("Gemm", f(5, 20), f(20, 7))
onnx_case("Gemm", f(5, 20), f(20, 7), f())
onnx_case("Einsum", f(2, 3, 5), f(2, 5, 4), equation="bij,bjk->bik")
