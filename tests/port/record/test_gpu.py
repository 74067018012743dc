"""Nets that ask for a GPU by name run on a machine without one, and their ports do not ask."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from commands.port import record as process
from common.errors import UserError
from port.record.stand_ins.gpu_torch import on_the_cpu
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

ASKS = """
MEAN = torch.ones(1, 3, 1, 1).cuda()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, device="cuda").to("cuda:0")

    def forward(self, x):
        device = torch.device("cuda")
        steps = torch.arange(8, device=device).float() + torch.zeros(8).to(device="cuda")
        mask = (x > 0).type(torch.cuda.FloatTensor)
        return self.conv(x.to(device) - MEAN) + steps * mask
"""


def test_a_net_that_names_a_gpu_runs_without_one(tmp_path):
    with on_the_cpu(named=True):
        record, net = recorded(tmp_path, {"net": HEAD + ASKS})
        assert record.failed == {}
        assert [str(gap) for gap in written(record)[1].gaps] == []
        theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_what_found_no_gpu_is_recorded_once_more(monkeypatch):
    asked = {"spec": "net:build"}
    seen = []

    def answer(asked):
        seen.append(asked.get("gpu", False))
        return "Torch not compiled with CUDA enabled" if len(seen) == 1 else "the call failed"

    monkeypatch.setattr(process, "_answer", answer)
    with pytest.raises(UserError, match="the call failed"):
        process.recorded(asked)
    assert seen == [False, True]
    assert asked["gpu"]
