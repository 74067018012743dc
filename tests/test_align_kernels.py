"""Each row of the table of inexact kernels: the kernel stays below it, and comes near it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

import paddle.nn.functional as PF  # noqa: E402
import torch.nn.functional as TF  # noqa: E402

from align.kernels import KERNELS  # noqa: E402

ROWS = {kernel.function: kernel for kernel in KERNELS}


def distance(theirs, ours):
    return float(np.abs(theirs - ours).max() / np.abs(theirs).max())


RESIZES = [((8, 12), (64, 96)), ((32, 48), (255, 383)), ((40, 40), (68, 68)), ((64, 96), (31, 50))]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize(("size", "out"), RESIZES)
def test_bilinear_resize(size, out, corners):
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    settings = {"mode": "bilinear", "align_corners": corners}
    theirs = TF.interpolate(torch.from_numpy(x), out, **settings).numpy()
    ours = PF.interpolate(paddle.to_tensor(x), list(out), **settings).numpy()
    allowed = ROWS["interpolate"].error(size, out, settings)
    if allowed == 0.0:
        assert distance(theirs, ours) < 1e-15
    else:
        assert allowed / 20 < distance(theirs, ours) < allowed


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_resize_by_a_power_of_two_is_exact_only_where_the_table_says_so(mode):
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 9))
    settings = {"mode": mode, "align_corners": False}
    theirs = TF.interpolate(torch.from_numpy(x), (14, 18), **settings).numpy()
    ours = PF.interpolate(paddle.to_tensor(x), [14, 18], **settings).numpy()
    assert ROWS["interpolate"].error((7, 9), (14, 18), settings) == 0.0
    assert distance(theirs, ours) < 1e-14


@pytest.mark.parametrize("name", ["hardsigmoid", "selu"])
def test_rounded_constants(name):
    x = np.random.default_rng(0).standard_normal((64, 64))
    theirs = getattr(TF, name)(torch.from_numpy(x)).numpy()
    ours = getattr(PF, name)(paddle.to_tensor(x)).numpy()
    allowed = ROWS[name].error((), (), {})
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_every_row_has_a_test():
    assert set(ROWS) == {"interpolate", "hardsigmoid", "selu"}
