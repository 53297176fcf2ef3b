#!/usr/bin/env python3
"""The command lines as they are documented: options, exit codes, messages, files.

usage: run.py --build BUILD [--only REGEX]
"""

import argparse
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import ROOT, Failure, Tools, run_in_environment  # noqa: E402

import export  # noqa: E402

CHECKS = []
TOOLS = ("marver-compile", "marver-run", "marver-bench", "marver-audit", "marver-opt")


def check(function):
    CHECKS.append(function)
    return function


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Context:
    """The tools of one build, one compiled model, and a folder to work in."""

    def __init__(self, build, folder):
        self.tools, self.folder = Tools(build), folder
        self.zoo = export.ensure("nothing")
        self.onnx, self.pt2 = self.zoo / "nothing.onnx", self.zoo / "nothing.pt2"
        self.dynamic = self.zoo / "nothing_dyn.onnx"
        self.input, self.reference = self.zoo / "0" / "in0.npy", self.zoo / "0" / "out0.npy"
        self.module = folder / "nothing.mv"
        self.tools("marver-compile", self.onnx, "-o", self.module)

    def run(self, tool, *arguments, stdin=None, cwd=None):
        return subprocess.run([self.tools.bin / tool, *map(str, arguments)], capture_output=True,
                              input=stdin, cwd=cwd, timeout=120)

    def refuses(self, code, tool, *arguments, says="", stdin=None, lines=1):
        """The command must exit with `code` and one line of explanation (or as many
        as there are things to explain)."""
        run = self.run(tool, *arguments, stdin=stdin)
        shown = f"{tool} {' '.join(map(str, arguments))}: exit {run.returncode}"
        error = run.stderr.decode(errors="replace").strip()
        expect(run.returncode == code, f"{shown} instead of {code}: {error[:300]}")
        expect(error, f"{shown} without a word")
        if code == 1:
            expect(len(error.splitlines()) <= lines, f"{shown}: more than {lines} lines: {error[:400]}")
        expect(re.search(says, error, re.I), f"{shown}: does not say '{says}': {error[:300]}")
        return error

    def small_onnx(self, nodes, inputs, outputs, initializers=(), name="small"):
        """An ONNX file of given nodes; inputs and outputs are (name, type, dims)."""
        from onnx import helper, save

        graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info(*i) for i in inputs],
                                  [helper.make_tensor_value_info(*o) for o in outputs], list(initializers))
        path = self.folder / f"{name}.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
        return path


# -- Every tool

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


@check
def bad_usage_exits_2(c):
    for tool in TOOLS[:4]:
        c.refuses(2, tool, "--no-such-option")
    for tool in ("marver-compile", "marver-run", "marver-bench", "marver-audit"):
        c.refuses(2, tool)
    c.refuses(2, "marver-compile", c.onnx, "-o", c.folder / "x.mv", "--compile-to=nowhere")
    c.refuses(2, "marver-run", c.module, "--threads=many")


@check
def missing_files(c):
    for tool, arguments in (("marver-compile", ["-o", c.folder / "x.mv"]), ("marver-run", []),
                            ("marver-bench", []), ("marver-audit", [])):
        c.refuses(1, tool, c.folder / "no-such-file.onnx", *arguments, says="no-such-file")


# -- marver-compile

@check
def compile_is_deterministic(c):
    """The same bytes whatever the path, the time and the number of threads."""
    elsewhere = c.folder / "another" / "place"
    elsewhere.mkdir(parents=True)
    for source in (c.onnx, c.pt2):
        a, b = c.folder / "a.mv", elsewhere / "b.mv"
        c.tools("marver-compile", source, "-o", a)
        copy = elsewhere / f"renamed{source.suffix}"
        shutil.copy(source, copy)
        subprocess.run(["taskset", "-c", "0", c.tools.bin / "marver-compile", copy, "-o", b], check=True)
        expect(a.read_bytes() == b.read_bytes(), f"{source.name}: two compiles differ")


@check
def compile_reads_standard_input(c):
    for source in (c.onnx, c.pt2):
        run = c.run("marver-compile", "-", "-o", c.folder / "stdin.mv", stdin=source.read_bytes())
        expect(run.returncode == 0, f"{source.name}: {run.stderr.decode()[:300]}")
        named = c.folder / "named.mv"
        c.tools("marver-compile", source, "-o", named)
        expect((c.folder / "stdin.mv").read_bytes() == named.read_bytes(), "differs from the named file's")


@check
def compile_leaves_nothing_behind(c):
    folder = c.folder / "atomic"
    folder.mkdir()
    (folder / "bad.onnx").write_bytes(b"\x08\x08not a model")
    c.refuses(1, "marver-compile", folder / "bad.onnx", "-o", folder / "bad.mv")
    expect([f.name for f in folder.iterdir()] == ["bad.onnx"], f"left: {list(folder.iterdir())}")
    old = folder / "old.mv"
    old.write_text("what was here")
    c.refuses(1, "marver-compile", folder / "bad.onnx", "-o", old)
    expect(old.read_text() == "what was here", "a failed compile touched the old output")
    c.refuses(1, "marver-compile", c.onnx, "-o", folder / "no" / "such" / "folder.mv", says="folder.mv")


@check
def several_graphs_in_one_module(c):
    module = c.folder / "two.mv"
    c.tools("marver-compile", f"first={c.onnx}", f"second={c.pt2}", f"third={c.dynamic}", "-o", module)
    for function in ("first", "second", "third"):
        c.tools("marver-run", module, f"--function={function}", f"--input=@{c.input}",
                f"--expected-output=@{c.reference}", "--rtol=0", "--atol=1e-4")
    error = c.refuses(1, "marver-run", module, "--function=fourth", f"--input=@{c.input}", says="function|entry")
    c.refuses(1, "marver-run", module, f"--input=@{c.input}", says="main")
    expect(b"second" not in module.read_bytes(), "an entry's name is in the file")
    # Equal weights are stored once: three graphs cost hardly more than one.
    one, three = c.module.stat().st_size, module.stat().st_size
    expect(three < one + 33024, f"{three} bytes for three graphs, {one} for one: weights were stored again")
    c.refuses(2, "marver-compile", f"a={c.onnx}", f"a={c.pt2}", "-o", module, says="'?a'?")
    del error


@check
def compile_stops_at_a_stage(c):
    for stage in ("import", "graph", "kernels", "buffers"):
        text = c.folder / f"{stage}.mlir"
        c.tools("marver-compile", c.onnx, f"--compile-to={stage}", "-o", text)
        expect(b"func" in text.read_bytes(), f"{stage}: no function in the output")
    image = c.folder / "image"
    c.tools("marver-compile", c.onnx, "--compile-to=native", "-o", image)
    expect(image.stat().st_size > 100, "native: no machine code in the output")


@check
def dumps(c):
    stages, kernels = c.folder / "stages", c.folder / "kernels"
    c.tools("marver-compile", c.onnx, "-o", c.folder / "x.mv", f"--dump-stages-to={stages}",
            f"--dump-kernels-to={kernels}")
    expect(len(list(stages.iterdir())) >= 5, f"stages: {sorted(f.name for f in stages.iterdir())}")
    expect(any(kernels.iterdir()), "no kernels were dumped")


@check
def list_inputs_and_signature(c):
    text = c.tools("marver-compile", c.dynamic, "--list-inputs")
    expect("x" in text and "batch" in text and "128" in text, f"--list-inputs: {text!r}")
    text = c.tools("marver-run", c.module, "--signature")
    expect("1x128xf32" in text and "1x64xf32" in text, f"--signature: {text!r}")


@check
def kernels_are_explained(c):
    result = c.run("marver-compile", c.onnx, "-o", c.folder / "explained.mv", "--explain")
    text = result.stderr.decode()
    expect(result.returncode == 0 and "contraction" in text and "split by" in text, f"--explain: {text!r}")


@check
def statistics_name_the_arena_and_its_bound(c):
    module = c.folder / "described.mv"
    c.tools("marver-compile", c.onnx, "-o", module, "--sidecar")
    result = c.run("marver-run", module, "--input=1x128xf32=1", "--print-statistics")
    text = result.stderr.decode()
    expect("arena bytes" in text and "arena lower bound" in text, f"--print-statistics: {text!r}")


@check
def shapes_are_fixed_on_request(c):
    for option in ("--shape=batch=7", "--shape=x:7x128", "--shape=0:7x128"):
        module = c.folder / "seven.mv"
        c.tools("marver-compile", c.dynamic, option, "-o", module)
        case = c.zoo / "1"
        c.tools("marver-run", module, f"--input=@{case}/in0.npy", f"--expected-output=@{case}/out0.npy", "--atol=1e-4")
        c.refuses(1, "marver-run", module, f"--input=@{c.input}")
    c.refuses(2, "marver-compile", c.dynamic, "--shape=nobody=7", "-o", c.folder / "x.mv", says="nobody")
    c.refuses(1, "marver-compile", c.dynamic, "--shape=x:7x129", "-o", c.folder / "x.mv", says="129|128")


@check
def sizes_get_paths_of_their_own(c):
    module = c.folder / "specialized.mv"
    c.tools("marver-compile", c.dynamic, "--specialize=batch=7,2", "-o", module)
    stages = c.folder / "specialized"
    c.tools("marver-compile", c.dynamic, "--specialize=batch=7,2", "--dump-stages-to", stages, "-o", c.folder / "x.mv")
    text = "".join(path.read_text() for path in stages.glob("*import*"))
    expect("tensor<7x128xf32>" in text and "tensor<2x128xf32>" in text and "tensor<?x128xf32>" in text,
           "a path for 7 rows, one for 2 and one for any number")
    for case in sorted(path for path in c.zoo.iterdir() if path.name.isdigit()):
        c.tools("marver-run", module, f"--input=@{case}/in0.npy", f"--expected-output=@{case}/out0.npy", "--atol=1e-4")
    refused = c.folder / "refused.mv"
    for usage in ("nobody=7", "batch", "batch=7,", "batch=-1", "=7"):
        c.refuses(2, "marver-compile", c.dynamic, f"--specialize={usage}", "-o", refused, says="--specialize")
    many = ",".join(map(str, range(1, 100)))
    c.refuses(1, "marver-compile", c.dynamic, f"--specialize=batch={many}", "-o", refused, says="99 paths")
    expect(not refused.exists(), "a file was left")


@check
def target_cpus(c):
    for cpu in ("x86-64-v3", "x86-64-v4", "host"):
        module = c.folder / f"{cpu}.mv"
        c.tools("marver-compile", c.onnx, f"--target-cpu={cpu}", "-o", module)
        if cpu == "host" or has_features(cpu):
            c.tools("marver-run", module, f"--input=@{c.input}", f"--expected-output=@{c.reference}", "--atol=1e-4")
    for cpu in ("aarch64", "apple-m1"):
        module = c.folder / f"{cpu}.mv"
        c.tools("marver-compile", c.onnx, f"--target-cpu={cpu}", "-o", module)
        c.tools("marver-audit", module)
        if platform.machine() == "x86_64":
            c.refuses(1, "marver-run", module, f"--input=@{c.input}", says="aarch64")
    c.refuses(2, "marver-compile", c.onnx, "--target-cpu=quantum", "-o", c.folder / "x.mv", says="quantum")


def has_features(cpu):
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags"))
    return {"x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}[cpu] in flags


@check
def optimization_levels_agree(c):
    for level in ("-O0", "-O2"):
        module = c.folder / "level.mv"
        c.tools("marver-compile", c.onnx, level, "-o", module)
        c.tools("marver-run", module, f"--input=@{c.input}", f"--expected-output=@{c.reference}", "--atol=1e-4")


@check
def convolution_algorithms_agree(c):
    """Winograd's weights made at load or stored: the same bits; by definition: the same values."""
    import numpy
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy.random.default_rng(1).standard_normal((40, 48, 3, 3), "f4")
    model = c.small_onnx([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
                         [("x", TensorProto.FLOAT, [1, 48, 30, 30])], [("y", TensorProto.FLOAT, [1, 40, 30, 30])],
                         initializers=[numpy_helper.from_array(weights, "w")])
    outputs = {}
    for name, flags in {"made": [], "stored": ["--winograd-weights=stored"], "exact": ["--exact-convolutions"]}.items():
        module, result = c.folder / f"{name}.mv", c.folder / f"{name}.npy"
        c.tools("marver-compile", model, *flags, "-o", module)
        c.tools("marver-run", module, "--input=1x48x30x30xf32=random:1", f"--output=@{result}")
        outputs[name] = (result.read_bytes(), module.stat().st_size)
    expect(outputs["made"][0] == outputs["stored"][0], "stored weights give other results")
    expect(outputs["made"][0] != outputs["exact"][0], "--exact-convolutions changes nothing")
    expect(outputs["made"][1] < outputs["stored"][1], "stored weights are not in the module")
    c.tools("marver-run", c.folder / "made.mv", "--input=1x48x30x30xf32=random:1",
            f"--expected-output=@{c.folder / 'exact.npy'}", "--rtol=0", "--atol=1e-3")
    c.refuses(2, "marver-compile", model, "--winograd-weights=other", "-o", c.folder / "x.mv", says="winograd-weights")


@check
def sidecar_is_separate(c):
    module = c.folder / "private.mv"
    c.tools("marver-compile", c.onnx, "-o", module, "--sidecar")
    expect(module.with_suffix(".mv.dbg").exists(), "no private.mv.dbg")
    expect(module.read_bytes() == c.module.read_bytes(), "the sidecar changes the module")
    c.tools("marver-compile", c.onnx, "-o", module, f"--sidecar={c.folder}/elsewhere.dbg")
    expect((c.folder / "elsewhere.dbg").exists(), "--sidecar=FILE wrote no file")


@check
def bad_models(c):
    """Empty, truncated, corrupt: a line each, never a crash."""
    work = c.folder / "bad"
    work.mkdir()
    for source in (c.onnx, c.pt2):
        whole = source.read_bytes()
        for name, data in {
            "empty": b"", "one": whole[:1], "half": whole[: len(whole) // 2], "short": whole[:-1],
            "tail": whole[100:], "ones": b"\xff" * 5000, "zeros": bytes(5000), "text": b"hello\n" * 100,
        }.items():
            if source.suffix == ".pt2" and name == "tail":
                continue  # a zip's directory is at its end: still readable to some
            path = work / f"{name}{source.suffix}"
            path.write_bytes(data)
            c.refuses(1, "marver-compile", path, "-o", work / "x.mv", says=name)
        # One flipped byte at many places: it compiles or is refused, and never crashes.
        for position in range(7, len(whole), max(1, len(whole) // 60)):
            path = work / f"flip{source.suffix}"
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1:])
            run = c.run("marver-compile", path, "-o", work / "x.mv")
            expect(run.returncode in (0, 1), f"{source.name} with byte {position} flipped: exit "
                   f"{run.returncode}: {run.stderr.decode(errors='replace')[-300:]}")


@check
def unknown_operators_are_all_named(c):
    from onnx import TensorProto, helper

    path = c.small_onnx([helper.make_node("Frobnicate", ["x"], ["a"], name="here"),
                         helper.make_node("Relu", ["a"], ["b"]),
                         helper.make_node("Defenestrate", ["b"], ["c"], name="there"),
                         helper.make_node("Relu", ["x"], ["d"], name="odd", strange=1),
                         helper.make_node("Softmax", ["d"], ["e"], name="odder", stranger=2.0),
                         helper.make_node("Add", ["c", "e"], ["y"])],
                        [("x", TensorProto.FLOAT, [3])], [("y", TensorProto.FLOAT, [3])], name="unknown")
    run = c.run("marver-compile", path, "-o", c.folder / "unknown.mv")
    error = run.stderr.decode()
    expect(run.returncode == 1, f"exit {run.returncode}: {error[:300]}")
    for word in ("Frobnicate", "here", "Defenestrate", "there", "'strange'", "'odd'", "'stranger'", "'odder'"):
        expect(word in error, f"'{word}' is not in: {error[:400]}")
    expect(not (c.folder / "unknown.mv").exists(), "a module was written")


@check
def thousands_of_operators_in_a_row(c):
    """Nothing in the compiler may nest as deep as the model."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Elu" if i % 2 else "Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(4000)]
    path = c.small_onnx(nodes, [("v0", TensorProto.FLOAT, [3])], [("v4000", TensorProto.FLOAT, [3])], name="long")
    c.tools("marver-compile", path, "-o", c.folder / "long.mv")
    text = c.tools("marver-run", c.folder / "long.mv", "--input=3xf32=0 nan 1")
    expect(re.match(r"result\[0\]: 3xf32=-?0 -?nan -?[0-9.e-]+$", text.strip()), text)


@check
def absurd_shapes(c):
    from onnx import TensorProto, helper

    for name, dims in (("huge", [1 << 40, 1 << 40]), ("large", [1 << 31, 1 << 31])):
        path = c.small_onnx([helper.make_node("Relu", ["x"], ["y"])], [("x", TensorProto.FLOAT, dims)],
                            [("y", TensorProto.FLOAT, dims)], name=name)
        run = c.run("marver-compile", path, "-o", c.folder / "x.mv")
        expect(run.returncode == 1, f"{name}: exit {run.returncode}: {run.stderr.decode()[:200]}")


@check
def external_data(c):
    """torch.onnx.export writes it by default; it may not point out of the folder."""
    import onnx

    folder = c.folder / "external"
    folder.mkdir()
    model = onnx.load(c.onnx)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    c.tools("marver-compile", folder / "m.onnx", "-o", folder / "m.mv")
    expect((folder / "m.mv").read_bytes() == c.module.read_bytes(), "differs from the one with inline weights")
    data = (folder / "m.onnx.data").read_bytes()
    (folder / "m.onnx.data").write_bytes(data[:1000])
    c.refuses(1, "marver-compile", folder / "m.onnx", "-o", folder / "x.mv", says="m.onnx.data|extern", lines=2)
    (folder / "m.onnx.data").unlink()
    c.refuses(1, "marver-compile", folder / "m.onnx", "-o", folder / "x.mv", says="m.onnx.data", lines=2)
    outside = c.folder / "outside.data"
    outside.write_bytes(data)
    for location in ("../outside.data", str(outside)):
        broken = onnx.load(folder / "m.onnx", load_external_data=False)
        for tensor in broken.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        (folder / "n.onnx").write_bytes(broken.SerializeToString())
        c.refuses(1, "marver-compile", folder / "n.onnx", "-o", folder / "x.mv", says="outside", lines=2)


@check
def sidecar_takes_no_model(c):
    """What follows --sidecar without `=` is a model, and no output is its own input."""
    module, model = c.folder / "sidecar.mv", c.folder / "model.onnx"
    shutil.copy(c.onnx, model)
    c.tools("marver-compile", "--sidecar", model, "-o", module)
    expect(module.with_suffix(".mv.dbg").exists(), "no sidecar.mv.dbg")
    for arguments in (["-o", model], ["-o", module, f"--sidecar={model}"], ["-o", c.folder / "." / model.name]):
        c.refuses(2, "marver-compile", model, *arguments, says="overwritten")
    expect(model.read_bytes() == c.onnx.read_bytes(), "the model was overwritten")


@check
def archive_of_torch_2_9(c):
    """The oldest that is read: Conv1d, BatchNorm1d, ReLU, Linear, softmax and a keyword
    argument; the last dim is 2 to 50. The other tests have the pinned torch's files."""
    module = c.folder / "old.mv"
    c.tools("marver-compile", Path(__file__).parent / "data" / "torch-2.9.pt2", "-o", module)
    values = " ".join(str(i / 8) for i in range(24))
    want = ("0.8240851 1.175915 0.8076407 1.1923593 0.8007931 1.1992069 0.8795143 1.1204858 "
            "0.7687022 1.2312979 0.7271078 1.2728922 0.72056401 1.279436 0.902556 1.0974439")
    c.tools("marver-run", module, f"--input=2x3x4xf32={values}", "--input=2", f"--expected-output=2x4x2xf32={want}",
            "--rtol=1e-5", "--atol=0")
    c.tools("marver-run", module, "--input=2x3x50xf32=1", "--input=2")
    c.refuses(1, "marver-run", module, "--input=2x3x51xf32=1", "--input=2", says="50")


# -- Models exported on the spot

def exported(c, name, function, inputs, dynamic=None):
    """A .pt2 file of `function`, or of a module."""
    import torch

    class Wrapped(torch.nn.Module):
        def forward(self, *x):
            return function(*x)

    module = function if isinstance(function, torch.nn.Module) else Wrapped()
    path = c.folder / f"{name}.pt2"
    torch.export.save(torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic), path)
    return path


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


@check
def unsupported_pt2_operators_are_all_named(c):
    import torch

    def model(x):
        return torch.fft.rfft(x).abs().sum(), torch.linalg.qr(x)[0]

    path = exported(c, "unsupported", model, (torch.zeros(3, 3),))
    error = c.refuses(1, "marver-compile", path, "-o", c.folder / "unsupported.mv", says="fft_rfft", lines=2)
    expect("linalg_qr" in error and re.search(r"run\.py:\d+: error", error), error)
    expect(not (c.folder / "unsupported.mv").exists(), "a module was written")


# -- marver-run

@check
def input_grammar(c):
    from onnx import TensorProto, helper

    path = c.small_onnx([helper.make_node("Identity", ["x"], ["y"])], [("x", TensorProto.INT32, [2, 2])],
                        [("y", TensorProto.INT32, [2, 2])], name="identity")
    module = c.folder / "identity.mv"
    c.tools("marver-compile", path, "-o", module)
    (c.folder / "raw.bin").write_bytes(struct.pack("<4i", 5, 6, 7, 8))
    for value, want in (("2x2xi32=1 2 3 4", "[1 2][3 4]"), ("2x2xi32=1,2,3,4", "[1 2][3 4]"),
                        ("2x2xi32=[1 2][3 4]", "[1 2][3 4]"), ("2x2xi32=9", "[9 9][9 9]"),
                        ("2x2xi32", "[0 0][0 0]"), (f"2x2xi32=@{c.folder}/raw.bin", "[5 6][7 8]")):
        text = c.tools("marver-run", module, f"--input={value}")
        expect(text.strip() == f"result[0]: 2x2xi32={want}", f"--input={value} prints {text!r}")
    random = [c.tools("marver-run", module, f"--input=2x2xi32=random:{seed}") for seed in (1, 1, 2)]
    expect(random[0] == random[1] != random[2], "=random:SEED is not a function of the seed")
    for value, says in (("2x3xi32=1", "2x3|dim|shape"), ("2x2xf32=1", "f32|i32|type"), ("2x2xi32=1 2 3", "3|4|element"),
                        ("2x2xq7=1", "q7"), ("@/no/such.npy", "such"), ("2x2xi32=1 2 3 x", "x")):
        c.refuses(1, "marver-run", module, f"--input={value}", says=says)
    c.refuses(1, "marver-run", module, says="input")
    c.refuses(1, "marver-run", module, "--input=2x2xi32", "--input=2x2xi32", says="input")


@check
def scalars_and_dtypes(c):
    import numpy as np
    from onnx import TensorProto, helper

    types = {"f16": (TensorProto.FLOAT16, np.float16), "f32": (TensorProto.FLOAT, np.float32),
             "f64": (TensorProto.DOUBLE, np.float64), "i8": (TensorProto.INT8, np.int8),
             "i16": (TensorProto.INT16, np.int16), "i32": (TensorProto.INT32, np.int32),
             "i64": (TensorProto.INT64, np.int64), "u8": (TensorProto.UINT8, np.uint8),
             "u16": (TensorProto.UINT16, np.uint16), "u32": (TensorProto.UINT32, np.uint32),
             "u64": (TensorProto.UINT64, np.uint64), "i1": (TensorProto.BOOL, np.bool_)}
    for name, (element, dtype) in types.items():
        for dims in ([], [3], [0, 2]):
            path = c.small_onnx([helper.make_node("Identity", ["x"], ["y"])], [("x", element, dims)],
                                [("y", element, dims)], name="dtype")
            module = c.folder / "dtype.mv"
            c.tools("marver-compile", path, "-o", module)
            values = np.array([1, 0, 1] if name == "i1" else [1, 2, 3]).astype(dtype)
            array = np.resize(values, dims) if dims else np.array(values[0])
            np.save(c.folder / "x.npy", array)
            c.tools("marver-run", module, f"--input=@{c.folder}/x.npy", f"--output=@{c.folder}/y.npy")
            got = np.load(c.folder / "y.npy")
            expect(got.dtype == array.dtype and got.shape == array.shape and (got == array).all(),
                   f"{name} {dims}: {got.dtype} {got.shape} {got} instead of {array}")
        np.save(c.folder / "x.npy", np.asfortranarray(np.arange(6).reshape(2, 3)))
    big = c.folder / "big.npy"
    np.save(big, np.zeros((1, 128), ">f4"))
    c.refuses(1, "marver-run", c.module, f"--input=@{big}", says="endian|byte")


@check
def npy_versions_and_orders(c):
    import numpy as np

    x = np.load(c.input)
    want = np.load(c.reference)
    for version in ((1, 0), (2, 0), (3, 0)):
        path = c.folder / "v.npy"
        with open(path, "wb") as file:
            np.lib.format.write_array(file, x, version=version)
        c.tools("marver-run", c.module, f"--input=@{path}", f"--expected-output=@{c.reference}", "--atol=1e-4")
    batch = np.load(c.zoo / "1" / "in0.npy")
    np.save(c.folder / "fortran.npy", np.asfortranarray(batch))
    module = c.folder / "dynamic.mv"
    c.tools("marver-compile", c.dynamic, "-o", module)
    c.tools("marver-run", module, f"--input=@{c.folder}/fortran.npy", f"--expected-output=@{c.zoo}/1/out0.npy", "--atol=1e-4")
    del want


@check
def expected_output_reports_the_difference(c):
    import numpy as np

    wrong = np.load(c.reference)
    wrong[0, 5] += 1
    np.save(c.folder / "wrong.npy", wrong)
    run = c.run("marver-run", c.module, f"--input=@{c.input}", f"--expected-output=@{c.folder}/wrong.npy", "--atol=1e-4")
    text = (run.stdout + run.stderr).decode()
    expect(run.returncode == 1, f"exit {run.returncode} on a mismatch")
    expect(re.search(r"\b0\b.*\b5\b", text, re.S) and "abs" in text and "rel" in text, f"says: {text[:300]}")
    wrong[0, 5] = np.nan
    np.save(c.folder / "wrong.npy", wrong)
    run = c.run("marver-run", c.module, f"--input=@{c.input}", f"--expected-output=@{c.folder}/wrong.npy", "--atol=1e9")
    expect(run.returncode == 1, "a NaN in the reference matched a number")


@check
def iree_command_lines(c):
    c.tools("marver-run", f"--module={c.module}", "--device=local-task", "--function=main", f"--input=@{c.input}",
            f"--expected_output=@{c.reference}", "--expected_f32_threshold=0.001")
    c.tools("marver-run", f"--module={c.module}", f"--input=@{c.input}", f"--output=@{c.folder}/y.npy",
            "--task_topology_group_count=2")


@check
def dynamic_dims_are_checked(c):
    module = c.folder / "dynamic.mv"
    c.tools("marver-compile", c.dynamic, "-o", module)
    text = c.tools("marver-run", module, "--input=3x128xf32=random:1")
    expect(text.startswith("result[0]: 3x64xf32="), f"prints {text[:60]!r}")
    c.refuses(1, "marver-run", module, "--input=3x127xf32=1", says="127|128")
    c.refuses(1, "marver-run", module, "--input=128xf32=1", says="rank|dim")


@check
def sizes_from_data_are_checked(c):
    """What the inputs' values ask for is no fault of their dims, and said so."""
    from onnx import TensorProto, helper

    path = c.small_onnx([helper.make_node("TopK", ["x", "k"], ["values", "indices"])],
                        [("x", TensorProto.FLOAT, [5]), ("k", TensorProto.INT64, [1])],
                        [("values", TensorProto.FLOAT, [None])], name="topk")
    module = c.folder / "topk.mv"
    c.tools("marver-compile", path, "-o", module)
    inputs = ("--input=5xf32=1 5 2 4 3", "--input=1xi64={}")
    text = c.tools("marver-run", module, inputs[0], inputs[1].format(2))
    expect("2xf32=5 4" in text, text)
    c.refuses(1, "marver-run", module, inputs[0], inputs[1].format(9),
              says="computed from the inputs, does not fit")


@check
def bad_modules(c):
    """A module is hostile until it is verified."""
    whole = c.module.read_bytes()
    path = c.folder / "broken.mv"
    for data in (b"", whole[:10], whole[:64], whole[: len(whole) // 2], whole[:-1], whole + b"x", bytes(len(whole)),
                 c.onnx.read_bytes()):
        path.write_bytes(data)
        c.refuses(1, "marver-run", path, f"--input=@{c.input}", says="broken")
        c.refuses(1, "marver-bench", path, f"--input=@{c.input}")
    survived = []
    for position in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x80]) + whole[position + 1:])
        run = c.run("marver-run", path, "--verify", f"--input=@{c.input}")
        expect(run.returncode in (0, 1), f"byte {position} flipped: exit {run.returncode}")
        if run.returncode == 0:
            survived.append(position)
    expect(not survived, f"--verify did not see flipped bytes at {survived[:10]}")


# -- marver-bench

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


# -- marver-audit

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


# -- marver.export

@check
def export_module(c):
    (c.folder / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(0)\n"
        "        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)\n"
        "        self.drop = torch.nn.Dropout()\n"
        "    def forward(self, x):\n"
        "        return self.drop(self.conv(x)).relu()\n")
    environment = {"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "marver.export", "net:Net", "Nx3x8xW", "--dim", "N=1:4", "--dim", "W=2:64",
               "-o", "net.pt2"]
    run = subprocess.run(command, cwd=c.folder, env=environment, capture_output=True, text=True)
    expect(run.returncode == 0, run.stderr[-300:])
    c.tools("marver-compile", c.folder / "net.pt2", "-o", c.folder / "net.mv")
    text = c.tools("marver-run", c.folder / "net.mv", "--input=2x3x8x30xf32=random:1")
    expect(text.startswith("result[0]: 2x8x8x30xf32="), text[:80])
    for wrong in (["net"], ["net:Net", "Nx3"], ["net:Net", "1x3x8x8", "-o", "x.onnx"], ["net:Net", "99999999999x99999999"]):
        run = subprocess.run([*command[:3], *wrong, *([] if "-o" in wrong else ["-o", "x.pt2"])], cwd=c.folder,
                             env=environment, capture_output=True, text=True)
        expect(run.returncode == 2 and "Traceback" not in run.stderr, f"{wrong}: exit {run.returncode}: {run.stderr[-200:]}")


@check
def export_failures_are_one_line(c):
    """What torch has to say of a model, in one line with the place in the model; nothing written."""
    (c.folder / "faulty.py").write_text(
        "import torch\n"
        "class Branch(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        if x.sum() > 0:\n"
        "            return x\n"
        "        return -x\n"
        "class Fixed(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.reshape(3, 4)\n"
        "class Sized(torch.nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n")
    environment = {"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"}
    for wrong, says in ((["faulty:Branch", "3"], r"data-dependent.*\(\S*faulty\.py:4\)"),
                        (["faulty:Fixed", "Nx4", "--dim", "N=1:8"], r"N .*constant \(3\)"),
                        (["faulty:Sized", "3"], r"missing 1 required.*'width'"),
                        (["faulty:Missing", "3"], r"no attribute 'Missing'"),
                        (["faulty:Fixed", "3x4", "-o", "no/such/x.pt2"], r"no/such")):
        command = [sys.executable, "-m", "marver.export", *wrong, *([] if "-o" in wrong else ["-o", "x.pt2"])]
        run = subprocess.run(command, cwd=c.folder, env=environment, capture_output=True, text=True)
        expect(run.returncode == 1 and len(run.stderr.splitlines()) == 1 and re.search(says, run.stderr),
               f"{wrong}: exit {run.returncode}: {run.stderr[-600:]}")
        expect(not list(c.folder.glob("*x.pt2*")), f"{wrong}: left {list(c.folder.iterdir())}")
    run = subprocess.run([*command, "--verbose"], cwd=c.folder, env=environment, capture_output=True, text=True)
    expect(run.returncode == 1 and "Traceback" in run.stderr, f"--verbose: {run.stderr[-300:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--only", default="", metavar="REGEX", help="only the checks whose name matches")
    arguments = parser.parse_args()
    run_in_environment()
    failures = count = 0
    with tempfile.TemporaryDirectory() as base:
        Context(arguments.build, Path(base))  # without a compiler there is nothing to check
        for number, function in enumerate(CHECKS):
            if not re.search(arguments.only, function.__name__):
                continue
            count += 1
            folder = Path(base) / str(number)
            folder.mkdir()
            try:
                function(Context(arguments.build, folder))
                print(f"ok    {function.__name__}", flush=True)
            except Failure as failure:
                failures += 1
                print(f"FAIL  {function.__name__}: {failure}", flush=True)
            except Exception:
                failures += 1
                print(f"FAIL  {function.__name__}: {traceback.format_exc(limit=-2)}", flush=True)
    print(f"{count} checks, {failures} failed")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
