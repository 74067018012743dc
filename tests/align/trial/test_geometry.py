"""Windows that read other places than the reference's, on maps too small to show it."""

from typing import Any

import numpy as np
import paddle
import pytest
import torch
from paddle import nn as pnn
from torch import nn as tnn

from align import (
    align_backward,
    align_forward,
    align_training,
    align_weights,
    force_trace,
    record_trace,
)

IMAGE = np.random.default_rng(0).normal(size=(2, 4, 8, 8))


class Reference(torch.nn.Module):
    """One layer of torch."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class Port(paddle.nn.Layer):
    """One layer of Paddle."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def pair(theirs: Any, ours: Any) -> tuple[Reference, Port]:
    """Return both in nets, with the same weights."""
    for name, tensor in theirs.named_parameters():
        getattr(ours, name).set_value(tensor.detach().numpy())
    return Reference(theirs), Port(ours)


PARTED = {
    "a dilation beyond the map": (
        tnn.Conv2d(4, 4, 3, padding=16, dilation=16),
        pnn.Conv2D(4, 4, 3, padding=32, dilation=32),
        "dilation",
    ),
    "ceil_mode of even sizes": (tnn.MaxPool2d(2), pnn.MaxPool2D(2, ceil_mode=True), "ceil_mode"),
    "a stride over a map of one window": (tnn.AvgPool2d(8), pnn.AvgPool2D(8, stride=1), "stride"),
}
SAME = {
    "a row of one number": (
        tnn.Conv2d(4, 4, 3, stride=[2], padding=[1], dilation=[1]),
        pnn.Conv2D(4, 4, 3, stride=2, padding=1, dilation=1),
    ),
    "a mean without padding": (tnn.AvgPool2d(2), pnn.AvgPool2D(2)),
    "ceil_mode of stride 1": (tnn.MaxPool2d(3, 1, 1), pnn.MaxPool2D(3, 1, 1, ceil_mode=True)),
    "a dilation of a kernel of 1": (tnn.Conv2d(4, 4, 1, dilation=4), pnn.Conv2D(4, 4, 1)),
    "padding of four sides": (
        tnn.Conv2d(4, 4, 3, padding=(1, 2)),
        pnn.Conv2D(4, 4, 3, padding=[1, 1, 2, 2]),
    ),
    "padding of every axis": (
        tnn.Conv2d(4, 4, 3, padding=(1, 2)),
        pnn.Conv2D(4, 4, 3, padding=[[0, 0], [0, 0], [1, 1], [2, 2]]),
    ),
    "padding in words": (tnn.Conv2d(4, 4, 3, padding=1), pnn.Conv2D(4, 4, 3, padding="same")),
}


@pytest.mark.parametrize("case", PARTED)
def test_another_window_is_found_where_the_values_are_equal(case, tmp_path):
    theirs, ours, setting = PARTED[case]
    nets = pair(theirs, ours)
    record_trace(nets[0], [IMAGE], tmp_path / "trace")
    reports = [
        align_forward(*nets, [IMAGE]),
        align_forward(*nets, [IMAGE], train=True),
        align_backward(*nets, [IMAGE]),
        force_trace(nets[1], tmp_path / "trace"),
    ]
    for report in reports:
        found = {found.where: found for found in report.divergences}
        assert report.exit_code == 1
        assert {found.layer for found in report.divergences} == {"layer"}
        said = str(found[f"attribute:{setting}"].cause)
        assert said.startswith(f"{setting} is ")
        assert said.endswith("; these inputs do not show it")


def test_a_window_that_the_values_tell_is_found_by_its_output_alone():
    nets = pair(*PARTED["ceil_mode of even sizes"][:2])
    report = align_forward(*nets, [IMAGE[:, :, :7, :7]])
    assert [found.where for found in report.divergences] == ["output:0"]


def test_a_training_step_tells_it_too():
    theirs = tnn.Conv2d(4, 4, 3, padding=9, dilation=9)
    ours = pnn.Conv2D(4, 4, 3, padding=[12, 9], dilation=[12, 9])
    report = align_training(
        *pair(theirs, ours),
        [(IMAGE, np.float64(0.0))],
        lambda out, label: (out * out).mean(),
        lambda out, label: (out * out).mean(),
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters),
    )
    assert {found.layer for found in report.divergences} == {"layer"}
    assert {found.where for found in report.divergences} == {
        "attribute:dilation",
        "attribute:padding",
    }


@pytest.mark.parametrize("case", SAME)
def test_settings_that_mean_the_same_are_no_finding(case):
    nets = pair(*SAME[case])
    assert align_weights(*nets).aligned
    assert align_forward(*nets, [IMAGE]).aligned
    assert align_backward(*nets, [IMAGE]).aligned
