"""Moving averages of weights beside training steps: equal ones pass, any other is named."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_step, align_training
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError
from paddle_impl.average import Average as Port
from paddle_impl.layers import BatchNorm2D
from torch_ref.average import Average as Reference


def nets():
    nn, fw = torch.nn, paddle.nn
    theirs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(24, 3))
    ours = fw.Sequential(fw.Conv2D(3, 4, 1), BatchNorm2D(4), fw.Flatten(), fw.Linear(24, 3))
    fill_port(LiveReference(theirs), ours)
    return theirs, ours


def run(reference, port, step=align_training, steps=3):
    draw = np.random.default_rng(0)
    batches = [(draw.standard_normal((5, 3, 2, 3)), draw.integers(0, 3, 5)) for _ in range(steps)]
    return step(
        *nets(),
        batches if step is align_training else batches[0],
        torch.nn.functional.cross_entropy,
        paddle.nn.functional.cross_entropy,
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters),
        torch_average=reference,
        paddle_average=port,
    )


def of(kind, decay=0.75, warm_up=False):
    return partial(kind, decay=decay, warm_up=warm_up)


@pytest.mark.parametrize("step", [align_step, align_training])
def test_one_average_on_both_sides_is_aligned(step):
    report = run(of(Reference), of(Port), step)
    assert report.exit_code == 0, report.verdict
    found = {(call.layer, call.where) for call in report.calls if call.where.startswith("average")}
    assert found >= {("0", "average:weight"), ("1", "average:_mean"), ("3", "average:bias")}
    note = next(note for note in report.notes if note.kind == "average_compared")
    assert "the last kept 0.75 of it" in note


def test_torchs_averaged_model_is_one_too():
    swa = torch.optim.swa_utils

    def theirs(net):
        made = swa.AveragedModel(net, multi_avg_fn=swa.get_ema_multi_avg_fn(0.75), use_buffers=True)
        made.update_parameters(net)  # the first one copies
        return made

    assert run(theirs, of(Port)).exit_code == 0


def test_another_decay_is_named_once():
    for port in (of(Port, 0.7), of(Port, 0.75, warm_up=True)):
        report = run(of(Reference), port)
        assert report.exit_code == 1
        (found,) = report.divergences
        assert (found.layer, found.where, found.step) == ("(average)", "average", 0)
        assert "in the reference 0.75" in found.cause
        assert "average.py" in found.paddle_source
    assert "an update keeps 0.1 of" in found.cause


class Copies(Port):
    """Averages parameters, and copies running statistics."""

    def update(self):
        super().update()
        for name, held in self.held.items():
            if name.endswith(("_mean", "_variance")):
                held.set_value(self._live()[name])


class OfParameters(Port):
    """Knows of no running statistics."""

    def state(self):
        state = super().state()
        return {name: a for name, a in state.items() if not name.endswith(("_mean", "_variance"))}


class Late(Port):
    """Forgets every second update."""

    times = 0

    def update(self):
        self.times += 1
        if self.times % 2:
            super().update()


def test_statistics_that_are_not_averaged_are_found_at_their_layer():
    for port, words in ((Copies, "an update keeps 0 of"), (OfParameters, "the port's does not")):
        report = run(of(Reference), of(port))
        assert report.exit_code == 1
        assert {found.layer for found in report.divergences} == {"1"}
        assert all(words in found.cause for found in report.divergences)


class Unknown(Port):
    """Names tensors in its own way."""

    def state(self):
        return {f"shadow.{name}": array for name, array in super().state().items()}


class Broken(Port):
    """Of the weights NaN, of a bias another shape."""

    def state(self):
        state = super().state()
        state["0.weight"][...] = np.nan
        return state | {"3.bias": state["3.bias"][:2]}


def test_an_average_without_a_tensor_of_the_net_is_no_pass():
    with pytest.raises(
        UserError, match=r"holds shadow\.0\.weight.* by a name of the net, such as 0"
    ):
        run(of(Reference), of(Unknown))


def test_what_is_not_finite_or_of_another_shape_differs():
    report = run(of(Reference), of(Broken))
    assert {(d.layer, d.where) for d in report.divergences} == {
        ("0", "average:weight"),
        ("3", "average:bias"),
    }


def test_a_forgotten_update_is_found_at_its_step():
    report = run(of(Reference), of(Late))
    assert [(found.step, found.layer) for found in report.divergences] == [(1, "(average)")]
    assert "an update keeps 1 of" in report.divergences[0].cause


def test_what_is_no_average_is_refused():
    with pytest.raises(UserError, match=r"--paddle-average, paddle_average\) is a dict, expected"):
        run(of(Reference), lambda net: {})
    with pytest.raises(UserError, match=r"torch_average is given and paddle_average is not"):
        run(of(Reference), None)
    with pytest.raises(UserError, match=r"is called with \(net\)"):
        run(of(Reference), lambda: None)
