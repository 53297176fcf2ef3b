#!/usr/bin/env python3
"""--precision=bf16 computes with operands rounded to bf16, and says where it cannot.

usage: bfloat16.py BUILD [--keep=DIR]

The reference rounds weights and inputs of matrix products and dense convolutions
in PyTorch and adds in f32; against the f32 model the error must stay below a
stated share of the largest value. Skipped (77) where the CPU lacks avx512_bf16.
"""

import argparse
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

SKIPPED = 77
EXACT = 1e-3  # an input near the middle of two bf16 numbers may become the other one
TOLERANCE = 3e-2  # two or three layers, each of relative errors of 2^-9


def rounded(x):
    return x.to(torch.bfloat16).to(torch.float32)


class Rounded(nn.Module):
    """A layer whose operands are rounded."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        layer.weight.data = rounded(layer.weight)

    def forward(self, x):
        return self.layer(rounded(x))


class Attention(nn.Module):
    """Products that are rounded beside one that is not."""

    def __init__(self, project=lambda layer: layer):
        super().__init__()
        torch.manual_seed(7)
        self.norm = nn.LayerNorm(64)
        self.all, self.out = project(nn.Linear(64, 192)), project(nn.Linear(64, 64))

    def forward(self, x):
        q, k, v = self.all(self.norm(x)).reshape(2, 37, 3, 4, 16).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(1, 2).reshape(2, 37, 64))


def products(project=lambda layer: layer):
    torch.manual_seed(8)
    return nn.Sequential(project(nn.Linear(96, 200)), nn.GELU(), project(nn.Linear(200, 61, bias=False)))


def convolutions(project=lambda layer: layer):
    torch.manual_seed(9)
    # The first layer has too few channels to be blocked.
    return nn.Sequential(
        nn.Conv2d(4, 32, 3, stride=2, padding=1), nn.SiLU(),
        project(nn.Conv2d(32, 48, 1)), nn.ReLU(),
        project(nn.Conv2d(48, 50, 5, padding=2, stride=2)), nn.Hardswish(),
        nn.Conv2d(50, 50, 3, padding=1, groups=50),
        project(nn.Conv2d(50, 34, 1)))


torch.manual_seed(10)
CASES = {
    "products": (products, torch.randn(19, 96)),
    "one-row": (products, torch.randn(1, 96)),
    "attention": (Attention, torch.randn(2, 37, 64)),
    "convolutions": (convolutions, torch.randn(2, 4, 31, 45)),
}


def only_weights(layer):
    layer.weight.data = rounded(layer.weight)


def check(tools, name, folder):
    make, x = CASES[name]
    plain, reference = make().eval(), make(Rounded).eval()
    if name == "convolutions":  # its input stays f32, its weights do not
        only_weights(reference[0])
    source, module = folder / f"{name}.pt2", folder / f"{name}.mv"
    with torch.no_grad():
        torch.export.save(torch.export.export(plain, (x,)), source)
        want, original = reference(x).numpy(), plain(x).numpy()
    np.save(folder / "in.npy", x.numpy())
    tools("marver-compile", source, "-o", module, "--precision=bf16")
    graph = folder / f"{name}.mlir"
    tools("marver-compile", source, "-o", graph, "--precision=bf16", "--compile-to=graph")
    found = len(re.findall(r"mv\.packed_\w+ [^\n]*: \(tensor<[0-9x]+xbf16>, ", graph.read_text()))
    wanted = sum(isinstance(m, Rounded) for m in reference.modules())
    if found != wanted:
        raise marver.Failure(f"{found} contractions of bf16 operands instead of {wanted}")
    results = []
    for threads in (1, 2):
        out = folder / f"out{threads}.npy"
        tools.run(module, [folder / "in.npy"], [out], threads)
        results.append(np.load(out))
    if results[0].tobytes() != results[1].tobytes():
        raise marver.Failure("1 and 2 threads differ")
    for expected, tolerance in ((want, EXACT), (original, TOLERANCE)):
        difference = marver.mismatch(expected, results[0], 0, tolerance)
        if difference:
            raise marver.Failure(f"within {tolerance}: {difference}")


def refuses(tools, folder, says, *flags):
    source = folder / "products.pt2"
    run = subprocess.run([tools.bin / "marver-compile", source, "-o", folder / "x.mv", *flags],
                         capture_output=True, text=True)
    if run.returncode != 2 or says not in run.stderr or len(run.stderr.splitlines()) != 1:
        raise marver.Failure(f"{flags}: exit {run.returncode}: {run.stderr.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    tools = marver.Tools(arguments.build)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)

        def attempt(name, test):
            nonlocal failures
            try:
                test()
                print(f"ok    {name}", flush=True)
            except marver.Failure as failure:
                failures += 1
                print(f"FAIL  {name}: {failure}", flush=True)

        with torch.no_grad():
            torch.export.save(torch.export.export(products().eval(), (CASES["products"][1],)),
                              folder / "products.pt2")
        attempt("other CPUs", lambda: refuses(tools, folder, "avx512_bf16", "--precision=bf16",
                                              "--target-cpu=x86-64-v3"))
        attempt("int8 weights", lambda: refuses(tools, folder, "--weights", "--precision=bf16",
                                                "--weights=int8"))
        attempt("-O0", lambda: refuses(tools, folder, "--precision", "--precision=bf16", "-O0"))
        if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
            return 1 if failures else SKIPPED
        for name in CASES:
            attempt(name, lambda: check(tools, name, folder))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
