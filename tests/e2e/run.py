#!/usr/bin/env python3
"""One model of the zoo, from file to results: compile, audit, run, compare.

usage: run.py --build BUILD MODEL [--format REGEX] [--keep]

Every export of the model (.pt2 and .onnx, static and dynamic) is compiled and
audited against its source, then run on every case it covers, with one thread and
with two: the results must be bit-identical, and within 1e-4 of PyTorch's largest
value, each output and each group of like quantities for itself. A module may be
as large as the weights that the graph uses, channels padded to whole blocks, and
300 kB more.
"""

import argparse
import json
import math
import os
import re
import shutil
import sys
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import SKIPPED, Failure, Tools, mismatch, run_in_environment  # noqa: E402

import catalog  # noqa: E402
import export  # noqa: E402

TOLERANCE = 1e-4
BLOCK = 16  # the widest: AVX-512
DTYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}  # torch's serialization


def allowed_bytes(source):
    """How large the module of a .pt2 file may be."""
    archive = zipfile.ZipFile(source)
    root = archive.namelist()[0].split("/")[0]
    graph_module = json.loads(archive.read(f"{root}/models/model.json"))["graph_module"]
    used = set(re.findall(r'{"name": "([^"]+)"}', json.dumps(graph_module["graph"]["nodes"])))
    tensors = {}
    for kind in ("weights", "constants"):
        config = json.loads(archive.read(f"{root}/data/{kind}/model_{kind}_config.json"))["config"]
        tensors.update({name: entry["tensor_meta"] for name, entry in config.items()})
    total, counted = 300_000, set()
    for spec in graph_module["signature"]["input_specs"]:
        (kind, value), = spec.items()
        name = value.get("parameter_name") or value.get("buffer_name") or value.get("tensor_constant_name")
        if not name or value["arg"]["name"] not in used or name in counted:
            continue
        counted.add(name)
        sizes = [size["as_int"] for size in tensors[name]["sizes"]]
        if len(sizes) > 1:
            sizes[0] += -sizes[0] % BLOCK
            if sizes[1] > 1:  # not the single one that a depthwise convolution reads
                sizes[1] += -sizes[1] % BLOCK
        total += math.prod(sizes) * DTYPE_BYTES[tensors[name]["dtype"]]
    return total


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


def check_export(tools, meta, source, folder, work, most_cases):
    """Everything about one file; returns a line on what was done."""
    module = work / "model.mv"
    begin = time.time()
    tools("marver-compile", source, "-o", module)
    compiled = time.time() - begin

    dynamic = source.stem.endswith("_dyn")
    shapes = [[dims for _, dims in case["inputs"]] for case in meta["cases"]]
    covered = [i for i in range(len(shapes)) if dynamic or shapes[i] == shapes[0]][:most_cases]
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
    size, most = module.stat().st_size, allowed_bytes(source.with_suffix(".pt2"))
    if size > most:
        raise Failure(f"the module has {size} bytes, {size - most} more than its weights justify")
    return (f"{len(covered)} cases, compiled in {compiled:.2f} s, "
            f"{module.stat().st_size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--format", default="", help="only the exports whose name matches")
    parser.add_argument("--target-cpu", default="host")
    parser.add_argument("--cases", type=int, metavar="N", help="at most so many inputs a file")
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
    work = arguments.build / "tests" / "e2e" / arguments.target_cpu / arguments.model
    failures = 0
    for source in sorted([*folder.glob("*.pt2"), *folder.glob("*.onnx")]):
        if not re.search(arguments.format, source.name):
            continue
        own = work / source.name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        try:
            tools = Tools(arguments.build, arguments.target_cpu)
            done = check_export(tools, meta, source, folder, own, arguments.cases)
            print(f"ok    {source.name}: {done}", flush=True)
        except Failure as failure:
            failures += 1
            print(f"FAIL  {source.name}: {failure}", flush=True)
        if not arguments.keep:
            shutil.rmtree(own)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
