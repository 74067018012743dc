"""Faults of a port of STDC1-Seg."""

import functools
from typing import Any

import numpy as np
import paddle
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

stdc = functools.partial(fault, subject="stdc")


def _swap_weights(one: str, other: str) -> Any:
    def apply(s: Subject) -> None:
        left, right = s.layer(one).weight, s.layer(other).weight
        values = left.numpy().copy(), right.numpy().copy()
        left.set_value(values[1])
        right.set_value(values[0])

    return apply


def _gate(ffm: Any, feat: Any) -> Any:
    atten = F.avg_pool2d(feat, feat.shape[2:])
    return F.sigmoid(ffm.conv2(ffm.relu(ffm.conv1(atten))))


def _ffm(combine: Any, order: int = 1) -> Any:
    def run(ffm: Any, fsp: Any, fcp: Any) -> Any:
        feat = ffm.convblk(paddle.concat([fsp, fcp][::order], axis=1))
        return combine(feat, _gate(ffm, feat))

    return run


def _arm(pool: Any, gate: Any) -> Any:
    def run(arm: Any, x: Any) -> Any:
        feat = arm.conv(x)
        return feat * gate(arm.bn_atten(arm.conv_atten(pool(feat, feat.shape[2:]))))

    return run


def _context(mode: str = "nearest", joined: Any = lambda arm, up: arm + up) -> Any:
    def run(cp: Any, x: Any) -> Any:
        feat2, feat4, feat8, feat16, feat32 = cp.backbone(x)
        avg = cp.conv_avg(F.avg_pool2d(feat32, feat32.shape[2:]))
        up = F.interpolate(avg, feat32.shape[2:], mode="nearest")
        up = F.interpolate(joined(cp.arm32(feat32), up), feat16.shape[2:], mode=mode)
        up32 = cp.conv_head32(up)
        up = F.interpolate(cp.arm16(feat16) + up32, feat8.shape[2:], mode=mode)
        return feat2, feat4, feat8, feat16, cp.conv_head16(up), up32

    return run


def _net(corners: bool = True, order: Any = (0, 1, 2), skip: Any = (), rest: Any = None) -> Any:
    def run(net: Any, x: Any) -> Any:
        feat2, feat4, feat8, feat16, context8, context16 = net.cp(x)
        logits = [net.conv_out(net.ffm(feat8, context8))]
        logits += [net.conv_out16(context8), net.conv_out32(context16)]
        features = {"sp2": feat2, "sp4": feat4, "sp8": feat8, "sp16": feat16}
        run = [n for n in features if (net.training or n == "sp8") and n not in skip]
        details = {n: getattr(net, f"conv_out_{n}")(features[n]) for n in run}
        resized = [
            F.interpolate(logits[i], x.shape[2:], mode="bilinear", align_corners=corners)
            for i in order
        ]
        return (*resized, details["sp8"]) if rest is None else rest(resized, details)

    return run


def _same_padding(layer: Any, x: Any) -> Any:
    """Pad as TensorFlow's SAME does: at stride 2 on even sizes on the far side alone."""
    return F.conv2d(F.pad(x, [0, 1, 0, 1]), layer.weight, stride=2)


def _dilated(s: Subject) -> None:
    layer = s.layer("conv_out16.conv.conv")
    layer._dilation = [2, 2]
    layer._padding = layer._updated_padding = 2


def _extra_bias(s: Subject) -> None:
    layer = s.layer("conv_out32.conv_out")
    layer.bias = layer.create_parameter(
        [19], default_initializer=nn.initializer.Constant(1e-4), is_bias=True
    )


def _frozen(s: Subject) -> None:
    s.layer("cp.conv_avg.conv").weight.stop_gradient = True


def _half(x: Any) -> Any:
    return x * 0.5 + x.detach() * 0.5


class _Capped(nn.Layer):
    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Any) -> Any:
        return paddle.clip(x, 0.0, self.limit)


BN = "cp.backbone.features.3.conv_list.1.bn"
FIRST = "cp.backbone.features.0.conv"
HEADS = ("conv_out16.conv.conv", "conv_out32.conv.conv")

FAULTS: tuple[Fault, ...] = (
    stdc(
        "epsilon of one BatchNorm",
        apply=attribute(BN, _epsilon=2e-5),
        stages=NET,
        layers=BN,
        cause=r"epsilon is 2e-05, the reference has 1e-05",
    ),
    stdc(
        "epsilon of a head",
        apply=attribute("cp.arm32.bn_atten", _epsilon=1e-3),
        stages=NET,
        layers="cp.arm32.bn_atten",
        cause="epsilon is 0.001",
    ),
    stdc(
        "BatchNorm momentum in torch's meaning",
        apply=attribute(BN, _momentum=0.1),
        stages="weights train",
        layers=BN,
        cause="momentum=0.1 of Paddle keeps 10 %",
    ),
    stdc(
        "average pooling leaves the padding out",
        apply=attribute("cp.backbone.features.4.skip", exclusive=True),
        stages=NET,
        layers="cp.backbone.features.4.skip",
        cause="count_include_pad|exclusive",
    ),
    stdc(
        "dilation 2 with padding 2",
        apply=_dilated,
        stages=NET,
        layers="conv_out16.conv.conv",
        cause="dilation|padding",
    ),
    stdc(
        "padding on one side",
        apply=forward(FIRST, _same_padding),
        stages=RUN,
        layers=FIRST,
        cause="padding",
    ),
    stdc(
        "reflected padding",
        stages=RUN,
        layers="conv_out.conv.conv",
        cause="mode=constant",
        apply=forward(
            "conv_out.conv.conv",
            lambda layer, x: F.conv2d(F.pad(x, [1] * 4, mode="reflect"), layer.weight),
        ),
    ),
    stdc(
        "kernel axes exchanged",
        apply=weight("cp.conv_head32.conv", lambda w: w.swapaxes(2, 3)),
        stages=NET,
        layers="cp.conv_head32.conv",
        cause="axes",
    ),
    stdc(
        "kernel turned round",
        apply=weight("conv_out_sp8.conv.conv", lambda w: w[:, :, ::-1]),
        stages=NET,
        layers="conv_out_sp8.conv.conv",
        cause="revers|flip",
    ),
    stdc(
        "input channels BGR",
        apply=weight(FIRST, lambda w: w[:, ::-1]),
        stages=NET,
        layers=FIRST,
        cause="channel",
    ),
    stdc(
        "square 1x1 convolution transposed",
        stages=NET,
        layers="cp.arm16.conv_atten",
        apply=weight("cp.arm16.conv_atten", lambda w: w.swapaxes(0, 1)),
        cause="transposed",
    ),
    stdc(
        "scaled weight",
        stages=NET,
        layers="conv_out_sp8.conv_out",
        cause=r"1\.0001 times",
        apply=weight("conv_out_sp8.conv_out", lambda w: w * np.float32(1.0001)),
    ),
    stdc(
        "one weight in a million",
        stages="weights train backward",
        layers="cp.arm32.conv.conv",
        cause="1 of",
        apply=weight(
            "cp.arm32.conv.conv",
            lambda w: w + 1e-3 * (np.arange(w.size) == 77).reshape(w.shape).astype(w.dtype),
        ),
    ),
    stdc(
        "two equal-shaped weights exchanged",
        apply=_swap_weights(*HEADS),
        stages=NET,
        layers=HEADS,
        cause=r"is the reference's conv_out(16|32)\.conv\.conv",
    ),
    stdc(
        "a bias that the reference has not",
        apply=_extra_bias,
        stages="weights forward train",
        layers="conv_out32.conv_out",
        cause="in the port only|bias|off by",
    ),
    stdc(
        "a BatchNorm bias of other training",
        stages="weights forward train",
        layers="conv_out.conv.bn",
        apply=weight("conv_out.conv.bn", lambda w: w + np.float32(0.01), "bias"),
        cause="differ",
    ),
    stdc(
        "running variance of another layer",
        stages="weights forward",
        layers="cp.arm16.conv.bn",
        cause=r"1\.5 times",
        apply=weight("cp.arm16.conv.bn", lambda w: w * 1.5, "_variance"),
    ),
    stdc(
        "attention lost",
        apply=forward("cp.arm16", lambda arm, x: arm.conv(x)),
        stages=RUN,
        layers="cp.arm16",
        cause="conv_atten|output of|called|calls",
    ),
    stdc(
        "attention without sigmoid",
        apply=forward("cp.arm16", _arm(F.avg_pool2d, lambda a: a)),
        stages=RUN,
        layers="cp.arm16",
    ),
    stdc(
        "attention by the maximum",
        apply=forward("cp.arm32", _arm(F.max_pool2d, F.sigmoid)),
        stages=RUN,
        layers="cp.arm32",
        cause="average|avg_pool",
    ),
    stdc(
        "concat in the other order",
        apply=forward("ffm", _ffm(lambda f, a: f * a + f, -1)),
        stages=RUN,
        layers="ffm",
        cause="order",
    ),
    stdc(
        "residual forgotten",
        apply=forward("ffm", _ffm(lambda f, a: f * a)),
        stages=RUN,
        layers="ffm",
        cause="convblk",
    ),
    stdc(
        "residual twice",
        apply=forward("ffm", _ffm(lambda f, a: f * a + f + f)),
        stages=RUN,
        layers="ffm",
        cause="convblk",
    ),
    stdc(
        "detached branch",
        apply=forward("cp", _context(joined=lambda arm, up: arm.detach() + up)),
        stages="backward",
        layers="cp",
        cause="detached",
    ),
    stdc(
        "halved gradient between layers",
        apply=forward("cp", _context(joined=lambda arm, up: _half(arm) + up)),
        stages="backward",
        layers="cp",
        cause=r"0\.5 times",
    ),
    stdc(
        "doubled gradient at a head",
        stages="backward",
        layers="conv_out16",
        apply=around("conv_out16", lambda x: x * 2 - x.detach()),
        cause="2 times",
    ),
    stdc(
        "bilinear for nearest",
        apply=forward("cp", _context(mode="bilinear")),
        stages=RUN,
        layers="cp",
        cause="nearest",
    ),
    stdc(
        "ReLU in front of BatchNorm",
        stages=RUN,
        layers="conv_out_sp8.conv",
        apply=forward("conv_out_sp8.conv", lambda m, x: m.bn(m.relu(m.conv(x)))),
    ),
    stdc(
        "ReLU forgotten",
        stages=RUN,
        layers="cp.conv_head16",
        apply=forward("cp.conv_head16", lambda m, x: m.bn(m.conv(x))),
        cause="ReLU|relu",
    ),
    stdc(
        "LeakyReLU for ReLU",
        stages=RUN,
        layers="conv_out16.conv.relu",
        cause="slope|ReLU",
        apply=replaced("conv_out16.conv.relu", lambda layer: nn.LeakyReLU(0.01)),
    ),
    stdc(
        "ReLU6 for ReLU",
        stages="forward train",
        layers="cp.backbone.features.1.relu",
        apply=replaced("cp.backbone.features.1.relu", lambda layer: _Capped(1.5)),
        cause=r"clip\(its input, 0.0, 1.5\), the reference relu\(its input\)",
    ),
    stdc(
        "added 1e-6",
        apply=around("conv_out16.conv.conv", lambda x: x + 1e-6),
        stages="forward train",
        layers="conv_out16.conv.conv",
        cause="1e-06",
    ),
    stdc(
        "align_corners",
        apply=forward("", _net(corners=False)),
        stages=RUN,
        layers="",
        cause="align_corners",
    ),
    stdc(
        "auxiliary heads exchanged",
        apply=forward("", _net(order=(0, 2, 1))),
        stages=RUN,
        layers="",
        cause="conv_out(16|32)|output:[12]",
    ),
    stdc(
        "an output is missing",
        stages=RUN,
        layers="",
        cause="3 tensors, the reference has 4",
        apply=forward("", _net(rest=lambda resized, details: tuple(resized))),
    ),
    stdc(
        "a head that is not returned is not run",
        apply=forward("", _net(skip=("sp4",))),
        stages="train",
        layers="",
        cause="calls conv_out_sp4",
    ),
    stdc(
        "a head that is not returned has a wrong epsilon",
        stages="weights train",
        apply=attribute("conv_out_sp2.conv.bn", _epsilon=1e-3),
        layers="conv_out_sp2.conv.bn",
        cause="epsilon",
    ),
    stdc(
        "detail head mirrored",
        apply=around("conv_out_sp8", lambda x: x.flip([3])),
        stages=RUN,
        layers="conv_out_sp8",
        cause="revers|flip|mirror",
    ),
    stdc(
        "a trained weight is frozen",
        apply=_frozen,
        stages="backward",
        layers="cp.conv_avg.conv",
        cause="frozen in the port",
    ),
)
