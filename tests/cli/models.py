"""Models that are unusual or wrong: what the compiler says of them."""

import re
from pathlib import Path

from context import check, expect, exported


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


@check
def unsupported_pt2_operators_are_all_named(c):
    import torch

    class Model(torch.nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x).abs().sum(), torch.linalg.qr(x)[0]

    path = exported(c, "unsupported", Model(), (torch.zeros(3, 3),))
    error = c.refuses(1, "marver-compile", path, "-o", c.folder / "unsupported.mv", says="fft_rfft", lines=2)
    expect("linalg_qr" in error and re.search(r"models\.py:\d+: error", error), error)
    expect(not (c.folder / "unsupported.mv").exists(), "a module was written")
