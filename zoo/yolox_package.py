"""YOLOX as the pixeltable-yolox package writes it, unmodified: its exports have
other operators than those of yolox_paper.py, for the same network."""

import importlib.abc
import importlib.machinery
import sys
import types
from unittest.mock import MagicMock

import torch
from torch import nn

import environment
from exporting import Model, noise
from yolox_paper import GROUPS, seed


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands for the packages that only the package's training code needs."""

    names = ("torchvision", "cv2", "pycocotools", "tabulate", "thop", "tensorboard", "loguru",
             "psutil", "PIL")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def attribute(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return MagicMock()

        module.__getattr__ = attribute
        return module

    def exec_module(self, module):
        pass


class Detector(nn.Module):
    def __init__(self, depth, width, depthwise):
        super().__init__()
        sys.meta_path.append(Absent())
        sys.path.insert(0, str(environment.unpacked_wheel("pixeltable-yolox==0.4.3")))
        # Its class is not named the same in every release.
        import yolox.models.yolo_pafpn as pafpn
        from yolox.models.yolo_head import YoloxHead

        (pyramid,) = [c for n, c in vars(pafpn).items()
                      if isinstance(c, type) and "pafpn" in n.lower()]
        channels = [256, 512, 1024]
        self.backbone = pyramid(depth, width, in_channels=channels, depthwise=depthwise, act="silu")
        self.head = YoloxHead(80, width, in_channels=channels, depthwise=depthwise, act="silu")

    def forward(self, images):
        return self.head(self.backbone(images))


def make(name):
    width, depthwise, size = {"yolox_s_pkg": (0.5, False, 640),
                              "yolox_nano_pkg": (0.25, True, 416)}[name]
    torch.manual_seed(0)
    module = Detector(0.33, width, depthwise)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = 1e-3, 0.03
    seed(module.eval(), ("cls_preds", "reg_preds", "obj_preds"), size)
    return Model(module, (noise(1, 3, size, size),), ["images"], ["detections"], groups=GROUPS)
