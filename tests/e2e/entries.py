#!/usr/bin/env python3
"""Whisper's encoder, cross_kv, prefill, step and whole decoding in one module.

usage: entries.py --build BUILD [--keep]

Each entry point gives what it gives alone, on every case of its model, and the weights
are there once: the module is no larger than that of the whole decoding, which has them
all, but for code and the tables of positions. Static and dynamic exports.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from marver import Failure, Tools, run_in_environment  # noqa: E402
from run import compare  # noqa: E402

import export  # noqa: E402

PARTS = {"encoder": "whisper_tiny_encoder", "cross_kv": "whisper_tiny_cross_kv",
         "prefill": "whisper_tiny_prefill", "step": "whisper_tiny_step",
         "whole": "whisper_tiny_greedy_buffer"}
WHOLE = "whole"
CODE = 3_000_000  # of all entry points together


def source_of(name, suffix):
    folder = export.ensure(name)
    dynamic = folder / f"{name}{suffix}.pt2"
    return folder, dynamic if dynamic.exists() else folder / f"{name}.pt2"


def check(tools, suffix, work):
    sources = {entry: source_of(name, suffix) for entry, name in PARTS.items()}
    tools("marver-compile", sources[WHOLE][1], "-o", work / "whole.mv")
    module = work / "all.mv"
    tools("marver-compile", *(f"{entry}={path}" for entry, (_, path) in sources.items()),
          "-o", module)
    most = (work / "whole.mv").stat().st_size + CODE
    if module.stat().st_size > most:
        raise Failure(f"the module has {module.stat().st_size} bytes, at most {most} are expected")
    for entry, (folder, path) in sources.items():
        meta = json.loads((folder / "meta.json").read_text())
        shapes = [[dims for _, dims in case["inputs"]] for case in meta["cases"]]
        for number, case in enumerate(meta["cases"]):
            if not path.stem.endswith("_dyn") and shapes[number] != shapes[0]:
                continue
            files = folder / str(number)
            outputs = [work / f"{entry}{i}.npy" for i in range(len(case["outputs"]))]
            try:
                tools.run(module, [files / f"in{i}.npy" for i in range(len(case["inputs"]))],
                          outputs, threads=2, function=entry)
                compare(meta, files, outputs)
            except Failure as failure:
                raise Failure(f"{entry}, case {number}: {failure}") from None
    return module.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="keep modules and outputs")
    options = parser.parse_args()
    run_in_environment()
    failures = 0
    for suffix in ("", "_dyn"):
        work = options.build / "tests" / "e2e" / f"entries{suffix}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            size = check(Tools(options.build), suffix, work)
            print(f"ok    {suffix or 'static'}: {size / 1e6:.2f} MB")
        except Failure as failure:
            failures += 1
            print(f"FAIL  {suffix or 'static'}: {failure}")
        if not options.keep:
            shutil.rmtree(work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
