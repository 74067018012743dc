"""The source of a small reference and of its port, each of which imports its framework alone."""

TORCH = """
import torch
from torch import nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.drop = nn.Dropout2d(0.5)
        self.mix = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GELU())
        self.shared = nn.Linear(4, 4)
        self.names = nn.Embedding(5, 4)
        self.aux = nn.Conv2d(4, 2, 1)

    def forward(self, x, label):
        y = self.block(x)
        self.aux(y)
        y = y + self.drop(self.mix(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.shared(self.shared(y.mean((2, 3))) + self.names(label))
        return {"map": y, "class": z, "best": z.argmax(1)}


def loss(outputs, label):
    return F.cross_entropy(outputs["class"], label) + outputs["map"].square().mean()
"""

PADDLE = '''
import paddle
from paddle import nn
import paddle.nn.functional as F


class Block(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(4)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.drop = nn.Dropout2D(0.5)
        self.mix = nn.Sequential(nn.Conv2D(4, 4, 1), nn.GELU())
        self.shared = nn.Linear(4, 4)
        self.names = nn.Embedding(5, 4)
        self.aux = nn.Conv2D(4, 2, 1)

    def forward(self, x, label):
        y = self.block(x)
        self.aux(y)
        y = y + self.drop(self.mix(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.shared(self.shared(y.mean([2, 3])) + self.names(label))
        return {"map": y, "class": z, "best": z.argmax(1)}


class Faulty(Net):
    """Another epsilon in the block and a residual forgotten."""

    def __init__(self):
        super().__init__()
        self.block.bn._epsilon = 1e-3

    def forward(self, x, label):
        y = self.block(x)
        self.aux(y)
        y = self.drop(self.mix(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.shared(self.shared(y.mean([2, 3])) + self.names(label))
        return {"map": y, "class": z, "best": z.argmax(1)}


class WithoutAux(Net):
    """The head whose result nobody uses is registered and never called."""

    def forward(self, x, label):
        y = self.block(x)
        y = y + self.drop(self.mix(y))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.shared(self.shared(y.mean([2, 3])) + self.names(label))
        return {"map": y, "class": z, "best": z.argmax(1)}


class Fewer(Net):
    """Activations and the second convolution are functions; `off` is added before the map."""

    off = 0.0

    def __init__(self):
        super().__init__()
        del self.block.act
        self.block.act = F.relu

    def forward(self, x, label):
        y = self.block(x)
        self.aux(y)
        mixed = F.gelu(F.conv2d(y, self.mix[0].weight, self.mix[0].bias))
        y = y + self.drop(mixed) + self.off
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        z = self.shared(self.shared(y.mean([2, 3])) + self.names(label))
        return {"map": y, "class": z, "best": z.argmax(1)}


def loss(outputs, label):
    return F.cross_entropy(outputs["class"], label) + outputs["map"].square().mean()
'''
