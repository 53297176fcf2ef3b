"""Functions of JAX, written to StableHLO with inputs and results.

usage: stablehlo_cases.py FOLDER (in an environment that has jax)

FOLDER/NAME.mlir is what `jax.jit(f).lower(...).as_text()` prints;
FOLDER/NAME.in0.npy ... and NAME.out0.npy ... are numpy arrays.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

CASES = {}


def case(*inputs):
    def add(function):
        CASES[function.__name__] = (function, inputs)
        return function
    return add


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ints(high, *shape, dtype=np.int32, low=0):
    return np.random.default_rng(1).integers(low, high, shape, dtype=dtype)


@case(noise(2, 9, 7, 3), noise(3, 3, 3, 8, seed=1), noise(3, 3, 1, 8, seed=2))
def convolutions(x, w, d):
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.nn.relu(lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=numbers))
    y = lax.conv_general_dilated(y, d, (1, 1), [(1, 1), (2, 0)], dimension_numbers=numbers,
                                 feature_group_count=8)
    return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")


@case(noise(1, 4, 11), noise(6, 4, 3, seed=1))
def convolution_1d(x, w):
    return lax.conv_general_dilated(x, w, (2,), [(2, 1)], rhs_dilation=(2,))


@case(noise(1, 5, 6, 4), noise(3, 2, 4, 5, seed=1))
def transposed_convolution(x, w):
    return (lax.conv_transpose(x, w, (2, 3), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
            lax.conv_transpose(x, w, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")))


@case(noise(1, 6, 6, 2), noise(5, 7))
def windows(x, y):
    sums = lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 1, 2, 1), "SAME")
    least = lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 2, 1), (1, 1, 1, 1), "VALID")
    return sums, least, jnp.cumsum(y, axis=1), lax.cumsum(y, axis=0, reverse=True), lax.reduce_window(
        y, -jnp.inf, lax.max, (2, 3), (1, 2), "VALID")


@case(noise(3, 4), noise(5, 4, seed=1), noise(2, 3, 4, seed=2), noise(2, 6, 4, seed=3))
def products(a, b, c, d):
    return (a @ b.T, jnp.einsum("bij,bkj->bik", c, d), jnp.einsum("bij,kj->kib", c, b),
            jnp.tensordot(c, d[:, :3], ([1, 2], [1, 2])), jnp.dot(a[0], b[0]),
            jnp.einsum("bij,bij->b", c, c), jnp.outer(a[0], b[1]))


@case(noise(3, 7), ints(50, 3, 7), noise(3, 7) > 0)
def reductions(x, i, m):
    return (jnp.sum(x), jnp.max(x, axis=0), jnp.min(x, axis=1), jnp.prod(x, axis=1), jnp.any(m, axis=0),
            jnp.all(m), jnp.sum(i, axis=1), jnp.max(i), jnp.mean(x, axis=0), jnp.var(x, axis=1),
            jnp.argmax(x, axis=1), jnp.argmin(x, axis=0), jnp.argmax(i, axis=0))


@case(noise(4, 6), np.abs(noise(4, 6, seed=1)) + 0.1, ints(9, 4, 6, low=1))
def elementwise(x, p, i):
    u = jnp.clip(x, -0.9, 0.9)
    return (jnp.exp(x) + jnp.expm1(x), jnp.log(p) - jnp.log1p(p), jnp.sqrt(p) * lax.rsqrt(p), jnp.cbrt(x),
            jnp.sin(x) + jnp.cos(x) + jnp.tan(u), jnp.tanh(x) + jax.nn.sigmoid(x), jnp.power(p, x),
            jnp.floor(x) + jnp.ceil(x) + jnp.round(x) + jnp.sign(x), jnp.abs(x) - x, jnp.arctan2(x, p),
            jnp.arcsin(u) + jnp.arccos(u) + jnp.arctan(x), jnp.sinh(u) + jnp.cosh(u),
            jnp.arcsinh(x) + jnp.arccosh(1 + p) + jnp.arctanh(u), lax.erf(x) + lax.erfc(x),
            jnp.where(x > 0, x, p), jnp.isfinite(x), jnp.logical_not(x > 0), i // 2, i % 4, jnp.fmod(x, p),
            (i << 2) ^ (i >> 1) & 5 | 8, x.astype(jnp.int32), i.astype(jnp.float32), jnp.minimum(x, p),
            jnp.square(x), lax.round(x * 2, lax.RoundingMethod.AWAY_FROM_ZERO), lax.population_count(i),
            x.astype(jnp.bfloat16).astype(jnp.float32), lax.reduce_precision(x, 5, 10),
            lax.bitcast_convert_type(x, jnp.int32), lax.clamp(-0.5, x, 0.5))


@case(noise(2, 3, 8))
def networks(x):
    return (jax.nn.softmax(x), jax.nn.log_softmax(x), jax.nn.gelu(x), jax.nn.gelu(x, approximate=False),
            jax.nn.silu(x), jax.nn.softplus(x), jax.nn.elu(x), jax.nn.logsumexp(x, axis=1),
            (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5))


@case(noise(4, 5), noise(2, 2, seed=1), np.int32(1))
def slices(x, y, i):
    return (lax.dynamic_slice(x, (i, 0), (2, 3)), lax.dynamic_slice(x, (i + 9, -4 * i), (2, 3)),
            lax.dynamic_update_slice(x, y, (0, i)), lax.dynamic_update_slice(x, y, (i + 9, i)),
            jnp.pad(x, ((1, 2), (0, 3))), x[::2, 1:], x[::-1, ::-1],
            jnp.concatenate([x, 2 * x], 0), jnp.stack([x, x], 1), jnp.roll(x, 2, axis=1),
            lax.pad(x, 0.5, ((0, 0, 1), (-1, 1, 2))), x.T.reshape(2, 10), jnp.tile(x, (2, 3)),
            jnp.broadcast_to(x[:, None], (4, 3, 5)), jnp.repeat(x, 2, axis=0), jnp.tril(x))


@case(noise(6, 5, 4), ints(6, 3), ints(5, 3), ints(4, 2, 3))
def gathers(x, i, j, k):
    return (x[i], x[:, j], x[:, :, k], x[i, j], x[i, :, j % 4], jnp.take(x, i + 2, axis=0, mode="clip"),
            jnp.take(x, jnp.array([1, -1, 7]), axis=1, mode="fill"),
            jnp.take_along_axis(x, (k[:, :, None] % 5).repeat(4, 2)[:, :1].repeat(3, 0), axis=1),
            jax.vmap(lambda row, at: row[at])(x[:3], i % 5),
            jax.vmap(lambda row, at: lax.dynamic_slice(row, (at, 0), (2, 3)))(x[:3], i))


@case(noise(6, 5), ints(6, 3), noise(3, 5, seed=1), ints(5, 3))
def scatters(x, i, u, j):
    return (x.at[i].add(u), x.at[:, j].add(2.0), x.at[2].set(u[0]), x.at[i, j].max(u[:, 0]),
            x.at[jnp.array([1, 99, 3])].set(u), x.at[i].multiply(u), x.at[1:4].set(u), x.at[:, 1:3].add(1.0),
            jax.vmap(lambda row, at, v: row.at[at].set(v))(x[:3], j, u[:, 0]))


@case(noise(4, 9), ints(9, 4, 9))
def sorting(x, i):
    return (jnp.sort(x), jnp.sort(x, axis=0), jnp.argsort(x), jnp.argsort(i, axis=1), *lax.top_k(x, 3),
            jnp.sort(x, descending=True), *lax.sort((i, x), num_keys=1, dimension=0))


@case(noise(4), noise(6, 4, seed=1), np.int32(5))
def loops(x, xs, n):
    counted = lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2), (0, x))
    return (*counted, *lax.scan(lambda c, y: (c + y, c * y), x, xs),
            lax.fori_loop(0, 3, lambda i, c: c + xs[i], x),
            lax.fori_loop(0, n, lambda i, c: lax.while_loop(lambda d: d[0] < 10, lambda d: d + 1, c), x))


@case(noise(4), np.bool_(True), np.int32(2))
def branches(x, p, i):
    arms = [lambda y: y + 1, lambda y: y * 2, jnp.sin]
    return (lax.cond(p, lambda y: y + 1, lambda y: y * 2, x), lax.switch(i, arms, x), lax.switch(i + 7, arms, x),
            lax.switch(i - 3, arms, x))


@case(ints(200, 3, 4, dtype=np.uint8), ints(100, 3, 4, dtype=np.int8, low=-100))
def narrow_integers(u, s):
    return (u + u, u // 7, u > 100, u.astype(jnp.float32), s * 2, s.astype(jnp.uint8), jnp.max(u, axis=0),
            u >> 1, s >> 1, jnp.sum(u, axis=1))


def main(folder):
    folder = Path(folder)
    for name, (function, inputs) in CASES.items():
        lowered = jax.jit(function).lower(*inputs)
        (folder / f"{name}.mlir").write_text(lowered.as_text())
        (folder / f"{name}.generic.mlir").write_text(
            str(lowered.compiler_ir("stablehlo").operation.get_asm(print_generic_op_form=True)))
        for i, x in enumerate(inputs):
            np.save(folder / f"{name}.in{i}.npy", x)
        for i, x in enumerate(jax.tree.leaves(jax.jit(function)(*inputs))):
            np.save(folder / f"{name}.out{i}.npy", np.asarray(x))


if __name__ == "__main__":
    main(sys.argv[1])
