"""A scalar that a layer, a loss or the net gives as [] on one side and as [1] on the other."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import (
    align_backward,
    align_forward,
    align_loss,
    align_training,
    force_trace,
    record_trace,
)
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from convert import convert_state
from tests.nursery import run

RULES = {
    "boundaries": [
        {"match": "^pool output:0$", "shape": []},
        {"match": "^scale input:1$", "shape": []},
        {"match": "^output:1$", "shape": []},
        {"match": "^loss$", "shape": []},
    ]
}
X = np.random.default_rng(0).standard_normal((5, 3))
LABEL = np.random.default_rng(1).standard_normal((5, 4))


class Pool(tnn.Module):
    def forward(self, x):
        return x.mean()


class Scale(tnn.Module):
    def forward(self, x, by):
        return x * by


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.pool, self.scale = tnn.Linear(3, 4), Pool(), Scale()

    def forward(self, x):
        x = self.fc(x)
        mean = self.pool(x)
        return self.scale(x, mean), mean


class PoolPort(pnn.Layer):
    factor = 1.0

    def forward(self, x):
        return (x.mean() * self.factor).reshape([1])


class ScalePort(pnn.Layer):
    def forward(self, x, by):
        return x * by.expand([5]).unsqueeze(1)


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.fc, self.pool, self.scale = pnn.Linear(3, 4), PoolPort(), ScalePort()

    def forward(self, x):
        x = self.fc(x)
        mean = self.pool(x)
        return self.scale(x, mean), mean


def theirs_loss(outputs, label):
    return ((outputs[0] - label) ** 2).mean() + outputs[1]


def ours_loss(outputs, label):
    return (((outputs[0] - label) ** 2).mean() + outputs[1]).reshape([1])


def reports(folder, factor=1.0, rules=RULES):
    theirs, ours = Reference(), Port()
    fill_port(LiveReference(theirs), ours, rules)
    ours.pool.factor = factor
    losses = theirs_loss, ours_loss
    yield align_forward(theirs, ours, [X], rules=rules)
    yield align_backward(theirs, ours, [X], rules=rules)
    yield align_backward(theirs, ours, [X, LABEL], *losses, rules=rules)
    yield align_training(
        theirs,
        ours,
        [[X, LABEL]] * 2,
        *losses,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
        rules=rules,
    )
    record_trace(theirs, [X], folder / "trace", train=True, backward=True)
    yield force_trace(ours, folder / "trace", rules=rules)


def test_the_rules_say_it_on_every_rung(tmp_path):
    for report in reports(tmp_path):
        assert report.exit_code == 0, (report.stage, report.verdict)


def test_a_wrong_value_is_found_at_its_place(tmp_path):
    for report in reports(tmp_path, factor=1.01):
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"pool"}


def test_without_the_rules_it_is_found_and_the_rule_is_told(tmp_path):
    for report in reports(tmp_path, rules=None):
        assert report.exit_code == 1
        causes = " ".join(str(divergence.cause) for divergence in report.divergences)
        assert "boundaries, with shape: []" in causes


def test_a_rule_is_no_reshape_of_other_sizes(tmp_path):
    rules = {"boundaries": [{"match": "output", "shape": [3]}, *RULES["boundaries"]]}
    forward, *_ = reports(tmp_path, rules=rules)
    assert forward.exit_code == 1


def test_losses_alone():
    def theirs(out, label):
        return ((out - label) ** 2).mean()

    def ours(out, label):
        return theirs(out, label).reshape([1])

    def wrong(out, label):
        return ((out - label) ** 2).sum().reshape([1])

    outputs = [X[:, :1].repeat(4, 1), LABEL]
    assert align_loss(theirs, ours, outputs).exit_code == 1
    rules = {"boundaries": [{"match": "^loss$", "shape": []}]}
    assert align_loss(theirs, ours, outputs, rules=rules).exit_code == 0
    assert align_loss(theirs, wrong, outputs, rules=rules).exit_code == 1


def test_conversion_takes_the_same_file():
    state = {key: value.numpy() for key, value in Reference().state_dict().items()}
    assert set(convert_state(state, Port(), RULES).state) == {"fc.weight", "fc.bias"}


def test_the_command_takes_it(tmp_path):
    (tmp_path / "rules.yml").write_text(
        "boundaries:\n"
        "  - {match: '^pool output:0$', shape: []}\n"
        "  - {match: '^scale input:1$', shape: []}\n"
        "  - {match: '^output:1$', shape: []}\n"
    )
    np.savez(tmp_path / "x.npz", x=X)
    here = "tests.align.pairing.test_shapes_at_boundaries"
    nets = ("--torch", f"{here}:Reference", "--paddle", f"{here}:Port")
    inputs = ("--inputs", tmp_path / "x.npz", "--rules", tmp_path / "rules.yml")
    done = run("align_backward", *nets, *inputs)
    assert done.returncode == 0, done.stdout + done.stderr
