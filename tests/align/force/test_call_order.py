"""A head that levels share may be called in another order: its calls are paired by their inputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.stem = tnn.Conv2d(3, 4, 3, padding=1)
        self.head = tnn.Sequential(
            tnn.Conv2d(4, 4, 3), tnn.BatchNorm2d(4), tnn.Dropout2d(0.5), tnn.Conv2d(4, 2, 1)
        )
        self.pool = tnn.MaxPool2d(2)

    def forward(self, x):
        fine = self.stem(x)
        middle = self.pool(fine)
        # Two levels of one size: their values alone tell them apart.
        return [self.head(level) for level in (fine, middle, middle * 2 + 1)]


class Port(pnn.Layer):
    def __init__(self, order, sorted_outputs=True):
        super().__init__()
        self.order, self.sorted_outputs = order, sorted_outputs
        self.stem = pnn.Conv2D(3, 4, 3, padding=1)
        self.head = pnn.Sequential(
            pnn.Conv2D(4, 4, 3), pnn.BatchNorm2D(4), pnn.Dropout2D(0.5), pnn.Conv2D(4, 2, 1)
        )
        self.pool = pnn.MaxPool2D(2)

    def forward(self, x):
        fine = self.stem(x)
        middle = self.pool(fine)
        levels = (fine, middle, middle * 2 + 1)
        found = {number: self.head(levels[number]) for number in self.order}
        return [found[number] for number in (range(3) if self.sorted_outputs else self.order)]


def pair(*arguments):
    from align.pairing.fill import load_state
    from convert import convert_state

    torch.manual_seed(0)
    reference, port = Reference(), Port(*arguments)
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


INPUTS = [np.random.default_rng(0).standard_normal((2, 3, 12, 12))]


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_independent_calls_in_another_order_are_no_difference(order):
    numbers = ", ".join(str(number + 1) for number in order)
    said = f"head is called in another order: its calls 1, 2, 3 are the reference's {numbers}"
    for align in (align_forward, lambda *nets: align_backward(*nets, train=False)):
        report = align(*pair(order), INPUTS)
        assert report.aligned, [str(d) for d in report.divergences]
        assert said in report.notes
        compared = [call for call in report.calls if call.layer == "head.3"]
        assert max(call.cumulative or 0.0 for call in compared) < 1e-12


def test_calls_in_the_same_order_are_not_mentioned():
    report = align_forward(*pair((0, 1, 2)), INPUTS)
    assert report.aligned
    assert not any("order" in note for note in report.notes)


def test_what_hangs_on_the_order_is_found_with_its_cause():
    report = align_forward(*pair((2, 1, 0), False), INPUTS)
    assert {(d.layer, d.where) for d in report.divergences} == {("", "output:0"), ("", "output:2")}
    assert all(
        "its calls 1, 2, 3 are the reference's 3, 2, 1" in d.cause for d in report.divergences
    )
    # Running statistics remember the last call most; the masks of the dropout go along.
    report = align_forward(*pair((2, 1, 0)), INPUTS, train=True)
    assert {(d.layer, d.where) for d in report.divergences} == {
        ("head.1", "buffer:_mean"),
        ("head.1", "buffer:_variance"),
    }
    assert all("head is called in another order" in d.cause for d in report.divergences)


def test_a_fault_of_a_head_that_is_called_in_another_order_is_its_own():
    reference, port = pair((2, 1, 0))
    port.head[3].weight.set_value(port.head[3].weight * 1.001)
    report = align_forward(reference, port, INPUTS)
    assert {d.layer for d in report.divergences} == {"head.3"}
    # A level that is fed to the head twice is no other order.
    reference, port = pair((0, 1, 1))
    assert {d.layer for d in align_forward(reference, port, INPUTS).divergences} == {""}
