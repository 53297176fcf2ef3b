#!/usr/bin/env python3
# Part of marver, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes TorchSchemas.inc: the argument names of the ATen operators that the
table in compiler/import/torch has. torch-mlir prints arguments by position,
the table takes them by name. Needs PyTorch; run it after adding an operator.
"""

import pathlib
import re

import torch

here = pathlib.Path(__file__).resolve().parent
names = set()
for source in (here.parent / "torch").glob("*.cpp"):
    names |= set(
        re.findall(r'\{"(aten\.\w+\.\w+)",', source.read_text(encoding="utf-8"))
    )
schemas = {}
for schema in torch._C._jit_get_all_schemas():
    if schema.name.startswith("aten::"):
        overload = schema.overload_name or "default"
        schemas[f"aten.{schema.name[6:]}.{overload}"] = schema
with open(here / "TorchSchemas.inc", "w", encoding="utf-8") as out:
    out.write("// Written by make_schemas.py from PyTorch's schemas.\n")
    for name in sorted(names):
        if name in schemas:
            arguments = " ".join(a.name for a in schemas[name].arguments)
            out.write(f'SCHEMA("{name}", "{arguments}")\n')
