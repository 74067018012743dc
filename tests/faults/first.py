"""Faults of ports: each breaks a Paddle net in place and says which layer must be blamed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import torch
from paddle import nn as pnn
from torch import nn as tnn

Fault = Callable[[Any], AbstractContextManager[str]]


def _layer(net, path):
    return dict(net.named_sublayers())[path]


def attribute(path: str, name: str, value: Any) -> Fault:
    @contextmanager
    def fault(net) -> Iterator[str]:
        layer = _layer(net, path)
        before = getattr(layer, name)
        setattr(layer, name, value)
        try:
            yield path
        finally:
            setattr(layer, name, before)

    return fault


def weight(path: str, change: Callable[[np.ndarray], np.ndarray], name: str = "weight") -> Fault:
    @contextmanager
    def fault(net) -> Iterator[str]:
        tensor = getattr(_layer(net, path), name)
        before = tensor.numpy().copy()
        tensor.set_value(np.ascontiguousarray(change(before)))
        try:
            yield path
        finally:
            tensor.set_value(before)

    return fault


def patched(path: str, around: Callable[[Any, Callable], Callable]) -> Fault:
    """Patch `forward` on the instance: `around(layer, forward)` gives the new one."""

    @contextmanager
    def fault(net) -> Iterator[str]:
        layer = _layer(net, path) if path else net
        layer.forward = around(layer, layer.forward)
        try:
            yield path
        finally:
            del layer.forward

    return fault


STDC_FAULTS: dict[str, Fault] = {
    "epsilon": attribute("cp.backbone.features.3.conv_list.1.bn", "_epsilon", 2e-5),
    "epsilon of a head": attribute("cp.arm32.bn_atten", "_epsilon", 2e-5),
    "exclusive": attribute("cp.backbone.features.4.skip", "exclusive", True),
    "added 1e-6": patched(
        "conv_out16.conv.relu", lambda layer, forward: lambda x: forward(x) + 1e-6
    ),
    "kernel axes": weight("cp.conv_head32.conv", lambda w: w.swapaxes(2, 3)),
    "scaled weight": weight("conv_out_sp8.conv_out", lambda w: w * np.float32(1.0001)),
    "attention lost": patched("cp.arm16", lambda layer, forward: lambda x: layer.conv(x)),
    "concat order": patched(
        "ffm", lambda layer, forward: lambda fsp, fcp: _swapped(layer, fsp, fcp)
    ),
    "detail head swapped": patched(
        "conv_out32", lambda layer, forward: lambda x: forward(x.flip([3]))
    ),
}


def _swapped(ffm, fsp, fcp):
    feat = ffm.convblk(paddle.concat([fcp, fsp], axis=1))
    atten = paddle.nn.functional.avg_pool2d(feat, feat.shape[2:])
    atten = paddle.nn.functional.sigmoid(ffm.conv2(ffm.relu(ffm.conv1(atten))))
    return feat * atten + feat


@dataclass
class Output:
    logits: Any
    classes: Any


class Reference(tnn.Module):
    """Shared layer, keyword argument, dict and dataclass outputs, dropout, in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.stem = tnn.Conv2d(3, 8, 3, padding=1)
        self.norm = tnn.BatchNorm2d(8)
        self.act = tnn.ReLU(inplace=True)
        self.shared = tnn.Conv2d(8, 8, 1)
        self.drop = tnn.Dropout2d(0.25)
        self.pool = tnn.AvgPool2d(3, stride=2, padding=1)
        self.head = tnn.Linear(8, 5)
        self.spare = tnn.Linear(8, 5)

    def forward(self, image, *, gain):
        x = self.act(self.norm(self.stem(image)))
        x = self.shared(x) + self.shared(x * gain)
        x = self.drop(self.pool(x))
        logits = self.head(x.mean(dim=(2, 3)))
        return {"main": Output(logits, logits.argmax(1)), "map": (x, [x + 1])}


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.stem = pnn.Conv2D(3, 8, 3, padding=1)
        self.norm = pnn.BatchNorm2D(8)
        self.act = pnn.ReLU()
        self.shared = pnn.Conv2D(8, 8, 1)
        self.drop = pnn.Dropout2D(0.25)
        self.pool = pnn.AvgPool2D(3, stride=2, padding=1, exclusive=False)
        self.head = pnn.Linear(8, 5)
        self.spare = pnn.Linear(8, 5)

    def forward(self, image, *, gain):
        x = self.act(self.norm(self.stem(image)))
        x = self.shared(x) + self.shared(x * gain)
        x = self.drop(self.pool(x))
        logits = self.head(x.mean(axis=[2, 3]))
        return {"map": (x, [x + 1]), "main": Output(logits, logits.argmax(1))}


def small_pair() -> tuple[Reference, Port, dict[str, np.ndarray]]:
    """Return both nets with the same weights, and inputs by keyword."""
    from align.pairing.fill import load_state
    from convert import convert_state
    from paddle_impl.layers import BatchNorm2D

    torch.manual_seed(0)
    reference, port = Reference(), Port()
    port.norm = BatchNorm2D(8)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    rng = np.random.default_rng(0)
    return reference, port, {"image": rng.standard_normal((2, 3, 9, 8)), "gain": np.array(0.5)}


def small_faults() -> dict[str, Callable[[Port], str]]:
    """Faults of the small port; each is applied for good and returns the layer to blame."""

    def set_(path, name, value):
        def apply(net):
            setattr(getattr(net, path), name, value)
            return path

        return apply

    def glue(forward):
        def apply(net):
            net.forward = lambda image, *, gain: forward(net, image, gain)
            return ""

        return apply

    def forgotten_residual(net, image, gain):
        x = net.act(net.norm(net.stem(image)))
        net.shared(x)
        x = net.drop(net.pool(net.shared(x * gain)))
        logits = net.head(x.mean(axis=[2, 3]))
        return {"map": (x, [x + 1]), "main": Output(logits, logits.argmax(1))}

    def maximum_for_mean(net, image, gain):
        x = net.act(net.norm(net.stem(image)))
        x = net.shared(x) + net.shared(x * gain)
        x = net.drop(net.pool(x))
        logits = net.head(x.max(axis=[2, 3]))
        return {"map": (x, [x + 1]), "main": Output(logits, logits.argmax(1))}

    def wrong_class(net, image, gain):
        x = net.act(net.norm(net.stem(image)))
        x = net.shared(x) + net.shared(x * gain)
        x = net.drop(net.pool(x))
        logits = net.head(x.mean(axis=[2, 3]))
        return {"map": (x, [x + 1]), "main": Output(logits, logits.argmin(1))}

    def add(path, amount):
        def apply(net):
            layer = getattr(net, path)
            forward = layer.forward
            layer.forward = lambda x: forward(x) + amount
            return path

        return apply

    return {
        "dropout rate": set_("drop", "p", 0.5),
        "momentum": set_("norm", "_momentum", 0.1),
        "epsilon": set_("norm", "_epsilon", 1e-3),
        "pool": set_("pool", "exclusive", True),
        "second call of a shared layer": add("shared", 1e-9),
        "forgotten residual": glue(forgotten_residual),
        "max for mean": glue(maximum_for_mean),
        "argmin": glue(wrong_class),
    }
