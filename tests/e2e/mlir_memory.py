#!/usr/bin/env python3
"""The memory that a large .mlir file takes: at most three times the file.

usage: mlir_memory.py --build BUILD [--megabytes 150]

The weights are hexadecimal digits in the file, decoded once, to where they are used.
The time is printed only: it says nothing on a machine that does other things too.
"""

import argparse
import os
import sys
import time
from pathlib import Path


def write_model(path, megabytes):
    """A chain of linear layers whose weights take `megabytes` as text."""
    width = 1024
    layers = max(1, int(megabytes * 1e6 / (2 * 4 * width * width)))
    tensor, matrix = f"!torch.vtensor<[1,{width}],f32>", f"!torch.vtensor<[{width},{width}],f32>"
    with open(path, "w") as file:
        file.write(f"func.func @main(%v0: {tensor}) -> {tensor} {{\n")
        for i in range(layers):
            file.write(f"  %w{i} = torch.vtensor.literal(dense_resource<w{i}> : "
                       f"tensor<{width}x{width}xf32>) : {matrix}\n"
                       f"  %none{i} = torch.constant.none\n"
                       f"  %v{i + 1} = torch.aten.linear %v{i}, %w{i}, %none{i} : "
                       f"{tensor}, {matrix}, !torch.none -> {tensor}\n")
        file.write(f"  return %v{layers} : {tensor}\n}}\n"
                   "{-#\n  dialect_resources: {\n    builtin: {\n")
        for i in range(layers):
            # Finite numbers: the top byte of each element is 0x3C.
            row = os.urandom(width * 4)
            row = b"".join(row[k:k + 3] + b"\x3c" for k in range(0, len(row), 4)).hex().upper()
            file.write(f"      w{i}: \"0x04000000")
            for k in range(width):
                file.write(row[8 * k:] + row[:8 * k])
            file.write("\",\n" if i + 1 < layers else "\"\n")
        file.write("    }\n  }\n#-}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--megabytes", type=int, default=150)
    arguments = parser.parse_args()
    work = arguments.build / "tests" / "e2e" / "mlir-memory"
    work.mkdir(parents=True, exist_ok=True)
    model, module = work / "model.mlir", work / "model.mv"
    write_model(model, arguments.megabytes)
    size = model.stat().st_size
    compiler = str(arguments.build / "bin" / "marver-compile")
    begin = time.time()
    child = os.posix_spawn(compiler, [compiler, str(model), "-o", str(module)], os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds, peak = time.time() - begin, usage.ru_maxrss * 1024
    model.unlink()
    module.unlink(missing_ok=True)
    print(f"{size / 1e6:.0f} MB: {seconds:.2f} s, {size / 1e6 / seconds:.0f} MB/s, "
          f"peak {peak / 1e6:.0f} MB = {peak / size:.2f} times the file")
    if status:
        print(f"marver-compile: wait status {status}")
        return 1
    return 0 if peak < 3 * size else 1


if __name__ == "__main__":
    sys.exit(main())
