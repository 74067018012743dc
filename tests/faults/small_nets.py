"""Small nets with attention, in-place and functional code, recurrent and shared layers."""

import math
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import torch
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn

from tests.faults.core import NET, Subject
from tests.faults.first import small_pair
from tests.faults.students import make_pair


class TorchBlock(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = tnn.LayerNorm(8)
        self.q, self.k, self.v = tnn.Linear(8, 8), tnn.Linear(8, 8), tnn.Linear(8, 8)
        self.proj = tnn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        y = self.norm(x)
        q, k, v = self.q(y), self.k(y), self.v(y)
        attention = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(8), -1)
        return x + self.proj(attention @ v)


class TorchAttention(tnn.Module):
    """Tokens and images: embedding, one block called twice, functional MLP, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = tnn.Embedding(11, 8)
        self.position = tnn.Parameter(torch.randn(1, 6, 8) * 0.1)
        self.block = TorchBlock()
        self.fc1, self.fc2 = tnn.Linear(8, 16), tnn.Linear(16, 8)
        self.norm = tnn.LayerNorm(8, eps=1e-6)
        self.head = tnn.Linear(8, 5)

    def forward(self, tokens: Any) -> Any:
        x = self.embed(tokens) + self.position
        x = self.block(self.block(x))
        x = x + self.fc2(TF.gelu(self.fc1(x)))
        x = self.norm(x)
        return {"logits": self.head(x), "tokens": (x, x.mean(1))}


class Block(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.proj = nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        return block(self, x)


def block(
    layer: Any,
    x: Any,
    heads: Any = lambda q, k, v: (q, k, v),
    axis: int = -1,
    scale: float = 1 / math.sqrt(8),
    end: Any = lambda x, y: x + y,
) -> Any:
    y = layer.norm(x)
    q, k, v = heads(layer.q(y), layer.k(y), layer.v(y))
    attention = F.softmax(paddle.matmul(q, k, transpose_y=True) * scale, axis=axis)
    return end(x, layer.proj(paddle.matmul(attention, v)))


class Attention(nn.Layer):
    def __init__(self, second: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = self.create_parameter([1, 6, 8])
        self.block = Block()
        if second:
            self.block2 = Block()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 8)
        self.norm = nn.LayerNorm(8, epsilon=1e-6)
        self.head = nn.Linear(8, 5)

    def forward(self, tokens: Any) -> Any:
        return attention(self, tokens)


def attention(
    net: Any,
    tokens: Any,
    act: Any = F.gelu,
    embed: Any = lambda net, t: net.embed(t) + net.position,
    mean: Any = lambda x: x.mean(1),
    blocks: Any = lambda net, x: net.block(net.block(x)),
    outputs: Any = lambda logits, x, m: {"logits": logits, "tokens": (x, m)},
) -> Any:
    x = blocks(net, embed(net, tokens))
    x = net.norm(x + net.fc2(act(net.fc1(x))))
    return outputs(net.head(x), x, mean(x))


class TorchZoo(tnn.Module):
    """Normalisations, slopes, transposed convolution, pixel shuffle, in-place code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = tnn.Conv2d(4, 8, 3, padding=1, groups=2)
        self.group = tnn.GroupNorm(4, 8)
        self.prelu = tnn.PReLU(8)
        self.instance = tnn.InstanceNorm2d(8, affine=True)
        self.up = tnn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1)
        self.leaky = tnn.LeakyReLU(0.2)
        self.shuffle = tnn.PixelShuffle(2)
        self.upsample = tnn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.soft = tnn.Softmax(dim=1)
        with torch.no_grad():
            self.prelu.weight.uniform_(0.1, 0.4)
            self.instance.weight.uniform_(0.5, 1.5)

    def forward(self, x: Any) -> Any:
        y = self.instance(self.prelu(self.group(self.conv(x))))
        y = self.leaky(self.up(y))
        y[:, ::2] *= 0.5
        y = TF.normalize(y, dim=1)
        y = TF.pad(y, [1, 1, 1, 1], mode="reflect")
        y = TF.avg_pool2d(y, 3, 1, padding=1) + TF.layer_norm(y, y.shape[3:])
        return self.soft(self.shuffle(y)), self.upsample(y[:, :2])


class Zoo(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(4, 8, 3, padding=1, groups=2)
        self.group = nn.GroupNorm(4, 8)
        self.prelu = nn.PReLU(8)
        self.instance = nn.InstanceNorm2D(8)
        self.up = nn.Conv2DTranspose(8, 8, 3, stride=2, padding=1, output_padding=1)
        self.leaky = nn.LeakyReLU(0.2)
        self.shuffle = nn.PixelShuffle(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.soft = nn.Softmax(axis=1)

    def forward(self, x: Any) -> Any:
        return zoo(self, x)


def zoo(
    net: Any,
    x: Any,
    factor: float = 0.5,
    axis: int = 1,
    mode: str = "reflect",
    exclusive: bool = False,
    epsilon: float = 1e-5,
) -> Any:
    y = net.instance(net.prelu(net.group(net.conv(x))))
    y = net.leaky(net.up(y))
    y[:, ::2] = y[:, ::2] * factor
    y = F.normalize(y, axis=axis)
    y = F.pad(y, [1, 1, 1, 1], mode=mode)
    pooled = F.avg_pool2d(y, 3, 1, padding=1, exclusive=exclusive)
    y = pooled + F.layer_norm(y, y.shape[3:], epsilon=epsilon)
    return net.soft(net.shuffle(y)), net.upsample(y[:, :2])


class TorchRecurrent(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = tnn.LSTM(4, 6, batch_first=True)
        self.fc = tnn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.lstm(x)[0][:, -1])


class Recurrent(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.lstm(x)[0][:, -1])


def _subject(reference: Any, port: Any, inputs: Any) -> Any:
    def make() -> Subject:
        torch.manual_seed(4)
        paddle.seed(4)
        s = Subject(*make_pair(reference(), port()), inputs=inputs())
        s.stages = tuple(NET.split())
        return s

    return make


attention_subject = _subject(
    TorchAttention, Attention, lambda: [np.random.default_rng(5).integers(0, 11, (3, 6))]
)
zoo_subject = _subject(
    TorchZoo, Zoo, lambda: [np.random.default_rng(6).standard_normal((2, 4, 7, 6))]
)
recurrent_subject = _subject(
    TorchRecurrent, Recurrent, lambda: [np.random.default_rng(7).standard_normal((3, 5, 4))]
)


def small_subject() -> Subject:
    reference, port, inputs = small_pair()
    s = Subject(reference, port, inputs=inputs)
    s.stages = tuple(NET.split())
    return s
