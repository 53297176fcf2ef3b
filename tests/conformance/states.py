#!/usr/bin/env python3
"""Models that keep state between calls, against PyTorch.

usage: states.py --build BUILD [--keep]

Each model is exported as it is (it writes to its buffers in place) and decomposed (new
values of the buffers are results), compiled, and called several times in a row: results
and buffers must be PyTorch's after each call, and again after a reset, with one thread
and with two. Entry points of one module that name the same buffer share it.
"""

import argparse
import copy
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools, mismatch, run_in_environment  # noqa: E402

CALLS = 4


def models(torch):
    nn = torch.nn

    class Module(nn.Module):
        def __init__(self, **buffers):
            super().__init__()
            for name, value in buffers.items():
                self.register_buffer(name, value)

    class Counter(Module):
        """One buffer of a number, one that is computed from its own old elements."""

        def forward(self, x):
            self.count += 1
            self.history.copy_(torch.roll(self.history, 1) + x)
            return self.count * x, self.history

    class Swap(Module):
        """New values that are the other's old ones."""

        def forward(self, x):
            a = self.a.clone()
            self.a.copy_(self.b)
            self.b.copy_(a)
            return self.a + x, self.b - x, a

    class Before(Module):
        """The old value is a result, and is read after the new one is made."""

        def forward(self, x):
            old = self.total.clone()
            self.total.add_(x)
            return old, old * self.total

    class Part(Module):
        """Rows and columns are written."""

        def forward(self, x, row):
            self.table[:, 2] = x
            self.table.index_copy_(0, row, x.reshape(1, 4))
            return self.table.sum(0)

    class Recurrent(Module):
        """The state of a cell, in a loop."""

        def __init__(self):
            super().__init__(h=torch.zeros(2, 8), steps=torch.zeros((), dtype=torch.int32))
            self.cell = nn.GRUCell(4, 8)

        def forward(self, x):
            h = self.h
            for i in range(x.shape[0]):
                h = self.cell(x[i], h)
            self.h.copy_(h)
            self.steps += x.shape[0]
            return h.mean(-1), self.steps

    class Chain(Module):
        """One buffer, written once for each layer."""

        def forward(self, x, at):
            for layer in range(3):
                self.cache[layer].index_copy_(0, at, x * (layer + 1))
                x = x + self.cache[layer].mean(0, keepdim=True)
            return x

    class Loop(Module):
        """A loop begins with the state and ends with its new value."""

        def forward(self, x):
            def goes_on(i, total):
                return i < 5

            def step(i, total):
                return i + 1, total * 0.5 + x

            _, total = torch._higher_order_ops.while_loop(
                goes_on, step, (torch.zeros((), dtype=torch.int64), self.total.clone()))
            self.total.copy_(total)
            return total.sum()

    class Dtypes(Module):
        def forward(self, x):
            self.flags.logical_xor_(x > 0)
            self.bytes.add_(3)
            self.halves.mul_(2)
            return self.flags, self.bytes, self.halves

    f = torch.float32
    return {
        "counter": (Counter(count=torch.zeros(1), history=torch.arange(8, dtype=f)), ((8,),)),
        "swap": (Swap(a=torch.arange(4, dtype=f), b=torch.ones(4)), ((4,),)),
        "before": (Before(total=torch.full((3, 5), 0.5)), ((3, 5),)),
        "part": (Part(table=torch.zeros(4, 4)), ((4,), torch.tensor([1]))),
        "recurrent": (Recurrent(), ((3, 2, 4),)),
        "chain": (Chain(cache=torch.zeros(3, 6, 4)), ((1, 4), torch.tensor([2]))),
        "loop": (Loop(total=torch.linspace(-1, 1, 6)), ((6,),)),
        "dtypes": (Dtypes(flags=torch.zeros(5, dtype=torch.bool),
                          bytes=torch.full((2,), 250, dtype=torch.uint8),
                          halves=torch.ones(3, dtype=torch.float16)), ((5,),)),
    }


def cache_model(torch, length, rows, width):
    class Cache(torch.nn.Module):
        """A KV cache that a call extends by some rows."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.project = torch.nn.Linear(width, width)
            self.register_buffer("cache", torch.zeros(1, length, width))
            self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))

        def forward(self, x):
            position = self.filled + torch.arange(rows)
            self.cache.index_copy_(1, position, self.project(x))
            self.filled += rows
            visible = torch.arange(length) < self.filled
            scores = (x @ self.cache.transpose(1, 2)).masked_fill(~visible, float("-inf"))
            return torch.softmax(scores, -1) @ self.cache

    return Cache().eval()


def compare(what, want, got):
    import numpy as np

    if len(want) != len(got):
        raise Failure(f"{what}: {len(got)} results, {len(want)} expected")
    for i, (w, g) in enumerate(zip(want, got)):
        w = np.asarray(w)
        tolerance = 2e-3 if w.dtype == np.float16 else 1e-5
        wrong = "another dtype" if w.dtype != g.dtype else mismatch(w, g, tolerance, tolerance)
        if wrong:
            raise Failure(f"{what}, result {i}: {wrong}")


def check_model(torch, tools, runtime, folder, name, model, specs):
    model = model.eval()
    generator = torch.Generator().manual_seed(1)
    inputs = [[spec if torch.is_tensor(spec) else torch.randn(spec, generator=generator)
               for spec in specs] for _ in range(CALLS)]
    program = torch.export.export(copy.deepcopy(model), tuple(inputs[0]))
    for kind, exported in (("in place", program), ("decomposed", program.run_decompositions({}))):
        source, module = folder / f"{name}.pt2", folder / f"{name}.mv"
        torch.export.save(exported, source)
        tools("marver-compile", source, "-o", module)
        for threads in (1, 2):
            session = runtime.load(module).session(threads=threads)
            other = runtime.load(module).session(threads=threads)
            for round in range(2):
                reference = copy.deepcopy(model)
                for call in range(CALLS):
                    want = reference(*inputs[call])
                    want = [w.detach().numpy().copy() for w in
                            (want if isinstance(want, tuple) else (want,))]
                    got = session(*(x.numpy() for x in inputs[call]))
                    where = f"{name} ({kind}), call {call} of round {round}, threads {threads}"
                    compare(where, want, got)
                    states = [b.detach().numpy() for _, b in reference.named_buffers()]
                    # In the order of the program's inputs.
                    compare(where + ", states", states,
                            [session.state(i) for i in range(len(states))])
                session.reset()
            # Nothing of all this is seen by another session.
            compare(f"{name} ({kind}), another session",
                    [b.numpy() for _, b in model.named_buffers()],
                    [other.state(i) for i in range(len(states))])


def check_sharing(torch, tools, runtime, folder):
    """prefill and step of one module on one cache."""
    length, width = 48, 16
    graphs = {"prefill": cache_model(torch, length, 5, width),
              "step": cache_model(torch, length, 1, width)}
    sources = []
    for name, model in graphs.items():
        rows = 5 if name == "prefill" else 1
        program = torch.export.export(copy.deepcopy(model), (torch.zeros(1, rows, width),))
        torch.export.save(program, folder / f"{name}.pt2")
        sources.append(f"{name}={folder / name}.pt2")
    path = folder / "both.mv"
    tools("marver-compile", *sources, "-o", path)
    module = runtime.load(path)
    prefill, step = module.session("prefill"), module.session("step")
    step.share_state(prefill)
    if prefill.state(0).ctypes.data != step.state(0).ctypes.data:
        raise Failure("prefill and step have a cache each")
    reference, alone = graphs["prefill"], graphs["step"]
    generator = torch.Generator().manual_seed(2)
    for round in range(2):
        for model in (reference, alone):
            model.cache.zero_()
            model.filled.zero_()
        x = torch.randn(1, 5, width, generator=generator)
        compare("prefill", [reference(x).detach().numpy()], prefill(x.numpy()))
        alone.cache.copy_(reference.cache)
        alone.filled.copy_(reference.filled)
        for i in range(20):
            x = torch.randn(1, 1, width, generator=generator)
            compare(f"step {i}", [alone(x).detach().numpy()], step(x.numpy()))
        if step.statistics().state_bytes != length * width * 4 + 8:
            raise Failure("state bytes")
        prefill.reset()
        if step.state(0).any() or step.state(1).any():
            raise Failure("a reset of prefill leaves the state of step")
    # Writing beyond the cache is an error of the model; the session stays usable.
    for _ in range(length):
        step(x.numpy())
    from runtime import FAILURE_INDEX, CallError
    try:
        step(x.numpy())
        raise Failure("the cache takes more rows than it has")
    except CallError as error:
        if error.code != FAILURE_INDEX:
            raise Failure(f"beyond the cache: {error}") from None
    step.reset()
    prefill(torch.zeros(1, 5, width).numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    run_in_environment()
    import torch
    from runtime import Runtime

    tools, runtime = Tools(options.build), Runtime(options.build)
    folder = Path(tempfile.mkdtemp(prefix="marver-states-"))
    failures = 0

    def attempt(name, check, *arguments):
        nonlocal failures
        if options.only not in name:
            return
        try:
            check(torch, tools, runtime, folder, *arguments)
        except Failure as failure:
            failures += 1
            print(f"{name}: {failure}")

    for name, (model, specs) in models(torch).items():
        attempt(name, check_model, name, model, specs)
    attempt("sharing", check_sharing)
    if options.keep:
        print(folder)
    else:
        shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
