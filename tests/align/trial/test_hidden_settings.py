"""Numbers of one name that differ, in layers of the user's own, where inputs do not show it."""

import numpy as np
import paddle
import pytest
import torch

from align import (
    align_backward,
    align_forward,
    align_training,
    align_weights,
    force_trace,
    record_trace,
)
from align.pairing.attributes import is_own, other_numbers

VALUES = np.array([[0.9, 0.1, 0.8, 0.2]])  # none is between 0.3 and 0.5
SETTINGS = {"least": 0.3, "most": (3, 9), "momentum": 0.1, "axis": 1, "rounded": False}


class Chosen(torch.nn.Module):
    """What is above a threshold, so many at most in eval and in train mode."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))
        self.least, self.most, self.momentum = 0.3, (3, 9), 0.1
        self.axis, self.rounded, self._own = 1, False, 1

    def forward(self, x):
        order = torch.argsort(-x, dim=self.axis)[:, : self.most[int(self.training)]]
        kept = torch.gather(x * self.weight, self.axis, order)
        return torch.where(kept > self.least, kept, 0 * kept)


class Chooses(paddle.nn.Layer):
    """The same in Paddle, with settings of its own."""

    def __init__(self, **settings):
        super().__init__()
        self.weight = self.create_parameter(
            [4], default_initializer=paddle.nn.initializer.Constant(1)
        )
        for name, value in {**SETTINGS, "_own": 2, **settings}.items():
            setattr(self, name, value)

    def forward(self, x):
        order = paddle.argsort(-x, axis=1)[:, : self.most[int(self.training)]]
        kept = paddle.take_along_axis(x * self.weight, order, 1)
        return paddle.where(kept > self.least, kept, 0 * kept)


def nets(**settings):
    return torch.nn.Sequential(Chosen()), paddle.nn.Sequential(Chooses(**settings))


def loss(out, label):
    return (out * out).mean()


def training(pair):
    return align_training(
        *pair,
        [(VALUES, np.float64(0.0))],
        *(loss, loss),
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters),
    )


def told(report):
    return [str(note) for note in report.notes if note.kind == "other_numbers"]


def test_every_rung_tells_them_and_passes(tmp_path):
    pair = nets(most=[3, 12], rounded=True)
    record_trace(pair[0], [VALUES], tmp_path / "trace")
    reports = [
        align_weights(*pair),
        *(align_forward(*pair, [VALUES], train=train) for train in (False, True)),
        align_backward(*pair, [VALUES]),
        align_backward(*pair, [VALUES, np.float64(0.0)], loss, loss),
        training(pair),
        force_trace(pair[1], tmp_path / "trace"),
    ]
    right = align_forward(*nets(), [VALUES])
    assert right.exit_code == 0
    assert told(right) == []
    for report in reports:
        assert report.exit_code == 0, (report.stage, report.divergences)
        (note,) = told(report)
        assert "0.most is (3, 12), the reference has (3, 9)" in note
        assert "0.rounded is True, the reference has False" in note


def test_a_value_that_shows_one_is_the_finding_and_no_note_beside_it():
    report = align_forward(*nets(least=0.5), [VALUES / 2])
    assert report.exit_code == 1
    assert "its least is 0.5, the reference's 0.3" in str(report.divergences[0].cause)
    assert told(report) == []


@pytest.mark.parametrize(
    ("theirs", "ours", "found"),
    [
        ({"momentum": 0.1}, {"momentum": 0.9}, []),  # of the new, and of the old
        ({"momentum": 0.1}, {"momentum": 0.2}, ["momentum"]),
        ({"axis": 1}, {"axis": -1}, []),
        ({"axis": 1}, {"axis": 2}, ["axis"]),
        ({"size": 2}, {"size": [2, 2]}, []),
        ({"size": (2, 3)}, {"size": (3, 2)}, ["size"]),
        ({"size": (2, 3)}, {"size": (2, 3, 4)}, ["size"]),
        ({"eps": 1e-5}, {"eps": float(np.float32(1e-5))}, []),
        ({"eps": 1e-5}, {"eps": 1e-6}, ["eps"]),
        ({"mode": "max", "most": None, "least": 1}, {"mode": "min", "most": 3, "least": None}, []),
        ({"_held": 1, "training": True, "inplace": True}, {"_held": 2, "training": False}, []),
        ({"best": float("nan")}, {"best": float("nan")}, []),
        ({"none": ()}, {"none": (1,)}, []),
    ],
)
def test_which_numbers_mean_another_thing(theirs, ours, found):
    assert [name for name, *_ in other_numbers(theirs, ours)] == found


def test_whose_a_class_is():
    assert is_own(Chosen, "torch")
    assert is_own(Chooses, "paddle")
    assert is_own(type("Own", (paddle.nn.Sequential,), {"__module__": "mine"}), "paddle")
    assert not is_own(paddle.nn.ReLU, "paddle")
    assert not is_own(type("Own", (paddle.nn.Conv2D,), {"__module__": "mine"}), "paddle")
