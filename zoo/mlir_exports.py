#!/usr/bin/env python3
"""The zoo's models as MLIR, written by the tools that users of IREE and torch-mlir have.

usage: mlir_exports.py [--all] [NAME...]

A file is STEM.ROUTE.mlir (or .mlirbc), made once from the zoo's STEM.pt2 or
STEM.onnx. Where the exporter itself stops, STEM.ROUTE.failed has its message instead.
The exporters are installed without what they depend on, which the zoo's environment
has, into folders that come first in Python's path.
"""

import argparse
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import catalog
import environment
import export

HERE = environment.HERE

PACKAGES = {
    "iree-3.8": ["iree-turbine==3.8.0", "iree-base-compiler==3.8.0", "iree-base-runtime==3.8.0",
                 "ml_dtypes==0.6.0"],
    "iree-3.13": ["iree-turbine==3.9.0", "iree-base-compiler==3.13.0",
                  "iree-base-runtime==3.13.0", "ml_dtypes==0.6.0", "decorator==5.3.1"],
    "torch-mlir": ["torch-mlir==20261001"],
    "jax": ["jax==0.10.2", "jaxlib==0.10.2", "ml_dtypes==0.6.0", "opt_einsum==3.4.0",
            "scipy==1.17.1"],
}


class Route(NamedTuple):
    packages: str
    source: str  # suffix of the zoo's file that is exported
    # The exporter passes on the graph as it is: the same module must come out, from
    # "static" exports (dynamic ones lose the ranges of their symbols) or "all".
    same: str = ""
    suffix: str = "mlir"


ROUTES = {
    "turbine": Route("iree-3.8", ".pt2", "static"),
    "onnx": Route("iree-3.8", ".onnx", "all"),
    "turbine-bytecode": Route("iree-3.8", ".pt2", "static", "mlirbc"),
    "turbine-newest": Route("iree-3.13", ".pt2", "static"),
    "onnx-newest": Route("iree-3.13", ".onnx", "all"),
    "torch-raw": Route("torch-mlir", ".pt2"),
    "torch-torch": Route("torch-mlir", ".pt2"),
    "torch-linalg-on-tensors": Route("torch-mlir", ".pt2"),
    "torch-tosa": Route("torch-mlir", ".pt2"),
    "torch-stablehlo": Route("torch-mlir", ".pt2"),
}
# torch-mlir's wheel checks itself at every step: minutes for a large model.
IREE = ["turbine", "onnx"]
BYTECODE = ["turbine-bytecode"]
NEWEST = ["turbine-newest", "onnx-newest"]
TORCH = [route for route in ROUTES if route.startswith("torch-")]
DEFAULT = {"nothing": IREE + BYTECODE + NEWEST + TORCH, "mobilenetv2": IREE, "quartznet5x5": IREE,
           "yolox_nano": IREE, "whisper_tiny_step": IREE}
ALL = {name: IREE + BYTECODE + NEWEST + (TORCH if name in ("nothing", "mobilenetv2", "yolox_nano",
                                                "quartznet5x5", "whisper_tiny_encoder",
                                                "whisper_tiny_step") else [])
       for name in catalog.names("default")}


def routes(name, which):
    return (ALL if which == "all" else DEFAULT).get(name, [])


def overlay(packages: str) -> Path:
    """A folder with an exporter's packages for the zoo's Python, made once."""
    wanted = PACKAGES[packages]
    key = environment.digest(environment.REQUIREMENTS.read_bytes(), *map(str.encode, wanted))
    folder = environment.cache() / f"overlay-{packages}-{key}"
    with environment.lock(folder.name):
        if not folder.exists():
            print(f"installing {' '.join(wanted)}", file=sys.stderr, flush=True)
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(
                [environment.python(), "-m", "pip", "install", "--quiet", "--quiet", "--no-deps",
                 "--disable-pip-version-check", "--target", partial, *wanted], check=True)
            partial.rename(folder)
    return folder


def with_packages(packages: str) -> dict:
    """The process environment in which the zoo's Python finds an exporter."""
    return {**os.environ, "PYTHONPATH": str(overlay(packages))}


def convert(route, source, target):
    """Runs in the zoo's environment with the exporter's packages."""
    if ROUTES[route].source == ".onnx":
        tool = Path(sys.path[0]) / "bin" / "iree-import-onnx"
        subprocess.run([sys.executable, tool, source, "-o", target], check=True)
        return
    import torch

    program = torch.export.load(source)
    if route.startswith("turbine"):
        import iree.turbine.aot as aot

        aot.export(program).save_mlir(target)
    else:
        from torch_mlir import fx

        module = fx.export_and_import(program, output_type=route.removeprefix("torch-"),
                                      func_name="main")
        Path(target).write_text(str(module))


def ensure(name, route):
    """The files of one model by one route, made where they are missing:
    (source, file, None) or (source, None, why the exporter stopped)."""
    entry = ROUTES[route]
    zoo = export.ensure(name)
    folder = environment.cache() / "mlir" / name
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for source in sorted(zoo.glob(f"*{entry.source}")):
        target = folder / f"{source.stem}.{route}.{entry.suffix}"
        failed, stamp = target.with_suffix(".failed"), target.with_suffix(".key")
        key = environment.digest((zoo / "key").read_bytes(), inspect.getsource(convert).encode(),
                                 *map(str.encode, PACKAGES[entry.packages]))
        with environment.lock(f"mlir-{name}-{route}"):
            if not (stamp.exists() and stamp.read_text() == key):
                begin = time.time()
                target.unlink(missing_ok=True)
                failed.unlink(missing_ok=True)
                with tempfile.TemporaryDirectory(dir=folder) as temporary:
                    partial = Path(temporary) / target.name
                    run = subprocess.run(
                        [environment.python(), __file__, "--convert", route, source, partial],
                        env=with_packages(entry.packages),
                        capture_output=True, text=True)
                    if run.returncode == 0:
                        partial.rename(target)
                    else:
                        failed.write_text(run.stderr.strip().splitlines()[-1])
                stamp.write_text(key)
                print(f"{target.name}: {'made' if target.exists() else 'FAILED'} in "
                      f"{time.time() - begin:.1f} s", file=sys.stderr, flush=True)
        results.append((source, target, None) if target.exists()
                       else (source, None, failed.read_text()))
    return results


def main():
    if sys.argv[1:2] == ["--convert"]:
        sys.path.insert(0, os.environ["PYTHONPATH"])
        try:
            convert(*sys.argv[2:])
        except Exception as error:
            traceback.print_exc()
            sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("names", nargs="*", choices=[*ALL, []])
    arguments = parser.parse_args()
    every = arguments.all or os.environ.get("MARVER_ZOO_SET") == "all"
    for name in arguments.names or (ALL if every else DEFAULT):
        for route in routes(name, "all" if every else "default"):
            for _, file, reason in ensure(name, route):
                print(file or f"{name}.{route}: {reason}")


if __name__ == "__main__":
    main()
