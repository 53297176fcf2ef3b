#!/usr/bin/env python3
"""marver-run and marver-bench on a module that the tests wrote by hand: what compiled
models seldom have (results of unknown size, updates in place, failures), and flags.

usage: run.py BIN MODULE
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

BIN, MODULE = Path(sys.argv[1]), Path(sys.argv[2])
failures = count = 0


def tool(name, *arguments, module=MODULE):
    return subprocess.run([BIN / name, module, *arguments], capture_output=True, text=True, timeout=120)


def check(what, run, code=0, out=None, err=None, lines=1):
    """`out` is all of stdout; `err` must be in stderr, whose lines are counted on errors."""
    global failures, count
    count += 1
    problem = None
    if run.returncode != code:
        problem = f"exit {run.returncode}, not {code}: {run.stderr.strip()}"
    elif out is not None and run.stdout.strip() != out:
        problem = f"printed {run.stdout.strip()!r}, not {out!r}"
    elif err is not None and err not in run.stderr:
        problem = f"said {run.stderr.strip()!r}, which has no {err!r}"
    elif code in (1, 2) and len(run.stderr.strip().splitlines()) != lines:
        problem = f"not one line: {run.stderr.strip()!r}"
    if problem:
        failures += 1
        print(f"FAIL {what}: {problem}")


def run(what, *arguments, **expected):
    check(what, tool("marver-run", *arguments), **expected)


# Results of a size that depends on data.
run("sizes", "--function=nonzero", "--input=5xf32=1 0 2 0 3",
    out="result[0]: 3xi64=0 2 4\nresult[1]: 5xf32=1 0 4 0 9")
run("no elements", "--function=nonzero", "--input=2xf32", out="result[0]: 0xi64=\nresult[1]: 2xf32=0 0")
run("an output dropped", "--function=nonzero", "--input=2xf32=1", "--output=", "--output=-",
    out="result[1]: 2xf32=1 1")

# An output in its input's buffer: each repetition but the last moves it on.
run("in place", "--function=update", "--input=16xf32=1", "--repeat=3",
    out="result[0]: 16xf32=" + " ".join(["2"] * 16))

# Failures, with the sidecar's words and without.
run("a failure", "--function=gather", "--input=2xi64=1 8", code=1,
    err="an index is out of range (code 1 at place 7): index of Gather at model.py:4")
run("dims of one symbol", "--function=add", "--input=2x4xf32", "--input=3x4xf32", code=1, err="it must be 2")
run("a symbol's range", "--function=add", "--input=2000x4xf32", "--input=2000x4xf32", code=1, err="[1, 1000]")
run("an unknown function", "--function=nothing", code=1, err="main")
run("too many outputs", "--input=8xf32", "--output=-", "--output=-", code=1, err="1 output")
with tempfile.TemporaryDirectory() as folder:
    alone = Path(folder) / "alone.mv"
    shutil.copy(MODULE, alone)
    failed = tool("marver-run", "--function=gather", "--input=2xi64=1 8", module=alone)
    check("a failure without sidecar", failed, code=1, err="place 7)\n")
    shutil.copy(f"{MODULE}.dbg", f"{alone}.dbg")
    with open(f"{alone}.dbg", "r+b") as sidecar:
        sidecar.seek(16)
        sidecar.write(b"another build id")
    other = tool("marver-run", "--function=gather", "--input=2xi64=1 8", module=alone)
    check("a sidecar of another build", other, code=1, err="another build", lines=2)

    # Raw and array files, out and in again.
    array, raw = Path(folder) / "a.npy", Path(folder) / "a.bin"
    run("to files", "--function=copy_bf16", "--input=2x2xbf16=1 2 -3 0.5", f"--output=@{array}", out="")
    run("from a file", "--function=copy_bf16", f"--input=@{array}", out="result[0]: 2x2xbf16=[1 2][-3 0.5]")
    raw.write_bytes(struct.pack("<4h", 1, 2, 3, 4))
    run("raw", "--function=copy_i16", f"--input=2x2xi16=@{raw}", f"--expected-output=2x2xi16=1 2 3 4",
        err="matches: 4 elements")
    run("a mismatch", "--function=copy_i16", f"--input=2x2xi16=@{raw}", "--expected-output=2x2xi16=1 2 3 5",
        code=1, err="differs at [1, 1]: 4, expected 5")
    run("not compared", "--function=nonzero", "--input=1xf32=1", "--expected-output=(ignored)",
        "--expected-output=1xf32=1", err="output[1] matches")
    run("a full disk", "--input=8xf32", "--output=@/dev/full", code=1, err="/dev/full")

# Keys and hashes.
run("verified", "--verify", "--input=8xf32=1", out="result[0]: 8xf32=2 2.25 2.5 2.75 3 3.25 3.5 3.75")
run("a key for an unsigned module", "--public-key=" + "00" * 32, "--input=8xf32", code=1, err="not signed")
run("no key", "--public-key=/no/such/key", "--input=8xf32", code=1, err="/no/such/key")

# Flags: `_` for `-`, twice, IREE's.
run("underscores", "--input=8xf32", "--output_max_element_count=2", "--print_statistics",
    out="result[0]: 8xf32=0 0.25 ...", err="arena bytes")
run("given twice", "--function=add", "--function=main", "--input=8xf32", "--output=")
run("IREE's device", "--device=local-sync", "--input=8xf32", "--output=", err="")
run("another device", "--device=cuda", "--input=8xf32", "--output=", err="runs on the CPU")
run("IREE's weights", "--parameters=x.irpa", "--input=8xf32", "--output=", err="contains its weights")
run("unknown flag", "--frobnicate", code=2, err="--frobnicate")
run("two modules", "--module=x.mv", code=2)
run("wrong number of threads", "--threads=-1", code=2)
run("many threads", "--threads=100000", "--input=8xf32", code=1, err="1024")
run("negative tolerance", "--rtol=-1", code=2)


def bench(what, *arguments, rows=1):
    global failures
    result = tool("marver-bench", "--benchmark_min_time=0.01s", "--benchmark_format=json", *arguments)
    check(what, result)
    try:
        report = json.loads(result.stdout)
    except ValueError:
        failures += 1
        print(f"FAIL {what}: stdout is not JSON: {result.stdout[:200]!r}")
        return result
    good = len(report["benchmarks"]) == rows and all(
        0 < row["min_ms"] <= row["p50_ms"] <= row["p95_ms"] and row["items_per_second"] > 0
        for row in report["benchmarks"]) and {"load_ms", "first_run_ms", "cpu"} <= set(report["context"])
    if not good:
        failures += 1
        print(f"FAIL {what}: {report}")
    return result


bench("a sweep of threads", "--input=8xf32=1", "--threads=1,2,3", rows=3)
bench("in place", "--function=update", "--input=16xf32=1")
bench("sizes", "--function=nonzero", "--input=9xf32=1")
profile = bench("a profile", "--input=8xf32=1", "--threads=2", "--profile")
check("a profile's words", profile, err="Mul")
check("a profile's parallel slack", profile, err="the extents allow 16 threads to be 8.0 times")
check("iterations", tool("marver-bench", "--input=8xf32=1", "--benchmark_min_time=7x", "--benchmark_format=csv"))
check("a failure", tool("marver-bench", "--function=gather", "--input=1xi64=9"), code=1, err="model.py:4")
check("no time", tool("marver-bench", "--input=8xf32", "--benchmark_min_time=soon"), code=2)
check("unknown flag", tool("marver-bench", "--input=8xf32", "--benchmark_frobnicate"), code=2)
check("no threads", tool("marver-bench", "--threads=1,", "--input=8xf32"), code=2)

print(f"{count} checks, {failures} failed")
sys.exit(1 if failures else 0)
