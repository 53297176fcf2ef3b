# Part of marver, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes w = [1, 2, 3] (f32), b = [7, 7, 7] (i16) and q as FOLDER/p.irpa,
p.safetensors and p.gguf, and damaged files beside them."""

import json
import pathlib
import struct
import sys

folder = pathlib.Path(sys.argv[1])
w = struct.pack("<3f", 1, 2, 3)
b = struct.pack("<3h", 7, 7, 7)


def irpa(data_offset=0):
    # b is one element that is repeated.
    names = b"wb"
    entry = struct.pack("<QIQQQQQQQQ", 76, 2, 0, 0, 1, 0, 0, 64, data_offset, len(w))
    splat = struct.pack("<QIQQQQQQQ", 85, 1, 0, 1, 1, 0, 0, 0, 6)
    splat += b[:2].ljust(16, b"\0") + bytes([2])
    entries = entry.ljust(80, b"\0") + splat
    header = struct.pack("<4sHHQQQQ", b"IRPA", 0, 0, 88, 0, 0, 2)
    at = 96
    header += struct.pack("<QQ", at, len(entries))
    header += struct.pack("<QQ", at + len(entries), len(names))
    header += struct.pack("<QQ", 320, len(w))
    return (header.ljust(at, b"\0") + entries + names).ljust(320, b"\0") + w


def safetensors(**changes):
    entries = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": "I16", "shape": [3], "data_offsets": [12, 18]},
        **changes,
    }
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + w + b


def gguf(offset=32):
    def string(text):
        return struct.pack("<Q", len(text)) + text

    pairs = string(b"general.alignment") + struct.pack("<II", 4, 32)
    pairs += string(b"list") + struct.pack("<IIQ", 9, 8, 2) + string(b"x") + string(b"")
    tensors = string(b"w") + struct.pack("<IQIQ", 1, 3, 0, 0)
    tensors += string(b"b") + struct.pack("<IQIQ", 1, 3, 25, offset)
    tensors += string(b"q") + struct.pack("<IQIQ", 1, 32, 8, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 3, 2) + pairs + tensors
    head += bytes(-len(head) % 32)
    return head + w.ljust(32, b"\0") + b


for name, data in {
    "p.irpa": irpa(),
    "p.safetensors": safetensors(),
    "p.gguf": gguf(),
    "far.irpa": irpa(data_offset=1),
    "far.safetensors": safetensors(b={"dtype": "I16", "data_offsets": [12, 99]}),
    "far.gguf": gguf(offset=64),
    "type.safetensors": safetensors(w={"dtype": "F16", "data_offsets": [0, 12]}),
    "size.safetensors": safetensors(w={"dtype": "F32", "data_offsets": [0, 8]}),
    "key.safetensors": safetensors(b={}),
    "deep.safetensors": struct.pack("<Q", 100000) + b"{" + b'"a":[' * 19999 + b"    ",
    "other.bin": b"nothing of this",
}.items():
    (folder / name).write_bytes(data)
