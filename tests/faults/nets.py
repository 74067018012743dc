"""Faults of ports of small nets: attention written out, odd layers, functional code, outputs."""

import functools
from typing import Any

import numpy as np
import paddle.nn.functional as F
from paddle import nn

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
from tests.faults.small_nets import Attention, attention, block, zoo
from tests.faults.students import other_port

att = functools.partial(fault, subject="attention")
odd = functools.partial(fault, subject="zoo")
rnn = functools.partial(fault, subject="recurrent")
old = functools.partial(fault, subject="small")


def _in(run: Any, path: str, **pieces: Any) -> Any:
    return forward(path, functools.partial(run, **pieces))


def _exchange(one: str, other: str) -> Any:
    def apply(s: Subject) -> None:
        for name in ("weight", "bias"):
            left, right = getattr(s.layer(one), name), getattr(s.layer(other), name)
            values = left.numpy().copy(), right.numpy().copy()
            left.set_value(values[1])
            right.set_value(values[0])

    return apply


def _own_copy(s: Subject) -> None:
    """The second call of the block runs a copy of its own, whose weights nobody loaded."""
    other_port(lambda: Attention(second=True))(s)
    _in(attention, "", blocks=lambda net, x: net.block2(net.block(x)))(s)


def _zeroed_row(s: Subject) -> None:
    s.layer("embed").weight.set_value(
        s.layer("embed").weight.numpy() * (np.arange(11) != 0)[:, None].astype("float32")
    )


FAULTS: tuple[Fault, ...] = (
    att(
        "query and key exchanged in the code",
        stages=RUN,
        layers="block",
        cause="matmul",
        apply=_in(block, "block", heads=lambda q, k, v: (k, q, v)),
    ),
    att(
        "query and key exchanged in the weights",
        stages=NET,
        layers=["block.q", "block.k"],
        apply=_exchange("block.q", "block.k"),
        cause=r"is the reference's block\.(k|q)",
    ),
    att(
        "softmax over the wrong axis",
        stages=RUN,
        layers="block",
        cause="softmax.*axis",
        apply=_in(block, "block", axis=1),
    ),
    att(
        "scores not divided by the root of d",
        stages=RUN,
        layers="block",
        cause="sqrt|root",
        apply=_in(block, "block", scale=1.0),
    ),
    att(
        "residual of attention forgotten",
        stages=RUN,
        layers="block",
        cause="input",
        apply=_in(block, "block", end=lambda x, y: y),
    ),
    att(
        "value taken for key",
        stages=RUN,
        layers="block",
        apply=_in(block, "block", heads=lambda q, k, v: (q, v, v)),
    ),
    att(
        "square Linear untransposed",
        stages=NET,
        layers="block.proj",
        cause="transposed",
        apply=weight("block.proj", lambda w: w.T),
    ),
    att(
        "LayerNorm epsilon",
        stages=NET,
        layers="norm",
        cause="epsilon is 1e-05",
        apply=attribute("norm", _epsilon=1e-5),
    ),
    att(
        "tanh GELU for the exact one",
        stages=RUN,
        layers="",
        cause="gelu|approximate",
        apply=_in(attention, "", act=lambda x: F.gelu(x, approximate=True)),
    ),
    att("ReLU for GELU", stages=RUN, layers="", apply=_in(attention, "", act=F.relu)),
    att(
        "position embedding forgotten",
        stages=RUN,
        layers="",
        cause="position",
        apply=_in(attention, "", embed=lambda net, t: net.embed(t)),
    ),
    att(
        "mean over the wrong axis",
        stages=RUN,
        layers="",
        cause="mean.*axis|shape",
        apply=_in(attention, "", mean=lambda x: x.mean(2)),
    ),
    att(
        "a shared block has a copy of its own",
        apply=_own_copy,
        joins=False,
        stages="weights",
        layers=[*(f"block2.{n}" for n in ("norm", "q", "k", "v", "proj"))],
        cause="in the port only",
    ),
    att(
        "a shared block is called once",
        stages=RUN,
        layers="",
        cause="called|calls",
        apply=_in(attention, "", blocks=lambda net, x: net.block(x)),
    ),
    att(
        "first row of the embedding is zeroed",
        stages="weights forward train",
        layers="embed",
        cause="of 88 values",
        apply=_zeroed_row,
    ),
    att(
        "an output of the dict is missing",
        stages=RUN,
        layers="",
        cause="tensors, the reference",
        apply=_in(attention, "", outputs=lambda logits, x, m: {"logits": logits, "tokens": (x,)}),
    ),
    odd(
        "GroupNorm with other groups",
        stages=NET,
        layers="group",
        cause="groups",
        apply=attribute("group", _num_groups=2),
    ),
    odd(
        "GroupNorm epsilon",
        stages=NET,
        layers="group",
        cause="epsilon",
        apply=attribute("group", _epsilon=1e-4),
    ),
    odd(
        "InstanceNorm epsilon",
        stages=NET,
        layers="instance",
        cause="epsilon",
        apply=attribute("instance", _epsilon=1e-4),
    ),
    odd(
        "PReLU with one slope",
        stages=NET,
        layers="prelu",
        apply=weight("prelu", lambda w: w * 0 + w.mean(), "_weight"),
    ),
    odd(
        "another slope",
        stages=NET,
        layers="leaky",
        cause=r"slope is 0\.01",
        apply=attribute("leaky", _negative_slope=0.01),
    ),
    odd(
        "output padding forgotten",
        stages=NET,
        layers="up",
        cause="output_padding|shape",
        apply=attribute("up", output_padding=0),
    ),
    odd(
        "softmax over another axis",
        stages=NET,
        layers="soft",
        cause="axis is 2",
        apply=attribute("soft", _axis=2),
    ),
    odd(
        "another upsampling mode",
        stages=NET,
        layers="upsample",
        cause="align_corners",
        apply=attribute("upsample", align_corners=False),
    ),
    odd(
        "in-place code with another factor", stages=RUN, layers="", apply=_in(zoo, "", factor=0.25)
    ),
    odd(
        "normalised over another axis",
        stages=RUN,
        layers="",
        cause="normalize.*axis",
        apply=_in(zoo, "", axis=2),
    ),
    odd(
        "padding mode of functional code",
        stages=RUN,
        layers="",
        cause="pad.*mode",
        apply=_in(zoo, "", mode="replicate"),
    ),
    odd(
        "functional pooling leaves the padding out",
        stages=RUN,
        layers="",
        cause="exclusive",
        apply=_in(zoo, "", exclusive=True),
    ),
    odd(
        "epsilon of functional layer_norm",
        stages=RUN,
        layers="",
        cause="layer_norm.*epsilon",
        apply=_in(zoo, "", epsilon=1e-6),
    ),
    odd(
        "pixels shuffled in another order",
        stages=RUN,
        layers="shuffle",
        apply=forward("shuffle", lambda layer, x: _shuffled(x)),
    ),
    rnn(
        "a gate of the LSTM exchanged",
        stages="weights backward",
        layers=["lstm", "lstm.0.cell"],
        forward="lstm",  # its cell is Paddle's alone: nothing of the reference's runs as one
        train="lstm",
        cause="another order: 6-11, 0-5",
        apply=lambda s: _gates(s),
    ),
    rnn(
        "LSTM runs backwards",
        stages="forward train",
        layers="lstm",
        cause="revers|flip",
        apply=forward("lstm", lambda layer, x: _reversed(layer, x)),
    ),
    old(
        "second call of a shared layer",
        stages="forward train",
        layers="shared",
        cause="1e-09",
        apply=around("shared", lambda x: x + 1e-9),
    ),
    old(
        "epsilon",
        stages="weights forward train",
        layers="norm",
        cause="epsilon",
        apply=attribute("norm", _epsilon=1e-3),
    ),
    old(
        "average pooling leaves the padding out",
        stages="weights forward train",
        layers="pool",
        cause="count_include_pad is False.*Paddle.* exclusive=True, it needs exclusive=False",
        apply=attribute("pool", exclusive=True),
    ),
    old(
        "ReLU forgotten",
        stages=NET,
        layers="act",
        cause="class is Identity, the reference has ReLU",
        apply=replaced("act", lambda layer: nn.Identity()),
    ),
    old(
        "ReLU with a slope",
        stages=NET,
        layers="act",
        cause="class is LeakyReLU, the reference has ReLU",
        apply=replaced("act", lambda layer: nn.LeakyReLU(0.1)),
    ),
    old(
        "ReLU6 for ReLU where nothing is above 6",
        stages="weights forward train",
        layers="act",
        cause="class is ReLU6, the reference has ReLU",
        apply=replaced("act", lambda layer: nn.ReLU6()),
    ),
    old(
        "head transposed sign",
        stages="weights forward train backward",
        layers="head",
        cause="-1 times|negat",
        apply=weight("head", lambda w: -w),
    ),
)


def _shuffled(x: Any) -> Any:
    batch, channels, rows, columns = x.shape
    x = x.reshape([batch, 2, 2, channels // 4, rows, columns])
    return x.transpose([0, 3, 4, 1, 5, 2]).reshape([batch, channels // 4, rows * 2, columns * 2])


def _reversed(layer: Any, x: Any) -> Any:
    outputs, state = type(layer).forward(layer, x)
    return outputs.flip([1]), state


def _gates(s: Subject) -> None:
    lstm = s.layer("lstm")
    parameter = next(p for n, p in lstm.named_parameters() if "weight_ih" in n)
    values = parameter.numpy().copy()
    values[:12] = np.concatenate([values[6:12], values[:6]])
    parameter.set_value(values)
