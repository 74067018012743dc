"""SyncBatchNorm, which has no kernel on the CPU, is judged as the BatchNorm that it is there."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.pairing.fill import load_state
from convert import convert_state


def pair(theirs, ours):
    torch.manual_seed(0)
    reference = tnn.Sequential(tnn.Conv2d(3, 4, 3), theirs(4))
    port = pnn.Sequential(pnn.Conv2D(3, 4, 3), ours(4))
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def run(reference, port):
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    yield align_forward(reference, port, [image])
    yield align_forward(reference, port, [image], train=True)
    yield align_backward(reference, port, [image])


@pytest.mark.parametrize("theirs", [tnn.BatchNorm2d, tnn.SyncBatchNorm])
def test_judged_as_batch_norm_and_said(theirs):
    reference, port = pair(theirs, pnn.SyncBatchNorm)
    for report in run(reference, port):
        assert report.exit_code == 0, report.verdict
        assert any("SyncBatchNorm" in note for note in report.notes)
    assert "forward" not in vars(port[1])
    assert "forward" not in vars(reference[1])


def test_another_epsilon_is_found():
    reference, port = pair(tnn.BatchNorm2d, pnn.SyncBatchNorm)
    port[1]._epsilon = 1e-3
    for report in run(reference, port):
        assert {divergence.layer for divergence in report.divergences} == {"1"}
