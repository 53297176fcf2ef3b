#!/usr/bin/env python3
"""./dev bench with runtimes that are made up: what it says of those that work, fail, die
or are wrong; that it goes on where it was; and what its tables say of given rows."""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "harness"), str(ROOT / "bench")]
from marver import run_in_environment  # noqa: E402

import bench  # noqa: E402
import report  # noqa: E402
import runtimes  # noqa: E402

BUILD = None
FAILURES = {
    "does not compile": "ValueError: no operator of that name",
    "dies compiling": "its compiler ended, exit 3",
    "does not load": "ValueError: not this one",
    "dies loading": "its process ended, exit 4",
    "dies running": "its process ended, exit 5",
}
VARIANTS = [*FAILURES, "right", "wrong", "another shape", "reduced"]


def fake(variant):
    return runtimes.Runtime(HERE / "fake_peer.py", None, variant, reduced=variant == "reduced")


def row(peer, ratio, model="a", threads=1, **more):
    """A made-up row: marver takes 2 ms."""
    side = {"min_ms": 1.9, "p95_ms": 2.5, "load_s": 0.25, "before_bytes": 5000000, "peak_bytes": 9000000, "error": 1e-6}
    return {"model": model, "peer": peer, "threads": threads, "reduced": False, "ratio": ratio,
            "module_key": "now", "commit": "c",
            "peak_gflops": 100, "peak_gbytes": 50, "gflop": 0.1, "read_bytes": 20000000,
            "prepared": {"compile_cpu_s": 7, "artifact_bytes": 3000000},
            "marver_side": {**side, "median_ms": 2.0},
            "peer_side": {**side, "median_ms": 2.0 * ratio, **more.pop("side", {})}, **more}


def results(rows, peers=("p", "q", "r", "s"), models=("a", "b", "c"), threads=(1,)):
    facts = {m: {"key": "now", "compile_cpu_s": 0.5, "module_bytes": 4000000} for m in models}
    return report.Results(rows, facts, list(models), list(peers), list(threads))


class Tables(unittest.TestCase):
    def test_best_is_the_fastest_that_is_equal(self):
        rows = [row("p", 1.5), row("q", 1.25), row("r", 0.5, reduced=True), row("s", 0.4, side={"error": 0.2})]
        self.assertEqual(results(rows).best("a", 1)["peer"], "q")
        rows[1] = {"model": "a", "peer": "q", "threads": 1, "reduced": False, "failure": "no"}
        self.assertEqual(results(rows).best("a", 1)["peer"], "p")

    def test_best_is_of_the_module_of_now(self):
        rows = [row("p", 1.5), row("q", 1.25, module_key="before")]
        self.assertEqual(results(rows).best("a", 1)["peer"], "p")
        self.assertEqual(results(rows[1:]).best("a", 1)["peer"], "q")

    def test_summary_has_the_geometric_mean_without_calls(self):
        call = row("p", 50, model="c")
        call["marver_side"]["median_ms"] = 0.001
        text = report.summary(results([row("p", 2.0), row("p", 4.5, model="b"), call]))
        self.assertIn("| a | 2.00 | p | 4.00 | 2.00x |", text)
        self.assertIn("| geometric mean without c |  |  |  | 3.00x |", text)

    def test_shares_of_the_peak(self):
        # 0.1 GFLOP in 2 ms of 100 GFLOP/s; 20 MB in 2 ms of 50 GB/s.
        self.assertEqual(report.share(row("p", 2.0), "marver_side"), (50, 20))
        self.assertEqual(report.share(row("p", 2.0), "peer_side"), (25, 10))

    def test_model_table(self):
        text = report.model_table(results([row("p", 2.0), row("q", 0.5, reduced=True, side={"error": 1e-2})]), "a")
        self.assertIn("| **marver** | 1.90 | 2.00 | 2.50 | 50 | 20 |  | 0.500 | 4.00 | 250 | 4.00 | 1e-06 |", text)
        self.assertIn("| p | 1.90 | 4.00 | 2.50 | 25 | 10 | 2.00x | 7.00 | 3.00 | 250 | 4.00 | 1e-06 |", text)
        self.assertIn("| 0.50x (!) |", text)

    def test_matrix_marks_what_is_no_equal(self):
        rows = [row("p", 2.0), row("q", 3.0, side={"error": None}),
                {"model": "a", "peer": "r", "threads": 1, "reduced": False, "failure": "a|b"}]
        self.assertIn("| a | 2.00x | (3.00x) | fails |", report.matrix(results(rows), 1))
        self.assertEqual(report.troubles(results(rows)),
                         "* q is wrong: a: another shape, or a NaN\n* r fails: a: a|b")

    def test_troubles_join_what_is_the_same(self):
        failure = {"peer": "p", "reduced": False, "failure": "no"}
        rows = [{**failure, "model": "a", "threads": 1}, {**failure, "model": "a", "threads": 2},
                {**failure, "model": "b", "threads": 2}, row("p", 2.0, model="c", side={"error": 1e-3})]
        self.assertEqual(report.troubles(results(rows, threads=(1, 2))),
                         "* p fails: a, b (2 threads): no\n* p is less accurate: c (1 thread): error 1e-03")

    def test_columns(self):
        numbers = report.columns(results([row("p", 2.0)]))
        (values,) = numbers["rows"]
        named = dict(zip(numbers["columns"], values, strict=True))
        self.assertEqual((named["ratio"], named["marver_median_ms"], named["peer_median_ms"], named["compile_cpu_s"],
                          named["failure"]), (2.0, 2.0, 4.0, 7, None))


class Whole(unittest.TestCase):
    def run_bench(self, store, *arguments):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            bench.main(["--build", str(BUILD), "--store", store, "--models", "nothing", "--threads", "1",
                        "--only", ",".join(VARIANTS), "--seconds", "0.01", "--rounds", "2", *arguments])
        return said.getvalue()

    def test_rows_failures_and_resumption(self):
        for variant in VARIANTS:
            bench.PEERS[variant] = fake(variant)
        with tempfile.TemporaryDirectory() as store:
            text = self.run_bench(store, "--launcher=env THREADS={threads}")
            rows = {r["peer"]: r for r in map(json.loads, (p.read_text() for p in Path(store, "rows").iterdir()))}
            self.assertEqual({name: rows[name].get("failure") for name in FAILURES}, FAILURES)
            right = rows["right"]
            self.assertEqual(right["prepared"]["artifact_bytes"], 1000)
            for side in (right["peer_side"], right["marver_side"]):
                self.assertLess(side["error"], 1e-4)
                self.assertLessEqual(side["min_ms"], side["median_ms"])
                self.assertLessEqual(side["median_ms"], side["p95_ms"])
                self.assertEqual(len(side["round_medians_ms"]), 2)
            self.assertLess(right["ratio"], 1)  # it only returns an array
            self.assertAlmostEqual(right["gflop"], 2 * 128 * 64 / 1e9, delta=100 / 1e9)
            self.assertGreater(right["peak_gflops"], 1)
            self.assertRegex(text, r"\| NothingModel \| \S+ \| right \|")
            for line in ("* wrong is wrong: NothingModel: error 5e-02",
                         "* another shape is wrong: NothingModel: another shape, or a NaN",
                         "* reduced is of reduced precision: NothingModel: error 1e-03",
                         "* dies running fails: NothingModel: its process ended, exit 5"):
                self.assertIn(line, text)
            self.assertNotIn("(kept)", text)
            self.assertEqual(self.run_bench(store).count("(kept)"), len(VARIANTS))
            self.assertNotIn("(kept)", self.run_bench(store, "--again"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    BUILD = parser.parse_args().build
    run_in_environment()
    unittest.main(argv=sys.argv[:1])
