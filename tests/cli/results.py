"""What functions may return, and how they fail inside."""

from context import check, expect, exported


@check
def failures_inside_kernels(c):
    """A status with code and place, which the sidecar turns into words; never a fault."""
    import torch

    long = torch.zeros(2, dtype=torch.long)
    embedding = exported(c, "embedding", torch.nn.Embedding(50, 8), (long,))
    divide = exported(c, "divide", lambda a, b: (torch.div(a, b, rounding_mode="floor"), a % b), (long + 4, long + 2))
    update = exported(c, "update", lambda x, at, new: x.index_copy(0, at, new),
                      (torch.zeros(5, 3), long[:1], torch.ones(1, 3)))
    bad = ((embedding, ["2xi64=1 50"], 1), (embedding, ["2xi64=-1 1"], 1),
           (embedding, ["2xi64=-9223372036854775808 1"], 1), (divide, ["2xi64=1 2", "2xi64=0 1"], 2),
           (divide, ["2xi64=-9223372036854775808 1", "2xi64=-1 1"], 2),
           (update, ["5x3xf32", "1xi64=5", "1x3xf32"], 1), (update, ["5x3xf32", "1xi64=-1", "1x3xf32"], 1))
    for model, values, code in bad:
        module = c.folder / f"{model.stem}.mv"
        c.tools("marver-compile", model, "-o", module, "--sidecar")
        inputs = [f"--input={value}" for value in values]
        c.refuses(1, "marver-run", module, *inputs, says=rf"code {code} at place \d+\).*aten\.\w+.* at .*:\d+")
        c.refuses(1, "marver-bench", module, *inputs, "--benchmark_min_time=0.01s", says=rf"code {code} at place")
        module.with_suffix(".mv.dbg").unlink()
        error = c.refuses(1, "marver-run", module, *inputs, says=rf"code {code} at place \d+")
        expect("aten" not in error, f"words without a sidecar: {error}")


@check
def results_that_are_no_computation(c):
    """An input, a constant, a result twice, None; an input that nothing uses; memory updated in place."""
    import torch

    constant = torch.arange(3.0)
    model = exported(c, "copies", lambda x, unused: (x, x * 2, None, x * 2, constant, torch.full((70,), 3.0)),
                     (torch.zeros(2), torch.zeros(1)))
    module = c.folder / "copies.mv"
    c.tools("marver-compile", model, "-o", module)
    text = c.tools("marver-run", module, "--input=2xf32=1 2", "--input=1xf32")
    want = ["2xf32=1 2", "2xf32=2 4", "2xf32=2 4", "3xf32=0 1 2", "70xf32=" + " ".join(["3"] * 70)]
    expect(text.splitlines() == [f"result[{i}]: {value}" for i, value in enumerate(want)], text)

    def step(cache, at, new):
        cache = cache.index_copy(0, at, cache.index_select(0, at) + new)
        return cache, cache.sum()

    model = exported(c, "cache", step, (torch.zeros(4, 2), torch.zeros(1, dtype=torch.long), torch.ones(1, 2)))
    module = c.folder / "cache.mv"
    c.tools("marver-compile", model, "-o", module)
    text = c.tools("marver-run", module, "--signature")
    expect("output[0] may be the buffer of input[0]" in text, text)
    inputs = ["--input=4x2xf32=1", "--input=1xi64=2", "--input=1x2xf32=5"]
    for repeat in (1, 4):
        text = c.tools("marver-run", module, *inputs, f"--repeat={repeat}")
        expect(text == "result[0]: 4x2xf32=[1 1][1 1][6 6][1 1]\nresult[1]: f32=18\n", f"{repeat} runs: {text}")
    # bench compares the last output with the first.
    c.tools("marver-bench", module, *inputs, "--benchmark_min_time=0.01s")
