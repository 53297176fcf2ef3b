"""What the process of every runtime does: prepare a model once, or load it and run it
as often as it is told.

usage: X_peer.py prepare FOLDER WORK THREADS FD
       X_peer.py serve FOLDER WORK THREADS FD

A peer's file calls `serve(prepare, load)`. `prepare(model)` does what is done once,
ahead of time, and returns the files that are needed to run (None: the runtime takes the
ONNX file as it is). `load(model)` returns `run, fetch`: run() does the work once,
fetch(result) makes numpy arrays of what it returned and is not timed.

Answers are lines of JSON on the file descriptor FD. A line on stdin with a number of
seconds asks for the times of the runs in that span: so the parent lets two runtimes
take turns. No dependency but numpy.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


class Model:
    """The files of one model of the zoo, and where a runtime keeps its own."""

    def __init__(self, folder, work, threads):
        self.folder, self.work, self.threads = Path(folder), Path(work), int(threads)
        self.name = self.folder.name
        self.onnx = self.folder / f"{self.name}.onnx"
        self.pt2 = self.folder / f"{self.name}.pt2"
        case = json.loads((self.folder / "meta.json").read_text())["cases"][0]
        self.inputs = [np.load(self.folder / "0" / f"in{i}.npy") for i in range(len(case["inputs"]))]


def memory(field):
    """Bytes; `field` of /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field + ":"))


def forget_peak():
    """From here on VmHWM is the peak since now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # the peak then includes what the imports needed for a moment


def cpu_seconds():
    """Of this process and its children that ended: what other load on the machine does
    not change much, unlike the time on the wall."""
    return sum(u.ru_utime + u.ru_stime
               for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def prepare_once(prepare, model):
    begin, cpu = time.perf_counter(), cpu_seconds()
    files = prepare(model) if prepare else [model.onnx]
    return {"compile_s": time.perf_counter() - begin if prepare else None,
            "compile_cpu_s": cpu_seconds() - cpu if prepare else None,
            "artifact_bytes": sum(Path(file).stat().st_size for file in files)}


def timed_runs(run, seconds, batch):
    """Milliseconds a run, over `seconds`; of `batch` runs together where one is too short
    for the clock."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(batch):
            run()
        times.append(1e3 * (time.perf_counter() - begin) / batch)
    return times


def answer_turns(run):
    begin = time.perf_counter()
    run()
    batch = max(1, int(100e-6 / (time.perf_counter() - begin)))
    for line in sys.stdin:
        begin, cpu = time.perf_counter(), time.process_time()
        times = timed_runs(run, float(line), batch)
        busy = (time.process_time() - cpu) / (time.perf_counter() - begin)
        yield {"times_ms": times, "cores": busy, "peak_bytes": memory("VmHWM")}


def serve(prepare, load):
    task, folder, work, threads, channel = sys.argv[1:6]
    model = Model(folder, work, threads)
    channel = os.fdopen(int(channel), "w")

    def answer(values):
        channel.write(json.dumps(values) + "\n")
        channel.flush()

    try:
        if task == "prepare":
            answer(prepare_once(prepare, model))
            return
        forget_peak()
        before = memory("VmRSS")
        begin = time.perf_counter()
        run, fetch = load(model)
        result = run()
        seconds = time.perf_counter() - begin
        outputs = [np.asarray(x) for x in fetch(result)]
        for i, output in enumerate(outputs):
            np.save(model.work / f"out{i}.npy", output)
        answer({"load_s": seconds, "outputs": len(outputs), "before_bytes": before})
        for turn in answer_turns(run):
            answer(turn)
    except Exception as error:
        text = " ".join(str(error).split())
        answer({"error": f"{type(error).__name__}: {text[:300]}"})
