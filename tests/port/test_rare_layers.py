"""Layers in the ways in which few nets make them: the port computes what the reference computes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

NETS = {
    "a resizing layer by the exactly nearest": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Upsample(scale_factor=(1.5, 2.0), mode="nearest-exact")
        self.down = nn.Upsample(size=5, mode="area")
        self.again = nn.Upsample((7, 9), mode="nearest-exact")

    def forward(self, x):
        return self.again(self.down(self.up(x)))
""",
    "resizing layers whose mode is a parameter": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("nearest-exact", "nearest", "area", "bilinear"):
            setattr(self, name.replace("-", "_"), nn.Upsample(size=(5, 6), mode=name))

    def forward(self, x):
        both = self.nearest_exact(x) + self.nearest(x)
        return both + self.area(x) * self.bilinear(x)
""",
    "quantization that is not used": """
from torch.ao.quantization import DeQuantStub, QuantStub


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant = QuantStub()
        self.conv = nn.Conv2d(3, 3, 1)
        self.dequant = DeQuantStub()

    def forward(self, x):
        return self.dequant(self.conv(self.quant(x)))

    def fuse_model(self):
        torch.quantization.fuse_modules(self, ["conv"], inplace=True)
""",
    "quantization by its other names": """
from torch.quantization import fuse_modules
import torch.quantization


class Net(nn.Module):
    def __init__(self, q=False):
        super().__init__()
        self.quant = torch.quantization.QuantStub()
        self.conv = nn.Conv2d(3, 3, 1)
        self.dequant = torch.quantization.DeQuantStub()
        for m in list(self.modules()):
            if isinstance(m, torch.quantization.QuantStub):
                self.found = m

    def forward(self, x):
        x = self.found(x)
        return self.dequant(self.conv(x))

    def fuse(self):
        for m in self.modules():
            if type(m) == nn.Conv2d:
                fuse_modules(m, ["0", "1"], inplace=True)
""",
    "sizes in lists": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=[3, 3], stride=[2, 1], padding=[1, 0])
        self.line = nn.Conv1d(4, 4, kernel_size=[3], stride=[2], padding=[1])
        self.pool = nn.MaxPool2d(kernel_size=[2, 2], stride=[1, 1])
        self.more = self.conv.kernel_size[0] + self.line.stride[0] + self.pool.kernel_size[1]
        self.told = [isinstance(self.conv.kernel_size, one) for one in (tuple, list)]
        self.told += [isinstance(self.pool.kernel_size, one) for one in (tuple, list)]
        self.told += [isinstance(self.line.stride, one) for one in (tuple, list)]
        self.factor = sum(2**n for n, one in enumerate(self.told) if one)

    def forward(self, x):
        x = self.pool(self.conv(x))
        return self.line(x.flatten(2)) * self.more + self.factor
""",
    "sizes in lists for pools of a line": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.MaxPool1d([2], stride=[1])
        self.mean = nn.AvgPool1d([2], stride=[1], padding=[1])
        self.means = nn.AvgPool2d([2, 2])
        self.cut = nn.AdaptiveAvgPool2d([2, None])
        self.up = nn.ConvTranspose2d(3, 3, [2, 2], stride=[2, 1], output_padding=[1, 0])
        self.more = self.line.kernel_size[0] + self.mean.stride[0] + self.means.kernel_size[0]
        self.more += self.cut.output_size[0] + self.up.output_padding[0]

    def forward(self, x):
        x = self.cut(self.means(self.up(x)))
        return self.mean(self.line(x.flatten(2))) * self.more
""",
}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", NETS)
def test_a_layer_is_made_as_torchs_is(tmp_path, name, train):
    record, net = recorded(tmp_path, {"net": HEAD + NETS[name]})
    assert record.failed == {}
    assert [str(gap) for gap in written(record)[1].gaps] == []
    theirs, ours = both_outputs(tmp_path, record, net, train=train)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
