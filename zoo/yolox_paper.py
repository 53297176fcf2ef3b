"""YOLOX (object detection), written from the paper: CSP backbone, path aggregation,
decoupled heads, with the decoding of boxes in the graph."""

import torch
import torch.nn.functional as F
from torch import nn

from exporting import Model, noise, seed_weights


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups,
                              bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class Separable(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.d = Conv(inputs, inputs, kernel, stride, groups=inputs)
        self.p = Conv(inputs, outputs, 1)

    def forward(self, x):
        return self.p(self.d(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, shortcut, block):
        super().__init__()
        self.a = Conv(inputs, outputs, 1)
        self.b = block(outputs, outputs, 3)
        self.add = shortcut and inputs == outputs

    def forward(self, x):
        y = self.b(self.a(x))
        return x + y if self.add else y


class CrossStage(nn.Module):
    def __init__(self, inputs, outputs, depth, shortcut, block):
        super().__init__()
        half = outputs // 2
        self.a, self.b, self.o = Conv(inputs, half, 1), Conv(inputs, half, 1), Conv(2 * half, outputs, 1)
        self.m = nn.Sequential(*[Bottleneck(half, half, shortcut, block) for _ in range(depth)])

    def forward(self, x):
        return self.o(torch.cat((self.m(self.a(x)), self.b(x)), 1))


class PyramidPooling(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        half = inputs // 2
        self.a, self.o = Conv(inputs, half, 1), Conv(4 * half, outputs, 1)

    def forward(self, x):
        x = self.a(x)
        return self.o(torch.cat([x] + [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)], 1))


class Focus(nn.Module):
    """Moves each 2x2 square of pixels into channels."""

    def __init__(self, outputs):
        super().__init__()
        self.c = Conv(12, outputs, 3)

    def forward(self, x):
        return self.c(torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2],
                                 x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1))


class YOLOX(nn.Module):
    def __init__(self, depth, width, depthwise=False, classes=80):
        super().__init__()
        block = Separable if depthwise else Conv
        b, n = int(width * 64), max(round(depth * 3), 1)
        self.stem = Focus(b)
        self.d2 = nn.Sequential(block(b, 2 * b, 3, 2), CrossStage(2 * b, 2 * b, n, True, block))
        self.d3 = nn.Sequential(block(2 * b, 4 * b, 3, 2), CrossStage(4 * b, 4 * b, 3 * n, True, block))
        self.d4 = nn.Sequential(block(4 * b, 8 * b, 3, 2), CrossStage(8 * b, 8 * b, 3 * n, True, block))
        self.d5 = nn.Sequential(block(8 * b, 16 * b, 3, 2), PyramidPooling(16 * b, 16 * b),
                                CrossStage(16 * b, 16 * b, n, False, block))
        self.lat5, self.p4 = Conv(16 * b, 8 * b, 1), CrossStage(16 * b, 8 * b, n, False, block)
        self.lat4, self.p3 = Conv(8 * b, 4 * b, 1), CrossStage(8 * b, 4 * b, n, False, block)
        self.down3, self.n3 = block(4 * b, 4 * b, 3, 2), CrossStage(8 * b, 8 * b, n, False, block)
        self.down4, self.n4 = block(8 * b, 8 * b, 3, 2), CrossStage(16 * b, 16 * b, n, False, block)
        h = int(256 * width)
        self.stems = nn.ModuleList([Conv(c, h, 1) for c in (4 * b, 8 * b, 16 * b)])
        self.cls_t = nn.ModuleList([nn.Sequential(block(h, h, 3), block(h, h, 3)) for _ in range(3)])
        self.reg_t = nn.ModuleList([nn.Sequential(block(h, h, 3), block(h, h, 3)) for _ in range(3)])
        self.cls_p = nn.ModuleList([nn.Conv2d(h, classes, 1) for _ in range(3)])
        self.reg_p = nn.ModuleList([nn.Conv2d(h, 4, 1) for _ in range(3)])
        self.obj_p = nn.ModuleList([nn.Conv2d(h, 1, 1) for _ in range(3)])

    def features(self, x):
        x3 = self.d3(self.d2(self.stem(x)))
        x4 = self.d4(x3)
        x5 = self.d5(x4)

        def up(t):
            return F.interpolate(t, scale_factor=2.0, mode="nearest")

        f5 = self.lat5(x5)
        f4 = self.lat4(self.p4(torch.cat((up(f5), x4), 1)))
        o3 = self.p3(torch.cat((up(f4), x3), 1))
        o4 = self.n3(torch.cat((self.down3(o3), f4), 1))
        o5 = self.n4(torch.cat((self.down4(o4), f5), 1))
        return o3, o4, o5

    def forward(self, x):
        outputs = []
        for i, (f, stride) in enumerate(zip(self.features(x), (8, 16, 32))):
            f = self.stems[i](f)
            r = self.reg_t[i](f)
            p = torch.cat((self.reg_p[i](r), self.obj_p[i](r).sigmoid(),
                           self.cls_p[i](self.cls_t[i](f)).sigmoid()), 1)
            h, w = p.shape[-2:]
            p = p.flatten(2).transpose(1, 2)
            y = torch.arange(h, dtype=p.dtype)[:, None].expand(h, w)
            x = torch.arange(w, dtype=p.dtype)[None].expand(h, w)
            grid = torch.stack((x, y), 2).reshape(1, h * w, 2)
            outputs.append(torch.cat(((p[..., :2] + grid) * stride, p[..., 2:4].exp() * stride,
                                      p[..., 4:]), -1))
        return torch.cat(outputs, 1)


def seed(module, predictions, size, number=0):
    """Seeded weights with the batch norm statistics of seeded noise, as training
    would leave them, a little shaken; and small prediction layers."""
    seed_weights(module, seed=number)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.train()
        module(noise(4, 3, size, size, seed=5) * torch.tensor([0.5, 0.8, 1.0, 1.3]).view(4, 1, 1, 1))
        for norm, momentum in zip(norms, momenta):
            norm.eval()
            norm.momentum = momentum
            norm.running_var.clamp_(min=0.3 * float(norm.running_var.median()))
            shake = torch.randn(norm.running_mean.shape, generator=g)
            norm.running_mean.add_(0.05 * norm.running_var.sqrt() * shake)
            norm.running_var.mul_(torch.empty(norm.running_var.shape).uniform_(0.8, 1.25, generator=g))
        for name, parameter in module.named_parameters():
            if name.endswith("weight") and any(f".{p}" in f".{name}" for p in predictions):
                parameter.mul_(0.25)
    return module


# Boxes reach hundreds of pixels and scores at most one: one tolerance for both
# would let any score pass.
GROUPS = {"boxes": [0, 4], "scores": [4, 85]}


def make(name):
    torch.manual_seed(0)
    depth, width, depthwise, size, number = {
        "yolox_s": (0.33, 0.5, False, 640, 0),
        "yolox_nano": (0.33, 0.25, True, 416, 0),
        "yolox_tiny": (0.33, 0.375, False, 416, 8),
    }[name]
    module = seed(YOLOX(depth, width, depthwise), ("cls_p", "reg_p", "obj_p"), size, number)
    if name == "yolox_tiny":
        return Model(module, (noise(1, 3, size, size, seed=9),), ["images"], ["detections"],
                     groups=GROUPS)
    h32, w32 = (torch.export.Dim(n, min=2, max=40) for n in ("h32", "w32"))
    other = (416, 352) if name == "yolox_s" else (320, 256)
    return Model(module, (noise(1, 3, size, size),), ["images"], ["detections"], groups=GROUPS,
                 dynamic=({2: 32 * h32, 3: 32 * w32},),
                 more_inputs=((noise(1, 3, *other, seed=1),), (noise(1, 3, 64, 64, seed=2),),
                              (noise(1, 3, 1280, 1280, seed=3),)))
