"""Small nets whose calls mean something else in Paddle: their ports compute what torch does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from port.calls import Argument, SourceLine, TorchCall
from port.meanings import takes_torchs_arguments
from port.record.stand_ins.gpu_torch import on_the_cpu
from tests.port.test_traps import HEAD
from tests.port.trial import both_outputs, recorded, written

NETS = {
    "the weight of a Linear is read, turned and initialised": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(8, 8)
        self.free = nn.Parameter(torch.eye(8))
        nn.init.xavier_uniform_(self.mix.weight)
        self.mix.weight.data.mul_(0.5)

    def forward(self, x):
        y = F.linear(x, self.mix.weight, self.mix.bias)
        y = F.linear(y, self.free) + x @ self.mix.weight.t()
        return y * self.mix.weight.shape[0] + self.mix.weight[1].sum()
""",
    "to the GPU that is not there": """
class Net(nn.Module):
    def forward(self, x):
        far = torch.zeros(3, 1, 1).cuda()
        return (x + far.to(x.device)).cpu() + torch.ones(1, device=x.device).type_as(x)
""",
    "brackets at both ends that are not one pair": """
class Net(nn.Module):
    def forward(self, x):
        inside = ((x >= -1.0) & (x < 1.0)).to(x.dtype)
        return ((x - 1) * (inside + 2)).sum(1) + ((x + 1) @ (x - 1)).mean(dim=1)
""",
    "parts of a result by their names": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        wide = torch.arange(24.0).view(8, 3) ** 0.5
        self.mix = nn.Parameter(torch.linalg.lstsq(wide, wide[:, :2]).solution.t())
        found = torch.linalg.svd(torch.eye(3) * 2)
        self.register_buffer("sizes", found.S)

    def forward(self, x):
        return F.linear(x.permute(0, 2, 3, 1), self.mix) + self.sizes.sum()
""",
    "values and indices": """
class Net(nn.Module):
    def forward(self, x):
        best, where = x.max(dim=1)
        low = torch.min(x, 2)[0]
        values, order = torch.sort(x, dim=3, descending=True)
        top, _ = x.topk(2, dim=1)
        spread = x.max(1, keepdim=True)[0] - x.mean(1, keepdim=True)
        picked = x.gather(1, where.unsqueeze(1))
        return best.sum() + low.sum() * 2 + values[..., 0].sum() + top.sum() + spread + picked
""",
    "a mask times a tensor": """
class Net(nn.Module):
    def forward(self, x):
        mask = x > 0
        y = x * mask + (x < 1) * x
        y[mask] = 0.5
        return y.masked_fill(~mask, -1.0) + torch.where(mask, x, torch.zeros_like(x))
""",
    "an autograd function": """
class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return gradient * ctx.factor, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return Doubled.apply(self.conv(x), 2.0)
""",
    "None among modules": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.Conv2d(3, 3, 1), None, nn.Conv2d(3, 3, 1)])

    def forward(self, x):
        for step in self.steps:
            if step is not None:
                x = step(x)
        return x + self.steps[2](x)
""",
    "torch's attention and its encoder": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        y = x.flatten(1, 2)
        y, weights = self.attend(y, y, y)
        return self.encoder(y) * weights.mean()
""",
    "pieces of a size, windows, padding by rank": """
class Net(nn.Module):
    def forward(self, x):
        a, b, c = x.split(3, dim=3)
        left, right = torch.chunk(x, 2, dim=2)
        windows = x.unfold(2, 4, 2).mean(-1)
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 2))
        grid = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy")
        return x.sum(1) + a.sum() - c.sum() + (left * right).sum() + windows.sum() + grid[0].sum()
""",
}


@pytest.mark.parametrize("name", NETS)
def test_the_port_means_the_same(tmp_path, name):
    record, net = recorded(tmp_path, {"meant": HEAD + NETS[name]})
    with on_the_cpu():
        theirs, ours = both_outputs(tmp_path, record, net)
    assert [str(gap) for gap in written(record)[1].gaps] == []
    if "Function" in NETS[name]:
        assert "def backward(ctx" in written(record)[0]["meant.py"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_helper_that_stands_for_a_function_is_called_as_torchs() -> None:
    call = TorchCall("", (), SourceLine(Path("x.py"), 1))
    named = replace(call, arguments=(Argument("2", "alpha"),))
    assert takes_torchs_arguments(["torch.utils.checkpoint.checkpoint"], call)
    assert takes_torchs_arguments(["torch.add"], call)
    assert not takes_torchs_arguments(["torch.add"], named)
    assert not takes_torchs_arguments(["torch.nn.Conv2d", "torch.nn.functional.relu"], call)
