"""Mistakes of widely taught course code, in ports of a pyramid net and of a skip decoder."""

import functools
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import torch
import torch.nn.functional as TF
from paddle import nn
from torch import nn as tnn

from paddle_impl.layers import BatchNorm2D
from tests.faults.core import (
    NET,
    RUN,
    Fault,
    Subject,
    around,
    attribute,
    fault,
    forward,
    replaced,
    weight,
)


class TorchPyramid(tnn.Module):
    """Three stages, pooled branches, a main head, an auxiliary head that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = tnn.Sequential(tnn.Conv2d(3, 8, 3, 2, 1, bias=False), tnn.BatchNorm2d(8))
        self.layer1 = tnn.Conv2d(8, 8, 3, padding=1)
        self.layer2 = tnn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.layer3 = tnn.Conv2d(8, 8, 1)
        self.branches = tnn.ModuleList(
            tnn.Sequential(tnn.AdaptiveAvgPool2d(size), tnn.Conv2d(8, 4, 1), tnn.ReLU())
            for size in (1, 2, 4)
        )
        self.drop = tnn.Dropout(0.4)
        self.cls = tnn.Conv2d(20, 5, 1)
        self.aux = tnn.Conv2d(8, 5, 1)

    def forward(self, x: Any) -> Any:
        size = x.shape[2:]
        feat = TF.relu(self.stem(x))
        mid = TF.relu(self.layer2(TF.relu(self.layer1(feat))))
        top = self.layer3(mid)
        parts = [top]
        for branch in self.branches:
            parts.append(TF.interpolate(branch(top), top.shape[2:], mode="bilinear"))
        out = self.cls(self.drop(torch.cat(parts, 1)))
        out = {"out": TF.interpolate(out, size, mode="bilinear", align_corners=False)}
        if self.training:
            out["aux"] = self.aux(mid)
        return out


class Pyramid(nn.Layer):
    def __init__(self, plain_list: bool = False, bias: bool = False, stages: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2D(3, 8, 3, 2, 1, bias_attr=None if bias else False), BatchNorm2D(8)
        )
        self.layer1 = nn.Conv2D(8, 8, 3, padding=1)
        self.layer2 = nn.Conv2D(8, 8, 3, padding=2, dilation=2)
        if stages == 3:
            self.layer3 = nn.Conv2D(8, 8, 1)
        branches = [
            nn.Sequential(nn.AdaptiveAvgPool2D(size), nn.Conv2D(8, 4, 1), nn.ReLU())
            for size in (1, 2, 4)
        ]
        self.branches = branches if plain_list else nn.LayerList(branches)
        self.drop = nn.Dropout(0.4)
        self.cls = nn.Conv2D(20, 5, 1)
        self.aux = nn.Conv2D(8, 5, 1)

    def forward(self, x: Any) -> Any:
        return pyramid(self, x)


def pyramid(
    net: Any,
    x: Any,
    fed: Any = lambda previous, image: previous,
    order: Any = lambda parts: parts,
    drop: Any = lambda net, x: net.drop(x),
    resize: Any = lambda x, size: F.interpolate(x, size, mode="bilinear"),
    aux: bool = True,
    top: Any = lambda net, x: net.layer3(x),
) -> Any:
    """Run the net; each keyword replaces one piece of its code."""
    size = x.shape[2:]
    feat = F.relu(net.stem(x))
    mid = F.relu(net.layer1(fed(feat, feat)))
    mid = F.relu(net.layer2(fed(mid, feat)))
    high = top(net, fed(mid, feat))
    parts = [high]
    for branch in net.branches:
        parts.append(F.interpolate(branch(high), high.shape[2:], mode="bilinear"))
    out = {"out": resize(net.cls(drop(net, paddle.concat(order(parts), 1))), size)}
    if net.training and aux:
        out["aux"] = net.aux(mid)
    return out


class TorchDecoder(tnn.Module):
    """Encoder with ceil-mode pooling, biased convolutions, transposed ones, crops and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = tnn.Conv2d(3, 6, 3, padding=6)
        self.conv2 = tnn.Conv2d(6, 6, 3, padding=1)
        self.pool = tnn.MaxPool2d(2, 2, ceil_mode=True)
        self.fc6 = tnn.Conv2d(6, 8, 3)
        self.fc7 = tnn.Conv2d(8, 8, 1)
        self.drop = tnn.Dropout2d(0.5)
        self.score = tnn.Conv2d(8, 4, 1)
        self.score_pool = tnn.Conv2d(6, 4, 1)
        self.up = tnn.ConvTranspose2d(4, 4, 4, stride=2, bias=False)
        self.last = tnn.ConvTranspose2d(4, 4, 4, stride=2, bias=False)
        self.join = tnn.Conv2d(7, 4, 3, padding=1)
        self.up.weight.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        low = self.pool(TF.relu(self.conv1(x)))
        high = self.pool(TF.relu(self.conv2(low)))
        high = self.drop(TF.relu(self.fc7(TF.relu(self.fc6(high)))))
        up = self.up(self.score(high))
        skip = self.score_pool(low)[:, :, 1 : 1 + up.shape[2], 2 : 2 + up.shape[3]]
        out = self.last(up + skip)
        out = out[:, :, 2 : 1 + x.shape[2], 2 : x.shape[3] - 1]
        rows, columns = x.shape[2] - out.shape[2], x.shape[3] - out.shape[3]
        out = TF.pad(out, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return self.join(torch.cat([x, out], 1))


class Decoder(nn.Layer):
    def __init__(self, kernel: int = 1, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(3, 6, 3, padding=6)
        self.conv2 = nn.Conv2D(6, 6, 3, padding=1)
        self.pool = nn.MaxPool2D(2, 2, ceil_mode=True)
        self.fc6 = nn.Conv2D(6, 8, 3)
        self.fc7 = nn.Conv2D(8, width, kernel, padding=kernel // 2)
        self.drop = nn.Dropout2D(0.5)
        self.score = nn.Conv2D(width, 4, 1)
        self.score_pool = nn.Conv2D(6, 4, 1)
        self.up = nn.Conv2DTranspose(4, 4, 4, stride=2, bias_attr=False)
        self.last = nn.Conv2DTranspose(4, 4, 4, stride=2, bias_attr=False)
        self.join = nn.Conv2D(7, 4, 3, padding=1)
        self.up.weight.stop_gradient = True

    def forward(self, x: Any) -> Any:
        return decoder(self, x)


def decoder(
    net: Any,
    x: Any,
    fed: Any = lambda low, image: low,
    crop: int = 1,
    skip: Any = lambda up, skip: up + skip,
    order: int = 1,
    pads: Any = lambda rows, columns: (columns, rows),
    last: Any = lambda net, x: net.join(x),
) -> Any:
    """Run the net; each keyword replaces one piece of its code."""
    low = net.pool(F.relu(net.conv1(x)))
    high = net.pool(F.relu(net.conv2(fed(low, x))))
    high = net.drop(F.relu(net.fc7(F.relu(net.fc6(high)))))
    up = net.up(net.score(high))
    side = net.score_pool(low)[:, :, crop : crop + up.shape[2], 2 : 2 + up.shape[3]]
    out = net.last(skip(up, side))
    out = out[:, :, 2 : 1 + x.shape[2], 2 : x.shape[3] - 1]
    columns, rows = pads(x.shape[2] - out.shape[2], x.shape[3] - out.shape[3])
    out = F.pad(out, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
    return last(net, paddle.concat([x, out][::order], 1))


def make_pair(reference: Any, port: Any) -> tuple[Any, Any]:
    """Return both with the reference's weights."""
    from align.pairing.fill import load_state
    from convert import convert_state

    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def pyramid_subject() -> Subject:
    torch.manual_seed(1)
    paddle.seed(1)
    nets = make_pair(TorchPyramid(), Pyramid())
    rng = np.random.default_rng(1)
    s = Subject(*nets, inputs=[rng.standard_normal((2, 3, 17, 24))])
    s.stages = ("weights", "forward", "train", "backward")
    return s


def decoder_subject() -> Subject:
    torch.manual_seed(2)
    paddle.seed(2)
    nets = make_pair(TorchDecoder(), Decoder())
    rng = np.random.default_rng(2)
    s = Subject(*nets, inputs=[rng.standard_normal((2, 3, 21, 18))])
    s.stages = ("weights", "forward", "train", "backward")
    return s


def other_port(build: Any) -> Any:
    """Put another port in place, with the weights of the healthy one that fit it by name."""

    def apply(s: Subject) -> None:
        paddle.seed(3)
        port = build()
        own = port.state_dict()
        for key, tensor in s.paddle_net.state_dict().items():
            if key in own and own[key].shape == tensor.shape:
                own[key].set_value(tensor)
        s.paddle_net = port

    return apply


def code(run: Any, **pieces: Any) -> Any:
    return forward("", functools.partial(run, **pieces))


def nothing(*args: Any) -> None:
    """Compute and forget to return."""


def _pool_as_max(s: Subject) -> None:
    for index, size in enumerate((1, 2, 4)):
        s.layer(f"branches.{index}")._sub_layers["0"] = nn.AdaptiveMaxPool2D(size)


def _trained(s: Subject) -> None:
    s.layer("up").weight.stop_gradient = False


psp = functools.partial(fault, subject="pyramid")
fcn = functools.partial(fault, subject="decoder")
BRANCHES = ["branches.0.0", "branches.1.0", "branches.2.0"]

FAULTS: tuple[Fault, ...] = (
    psp(
        "layers in a plain Python list",
        apply=other_port(lambda: Pyramid(plain_list=True)),
        joins=False,
        stages=NET,
        layers="",
        cause="plain Python list",
    ),
    psp(
        "a convolution with bias in front of BatchNorm",
        apply=other_port(lambda: Pyramid(bias=True)),
        joins=False,
        stages="weights",
        layers="stem.0",
        cause="in the port only",
    ),
    psp(
        "a stage is missing",
        apply=other_port(lambda: Pyramid(stages=2)),
        joins=False,
        stages="weights",
        layers="",
        cause="layer3",
    ),
    psp(
        "a stage is forgotten in the code",
        apply=code(pyramid, top=lambda net, x: x),
        stages=RUN,
        layers="",
        cause="layer3",
    ),
    psp(
        "a branch returns nothing",
        apply=around("branches.1", nothing),
        stages=RUN,
        layers="branches.1",
        cause="return",
    ),
    psp(
        "the net returns nothing",
        apply=forward("", lambda net, x: nothing(pyramid(net, x))),
        stages=RUN,
        layers="",
        cause="return",
    ),
    psp(
        "maximum for average in the pyramid",
        apply=_pool_as_max,
        stages=NET,
        layers=BRANCHES,
        cause="class is MaxPool, the reference has AvgPool",
    ),
    psp(
        "align_mode 1 of old Paddle",
        stages=RUN,
        layers="",
        cause="align_mode",
        apply=code(
            pyramid,
            resize=lambda x, size: F.interpolate(
                x, size, mode="bilinear", align_corners=False, align_mode=1
            ),
        ),
    ),
    psp(
        "every stage is fed the first features",
        apply=code(pyramid, fed=lambda previous, image: image),
        stages=RUN,
        layers="",
        cause="stem|layer1|layer2",
    ),
    psp(
        "pooled branches in another order",
        apply=code(pyramid, order=lambda p: [p[0], p[2], p[1], p[3]]),
        stages=RUN,
        layers="",
        cause="order",
    ),
    psp(
        "dropout that scales when predicting",
        apply=attribute("drop", mode="downscale_in_infer"),
        stages="weights forward",
        layers="drop",
        cause="downscale_in_infer",
    ),
    psp(
        "another dropout rate",
        apply=attribute("drop", p=0.1),
        stages="weights train backward",
        layers="drop",
        cause=r"rate is 0\.1, the reference has 0\.4",
    ),
    psp(
        "no dropout",
        apply=code(pyramid, drop=lambda net, x: x),
        joins=False,  # the rate of a layer that is not called shows nowhere
        stages="train backward",
        layers="",
        cause="drop",
    ),
    psp(
        "auxiliary head forgotten",
        apply=code(pyramid, aux=False),
        stages="train backward",
        layers="",
        cause="1 tensors, the reference has 2|aux",
    ),
    psp(
        "another dilation",
        apply=attribute("layer2", _dilation=[1, 1]),
        stages=NET,
        layers="layer2",
        cause="dilation",
    ),
    fcn(
        "fc7 with another kernel",
        apply=other_port(lambda: Decoder(kernel=3)),
        joins=False,
        stages="weights",
        layers="fc7",
        cause=r"kernel_size|shape",
    ),
    fcn(
        "a number of channels with a typo",
        apply=other_port(lambda: Decoder(width=9)),
        joins=False,
        stages="weights",
        layers=["fc7", "score"],
        cause="shape",
    ),
    fcn(
        "the second layer is fed the image",
        apply=code(decoder, fed=lambda low, image: image),
        stages=RUN,
        layers="",
        cause="shape|pool|its input",
    ),
    fcn("crop one row too late", apply=code(decoder, crop=2), stages=RUN, layers=""),
    fcn(
        "skip forgotten",
        apply=code(decoder, skip=lambda up, skip: up),
        stages=RUN,
        layers="",
        cause="up|score_pool",
    ),
    fcn(
        "padding of rows and columns exchanged",
        apply=code(decoder, pads=lambda rows, columns: (rows, columns)),
        stages=RUN,
        layers="",
        cause="shape",
    ),
    fcn(
        "concat in the other order",
        apply=code(decoder, order=-1),
        stages=RUN,
        layers="",
        cause="order",
    ),
    fcn(
        "floor for ceil in pooling",
        apply=attribute("pool", ceil_mode=False),
        stages=NET,
        layers="pool",
        cause="ceil_mode",
    ),
    fcn(
        "a last convolution is missing",
        apply=code(decoder, last=lambda net, x: x),
        stages=RUN,
        layers="",
        cause="join|shape",
    ),
    fcn(
        "weights of fc6 are not loaded",
        apply=weight("fc6", lambda w: w[::-1, ::-1]),
        stages=NET,
        layers="fc6",
        cause="differ|revers",
    ),
    fcn(
        "the frozen upsampling is trained",
        apply=_trained,
        stages="backward",
        layers="up",
        cause="trained in the port, frozen in the reference",
    ),
    fcn(
        "output padding by the other stride",
        apply=attribute("last", _stride=[1, 1]),
        stages=NET,
        layers="last",
        cause="stride",
    ),
    fcn(
        "a whole-channel dropout drops pixels",
        stages="weights train backward",
        layers="drop",
        apply=replaced("drop", lambda layer: nn.Dropout(0.5)),
        cause="channels",
    ),
)
