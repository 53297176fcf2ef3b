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
one; --dim gives its range (no `x` in the name). From Python, `torch.export.save` does as well: this is a
short way to it.
"""

import argparse
import importlib
import os
import re
import sys

import torch

DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64,
    "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
    "i1": torch.bool,
}
SIZE = re.compile(r"(?:(\d+)\*)?([A-Za-z_]\w*)$")


class UsageError(Exception):
    pass


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
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot load '{name}': {error}") from error
    if not isinstance(model, torch.nn.Module):
        model = model()
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
    if dtype.is_floating_point:
        tensor = torch.randn(example, generator=torch.Generator().manual_seed(0)).to(dtype)
    else:
        tensor = torch.zeros(example, dtype=dtype)  # valid as an index, whatever it indexes
    return tensor, dynamic


def export(model, shapes, dims=()):
    """The exported program of `model` at `shapes`, as the command line writes them."""
    dims = parse_dims(dims)
    parsed = [parse_shape(shape, dims) for shape in shapes]
    dynamic = tuple(axes or None for _, axes in parsed)
    with torch.no_grad():
        return torch.export.export(model, tuple(example for example, _ in parsed),
                                   dynamic_shapes=dynamic if any(dynamic) else None, strict=False)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m marver.export", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODULE:CALLABLE")
    parser.add_argument("shapes", metavar="SHAPE", nargs="*")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=MIN:MAX")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.pt2")
    arguments = parser.parse_args()
    if not arguments.output.endswith(".pt2"):
        parser.error(f"the output '{arguments.output}' must end in .pt2")
    try:
        program = export(load(arguments.model), arguments.shapes, arguments.dim)
    except UsageError as error:
        parser.error(str(error))
    torch.export.save(program, arguments.output)


if __name__ == "__main__":
    main()
