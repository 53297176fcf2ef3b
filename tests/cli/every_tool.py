"""What holds for every program: help, exit codes, missing files, reproducers."""

import re
from pathlib import Path

from context import TOOLS, check, expect


@check
def crashes_leave_a_reproducer(c):
    """Whichever thread crashes: the main one runs passes on the module, and those on
    a single function; with two functions the pool's threads run them."""
    output = c.folder / "crashed.mv"
    for graphs, pass_name in (([c.onnx], "mv-fold-constants"),
                              ([f"a={c.onnx}", f"b={c.pt2}"], "mv-fold-constants"),
                              ([c.onnx], "mv-assign-buffers")):
        run = c.run("marver-compile", *graphs, "--threads=2", f"--crash-in={pass_name}", "-o", output)
        error = run.stderr.decode()
        expect(run.returncode == 70, f"exit {run.returncode}: {error}")
        found = re.fullmatch(r"marver-compile: internal failure in the stage (\w+), pass (\S+); "
                             r"reproducer: (\S+)\n", error)
        expect(found and found[2] == pass_name, f"said {error}")
        expect(not output.exists(), "a module was written")
        reproducer = Path(found[3])
        text = reproducer.read_text()
        expect(f"--mv-stage-{found[1]}" in text, "the reproducer does not say how to run it")
        again = c.run("marver-opt", f"--mv-stage-{found[1]}=target-cpu=host", reproducer)
        expect(again.returncode == 0, f"the reproducer is no input: {again.stderr.decode()[:300]}")
        reproducer.unlink()


@check
def help_and_version(c):
    for tool in TOOLS:
        for option in ("--help", "--version"):
            run = c.run(tool, option)
            expect(run.returncode == 0 and run.stdout, f"{tool} {option}: exit {run.returncode}, "
                   f"{len(run.stdout)} bytes on stdout")
    version = c.run("marver-run", "--version").stdout
    expect(re.search(rb"\d+\.\d+\.\d+", version), f"no version in {version!r}")
    expect(b"marver-opt" in c.run("marver-opt", "--version").stdout, "marver-opt tells LLVM's version only")


@check
def bad_usage_exits_2(c):
    for tool in TOOLS[:4]:
        c.refuses(2, tool, "--no-such-option")
    for tool in ("marver-compile", "marver-run", "marver-bench", "marver-audit"):
        c.refuses(2, tool)
    c.refuses(2, "marver-compile", c.onnx, "-o", c.folder / "x.mv", "--compile-to=nowhere")
    c.refuses(2, "marver-compile", c.onnx, "-o", "", says="output")
    c.refuses(2, "marver-run", c.module, "--threads=many")
    for flag in ("--benchmark_format=yaml", "--benchmark_out_format=yaml", "--benchmark_nonsense=1",
                 "--benchmark_min_time=soon", "--benchmark_time_unit=fortnight"):
        c.refuses(2, "marver-bench", c.module, f"--input=@{c.input}", flag, says=flag)


@check
def missing_files(c):
    for tool, arguments in (("marver-compile", ["-o", c.folder / "x.mv"]), ("marver-run", []),
                            ("marver-bench", []), ("marver-audit", [])):
        c.refuses(1, tool, c.folder / "no-such-file.onnx", *arguments, says="no-such-file")
