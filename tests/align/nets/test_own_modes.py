"""Nets whose own `train` makes or drops what `forward` reads: they are asked for a mode by it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_forward, align_step
from align.nets.prepare_torch import prepared
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference

IMAGES = np.random.default_rng(0).standard_normal((4, 3))


class Table(torch.nn.Module):
    """Keeps a table in eval mode, as a buffer or a plain attribute, and has none in train mode."""

    def __init__(self, as_buffer=True):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.norm = torch.nn.BatchNorm1d(3)
        self.as_buffer = as_buffer

    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if hasattr(self, "table"):
            del self.table
        if not mode and self.as_buffer:
            self.register_buffer("table", self.scale * 2, persistent=False)
        elif not mode:
            self.table = self.scale * 2
        return self

    def forward(self, x):
        return self.norm(x) * (self.scale * 2 if self.training else self.table)


class TablePort(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter([3])
        self.norm = paddle.nn.BatchNorm1D(3)

    def train(self):
        super().train()
        self.table = None

    def eval(self):
        super().eval()
        self.table = self.scale.detach() * 2

    def forward(self, x):
        return self.norm(x) * (self.scale * 2 if self.training else self.table)


def pair(*settings):
    reference, port = Table(*settings), TablePort()
    fill_port(LiveReference(reference), port)
    return reference, port


def stepped(reference, port):
    return align_step(
        reference,
        port,
        [IMAGES, np.zeros(1)],
        lambda outputs, label: (outputs**2).mean() + outputs.mean(),
        lambda outputs, label: (outputs**2).mean() + outputs.mean(),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lambda parameters: paddle.optimizer.SGD(0.1, parameters),
    )


@pytest.mark.parametrize("as_buffer", [True, False])
def test_a_net_that_is_given_in_eval_mode_is_trained_in_train_mode(as_buffer):
    reference, port = pair(as_buffer)
    reference.eval()
    port.eval()
    report = stepped(reference, port)
    assert report.exit_code == 0
    assert any(call.where == "buffer:_mean" for call in report.calls), "its statistics moved"
    assert not reference.training
    assert align_forward(reference, port, [IMAGES], train=True).exit_code == 0
    assert reference.table.dtype == torch.float32
    assert "table" not in reference.state_dict()


def test_a_part_that_is_frozen_in_eval_mode_has_what_it_reads():
    reference, port = (torch.nn.Sequential(), paddle.nn.Sequential())
    for whole, part in zip((reference, port), pair(), strict=True):
        whole.add_sublayer("0", part) if whole is port else whole.append(part)
        part.eval()
    assert reference.training
    assert stepped(reference, port).exit_code == 0
    assert not reference[0].training


def test_its_mode_and_table_are_as_before():
    reference, _ = pair(False)
    reference.eval()
    table = reference.table
    with prepared(reference, dtype=torch.float64, train=True, float32_constants=set()):
        assert reference.training
        assert not hasattr(reference, "table")
    assert not reference.training
    assert reference.table is table
