"""What `forward` keeps of an earlier run is no table: it stands for nothing that code computes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_forward
from commands.port.nets_torch import nothing_in_place

X = np.random.default_rng(0).standard_normal((2, 8, 16))


class Keeps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm = torch.nn.Linear(16, 16), torch.nn.LayerNorm(16)
        self.relu = torch.nn.ReLU(inplace=True)

    def forward(self, x):
        self.tokens = torch.cat([x[:, :2], x[:, 2:4]], 1)
        first, second = self.tokens.chunk(2, 1)
        return self.relu(self.body(x)) + (self.norm(first) + self.norm(second)).mean(1, True)


class KeepsPort(paddle.nn.Layer):
    def __init__(self, reference, factor=1.0):
        super().__init__()
        self.body, self.norm = paddle.nn.Linear(16, 16), paddle.nn.LayerNorm(16)
        self.relu, self.factor = paddle.nn.ReLU(), factor
        self.body.weight.set_value(reference.body.weight.detach().numpy().T)
        self.body.bias.set_value(reference.body.bias.detach().numpy())

    def forward(self, x):
        self.tokens = paddle.concat([x[:, :2], x[:, 2:4]], 1) * self.factor
        first, second = self.tokens.chunk(2, 1)
        return self.relu(self.body(x)) + (self.norm(first) + self.norm(second)).mean(1, True)


def ran_before():
    """Return a reference whose activations of a run in float32 are still there."""
    reference = Keeps()
    with torch.no_grad():
        reference(torch.from_numpy(X.astype("float32")))
    return reference


def align(reference, port):
    return align_forward(reference, port, [X], train=True)


def test_activations_of_an_earlier_run_are_given_to_nothing():
    reference = ran_before()
    report = align(reference, KeepsPort(reference))
    assert report.exit_code == 0, [str(one) for one in report.divergences]
    assert not any(note.has("tables_given") for note in report.notes)


def test_a_fault_of_the_size_of_that_rounding_is_found():
    reference = ran_before()
    assert align(reference, KeepsPort(reference, factor=1 + 2e-7)).exit_code == 1


def test_a_proof_leaves_no_activations_behind():
    reference = Keeps()
    with nothing_in_place(reference, [X]):
        assert not hasattr(reference, "tokens")
