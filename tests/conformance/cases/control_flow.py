"""torch.cond, while_loop, scan and map: alone, nested, with values from outside, with
sizes that come out of the data."""

import torch
from registry import f, i, torch_case
from torch._higher_order_ops import while_loop
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan

# -- Branches

for low, high in (0.5, 1), (-1, -0.5):
    torch_case("cond", lambda x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, (x,)),
               f(3, 4).between(low, high), also=[(f(5, 4).between(low, high),), (f(2, 4).between(-high, -low),)])


def cond_captures(x, w, y):
    y = y @ w
    return torch.cond(x.sum() > 0, lambda x, y: (x @ w + y, y), lambda x, y: (y, x.sin() @ w), (x, y))


for low, high in (0.5, 1), (-1, -0.5):
    torch_case("cond", cond_captures, f(3, 4).between(low, high), f(4, 4).const(), f(3, 4))


def cond_of_size(x):
    return torch.cond(x.shape[0] > 4, lambda x: x.cos(), lambda x: x.sin(), (x,))


torch_case("cond", cond_of_size, f(3, 4), also=[(f(5, 4),), (f(4, 4),)])


def cond_nested(x, n):
    def inner(x):
        return torch.cond(n > 3, lambda x: x - 1, lambda x: x * 3, (x,))

    return torch.cond(n > 1, inner, lambda x: x / 2, (x,))


for count in 0, 2, 5:
    torch_case("cond", cond_nested, f(7), i(low=count, high=count + 1))

# -- while_loop


def count_up(x, n):
    return while_loop(lambda k, x: k < n, lambda k, x: (k + 1, x * 1.5 + k), (torch.zeros((), dtype=torch.int64), x))


for count in 0, 1, 9:
    torch_case("while_loop", count_up, f(2, 3), i(low=count, high=count + 1))
torch_case("while_loop", count_up, f(2, 3), i(low=4, high=5), also=[(f(6, 3), i(low=4, high=5)), (f(1, 3), i(low=0, high=1))])


def swap(x, y, n):
    """Fibonacci: both values move on at once."""
    zero = torch.zeros((), dtype=torch.int64)
    return while_loop(lambda k, a, b: k < n, lambda k, a, b: (k + 1, b.clone(), a + b), (zero, x, y))


torch_case("while_loop", swap, f(5), f(5), i(low=7, high=8))


def newton(x):
    """Ends by its data; the condition computes on tensors."""
    return while_loop(lambda r: ((r * r - x).abs().max() > 1e-5).reshape(()), lambda r: ((r + x / r) / 2,),
                      (torch.ones_like(x),))


torch_case("while_loop", newton, f(6).between(1, 9))


def project(x, w, v):
    """A product of values from outside is the same in all iterations."""
    zero = torch.zeros((), dtype=torch.int64)
    return while_loop(lambda k, x: k < 3, lambda k, x: (k + 1, torch.tanh(x @ (w @ v))), (zero, x))


torch_case("while_loop", project, f(3, 8), f(8, 8), f(8, 8).const())


def cache(x, n):
    """Rows of a buffer are written one by one, read by the next iterations."""
    def body(k, buffer):
        row = buffer.sum(0, keepdim=True) + x
        return k + 1, buffer.index_copy(0, k.reshape(1), row)

    return while_loop(lambda k, buffer: k < n, body, (torch.zeros((), dtype=torch.int64), torch.zeros(8, 4)))


torch_case("while_loop", cache, f(1, 4), i(low=6, high=7))


def nested_loops(x, n):
    zero = torch.zeros((), dtype=torch.int64)

    def outer(k, x):
        _, y = while_loop(lambda m, y: m < k, lambda m, y: (m + 1, y + x * m), (zero, x.clone()))
        return k + 1, torch.cond(y.sum() > 0, lambda y: y * 0.5, lambda y: y.abs() - 1, (y,))

    return while_loop(lambda k, x: k < n, outer, (zero, x))


torch_case("while_loop", nested_loops, f(3, 5), i(low=6, high=7))


def to_length(x, n):
    """As many as there are: the size comes out of the loop."""
    zero = torch.zeros((), dtype=torch.int64)
    k, y = while_loop(lambda k, y: (k < n) & (y.sum() < 50), lambda k, y: (k + 1, y + 1), (zero, x))
    size = k.item()
    torch._check(size >= 0)
    torch._check(size <= 6)
    return y[:size]


for count in 0, 3, 6:
    torch_case("while_loop", to_length, f(6), i(low=count, high=count + 1))

# -- scan, map


def running(x, y):
    return scan(lambda c, x: (c * 0.5 + x, c + x.sin()), y, x, dim=0)


torch_case("scan", running, f(5, 3), f(3), also=[(f(2, 3), f(3)), (f(9, 3), f(3))])
torch_case("scan", lambda x, y: scan(lambda c, x: (c * 0.5 + x, c * x), y, x, dim=1, reverse=True), f(3, 6), f(3))


def recurrent(x, h, w, u):
    def step(h, x):
        h = torch.tanh(x @ w + h @ u)
        return h, h.clone()

    return scan(step, h, x, dim=0)


torch_case("scan", recurrent, f(7, 2, 4), f(2, 5), f(4, 5).const(), f(5, 5).const())
torch_case("map", lambda x, y: torch_map(lambda x, y: (x @ y).relu(), x, y), f(4, 2, 3), f(3, 5),
           also=[(f(7, 2, 3), f(3, 5)), (f(2, 2, 3), f(3, 5))])
