#!/usr/bin/env python3
"""Random networks compute the same with -O0 and -O2.

usage: random_networks.py BUILD [--target-cpu=CPU] [--seeds=FIRST:LAST] [--keep=DIR]

-O0 leaves the graph as it is written: plain layout, weights unpacked, nothing
folded. -O2 folds, packs, blocks and raises. Each seed gives one network of
convolutions of all kinds (odd channels, groups, dilations, strides, pads),
elementwise operations, pools, resizes, concats, slices, pads, reductions,
transposes, norms and matrix products, some with a dynamic batch.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

import marver  # noqa: E402

marver.run_in_environment()

import numpy as np  # noqa: E402

IDENTITY = "affine_map<(n, c, h, w) -> (n, c, h, w)>"


class Network:
    """Writes the body of a function, one operation after the other."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.lines = []
        self.count = 0
        self.batch = int(self.random.integers(1, 4))
        self.dynamic = self.random.random() < 0.5
        self.shapes = {}
        channels = int(self.random.choice([1, 3, 8, 16, 21]))
        self.input = self.add("%x", [self.batch, channels, *self.size()])
        self.line("%c0 = arith.constant 0 : index")
        self.line("%zero = arith.constant 0.0 : f32")
        self.line(f"%batch = tensor.dim %x, %c0 : {self.type('%x')}")

    def size(self):
        return [int(self.random.integers(7, 20)), int(self.random.integers(7, 20))]

    def one_of(self, *values):
        return values[self.random.integers(len(values))]

    def line(self, text):
        self.lines.append("  " + text)

    def name(self):
        self.count += 1
        return f"%v{self.count}"

    def add(self, name, shape):
        self.shapes[name] = list(shape)
        return name

    def type_of(self, shape):
        batch = "?" if self.dynamic else str(shape[0])
        return "tensor<" + "x".join([batch, *map(str, shape[1:])]) + "xf32>"

    def type(self, name):
        return self.type_of(self.shapes[name])

    def constant(self, shape, low=-1.0, high=1.0):
        data = self.random.uniform(low, high, shape).astype(np.float32)
        name = self.name()
        kind = f"tensor<{'x'.join(map(str, shape))}xf32>"
        self.line(f'{name} = arith.constant dense<"0x{data.tobytes().hex().upper()}"> : {kind}')
        return name, kind

    def empty(self, shape):
        name = self.name()
        size = "%batch" if self.dynamic else ""
        self.line(f"{name} = tensor.empty({size}) : {self.type_of(shape)}")
        return name

    def generic(self, operands, shape, body):
        """`operands`: (name, type, map); the body yields %r."""
        out, name = self.empty(shape), self.name()
        loops = "nchw"[:len(shape)]
        identity = f"affine_map<({', '.join(loops)}) -> ({', '.join(loops)})>"
        all_maps = ", ".join([m for _, _, m in operands] + [identity])
        iterators = ", ".join(['"parallel"'] * len(shape))
        arguments = ", ".join(f"%i{i}: f32" for i in range(len(operands)))
        self.line(f"{name} = linalg.generic {{indexing_maps = [{all_maps}], iterator_types = "
                  f"[{iterators}]}} ins({', '.join(n for n, _, _ in operands)} : "
                  f"{', '.join(t for _, t, _ in operands)}) outs({out} : {self.type_of(shape)}) {{")
        self.line(f"^bb0({arguments}, %o: f32):")
        for statement in body:
            self.line("  " + statement)
        self.line(f"  linalg.yield %r : f32\n  }} -> {self.type_of(shape)}")
        return self.add(name, shape)

    # The operations. Each takes a value of rank 4 and returns one, or None.

    def conv(self, x):
        n, c, h, w = self.shapes[x]
        kind = self.one_of("dense", "dense", "depthwise", "grouped")
        outputs = int(self.one_of(1, 5, 16, 24, 32, 40))
        groups = 1
        if kind == "depthwise":
            groups = outputs = c
        elif kind == "grouped":
            divisors = [g for g in range(2, c + 1) if c % g == 0]
            if not divisors:
                return None
            groups = int(self.one_of(*divisors))
            outputs = groups * int(self.one_of(1, 2, 4))
            if outputs > 128:
                return None
        kernel = [int(self.one_of(1, 2, 3, 5)) for _ in range(2)]
        stride = [int(self.one_of(1, 1, 2)) for _ in range(2)]
        dilation = [int(self.one_of(1, 1, 2)) for _ in range(2)]
        pads = [int(self.random.integers(0, 3)) for _ in range(4)]
        out = [(size + pads[i] + pads[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
               for i, size in enumerate((h, w))]
        if min(out) < 1:
            return None
        bound = 1.7 / np.sqrt(c // groups * kernel[0] * kernel[1])
        weights, kind = self.constant([outputs, c // groups, *kernel], -bound, bound)
        bias = ""
        kinds = [self.type(x), kind]
        if self.random.random() < 0.5:
            values, kind = self.constant([outputs])
            bias = f" bias {values}"
            kinds.append(kind)
        name, shape = self.name(), [n, outputs, *out]
        attributes = ", ".join(
            f"{key} = array<i64: {', '.join(map(str, value))}>"
            for key, value in (("strides", stride), ("dilations", dilation), ("pads", pads)))
        self.line(f"{name} = mv.conv {x}, {weights}{bias} {{{attributes}, groups = {groups} : i64}}"
                  f" : ({', '.join(kinds)}) -> {self.type_of(shape)}")
        return self.add(name, shape)

    def affine(self, x):
        c = self.shapes[x][1]
        if self.random.random() < 0.5:
            scale, kind = self.constant([c], 0.5, 1.5)
            place = "affine_map<(n, c, h, w) -> (c)>"
        else:
            scale, kind = self.constant([1, c, 1, 1], 0.5, 1.5)
            place = "affine_map<(n, c, h, w) -> (0, c, 0, 0)>"
        shift, shift_kind = self.constant([c])
        return self.generic([(x, self.type(x), IDENTITY), (scale, kind, place),
                             (shift, shift_kind, "affine_map<(n, c, h, w) -> (c)>")],
                            self.shapes[x],
                            ["%m = arith.mulf %i0, %i1 : f32", "%r = arith.addf %m, %i2 : f32"])

    def activation(self, x):
        body = self.one_of(
            ["%r = arith.maximumf %i0, %zero : f32"],
            ["%r = math.tanh %i0 : f32"],
            ["%one = arith.constant 1.0 : f32", "%s = arith.negf %i0 : f32",
             "%e = math.exp %s : f32", "%d = arith.addf %e, %one : f32",
             "%r = arith.divf %i0, %d : f32"],
            # Positions of the element take part.
            ["%p = linalg.index 1 : index", "%q = linalg.index 3 : index",
             "%a = arith.addi %p, %q : index", "%b = arith.index_cast %a : index to i32",
             "%f = arith.sitofp %b : i32 to f32", "%k = arith.constant 0.01 : f32",
             "%g = arith.mulf %f, %k : f32", "%r = arith.addf %i0, %g : f32"])
        return self.generic([(x, self.type(x), IDENTITY)], self.shapes[x], body)

    def residual(self, x):
        others = [v for v, shape in self.shapes.items() if shape == self.shapes[x]]
        y = self.one_of(*others)
        return self.generic([(x, self.type(x), IDENTITY), (y, self.type(y), IDENTITY)],
                            self.shapes[x], ["%r = arith.subf %i0, %i1 : f32"])

    def pool(self, x):
        n, c, h, w = self.shapes[x]
        window, stride, pad = int(self.one_of(2, 3)), int(self.one_of(1, 2)), int(self.one_of(0, 1))
        out = [(size + 2 * pad - window) // stride + 1 for size in (h, w)]
        if min(out) < 1:
            return None
        kind = self.one_of("max", "average")
        count = ", count_include_pad" if kind == "average" and self.random.random() < 0.5 else ""
        name, shape = self.name(), [n, c, *out]
        self.line(f"{name} = mv.pool {kind} {x} {{window = array<i64: {window}, {window}>, strides = "
                  f"array<i64: {stride}, {stride}>, dilations = array<i64: 1, 1>, pads = array<i64: "
                  f"{pad}, {pad}, {pad}, {pad}>{count}}} : ({self.type(x)}) -> {self.type_of(shape)}")
        return self.add(name, shape)

    def resize(self, x):
        n, c, h, w = self.shapes[x]
        if h * w > 200:
            return None
        mode, offset, shift = self.one_of(("nearest", 0.0, 0.0), ("linear", 0.5, -0.5))
        name, shape = self.name(), [n, c, 2 * h, 2 * w]
        self.line(f"{name} = mv.resize {mode} {x} {{steps = array<f64: 0.5, 0.5>, offsets = array<f64: "
                  f"{offset}, {offset}>, shifts = array<f64: {shift}, {shift}>, nearest_bias = 0.0 : "
                  f"f64}} : {self.type(x)} -> {self.type_of(shape)}")
        return self.add(name, shape)

    def concat(self, x):
        axis = int(self.one_of(1, 1, 2))
        others = [v for v, shape in self.shapes.items()
                  if len(shape) == 4 and all(a == b for i, (a, b) in
                                             enumerate(zip(shape, self.shapes[x])) if i != axis)]
        y = self.one_of(*others)
        shape = list(self.shapes[x])
        shape[axis] += self.shapes[y][axis]
        if shape[1] > 100:
            return None
        name = self.name()
        self.line(f"{name} = tensor.concat dim({axis}) {y}, {x} : ({self.type(y)}, {self.type(x)}) -> "
                  f"{self.type_of(shape)}")
        return self.add(name, shape)

    def slice(self, x):
        n, c, h, w = self.shapes[x]
        offset = int(self.one_of(0, 4, 8, 16))
        if offset >= c:
            return None
        count = int(self.random.integers(1, c - offset + 1))
        row = int(self.random.integers(0, h))
        shape, name = [n, count, h - row, w], self.name()
        batch = "%batch" if self.dynamic else n
        self.line(f"{name} = tensor.extract_slice {x}[0, {offset}, {row}, 0] [{batch}, {count}, "
                  f"{h - row}, {w}] [1, 1, 1, 1] : {self.type(x)} to {self.type_of(shape)}")
        return self.add(name, shape)

    def pad(self, x):
        n, c, h, w = self.shapes[x]
        low, high = [0] * 4, [0] * 4
        low[2], high[3] = (int(self.random.integers(0, 3)) for _ in range(2))
        if self.random.random() < 0.3:
            high[1] = 2
        value = self.one_of("0.0", "0.5")
        shape, name = [n, c + high[1], h + low[2], w + high[3]], self.name()
        self.line(f"{name}p = arith.constant {value} : f32")
        self.line(f"{name} = tensor.pad {x} low[{', '.join(map(str, low))}] high"
                  f"[{', '.join(map(str, high))}] {{\n  ^bb0(%a: index, %b: index, %d: index, "
                  f"%e: index):\n    tensor.yield {name}p : f32\n  }} : {self.type(x)} to "
                  f"{self.type_of(shape)}")
        return self.add(name, shape)

    def mean(self, x):
        """Mean over the spatial dims, N x C."""
        n, c, h, w = self.shapes[x]
        out, start, name = self.empty([n, c]), self.name(), self.name()
        kind = self.type_of([n, c])
        self.line(f"{start} = linalg.fill ins(%zero : f32) outs({out} : {kind}) -> {kind}")
        self.line(f"{name} = linalg.generic {{indexing_maps = [{IDENTITY}, affine_map<(n, c, h, w) -> "
                  f'(n, c)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}} '
                  f"ins({x} : {self.type(x)}) outs({start} : {kind}) {{\n  ^bb0(%i: f32, %o: f32):\n"
                  f"    %s = arith.addf %o, %i : f32\n    linalg.yield %s : f32\n  }} -> {kind}")
        total = self.add(name, [n, c])
        factor = self.name()
        self.line(f"{factor} = arith.constant {1.0 / (h * w):.9e} : f32")
        flat = "affine_map<(n, c) -> (n, c)>"
        return self.generic([(total, kind, flat)], [n, c], [f"%r = arith.mulf %i0, {factor} : f32"])

    def squeeze(self, x):
        n, c, _, _ = self.shapes[x]
        mean, wide = self.mean(x), self.name()
        kind = self.type_of([n, c, 1, 1])
        batch = "%batch" if self.dynamic else n
        self.line(f"{wide} = tensor.expand_shape {mean} [[0], [1, 2, 3]] output_shape [{batch}, {c}, "
                  f"1, 1] : {self.type(mean)} into {kind}")
        weights, filter_kind = self.constant([c, c, 1, 1], -0.5, 0.5)
        gate = self.name()
        self.line(f"{gate} = mv.conv {wide}, {weights} {{strides = array<i64: 1, 1>, dilations = "
                  f"array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}} : ({kind}, "
                  f"{filter_kind}) -> {kind}")
        return self.generic([(x, self.type(x), IDENTITY),
                             (gate, kind, "affine_map<(n, c, h, w) -> (n, c, 0, 0)>")],
                            self.shapes[x],
                            ["%t = math.tanh %i1 : f32", "%r = arith.mulf %i0, %t : f32"])

    def norm_of_channels(self, x):
        n, c, h, w = self.shapes[x]
        # Result dims are n, h, w, c: loop dims named c, h, w walk them.
        rows = self.transpose(x, [n, h, w, c], "(n, w, c, h)")
        name = self.name()
        self.line(f"{name} = mv.layer_norm {rows} {{dims = 1 : i64, epsilon = 1.0e-3 : f64}} : "
                  f"{self.type(rows)}")
        self.add(name, [n, h, w, c])
        back = self.transpose(name, [n, c, h, w], "(n, h, w, c)")
        del self.shapes[name], self.shapes[rows]
        return back

    def transpose(self, x, shape, results):
        out, name = self.empty(shape), self.name()
        self.line(f"{name} = linalg.generic {{indexing_maps = [affine_map<(n, c, h, w) -> {results}>, "
                  f'{IDENTITY}], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}} '
                  f"ins({x} : {self.type(x)}) outs({out} : {self.type_of(shape)}) {{\n  "
                  f"^bb0(%i: f32, %o: f32):\n    linalg.yield %i : f32\n  }} -> "
                  f"{self.type_of(shape)}")
        return self.add(name, shape)

    def softmax(self, x):
        name = self.name()
        self.line(f"{name} = mv.softmax {x} {{dim = 1 : i64}} : {self.type(x)}")
        return self.add(name, self.shapes[x])

    def head(self, x):
        """Mean, matrix product, bias."""
        n, c, _, _ = self.shapes[x]
        mean, columns = self.mean(x), int(self.one_of(1, 10, 33))
        weights, kind = self.constant([columns, c])
        product = self.name()
        self.line(f"{product} = mv.matmul {mean}, {weights} {{transpose_rhs}} : ({self.type(mean)}, "
                  f"{kind}) -> {self.type_of([n, columns])}")
        self.add(product, [n, columns])
        bias, bias_kind = self.constant([columns])
        return self.generic([(product, self.type(product), "affine_map<(n, c) -> (n, c)>"),
                             (bias, bias_kind, "affine_map<(n, c) -> (c)>")], [n, columns],
                            ["%r = arith.addf %i0, %i1 : f32"])

    def text(self):
        operations = [self.conv] * 5 + [
            self.affine, self.affine, self.activation, self.activation, self.residual, self.pool,
            self.resize, self.concat, self.concat, self.slice, self.pad, self.squeeze,
            self.norm_of_channels, self.softmax]
        current = self.input
        for _ in range(int(self.random.integers(4, 16))):
            made = self.one_of(*operations)(current)
            if made:
                current = made
        results = [current, self.head(current)]
        kinds = ", ".join(self.type(v) for v in results)
        body = "\n".join(self.lines)
        return (f"func.func @main(%x: {self.type('%x')}) -> ({kinds}) {{\n{body}\n"
                f"  return {', '.join(results)} : {kinds}\n}}\n")


def check(tools, folder, seed):
    network = Network(seed)
    source = folder / f"{seed}.mlir"
    source.write_text(network.text())
    data = np.random.default_rng(seed).uniform(-1, 1, network.shapes["%x"]).astype(np.float32)
    np.save(folder / "in.npy", data)
    outputs = {}
    for level in (0, 2):
        module = folder / f"{level}.mv"
        tools("marver-compile", f"-O{level}", source, "-o", module)
        paths = [folder / f"out{level}.{i}.npy" for i in range(2)]
        tools.run(module, [folder / "in.npy"], paths, threads=1)
        outputs[level] = [np.load(path) for path in paths]
    for i, (plain, optimized) in enumerate(zip(outputs[0], outputs[2])):
        if plain.shape != optimized.shape:
            raise marver.Failure(f"result {i}: {plain.shape} at -O0, {optimized.shape} at -O2")
        scale = max(float(np.abs(plain).max(initial=0)), 1e-3)
        error = float(np.abs(plain - optimized).max(initial=0))
        if not error <= 2e-4 * scale:
            raise marver.Failure(f"result {i} differs by {error:.3g} of {scale:.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--target-cpu", default="host")
    parser.add_argument("--seeds", default="0:40")
    parser.add_argument("--keep", help="folder for the networks' sources")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(":"))
    tools = marver.Tools(options.build, options.target_cpu)
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary)
        folder.mkdir(exist_ok=True)
        for seed in range(first, last):
            try:
                check(tools, folder, seed)
            except marver.Failure as failure:
                failures.append(seed)
                print(f"seed {seed}: {failure}")
    print(f"{last - first} networks, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
