"""References that pack their sequences: the layers that take them are judged as code around."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from align import align_backward, align_forward, align_training, force_trace, record_trace
from align.pairing.fill import fill_port
from align.pairing.reference_torch import LiveReference
from common.errors import UserError

X, LENGTHS = np.random.default_rng(0).standard_normal((3, 5, 3)), np.array([3, 5, 2])
LABEL = X[:, :, :2]


class Encoder(tnn.Module):
    """Takes padded sequences, returns packed ones."""

    def __init__(self):
        super().__init__()
        self.lstm = tnn.LSTM(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        return self.lstm(pack_padded_sequence(x, lengths, True, enforce_sorted=False))


class Reference(tnn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(), tnn.Linear(8, 2)

    def forward(self, x, lengths):
        packed, _ = self.encoder(x, lengths)
        return self.head(pad_packed_sequence(packed, batch_first=True)[0])


class EncoderPort(pnn.Layer):
    def __init__(self, knows_lengths):
        super().__init__()
        self.lstm = pnn.LSTM(3, 4, direction="bidirect")
        self.knows_lengths = knows_lengths

    def forward(self, x, lengths):
        return self.lstm(x, sequence_length=lengths if self.knows_lengths else None)


class Port(pnn.Layer):
    def __init__(self, knows_lengths=True):
        super().__init__()
        self.encoder, self.head = EncoderPort(knows_lengths), pnn.Linear(8, 2)

    def forward(self, x, lengths):
        return self.head(self.encoder(x, lengths)[0])


def mean(out, label):
    return ((out - label) ** 2).mean()


def reports(folder, **options):
    theirs, ours = Reference(), Port(**options)
    fill_port(LiveReference(theirs), ours)
    record_trace(theirs, [X, LENGTHS], folder / "trace", train=True, backward=True)
    yield align_forward(theirs, ours, [X, LENGTHS])
    yield align_backward(theirs, ours, [X, LENGTHS])
    yield align_training(
        theirs,
        ours,
        [[X, LENGTHS, LABEL]] * 2,
        mean,
        mean,
        lambda held: torch.optim.SGD(held, 0.1),
        lambda held: paddle.optimizer.SGD(0.1, parameters=held),
    )
    yield force_trace(ours, folder / "trace")


def test_right_port_is_aligned_and_told_how(tmp_path):
    for report in reports(tmp_path):
        assert report.exit_code == 0, (report.stage, report.verdict)
        notes = " ".join(map(str, report.notes))
        assert "encoder takes or returns packed sequences" in notes
        assert "do not run" not in notes


def test_port_that_forgets_the_lengths_is_found_in_the_code_around(tmp_path):
    for report in reports(tmp_path, knows_lengths=False):
        assert report.exit_code == 1
        assert "" in {divergence.layer for divergence in report.divergences}


def test_a_wrong_weight_inside_is_found():
    theirs, ours = Reference(), Port()
    fill_port(LiveReference(theirs), ours)
    weight = ours.encoder.lstm.weight_hh_l0
    weight.set_value(weight * 1.01)
    for align in (align_forward, align_backward):
        assert align(theirs, ours, [X, LENGTHS]).exit_code == 1


def test_a_net_that_returns_packed_sequences_is_told_what_to_return():
    for align in (align_forward, align_backward):
        theirs, ours = Encoder(), EncoderPort(True)
        fill_port(LiveReference(theirs), ours)
        with pytest.raises(UserError, match=r"the reference returns a PackedSequence.*pad_packed"):
            align(theirs, ours, [X, LENGTHS])
        assert torch.get_default_dtype() == torch.float32
