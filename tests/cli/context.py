"""What all checks of command lines share: the tools, a compiled model, a folder to work in."""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from marver import Failure, Tools  # noqa: E402

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
