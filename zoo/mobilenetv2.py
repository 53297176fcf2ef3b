"""MobileNetV2 of the transformers package: default configuration, its classifier,
and a narrower one at another size and batch."""

import math

import torch
from torch import nn
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2Model,
)

from exporting import Model, noise, seed_weights


class Features(nn.Module):
    """Returns a plain tuple instead of the package's output class."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        outputs = self.model(pixel_values)
        return outputs.last_hidden_state, outputs.pooler_output


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values).logits


def seed(model, number):
    seed_weights(model, seed=number)
    with torch.no_grad():
        # A linear bottleneck has no ReLU after it: with unit gain the residual
        # stream stays of order one.
        for name, parameter in model.named_parameters():
            if "reduce_1x1.convolution.weight" in name:
                parameter.mul_(math.sqrt(0.5))
            if "conv_3x3.convolution.weight" in name:
                parameter.mul_(math.sqrt(0.75))
    return model


def make(name):
    torch.manual_seed(0)
    if name == "mobilenetv2_075_192":
        config = MobileNetV2Config(depth_multiplier=0.75, image_size=192)
        return Model(Features(seed(MobileNetV2Model(config), 3)).eval(),
                     (noise(3, 3, 192, 192, seed=4),), ["pixel_values"],
                     ["last_hidden_state", "pooler_output"])
    if name == "mobilenetv2_cls":
        config = MobileNetV2Config(num_labels=1001)
        module = Logits(seed(MobileNetV2ForImageClassification(config), 0))
        outputs = ["logits"]
    else:
        module = Features(seed(MobileNetV2Model(MobileNetV2Config()), 0))
        outputs = ["last_hidden_state", "pooler_output"]
    return Model(module.eval(), (noise(1, 3, 224, 224),), ["pixel_values"], outputs,
                 dynamic=({0: torch.export.Dim("batch", min=1, max=64)},),
                 more_inputs=((noise(3, 3, 224, 224, seed=1),),
                              (noise(64, 3, 224, 224, seed=2),)))
