"""A complex parameter that the port holds as two real ones, said by a rules file."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

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
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import ConfigError, ConversionError
from convert import convert_checkpoint
from convert.names.rules import load_rules
from convert.reverse import reverse_checkpoint

RULES = {
    "splits": [{"match": "^(.*)filter$", "into": [r"\1real", r"\1imag"], "complex": True}],
}
X = np.random.default_rng(0).standard_normal((2, 3, 4, 6))
LABEL = np.random.default_rng(1).standard_normal((2, 3, 4, 6))


class Spectral(tnn.Module):
    def __init__(self):
        super().__init__()
        self.filter = tnn.Parameter(torch.randn(3, 4, 4, dtype=torch.complex64))

    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=(4, 6))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.spectral = tnn.Conv2d(3, 3, 1), Spectral()

    def forward(self, x):
        return self.spectral(self.conv(x))


class SpectralPort(pnn.Layer):
    sign = 1.0

    def __init__(self):
        super().__init__()
        self.real, self.imag = self.create_parameter([3, 4, 4]), self.create_parameter([3, 4, 4])

    def forward(self, x):
        whole = paddle.complex(self.real, self.imag * self.sign)
        return paddle.fft.irfft2(paddle.fft.rfft2(x) * whole, s=(4, 6))


class Port(pnn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.spectral = pnn.Conv2D(3, 3, 1), SpectralPort()

    def forward(self, x):
        return self.spectral(self.conv(x))


def mean(out, label):
    return ((out - label) ** 2).mean()


def pair():
    torch.manual_seed(0)
    theirs, ours = Reference(), Port()
    fill_port(LiveReference(theirs), ours, RULES)
    return theirs, ours


def reports(theirs, ours, folder):
    yield align_weights(theirs, ours, rules=RULES)
    yield align_forward(theirs, ours, [X], rules=RULES)
    yield align_backward(theirs, ours, [X], rules=RULES)
    yield align_training(
        theirs,
        ours,
        [[X, LABEL]] * 2,
        mean,
        mean,
        lambda held: torch.optim.Adam(held, 1e-3),
        lambda held: paddle.optimizer.Adam(1e-3, parameters=held),
        rules=RULES,
    )
    record_trace(theirs, [X], folder / "trace", train=True, backward=True)
    yield force_trace(ours, folder / "trace", rules=RULES)


def test_the_right_port_is_aligned_on_every_rung(tmp_path):
    for report in reports(*pair(), tmp_path):
        assert report.exit_code == 0, (report.stage, report.verdict)
        if report.stage in ("backward", "training"):
            judged = {call.where for call in report.calls if call.layer == "spectral"}
            assert {"grad:real", "grad:imag"} <= judged


def test_a_conjugate_is_found(tmp_path):
    theirs, ours = pair()
    ours.spectral.sign = -1.0
    weights, *others = reports(theirs, ours, tmp_path)
    assert weights.exit_code == 0
    for report in others:
        assert report.exit_code == 1
        assert {divergence.layer for divergence in report.divergences} == {"spectral"}


def test_a_part_that_differs_is_found_at_rest(tmp_path):
    theirs, ours = pair()
    ours.spectral.imag.set_value(ours.spectral.imag * 1.001)
    weights, *_ = reports(theirs, ours, tmp_path)
    assert {divergence.where for divergence in weights.divergences} == {"weight:imag"}


@pytest.mark.parametrize("with_account", [True, False])
def test_a_file_is_converted_and_back_to_the_bit(tmp_path, with_account):
    theirs, ours = pair()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    convert_checkpoint(tmp_path / "net.pth", tmp_path / "net.pdparams", Port(), RULES)
    found = paddle.load(str(tmp_path / "net.pdparams"))
    assert np.array_equal(np.asarray(found["spectral.imag"]), ours.spectral.imag.numpy())
    if not with_account:
        (tmp_path / "net.pdparams.account.json").unlink()
    rules = {} if with_account else {"model": Port(), "rules": RULES}
    reverse_checkpoint(tmp_path / "net.pdparams", tmp_path / "back.pth", **rules)
    back = torch.load(tmp_path / "back.pth")
    assert back["spectral.filter"].dtype == torch.complex64
    assert torch.equal(back["spectral.filter"], theirs.spectral.filter.detach())


def test_a_real_tensor_has_no_two_parts():
    theirs, ours = pair()
    theirs.spectral.filter = tnn.Parameter(torch.randn(3, 4, 4))
    with pytest.raises(ConversionError, match=r"spectral.filter is float32, of which the rules"):
        fill_port(LiveReference(theirs), ours, RULES)


def test_a_rule_names_two_parts():
    with pytest.raises(ConfigError, match="complex: takes two names"):
        load_rules({"splits": [{"match": "a", "into": ["b", "c", "d"], "complex": True}]})
