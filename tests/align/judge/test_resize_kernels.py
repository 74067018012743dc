"""Healthy resizes stay within what their kernel explains, also where a mean adds errors up."""

from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF
import torch.nn.functional as TF
from paddle import nn as pnn
from torch import nn as tnn

from align import align_backward, align_forward
from align.judge.kernel_errors_torch import COHERENT_DRAWS, ORTHOGONAL, Errors
from align.judge.watch_kernels_torch import WatchKernels

CASES = [((8, 8), (64, 64)), ((5, 7), (123, 47)), ((32, 48), (255, 383)), ((64, 96), (31, 50))]
SETTINGS = {
    "corners": {"mode": "bilinear", "align_corners": True},
    "centres": {"mode": "bilinear", "align_corners": False},
    "bicubic": {"mode": "bicubic", "align_corners": False},
}


class Reference(tnn.Module):
    def __init__(self, size, settings, reduce):
        super().__init__()
        self.size, self.settings, self.reduce = size, settings, reduce

    def forward(self, x):
        y = TF.interpolate(x, self.size, **self.settings)
        return TF.softplus(y).mean() if self.reduce else y


class Port(pnn.Layer):
    def __init__(self, size, settings, reduce, factor=1.0):
        super().__init__()
        self.size, self.settings, self.reduce = list(size), settings, reduce
        self.factor = factor

    def forward(self, x):
        y = PF.interpolate(x, self.size, **self.settings) * self.factor
        return PF.softplus(y).mean() if self.reduce else y


@pytest.mark.parametrize("reduce", [False, True], ids=["map", "mean"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("size", "out"), CASES)
def test_healthy_resize_is_aligned(size, out, settings, reduce):
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    nets = [net(out, SETTINGS[settings], reduce) for net in (Reference, Port)]
    for report in (align_forward(*nets, [x]), align_backward(*nets, [x])):
        assert report.exit_code == 0, report.verdict


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_resize_is_looked_at_in_float32_too(settings):
    """The matrices of its error were float64, whatever was resized."""
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    nets = [net((23, 17), SETTINGS[settings], False) for net in (Reference, Port)]
    report = align_forward(*nets, [x], dtype="float32")
    assert report.exit_code == 0, report.verdict


def test_the_weights_of_a_resize_are_rounded_too():
    """One pixel: no coordinate matters, yet its two weights of float32 do not add up to one."""
    settings = {"mode": "bilinear", "align_corners": False}
    x = np.random.default_rng(0).standard_normal((2, 3, 1, 1))
    nets = [net((5, 6), settings, False) for net in (Reference, Port)]
    for report in (align_forward(*nets, [x]), align_backward(*nets, [x])):
        assert report.exit_code == 0, report.verdict
    assert align_forward(nets[0], Port((5, 6), settings, False, 1 + 1e-6), [x]).exit_code == 1


@pytest.mark.parametrize("settings", SETTINGS)
def test_fault_of_ten_times_the_kernels_error_is_found(settings):
    size, out = (32, 48), (255, 383)
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    reference = Reference(out, SETTINGS[settings], False)
    healthy = align_forward(reference, Port(out, SETTINGS[settings], False), [x])
    factor = 1 + 10 * healthy.worst.relative_error
    assert (
        align_forward(reference, Port(out, SETTINGS[settings], False, factor), [x]).exit_code == 1
    )


def test_errors_that_cancel_in_one_draw_add_up_in_another():
    """A scalar's floor is no matter of luck: a Dice loss once stood above it by a tenth."""
    draws = [Errors(torch.ones_like, draw) for draw in range(COHERENT_DRAWS)]
    one = torch.ones(1)
    signs = np.array([[float(draw.off_by(one, 1.0)) - 1 for _ in range(4)] for draw in draws])
    np.testing.assert_array_equal(signs.T @ signs, 4 * np.eye(4))


def test_as_many_draws_as_show_every_combination_of_signs():
    for count in (1, 2, 3, 4):
        errors = Errors(torch.ones_like, 0)
        for _ in range(count):
            errors.off_by(torch.ones(1), 1.0)
        combinations = list(zip(*ORTHOGONAL[:count], strict=True))
        assert set(combinations[: errors.draws]) == set(combinations)
        assert len(set(combinations)) == errors.draws


@pytest.mark.parametrize("antialias", [False, True])
def test_a_resize_that_errs_is_off_by_little_whatever_matrices_give(antialias):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 40, 50)))
    settings = {"size": (17, 30), "mode": "bilinear", "antialias": antialias}
    watch = WatchKernels(lambda kernel: None, Errors(torch.ones_like, 0))
    runs = []
    for mode in (nullcontext(), watch):
        leaf = x.clone().requires_grad_()
        with mode:
            out = TF.interpolate(leaf, **settings)
        runs.append((out, torch.autograd.grad(out.square().sum(), leaf)[0]))
    for exact, off in zip(*runs, strict=True):
        assert 0 < (exact - off).abs().max() < 1e-4 * exact.abs().max()
