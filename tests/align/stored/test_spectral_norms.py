"""A recording in train mode holds torch's iterations of spectral norm, which are not Paddle's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align.rungs.force_trace import force_trace
from align.rungs.record_trace import record_trace
from common.errors import UserError

X = np.random.default_rng(0).standard_normal((4, 6))


class Reference(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.fc = norm(torch.nn.Linear(6, 8))

    def forward(self, x):
        return torch.tanh(self.fc(x))


class Port(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.fc = paddle.nn.utils.spectral_norm(paddle.nn.Linear(6, 8), dim=1)

    def forward(self, x):
        return paddle.tanh(self.fc(x))


@pytest.mark.parametrize("backward", [False, True])
def test_in_train_mode_it_could_not_be_checked(backward, tmp_path):
    reference = Reference(torch.nn.utils.parametrizations.spectral_norm)
    record_trace(reference, [X], tmp_path / "train", train=True, backward=backward)
    with pytest.raises(UserError, match="could not check: the reference's spectral norm") as raised:
        force_trace(Port(), tmp_path / "train")
    assert "fc.parametrizations.weight" in str(raised.value)
    assert "record the reference in eval mode, or align the two live nets" in str(raised.value)


def test_what_the_message_asks_for_works(tmp_path):
    reference = Reference(torch.nn.utils.parametrizations.spectral_norm)
    record_trace(reference, [X], tmp_path / "eval", backward=True)
    assert force_trace(Port(), tmp_path / "eval").exit_code == 0


def test_the_older_one_iterates_as_paddle_does(tmp_path):
    reference = Reference(torch.nn.utils.spectral_norm)
    record_trace(reference, [X], tmp_path / "train", train=True)
    assert force_trace(Port(), tmp_path / "train").exit_code == 0
