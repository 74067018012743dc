"""A small net with what names of nodes tell: containers, a layer called twice, two outputs."""

import paddle.nn.functional as F
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn


class TorchBlock(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv = tnn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = tnn.BatchNorm2d(4)
        self.relu = tnn.ReLU()

    def forward(self, x):
        return self.relu(self.relu(self.bn(self.conv(x))) + x)


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        inner = tnn.Sequential(tnn.BatchNorm2d(4), tnn.ReLU())
        self.stem = tnn.Sequential(tnn.Conv2d(3, 4, 3), inner)
        self.stages = tnn.ModuleList([TorchBlock(), TorchBlock()])
        self.pool = tnn.AdaptiveAvgPool2d(1)
        self.head = tnn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        larger = TF.interpolate(x, scale_factor=2, mode="nearest")
        return self.head(self.pool(x).flatten(1)), larger


class Block(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(4, 4, 3, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(4)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.relu(self.bn(self.conv(x))) + x)


class Port(nn.Layer):
    def __init__(self):
        super().__init__()
        inner = nn.Sequential(nn.BatchNorm2D(4), nn.ReLU())
        self.stem = nn.Sequential(nn.Conv2D(3, 4, 3), inner)
        self.stages = nn.LayerList([Block(), Block()])
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        larger = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.head(self.pool(x).flatten(1)), larger
