#!/usr/bin/env python3
"""Measures marver against other runtimes on the zoo, in the same run, in turns.

usage: ./dev bench [--peers] [--models A,B] [--only P,Q] [--threads 1,2] [--report FOLDER]

Without --peers: ONNX Runtime. With it: every peer, each in a Python environment of its
own, made once by pip in the cache.

Outputs are compared with PyTorch's before a time is accepted, marver's and the peer's alike.
Both are resident, pinned to the same cores, and take turns: A B A B. A ratio is the median
over the rounds of the peer's time / marver's (above 1: marver is faster). A peer that fails
or is wrong is named so, with the reason.

What was measured is kept in build/bench: interrupted or repeated, the command goes on where
it was, and measures again only what has changed (marver, a peer's script or version, the
model). One model with one peer takes some seconds, besides what is compiled the first time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "harness"))
from marver import Failure, Tools, run_in_environment  # noqa: E402

import catalog  # noqa: E402
import environment  # noqa: E402
import export  # noqa: E402
import report  # noqa: E402
from measure import Bench, Subject, read, write  # noqa: E402
from runtimes import PEERS  # noqa: E402

MODELS = list(report.TITLES)


def stripped_size(path):
    with tempfile.NamedTemporaryFile() as copy:
        subprocess.run(["strip", "-o", copy.name, path], check=True)
        return Path(copy.name).stat().st_size


def binaries(tools, build):
    """Stripped sizes of what is installed."""
    programs = [path for path in sorted(tools.bin.glob("marver-*")) if not path.name.endswith("-tests")]
    libraries = [path for path in sorted(build.glob("runtime/libmarver.so*")) if not path.is_symlink()]
    return {path.name: stripped_size(path) for path in programs + libraries}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--store", type=Path, metavar="FOLDER", help="where results are kept (default: BUILD/bench)")
    parser.add_argument("--peers", action="store_true", help="against every peer")
    parser.add_argument("--only", help="only these peers, separated by commas")
    parser.add_argument("--models", "--model", default=",".join(MODELS), help="names of the zoo, separated by commas")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each side's turn")
    parser.add_argument("--format", choices=("onnx", "pt2"), default="onnx", help="what marver compiles")
    parser.add_argument("--launcher", default="", metavar="COMMAND",
                        help="put before each measured command, e.g. 'chrt -f 50 taskset -c 1'; {threads} in it is "
                             "the number of threads")
    parser.add_argument("--prepare", action="store_true",
                        help="make environments and compile for the peers, measure nothing")
    parser.add_argument("--again", action="store_true", help="measure also what is there")
    parser.add_argument("--report", type=Path, metavar="FOLDER",
                        help="also write peers.md, peers.svg and peers.json there, of all that was ever measured")
    options = parser.parse_args(arguments)
    options.models = options.models.split(",")
    options.threads = [int(n) for n in options.threads.split(",")]
    options.only = options.only.split(",") if options.only else list(PEERS) if options.peers else ["ONNX Runtime"]
    for name in options.only:
        if name not in PEERS:
            parser.error(f"no peer '{name}'; there are: {', '.join(PEERS)}")
    for name in options.models:
        if name not in catalog.MODELS:
            parser.error(f"no model '{name}'")
    return options


def prepare(bench, subject, options):
    for name in options.only:
        for threads in options.threads if PEERS[name].per_threads else options.threads[:1]:
            begin = time.time()
            try:
                made, _ = bench.prepared(name, PEERS[name], subject, threads)
                said = f"{made['artifact_bytes'] / 1e6:.1f} MB"
            except Failure as failure:
                said = f"fails: {failure}"
            print(f"{subject.name} · {name}: {said} ({time.time() - begin:.0f} s)", flush=True)


def measure(bench, subject, options, progress):
    try:
        subject.compile(bench)
        facts = bench.facts(subject)
        calls = bench.calls(subject) if subject.name == "nothing" else None
    except Failure as failure:
        raise SystemExit(f"marver: {subject.name}: {failure}") from None
    print(f"{subject.name}: compiled in {facts['compile_s']:.2f} s ({facts['compile_cpu_s']:.2f} of CPU), "
          f"{facts['module_bytes'] / 1e6:.2f} MB for {facts['weight_bytes'] / 1e6:.2f} of weights", flush=True)
    if calls:
        print(report.call_costs(calls), flush=True)
    for name in options.only:
        for threads in options.threads:
            begin = time.time()
            row, now = bench.row(subject, name, PEERS[name], threads, options.again)
            reason = report.status(row)
            said = f"fails: {row['failure']}" if "failure" in row else (
                f"{report.number(row['peer_side']['median_ms'])} ms, marver {report.number(row['marver_side']['median_ms'])}: "
                f"{report.times(row['ratio'])}{f' ({reason[0]}, {reason[1]})' if reason else ''}")
            print(f"{next(progress)} {subject.name} · {name} · {report.thread_count(threads)}: {said} "
                  f"({f'{time.time() - begin:.0f} s' if now else 'kept'})", flush=True)


def stored_results(bench, options, everything):
    rows = [read(path) for path in sorted((bench.out / "rows").glob("*.json"))]
    facts = {path.stem: read(path) for path in (bench.out / "marver").glob("*.json")}
    models, peers, threads = (MODELS, list(PEERS), sorted({row["threads"] for row in rows})) if everything else (
        options.models, options.only, options.threads)
    return report.Results(rows, facts, models, peers, threads)


def plot_data(results):
    points = [{"model": number, "peer": row["peer"], "threads": threads, "ratio": row["ratio"]}
              for number, model in enumerate(results.models) for threads in results.threads
              for row in results.measured(model, threads) if report.is_equal(row)]
    return {"models": [{"name": m, "title": report.title(m)} for m in results.models], "peers": results.peers,
            "threads": results.threads, "points": points}


def write_report(bench, options):
    """Of all rows in the store: peers.md, peers.json and peers.svg."""
    results = stored_results(bench, options, everything=True)
    options.report.mkdir(parents=True, exist_ok=True)
    (options.report / "peers.md").write_text(report.document(
        results, bench.machine, "./dev bench --peers --report docs", read(bench.out / "calls.json")))
    numbers = {**bench.machine, **report.columns(results)}
    rows = ",\n".join(map(json.dumps, numbers.pop("rows")))
    (options.report / "peers.json").write_text(f'{json.dumps(numbers, indent=1)[:-2]},\n "rows": [\n{rows}\n]\n}}\n')
    data = bench.work / "plot.json"
    write(data, plot_data(results))
    python = environment.make_environment(environment.cache() / "peers" / "report",
                                          HERE / "peers" / "requirements" / "report.txt")
    subprocess.run([python, HERE / "plot.py", data, options.report / "peers.svg"], check=True)
    print(f"written: {options.report}/peers.md, peers.json, peers.svg")


def main(arguments=None):
    options = parse(arguments)
    run_in_environment()
    build = options.build.resolve()
    tools = Tools(build)
    bench = Bench(tools, build / "runtime" / "libmarver.so", (options.store or build / "bench").resolve(),
                  options.launcher, options.seconds, options.rounds, options.format)
    print(" · ".join(map(str, bench.machine.values())), flush=True)
    total = len(options.models) * len(options.only) * len(options.threads)
    progress = (f"[{number}/{total}]" for number in range(1, total + 1))
    for name in options.models:
        subject = Subject(bench, name, export.ensure(name))
        if options.prepare:
            prepare(bench, subject, options)
        else:
            measure(bench, subject, options, progress)
    if options.prepare:
        return
    results = stored_results(bench, options, everything=False)
    print()
    for model in results.models:
        print(f"{report.title(model)}\n\n{report.model_table(results, model)}")
    print(report.summary(results))
    print(report.troubles(results))
    sizes = binaries(tools, build)
    print("stripped, kB: " + ", ".join(f"{name} {size / 1e3:.0f}" for name, size in sizes.items()))
    if options.report:
        write_report(bench, options)


if __name__ == "__main__":
    main()
