"""marver-bench and marver-audit."""

import json
import re

from context import check, expect


@check
def bench_json(c):
    run = c.run("marver-bench", c.module, f"--input=@{c.input}", "--threads=1", "--benchmark_min_time=0.05s",
                "--benchmark_format=json")
    expect(run.returncode == 0, run.stderr.decode()[:300])
    report = json.loads(run.stdout)  # stdout is pure JSON
    expect(len(report["benchmarks"]) == 1, f"{len(report['benchmarks'])} rows")
    row = report["benchmarks"][0]
    for key in ("real_time", "cpu_time", "min_ms", "p50_ms", "p95_ms", "items_per_second"):
        expect(key in row, f"no '{key}' in {sorted(row)}")
    expect(0 < row["min_ms"] <= row["p50_ms"] <= row["p95_ms"], f"{row['min_ms']} {row['p50_ms']} {row['p95_ms']}")
    expect(any("load" in key for key in report["context"]), f"no load time in {sorted(report['context'])}")
    expect(any("first" in key for key in report["context"]), f"no first run in {sorted(report['context'])}")


@check
def profile_with_and_without_sidecar(c):
    module = c.folder / "profiled.mv"
    c.tools("marver-compile", c.onnx, "-o", module, "--sidecar")
    arguments = (f"--input=@{c.input}", "--benchmark_min_time=0.01s", "--profile")
    run = c.run("marver-bench", module, *arguments)
    text = (run.stdout + run.stderr).decode()
    expect(run.returncode == 0 and re.search("Gemm|MatMul|linear|fc", text), f"exit {run.returncode}: {text[-400:]}")
    module.with_suffix(".mv.dbg").unlink()
    run = c.run("marver-bench", module, *arguments)
    text = (run.stdout + run.stderr).decode()
    expect(run.returncode == 0 and not re.search("Gemm|MatMul", text), f"exit {run.returncode}: {text[-400:]}")


@check
def audit_passes_and_finds(c):
    c.tools("marver-audit", c.module, "--source", c.onnx)
    whole = c.module.read_bytes()
    path = c.folder / "planted.mv"
    marks = (b"\x7fELF", b".text\0.data", b"clang version 22.1.8", b"/home/someone/model.py", b"torch.nn.Linear")
    for number, mark in enumerate(marks):
        position = len(whole) - 400 + 40 * number  # in the constants
        path.write_bytes(whole[:position] + mark + whole[position + len(mark):])
        run = c.run("marver-audit", path)
        expect(run.returncode == 1, f"{mark!r} planted at {position}: exit {run.returncode}")
        text = (run.stdout + run.stderr).decode()
        expect(f"{position:x}" in text and mark[:4].hex() in text,
               f"{mark!r} planted at {position:#x}: no finding with that offset and those bytes: {text[:300]}")
