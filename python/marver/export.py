# Part of the marver project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Saves a PyTorch model as a .pt2 that marver-compile reads.

    python -m marver.export torchvision.models:mobilenet_v2 1x3x224x224 -o model.pt2
    python -m marver.export net:Net Nx3x32*hx32*w --dim N=1:64 --dim h=2:40 --dim w=2:40

MODULE:CALLABLE names a torch.nn.Module, or something that returns one when called
without arguments (a class, a factory). It is put into eval mode on the CPU. There is
one SHAPE for each argument of forward: sizes joined by `x`, then optionally a dtype
(`1x16xi64`; f32 otherwise). A size may be the name of a dynamic dim, or a multiple of
one; --dim gives its range (no `x` in the name). From Python, `torch.export.save` does as
well: this is a short way to it.

Exit code: 0, 1 if the model cannot be loaded or exported, 2 on bad usage.
"""

import argparse
import contextlib
import importlib
import io
import logging
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path

import torch

DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
    "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
    "i1": torch.bool,
}
SIZE = re.compile(r"(?:(\d+)\*)?([A-Za-z_]\w*)$")


class UsageError(Exception):
    """The command line is wrong."""


class ModelError(Exception):
    """The model cannot be loaded, exported or saved; raised from what was raised there."""


def place(error):
    """Where in the model's own source `error` was raised: ` (net.py:7)`, or nothing."""
    torch_folder = str(Path(torch.__file__).parent)
    own = [frame for frame in traceback.extract_tb(error.__traceback__)
           if not frame.filename.startswith((torch_folder, "<", sys.prefix, sys.base_prefix))
           and frame.filename != __file__]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def summary(error):
    """What `error` says, in one line, without torch's advice on debugging torch itself."""
    text = re.sub(r'For more information, run with TORCH_LOGS="[^"]*"\.?|\(Size-like symbols: [^)]*\)', "",
                  str(error) or type(error).__name__)
    text = re.split(r"\n(?:Caused by|For |If you suspect|The following call|The error above|User Stack)", text)[0]
    text = " ".join(text.split())
    return text if len(text) <= 500 else text[:500] + "..."


def load(name):
    """The module that `package.module:attribute` names or makes, ready to export."""
    path, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise UsageError(f"'{name}' is not MODULE:CALLABLE")
    sys.path.insert(0, os.getcwd())
    try:
        model = importlib.import_module(path)
        for part in attribute.split("."):
            model = getattr(model, part)
        if not isinstance(model, torch.nn.Module):
            model = model()
    except Exception as error:
        raise ModelError(f"cannot load '{name}'") from error
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"'{name}' gives a {type(model).__name__}, not a torch.nn.Module")
    return model.eval().cpu()


def parse_dims(texts):
    """`NAME=MIN:MAX` -> torch.export dims by name."""
    dims = {}
    for text in texts:
        match = re.fullmatch(r"([A-Za-z_]\w*)=(\d+):(\d+)", text)
        if not match or int(match[2]) > int(match[3]):
            raise UsageError(f"--dim '{text}' is not NAME=MIN:MAX")
        dims[match[1]] = torch.export.Dim(match[1], min=int(match[2]), max=int(match[3]))
    return dims


def parse_shape(text, dims):
    """A shape -> an example tensor and its dynamic dims."""
    sizes = text.split("x") if text else []
    dtype = DTYPES[sizes.pop()] if sizes and sizes[-1] in DTYPES else torch.float32
    example, dynamic = [], {}
    for axis, size in enumerate(sizes):
        if size.isdigit():
            example.append(int(size))
            continue
        match = SIZE.match(size)
        if not match:
            raise UsageError(f"'{size}' in shape '{text}' is neither a size nor a dim's name")
        if match[2] not in dims:
            raise UsageError(f"dim '{match[2]}' in shape '{text}' has no range: add --dim "
                             f"{match[2]}=MIN:MAX")
        dim, factor = dims[match[2]], int(match[1] or 1)
        # The tracer takes a size of 0 or 1 for a constant, and equal sizes of two
        # dims are what it tells apart by name only: any size of 2 or more will do.
        value = min(max(dim.min, 2) + 1 + list(dims).index(match[2]), dim.max)
        example.append(factor * value)
        dynamic[axis] = dim if factor == 1 else factor * dim
    try:
        if dtype.is_floating_point:
            tensor = torch.randn(example, generator=torch.Generator().manual_seed(0)).to(dtype)
        else:
            tensor = torch.zeros(example, dtype=dtype)  # valid as an index, whatever it indexes
    except (RuntimeError, OverflowError) as error:
        raise UsageError(f"shape '{text}' is too large: {summary(error)}") from error
    return tensor, dynamic


def export(model, shapes, dims=()):
    """The exported program of `model` at `shapes`, as the command line writes them."""
    dims = parse_dims(dims)
    parsed = [parse_shape(shape, dims) for shape in shapes]
    dynamic = tuple(axes or None for _, axes in parsed)
    try:
        with torch.no_grad():
            return torch.export.export(model, tuple(example for example, _ in parsed),
                                       dynamic_shapes=dynamic if any(dynamic) else None, strict=False)
    except Exception as error:
        raise ModelError("torch cannot export the model") from error


def save(program, path):
    """Writes the file, or nothing. Its name is also that of the archive's root, so the
    unfinished file is kept apart by its folder."""
    try:
        path = Path(path)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            torch.export.save(program, Path(folder) / path.name)
            os.replace(Path(folder) / path.name, path)
    except Exception as error:
        raise ModelError(f"cannot write '{path}'") from error


def main():
    parser = argparse.ArgumentParser(
        prog="python -m marver.export", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODULE:CALLABLE")
    parser.add_argument("shapes", metavar="SHAPE", nargs="*")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=MIN:MAX")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.pt2")
    parser.add_argument("--verbose", action="store_true", help="show Python's traceback of an error")
    arguments = parser.parse_args()
    if not arguments.output.endswith(".pt2"):
        parser.error(f"the output '{arguments.output}' must end in .pt2")
    said = sys.stderr if arguments.verbose else io.StringIO()
    if not arguments.verbose:  # what torch logs of an error is in the error
        logging.disable(logging.ERROR)
    try:
        model = load(arguments.model)
        with contextlib.redirect_stderr(said):  # where torch draws the graph of what failed
            program = export(model, arguments.shapes, arguments.dim)
        save(program, arguments.output)
    except UsageError as error:
        parser.error(str(error))
    except ModelError as error:
        if arguments.verbose:
            traceback.print_exception(error.__cause__)
        cause = f"{type(error.__cause__).__name__}: {summary(error.__cause__)}"
        print(f"{parser.prog}: error: {error}: {cause}{place(error.__cause__)}"
              + ("" if arguments.verbose else " [--verbose shows the traceback]"), file=sys.stderr)
        return 1
    if not arguments.verbose:
        sys.stderr.write(said.getvalue())  # warnings
    return 0


if __name__ == "__main__":
    sys.exit(main())
