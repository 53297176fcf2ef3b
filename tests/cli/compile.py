"""marver-compile: its output files, its flags."""

import platform
import shutil
import subprocess

from context import check, expect


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
def sidecar_takes_no_model(c):
    """What follows --sidecar without `=` is a model, and no output is its own input."""
    module, model = c.folder / "sidecar.mv", c.folder / "model.onnx"
    shutil.copy(c.onnx, model)
    c.tools("marver-compile", "--sidecar", model, "-o", module)
    expect(module.with_suffix(".mv.dbg").exists(), "no sidecar.mv.dbg")
    for arguments in (["-o", model], ["-o", module, f"--sidecar={model}"], ["-o", c.folder / "." / model.name]):
        c.refuses(2, "marver-compile", model, *arguments, says="overwritten")
    expect(model.read_bytes() == c.onnx.read_bytes(), "the model was overwritten")
