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
    allowed = ROWS["interpolate"].forward(size, out, settings)
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
    assert ROWS["interpolate"].forward((7, 9), (14, 18), settings) == 0.0
    assert distance(theirs, ours) < 1e-14


@pytest.mark.parametrize("name", ["hardsigmoid", "selu"])
def test_rounded_constants(name):
    x = np.random.default_rng(0).standard_normal((64, 64))
    theirs = getattr(TF, name)(torch.from_numpy(x)).numpy()
    ours = getattr(PF, name)(paddle.to_tensor(x)).numpy()
    allowed = ROWS[name].forward((), (), {})
    assert allowed / 20 < distance(theirs, ours) < allowed


CONSTANTS = {"elu": (0.3,), "celu": (0.3,), "hardtanh": (-0.7, 0.7), "softshrink": (0.3,)}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_that_are_held_in_float32(name):
    x = np.random.default_rng(0).standard_normal((64, 64))
    theirs = getattr(TF, name)(torch.from_numpy(x), *CONSTANTS[name]).numpy()
    ours = getattr(PF, name)(paddle.to_tensor(x), *CONSTANTS[name]).numpy()
    assert 1e-10 < distance(theirs, ours) < ROWS[name].forward((), (), {})


def test_scale_factor_that_float32_does_not_hold_is_inexact_at_any_size():
    settings = {"mode": "bilinear", "scale_factor": 0.6, "align_corners": False}
    assert ROWS["interpolate"].forward((4, 4), (2, 2), settings) > 0
    settings["scale_factor"] = 0.5
    assert ROWS["interpolate"].forward((5, 5), (2, 2), settings) == 0


def input_gradients(theirs_function, ours_function, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    theirs_x = torch.from_numpy(x).requires_grad_()
    ours_x = paddle.to_tensor(x, stop_gradient=False)
    theirs, ours = theirs_function(theirs_x), ours_function(ours_x)
    cotangent = rng.standard_normal(theirs.shape)
    (theirs * torch.from_numpy(cotangent)).sum().backward()
    (ours * paddle.to_tensor(cotangent)).sum().backward()
    return theirs_x.grad.numpy(), ours_x.grad.numpy()


POOLS = {
    "avg_pool1d": ((2, 3, 12), 3),
    "avg_pool2d": ((2, 3, 12, 12), 3),
    "avg_pool3d": ((2, 3, 6, 6, 6), 3),
    "adaptive_avg_pool1d": ((2, 3, 12), 4),
    "adaptive_avg_pool2d": ((2, 3, 12, 12), 4),
    "adaptive_avg_pool3d": ((2, 3, 6, 6, 6), 2),
}


@pytest.mark.parametrize("name", POOLS)
def test_average_pooling_backward(name):
    shape, size = POOLS[name]
    theirs, ours = input_gradients(
        lambda x: getattr(TF, name)(x, size), lambda x: getattr(PF, name)(x, size), shape
    )
    allowed = ROWS[name].backward(shape[2:], (), {})
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_area_resize_backward():
    settings = {"mode": "area"}
    theirs, ours = input_gradients(
        lambda x: TF.interpolate(x, (4, 4), **settings),
        lambda x: PF.interpolate(x, [4, 4], **settings),
        (2, 3, 12, 12),
    )
    allowed = ROWS["interpolate"].backward((12, 12), (4, 4), settings)
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_bilinear_resize_backward():
    settings = {"mode": "bilinear", "align_corners": True}
    theirs, ours = input_gradients(
        lambda x: TF.interpolate(x, (64, 96), **settings),
        lambda x: PF.interpolate(x, [64, 96], **settings),
        (2, 3, 8, 12),
    )
    allowed = ROWS["interpolate"].backward((8, 12), (64, 96), settings)
    assert allowed / 20 < distance(theirs, ours) < allowed


def test_every_row_has_a_test():
    assert set(ROWS) == {"interpolate", "hardsigmoid", "selu", *CONSTANTS, *POOLS}
