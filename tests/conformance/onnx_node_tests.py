#!/usr/bin/env python3
"""ONNX's own node tests: every operator's cases as the onnx package states them.

usage: onnx_node_tests.py --build BUILD [--case REGEX] [--all] [--import-only] [--verbose]

A model that the compiler says it does not support counts as such only if its
operator is in UNSUPPORTED below, or its case in UNSUPPORTED_CASES; everything else
must compile, run, and give what the package says. Where an operator needs an operand
to be constant, as every exporter writes it, the case is tried again with its small
operands as constants. Without --all, the cases that spell an operator's definition
out in other operators are left out.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))
from marver import run_in_environment  # noqa: E402

# Kinds of values and operators that the importer refuses, each with one line.
UNSUPPORTED = {
    # strings
    "StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer",
    "LabelEncoder",
    # random numbers and training
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", "Adagrad", "Adam", "Momentum", "Gradient",
    # others
    "AffineGrid", "BitCast", "BlackmanWindow", "Col2Im", "CumProd", "DFT", "DeformConv", "Det",
    "GridSample", "HammingWindow", "HannWindow", "ImageDecoder", "MaxRoiPool", "MaxUnpool",
    "MelWeightMatrix", "NegativeLogLikelihoodLoss", "RoiAlign", "STFT",
    "SoftmaxCrossEntropyLoss", "TensorScatter", "ArrayFeatureExtractor", "Binarizer",
    "TreeEnsemble", "LinearAttention", "CausalConvWithState", "FlexAttention", "SwiGLU",
}
# Cases of supported operators that are refused: training, results that nobody uses at
# inference, rare modes of Resize, an operator set from before 2017.
UNSUPPORTED_CASES = re.compile(
    r"batchnorm.*training|maxpool_with_argmax|resize_tf_crop_and_resize"
    r"|resize_.*(antialias|exclude_outside)|test_not_[234]d$")
# Where PyTorch and ONNX Runtime agree on something else than the package: with
# align_corners they divide by the result's whole size, not by size times scale.
OTHERWISE = re.compile(r"resize_downsample_scales_(linear|cubic)_align_corners$")
# Operators whose first operand is a size, too.
ALL_CONSTANT = {"ConstantOfShape", "Range"}
# Element types that marver's interface does not have.
DTYPES = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16}


def load_cases(pattern, everything):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        cases = load_model_tests(kind="node")
    return [case for case in cases
            if re.search(pattern, case.name) and (everything or "_expanded" not in case.name)]


def has_supported_types(model, data):
    import numpy

    for info in [*model.graph.input, *model.graph.output]:
        if not info.type.HasField("tensor_type"):
            return False
        if info.type.tensor_type.elem_type not in DTYPES:
            return False
    return all(isinstance(array, numpy.ndarray) for part in data for array in part)


def operators(model):
    found = {node.op_type for node in model.graph.node}
    for function in model.functions:
        found |= {node.op_type for node in function.node}
    return found


def with_constants(model, inputs):
    """The model with its small operands behind the first as initializers."""
    import numpy
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = []
    values = {}
    first = 0 if operators(model) & ALL_CONSTANT else 1
    for i, (info, array) in enumerate(zip(model.graph.input, inputs)):
        if i >= first and array.size <= 64 and array.dtype.kind in "iufV" and array.ndim <= 1:
            values[info.name] = numpy.asarray(array)
        else:
            kept.append((info, array))
    del changed.graph.input[:]
    changed.graph.input.extend(info for info, _ in kept)
    for name, array in values.items():
        changed.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return changed, [array for _, array in kept]


def saved(folder, i, array, kind):
    import numpy

    path = folder / f"{kind}{i}.npy"
    if array.dtype.name == "bfloat16":
        path = folder / f"{kind}{i}.bin"
        array.view(numpy.uint16).tofile(path)
        dims = "x".join([*map(str, array.shape), "bf16"])
        return f"{dims}=@{path}"
    numpy.save(path, array)
    return f"@{path}"


def same(got, wanted, case):
    import numpy

    if got.shape != wanted.shape:
        return f"shape {got.shape}, not {wanted.shape}"
    if wanted.dtype.name == "bfloat16":
        got = got.view(wanted.dtype)
    if got.dtype != wanted.dtype:
        return f"type {got.dtype}, not {wanted.dtype}"
    if wanted.dtype.kind in "iub":
        return "" if (got == wanted).all() else f"{got.ravel()[:6]} not {wanted.ravel()[:6]}"
    coarse = {"float16": 2e-3, "bfloat16": 2e-2}.get(wanted.dtype.name, 0)
    a, b = got.astype(numpy.float64), wanted.astype(numpy.float64)
    rtol = max(case.rtol or 1e-3, coarse)
    if numpy.allclose(a, b, rtol=rtol, atol=max(case.atol or 1e-7, 1e-5, coarse), equal_nan=True):
        return ""
    return f"{a.ravel()[:6]} not {b.ravel()[:6]}"


class Runner:
    def __init__(self, build, import_only):
        self.bin = Path(build).resolve() / "bin"
        self.import_only = import_only

    def tool(self, name, *arguments):
        try:
            run = subprocess.run([self.bin / name, *arguments], capture_output=True, text=True,
                                 errors="replace", timeout=120)
        except subprocess.TimeoutExpired:
            return -1, "did not end in 120 s"
        return run.returncode, run.stderr.strip()

    def attempt(self, folder, model, inputs, outputs, case):
        import numpy
        import onnx

        onnx.save(model, folder / "model.onnx")
        stage = ["--compile-to=import"] if self.import_only else []
        code, text = self.tool("marver-compile", folder / "model.onnx", "-o",
                               folder / "model.mv", *stage)
        if code == 1:
            return "refused", text
        if code:
            return "broken", f"marver-compile {code}: {text}"
        if self.import_only:
            return "passed", ""
        arguments = [f"--input={saved(folder, i, array, 'in')}" for i, array in enumerate(inputs)]
        results = [folder / f"out{i}.npy" for i in range(len(outputs))]
        code, text = self.tool("marver-run", folder / "model.mv", *arguments,
                               *[f"--output=@{path}" for path in results])
        if code:
            return "broken", f"marver-run {code}: {text}"
        for i, (path, wanted) in enumerate(zip(results, outputs)):
            difference = same(numpy.load(path), numpy.asarray(wanted), case)
            if difference:
                return "wrong", f"result {i}: {difference}"
        return "passed", ""

    def __call__(self, case):
        """(name, operator, outcome, text)"""
        found = operators(case.model)
        label = case.model.graph.node[0].op_type if len(case.model.graph.node) == 1 else "several"
        inputs, outputs = case.data_sets[0]
        if OTHERWISE.search(case.name):
            return case.name, label, "skipped", "another rule"
        if not has_supported_types(case.model, case.data_sets[0]):
            return case.name, label, "skipped", "types"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            outcome, text = self.attempt(folder, case.model, inputs, outputs, case)
            if outcome != "passed" and not found & UNSUPPORTED:
                model, rest = with_constants(case.model, inputs)
                if len(rest) < len(inputs):
                    second = self.attempt(folder, model, rest, outputs, case)
                    if second[0] == "passed":
                        return case.name, label, "passed as constants", text
                    outcome, text = second
        if outcome == "refused" and (found & UNSUPPORTED
                                     or UNSUPPORTED_CASES.search(case.name)):
            return case.name, label, "unsupported", text
        return case.name, label, outcome, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--case", default="")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--import-only", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    run_in_environment()
    cases = load_cases(arguments.case, arguments.all)
    if not cases:
        sys.exit("no such case")
    counts = collections.Counter()
    failures = []
    covered = set()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for name, label, outcome, text in pool.map(
                Runner(arguments.build, arguments.import_only), cases):
            counts[outcome] += 1
            if outcome.startswith("passed"):
                covered.add(label)
            if outcome in ("refused", "broken", "wrong"):
                failures.append(f"{name} ({label}): {outcome}: {text.splitlines()[0][:300] if text else ''}")
            elif arguments.verbose:
                print(f"{name} ({label}): {outcome}: {text}")
    for line in failures:
        print(line)
    print(f"{len(covered - {'several'})} operators; "
          + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
