"""Tensors that layers hand on inside objects of a user's class, as DETR's NestedTensor."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_forward
from align.arrays.trees import children, leaf_names, leaves, map_leaves
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 4, 4))


class Nested:
    def __init__(self, tensors, mask):
        self.tensors, self.mask = tensors, mask


class Acting(Nested):
    def __call__(self):
        return self.tensors


class Settings(SimpleNamespace):
    """Of a class of one's own, as those of Nested."""


class Backbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)

    def forward(self, given):
        return {"0": Nested(self.conv(given.tensors), given.mask)}


class Detector(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = torch.nn.Conv2d(4, 2, 1)

    def forward(self, images):
        found = self.backbone(Nested(images, images[:, :1] > 0))["0"]
        return self.head(found.tensors.sigmoid() * found.mask.to(images.dtype))


class BackbonePort(paddle.nn.Layer):
    def __init__(self, detached):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 1)
        self.detached = detached

    def forward(self, given):
        found = self.conv(given.tensors)
        return {"0": Nested(found.detach() if self.detached else found, given.mask)}


class DetectorPort(paddle.nn.Layer):
    def __init__(self, above=0.0, detached=False):
        super().__init__()
        self.backbone = BackbonePort(detached)
        self.head = paddle.nn.Conv2D(4, 2, 1)
        self.above = above

    def forward(self, images):
        found = self.backbone(Nested(images, images[:, :1] > self.above))["0"]
        gate = paddle.nn.functional.sigmoid(found.tensors)
        return self.head(gate * found.mask.astype(images.dtype))


def pair(**settings):
    reference, port = Detector(), DetectorPort(**settings)
    fill_port(LiveReference(reference), port, None)
    return reference, port


def test_their_gradients_and_values_are_judged():
    report = align_backward(*pair(), [IMAGES])
    assert report.exit_code == 0
    assert ("backbone", "grad_input:1") in {(call.layer, call.where) for call in report.calls}
    assert align_forward(*pair(), [IMAGES]).exit_code == 0


def test_another_value_in_one_is_found_where_it_is_made():
    report = align_forward(*pair(above=0.5), [IMAGES])
    assert [(one.layer, one.where) for one in report.divergences] == [("", "input:0")]


def test_a_lost_gradient_is_found():
    report = align_backward(*pair(detached=True), [IMAGES])
    assert {one.layer for one in report.divergences} == {"backbone"}


def test_objects_are_trees_where_they_hold_tensors_and_data_alone():
    held = Nested(torch.ones(1), torch.zeros(2))
    assert [leaf.shape[0] for leaf in leaves(held)] == [2, 1]
    assert leaf_names([held]) == ["0.mask", "0.tensors"]
    assert list(children(held)) == ["mask", "tensors"]
    other = map_leaves(held, lambda leaf: leaf + 1)
    assert type(other) is Nested
    assert other is not held
    assert float(other.tensors) == 2.0
    assert float(held.tensors) == 1.0
    assert leaves(map_leaves(held, lambda leaf: "stands for it")) == ["stands for it"] * 2


@pytest.mark.parametrize(
    "value",
    [
        Acting(torch.ones(1), None),
        Settings(width=3, name="x"),
        Settings(x=torch.ones(1), f=lambda: 1),
        torch.nn.ReLU(),
        ValueError("x"),
    ],
)
def test_all_else_is_passed_on_as_it_is(value):
    assert leaves(value) == [value]
    assert children(value) is None
