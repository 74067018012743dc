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
