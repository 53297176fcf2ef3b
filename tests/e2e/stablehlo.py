#!/usr/bin/env python3
"""Functions of JAX by way of StableHLO: compile, run, compare with JAX.

usage: stablehlo.py --build BUILD [CASE...]
       stablehlo.py --export

Each function (stablehlo_cases.py) is compiled as JAX prints it and in MLIR's generic
form; both must give the same module, whose results are close to JAX's.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools, environment, mismatch, run_in_environment  # noqa: E402

import mlir_exports  # noqa: E402

CASES = Path(__file__).with_name("stablehlo_cases.py")


def export():
    """The folder with the cases' files, made once."""
    packages = mlir_exports.PACKAGES["jax"]
    key = environment.digest(CASES.read_bytes(), *map(str.encode, packages))
    folder = environment.cache() / "mlir" / f"jax-{key}"
    with environment.lock("mlir-jax"):
        if not folder.exists():
            partial = folder.with_name("jax.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            subprocess.run([environment.python(), CASES, partial], check=True,
                           env=mlir_exports.with_packages("jax"))
            partial.rename(folder)
    return folder


def check(tools, file, work):
    import numpy as np

    name = file.name.removesuffix(".mlir")
    modules = [work / "pretty.mv", work / "generic.mv"]
    for source, module in zip((file, file.with_name(f"{name}.generic.mlir")), modules):
        tools("marver-compile", source, "-o", module)
    if not filecmp.cmp(*modules, shallow=False):
        raise Failure("the module of the generic form differs")

    def arrays(kind):
        found = (file.with_name(f"{name}.{kind}{i}.npy") for i in range(1000))
        return [next(found) for _ in range(len(list(file.parent.glob(f"{name}.{kind}*.npy"))))]

    wanted = [np.load(path) for path in arrays("out")]
    outputs = [work / f"out{i}.npy" for i in range(len(wanted))]
    tools.run(modules[0], arrays("in"), outputs, 2)
    for i, (want, path) in enumerate(zip(wanted, outputs)):
        difference = mismatch(want, np.load(path), 2e-5, 2e-6)
        if difference:
            raise Failure(f"output {i}: {difference}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path)
    parser.add_argument("--export", action="store_true")
    parser.add_argument("names", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    if arguments.export:
        print(export())
        return 0
    run_in_environment()
    folder, failures = export(), 0
    work = arguments.build / "tests" / "e2e" / "stablehlo"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    files = [f for f in sorted(folder.glob("*.mlir")) if not f.name.endswith(".generic.mlir")]
    for file in files:
        if arguments.names and file.name.removesuffix(".mlir") not in arguments.names:
            continue
        try:
            check(Tools(arguments.build), file, work)
            print(f"ok    {file.name}", flush=True)
        except Failure as failure:
            failures += 1
            print(f"FAIL  {file.name}: {failure}", flush=True)
    return 1 if failures or not files else 0


if __name__ == "__main__":
    sys.exit(main())
