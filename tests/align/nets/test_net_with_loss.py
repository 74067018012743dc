"""A net and its loss as one net is known by its mark, never by the name of a class."""

import numpy as np
import pytest

from align.nets import progress
from align.nets.calls import is_net_with_loss, wrapped_forwards

torch = pytest.importorskip("torch")


class NetWithLoss(torch.nn.Module):
    """A user's own net, of the name and with the children of our wrapper."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 2)
        self.criterion = torch.nn.ReLU()

    def forward(self, x):
        return self.criterion(self.net(x))


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Return a function that runs a net and returns what was noted of its layers."""
    notes = []
    monkeypatch.setattr(progress, "_note", object())
    monkeypatch.setattr(progress, "say", notes.append)

    def run(net, *arguments):
        with wrapped_forwards(dict(net.named_modules()), lambda path, module, forward: forward):
            net(*arguments)
        return [note for note in notes if not note.startswith("what follows")]

    return run


def test_a_users_class_of_that_name_is_a_net_like_any_other(said):
    net = NetWithLoss()
    assert not is_net_with_loss(net)
    notes = said(net, torch.ones(1, 3))
    assert notes[0] == "the root of the reference (NetWithLoss)"
    assert "layer net of the reference (Linear)" in notes
    assert "layer criterion of the reference (ReLU)" in notes


def test_our_wrapper_is_known_on_both_sides(said):
    from align.nets import whole_torch

    net = whole_torch.NetWithLoss(torch.nn.Linear(3, 2), torch.nn.MSELoss())
    assert is_net_with_loss(net)
    notes = said(net, (torch.ones(1, 3),), {}, torch.ones(1, 2))
    assert notes[0] == "the loss of the reference (NetWithLoss)"
    assert "the root of the reference (Linear)" in notes
    pytest.importorskip("paddle")
    from align.nets import whole_paddle

    assert is_net_with_loss(whole_paddle.NetWithLoss(None, np.subtract))
    assert not is_net_with_loss(None)


def test_a_users_class_called_batch_norm_is_no_plain_normalisation():
    from align.pairing.attributes import CLASS
    from align.pairing.attributes_torch import attributes

    class BatchNorm2d(torch.nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).relu()

    net = torch.nn.Sequential(torch.nn.BatchNorm2d(2), BatchNorm2d(2), torch.nn.SyncBatchNorm(2))
    assert [attributes(layer).get(CLASS) == "BatchNorm" for layer in net] == [True, False, True]
