"""marver-run: inputs, outputs, comparisons, IREE's flags, bad modules."""

import re
import struct

from context import check, expect


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
    for tool, flags in (("marver-run", ["instrument_file=x", "print_device_statistics", "dump_task_topologies"]),
                        ("marver-bench", ["enable_output_processing", "output=@x.npy", "agents_md=false"])):
        for flag in flags:
            run = c.run(tool, f"--module={c.module}", f"--input=@{c.input}", f"--{flag}", "--benchmark_min_time=0.01s"
                        if tool == "marver-bench" else "--output=-")
            expect(run.returncode == 0 and b"left out: it would" in run.stderr, f"{tool} --{flag}: {run.stderr}")


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
