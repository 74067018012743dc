"""Attributes of torch's layers that Paddle's keep under another name, in another form, or not."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("paddle")

from port.folder import write_folder
from port.port import write_port
from tests.port.trial import build_port, recorded

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        conv, up = nn.Conv1d(3, 4, 3, padding=1), nn.ConvTranspose2d(3, 4, 3, 2, 1, 1)
        bare, alone = nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False)
        frozen, groups = nn.BatchNorm2d(4).requires_grad_(False), nn.GroupNorm(2, 4, affine=False)
        largest, mean = nn.MaxPool2d(2), nn.AvgPool2d((2, 1))
        line, unpool = nn.AvgPool1d(2, padding=1), nn.MaxUnpool2d(2)
        stated = nn.InstanceNorm2d(4, momentum=0.3, track_running_stats=True)
        self.read = [
            conv.padding, up.output_padding, largest.stride, mean.stride, largest.dilation,
            bare.affine, frozen.affine, alone.affine, alone.track_running_stats,
            bare.track_running_stats, round(alone.momentum, 6), groups.num_groups, groups.eps,
            groups.affine, nn.GroupNorm(2, 4).affine, nn.LayerNorm(4).elementwise_affine,
            line.kernel_size, line.stride, line.padding, unpool.kernel_size, unpool.stride,
            stated.track_running_stats, round(stated.momentum, 6), stated.affine,
            nn.InstanceNorm1d(4).track_running_stats, nn.UpsamplingBilinear2d(2).align_corners,
            nn.GELU().approximate, nn.PReLU(4).init,
            nn.InstanceNorm2d(4).affine, nn.Embedding(3, 4).max_norm, nn.ReLU6().max_val,
        ]

    def forward(self, x):
        return x
"""


def test_they_read_as_in_torch(tmp_path):
    record, net = recorded(tmp_path, {"attributes": NET}, modes=("eval",))
    port = write_port(record)
    assert not port.gaps
    write_folder(tmp_path / "port_of_attributes", port, {"spec": "here", "arguments": {}})
    assert build_port(tmp_path / "port_of_attributes").read == net.read


ONE_NUMBER = """
from torch import nn


class Block(nn.Module):
    def __init__(self, stride, **more):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride=stride, **more)
        self.stride = self.conv.stride
        if len(self.stride) == 1:
            self.stride = [self.stride[0]] * 2


class Own(nn.Conv2d):
    def __init__(self, stride):
        super().__init__(3, 3, 3, stride, padding=[1])
        self.told = self.stride
        self.stride = self.stride if len(self.stride) == 2 else [self.stride[0]] * 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block([2], padding=(1,)), Block(1, padding=1), Block((2, 1))])
        self.own = nn.ModuleList([Own([1]), Own(2), Own((2, 1))])
        literal, up = nn.Conv2d(3, 3, 3, stride=[2]), nn.ConvTranspose2d(3, 3, 2, [2], (0,))
        many, few = nn.Conv3d(3, 3, 3, dilation=[2], padding=[1]), nn.Conv2d(3, 3, 3, dilation=2)
        pools = [nn.MaxPool2d(size) for size in ([2], (2,), 2, [2, 2])]
        self.read = [
            *(one.stride for one in self.blocks), *(one.conv.padding for one in self.blocks),
            *(one.conv.dilation for one in self.blocks), *(one.told for one in self.own),
            *(one.padding for one in self.own), literal.stride, literal.padding, up.stride,
            up.padding, many.dilation, many.padding, many.stride, few.dilation,
            *(one.kernel_size for one in pools), *(one.stride for one in pools),
            getattr(literal, "stride"), nn.AvgPool3d([2]).kernel_size,
            [one.conv.stride[0] for one in self.blocks],
        ]
        self.halved = [tuple(one.stride) == (2, 2) for one in self.blocks]
        self.listed = [one.stride == [2, 2] for one in self.blocks]

    def forward(self, x):
        for one in (*self.blocks, *self.own):
            x = one.conv(x) if hasattr(one, "conv") else one(x)
        return x
"""


def test_a_list_of_one_number_reads_as_it_was_given(tmp_path):
    record, net = recorded(tmp_path, {"given_once": ONE_NUMBER}, modes=("eval",))
    port = write_port(record)
    assert not port.gaps
    write_folder(tmp_path / "port_of_given_once", port, {"spec": "here", "arguments": {}})
    built = build_port(tmp_path / "port_of_given_once")
    assert built.read == net.read
    assert [*map(type, built.read)] == [*map(type, net.read)]
    assert (built.halved, built.listed) == (net.halved, net.listed)
