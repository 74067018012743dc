"""References in other dtypes than float32, and code that sets the default one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward, align_training, align_weights
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from tests.nursery import run

IMAGE = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
LABEL = np.random.default_rng(1).standard_normal((2, 2))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = tnn.Conv2d(3, 4, 3), tnn.BatchNorm2d(4)
        self.head = tnn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = pnn.Conv2D(3, 4, 3), pnn.BatchNorm2D(4)
        self.head = pnn.Linear(4, 2)

    def forward(self, x):
        return self.head(pnn.functional.relu(self.norm(self.conv(x))).mean((2, 3)))


class SetsTheDefault(Reference):
    def forward(self, x):
        torch.set_default_dtype(torch.float16)
        return super().forward(x)


class CastsToHalf(Reference):
    def __init__(self):
        super().__init__()
        self.half()

    def forward(self, x):
        return super().forward(x.half())


def in_float64():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return Reference()
    finally:
        torch.set_default_dtype(default)


def mixed():
    net = Reference()
    net.head.weight.data = net.head.weight.data.bfloat16()
    return net


REFERENCES = {
    "half": lambda: Reference().half(),
    "bfloat16": lambda: Reference().bfloat16(),
    "weights in bfloat16": mixed,
    "float64": in_float64,
    "a default of its own": SetsTheDefault,
}


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(which, epsilon=1e-5):
    torch.manual_seed(0)
    theirs, ours = REFERENCES[which](), Port()
    fill_port(LiveReference(theirs), ours)
    ours.norm._epsilon = epsilon
    before = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    yield align_weights(theirs, ours)
    yield align_forward(theirs, ours, [IMAGE], train=True)
    yield align_backward(theirs, ours, [IMAGE])
    yield align_training(
        theirs,
        ours,
        [[IMAGE, LABEL]] * 2,
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )
    for key, tensor in theirs.state_dict().items():
        assert tensor.dtype == before[key].dtype
        assert torch.equal(tensor, before[key])


@pytest.mark.parametrize("which", REFERENCES)
def test_the_right_port_is_aligned_and_all_is_as_before(which):
    for report in reports(which):
        assert report.exit_code == 0, (report.stage, report.verdict)
        assert torch.get_default_dtype() == torch.float32
        assert paddle.get_default_dtype() == "float32"


@pytest.mark.parametrize("which", REFERENCES)
def test_the_wrong_one_is_found(which):
    _, *runs = reports(which, epsilon=1e-3)
    for report in runs:
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"norm"}


def test_a_cast_to_a_fixed_dtype_is_told_what_to_cast_to(tmp_path):
    np.savez(tmp_path / "x.npz", x=IMAGE)
    here = "tests.align.pairing.test_other_dtypes"
    nets = ("--torch", f"{here}:CastsToHalf", "--paddle", f"{here}:Port")
    done = run("align_forward", *nets, "--inputs", tmp_path / "x.npz")
    assert done.returncode == 2
    assert "x.to(self.weight.dtype)" in done.stderr
    assert "Traceback" not in done.stderr
