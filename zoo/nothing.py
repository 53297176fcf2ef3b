"""NothingModel: one fully connected layer. What the runtime costs, and little else."""

import torch
from torch import nn

from exporting import Model, noise, seed_weights


class Nothing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(128, 64)

    def forward(self, x):
        return self.fc(x)


def make(name):
    torch.manual_seed(0)
    return Model(
        seed_weights(Nothing()), (noise(1, 128),), ["x"], ["y"],
        dynamic=({0: torch.export.Dim("batch", min=1, max=1024)},),
        more_inputs=((noise(7, 128, seed=1),), (noise(1024, 128, seed=2),)))
