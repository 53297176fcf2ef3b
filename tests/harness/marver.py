"""How the Python tests call the tools, and how they compare arrays."""

import os
import platform
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

AARCH64 = 2  # MV_ARCH_AARCH64
SKIPPED = 77  # exit status of a test that can't be run here

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "zoo"))

import environment  # noqa: E402


class Failure(Exception):
    """A test that failed, with the one text that says why."""


def run_in_environment():
    """Goes on in the Python that has numpy, torch and onnx."""
    python = environment.python()
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])


class Tools:
    """The programs of one build; marver-compile for `target_cpu`, marver-run for the
    architecture of the module that it is given first."""

    def __init__(self, build, target_cpu=None):
        self.build = Path(build).resolve()
        self.bin = self.build / "bin"
        self.target_cpu = target_cpu

    def command(self, tool, arguments):
        arguments = [str(argument) for argument in arguments]
        if tool == "marver-compile" and self.target_cpu:
            arguments.append(f"--target-cpu={self.target_cpu}")
        if tool == "marver-run":
            return [*self.runner(arguments[0]), *arguments]
        return [str(self.bin / tool), *arguments]

    def runner(self, module):
        """marver-run, in an emulator for a module of another architecture."""
        native = [str(self.bin / "marver-run")]
        try:
            arch, _, features = struct.unpack_from("<HHQ", Path(module).open("rb").read(24), 12)
        except (OSError, struct.error):
            return native
        if arch != AARCH64 or platform.machine() == "aarch64":
            return native
        emulator = shutil.which("qemu-aarch64")
        emulated = self.build / "aarch64" / "bin" / "marver-run"
        if not emulator or not emulated.exists():
            print("skipped: no emulator for AArch64 or no runtime for it (ctest -R aarch64/runtime)")
            raise SystemExit(SKIPPED)
        # Instructions that the header does not name must not be there.
        cpu = {0: "cortex-a53", 0b1001: "neoverse-n1"}.get(features, "max")
        return [emulator, "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", str(emulated)]

    def __call__(self, tool, *arguments, timeout=300):
        """Runs a tool; returns what it printed. A failure holds the command line."""
        command = self.command(tool, arguments)
        try:
            run = subprocess.run(command, capture_output=True, text=True, errors="replace",
                                 timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{shlex.join(command)}\n  did not end in {timeout} s") from None
        except FileNotFoundError:
            raise Failure(f"{command[0]} is not built") from None
        if run.returncode:
            how = (f"died of signal {-run.returncode}" if run.returncode < 0
                   else f"exit {run.returncode}")
            lines = (run.stderr.strip() or run.stdout.strip()).splitlines()
            shown = "\n  ".join(lines[:12])
            raise Failure(f"{shlex.join(command)}\n  {how}: {shown}")
        return run.stdout

    def run(self, module, inputs, outputs, threads, function="main", **options):
        """One invocation from and to npy files."""
        return self("marver-run", module, f"--function={function}", f"--threads={threads}",
                    *(f"--input=@{path}" for path in inputs),
                    *(f"--output=@{path}" for path in outputs), **options)


def mismatch(want, got, rtol, atol):
    """None, or how `got` differs: |got - want| <= rtol * |want| + atol * max|want|.

    NaN and infinities must be where the reference has them; integers are exact.
    """
    import numpy as np

    if want.shape != got.shape:
        return f"shape {list(got.shape)} instead of {list(want.shape)}"
    if want.dtype != got.dtype:
        return f"dtype {got.dtype} instead of {want.dtype}"
    if want.size == 0:
        return None
    if want.dtype.kind not in "fV":
        wrong = want != got
        return describe(want, got, wrong) if wrong.any() else None
    want, got = want.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(want)
    largest = np.abs(want[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        close = np.abs(got - want) <= rtol * np.abs(want) + atol * largest
    right = np.where(finite, close, (want == got) | (np.isnan(want) & np.isnan(got)))
    return None if right.all() else describe(want, got, ~right)


def describe(want, got, wrong):
    import numpy as np

    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    text = (f"{int(wrong.sum())} of {want.size} elements differ; the first at {list(first)}: "
            f"{got[first]} instead of {want[first]}")
    if want.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            error = np.nanmax(np.abs(got - want), initial=0.0)
        largest = np.abs(want[np.isfinite(want)]).max(initial=0.0)
        text += f"; max abs error {error:.3g}, largest value {largest:.3g}"
    return text
