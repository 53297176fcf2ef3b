#!/usr/bin/env python3
"""One model of the zoo as the MLIR that other exporters write of it.

usage: mlir.py --build BUILD [--all] MODEL [--route REGEX]

Each file (zoo/mlir_exports.py) is compiled and run on every case it covers: within
1e-4 of PyTorch's largest value. Where the exporter passes the graph on as it is, the
module is, byte for byte, that of the .pt2 or .onnx file which was exported. What an
exporter itself cannot write is skipped and named.
"""

import argparse
import filecmp
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from run import compare  # noqa: E402, first: it knows where the harness is
from marver import Failure, Tools, run_in_environment  # noqa: E402

import mlir_exports  # noqa: E402


def check_file(tools, meta, entry, source, file, zoo, work):
    """Everything about one file; returns a line on what was done."""
    module = work / "model.mv"
    begin = time.time()
    tools("marver-compile", file, "-o", module)
    compiled = time.time() - begin
    dynamic = source.stem.endswith("_dyn")
    if entry.same == "all" or (entry.same == "static" and not dynamic):
        other = work / "source.mv"
        tools("marver-compile", source, "-o", other)
        if not filecmp.cmp(module, other, shallow=False):
            raise Failure(f"the module differs from that of {source.name}")
    cases = meta["cases"]
    shapes = [[dims for _, dims in case["inputs"]] for case in cases]
    covered = [i for i in range(len(shapes)) if dynamic or shapes[i] == shapes[0]]
    for number in covered:
        case = zoo / str(number)
        outputs = [work / f"out{i}.npy" for i in range(len(cases[number]["outputs"]))]
        tools.run(module, [case / f"in{i}.npy" for i in range(len(shapes[number]))], outputs, 2)
        try:
            compare(meta, case, outputs)
        except Failure as failure:
            raise Failure(f"case {number} {shapes[number][:1]}: {failure}")
    return (f"{len(covered)} cases, {file.stat().st_size / 1e6:.1f} MB compiled in "
            f"{compiled:.2f} s{', same module' if module.with_name('source.mv').exists() else ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--route", default="", help="only the routes whose name matches")
    parser.add_argument("--all", action="store_true", help="the slow routes too")
    parser.add_argument("model", choices=mlir_exports.ALL)
    arguments = parser.parse_args()
    which = "all" if arguments.all or os.environ.get("MARVER_ZOO_SET") == "all" else "default"
    if not mlir_exports.routes(arguments.model, which):
        print(f"{arguments.model} is large: ./dev test --all")
        return 77
    run_in_environment()
    tools, failures = Tools(arguments.build), 0
    work = arguments.build / "tests" / "e2e" / f"{arguments.model}.mlir"
    for route in mlir_exports.routes(arguments.model, which):
        if not re.search(arguments.route, route):
            continue
        for source, file, reason in mlir_exports.ensure(arguments.model, route):
            if not file:
                print(f"none  {source.stem} by {route}: {reason}")
                continue
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            meta = json.loads((source.parent / "meta.json").read_text())
            try:
                done = check_file(tools, meta, mlir_exports.ROUTES[route], source, file,
                                  source.parent, work)
                print(f"ok    {file.name}: {done}", flush=True)
            except Failure as failure:
                failures += 1
                print(f"FAIL  {file.name}: {failure}", flush=True)
    shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
