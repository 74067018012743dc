"""Clipping in an optimizer: torch's epsilon is a known difference, another clipping is named."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from align import align_step, align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

NORM = 0.05


def together(parameters):
    clip_grad_norm_(parameters, NORM)


def apart(parameters):
    for parameter in parameters:
        clip_grad_norm_([parameter], NORM)


def by_value(parameters):
    clip_grad_value_(parameters, 0.01)


def nothing(parameters):
    pass


def reference_of(kind, clip, **options):
    class Clipped(kind):
        def step(self, closure=None):
            clip([p for group in self.param_groups for p in group["params"]])
            return super().step(closure)

    return lambda parameters: Clipped(parameters, **options)


def port_of(kind, clip, **options):
    return lambda parameters: kind(parameters=parameters, grad_clip=clip, **options)


def sgd(their_clip, our_clip):
    theirs = reference_of(torch.optim.SGD, their_clip, lr=0.1)
    return theirs, port_of(paddle.optimizer.SGD, our_clip, learning_rate=0.1)


def adamw(their_clip, our_clip):
    theirs = reference_of(torch.optim.AdamW, their_clip, lr=0.1, weight_decay=0.05)
    ours = port_of(paddle.optimizer.AdamW, our_clip, learning_rate=0.1, weight_decay=0.05)
    return theirs, ours


def run(optimizers, stage="training"):
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3))
    ours = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    fill_port(LiveReference(theirs), ours)
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 4)), draw.integers(0, 3, 5)) for _ in range(3)]
    losses = torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy
    if stage == "step":
        return align_step(theirs, ours, batches[0], *losses, *optimizers)
    return align_training(theirs, ours, batches, *losses, *optimizers)


@pytest.mark.parametrize("kind", [sgd, adamw])
@pytest.mark.parametrize("stage", ["step", "training"])
def test_epsilon_of_the_norm_is_a_known_difference(kind, stage):
    report = run(kind(together, nn.ClipGradByGlobalNorm(NORM)), stage)
    assert report.exit_code == 0, report.verdict
    notes = [note for note in report.notes if "known difference" in note]
    assert len(notes) == 1
    assert "norm + 1e-6" in notes[0]
    norm = next(note for note in report.notes if note.kind == "clip_epsilon").values["norm"]
    assert f"{1e-6 / norm:.2g} of it below Paddle's" in notes[0]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (apart, nn.ClipGradByNorm(NORM)),
        (by_value, nn.ClipGradByValue(0.01)),
        (nothing, nn.ClipGradByGlobalNorm(1e3)),
    ],
)
def test_the_same_clipping_of_another_kind_is_aligned(theirs, ours):
    report = run(sgd(theirs, ours))
    assert report.exit_code == 0, report.verdict


WRONG = {
    "by tensor": (
        together,
        nn.ClipGradByNorm(NORM),
        "are clipped by the norm of each tensor alone (0.05), in the reference by the norm of all "
        "together (0.05); ClipGradByGlobalNorm takes",
    ),
    "other norm": (together, nn.ClipGradByGlobalNorm(0.04), "all together (0.04), in the"),
    "nearly the norm": (together, nn.ClipGradByGlobalNorm(NORM * (1 + 1e-6)), ""),
    "not in the port": (together, None, "clipped not at all, in the reference by the norm of all"),
    "only in the port": (nothing, nn.ClipGradByGlobalNorm(NORM), "in the reference not at all"),
    "by value": (together, nn.ClipGradByValue(0.01), "value by value (0.01), in the reference"),
}


@pytest.mark.parametrize("kind", [sgd, adamw])
@pytest.mark.parametrize("name", WRONG)
def test_another_clipping_is_a_difference_that_is_named(kind, name):
    theirs, ours, words = WRONG[name]
    report = run(kind(theirs, ours))
    assert report.exit_code == 1
    assert words in report.divergences[0].cause
    assert not any("norm + 1e-6" in note for note in report.notes)


def test_norm_of_each_group_alone_is_named():
    theirs = reference_of(torch.optim.SGD, together, lr=0.1)

    def ours(parameters):
        groups = [{"params": parameters[:2]}, {"params": parameters[2:]}]
        return paddle.optimizer.SGD(0.1, parameters=groups, grad_clip=nn.ClipGradByGlobalNorm(NORM))

    report = run((theirs, ours))
    assert report.exit_code == 1
    assert "those of each parameter group alone" in report.divergences[0].cause


def test_clipping_in_the_ports_own_step_is_seen():
    def port(limit):
        class Clipped(paddle.optimizer.SGD):
            def step(self):
                paddle.nn.utils.clip_grad_norm_(self._parameter_list, limit)
                super().step()

        return lambda parameters: Clipped(0.1, parameters=parameters)

    theirs = reference_of(torch.optim.SGD, together, lr=0.1)
    assert run((theirs, port(NORM))).exit_code == 0
    report = run((theirs, port(0.04)))
    assert "together (0.04), in the reference" in report.divergences[0].cause
