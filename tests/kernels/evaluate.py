#!/usr/bin/env python3
"""Kernels against NumPy: everything that the evaluator computes at an index.

Each case is one function of textual IR with its inputs and a reference in f64.
All of them go through marver-compile in one module; marver-run computes each with
one and with two threads, which must agree to the bit.

    evaluate.py BUILD [--only SUBSTRING] [--seed N] [--keep FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

import marver  # noqa: E402

marver.run_in_environment()

import numpy as np  # noqa: E402

import cases  # noqa: E402

DTYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "i1": np.bool_,
          "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}


def run(command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def difference(actual, expected, tolerance):
    """What is wrong with `actual`, or None."""
    if actual.shape != expected.shape:
        return f"shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return None
    if expected.dtype.kind in "iub":
        wrong = np.flatnonzero(actual.astype(np.int64).ravel() != expected.astype(np.int64).ravel())
    else:
        a, e = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
        with np.errstate(all="ignore"):
            close = np.abs(a - e) <= tolerance[1] + tolerance[0] * np.abs(e)
        close |= (a == e) | (np.isnan(a) & np.isnan(e))
        wrong = np.flatnonzero(~close)
    if not wrong.size:
        return None
    i = wrong[0]
    at = np.unravel_index(i, expected.shape)
    return (f"{wrong.size} of {expected.size} elements differ, first at {tuple(map(int, at))}: "
            f"{actual.ravel()[i]} instead of {expected.ravel()[i]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--target-cpu", default="host")
    options = parser.parse_args()
    chosen = [c for c in cases.all_cases(np.random.default_rng(options.seed)) if options.only in c.name]
    print(f"seed {options.seed}, {len(chosen)} cases")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        tools = marver.Tools(options.build, options.target_cpu)
        module = folder / "cases.mv"

        def compile_cases(some):
            return run(tools.command("marver-compile", [*(f"{c.name}={folder / c.name}.mlir" for c in some),
                                                        "-o", module]))

        for case in chosen:
            (folder / f"{case.name}.mlir").write_text(case.function.replace(f"@{case.name}(", "@main("))
        failed = 0
        if compile_cases(chosen).returncode:
            # Find out which, and go on with the others.
            for case in list(chosen):
                compiled = compile_cases([case])
                if compiled.returncode:
                    failed += 1
                    print(f"FAILED {case.name}: {compiled.stderr.strip()[:300]}")
                    chosen.remove(case)
            compile_cases(chosen)
        total = failed + len(chosen)
        for case in chosen:
            arguments = []
            for i, array in enumerate(case.inputs):
                file = folder / f"{case.name}.in{i}.npy"
                np.save(file, array)
                arguments.append(f"--input=@{file}")
            outputs = {}
            problem = None
            for threads in (1, 2):
                files = [folder / f"{case.name}.out{i}.{threads}.npy" for i in range(len(case.expected))]
                function = [f"--function={case.name}"] if len(chosen) > 1 else []
                done = run(tools.command("marver-run", [module, *function, f"--threads={threads}", *arguments,
                                                        *(f"--output=@{f}" for f in files)]))
                if case.failure:
                    if done.returncode != 1 or case.failure not in done.stderr:
                        problem = f"expected a failure with '{case.failure}', got: {done.returncode} {done.stderr[:300]}"
                    continue
                if done.returncode:
                    problem = done.stderr.strip()[:300] or f"exit {done.returncode}"
                    break
                outputs[threads] = [np.load(f) for f in files]
            if not problem and not case.failure:
                for i, expected in enumerate(case.expected):
                    one, two = outputs[1][i], outputs[2][i]
                    if one.tobytes() != two.tobytes():
                        problem = f"result {i} depends on the number of threads"
                    problem = problem or difference(one, np.asarray(expected), case.tolerance)
            if problem:
                failed += 1
                print(f"FAILED {case.name}: {problem}")
        print(f"{total - failed} of {total} cases passed")
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
