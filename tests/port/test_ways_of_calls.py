"""A call that is given one text now and another then, and a norm of several GPUs as a base."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, build_port, recorded, written

RESIZE = """
def resize(x, size, mode):
    corners = None if mode == "nearest" else False
    return F.interpolate(x, size, mode=mode, align_corners=corners)


class Net(nn.Module):
    def forward(self, x):
        y = resize(x, (5, 7), "bicubic") + resize(x, (5, 7), "bilinear")
        return y + resize(x, (5, 7), "nearest")
"""
NORM = """
class Norm(nn.SyncBatchNorm):
    def _check_input_dim(self, x):
        super()._check_input_dim(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = Norm(3, momentum=0.2)

    def forward(self, x):
        return self.norm(x)
"""


ASKED = """
asked = getattr(torch.compiler, "is_compiling", None)


class Net(nn.Module):
    def forward(self, x):
        return x if asked is not None and asked() else x * 2
"""


@pytest.mark.parametrize(
    ("name", "text"), [("resize", RESIZE), ("several", NORM), ("asked", ASKED)]
)
def test_the_port_computes_the_same(tmp_path, name, text):
    record, net = recorded(tmp_path, {f"ways_{name}": HEAD + text})
    assert not [gap for gap in written(record)[1].gaps if gap.ran]
    theirs, ours = both_outputs(tmp_path, record, net)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


AVERAGE = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.codes = nn.Embedding(5, 3)
        self.codes.weight.requires_grad = False
        self.register_buffer("average", self.codes.weight.data.clone())

    def forward(self, x):
        x = x.permute(0, 2, 3, 1).reshape(-1, 3)
        found = x @ self.codes.weight.t()
        if self.training:
            with torch.no_grad():
                self.average.data.mul_(0.5).add_(torch.mul(found[:5, :3], 0.5))
                self.codes.weight.data.copy_(self.average)
        return found
"""


def test_what_is_written_into_data_is_not_told_to_what_waits_for_a_gradient(tmp_path):
    import paddle

    record, net = recorded(tmp_path, {"average": HEAD + AVERAGE})
    files, _ = written(record)
    assert "self.codes.weight.set_value(self.average)" in files["average.py"]
    theirs, ours = both_outputs(tmp_path, record, net, train=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    ported = build_port(tmp_path / f"port_{tmp_path.name.replace('-', '_')}")
    image = paddle.ones([2, 3, 8, 8])
    image.stop_gradient = False
    ported(image).sum().backward()
    assert image.grad is not None
