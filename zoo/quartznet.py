"""QuartzNet (speech to characters): 1-D depthwise separable convolutions, written
from the paper. 15x5 and, for the tests, 5x5."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from exporting import Model, noise, seed_weights


class Separable(nn.Module):
    """Depthwise convolution over time, pointwise over channels, batch norm, ReLU."""

    def __init__(self, inputs, outputs, taps, stride=1, dilation=1, relu=True):
        super().__init__()
        self.dw = nn.Conv1d(inputs, inputs, taps, stride=stride, dilation=dilation,
                            padding=dilation * (taps - 1) // 2, groups=inputs, bias=False)
        self.pw = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm1d(outputs, eps=1e-3)
        self.relu = relu

    def forward(self, x):
        x = self.bn(self.pw(self.dw(x)))
        return F.relu(x) if self.relu else x


class Block(nn.Module):
    def __init__(self, inputs, outputs, taps, repeat=5):
        super().__init__()
        self.mods = nn.Sequential(*[
            Separable(inputs if i == 0 else outputs, outputs, taps, relu=i < repeat - 1)
            for i in range(repeat)])
        self.res = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.res_bn = nn.BatchNorm1d(outputs, eps=1e-3)

    def forward(self, x):
        return F.relu(self.mods(x) + self.res_bn(self.res(x)))


class QuartzNet(nn.Module):
    def __init__(self, features=128, labels=29, repeat=3):
        super().__init__()
        self.c1 = Separable(features, 256, 33, stride=2)
        blocks, channels = [], 256
        for taps, outputs in ((33, 256), (39, 256), (51, 512), (63, 512), (75, 512)):
            for _ in range(repeat):
                blocks.append(Block(channels, outputs, taps))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.c2 = Separable(channels, 512, 87, dilation=2)
        self.c3 = nn.Conv1d(512, 1024, 1, bias=False)
        self.bn3 = nn.BatchNorm1d(1024, eps=1e-3)
        self.c4 = nn.Conv1d(1024, labels, 1)

    def forward(self, x):
        x = self.c2(self.blocks(self.c1(x.transpose(1, 2))))
        x = self.c4(F.relu(self.bn3(self.c3(x))))
        return F.log_softmax(x.transpose(1, 2), dim=-1)


def make(name):
    torch.manual_seed(0)
    small = name == "quartznet5x5"
    module = seed_weights(QuartzNet(repeat=1 if small else 3), seed=5 if small else 0)
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            # No ReLU between depthwise and pointwise, nor after the sum's halves.
            if (parameter_name.endswith(("dw.weight", "res.weight"))
                    or parameter_name.startswith("blocks")
                    and parameter_name.endswith("mods.4.pw.weight")):
                parameter.mul_(math.sqrt(0.5))
    dynamic = ({1: torch.export.Dim("time", min=16, max=4096)},)
    if small:
        return Model(module, (noise(1, 77, 128, seed=6),), ["features"], ["log_probs"],
                     dynamic=dynamic, more_inputs=((noise(1, 203, 128, seed=7),),))
    return Model(module, (noise(1, 300, 128),), ["features"], ["log_probs"], dynamic=dynamic,
                 more_inputs=((noise(1, 501, 128, seed=1),), (noise(1, 64, 128, seed=2),),
                              (noise(1, 16, 128, seed=3),), (noise(1, 4096, 128, seed=4),)))
