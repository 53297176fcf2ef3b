#!/usr/bin/env python3
"""Writes the .pt2 files of this folder. Needs PyTorch 2.9 or newer.

usage: make.py FOLDER

The files are kept in the repository, so that the tests need no PyTorch. What they
hold is what torch.export.save writes, but for the paths of source files, which
become those of a model called model.py.
"""

import re
import sys
import zipfile
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

FOLDER = Path(sys.argv[1])


def save(name, model, inputs, dynamic=None, kwargs=None, decompose=False):
    program = torch.export.export(
        model, inputs, kwargs, dynamic_shapes=dynamic, strict=False
    )
    if decompose:
        program = program.run_decompositions()
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            trace = node.meta.get("stack_trace")
            if trace:
                trace = re.sub(r'File "[^"]*/torch/', 'File "/usr/lib/torch/', trace)
                trace = trace.replace(__file__, "/home/user/model.py")
                node.meta["stack_trace"] = trace
    torch.export.save(program, FOLDER / f"{name}.pt2")


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, image):
        return torch.relu(self.norm(self.conv(image))).mean((2, 3))


class Dynamic(nn.Module):
    def forward(self, tokens, mask):
        flat = tokens.reshape(tokens.shape[0], -1)
        steps = torch.arange(tokens.shape[1])
        return flat, tokens[:, 1:] + mask[:, :-1], steps, tokens.shape[1] * 2 + 1


class InPlace(nn.Module):
    def forward(self, x):
        y = x + 1
        y[:, 1] = x[:, 0]
        y.relu_()
        return y.t()


class WritesInput(nn.Module):
    def forward(self, x):
        x.add_(1)
        return x * 2


class State(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(2))

    def forward(self, x):
        self.count.add_(x)
        return self.count + x


class Training(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(x)


class Unsupported(nn.Module):
    def forward(self, x):
        a = torch.fft.rfft(x)
        b = torch.linalg.inv(x)
        return a, b


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        weight = torch.arange(70.0).reshape(7, 10)
        self.first = nn.Parameter(weight.clone())
        self.tied = self.first
        self.transposed = nn.Parameter(weight.clone().t())
        self.sliced = nn.Parameter(weight.clone()[:, 2:4])
        self.unused = nn.Parameter(torch.zeros(99))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("step", torch.tensor([3, 4]), persistent=False)

    def forward(self, x):
        y = x @ self.first + (x @ self.tied).sum()
        z = (x @ self.transposed.t()).sum() + self.sliced.sum()
        return y + z, torch.where(self.flags, self.step, torch.tensor([7, 8]))


class Signature(nn.Module):
    def forward(self, x, unused, options, scale: int, *, extra=None):
        y = x * scale + options["b"].to(torch.float32) + extra
        return {"y": y, "none": None, "pair": (options["a"], 5, x)}


class Branch(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class Region(nn.Module):
    def forward(self, x):
        y = x + 1
        with torch.no_grad():
            z = y * 2
            w = z - x
        return z + w


class Guarded(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 3).sum(1)


class Checked(nn.Module):
    def forward(self, x, count):
        n = count.item()
        torch._check(n >= 2)
        torch._check(n <= 10)
        return x.sum() * torch.ones(n)


def main():
    x = torch.ones
    save("convolution", Convolution().eval(), (x(1, 3, 8, 8),))
    save("decomposed", Convolution().eval(), (x(1, 3, 8, 8),), decompose=True)
    batch, length = Dim("batch", min=1, max=8), Dim("length", min=3, max=20)
    save(
        "dynamic",
        Dynamic(),
        (x(2, 8, 4), x(2, 8, 4)),
        {"tokens": {0: batch, 1: 2 * length}, "mask": {0: batch, 1: 2 * length}},
    )
    save("in_place", InPlace(), (x(3, 4),))
    save("writes_input", WritesInput(), (x(3),))
    save("state", State(), (x(2),), decompose=True)
    save("training", Training().train(), (x(2, 4),))
    save("unsupported", Unsupported(), (x(4, 4),))
    save("weights", Weights(), (x(2, 7),))
    options = {"b": torch.ones(2, dtype=torch.uint8), "a": x(1)}
    save("signature", Signature(), (x(2), x(5), options, 3), kwargs={"extra": x(2)})
    save("branch", Branch(), (x(3),))
    save("region", Region(), (x(3),))
    save("guarded", Guarded(), (x(9),), {"x": {0: Dim.AUTO}})
    save("checked", Checked(), (x(3), torch.tensor(4)))

    # The layouts of earlier versions, as far as they are looked at.
    with zipfile.ZipFile(FOLDER / "old_2_7.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", "")
        archive.writestr("version", "8.8")
    with zipfile.ZipFile(FOLDER / "old_2_8.pt2", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/models/model.json", "{}")
        archive.writestr("m/data/weights/model.pt", "")


main()
