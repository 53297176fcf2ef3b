"""Tables of what was measured, in Markdown. Numbers only from the rows; see measure.py."""

import math
from collections import defaultdict

from measure import TOLERANCE, is_right

TITLES = {
    "nothing": "NothingModel", "mobilenetv2": "MobileNetV2", "mobilenetv2_cls": "MobileNetV2 classifier",
    "quartznet15x5": "QuartzNet 15x5", "yolox_nano": "YOLOX-Nano 416", "yolox_s": "YOLOX-S 640",
    "whisper_tiny_encoder": "Whisper tiny encoder", "whisper_tiny_cross_kv": "Whisper tiny cross K/V",
    "whisper_tiny_prefill": "Whisper tiny prefill (4 tokens)",
    "whisper_tiny_prefill_448": "Whisper tiny prefill (448 tokens)", "whisper_tiny_step": "Whisper tiny step",
}


def title(model):
    return TITLES.get(model, model)


def number(value):
    """Three digits that count."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 5)}f}"


def times(ratio):
    return f"{ratio:.2f}x"


def thread_count(threads):
    return f"{threads} thread{'' if threads == 1 else 's'}"


def table(headers, rows):
    lines = ["| " + " | ".join(headers) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(headers) - 1)) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def is_equal(row):
    """A result that may be compared as an equal: f32, and right."""
    return "failure" not in row and not row["reduced"] and is_right(row["peer_side"])


def is_call(row):
    """So short that the call is measured, not the model: it would make the mean a lie."""
    return row["marver_side"]["median_ms"] < 0.01


def status(row):
    """(what is the matter, details), or None."""
    if "failure" in row:
        return "fails", row["failure"]
    wrong = row["peer_side"]["error"]
    if wrong is None:
        return "wrong", "another shape, or a NaN"
    if wrong > TOLERANCE:
        return "of reduced precision" if row["reduced"] else "wrong" if wrong > 0.01 else "less accurate", f"error {wrong:.0e}"
    return None


class Results:
    """Rows by model, number of threads and peer, in the order of the registry."""

    def __init__(self, rows, facts, models, peers, threads):
        self.rows = {(row["model"], row["peer"], row["threads"]): row for row in rows}
        self.facts, self.peers, self.threads = facts, peers, threads
        self.models = [m for m in models if any(key[0] == m for key in self.rows)]

    def of(self, model, threads):
        found = [self.rows.get((model, peer, threads)) for peer in self.peers]
        return [row for row in found if row]

    def measured(self, model, threads):
        return [row for row in self.of(model, threads) if "failure" not in row]

    def best(self, model, threads):
        """The row of the fastest f32 peer: the least ratio, as each was measured in turns with marver;
        with the module of now where there is one."""
        equal = list(filter(is_equal, self.of(model, threads)))
        module = self.facts.get(model, {}).get("key")
        current = [row for row in equal if row["module_key"] == module]
        return min(current or equal, key=lambda row: row["ratio"], default=None)

    def marver(self, model, threads):
        """marver's side of the row with the fastest peer, or of any."""
        row = self.best(model, threads) or next(iter(self.measured(model, threads)), None)
        return row and row["marver_side"]


def share(row, side):
    """Of the machine's peak, in percent: arithmetic, and reading weights and inputs once."""
    seconds = row[side]["median_ms"] / 1e3
    return (100 * row["gflop"] / seconds / row["peak_gflops"],
            100 * row["read_bytes"] / 1e9 / seconds / row["peak_gbytes"])


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(results):
    """marver and the fastest f32 peer of each model; the mean of the ratios last."""
    headers = ["model"]
    for threads in results.threads:
        headers += [f"{thread_count(threads)}, ms", "fastest f32 peer", "its ms", "marver is faster"]
    rows, ratios = [], defaultdict(list)
    for model in results.models:
        row = [title(model)]
        for threads in results.threads:
            best = results.best(model, threads)
            ours = results.marver(model, threads)
            row += [number(ours["median_ms"]) if ours else "-"]
            row += [best["peer"], number(best["peer_side"]["median_ms"]), times(best["ratio"])] if best else ["-"] * 3
            if best and not is_call(best):
                ratios[threads].append(best["ratio"])
        rows.append(row)
    calls = [title(m) for m in results.models if any(map(is_call, results.measured(m, results.threads[0])))]
    mean = ["geometric mean" + (f" without {', '.join(calls)}" if calls else "")]
    for threads in results.threads:
        mean += ["", "", "", times(geometric_mean(ratios[threads])) if ratios[threads] else "-"]
    return table(headers, [*rows, mean])


def matrix(results, threads):
    """How many times faster marver is than every peer; what failed, by name below."""
    peers = [p for p in results.peers if any((m, p, threads) in results.rows for m in results.models)]
    rows = []
    for model in results.models:
        row = [title(model)]
        for peer in peers:
            found = results.rows.get((model, peer, threads))
            row.append("" if not found else "fails" if "failure" in found
                       else times(found["ratio"]) if is_equal(found) else f"({times(found['ratio'])})")
        rows.append(row)
    return table([thread_count(threads), *peers], rows)


def side_cells(side, row, name):
    if side is None:
        return ["-"] * 5
    flops, reads = share(row, name)
    return [number(side["min_ms"]), number(side["median_ms"]), number(side["p95_ms"]), f"{flops:.0f}", f"{reads:.0f}"]


def once_cells(side, compile_cpu, artifact):
    """What does not depend on the number of threads, or little."""
    return [number(compile_cpu), number(artifact / 1e6), number(1e3 * side["load_s"]),
            number((side["peak_bytes"] - side["before_bytes"]) / 1e6), f"{side['error']:.0e}"
            if side["error"] is not None else "-"]


def model_table(results, model):
    headers = ["runtime"]
    for threads in results.threads:
        headers += [f"{threads}t: min", "median", "p95 ms", "FMA %", "read %", "ratio"]
    headers += ["compile CPU s", "MB", "first result ms", "memory MB", "error"]
    facts, rows = results.facts.get(model), []
    ours = ["**marver**"]
    for threads in results.threads:
        row = results.best(model, threads) or next(iter(results.measured(model, threads)), None)
        ours += [*side_cells(row and row["marver_side"], row, "marver_side"), ""]
    side = results.marver(model, results.threads[0])
    ours += once_cells(side, facts["compile_cpu_s"], facts["module_bytes"]) if side and facts else ["-"] * 5
    rows.append(ours)
    for peer in results.peers:
        found = [results.rows.get((model, peer, threads)) for threads in results.threads]
        if not any(found):
            continue
        cells, sides = [peer], []
        for row in found:
            if row and "failure" not in row:
                mark = "" if is_equal(row) else " (!)"
                cells += [*side_cells(row["peer_side"], row, "peer_side"), times(row["ratio"]) + mark]
                sides.append((row["peer_side"], row["prepared"]))
            else:
                cells += ["-"] * 5 + ["fails" if row else ""]
        if sides:
            first, made = sides[0]
            cells += once_cells(first, made["compile_cpu_s"], made["artifact_bytes"])
        else:
            cells += ["-"] * 5
        rows.append(cells)
    return table(headers, rows)


def troubles(results):
    """Every peer that fails or is not right, with the reason; one line for a peer and kind."""
    found = {}  # peer, kind -> details -> model -> numbers of threads
    for peer in results.peers:
        for model in results.models:
            for row in (results.rows.get((model, peer, threads)) for threads in results.threads):
                if row and (reason := status(row)):
                    models = found.setdefault((peer, reason[0]), {}).setdefault(reason[1], {})
                    models.setdefault(model, []).append(row["threads"])

    def names(models):
        return ", ".join(title(m) + (f" ({thread_count(n[0])})" if len(n) < len(results.threads) else "")
                         for m, n in models.items())

    return "\n".join(f"* {peer} {kind if kind == 'fails' else 'is ' + kind}: "
                     + "; ".join(f"{names(models)}: {details}" for details, models in reasons.items())
                     for (peer, kind), reasons in found.items())


def columns(results):
    """The numbers of all rows as a table of JSON."""
    sides = [f"{side}_{field}" for side in ("marver", "peer") for field in ("min_ms", "median_ms", "p95_ms", "load_s",
                                                                           "before_bytes", "peak_bytes", "error")]
    plain = ["model", "peer", "threads", "date", "commit", "failure", "ratio", "gflop", "read_bytes", "peak_gflops",
             "peak_gbytes"]
    made = ["compile_s", "compile_cpu_s", "artifact_bytes"]

    def value(x):
        return float(f"{x:.4g}") if isinstance(x, float) else x

    rows = [[value(row.get(name)) for name in plain] + [value(row.get("prepared", {}).get(name)) for name in made]
            + [value(row.get(f"{name.split('_', 1)[0]}_side", {}).get(name.split("_", 1)[1])) for name in sides]
            for row in results.rows.values()]
    return {"marver": results.facts, "columns": plain + made + sides, "rows": rows}


def call_costs(calls):
    """A sentence on call-bench's numbers."""
    return "NothingModel, nanoseconds a call from C: " + ", ".join(f"{name} {ns:.0f}" for name, ns in calls.items())


def document(results, machine, command, calls):
    """The whole of it; `calls` may be None."""
    parts = [
        "# marver and other runtimes\n",
        f"Written by `{command}`; {machine['cpu']}, {machine['cores']} cores, {machine['date']}, marver {machine['commit']}.\n",
        "marver and one peer are loaded in a process each, pinned to the same cores, and take turns: A B A B. Both are called\n"
        "from Python (marver: ctypes). Outputs are compared with PyTorch's before a time is accepted. A ratio is the median over\n"
        "the rounds of the peer's time divided by marver's in the same round: above 1, marver is faster. Only ratios carry over to\n"
        "another day; marver's own time is that of the run with the fastest f32 peer. `(!)` and brackets: reduced precision, or an\n"
        f"error above {TOLERANCE:.0e}; such a result is not called the fastest. What fails is named at the end.\n",
        "## Fastest f32 peer\n", summary(results)]
    commits = {row["commit"] for row in results.rows.values()}
    if len(commits) > 1:
        parts.append("Not every row is of the same commit: peers.json says which.\n")
    if calls:
        parts.append(call_costs(calls) + ".\n")
    parts += ["## Every peer\n", "How many times faster marver is; empty: not measured.\n"]
    parts += [matrix(results, threads) for threads in results.threads]
    parts += [
        "## Model by model\n",
        "FMA %: the model's arithmetic (as the operators define it, so that Winograd's algorithm can exceed 100) per time, as a share of\n"
        "the peak of fused multiply-adds that is measured just before the turns. read %: the same for reading weights and inputs once\n"
        "from memory. compile: CPU seconds, ahead of time. MB: the file that a program loads. first result: load and first run in a fresh\n"
        "process, without the start of Python and its imports. memory: what loading and running added to the process at its peak; mapped\n"
        "files count. error: the largest, as a share of the output's largest value.\n"]
    for model in results.models:
        parts += [f"### {title(model)}\n", model_table(results, model)]
    parts += ["## What fails, or is not f32\n", troubles(results) or "Nothing.", ""]
    return "\n".join(parts)
