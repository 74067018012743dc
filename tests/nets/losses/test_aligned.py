"""Every loss of class maps in the rungs: aligned as it is, found where a port has another one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_loss, align_training
from align.pairing.fill import load_state
from convert import convert_state
from paddle_impl.losses import LOSSES as PORTS
from paddle_impl.losses import lovasz as lovasz_paddle
from torch_ref.losses import LOSSES as REFERENCES

ROWS = {
    "dice": {"smooth": 0.5},
    "cross_entropy_dice": {"classes": "present"},
    "focal": {"gamma": 2.0, "alpha": 0.25},
    "lovasz_softmax": {},
    "cross_entropy": {"weights": [0.5, 1.0, 2.0, 0.0], "label_smoothing": 0.1},
}
# (row, what the port has otherwise)
FAULTS = {
    "dice of squares": ("dice", {"squared": True}),
    "dice of images": ("dice", {"per_image": True}),
    "dice of what is present": ("dice", {"classes": "present"}),
    "another smoothing": ("dice", {"smooth": 1.0}),
    "half the Dice": ("cross_entropy_dice", {"dice_weight": 0.5}),
    "another gamma": ("focal", {"gamma": 1.5}),
    "no alpha": ("focal", {"alpha": None}),
    "Lovasz of images": ("lovasz_softmax", {"per_image": True}),
    "Lovasz of all": ("lovasz_softmax", {"classes": "all"}),
    "weights forgotten": ("cross_entropy", {"weights": None}),
    "no label smoothing": ("cross_entropy", {"label_smoothing": 0.0}),
    "the ignored label": ("cross_entropy", {"ignore_index": 3}),
}


def batch(seed=0):
    """An image, and a label of four classes of which one does not occur, with void."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (2, 8, 10))
    label[:, 0] = 255
    label[1, 1:] = 255
    return rng.standard_normal((2, 3, 8, 10)), label


def logits(seed=0):
    """Logits of few values, so that errors tie."""
    return np.random.default_rng(seed).integers(-1, 2, (2, 4, 8, 10)).astype(float)


@pytest.mark.parametrize("name", ROWS)
def test_values_and_gradients_are_aligned(name):
    criteria = REFERENCES[name](**ROWS[name]), PORTS[name](**ROWS[name])
    report = align_loss(*criteria, [logits(), batch()[1]])
    assert report.exit_code == 0, report.verdict
    assert max(call.relative_error for call in report.calls) < 1e-12


@pytest.mark.parametrize("fault", FAULTS)
def test_another_loss_is_found(fault):
    name, other = FAULTS[fault]
    criteria = REFERENCES[name](**ROWS[name]), PORTS[name](**{**ROWS[name], **other})
    report = align_loss(*criteria, [logits(), batch()[1]])
    assert report.exit_code == 1, report.verdict


def test_a_port_that_breaks_ties_its_own_way_is_found(monkeypatch):
    """Its values are equal to the last place: gradients alone tell."""

    def as_it_likes(error, counted):
        error = paddle.where(counted, error, paddle.full_like(error, -1.0))
        return paddle.argsort(error).flip(0)

    monkeypatch.setattr(lovasz_paddle, "descending", as_it_likes)
    criteria = REFERENCES["lovasz_softmax"](), PORTS["lovasz_softmax"]()
    report = align_loss(*criteria, [logits(), batch()[1]])
    assert report.exit_code == 1
    assert {divergence.where for divergence in report.divergences} == {"grad_input:0"}


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    reference = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.ReLU())
    reference.append(torch.nn.Conv2d(6, 4, 1))
    port = paddle.nn.Sequential(paddle.nn.Conv2D(3, 6, 3, padding=1), paddle.nn.ReLU())
    port.add_sublayer("2", paddle.nn.Conv2D(6, 4, 1))
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def trained(pair, criteria, steps=3):
    def theirs(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    def ours(parameters):
        return paddle.optimizer.Momentum(0.1, momentum=0.9, parameters=parameters)

    batches = [batch(seed) for seed in range(steps)]
    return align_training(*pair, batches, *criteria, theirs, ours)


@pytest.mark.parametrize("name", ROWS)
def test_training_is_aligned_step_by_step(pair, name):
    report = trained(pair, (REFERENCES[name](**ROWS[name]), PORTS[name](**ROWS[name])))
    assert report.exit_code == 0, report.verdict


def test_another_loss_is_found_in_the_first_step(pair):
    report = trained(pair, (REFERENCES["focal"](gamma=2.0), PORTS["focal"](gamma=1.0)), steps=2)
    assert report.exit_code == 1
    assert report.divergences[0].layer == "(loss)"
