"""Constants of normalisations that kernels of Paddle hold in float32."""

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

from align.nets.prepare_torch import rounded_constants


def test_an_instance_norm_keeps_the_momentum_of_its_statistics():
    epsilon = float(np.float32(1e-5))
    norm = torch.nn.InstanceNorm2d(2, track_running_stats=True)
    assert rounded_constants(norm) == {"eps": epsilon}
    momentum = 1 - float(np.float32(1 - 0.1))
    assert rounded_constants(torch.nn.BatchNorm2d(2)) == {"eps": epsilon, "momentum": momentum}
