#!/usr/bin/env python3
"""Measures marver against other runtimes on the zoo, in the same run, in turns.

usage: ./dev bench [--peers] [--models A,B] [--against P,Q] [--threads 1,2] [--rounds N]

Outputs are compared with PyTorch's before anything is timed, marver's and the peer's
alike. Then both are resident, pinned to the same cores, and take turns: A B A B. A row
has each side's minimum and the median of its rounds' medians, and the median over the
rounds of the ratio marver / peer (below 1: marver is faster). The same numbers, and more,
are written to build/bench as JSON, with the machine and the commit.

Without --peers: ONNX Runtime. With it: every peer, each in a Python environment of its
own (gigabytes, made once, in the cache).
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "harness"))
from marver import Failure, Tools, mismatch, run_in_environment  # noqa: E402

import catalog  # noqa: E402
import environment  # noqa: E402
import export  # noqa: E402

MODELS = ["nothing", "mobilenetv2", "mobilenetv2_cls", "quartznet15x5", "yolox_nano", "yolox_s",
          "whisper_tiny_encoder", "whisper_tiny_cross_kv", "whisper_tiny_prefill", "whisper_tiny_step"]
# name -> (script, variant)
PEERS = {
    "ONNX Runtime": ("onnxruntime", ""),
    "OpenVINO f32": ("openvino", "f32"),
    "OpenVINO default": ("openvino", "default"),
    "IREE 3.8 O2": ("iree", "O2"),
    "IREE 3.8 O3": ("iree", "O3"),
    "AOTInductor": ("torch", ""),
    "ExecuTorch": ("executorch", ""),
    "LiteRT": ("litert", ""),
    "ncnn": ("ncnn", ""),
    "MNN": ("mnn", ""),
    "TVM": ("tvm", ""),
}
TOLERANCE = 1e-4


def peer_python(script):
    requirements = HERE / "peers" / "requirements" / f"{script}.txt"
    if not requirements.exists():  # the zoo's own environment has it
        return environment.python()
    return environment.make_environment(environment.cache() / f"peer-{script}", requirements)


def pinned(threads):
    """To the first cores this process may use, one a thread."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    return lambda: os.sched_setaffinity(0, cores)


class Peer:
    """A resident process with one runtime and one model in it."""

    def __init__(self, name, folder, threads, work):
        script, variant = PEERS[name]
        self.work = work / f"{script}-{variant}" / folder.name  # keeps what it compiled
        self.work.mkdir(parents=True, exist_ok=True)
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [peer_python(script), HERE / "peers" / f"{script}_peer.py", folder, self.work, str(threads), str(write)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
            pass_fds=[write], preexec_fn=pinned(threads),
            env={**os.environ, "VARIANT": variant, "OMP_NUM_THREADS": str(threads)})
        os.close(write)
        self.answers = os.fdopen(read)
        self.facts = self.answer()

    def answer(self):
        line = self.answers.readline()
        if not line:
            raise Failure("its process died")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(answer["error"])
        return answer

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        times = self.answer()["times_ms"]
        return min(times), statistics.median(times)

    def outputs(self):
        return [self.work / f"out{i}.npy" for i in range(self.facts["outputs"])]

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


class Marver:
    """marver-bench, started anew each round: what it times is the steady state."""

    def __init__(self, tools, module, folder, meta, threads, work):
        self.tools, self.module, self.threads, self.work = tools, module, threads, work
        case = meta["cases"][0]
        self.inputs = [folder / "0" / f"in{i}.npy" for i in range(len(case["inputs"]))]
        self.count = len(case["outputs"])

    def measure(self, seconds):
        run = subprocess.run(
            [self.tools.bin / "marver-bench", self.module, f"--threads={self.threads}",
             *[f"--input=@{path}" for path in self.inputs],
             f"--benchmark_min_time={seconds}s", "--benchmark_format=json"],
            capture_output=True, text=True, preexec_fn=pinned(self.threads))
        if run.returncode:
            raise Failure(f"marver-bench: {run.stderr.strip()}")
        self.report = json.loads(run.stdout)
        (row,) = self.report["benchmarks"]
        return row["min_ms"], row["p50_ms"]

    def outputs(self):
        paths = [self.work / f"out{i}.npy" for i in range(self.count)]
        self.tools.run(self.module, self.inputs, paths, self.threads)
        return paths


def error(meta, folder, paths):
    """The largest error, as a share of the largest value of its output or group."""
    import numpy as np

    worst = 0.0
    for i, path in enumerate(paths):
        want, got = np.load(folder / "0" / f"out{i}.npy"), np.load(path)
        got = got.reshape(want.shape) if got.size == want.size else got
        for begin, end in (meta["groups"] or {"": [0, want.shape[-1]]}).values():
            a, b = want[..., begin:end], got[..., begin:end]
            if mismatch(a, b, 0, float("inf")):
                return float("inf")  # another shape or dtype, or a NaN
            worst = max(worst, float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(a).max(), 1e-30)))
    return worst


def in_turns(a, b, rounds, seconds):
    """[(min, median)] of each side, measured A B A B; the first pair only warms up."""
    left, right = [], []
    for number in range(rounds + 1):
        pair = a.measure(seconds), b.measure(seconds)
        if number:
            left.append(pair[0])
            right.append(pair[1])
    return left, right


def compile_model(tools, source, module):
    """Seconds of a cold process: the minimum of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        tools("marver-compile", source, "-o", module)
        times.append(time.perf_counter() - begin)
    return min(times)


def weight_bytes(path):
    """Of the model's initializers: what a module holds at least."""
    import onnx

    return sum(len(w.raw_data) for w in onnx.load(path).graph.initializer)


def fresh_process(tools, module, inputs):
    """Milliseconds of a whole marver-run process, from exec to exit: the minimum of ten."""
    command = [tools.bin / "marver-run", module, "--output=@/dev/null", *[f"--input=@{x}" for x in inputs]]
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(1e3 * (time.perf_counter() - begin))
    return min(times)


def stripped_size(path):
    with tempfile.NamedTemporaryFile() as copy:
        subprocess.run(["strip", "-o", copy.name, path], check=True)
        return Path(copy.name).stat().st_size


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
               platform.processor())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "date": datetime.date.today().isoformat(),
            "commit": commit.stdout.strip()}


def table(headers, rows):
    print("| " + " | ".join(headers) + " |")
    print("|" + "|".join([" --- "] + [" ---: "] * (len(headers) - 1)) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--peers", action="store_true", help="against every peer")
    parser.add_argument("--against", help="only these peers, separated by commas")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each side's turn")
    parser.add_argument("--format", choices=("onnx", "pt2"), default="onnx", help="what marver compiles")
    arguments = parser.parse_args()
    names = arguments.models.split(",")
    against = arguments.against.split(",") if arguments.against else list(PEERS) if arguments.peers else ["ONNX Runtime"]
    for name in against:
        if name not in PEERS:
            parser.error(f"no peer '{name}'; there are: {', '.join(PEERS)}")
    for name in names:
        if name not in catalog.MODELS:
            parser.error(f"no model '{name}'")
    run_in_environment()

    tools = Tools(arguments.build)
    out = arguments.build / "bench"
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(), "models": {}, "binaries": {}, "rows": []}
    print(" · ".join(f"{value}" for value in result["machine"].values()), flush=True)

    rows = []
    for name in names:
        folder = export.ensure(name)
        meta = json.loads((folder / "meta.json").read_text())
        source, module = folder / f"{name}.{arguments.format}", work / f"{name}.mv"
        seconds = compile_model(tools, source, module)
        marver = Marver(tools, module, folder, meta, 1, work)
        worst = error(meta, folder, marver.outputs())
        facts = {"compile_s": seconds, "module_bytes": module.stat().st_size, "weight_bytes": weight_bytes(folder / f"{name}.onnx"),
                 "process_ms": fresh_process(tools, module, marver.inputs), "error": worst}
        result["models"][name] = facts
        rows.append([name, f"{facts['compile_s']:.2f}", f"{facts['process_ms']:.1f}", f"{facts['module_bytes'] / 1e6:.2f}",
                     f"{facts['weight_bytes'] / 1e6:.2f}", f"{worst:.1e}"])
        if not worst <= TOLERANCE:
            sys.exit(f"{name}: wrong result, error {worst:.2e} of the largest value: not measured")
    table(["model", "compile s", "process from start to end ms", "module MB", "weights MB", "error / max"], rows)

    rows = []
    for name in sorted(path.name for path in tools.bin.glob("marver-*") if not path.name.endswith("-tests")):
        size = stripped_size(tools.bin / name)
        result["binaries"][name] = size
        rows.append([name, f"{size / 1e3:.0f}"])
    for library in sorted(arguments.build.glob("**/libmarver.*so*")):
        if not library.is_symlink():
            result["binaries"][library.name] = stripped_size(library)
            rows.append([library.name, f"{result['binaries'][library.name] / 1e3:.0f}"])
    table(["stripped", "kB"], rows)

    for threads in map(int, arguments.threads.split(",")):
        rows = []
        for name in names:
            folder = export.folder(name)
            meta = json.loads((folder / "meta.json").read_text())
            for against_name in against:
                marver = Marver(tools, work / f"{name}.mv", folder, meta, threads, work)
                row = {"model": name, "peer": against_name, "threads": threads}
                peer = None
                try:
                    peer = Peer(against_name, folder, threads, work)
                    row["peer_error"] = error(meta, folder, peer.outputs())
                    row.update(compile_s=peer.facts["compile_s"], load_s=peer.facts["load_s"])
                    left, right = in_turns(marver, peer, arguments.rounds, arguments.seconds)
                except Failure as failure:
                    row["failure"] = str(failure)
                    rows.append([name, against_name, "-", "-", "-", "-", "-", str(failure).splitlines()[0][:80]])
                    continue
                finally:
                    if peer:
                        peer.close()
                    result["rows"].append(row)
                row.update(marver_ms=left, peer_ms=right, context=marver.report["context"])
                row["ratio"] = statistics.median(a[1] / b[1] for a, b in zip(left, right))
                def best(side):
                    return f"{min(m for m, _ in side):.3f}", f"{statistics.median(m for _, m in side):.3f}"
                rows.append([name, against_name, *best(left), *best(right), f"{row['ratio']:.2f}",
                             f"{row['peer_error']:.0e}" + (" (!)" if row["peer_error"] > TOLERANCE else "")])
        print(f"{threads} thread{'s' if threads > 1 else ''}, ms:\n")
        table(["model", "peer", "marver min", "median", "peer min", "median", "ratio", "peer's error / max"], rows)
    path = out / f"{result['machine']['date']}-{result['machine']['commit']}.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"all numbers: {path}")


if __name__ == "__main__":
    main()
