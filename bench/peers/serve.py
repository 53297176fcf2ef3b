"""The loop that every peer's process runs: load once, then measure when told.

A peer's file defines `load(model, threads) -> run`, where `run()` returns the outputs as
numpy arrays or, called repeatedly, does the work again from the same inputs. The
parent writes a line with a number of seconds; the answer is the times of the runs in
that span, as JSON. So the parent can let two runtimes take turns.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


class Model:
    """The files of one model of the zoo."""

    def __init__(self, folder, work):
        self.folder, self.work = Path(folder), Path(work)
        self.name = self.folder.name
        self.onnx = self.folder / f"{self.name}.onnx"
        self.pt2 = self.folder / f"{self.name}.pt2"
        case = json.loads((self.folder / "meta.json").read_text())["cases"][0]
        self.inputs = [np.load(self.folder / "0" / f"in{i}.npy") for i in range(len(case["inputs"]))]


def prepare_once(prepare, model):
    """Seconds that it took; kept, with what was made, for the next number of threads."""
    if prepare is None:
        return None
    stamp = model.work / "compile_s.json"
    if stamp.exists() and stamp.stat().st_mtime > model.onnx.stat().st_mtime:
        return json.loads(stamp.read_text())
    begin = time.perf_counter()
    prepare(model)
    seconds = time.perf_counter() - begin
    stamp.write_text(json.dumps(seconds))
    return seconds


def serve(prepare, load):
    """prepare(model): what is done once, ahead of time, or None. load(model, threads):
    see above."""
    folder, work, threads, answers = sys.argv[1:5]
    model = Model(folder, work)
    channel = os.fdopen(int(answers), "w")

    def answer(**values):
        channel.write(json.dumps(values) + "\n")
        channel.flush()

    try:
        compile_s = prepare_once(prepare, model)
        begin = time.perf_counter()
        run = load(model, int(threads))
        outputs = run()
        load_s = time.perf_counter() - begin
        for i, output in enumerate(outputs):
            np.save(model.work / f"out{i}.npy", np.asarray(output))
        answer(compile_s=compile_s, load_s=load_s, outputs=len(outputs))
    except Exception as error:
        answer(error=f"{type(error).__name__}: {str(error).strip()[:300]}")
        return
    for line in sys.stdin:
        end = time.perf_counter() + float(line)
        times = []
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        answer(times_ms=times)
