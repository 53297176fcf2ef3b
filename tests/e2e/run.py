#!/usr/bin/env python3
"""One model of the zoo, from file to results: compile, audit, run, compare.

usage: run.py --build BUILD MODEL [--format REGEX] [--keep]

Every export of the model (.pt2 and .onnx, static and dynamic) is compiled and
audited against its source, then run on every case it covers, with one thread and
with two: the results must be bit-identical, and within 1e-4 of PyTorch's largest
value, each output and each group of like quantities for itself.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools, mismatch, run_in_environment  # noqa: E402

import catalog  # noqa: E402
import export  # noqa: E402

TOLERANCE = 1e-4
SKIPPED = 77


def compare(meta, case, outputs):
    """Raises for the first output or group that is not close to PyTorch's."""
    import numpy as np

    for i, path in enumerate(outputs):
        want, got = np.load(case / f"out{i}.npy"), np.load(path)
        groups = meta["groups"] or {"": [0, want.shape[-1] if want.ndim else 0]}
        for group, (begin, end) in groups.items():
            if got.shape == want.shape and want.ndim:
                difference = mismatch(want[..., begin:end], got[..., begin:end], 0, TOLERANCE)
            else:
                difference = mismatch(want, got, 0, TOLERANCE)
            if difference:
                raise Failure(f"output {i} {group}: {difference}")


def check_export(tools, meta, source, folder, work):
    """Everything about one file; returns a line on what was done."""
    module = work / "model.mv"
    begin = time.time()
    tools("marver-compile", source, "-o", module)
    compiled = time.time() - begin

    dynamic = source.stem.endswith("_dyn")
    shapes = [[dims for _, dims in case["inputs"]] for case in meta["cases"]]
    covered = [i for i in range(len(shapes)) if dynamic or shapes[i] == shapes[0]]
    for number in covered:
        case = folder / str(number)
        inputs = [case / f"in{i}.npy" for i in range(len(meta["cases"][number]["inputs"]))]
        count = len(meta["cases"][number]["outputs"])
        results = []
        for threads in (1, 2):
            outputs = [work / f"out{i}.{threads}.npy" for i in range(count)]
            try:
                tools.run(module, inputs, outputs, threads)
                if threads == 1:
                    compare(meta, case, outputs)
            except Failure as failure:
                raise Failure(f"case {number} {shapes[number][:1]}, {threads} threads: {failure}")
            results.append([path.read_bytes() for path in outputs])
        for i, (one, two) in enumerate(zip(*results)):
            if one != two:
                raise Failure(f"case {number}: output {i} differs between 1 and 2 threads")
    tools("marver-audit", module, "--source", source)
    return (f"{len(covered)} cases, compiled in {compiled:.2f} s, "
            f"{module.stat().st_size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--format", default="", help="only the exports whose name matches")
    parser.add_argument("--keep", action="store_true", help="keep the module and the outputs")
    parser.add_argument("model", choices=catalog.MODELS)
    arguments = parser.parse_args()
    if (catalog.MODELS[arguments.model].set == "all" and not export.is_exported(arguments.model)
            and os.environ.get("MARVER_ZOO_SET") != "all"):
        print(f"{arguments.model} is not exported: ./dev test --all")
        return SKIPPED
    run_in_environment()
    folder = export.ensure(arguments.model)
    meta = json.loads((folder / "meta.json").read_text())
    work = arguments.build / "tests" / "e2e" / arguments.model
    failures = 0
    for source in sorted([*folder.glob("*.pt2"), *folder.glob("*.onnx")]):
        if not re.search(arguments.format, source.name):
            continue
        own = work / source.name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        try:
            print(f"ok    {source.name}: {check_export(Tools(arguments.build), meta, source, folder, own)}",
                  flush=True)
        except Failure as failure:
            failures += 1
            print(f"FAIL  {source.name}: {failure}", flush=True)
        if not arguments.keep:
            shutil.rmtree(own)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
