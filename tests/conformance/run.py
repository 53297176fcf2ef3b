#!/usr/bin/env python3
"""Every operator against PyTorch or ONNX Runtime.

usage: run.py --build BUILD [--case REGEX] [--seed N] [--random N] [--list]

The cases are declared in cases/. Their models and references are made once and kept
in the cache; the random ones are made anew from the seed that is printed. Each case
runs with one thread and with two, which must give the same bits.

    run.py --build build --case 'torch.conv2d.*1x16x9x12'    runs what matches, and
    prints the commands of what fails.
"""

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import os
import re
import secrets
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from marver import Failure, Tools, mismatch, run_in_environment  # noqa: E402

import catalog  # noqa: E402
import environment  # noqa: E402
import export  # noqa: E402

TOPICS = sorted(path.stem for path in (HERE / "cases").glob("*.py"))
# Several graphs go through one marver-compile, as starting it costs more than a case.
BATCH = 16

# What the zoo's graphs hold beside operators on tensors: control flow has its own
# tests, and these are arithmetic on sizes or assertions.
NOT_OPERATORS = re.compile(r"_operator\.|higher_order|aten\.(sym_size|item|_assert|_local_scalar)|Loop|If")


def topic_folder(topic):
    key = environment.digest(*[(HERE / name).read_bytes() for name in
                               (f"cases/{topic}.py", "models.py", "registry.py")],
                             environment.REQUIREMENTS.read_bytes())
    return environment.cache() / "conformance" / f"{topic}-{key}"


def make_topic(topic):
    """Exports a topic's cases unless the cache has them."""
    import models
    import torch

    torch.set_num_threads(1)
    folder = topic_folder(topic)
    with environment.lock(f"conformance-{topic}"):
        if not (folder / "index.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            models.write_all(models.load_topic(topic), 0, folder)
        os.utime(folder)
        # Another clone may be at work with an older version: only forget what no one
        # has used for a while.
        for old in folder.parent.glob(f"{topic}-*"):
            if time.time() - old.stat().st_mtime > 7 * 24 * 3600:
                shutil.rmtree(old)
    return folder


def make_random(seed, count, folder):
    import models
    import random_cases
    import torch

    torch.set_num_threads(1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models.write_all(random_cases.declare(seed, count), seed, folder)
    return folder


class Runner:
    def __init__(self, tools, work):
        self.tools, self.work = tools, work

    def batch(self, number, cases):
        """{name: why it failed, or None} of cases compiled together, or one by one
        where that is refused."""
        module = self.work / f"{number}.mv"
        results = {}
        try:
            self.compile(module, cases)
            together = True
        except Failure:
            together = False
        for index, case in enumerate(cases):
            try:
                if together:
                    self.run(module, f"g{index}", case)
                else:
                    self.compile(module, [case])
                    self.run(module, "g0", case)
                results[case["name"]] = None
            except Failure as failure:
                results[case["name"]] = str(failure)
        module.unlink(missing_ok=True)
        return results

    def compile(self, module, cases):
        self.tools("marver-compile", *[f"g{i}={case['model']}" for i, case in enumerate(cases)],
                   "-o", module, timeout=120)

    def run(self, module, function, case):
        import numpy as np

        folder = Path(case["model"]).parent
        for number, run in enumerate(case["runs"]):
            inputs = [argument.replace("@", f"@{folder}/") for argument in run["inputs"]]
            results = []
            for threads in (1, 2):
                paths = [module.with_suffix(f".{i}.npy") for i in range(len(run["outputs"]))]
                self.tools("marver-run", module, f"--function={function}", f"--threads={threads}",
                           *[f"--input={i}" for i in inputs],
                           *[f"--output=@{path}" for path in paths], timeout=60)
                results.append([path.read_bytes() for path in paths])
                if threads == 1:
                    for i, (path, dtype) in enumerate(zip(paths, run["outputs"])):
                        want, got = np.load(folder / f"out{number}.{i}.npy"), np.load(path)
                        if dtype == "bfloat16":
                            want, got = widen(want), widen(got)
                        difference = mismatch(want, got, case["rtol"], case["atol"])
                        if difference:
                            raise Failure(f"wrong result: run {number}, output {i}: {difference}")
                for path in paths:
                    path.unlink()
            if results[0] != results[1]:
                raise Failure(f"wrong result: run {number} differs between 1 and 2 threads")


def widen(bits):
    """bfloat16 bits as float32."""
    import numpy as np

    return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)


def zoo_operators():
    """Every operator in an export of the zoo that is there."""
    found = set()
    for name in catalog.MODELS:
        meta = export.folder(name) / "meta.json"
        if meta.exists():
            for part in ("static", "dynamic"):
                for key in ("pt2_operators", "pt2_decomposed_operators", "onnx_operators"):
                    found |= set(json.loads(meta.read_text()).get(part, {}).get(key, {}))
    return {name for name in found if not NOT_OPERATORS.search(name)}


def cause(failure):
    """What failures of one cause have in common: the message without its numbers."""
    lines = failure.splitlines()
    text = lines[1] if len(lines) > 1 and lines[0].startswith("/") else lines[0]
    text = re.sub(r"/\S+/", "", text)
    text = re.sub(r"marver-reproducer\S*", "FILE", text)
    text = re.sub(r"^(.*?error: )(aten\.[\w.]+|node \(\w+\)): ", r"\1", re.sub(r"model\S*: ", "", text))
    text = re.sub(r"-?\d[\d.e+-]*|nan|inf", "N", text)
    return re.sub(r"\[[N, ]*\]", "[..]", text).strip()[:160]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--case", default="", metavar="REGEX", help="only the cases that match")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth case")
    parser.add_argument("--target-cpu", default="host")
    parser.add_argument("--seed", type=int, default=None, help="of the random cases")
    parser.add_argument("--random", type=int, default=4, metavar="N", help="random cases of each kind")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    parser.add_argument("--report", type=Path, help="write the failures here, by cause")
    arguments = parser.parse_args()
    run_in_environment()
    import onnxruntime
    import torch

    begin = time.time()
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    work = arguments.build.resolve() / "conformance" / arguments.target_cpu
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    workers = len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        made = [pool.submit(make_random, seed, arguments.random, work / "random")]
        made += [pool.submit(make_topic, topic) for topic in TOPICS]
        folders = [job.result() for job in made]
    cases, mistakes, operators = [], [], set()
    for folder in folders:
        index = json.loads((folder / "index.json").read_text())
        cases += index["cases"]
        mistakes += index["mistakes"]
    for case in cases:
        operators |= set(case["operators"])
    missing = zoo_operators() - operators
    cases = [case for case in cases if re.search(arguments.case, case["name"])][::arguments.every]
    if arguments.list:
        print("\n".join(case["name"] for case in cases))
        return 0
    print(f"random cases from --seed={seed}; references made in {time.time() - begin:.0f} s", flush=True)

    # A batch takes from all topics, so that one broken operator spoils few batches.
    count = -(-len(cases) // BATCH)
    batches = [cases[i::count] for i in range(count)] if count else []
    runner = Runner(Tools(arguments.build, arguments.target_cpu), work)
    results = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for result in pool.map(runner.batch, range(count), batches):
            results.update(result)

    failures = collections.defaultdict(list)
    for name, failure in results.items():
        if failure:
            failures[cause(failure)].append((name, failure))
    lines = []
    for group in sorted(failures.values(), key=len, reverse=True):
        lines.append(f"{len(group)} cases: {cause(group[0][1])}")
        lines += [f"    {name}" for name, _ in group[:8]]
        lines += [f"    ... {len(group) - 8} more"] if len(group) > 8 else []
        lines += ["    e.g. " + line for line in group[0][1].splitlines()]
    if mistakes:
        lines += [f"{len(mistakes)} cases that the reference refuses:", *(f"    {m}" for m in mistakes)]
    if missing and not arguments.case:
        lines += [f"{len(missing)} operators of the zoo without a case: {', '.join(sorted(missing))}"]
    print("\n".join(lines))
    if arguments.report:
        arguments.report.write_text("\n".join(lines) + "\n")
    failed = sum(map(len, failures.values()))
    print(f"{len(operators)} operators, {len(cases)} cases, 2 references (PyTorch {torch.__version__}, "
          f"ONNX Runtime {onnxruntime.__version__}); {failed} failed; {time.time() - begin:.0f} s; --seed={seed}")
    return 1 if failed or mistakes or missing or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
