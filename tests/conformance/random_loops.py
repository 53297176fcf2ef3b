#!/usr/bin/env python3
"""Random programs of nested loops and branches on tensors, against NumPy.

usage: random_loops.py --build BUILD [--seed N] [--count N] [--keep]

Every program is MLIR text that is written and run at the same time: scf.for, scf.while
and scf.if to a depth of three, which carry tensors whose number of rows stays or
grows, read values from outside and hold products with constant weights. Each is run
with several numbers of rows and iterations, with one thread and with two.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools, mismatch, run_in_environment  # noqa: E402

WIDTH = 4
BATCH = 16
HELPERS = """
func.func private @sum(%x: tensor<?x4xf32>) -> f32 {
  %zero = arith.constant dense<0.0> : tensor<f32>
  %sum = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%zero : tensor<f32>) dimensions = [0, 1]
    (%a: f32, %b: f32) {
      %c = arith.addf %a, %b : f32
      linalg.yield %c : f32
    }
  %s = tensor.extract %sum[] : tensor<f32>
  return %s : f32
}
"""


class Tie(Exception):
    """A comparison that rounding could decide."""


class Writer:
    """Writes a program as Python values: a statement is its text and what it does."""

    def __init__(self, random):
        self.random = random
        self.lines = []
        self.names = 0
        self.depth = 0

    def pick(self, *values):
        return values[self.random.integers(len(values))]

    def name(self, prefix="v"):
        self.names += 1
        return f"%{prefix}{self.names}"

    def emit(self, text):
        self.lines.append("  " * (self.depth + 1) + text)

    # A tensor is (name, type, rows): values whose rows are the same object have
    # equally many. A statement is a function of the environment, name -> array.

    def make(self, values, depth):
        """One statement that makes a new tensor of the values in scope."""
        kinds = [self.unary, self.binary, self.product, self.grow, self.cut]
        if depth < 3:
            kinds += [self.loop, self.loop, self.branch, self.loop_on_data]
        return self.pick(*kinds)(values, depth)

    def block(self, values, depth, count):
        """Some statements; returns the values in scope then, and what they do."""
        values, steps = list(values), []
        for _ in range(count):
            made, step = self.make(values, depth)
            values.append(made)
            steps.append(step)
        return values, lambda env: [step(env) for step in steps]

    def unary(self, values, depth):
        import numpy as np

        x, result = self.pick(*values), self.name()
        op, function = self.pick(("math.tanh", np.tanh), ("arith.negf", np.negative), ("math.absf", np.abs))
        self.emit(f"{result} = {op} {x[0]} : {x[1]}")
        return (result, x[1], x[2]), lambda env: env.update({result: function(env[x[0]])})

    def binary(self, values, depth):
        import numpy as np

        x = self.pick(*values)
        y = self.pick(*[v for v in values if v[1] == x[1] and v[2] is x[2]])
        added, result = self.name(), self.name()
        self.emit(f"{added} = arith.addf {x[0]}, {y[0]} : {x[1]}")
        self.emit(f"{result} = math.tanh {added} : {x[1]}")
        return (result, x[1], x[2]), lambda env: env.update({result: np.tanh(env[x[0]] + env[y[0]])})

    def product(self, values, depth):
        import numpy as np

        x = self.pick(*values)
        weights = self.random.integers(-4, 5, (WIDTH, WIDTH)).astype(np.float32) / 4
        rows, w, dim, empty, zero, filled, result = (self.name() for _ in range(7))
        text = str(weights.tolist())
        self.emit(f"{w} = arith.constant dense<{text}> : tensor<4x4xf32>")
        self.emit(f"{rows} = arith.constant 0 : index")
        size = ""
        if "?" in x[1]:
            self.emit(f"{dim} = tensor.dim {x[0]}, {rows} : {x[1]}")
            size = dim
        self.emit(f"{empty} = tensor.empty({size}) : {x[1]}")
        self.emit(f"{zero} = arith.constant 0.0 : f32")
        self.emit(f"{filled} = linalg.fill ins({zero} : f32) outs({empty} : {x[1]}) -> {x[1]}")
        product = self.name()
        self.emit(f"{product} = linalg.matmul ins({x[0]}, {w} : {x[1]}, tensor<4x4xf32>) outs({filled} : {x[1]}) -> {x[1]}")
        self.emit(f"{result} = math.tanh {product} : {x[1]}")
        return (result, x[1], x[2]), lambda env: env.update({result: np.tanh(env[x[0]] @ weights)})

    def grow(self, values, depth):
        import numpy as np

        x = self.pick(*values)
        fixed = self.pick(*[v for v in values if "?" not in v[1]])
        result = self.name()
        self.emit(f"{result} = tensor.concat dim(0) {x[0]}, {fixed[0]} : ({x[1]}, {fixed[1]}) -> tensor<?x4xf32>")
        return (result, "tensor<?x4xf32>", object()), lambda env: env.update(
            {result: np.concatenate([env[x[0]], env[fixed[0]]])})

    def cut(self, values, depth):
        """The first row, of tensors that have one."""
        x, result = self.pick(*[v for v in values if "?" not in v[1]]), self.name()
        self.emit(f"{result} = tensor.extract_slice {x[0]}[0, 0] [1, 4] [1, 1] : {x[1]} to tensor<1x4xf32>")
        return (result, "tensor<1x4xf32>", 1), lambda env: env.update({result: env[x[0]][:1]})

    def to_dynamic(self, x):
        """The tensor's name in a type without a static number of rows."""
        if "?" in x[1]:
            return x[0]
        result = self.name()
        self.emit(f"{result} = tensor.cast {x[0]} : {x[1]} to tensor<?x4xf32>")
        return result

    def carry(self, values):
        """What a loop starts with: tensors whose rows stay (True), or change."""
        return [(self.pick(*values), self.pick(True, False)) for _ in range(self.pick(1, 2, 3))]

    def header(self, carried):
        names, types = [], []
        for x, stays in carried:
            names.append(x[0] if stays else self.to_dynamic(x))
            types.append(x[1] if stays else "tensor<?x4xf32>")
        return names, types

    def inside(self, carried, types):
        return [(self.name("a"), kind, x[2] if stays else object())
                for (x, stays), kind in zip(carried, types)]

    def choose_next(self, values, arguments, carried):
        """The values for the next iteration: their number of rows may have to be the same."""
        chosen = []
        for (x, stays), argument in zip(carried, arguments):
            fitting = [v for v in values[-6:] if not stays or (v[1] == argument[1] and v[2] is argument[2])]
            chosen.append(self.pick(*(fitting or [argument])))
        return chosen

    def yields(self, chosen, carried):
        return [v[0] if stays else self.to_dynamic(v) for v, (_, stays) in zip(chosen, carried)]

    def results(self, carried, types):
        count, result = len(carried), self.name("r")
        names = [f"{result}#{i}" for i in range(count)] if count > 1 else [result]
        made = [(n, t, x[2] if stays else object()) for n, t, (x, stays) in zip(names, types, carried)]
        return f"{result}:{count}" if count > 1 else result, names, made

    def loop(self, values, depth):
        carried = self.carry(values)
        names, types = self.header(carried)
        arguments = self.inside(carried, types)
        label, results, made = self.results(carried, types)
        count = self.pick("%count", "%c2", "%c0")
        pairs = ", ".join(f"{a[0]} = {n}" for a, n in zip(arguments, names))
        self.emit(f"{label} = scf.for {self.name('i')} = %c0 to {count} step %c1 iter_args({pairs}) -> ({', '.join(types)}) {{")
        self.depth += 1
        inner, body = self.block(values + arguments, depth + 1, self.pick(1, 2, 3))
        chosen = self.choose_next(inner, arguments, carried)
        self.emit(f"scf.yield {', '.join(self.yields(chosen, carried))} : {', '.join(types)}")
        self.depth -= 1
        self.emit("}")

        def run(env):
            state = [env[x[0]] for x, _ in carried]
            for _ in range({"%count": env["%count"], "%c2": 2, "%c0": 0}[count]):
                env.update({a[0]: s for a, s in zip(arguments, state)})
                body(env)
                state = [env[v[0]] for v in chosen]
            env.update(dict(zip(results, state)))

        return self.pick(*made), run

    def loop_on_data(self, values, depth):
        """An scf.while that ends by the sum of a tensor, after %count + 3 iterations at most."""
        carried = self.carry(values)
        names, types = self.header(carried)
        before, arguments = self.inside(carried, types), self.inside(carried, types)
        label, results, made = self.results([((None, None, None), False), *carried], ["index", *types])
        kinds = ", ".join(["index", *types])
        first, at, next_at = self.name("k"), self.name("k"), self.name("k")
        pairs = ", ".join(f"{a[0]} = {n}" for a, n in zip(before, names))
        limit = float(self.pick(-3.5, 0.25, 6.5))
        self.emit(f"{label} = scf.while ({first} = %c0, {pairs}) : ({kinds}) -> ({kinds}) {{")
        self.depth += 1
        tensor, total, low, short, go = self.to_dynamic(before[0]), *(self.name() for _ in range(4))
        bound = self.name("f")
        self.emit(f"{total} = func.call @sum({tensor}) : (tensor<?x4xf32>) -> f32")
        self.emit(f"{bound} = arith.constant {limit} : f32")
        self.emit(f"{low} = arith.cmpf ogt, {total}, {bound} : f32")
        self.emit(f"{short} = arith.cmpi slt, {first}, %count : index")
        self.emit(f"{go} = arith.andi {low}, {short} : i1")
        self.emit(f"scf.condition({go}) {first}, {', '.join(b[0] for b in before)} : {kinds}")
        self.depth -= 1
        self.emit("} do {")
        self.emit(f"^bb0({at}: index, {', '.join(f'{a[0]}: {t}' for a, t in zip(arguments, types))}):")
        self.depth += 1
        inner, body = self.block(values + arguments, depth + 1, self.pick(1, 2, 3))
        chosen = self.choose_next(inner, arguments, carried)
        ends = self.yields(chosen, carried)
        self.emit(f"{next_at} = arith.addi {at}, %c1 : index")
        self.emit(f"scf.yield {next_at}, {', '.join(ends)} : {kinds}")
        self.depth -= 1
        self.emit("}")

        def run(env):
            state = [env[x[0]] for x, _ in carried]
            for _ in range(env["%count"]):
                total = float(state[0].sum())
                if abs(total - limit) < 1e-2:
                    raise Tie
                if total <= limit:
                    break
                env.update({a[0]: s for a, s in zip(arguments, state)})
                body(env)
                state = [env[v[0]] for v in chosen]
            env.update(dict(zip(results[1:], state)))

        return self.pick(*made[1:]), run

    def branch(self, values, depth):
        tested = self.pick(*values)
        kind = self.pick(*values)  # both branches end with something of its kind, or of any
        stays = self.pick(True, False)
        result, type = self.name("r"), kind[1] if stays else "tensor<?x4xf32>"
        total, zero, condition = self.name(), self.name(), self.name()
        dynamic = self.to_dynamic(tested)
        self.emit(f"{total} = func.call @sum({dynamic}) : (tensor<?x4xf32>) -> f32")
        self.emit(f"{zero} = arith.constant 0.125 : f32")
        self.emit(f"{condition} = arith.cmpf ogt, {total}, {zero} : f32")
        self.emit(f"{result} = scf.if {condition} -> {type} {{")
        blocks = []
        for end in ("} else {", "}"):
            self.depth += 1
            inner, body = self.block(values, depth + 1, self.pick(1, 2))
            chosen = self.choose_next(inner, [kind], [(kind, stays)])
            self.emit(f"scf.yield {self.yields(chosen, [(kind, stays)])[0]} : {type}")
            self.depth -= 1
            self.emit(end)
            blocks.append((body, chosen[0][0]))

        def run(env):
            total = float(env[tested[0]].sum())
            if abs(total - 0.125) < 1e-2:
                raise Tie
            body, name = blocks[0 if total > 0.125 else 1]
            body(env)
            env[result] = env[name]

        return (result, type, kind[2] if stays else object()), run

    def program(self):
        """The text, and the function of the arguments' values."""
        rows = object()
        values = [("%x", "tensor<?x4xf32>", rows), ("%y", "tensor<3x4xf32>", 3)]
        for name, value in ("%c0", 0), ("%c1", 1), ("%c2", 2):
            self.emit(f"{name} = arith.constant {value} : index")
        self.emit("%n = tensor.extract %iterations[] : tensor<i64>")
        self.emit("%count = arith.index_cast %n : i64 to index")
        inner, body = self.block(values, 0, self.pick(2, 3, 4))
        outputs = [inner[-1], self.pick(*inner)]
        self.emit(f"return {', '.join(v[0] for v in outputs)} : {', '.join(v[1] for v in outputs)}")
        text = (HELPERS + "func.func @main(%x: tensor<?x4xf32>, %y: tensor<3x4xf32>, %iterations: tensor<i64>) -> ("
                + ", ".join(v[1] for v in outputs) + ") {\n" + "\n".join(self.lines) + "\n}\n")

        def run(x, y, iterations):
            env = {"%x": x, "%y": y, "%count": int(iterations)}
            body(env)
            return [env[v[0]] for v in outputs]

        return text, run


def draw(seed, number):
    """Program `number`, its cases of inputs and results; the same for the same seed."""
    import numpy as np

    random = np.random.default_rng([seed, number])
    while True:
        text, run = Writer(random).program()
        cases = []
        try:
            for rows, iterations in (1, 0), (2, 3), (7, 1), (5, 2):
                inputs = [random.standard_normal((rows, WIDTH), dtype=np.float32),
                          random.standard_normal((3, WIDTH), dtype=np.float32), np.array(iterations, np.int64)]
                cases.append((inputs, run(*inputs)))
        except Tie:
            continue
        return text, cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--keep", action="store_true", help="keep the programs and their files")
    arguments = parser.parse_args()
    run_in_environment()
    import numpy as np

    tools = Tools(arguments.build)
    work = arguments.build / "random-loops"
    shutil.rmtree(work, ignore_errors=True)
    failures = 0

    def report(number, text):
        nonlocal failures
        failures += 1
        print(f"FAIL  {work / f'{number}.mlir'}: {text}", flush=True)

    for begin in range(0, arguments.count, BATCH):
        programs = {n: draw(arguments.seed, n) for n in range(begin, min(begin + BATCH, arguments.count))}
        work.mkdir(exist_ok=True, parents=True)
        for number, (text, _) in programs.items():
            (work / f"{number}.mlir").write_text(text)
        module = work / f"{begin}.mv"
        try:
            tools("marver-compile", *(f"p{n}={work / f'{n}.mlir'}" for n in programs), "-o", module)
        except Failure:
            for number in programs:  # which of them?
                try:
                    tools("marver-compile", f"p{number}={work / f'{number}.mlir'}", "-o", module)
                except Failure as failure:
                    report(number, failure)
            continue
        for number, (_, cases) in programs.items():
            for case, (inputs, wanted) in enumerate(cases):
                files = [work / f"{number}.{case}.in{i}.npy" for i in range(len(inputs))]
                for path, value in zip(files, inputs):
                    np.save(path, value)
                try:
                    for threads in 1, 2:
                        outputs = [work / f"{number}.{case}.out{i}.npy" for i in range(len(wanted))]
                        tools.run(module, files, outputs, threads, function=f"p{number}")
                        for i, (path, want) in enumerate(zip(outputs, wanted)):
                            if difference := mismatch(want, np.load(path), 1e-4, 1e-4):
                                raise Failure(f"case {case}, result {i}: {difference}")
                except Failure as failure:
                    report(number, failure)
                    break
    print(f"{arguments.count} programs, {failures} failed; --seed={arguments.seed}")
    if not failures and not arguments.keep:
        shutil.rmtree(work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
