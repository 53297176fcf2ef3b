#!/usr/bin/env python3
"""Modules with bf16 and int8 weights compute what such weights say.

usage: weights.py BUILD [--target-cpu=CPU] [--keep=DIR]

Small PyTorch models are exported and compiled with `--weights`. The reference is
the same model whose weights were rounded here, by the definition in
docs/performance.md: what remains is the error of f32 arithmetic. Against the
model as it was, the error must stay below a stated share of the largest value.
Results are bit-identical with one and two threads, and modules shrink.
"""

import argparse
import copy
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

import marver  # noqa: E402

marver.run_in_environment()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

# Of the largest value: sums of K products with weights of a relative rounding
# error of about 0.0017 (bf16) or 0.008 (int8), through up to three layers.
TOLERANCE = {"bf16": 2e-2, "int8": 6e-2}
EXACT = 2e-5


class Tied(nn.Module):
    """One table for embeddings and outputs, large enough to be packed once."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2309, 120)
        self.middle = nn.Linear(120, 120)

    def forward(self, tokens):
        x = self.middle(self.table(tokens))
        return x @ self.table.weight.T


class Convolutions(nn.Module):
    """First layer, Winograd, 1x1 with odd channels, strided, grouped, depthwise."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.ReLU(),
            nn.Conv2d(64, 37, 1), nn.Hardswish(),
            nn.Conv2d(37, 37, 3, padding=1, groups=37),
            nn.Conv2d(37, 48, 5, stride=2, padding=2),
            nn.Conv2d(48, 48, 3, padding=1, groups=2))

    def forward(self, x):
        return self.layers(x)


def linear(inputs, outputs, bias=True):
    return nn.Sequential(nn.Linear(inputs, outputs, bias=bias), nn.GELU(), nn.Linear(outputs, 61))


# The model, its inputs, whether their first dim is dynamic.
torch.manual_seed(2)
CASES = {
    "vector": (linear(64, 200), [torch.randn(1, 64)], False),
    "rows": (linear(77, 131, bias=False), [torch.randn(9, 77)], False),
    "many-rows": (linear(96, 384), [torch.randn(150, 96)], False),
    "dynamic": (linear(50, 48), [torch.randn(6, 50)], True),
    "tied": (Tied(), [torch.tensor([[5, 0, 2308, 7]])], False),
    "convolutions": (Convolutions(), [torch.randn(2, 3, 44, 44)], False),
}


def rounded(weight, kind):
    """As docs/performance.md defines it; outputs are the first dim."""
    if kind == "bf16":
        return weight.to(torch.bfloat16).to(torch.float32)
    w = weight.detach().numpy().reshape(weight.shape[0], -1)
    scale = (np.abs(w).max(1, keepdims=True) / np.float32(127)).astype(np.float32)
    scale[scale == 0] = 1
    q = np.rint(w * (np.float32(1) / scale))
    return torch.from_numpy((q * scale).astype(np.float32)).reshape(weight.shape)


def narrowed(model, kind):
    model = copy.deepcopy(model)
    for module in model.modules():
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)) and not depthwise:
            module.weight.data = rounded(module.weight, kind)
    return model


def check(tools, name, cpu, folder):
    model, inputs, dynamic = CASES[name]
    model.eval()
    shapes = ({0: torch.export.Dim("n", max=64)},) if dynamic else None
    source = folder / f"{name}.pt2"
    with torch.no_grad():
        torch.export.save(torch.export.export(model, tuple(inputs), dynamic_shapes=shapes), source)
    np.save(folder / "in.npy", inputs[0].numpy())
    sizes = {}
    for kind in ("f32", "bf16", "int8"):
        module = folder / f"{name}.{kind}.mv"
        run = subprocess.run([tools.bin / "marver-compile", source, "-o", module, f"--weights={kind}",
                              f"--target-cpu={cpu}"], capture_output=True, text=True)
        if run.returncode:
            raise marver.Failure(f"{kind}: {run.stderr.strip()}")
        sizes[kind] = module.stat().st_size
        if kind == "f32":
            continue
        line = re.search(rf"^{kind} weights: (\d+) constants, .* at most (\S+)", run.stderr, re.M)
        if not line or not 1e-4 < float(line[2]) < 2e-2:
            raise marver.Failure(f"{kind}: no error was reported: {run.stderr.strip()!r}")
        results = []
        for threads in (1, 2):
            out = folder / f"out{threads}.npy"
            tools.run(module, [folder / "in.npy"], [out], threads)
            results.append(np.load(out))
        if results[0].tobytes() != results[1].tobytes():
            raise marver.Failure(f"{kind}: 1 and 2 threads differ")
        with torch.no_grad():
            want = narrowed(model, kind)(*inputs).numpy()
            original = model(*inputs).numpy()
        for reference, tolerance in ((want, EXACT), (original, TOLERANCE[kind])):
            difference = marver.mismatch(reference, results[0], 0, tolerance)
            if difference:
                raise marver.Failure(f"{kind}, within {tolerance}: {difference}")
    weights = sum(p.numel() for p in model.parameters())
    for kind, share in (("bf16", 0.5), ("int8", 0.75)):
        # Some bytes are scales, biases and depthwise filters.
        if sizes["f32"] - sizes[kind] < 4 * weights * share * 0.75 - 20_000:
            raise marver.Failure(f"the module has {sizes[kind]} bytes with {kind} weights, "
                                 f"{sizes['f32']} with f32")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--target-cpu", default="host")
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    tools = marver.Tools(arguments.build)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in CASES:
            try:
                check(tools, name, arguments.target_cpu, folder)
                print(f"ok    {name}", flush=True)
            except marver.Failure as failure:
                failures += 1
                print(f"FAIL  {name}: {failure}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
