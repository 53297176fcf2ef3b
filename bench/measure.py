"""What is measured of one model: marver alone, and marver with one peer in turns.

Every result is a file of JSON in the store, with a key of all that it depends on: what
is there with the right key is not measured again.
"""

import datetime
import json
import os
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import environment
from marver import ROOT, Failure, mismatch
from runtimes import HERE, MARVER

# Of the largest value: what f32 and another order of summation explain.
TOLERANCE = 1e-4
PREPARE_LIMIT_S = 900


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "date": datetime.date.today().isoformat(),
            "commit": commit.stdout.strip()}


def slug(*parts):
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(map(str, parts)).lower())


def read(path):
    return json.loads(path.read_text()) if path.exists() else None


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(path)


def error(meta, folder, paths):
    """The largest error, as a share of the largest value of its output or group; None
    where there is none: another shape or dtype, or a NaN."""
    import numpy as np

    worst = 0.0
    for i, path in enumerate(paths):
        want, got = np.load(folder / "0" / f"out{i}.npy"), np.load(path)
        got = got.reshape(want.shape) if got.size == want.size else got
        for begin, end in (meta["groups"] or {"": [0, want.shape[-1]]}).values():
            a, b = want[..., begin:end], got[..., begin:end]
            if mismatch(a, b, 0, float("inf")):
                return None
            worst = max(worst, float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(a).max(), 1e-30)))
    return worst


def is_right(side):
    return side["error"] is not None and side["error"] <= TOLERANCE


class Subject:
    """One exported model, and marver's module of it."""

    def __init__(self, bench, name, folder):
        self.name, self.folder = name, folder
        self.meta = json.loads((folder / "meta.json").read_text())
        self.work = bench.work / "marver" / name
        self.module = self.work / f"{name}.mv"
        self.source = folder / f"{name}.{bench.format}"
        self.inputs = [folder / "0" / f"in{i}.npy" for i in range(len(self.meta["cases"][0]["inputs"]))]
        stamp = folder / "key"
        self.key = stamp.read_text() if stamp.exists() else environment.digest(self.source.read_bytes())

    def compile(self, bench):
        self.work.mkdir(parents=True, exist_ok=True)
        bench.tools("marver-compile", self.source, "-o", self.module, "--sidecar")
        self.module_key = environment.digest(self.module.read_bytes(), bench.library.read_bytes())


class Bench:
    """Where everything is, and how measured commands are started."""

    def __init__(self, tools, library, out, launcher, seconds, rounds, format):
        self.tools, self.library, self.out, self.work = tools, library, out, out / "work"
        self.launcher, self.seconds, self.rounds, self.format = launcher, seconds, rounds, format
        self.machine = machine()

    def launch(self, threads, task):
        """turns.py's result for `task`, under the launcher."""
        task_path, result_path = self.work / f"task-{os.getpid()}.json", self.work / f"result-{os.getpid()}.json"
        result_path.unlink(missing_ok=True)
        write(task_path, {"cores": threads, "limit_s": 85, **task})
        prefix = shlex.split(self.launcher.replace("{threads}", str(threads)))
        done = subprocess.run([*prefix, sys.executable, HERE / "turns.py", task_path, result_path],
                              capture_output=True, text=True)
        result = read(result_path)
        for path in (task_path, result_path):
            path.unlink(missing_ok=True)
        if result is None:
            lines = done.stderr.strip().splitlines()
            raise Failure(lines[-1] if lines else f"the measured command ended, exit {done.returncode}")
        return result

    def side(self, runtime, subject, work, threads, task="serve", **more):
        """How a peers/serve.py process is started; it wants a file descriptor more."""
        command = [runtime.python(), runtime.script, task, subject.folder, work, threads]
        return {"command": [str(part) for part in command],
                "env": {"VARIANT": runtime.variant, "OMP_NUM_THREADS": str(threads), "TVM_NUM_THREADS": str(threads),
                        "PYTHONPATH": str(HERE / "peers"), **more}}

    # ---- marver alone

    def facts(self, subject):
        """Compile time, sizes: {"compile_s", "compile_cpu_s", "module_bytes", "weight_bytes"}."""
        path = self.out / "marver" / f"{subject.name}.json"
        facts = read(path)
        if facts and facts["key"] == subject.module_key:
            return facts
        compiler = self.tools.bin / "marver-compile"
        result = self.launch(len(os.sched_getaffinity(0)), {
            "commands": [[str(compiler), str(subject.source), "-o", str(subject.work / "timed.mv")]], "repeat": 3})
        if "failure" in result:
            raise Failure(result["failure"])
        ((wall, cpu),) = result["seconds"]
        facts = {"key": subject.module_key, "compile_s": wall, "compile_cpu_s": cpu,
                 "module_bytes": subject.module.stat().st_size,
                 "weight_bytes": weight_bytes(subject.folder / f"{subject.name}.onnx")}
        write(path, facts)
        return facts

    def calls(self, subject):
        """Nanoseconds of a call from C, and of the same layer as a loop in C: {name: ns}, or None
        where call-bench is not built. For a module of one linear layer."""
        program = self.tools.bin / "call-bench"
        if not program.exists():
            return None
        prefix = shlex.split(self.launcher.replace("{threads}", "2"))
        done = subprocess.run([*prefix, program, subject.module, "--benchmark_format=json", "--benchmark_min_time=0.2"],
                              capture_output=True, text=True)
        if done.returncode:
            raise Failure(done.stderr.strip())
        calls = {row["name"]: row["real_time"] for row in json.loads(done.stdout)["benchmarks"]}
        write(self.out / "calls.json", calls)
        return calls

    # ---- a peer

    def prepared(self, name, runtime, subject, threads):
        """What the peer made ahead of time, and its work folder; raises Failure."""
        work = self.work / slug(name) / subject.name
        work.mkdir(parents=True, exist_ok=True)
        stamp = work / (f"prepared-{threads}.json" if runtime.per_threads else "prepared.json")
        key = environment.digest(runtime.key().encode(), subject.key.encode())
        made = read(stamp)
        if not made or made["key"] != key:
            made = {"key": key, **self.prepare(runtime, subject, work, threads)}
            write(stamp, made)
        if "error" in made:
            raise Failure(made["error"])
        return made, work

    def prepare(self, runtime, subject, work, threads):
        start = self.side(runtime, subject, work, threads, "prepare")
        read_end, write_end = os.pipe()
        with open(work / "prepare.log", "w") as log:
            process = subprocess.Popen([*start["command"], str(write_end)], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, pass_fds=[write_end], env={**os.environ, **start["env"]},
                                       start_new_session=True)
            os.close(write_end)
            try:
                status = process.wait(PREPARE_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return {"error": f"its compiler was not done in {PREPARE_LIMIT_S} s"}
        with os.fdopen(read_end) as answers:
            lines = answers.read().splitlines()
        if lines:
            return json.loads(lines[-1])
        return {"error": f"its compiler ended, exit {status}" if status >= 0
                else f"its compiler died of signal {-status}"}

    def row_path(self, subject, name, threads):
        return self.out / "rows" / f"{slug(subject.name, name, threads)}.json"

    def row(self, subject, name, runtime, threads, again):
        """(row, whether it was measured now)."""
        path = self.row_path(subject, name, threads)
        key = environment.digest(runtime.key().encode(), MARVER.key().encode(), subject.key.encode(),
                                 (HERE / "peers" / "serve.py").read_bytes(), (HERE / "turns.py").read_bytes(), repr((self.seconds, self.rounds)).encode())
        row = read(path)
        # A peer that fails fails whatever marver's module is.
        if row and not again and row["key"] == key and ("failure" in row or row["module_key"] == subject.module_key):
            return row, False
        row = {"model": subject.name, "peer": name, "threads": threads, "reduced": runtime.reduced, "key": key,
               "module_key": subject.module_key, **self.machine}
        try:
            row.update(self.measure(subject, name, runtime, threads))
        except Failure as failure:
            row["failure"] = str(failure)
        write(path, row)
        return row, True

    def measure(self, subject, name, runtime, threads):
        made, work = self.prepared(name, runtime, subject, threads)
        peak = [self.tools.bin / "marver-bench", subject.module, f"--threads={threads}", "--profile",
                *[f"--input=@{path}" for path in subject.inputs], "--benchmark_min_time=1x"]
        result = self.launch(threads, {
            "sides": [self.side(runtime, subject, work, threads),
                      self.side(MARVER, subject, subject.work, threads, MARVER_LIBRARY=str(self.library),
                                MARVER_MODULE=str(subject.module))],
            "rounds": self.rounds, "seconds": self.seconds, "pause_s": 0.02 if threads == 1 else 0.25,
            "peak": [str(part) for part in peak]})
        if "failure" in result:
            if result["side"] == 1:
                raise SystemExit(f"marver: {subject.name}: {result['failure']}")
            raise Failure(result["failure"])
        theirs, ours = result["sides"]
        for side, folder in ((theirs, work), (ours, subject.work)):
            side["error"] = error(subject.meta, subject.folder, [folder / f"out{i}.npy" for i in range(side["outputs"])])
        if not is_right(ours):
            raise SystemExit(f"marver: {subject.name}: wrong result, error {ours['error']} of the largest value")
        ratios = [a / b for a, b in zip(theirs["round_medians_ms"], ours["round_medians_ms"])]
        return {**machine_peak(result["peak"]), "prepared": made, "peer_side": theirs, "marver_side": ours,
                "read_bytes": subject.module.stat().st_size + sum(path.stat().st_size for path in subject.inputs),
                "ratios": ratios, "ratio": statistics.median(ratios)}


def machine_peak(text):
    """What marver-bench --profile says of the machine and of the model's arithmetic."""
    peak = re.search(r"measured peak: ([0-9.]+) GFLOP/s \(f32\), ([0-9.]+) GB/s", text)
    work = re.search(r"arithmetic of a run: ([0-9.e+-]+) GFLOP", text)
    if not peak or not work:
        raise Failure(f"marver-bench --profile printed no peak: {text.strip()[-200:]}")
    return {"peak_gflops": float(peak[1]), "peak_gbytes": float(peak[2]), "gflop": float(work[1])}


def weight_bytes(path):
    """Of the model's initializers: what a module holds at least."""
    import onnx

    return sum(len(w.raw_data) for w in onnx.load(path).graph.initializer)
